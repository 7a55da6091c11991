//! etcd's v3 interface as Rust, made from `proto/*.proto` by `cargo run -p codegen`. Not edited by
//! hand.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::unwrap_used,
    reason = "made by a program, which has its own idea of style"
)]

pub mod authpb;
pub mod etcdserverpb;
pub mod mvccpb;
pub mod v3electionpb;
pub mod v3lockpb;
