//! Real etcd clients against a real cluster: the crate `etcd-client` and Debian's `etcdctl`.
//!
//! Everything is in `tests/etcd`. `cargo xtask conformance` builds the binary, makes sure that
//! `protoc` (which `etcd-client` needs to build) and `etcdctl` are there, and runs it. A crate of
//! its own, outside the workspace's default members, so that nothing else needs `protoc`.
//!
//! The tests claim only what etcd does. With `CONFORMANCE_ENDPOINTS` set to three addresses of a
//! real etcd they run against that and show it.
