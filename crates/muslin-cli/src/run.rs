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
    // The daemon takes all cores, as do clusters within a benchmark; a command needs one thread and
    // must start at once. So does a load: what it does not take is left to what it measures.
    let is_daemon = matches!(
        cli.command,
        Command::Up(_) | Command::Join(_) | Command::Bench(Bench::Raft(_) | Bench::Groups(_))
    );
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
        Command::User(user) => until_interrupt(cmd::auth::user(&global, user)).await,
        Command::Role(role) => until_interrupt(cmd::auth::role(&global, role)).await,
        Command::Auth(auth) => until_interrupt(cmd::auth::run(&global, auth)).await,
        Command::Cert(cert) => until_interrupt(cmd::cert::run(&global, cert)).await,
        Command::Explain(explain) => until_interrupt(cmd::explain::run(&global, explain)).await,
        Command::Group(group) => until_interrupt(cmd::group::run(&global, group)).await,
        Command::Kv(kv) => until_interrupt(cmd::kv::run(&global, kv)).await,
        Command::Lock(lock) => cmd::hold::lock(&global, lock).await,
        Command::Elect(elect) => cmd::hold::elect(&global, elect).await,
        Command::Lease(lease) => until_interrupt(cmd::lease::run(&global, lease)).await,
        Command::Counter(it) => until_interrupt(cmd::collections::counter(&global, it)).await,
        Command::Map(it) => until_interrupt(cmd::collections::map(&global, it)).await,
        Command::Set(it) => until_interrupt(cmd::collections::set(&global, it)).await,
        Command::Multimap(it) => until_interrupt(cmd::collections::multimap(&global, it)).await,
        Command::List(it) => until_interrupt(cmd::collections::list_of(&global, it)).await,
        Command::Queue(it) => cmd::collections::queue(&global, it).await,
        Command::Barrier(it) => until_interrupt(cmd::collections::barrier(&global, it)).await,
        Command::Backup(backup) => until_interrupt(cmd::backup::run(&global, backup)).await,
        Command::Op(op) => until_interrupt(cmd::op::run(&global, op)).await,
        Command::Events(events) => until_interrupt(cmd::events::run(&global, events)).await,
        Command::Bench(Bench::Raft(raft)) => cmd::bench::raft::run(&global, &raft),
        Command::Bench(Bench::State(state)) => cmd::bench::state::run(&global, &state),
        Command::Bench(Bench::Groups(groups)) => {
            until_interrupt(cmd::bench::groups::run(&global, groups)).await
        }
        Command::Bench(Bench::Watchers(watchers)) => {
            until_interrupt(cmd::bench::kv::watchers(&global, watchers)).await
        }
        Command::Bench(Bench::Kv(kv)) => until_interrupt(cmd::bench::kv::run(&global, kv)).await,
        Command::Bench(Bench::Outage(outage)) => {
            until_interrupt(cmd::bench::kv::outage(&global, outage)).await
        }
    }
}
