//! Other implementations of Raft under the load of `muslin bench raft`: three replicas in one
//! process, the same closed loop of proposers, the same payloads, and, for a durable log, one write
//! and one sync per batch of one log thread per replica.
//!
//! [`openraft_engine`] and [`raft_rs_engine`] drive the two crates as their users do; [`log_file`]
//! is the log both write to when it is to be durable. [`rounds`] runs the engines and a `muslin`
//! binary alternately, so that what else the machine does meets all of them, and [`table`] prints
//! what came of it. The load and the arithmetic are the very files that `muslin bench raft` is
//! built from.

mod log_file;
mod openraft_engine;
mod raft_rs_engine;
mod rounds;
mod table;

#[path = "../../../crates/muslin-cli/src/cmd/bench/harness/mod.rs"]
mod harness;

use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// Three replicas of each engine in one process, alternately
#[derive(Parser, Debug)]
#[command(name = "peers-bench")]
struct Arguments {
    /// The program whose `bench raft` is ours; without it only the others run
    #[arg(long, value_name = "PROGRAM")]
    muslin: Option<PathBuf>,
    /// Where the logs are
    #[arg(long, value_enum, default_value_t = Mode::Both)]
    mode: Mode,
    /// Proposals under way at any time; one comparison for each number
    #[arg(long, value_delimiter = ',', default_value = "1,64,256,1024")]
    proposers: Vec<usize>,
    /// How long each run is measured
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Runs of each engine; the median is told
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Size of a proposal
    #[arg(long, default_value_t = 128)]
    payload_bytes: usize,
    /// Directory on the disk to be measured [default: the one for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// One JSON document per run on stdout, besides the table on stderr
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Mode {
    Memory,
    Durable,
    Both,
}

fn main() -> ExitCode {
    match rounds::run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}
