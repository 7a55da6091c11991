//! One node: its machine, its disk, its process.

use super::disk::Disk;
use super::network;
use super::orders::{Built, Orders};
use super::process::{Process, on_machine};
use super::shell::word;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

/// The port of everything.
const PORT: u16 = 7400;

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
    /// Ends before its disk goes.
    process: Process,
    number: u8,
    binary: PathBuf,
    preload: PathBuf,
    faketime: PathBuf,
    disk: Disk,
    orders: Orders,
    clock: Clock,
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
        let name = format!("n{}", number + 1);
        Ok(Node {
            process: Process::new(name, directory.join("log")),
            number,
            disk: Disk::make(&directory, &built.powercut)?,
            orders: Orders::make(&directory)?,
            binary,
            preload: built.preload.clone(),
            faketime: faketime()?,
            clock: Clock::True,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("{}:{PORT}", network::address(self.number))
    }

    /// What it keeps.
    pub fn data_dir(&self) -> PathBuf {
        self.disk.place().join("node")
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
        let parent = std::process::id().to_string();
        let mut command = on_machine(self.number);
        command.arg("env").args(self.environment()).arg(&self.binary).args([
            "up",
            "--data-dir",
            word(&self.data_dir()),
            "--exit-with-parent",
            &parent,
        ]);
        self.process.spawn(&mut command)
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
}

/// A node is its process, with a disk and a clock.
impl Deref for Node {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
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
