//! What one run is like: every seed draws its own sizes, delays, rates and faults ("swarm
//! testing").
//!
//! A bug needs its own weather: some only show with slow disks, some only with tiny batches, some
//! only when nothing is lost. Drawing all of it per seed visits corners that no fixed set-up has.

use crate::time::nanos;
use muslin_core::base::Prng;
use muslin_core::state::Settings;
use muslin_core::{raft, swim};
use std::time::Duration;

/// Kinds of run to choose from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preset {
    /// Everything drawn from the seed, faults of all kinds.
    Swarm,
    /// As `Swarm`; starts with one founder, the others are admitted on the way.
    Admit,
    /// As `Swarm`; nodes are admitted and removed all the time.
    Churn,
    /// As `Swarm`; messages between peers are lost, doubled and reordered one by one.
    Nasty,
    /// A good network and no faults: for speed, and for what must work on a good day.
    Calm,
    /// As `Swarm`, with members besides that have no part in the control group: they are fed.
    Fed,
    /// As `Swarm`, with spares and fed members, and an operator who drains, promotes, demotes,
    /// removes, lets in and raises the epoch all the time, while members die for good and are
    /// removed by policy: days of membership in seconds.
    Members,
    /// As `Swarm`; the nodes keep many passive groups besides, and are asked for them.
    Groups,
    /// As `Calm`, with next to no load.
    Idle,
    /// As `Swarm`, `Churn`, `Admit` or `Nasty`, at the pace of real clusters: stretches in which
    /// much is asked and much goes wrong, and long ones in which little is and nothing does. For
    /// runs of hours.
    Long,
}

impl Preset {
    /// All of them.
    pub const ALL: [Preset; 10] = [
        Preset::Swarm,
        Preset::Admit,
        Preset::Churn,
        Preset::Nasty,
        Preset::Fed,
        Preset::Members,
        Preset::Groups,
        Preset::Calm,
        Preset::Idle,
        Preset::Long,
    ];

    /// Its name on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Swarm => "swarm",
            Preset::Admit => "admit",
            Preset::Churn => "churn",
            Preset::Nasty => "nasty",
            Preset::Fed => "fed",
            Preset::Members => "members",
            Preset::Groups => "groups",
            Preset::Calm => "calm",
            Preset::Idle => "idle",
            Preset::Long => "long",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Preset> {
        Preset::ALL.into_iter().find(|preset| preset.name() == name)
    }
}

/// Longest time to live that a holder of a lease asks for; the shortest is a second.
pub(crate) const TTL_MAX: Duration = Duration::from_secs(3);

/// In long runs heartbeats are at least this far apart, as they are by default.
const LONG_HEARTBEAT_MIN: Duration = Duration::from_millis(60);

/// Clients of each careful kind: in most runs none, as rare bugs want the others' weather.
const CAREFUL: [usize; 5] = [0, 0, 0, 1, 3];

/// Groups besides the control group, at most, where there are any.
const GROUPS_MOST: u64 = 8;

/// How often, in a million, another cluster is heard of.
const STRANGERS_PPM: u64 = 200_000;

/// The same of runs in which members are tended.
const STRANGERS_OF_TENDED_PPM: u64 = 500_000;

/// Machines of another cluster, where members are tended and it is heard: they know each other.
const STRANGERS: usize = 2;

/// Members without a part in the control group, where there are any: at least so many.
const WORKERS_LEAST: usize = 4;

/// So many more at most.
const WORKERS_MORE: u64 = 6;

/// Machines that wait to be admitted where nodes come and go.
const SPARES: usize = 3;

/// Control nodes that wait to be admitted where members are tended.
const CONTROL_SPARES: usize = 2;

/// Machines that are to be fed there.
const TENDED_WORKERS: usize = 3;

/// A duration drawn anew each time: mostly between two bounds, sometimes far longer.
#[derive(Clone, Debug)]
pub struct Delay {
    /// The shortest.
    pub least: Duration,
    /// The longest of the usual ones.
    pub most: Duration,
    /// How often, in a million, it is slow.
    pub slow_ppm: u64,
    /// The longest of the slow ones.
    pub slowest: Duration,
}

impl Delay {
    pub(crate) fn between(least: Duration, most: Duration) -> Delay {
        Delay { least, most, slow_ppm: 0, slowest: most }
    }

    pub(crate) fn draw(&self, prng: &mut Prng) -> Duration {
        if self.slow_ppm > 0 && prng.chance(self.slow_ppm) {
            prng.duration(self.most, self.slowest)
        } else {
            prng.duration(self.least, self.most)
        }
    }
}

