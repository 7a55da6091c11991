//! Why a node was not made, or does not run.

use super::removed::RemovedNote;
use crate::backup::BackupError;
use crate::discovery::SeedError;
use crate::driver::DriverError;
use crate::identity::IdentityError;
use crate::join::{JoinError, Unfit};
use crate::store::StoreError;
use crate::transport::quic::TransportError;
use muslin_core::base::ClusterId;
use muslin_core::node::RecoveryRefusal;
use muslin_core::swim::UnknownProfile;
use std::net::SocketAddr;

/// `Display` says what happened, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The data directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Certificates and keys.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The UDP side.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The driver.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The cluster did not admit the node.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// A seed that cannot be one.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// Ways to find members that do not go together.
    #[error(
        "static: says where every member is, so that nothing else is asked; leave it out, or leave \
         --seeds and every other --discover out"
    )]
    StaticAndMore,
    /// Which of the clusters on a group is meant.
    #[error(
        "multicast finds the nodes of any cluster: say which one with --token, or name a node: \
         muslin join HOST:PORT"
    )]
    MulticastWithoutToken,
    /// Nobody was named, and nobody was found.
    #[error("found no node to ask ({tried}); name one: muslin join HOST:PORT")]
    NobodyFound {
        /// Where it looked.
        tried: String,
    },
    /// A port.
    #[error(
        "cannot listen on {address} ({side}): {source}; stop the process that has the port, or \
         give another with {option}"
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// UDP or TCP.
        side: &'static str,
        /// How to change it.
        option: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others cannot reach 0.0.0.0, nor port 0.
    #[error("{0} is no address that others can reach; say which one is with --advertise HOST:PORT")]
    Unspecified(SocketAddr),
    /// A name or roles that no other node could be told of.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The same in the settings of a node that was made.
    #[error("node.json is not as it was made: {0}; put back what `muslin init` or `join` wrote")]
    Edited(Unfit),
    /// Founders must differ.
    #[error("{0}")]
    Founders(&'static str),
    /// The directory's settings name a profile this version does not have.
    #[error("node.json names the profile `{0}`; {1}")]
    Profile(String, UnknownProfile),
    /// The cluster has removed this node.
    #[error(transparent)]
    Removed(#[from] Box<RemovedNote>),
    /// Another process is this node.
    #[error(
        "this node runs already, at {at}, from another copy of this data directory: two of them \
         would break each other's promises, so this one is not started. To run another node, join \
         with an empty --data-dir; to go on here, stop that one first and never start it again"
    )]
    RunsElsewhere {
        /// Where.
        at: SocketAddr,
    },
    /// Another process became this node.
    #[error(
        "{}, so the cluster listens to that one and this one ends: this data directory was \
         copied, or set back to an earlier time. Stop the other one before this is started again; \
         whichever of them does not go on must join anew, with an empty --data-dir",
        match at {
            Some(at) => {
                format!("this node was started later as another process, which runs at {at}")
            }
            None => String::from("a later start of this node than this one is known to the others"),
        }
    )]
    Copied {
        /// Where it is, if it answers.
        at: Option<SocketAddr>,
    },
    /// The node was gone when the epoch rose.
    #[error("this node was gone when the cluster's epoch rose: it has to be admitted again")]
    Outdated,
    /// The same, of a voter that may not be alone.
    #[error(
        "this cluster goes on in a later epoch without this node, a voter, which looks for a \
         quorum of the voters it knows before it gives up what it holds"
    )]
    LeftOut,
    /// Two clusters of one id, one of which was recovered.
    #[error(
        "a node of this cluster goes on alone in a later epoch: somebody has recovered from it \
         (`muslin cluster recover`) although a quorum lives, which goes on in its own epoch; stop \
         one of the two, and join its nodes to the other with empty directories"
    )]
    Divided,
    /// The new node could not be put in the old one's place.
    #[error(
        "{} has a node that was admitted again, in `afresh`, which cannot be moved into its \
         place: {error}; put that right and start it again",
        path.display()
    )]
    Afresh {
        /// The data directory.
        path: std::path::PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Nobody can be recovered from this node.
    #[error(transparent)]
    Recovery(#[from] RecoveryRefusal),
    /// Survivors of different clusters.
    #[error(
        "{} is of cluster {}, and {} of cluster {}: name directories of one cluster",
        paths[0].display(), clusters[0], paths[1].display(), clusters[1]
    )]
    TwoClusters {
        /// Two of them.
        paths: [std::path::PathBuf; 2],
        /// What they are of.
        clusters: [ClusterId; 2],
    },
    /// Nobody gave the node other papers.
    #[error("this node's certificate could not be renewed: {0}; it is tried again")]
    Renewal(String),
    /// The driver's task died of a bug.
    #[error("the node stopped because of a bug: {0}; its data is safe, start it again")]
    Bug(String),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}
