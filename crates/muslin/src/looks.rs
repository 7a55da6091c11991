//! How a loop makes sure that it has read what came in, before it lets a timer conclude from
//! silence.

use std::time::Duration;

/// Inputs handled between two flushes: large enough to gather a batch, small enough that an answer
/// is not long in coming.
pub(crate) const GATHER_MAX: usize = 4_096;

/// A timer that fires this late was not late by chance: the process was stopped, or starved.
pub(crate) const STOPPED: Duration = Duration::from_millis(100);

/// After that, what came in meanwhile is still on its way here, through the socket and the
/// transport's tasks. It has all arrived when nothing came for so many looks, this far apart.
const QUIET_LOOKS: u32 = 3;
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Looks before the timers fire whatever comes: a node that is sent more than it can read must act
/// all the same.
const LOOKS_MAX: u32 = 200;

/// Counts the looks at an inbox.
pub(crate) struct Looks {
    left: u32,
    quiet: u32,
}

impl Looks {
    /// For a process that was stopped, or that has only more to read than it took at once.
    pub(crate) fn new(was_stopped: bool) -> Looks {
        Looks { left: LOOKS_MAX, quiet: if was_stopped { 0 } else { QUIET_LOOKS } }
    }

    /// Whether to look again, after one that found so much. Waits a moment first, if that helps.
    pub(crate) async fn again(&mut self, taken: usize) -> bool {
        self.left -= 1;
        self.quiet = if taken == 0 { self.quiet + 1 } else { self.quiet };
        let is_empty = taken < GATHER_MAX;
        if self.left == 0 || (is_empty && self.quiet >= QUIET_LOOKS) {
            return false;
        }
        if is_empty {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }
}
