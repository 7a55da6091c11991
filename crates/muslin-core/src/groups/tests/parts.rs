//! Snapshots and machines: what goes in comes out, and no bytes make it panic.

use super::super::*;
use crate::base::{Index, NodeId};
use crate::groups::snapshot;
use crate::state::{Sessions, Stub, Verdict};
use bytes::Bytes;
use proptest::prelude::*;
use std::vec::Vec;

fn stub(sequence: u64) -> Stub {
    Stub { origin: NodeId(3), boot: 2, sequence, settled_below: 1 }
}

#[test]
fn a_snapshot_keeps_the_machine_and_what_was_applied() {
    let mut sessions = Sessions::default();
    for sequence in [1, 2, 70] {
        assert_eq!(sessions.admit(stub(sequence)), Verdict::Fresh);
    }
    let bytes = snapshot::encode(&sessions, Bytes::from_static(b"state"));
    let (mut restored, machine) = snapshot::decode(bytes.clone()).unwrap();
    assert_eq!((&restored, &machine[..]), (&sessions, &b"state"[..]));
    assert_eq!(restored.admit(stub(70)), Verdict::Duplicate);
    assert_eq!(restored.admit(stub(3)), Verdict::Fresh);
    assert_eq!(snapshot::encode(&sessions, machine), bytes, "equal states give equal bytes");
}

#[test]
fn a_journal_survives_its_snapshot() {
    let mut journal = Journal::default();
    for (index, command) in (1..).zip([&b"a"[..], b"", b"ccc"]) {
        let answer = journal.apply(Index(index), Bytes::from_static(command));
        assert_eq!(answer[..], index.to_be_bytes());
    }
    let mut restored = Journal::default();
    restored.restore(journal.snapshot()).unwrap();
    assert_eq!(restored, journal);
    assert_eq!(restored.query(&3u64.to_be_bytes()), Bytes::from_static(b"ccc"));
    assert_eq!(restored.query(b"")[..], 3u64.to_be_bytes());
    assert_eq!(restored.query(&9u64.to_be_bytes()), Bytes::new());
}

proptest! {
    #[test]
    fn no_bytes_make_a_snapshot_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes: Vec<u8> = bytes;
        let _ = snapshot::decode(Bytes::from(bytes.clone()));
        let mut journal = Journal::default();
        let before = journal.clone();
        if journal.restore(Bytes::from(bytes)).is_err() {
            prop_assert_eq!(journal, before, "a failed restore changes nothing");
        }
    }
}
