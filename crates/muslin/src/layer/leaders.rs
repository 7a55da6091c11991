//! Who leads, and where that is.

use crate::driver::Handle;
use muslin_core::base::{GroupId, NodeId};
use std::pin::Pin;
use std::sync::Arc;

/// Who is to answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Leader {
    /// This node.
    Here,
    /// Another, whose application listens there: `host:port`.
    At(String),
    /// Nobody is known to lead.
    Nobody,
}

/// Says who leads.
pub trait Leaders: Send + Sync + 'static {
    /// As this node knows at the moment.
    fn leader(&self) -> Pin<Box<dyn Future<Output = Leader> + Send + '_>>;

    /// What this node is called, for those to whom it passes requests on.
    fn own_name(&self) -> &str;
}

/// Where the applications of nodes listen, `host:port` by the id of the node.
pub type Places = Arc<dyn Fn(NodeId) -> Option<String> + Send + Sync>;

/// Whoever leads a group. On a node that keeps no replica of it: whom the record names.
pub struct OfGroup {
    handle: Handle,
    own: NodeId,
    name: String,
    group: GroupId,
    places: Places,
}

impl OfGroup {
    /// Of this group, as seen by this node.
    pub fn new(handle: Handle, own: NodeId, group: GroupId, places: Places) -> OfGroup {
        OfGroup { handle, own, name: own.to_string(), group, places }
    }

    async fn find(&self) -> Option<NodeId> {
        if let Ok(statuses) = self.handle.group_status(Some(self.group)).await
            && let Some(status) = statuses.first()
            && let Some(leader) = status.leader
        {
            return Some(leader);
        }
        // A passive replica may not have heard who leads; the record says who is to.
        let local = muslin_core::node::Consistency::Local;
        let records = self.handle.group_records(local).await.ok()?;
        let record = records.into_iter().find(|record| record.id == self.group.0)?;
        record.leader.map(NodeId)
    }
}

impl Leaders for OfGroup {
    fn leader(&self) -> Pin<Box<dyn Future<Output = Leader> + Send + '_>> {
        Box::pin(async { placed(self.find().await, self.own, &self.places) })
    }

    fn own_name(&self) -> &str {
        &self.name
    }
}

/// Whoever leads the control group.
pub struct OfCluster {
    handle: Handle,
    own: NodeId,
    name: String,
    places: Places,
}

impl OfCluster {
    /// As seen by this node.
    pub fn new(handle: Handle, own: NodeId, places: Places) -> OfCluster {
        OfCluster { handle, own, name: own.to_string(), places }
    }
}

impl Leaders for OfCluster {
    fn leader(&self) -> Pin<Box<dyn Future<Output = Leader> + Send + '_>> {
        let leader = self.handle.glance().leader;
        Box::pin(async move { placed(leader, self.own, &self.places) })
    }

    fn own_name(&self) -> &str {
        &self.name
    }
}

fn placed(leader: Option<NodeId>, own: NodeId, places: &Places) -> Leader {
    match leader {
        Some(leader) if leader == own => Leader::Here,
        Some(leader) => places(leader).map_or(Leader::Nobody, Leader::At),
        None => Leader::Nobody,
    }
}
