//! Transactions: what is refused before anything changes, then what runs without refusal.

use super::kv::{Kv, NewValue, Stamp};
use super::lease::{self, Leases};
use super::overlap::Writes;
use super::version::Version;
use super::{
    Blob, Compare, CompareResult, CompareTarget, DeleteRange, KeyRange, KeyValue, KvEvent,
    LeaseNews, Op, OpKind, Put, Range, Refusal, Response, Txn,
};
use crate::base::LeaseId;
use crate::base::mutant::{self, Mutant};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cmp::Ordering;

impl Txn {
    /// Whether no branch of it, taken or not, writes: then it may be asked as a query.
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| match &op.kind {
            Some(OpKind::Put(_) | OpKind::Delete(_)) => false,
            Some(OpKind::Txn(txn)) => txn.is_read_only(),
            Some(OpKind::Range(_)) | None => true,
        })
    }

    /// What can be refused without looking at the store.
    pub(super) fn check_form(&self) -> Result<(), Refusal> {
        self.check_ops(TXN_OPS_MAX)?;
        Writes::of_ops(&self.success)?;
        Writes::of_ops(&self.failure)?;
        Ok(())
    }

    /// A transaction inside may have as many operations as the one around it left unused.
    fn check_ops(&self, most: usize) -> Result<(), Refusal> {
        let ops = self.compares.len().max(self.success.len()).max(self.failure.len());
        let left = most.checked_sub(ops).ok_or(Refusal::TooManyOps)?;
        for compare in &self.compares {
            compare.check_form()?;
        }
        for op in self.success.iter().chain(&self.failure) {
            match &op.kind {
                Some(OpKind::Range(range)) => range.check_form()?,
                Some(OpKind::Put(put)) => put.check_form()?,
                Some(OpKind::Delete(delete)) => delete.check_form()?,
                Some(OpKind::Txn(txn)) => txn.check_ops(left)?,
                None => return Err(Refusal::Unknown),
            }
        }
        Ok(())
    }
}

impl Put {
    /// What can be refused without looking at the store.
    pub(super) fn check_form(&self) -> Result<(), Refusal> {
        if self.key.is_empty() {
            return Err(Refusal::EmptyKey);
        }
        if self.ignore_value && !self.value.is_empty() {
            return Err(Refusal::ValueProvided);
        }
        if self.ignore_lease && (self.lease != 0 || self.ttl_ms != 0) {
            return Err(Refusal::LeaseProvided);
        }
        if self.ttl_ms == 0 { Ok(()) } else { lease::check_form(self.lease, self.ttl_ms) }
    }
}

impl DeleteRange {
    /// What can be refused without looking at the store.
    pub(super) fn check_form(&self) -> Result<(), Refusal> {
        if self.range.key.is_empty() { Err(Refusal::EmptyKey) } else { Ok(()) }
    }
}

impl Compare {
    fn check_form(&self) -> Result<(), Refusal> {
        if self.range.key.is_empty() {
            return Err(Refusal::EmptyKey);
        }
        let is_known = self.target.is_some() && CompareResult::is_valid(self.result);
        if is_known { Ok(()) } else { Err(Refusal::Unknown) }
    }

    fn holds(&self, kv: &Kv) -> bool {
        let mut present =
            kv.present_span(&self.range).map(|(_, history)| history.newest()).peekable();
        if present.peek().is_none() {
            return self.holds_for(None);
        }
        present.all(|version| self.holds_for(Some(version)))
    }

    /// Of a key that does not exist, all numbers are 0 and no value compares.
    fn holds_for(&self, version: Option<&Version>) -> bool {
        let number = |of: fn(&Version) -> u64| version.map_or(0, of);
        let ordering = match (&self.target, version) {
            (Some(CompareTarget::Version(wanted)), _) => number(|it| it.version).cmp(wanted),
            (Some(CompareTarget::Create(wanted)), _) => number(|it| it.created.0).cmp(wanted),
            (Some(CompareTarget::Mod(wanted)), _) => number(|it| it.revision.0).cmp(wanted),
            (Some(CompareTarget::Lease(wanted)), _) => number(|it| it.lease).cmp(wanted),
            (Some(CompareTarget::Value(wanted)), Some(version)) => (*version.value).cmp(wanted),
            (Some(CompareTarget::Value(_)), None) | (None, _) => return false,
        };
        match self.result() {
            CompareResult::Equal => ordering == Ordering::Equal,
            CompareResult::Greater => ordering == Ordering::Greater,
            CompareResult::Less => ordering == Ordering::Less,
            CompareResult::NotEqual => ordering != Ordering::Equal,
        }
    }
}

/// Most operations in one transaction, comparisons and both branches counted apart: etcd's 128.
pub const TXN_OPS_MAX: usize = 128;

