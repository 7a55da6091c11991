//! How much of the log stays behind what is applied: in memory, and on the disk behind a snapshot.
//!
//! What is applied and on the disk is of use to peers that lag, and to nobody else. A peer that
//! needs what is gone gets a snapshot, which costs the more the larger the state is; so the larger
//! the state, the more of the log is worth its memory.

use super::progress::Mode;
use super::replica::Part;
use super::{Raft, Readers};
use crate::base::Index;

/// How many times the usual tail is kept for a follower that answers and lags. One that lags
/// further gets a snapshot: keeping more would cost every replica's memory for one replica's sake.
const LAGGING_TAILS_MAX: u64 = 4;

/// How many times the usual tail is kept behind a snapshot that is on its way to somebody who
/// answers: if the log went on without it, its receiver would have to begin anew, and under load
/// never end. Beyond it, a receiver so slow costs the leader more memory than it is worth.
const SENDING_TAILS_MAX: u64 = 64;

/// How many times the usual tail is kept by weight, for whomever: entries may be large.
const WEIGHED_TAILS_MAX: u64 = 8;

/// The log in memory is shortened when it is longer than the tail by this part of it, and looked
/// at again when it has grown by as much: not at every entry.
const SLACK_PART: u64 = 4;

/// The last entries are held in any case, if they weigh no more than the tail may: whoever is told
/// of them a moment later is not worth a snapshot.
const HELD_MIN: u64 = 64;

/// Most entries let go of at a time: to give back their memory takes about half a microsecond each,
/// and when a peer has caught up, a hundred thousand may go.
const LET_GO_MAX: u64 = 1_024;

/// What is kept of the log besides what [`Options`](super::Options) say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// So many bytes of payload, however many entries that is.
    pub bytes: u64,
    /// Where the snapshot ends that is being made: whoever is to receive it needs what follows.
    pub snapshot: Option<Index>,
}

/// What a replica knows of its tail.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    kept: Kept,
    /// With fewer entries and fewer bytes than these nothing can go.
    look_entries: u64,
    look_bytes: u64,
}

impl Raft {
    /// Lets go of what nobody is likely to need: entries that are applied, on the disk, and not
    /// among the last ones. They stay on the disk until a snapshot holds them.
    pub fn shorten_log(&mut self, kept: Kept) {
        self.tail.kept = kept;
        let (entries, bytes) = (self.log.len(), self.log.bytes());
        let with_slack = |tail: u64| tail.saturating_add(tail / SLACK_PART);
        let (tail_entries, tail_bytes) =
            (self.options.log_tail_entries, self.options.log_tail_bytes);
        let is_long = entries > with_slack(tail_entries) || bytes > with_slack(tail_bytes);
        let has_grown = entries >= self.tail.look_entries || bytes >= self.tail.look_bytes;
        if !is_long || bytes < with_slack(kept.bytes) || !has_grown {
            return;
        }
        let done = self.applied.min(self.disk.durable_index());
        let held_min = self.log.tail_within(done, tail_bytes).0;
        let held_min = held_min.max(done.0.saturating_sub(HELD_MIN));
        let needless = held_min.min(self.keep_from(done).0 - 1);
        let upto = Index(needless.min(self.log.base().index.0 + LET_GO_MAX));
        if upto > self.log.base().index {
            assert!(upto <= self.applied, "R3: what is not applied is kept");
            self.log.compact(upto);
            self.configurations.forget_before(self.applied);
        }
        if upto.0 < needless {
            // The rest follows with what happens next.
            return;
        }
        self.tail.look_entries = self.log.len() + tail_entries / SLACK_PART;
        self.tail.look_bytes = self.log.bytes().saturating_add(tail_bytes / SLACK_PART);
    }

    /// Where the log may begin when a snapshot up to `last` is saved, or in memory when all up to
    /// `last` is applied: a tail is left for followers that lag a little, a longer one for those
    /// that answer and lag more.
    pub(super) fn keep_from(&self, last: Index) -> Index {
        let (tail, bytes) = (self.options.log_tail_entries, self.options.log_tail_bytes);
        let tails = |entries: u64, count: u64| {
            let most = last.0.saturating_sub(entries.saturating_mul(count));
            let weighed = bytes.saturating_mul(count.min(WEIGHED_TAILS_MAX));
            most.max(self.log.tail_within(last, weighed).0)
        };
        let (lagging, sent) =
            (tails(tail, LAGGING_TAILS_MAX), tails(tail.max(1), SENDING_TAILS_MAX));
        let Kept { bytes: kept, snapshot: making } = self.tail.kept;
        let mut keep = tails(tail, 1);
        if kept > 0 {
            keep = keep.min(self.log.tail_within(last, kept).0);
        }
        if let Some(making) = making {
            keep = keep.min(making.0.max(sent));
        }
        if let Some(Readers { entries, snapshot }) = self.readers {
            let needed = entries.map(|index| index.0.max(lagging));
            let needed_then = snapshot.map(|index| index.0.max(sent));
            keep = needed.into_iter().chain(needed_then).fold(keep, u64::min);
        }
        let Part::Leader(leader) = &self.part else { return Index(keep).next() };
        let sending = leader.sending();
        for (_, peer) in leader.peers.iter().filter(|(id, _)| self.is_answering(**id)) {
            keep = match (&peer.mode, sending) {
                (Mode::Snapshot { .. }, Some(sending)) => keep.min(sending.0.max(sent)),
                _ => keep.min(peer.matched.0.max(lagging)),
            };
        }
        Index(keep).next()
    }
}
