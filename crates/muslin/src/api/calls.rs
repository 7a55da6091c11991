//! The calls of one HTTP/2 connection, run in the connection's own task.
//!
//! With a task for each call, an answer would wake that task, and that one the connection's. Here
//! an answer wakes the connection, which looks after all calls that have something to do and then
//! writes: what is answered at the same time leaves in one write. Calls end with their connection.

use hyper::rt::Executor;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use tokio::task::coop::unconstrained;

/// So many calls are looked after before other connections have their turn: as much as one of
/// tokio's tasks may do in a row.
const CALLS_PER_TURN: usize = 128;

/// So often the connection is looked after in one turn: once to read, and once to write what became
/// of it.
const ROUNDS_PER_TURN: usize = 3;

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes the calls that a connection begins.
#[derive(Clone, Default)]
pub(super) struct Calls {
    board: Arc<Board>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Calls {
    fn execute(&self, call: F) {
        // How long one may go on is bounded here, for all of them together.
        lock(&self.board.begun).push(Box::pin(unconstrained(call)));
    }
}

/// What is told to a connection's task.
#[derive(Default)]
struct Board {
    begun: Mutex<Vec<Call>>,
    woken: Mutex<Woken>,
}

#[derive(Default)]
struct Woken {
    connection: bool,
    /// By number.
    calls: VecDeque<usize>,
    /// The task, while it sleeps.
    sleeper: Option<Waker>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is whole whenever it is let go.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    fn wake(&self, whom: Whom) {
        let mut woken = lock(&self.woken);
        match whom {
            Whom::Connection => woken.connection = true,
            Whom::Call(number) => woken.calls.push_back(number),
        }
        let sleeper = woken.sleeper.take();
        drop(woken);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }

    /// What is to be done now: whether the connection has something to do, and which calls have.
    fn take(&self, calls: &mut VecDeque<usize>) -> bool {
        let mut woken = lock(&self.woken);
        woken.sleeper = None;
        calls.append(&mut woken.calls);
        std::mem::take(&mut woken.connection)
    }

    /// Whether there is nothing to do; then this one is woken when there is.
    fn sleep(&self, waker: &Waker) -> bool {
        let mut woken = lock(&self.woken);
        let is_idle = !woken.connection && woken.calls.is_empty();
        if is_idle {
            woken.sleeper = Some(waker.clone());
        }
        is_idle
    }
}

#[derive(Clone, Copy)]
enum Whom {
    Connection,
    Call(usize),
}

/// Wakes one of them.
struct Bell {
    board: Arc<Board>,
    whom: Whom,
    /// Since it was last looked after: it is on the board once.
    has_rung: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Bell>) {
        if !self.has_rung.swap(true, Ordering::AcqRel) {
            self.board.wake(self.whom);
        }
    }
}

/// A bell, and the waker that rings it.
struct Hung {
    bell: Arc<Bell>,
    waker: Waker,
}

impl Hung {
    fn new(board: &Arc<Board>, whom: Whom) -> Hung {
        let has_rung = AtomicBool::new(false);
        let bell = Arc::new(Bell { board: board.clone(), whom, has_rung });
        Hung { waker: Waker::from(bell.clone()), bell }
    }

    /// To look after the one it is for: what rings from here on is news.
    fn look(&self) -> Context<'_> {
        self.bell.has_rung.store(false, Ordering::Release);
        Context::from_waker(&self.waker)
    }
}

/// A connection with its calls. Ends with the connection.
pub(super) struct Serving<C> {
    connection: Pin<Box<C>>,
    board: Arc<Board>,
    bell: Hung,
    slots: Vec<Slot>,
    /// Slots without a call.
    free: Vec<usize>,
    /// Slots to be looked after.
    due: VecDeque<usize>,
}

/// A place for a call; the next one in it has the same bell.
struct Slot {
    bell: Hung,
    call: Option<Call>,
}

impl<C: Future> Serving<C> {
    /// Of a connection that puts its calls there.
    pub(super) fn new(connection: C, calls: Calls) -> Serving<C> {
        let board = calls.board;
        let bell = Hung::new(&board, Whom::Connection);
        bell.waker.wake_by_ref();
        Serving {
            connection: Box::pin(connection),
            board,
            bell,
            slots: Vec::new(),
            free: Vec::new(),
            due: VecDeque::new(),
        }
    }

    /// To tell the connection something; it is looked after then.
    pub(super) fn connection(&mut self) -> Pin<&mut C> {
        self.bell.waker.wake_by_ref();
        self.connection.as_mut()
    }

