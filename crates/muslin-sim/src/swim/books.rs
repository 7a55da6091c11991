//! What is counted: load, suspicions, and who was taken for dead.

use super::{Seat, Sight};
use crate::time::Time;
use std::collections::BTreeSet;
use std::time::Duration;

/// Headers of IPv4 and UDP.
pub const HEADER_BYTES: u64 = 28;

/// Figures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Books {
    /// Datagrams sent.
    pub packets: u64,
    /// Their bytes, with [`HEADER_BYTES`] each.
    pub bytes: u64,
    /// The bytes of the node that sent most.
    pub busiest_bytes: u64,
    /// Probes over streams.
    pub questions: u64,
    /// Connections opened.
    pub dials: u64,
    /// Members that a node suspected because its own probe failed.
    pub suspicions: u64,
    /// Times that a live node was made to join anew.
    pub renewals: u64,
    /// Lives of live nodes that somebody took for dead, each counted once.
    pub false_downs: u64,
    /// Those of them whose machine was not slow.
    pub healthy_downs: u64,
    /// How often a machine that was not slow took one that was not slow for dead.
    pub healthy_reports: u64,
}

impl Books {
    pub(crate) fn add(&mut self, other: Books) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.busiest_bytes = self.busiest_bytes.max(other.busiest_bytes);
        self.questions += other.questions;
        self.dials += other.dials;
        self.suspicions += other.suspicions;
        self.renewals += other.renewals;
        self.false_downs += other.false_downs;
        self.healthy_downs += other.healthy_downs;
        self.healthy_reports += other.healthy_reports;
    }
}

/// How two machines stand when one says something of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// The one that is spoken of runs.
    pub(crate) is_running: bool,
    /// It reads and sends at once.
    pub(crate) is_quick: bool,
    /// So does the one that speaks.
    pub(crate) speaks_quickly: bool,
}

/// Keeps the books.
#[derive(Debug, Default)]
pub(crate) struct Clerk {
    pub(crate) books: Books,
    /// Lives of live nodes that were taken for dead already.
    mourned: BTreeSet<(Seat, u64)>,
}

impl Clerk {
    pub(crate) fn note(&mut self, by: Seat, of: Seat, sight: Sight, standing: Standing) {
        let books = &mut self.books;
        match sight {
            Sight::Suspect { by: accuser, .. } if accuser == by => books.suspicions += 1,
            Sight::Renewed => books.renewals += 1,
            Sight::Down { life } if standing.is_running => {
                let is_first = self.mourned.insert((of, life));
                books.false_downs += u64::from(is_first);
                books.healthy_downs += u64::from(is_first && standing.is_quick);
                let is_between_quick = standing.is_quick && standing.speaks_quickly;
                books.healthy_reports += u64::from(is_between_quick);
            }
            _ => {}
        }
    }
}

/// Who has learned of one death, and when.
#[derive(Clone, Debug)]
pub(crate) struct Obituary {
    pub(crate) of: Seat,
    pub(crate) died: Time,
    /// Those who have to learn of it.
    waiting: BTreeSet<Seat>,
    /// After how long each did, in order.
    learned: Vec<Duration>,
}

/// After how long a death was known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Detection {
    /// To the first.
    pub first: Option<Duration>,
    /// To half of those who followed the dead one.
    pub half: Option<Duration>,
    /// To all of them.
    pub all: Option<Duration>,
}

impl Obituary {
    pub(crate) fn new(of: Seat, died: Time, waiting: BTreeSet<Seat>) -> Obituary {
        Obituary { of, died, waiting, learned: Vec::new() }
    }

    pub(crate) fn note(&mut self, by: Seat, of: Seat, now: Time) {
        if of == self.of && self.waiting.remove(&by) {
            self.learned.push(now.since(self.died));
        }
    }

    pub(crate) fn is_known_to_all(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn detection(&self) -> Detection {
        let all = self.learned.len() + self.waiting.len();
        let nth = |place: usize| self.learned.get(place).copied();
        Detection { first: nth(0), half: nth(all / 2), all: nth(all.saturating_sub(1)) }
    }
}
