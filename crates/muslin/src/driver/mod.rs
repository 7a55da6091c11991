//! The loop that owns a node, and the handle everyone else holds.

mod handle;

pub use handle::{EventRecord, Gauge, Handle, Watch, WatchItem};
