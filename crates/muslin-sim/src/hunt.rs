//! Hunting planted bugs: how many seeds each one takes to be seen, and by what.
//!
//! A planted bug is a switch of the whole process, so each is hunted in a process of its own; as
//! many run side by side as the machine has cores. Each is hunted several times, from seeds far
//! apart: one lucky seed says nothing.

use muslin_core::base::mutant::{self, Mutant};
use muslin_core::raft::Raft;
use muslin_sim::{Cluster, Delay, Faults, Group, Preset, Profile, Violation};
use std::collections::BTreeMap;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Hunts begin this far apart.
const START_EVERY: u64 = 1_000_000;

/// The world a planted bug is hunted in: the one it shows in soonest. Others see most of them too.
#[derive(Clone, Copy)]
struct Ground {
    world: World,
    preset: Preset,
    nodes: usize,
}

/// What is run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum World {
    /// Whole nodes.
    Nodes,
    /// Raft alone.
    Group,
    /// Raft alone that answers by leases, among clocks and links that are as bad as they may be.
    Leases,
}

impl World {
    fn name(self) -> &'static str {
        match self {
            World::Nodes => "nodes",
            World::Group => "group",
            World::Leases => "leases",
        }
    }

    fn named(name: &str) -> Option<World> {
        [World::Nodes, World::Group, World::Leases].into_iter().find(|world| world.name() == name)
    }
}

impl Ground {
    fn run(self, seed: u64, time: Duration) -> Result<(), Violation> {
        let summary = match self.world {
            World::Nodes => Cluster::seeded(seed).nodes(self.nodes).preset(self.preset).run(time),
            World::Group => {
                Group::<Raft>::seeded(seed).nodes(self.nodes).preset(self.preset).run(time)
            }
            World::Leases => {
                let group = Group::<Raft>::seeded(seed).nodes(self.nodes).preset(self.preset);
                let profile = profile_of_leases(group.drawn());
                group.profile(profile).run(time)
            }
        };
        summary.map(|_| ())
    }
}

