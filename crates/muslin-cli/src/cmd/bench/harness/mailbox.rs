//! A queue from many threads to one, emptied whole.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Mail for one thread. Taking costs one lock, however much waits.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    inside: Mutex<Inside<T>>,
    arrival: Condvar,
}

#[derive(Debug)]
struct Inside<T> {
    waiting: Vec<T>,
    /// The reader sleeps: only then is waking it worth a system call.
    is_asleep: bool,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Mailbox<T> {
        let inside = Inside { waiting: Vec::new(), is_asleep: false };
        Mailbox { inside: Mutex::new(inside), arrival: Condvar::new() }
    }
}

impl<T> Mailbox<T> {
    /// Puts one piece in.
    pub(crate) fn push(&self, mail: T) {
        let mut inside = self.lock();
        inside.waiting.push(mail);
        if std::mem::take(&mut inside.is_asleep) {
            drop(inside);
            self.arrival.notify_one();
        }
    }

    /// Moves everything there is into the empty `mail`; waits for something to come, at most until
    /// then.
    pub(crate) fn take(&self, mail: &mut Vec<T>, until: Option<Instant>) {
        let mut inside = self.lock();
        while inside.waiting.is_empty() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return;
            }
            inside.is_asleep = true;
            inside = match left {
                None => self.arrival.wait(inside).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let waited = self.arrival.wait_timeout(inside, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            inside.is_asleep = false;
        }
        std::mem::swap(mail, &mut inside.waiting);
    }

    /// No code panics while it holds the lock, and if some did, the queue would still be whole.
    fn lock(&self) -> MutexGuard<'_, Inside<T>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn mail_of_one_sender_arrives_complete_and_in_order() {
        let mailbox = Arc::new(Mailbox::default());
        let sender = Arc::clone(&mailbox);
        let thread = std::thread::spawn(move || (0..10_000).for_each(|n| sender.push(n)));
        let (mut all, mut mail) = (Vec::new(), Vec::new());
        while all.len() < 10_000 {
            mailbox.take(&mut mail, None);
            all.append(&mut mail);
        }
        thread.join().unwrap();
        assert!(all.iter().copied().eq(0..10_000));
    }

    #[test]
    fn an_empty_mailbox_gives_up_in_time() {
        let (mailbox, mut mail) = (Mailbox::<u8>::default(), Vec::new());
        mailbox.take(&mut mail, Some(Instant::now()));
        assert!(mail.is_empty());
    }
}
