//! Doing something once, however often it is asked for.

use super::space::{Done, Space, get, made_by, pairs_at};
use crate::coordination::queue::{op, unexpected};
use crate::coordination::{Error, drawn_lease};
use bytes::Bytes;
use muslin_core::base::Revision;
use muslin_core::state::{OpKind, Put, Txn};
use ring::digest::{Context, SHA256};

/// For so long it is remembered what was done.
const REMEMBERED_MS: u64 = 600_000;

/// Longest identity: it is part of a key.
pub const ONCE_BYTES_MAX: usize = 256;

/// Identifies an operation, so that asking for it again does not do it again. Another operation
/// under the same identity is refused: [`Error::IdentityReused`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Once(Bytes);

impl Once {
    /// What whoever asks calls it: other operations on the same thing have other names.
    /// [`Error::BadIdentity`] if it is empty or longer than [`ONCE_BYTES_MAX`].
    pub fn named(name: impl Into<Bytes>) -> Result<Once, Error> {
        let name = name.into();
        match (1..=ONCE_BYTES_MAX).contains(&name.len()) {
            true => Ok(Once(name)),
            false => Err(Error::BadIdentity),
        }
    }

    /// What it is called.
    pub fn name(&self) -> &Bytes {
        &self.0
    }

    /// A random one.
    pub fn drawn() -> Result<Once, Error> {
        Ok(Once(format!("{:016x}", drawn_lease()?.0).into()))
    }
}

/// Bytes of a hash that are kept: two never meet.
const HASH_BYTES: usize = 16;

/// An operation that happens once. Its receipt is what was asked, as a hash, and the result.
pub(super) struct Deed<'a> {
    once: &'a Once,
    hash: [u8; HASH_BYTES],
}

impl<'a> Deed<'a> {
    /// What is to be done once: the operation's name and everything it takes.
    pub(super) fn of(once: Option<&'a Once>, name: &str, takes: &[&[u8]]) -> Option<Deed<'a>> {
        let once = once?;
        let mut asked = Context::new(&SHA256);
        for part in [name.as_bytes()].iter().chain(takes) {
            asked.update(&(part.len() as u64).to_le_bytes());
            asked.update(part);
        }
        let hash = *asked.finish().as_ref().first_chunk().expect("a hash is longer");
        Some(Deed { once, hash })
    }

    /// The result that is in a receipt, if it is one of this very operation.
    fn result(&self, receipt: &Bytes) -> Result<Bytes, Error> {
        match receipt.starts_with(&self.hash) {
            true => Ok(receipt.slice(HASH_BYTES..)),
            false => Err(Error::IdentityReused),
        }
    }
}

/// How it went.
pub(super) enum Tried {
    /// It was done, by this call.
    Done,
    /// It was done before, and this was the result.
    Before(Bytes),
    /// What it relied on was not so: nothing was done. Answers to what was to be asked then.
    Not(Done),
}

impl Space {
    /// What was the result of an operation, if it was done: [`Error::IdentityReused`] if another
    /// was.
    pub(super) async fn result_of(&self, deed: Option<&Deed<'_>>) -> Result<Option<Bytes>, Error> {
        let Some(deed) = deed else { return Ok(None) };
        let found = self.one(self.receipt(&deed.once.0)).await?;
        found.map(|kv| deed.result(&Bytes::from(&kv.value))).transpose()
    }

    /// Runs a transaction, and notes its result, unless it is noted already.
    pub(super) async fn try_once(
        &self,
        deed: Option<&Deed<'_>>,
        mut txn: Txn,
        result: Bytes,
    ) -> Result<Tried, Error> {
        let Some(deed) = deed else {
            let done = self.txn(txn).await?;
            return Ok(if done.succeeded { Tried::Done } else { Tried::Not(done) });
        };
        let receipt = self.receipt(&deed.once.0);
        let lease = drawn_lease()?.0;
        let (key, ttl_ms) = (receipt.clone(), REMEMBERED_MS);
        txn.compares.push(made_by(receipt.clone(), Revision::ZERO));
        txn.success.push(op(OpKind::Put(Put {
            key,
            value: [&deed.hash[..], &result].concat().into(),
            lease,
            ttl_ms,
            ..Put::default()
        })));
        txn.failure.push(get(receipt));
        let mut done = self.txn(txn).await?;
        if done.succeeded {
            return Ok(Tried::Done);
        }
        let last = done.responses.len().checked_sub(1).ok_or_else(unexpected)?;
        if let Some(kv) = pairs_at(&done.responses, last)?.first() {
            return Ok(Tried::Before(deed.result(&Bytes::from(&kv.value))?));
        }
        done.responses.pop();
        Ok(Tried::Not(done))
    }
}
