//! The store against a naive one: a full copy of all pairs per revision.

use super::*;
use crate::base::Revision;
use proptest::prelude::*;
use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};

type Pairs = BTreeMap<Bytes, KeyValue>;

/// All that ever was, as plainly as possible.
struct Model {
    /// By revision; nothing is in 0 and 1.
    history: Vec<Pairs>,
    /// By revision.
    events: Vec<Vec<(KvEventKind, Bytes)>>,
    compacted: u64,
    /// Their times to live, and whether a put made them.
    leases: BTreeMap<u64, (u64, bool)>,
}

/// A command that runs: the pairs as they become, and what changed.
struct Draft<'a> {
    model: &'a Model,
    pairs: Pairs,
    events: Vec<(KvEventKind, Bytes)>,
    made: Vec<(u64, u64)>,
}

impl Model {
    fn new() -> Model {
        Model {
            history: vec![Pairs::new(); 2],
            events: vec![Vec::new(); 2],
            compacted: 0,
            leases: BTreeMap::new(),
        }
    }

    fn revision(&self) -> u64 {
        self.history.len() as u64 - 1
    }

    fn pairs(&self) -> &Pairs {
        self.history.last().expect("two at least")
    }

    fn apply(&mut self, kind: &CommandKind) -> Result<Response, Refusal> {
        match kind {
            CommandKind::Put(put) => {
                check_form(&OpKind::Put(put.clone()))?;
                self.check(&OpKind::Put(put.clone()))?;
                self.write(|draft| draft.put(put))
            }
            CommandKind::Delete(delete) => self.write(|draft| draft.delete(delete)),
            CommandKind::Txn(txn) => {
                check_forms(txn)?;
                for ops in [&txn.success, &txn.failure] {
                    if worlds(ops).iter().any(|world| is_written_twice(world)) {
                        return Err(Refusal::DuplicateKey);
                    }
                }
                self.check(&OpKind::Txn(txn.clone()))?;
                self.write(|draft| draft.txn(txn))
            }
            CommandKind::Compact(compact) => self.compact(compact.revision),
            CommandKind::LeaseGrant(grant) => {
                if self.leases.contains_key(&grant.id) {
                    return Err(Refusal::LeaseExists);
                }
                self.leases.insert(grant.id, (grant.ttl_ms, false));
                Ok(Response::LeaseGrant { id: grant.id, ttl_ms: grant.ttl_ms })
            }
            CommandKind::LeaseRevoke(revoke) => self.revoke(revoke),
            _ => unreachable!("not generated"),
        }
    }

    fn compact(&mut self, to: u64) -> Result<Response, Refusal> {
        if to > self.revision() {
            return Err(Refusal::FutureRevision);
        }
        if to <= self.compacted {
            return Err(Refusal::Compacted);
        }
        self.compacted = to;
        Ok(Response::Compact)
    }

    fn revoke(&mut self, revoke: &LeaseRevoke) -> Result<Response, Refusal> {
        let ids: BTreeSet<u64> = revoke.ids.iter().copied().collect();
        let is_refused = ids.is_empty() || !ids.iter().all(|id| self.leases.contains_key(id));
        if !revoke.expired && is_refused {
            return Err(Refusal::LeaseNotFound);
        }
        let kind = if revoke.expired { KvEventKind::Expired } else { KvEventKind::Delete };
        let doomed: Vec<Bytes> = self
            .pairs()
            .values()
            .filter(|kv| ids.contains(&kv.lease))
            .map(|kv| Bytes::from(&kv.key))
            .collect();
        self.leases.retain(|id, _| !ids.contains(id));
        self.write(|draft| {
            for key in doomed {
                draft.remove(&key, kind);
            }
            Response::LeaseRevoke
        })
    }

