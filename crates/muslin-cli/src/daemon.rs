//! The node, as this binary sees it.

pub(crate) use muslin::daemon::{
    DaemonError, InitOptions, JoinOptions, Profile, UpOptions, init, init_founders, join, run,
};
