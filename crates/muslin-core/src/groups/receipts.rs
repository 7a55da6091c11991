//! A state machine that remembers what it answered, so that a client may ask again.
//!
//! `(origin, boot, sequence)` makes a repetition by a *node* harmless. A client whose answer was
//! lost, or that was told [`TimedOut`](super::Failure::TimedOut), asks again itself, perhaps
//! through another node: to the group that is another command. So it gives the command a key of
//! its own, and [`Receipted`], around any machine, answers the second time what it answered the
//! first. The receipts are part of the state: they outlive leaders, and go with snapshots.
//!
//! Receipts are forgotten, the oldest first, when they are too many. A client that says since which
//! entry it has had its key ([`Envelope::since`]) is refused then, as what it asks may have been
//! done: it never takes effect twice. One that does not know is trusted to ask again soon.

use super::{GroupMachine, NotASnapshot};
use crate::base::Index;
use crate::base::mutant::{self, Mutant};
use crate::state::Digest;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use prost::Message as _;

/// Longest key: a drawn or hashed one has half of this.
pub const RECEIPT_KEY_BYTES_MAX: usize = 64;

/// Most receipts kept: of a client that is told nothing for a moment, many seconds of the heaviest
/// load.
pub const RECEIPTS_MAX: usize = 100_000;

/// Most bytes of keys and answers kept: a snapshot has all of them.
pub const RECEIPTS_BYTES_MAX: usize = 16 << 20;

/// Longest answer kept; of a longer one it is only known that it was given.
pub const RECEIPT_ANSWER_BYTES_MAX: usize = 64 << 10;

/// Raised when a reader of the last one would misunderstand.
const FORMAT: u32 = 1;

/// What a [`Receipted`] machine takes for a command.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Envelope {
    /// Names the command: who asks again says the same. Empty: it is done each time.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// An entry of the group's log from before the key was first used; zero when none is known.
    #[prost(uint64, tag = "2")]
    pub since: u64,
    /// What the machine is to do; absent of one that only wants to know the present entry.
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub command: Option<Bytes>,
}

/// What it answers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Receipt {
    /// See [`ReceiptKind`].
    #[prost(enumeration = "ReceiptKind", tag = "1")]
    pub kind: i32,
    /// The entry at which the command was carried out; otherwise the present one.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// What the machine answered.
    #[prost(bytes = "bytes", tag = "3")]
    pub answer: Bytes,
    /// It was carried out before, and not once more.
    #[prost(bool, tag = "4")]
    pub again: bool,
}

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, prost::Enumeration)]
#[repr(i32)]
pub enum ReceiptKind {
    /// The bytes were no [`Envelope`], or its key is too long: nothing happened.
    Unreadable = 0,
    /// It was carried out, once.
    Done = 1,
    /// There was no command.
    Hello = 2,
    /// It may have been carried out, and the receipt is forgotten: it was not carried out now.
    Forgotten = 3,
    /// The key was used for another command: nothing happened.
    OtherCommand = 4,
    /// It was carried out before, and the answer was too long to be kept.
    AnswerGone = 5,
}

/// Any machine, with receipts.
#[derive(Clone, Debug, Default)]
pub struct Receipted<M> {
    machine: M,
    receipts: BTreeMap<Bytes, Kept>,
    /// Which is the oldest.
    by_index: BTreeMap<Index, Bytes>,
    bytes: usize,
    /// A receipt of this entry or an earlier one may be forgotten.
    forgotten: Index,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Kept {
    index: Index,
    /// Of the command.
    digest: u64,
    /// `None` when it was too long.
    answer: Option<Bytes>,
}

impl Kept {
    /// What it costs beside the key.
    fn bytes(&self) -> usize {
        self.answer.as_ref().map_or(0, Bytes::len)
    }

    fn again(&self, digest: u64) -> Receipt {
        match &self.answer {
            _ if self.digest != digest => receipt(ReceiptKind::OtherCommand, self.index),
            Some(answer) => {
                let done = receipt(ReceiptKind::Done, self.index);
                Receipt { answer: answer.clone(), again: true, ..done }
            }
            None => Receipt { again: true, ..receipt(ReceiptKind::AnswerGone, self.index) },
        }
    }
}

fn receipt(kind: ReceiptKind, index: Index) -> Receipt {
    Receipt { kind: kind.into(), index: index.0, answer: Bytes::new(), again: false }
}

impl<M: GroupMachine> Receipted<M> {
    /// Around a machine that has done nothing yet.
    pub fn new(machine: M) -> Receipted<M> {
        let (receipts, by_index) = (BTreeMap::new(), BTreeMap::new());
        Receipted { machine, receipts, by_index, bytes: 0, forgotten: Index::ZERO }
    }

