//! Locks, elections and fences, made of keys and leases.
//!
//! All of it is etcd's recipe to the letter, so that etcd's clients and Muslin's own wait in one
//! queue: whoever wants the lock or the office `NAME` puts a key `NAME/LEASE` (the lease in
//! hexadecimal), and has it as soon as no key below `NAME/` was created earlier. Who waits watches
//! the key in front of its own and no other: nobody polls, and a release wakes one.
//!
//! # Only as good as its fence
//! Who holds a lock may be paused, cut off or slow, for longer than its lease lives; the next one
//! holds the lock then, and the first may not know. So each holder has a [`Fence`]: its key and the
//! revision that made it. Writes that carry it ([`Fence::write`]) happen only while that very key
//! is there.
//!
//! ```
//! # use muslin::core::base::{ClusterId, NodeId};
//! # use muslin::core::node::Options;
//! # use muslin::core::state::{Founding, Member, Op, OpKind, Put};
//! # use muslin::driver::{Driver, start};
//! # use muslin::store::mem::{Disk, MemStore};
//! # use muslin::transport::mem::MemNetwork;
//! use muslin::coordination::{Lock, Session};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (cluster, id, address) = (ClusterId(1), NodeId(1), "127.0.0.1:7400".parse()?);
//! # let founder = Member { id: id.0, roles: vec!["control".into()], ..Member::default() };
//! # let mut options = Options::new(id, cluster, address);
//! # options.founding = Founding { members: vec![founder], ..Founding::default() };
//! # let (inbox, incoming) = tokio::sync::mpsc::channel(64);
//! # let (_seeds, contacts) = tokio::sync::mpsc::channel(1);
//! # let transport = MemNetwork::seeded(42).start((cluster, id), Some(address), inbox);
//! # let store = Box::new(MemStore::new(Disk::new()));
//! # let (handle, task) =
//! #     start(Driver { options, store, transport, incoming, contacts, seed: 42 })?;
//! let session = Session::open(&handle, Duration::from_secs(10)).await?;
//! let held = Lock::new(&handle, "printer").acquire(&session).await?;
//! let put = Put { key: "page".into(), value: "1".into(), ..Put::default() };
//! held.fence().write(&handle, vec![Op { kind: Some(OpKind::Put(put)) }]).await?;
//! held.release().await?;
//! session.close().await?;
//! # handle.shutdown().await;
//! # task.await??;
//! # Ok(())
//! # }
//! ```

pub mod collections;
mod election;
mod error;
mod fence;
mod lock;
mod queue;
mod session;
#[cfg(test)]
mod tests;

pub use election::{Election, Leadership, Observed, Observer};
pub use error::Error;
pub use fence::Fence;
pub use lock::{Held, Lock};
pub use queue::{Entry, Place, Queue, Waiting};
pub use session::{Session, drawn_lease};