/// Leaders are cut off or told to hand over all the time, and everybody reads.
fn profile_of_leases(mut drawn: Profile) -> Profile {
    drawn.raft.lease_reads = true;
    drawn.raft.clock_drift_ppm = 100_000;
    drawn.machines.drift_ppm = 100_000;
    drawn.load.reads_ppm = 600_000;
    drawn.load.clients = 9;
    drawn.load.think = Delay {
        least: Duration::from_micros(200),
        most: Duration::from_millis(2),
        slow_ppm: 0,
        slowest: Duration::from_millis(2),
    };
    drawn.disks.sync = drawn.load.think.clone();
    drawn.network.delay = Delay { most: Duration::from_millis(1), ..drawn.load.think.clone() };
    drawn.faults = Faults {
        every: Duration::from_millis(250),
        lasts: Duration::from_millis(500),
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

/// `None` for what shows elsewhere: in a script of the core, where the simulator has no such world.
fn ground(planted: Mutant) -> Option<Ground> {
    use Mutant as It;
    use World::{Group, Leases, Nodes};
    let (world, preset, nodes) = match planted {
        It::PassiveReadWithoutRound => (Nodes, Preset::Groups, 3),
        It::SnapshotOfAnyCluster
        | It::RebuildEndsEarly
        | It::LeaseIgnoresDrift
        | It::StaleAssignmentTaken
        | It::FullNodeNamed
        | It::UnnamedCampaigns
        | It::NamedNeverDeclines
        | It::LongerLogStaysSilent
        | It::LeaderNotSought => return None,
        It::JointCountsNewOnly
        | It::LearnerCounted
        | It::TwoChangesAtOnce
        | It::NoJoint
        | It::ChangeBeforeOwnTerm
        | It::TruncationKeepsVoters
        | It::InstallKeepsVoters
        | It::SnapshotWithoutVoters
        | It::VoteByIndexOnly => (Group, Preset::Churn, 3),
        It::DeafLeaderStays | It::TruncatesKnown | It::DeposedAnswersReads => {
            (Group, Preset::Nasty, 5)
        }
        It::LossUnnoticed | It::FullFollowerAcks => (Group, Preset::Nasty, 5),
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
        It::LeaseEndForwarded => (Nodes, Preset::Admit, 3),
        _ => (Nodes, Preset::Swarm, 3),
    };
    Some(Ground { world, preset, nodes })
}

/// How to use it.
const USAGE: &str = "\
usage: muslin-sim mutants [options]    run every planted bug until it is found

  --seeds MAX      seeds of one hunt, after which the bug has survived (default 1000)
  --starts N       hunts for each bug, from seeds far apart (default 3)
  --from S         the first seed (default 1)
  --mutant NAME    this planted bug only
  --world NAME     nodes or group, not where the bug shows soonest
  --profile NAME   in this profile
  --nodes K        with so many nodes
  --seconds S      how long things go wrong, in seconds of the cluster (default 10)";

/// What the command line says.
struct Args {
    seeds: u64,
    starts: u64,
    from: u64,
    seconds: u64,
    mutant: Option<Mutant>,
    world: Option<World>,
    preset: Option<Preset>,
    nodes: Option<usize>,
}

impl Args {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
        let mut args = Args {
            seeds: 1_000,
            starts: 3,
            from: 1,
            seconds: 10,
            mutant: None,
            world: None,
            preset: None,
            nodes: None,
        };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{word} needs a number"));
            match word.as_str() {
                "--seeds" => args.seeds = number()?,
                "--starts" => args.starts = number()?.max(1),
                "--from" => args.from = number()?,
                "--seconds" => args.seconds = number()?,
                "--nodes" => args.nodes = Some(number()?.clamp(1, 9) as usize),
                "--mutant" => {
                    let named = Mutant::named(&value);
                    args.mutant = Some(named.ok_or_else(|| format!("no mutant {value}"))?);
                }
                "--world" => {
                    let named = World::named(&value);
                    args.world = Some(named.ok_or_else(|| format!("no world {value}"))?);
                }
                "--profile" => {
                    let named = Preset::named(&value);
                    args.preset = Some(named.ok_or_else(|| format!("no profile {value}"))?);
                }
                other => return Err(format!("unknown argument {other}")),
            }
        }
        Ok(args)
    }

    /// The same for a process that hunts one bug.
    fn words(&self, planted: Mutant) -> Vec<String> {
        let mut words = vec!["--mutant".to_string(), planted.name().to_string()];
        let mut add = |name: &str, value: String| words.extend([name.to_string(), value]);
        add("--seeds", self.seeds.to_string());
        add("--starts", self.starts.to_string());
        add("--from", self.from.to_string());
        add("--seconds", self.seconds.to_string());
        if let Some(world) = self.world {
            add("--world", world.name().to_string());
        }
        if let Some(preset) = self.preset {
            add("--profile", preset.name().to_string());
        }
        if let Some(nodes) = self.nodes {
            add("--nodes", nodes.to_string());
        }
        words
    }
}

/// What hunting one planted bug came to.
#[derive(Default)]
struct Catch {
    /// Seeds looked at by each hunt that found it, the last one included.
    seeds: Vec<u64>,
    /// The first seed that showed it.
    first: Option<(u64, Violation)>,
    /// How often it was which invariant.
    by: BTreeMap<&'static str, u64>,
    missed: u64,
}

