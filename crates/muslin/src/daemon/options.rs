//! What a person says about a node.

use crate::discovery::Method;
use muslin_core::base::{ClusterId, NodeId};
pub use muslin_core::swim::Profile;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The first node of a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InitOptions {
    /// Where it keeps what it must not lose; not there yet, or empty.
    pub data_dir: PathBuf,
    /// Its label.
    pub name: String,
    /// The cluster's label.
    pub cluster_name: String,
    /// Where it listens, UDP and TCP.
    pub listen: SocketAddr,
    /// Where others reach it; as `listen` when not given.
    pub advertise: Option<SocketAddr>,
    /// Where it serves plain etcd clients, if anywhere.
    pub etcd_listen: Option<SocketAddr>,
    /// What it performs.
    pub roles: Vec<String>,
    /// Settings of the failure detector and of elections.
    pub profile: Profile,
}

/// What init made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InitAnswer {
    /// Token that admits any number of nodes for an hour.
    pub join_line_token: String,
    /// The node.
    pub node: NodeId,
    /// The cluster.
    pub cluster: ClusterId,
    /// Where joiners ask.
    pub address: SocketAddr,
}

/// Another node of a cluster that runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinOptions {
    /// Nodes of the cluster, any of them; the first that answers is asked.
    pub contacts: Vec<SocketAddr>,
    /// Where else nodes may be, as in [`UpOptions`].
    pub seeds: Vec<String>,
    /// How else they are found, as in [`UpOptions`].
    pub discover: Vec<Method>,
    /// From the cluster's join line; without one somebody has to approve the join.
    pub token: Option<String>,
    /// How long a join that is held is waited for.
    pub wait: Duration,
    /// Roles that somebody must perform for it to operate.
    pub requires: Vec<String>,
    /// Roles that somebody must perform before it is admitted.
    pub requires_for_bootstrap: Vec<String>,
    /// What it shares its fate with: a rack, a room; empty when unknown.
    pub zone: String,
    /// Whether it takes its ports while it asks, so that whoever admits can try to reach it.
    pub reach_check: bool,
    /// As in [`InitOptions`].
    pub data_dir: PathBuf,
    /// As in [`InitOptions`].
    pub name: String,
    /// As in [`InitOptions`].
    pub listen: SocketAddr,
    /// As in [`InitOptions`].
    pub advertise: Option<SocketAddr>,
    /// As in [`InitOptions`].
    pub etcd_listen: Option<SocketAddr>,
    /// As in [`InitOptions`].
    pub roles: Vec<String>,
    /// As in [`InitOptions`].
    pub profile: Profile,
}

/// What join made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinedAnswer {
    /// The node.
    pub node: NodeId,
    /// The cluster.
    pub cluster: ClusterId,
}

/// How to run a node that was made. What is not given stays as it was last time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpOptions {
    /// Where it keeps what it must not lose.
    pub data_dir: PathBuf,
    /// Where it listens from now on.
    pub listen: Option<SocketAddr>,
    /// Where others reach it from now on.
    pub advertise: Option<SocketAddr>,
    /// Where it serves plain etcd clients from now on.
    pub etcd_listen: Option<SocketAddr>,
    /// Settings of the failure detector and of elections from now on; the same on all nodes.
    pub profile: Option<Profile>,
    /// Where members may be, `host:port`; names are resolved at every try.
    pub seeds: Vec<String>,
    /// How else members are found. A static list stands alone: with it nobody gossips.
    pub discover: Vec<Method>,
    /// Whether this node, while it leads, answers reads that allow it by its lease: at once, on
    /// the strength of clocks that run evenly. Every node keeps what others' leases rest on.
    pub lease_reads: bool,
    /// Whether callers on this machine must show a certificate too.
    pub is_strict: bool,
    /// Where backups are put that the settings ask for; `backups` in the data directory when not
    /// given.
    pub backup_dir: Option<PathBuf>,
    /// In a cluster of more members than this, nodes follow a part of it each, of at most so many
    /// successors; as the profile says when not given.
    pub slice_above: Option<usize>,
}

impl UpOptions {
    /// As last time.
    pub fn new(data_dir: PathBuf) -> UpOptions {
        UpOptions {
            data_dir,
            listen: None,
            advertise: None,
            etcd_listen: None,
            profile: None,
            seeds: Vec::new(),
            discover: Vec::new(),
            lease_reads: false,
            is_strict: false,
            backup_dir: None,
            slice_above: None,
        }
    }
}