/// The network.
#[derive(Clone, Debug)]
pub struct Network {
    /// From sending to arrival.
    pub delay: Delay,
    /// Gossip datagrams lost, in a million.
    pub datagram_loss_ppm: u64,
    /// Gossip datagrams that arrive twice, in a million.
    pub datagram_twice_ppm: u64,
    /// Peer messages after which the connection breaks, in a million: what is under way is lost.
    pub disconnect_ppm: u64,
    /// Streams keep the order and lose only with their connection; without, each message is on its
    /// own.
    pub ordered: bool,
    /// Peer messages lost when not `ordered`, in a million.
    pub loss_ppm: u64,
    /// Peer messages that arrive twice when not `ordered`, in a million.
    pub twice_ppm: u64,
    /// Every peer message goes through its encoding.
    pub encoded: bool,
}

/// The disks.
#[derive(Clone, Debug)]
pub struct Disks {
    /// One sync, whatever it carries.
    pub sync: Delay,
    /// Most writes in one sync.
    pub batch: usize,
}

/// The machines and their processes.
#[derive(Clone, Debug)]
pub struct Machines {
    /// Most inputs handled before a flush.
    pub batch: u64,
    /// What a batch costs.
    pub batch_cost: Duration,
    /// What each input of it costs.
    pub input_cost: Duration,
    /// How late a timer may be.
    pub timer_late: Duration,
    /// Most that a clock is fast or slow, in parts per million.
    pub drift_ppm: i64,
    /// Clocks are as fast or as slow as they may be, nothing in between.
    pub drift_is_extreme: bool,
}

/// Where a kind of fault is switched on and off.
pub type FaultSwitch = fn(&mut Faults) -> &mut bool;

/// What goes wrong, and how often.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Mean time between two faults; zero is never.
    pub every: Duration,
    /// How long a fault lasts, at most.
    pub lasts: Duration,
    /// How often, in a million, the leader is the one it hits.
    pub leader_ppm: u64,
    /// One node loses power and is started again.
    pub crash: bool,
    /// All nodes at once.
    pub crash_all: bool,
    /// A node is told to stop, and stops.
    pub stop: bool,
    /// A process stands still and goes on.
    pub pause: bool,
    /// Some nodes are cut off from the others.
    pub partition: bool,
    /// A node sends and hears nothing, or hears and sends nothing.
    pub one_way: bool,
    /// Single links are cut.
    pub partial: bool,
    /// Links slow down by up to seconds.
    pub slow_link: bool,
    /// A disk slows down by up to seconds.
    pub slow_disk: bool,
    /// A machine has hardly any time for the process.
    pub starve: bool,
    /// Links come and go, several times in a row.
    pub flap: bool,
    /// Only neighbours in a chain or a ring reach each other.
    pub layout: bool,
    /// A clock runs at another rate from here on.
    pub drift: bool,
    /// A clock leaps forward, by up to hours, where that is harmless by promise.
    pub leap: bool,
    /// A disk has no room for entries.
    pub full_disk: bool,
    /// A sync fails, and the process stops as it must.
    pub sync_error: bool,
    /// A disk is found to have lost what it promised: a part of its log, or its snapshot.
    pub rot: bool,
    /// A disk is found empty.
    pub wipe: bool,
    /// An operator moves the leadership.
    pub transfer: bool,
    /// A snapshot of another cluster comes from a leader at the address of this one's; where
    /// members are tended, machines of another one gossip all the time.
    pub stranger: bool,
    /// After an acknowledged write, in a million: the node that gave it, the leader or all lose
    /// power.
    pub crash_after_ack_ppm: u64,
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Faults {
        Faults {
            every: Duration::ZERO,
            lasts: Duration::ZERO,
            leader_ppm: 0,
            crash: false,
            crash_all: false,
            stop: false,
            pause: false,
            partition: false,
            one_way: false,
            partial: false,
            slow_link: false,
            slow_disk: false,
            starve: false,
            flap: false,
            layout: false,
            drift: false,
            leap: false,
            full_disk: false,
            sync_error: false,
            rot: false,
            wipe: false,
            transfer: false,
            stranger: false,
            crash_after_ack_ppm: 0,
        }
    }

    /// The kinds by name, and where each is switched.
    pub fn kinds() -> Vec<(&'static str, FaultSwitch)> {
        macro_rules! kinds {
            ($($kind:ident),* $(,)?) => {
                vec![$((stringify!($kind), |faults: &mut Faults| &mut faults.$kind)),*]
            };
        }
        kinds!(
            crash, crash_all, stop, pause, partition, one_way, partial, slow_link, slow_disk,
            starve, flap, layout, drift, leap, full_disk, sync_error, rot, wipe, transfer,
            stranger,
        )
    }

    /// A selection, drawn from a seed.
    pub fn drawn(seed: u64) -> Faults {
        Faults::draw(&mut Prng::seeded(seed))
    }

    fn draw(prng: &mut Prng) -> Faults {
        let mut with = |per_million: u64| prng.chance(per_million);
        let mut faults = Faults {
            crash: with(800_000),
            crash_all: with(300_000),
            stop: with(200_000),
            pause: with(500_000),
            partition: with(700_000),
            one_way: with(400_000),
            partial: with(400_000),
            slow_link: with(400_000),
            slow_disk: with(400_000),
            transfer: with(300_000),
            starve: with(250_000),
            flap: with(300_000),
            layout: with(300_000),
            drift: with(300_000),
            full_disk: with(300_000),
            sync_error: with(300_000),
            rot: with(350_000),
            wipe: with(250_000),
            leap: with(250_000),
            ..Faults::none()
        };
        faults.every = scale(prng, Duration::from_millis(150), Duration::from_secs(4));
        faults.lasts = scale(prng, Duration::from_millis(200), Duration::from_secs(6));
        faults.leader_ppm = pick(prng, &[0, 300_000, 600_000, 900_000]);
        faults.crash_after_ack_ppm = pick(prng, &[0, 0, 2_000, 10_000]);
        faults
    }
}

