//! The table of applied proposals against a plain set.

use super::super::sessions::{Sessions, Stub, Verdict};
use super::*;
use crate::base::NodeId;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Keeps everything, forgets nothing.
#[derive(Default)]
struct Naive {
    boot: u64,
    settled_below: u64,
    applied: BTreeSet<u64>,
}

impl Naive {
    fn admit(&mut self, stub: Stub) -> Verdict {
        if stub.boot < self.boot {
            return Verdict::Duplicate;
        }
        if stub.boot > self.boot {
            let mut later = Naive { boot: stub.boot, settled_below: 1, applied: BTreeSet::new() };
            let verdict = later.admit(stub);
            if verdict == Verdict::Fresh {
                *self = later;
            }
            return verdict;
        }
        if stub.sequence < self.settled_below || self.applied.contains(&stub.sequence) {
            return Verdict::Duplicate;
        }
        let settled_below = self.settled_below.max(stub.settled_below);
        if stub.sequence >= settled_below.saturating_add(SESSION_WINDOW) {
            return Verdict::TooFar;
        }
        self.settled_below = settled_below;
        self.applied.insert(stub.sequence);
        Verdict::Fresh
    }
}

prop_compose! {
    fn any_stub()(
        boot in 1..4u64,
        sequence in prop_oneof![0..300u64, 65_500..65_900u64, any::<u64>()],
        settled_below in prop_oneof![0..20u64, 0..300u64, 0..300u64, any::<u64>()],
        is_wild in prop::bool::weighted(0.05),
    ) -> Stub {
        let settled_below = if is_wild { settled_below } else { settled_below.min(300) };
        Stub { origin: NodeId(1), boot, sequence, settled_below }
    }
}

proptest! {
    #[test]
    fn a_session_answers_as_a_set_that_forgets_nothing(
        stubs in prop::collection::vec(any_stub(), 0..200),
    ) {
        let (mut sessions, mut naive) = (Sessions::default(), Naive::default());
        for stub in stubs {
            prop_assert_eq!(sessions.admit(stub), naive.admit(stub), "{:?}", stub);
        }
    }
}

#[test]
fn the_table_is_bounded() {
    let mut state = founded();
    for origin in 1..=SESSIONS_MAX as u64 {
        let verdict = state.sessions.admit(stub(origin));
        assert_eq!(verdict, Verdict::Fresh);
    }
    assert_eq!(state.sessions.admit(stub(SESSIONS_MAX as u64 + 1)), Verdict::TooFar);
    assert_eq!(state.sessions.admit(stub(1)), Verdict::Duplicate);
}

fn stub(origin: u64) -> Stub {
    Stub { origin: NodeId(origin), boot: 1, sequence: 1, settled_below: 1 }
}
