//! Settings of a group, validated once.

use crate::base::ClusterId;
use crate::base::mutant::{self, Mutant};
use core::fmt;
use core::time::Duration;

/// Ten times what the crystals of ordinary machines drift, and well above the 500 ppm by which NTP
/// slews a clock.
const CLOCK_DRIFT_PPM: u32 = 1_000;

/// An append of this length costs more to carry and to write than it costs to be woken for it.
const APPENDS_GATHER_BYTES: usize = 64 << 10;

/// No clock that drifts by more than a tenth measures anything.
const CLOCK_DRIFT_PPM_MAX: u32 = 100_000;

/// Settings of one group. The same on all of its members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// A follower that hears nothing from a leader this long asks for votes; the lower bound.
    pub election_timeout_min: Duration,
    /// The upper bound, exclusive; the spread keeps candidates apart.
    pub election_timeout_max: Duration,
    /// How often a leader that has nothing to say says so.
    pub heartbeat_interval: Duration,
    /// Most entries in one append.
    pub append_entries_max: usize,
    /// Most payload bytes in one append; a single larger entry still travels alone.
    pub append_bytes_max: usize,
    /// Appends sent to one peer and not yet answered.
    pub appends_in_flight_max: usize,
    /// Payload bytes sent to one peer and not yet answered.
    pub bytes_in_flight_max: usize,
    /// While two appends of entries are under way to a peer, what comes after them waits until one
    /// is answered or there is this much of it: under load a few large appends leave, each with
    /// its write, its answer and its commit, where many small ones would. Zero where the way to a
    /// peer takes longer than its disk: nothing waits then, not even for
    /// [`Input::Flush`](super::Input::Flush).
    pub appends_gather_bytes: usize,
    /// Bytes in one piece of a snapshot.
    pub snapshot_chunk_bytes: usize,
    /// Entries kept behind a snapshot, and in memory, for followers that lag a little.
    pub log_tail_entries: u64,
    /// The same by payload bytes, whichever is less.
    pub log_tail_bytes: u64,
    /// Entries appended and not yet committed; beyond it proposals are refused.
    pub uncommitted_entries_max: usize,
    /// Whether [`Input::LeaseRead`](super::Input::LeaseRead) may be answered without asking a
    /// quorum. Rests on monotonic clocks that differ by no more than `clock_drift_ppm`.
    pub lease_reads: bool,
    /// Whether this replica keeps what leaders with `lease_reads` rest on: having heard a leader
    /// it gives no vote for the shortest election time-out, not even after it started anew.
    /// Goes without saying with `lease_reads`. A group in which any member has those needs one
    /// of the two on every member.
    pub keeps_leases: bool,
    /// How much faster than true time, in parts per million, any member's clock may run, or
    /// slower.
    pub clock_drift_ppm: u32,
    /// Whether the group keeps time by itself from the start.
    pub drive: Drive,
    /// The cluster: carried by snapshots, which no other cluster takes.
    pub cluster: ClusterId,
}

/// Whether a group keeps time by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Drive {
    /// Heartbeats, election time-outs, leaders that step down when no quorum answers.
    #[default]
    Ticking,
    /// None of these: who leads is said from outside, by
    /// [`Input::Campaign`](super::Input::Campaign) and [`Input::Peer`](super::Input::Peer).
    /// Terms stay the fence.
    Passive,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            election_timeout_min: Duration::from_millis(300),
            election_timeout_max: Duration::from_millis(600),
            heartbeat_interval: Duration::from_millis(60),
            append_entries_max: 4096,
            append_bytes_max: 1 << 20,
            appends_in_flight_max: 64,
            bytes_in_flight_max: 16 << 20,
            appends_gather_bytes: APPENDS_GATHER_BYTES,
            snapshot_chunk_bytes: 256 << 10,
            log_tail_entries: 10_000,
            log_tail_bytes: 8 << 20,
            uncommitted_entries_max: 65_536,
            lease_reads: false,
            keeps_leases: false,
            clock_drift_ppm: CLOCK_DRIFT_PPM,
            drive: Drive::Ticking,
            cluster: ClusterId::default(),
        }
    }
}

/// Why settings are refused; `Display` says what to change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OptionsError(&'static str);

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for OptionsError {}

impl Options {
    /// Whether what leaders count on is kept here.
    pub(super) fn is_bound_by_leases(&self) -> bool {
        self.lease_reads || self.keeps_leases
    }

    /// How long a leader may count on a quorum that heard it, by its own clock: the voters' clocks
    /// may run fast by the drift, its own slow.
    pub(super) fn lease_time(&self) -> Duration {
        const MILLION: u128 = 1_000_000;
        let drift = match mutant::is_active(Mutant::LeaseIgnoresDrift) {
            true => 0,
            false => u128::from(self.clock_drift_ppm),
        };
        let nanos = self.election_timeout_min.as_nanos() * (MILLION - drift) / (MILLION + drift);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Refuses settings under which a group cannot work.
    pub fn validate(&self) -> Result<(), OptionsError> {
        if self.election_timeout_max <= self.election_timeout_min {
            return Err(OptionsError(
                "election_timeout_max must be above election_timeout_min: candidates must differ",
            ));
        }
        if self.heartbeat_interval * 2 > self.election_timeout_min {
            return Err(OptionsError(
                "heartbeat_interval must be at most half of election_timeout_min",
            ));
        }
        if self.append_entries_max == 0
            || self.appends_in_flight_max == 0
            || self.snapshot_chunk_bytes == 0
        {
            return Err(OptionsError(
                "the limits of appends and the snapshot_chunk_bytes must be positive",
            ));
        }
        if self.bytes_in_flight_max < self.append_bytes_max {
            return Err(OptionsError("bytes_in_flight_max must be at least append_bytes_max"));
        }
        if self.uncommitted_entries_max == 0 {
            return Err(OptionsError("uncommitted_entries_max must be positive"));
        }
        if self.clock_drift_ppm > CLOCK_DRIFT_PPM_MAX {
            return Err(OptionsError("clock_drift_ppm must be at most 100000, a tenth"));
        }
        Ok(())
    }
}
