//! Where readers wait to be let in to the state, and what they find there.
//!
//! What is read of keys and leases is read by whoever asks, from a [`View`] that the driver shows:
//! the loop does none of it, and a long range holds up nobody.
//!
//! Whoever wants what is true now waits at the gate. All who have come since the driver last looked
//! are one question to the node, and are given one view when it is answered: of a moment at which
//! all was applied that had been acknowledged when the question left, which was after the last of
//! them had come (R7).
//!
//! Whoever will do with what this node has applied takes the view that is shown. The driver hides
//! it before the node does anything, and shows the next when all of a turn is done: a client that
//! was told of its write reads it at this node, and a write changes the state in place, where it
//! would have to copy what a view shares. Nothing is shown while nobody reads.

use muslin_core::node::{Consistency, Failure};
use muslin_core::state::{Query, View};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Most that wait at the gate at once, as many as a node takes questions.
const WAITING_MAX: usize = 16_384;

/// When whoever finds no place should come again: some rounds later.
const FULL_RETRY: Duration = Duration::from_millis(50);

/// Somebody waits here to be let in.
type Waiter = oneshot::Sender<Result<Arc<View>, Failure>>;

/// Those who are let in together.
pub(crate) struct Party {
    waiters: Vec<Waiter>,
}

impl Party {
    /// Lets all in, or turns all away.
    pub(super) fn answer(self, answer: Result<Arc<View>, Failure>) {
        for waiter in self.waiters {
            // Whoever went away is no error.
            let _ = waiter.send(answer.clone());
        }
    }
}

