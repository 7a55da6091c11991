//! Snapshots: saved so that the log can be compacted, sent to peers that need what is compacted
//! away, and installed by them (Raft 7).

use super::arriving::{Arriving, Chunk};
use super::changes::Configurations;
use super::log::Log;
use super::progress::{Leading, Mode, Peer};
use super::replica::{Leader, Part};
use super::{
    Bound, Condition, DiskRoom, Event, Output, Raft, SessionId, Snapshot, SnapshotMeta, Unbound,
};
use crate::base::mutant::{self, Mutant};
use crate::base::{ClusterId, Index, LogId, NodeId, Now, Outputs};

/// Most peers that are sent pieces at a time: the others' appends go over the same wire.
const RECEIVERS_MAX: usize = 2;

/// A snapshot a leader sends, to however many peers.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    snapshot: Snapshot,
    checksum: u64,
}

/// One piece of a snapshot, as the leader sent it.
pub(super) struct Piece {
    pub(super) session: SessionId,
    pub(super) cluster: ClusterId,
    pub(super) chunk: Chunk,
}

/// What a peer says it has taken.
pub(super) struct Taken {
    pub(super) session: SessionId,
    pub(super) last: LogId,
    pub(super) received: u64,
    pub(super) installed: bool,
    pub(super) condition: Condition,
}

impl Raft {
    /// The state as of some entry handed out: to be saved, to be sent, or both.
    pub(super) fn on_snapshot(
        &mut self,
        (snapshot, checksum): (Snapshot, u64),
        save: bool,
        out: &mut Outputs<Output>,
    ) {
        let last = snapshot.meta.last;
        assert!(last.index <= self.applied, "R3: a snapshot holds what was handed out, not more");
        if let Part::Leader(leader) = &mut self.part {
            leader.is_snapshot_asked = false;
        }
        if last.index == Index::ZERO {
            // Nothing was handed out yet: there is nothing to save and nobody to need it.
            return;
        }
        assert!(!snapshot.meta.configuration.voters.is_empty(), "R8: somebody votes");
        let term = self.log.term_at(last.index);
        assert!(term.is_none_or(|term| term == last.term), "R6: a snapshot is of this log");
        // One that ends where the last did replaces it: what is on the disk has gone bad.
        // Where the log in memory begins later, all up to there is applied here.
        let is_ours = term.is_some() || last.index < self.log.base().index;
        if save && last.index >= self.saved && is_ours && !self.is_saving() {
            let keep_from = self.keep_from(last.index);
            self.saved = last.index;
            self.saving = Some((last.index, keep_from));
            out.push(Output::Save { snapshot: snapshot.clone(), keep_from });
        }
        if let Part::Leader(leader) = &mut self.part
            && leader.peers.values().any(|peer| peer.mode == Mode::AwaitSnapshot)
        {
            // Somebody waits although another may be on its way: that one ends before the log
            // begins, so whoever receives it begins anew with this one.
            for peer in leader.peers.values_mut() {
                if matches!(peer.mode, Mode::Snapshot { last: sending, .. } if sending != last) {
                    peer.mode = Mode::AwaitSnapshot;
                }
            }
            leader.outgoing = Some(Outgoing { checksum, snapshot });
            self.serve_snapshots(out);
        }
    }

