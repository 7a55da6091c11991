//! Messages that promise something wait here for the write they rest on.
//!
//! The thread that wrote lets them go itself: whoever waits for an acknowledgement does not wait
//! for the driver to wake up as well. The driver is told first, so that it never meets an answer
//! to a message before it knows that the write is durable.

use crate::transport::Transport;
use bytes::Bytes;
use muslin_core::base::{GroupId, NodeId, PersistId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The way of messages to the peers. One lock keeps the order of those to one peer.
pub(super) struct Held {
    transport: Arc<dyn Transport>,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    /// Last durable write of each group.
    durable: BTreeMap<GroupId, PersistId>,
    /// Messages behind writes that are not durable.
    waiting: BTreeMap<(GroupId, PersistId), Vec<(NodeId, Bytes)>>,
}

impl Held {
    pub(super) fn new(transport: Arc<dyn Transport>) -> Held {
        Held { transport, inside: Mutex::default() }
    }

    /// Sends a message when the write it rests on is durable: R9.
    pub(super) fn send(&self, to: NodeId, after: (GroupId, PersistId), message: Bytes) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        // Of a group that has not written since the start, what was recovered is durable.
        if after.1 <= inside.durable.get(&after.0).copied().unwrap_or_default() {
            return self.transport.send(to, message);
        }
        inside.waiting.entry(after).or_default().push((to, message));
    }

    /// These writes, and all before them of their groups, are durable.
    pub(super) fn release(&self, written: &[(GroupId, PersistId)]) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let Inside { durable, waiting } = &mut *inside;
        for (group, id) in written {
            durable.insert(*group, *id);
            while let Some(first) = waiting.range((*group, PersistId::ZERO)..=(*group, *id)).next()
            {
                let behind = *first.0;
                for (to, message) in waiting.remove(&behind).into_iter().flatten() {
                    self.transport.send(to, message);
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::pin::Pin;

    /// Keeps what it is given to send.
    #[derive(Default)]
    pub(in super::super) struct Kept(Mutex<Vec<(NodeId, Bytes)>>);

    impl Kept {
        fn take(&self) -> Vec<(NodeId, Bytes)> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl Transport for Kept {
        fn send(&self, to: NodeId, message: Bytes) {
            self.0.lock().unwrap().push((to, message));
        }
        fn datagram(&self, _: SocketAddr, _: Bytes) {}
        fn route(&self, _: NodeId, _: SocketAddr) {}
        fn unroute(&self, _: NodeId) {}
        fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(async {})
        }
    }

    #[test]
    fn what_rests_on_the_recovered_log_waits_for_no_write() {
        let kept = Arc::new(Kept::default());
        let held = Held::new(kept.clone());
        held.send(NodeId(1), (GroupId(3), PersistId::ZERO), Bytes::from_static(b"answer"));
        assert_eq!(kept.take(), [(NodeId(1), Bytes::from_static(b"answer"))]);
    }

    #[test]
    fn a_message_leaves_with_the_write_it_rests_on_and_not_before() {
        let kept = Arc::new(Kept::default());
        let held = Held::new(kept.clone());
        let message = |number: u8| (NodeId(u64::from(number)), Bytes::from(vec![number]));
        let send = |number: u8, group: u64, behind: u64| {
            let (to, bytes) = message(number);
            held.send(to, (GroupId(group), PersistId(behind)), bytes);
        };
        send(1, 0, 7);
        send(2, 0, 6);
        send(3, 0, 8);
        send(4, 9, 6);
        held.release(&[(GroupId(0), PersistId(5))]);
        assert_eq!(kept.take(), []);
        held.release(&[(GroupId(0), PersistId(7))]);
        assert_eq!(kept.take(), [message(2), message(1)], "in the order of the writes");
        send(5, 0, 7);
        assert_eq!(kept.take(), [message(5)], "durable already");
        held.release(&[(GroupId(9), PersistId(6)), (GroupId(0), PersistId(9))]);
        assert_eq!(kept.take(), [message(4), message(3)]);
    }
}
