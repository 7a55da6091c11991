//! What the key-value state must be, written a second time and as plainly as possible: whole
//! history kept, nothing clever. The record of truth for what reads, transactions and watches must
//! say.

use bytes::Bytes;
use muslin_core::base::Revision;
use muslin_core::state::{
    Command, CommandKind, Compare, CompareResult, CompareTarget, DeleteRange, KeyRange, KeyValue,
    KvEvent, KvEventKind, LeaseRevoke, Op, OpKind, Outcome, Put, Query, Range, Refusal, Response,
    SortOrder, SortTarget, Txn,
};
use std::collections::{BTreeMap, BTreeSet};

/// The state after some commands, with all that was before.
#[derive(Debug)]
pub(crate) struct Model {
    revision: u64,
    compacted: u64,
    /// Every version of every key, oldest first; a deletion has version 0.
    keys: BTreeMap<Bytes, Vec<KeyValue>>,
    leases: BTreeMap<u64, Lease>,
    events: Vec<KvEvent>,
}

#[derive(Debug, Default)]
struct Lease {
    keys: BTreeSet<Bytes>,
    /// A put made it: it ends with its last key.
    is_of_put: bool,
}

impl Model {
    pub(crate) fn at(revision: Revision) -> Model {
        Model {
            revision: revision.0,
            compacted: 0,
            keys: BTreeMap::new(),
            leases: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    pub(crate) fn compacted(&self) -> Revision {
        Revision(self.compacted)
    }

    /// Everything that ever changed, in order.
    pub(crate) fn events(&self) -> &[KvEvent] {
        &self.events
    }

    pub(crate) fn leases(&self) -> impl Iterator<Item = u64> + '_ {
        self.leases.keys().copied()
    }

    /// Takes a command. `None` when it is about something else than keys and leases.
    pub(crate) fn apply(&mut self, command: &Command) -> Option<Outcome> {
        let result = match command.kind.as_ref()? {
            CommandKind::Put(put) => self.whole(|model, rev| model.put(put, rev)),
            CommandKind::Delete(delete) => {
                self.whole(|model, rev| Ok(model.delete(delete, rev, KvEventKind::Delete)))
            }
            CommandKind::Txn(txn) => self.whole(|model, rev| model.txn(txn, rev)),
            CommandKind::Compact(compact) => self.compact(compact.revision),
            CommandKind::LeaseGrant(grant) => self.grant(grant.id, grant.ttl_ms),
            CommandKind::LeaseRevoke(revoke) => self.revoke(revoke),
            _ => return None,
        };
        Some(Outcome { revision: self.revision(), result })
    }

    /// Runs writes at the next revision, which is used up if anything changed.
    fn whole(
        &mut self,
        run: impl FnOnce(&mut Model, u64) -> Result<Response, Refusal>,
    ) -> Result<Response, Refusal> {
        let next = self.revision + 1;
        let before = self.events.len();
        let result = run(self, next);
        if self.events.len() > before {
            self.revision = next;
        }
        self.leases.retain(|_, lease| !lease.is_of_put || !lease.keys.is_empty());
        result
    }

    /// Whether a put can hang on what it names.
    fn check_put(&self, put: &Put) -> Result<(), Refusal> {
        let is_there = put.lease != 0 && self.leases.contains_key(&put.lease);
        match put.ttl_ms {
            0 if put.lease != 0 && !is_there => Err(Refusal::LeaseNotFound),
            0 => Ok(()),
            _ if is_there => Err(Refusal::LeaseExists),
            _ => Ok(()),
        }
    }

    fn put(&mut self, put: &Put, revision: u64) -> Result<Response, Refusal> {
        self.check_put(put)?;
        if put.ttl_ms != 0 {
            self.leases.insert(put.lease, Lease { is_of_put: true, ..Lease::default() });
        }
        let prev = self.present(&put.key).cloned();
        if let Some(lease) = prev.as_ref().and_then(|prev| self.leases.get_mut(&prev.lease)) {
            lease.keys.remove(&put.key);
        }
        if let Some(lease) = self.leases.get_mut(&put.lease) {
            lease.keys.insert(put.key.clone());
        }
        let kv = KeyValue {
            key: (&put.key).into(),
            value: (&put.value).into(),
            create_revision: prev.as_ref().map_or(revision, |prev| prev.create_revision),
            mod_revision: revision,
            version: prev.as_ref().map_or(0, |prev| prev.version) + 1,
            lease: put.lease,
        };
        self.keys.entry(put.key.clone()).or_default().push(kv.clone());
        let answer = if put.prev_kv { prev.clone() } else { None };
        self.events.push(KvEvent { kind: KvEventKind::Put, kv, prev });
        Ok(Response::Put { prev: answer })
    }

    fn delete(&mut self, delete: &DeleteRange, revision: u64, kind: KvEventKind) -> Response {
        let gone = self.range_at(&delete.range, u64::MAX);
        for prev in &gone {
            if let Some(lease) = self.leases.get_mut(&prev.lease) {
                lease.keys.remove(&prev.key[..]);
            }
            let kv =
                KeyValue { key: prev.key.clone(), mod_revision: revision, ..KeyValue::default() };
            self.keys.entry(Bytes::from(&prev.key)).or_default().push(kv.clone());
            self.events.push(KvEvent { kind, kv, prev: Some(prev.clone()) });
        }
        let deleted = gone.len() as u64;
        Response::Delete { deleted, prev: if delete.prev_kv { gone } else { Vec::new() } }
    }

    fn txn(&mut self, txn: &Txn, revision: u64) -> Result<Response, Refusal> {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { &txn.success } else { &txn.failure };
        for put in ops.iter().filter_map(put_of) {
            self.check_put(put)?;
        }
        let mut responses = Vec::with_capacity(ops.len());
        for op in ops {
            let response = match op.kind.as_ref().expect("every operation has a kind") {
                OpKind::Range(range) => self.range(range)?,
                OpKind::Put(put) => self.put(put, revision)?,
                OpKind::Delete(delete) => self.delete(delete, revision, KvEventKind::Delete),
                OpKind::Txn(inner) => self.txn(inner, revision)?,
            };
            responses.push(response);
        }
        Ok(Response::Txn { succeeded, responses })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let absent = KeyValue::default();
        let kv = self.present(&compare.range.key);
        let known = kv.unwrap_or(&absent);
        let order = match compare.target.as_ref().expect("every comparison has a target") {
            CompareTarget::Version(version) => known.version.cmp(version),
            CompareTarget::Create(revision) => known.create_revision.cmp(revision),
            CompareTarget::Mod(revision) => known.mod_revision.cmp(revision),
            CompareTarget::Lease(lease) => known.lease.cmp(lease),
            CompareTarget::Value(value) => match kv {
                Some(kv) => (*kv.value).cmp(value),
                None => return false,
            },
        };
        match CompareResult::try_from(compare.result) {
            Ok(CompareResult::Equal) => order.is_eq(),
            Ok(CompareResult::Greater) => order.is_gt(),
            Ok(CompareResult::Less) => order.is_lt(),
            Ok(CompareResult::NotEqual) => order.is_ne(),
            Err(_) => false,
        }
    }

    fn compact(&mut self, revision: u64) -> Result<Response, Refusal> {
        if revision <= self.compacted {
            return Err(Refusal::Compacted);
        }
        if revision > self.revision {
            return Err(Refusal::FutureRevision);
        }
        self.compacted = revision;
        Ok(Response::Compact)
    }

    fn grant(&mut self, id: u64, ttl_ms: u64) -> Result<Response, Refusal> {
        if self.leases.contains_key(&id) {
            return Err(Refusal::LeaseExists);
        }
        self.leases.insert(id, Lease::default());
        Ok(Response::LeaseGrant { id, ttl_ms })
    }

    fn revoke(&mut self, revoke: &LeaseRevoke) -> Result<Response, Refusal> {
        let is_there = |id: &u64| self.leases.contains_key(id);
        if !revoke.expired && !revoke.ids.iter().all(is_there) {
            return Err(Refusal::LeaseNotFound);
        }
        let kind = if revoke.expired { KvEventKind::Expired } else { KvEventKind::Delete };
        self.whole(|model, revision| {
            let ended: Vec<Lease> =
                revoke.ids.iter().filter_map(|id| model.leases.remove(id)).collect();
            let keys: BTreeSet<Bytes> = ended.into_iter().flat_map(|lease| lease.keys).collect();
            for key in keys {
                let range = KeyRange { key, range_end: Bytes::new() };
                model.delete(&DeleteRange { range, prev_kv: false }, revision, kind);
            }
            Ok(Response::LeaseRevoke)
        })
    }

    fn present(&self, key: &Bytes) -> Option<&KeyValue> {
        self.keys.get(key)?.last().filter(|kv| kv.version > 0)
    }

    /// The pairs in a range as of a revision, in order.
    fn range_at(&self, range: &KeyRange, revision: u64) -> Vec<KeyValue> {
        let in_range = self.keys.iter().filter(|(key, _)| range.contains(key));
        in_range
            .filter_map(|(_, versions)| {
                let upto = versions.partition_point(|kv| kv.mod_revision <= revision);
                versions[..upto].last().filter(|kv| kv.version > 0).cloned()
            })
            .collect()
    }

    fn range(&self, range: &Range) -> Result<Response, Refusal> {
        if range.revision != 0 && range.revision < self.compacted {
            return Err(Refusal::Compacted);
        }
        let at = if range.revision == 0 { u64::MAX } else { range.revision };
        Ok(self.range_answer(range, at))
    }

    fn range_answer(&self, range: &Range, at: u64) -> Response {
        let mut kvs = self.range_at(&range.range, at);
        let count = kvs.len() as u64;
        sort(&mut kvs, range);
        let more = range.limit > 0 && count > range.limit;
        if more {
            kvs.truncate(range.limit as usize);
        }
        if range.count_only {
            kvs.clear();
        }
        Response::Range { kvs, more, count }
    }

    /// What a query must answer when the state is at this revision. Compaction and leases are not
    /// told by a revision: a refusal for compaction, and queries for leases, are `None`.
    pub(crate) fn answer(&self, query: &Query, revision: Revision) -> Option<Response> {
        match query {
            Query::Range(range) if range.revision == 0 => {
                Some(self.range_answer(range, revision.0))
            }
            Query::Range(range) if range.revision <= revision.0 => {
                Some(self.range_answer(range, range.revision))
            }
            _ => None,
        }
    }
}

fn put_of(op: &Op) -> Option<&Put> {
    match &op.kind {
        Some(OpKind::Put(put)) => Some(put),
        _ => None,
    }
}

/// In the order that clients of the simulator ask for: by what was made first, or by key.
fn sort(kvs: &mut [KeyValue], range: &Range) {
    assert!(range.sort_order() != SortOrder::Descend, "nobody asks for it");
    match range.sort_target() {
        SortTarget::Key => {}
        SortTarget::Create => kvs.sort_by_key(|kv| kv.create_revision),
        other => panic!("nobody asks for the order of {other:?}"),
    }
}
