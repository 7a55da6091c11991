//! How busy the machine is, looked at now and then.

use crate::driver::Handle;
use muslin_core::state::NodeLoad;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{MissedTickBehavior, interval};

/// Pause between two looks: the machine's own average is over a minute.
const PERIOD: Duration = Duration::from_secs(10);

/// The whole, in thousandths.
const WHOLE: u64 = 1_000;

/// Tells the node what it finds, until it stops. The node decides what of it others hear.
pub(super) async fn tell(handle: Handle) {
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        let Some(found) = look() else { return };
        if handle.tell_load(found).await.is_err() {
            return;
        }
    }
}

/// `None` where the system does not say.
fn look() -> Option<NodeLoad> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Some(NodeLoad {
        cpu_permille: busy(&std::fs::read_to_string("/proc/loadavg").ok()?, processors)?,
        memory_permille: used(&std::fs::read_to_string("/proc/meminfo").ok()?)?,
        parts: 0,
        unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
    })
}

/// How many of the processors were wanted in the last minute; all at most.
fn busy(loadavg: &str, processors: usize) -> Option<u32> {
    let hundredths = loadavg.split(' ').next()?.replace('.', "").parse::<u64>().ok()?;
    let permille = hundredths.saturating_mul(WHOLE / 100) / processors as u64;
    u32::try_from(permille.min(WHOLE)).ok()
}

/// How much of the memory is not to be had.
fn used(meminfo: &str) -> Option<u32> {
    let kilobytes = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    let (total, free) = (kilobytes("MemTotal:")?, kilobytes("MemAvailable:")?);
    let used = total.saturating_sub(free).saturating_mul(WHOLE).checked_div(total)?;
    u32::try_from(used).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_numbers_are_read_as_thousandths() {
        assert_eq!(busy("0.50 1.00 2.00 1/99 7\n", 2), Some(250));
        assert_eq!(busy("16.08 13.03 12.08 9/300 7\n", 2), Some(1_000));
        assert_eq!(busy("nothing", 2), None);
        let meminfo = "MemTotal:        1000 kB\nMemFree: 1 kB\nMemAvailable:     250 kB\n";
        assert_eq!(used(meminfo), Some(750));
        assert_eq!(used("MemTotal: 0 kB\nMemAvailable: 0 kB\n"), None);
    }
}
