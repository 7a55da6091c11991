//! The transactions behind locks, elections and requests that count once: places in a queue, what a
//! holder shows with its writes, and receipts. Whoever serves clients sends them; the simulator
//! sends the same.

use super::{
    Compare, CompareResult, CompareTarget, DeleteRange, KeyRange, Op, OpKind, Put, Range,
    SortOrder, SortTarget, Txn,
};
use crate::base::mutant::{self, Mutant};
use crate::base::{LeaseId, Revision};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

/// Holds for a key that this revision made; zero: for one that is not there.
pub fn created(key: &Bytes, by: Revision) -> Compare {
    Compare {
        range: KeyRange::of_key(key.clone()),
        result: CompareResult::Equal as i32,
        target: Some(CompareTarget::Create(by.0)),
    }
}

/// Runs these together, in one revision, while the place of this key and revision is there;
/// otherwise nothing happens.
pub fn fenced(key: &Bytes, create_revision: Revision, ops: Vec<Op>) -> Txn {
    let mut compares = vec![created(key, create_revision)];
    if mutant::is_active(Mutant::FenceNotCompared) {
        compares.clear();
    }
    Txn { compares, success: ops, failure: Vec::new() }
}

/// Carries a write out unless its receipt is there: then that is read. `demanded` must hold
/// besides.
pub fn once(receipt: &Bytes, demanded: Vec<Compare>, write: Vec<Op>) -> Txn {
    let mut compares = demanded;
    if !mutant::is_active(Mutant::ReceiptNotLookedFor) {
        compares.insert(0, created(receipt, Revision::ZERO));
    }
    let look = Range { range: KeyRange::of_key(receipt.clone()), ..Range::default() };
    Txn { compares, success: write, failure: vec![op(OpKind::Range(look))] }
}

/// Places in a queue: keys below a prefix, one for each lease, served in the order of their
/// creation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    prefix: Bytes,
}

impl Places {
    /// Those of a queue of this name: below the name and a slash.
    pub fn of(name: &[u8]) -> Places {
        Places { prefix: [name, b"/"].concat().into() }
    }

    /// The key of a lease's place.
    pub fn key(&self, lease: LeaseId) -> Bytes {
        [&self.prefix[..], format!("{:x}", lease.0).as_bytes()].concat().into()
    }

    /// Every place there is.
    pub fn range(&self) -> KeyRange {
        KeyRange::of_prefix(self.prefix.clone())
    }

    /// Takes the place that this put makes, at the end; answers with it, if it was there before,
    /// and in any case then with the first.
    pub fn enter(&self, put: Put) -> Txn {
        let own = Range { range: KeyRange::of_key(put.key.clone()), ..Range::default() };
        Txn {
            compares: vec![created(&put.key, Revision::ZERO)],
            success: vec![op(OpKind::Put(put)), op(OpKind::Range(self.first()))],
            failure: vec![op(OpKind::Range(own)), op(OpKind::Range(self.first()))],
        }
    }

    /// The first place.
    pub fn first(&self) -> Range {
        let is_by_key = mutant::is_active(Mutant::QueueServedByKey);
        let target = if is_by_key { SortTarget::Key } else { SortTarget::Create };
        Range {
            range: self.range(),
            limit: 1,
            sort_order: SortOrder::Ascend as i32,
            sort_target: target as i32,
            ..Range::default()
        }
    }

    /// Reads the last place in front of this one, and the place.
    pub fn look(&self, key: &Bytes, create_revision: Revision) -> Txn {
        let before = Range {
            sort_order: SortOrder::Descend as i32,
            max_create_revision: create_revision.0.saturating_sub(1),
            keys_only: true,
            ..self.first()
        };
        let range = KeyRange::of_key(key.clone());
        let own = Range { range, keys_only: true, ..Range::default() };
        let success = vec![op(OpKind::Range(before)), op(OpKind::Range(own))];
        Txn { success, ..Txn::default() }
    }

    /// Gives a place back, if it is that one still.
    pub fn leave(key: &Bytes, create_revision: Revision) -> Txn {
        let delete = DeleteRange { range: KeyRange::of_key(key.clone()), prev_kv: false };
        let success = vec![op(OpKind::Delete(delete))];
        Txn { compares: vec![created(key, create_revision)], success, failure: Vec::new() }
    }

    /// Holds while no place is before this one, of those there are; they may all be gone.
    pub fn nobody_before(&self, create_revision: Revision) -> Compare {
        Compare {
            range: self.range(),
            result: CompareResult::Greater as i32,
            target: Some(CompareTarget::Create(create_revision.0.saturating_sub(1))),
        }
    }
}

fn op(kind: OpKind) -> Op {
    Op { kind: Some(kind) }
}