    /// The machine within.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    fn judge(&mut self, index: Index, envelope: Envelope) -> Receipt {
        let Envelope { key, since, command } = envelope;
        let Some(command) = command else { return receipt(ReceiptKind::Hello, index) };
        if key.len() > RECEIPT_KEY_BYTES_MAX {
            return receipt(ReceiptKind::Unreadable, index);
        }
        if key.is_empty() {
            let answer = self.machine.apply(index, command);
            return Receipt { answer, ..receipt(ReceiptKind::Done, index) };
        }
        let digest = Digest::new().bytes(&command).finish();
        if let Some(kept) = self.receipts.get(&key) {
            return kept.again(digest);
        }
        if since > 0 && Index(since) <= self.forgotten {
            return receipt(ReceiptKind::Forgotten, index);
        }
        let answer = self.machine.apply(index, command);
        let is_kept = answer.len() <= RECEIPT_ANSWER_BYTES_MAX;
        // Copies of their own: slices would hold what they came in.
        let key = Bytes::copy_from_slice(&key);
        let kept = is_kept.then(|| Bytes::copy_from_slice(&answer));
        self.keep(key, Kept { index, digest, answer: kept });
        Receipt { answer, ..receipt(ReceiptKind::Done, index) }
    }

    fn keep(&mut self, key: Bytes, kept: Kept) {
        self.bytes += key.len() + kept.bytes();
        self.by_index.insert(kept.index, key.clone());
        self.receipts.insert(key, kept);
        let is_forgetful = mutant::is_active(Mutant::ReceiptsForgottenEarly);
        let most = if is_forgetful { 1 } else { RECEIPTS_MAX };
        while self.receipts.len() > most || self.bytes > RECEIPTS_BYTES_MAX {
            let (index, key) = self.by_index.pop_first().expect("there is a receipt to forget");
            let kept = self.receipts.remove(&key).expect("both have all receipts");
            self.bytes -= key.len() + kept.bytes();
            self.forgotten = index;
        }
    }
}

impl<M: GroupMachine> GroupMachine for Receipted<M> {
    fn apply(&mut self, index: Index, command: Bytes) -> Bytes {
        let receipt = match Envelope::decode(command) {
            Ok(envelope) => self.judge(index, envelope),
            Err(_) => receipt(ReceiptKind::Unreadable, index),
        };
        Bytes::from(receipt.encode_to_vec())
    }

    fn query(&self, query: &[u8]) -> Bytes {
        self.machine.query(query)
    }

    fn snapshot(&self) -> Bytes {
        let record = |(index, key): (&Index, &Bytes)| {
            let kept = &self.receipts[key];
            let (key, answer) = (key.clone(), kept.answer.clone());
            ReceiptRecord { key, index: index.0, digest: kept.digest, answer }
        };
        let mut receipts: Vec<ReceiptRecord> = self.by_index.iter().map(record).collect();
        if mutant::is_active(Mutant::ReceiptForgottenInSnapshot) {
            receipts.clear();
        }
        let (forgotten, machine) = (self.forgotten.0, self.machine.snapshot());
        let snapshot = ReceiptedSnapshot { format: FORMAT, forgotten, receipts, machine };
        Bytes::from(snapshot.encode_to_vec())
    }

    fn restore(&mut self, snapshot: Bytes) -> Result<(), NotASnapshot> {
        let snapshot = ReceiptedSnapshot::decode(snapshot).map_err(|_| NotASnapshot)?;
        let ReceiptedSnapshot { format, forgotten, receipts, machine } = snapshot;
        if format != FORMAT || receipts.len() > RECEIPTS_MAX {
            return Err(NotASnapshot);
        }
        self.receipts.clear();
        self.by_index.clear();
        (self.bytes, self.forgotten) = (0, Index(forgotten));
        for ReceiptRecord { key, index, digest, answer } in receipts {
            let is_known = self.receipts.contains_key(&key)
                || self.by_index.contains_key(&Index(index))
                || key.is_empty();
            if is_known {
                return Err(NotASnapshot);
            }
            let answer = answer.map(|answer| Bytes::copy_from_slice(&answer));
            let kept = Kept { index: Index(index), digest, answer };
            self.keep(Bytes::copy_from_slice(&key), kept);
        }
        self.machine.restore(machine)
    }

    fn digest(&self) -> u64 {
        let digest = Digest::new().number(self.machine.digest()).number(self.forgotten.0);
        let digest = self.by_index.iter().fold(digest, |digest, (index, key)| {
            digest.number(index.0).bytes(key).number(self.receipts[key].digest)
        });
        digest.finish()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReceiptedSnapshot {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(uint64, tag = "2")]
    forgotten: u64,
    #[prost(message, repeated, tag = "3")]
    receipts: Vec<ReceiptRecord>,
    #[prost(bytes = "bytes", tag = "4")]
    machine: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReceiptRecord {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(uint64, tag = "2")]
    index: u64,
    #[prost(fixed64, tag = "3")]
    digest: u64,
    #[prost(bytes = "bytes", optional, tag = "4")]
    answer: Option<Bytes>,
}
