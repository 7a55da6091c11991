//! Messages that wait for the write they rest on, and leave with it: the thread that wrote sends
//! them, as a node's does.

use super::super::harness::mailbox::Mailbox;
use super::replica::Mail;
use muslin_core::base::{NodeId, PersistId};
use muslin_core::raft::Message;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// A message behind a write.
struct Waiting {
    after: PersistId,
    to: usize,
    message: Message,
}

/// Those of one replica.
pub(super) struct Held {
    from: NodeId,
    inboxes: Vec<Arc<Mailbox<Mail>>>,
    waiting: Mutex<(PersistId, VecDeque<Waiting>)>,
}

impl Held {
    pub(super) fn new(from: NodeId, inboxes: &[Arc<Mailbox<Mail>>]) -> Held {
        Held { from, inboxes: inboxes.to_vec(), waiting: Mutex::default() }
    }

    /// Keeps a message, or gives it back when its write is durable.
    pub(super) fn keep(&self, after: PersistId, to: usize, message: Message) -> Option<Message> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if after <= waiting.0 {
            return Some(message);
        }
        waiting.1.push_back(Waiting { after, to, message });
        None
    }

    /// This write and all before it are durable.
    pub(super) fn release(&self, durable: PersistId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.0 = durable;
        let mut letters: Vec<Vec<Message>> = self.inboxes.iter().map(|_| Vec::new()).collect();
        while waiting.1.front().is_some_and(|first| first.after <= durable) {
            let Waiting { to, message, .. } = waiting.1.pop_front().expect("there is a first one");
            letters[to].push(message);
        }
        for (letter, inbox) in letters.into_iter().zip(&self.inboxes) {
            if !letter.is_empty() {
                inbox.push(Mail::Messages(self.from, letter));
            }
        }
    }
}
