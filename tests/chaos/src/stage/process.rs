//! One program on one machine.

use super::network;
use super::shell::word;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A process that was asked to end and has not by then hangs.
const END_WAIT: Duration = Duration::from_secs(15);

/// Runs words on a machine.
pub fn on_machine(number: u8) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", word(&network::namespace(number))));
    command
}

/// A process that is started and ended again and again; killed with this value.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// One that is not started; what it says goes behind what is in the file.
    pub fn new(name: String, log: PathBuf) -> Process {
        Process { name, log, child: None }
    }

    /// What it is called.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// What it says.
    pub fn log(&self) -> PathBuf {
        self.log.clone()
    }

    /// Starts it, with a pipe to its stdin that ends with this process.
    pub fn spawn(&mut self, command: &mut Command) -> Result<(), String> {
        assert!(self.child.is_none(), "one process at a time");
        let path = &self.log;
        let log = File::options().create(true).append(true).open(path);
        let log = log.map_err(|e| format!("cannot open {path:?}: {e}"))?;
        let copy = log.try_clone().map_err(|e| format!("cannot open {path:?}: {e}"))?;
        command
            .stdin(Stdio::piped())
            .stdout(copy)
            .stderr(log)
            // A key pressed by a person is for us alone.
            .process_group(0);
        let child = command.spawn();
        self.child = Some(child.map_err(|e| format!("cannot start {}: {e}", self.name))?);
        Ok(())
    }

    /// Whether there is a process.
    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it has been started").id()
    }

    /// How it ended, when it has: nobody asked it to, or it would be gone from here.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    /// Stops and wakes it, or asks it to end.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        let pid = Pid::from_raw(self.pid() as i32);
        kill(pid, signal).map_err(|e| format!("cannot signal {}: {e}", self.name))
    }

    /// Ends it without asking.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) -> Result<ExitStatus, String> {
        self.signal(Signal::SIGTERM)?;
        self.wait_for_end()
    }

    /// Waits until it has ended; kills it when it does not.
    pub fn wait_for_end(&mut self) -> Result<ExitStatus, String> {
        let deadline = Instant::now() + END_WAIT;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        Err(format!("{} did not end within {} s", self.name, END_WAIT.as_secs()))
    }

    /// The last lines it said.
    pub fn last_words(&self, lines: usize) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
