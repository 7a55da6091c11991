//! `cargo xtask compare-etcd`: three etcd and three muslin nodes under the same loads, on the same
//! disk, in turn and never both at once.
//!
//! [`rows`] says what is measured and what is asked of it, [`stage`] measures, [`servers`] runs
//! either side in fresh directories, [`table`] judges and prints, [`page`] writes
//! `docs/performance.md`, [`options`] are the command's flags. [`run()`] joins them.

mod options;
mod page;
mod rows;
mod run;
mod servers;
mod stage;
mod table;

pub(crate) use run::run;
pub(crate) use servers::{Servers, Side};
