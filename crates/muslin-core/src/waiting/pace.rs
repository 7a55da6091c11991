//! When whoever found a queue full should come again.

use crate::base::Now;
use core::time::Duration;

/// Soonest: some rounds of a healthy group, so that there is room for many and not for one.
pub(crate) const RETRY_AFTER_MIN: Duration = Duration::from_millis(50);

/// Latest: a group that has had no leader for long may have one any moment.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);

/// When half of a full queue will have gone. What waits came in while its oldest waited, so that at
/// the present pace the queue turns over in the oldest's age (Little's law).
pub(crate) fn retry_after(now: Now, oldest: Now) -> Duration {
    (now.since(oldest) / 2).clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)
}
