//! One file per command. Each takes its arguments and returns nothing or a failure; each prints for
//! itself through `crate::output`.

pub(crate) mod auth;
pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod cert;
pub(crate) mod check_disk;
pub(crate) mod cluster;
pub(crate) mod collections;
pub(crate) mod completions;
pub(crate) mod dev;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod group;
pub(crate) mod hold;
pub(crate) mod init;
pub(crate) mod join;
pub(crate) mod kv;
pub(crate) mod lease;
pub(crate) mod node;
pub(crate) mod op;
pub(crate) mod recover;
pub(crate) mod settings;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod up;
pub(crate) mod version;
