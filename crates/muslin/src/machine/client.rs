//! Asking a state machine.

use super::bound::Fate;
use super::{Codes, StateMachine};
use crate::codec::{Codec, CodecError};
use crate::driver::Handle;
use bytes::Bytes;
use muslin_core::base::GroupId;
use muslin_core::groups::{Envelope, Receipt, ReceiptKind};
use muslin_core::node::{Consistency, Failure};
use prost::Message as _;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// How long a command is asked for again before its caller is told that nobody answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause before a command that nobody answered is asked for again.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Length of a key that is drawn or hashed: two never meet.
const KEY_BYTES: usize = 16;

/// Names a command, so that it is done once however often it is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key(Bytes);

impl Key {
    /// That no other command has.
    pub fn draw() -> Key {
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).expect("the system has chance to give");
        Key(Bytes::copy_from_slice(&bytes))
    }

    /// By what a client calls it: an `Idempotency-Key`, say. `owner` keeps the words of different
    /// clients apart where they may not know of each other.
    pub fn of(owner: &str, words: &str) -> Key {
        // The length of the first says where the second begins.
        let both = [&(owner.len() as u64).to_le_bytes()[..], owner.as_bytes(), words.as_bytes()];
        Key(Bytes::copy_from_slice(&digest(&SHA256, &both.concat()).as_ref()[..KEY_BYTES]))
    }
}

/// What became of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done<A> {
    /// What the state machine answered.
    pub answer: A,
    /// It had been done before, and was not done once more.
    pub again: bool,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MachineError {
    /// The node. After [`Failure::TimedOut`] the command may have been done: asked for again with
    /// the same key it is done once.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The command may have been done, so long ago that it is not remembered; it was not done now.
    #[error("it may have been done long ago: what was answered is forgotten; nothing was done now")]
    Forgotten,
    /// The key is another command's; nothing happened.
    #[error("the key was used for another command; nothing was done: use another key")]
    OtherCommand,
    /// It was done, and the answer was too long to be kept for whoever asks again.
    #[error("it was done before, and its answer was too long to be kept")]
    AnswerGone,
    /// A value is no bytes, or bytes are no value: nodes differ in what they take this kind for.
    #[error("values of the state machine cannot be read: {0}")]
    Codec(#[from] CodecError),
}

/// Asks one group through one node. Cheap to clone.
pub struct Machine<S, C> {
    handle: Handle,
    group: GroupId,
    codec: Arc<C>,
    /// An entry of the group's log that is there for certain; zero until one is known.
    seen: Arc<AtomicU64>,
    patience: Duration,
    machine: std::marker::PhantomData<fn() -> S>,
}

impl<S, C> Clone for Machine<S, C> {
    fn clone(&self) -> Machine<S, C> {
        let (handle, codec) = (self.handle.clone(), self.codec.clone());
        let Machine { group, patience, machine, .. } = *self;
        Machine { handle, group, codec, seen: self.seen.clone(), patience, machine }
    }
}

impl<S: StateMachine, C: Codes<S>> Machine<S, C> {
    pub(super) fn new(handle: Handle, group: GroupId, codec: Arc<C>) -> Machine<S, C> {
        let (seen, machine) = (Arc::default(), std::marker::PhantomData);
        Machine { handle, group, codec, seen, patience: PATIENCE, machine }
    }

    /// The same with another time for asking again.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Machine<S, C> {
        Machine { patience, ..self }
    }

    /// Has a command carried out, once: asked for again until there is an answer, or patience ends.
    pub async fn propose(&self, command: &S::Command) -> Result<S::Answer, MachineError> {
        let until = Instant::now() + self.patience;
        let since = match self.seen.load(Ordering::Relaxed) {
            0 => self.hello(until).await?,
            seen => seen,
        };
        Ok(self.carry(Key::draw().0, since, command, until).await?.answer)
    }

    /// The same under a key of the caller's, who may ask again with it, here or through another
    /// node: it is done once, while the group remembers it.
    pub async fn propose_as(
        &self,
        key: &Key,
        command: &S::Command,
    ) -> Result<Done<S::Answer>, MachineError> {
        // When the key was first used only its owner knows.
        self.carry(key.0.clone(), 0, command, Instant::now() + self.patience).await
    }

    /// Asks.
    pub async fn query(
        &self,
        query: &S::Query,
        consistency: Consistency,
    ) -> Result<S::Reply, MachineError> {
        let query = self.codec.encode(query)?;
        let reply = self.handle.group_query(self.group, query, consistency).await?;
        self.value(&reply)
    }

    async fn hello(&self, until: Instant) -> Result<u64, MachineError> {
        Ok(self.ask(&Envelope::default(), until).await?.index)
    }

    async fn carry(
        &self,
        key: Bytes,
        since: u64,
        command: &S::Command,
        until: Instant,
    ) -> Result<Done<S::Answer>, MachineError> {
        let command = Some(self.codec.encode(command)?);
        let receipt = self.ask(&Envelope { key, since, command }, until).await?;
        match receipt.kind() {
            ReceiptKind::Done => {
                Ok(Done { answer: self.value(&receipt.answer)?, again: receipt.again })
            }
            ReceiptKind::Forgotten => Err(MachineError::Forgotten),
            ReceiptKind::OtherCommand => Err(MachineError::OtherCommand),
            ReceiptKind::AnswerGone => Err(MachineError::AnswerGone),
            ReceiptKind::Unreadable | ReceiptKind::Hello => {
                Err(CodecError("the group takes other commands".into()).into())
            }
        }
    }

    /// Asks again while nobody answers: the same bytes, which are done once.
    async fn ask(&self, envelope: &Envelope, until: Instant) -> Result<Receipt, MachineError> {
        let bytes = Bytes::from(envelope.encode_to_vec());
        loop {
            let asked = self.handle.group_propose(self.group, bytes.clone());
            let failure = match timeout_at(until, asked).await {
                Ok(Ok(answer)) => {
                    let receipt = Receipt::decode(answer);
                    let receipt = receipt.map_err(|error| CodecError(error.to_string()))?;
                    self.seen.fetch_max(receipt.index, Ordering::Relaxed);
                    return Ok(receipt);
                }
                Ok(Err(failure)) => failure,
                Err(_) => return Err(Failure::TimedOut.into()),
            };
            let pause = match failure {
                Failure::Busy { retry_after } => retry_after,
                Failure::TimedOut | Failure::NoLeader | Failure::Starting => AGAIN_AFTER,
                _ => return Err(failure.into()),
            };
            if Instant::now() + pause >= until {
                return Err(failure.into());
            }
            sleep(pause).await;
        }
    }

    fn value<T>(&self, bytes: &[u8]) -> Result<T, MachineError>
    where
        C: Codec<T>,
    {
        let Some((fate, bytes)) = bytes.split_first() else {
            return Err(CodecError("an answer without bytes".into()).into());
        };
        if *fate == Fate::Answered as u8 {
            return Ok(self.codec.decode(bytes)?);
        }
        Err(CodecError(String::from_utf8_lossy(bytes).into_owned()).into())
    }
}
