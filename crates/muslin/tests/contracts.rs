//! The contract suites, as somebody outside runs them: they see what is broken.

use bytes::Bytes;
use muslin::core::base::{ClusterId, NodeId};
use muslin::transport::contract::{self, Bench, Place};
use muslin::transport::mem::{MemNetwork, MemTransport};
use muslin::transport::{IncomingSender, Transport};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

/// What a transport does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// Nothing.
    None,
    /// Each message is sent twice.
    Doubles,
    /// A removed peer is let in again with the next message.
    Forgives,
    /// Closing leaves what waits.
    Drops,
}

struct Faulty {
    inner: Arc<MemTransport>,
    fault: Fault,
    removed: std::sync::Mutex<Vec<(NodeId, Option<SocketAddr>)>>,
}

impl Transport for Faulty {
    fn send(&self, to: NodeId, message: Bytes) {
        let removed = self.removed.lock().expect("no holder panics");
        if let Some((_, Some(address))) = removed.iter().find(|(node, _)| *node == to)
            && self.fault == Fault::Forgives
        {
            self.inner.route(to, *address);
        }
        if self.fault == Fault::Doubles {
            self.inner.send(to, message.clone());
        }
        self.inner.send(to, message);
    }

    fn datagram(&self, to: SocketAddr, bytes: Bytes) {
        self.inner.datagram(to, bytes);
    }

    fn route(&self, node: NodeId, address: SocketAddr) {
        self.removed.lock().expect("no holder panics").push((node, Some(address)));
        self.inner.route(node, address);
    }

    fn unroute(&self, node: NodeId) {
        self.inner.unroute(node);
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        if self.fault == Fault::Drops {
            self.inner.unplug();
        }
        self.inner.close()
    }
}

struct Faults(MemNetwork, Fault);

impl Bench for Faults {
    type Transport = Faulty;

    async fn start(&self, place: Place, incoming: IncomingSender) -> (Arc<Faulty>, SocketAddr) {
        let cluster = ClusterId(if place.is_foreign { 2 } else { 1 });
        let inner = self.0.start((cluster, place.node), place.address, incoming);
        let address = inner.local_address();
        (Arc::new(Faulty { inner, fault: self.1, removed: Default::default() }), address)
    }

    async fn crash(&self, transport: Arc<Faulty>) {
        transport.inner.unplug();
    }
}

/// Whether the suite of transports sees it.
async fn sees(fault: Fault) -> bool {
    let bench = Faults(MemNetwork::seeded(1), fault);
    let suite = tokio::spawn(async move { contract::test_all(&bench).await });
    suite.await.is_err()
}

// In virtual time: what never comes is waited for without waiting.
#[tokio::test(start_paused = true)]
async fn the_suite_of_transports_sees_each_fault_and_none_where_there_is_none() {
    assert!(!sees(Fault::None).await);
    for fault in [Fault::Doubles, Fault::Forgives, Fault::Drops] {
        assert!(sees(fault).await, "{fault:?}");
    }
}

#[cfg(feature = "consensus")]
mod stores {
    use muslin::core::base::GroupId;
    use muslin::core::raft::{DiskRoom, HardState, Write};
    use muslin::store::mem::{Disk, MemStore};
    use muslin::store::{Aside, RecoveredGroup, Store, StoreError, contract};
    use std::collections::BTreeMap;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    /// What a store does wrong.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Fault {
        /// Nothing.
        None,
        /// It answers before the last write of a batch is on the disk.
        AnswersEarly,
        /// It writes a batch in another order than it was given.
        Reorders,
        /// It forgets votes.
        ForgetsVotes,
    }

    struct Faulty {
        inner: MemStore,
        fault: Fault,
        late: Vec<(GroupId, Write)>,
    }

    impl Store for Faulty {
        fn recover(&mut self) -> Result<BTreeMap<GroupId, RecoveredGroup>, StoreError> {
            self.inner.recover()
        }

        fn write(&mut self, batch: &[(GroupId, Write)]) -> Result<(), StoreError> {
            let mut writes = std::mem::take(&mut self.late);
            writes.extend_from_slice(batch);
            match self.fault {
                Fault::None => {}
                Fault::AnswersEarly => self.late.extend(writes.pop()),
                Fault::Reorders => writes.reverse(),
                Fault::ForgetsVotes => writes.iter_mut().for_each(forget_vote),
            }
            self.inner.write(&writes)
        }

        fn tend(&mut self) -> Result<DiskRoom, StoreError> {
            self.inner.tend()
        }

        fn aside(&self) -> Arc<dyn Aside> {
            self.inner.aside()
        }
    }

    fn forget_vote((_, write): &mut (GroupId, Write)) {
        if let Write::Log { hard_state: Some(state), .. } = write {
            *state = HardState { vote: None, ..*state };
        }
    }

    struct Faults(Fault);

    impl contract::Subject for Faults {
        type Disk = Disk;
        type Store = Faulty;

        fn disk(&self) -> Disk {
            Disk::new()
        }

        fn open(&self, disk: &Disk) -> Faulty {
            Faulty { inner: MemStore::new(disk.clone()), fault: self.0, late: Vec::new() }
        }
    }

    #[test]
    fn the_suite_of_stores_sees_each_fault_and_none_where_there_is_none() {
        let sees =
            |fault| catch_unwind(AssertUnwindSafe(|| contract::check_all(&Faults(fault)))).is_err();
        assert!(!sees(Fault::None));
        for fault in [Fault::AnswersEarly, Fault::Reorders, Fault::ForgetsVotes] {
            assert!(sees(fault), "{fault:?}");
        }
    }
}
