//! What a [`StateMachine`] must obey, to be called from the tests of whoever writes one.

use super::bound::Bound;
use super::{Codes, StateMachine};
use crate::codec::Codec;
use bytes::Bytes;
use muslin_core::base::Index;
use muslin_core::groups::GroupMachine;
use std::sync::Arc;

/// Carries the commands out on several machines, one that does all of them and others that are
/// restored from a snapshot on the way, and panics with the reason when they differ: in an answer,
/// in a reply to one of the queries, or in their state.
///
/// Commands and queries are values, and go through the codec as in a group.
pub fn check<S, C>(codec: C, commands: &[S::Command], queries: &[S::Query])
where
    S: StateMachine,
    C: Codes<S>,
{
    let codec = Arc::new(codec);
    let bytes = |result: Result<Bytes, _>| result.expect("a value of the kind can be written");
    let commands: Vec<Bytes> =
        commands.iter().map(|one| bytes(Codec::<S::Command>::encode(&*codec, one))).collect();
    let queries: Vec<Bytes> =
        queries.iter().map(|one| bytes(Codec::<S::Query>::encode(&*codec, one))).collect();
    let new = || Bound::<S, C>::new(S::default(), codec.clone());
    let run = |machine: &mut Bound<S, C>, from: usize, to: usize| -> Vec<Bytes> {
        let span = commands[from..to].iter().enumerate();
        let apply =
            |(at, one): (usize, &Bytes)| machine.apply(Index((from + at) as u64 + 1), one.clone());
        span.map(apply).collect()
    };
    let mut whole = new();
    let answers = run(&mut whole, 0, commands.len());
    let state = whole.snapshot();
    for cut in 0..=commands.len() {
        let mut first = new();
        assert_eq!(run(&mut first, 0, cut), answers[..cut], "R6: equal commands, equal answers");
        let snapshot = first.snapshot();
        assert_eq!(first.snapshot(), snapshot, "a snapshot changes nothing, and is the same twice");
        let mut second = new();
        // Whatever it was, it becomes what the snapshot is of.
        run(&mut second, 0, commands.len());
        second.restore(snapshot.clone()).expect("a machine reads the snapshots it makes");
        assert_eq!(second.snapshot(), snapshot, "restored, it is what it was (cut at {cut})");
        let rest = run(&mut second, cut, commands.len());
        assert_eq!(rest, answers[cut..], "R6: restored, it answers as if it had seen all ({cut})");
        assert_eq!(second.snapshot(), state, "R6: equal commands, equal states ({cut})");
        for query in &queries {
            assert_eq!(second.query(query), whole.query(query), "equal states, equal replies");
        }
        assert_eq!(second.snapshot(), state, "a query changes nothing");
    }
    let damaged = state.slice(..state.len() / 2);
    // It must not panic; what it makes of them is nobody's business.
    let _ = new().restore(damaged);
    let answer = new().apply(Index(1), Bytes::from_static(&[0xff, 0x00, 0xfe]));
    assert!(!answer.is_empty(), "bytes that are no command are answered, not refused by a panic");
}
