//! Snapshots that are written while commands are applied.

use super::super::snapshot::write_key_as_derived;
use super::*;
use crate::base::Revision;
use proptest::prelude::*;
use std::format;

/// What happens to a state.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    PutOnLease(u8),
    Delete(u8, u8),
    EndLease,
    /// So many revisions before the present one.
    Compact(u64),
    /// Bytes more of the snapshot.
    Write(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..12_u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        1 => (0..12_u8).prop_map(Step::PutOnLease),
        2 => (0..12_u8, 1..4_u8).prop_map(|(from, keys)| Step::Delete(from, from + keys)),
        1 => Just(Step::EndLease),
        2 => (0..5_u64).prop_map(Step::Compact),
        3 => (1..400_usize).prop_map(Step::Write),
    ]
}

fn key(number: u8) -> Bytes {
    Bytes::from(vec![b'k', number])
}

/// The state's part of a step; nobody asks whether it was refused.
fn take(state: &mut State, step: &Step) {
    let kind = match *step {
        Step::Put(number, value) => CommandKind::Put(Put {
            key: key(number),
            value: Bytes::from(vec![value; usize::from(value % 40)]),
            ..Put::default()
        }),
        Step::PutOnLease(number) => {
            CommandKind::Put(Put { key: key(number), lease: 7, ..Put::default() })
        }
        Step::Delete(from, to) => CommandKind::Delete(DeleteRange {
            range: KeyRange { key: key(from), range_end: key(to) },
            ..DeleteRange::default()
        }),
        Step::EndLease => CommandKind::LeaseRevoke(LeaseRevoke { ids: vec![7], expired: true }),
        Step::Compact(back) => {
            let revision = state.revision().0.saturating_sub(back);
            CommandKind::Compact(Compact { revision })
        }
        Step::Write(_) => return,
    };
    let sequence = state.applied().0 + 1;
    apply(state, &proposal(sequence, kind));
    if matches!(step, Step::EndLease) {
        let grant = CommandKind::LeaseGrant(LeaseGrant { id: 7, ttl_ms: 1_000 });
        apply(state, &proposal(sequence + 1, grant));
    }
}

/// What may be asked of a view at this revision.
fn questions(revision: Revision) -> Vec<Query> {
    let range = |revision: u64, limit: u64| {
        let range = KeyRange::of_prefix("k");
        Query::Range(Range { range, revision, limit, ..Range::default() })
    };
    let earlier = (revision.0.saturating_sub(6)..=revision.0).map(|revision| range(revision, 0));
    let count = Range { range: KeyRange::of_prefix(""), count_only: true, ..Range::default() };
    let present = [range(0, 0), range(0, 3), Query::Range(count)];
    present
        .into_iter()
        .chain(earlier)
        .chain([Query::Lease(7), Query::Leases, Query::Revision])
        .collect()
}

proptest! {
    #[test]
    fn a_snapshot_is_of_the_moment_at_which_it_was_begun(
        before in prop::collection::vec(any_step(), 0..60),
        meanwhile in prop::collection::vec(any_step(), 0..120),
    ) {
        let mut state = founded();
        take(&mut state, &Step::EndLease);
        before.iter().for_each(|step| take(&mut state, step));
        let wanted = state.snapshot();
        let (mut frozen, mut written) = (state.freeze(), Vec::new());
        let mut is_whole = false;
        for step in &meanwhile {
            take(&mut state, step);
            if let Step::Write(most) = step {
                is_whole = frozen.write(&mut written, *most);
            }
        }
        while !is_whole {
            is_whole = frozen.write(&mut written, 100);
        }
        prop_assert!(written == wanted);
        let restored = State::restore(written.into());
        prop_assert!(restored.is_ok(), "{:?}", restored.err());
        // And the state goes on as if nothing had been written of it.
        let (digest, again) = (state.digest(), State::restore(state.snapshot()).unwrap());
        prop_assert_eq!(again.digest(), digest);
    }

    #[test]
    fn a_view_answers_as_the_state_did_when_it_was_taken(
        before in prop::collection::vec(any_step(), 0..60),
        meanwhile in prop::collection::vec(any_step(), 0..120),
    ) {
        let mut state = founded();
        take(&mut state, &Step::EndLease);
        before.iter().for_each(|step| take(&mut state, step));
        let queries = questions(state.revision());
        let answers: Vec<Outcome> = queries.iter().map(|query| state.query(query)).collect();
        let all = KeyRange::of_prefix("");
        let told = state.events_since(state.compacted(), &all, usize::MAX);
        let (view, revision) = (state.view(), state.revision());
        meanwhile.iter().for_each(|step| take(&mut state, step));
        for (query, answer) in queries.iter().zip(answers) {
            prop_assert_eq!(view.query(query), Some(answer));
        }
        prop_assert_eq!(view.events_since(view.compacted(), &all, usize::MAX), told);
        prop_assert_eq!(view.revision(), revision);
        prop_assert_eq!(view.query(&Query::Record), None);
    }

    #[test]
    fn keys_are_written_as_the_derived_code_writes_them(
        steps in prop::collection::vec(any_step(), 0..60),
    ) {
        let mut state = founded();
        take(&mut state, &Step::EndLease);
        steps.iter().for_each(|step| take(&mut state, step));
        for (key, history) in state.kv.keys.iter() {
            let mut written = Vec::new();
            super::super::snapshot::write_key(&mut written, key, history);
            prop_assert_eq!(written, write_key_as_derived(key, history));
        }
    }
}

#[test]
fn a_piece_of_a_large_state_is_little_more_than_asked() {
    const MOST: usize = 4 << 10;
    let mut state = founded();
    for number in 0..2_000_u64 {
        let put = put(&format!("key {number:04}"), "some value of no great length");
        apply(&mut state, &proposal(number + 1, put));
    }
    let (mut frozen, mut written) = (state.freeze(), Vec::new());
    let (mut pieces, mut before) = (0, 0);
    while !frozen.write(&mut written, MOST) {
        let piece = written.len() - before;
        assert!((MOST..MOST + 100).contains(&piece), "{piece} bytes");
        (pieces, before) = (pieces + 1, written.len());
    }
    assert!(pieces > 20, "{pieces} pieces");
    assert_eq!(State::restore(written.into()).unwrap().revision(), Revision(2_001));
}
