//! Settings of the failure detector.

use core::time::Duration;

/// Settings; the profiles are [`Options::fast`] and [`Options::lan`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// One member is probed each period.
    pub probe_period: Duration,
    /// A probe not answered this long is tried through others.
    pub probe_timeout: Duration,
    /// How many others are asked to probe.
    pub indirect_probes: usize,
    /// A suspicion not refuted this many periods, times log10 of the members plus one, becomes
    /// down.
    pub suspicion_multiplier: u32,
    /// A rumor is sent at most this many times ceil(log10(N + 1)).
    pub retransmit_multiplier: u32,
    /// A down or left member is remembered this long, so that old rumors do not revive it.
    pub forget_after: Duration,
    /// How often a seed or a down member is tried again, to heal after a partition.
    pub rejoin_period: Duration,
}

impl Options {
    /// For one rack or one machine: a death is seen in under 1.5 s.
    pub fn fast() -> Options {
        Options {
            probe_period: Duration::from_millis(250),
            probe_timeout: Duration::from_millis(100),
            indirect_probes: 3,
            suspicion_multiplier: 3,
            retransmit_multiplier: 4,
            forget_after: Duration::from_secs(24 * 3600),
            rejoin_period: Duration::from_secs(1),
        }
    }

    /// For one data centre.
    pub fn lan() -> Options {
        Options {
            probe_period: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            suspicion_multiplier: 4,
            rejoin_period: Duration::from_secs(5),
            ..Options::fast()
        }
    }
}
