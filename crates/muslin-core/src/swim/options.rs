//! Settings of the failure detector, and the profiles that name them.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

/// Settings; each [`Profile`] has its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// One member is probed each period.
    pub probe_period: Duration,
    /// A probe not answered this long is tried through others.
    pub probe_timeout: Duration,
    /// How many others are asked to probe.
    pub indirect_probes: usize,
    /// When nobody has reached the target half-way between that and the end of the period, it is
    /// asked once over a stream.
    pub stream_probe: bool,
    /// A suspicion not refuted this many periods, times log10 of the members plus one, becomes
    /// down.
    pub suspicion_multiplier: u32,
    /// A rumor is sent at most this many times ceil(log10(N + 1)).
    pub retransmit_multiplier: u32,
    /// A down or left member is remembered this long, so that old rumors do not revive it.
    pub forget_after: Duration,
    /// How often a seed or a down member is tried again, to heal after a partition.
    pub rejoin_period: Duration,
    /// In a cluster of more members than this a node tracks a slice of them only (see
    /// [`ring`](super::ring)).
    pub slice_above: usize,
    /// How many successors on the ring that slice has, and so how many watch each member.
    pub slice: usize,
}

impl Options {
    /// For one rack or one machine: a death is seen in under 1.5 s.
    pub fn fast() -> Options {
        Options {
            probe_period: Duration::from_millis(250),
            probe_timeout: Duration::from_millis(100),
            indirect_probes: 3,
            stream_probe: true,
            suspicion_multiplier: 3,
            retransmit_multiplier: 4,
            forget_after: Duration::from_secs(24 * 3600),
            rejoin_period: Duration::from_secs(1),
            slice_above: 2_000,
            slice: 32,
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

    /// For several data centres: round trips of hundreds of milliseconds, and losses.
    pub fn wan() -> Options {
        Options {
            probe_period: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(3),
            suspicion_multiplier: 6,
            rejoin_period: Duration::from_secs(30),
            ..Options::fast()
        }
    }

    /// The periods of SlimCluster (`ProtocolPeriod`, `PingAckTimeout`,
    /// `FailureDetectionSubgroupSize`). It declared a member faulted at the end of the period; here
    /// one period of suspicion comes in between.
    pub fn slimcluster() -> Options {
        Options {
            probe_period: Duration::from_secs(5),
            probe_timeout: Duration::from_millis(1_250),
            suspicion_multiplier: 1,
            rejoin_period: Duration::from_secs(10),
            ..Options::fast()
        }
    }
}

/// Settings by name: where the nodes are, in one word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Profile {
    /// One machine or one rack.
    Fast,
    /// One data centre.
    #[default]
    Lan,
    /// Several data centres.
    Wan,
    /// As users of SlimCluster know it.
    Slimcluster,
}

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 4] = [Profile::Fast, Profile::Lan, Profile::Wan, Profile::Slimcluster];

    /// As it stands in files and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Fast => "fast",
            Profile::Lan => "lan",
            Profile::Wan => "wan",
            Profile::Slimcluster => "slimcluster",
        }
    }

    /// What it stands for.
    pub fn options(self) -> Options {
        match self {
            Profile::Fast => Options::fast(),
            Profile::Lan => Options::lan(),
            Profile::Wan => Options::wan(),
            Profile::Slimcluster => Options::slimcluster(),
        }
    }

    /// The UDP port that nodes of this profile listen on when none is named.
    pub fn port(self) -> Option<u16> {
        (self == Profile::Slimcluster).then_some(60_001)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no profile of this name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownProfile;

impl fmt::Display for UnknownProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a profile is one of: fast, lan, wan, slimcluster")
    }
}

impl core::error::Error for UnknownProfile {}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Profile, UnknownProfile> {
        Profile::ALL.into_iter().find(|profile| profile.name() == text).ok_or(UnknownProfile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_profile_has_a_name_and_sound_settings() {
        for profile in Profile::ALL {
            assert_eq!(profile.name().parse(), Ok(profile));
            let options = profile.options();
            assert!(options.probe_timeout < options.probe_period, "{profile}");
            assert!(options.slice <= options.slice_above, "{profile}");
        }
        assert_eq!("LAN".parse::<Profile>(), Err(UnknownProfile));
    }

    #[test]
    fn slimcluster_has_the_periods_its_users_know() {
        let options = Profile::Slimcluster.options();
        assert_eq!(options.probe_period.as_millis(), 5_000);
        assert_eq!(options.probe_timeout.as_millis(), 1_250);
        assert_eq!((options.indirect_probes, Profile::Slimcluster.port()), (3, Some(60_001)));
    }
}