/// Keys that all ranges and comparisons of a transaction may cover together. Every node carries a
/// transaction out, and again when it starts: this is about ten milliseconds of each.
pub const TXN_KEYS_MAX: usize = 100_000;

impl Txn {
    /// Refuses a transaction that would hold up every node, before anything of it runs. The same on
    /// all nodes: it depends on the store alone.
    pub(super) fn check_cost(&self, kv: &Kv) -> Result<(), Refusal> {
        self.cost(kv, TXN_KEYS_MAX).map(drop)
    }

    /// How many keys its ranges cover; none if it is refused for that.
    pub(super) fn looks_at(&self, kv: &Kv) -> usize {
        self.cost(kv, TXN_KEYS_MAX).map_or(0, |left| TXN_KEYS_MAX - left)
    }

    /// What of `left` keys is left.
    fn cost(&self, kv: &Kv, mut left: usize) -> Result<usize, Refusal> {
        for compare in &self.compares {
            left = cost(&compare.range, kv, left)?;
        }
        for op in self.success.iter().chain(&self.failure) {
            left = match &op.kind {
                Some(OpKind::Range(range)) => cost(&range.range, kv, left)?,
                Some(OpKind::Delete(delete)) => cost(&delete.range, kv, left)?,
                Some(OpKind::Txn(txn)) => txn.cost(kv, left)?,
                Some(OpKind::Put(_)) | None => left,
            };
        }
        Ok(left)
    }
}

fn cost(range: &KeyRange, kv: &Kv, left: usize) -> Result<usize, Refusal> {
    // A key of its own is one of at most TXN_OPS_MAX: free.
    if range.is_point() {
        return Ok(left);
    }
    left.checked_sub(kv.count(range).all).ok_or(Refusal::TooManyKeys)
}

/// A transaction whose comparisons were made: which operations run is settled.
///
/// All comparisons, also of transactions inside, see the store as it was before the command, as in
/// etcd. That is what lets every refusal come before the first write.
pub(super) struct Chosen<'a> {
    succeeded: bool,
    ops: Vec<ChosenOp<'a>>,
}

