//! Running other programs.

use crate::guard;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a child has to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// A program to run in the root of the repository.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(crate::root());
    command
}

/// Cargo, the one that runs us. What it told us of our own package it must not hear from us: build
/// scripts that look at it would run again, here and then again without us.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = command(cargo, arguments);
    for (name, _) in std::env::vars_os() {
        let is_ours = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        });
        if is_ours {
            command.env_remove(name);
        }
    }
    command
}

/// Builds the program as it is installed on machines; where it is.
pub(crate) fn built_program() -> Result<PathBuf, String> {
    run(&mut cargo(&["build", "--profile", "dist", "-p", "muslin-cli"]))?;
    Ok(crate::target().join("dist/muslin"))
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

/// Processor time of all children that have ended, with theirs; zero where the system does not say.
pub(crate) fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may have spaces in it.
    let fields = text.rsplit_once(") ").map_or("", |(_, rest)| rest).split_whitespace();
    let ticks = fields.skip(OF_CHILDREN).take(2).filter_map(|field| field.parse::<u64>().ok());
    ticks.sum::<u64>() as f64 / TICKS_PER_SECOND
}

/// Of the fields behind the name: the user's and the system's ticks of children that have ended.
const OF_CHILDREN: usize = 13;

/// What Linux counts such times in, on every machine that matters here.
const TICKS_PER_SECOND: f64 = 100.0;

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
        guard::started(child.id());
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
        if !self.has_ended() {
            let _ = signal(self.0.id(), "TERM");
        }
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && !self.has_ended() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
        guard::ended(self.0.id());
    }
}

/// Sends a signal, such as `TERM`, to a process.
pub(crate) fn signal(id: u32, signal: &str) -> Result<(), String> {
    run_quietly(Command::new("kill").args([&format!("-{signal}"), &id.to_string()]))
}

fn run_quietly(command: &mut Command) -> Result<(), String> {
    match command.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{}` failed ({status})", line_of(command))),
        Err(error) => Err(format!("cannot run `{}`: {error}", line_of(command))),
    }
}

/// What a process has in memory.
pub(crate) fn resident_mb(id: u32) -> Result<f64, String> {
    memory_mb(id, "VmRSS:")
}

/// The same without pages of files, such as those of the program itself, which it shares with the
/// disk's cache and with others that run it.
pub(crate) fn own_mb(id: u32) -> Result<f64, String> {
    memory_mb(id, "RssAnon:")
}

fn memory_mb(id: u32, field: &str) -> Result<f64, String> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
    let megabytes = kilobytes.map(|kb| kb * 1024.0 / 1e6);
    megabytes.ok_or(format!("process {id} has no memory to read"))
}

/// A directory that goes with this value.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// An empty directory whose name says what it is for, beside what is built: the system's own
    /// place for such things may be memory, which says nothing about disks.
    pub(crate) fn new(purpose: &str) -> Result<Scratch, String> {
        let path = crate::target().join(format!("tmp/xtask-{purpose}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).map_err(|e| format!("cannot make {path:?}: {e}"))?;
        guard::made(&path);
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
        guard::removed(&self.0);
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
