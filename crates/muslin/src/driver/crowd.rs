//! Groups that change their leader together are told of together.
//!
//! When a node dies, thousands of groups get another leader within a second. A line for each would
//! push everything else out of what is remembered.

use muslin_core::groups;
use muslin_core::node::Event;
use muslin_core::raft::{self, Role};
use std::time::{Duration, Instant, SystemTime};

/// What happens within this time of the first is told with it: one decision reaches all its groups
/// by then, and a person does not miss half a second.
const TOGETHER: Duration = Duration::from_millis(500);

/// Groups that this node came to lead, until they are told of.
#[derive(Default)]
pub(super) struct Crowd {
    first: Option<First>,
    more: u64,
}

struct First {
    event: Event,
    time: SystemTime,
    until: Instant,
}

/// What is to be told.
pub(super) struct Gathered {
    pub(super) event: Event,
    pub(super) time: SystemTime,
    pub(super) more: u64,
}

impl Crowd {
    /// Keeps an event for later if it is of many; gives others back.
    pub(super) fn take(&mut self, event: Event, now: Instant) -> Option<Event> {
        if !is_of_many(&event) {
            return Some(event);
        }
        match self.first {
            Some(_) => self.more += 1,
            None => {
                let (time, until) = (SystemTime::now(), now + TOGETHER);
                self.first = Some(First { event, time, until });
            }
        }
        None
    }

    /// What was gathered, once its time is up.
    pub(super) fn due(&mut self, now: Instant) -> Option<Gathered> {
        let First { event, time, .. } = self.first.take_if(|first| first.until <= now)?;
        Some(Gathered { event, time, more: std::mem::take(&mut self.more) })
    }

    /// When [`Crowd::due`] has something.
    pub(super) fn until(&self) -> Option<Instant> {
        self.first.as_ref().map(|first| first.until)
    }
}

fn is_of_many(event: &Event) -> bool {
    let Event::Groups(groups::Event::Raft { event, .. }) = event else { return false };
    matches!(event, raft::Event::RoleChanged { role: Role::Leader, .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use muslin_core::base::{GroupId, NodeId, Term};

    fn leads(group: u64) -> Event {
        let (role, leader) = (Role::Leader, Some(NodeId(1)));
        let event = raft::Event::RoleChanged { role, term: Term(2), leader, why: "told to" };
        Event::Groups(groups::Event::Raft { group: GroupId(group), event })
    }

    #[test]
    fn a_thousand_groups_that_get_a_leader_are_one_line() {
        let (mut crowd, now) = (Crowd::default(), Instant::now());
        assert!((1..=1_000).all(|group| crowd.take(leads(group), now).is_none()));
        assert!(crowd.due(now).is_none());
        let until = crowd.until().unwrap();
        let told = crowd.due(until).unwrap();
        assert_eq!((told.event, told.more), (leads(1), 999));
        assert!(crowd.due(until).is_none() && crowd.until().is_none());
        assert!(crowd.take(leads(7), until).is_none());
        assert_eq!(crowd.due(until + TOGETHER).unwrap().more, 0);
    }

    #[test]
    fn what_happens_once_is_told_at_once() {
        let silent = groups::Event::PeerAlive { node: NodeId(2), is_alive: false };
        let silent = Event::Groups(silent);
        assert_eq!(Crowd::default().take(silent.clone(), Instant::now()), Some(silent));
    }
}
