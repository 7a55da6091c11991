//! The node, as this binary sees it.

pub(crate) use muslin::daemon::{
    DaemonError, InitOptions, Profile, UpOptions, init, init_founders, run,
};
use muslin_core::base::{ClusterId, NodeId};
use std::net::SocketAddr;
use std::path::PathBuf;

macro_rules! plain {
    ($name:ident { $($field:ident: $kind:ty),* $(,)? }) => {
        #[allow(dead_code)]
        pub(crate) struct $name { $(pub(crate) $field: $kind),* }
    };
}

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

pub(crate) async fn join(_: JoinOptions) -> Result<JoinAnswer, DaemonError> {
    Err(DaemonError::Founders("joining is being put together"))
}