enum ChosenOp<'a> {
    Range(&'a Range),
    Put(&'a Put),
    Delete(&'a DeleteRange),
    Txn(Chosen<'a>),
}

impl<'a> Chosen<'a> {
    /// Makes the comparisons of a transaction whose form was checked.
    pub(super) fn of(txn: &'a Txn, kv: &Kv) -> Chosen<'a> {
        let succeeded = txn.compares.iter().all(|compare| compare.holds(kv));
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let choose = |op: &'a Op| match &op.kind {
            Some(OpKind::Range(range)) => Some(ChosenOp::Range(range)),
            Some(OpKind::Put(put)) => Some(ChosenOp::Put(put)),
            Some(OpKind::Delete(delete)) => Some(ChosenOp::Delete(delete)),
            Some(OpKind::Txn(txn)) => Some(ChosenOp::Txn(Chosen::of(txn, kv))),
            None => None,
        };
        Chosen { succeeded, ops: ops.iter().filter_map(choose).collect() }
    }

    /// Whether the comparisons held.
    pub(super) fn has_succeeded(&self) -> bool {
        self.succeeded
    }

    /// Whether every operation that will run can.
    pub(super) fn check(&self, kv: &Kv, leases: &Leases) -> Result<(), Refusal> {
        for op in &self.ops {
            match op {
                ChosenOp::Range(range) => kv.check_range(range)?,
                ChosenOp::Put(put) => check_put(put, kv, leases)?,
                ChosenOp::Delete(_) => {}
                ChosenOp::Txn(chosen) => chosen.check(kv, leases)?,
            }
        }
        Ok(())
    }

    /// Whether anything is put.
    pub(super) fn puts(&self) -> bool {
        self.ops.iter().any(|op| match op {
            ChosenOp::Range(_) | ChosenOp::Delete(_) => false,
            ChosenOp::Put(_) => true,
            ChosenOp::Txn(chosen) => chosen.puts(),
        })
    }

    /// Answers a transaction without writes.
    pub(super) fn read(&self, kv: &Kv) -> Response {
        let answer = |op: &ChosenOp<'_>| match op {
            ChosenOp::Range(range) => kv.range(range),
            ChosenOp::Txn(chosen) => chosen.read(kv),
            ChosenOp::Put(_) | ChosenOp::Delete(_) => unreachable!("checked to be read-only"),
        };
        let responses = self.ops.iter().map(answer).collect();
        Response::Txn { succeeded: self.succeeded, responses }
    }
}

/// Whether a put whose form was checked can run on this store. As each key is written once at most,
/// the store before the command is the store the put will see.
pub(super) fn check_put(put: &Put, kv: &Kv, leases: &Leases) -> Result<(), Refusal> {
    let needs_key = put.ignore_value || put.ignore_lease;
    if needs_key && kv.present(&put.key).is_none() {
        return Err(Refusal::KeyNotFound);
    }
    if put.ttl_ms != 0 {
        return leases.check_own(put.lease);
    }
    leases.check_attach(put.lease)?;
    leases.check_room(put.lease, &put.key)
}

/// Writes of one command: one revision, a sub-revision each.
pub(super) struct Writer<'a> {
    kv: &'a mut Kv,
    leases: &'a mut Leases,
    stamp: Stamp,
    events: Vec<KvEvent>,
    /// Leases that puts made.
    made: Vec<LeaseNews>,
    /// Leases that lost a key.
    left: BTreeSet<LeaseId>,
}

/// What a command wrote.
pub(super) struct Written {
    pub(super) events: Vec<KvEvent>,
    /// Leases made by puts, and those that ended with their last key.
    pub(super) leases: Vec<LeaseNews>,
}

impl<'a> Writer<'a> {
    /// Nothing is written yet.
    pub(super) fn new(kv: &'a mut Kv, leases: &'a mut Leases) -> Writer<'a> {
        let stamp = Stamp { revision: kv.revision.next(), sub: 0 };
        let (made, left) = (Vec::new(), BTreeSet::new());
        Writer { kv, leases, stamp, events: Vec::new(), made, left }
    }

    /// Ends the revision, if anything was written, and tells what was.
    ///
    /// Leases of puts end here and not with the write that takes their last key: a later write of
    /// the same command was checked against those that existed before it.
    pub(super) fn finish(self) -> Written {
        if !self.events.is_empty() {
            self.kv.commit(self.stamp.revision);
        }
        let mut news = self.made;
        for id in self.left {
            if self.leases.end_own(id) {
                news.push(LeaseNews::Ended { id, expired: false });
            }
        }
        Written { events: self.events, leases: news }
    }

    /// Runs a transaction that was checked.
    pub(super) fn txn(&mut self, chosen: &Chosen<'_>) -> Response {
        let mut responses = Vec::with_capacity(chosen.ops.len());
        for op in &chosen.ops {
            responses.push(match op {
                ChosenOp::Range(range) => self.kv.range(range),
                ChosenOp::Put(put) => self.put(put),
                ChosenOp::Delete(delete) => self.delete(delete),
                ChosenOp::Txn(chosen) => self.txn(chosen),
            });
        }
        Response::Txn { succeeded: chosen.succeeded, responses }
    }

    /// Runs a put that was checked.
    pub(super) fn put(&mut self, put: &Put) -> Response {
        let present = || self.kv.present(&put.key).expect("checked before the command ran");
        let value = if put.ignore_value { present().value.clone() } else { (&put.value).into() };
        let lease = if put.ignore_lease { present().lease } else { put.lease };
        let new = NewValue { value, lease };
        if put.ttl_ms != 0 && self.leases.make_own(LeaseId(lease), put.ttl_ms) {
            let is_halved = mutant::is_active(Mutant::PutTtlHalved);
            let ttl_ms = if is_halved { put.ttl_ms.div_ceil(2) } else { put.ttl_ms };
            self.made.push(LeaseNews::Granted { id: LeaseId(lease), ttl_ms });
        }
        let event = self.kv.put(self.stamp, &put.key, new);
        let from = event.prev.as_ref().map_or(0, |prev| prev.lease);
        self.reattach(&event.kv.key, from, lease);
        let prev = if put.prev_kv { event.prev.clone() } else { None };
        self.note(event);
        Response::Put { prev }
    }

    /// Deletes what exists of a range.
    pub(super) fn delete(&mut self, delete: &DeleteRange) -> Response {
        let doomed = self.present_keys(&delete.range);
        let mut prev: Vec<KeyValue> = Vec::new();
        for key in &doomed {
            let before = self.delete_key(key, false);
            if delete.prev_kv {
                prev.extend(before);
            }
        }
        Response::Delete { deleted: doomed.len() as u64, prev }
    }

    /// Deletes a key that exists, and answers with the pair it was.
    pub(super) fn delete_key(&mut self, key: &Blob, expired: bool) -> Option<KeyValue> {
        let event = self.kv.delete(self.stamp, key, expired);
        let prev = event.prev.clone();
        self.reattach(key, prev.as_ref().map_or(0, |prev| prev.lease), 0);
        self.note(event);
        prev
    }

    fn reattach(&mut self, key: &Blob, from: u64, to: u64) {
        self.leases.reattach(key, from, to);
        if from != 0 && from != to {
            self.left.insert(LeaseId(from));
        }
    }

    fn present_keys(&self, range: &KeyRange) -> Vec<Blob> {
        self.kv.present_span(range).map(|(key, _)| key.clone()).collect()
    }

    fn note(&mut self, event: KvEvent) {
        self.stamp.sub = self.stamp.sub.checked_add(1).expect("a store has fewer keys than that");
        self.events.push(event);
    }
}
