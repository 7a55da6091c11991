//! Time in ticks.

use muslin_core::raft::Options;
use std::time::Duration;

/// Ticks from heartbeat to heartbeat: enough that time-outs differ, few enough that ticking is not
/// most of the work.
pub(crate) const HEARTBEAT_TICKS: usize = 4;

/// The simulator's settings in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) tick: Duration,
    /// The shortest election time-out.
    pub(crate) election_least: usize,
    /// The longest, exclusive.
    pub(crate) election_most: usize,
}

impl Timing {
    pub(crate) fn of(options: &Options) -> Timing {
        let tick = options.heartbeat_interval / HEARTBEAT_TICKS as u32;
        let ticks = |time: Duration| time.as_nanos().div_ceil(tick.as_nanos()) as usize;
        let election_least = ticks(options.election_timeout_min).max(HEARTBEAT_TICKS + 1);
        let election_most = ticks(options.election_timeout_max).max(election_least + 1);
        Timing { tick, election_least, election_most }
    }
}