/// The way of readers to the state.
#[derive(Default)]
pub(super) struct Gate {
    inside: Mutex<Inside>,
    /// Somebody waits of whom the driver does not know.
    called: Notify,
    /// How many have come and were not answered.
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Inside {
    /// As the driver last showed it.
    shown: Option<Arc<View>>,
    /// Somebody has read what this node has applied, or wants to, since it was last shown.
    is_wanted: bool,
    local: Vec<Waiter>,
    linearizable: Vec<Waiter>,
    lease: Vec<Waiter>,
    is_closed: bool,
}

impl Inside {
    /// Those of one kind who wait.
    fn waiters(&mut self, consistency: Consistency) -> &mut Vec<Waiter> {
        match consistency {
            Consistency::Local => &mut self.local,
            Consistency::Linearizable => &mut self.linearizable,
            Consistency::Lease => &mut self.lease,
        }
    }
}

/// One of those who wait, until it goes.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether it is asked of keys and leases, which a view tells of.
pub(super) fn is_of_view(query: &Query) -> bool {
    matches!(
        query,
        Query::Range(_) | Query::Txn(_) | Query::Leases | Query::Lease(_) | Query::Revision
    )
}

impl Gate {
    /// A state that is as fresh as is wanted.
    pub(super) async fn enter(&self, consistency: Consistency) -> Result<Arc<View>, Failure> {
        let (waiter, let_in) = oneshot::channel();
        let _place = {
            let mut inside = self.inside();
            if consistency == Consistency::Local {
                inside.is_wanted = true;
                if let Some(view) = &inside.shown {
                    return Ok(view.clone());
                }
            }
            if inside.is_closed {
                return Err(Failure::Stopping);
            }
            if self.waiting.load(Ordering::Relaxed) >= WAITING_MAX {
                return Err(Failure::Busy { retry_after: FULL_RETRY });
            }
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let place = Place(&self.waiting);
            let waiters = inside.waiters(consistency);
            waiters.push(waiter);
            if waiters.len() == 1 {
                self.called.notify_one();
            }
            place
        };
        let_in.await.unwrap_or(Err(Failure::Stopping))
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // What is behind it is whole whenever it is let go.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The driver's side of the gate, which is closed when the driver ends, however it does.
pub(super) struct Porter {
    gate: Arc<Gate>,
    /// What is shown was not hidden since.
    shows: bool,
}

impl Porter {
    pub(super) fn of(gate: Arc<Gate>) -> Porter {
        Porter { gate, shows: false }
    }

    /// The gate, to be called from it.
    pub(super) fn gate(&self) -> Arc<Gate> {
        self.gate.clone()
    }

    /// Takes those who wait for a round of this kind: whoever comes later waits for another.
    pub(super) fn take(&self, consistency: Consistency) -> Option<Party> {
        let waiters = std::mem::take(self.gate.inside().waiters(consistency));
        (!waiters.is_empty()).then_some(Party { waiters })
    }

    /// The state is about to change: what is shown of it is shown no more.
    pub(super) fn hide(&mut self) {
        if std::mem::take(&mut self.shows) {
            let hidden = self.gate.inside().shown.take();
            drop(hidden);
        }
    }

    /// Shows the state, if somebody has read it since that was last done; lets in who waits for it.
    pub(super) fn show(&mut self, view: impl FnOnce() -> View) {
        let mut inside = self.gate.inside();
        if self.shows || !std::mem::take(&mut inside.is_wanted) {
            return;
        }
        let view = Arc::new(view());
        inside.shown = Some(view.clone());
        let waiters = std::mem::take(&mut inside.local);
        drop(inside);
        self.shows = true;
        Party { waiters }.answer(Ok(view));
    }
}

impl Drop for Porter {
    fn drop(&mut self) {
        let mut inside = self.gate.inside();
        inside.is_closed = true;
        inside.shown = None;
        let kinds = [Consistency::Local, Consistency::Linearizable, Consistency::Lease];
        let waiters = kinds.map(|kind| std::mem::take(inside.waiters(kind)));
        drop(inside);
        Party { waiters: waiters.into_iter().flatten().collect() }.answer(Err(Failure::Stopping));
    }
}

impl Gate {
    /// Resolves when somebody waits of whom the driver does not know.
    pub(super) async fn called(&self) {
        self.called.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muslin_core::state::{Founding, State};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    const LINEARIZABLE: Consistency = Consistency::Linearizable;

    fn view() -> View {
        State::founded(&Founding::default()).view()
    }

    /// What a future comes to that is not waited for.
    macro_rules! look {
        ($future:expr) => {
            $future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        };
    }

    #[test]
    fn who_came_before_a_question_is_let_in_by_its_answer_and_who_comes_later_by_the_next() {
        let gate = Arc::new(Gate::default());
        let mut porter = Porter::of(gate.clone());
        let (mut first, mut second) =
            (pin!(gate.enter(LINEARIZABLE)), pin!(gate.enter(LINEARIZABLE)));
        assert!(look!(first).is_pending() && look!(second).is_pending());
        let party = porter.take(LINEARIZABLE).unwrap();
        let mut late = pin!(gate.enter(LINEARIZABLE));
        assert!(look!(late).is_pending());
        party.answer(Ok(Arc::new(view())));
        assert!(matches!(look!(first), Poll::Ready(Ok(_))));
        assert!(matches!(look!(second), Poll::Ready(Ok(_))));
        assert!(look!(late).is_pending(), "its question has not left");
        porter.show(view);
        assert!(look!(late).is_pending(), "what is shown may be old");
        drop(porter);
        assert!(matches!(look!(late), Poll::Ready(Err(Failure::Stopping))));
        let mut after = pin!(gate.enter(Consistency::Local));
        assert!(matches!(look!(after), Poll::Ready(Err(Failure::Stopping))));
    }

    #[test]
    fn what_is_applied_here_is_shown_between_two_turns_while_somebody_reads() {
        let gate = Arc::new(Gate::default());
        let mut porter = Porter::of(gate.clone());
        porter.show(|| panic!("nobody reads"));
        let mut first = pin!(gate.enter(Consistency::Local));
        assert!(look!(first).is_pending());
        porter.show(view);
        assert!(matches!(look!(first), Poll::Ready(Ok(_))));
        let mut second = pin!(gate.enter(Consistency::Local));
        assert!(matches!(look!(second), Poll::Ready(Ok(_))), "at once");
        porter.hide();
        let mut third = pin!(gate.enter(Consistency::Local));
        assert!(look!(third).is_pending(), "the state changes");
        porter.show(view);
        assert!(matches!(look!(third), Poll::Ready(Ok(_))));
        porter.hide();
        porter.show(view);
        porter.hide();
        porter.show(|| panic!("nobody has read since"));
    }

    #[test]
    fn as_many_wait_as_there_are_places_and_a_place_is_free_when_its_reader_goes() {
        let gate = Arc::new(Gate::default());
        gate.waiting.store(WAITING_MAX - 1, Ordering::Relaxed);
        {
            let mut last = pin!(gate.enter(LINEARIZABLE));
            assert!(look!(last).is_pending());
            let mut more = pin!(gate.enter(LINEARIZABLE));
            assert!(matches!(look!(more), Poll::Ready(Err(Failure::Busy { .. }))));
        }
        let mut next = pin!(gate.enter(LINEARIZABLE));
        assert!(look!(next).is_pending());
    }
}
