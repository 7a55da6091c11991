//! Muslin: a light-weight cluster fabric.
//!
//! This crate acts; [`core`] decides. Take the whole (`daemon` with the feature `api`), or a part:
//!
//! | part | what it is | feature |
//! | --- | --- | --- |
//! | [`membership`] | who is in, who is alive, and what they say: begin here | - |
//! | [`transport`] | UDP and TCP, QUIC (`node`), and the same in memory | - |
//! | [`discovery`] | where members may be | - |
//! | [`codec`] | values of applications as bytes | - |
//! | [`coordination`] | locks, elections, queues and fences among programs | `consensus` |
//! | [`machine`] | groups with a state machine of one's own | `consensus` |
//! | [`driver`] | the loop that owns a node, and the `Handle` everyone else holds | `consensus` |
//! | [`store`] | the log and the snapshots, on disk and in memory | `consensus` |
//! | [`backup`] | copies of what a cluster holds: written, checked, read | `consensus` |
//! | [`identity`], [`join`], [`data_dir`] | certificates; admission; a node's directory | `node` |
//! | `client` | calls of a node's HTTP API | `client` |
//! | `layer` | a cluster behind an HTTP service of one's own: who leads answers | `api` |
//! | `daemon`, `api` | a whole node that serves etcd v3, HTTP and metrics | `api` |
//!
//! `node` is the default and has `consensus` in it. `default-features = false` leaves membership
//! alone: no Raft, no disk, no certificates, 38 crates in place of 84.
//!
//! Every seam has a public contract suite (`transport::contract`, `discovery::contract`,
//! `codec::contract`, `store::contract`) that an implementation of yours can be run through; the
//! crate's examples do that.
//!
//! It does not parse command lines, install a logger or choose exit codes: that is the binary's.
//!
//! # A node in memory
//!
//! ```
//! use muslin::core::base::{ClusterId, NodeId};
//! use muslin::core::node::{Consistency, Options};
//! use muslin::core::state::{Command, CommandKind, Founding, Member, Put, Query};
//! use muslin::driver::{Driver, start};
//! use muslin::store::mem::{Disk, MemStore};
//! use muslin::transport::mem::MemNetwork;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (cluster, id, address) = (ClusterId(1), NodeId(1), "127.0.0.1:7400".parse()?);
//! let founder = Member { id: id.0, roles: vec!["control".into()], ..Member::default() };
//! let mut options = Options::new(id, cluster, address);
//! options.founding = Founding { members: vec![founder], ..Founding::default() };
//! let (inbox, incoming) = tokio::sync::mpsc::channel(64);
//! let (_seeds, contacts) = tokio::sync::mpsc::channel(1);
//! let transport = MemNetwork::seeded(42).start((cluster, id), Some(address), inbox);
//! let store = Box::new(MemStore::new(Disk::new()));
//! let (handle, task) =
//!     start(Driver { options, store, transport, incoming, contacts, seed: 42 })?;
//!
//! let put = Put { key: "greeting".into(), value: "hello".into(), ..Put::default() };
//! handle.write(Command::of(CommandKind::Put(put))).await?.result?;
//! let seen = handle.read(Query::Revision, Consistency::Linearizable).await?;
//! assert_eq!(seen.revision.0, 2);
//! handle.shutdown().await;
//! task.await??;
//! # Ok(())
//! # }
//! ```
//!
//! # A state machine of your own
//!
//! A node can keep replicas of hundreds of Raft groups, each of them a state machine of the
//! application ([`GroupMachine`](core::groups::GroupMachine)). They share the node's log and cost
//! nothing while nobody uses them.
//!
//! ```
//! use bytes::Bytes;
//! use muslin::core::base::{ClusterId, Index, NodeId};
//! use muslin::core::groups::{GroupMachine, NotASnapshot};
//! use muslin::core::node::{Consistency, Options};
//! # use muslin::core::state::{Founding, Member};
//! # use muslin::driver::{Driver, start};
//! # use muslin::store::mem::{Disk, MemStore};
//! # use muslin::transport::mem::MemNetwork;
//!
//! /// Adds up. A command is a number of eight bytes; the answer is the sum.
//! #[derive(Default)]
//! struct Counter(u64);
//!
//! impl GroupMachine for Counter {
//!     fn apply(&mut self, _: Index, command: Bytes) -> Bytes {
//!         let number = <[u8; 8]>::try_from(&command[..]).map_or(0, u64::from_be_bytes);
//!         self.0 = self.0.wrapping_add(number);
//!         self.snapshot()
//!     }
//!     fn query(&self, _: &[u8]) -> Bytes {
//!         self.snapshot()
//!     }
//!     fn snapshot(&self) -> Bytes {
//!         Bytes::copy_from_slice(&self.0.to_be_bytes())
//!     }
//!     fn restore(&mut self, snapshot: Bytes) -> Result<(), NotASnapshot> {
//!         self.0 = u64::from_be_bytes(snapshot[..].try_into().map_err(|_| NotASnapshot)?);
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (cluster, id, address) = (ClusterId(1), NodeId(1), "127.0.0.1:7400".parse()?);
//! # let founder = Member { id: id.0, roles: vec!["control".into()], ..Member::default() };
//! let mut options = Options::new(id, cluster, address);
//! # options.founding = Founding { members: vec![founder], ..Founding::default() };
//! options.groups.machines =
//!     options.groups.machines.with("counter", |_| Box::new(Counter::default()));
//! // .. start the node as above, then:
//! # let (inbox, incoming) = tokio::sync::mpsc::channel(64);
//! # let (_seeds, contacts) = tokio::sync::mpsc::channel(1);
//! # let transport = MemNetwork::seeded(42).start((cluster, id), Some(address), inbox);
//! # let store = Box::new(MemStore::new(Disk::new()));
//! # let (handle, task) =
//! #     start(Driver { options, store, transport, incoming, contacts, seed: 42 })?;
//! let group = handle.group_create("counter", [id]).await?;
//! handle.group_propose(group, Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 40])).await?;
//! let sum = handle.group_propose(group, Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 2])).await?;
//! assert_eq!(sum[7], 42);
//! let read = handle.group_query(group, Bytes::new(), Consistency::Linearizable).await?;
//! assert_eq!(read, sum);
//! # handle.shutdown().await;
//! # task.await??;
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]

#[cfg(feature = "api")]
pub mod api;
#[cfg(feature = "consensus")]
pub mod backup;
#[cfg(feature = "client")]
pub mod client;
pub mod codec;
#[cfg(feature = "consensus")]
pub mod coordination;
#[cfg(feature = "api")]
pub mod daemon;
#[cfg(feature = "node")]
pub mod data_dir;
pub mod discovery;
#[cfg(feature = "consensus")]
pub mod driver;
pub mod identity;
#[cfg(feature = "node")]
pub mod join;
#[cfg(feature = "api")]
pub mod layer;
mod looks;
#[cfg(feature = "consensus")]
pub mod machine;
pub mod membership;
#[cfg(feature = "consensus")]
pub mod store;
pub mod transport;

pub use muslin_core as core;

#[cfg(test)]
mod tests {
    #[test]
    fn every_part_stands_in_the_table() {
        let source = include_str!("lib.rs");
        let table: String = source.lines().filter(|line| line.starts_with("//! | ")).collect();
        let parts =
            source.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
        let mut seen = 0;
        for part in parts {
            seen += 1;
            assert!(table.contains(&format!("`{part}`")), "the table of modules lacks {part}");
        }
        assert!(seen > 12, "{seen}");
    }
}
