//! What a holder shows with each write, so that none happens after it lost what it held.

use super::error::Error;
use super::queue::settled;
use crate::driver::Handle;
use bytes::Bytes;
use muslin_core::base::Revision;
use muslin_core::state::{
    Command, CommandKind, Compare, Op, OpKind, Response, Txn, created, fenced,
};

/// A key, and the revision that made it. It stands for the time in which that very key is there: a
/// key made again has another revision, and later ones are larger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fence {
    /// The holder's key.
    pub key: Bytes,
    /// What made it.
    pub create_revision: Revision,
}

impl Fence {
    /// Holds as long as the fence does.
    pub fn compare(&self) -> Compare {
        created(&self.key, self.create_revision)
    }

    /// Runs these together, in one revision, if the fence holds; otherwise nothing happens, and the
    /// error is [`Error::Fenced`].
    pub async fn write(
        &self,
        handle: &Handle,
        ops: Vec<Op>,
    ) -> Result<(Vec<Response>, Revision), Error> {
        let txn = fenced(&self.key, self.create_revision, ops);
        let outcome = handle.write(Command::of(CommandKind::Txn(txn))).await;
        match settled(outcome)? {
            (Response::Txn { succeeded: true, responses }, revision) => Ok((responses, revision)),
            _ => Err(Error::Fenced),
        }
    }

    /// A transaction with comparisons of its own, to be run if the fence holds: the answer to the
    /// one around it says whether it does.
    pub fn around(&self, txn: Txn) -> Txn {
        let inside = Op { kind: Some(OpKind::Txn(txn)) };
        fenced(&self.key, self.create_revision, vec![inside])
    }
}