/// Busy and calm stretches in turn.
#[derive(Clone, Debug)]
pub struct Rhythm {
    /// How long much is asked and much goes wrong.
    pub busy: Delay,
    /// How long hardly anything happens.
    pub calm: Delay,
}

/// What is asked of the cluster.
#[derive(Clone, Debug)]
pub struct Load {
    /// Clients that read and write.
    pub clients: usize,
    /// Clients that follow changes.
    pub watchers: usize,
    /// Clients that hold leases.
    pub holders: usize,
    /// Keys they share.
    pub keys: u64,
    /// Between an answer and the next request.
    pub think: Delay,
    /// Linearizable reads among the requests, in a million; the rest is other kinds.
    pub reads_ppm: u64,
    /// Compactions among the requests, in a million.
    pub compact_ppm: u64,
    /// Clients that put for a while, as many that want a lock, and as many that ask again under a
    /// key; whole nodes only.
    pub careful: usize,
    /// Groups besides the control group; whole nodes only.
    pub groups: u64,
}

/// Everything that a run is like.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Nodes.
    pub nodes: usize,
    /// How many of them found the cluster; the others are admitted.
    pub founders: usize,
    /// How many of them, the first ones, may vote; the others are fed.
    pub control: usize,
    /// Nodes are removed, and others admitted for them.
    pub churn: bool,
    /// An operator does all that can be done about members.
    pub tended: bool,
    /// How often, in a million, a machine that starts again has another address.
    pub moves_ppm: u64,
    /// What the cluster is founded with.
    pub settings: Settings,
    /// The network.
    pub network: Network,
    /// The disks.
    pub disks: Disks,
    /// The machines.
    pub machines: Machines,
    /// The faults.
    pub faults: Faults,
    /// The clients.
    pub load: Load,
    /// Whether load and faults come and go; without, they are always there.
    pub rhythm: Option<Rhythm>,
    /// Settings of the control group.
    pub raft: raft::Options,
    /// Settings of the failure detector.
    pub swim: swim::Options,
    /// After which a node gives a request up.
    pub request_timeout: Duration,
    /// Entries between two snapshots.
    pub snapshot_entries: u64,
    /// Bytes of one that are written at a time.
    pub snapshot_piece_bytes: usize,
}

impl Machines {
    /// How much faster than true time a clock runs, in parts per million.
    pub(crate) fn draw_drift(&self, prng: &mut Prng) -> i64 {
        let most = self.drift_ppm;
        match self.drift_is_extreme {
            true => pick(prng, &[-most, most]),
            false => prng.below(2 * most.unsigned_abs() + 1) as i64 - most,
        }
    }
}

