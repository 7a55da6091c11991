//! When a snapshot of the state is made, and that making one holds up nothing else.
//!
//! A large state takes a second to write down. So it is written a piece at a time, between which
//! the node does whatever is due; what is written is the state as it was when the writing began.
//! One is made at a time, for whoever needs one when it is done: the disk, so that the log can
//! shrink; peers that lag behind the log; members that are fed.

use super::machine::Node;
use super::{Event, Output};
use crate::base::{Index, Now, Outputs, Sum64};
use crate::raft::{self, Kept, Snapshot, SnapshotMeta};
use crate::state::Frozen;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// How long everybody else has from the end of a piece to the next. A piece of the usual length
/// takes about half of this, so that a snapshot takes a third of a processor while it is made; on a
/// processor that has other work as well, no more.
const PIECE_EVERY: Duration = Duration::from_millis(1);

/// To give back the memory of a longer snapshot holds up whoever does it.
const HEAVY_BYTES: usize = 1 << 20;

/// This part of a snapshot's bytes is kept of the log for a peer that lags: to tell it that much
/// costs far less than to send it the state.
const LOG_PART: u64 = 8;

/// What a node knows of its snapshots.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// Last entry whose effect is in the saved one, or in the one being saved.
    at: Index,
    /// Bytes of the commands applied since.
    unsaved_bytes: u64,
    /// Bytes of that snapshot.
    size: u64,
    /// A peer waits for one.
    is_needed: bool,
    /// The saved one has gone bad.
    is_lost: bool,
    making: Option<Making>,
}

/// A snapshot that is being made.
#[derive(Debug)]
struct Making {
    meta: SnapshotMeta,
    frozen: Frozen,
    written: Vec<u8>,
    sum: Sum64,
    /// Of what was applied but not saved, what it holds.
    holds_bytes: u64,
    next_piece: Now,
    /// A piece was written in this turn, whose end is not known yet.
    is_at_work: bool,
}

impl Snapshots {
    /// Of a node that found one of this length on its disk, up to there.
    pub(super) fn found(at: Index, size: u64) -> Snapshots {
        Snapshots { at, size, ..Snapshots::default() }
    }

    /// A command of this length was applied.
    pub(super) fn applied(&mut self, bytes: u64) {
        self.unsaved_bytes += bytes;
    }

    /// A peer waits.
    pub(super) fn needed(&mut self) {
        self.is_needed = true;
    }

    /// What is on the disk has gone bad.
    pub(super) fn lost(&mut self) {
        self.is_lost = true;
    }

    /// The state was replaced by one that is on the disk: what was being made is of no use.
    pub(super) fn installed(&mut self, at: Index) {
        *self = Snapshots { at, size: self.size, is_lost: self.is_lost, ..Snapshots::default() };
    }

    /// What they want kept of the log.
    pub(super) fn kept(&self) -> Kept {
        let snapshot = self.making.as_ref().map(|making| making.meta.last.index);
        Kept { bytes: self.size / LOG_PART, snapshot }
    }

    /// A turn ends: what comes between two pieces begins now, however long the last one took.
    pub(super) fn turn_ends(&mut self, now: Now) {
        if let Some(making) = &mut self.making
            && core::mem::take(&mut making.is_at_work)
        {
            making.next_piece = now + PIECE_EVERY;
        }
    }

    /// When the next piece is due.
    pub(super) fn deadline(&self) -> Option<Now> {
        self.making.as_ref().map(|making| making.next_piece)
    }
}

impl Node {
    /// Begins a snapshot if somebody needs one: of a state that has everything the group has handed
    /// out. A small state is written at once.
    pub(super) fn take_snapshots(&mut self, now: Now, out: &mut Outputs<Output>) {
        let is_needed =
            self.snapshots.is_needed || self.source.needs_snapshot() || self.is_saving_due();
        if self.snapshots.making.is_some() || !is_needed {
            return;
        }
        assert!(self.applied() == self.raft.applied(), "all that was handed out is applied");
        let frozen = self.state.freeze();
        // Upper bound in practice: what a version costs in memory is more than what it takes here.
        let written = Vec::with_capacity(frozen.approximate_bytes() as usize);
        self.snapshots.making = Some(Making {
            meta: self.raft.snapshot_meta(),
            frozen,
            written,
            sum: Sum64::default(),
            holds_bytes: self.snapshots.unsaved_bytes,
            next_piece: now,
            is_at_work: false,
        });
        self.continue_snapshot(now, out);
    }

    /// Writes the next piece if it is due.
    pub(super) fn continue_snapshot(&mut self, now: Now, out: &mut Outputs<Output>) {
        let Some(making) = self.snapshots.making.as_mut().filter(|one| one.next_piece <= now)
        else {
            return;
        };
        let before = making.written.len();
        let is_done = making.frozen.write(&mut making.written, self.options.snapshot_piece_bytes);
        making.sum.write(&making.written[before..]);
        making.next_piece = now + PIECE_EVERY;
        making.is_at_work = true;
        if let Some(making) = self.snapshots.making.take_if(|_| is_done) {
            self.hand_out(now, making, out);
        }
    }

    fn hand_out(&mut self, now: Now, making: Making, out: &mut Outputs<Output>) {
        let Making { meta, written, sum, holds_bytes, .. } = making;
        let (index, checksum) = (meta.last.index, sum.finish());
        let snapshot = Snapshot { meta, data: Bytes::from(written) };
        if snapshot.data.len() >= HEAVY_BYTES {
            out.push(Output::Hold(snapshot.data.clone()));
        }
        self.source.offer_snapshot(&snapshot, checksum);
        let save = self.is_saving_due();
        self.snapshots.is_needed = false;
        if save {
            let bytes = snapshot.data.len() as u64;
            self.snapshots.at = index;
            self.snapshots.is_lost = false;
            self.snapshots.unsaved_bytes -= holds_bytes;
            self.snapshots.size = bytes;
            out.push(Output::Report(Event::SnapshotTaken { index, bytes }));
        }
        self.handle_raft(now, raft::Input::Snapshot { snapshot, checksum, save }, out);
    }

    fn is_saving_due(&self) -> bool {
        let Snapshots { at, unsaved_bytes, size, is_lost, .. } = self.snapshots;
        let since = self.applied().0.saturating_sub(at.0);
        let enough = self.options.snapshot_bytes.max(size);
        let is_due = since >= self.options.snapshot_entries || unsaved_bytes >= enough || is_lost;
        is_due && !self.raft.is_saving()
    }
}
