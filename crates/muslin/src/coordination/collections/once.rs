//! Doing something once, however often it is asked for.

use super::space::{Done, Space, get, made_by, pairs_at};
use crate::coordination::queue::{op, unexpected};
use crate::coordination::{Error, drawn_lease};
use bytes::Bytes;
use muslin_core::base::Revision;
use muslin_core::state::{OpKind, Put, Txn};

/// For so long it is remembered what was done.
const REMEMBERED_MS: u64 = 600_000;

/// Longest identity: it is part of a key.
pub const ONCE_BYTES_MAX: usize = 256;

/// Identifies an operation, so that asking for it again does not do it again.
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
    /// What was the result of an operation, if it was done.
    pub(super) async fn result_of(&self, once: Option<&Once>) -> Result<Option<Bytes>, Error> {
        let Some(once) = once else { return Ok(None) };
        let found = self.one(self.receipt(&once.0)).await?;
        Ok(found.map(|kv| Bytes::from(&kv.value)))
    }

    /// Runs a transaction, and notes its result, unless it is noted already.
    pub(super) async fn try_once(
        &self,
        once: Option<&Once>,
        mut txn: Txn,
        result: Bytes,
    ) -> Result<Tried, Error> {
        let Some(once) = once else {
            let done = self.txn(txn).await?;
            return Ok(if done.succeeded { Tried::Done } else { Tried::Not(done) });
        };
        let receipt = self.receipt(&once.0);
        let lease = drawn_lease()?.0;
        let (key, ttl_ms) = (receipt.clone(), REMEMBERED_MS);
        txn.compares.push(made_by(receipt.clone(), Revision::ZERO));
        txn.success.push(op(OpKind::Put(Put {
            key,
            value: result,
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
            return Ok(Tried::Before(Bytes::from(&kv.value)));
        }
        done.responses.pop();
        Ok(Tried::Not(done))
    }
}
