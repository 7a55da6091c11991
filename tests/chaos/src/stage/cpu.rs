//! Taking processor time from a process, by a control group.

use std::path::{Path, PathBuf};

/// Where control groups of the processor are, in the two ways that there are.
const FIRST: &str = "/sys/fs/cgroup/cpu";
const SECOND: &str = "/sys/fs/cgroup";

/// Over this time the share is measured, in microseconds.
const PERIOD_US: u64 = 100_000;

/// A process that gets a share of its time, until this is dropped.
#[derive(Debug)]
pub struct Starved {
    root: &'static str,
    group: PathBuf,
    pid: u32,
}

impl Starved {
    /// Gives a process so many hundredths of one processor.
    pub fn new(pid: u32, percent: u64) -> Result<Starved, String> {
        let is_first = Path::new(FIRST).join("cpu.cfs_quota_us").exists()
            || Path::new(FIRST).join("cgroup.procs").exists();
        let root = if is_first { FIRST } else { SECOND };
        let group = Path::new(root).join(format!("muslin-chaos-{}-{pid}", std::process::id()));
        std::fs::create_dir(&group).map_err(|e| format!("cannot make {group:?}: {e}"))?;
        let starved = Starved { root, group, pid };
        let quota = PERIOD_US * percent / 100;
        match is_first {
            true => starved.write("cpu.cfs_quota_us", &quota.to_string())?,
            false => starved.write("cpu.max", &format!("{quota} {PERIOD_US}"))?,
        }
        starved.write("cgroup.procs", &pid.to_string())?;
        Ok(starved)
    }

    fn write(&self, file: &str, text: &str) -> Result<(), String> {
        let path = self.group.join(file);
        std::fs::write(&path, text).map_err(|e| format!("cannot write {path:?}: {e}"))
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        // One that has died has left its group already.
        let _ = std::fs::write(Path::new(self.root).join("cgroup.procs"), self.pid.to_string());
        let _ = std::fs::remove_dir(&self.group);
    }
}