    /// Whether a snapshot is being saved: another one is not taken on before it is.
    pub fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// Begins with the peers that wait for a snapshot, or asks for one.
    pub(super) fn serve_snapshots(&mut self, out: &mut Outputs<Output>) {
        let Some((leader, view)) = self.leading() else { return };
        let base = view.log.base().index;
        let mut is_wanted = false;
        let mut is_used = false;
        let patience = view.options.election_timeout_max;
        let is_busy = |peer: &&Peer| {
            matches!(peer.mode, Mode::Snapshot { .. }) && peer.heard + patience > view.now
        };
        let mut busy = leader.peers.values().filter(is_busy).count();
        for (id, peer) in &mut leader.peers {
            if peer.mode == Mode::AwaitSnapshot && peer.may_receive(*id, &view) {
                // One that ends before the log begins would lead nowhere.
                match leader.outgoing.as_ref().filter(|out| out.snapshot.meta.last.index >= base) {
                    Some(_) if busy >= RECEIVERS_MAX => {}
                    Some(outgoing) => {
                        busy += 1;
                        outgoing.begin(*id, peer, &view, out);
                    }
                    None => is_wanted = true,
                }
            }
            is_used |= matches!(peer.mode, Mode::Snapshot { .. });
        }
        if !is_used {
            leader.outgoing = None;
        }
        // Before the first commit there is no state to send; serving goes on with the first.
        if is_wanted && !leader.is_snapshot_asked && view.commit > Index::ZERO {
            leader.is_snapshot_asked = true;
            out.push(Output::SnapshotNeeded);
        }
    }

    /// The peer is alive: what was sent long ago and not answered was lost.
    pub(super) fn nudge_snapshot(&mut self, to: NodeId, out: &mut Outputs<Output>) {
        let patience = self.options.election_timeout_min;
        if let Some((Leader { peers, outgoing: Some(outgoing), .. }, view)) = self.leading()
            && let Some(peer) = peers.get_mut(&to)
            && peer.may_receive(to, &view)
            && let Mode::Snapshot { sent, .. } = peer.mode
            && sent + patience <= view.now
        {
            outgoing.send_piece(to, peer, &view, out);
        }
        self.serve_snapshots(out);
    }

    /// Goes on from where the peer is. Only progress makes the next piece leave at once: an answer
    /// that came twice must not start a second stream of pieces.
    pub(super) fn on_snapshot_reply(
        &mut self,
        from: NodeId,
        taken: Taken,
        out: &mut Outputs<Output>,
    ) {
        let Taken { session, last, received, installed, condition } = taken;
        if !self.note_condition(from, session, condition, out) {
            return;
        }
        let Some((leader, view)) = self.leading() else { return };
        let Some(peer) = leader.peers.get_mut(&from) else { return };
        peer.heard = view.now;
        let Mode::Snapshot { last: sending, received: before, sent } = peer.mode else { return };
        let Some(outgoing) = leader.outgoing.as_ref().filter(|_| last == sending) else { return };
        if installed {
            peer.accepted(last.index, view.log, view.now);
            if peer.mode != Mode::Stream {
                // The log was compacted beyond it meanwhile.
                peer.mode = Mode::AwaitSnapshot;
            }
            return self.after_progress(from);
        }
        if received <= outgoing.snapshot.data.len() as u64 {
            peer.mode = Mode::Snapshot { last, received, sent };
            if received > before && peer.may_receive(from, &view) {
                outgoing.send_piece(from, peer, &view, out);
            }
        }
    }

    /// Takes a piece if it continues what is here; tells how far it has come either way.
    pub(super) fn on_snapshot_chunk(
        &mut self,
        from: NodeId,
        piece: Piece,
        out: &mut Outputs<Output>,
    ) {
        let Piece { session, cluster, chunk } = piece;
        let (last, total) = (chunk.meta.last, chunk.total);
        let condition = self.condition();
        if cluster != self.options.cluster && !mutant::is_active(Mutant::SnapshotOfAnyCluster) {
            let why = "it is of another cluster";
            return out.push(Output::Report(Event::SnapshotRefused { from, why }));
        }
        if self.has_all_of(&chunk.meta, out) {
            let taken = Taken { session, last, received: total, installed: true, condition };
            return self.answer_piece(from, taken, out);
        }
        let mut received = match self.room {
            DiskRoom::Room => Arriving::take(&mut self.incoming, chunk),
            DiskRoom::Full => Arriving::held(self.incoming.as_ref(), &chunk),
        };
        let mut installed = false;
        if received == total
            && let Some(incoming) = self.incoming.take()
        {
            let whole = incoming.whole();
            installed = whole.is_some();
            if let Some(snapshot) = whole {
                self.install(snapshot, out);
            } else {
                received = 0;
                let why = "it did not arrive as it was sent";
                out.push(Output::Report(Event::SnapshotRefused { from, why }));
            }
        }
        self.answer_piece(from, Taken { session, last, received, installed, condition }, out);
    }

