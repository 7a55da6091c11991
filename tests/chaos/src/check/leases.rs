//! Leases against their time (K3).

use super::Findings;
use super::timeline::Timeline;
use crate::history::{Family, History, Key, Lease, Nanos};
use std::collections::BTreeMap;

/// How late a lease may end, behind its time: every change of leader gives it a whole new time.
/// Only looked at when the run ends, after it has been quiet for at least so long.
const LATE: Nanos = 20_000_000_000;

/// Checks every lease.
pub(super) fn check(history: &History, timeline: &Timeline, findings: &mut Findings) {
    let mut gone: BTreeMap<Key, Nanos> = BTreeMap::new();
    for (_, step) in timeline.steps() {
        let ended = step
            .changes
            .iter()
            .filter(|(key, value)| key.family == Family::Leased && value.is_none());
        for (key, _) in ended {
            gone.entry(*key).or_insert(step.seen);
        }
    }
    for lease in &history.leases {
        let told = [lease.ended, gone.get(&lease.key).copied()].into_iter().flatten().min();
        check_one(lease, told, history.clock_fast_permille, findings);
    }
    let end = history.ops.iter().map(|op| op.end).max().unwrap_or(0);
    let left = history.dumps.iter().flat_map(|dump| dump.items.iter().map(|item| item.key));
    for key in left.filter(|key| key.family == Family::Leased) {
        let lease = history.leases.iter().find(|lease| lease.key == key);
        if lease.is_some_and(|lease| lease.kept + lease.ttl + LATE < end) {
            findings.add("endless-lease", format!("{key} outlives its lease"));
        }
    }
}

/// A lease was asked to be kept at `kept` and that was acknowledged: it lives for its time from
/// then on at least, as long as its keeper's clock runs no faster than told.
fn check_one(lease: &Lease, told: Option<Nanos>, fast_permille: u64, findings: &mut Findings) {
    let span = lease.ttl * 1_000 / (1_000 + fast_permille);
    if let Some(told) = told.filter(|told| *told < lease.kept + span) {
        let early = (lease.kept + lease.ttl - told) / 1_000_000;
        findings.add("early-lease", format!("{} ended {early} ms before its time", lease.key));
    }
}