impl Profile {
    /// What this seed is like.
    pub fn drawn(seed: u64, nodes: usize, preset: Preset) -> Profile {
        let mut profile = Profile::drawn_without_strangers(seed, nodes, preset);
        // A stream of its own: all else is what it would be without them.
        let mut prng = Prng::seeded(seed ^ 0x7374_7261_6e67_6572);
        let often = if profile.tended { STRANGERS_OF_TENDED_PPM } else { STRANGERS_PPM };
        profile.faults.stranger = !profile.faults.every.is_zero() && prng.chance(often);
        let mut prng = Prng::seeded(seed ^ 0x6361_7265_6675_6c00);
        if !matches!(preset, Preset::Calm | Preset::Idle) {
            profile.load.careful = pick(&mut prng, &CAREFUL);
        }
        profile
    }

    fn drawn_without_strangers(seed: u64, nodes: usize, preset: Preset) -> Profile {
        // A stream of its own: what a run is like must not hang on how it goes.
        let mut prng = Prng::seeded(seed ^ 0x7072_6f66_696c_6573);
        match preset {
            Preset::Swarm => Profile::swarm(&mut prng, nodes),
            Preset::Admit => Profile { founders: 1, ..Profile::swarm(&mut prng, nodes) },
            Preset::Churn => {
                let founders = nodes;
                let nodes = founders + SPARES;
                Profile { founders, churn: true, ..Profile::swarm(&mut prng, nodes) }
            }
            Preset::Nasty => Profile::swarm(&mut prng, nodes).made_nasty(&mut prng),
            Preset::Fed => {
                let workers = WORKERS_LEAST + prng.below(WORKERS_MORE + 1) as usize;
                let founders = nodes + prng.below(workers as u64 + 1) as usize;
                let swarm = Profile::swarm(&mut prng, nodes + workers);
                Profile { founders, control: nodes, ..swarm }
            }
            Preset::Groups => {
                let mut profile = Profile::swarm(&mut prng, nodes);
                profile.load.groups = 1 + prng.below(GROUPS_MOST);
                // A group of one or two that loses a disk is lost for good, as it must be.
                profile.founders = nodes;
                let all = nodes as u32;
                profile.settings.min_members = pick(&mut prng, &[0, all]);
                profile
            }
            Preset::Members => Profile::tended(&mut prng, nodes),
            Preset::Calm => Profile::calm(nodes),
            Preset::Idle => Profile::idle(nodes),
            Preset::Long => Profile::long(&mut prng, nodes),
        }
    }

    fn swarm(prng: &mut Prng, nodes: usize) -> Profile {
        let mut raft = draw_raft(prng);
        let machines = draw_machines(prng);
        raft.lease_reads = prng.chance(400_000);
        raft.clock_drift_ppm = machines.drift_ppm.unsigned_abs() as u32;
        let founders = if prng.chance(120_000) { 1 } else { nodes };
        let mut profile = Profile {
            nodes,
            founders,
            control: nodes,
            churn: false,
            tended: false,
            moves_ppm: 0,
            settings: Settings::default(),
            network: draw_network(prng),
            disks: draw_disks(prng),
            machines,
            faults: Faults::draw(prng),
            load: draw_load(prng),
            rhythm: None,
            request_timeout: Duration::from_secs(pick(prng, &[1, 2, 5])),
            snapshot_entries: 5 + prng.below(196),
            snapshot_piece_bytes: 0,
            raft,
            swim: swim::Options::fast(),
        };
        // No draw of its own: seeds that found something stay what they were.
        let choice = profile.snapshot_entries as usize % PIECE_BYTES.len();
        profile.snapshot_piece_bytes = PIECE_BYTES[choice];
        if prng.chance(250_000) {
            profile = profile.made_nasty(prng);
        }
        profile
    }

    /// Times that are days in real clusters are seconds, and addresses change. Disks keep what they
    /// promised and clocks do not leap: a member that is gone for good is one too few already, and
    /// who is gone for long enough is told by clocks.
    fn tended(prng: &mut Prng, control: usize) -> Profile {
        let nodes = control + CONTROL_SPARES + TENDED_WORKERS;
        let mut profile = Profile::swarm(prng, nodes);
        (profile.founders, profile.control) = (control, control + CONTROL_SPARES);
        profile.tended = true;
        let mut millis = |least, most| {
            let drawn = prng.duration(Duration::from_millis(least), Duration::from_millis(most));
            drawn.as_millis() as u64
        };
        profile.settings = Settings {
            voter_grace_ms: millis(1_000, 3_000),
            reap_after_ms: millis(1_500, 5_000),
            tombstone_after_ms: millis(1_000, 4_000),
            hold_for_ms: millis(1_000, 6_000),
            ..Settings::default()
        };
        profile.moves_ppm = pick(prng, &[0, 0, 200_000, 1_000_000]);
        let faults = &mut profile.faults;
        (faults.rot, faults.wipe, faults.leap) = (false, false, false);
        faults.stop = true;
        profile
    }

