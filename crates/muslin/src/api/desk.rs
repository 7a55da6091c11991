//! What every handler holds: the node's handle, and the facts it answers with.

use super::Admission;
use super::auth::Doorman;
use super::chronicle::Chronicle;
use super::connection::Patience;
use super::gallery::Gallery;
use super::http::{NodeBoard, OpBoard};
use super::metrics::Metrics;
use super::status::NodeFacts;
use crate::driver::Handle;
use crate::transport::Roster;
use muslin_core::base::{ClusterId, NodeId};
use muslin_core::state::Asker;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::watch;

/// A handle that asks on behalf of somebody, and what all connections of a node share.
pub(super) struct Desk {
    pub(super) handle: Handle,
    office: Arc<Office>,
}

/// Shared by all connections of a node.
pub(super) struct Office {
    /// Finds out who asks.
    pub(super) doorman: Doorman,
    pub(super) id: NodeId,
    pub(super) cluster: ClusterId,
    pub(super) facts: NodeFacts,
    pub(super) join: Option<Arc<dyn Admission>>,
    /// Tells which nodes are let in; `None`: all with a certificate.
    pub(super) roster: Option<Arc<Roster>>,
    pub(super) metrics: Metrics,
    /// When it began, Unix milliseconds: tells the process from others of the node.
    pub(super) began: u64,
    /// For whoever asks why.
    pub(super) chronicle: Chronicle,
    /// For whoever follows the nodes.
    pub(super) nodes: NodeBoard,
    /// For whoever watches.
    pub(super) gallery: Gallery,
    /// For whoever follows what is under way.
    pub(super) ops: OpBoard,
    pub(super) patience: Patience,
    /// Turns true when the process stops: streams that have no end of their own end then.
    pub(super) shutdown: watch::Receiver<bool>,
    /// A linearizable read was answered once: what was written before the start is applied here.
    pub(super) caught_up: AtomicBool,
}

impl Deref for Desk {
    type Target = Office;

    fn deref(&self) -> &Office {
        &self.office
    }
}

impl Desk {
    /// One whose handle asks on behalf of the cluster itself.
    pub(super) fn new(handle: Handle, office: Office) -> Arc<Desk> {
        Arc::new(Desk { handle, office: Arc::new(office) })
    }

    /// The same for somebody else.
    pub(super) fn asking(&self, asker: Asker) -> Arc<Desk> {
        Arc::new(Desk { handle: self.handle.asking(asker), office: self.office.clone() })
    }

    /// Waits until the process stops.
    pub(super) async fn stopping(&self) {
        stopping(self.shutdown.clone()).await;
    }
}

/// Waits until it is true, or nobody is left who could say so.
pub(super) async fn stopping(mut shutdown: watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}
