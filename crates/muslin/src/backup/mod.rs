//! What a cluster holds, in one file, and another cluster begun with it.
//!
//! A [`Backup`] is made of the state as it was at one moment, and written as [`Chunks`] while the
//! node goes on. A [`Checker`] takes the bytes wherever they come from, and says what is wrong and
//! where as soon as it can be known; [`save`] puts them into a file that is whole or not there;
//! [`inspect`] and [`read`] read one. What is in it, and the bytes, are described in the guide's
//! page on backups. [`daemon::restore`](crate::daemon) begins a cluster with one.

mod check;
mod error;
mod file;
mod format;
#[cfg(test)]
mod tests;
mod write;

pub use check::Checker;
pub use error::{BackupError, Fault};
pub use file::{Inspected, Saved, Saving, head, inspect, read, save};
pub use format::{BLOCK_BYTES, FORMAT, Head, SUM_BYTES, UNIT_BYTES};
pub use write::{Backup, Chunks, Origin};
