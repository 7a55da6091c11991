//! One node: its machine, its disk, its process.

use super::disk::Disk;
use super::network;
use super::orders::{Built, Orders};
use super::shell::word;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The port of everything.
const PORT: u16 = 7400;

/// A process that was asked to end and has not by then hangs.
const END_WAIT: Duration = Duration::from_secs(15);

/// What the preloaded library of clocks obeys.
const FAKETIME: &str = "FAKETIME";

/// A node's idea of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// As it is.
    True,
    /// The wall clock is wrong by so many seconds.
    Wrong(i64),
    /// All clocks run at so many thousandths of their speed.
    Rate(u64),
}

/// One node.
#[derive(Debug)]
pub struct Node {
    number: u8,
    directory: PathBuf,
    binary: PathBuf,
    preload: PathBuf,
    faketime: PathBuf,
    disk: Disk,
    orders: Orders,
    clock: Clock,
    child: Option<Child>,
}

impl Node {
    pub(super) fn make(
        number: u8,
        directory: PathBuf,
        binary: PathBuf,
        built: &Built,
    ) -> Result<Node, String> {
        std::fs::create_dir_all(&directory)
            .map_err(|e| format!("cannot make {directory:?}: {e}"))?;
        Ok(Node {
            number,
            disk: Disk::make(&directory, &built.powercut)?,
            orders: Orders::make(&directory)?,
            directory,
            binary,
            preload: built.preload.clone(),
            faketime: faketime()?,
            clock: Clock::True,
            child: None,
        })
    }

    /// `n1` and so on.
    pub fn name(&self) -> String {
        format!("n{}", self.number + 1)
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("{}:{PORT}", network::address(self.number))
    }

    /// What it keeps.
    pub fn data_dir(&self) -> PathBuf {
        self.disk.place().join("node")
    }

    /// What it says.
    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Runs a command of the binary on its machine; what it printed.
    pub(super) fn command(&self, arguments: &[&str]) -> Result<String, String> {
        let namespace = network::namespace(self.number);
        let inside = format!("--net={}", word(&namespace));
        let words = [&["nsenter", &inside, word(&self.binary)], arguments].concat();
        super::shell::run_words(&words, "")
    }

    /// What a new node is told.
    pub(super) fn flags(&self) -> Vec<String> {
        let etcd = "127.0.0.1:2379".to_string();
        vec![
            "--data-dir".to_string(),
            word(&self.data_dir()).to_string(),
            "--name".to_string(),
            self.name(),
            "--listen".to_string(),
            self.address(),
            "--etcd-listen".to_string(),
            etcd,
        ]
    }

    /// Another idea of time, from the next start on.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// Starts its process.
    pub fn start(&mut self) -> Result<(), String> {
        assert!(self.child.is_none(), "one process at a time");
        let path = self.log();
        let log = File::options().create(true).append(true).open(&path);
        let log = log.map_err(|e| format!("cannot open {path:?}: {e}"))?;
        let copy = log.try_clone().map_err(|e| format!("cannot open {path:?}: {e}"))?;
        let parent = std::process::id().to_string();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", word(&network::namespace(self.number))))
            .arg("env")
            .args(self.environment())
            .arg(&self.binary)
            .args(["up", "--data-dir", word(&self.data_dir()), "--exit-with-parent", &parent])
            .stdin(Stdio::piped())
            .stdout(copy)
            .stderr(log)
            // A key pressed by a person is for us alone.
            .process_group(0);
        let child = command.spawn();
        self.child = Some(child.map_err(|e| format!("cannot start {}: {e}", self.name()))?);
        Ok(())
    }

    fn environment(&self) -> Vec<String> {
        let mut preload = word(&self.preload).to_string();
        let mut more = Vec::new();
        match self.clock {
            Clock::True => {}
            Clock::Wrong(seconds) => {
                more.push(format!("{FAKETIME}={seconds:+}s"));
                more.push("FAKETIME_DONT_FAKE_MONOTONIC=1".to_string());
            }
            Clock::Rate(permille) => {
                let (whole, part) = (permille / 1_000, permille % 1_000);
                more.push(format!("{FAKETIME}=+0 x{whole}.{part:03}"));
            }
        }
        if self.clock != Clock::True {
            preload = format!("{}:{preload}", word(&self.faketime));
        }
        more.push(format!("CHAOS_DISK_ORDERS={}", word(self.orders.path())));
        more.push(format!("LD_PRELOAD={preload}"));
        more
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
        kill(pid, signal).map_err(|e| format!("cannot signal {}: {e}", self.name()))
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
        Err(format!("{} did not end within {} s", self.name(), END_WAIT.as_secs()))
    }

    /// Takes the power from its disk.
    pub fn cut_power(&self) -> Result<(), String> {
        self.disk.cut_power()
    }

    /// The disk comes back, with what was on it.
    pub fn restore_power(&self) -> Result<(), String> {
        self.disk.unmount()?;
        self.disk.mount()
    }

    /// Takes up all room on its disk.
    pub fn fill_disk(&self) -> Result<(), String> {
        self.disk.fill()
    }

    /// Gives the room back.
    pub fn empty_disk(&self) -> Result<(), String> {
        self.disk.empty()
    }

    /// Every sync takes so much longer; 0 for no longer.
    pub fn delay_syncs(&self, ms: u32) -> Result<(), String> {
        self.orders.delay(ms)
    }

    /// Every sync fails, until [`Node::delay_syncs`].
    pub fn fail_syncs(&self) -> Result<(), String> {
        self.orders.fail()
    }

    /// The last lines it said.
    pub fn last_words(&self, lines: usize) -> String {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The library of wrong clocks for programs with threads.
fn faketime() -> Result<PathBuf, String> {
    let name = "faketime/libfaketimeMT.so.1";
    let here = format!("{}-linux-gnu", std::env::consts::ARCH);
    ["/usr/lib", "/usr/lib64", "/lib"]
        .iter()
        .flat_map(|root| [Path::new(root).join(&here).join(name), Path::new(root).join(name)])
        .find(|path| path.exists())
        .ok_or_else(|| format!("there is no {name}: install the Debian package faketime"))
}