    fn write(&mut self, run: impl FnOnce(&mut Draft<'_>) -> Response) -> Result<Response, Refusal> {
        let pairs = self.pairs().clone();
        let mut draft = Draft { model: self, pairs, events: Vec::new(), made: Vec::new() };
        let response = run(&mut draft);
        let Draft { pairs, events, made, .. } = draft;
        for (id, ttl_ms) in made {
            self.leases.entry(id).or_insert((ttl_ms, true));
        }
        let is_used = |id: &u64| pairs.values().any(|kv| kv.lease == *id);
        self.leases.retain(|id, (_, of_put)| !*of_put || is_used(id));
        if !events.is_empty() {
            self.history.push(pairs);
            self.events.push(events);
        }
        Ok(response)
    }

    /// Whether an operation can run on the store as it is before the command.
    fn check(&self, op: &OpKind) -> Result<(), Refusal> {
        match op {
            OpKind::Range(range) => {
                let revision = range.revision;
                if revision > self.revision() {
                    return Err(Refusal::FutureRevision);
                }
                let is_gone = revision != 0 && revision < self.compacted;
                if is_gone { Err(Refusal::Compacted) } else { Ok(()) }
            }
            OpKind::Put(put) => {
                let needs_key = put.ignore_lease || put.ignore_value;
                if needs_key && !self.pairs().contains_key(&put.key) {
                    return Err(Refusal::KeyNotFound);
                }
                let is_lease_known = put.lease == 0 || self.leases.contains_key(&put.lease);
                if put.ttl_ms != 0 {
                    return if is_lease_known { Err(Refusal::LeaseExists) } else { Ok(()) };
                }
                if is_lease_known { Ok(()) } else { Err(Refusal::LeaseNotFound) }
            }
            OpKind::Delete(_) => Ok(()),
            OpKind::Txn(txn) => self
                .branch(txn)
                .1
                .iter()
                .filter_map(|op| op.kind.as_ref())
                .try_for_each(|op| self.check(op)),
        }
    }

    fn branch<'a>(&self, txn: &'a Txn) -> (bool, &'a [Op]) {
        let succeeded = txn.compares.iter().all(|compare| holds(compare, self.pairs()));
        (succeeded, if succeeded { &txn.success } else { &txn.failure })
    }

    fn watch(&self, start: u64, range: &KeyRange) -> Vec<KvEvent> {
        let mut out = Vec::new();
        for revision in start.max(2)..=self.revision() {
            for (kind, key) in &self.events[revision as usize] {
                if !is_within(range, key) {
                    continue;
                }
                let gone =
                    KeyValue { key: key.into(), mod_revision: revision, ..KeyValue::default() };
                let kv = self.history[revision as usize].get(key).cloned().unwrap_or(gone);
                let before = self.history[revision as usize - 1].get(key).cloned();
                let prev = before.filter(|_| revision > self.compacted);
                out.push(KvEvent { kind: *kind, kv, prev });
            }
        }
        out
    }
}

impl Draft<'_> {
    fn put(&mut self, put: &Put) -> Response {
        let revision = self.model.revision() + 1;
        let before = self.pairs.get(&put.key).cloned();
        let old =
            before.clone().unwrap_or(KeyValue { create_revision: revision, ..KeyValue::default() });
        let kv = KeyValue {
            key: Blob::from(&put.key),
            value: if put.ignore_value { old.value } else { Blob::from(&put.value) },
            create_revision: old.create_revision,
            mod_revision: revision,
            version: old.version + 1,
            lease: if put.ignore_lease { old.lease } else { put.lease },
        };
        if put.ttl_ms != 0 {
            self.made.push((put.lease, put.ttl_ms));
        }
        self.pairs.insert(put.key.clone(), kv);
        self.events.push((KvEventKind::Put, put.key.clone()));
        Response::Put { prev: before.filter(|_| put.prev_kv) }
    }

    fn delete(&mut self, delete: &DeleteRange) -> Response {
        let keys: Vec<Bytes> =
            self.pairs.keys().filter(|key| is_within(&delete.range, key)).cloned().collect();
        let prev: Vec<KeyValue> =
            keys.iter().map(|key| self.remove(key, KvEventKind::Delete)).collect();
        let deleted = prev.len() as u64;
        Response::Delete { deleted, prev: if delete.prev_kv { prev } else { Vec::new() } }
    }

    fn remove(&mut self, key: &Bytes, kind: KvEventKind) -> KeyValue {
        self.events.push((kind, key.clone()));
        self.pairs.remove(key).expect("it is there")
    }

    fn txn(&mut self, txn: &Txn) -> Response {
        let (succeeded, ops) = self.model.branch(txn);
        let mut responses = Vec::new();
        for op in ops {
            responses.push(match op.kind.as_ref().expect("a kind") {
                OpKind::Range(range) if range.revision != 0 => {
                    answer(range, &self.model.history[range.revision as usize])
                }
                OpKind::Range(range) => answer(range, &self.pairs),
                OpKind::Put(put) => self.put(put),
                OpKind::Delete(delete) => self.delete(delete),
                OpKind::Txn(txn) => self.txn(txn),
            });
        }
        Response::Txn { succeeded, responses }
    }
}

