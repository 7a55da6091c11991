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

/// After so many turns in a row for which pauses brought nothing there are none before the next
/// ones, but before one in so many, which tells whether others have come.
const FRUITLESS_MAX: u32 = 4;
const TRIED_EVERY: u32 = 16;

/// All that reaches the driver from elsewhere.
pub(super) struct Inboxes {
    pub(super) mail: mpsc::Receiver<Mail>,
    pub(super) incoming: mpsc::Receiver<Incoming>,
    pub(super) contacts: mpsc::Receiver<Vec<SocketAddr>>,
    pub(super) reports: Reports,
    pub(super) pauses: Pauses,
}

/// What pauses were good for lately.
#[derive(Default)]
pub(super) struct Pauses {
    /// Turns since the last one that had more for a pause.
    fruitless: u32,
}

impl Pauses {
    /// Whether a turn is to pause.
    fn are_due(&mut self) -> bool {
        let is_tried = self.fruitless < FRUITLESS_MAX || self.fruitless.is_multiple_of(TRIED_EVERY);
        self.fruitless = self.fruitless.wrapping_add(1);
        is_tried
    }

    /// One has brought something.
    fn brought(&mut self) {
        self.fruitless = 0;
    }
}

/// What the threads of the disk say.
pub(super) type Reports = mpsc::UnboundedReceiver<Report>;

impl Inboxes {
    /// Pauses, so that the other tasks of the process run, for as long as more comes of it: what
    /// they say is part of the turn then, and shares its messages and its sync. Where nobody else
    /// has anything to say it costs one look at the sockets, and soon is not tried each time.
    pub(super) async fn fill(&mut self) {
        if self.pauses.are_due() {
            self.fill_for(PAUSES_TIME).await;
        }
    }

    async fn fill_for(&mut self, time: Duration) {
        let begun = Instant::now();
        let mut waiting = self.waiting();
        for _ in 0..PAUSES_MAX {
            yield_now().await;
            let before = std::mem::replace(&mut waiting, self.waiting());
            if waiting == before {
                return;
            }
            self.pauses.brought();
            if begun.elapsed() >= time {
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
            pauses: Pauses::default(),
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
        let (sender, mut inboxes) = inboxes();
        let speaker = tokio::spawn(speak(sender, PAUSES_MAX - 1));
        inboxes.fill_for(HOUR).await;
        assert_eq!(inboxes.waiting(), PAUSES_MAX - 1);
        assert!(speaker.is_finished());
    }

    #[tokio::test]
    async fn who_always_has_more_to_say_holds_up_no_turn() {
        let (sender, mut inboxes) = inboxes();
        let speaker = tokio::spawn(speak(sender, 1_000));
        inboxes.fill_for(HOUR).await;
        assert_eq!(inboxes.waiting(), PAUSES_MAX);
        inboxes.fill_for(Duration::ZERO).await;
        assert_eq!(inboxes.waiting(), PAUSES_MAX + 1, "its time is over behind one pause");
        speaker.abort();
    }

    #[tokio::test]
    async fn who_waits_for_nothing_time_and_again_seldom_waits_until_something_comes() {
        let (sender, mut inboxes) = inboxes();
        let mut waited = Vec::new();
        for turn in 0..=2 * TRIED_EVERY {
            let others = tokio::spawn(async {});
            inboxes.fill().await;
            if others.is_finished() {
                waited.push(turn);
            }
            others.await.unwrap();
        }
        let first = (0..FRUITLESS_MAX).chain([TRIED_EVERY, 2 * TRIED_EVERY]);
        assert_eq!(waited, Vec::from_iter(first));
        inboxes.pauses = Pauses::default();
        for _ in 0..FRUITLESS_MAX - 1 {
            inboxes.fill().await;
        }
        let speaker = tokio::spawn(speak(sender, 1));
        inboxes.fill().await;
        assert!(speaker.is_finished() && inboxes.pauses.are_due(), "it begins anew");
        assert_eq!(inboxes.pauses.fruitless, 1);
    }
}