/// Hunts all planted bugs, or the one that is named.
pub(crate) fn run(words: impl Iterator<Item = String>) -> ExitCode {
    let args = match Args::parse(words) {
        Ok(args) => args,
        Err(why) => {
            eprintln!("{why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    std::panic::set_hook(Box::new(|_| {}));
    match args.mutant {
        Some(planted) => hunt_here(&args, planted),
        None => hunt_all(&args),
    }
}

fn hunt_here(args: &Args, planted: Mutant) -> ExitCode {
    let began = Instant::now();
    let Some(usual) = ground(planted) else {
        println!("elsewhere {:<26} no world of the simulator shows it", planted.name());
        return ExitCode::SUCCESS;
    };
    let ground = Ground {
        world: args.world.unwrap_or(usual.world),
        preset: args.preset.unwrap_or(usual.preset),
        nodes: args.nodes.unwrap_or(usual.nodes),
    };
    let time = Duration::from_secs(args.seconds);
    let mut caught = Catch::default();
    for start in 0..args.starts {
        let from = args.from + start * START_EVERY;
        let found = (from..from + args.seeds).find_map(|seed| {
            mutant::activate(planted);
            let violation = ground.run(seed, time).err()?;
            // The same run of the same world: only the planted bug may make the difference.
            mutant::activate(Mutant::None);
            ground.run(seed, time).is_ok().then_some((seed, violation))
        });
        match found {
            Some((seed, violation)) => caught.add(seed - from + 1, (seed, violation)),
            None => caught.missed += 1,
        }
    }
    let took = began.elapsed();
    println!("{}", caught.line(planted, ground, took));
    if caught.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Catch {
    fn add(&mut self, seeds: u64, found: (u64, Violation)) {
        self.seeds.push(seeds);
        *self.by.entry(found.1.invariant).or_default() += 1;
        self.first.get_or_insert(found);
    }

    fn line(&self, planted: Mutant, ground: Ground, took: Duration) -> String {
        let mut seeds = self.seeds.clone();
        seeds.sort_unstable();
        let verdict = if self.missed == 0 { "caught  " } else { "survived" };
        let by: Vec<String> = self.by.iter().map(|(by, times)| format!("{by} x{times}")).collect();
        let median = seeds.get(seeds.len() / 2).map_or("-".into(), u64::to_string);
        let most = seeds.last().map_or("-".into(), u64::to_string);
        let seed = self.first.as_ref().map_or("-".into(), |(seed, _)| seed.to_string());
        format!(
            "{verdict} {:<26} median={median:<5} most={most:<5} of={:<2} {:<5} {:<5} \
             nodes={} seed={seed:<8} took={:<5.1} by={}",
            planted.name(),
            self.seeds.len() as u64 + self.missed,
            ground.world.name(),
            ground.preset.name(),
            ground.nodes,
            took.as_secs_f64(),
            by.join(", ")
        )
    }
}

/// Each in a process of its own, several at a time.
fn hunt_all(args: &Args) -> ExitCode {
    let began = Instant::now();
    let hunted: Vec<Mutant> =
        Mutant::ALL.iter().copied().filter(|planted| ground(*planted).is_some()).collect();
    let waiting = Mutex::new(hunted.iter().copied());
    let caught = Mutex::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("nobody panics with it").next();
                    let Some(planted) = next else { return };
                    if hunt_apart(args, planted) {
                        *caught.lock().expect("nobody panics with it") += 1;
                    }
                }
            });
        }
    });
    let caught = *caught.lock().expect("nobody panics with it");
    let all = hunted.len();
    println!("took={:.0}s", began.elapsed().as_secs_f64());
    println!("caught={caught} of {all}");
    if caught == all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether one planted bug was caught in every hunt of a process of its own.
fn hunt_apart(args: &Args, planted: Mutant) -> bool {
    let mut command = match std::env::current_exe() {
        Ok(this) => Command::new(this),
        Err(error) => {
            println!("survived {:<26} this program cannot be run again: {error}", planted.name());
            return false;
        }
    };
    command.arg("mutants").args(args.words(planted)).stderr(Stdio::null());
    match command.output() {
        Ok(output) => {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            if output.stdout.is_empty() {
                println!("survived {:<26} its process ended: {}", planted.name(), output.status);
            }
            output.status.success()
        }
        Err(error) => {
            println!("survived {:<26} its process did not start: {error}", planted.name());
            false
        }
    }
}