    /// Whether the log holds everything the snapshot does. If it agrees with the snapshot's end it
    /// agrees with all before (R2), and all of that is committed.
    pub(super) fn has_all_of(&mut self, meta: &SnapshotMeta, out: &mut Outputs<Output>) -> bool {
        let last = meta.last;
        if last.index > self.commit && self.log.term_at(last.index) == Some(last.term) {
            self.commit_to(last.index, out);
        }
        let is_here = last.index <= self.commit;
        if is_here {
            self.incoming = None;
        }
        is_here
    }

    /// R9: behind the write of the snapshot or, when the log holds it all, of the log.
    fn answer_piece(&mut self, to: NodeId, taken: Taken, out: &mut Outputs<Output>) {
        let Taken { session, last, received, installed, .. } = taken;
        let condition = self.condition();
        let mut write = self.persist_hard_state(out);
        if installed {
            write = self.disk.covering(last.index);
        }
        let term = self.term;
        let reply = Bound::SnapshotReply { term, session, last, received, installed, condition };
        out.push(Output::send_behind(write, to, reply));
    }

    /// The snapshot takes the place of the log, configuration included (R8: a stale one kept here
    /// would make quorums that do not overlap).
    pub(super) fn install(&mut self, snapshot: Snapshot, out: &mut Outputs<Output>) {
        let last = snapshot.meta.last;
        assert!(last.index > self.commit, "R3: a snapshot never takes state back");
        self.disk.forget_from(self.commit.next());
        self.log = Log::after(last);
        let configuration = match mutant::is_active(Mutant::InstallKeepsVoters) {
            true => self.configuration().clone(),
            false => snapshot.meta.configuration.clone(),
        };
        self.configurations = Configurations::starting(last.index, configuration);
        self.commit = last.index;
        self.applied = last.index;
        self.saved = last.index;
        self.persist_installed(snapshot.clone(), out);
        out.push(Output::Install(snapshot));
        out.push(Output::Report(Event::SnapshotInstalled { last }));
        self.report_configuration(out);
    }
}

impl Leader {
    /// Where the snapshot ends that is sent.
    pub(super) fn sending(&self) -> Option<Index> {
        self.outgoing.as_ref().map(|outgoing| outgoing.snapshot.meta.last.index)
    }
}

impl Outgoing {
    fn begin(&self, to: NodeId, peer: &mut Peer, view: &Leading, out: &mut Outputs<Output>) {
        let last = self.snapshot.meta.last;
        peer.mode = Mode::Snapshot { last, received: 0, sent: Now::START };
        out.push(Output::Report(Event::SnapshotSent { to, last }));
        self.send_piece(to, peer, view, out);
    }

    /// Sends the piece the peer lacks first.
    fn send_piece(&self, to: NodeId, peer: &mut Peer, view: &Leading, out: &mut Outputs<Output>) {
        let Mode::Snapshot { last, received, .. } = peer.mode else { return };
        peer.mode = Mode::Snapshot { last, received, sent: view.now };
        let data = &self.snapshot.data;
        let start = usize::try_from(received).map_or(data.len(), |start| start.min(data.len()));
        let end = data.len().min(start + view.options.snapshot_chunk_bytes);
        let message = Unbound::SnapshotChunk {
            term: view.term,
            session: peer.session,
            cluster: view.options.cluster,
            meta: self.snapshot.meta.clone(),
            offset: start as u64,
            total: data.len() as u64,
            checksum: self.checksum,
            data: data.slice(start..end),
        };
        out.push(Output::send(to, message));
    }
}
