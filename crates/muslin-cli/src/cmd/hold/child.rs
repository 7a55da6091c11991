//! The command that runs.
//!
//! It ends when this process does, however that ends: the kernel kills it with its parent, which it
//! has asked for itself before it became the command. Where stdin is no terminal it and what it
//! starts are a process group of their own, and are ended together; on a terminal it stays in the
//! terminal's group, or it could not read from it, and it is ended alone.

use crate::failure::{Failure, Kind};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Stdio};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout_at};

/// Exit code of a command that cannot be run, as shells have it.
const CANNOT_RUN: u8 = 126;

/// Exit code of a command that is not there, as shells have it.
const NOT_THERE: u8 = 127;

/// Added to a signal's number for the exit code of a command that it ended, as shells have it.
const BY_SIGNAL: i32 = 128;

/// This program, also when its file was replaced since it started.
#[cfg(target_os = "linux")]
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Signals that this process gets.
pub(super) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    /// From here on they end nothing by themselves.
    pub(super) fn new() -> Result<Signals, Failure> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.hang_up.recv() => Signal::SIGHUP,
        }
    }

    /// Waits for any of them.
    pub(super) async fn stop(&mut self) {
        self.next().await;
    }
}

/// A command that was started.
pub(super) struct Child {
    process: tokio::process::Child,
    pid: Pid,
    has_group: bool,
}

impl Child {
    /// Starts it, with these variables in its environment, and perhaps something on its stdin.
    pub(super) fn start(
        command: &[OsString],
        variables: &[(&'static str, String)],
        input: Option<Vec<u8>>,
    ) -> Result<Child, Failure> {
        let has_group = input.is_some() || !std::io::stdin().is_terminal();
        let mut started = started_as(command);
        if has_group {
            started.process_group(0);
        }
        let variables = variables.iter().map(|(name, value)| (*name, value));
        let mut started = Command::from(started);
        if input.is_some() {
            started.stdin(Stdio::piped());
        }
        let spawned = started.envs(variables).spawn();
        let mut process = spawned.map_err(|error| cannot_run(&command[0], &error))?;
        if let (Some(input), Some(mut stdin)) = (input, process.stdin.take()) {
            // A command may end, or close it, without having read all.
            tokio::spawn(async move { stdin.write_all(&input).await });
        }
        let id = process.id().and_then(|id| i32::try_from(id).ok());
        let pid = id.ok_or_else(|| Failure::new(Kind::Failed, "the command has no process"))?;
        Ok(Child { process, pid: Pid::from_raw(pid), has_group })
    }

    /// Waits for its end, and passes on what signals come meanwhile; its exit code.
    pub(super) async fn ended(&mut self, signals: &mut Signals) -> Result<u8, Failure> {
        loop {
            tokio::select! {
                status = self.process.wait() => return Ok(code(status?)),
                signal = signals.next() => {
                    // The terminal has sent this one to both.
                    if self.has_group || signal != Signal::SIGINT {
                        self.send(signal);
                    }
                }
            }
        }
    }

    /// Asks it to end, and kills it then: nothing of it lives when this returns.
    pub(super) async fn end_by(&mut self, over: Instant) -> Result<(), Failure> {
        self.send(Signal::SIGTERM);
        // It may stand still, and takes the signal when it goes on.
        self.send(Signal::SIGCONT);
        let in_time = timeout_at(over, self.process.wait()).await;
        self.send(Signal::SIGKILL);
        match in_time {
            Ok(status) => status?,
            Err(_) => self.process.wait().await?,
        };
        Ok(())
    }

    /// Whoever has ended takes no more, and that is as well.
    fn send(&self, signal: Signal) {
        let _ = if self.has_group { killpg(self.pid, signal) } else { kill(self.pid, signal) };
    }
}

/// The command, or this program on the way to become it.
#[cfg(target_os = "linux")]
fn started_as(command: &[OsString]) -> std::process::Command {
    let mut started = std::process::Command::new(THIS_PROGRAM);
    let parent = std::process::id().to_string();
    started.arg0("muslin").args(["lock", "--exec-with-parent", &parent, "command", "--"]);
    started.args(command);
    started
}

#[cfg(not(target_os = "linux"))]
fn started_as(command: &[OsString]) -> std::process::Command {
    let mut started = std::process::Command::new(&command[0]);
    started.args(&command[1..]);
    started
}

/// Becomes the command, which dies with its parent. Returns only if that cannot be done.
pub(super) fn become_command(parent: u32, command: &[OsString]) -> Failure {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL) {
        return Failure::new(Kind::Failed, format!("cannot follow the parent: {error}"));
    }
    // It may have gone before the kernel was told.
    if nix::unistd::getppid().as_raw().unsigned_abs() != parent {
        return Failure::new(Kind::Failed, "the parent has gone");
    }
    let error = std::process::Command::new(&command[0]).args(&command[1..]).exec();
    cannot_run(&command[0], &error)
}

fn cannot_run(program: &OsString, error: &std::io::Error) -> Failure {
    let code = match error.kind() {
        std::io::ErrorKind::NotFound => NOT_THERE,
        _ => CANNOT_RUN,
    };
    let sentence = format!("cannot run {}: {error}", program.display());
    Failure { passed_on: Some(code), ..Failure::new(Kind::Failed, sentence) }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|number| BY_SIGNAL + number));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_a_signal_ended_has_the_code_that_shells_give() {
        assert_eq!(code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
    }
}
