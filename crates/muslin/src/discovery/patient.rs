//! Whatever may block, asked on a thread of its own.

use super::Discovery;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

/// So long an answer is waited for; one that comes later is given the next time. A name server that
/// does not answer must not keep the addresses of others waiting.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// Asks another discovery without waiting long: what that one last knew is given until it answers.
pub struct Patient {
    ask: SyncSender<()>,
    answers: Receiver<Vec<SocketAddr>>,
    is_asked: bool,
    last: Vec<SocketAddr>,
}

impl Patient {
    /// Moves a discovery to a thread, which ends when this is dropped.
    pub fn new(mut discovery: impl Discovery + 'static) -> Patient {
        // One question and one answer are under way at most.
        let (ask, asked) = mpsc::sync_channel(1);
        let (answer, answers) = mpsc::sync_channel(1);
        let work = move || {
            while asked.recv().is_ok() {
                if answer.send(discovery.contacts()).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("muslin-resolve".into());
        if let Err(error) = thread.spawn(work) {
            tracing::warn!(%error, "cannot start a thread; one discovery will find nothing");
        }
        Patient { ask, answers, is_asked: false, last: Vec::new() }
    }

    /// Asks, unless an answer is still awaited.
    pub(super) fn begin(&mut self) {
        self.is_asked = self.is_asked || self.ask.try_send(()).is_ok();
    }

    /// What is known at this time, or earlier if the answer comes.
    pub(super) fn known_by(&mut self, deadline: Instant) -> &[SocketAddr] {
        if self.is_asked {
            match self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(answer) => (self.last, self.is_asked) = (answer, false),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
        &self.last
    }
}

impl Discovery for Patient {
    fn contacts(&mut self) -> Vec<SocketAddr> {
        self.begin();
        self.known_by(Instant::now() + PATIENCE).to_vec()
    }
}