fn is_within(range: &KeyRange, key: &[u8]) -> bool {
    match &range.range_end[..] {
        [] => key == range.key,
        [0] => key >= &range.key[..],
        end => key >= &range.key[..] && key < end,
    }
}

fn answer(range: &Range, pairs: &Pairs) -> Response {
    let mut kvs: Vec<KeyValue> =
        pairs.values().filter(|kv| is_within(&range.range, &kv.key)).cloned().collect();
    let count = kvs.len() as u64;
    if range.count_only {
        return Response::Range { kvs: Vec::new(), more: false, count };
    }
    kvs.retain(|kv| range.min_mod_revision == 0 || kv.mod_revision >= range.min_mod_revision);
    kvs.retain(|kv| range.max_mod_revision == 0 || kv.mod_revision <= range.max_mod_revision);
    kvs.retain(|kv| {
        range.min_create_revision == 0 || kv.create_revision >= range.min_create_revision
    });
    kvs.retain(|kv| {
        range.max_create_revision == 0 || kv.create_revision <= range.max_create_revision
    });
    let by = |kv: &KeyValue| match range.sort_target() {
        SortTarget::Key => (0, kv.key.clone()),
        SortTarget::Version => (kv.version, Blob::default()),
        SortTarget::Create => (kv.create_revision, Blob::default()),
        SortTarget::Mod => (kv.mod_revision, Blob::default()),
        SortTarget::Value => (0, kv.value.clone()),
    };
    match range.sort_order() {
        SortOrder::Descend => kvs.sort_by_key(|kv| std::cmp::Reverse(by(kv))),
        SortOrder::None | SortOrder::Ascend => kvs.sort_by_key(by),
    }
    let limit = if range.limit == 0 { usize::MAX } else { range.limit as usize };
    let more = kvs.len() > limit;
    kvs.truncate(limit);
    if range.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Blob::default());
    }
    Response::Range { kvs, more, count }
}

fn holds(compare: &Compare, pairs: &Pairs) -> bool {
    let found: Vec<&KeyValue> =
        pairs.values().filter(|kv| is_within(&compare.range, &kv.key)).collect();
    let (missing, none) = (KeyValue::default(), found.is_empty());
    let all = if none { vec![&missing] } else { found };
    all.into_iter().all(|kv| {
        let order = match compare.target.as_ref().expect("a target") {
            CompareTarget::Version(wanted) => kv.version.cmp(wanted),
            CompareTarget::Create(wanted) => kv.create_revision.cmp(wanted),
            CompareTarget::Mod(wanted) => kv.mod_revision.cmp(wanted),
            CompareTarget::Lease(wanted) => kv.lease.cmp(wanted),
            CompareTarget::Value(_) if none => return false,
            CompareTarget::Value(wanted) => (*kv.value).cmp(wanted),
        };
        match compare.result() {
            CompareResult::Equal => order.is_eq(),
            CompareResult::Greater => order.is_gt(),
            CompareResult::Less => order.is_lt(),
            CompareResult::NotEqual => order.is_ne(),
        }
    })
}

fn check_form(op: &OpKind) -> Result<(), Refusal> {
    match op {
        OpKind::Put(put) if put.ignore_value && !put.value.is_empty() => {
            Err(Refusal::ValueProvided)
        }
        OpKind::Put(put) if put.ignore_lease && (put.lease != 0 || put.ttl_ms != 0) => {
            Err(Refusal::LeaseProvided)
        }
        OpKind::Put(put) if put.ttl_ms != 0 && put.lease == 0 => Err(Refusal::LeaseNotFound),
        OpKind::Txn(txn) => check_forms(txn),
        _ => Ok(()),
    }
}

fn check_forms(txn: &Txn) -> Result<(), Refusal> {
    let mut ops = txn.success.iter().chain(&txn.failure);
    ops.try_for_each(|op| check_form(op.kind.as_ref().expect("a kind")))
}

#[derive(Clone, Debug)]
enum Written {
    Put(Bytes),
    Deleted(KeyRange),
}

