//! The simulator's world, without what raft-rs does not promise to survive.

use muslin_sim::{Group, Preset, Profile, Replica, Summary, Violation};
use std::time::Duration;

/// What a run is like: as for Muslin's own Raft of the same seed, but for the faults that raft-rs
/// has no answer to.
pub fn profile(seed: u64, nodes: usize, preset: Preset) -> Profile {
    let mut profile = Profile::drawn(seed, nodes, preset);
    // Rebuilding after a loss (R11) is Muslin's own.
    profile.faults.rot = false;
    profile.faults.wipe = false;
    // So is a replica that takes no entries while its disk has no room.
    profile.faults.full_disk = false;
    // Nor do its snapshots say which cluster they are of.
    profile.faults.stranger = false;
    profile.raft.lease_reads = false;
    // Messages of raft-rs go as they are: its encoding is prost's.
    profile.network.encoded = false;
    profile
}

/// One run of a group of `R` in that world; a line for each thing that happens goes to `sink`.
pub fn run<R: Replica>(
    (seed, nodes, preset): (u64, usize, Preset),
    time: Duration,
    sink: Option<fn(&str)>,
) -> Result<Summary, Violation> {
    let mut group = Group::<R>::seeded(seed).nodes(nodes).preset(preset);
    group = group.profile(profile(seed, nodes, preset));
    if let Some(sink) = sink {
        group = group.trace(sink);
    }
    group.run(time)
}
