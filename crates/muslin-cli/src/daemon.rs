//! The node, as this binary sees it.

use muslin_core::base::{ClusterId, NodeId};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;

macro_rules! plain {
    ($name:ident { $($field:ident: $kind:ty),* $(,)? }) => {
        #[allow(dead_code)]
        pub(crate) struct $name { $(pub(crate) $field: $kind),* }
    };
}

plain!(InitOptions {
    data_dir: PathBuf,
    name: String,
    cluster_name: String,
    listen: SocketAddr,
    advertise: Option<SocketAddr>,
    etcd_listen: Option<SocketAddr>,
    roles: Vec<String>,
    profile: Profile,
});
plain!(InitAnswer { join_line_token: String, node: NodeId, cluster: ClusterId });
plain!(JoinOptions {
    contact: SocketAddr,
    token: String,
    data_dir: PathBuf,
    name: String,
    listen: SocketAddr,
    advertise: Option<SocketAddr>,
    etcd_listen: Option<SocketAddr>,
    roles: Vec<String>,
});
plain!(JoinAnswer { node: NodeId, cluster: ClusterId });
plain!(UpOptions {
    data_dir: PathBuf,
    listen: Option<SocketAddr>,
    advertise: Option<SocketAddr>,
    etcd_listen: Option<SocketAddr>,
    seeds: Vec<SocketAddr>,
});

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Profile {
    Fast,
    Lan,
}

#[derive(Debug)]
pub(crate) struct DaemonError;

impl std::fmt::Display for DaemonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this build has no node in it")
    }
}

impl UpOptions {
    pub(crate) fn new(data_dir: PathBuf) -> UpOptions {
        UpOptions { data_dir, listen: None, advertise: None, etcd_listen: None, seeds: Vec::new() }
    }
}

pub(crate) fn init(_: InitOptions) -> Result<InitAnswer, DaemonError> {
    Err(DaemonError)
}

pub(crate) fn init_founders(_: Vec<InitOptions>) -> Result<Vec<InitAnswer>, DaemonError> {
    Err(DaemonError)
}

pub(crate) async fn join(_: JoinOptions) -> Result<JoinAnswer, DaemonError> {
    Err(DaemonError)
}

pub(crate) async fn run(_: UpOptions, _: impl Future<Output = ()>) -> Result<(), DaemonError> {
    Err(DaemonError)
}
