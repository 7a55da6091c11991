//! Telling others how busy this node is, seldom enough that nobody is kept busy by it.
//!
//! Gossip carries one number, the record the rest. Each telling travels to every node, so a node
//! waits longer between two of them the more members there are: all nodes together tell about once
//! a second at most, and a node that is as busy as before tells nothing.

use super::Node;
use super::requests::encoded;
use crate::base::{Now, Outputs};
use crate::state::{Command, CommandKind, Membership, MembershipChange, NodeLoad, ReportLoad};
use core::time::Duration;

/// Shortest pause between two tellings of one node.
const PAUSE_MIN: Duration = Duration::from_secs(30);

/// What each member adds to that pause: so many nodes tell at most once in this time, together.
const PAUSE_PER_MEMBER: Duration = Duration::from_secs(1);

/// What differs by less than this, in thousandths, is as before.
const NEWS_PERMILLE: u32 = 200;

/// What was told last, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LoadTold {
    last: Option<(Now, NodeLoad)>,
}

impl LoadTold {
    /// Whether this is worth telling at this time, in a cluster of so many.
    fn is_due(&self, now: Now, load: &NodeLoad, members: usize) -> bool {
        let Some((at, last)) = self.last else { return true };
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        let pause = PAUSE_PER_MEMBER.saturating_mul(members).max(PAUSE_MIN);
        let differs = |one: u32, other: u32| one.abs_diff(other) >= NEWS_PERMILLE;
        let is_news = last.parts != load.parts
            || differs(last.cpu_permille, load.cpu_permille)
            || differs(last.memory_permille, load.memory_permille);
        is_news && at + pause <= now
    }
}

impl Node {
    /// The machine was looked at: tells what it found and what this node runs, if that is news.
    pub(super) fn on_load(&mut self, now: Now, found: NodeLoad, out: &mut Outputs<super::Output>) {
        let members = self.state.members();
        if !members.contains_key(&self.options.id) || self.raft.leader().is_none() {
            return;
        }
        let parts = u32::try_from(self.groups.counts().replicas).unwrap_or(u32::MAX);
        let load = NodeLoad { parts, ..found };
        if !self.load_told.is_due(now, &load, members.len()) {
            return;
        }
        let report = ReportLoad { id: self.options.id.0, load };
        let change = MembershipChange::ReportLoad(report);
        let kind = CommandKind::Membership(Membership::at(load.unix_ms, change).into());
        // Busy is no loss: it is told the next time.
        if self.proposals.add(now, None, encoded(&Command::of(kind))).is_err() {
            return;
        }
        self.load_told.last = Some((now, load));
        self.options.metadata.load = load.cpu_permille.max(load.memory_permille);
        self.describe(now, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(cpu_permille: u32, parts: u32) -> NodeLoad {
        NodeLoad { cpu_permille, memory_permille: 500, parts, unix_ms: 1 }
    }

    fn at(seconds: u64) -> Now {
        Now::from_millis(seconds * 1_000)
    }

    #[test]
    fn what_is_no_news_is_never_told_again() {
        let told = LoadTold { last: Some((at(0), load(100, 3))) };
        assert!(LoadTold::default().is_due(at(0), &load(0, 0), 3), "the first time");
        assert!(!told.is_due(at(9_999), &load(299, 3), 3));
        assert!(told.is_due(at(30), &load(300, 3), 3));
        assert!(told.is_due(at(30), &load(100, 4), 3));
    }

    #[test]
    fn a_thousand_nodes_tell_once_a_second_together() {
        let told = LoadTold { last: Some((at(0), load(0, 0))) };
        assert!(!told.is_due(at(29), &load(1_000, 9), 3));
        assert!(!told.is_due(at(999), &load(1_000, 9), 1_000));
        assert!(told.is_due(at(1_000), &load(1_000, 9), 1_000));
    }
}
