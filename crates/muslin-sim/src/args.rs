//! What the command line says.

use muslin_sim::Preset;
use std::time::Duration;

/// How to use it.
pub(crate) const USAGE: &str = "\
usage: muslin-sim [options]            run seeds; exit code 1 when an invariant is broken
       muslin-sim mutants [options]    run every planted bug until it is found (feature `mutants`)

  --world NAME     nodes (default) or group: whole nodes, or Raft alone under registers
  --seed N         this seed only
  --seeds N        so many seeds (default 100)
  --from S         the first of them (default 1)
  --nodes K        nodes of each cluster, 1 to 9 (default 3)
  --seconds S      how long things go wrong, in seconds of the cluster (default 10)
  --profile NAME   swarm, admit, churn, nasty, calm or idle (default swarm)
  --mutant NAME    with this planted bug (feature `mutants`)
  --hash           print each seed's trace hash
  --trace          print everything that happens";

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Seeds,
    Help,
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
    pub(crate) seconds: Duration,
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
            seconds: Duration::from_secs(10),
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
                "--seconds" => args.seconds = Duration::from_secs(number(&word, &value()?)?),
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

    /// The arguments that run one seed again.
    pub(crate) fn replay(&self, seed: u64) -> String {
        let mut text = format!(
            "--world {} --seed {seed} --nodes {} --seconds {} --profile {}",
            self.world.name(),
            self.nodes,
            self.seconds.as_secs(),
            self.preset.name()
        );
        if let Some(mutant) = &self.mutant {
            text += &format!(" --mutant {mutant}");
        }
        text
    }
}

fn number(word: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{word} needs a number, not {value}"))
}
