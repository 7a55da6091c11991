//! `muslin up`: the daemon.

use crate::args::{ApiAuth, LEVELS, Up};
use crate::failure::{Failure, Kind};
use crate::signals;
use muslin::daemon::{self, DaemonError, UpOptions};
use muslin::join::JoinError;
use muslin::store::StoreError;
use std::future::Future;
use std::io::{IsTerminal, Read, Write};
use std::net::SocketAddr;
use tracing_subscriber::EnvFilter;

/// Runs the node until it is told to stop.
pub(crate) async fn run(up: Up) -> Result<(), Failure> {
    log_to_stderr(&up.log)?;
    super::init::check_etcd_listen(up.etcd_listen, up.insecure)?;
    let options = UpOptions {
        listen: up.listen,
        advertise: up.advertise,
        etcd_listen: up.etcd_listen,
        profile: up.profile.map(super::init::profile),
        seeds: up.find.seeds,
        discover: up.find.discover,
        lease_reads: up.lease_reads,
        is_strict: up.api_auth == ApiAuth::Required,
        slice_above: up.slice_above,
        backup_dir: up.backup_dir,
        ..UpOptions::new(up.data_dir)
    };
    run_node(options, up.exit_with_parent).await
}

/// Runs until a signal, or until the parent process is gone when it is named.
pub(crate) async fn run_node(options: UpOptions, parent: Option<u32>) -> Result<(), Failure> {
    let signal = signals::stop()?;
    match parent {
        None => daemon::run(options, signal).await.map_err(failure),
        Some(parent) => {
            let orphaned = orphaned(parent)?;
            let stop = async move {
                tokio::select! {
                    _ = signal => {}
                    _ = orphaned => {}
                }
            };
            daemon::run(options, stop).await.map_err(failure)
        }
    }
}

/// Resolves when the parent is gone. Two ways, because each has a gap: the kernel's signal reaches
/// a stopped process too but only on Linux; the end of the pipe on stdin is everywhere.
fn orphaned(parent: u32) -> Result<impl Future<Output = ()> + Send, Failure> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).map_err(|error| {
        Failure::new(Kind::Failed, format!("cannot follow the parent: {error}"))
    })?;
    // It may have gone before the kernel was told.
    if nix::unistd::getppid().as_raw() != parent as i32 {
        return Err(Failure::new(Kind::Failed, "the parent has gone"));
    }
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("parent".to_string()).spawn(move || {
        let mut ignored = [0; 64];
        while std::io::stdin().lock().read(&mut ignored).is_ok_and(|read| read > 0) {}
        let _ = sender.send(());
    })?;
    Ok(async move {
        let _ = receiver.await;
    })
}

/// Log lines of this process go to stderr.
pub(crate) fn log_to_stderr(level: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        let failure = Failure::new(Kind::Usage, format!("`{level}` is no log level: {error}"));
        failure.hint(LEVELS)
    })?;
    let is_coloured = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Lossy(std::io::stderr()))
        // Told on stderr, by a macro that panics when it cannot.
        .log_internal_errors(false)
        .with_ansi(is_coloured);
    // A second call in one process keeps the first.
    let _ = subscriber.try_init();
    Ok(())
}

/// Drops what cannot be written: a log that nobody takes must not end the node.
struct Lossy<W>(W);

impl<W: Write> Write for Lossy<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// The addresses of a host and port.
pub(crate) async fn resolve(contact: &str) -> Result<Vec<SocketAddr>, Failure> {
    let found = tokio::net::lookup_host(contact).await;
    let error = match found.map(|addresses| addresses.collect::<Vec<_>>()) {
        Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
        Ok(_) => "it has no address".to_string(),
        Err(error) => error.to_string(),
    };
    let failure =
        Failure::new(Kind::Usage, format!("cannot use `{contact}` as an address: {error}"));
    Err(failure.hint("write HOST:PORT"))
}

/// Why a node was not made or did not run, with the exit code that says so.
pub(crate) fn failure(error: DaemonError) -> Failure {
    Failure::new(kind(&error), error.to_string())
}

fn kind(error: &DaemonError) -> Kind {
    match error {
        DaemonError::Unspecified(_)
        | DaemonError::Unfit(_)
        | DaemonError::Seed(_)
        | DaemonError::StaticAndMore
        | DaemonError::MulticastWithoutToken => Kind::Usage,
        DaemonError::NobodyFound { .. } => Kind::Unreachable,
        DaemonError::Listen { .. }
        | DaemonError::RunsElsewhere { .. }
        | DaemonError::Copied { .. } => Kind::Conflict,
        DaemonError::Store(StoreError::NoNode { .. }) => Kind::NotFound,
        DaemonError::Store(StoreError::Locked { .. } | StoreError::Foreign { .. }) => {
            Kind::Conflict
        }
        DaemonError::Join(refusal) => match refusal {
            JoinError::Token(_) => Kind::Usage,
            JoinError::Connect { .. } => Kind::Unreachable,
            JoinError::WrongCluster(_) => Kind::Denied,
            JoinError::TimedOut(_) | JoinError::BrokenOff { .. } | JoinError::Held { .. } => {
                Kind::TimedOut
            }
            JoinError::Refused { status, .. } => Kind::of_status(*status),
            _ => Kind::Failed,
        },
        _ => Kind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full disk, or a pipe whose reader has gone.
    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_log_that_cannot_be_written_is_dropped() {
        let mut log = Lossy(Broken);
        assert!(writeln!(log, "a line").is_ok() && log.flush().is_ok());
    }
}
