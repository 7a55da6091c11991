//! Nobody goes on before all are there.
//!
//! Whoever comes puts a key by its lease. When as many are there as are expected, the gate is
//! opened: a key that says so. It is for those who were there when it was made; who comes later
//! waits until all of them have left, and the gate with them, and then for the next.

use super::space::{Kind, Pair, Seen, Space, get, made_by, pairs, pairs_at, read, removed};
use crate::coordination::queue::{op, unexpected};
use crate::coordination::{Error, Fence};
use crate::driver::Handle;
use bytes::Bytes;
use muslin_core::base::{LeaseId, Revision};
use muslin_core::state::{
    Compare, CompareResult, CompareTarget, KeyValue, OpKind, Put, Query, Range, Response, Txn,
};

const PARTIES: &[u8] = b"p/";
const GATE: &[u8] = b"gate";

/// Most that one barrier holds back.
pub(in crate::coordination) const PARTIES_MAX: u64 = 10_000;

/// Holds its parties back until all of them are there.
#[derive(Clone)]
pub struct Barrier {
    space: Space,
}

impl Barrier {
    /// The barrier of this name.
    pub fn new(handle: &Handle, name: &[u8]) -> Barrier {
        Barrier { space: Space::new(handle, Kind::Barrier, name) }
    }

    /// Waits until so many are there, this one among them; which is there as long as its lease
    /// lives. What stands for it, for [`Barrier::leave`]. Whoever asks again by the same lease is
    /// the same party; whoever drops the call is there no more.
    pub async fn enter(&self, lease: LeaseId, parties: u64) -> Result<Fence, Error> {
        if !(1..=PARTIES_MAX).contains(&parties) {
            return Err(Error::OutOfRange);
        }
        let fence = self.come(lease).await?;
        let mut waiting = Waiting { barrier: self, fence: Some(fence.clone()) };
        self.opened(&fence, parties).await?;
        waiting.fence = None;
        Ok(fence)
    }

    /// Waits until the gate is open for this party.
    async fn opened(&self, fence: &Fence, parties: u64) -> Result<(), Error> {
        loop {
            let look = Txn {
                success: vec![
                    get(fence.key.clone()),
                    get(self.gate()),
                    read(Range {
                        range: self.space.below(PARTIES),
                        keys_only: true,
                        ..Range::default()
                    }),
                ],
                ..Txn::default()
            };
            let (response, revision) = self.space.read(Query::Txn(look)).await?;
            let Response::Txn { responses, .. } = response else { return Err(unexpected()) };
            let own = pairs_at(&responses, 0)?.first();
            if own.is_none_or(|kv| kv.create_revision != fence.create_revision.0) {
                return Err(Error::SessionEnded);
            }
            let there = pairs_at(&responses, 2)?.len() as u64;
            match pairs_at(&responses, 1)?.first() {
                Some(gate) if gate.create_revision > fence.create_revision.0 => return Ok(()),
                // The ones before have not all left.
                Some(gate) if self.shut(gate).await? => {}
                None if there >= parties => self.open(fence).await?,
                _ => self.space.changed(b"", revision, Seen::All).await?,
            }
        }
    }

    /// Leaves, whether the gate was opened or not. The last one of those for whom it was shuts it.
    pub async fn leave(&self, fence: &Fence) -> Result<(), Error> {
        let txn = Txn {
            compares: vec![fence.compare()],
            success: vec![removed(fence.key.clone())],
            failure: Vec::new(),
        };
        self.space.txn(txn).await?;
        if let Some(gate) = self.space.one(self.gate()).await? {
            self.shut(&gate).await?;
        }
        Ok(())
    }

    /// Who is there: the keys are leases in hexadecimal; and whether the gate is open.
    pub async fn parties(&self) -> Result<(Vec<Pair>, bool), Error> {
        let range = Range { range: self.space.below(PARTIES), ..Range::default() };
        let (response, _) = self.space.read(Query::Range(range)).await?;
        let there = pairs(response)?.iter().map(|kv| self.space.pair(kv, PARTIES.len())).collect();
        Ok((there, self.space.one(self.gate()).await?.is_some()))
    }

    /// The key of a party, for who knows only its [`Pair`].
    pub fn key_of(&self, party: &[u8]) -> Bytes {
        self.space.key(&[PARTIES, party].concat())
    }

    fn gate(&self) -> Bytes {
        self.space.key(GATE)
    }

    async fn come(&self, lease: LeaseId) -> Result<Fence, Error> {
        let key = self.space.key(format!("p/{:x}", lease.0).as_bytes());
        let put = Put { key: key.clone(), lease: lease.0, ..Put::default() };
        let done = self
            .space
            .txn(Txn {
                compares: vec![made_by(key.clone(), Revision::ZERO)],
                success: vec![op(OpKind::Put(put))],
                failure: vec![get(key.clone())],
            })
            .await?;
        let found = if done.succeeded { None } else { pairs_at(&done.responses, 0)?.first() };
        let create_revision = found.map_or(done.revision, |kv| Revision(kv.create_revision));
        Ok(Fence { key, create_revision })
    }

    /// Opens the gate, if nobody else has.
    async fn open(&self, fence: &Fence) -> Result<(), Error> {
        let gate = Put { key: self.gate(), ..Put::default() };
        let txn = Txn {
            compares: vec![fence.compare(), made_by(self.gate(), Revision::ZERO)],
            success: vec![op(OpKind::Put(gate))],
            failure: Vec::new(),
        };
        self.space.txn(txn).await.map(drop)
    }

    /// Shuts a gate if all for whom it was opened have left; whether it is shut.
    async fn shut(&self, gate: &KeyValue) -> Result<bool, Error> {
        let later = Compare {
            range: self.space.below(PARTIES),
            result: CompareResult::Greater as i32,
            target: Some(CompareTarget::Create(gate.create_revision)),
        };
        let nobody = Compare { result: CompareResult::Equal as i32, ..later.clone() };
        let nobody = Compare { target: Some(CompareTarget::Create(0)), ..nobody };
        for left in [later, nobody] {
            let txn = Txn {
                compares: vec![made_by(self.gate(), Revision(gate.create_revision)), left],
                success: vec![removed(self.gate())],
                failure: vec![get(self.gate())],
            };
            let done = self.space.txn(txn).await?;
            let is_there = |kv: &KeyValue| kv.create_revision == gate.create_revision;
            if done.succeeded || !pairs_at(&done.responses, 0)?.first().is_some_and(is_there) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A party before the gate.
struct Waiting<'a> {
    barrier: &'a Barrier,
    fence: Option<Fence>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(fence) = self.fence.take() else { return };
        // Without a runtime the party goes with its lease.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let barrier = self.barrier.clone();
            runtime.spawn(async move {
                let _ = barrier.leave(&fence).await;
            });
        }
    }
}
