//! Where planted bugs are hunted: worlds as seeds draw them, and worlds made for one weather.

use muslin_core::base::mutant::Mutant;
use muslin_core::raft::Raft;
use muslin_sim::swim::{Ours, Storm};
use muslin_sim::{Cluster, Delay, Faults, Group, Preset, Profile, Violation};
use std::time::Duration;

/// The world a planted bug is hunted in: the one it shows in soonest. Others see most of them too.
#[derive(Clone, Copy)]
pub(crate) struct Ground {
    pub(crate) world: World,
    pub(crate) preset: Preset,
    pub(crate) nodes: usize,
}

/// What is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum World {
    /// Whole nodes.
    Nodes,
    /// Raft alone.
    Group,
    /// Raft alone that answers by leases, among clocks and links that are as bad as they may be.
    Leases,
    /// The same, with clocks as far apart as they may be and elections as soon as they may be.
    Drift,
    /// Raft alone that hears another cluster on the addresses of its own.
    Strangers,
    /// Raft alone that loses disks all the time.
    Losses,
    /// Whole nodes, many leases, and leaders that lead on alone for longer than leases live.
    Holders,
    /// Whole nodes that start again and again, many leases, and messages that are late.
    Late,
    /// Whole nodes with many who put for a while, want a lock, and ask again under a key.
    Careful,
    /// Failure detection alone, in any trouble.
    Storm,
}

const MILLI: Duration = Duration::from_millis(1);

impl World {
    const ALL: [(World, &'static str); 10] = [
        (World::Nodes, "nodes"),
        (World::Group, "group"),
        (World::Leases, "leases"),
        (World::Drift, "drift"),
        (World::Strangers, "strangers"),
        (World::Losses, "losses"),
        (World::Holders, "holders"),
        (World::Late, "late"),
        (World::Careful, "careful"),
        (World::Storm, "storm"),
    ];

    pub(crate) fn name(self) -> &'static str {
        World::ALL.into_iter().find(|(world, _)| *world == self).map_or("", |(_, name)| name)
    }

    pub(crate) fn named(name: &str) -> Option<World> {
        World::ALL.into_iter().find(|(_, it)| *it == name).map(|(world, _)| world)
    }

    fn is_of_nodes(self) -> bool {
        matches!(self, World::Nodes | World::Holders | World::Late | World::Careful)
    }

    /// What is another in this world than the seed says.
    fn changed(self, drawn: Profile) -> Profile {
        match self {
            World::Nodes | World::Group | World::Storm => drawn,
            World::Leases => with_leases(drawn),
            World::Drift => with_drift(drawn),
            World::Strangers => with_strangers(drawn),
            World::Losses => with_losses(drawn),
            World::Holders => with_holders(drawn),
            World::Late => with_late_answers(drawn),
            World::Careful => with_care(drawn),
        }
    }
}

impl Ground {
    pub(crate) fn run(self, seed: u64, time: Duration) -> Result<(), Violation> {
        macro_rules! run {
            ($of:expr) => {{
                let run = $of.nodes(self.nodes).preset(self.preset);
                let profile = self.world.changed(run.drawn());
                run.profile(profile).run(time).map(|_| ())
            }};
        }
        if self.world == World::Storm {
            return Storm { lasts: time }.run::<Ours>(seed).map(|_| ());
        }
        match self.world.is_of_nodes() {
            true => run!(Cluster::seeded(seed)),
            false => run!(Group::<Raft>::seeded(seed)),
        }
    }
}

fn between(least: Duration, most: Duration) -> Delay {
    Delay { least, most, slow_ppm: 0, slowest: most }
}

/// Leaders are cut off or told to hand over all the time, and everybody reads.
fn with_leases(mut drawn: Profile) -> Profile {
    drawn.raft.lease_reads = true;
    drawn.raft.clock_drift_ppm = 100_000;
    drawn.machines.drift_ppm = 100_000;
    drawn.load.reads_ppm = 600_000;
    drawn.load.clients = 9;
    drawn.load.think = between(MILLI / 5, MILLI * 2);
    drawn.disks.sync = drawn.load.think.clone();
    drawn.network.delay = between(MILLI / 5, MILLI);
    drawn.faults = Faults {
        every: MILLI * 250,
        lasts: MILLI * 500,
        leader_ppm: 900_000,
        partition: true,
        one_way: true,
        partial: true,
        slow_link: true,
        drift: true,
        transfer: true,
        ..Faults::none()
    };
    drawn
}