    /// Timers as slow as in real clusters, since most of the time nothing else happens.
    fn long(prng: &mut Prng, nodes: usize) -> Profile {
        let swarm = Profile::swarm(prng, nodes);
        let mut profile = match prng.below(20) {
            0..2 => Profile { founders: 1, ..swarm },
            2..4 => {
                let all = nodes + SPARES;
                Profile { founders: nodes, nodes: all, control: all, churn: true, ..swarm }
            }
            4..7 => swarm.made_nasty(prng),
            _ => swarm,
        };
        let raft = &mut profile.raft;
        while raft.heartbeat_interval < LONG_HEARTBEAT_MIN {
            raft.heartbeat_interval *= 2;
            raft.election_timeout_min *= 2;
            raft.election_timeout_max *= 2;
        }
        if prng.chance(500_000) {
            profile.swim = swim::Options::lan();
        }
        let busy = Delay::between(Duration::from_secs(4), Duration::from_secs(16));
        let calm = Delay::between(Duration::from_secs(60), Duration::from_secs(400));
        profile.rhythm = Some(Rhythm { busy, calm });
        profile
    }

    fn made_nasty(mut self, prng: &mut Prng) -> Profile {
        self.network.ordered = false;
        self.network.loss_ppm = pick(prng, &[0, 10_000, 50_000, 150_000]);
        self.network.twice_ppm = pick(prng, &[0, 20_000, 200_000]);
        self
    }

    fn calm(nodes: usize) -> Profile {
        let (least, most) = (Duration::from_micros(50), Duration::from_micros(250));
        Profile {
            nodes,
            founders: nodes,
            control: nodes,
            churn: false,
            tended: false,
            moves_ppm: 0,
            settings: Settings::default(),
            network: Network {
                delay: Delay::between(least, most),
                datagram_loss_ppm: 0,
                datagram_twice_ppm: 0,
                disconnect_ppm: 0,
                ordered: true,
                loss_ppm: 0,
                twice_ppm: 0,
                encoded: false,
            },
            disks: Disks { sync: Delay::between(least, most), batch: 1024 },
            machines: Machines {
                batch: 1024,
                batch_cost: Duration::from_micros(5),
                input_cost: Duration::from_micros(2),
                timer_late: Duration::from_micros(100),
                drift_ppm: 100,
                drift_is_extreme: false,
            },
            faults: Faults::none(),
            load: Load {
                clients: 8,
                watchers: 2,
                holders: 1,
                keys: 12,
                think: Delay::between(Duration::from_micros(100), Duration::from_millis(2)),
                reads_ppm: 400_000,
                compact_ppm: 1_000,
                careful: 0,
                groups: 0,
            },
            rhythm: None,
            raft: raft::Options::default(),
            swim: swim::Options::fast(),
            request_timeout: Duration::from_secs(5),
            snapshot_entries: 2_000,
            snapshot_piece_bytes: 512 << 10,
        }
    }

    fn idle(nodes: usize) -> Profile {
        let mut profile = Profile::calm(nodes);
        profile.load = Load {
            clients: 1,
            watchers: 0,
            holders: 0,
            think: Delay::between(Duration::from_millis(500), Duration::from_millis(1_500)),
            ..profile.load
        };
        profile
    }

    /// How many machines of another cluster gossip to this one.
    pub(crate) fn strangers(&self) -> usize {
        if self.tended && self.faults.stranger { STRANGERS } else { 0 }
    }

    /// How many vote from the start, the first ones.
    pub(crate) fn first_voters(&self) -> usize {
        self.founders.min(self.control)
    }

    /// The same cluster on a good day: what the liveness phase runs in. Clocks keep their drift,
    /// and settings are settings.
    pub(crate) fn heal(&mut self) {
        let calm = Profile::calm(self.nodes);
        self.network = Network { encoded: self.network.encoded, ..calm.network };
        self.disks = Disks { batch: self.disks.batch, ..calm.disks };
        self.faults = Faults::none();
        self.rhythm = None;
    }

    /// The longest without a leader that is no surprise once all is well.
    pub(crate) fn election_bound(&self) -> Duration {
        self.raft.election_timeout_max * 20 + Duration::from_secs(2)
    }
}

