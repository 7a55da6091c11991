//! What the command line says.

use muslin_sim::{Faults, Preset, Profile};
use std::time::Duration;

/// How to use it.
pub(crate) const USAGE: &str = "\
usage: muslin-sim [options]            run seeds; exit code 1 when an invariant is broken
       muslin-sim mutants [options]    run every planted bug until it is found (feature `mutants`)
       muslin-sim swim [options]       failure detection alone, at thousands of machines, as tables

  --world NAME     nodes (default) or group: whole nodes, or Raft alone under registers
  --seed N         this seed only
  --seeds N        so many seeds (default 100)
  --from S         the first of them (default 1)
  --nodes K        nodes of each cluster, 1 to 9 (default 3)
  --seconds S      how long things go wrong, in seconds of the cluster (default 10; long: 2400)
  --days D         seeds until so many days have been simulated
  --profile NAME   swarm, admit, churn, nasty, fed, members, groups, calm,
                   idle or long (default swarm)
  --without A,B    no faults of these kinds; without all, none
  --clients N      so many clients, --watchers N, --holders N, --careful N likewise
  --minimize       looks for the smallest run that breaks what this seed breaks
  --mutant NAME    with this planted bug (feature `mutants`)
  --hash           print each seed's trace hash
  --trace          print everything that happens";

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Seeds,
    Help,
}

/// How long things go wrong in a run.
const SHORT_RUN: Duration = Duration::from_secs(10);

/// The same in a run of busy and calm stretches.
const LONG_RUN: Duration = Duration::from_secs(2_400);

/// What is taken away from what a seed draws.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Changes {
    /// Names of kinds of fault, or `all`.
    pub(crate) without: Vec<String>,
    pub(crate) clients: Option<usize>,
    pub(crate) watchers: Option<usize>,
    pub(crate) holders: Option<usize>,
    pub(crate) careful: Option<usize>,
}

impl Changes {
    fn check(&self) -> Result<(), String> {
        let kinds = Faults::kinds();
        let is_known = |name: &&String| *name == "all" || kinds.iter().any(|it| it.0 == *name);
        match self.without.iter().find(|name| !is_known(name)) {
            None => Ok(()),
            Some(name) => {
                let names: Vec<&str> = kinds.into_iter().map(|(name, _)| name).collect();
                Err(format!("there is no kind of fault {name}; there are: {}", names.join(", ")))
            }
        }
    }

    /// What is left of a profile.
    pub(crate) fn apply(&self, mut profile: Profile) -> Profile {
        for (name, switch) in Faults::kinds() {
            if self.without.iter().any(|it| it == name || it == "all") {
                *switch(&mut profile.faults) = false;
            }
        }
        if self.without.iter().any(|it| it == "all") {
            profile.faults.crash_after_ack_ppm = 0;
        }
        let load = &mut profile.load;
        load.clients = self.clients.unwrap_or(load.clients);
        load.watchers = self.watchers.unwrap_or(load.watchers);
        load.holders = self.holders.unwrap_or(load.holders);
        load.careful = self.careful.unwrap_or(load.careful);
        profile
    }

    fn words(&self) -> String {
        let mut text = String::new();
        if !self.without.is_empty() {
            text += &format!(" --without {}", self.without.join(","));
        }
        let counts = [
            ("clients", self.clients),
            ("watchers", self.watchers),
            ("holders", self.holders),
            ("careful", self.careful),
        ];
        for (name, count) in counts {
            if let Some(count) = count {
                text += &format!(" --{name} {count}");
            }
        }
        text
    }
}

/// What is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Nodes,
    Group,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Nodes => "nodes",
            Kind::Group => "group",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) command: Command,
    pub(crate) world: Kind,
    pub(crate) seeds: u64,
    pub(crate) from: u64,
    pub(crate) nodes: usize,
    seconds: Option<Duration>,
    pub(crate) days: Option<f64>,
    pub(crate) changes: Changes,
    pub(crate) minimize: bool,
    pub(crate) preset: Preset,
    pub(crate) mutant: Option<String>,
    pub(crate) hash: bool,
    pub(crate) trace: bool,
}

impl Args {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
        let mut args = Args {
            command: Command::Seeds,
            world: Kind::Nodes,
            seeds: 100,
            from: 1,
            nodes: 3,
            seconds: None,
            days: None,
            changes: Changes::default(),
            minimize: false,
            preset: Preset::Swarm,
            mutant: None,
            hash: false,
            trace: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--seed" => (args.from, args.seeds) = (number(&word, &value()?)?, 1),
                "--world" => {
                    args.world = match value()?.as_str() {
                        "nodes" => Kind::Nodes,
                        "group" => Kind::Group,
                        other => return Err(format!("there is no world {other}")),
                    }
                }
                "--seeds" => args.seeds = number(&word, &value()?)?,
                "--from" => args.from = number(&word, &value()?)?,
                "--nodes" => args.nodes = number(&word, &value()?)? as usize,
                "--seconds" => args.seconds = Some(seconds(&word, &value()?)?),
                "--days" => args.days = Some(seconds(&word, &value()?)?.as_secs_f64()),
                "--without" => {
                    args.changes.without = value()?.split(',').map(str::to_string).collect();
                    args.changes.check()?;
                }
                "--clients" => args.changes.clients = Some(number(&word, &value()?)? as usize),
                "--watchers" => args.changes.watchers = Some(number(&word, &value()?)? as usize),
                "--holders" => args.changes.holders = Some(number(&word, &value()?)? as usize),
                "--careful" => args.changes.careful = Some(number(&word, &value()?)? as usize),
                "--minimize" => args.minimize = true,
                "--profile" => {
                    let name = value()?;
                    let preset = Preset::named(&name);
                    args.preset = preset.ok_or_else(|| format!("there is no profile {name}"))?;
                }
                "--mutant" => args.mutant = Some(value()?),
                "--hash" => args.hash = true,
                "--trace" => args.trace = true,
                "--help" | "-h" => args.command = Command::Help,
                other => return Err(format!("unknown argument {other}")),
            }
        }
        if !(1..=9).contains(&args.nodes) {
            return Err("--nodes must be 1 to 9".into());
        }
        Ok(args)
    }

    /// How long things go wrong.
    pub(crate) fn seconds(&self) -> Duration {
        let usual = if self.preset == Preset::Long { LONG_RUN } else { SHORT_RUN };
        self.seconds.unwrap_or(usual)
    }

    pub(crate) fn set_seconds(&mut self, seconds: Duration) {
        self.seconds = Some(seconds);
    }

    /// The arguments that run one seed again.
    pub(crate) fn replay(&self, seed: u64) -> String {
        let mut text = format!(
            "--world {} --seed {seed} --nodes {} --seconds {} --profile {}",
            self.world.name(),
            self.nodes,
            self.seconds().as_secs_f64(),
            self.preset.name()
        );
        text += &self.changes.words();
        if let Some(mutant) = &self.mutant {
            text += &format!(" --mutant {mutant}");
        }
        text
    }
}

fn number(word: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{word} needs a number, not {value}"))
}

fn seconds(word: &str, value: &str) -> Result<Duration, String> {
    let seconds: f64 = value.parse().map_err(|_| format!("{word} needs a number, not {value}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("{word} cannot be {value}"))
}
