//! What cursors tell is what history has, however the ring wraps and whenever they read.

use super::model::any_command;
use super::*;
use crate::base::Revision;
use proptest::prelude::*;

const ROOMY: RingRoom = RingRoom { bytes: 1 << 20, events: 1_000 };

/// A state whose changes are told to a ring.
struct Trial {
    state: State,
    ring: Ring,
    told: Revision,
}

impl Trial {
    fn new(room: RingRoom) -> Trial {
        let state = founded();
        let told = state.revision();
        let mut trial = Trial { state, ring: Ring::new(room), told };
        trial.tell(Vec::new(), None);
        trial
    }

    /// Applies commands as one batch.
    fn apply(&mut self, kinds: &[CommandKind]) {
        let mut events = Vec::new();
        for kind in kinds {
            let proposal = self.proposal(kind.clone());
            let applied = super::apply(&mut self.state, &proposal);
            events.extend(applied.events);
            if applied.rights_changed {
                let rights = self.state.rights_at(self.state.applied());
                self.tell(std::mem::take(&mut events), Some(rights));
            }
        }
        self.tell(events, None);
    }

    fn proposal(&self, kind: CommandKind) -> Proposal {
        proposal(self.state.applied().0 + 1, kind)
    }

    fn tell(&mut self, events: Vec<KvEvent>, rights: Option<RightsAt>) {
        let (after, through) = (self.told, self.state.revision());
        self.told = through;
        self.ring.push(Changes { after, events, through, rights });
    }

    /// As when a snapshot is installed: what is between is not told.
    fn miss(&mut self, kinds: &[CommandKind]) {
        for kind in kinds {
            let proposal = self.proposal(kind.clone());
            super::apply(&mut self.state, &proposal);
        }
        self.told = self.state.revision();
        self.tell(Vec::new(), Some(self.state.rights_at(self.state.applied())));
    }

    fn cursor(&self, asker: &Asker, spec: WatchSpec, from: Revision) -> Cursor {
        Cursor::new(asker, spec, (from, self.state.applied()))
    }

    /// Reads once; whether there may be more.
    fn read(&self, cursor: &mut Cursor, room: Room, told: &mut Vec<KvEvent>) -> bool {
        let read = match cursor.read(&self.ring, room) {
            Told::Behind => {
                let view = (self.state.applied(), &self.state.view());
                cursor.read_history(view, room).expect("not compacted")
            }
            read => read,
        };
        let Told::Passage(passage) = read else { panic!("{read:?}") };
        let events = passage.events();
        if !passage.is_part {
            let last = events.last().map_or(0, |event| event.kv.mod_revision);
            assert!(passage.through.0 >= last && passage.through <= self.state.revision());
        }
        let mut written = Vec::new();
        passage.write(&mut written);
        assert_eq!(written.is_empty(), events.is_empty());
        assert!(passage.bytes() <= written.len());
        told.extend(events);
        passage.has_more
    }

    fn read_all(&self, cursor: &mut Cursor, room: Room) -> Vec<KvEvent> {
        let mut told = Vec::new();
        while self.read(cursor, room, &mut told) {}
        told
    }
}

/// What a watch is to be told of these.
fn wanted(spec: &WatchSpec, events: Vec<KvEvent>) -> Vec<KvEvent> {
    let is_wanted = |event: &KvEvent| match event.kind {
        KvEventKind::Put => !spec.no_put,
        _ => !spec.no_delete,
    };
    let as_told = |event: KvEvent| match spec.prev_kv {
        true => event,
        false => KvEvent { prev: None, ..event },
    };
    events.into_iter().filter(is_wanted).map(as_told).collect()
}

fn any_spec() -> impl Strategy<Value = WatchSpec> {
    let range = prop_oneof![
        Just(KeyRange::of_prefix("")),
        Just(KeyRange::of_key("a")),
        Just(KeyRange { key: "a".into(), range_end: "b".into() }),
        Just(KeyRange { key: "b".into(), range_end: Bytes::from_static(&[0]) }),
    ];
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.2), any::<bool>());
    (range, flags).prop_map(|(range, (no_put, no_delete, prev_kv))| WatchSpec {
        range,
        start_revision: 0,
        no_put,
        no_delete,
        prev_kv,
    })
}