/// A leader whose clock is slow is cut off from others whose clocks are fast, and one of them is
/// elected at the first moment at which it may be.
fn with_drift(drawn: Profile) -> Profile {
    let mut profile = with_leases(drawn);
    profile.machines.drift_is_extreme = true;
    profile.raft.heartbeat_interval = MILLI * 20;
    profile.raft.election_timeout_min = MILLI * 300;
    profile.raft.election_timeout_max = MILLI * 303;
    profile.faults = Faults {
        every: MILLI * 400,
        lasts: MILLI * 800,
        leader_ppm: 600_000,
        partition: true,
        drift: true,
        ..Faults::none()
    };
    profile
}

fn with_strangers(mut drawn: Profile) -> Profile {
    drawn.faults.every = MILLI * 400;
    drawn.faults.stranger = true;
    drawn
}

/// Those who came later are no voters by what an empty disk says.
fn with_losses(mut drawn: Profile) -> Profile {
    drawn.faults = Faults {
        every: MILLI * 300,
        lasts: MILLI * 300,
        wipe: true,
        crash: true,
        partition: true,
        ..Faults::none()
    };
    drawn
}

/// Leases end at a leader that is cut off before it steps down, and are kept alive elsewhere.
fn with_holders(mut drawn: Profile) -> Profile {
    drawn.load.clients = 1;
    drawn.load.watchers = 0;
    drawn.load.holders = 16;
    drawn.load.think = between(MILLI, MILLI * 20);
    drawn.request_timeout = Duration::from_secs(5);
    drawn.network.delay = between(MILLI / 5, MILLI);
    drawn.disks.sync = between(MILLI / 5, MILLI * 2);
    drawn.raft.heartbeat_interval = MILLI * 100;
    drawn.raft.election_timeout_min = MILLI * 1_500;
    drawn.raft.election_timeout_max = MILLI * 1_800;
    drawn.faults = Faults {
        every: MILLI * 2_500,
        lasts: MILLI * 5_000,
        leader_ppm: 1_000_000,
        partition: true,
        pause: true,
        ..Faults::none()
    };
    drawn
}

/// Next to nobody else, so that locks change hands and answers get lost as often as can be.
fn with_care(mut drawn: Profile) -> Profile {
    drawn.load.clients = 1;
    drawn.load.watchers = 0;
    drawn.load.holders = 0;
    drawn.load.careful = 4;
    drawn.faults.leap = false;
    drawn
}

/// A question of a process that has ended comes to the leader, and its answer to the next process.
fn with_late_answers(mut drawn: Profile) -> Profile {
    drawn.load.clients = 1;
    drawn.load.watchers = 0;
    drawn.load.holders = 16;
    drawn.load.think = between(MILLI, MILLI * 5);
    drawn.network.ordered = false;
    drawn.network.loss_ppm = 0;
    drawn.network.twice_ppm = 200_000;
    drawn.network.delay =
        Delay { slow_ppm: 150_000, slowest: MILLI * 2_500, ..between(MILLI / 5, MILLI * 2) };
    drawn.disks.sync = between(MILLI / 5, MILLI * 2);
    drawn.raft.heartbeat_interval = MILLI * 20;
    drawn.raft.election_timeout_min = MILLI * 80;
    drawn.raft.election_timeout_max = MILLI * 160;
    drawn.faults = Faults { every: MILLI * 200, lasts: MILLI * 60, crash: true, ..Faults::none() };
    drawn
}

