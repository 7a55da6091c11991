//! From the command line to an exit code.

use crate::args::{Bench, Cli, Command};
use crate::cmd;
use crate::failure::{Failure, Kind};
use crate::signals::until_interrupt;
use clap::Parser;
use std::process::ExitCode;

/// Parses, runs, reports.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            let is_asked_for = !error.use_stderr();
            return ExitCode::from(if is_asked_for { 0 } else { Kind::Usage as u8 });
        }
    };
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn execute(cli: Cli) -> Result<(), Failure> {
    // The daemon takes all cores; a command needs one thread and must start at once.
    let is_daemon = matches!(cli.command, Command::Up(_) | Command::Join(_) | Command::Bench(_));
    let mut builder = match is_daemon {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build()?;
    let answer = runtime.block_on(dispatch(cli));
    // A thread that still reads a terminal must not hold up the end.
    runtime.shutdown_background();
    answer
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    let global = cli.global;
    match cli.command {
        Command::Dev(dev) => cmd::dev::run(&global, dev).await,
        Command::Up(up) => cmd::up::run(up).await,
        Command::Join(join) => cmd::join::run(&global, join).await,
        Command::Init(init) => cmd::init::run(&global, init),
        Command::CheckDisk(check) => cmd::check_disk::run(&global, &check),
        Command::Completions { shell } => cmd::completions::run(shell),
        Command::Version => cmd::version::run(&global),
        Command::Status => until_interrupt(cmd::status::run(&global)).await,
        Command::Node(node) => until_interrupt(cmd::node::run(&global, node)).await,
        Command::Cluster(cluster) => until_interrupt(cmd::cluster::run(&global, cluster)).await,
        Command::Token(token) => until_interrupt(cmd::token::run(&global, token)).await,
        Command::Cert(cert) => until_interrupt(cmd::cert::run(&global, cert)).await,
        Command::Explain(explain) => until_interrupt(cmd::explain::run(&global, explain)).await,
        Command::Group(group) => until_interrupt(cmd::group::run(&global, group)).await,
        Command::Kv(kv) => until_interrupt(cmd::kv::run(&global, kv)).await,
        Command::Events(events) => until_interrupt(cmd::events::run(&global, events)).await,
        Command::Bench(Bench::Raft(raft)) => cmd::bench::raft::run(&global, &raft),
        Command::Bench(Bench::Groups(groups)) => {
            until_interrupt(cmd::bench::groups::run(&global, groups)).await
        }
        Command::Bench(Bench::Kv(kv)) => until_interrupt(cmd::bench::run(&global, kv)).await,
    }
}