/// What the operations may write together, for every way the transactions inside may turn out.
fn worlds(ops: &[Op]) -> Vec<Vec<Written>> {
    let mut all: Vec<Vec<Written>> = vec![Vec::new()];
    for op in ops {
        let choices = match op.kind.as_ref().expect("a kind") {
            OpKind::Range(_) => vec![Vec::new()],
            OpKind::Put(put) => vec![vec![Written::Put(put.key.clone())]],
            OpKind::Delete(delete) => vec![vec![Written::Deleted(delete.range.clone())]],
            OpKind::Txn(txn) => [worlds(&txn.success), worlds(&txn.failure)].concat(),
        };
        let with = |world: &Vec<Written>| -> Vec<Vec<Written>> {
            choices.iter().map(|choice| [world.clone(), choice.clone()].concat()).collect()
        };
        all = all.iter().flat_map(with).collect();
    }
    all
}

fn is_written_twice(world: &[Written]) -> bool {
    world.iter().enumerate().any(|(place, first)| {
        world[place + 1..].iter().any(|second| match (first, second) {
            (Written::Put(a), Written::Put(b)) => a == b,
            (Written::Put(key), Written::Deleted(range))
            | (Written::Deleted(range), Written::Put(key)) => is_within(range, key),
            (Written::Deleted(_), Written::Deleted(_)) => false,
        })
    })
}

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "b", "ba", "c", "d"]).prop_map(Bytes::from)
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "1", "2", "3"]).prop_map(Bytes::from)
}

fn key_range() -> impl Strategy<Value = KeyRange> {
    let end = prop_oneof![
        3 => Just(Bytes::new()),
        1 => Just(Bytes::from_static(&[0])),
        3 => key(),
    ];
    (key(), end).prop_map(|(key, range_end)| KeyRange { key, range_end })
}

fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.1)
}

#[test]
fn a_compaction_of_much_history_is_swept_with_the_entries_that_follow() {
    let (mut state, mut sequence) = (founded(), 0);
    let mut next = |state: &mut State, kind| {
        sequence += 1;
        assert!(apply(state, &proposal(sequence, kind)).outcome.result.is_ok());
    };
    for _ in 0..500 {
        next(&mut state, put("key", "value"));
    }
    next(&mut state, CommandKind::Compact(Compact { revision: 500 }));
    let mut rounds = 0;
    while state.kv.is_sweeping() {
        let mut restored = State::restore(state.snapshot()).expect("its own snapshot");
        next(&mut state, put("key", "value"));
        apply(&mut restored, &proposal(501 + rounds + 1, put("key", "value")));
        assert_eq!(restored.digest(), state.digest());
        assert!(state.events_since(Revision(499), &KeyRange::of_key("key"), 1).is_err());
        rounds += 1;
    }
    assert!(rounds > 10, "it took {rounds} entries");
    assert_eq!(state.kv.history.counts().all as u64, 2 + rounds);
}

prop_compose! {
    fn a_put()(
        key in key(), value in value(), lease in prop_oneof![4 => Just(0), 1 => 1..4u64],
        ttl_ms in prop_oneof![4 => Just(0), 1 => 1..9u64],
        prev_kv: bool, ignore_value in rarely(), ignore_lease in rarely(),
    ) -> Put {
        Put { key, value, lease, prev_kv, ignore_value, ignore_lease, ttl_ms }
    }
}

prop_compose! {
    fn a_range()(
        range in key_range(), limit in 0..4u64, revision in prop_oneof![Just(0), 0..30u64],
        sort_order in 0..3, sort_target in 0..5, keys_only in rarely(), count_only in rarely(),
        bounds in prop::array::uniform4(prop_oneof![5 => Just(0), 1 => 0..30u64]),
    ) -> Range {
        let [min_mod_revision, max_mod_revision, min_create_revision, max_create_revision] = bounds;
        Range {
            range, limit, revision, sort_order, sort_target, keys_only, count_only,
            min_mod_revision, max_mod_revision, min_create_revision, max_create_revision,
        }
    }
}

prop_compose! {
    fn a_compare()(
        range in key_range(), result in 0..4, which in 0..5, number in 0..10u64, value in value(),
    ) -> Compare {
        let target = match which {
            0 => CompareTarget::Version(number % 3),
            1 => CompareTarget::Create(number),
            2 => CompareTarget::Mod(number),
            3 => CompareTarget::Lease(number % 3),
            _ => CompareTarget::Value(value),
        };
        Compare { range, result, target: Some(target) }
    }
}

fn a_delete() -> impl Strategy<Value = DeleteRange> {
    (key_range(), any::<bool>()).prop_map(|(range, prev_kv)| DeleteRange { range, prev_kv })
}

