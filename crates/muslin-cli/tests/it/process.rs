//! Running the binary.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A wait longer than this is a failure, not slowness.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// What a command that ended had to say.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Its stdout as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The same, after making sure that it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Said {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

/// The binary with arguments, undisturbed by the environment of whoever runs the tests.
pub(crate) fn muslin(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muslin"));
    command.args(arguments).env_remove("MUSLIN_ADDR").env_remove("MUSLIN_LOG");
    command.env_remove("MUSLIN_TOKEN");
    command
}

/// Runs to the end.
pub(crate) fn run(arguments: &[&str]) -> Said {
    run_with_input(arguments, b"")
}

/// Runs to the end with something on stdin.
pub(crate) fn run_with_input(arguments: &[&str], input: &[u8]) -> Said {
    let mut command = muslin(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses its arguments ends without reading.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs to the end, again and again while nobody can be asked or no quorum answers in time: for
/// what may be said twice.
#[track_caller]
pub(crate) fn answered(arguments: &[&str]) -> Said {
    until("it is answered", || {
        let said = run(arguments);
        (!matches!(said.code, Some(5 | 6))).then_some(said)
    })
}

/// A process that is killed with this value.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Running {
        Running { child: command.spawn().unwrap() }
    }

    /// Tries to run the node of a directory, which must be refused; what it says.
    #[track_caller]
    pub(crate) fn refused_up(data_dir: &Path, more: &[&str]) -> String {
        let mut command = muslin(&["up", "--data-dir", data_dir.to_str().unwrap()]);
        command.args(more).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut running = Running::start(&mut command);
        let status = running.wait();
        let mut said = String::new();
        running.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(status.code().is_some_and(|code| code != 0), "{status}: {said}");
        said
    }

    /// Runs the node of a directory; its log goes to a file beside it.
    pub(crate) fn up(data_dir: &Path, more: &[&str]) -> Running {
        let log = std::fs::File::options();
        let log =
            log.clone().create(true).append(true).open(data_dir.with_extension("log")).unwrap();
        let mut command = muslin(&["up", "--data-dir", data_dir.to_str().unwrap()]);
        command.args(more).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Running::start(&mut command)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGKILL, and gone.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        until("the process ends", || self.child.try_wait().unwrap())
    }

    /// SIGTERM; it must end with success.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

/// Whether a process of any parent exists and is not only waiting to be collected.
pub(crate) fn exists(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// Resident memory in bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

/// Copies a directory as it is.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// Asks until there is an answer.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
