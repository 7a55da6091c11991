//! The repository's own commands, so that the same line works on every machine and in CI.
//!
//! Std only: it must build in seconds and never be the reason that something else cannot.

mod budget;
mod campaign;
mod chaos;
mod ci;
mod clients;
mod cluster;
mod compare;
mod conformance;
mod damage;
mod deny;
mod guard;
mod http;
mod json;
mod membership;
mod million;
mod nostd;
mod outage;
mod peers;
mod process;
mod simulate;
mod tidy;
mod watchers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  ci [STEP..]              everything CI runs, in order; or these steps of it
  test [ARGS..]            cargo test
  tidy [PATHS..]           the rules of STYLE.md that a program can check
                           (--wrap: breaks long comments anew first;
                           --update-hashes: design pages describe the present files)
  sim ARGS..               clusters in virtual time: --year, or --days N [--from S], over all kinds
                           of world on all cores; or what `muslin-sim` understands
  swim-sim [ARGS..]        failure detection at 100 to 20,000 machines in virtual time, as tables:
                           --quick | --full, --only WORDS, --seeds N, -o FILE; --beside: and foca
  determinism [--days N]   every seed of so many days in two processes, traces compared
  mutants [--seeds MAX]    each planted bug must be caught by the simulator: [--starts N]
                           [--mutant NAME]
  codegen [--check]        Rust from the .proto files
  budget                   size, memory, start-up and fail-over times against their limits
  conformance [--only W]   real etcd clients against a real cluster: a crate and etcdctl, then the
                           packages `etcd3` of npm and PyPI and etcd's client for Go, installed for
                           it; W: rust or packages; --etcd: these packages against etcd itself
  model [--times N]        small parts, in every state that they can come to
  differential --seeds N   raft-rs under the simulator's faults and checkers: [--from S] [--nodes K]
                           [--profile P]; --bugs: each bug planted around it must be found
  peers [ARGS..]           what needs other implementations of Raft: lints and tests of peers/
  damage [--cases N]       logs and snapshots spoilt in 120,000 ways: found, or harmless
  deny                     licences, bans and sources of dependencies
  bench-raft [ARGS..]      consensus alone, beside openraft and raft-rs: --mode memory|durable,
                           --proposers N,.. --seconds S --rounds R
  chaos --minutes N        real nodes in network namespaces on disks of their own, faults of every
                           kind, judged histories (root) [--seed S] [--nodes K] [--kinds A,B]
  membership [--only NAME] real nodes in network namespaces: deaths, cuts, crowds, lost quorums,
                           epochs, hostile datagrams, strangers, recovery (root) [--crowd N]
                           [--dev: not in release]
  watchers [ARGS..]        10,000 watches of one prefix beside 1,000 puts a second: what is lost,
                           how much longer puts take, memory, and what becomes of one not read
  million [--keys N]       a million keys: memory for each, how long writes wait for a snapshot,
                           time until what was killed answers
  compare-etcd [ARGS..]    three etcd and three muslin nodes under the same loads and failures, in
                           turn; writes docs/performance.md: [--quick] [--rows A,B] [--rounds N]
                           [--seconds N]
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else {
        print!("{USAGE}");
        return ExitCode::from(2);
    };
    match dispatch(command, rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("xtask {command}: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &str, rest: &[String]) -> Result<(), String> {
    match command {
        "ci" => ci::run(rest),
        "test" => ci::test(rest),
        "tidy" => tidy::run(&root(), rest),
        "sim" => simulate::sim(rest),
        "swim-sim" => simulate::swim(rest),
        "determinism" => simulate::determinism(rest),
        "mutants" => simulate::mutants(rest),
        "codegen" => ci::codegen(rest),
        "budget" => budget::run(),
        "conformance" => conformance::run(rest),
        "model" => peers::model(rest),
        "differential" => peers::differential(rest),
        "peers" => peers::run(rest),
        "damage" => damage::run(rest),
        "deny" => deny::run(),
        "bench-raft" => peers::bench(rest),
        "compare-etcd" => compare::run(rest),
        "watchers" => watchers::run(rest),
        "million" => million::run(rest),
        guard::COMMAND => guard::run(),
        "chaos" => chaos::run(rest),
        "membership" => membership::run(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(format!("there is no such command\n\n{USAGE}")),
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the root of the repository").to_path_buf()
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}