    /// Gives the calls that have begun their places.
    fn place(&mut self) {
        let begun = std::mem::take(&mut *lock(&self.board.begun));
        for call in begun {
            let number = self.free.pop().unwrap_or_else(|| {
                let number = self.slots.len();
                let bell = Hung::new(&self.board, Whom::Call(number));
                self.slots.push(Slot { bell, call: None });
                number
            });
            self.slots[number].call = Some(call);
            self.due.push_back(number);
        }
    }

    fn look_after(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        let mut cx = slot.bell.look();
        // It may have been rung for a call that has ended.
        if let Some(call) = &mut slot.call
            && call.as_mut().poll(&mut cx).is_ready()
        {
            slot.call = None;
            self.free.push(number);
        }
    }
}

impl<C: Future> Future for Serving<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.get_mut();
        let mut calls = 0;
        for _ in 0..ROUNDS_PER_TURN {
            if this.board.take(&mut this.due) {
                let end = this.connection.as_mut().poll(&mut this.bell.look());
                if end.is_ready() {
                    return end;
                }
                this.place();
            }
            while calls < CALLS_PER_TURN
                && let Some(number) = this.due.pop_front()
            {
                this.look_after(number);
                calls += 1;
            }
            if this.due.is_empty() && this.board.sleep(cx.waker()) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<C> Drop for Serving<C> {
    fn drop(&mut self) {
        // A call knows where calls are put: what has not had its place yet would keep itself.
        let begun = std::mem::take(&mut *lock(&self.board.begun));
        lock(&self.board.woken).sleeper = None;
        drop(begun);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Weak;
    use std::sync::atomic::AtomicUsize;
    use tokio::sync::{mpsc, oneshot};
    use tokio::task::yield_now;

    /// A connection that begins a call for each message, and ends when nobody sends any more.
    async fn connection(calls: Calls, mut incoming: mpsc::UnboundedReceiver<Call>) {
        while let Some(call) = incoming.recv().await {
            calls.execute(call);
        }
    }

    fn serving() -> (mpsc::UnboundedSender<Call>, Serving<impl Future<Output = ()>>, Weak<Board>) {
        let (sender, incoming) = mpsc::unbounded_channel();
        let calls = Calls::default();
        let board = Arc::downgrade(&calls.board);
        (sender, Serving::new(connection(calls.clone(), incoming), calls), board)
    }

    #[tokio::test]
    async fn every_call_is_looked_after_until_it_ends_and_its_place_is_used_again() {
        let (sender, serving, board) = serving();
        let done = Arc::new(AtomicUsize::new(0));
        let count = 3 * CALLS_PER_TURN;
        let send = async {
            for _ in 0..3 {
                let mut answers = Vec::new();
                for _ in 0..count {
                    let (answer, asked) = oneshot::channel::<()>();
                    let done = done.clone();
                    let call: Call = Box::pin(async move {
                        yield_now().await;
                        asked.await.unwrap();
                        done.fetch_add(1, Ordering::Relaxed);
                    });
                    sender.send(call).ok().unwrap();
                    answers.push(answer);
                }
                yield_now().await;
                let before = done.load(Ordering::Relaxed);
                answers.into_iter().rev().for_each(|answer| answer.send(()).unwrap());
                while done.load(Ordering::Relaxed) < before + count {
                    yield_now().await;
                }
            }
            drop(sender);
        };
        let mut serving = Box::pin(serving);
        tokio::join!(send, serving.as_mut());
        assert!(serving.slots.len() <= count, "{} places", serving.slots.len());
        assert!(serving.slots.iter().all(|slot| slot.call.is_none()));
        drop(serving);
        assert!(board.upgrade().is_none(), "nothing keeps it");
    }

    #[tokio::test]
    async fn a_call_that_is_always_busy_lets_others_and_the_connection_go_on() {
        let (sender, serving, _) = serving();
        let busy: Call = Box::pin(async {
            loop {
                yield_now().await;
            }
        });
        sender.send(busy).ok().unwrap();
        let send = async {
            for _ in 0..100 {
                let (answer, answered) = oneshot::channel();
                let call: Call = Box::pin(async move { answer.send(()).unwrap() });
                sender.send(call).ok().unwrap();
                answered.await.unwrap();
            }
            drop(sender);
        };
        tokio::join!(send, serving);
    }

    #[tokio::test]
    async fn calls_end_with_their_connection() {
        let (sender, serving, board) = serving();
        let (kept, gone) = oneshot::channel::<()>();
        let call: Call = Box::pin(async move {
            std::future::pending::<()>().await;
            drop(kept);
        });
        sender.send(call).ok().unwrap();
        let mut serving = Box::pin(serving);
        tokio::select! {
            () = serving.as_mut() => panic!("it does not end"),
            () = yield_now() => {}
        }
        drop(serving);
        gone.await.unwrap_err();
        assert!(board.upgrade().is_none(), "nothing keeps it");
    }
}
