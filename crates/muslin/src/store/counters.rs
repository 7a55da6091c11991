//! What a store counts: how long its syncs took, what it wrote, and what it found when it looked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the classes of sync times, in microseconds: from a fast drive's to a hung one's.
pub const SYNC_CLASSES_US: [u64; 12] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000, 5_000_000];

/// Shared by whoever writes and whoever tells. All numbers only grow, but for the lengths of what
/// waits.
#[derive(Debug, Default)]
pub struct DiskCounters {
    /// Syncs by class, of [`SYNC_CLASSES_US`], and those that took longer still.
    sync_classes: [AtomicU64; SYNC_CLASSES_US.len() + 1],
    sync_micros: AtomicU64,
    written_bytes: AtomicU64,
    scrubbed_bytes: AtomicU64,
    damages: AtomicU64,
    waiting_writes: AtomicU64,
    waiting_bytes: AtomicU64,
}

/// The numbers of one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiskNumbers {
    /// Syncs by class, of [`SYNC_CLASSES_US`], and those that took longer still.
    pub sync_classes: [u64; SYNC_CLASSES_US.len() + 1],
    /// What all of them took.
    pub sync_time: Duration,
    /// Bytes written to the log.
    pub written_bytes: u64,
    /// Bytes read again to see whether they are still what was written.
    pub scrubbed_bytes: u64,
    /// Places found damaged since the process started.
    pub damages: u64,
    /// Writes issued and not durable.
    pub waiting_writes: u64,
    /// Their length, about.
    pub waiting_bytes: u64,
}

impl DiskCounters {
    /// A batch was made durable.
    pub fn synced(&self, bytes: u64, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = SYNC_CLASSES_US.partition_point(|bound| *bound < micros);
        self.sync_classes[class].fetch_add(1, Ordering::Relaxed);
        self.sync_micros.fetch_add(micros, Ordering::Relaxed);
        self.written_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// These bytes were read again.
    pub fn scrubbed(&self, bytes: u64) {
        self.scrubbed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Something was found damaged.
    pub fn damaged(&self) {
        self.damages.fetch_add(1, Ordering::Relaxed);
    }

    /// A write was issued.
    pub(crate) fn issued(&self, bytes: u64) {
        self.waiting_writes.fetch_add(1, Ordering::Relaxed);
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Writes became durable, or will never be.
    pub(crate) fn done(&self, writes: u64, bytes: u64) {
        self.waiting_writes.fetch_sub(writes, Ordering::Relaxed);
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What waits, about, in bytes.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes.load(Ordering::Relaxed)
    }

    /// The numbers at this moment; each is right by itself.
    pub fn numbers(&self) -> DiskNumbers {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        DiskNumbers {
            sync_classes: self.sync_classes.each_ref().map(load),
            sync_time: Duration::from_micros(load(&self.sync_micros)),
            written_bytes: load(&self.written_bytes),
            scrubbed_bytes: load(&self.scrubbed_bytes),
            damages: load(&self.damages),
            waiting_writes: load(&self.waiting_writes),
            waiting_bytes: load(&self.waiting_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_counts_in_the_class_whose_bound_it_does_not_exceed() {
        let counters = DiskCounters::default();
        for micros in [1, 50, 51, 5_000_000, 5_000_001] {
            counters.synced(10, Duration::from_micros(micros));
        }
        let numbers = counters.numbers();
        assert_eq!(numbers.sync_classes[..2], [2, 1]);
        assert_eq!(numbers.sync_classes[SYNC_CLASSES_US.len() - 1..], [1, 1]);
        assert_eq!(numbers.written_bytes, 50);
    }
}
