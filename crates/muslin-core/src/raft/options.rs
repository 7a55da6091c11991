//! Settings of a group, validated once.

use core::fmt;
use core::time::Duration;

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
    /// Bytes in one piece of a snapshot.
    pub snapshot_chunk_bytes: usize,
    /// Entries kept behind a snapshot for followers that lag a little.
    pub log_tail_entries: u64,
    /// Entries appended and not yet committed; beyond it proposals are refused.
    pub uncommitted_entries_max: usize,
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
            snapshot_chunk_bytes: 256 << 10,
            log_tail_entries: 10_000,
            uncommitted_entries_max: 65_536,
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
        Ok(())
    }
}
