//! What is on a disk, without changing anything.

use super::super::{Damage, StoreError};
use super::log::Home;
use super::replay;

/// What a look at a stopped node's files found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// How it is.
    pub verdict: Verdict,
    /// Everything that is wrong, and where.
    pub damages: Vec<Damage>,
    /// Bytes behind the end of the log that were never acknowledged.
    pub torn_bytes: u64,
    /// Groups with anything on the disk.
    pub groups: u64,
    /// Groups that fetch from others what an earlier damage took.
    pub rebuilding: u64,
    /// Segments of the log.
    pub segments: u64,
    /// Entries in it that count.
    pub entries: u64,
    /// Snapshots that can be read.
    pub snapshots: u64,
}

/// The result in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// All that was acknowledged is there, and nothing else.
    Sound,
    /// All that was acknowledged is there; the node was killed while it wrote, and cuts the rest
    /// when it starts.
    TornTail,
    /// Sound, but an earlier damage took something that was acknowledged, which other nodes have
    /// and this one has not fetched yet.
    Rebuilding,
    /// Something that was acknowledged is not there.
    Damaged,
}

pub(super) fn check(home: &Home) -> Result<Checked, StoreError> {
    let picture = replay::read(home)?;
    let damages: Vec<Damage> =
        picture.log_damage.iter().chain(picture.snapshot_damages.values()).cloned().collect();
    let torn_bytes = picture.tail.as_ref().map_or(0, replay::Tail::torn_bytes);
    let found = picture.groups.values();
    let rebuilding = found.clone().filter(|found| found.state.hard_state.rebuilding).count();
    let verdict = match (damages.is_empty(), rebuilding, torn_bytes) {
        (false, ..) => Verdict::Damaged,
        (true, 1.., _) => Verdict::Rebuilding,
        (true, 0, 0) => Verdict::Sound,
        (true, 0, _) => Verdict::TornTail,
    };
    Ok(Checked {
        verdict,
        damages,
        torn_bytes,
        groups: picture.groups.len() as u64,
        rebuilding: rebuilding as u64,
        segments: picture.segments.len() as u64,
        entries: found.map(|found| found.entries.len() as u64).sum(),
        snapshots: picture.snapshots.len() as u64,
    })
}
