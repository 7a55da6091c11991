//! Answers that are read from a view, short ones at once, long ones beside.
//!
//! To gather a hundred thousand keys takes tens of milliseconds, for which a thread that serves
//! connections would serve nobody else: it is done on a thread for such work.

use muslin_core::node::Failure;
use muslin_core::state::{Asker, Outcome, Query, View};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// What looks at more keys is long: so many take some hundred microseconds.
const SHORT_KEYS_MAX: usize = 2_000;

/// Long reads at once, of all nodes of a process; others wait for their turn. More would take the
/// processor from what serves.
const LONG_AT_ONCE: usize = 2;

static TURNS: Semaphore = Semaphore::const_new(LONG_AT_ONCE);

/// Answers somebody's question about keys and leases.
pub(super) async fn answer(
    view: Arc<View>,
    asker: &Asker,
    query: Query,
) -> Result<Outcome, Failure> {
    const OF_VIEW: &str = "asked of what a view tells of";
    if view.looks_at(&query) <= SHORT_KEYS_MAX {
        return Ok(view.query_by(asker, &query).expect(OF_VIEW));
    }
    let _turn = TURNS.acquire().await.map_err(|_| Failure::Stopping)?;
    let asker = asker.clone();
    let read = spawn_blocking(move || view.query_by(&asker, &query).expect(OF_VIEW));
    // A runtime that ends does no more such work.
    read.await.map_err(|_| Failure::Stopping)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use muslin_core::state::{
        Command, CommandKind, Founding, KeyRange, Proposal, Put, Range, Response, State,
    };
    use prost::Message as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn view(keys: u64) -> Arc<View> {
        let mut state = State::founded(&Founding::default());
        for sequence in 1..=keys {
            let key = Bytes::from(format!("{sequence:08}"));
            let put = CommandKind::Put(Put { key, ..Put::default() });
            let proposal = Proposal {
                origin: 1,
                boot: 1,
                sequence,
                settled_below: sequence,
                command: Some(Command::of(put)),
                asker: None,
            };
            state.apply(state.applied().next(), proposal.encode_to_vec().into());
        }
        Arc::new(state.view())
    }

    #[tokio::test]
    async fn a_long_read_is_done_beside_what_serves_and_a_short_one_at_once() {
        let view = view(SHORT_KEYS_MAX as u64 + 1);
        let range = |limit| {
            let range = KeyRange::of_prefix(Bytes::new());
            Query::Range(Range { range, limit, ..Range::default() })
        };
        let turns = TURNS.acquire_many(LONG_AT_ONCE as u32).await.unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let short = pin!(answer(view.clone(), &Asker::Cluster, range(10)));
        assert!(short.poll(&mut cx).is_ready());
        let mut long = pin!(answer(view, &Asker::Cluster, range(0)));
        assert!(long.as_mut().poll(&mut cx).is_pending());
        drop(turns);
        let Ok(Response::Range { kvs, .. }) = long.await.unwrap().result else { panic!("a range") };
        assert_eq!(kvs.len(), SHORT_KEYS_MAX + 1);
    }
}
