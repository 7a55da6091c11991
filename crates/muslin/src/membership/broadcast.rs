//! Messages to all, by gossip.
//!
//! Whoever has one tells three members in each gossip round, `retransmit_multiplier * ceil(log10(N
//! + 1))` rounds long, and so does everybody who hears it for the first time (SWIM 4.1, as rumors).

use super::message;
use bytes::Bytes;
use muslin_core::base::{NodeId, Now, Prng};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Messages under way at once; the one that was told most often makes room.
const WAITING_MAX: usize = 256;

/// Members told in one round.
const FANOUT: usize = 3;

/// Messages told to each of them: about four times what a round trip of gossip brings.
const MESSAGES_PER_ROUND: usize = 16;

/// Names remembered of one origin: what is older has long been told.
const REMEMBERED_MAX: usize = 1_024;

/// Origins remembered.
const ORIGINS_MAX: usize = 4_096;

/// Names one message to all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Name {
    pub(super) origin: NodeId,
    /// Which start of it.
    pub(super) boot: u64,
    pub(super) number: u64,
}

/// What is told, and what was heard.
pub(super) struct Spreading {
    period: Duration,
    multiplier: u32,
    waiting: Vec<Waiting>,
    heard: BTreeMap<NodeId, Heard>,
    next_round: Option<Now>,
    rng: Prng,
}

struct Waiting {
    name: Name,
    datagram: Bytes,
    rounds: u32,
}

#[derive(Default)]
struct Heard {
    boot: u64,
    numbers: BTreeSet<u64>,
    /// All up to this one were heard, or are too old to tell.
    up_to: u64,
}

impl Spreading {
    pub(super) fn new(period: Duration, multiplier: u32, seed: u64) -> Spreading {
        Spreading {
            period,
            multiplier,
            waiting: Vec::new(),
            heard: BTreeMap::new(),
            next_round: None,
            rng: Prng::seeded(seed),
        }
    }

    /// Takes a message in; whether it is heard for the first time.
    pub(super) fn take(&mut self, now: Now, name: Name, bytes: &Bytes) -> bool {
        if !self.is_first(name) {
            return false;
        }
        if self.waiting.len() == WAITING_MAX {
            let rounds = self.waiting.iter().enumerate().max_by_key(|(_, waiting)| waiting.rounds);
            let at = rounds.map(|(at, _)| at).expect("a full list is not empty");
            self.waiting.swap_remove(at);
        }
        self.waiting.push(Waiting { name, datagram: message::spread(name, bytes), rounds: 0 });
        self.next_round.get_or_insert(now);
        true
    }

    fn is_first(&mut self, name: Name) -> bool {
        if !self.heard.contains_key(&name.origin) && self.heard.len() == ORIGINS_MAX {
            self.heard.pop_first();
        }
        let heard = self.heard.entry(name.origin).or_default();
        if name.boot > heard.boot {
            *heard = Heard { boot: name.boot, ..Heard::default() };
        }
        let is_late = name.boot < heard.boot || name.number <= heard.up_to;
        if is_late || !heard.numbers.insert(name.number) {
            return false;
        }
        if heard.numbers.len() > REMEMBERED_MAX
            && let Some(oldest) = heard.numbers.pop_first()
        {
            heard.up_to = oldest;
        }
        true
    }

    pub(super) fn deadline(&self) -> Option<Now> {
        self.next_round
    }

    /// What to send to whom, if a round is due.
    pub(super) fn round(
        &mut self,
        now: Now,
        alive: &[(NodeId, SocketAddr)],
    ) -> Vec<(SocketAddr, Bytes)> {
        if self.next_round.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.waiting.sort_by_key(|waiting| (waiting.rounds, waiting.name));
        let mut told = alive.to_vec();
        self.rng.shuffle(&mut told);
        told.truncate(FANOUT);
        let mut sent = Vec::new();
        for waiting in self.waiting.iter_mut().take(MESSAGES_PER_ROUND) {
            waiting.rounds += 1;
            let fresh = told.iter().filter(|(node, _)| *node != waiting.name.origin);
            sent.extend(fresh.map(|(_, address)| (*address, waiting.datagram.clone())));
        }
        let limit = self.multiplier * digits(alive.len() + 1);
        self.waiting.retain(|waiting| waiting.rounds < limit);
        self.next_round = (!self.waiting.is_empty()).then(|| now + self.period);
        sent
    }
}

/// `ceil(log10(n + 1))`.
fn digits(n: usize) -> u32 {
    n.checked_ilog10().map_or(1, |log| log + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(node: u64) -> (NodeId, SocketAddr) {
        (NodeId(node), SocketAddr::from(([10, 0, 0, 1], 7000 + node as u16)))
    }

    fn name(origin: u64, number: u64) -> Name {
        Name { origin: NodeId(origin), boot: 1, number }
    }

    #[test]
    fn one_message_reaches_a_hundred_members_once_and_is_then_forgotten() {
        let nodes: Vec<u64> = (1..=100).collect();
        let spreading = |node: &u64| Spreading::new(Duration::from_millis(50), 4, *node);
        let mut all: BTreeMap<u64, Spreading> =
            nodes.iter().map(|node| (*node, spreading(node))).collect();
        let mut heard = BTreeMap::new();
        let text = Bytes::from_static(b"all of you");
        assert!(all.get_mut(&1).unwrap().take(Now::START, name(1, 1), &text));
        for step in 0..40 {
            let now = Now::from_millis(step * 50);
            let mut flying = Vec::new();
            for (node, spreading) in &mut all {
                let others: Vec<_> =
                    nodes.iter().filter(|other| *other != node).map(|at| place(*at)).collect();
                flying.extend(spreading.round(now, &others));
            }
            for (to, bytes) in flying {
                let message::Datagram::Spread { name, bytes } =
                    message::Datagram::read(bytes).unwrap()
                else {
                    panic!("a message to all")
                };
                let node = u64::from(to.port() - 7000);
                assert_ne!(node, 1, "its origin has it");
                if all.get_mut(&node).unwrap().take(now, name, &bytes) {
                    *heard.entry(node).or_insert(0) += 1;
                }
            }
        }
        assert_eq!(heard.len(), 99);
        assert!(heard.values().all(|times| *times == 1));
        assert!(all.values().all(|spreading| spreading.deadline().is_none()));
    }

    #[test]
    fn a_flood_is_bounded_and_what_was_told_most_gives_way() {
        let mut spreading = Spreading::new(Duration::from_millis(50), 4, 1);
        for number in 1..=10_000 {
            spreading.take(Now::START, name(2, number), &Bytes::new());
        }
        assert_eq!(spreading.waiting.len(), WAITING_MAX);
        assert_eq!(spreading.heard[&NodeId(2)].numbers.len(), REMEMBERED_MAX);
        assert!(!spreading.take(Now::START, name(2, 1), &Bytes::new()), "too old to tell");
        let round = spreading.round(Now::START, &[place(1), place(3), place(4), place(5)]);
        assert_eq!(round.len(), FANOUT * MESSAGES_PER_ROUND);
    }

    #[test]
    fn an_origin_that_starts_again_is_heard_anew() {
        let mut spreading = Spreading::new(Duration::from_millis(50), 4, 1);
        assert!(spreading.take(Now::START, name(2, 1), &Bytes::new()));
        assert!(!spreading.take(Now::START, name(2, 1), &Bytes::new()));
        let again = Name { boot: 2, ..name(2, 1) };
        assert!(spreading.take(Now::START, again, &Bytes::new()));
        assert!(!spreading.take(Now::START, name(2, 9), &Bytes::new()), "of the life before");
    }
}
