//! What waits for the driver.

use super::handle::Mail;
use super::log_thread::Report;
use crate::transport::Incoming;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::yield_now;

/// Most pauses before a turn, and the time after which there are no more of them. With 64 clients
/// and three nodes on two cores a write took a fifth less of the processors with them than without;
/// more or longer ones changed nothing.
const PAUSES_MAX: usize = 8;
const PAUSES_TIME: Duration = Duration::from_micros(200);

/// All that reaches the driver from elsewhere.
pub(super) struct Inboxes {
    pub(super) mail: mpsc::Receiver<Mail>,
    pub(super) incoming: mpsc::Receiver<Incoming>,
    pub(super) contacts: mpsc::Receiver<Vec<SocketAddr>>,
    pub(super) reports: Reports,
}

/// What the threads of the disk say.
pub(super) type Reports = mpsc::UnboundedReceiver<Report>;

impl Inboxes {
    /// Pauses, so that the other tasks of the process run, for as long as more comes of it: what
    /// they say is part of the turn then, and shares its messages and its sync. Where nobody else
    /// has anything to say it costs one look at the sockets.
    pub(super) async fn fill(&self) {
        self.fill_for(PAUSES_TIME).await;
    }

    async fn fill_for(&self, time: Duration) {
        let begun = Instant::now();
        let mut waiting = self.waiting();
        for _ in 0..PAUSES_MAX {
            yield_now().await;
            let before = std::mem::replace(&mut waiting, self.waiting());
            if waiting == before || begun.elapsed() >= time {
                return;
            }
        }
    }

    /// How much there is to be taken.
    fn waiting(&self) -> usize {
        self.mail.len() + self.incoming.len() + self.reports.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muslin_core::base::Epoch;

    fn inboxes() -> (mpsc::Sender<Mail>, Inboxes) {
        let (sender, mail) = mpsc::channel(1_000);
        let inboxes = Inboxes {
            mail,
            incoming: mpsc::channel(1).1,
            contacts: mpsc::channel(1).1,
            reports: mpsc::unbounded_channel().1,
        };
        (sender, inboxes)
    }

    /// Says so much, one thing each time it runs.
    async fn speak(sender: mpsc::Sender<Mail>, times: usize) {
        for _ in 0..times {
            sender.try_send(Mail::Epoch(Epoch(1))).unwrap();
            yield_now().await;
        }
    }

    /// Longer than any pause.
    const HOUR: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn a_turn_takes_what_is_said_while_it_waits_and_waits_while_something_is() {
        let (sender, inboxes) = inboxes();
        let speaker = tokio::spawn(speak(sender, PAUSES_MAX - 1));
        inboxes.fill_for(HOUR).await;
        assert_eq!(inboxes.waiting(), PAUSES_MAX - 1);
        assert!(speaker.is_finished());
    }

    #[tokio::test]
    async fn who_always_has_more_to_say_holds_up_no_turn() {
        let (sender, inboxes) = inboxes();
        let speaker = tokio::spawn(speak(sender, 1_000));
        inboxes.fill_for(HOUR).await;
        assert_eq!(inboxes.waiting(), PAUSES_MAX);
        inboxes.fill_for(Duration::ZERO).await;
        assert_eq!(inboxes.waiting(), PAUSES_MAX + 1, "its time is over behind one pause");
        speaker.abort();
    }
}
