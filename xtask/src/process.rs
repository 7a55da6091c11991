//! Running other programs.

use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command};
use std::time::{Duration, Instant};

/// How long a child has to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// A program to run in the root of the repository.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(crate::root());
    command
}

/// Cargo, the one that runs us.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments)
}

/// Runs to the end; an error when it fails.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let line = line_of(command);
    eprintln!("$ {line}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}` failed ({status})")),
        Err(error) => Err(format!("cannot run `{line}`: {error}")),
    }
}

/// Runs to the end and returns what it printed on stdout; when it fails, an error with what it
/// printed on stderr.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let line = line_of(command);
    let answer = command.output().map_err(|error| format!("cannot run `{line}`: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match answer.status.success() {
        true => Ok(text(&answer.stdout)),
        false => Err(format!("`{line}` failed ({}): {}", answer.status, text(&answer.stderr))),
    }
}

/// Whether a program is on the path.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn line_of(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A child that ends with this value: SIGTERM, then SIGKILL.
pub(crate) struct Running(Child);

impl Running {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Result<Running, String> {
        let line = line_of(command);
        let child = command.spawn().map_err(|error| format!("cannot run `{line}`: {error}"))?;
        Ok(Running(child))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Its standard input and output, once.
    pub(crate) fn pipes(&mut self) -> (ChildStdin, ChildStdout) {
        let (stdin, stdout) = (self.0.stdin.take(), self.0.stdout.take());
        stdin.zip(stdout).expect("taken once, from a child started with pipes")
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let id = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && !self.has_ended() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory that goes with this value.
pub(crate) struct Scratch(std::path::PathBuf);

impl Scratch {
    /// An empty directory whose name says what it is for, beside what is built: the system's own
    /// place for such things may be memory, which says nothing about disks.
    pub(crate) fn new(purpose: &str) -> Result<Scratch, String> {
        let path = crate::target().join(format!("tmp/xtask-{purpose}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).map_err(|e| format!("cannot make {path:?}: {e}"))?;
        Ok(Scratch(path))
    }

    /// A path inside.
    pub(crate) fn join(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Ports nobody listens on at this moment, all different.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>, String> {
    let listen = |_| std::net::TcpListener::bind(("127.0.0.1", 0));
    let held: Result<Vec<_>, _> = (0..count).map(listen).collect();
    let held = held.map_err(|e| format!("no free port: {e}"))?;
    let ports: Result<Vec<u16>, _> =
        held.iter().map(|l| l.local_addr().map(|a| a.port())).collect();
    ports.map_err(|e| format!("no free port: {e}"))
}
