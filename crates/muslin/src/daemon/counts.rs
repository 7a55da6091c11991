//! The transport's numbers on the metrics page.

use crate::api::{Count, Counters};
use crate::transport::TransportCounters;
use std::sync::Arc;

/// Sums the transport's numbers by name.
pub(super) struct TransportCounts(pub(super) Arc<TransportCounters>);

impl Counters for TransportCounts {
    fn counts(&self) -> Vec<Count> {
        let mut counts: Vec<Count> = Vec::new();
        for row in self.0.rows().into_iter().filter(|row| row.name.ends_with("_total")) {
            match counts.last_mut().filter(|last| last.name == row.name) {
                Some(last) => last.value += row.value,
                None => counts.push(Count { name: row.name, help: row.help, value: row.value }),
            }
        }
        counts
    }
}
