//! The store on a disk: one segmented log for all groups of a node, one snapshot file per group.
//!
//! # How it works
//! The log is a chain of pre-allocated, zero-filled segments. A call of
//! [`Store::write`](super::Store) becomes one buffer, one `pwrite` past the page cache and one
//! `fdatasync`; only then is a *seal* put behind it. A seal is a record that says "all before me
//! was synced". It is not synced itself: it rides along with the next batch, and goes out alone
//! only when there is none for a moment.
//!
//! The seal is what lets recovery tell two things apart that look alike. A record that cannot be
//! read and has no seal anywhere behind it belongs to a batch whose sync never finished: nobody was
//! promised anything, so the tail is cut and cleared. One with a seal behind it was acknowledged
//! once: that is damage, nothing is cut, and the node must fetch its data again. Logs that stop at
//! the first bad record, as most do, turn the second case into silent loss.
//!
//! Every byte is described in `docs/design/disk.md`.
//!
//! # Invariants
//! 1. Nothing is reported durable before its sync returned; after any error nothing is ever again.
//! 2. A seal is written only when all before it is on the disk.
//! 3. A segment is used only when its file, full length, and its name are on the disk; the segment
//!    before it then ends in a closing seal that is on the disk too.
//! 4. The records of one [`Write`](muslin_core::raft::Write) are recovered together or not at all.
//! 5. A snapshot file is replaced in one step, and says by itself which log entries it made void.
//! 6. A segment is removed only when a seal that names the oldest one needed is on the disk, and so
//!    are copies of the hard states it held.
//!
//! # Limits
//! A batch never spans segments: one larger than a segment gets a segment of its own size. Damage
//! in one group's records stops the whole node. Segments are removed oldest first, so that one
//! group that never makes snapshots keeps the log of all.

mod beside;
mod check;
mod copy;
mod crc;
mod direct;
mod disk;
mod given;
mod held;
mod log;
mod rebuild;
mod record;
mod recover;
mod replay;
mod room;
mod scrub;
mod segment;
mod snapshot;
mod spares;
mod store;
#[cfg(test)]
mod tests;

pub use check::{Checked, Verdict};
#[cfg(feature = "node")]
pub(crate) use disk::{make_dir, remove_tree, rename, replace, sync_dir};
pub use segment::Owner;
pub use store::{FileStore, Options};
