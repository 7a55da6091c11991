//! What servers on this machine cost, read from /proc.

use crate::failure::{Failure, Kind};
use std::time::Duration;

/// Ticks of the clock by which Linux counts processor time in /proc: the same on all machines,
/// whatever the kernel's own.
const TICKS_PER_SECOND: u64 = 100;

/// Written to `clear_refs`, it makes a process's peak memory what it has at this moment.
const RESET_PEAK: &str = "5";

/// Servers at the begin of a run.
pub(super) struct Processes {
    ids: Vec<u32>,
    before: Duration,
}

/// What they cost meanwhile.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cost {
    /// Processor time of all.
    pub(super) processor: Duration,
    /// Peak memory of each, in bytes.
    pub(super) peaks: Vec<u64>,
}

impl Processes {
    /// Begins to count; nothing when there is nobody to be counted.
    pub(super) fn watch(ids: &[u32]) -> Result<Option<Processes>, Failure> {
        for id in ids {
            // Not everybody may do that with a process of somebody else; the peak is then that of
            // its life so far.
            let _ = std::fs::write(format!("/proc/{id}/clear_refs"), RESET_PEAK);
        }
        let processes = Processes { ids: ids.to_vec(), before: used_by(ids)? };
        Ok((!ids.is_empty()).then_some(processes))
    }

    /// What was used since.
    pub(super) fn cost(&self) -> Result<Cost, Failure> {
        let processor = used_by(&self.ids)?.saturating_sub(self.before);
        let peaks = self.ids.iter().map(|id| {
            let status = read(*id, "status")?;
            peak(&status).ok_or_else(|| strange(*id, "status"))
        });
        Ok(Cost { processor, peaks: peaks.collect::<Result<_, _>>()? })
    }
}

fn used_by(ids: &[u32]) -> Result<Duration, Failure> {
    let used = |id: &u32| processor(&read(*id, "stat")?).ok_or_else(|| strange(*id, "stat"));
    ids.iter().map(used).sum()
}

fn read(id: u32, file: &str) -> Result<String, Failure> {
    std::fs::read_to_string(format!("/proc/{id}/{file}")).map_err(|error| {
        let failure = Failure::new(Kind::NotFound, format!("/proc/{id}/{file}: {error}"));
        failure.hint("--pids wants ids of processes that run on this machine, and Linux")
    })
}

fn strange(id: u32, file: &str) -> Failure {
    Failure::new(Kind::Failed, format!("/proc/{id}/{file} does not say what it should"))
}

/// Of `/proc/ID/stat`: time in the program and in the kernel, of all threads that were ever there.
fn processor(stat: &str) -> Option<Duration> {
    // A name may have anything in it, brackets too.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// Of `/proc/ID/status`.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_the_program_s_and_the_kernel_s() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194304 900 0 0 0 150 75 3 4 20 0 9 0 1 2 3";
        assert_eq!(processor(stat), Some(Duration::from_millis(2_250)));
        assert_eq!(processor("42 (a"), None);
        assert_eq!(processor("42 (a) S 1"), None);
    }

    #[test]
    fn peak_memory_is_in_bytes() {
        assert_eq!(peak("VmPeak:\t 99 kB\nVmHWM:\t   12 kB\nVmRSS:\t 9 kB\n"), Some(12_288));
        assert_eq!(peak("VmPeak:\t 99 kB\n"), None);
    }

    #[test]
    fn this_process_can_be_counted_and_one_that_is_not_there_cannot() {
        let ids = [std::process::id(), std::process::id()];
        let processes = Processes::watch(&ids).unwrap().unwrap();
        let cost = processes.cost().unwrap();
        assert_eq!(cost.peaks.len(), 2);
        assert!(cost.peaks[0] > 100_000, "{cost:?}");
        assert!(Processes::watch(&[]).unwrap().is_none());
        assert_eq!(Processes::watch(&[u32::MAX]).err().unwrap().kind, Kind::NotFound);
    }
}
