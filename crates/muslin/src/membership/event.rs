//! Members, and what happens to them.

use bytes::Bytes;
use muslin_core::base::{Incarnation, NodeId};
use muslin_core::swim::{self, Liveness, Trail, ViewEntry};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// One member, as this one knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its id, by which it is the same at any address.
    pub id: NodeId,
    /// What people call it.
    pub name: String,
    /// Duties it says it has.
    pub roles: Vec<String>,
    /// Where it is reached.
    pub address: SocketAddr,
    /// Opinion.
    pub state: Liveness,
    /// Which of its lives: raised when it refutes a suspicion, or says something else of itself.
    pub incarnation: Incarnation,
    /// What its application says of it.
    pub metadata: Bytes,
}

impl Member {
    pub(super) fn of(entry: ViewEntry) -> Member {
        let ViewEntry { node, state, incarnation, address, metadata, .. } = entry;
        let swim::Metadata { name, roles, application, .. } = metadata;
        Member { id: node, name, roles, address, state, incarnation, metadata: application }
    }
}

/// A change of the view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A member that was not known, or had left.
    Joined(Member),
    /// A member that is alive again.
    Returned {
        /// Who.
        member: Member,
        /// What it was held to be: suspect, and it refuted that; or down.
        was: Liveness,
    },
    /// A member is at another address, or says something else of itself.
    Changed(Member),
    /// A member does not answer, and may still say otherwise.
    Suspected {
        /// Who.
        member: Member,
        /// Why.
        evidence: Evidence,
    },
    /// A suspect did not refute in time.
    Down {
        /// Who.
        member: Member,
        /// Why.
        evidence: Evidence,
    },
    /// A member said good-bye.
    Left(Member),
    /// A member did not answer directly and was reached otherwise: a link is bad, the member is
    /// not. Not repeated while the link stays bad.
    Reached {
        /// Who.
        member: Member,
        /// Who reached it; `None` when it answered on a stream.
        through: Option<NodeId>,
    },
    /// This member was suspected, and refuted it: its machine or its network is slow.
    Accused {
        /// By whom.
        by: NodeId,
    },
    /// Another member sees this one's packets come from here, which is not where it says it is.
    Observed {
        /// As it sees it.
        address: SocketAddr,
        /// Who sees it.
        by: NodeId,
    },
}

/// Why a member is held to be what it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// When this one changed its opinion.
    pub at: SystemTime,
    /// What it holds from then on.
    pub state: Liveness,
    /// Who formed the opinion first: whoever probed in vain, or the member itself.
    pub by: NodeId,
    /// Whose packet brought it here; this one itself when it found out by itself.
    pub told_by: NodeId,
    /// All who probed in vain.
    pub accusers: Vec<NodeId>,
    /// What this one tried itself before it suspected: whom it asked to try, who of them had no
    /// answer either, whether it tried a stream.
    pub tried: Option<Tried>,
}

/// What a member tried before it suspected another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tried {
    /// Who was asked to probe.
    pub asked: Vec<NodeId>,
    /// Who of them said that they had no answer either.
    pub denied: Vec<NodeId>,
    /// Whether it was asked on a stream, too.
    pub on_stream: bool,
    /// How long all of that took.
    pub took: Duration,
}

impl Evidence {
    /// `ago` of a transition is how long before `SystemTime::now()` it was.
    pub(super) fn of(transition: &swim::Transition, ago: Duration) -> Evidence {
        let tried = |trail: &Trail| Tried {
            asked: trail.asked.clone(),
            denied: trail.denied.clone(),
            on_stream: trail.stream_at.is_some(),
            took: trail.ended_at.since(trail.direct_at),
        };
        Evidence {
            at: SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH),
            state: transition.state,
            by: transition.by,
            told_by: transition.told_by,
            accusers: transition.accusers.iter().map(|accuser| accuser.node).collect(),
            tried: transition.trail.as_ref().map(tried),
        }
    }
}

/// In a few words: `by 00ab, confirmed by 00cd; asked 2 others, 2 denied, tried a stream`.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by {}", self.by)?;
        let others = self.accusers.iter().filter(|accuser| **accuser != self.by);
        for (at, other) in others.enumerate() {
            let word = if at == 0 { ", confirmed by" } else { "," };
            write!(f, "{word} {other}")?;
        }
        let Some(tried) = &self.tried else { return Ok(()) };
        write!(f, "; asked {} others, {} denied", tried.asked.len(), tried.denied.len())?;
        if tried.on_stream { f.write_str(", tried a stream") } else { Ok(()) }
    }
}

/// All that one member knows of another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Story {
    /// As in the view.
    pub member: Member,
    /// How long ago it was last heard, directly or by rumor.
    pub heard_ago: Duration,
    /// Each change of opinion, as far as is kept; the latest is last.
    pub history: Vec<Evidence>,
}