fn any_batch() -> impl Strategy<Value = Vec<CommandKind>> {
    let kind = any_command()
        .prop_filter("what is compacted is gone", |kind| !matches!(kind, CommandKind::Compact(_)));
    prop::collection::vec(kind, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_cursor_tells_what_history_has_at_all_cuts(
        batches in prop::collection::vec((any_batch(), 0..10u8), 1..14),
        specs in prop::collection::vec((any_spec(), any::<prop::sample::Index>()), 1..5),
        room in (1..4_000usize, 1..40usize),
        read in (1..300usize, any::<bool>()),
    ) {
        let mut trial = Trial::new(RingRoom { bytes: room.0, events: room.1 });
        let room = Room { bytes: read.0, splits: read.1, ..Room::WHOLE };
        let mut watches: Vec<(Cursor, Revision, Vec<KvEvent>)> = Vec::new();
        let mut specs = specs.into_iter();
        for (batch, draw) in batches {
            match draw {
                0 => trial.miss(&batch),
                _ => trial.apply(&batch),
            }
            if draw % 3 == 1 && let Some((spec, from)) = specs.next() {
                let from = Revision(1 + from.index(trial.state.revision().0 as usize + 1) as u64);
                watches.push((trial.cursor(&Asker::Cluster, spec, from), from, Vec::new()));
            }
            for (cursor, _, told) in watches.iter_mut().skip(usize::from(draw > 6)) {
                trial.read(cursor, room, told);
            }
        }
        for (cursor, from, told) in &mut watches {
            while trial.read(cursor, room, told) {}
            let range = &cursor.spec().range;
            let all = trial.state.events_since(*from, range, usize::MAX).expect("not compacted");
            prop_assert_eq!(&wanted(cursor.spec(), all.events), told);
        }
    }
}

#[test]
fn a_ring_keeps_within_its_room_and_says_what_it_has() {
    let mut trial = Trial::new(RingRoom { bytes: 4_000, events: 7 });
    for number in 0..40 {
        trial.apply(&[put("a", &number.to_string())]);
        assert!(trial.ring.bytes() <= 4_000);
    }
    let (after, through) = (trial.ring.after(), trial.ring.through());
    assert_eq!(through, trial.state.revision());
    assert!(through.0 - after.0 <= 7 && after < through);
    trial.apply(&[put("a", &"v".repeat(10_000))]);
    assert_eq!(trial.ring.after(), trial.state.revision(), "it is larger than the room");
    let spec = WatchSpec { range: KeyRange::of_key("a"), ..WatchSpec::default() };
    let mut cursor = trial.cursor(&Asker::Cluster, spec, after.next());
    let told = trial.read_all(&mut cursor, Room { bytes: 1, ..Room::WHOLE });
    let told: Vec<u64> = told.iter().map(|event| event.kv.mod_revision).collect();
    assert_eq!(told, (after.0 + 1..=through.0 + 1).collect::<Vec<_>>());
}

#[test]
fn what_is_compacted_away_is_told_to_be_gone_unless_the_ring_has_it() {
    let mut trial = Trial::new(ROOMY);
    trial.apply(&[put("a", "1"), put("a", "2"), put("a", "3")]);
    let spec = WatchSpec { range: KeyRange::of_key("a"), ..WatchSpec::default() };
    let mut cursor = trial.cursor(&Asker::Cluster, spec, Revision(2));
    let mut late = cursor.clone();
    trial.apply(&[CommandKind::Compact(Compact { revision: 4 })]);
    let room = Room::WHOLE;
    assert_eq!(trial.read_all(&mut cursor, room).len(), 3, "the ring has it");
    trial.miss(&[]);
    trial.ring.clear();
    assert!(matches!(late.read(&trial.ring, room), Told::Behind));
    let view = trial.state.view();
    let gone = late.read_history((trial.state.applied(), &view), room).expect_err("it is gone");
    assert_eq!(gone, Compacted(Revision(4)));
}

#[test]
fn an_event_is_encoded_as_etcd_encodes_it() {
    let mut trial = Trial::new(ROOMY);
    let put = Put { key: "k".into(), value: "v".into(), lease: 7, ..Put::default() };
    trial.apply(&[
        CommandKind::LeaseGrant(LeaseGrant { id: 7, ttl_ms: 9_000 }),
        CommandKind::Put(put),
        CommandKind::Delete(DeleteRange { range: KeyRange::of_key("k"), prev_kv: false }),
    ]);
    let (range, prev_kv) = (KeyRange::of_key("k"), true);
    let spec = WatchSpec { range, prev_kv, ..WatchSpec::default() };
    let mut cursor = trial.cursor(&Asker::Cluster, spec, Revision(2));
    let told = cursor.read(&trial.ring, Room::WHOLE);
    let Told::Passage(passage) = told else { panic!("{told:?}") };
    let mut written = Vec::new();
    passage.write(&mut written);
    let pair: &[u8] = b"\x0a\x01k\x10\x02\x18\x02\x20\x01\x2a\x01v\x30\x07";
    let gone: &[u8] = b"\x0a\x01k\x18\x03";
    let expected =
        [b"\x5a\x10\x12\x0e", pair, b"\x5a\x19\x08\x01\x12\x05", gone, b"\x1a\x0e", pair].concat();
    assert_eq!(written, expected);
}

#[test]
fn a_watch_ends_where_its_right_was_taken_and_tells_what_was_before() {
    use super::auth::{guarded, revoke, user};
    let range = KeyRange::of_key("a");
    let state = guarded(&[("r0", PermissionKind::ReadWrite, range.clone())]);
    let told = state.revision();
    let mut trial = Trial { state, ring: Ring::new(ROOMY), told };
    trial.tell(Vec::new(), None);
    let spec = WatchSpec { range: range.clone(), ..WatchSpec::default() };
    let of = |trial: &Trial, asker: &Asker| trial.cursor(asker, spec.clone(), trial.told.next());
    let asker = user(&trial.state, "u");
    let (mut prompt, mut late, mut own) =
        (of(&trial, &asker), of(&trial, &asker), of(&trial, &Asker::Cluster));
    trial.apply(&[put("a", "1"), revoke("r0", range), put("a", "2")]);
    let Told::Passage(before) = prompt.read(&trial.ring, Room::WHOLE) else { panic!("before") };
    assert_eq!((before.events().len(), before.has_more), (1, true));
    assert!(matches!(prompt.read(&trial.ring, Room::WHOLE), Told::Denied(_)));
    assert_eq!(trial.read_all(&mut own, Room::WHOLE).len(), 2);
    trial.ring.clear();
    trial.tell(Vec::new(), None);
    assert!(matches!(late.read(&trial.ring, Room::WHOLE), Told::Behind));
    let view = (trial.state.applied(), &trial.state.view());
    let denied = late.read_history(view, Room::WHOLE).expect("not compacted");
    assert!(matches!(denied, Told::Denied(_)), "{denied:?}");
}
