//! What nodes say to each other about feeds, and how it finds its handler.

use super::source;
use crate::base::{ClusterId, Index, LogId, NodeId, Now, Outputs};
use crate::node::{Node, Output, PeerMessage};
use crate::raft::{Chunk, Entries, SnapshotMeta, Standing};
use alloc::vec::Vec;
use bytes::Bytes;

/// One subscription of a member, drawn anew for each: what comes of another one is dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct FeedId(pub u64);

/// What a voter says of itself with all that it tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// How its replica stands.
    pub standing: Standing,
    /// How old what it tells is, in milliseconds; `None` while it has heard no leader.
    pub age_ms: Option<u64>,
}

/// One piece of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The cluster it is of: a snapshot of another one is refused.
    pub cluster: ClusterId,
    /// The snapshot it is of.
    pub meta: SnapshotMeta,
    /// Where this piece starts.
    pub offset: u64,
    /// Length of the whole.
    pub total: u64,
    /// [`Sum64`](crate::base::Sum64) of the whole.
    pub checksum: u64,
    /// The piece.
    pub data: Bytes,
}

impl Piece {
    /// All of it but whose it is.
    pub(super) fn chunk(self) -> Chunk {
        let Piece { meta, offset, total, checksum, data, .. } = self;
        Chunk { meta, offset, total, checksum, data }
    }
}

/// How far a member is that is fed, as its voter knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Which member.
    pub node: NodeId,
    /// It has everything up to here on its disk.
    pub upto: Index,
    /// How long ago it said anything, in milliseconds.
    pub age_ms: u64,
    /// How it is.
    pub health: Health,
}

/// What a member that is fed says about itself, since the leader does not hear it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// Its disk is full: it takes no entries.
    pub is_full: bool,
    /// Its disk lost what it promised (R11).
    pub is_rebuilding: bool,
}

/// What nodes say to each other about feeds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Feed {
    /// To a voter: tell me what is committed.
    Subscribe {
        /// Named by all that is told.
        session: FeedId,
        /// After this one, which I know to be committed; `None`: I have nothing at all.
        from: Option<LogId>,
        /// Most bytes that may be on their way at a time; one entry always may.
        credit: u64,
    },
    /// To a voter: all up to here is on my disk.
    Taken {
        /// Of the subscription.
        session: FeedId,
        /// The last one.
        upto: Index,
        /// How this member is.
        health: Health,
    },
    /// To a voter: so much of that snapshot has come.
    PieceTaken {
        /// Of the subscription.
        session: FeedId,
        /// Where the snapshot ends.
        last: LogId,
        /// Bytes held without a gap.
        received: u64,
    },
    /// To a voter: tell me no more under this number.
    Stop {
        /// Of the subscription.
        session: FeedId,
    },
    /// To a member: these are committed.
    Entries {
        /// Of the subscription.
        session: FeedId,
        /// The entry just before them.
        prev: LogId,
        /// Consecutive.
        entries: Entries,
        /// How the voter stands.
        told: Told,
    },
    /// To a member: this is how I stand; you have been sent all up to here.
    Pulse {
        /// Of the subscription.
        session: FeedId,
        /// The last one sent; zero while a snapshot is on its way.
        upto: Index,
        /// How the voter stands.
        told: Told,
    },
    /// To a member: a piece of the state, since my log begins too late for you.
    Piece {
        /// Of the subscription.
        session: FeedId,
        /// The piece.
        piece: Piece,
        /// How the voter stands.
        told: Told,
    },
    /// To a member: I do not feed you.
    Refused {
        /// Of the subscription.
        session: FeedId,
        /// Why not.
        why: FeedRefusal,
        /// Who votes, as the sender knows: ask one of these.
        voters: Vec<NodeId>,
    },
    /// To the leader: how far those are that the sender feeds.
    Readers(Vec<Taken>),
}

/// Why a member is not fed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FeedRefusal {
    /// The asked node does not vote.
    NoVoter,
    /// By the record of the asked node it is no member of the present epoch.
    NoMember,
    /// The configuration has the member: the leader tells it.
    Replicated,
    /// Too many are fed by the asked node, or it is in no state to feed anybody.
    Busy,
}

impl FeedRefusal {
    /// In words for a person.
    pub fn words(self) -> &'static str {
        match self {
            FeedRefusal::NoVoter => "it does not vote",
            FeedRefusal::NoMember => "this node is no member by its record",
            FeedRefusal::Replicated => "the leader replicates to this node",
            FeedRefusal::Busy => "it cannot feed any more at present",
        }
    }
}

impl Node {
    /// What a peer says about feeds.
    pub(in crate::node) fn on_feed(
        &mut self,
        now: Now,
        from: NodeId,
        feed: Feed,
        out: &mut Outputs<Output>,
    ) {
        match feed {
            Feed::Subscribe { session, from: position, credit } => {
                let wish = source::Wish { session, position, credit };
                self.on_subscribe(now, from, wish, out);
            }
            Feed::Taken { session, upto, health } => {
                self.on_taken(now, (from, session), (upto, health), out);
            }
            Feed::PieceTaken { session, last, received } => {
                self.on_piece_taken(now, (from, session), (last, received), out);
            }
            Feed::Stop { session } => self.source.stop(from, session),
            Feed::Readers(taken) => self.on_readers_told(now, from, taken),
            Feed::Entries { session, prev, entries, told } => {
                if self.hears_feed(now, (from, session), told, out) {
                    self.on_fed_entries(now, (prev, entries), told, out);
                }
            }
            Feed::Pulse { session, upto, told } => {
                if self.hears_feed(now, (from, session), told, out) {
                    self.on_fed_pulse(now, upto, told, out);
                }
            }
            Feed::Piece { session, piece, told } => {
                if self.hears_feed(now, (from, session), told, out) {
                    self.on_fed_piece(now, piece, told, out);
                }
            }
            Feed::Refused { session, why, voters } => {
                self.on_feed_refused(now, (from, session), (why, &voters), out);
            }
        }
    }
}

pub(super) fn say(to: NodeId, feed: Feed, out: &mut Outputs<Output>) {
    out.push(Output::Send { to, after: None, message: PeerMessage::Feed(feed) });
}