/// In a script or a property of the core, or in the model check.
fn shows_elsewhere(planted: Mutant) -> bool {
    matches!(
        planted,
        Mutant::RefutesInSameLife
            | Mutant::AckOfOlderSessionKept
            | Mutant::LeaseForgotten
            | Mutant::StaleAssignmentTaken
            | Mutant::FullNodeNamed
            | Mutant::UnnamedCampaigns
            | Mutant::NamedNeverDeclines
            | Mutant::LongerLogStaysSilent
            | Mutant::LeaderNotSought
            | Mutant::PromotionLowersSurvival
            | Mutant::AuthChecksTakenBranchOnly
            | Mutant::AuthCheckedBeforeLog
            | Mutant::TokenSurvivesDisable
            | Mutant::PrevKvUnchecked
            | Mutant::WatchOutlivesRight
            | Mutant::DismissedAtOnce
    )
}

/// `None` for what shows elsewhere: in a script of the core or in the model check.
pub(crate) fn ground(planted: Mutant) -> Option<Ground> {
    use Mutant as It;
    if shows_elsewhere(planted) {
        return None;
    }
    use World::{Careful, Drift, Group, Holders, Late, Leases, Losses, Nodes, Storm, Strangers};
    let (world, preset, nodes) = match planted {
        It::PassiveReadWithoutRound => (Nodes, Preset::Groups, 3),
        It::SnapshotOfAnyCluster => (Strangers, Preset::Swarm, 3),
        It::RebuildEndsEarly => (Losses, Preset::Churn, 3),
        It::LeaseIgnoresDrift => (Drift, Preset::Swarm, 3),
        It::LeaseAnswerMixed => (Late, Preset::Swarm, 3),
        It::FenceNotCompared
        | It::QueueServedByKey
        | It::ReceiptNotLookedFor
        | It::PutLeaseOutlivesLeader
        | It::PutTtlHalved => (Careful, Preset::Swarm, 3),
        It::ReceiptForgottenInSnapshot | It::ReceiptsForgottenEarly => (Nodes, Preset::Groups, 3),
        It::LeaseEndForwarded => (Holders, Preset::Swarm, 3),
        It::DownBeatsAnyLife | It::NackIsAck => (Storm, Preset::Swarm, 0),
        It::IdReused
        | It::TokenUseUncounted
        | It::CollectedWithoutEpoch
        | It::WatcherMajorityIgnored => (Nodes, Preset::Churn, 5),
        It::PromotedBehind => (Nodes, Preset::Admit, 3),
        It::SmallClusterAssigns => (Nodes, Preset::Groups, 3),
        It::SurplusStays
        | It::UnwantedVotes
        | It::ReplacedBeforeGrace
        | It::ReleasedWithoutRole
        | It::ReapedTooSoon
        | It::GoneFollowsEpoch
        | It::TicketOfAnyCluster => (Nodes, Preset::Members, 3),
        It::JointCountsNewOnly
        | It::LearnerCounted
        | It::TwoChangesAtOnce
        | It::NoJoint
        | It::ChangeBeforeOwnTerm
        | It::TruncationKeepsVoters
        | It::InstallKeepsVoters
        | It::SnapshotWithoutVoters
        | It::VoteByIndexOnly => (Group, Preset::Churn, 3),
        It::DeafLeaderStays
        | It::TruncatesKnown
        | It::DeposedAnswersReads
        | It::LossUnnoticed
        | It::FullFollowerAcks => (Group, Preset::Nasty, 5),
        It::HeartbeatCommits
        | It::InstallKeepsLog
        | It::ReadIdReused
        | It::RebuildingReplicaCounts
        | It::RebuildingReplicaVotes
        | It::DamageCutAsTail
        | It::IndexAheadOfState
        | It::DiskLossForgotten
        | It::SyncErrorIgnored => (Group, Preset::Swarm, 3),
        It::LeaseSurvivesTransfer | It::ReadWithoutQuorum | It::ReadRoundReused => {
            (Leases, Preset::Swarm, 3)
        }
        It::RetriesForgottenEarly => (Nodes, Preset::Nasty, 3),
        It::FeedsUncommitted | It::FeedSkipsGap | It::FeedBeginsLate => (Nodes, Preset::Fed, 3),
        _ => (Nodes, Preset::Swarm, 3),
    };
    Some(Ground { world, preset, nodes })
}