fn a_txn() -> impl Strategy<Value = Txn> {
    let op = prop_oneof![
        1 => a_range().prop_map(OpKind::Range),
        2 => a_put().prop_map(OpKind::Put),
        1 => a_delete().prop_map(OpKind::Delete),
    ];
    let txn_of = |op: BoxedStrategy<OpKind>| {
        let ops = move || {
            let op = op.clone().prop_map(|kind| Op { kind: Some(kind) });
            prop::collection::vec(op, 0..3)
        };
        (prop::collection::vec(a_compare(), 0..3), ops(), ops())
            .prop_map(|(compares, success, failure)| Txn { compares, success, failure })
    };
    op.boxed().prop_recursive(2, 12, 3, move |inner| txn_of(inner).prop_map(OpKind::Txn)).prop_map(
        |op| match op {
            OpKind::Txn(txn) => txn,
            op => Txn { success: vec![Op { kind: Some(op) }], ..Txn::default() },
        },
    )
}

#[derive(Clone, Debug)]
enum Act {
    Do(Box<CommandKind>),
    /// The last proposal comes again.
    Retry,
    /// The state goes through a snapshot.
    Restart,
}

pub(super) fn any_command() -> impl Strategy<Value = CommandKind> {
    an_act().prop_filter_map("a command", |act| match act {
        Act::Do(kind) => Some(*kind),
        Act::Retry | Act::Restart => None,
    })
}

fn an_act() -> impl Strategy<Value = Act> {
    let grant = (1..4u64, 1..9u64).prop_map(|(id, ttl_ms)| LeaseGrant { id, ttl_ms });
    let revoke = (prop::collection::vec(1..4u64, 0..3), any::<bool>())
        .prop_map(|(ids, expired)| LeaseRevoke { ids, expired });
    prop_oneof![
        6 => a_put().prop_map(|put| does(CommandKind::Put(put))),
        3 => a_delete().prop_map(|delete| does(CommandKind::Delete(delete))),
        6 => a_txn().prop_map(|txn| does(CommandKind::Txn(txn))),
        2 => (0..30u64).prop_map(|revision| does(CommandKind::Compact(Compact { revision }))),
        2 => grant.prop_map(|grant| does(CommandKind::LeaseGrant(grant))),
        1 => revoke.prop_map(|revoke| does(CommandKind::LeaseRevoke(revoke))),
        1 => Just(Act::Retry),
        1 => Just(Act::Restart),
    ]
}

fn does(kind: CommandKind) -> Act {
    Act::Do(Box::new(kind))
}

/// A state, a twin that is never restarted, and the model of both.
struct Trial {
    state: State,
    twin: State,
    model: Model,
    sequence: u64,
    last: Option<Proposal>,
}

impl Trial {
    fn new() -> Trial {
        let model = Model::new();
        Trial { state: founded(), twin: founded(), model, sequence: 0, last: None }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Do(kind) => self.command(kind),
            Act::Retry => self.retry(),
            Act::Restart => {
                self.state = State::restore(self.state.snapshot()).expect("its own snapshot");
            }
        }
        assert_eq!(self.state.digest(), self.twin.digest(), "R6: equal logs, equal states");
        assert_eq!(self.state.approximate_bytes(), self.twin.approximate_bytes());
        assert_eq!(self.state.keys(), self.model.pairs().len() as u64);
        assert_eq!(self.state.revision().0, self.model.revision());
        assert_eq!(self.state.compacted().0, self.model.compacted);
    }

    fn command(&mut self, kind: &CommandKind) {
        self.sequence += 1;
        let proposal = proposal(self.sequence, kind.clone());
        let before = self.model.revision();
        let expected = self.model.apply(kind);
        let applied = apply(&mut self.state, &proposal);
        assert_eq!(applied, apply(&mut self.twin, &proposal), "applied twice, alike");
        assert_eq!(applied.outcome.result, expected, "{kind:?}");
        assert_eq!(applied.outcome.revision.0, self.model.revision());
        let mut events = self.model.watch(before + 1, &KeyRange::of_prefix(""));
        if let CommandKind::Compact(_) = kind {
            events.clear();
        }
        assert_eq!(applied.events, events, "{kind:?}");
        self.last = Some(proposal);
    }

    fn retry(&mut self) {
        let Some(last) = &self.last else {
            return;
        };
        let applied = apply(&mut self.state, last);
        assert_eq!(applied, apply(&mut self.twin, last));
        assert!(applied.duplicate && applied.events.is_empty() && applied.leases.is_empty());
    }

    fn check_reads(&self, range: &Range) {
        let expected = self.model.check(&OpKind::Range(range.clone())).map(|()| {
            let at = if range.revision == 0 { self.model.revision() } else { range.revision };
            answer(range, &self.model.history[at as usize])
        });
        assert_eq!(self.state.query(&Query::Range(range.clone())).result, expected, "{range:?}");
    }

    fn check_watches(&self, range: &KeyRange, limit: usize) {
        for start in 0..=self.model.revision() + 1 {
            if start < self.model.compacted {
                let refused = self.state.events_since(Revision(start), range, limit);
                assert_eq!(refused, Err(Compacted(Revision(self.model.compacted))));
                continue;
            }
            let (mut next, mut told) = (Revision(start), Vec::new());
            loop {
                let piece = self.state.events_since(next, range, limit).expect("not compacted");
                told.extend(piece.events);
                if piece.through >= self.state.revision() {
                    break;
                }
                assert!(piece.through >= next, "it goes on");
                next = piece.through.next();
            }
            assert_eq!(told, self.model.watch(start, range), "K2 from {start}");
        }
    }

    fn check_leases(&self) {
        assert!(self.state.leases().map(|(id, _)| id.0).eq(self.model.leases.keys().copied()));
        for (id, lease) in self.state.leases() {
            let on_it = self.model.pairs().values().filter(|kv| kv.lease == id.0);
            let keys: Vec<Bytes> = on_it.map(|kv| Bytes::from(&kv.key)).collect();
            let expected = Response::Lease { ttl_ms: self.model.leases[&id.0].0, keys };
            assert_eq!(self.state.query(&Query::Lease(id.0)).result, Ok(expected));
            assert_eq!((lease.ttl_ms, lease.is_of_put), self.model.leases[&id.0]);
        }
        let granted = self.model.leases.iter().filter(|(_, (_, of_put))| !of_put);
        let ids = granted.map(|(id, _)| *id).collect();
        assert_eq!(self.state.query(&Query::Leases).result, Ok(Response::Leases { ids }));
    }
}