/// Bytes of a snapshot that are written at a time: a key or two, some of them, all of them.
const PIECE_BYTES: [usize; 4] = [100, 400, 2_000, 512 << 10];

fn pick<T: Copy>(prng: &mut Prng, choices: &[T]) -> T {
    *prng.pick(choices).expect("there is something to choose from")
}

/// A duration between two, small ones as likely as large ones (uniform in the number of doublings).
fn scale(prng: &mut Prng, least: Duration, most: Duration) -> Duration {
    let doublings = u64::from((nanos(most) / nanos(least)).ilog2()) + 1;
    let low = least * (1 << prng.below(doublings)) as u32;
    prng.duration(low, (low * 2).min(most).max(low))
}

fn draw_raft(prng: &mut Prng) -> raft::Options {
    let heartbeat = scale(prng, Duration::from_millis(15), Duration::from_millis(120));
    let least = heartbeat * (3 + prng.below(6)) as u32;
    let most = least + prng.duration(least / 3, least * 2);
    let append_bytes_max = pick(prng, &[1, 200, 4_096, 1 << 20]);
    raft::Options {
        election_timeout_min: least,
        election_timeout_max: most,
        heartbeat_interval: heartbeat,
        append_entries_max: pick(prng, &[1, 1, 2, 4, 16, 64]),
        append_bytes_max,
        appends_in_flight_max: pick(prng, &[1, 2, 4, 64]),
        appends_gather_bytes: pick(prng, &[0, 1, 500, 64 << 10]),
        bytes_in_flight_max: append_bytes_max * pick(prng, &[1, 4, 64]),
        snapshot_chunk_bytes: pick(prng, &[64, 512, 4_096, 256 << 10]),
        log_tail_entries: pick(prng, &[0, 1, 5, 50]),
        uncommitted_entries_max: pick(prng, &[4, 64, 65_536]),
        ..raft::Options::default()
    }
}

fn draw_network(prng: &mut Prng) -> Network {
    let least = scale(prng, Duration::from_micros(20), Duration::from_millis(10));
    let slowest = scale(prng, Duration::from_millis(50), Duration::from_secs(3));
    Network {
        delay: Delay {
            least,
            most: least * (2 + prng.below(8)) as u32,
            slow_ppm: pick(prng, &[0, 0, 1_000, 10_000, 50_000]),
            slowest,
        },
        datagram_loss_ppm: pick(prng, &[0, 10_000, 100_000, 300_000]),
        datagram_twice_ppm: pick(prng, &[0, 50_000]),
        disconnect_ppm: pick(prng, &[0, 0, 500, 5_000]),
        ordered: true,
        loss_ppm: 0,
        twice_ppm: 0,
        encoded: prng.chance(100_000),
    }
}

fn draw_disks(prng: &mut Prng) -> Disks {
    let least = scale(prng, Duration::from_micros(20), Duration::from_millis(40));
    let slowest = scale(prng, Duration::from_millis(50), Duration::from_secs(3));
    let most = least * (2 + prng.below(10)) as u32;
    let slow_ppm = pick(prng, &[0, 0, 5_000, 50_000]);
    let batch = pick(prng, &[1, 4, 1024]);
    Disks { sync: Delay { least, most, slow_ppm, slowest: slowest.max(most) }, batch }
}

fn draw_machines(prng: &mut Prng) -> Machines {
    Machines {
        batch: pick(prng, &[1, 4, 64, 1024]),
        batch_cost: scale(prng, Duration::from_micros(1), Duration::from_micros(500)),
        input_cost: scale(prng, Duration::from_micros(1), Duration::from_micros(100)),
        timer_late: scale(prng, Duration::from_micros(10), Duration::from_millis(5)),
        drift_ppm: pick(prng, &[0, 200, 5_000, 50_000, 100_000]),
        drift_is_extreme: false,
    }
}

fn draw_load(prng: &mut Prng) -> Load {
    let least = scale(prng, Duration::from_micros(200), Duration::from_millis(50));
    Load {
        clients: 2 + prng.below(8) as usize,
        watchers: prng.below(4) as usize,
        holders: prng.below(3) as usize,
        keys: 1 + prng.below(10),
        think: Delay::between(least, least * (2 + prng.below(8)) as u32),
        reads_ppm: pick(prng, &[200_000, 400_000, 700_000]),
        compact_ppm: pick(prng, &[0, 0, 2_000, 20_000]),
        careful: 0,
        groups: 0,
    }
}