proptest! {
    #[test]
    fn the_store_answers_as_copies_of_all_revisions_would(
        acts in prop::collection::vec(an_act(), 0..40),
        ranges in prop::collection::vec(a_range(), 10),
        limit in 0..4usize,
    ) {
        let mut trial = Trial::new();
        for act in &acts {
            trial.act(act);
        }
        ranges.iter().for_each(|range| trial.check_reads(range));
        ranges.iter().for_each(|range| trial.check_watches(&range.range, limit));
        trial.check_leases();
    }

    #[test]
    fn a_sweep_in_steps_comes_to_what_one_sweep_does(
        kinds in prop::collection::vec(any_command(), 1..60),
        to in any::<prop::sample::Index>(),
        most in 0..5usize,
    ) {
        let mut state = founded();
        for (place, kind) in (1..).zip(kinds) {
            apply(&mut state, &proposal(place, kind));
        }
        state.kv.sweep(usize::MAX);
        let to = Revision(to.index(state.revision().0 as usize) as u64 + 1);
        let mut at_once = state.clone();
        if state.kv.compact(to).is_ok() {
            at_once.kv.compact(to).expect("the same");
            at_once.kv.sweep(usize::MAX);
            while state.kv.is_sweeping() {
                let before = state.kv.swept;
                state.kv.sweep(most);
                prop_assert!(state.kv.swept > before, "it goes on");
                let restored = State::restore(state.snapshot()).expect("its own snapshot");
                prop_assert_eq!(restored.kv.history.counts().all, state.kv.history.counts().all);
                for at in to.0..=state.revision().0 {
                    let range = KeyRange::of_prefix("");
                    let range = Query::Range(Range { range, revision: at, ..Range::default() });
                    prop_assert_eq!(state.query(&range), at_once.query(&range));
                }
            }
        }
        prop_assert_eq!(state.snapshot(), at_once.snapshot());
        prop_assert_eq!(state.approximate_bytes(), at_once.approximate_bytes());
    }

    #[test]
    fn a_prefix_is_the_range_of_all_that_begins_so(
        prefix in prop::collection::vec(prop::sample::select(vec![0, 1, 0xfe, 0xff]), 0..4),
        key in prop::collection::vec(prop::sample::select(vec![0, 1, 0xfe, 0xff]), 1..5),
    ) {
        let range = KeyRange::of_prefix(prefix.clone());
        prop_assert_eq!(range.contains(&key), key.starts_with(&prefix));
        prop_assert_eq!(is_within(&range, &key), key.starts_with(&prefix));
    }
}
