//! The voter that feeds.

use super::{Feed, FeedId, FeedRefusal, Health, Node, Output, Piece, Taken, Told, say};
use crate::base::mutant::{self, Mutant};
use crate::base::{ClusterId, Index, LogId, NodeId, Now, Outputs};
use crate::raft::{Committed, Raft, Readers, Role, Snapshot, Standing};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

/// Most members that one voter feeds: a third of the members of the largest cluster there is to be,
/// with one voter of three gone and some to spare.
const READERS_MAX: usize = 16_384;

/// Most members that are sent a snapshot at a time: the state is held once, but each piece is
/// encoded anew, and the feeds of the others go over the same wire.
const SNAPSHOT_READERS_MAX: usize = 4;

/// Most bytes of entries in one message: small enough that other messages get between.
const PORTION_BYTES: usize = 256 << 10;

/// Most credit that is given to one member: so much may wait for it in this process.
const CREDIT_MAX: u64 = 1 << 20;

/// What an entry costs of the credit besides its bytes.
const ENTRY_COST: u64 = 32;

/// How often a quiet feed says how the voter stands: what those that are fed answer is at most so
/// old, and a voter of a thousand members says no more than a few hundred of these a second.
pub(super) const PULSE_EVERY: Duration = Duration::from_millis(500);

/// A member that answers nothing for so long is fed no more.
const READER_SILENCE_MAX: Duration = Duration::from_secs(10);

/// The log is not kept for one that has answered nothing for so long.
const LAGGARD_SILENCE_MAX: Duration = Duration::from_secs(2);

/// A piece that is not answered for so long was lost.
const PIECE_PATIENCE: Duration = Duration::from_secs(1);

/// How often the leader is told how far those are that are fed from here.
const TELL_LEADER_EVERY: Duration = Duration::from_secs(2);

/// What a voter told the leader counts for so long.
const TOLD_COUNTS_FOR: Duration = Duration::from_secs(10);

/// A member's wish to be fed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) session: FeedId,
    pub(super) position: Option<LogId>,
    pub(super) credit: u64,
}

/// Whom this node feeds.
#[derive(Clone, Debug, Default)]
pub(in crate::node) struct Source {
    readers: BTreeMap<NodeId, Reader>,
    outgoing: Option<Outgoing>,
    /// How this node stood when all were told last.
    told: Standing,
    /// Some reader may have room again, or waits for a snapshot.
    is_stirred: bool,
    /// Some reader waits for a snapshot, and there is none for it.
    needs_snapshot: bool,
    next_tell: Now,
    /// As leader: what voters have told of those that they feed, and when.
    others: BTreeMap<NodeId, (Now, Vec<Taken>)>,
}

#[derive(Clone, Debug)]
struct Reader {
    session: FeedId,
    credit: u64,
    mode: Mode,
    taken: Index,
    health: Health,
    heard: Now,
    /// When it was told anything.
    told: Now,
}

#[derive(Clone, Debug)]
enum Mode {
    /// It was told all up to `sent`; these messages are on their way, by where they end and how
    /// much they take.
    Entries { sent: Index, on_way: VecDeque<(Index, u64)> },
    /// It needs a snapshot.
    Waits,
    /// It receives one.
    Snapshot { last: LogId, received: u64, sent: Now },
}

#[derive(Clone, Debug)]
struct Outgoing {
    snapshot: Snapshot,
    checksum: u64,
}

/// What feeding looks at.
struct View<'a> {
    now: Now,
    cluster: ClusterId,
    piece_bytes: usize,
    raft: &'a Raft,
    told: Told,
}

impl Node {
    pub(super) fn on_subscribe(
        &mut self,
        now: Now,
        from: NodeId,
        wish: Wish,
        out: &mut Outputs<Output>,
    ) {
        if let Err(why) = self.may_feed(from) {
            self.source.readers.remove(&from);
            let configuration = self.raft.configuration();
            let voters = configuration.voters.iter().copied().collect();
            return say(from, Feed::Refused { session: wish.session, why, voters }, out);
        }
        let mode = match wish.position {
            None => Mode::Waits,
            Some(position) => {
                let from = match mutant::is_active(Mutant::FeedBeginsLate) {
                    true => self.raft.commit(),
                    false => position.index,
                };
                Mode::Entries { sent: from, on_way: VecDeque::new() }
            }
        };
        let taken = wish.position.unwrap_or(LogId::ZERO).index;
        let credit = wish.credit.min(CREDIT_MAX);
        let (session, health) = (wish.session, Health::default());
        let (heard, told) = (now, Now::START);
        let reader = Reader { session, credit, mode, taken, health, heard, told };
        self.source.readers.insert(from, reader);
        // It is answered in any case, so that it knows whom it has.
        self.with_source(now, |source, view| source.serve(from, view, true, out));
    }

    /// Whether this node feeds that one.
    fn may_feed(&self, node: NodeId) -> Result<(), FeedRefusal> {
        let configuration = self.raft.configuration();
        if !configuration.is_voter(self.options.id) {
            return Err(FeedRefusal::NoVoter);
        }
        // Whoever was left behind by an epoch may have a log of its own (ADR 9), and joins anew.
        if !self.state.is_current(node) {
            return Err(FeedRefusal::NoMember);
        }
        if configuration.members().contains(&node) {
            return Err(FeedRefusal::Replicated);
        }
        let readers = &self.source.readers;
        let is_full = readers.len() >= READERS_MAX && !readers.contains_key(&node);
        if is_full || self.is_stopping || self.cannot_feed() {
            return Err(FeedRefusal::Busy);
        }
        Ok(())
    }

    /// Whether nothing comes here that could be told.
    fn cannot_feed(&self) -> bool {
        self.raft.is_rebuilding() || self.raft.stands_still()
    }

    pub(super) fn on_taken(
        &mut self,
        now: Now,
        (from, session): (NodeId, FeedId),
        (upto, health): (Index, Health),
        out: &mut Outputs<Output>,
    ) {
        let Some(reader) = self.source.reader(from, session) else { return };
        (reader.heard, reader.health) = (now, health);
        reader.taken = reader.taken.max(upto);
        match &mut reader.mode {
            Mode::Entries { on_way, .. } => {
                let before = on_way.len();
                while on_way.front().is_some_and(|(end, _)| *end <= upto) {
                    on_way.pop_front();
                }
                if on_way.len() == before {
                    return;
                }
            }
            Mode::Snapshot { last, .. } if last.index <= upto => {
                reader.mode = Mode::Entries { sent: upto, on_way: VecDeque::new() };
                self.source.is_stirred = true;
            }
            Mode::Snapshot { .. } | Mode::Waits => return,
        }
        self.with_source(now, |source, view| source.serve(from, view, false, out));
    }

    pub(super) fn on_piece_taken(
        &mut self,
        now: Now,
        (from, session): (NodeId, FeedId),
        (of, took): (LogId, u64),
        out: &mut Outputs<Output>,
    ) {
        let Some(reader) = self.source.reader(from, session) else { return };
        reader.heard = now;
        let Mode::Snapshot { last, received, .. } = &mut reader.mode else { return };
        // Only progress makes the next piece leave at once.
        if *last == of && took > *received {
            *received = took;
            self.with_source(now, |source, view| source.send_piece(from, view, out));
        } else if *last == of && took < *received {
            // It began anew, since the whole was not what was sent.
            *received = took;
        }
    }

    /// Tells all that is new, to whoever has room for it. At each flush.
    pub(in crate::node) fn feed_readers(&mut self, now: Now, out: &mut Outputs<Output>) {
        if self.source.readers.is_empty() {
            return;
        }
        if !self.raft.configuration().is_voter(self.options.id) {
            return self.dismiss_readers(FeedRefusal::NoVoter, out);
        }
        if self.cannot_feed() {
            return self.dismiss_readers(FeedRefusal::Busy, out);
        }
        let stands = self.raft.standing();
        let told = core::mem::replace(&mut self.source.told, stands);
        let is_turn = (told.term, told.leader) != (stands.term, stands.leader);
        if !is_turn && told.commit == stands.commit && !self.source.is_stirred {
            return;
        }
        self.source.is_stirred = false;
        self.with_source(now, |source, view| {
            let ids: Vec<NodeId> = source.readers.keys().copied().collect();
            for id in ids {
                source.serve(id, view, is_turn, out);
            }
        });
        self.keep_log_for_readers(now);
    }

    /// What is due by the clock. With the other chores.
    pub(in crate::node) fn tend_readers(&mut self, now: Now, out: &mut Outputs<Output>) {
        self.tell_leader_of_readers(now, out);
        if self.source.readers.is_empty() {
            self.source.outgoing = None;
            return;
        }
        let state = &self.state;
        let replicated = self.raft.configuration().members();
        self.source.readers.retain(|id, reader| {
            let is_there = now.since(reader.heard) < READER_SILENCE_MAX;
            is_there && state.is_current(*id) && !replicated.contains(id)
        });
        self.with_source(now, |source, view| source.pulse(view, out));
        self.keep_log_for_readers(now);
    }

    /// Who votes no more, or stands still, feeds nobody.
    fn dismiss_readers(&mut self, why: FeedRefusal, out: &mut Outputs<Output>) {
        let voters: Vec<NodeId> = self.raft.configuration().voters.iter().copied().collect();
        for (to, reader) in core::mem::take(&mut self.source.readers) {
            let session = reader.session;
            say(to, Feed::Refused { session, why, voters: voters.clone() }, out);
        }
        self.source.outgoing = None;
        self.source.needs_snapshot = false;
        self.raft.keep_for_readers(None);
    }

    fn keep_log_for_readers(&mut self, now: Now) {
        let readers = self.source.readers.values();
        let answering = readers.filter(|one| now.since(one.heard) < LAGGARD_SILENCE_MAX);
        let mut needs = Readers { entries: None, snapshot: None };
        let least =
            |least: Option<Index>, index: Index| Some(least.map_or(index, |it| it.min(index)));
        for reader in answering {
            match &reader.mode {
                Mode::Entries { .. } => needs.entries = least(needs.entries, reader.taken),
                Mode::Snapshot { last, .. } => needs.snapshot = least(needs.snapshot, last.index),
                Mode::Waits => {}
            }
        }
        self.raft.keep_for_readers(Some(needs));
    }

    /// Lets the source work with what it looks at.
    fn with_source(&mut self, now: Now, work: impl FnOnce(&mut Source, &View<'_>)) {
        let fresh = self.fresh_at(now);
        let age = fresh.map(|at| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX));
        let mut source = core::mem::take(&mut self.source);
        let view = View {
            now,
            cluster: self.options.cluster,
            piece_bytes: self.options.raft.snapshot_chunk_bytes,
            raft: &self.raft,
            told: Told { standing: self.raft.standing(), age_ms: age },
        };
        work(&mut source, &view);
        self.source = source;
    }
}

/// What the leader is told.
impl Node {
    fn tell_leader_of_readers(&mut self, now: Now, out: &mut Outputs<Output>) {
        if now < self.source.next_tell {
            return;
        }
        self.source.next_tell = now + TELL_LEADER_EVERY;
        let is_leader = self.raft.role() == Role::Leader;
        if !is_leader {
            self.source.others.clear();
        }
        self.source.others.retain(|_, (at, _)| now.since(*at) < TOLD_COUNTS_FOR);
        if let Some(leader) = self.raft.leader().filter(|_| !is_leader)
            && !self.source.readers.is_empty()
        {
            say(leader, Feed::Readers(self.source.taken(now)), out);
        }
    }

    pub(super) fn on_readers_told(&mut self, now: Now, from: NodeId, taken: Vec<Taken>) {
        let is_voter = self.raft.configuration().is_voter(from);
        if is_voter && self.raft.role() == Role::Leader && taken.len() <= READERS_MAX {
            self.source.others.insert(from, (now, taken));
        }
    }
}

impl Source {
    /// A member asks to be told no more.
    pub(super) fn stop(&mut self, from: NodeId, session: FeedId) {
        if self.reader(from, session).is_some() {
            self.readers.remove(&from);
        }
    }

    /// How far those are that are fed from here, and those that other voters told of.
    pub(super) fn all_taken(&self, now: Now, own: NodeId) -> Vec<(NodeId, Taken)> {
        let mut all: Vec<_> = self.taken(now).into_iter().map(|one| (own, one)).collect();
        for (by, (at, told)) in &self.others {
            let later = u64::try_from(now.since(*at).as_millis()).unwrap_or(u64::MAX);
            let aged = |one: &Taken| Taken { age_ms: one.age_ms.saturating_add(later), ..*one };
            all.extend(told.iter().map(|one| (*by, aged(one))));
        }
        // One that has moved is told of twice for a while: the later word counts.
        all.sort_by_key(|(by, one)| (one.node, one.age_ms, *by));
        all.dedup_by_key(|(_, one)| one.node);
        all
    }

    fn taken(&self, now: Now) -> Vec<Taken> {
        let taken = self.readers.iter().map(|(node, reader)| Taken {
            node: *node,
            upto: reader.taken,
            age_ms: u64::try_from(now.since(reader.heard).as_millis()).unwrap_or(u64::MAX),
            health: reader.health,
        });
        taken.collect()
    }

    fn reader(&mut self, from: NodeId, session: FeedId) -> Option<&mut Reader> {
        self.readers.get_mut(&from).filter(|reader| reader.session == session)
    }

    /// Tells a member all it has room for. `speaks`: it is told something in any case.
    fn serve(&mut self, to: NodeId, view: &View<'_>, speaks: bool, out: &mut Outputs<Output>) {
        let Some(reader) = self.readers.get_mut(&to) else { return };
        let before = reader.told;
        if speaks {
            reader.told = Now::START;
        }
        reader.send_entries(to, view, out);
        if matches!(reader.mode, Mode::Waits) {
            self.begin_snapshot(to, view, out);
        }
        let Some(reader) = self.readers.get_mut(&to) else { return };
        if speaks && reader.told == Now::START {
            reader.send_pulse(to, view, out);
        }
        reader.told = reader.told.max(before);
    }

    fn begin_snapshot(&mut self, to: NodeId, view: &View<'_>, out: &mut Outputs<Output>) {
        let receives = |reader: &&Reader| matches!(reader.mode, Mode::Snapshot { .. });
        let is_busy = self.readers.values().filter(receives).count() >= SNAPSHOT_READERS_MAX;
        // Before the first entry is applied there is no state to send.
        if is_busy || view.raft.applied() == Index::ZERO {
            return;
        }
        let base = view.raft.first_index();
        let is_fit = |outgoing: &Outgoing| outgoing.snapshot.meta.last.index.next() >= base;
        if !self.outgoing.as_ref().is_some_and(is_fit) {
            self.needs_snapshot = true;
            return;
        }
        if let (Some(reader), Some(outgoing)) = (self.readers.get_mut(&to), &self.outgoing) {
            let last = outgoing.snapshot.meta.last;
            reader.mode = Mode::Snapshot { last, received: 0, sent: view.now };
            self.send_piece(to, view, out);
        }
    }

    /// Sends the piece that the member lacks first. One whose snapshot has been replaced by a later
    /// one begins anew with that.
    fn send_piece(&mut self, to: NodeId, view: &View<'_>, out: &mut Outputs<Output>) {
        let (Some(reader), Some(outgoing)) = (self.readers.get_mut(&to), &self.outgoing) else {
            return;
        };
        let Mode::Snapshot { last, received, sent } = &mut reader.mode else { return };
        let Snapshot { meta, data } = &outgoing.snapshot;
        if *last != meta.last {
            (*last, *received) = (meta.last, 0);
        }
        *sent = view.now;
        reader.told = view.now;
        let start = usize::try_from(*received).map_or(data.len(), |start| start.min(data.len()));
        let end = data.len().min(start + view.piece_bytes);
        let piece = Piece {
            cluster: view.cluster,
            meta: meta.clone(),
            offset: start as u64,
            total: data.len() as u64,
            checksum: outgoing.checksum,
            data: data.slice(start..end),
        };
        say(to, Feed::Piece { session: reader.session, piece, told: view.told }, out);
    }

    /// Says something to those that heard nothing for a while, and sends again what was lost.
    fn pulse(&mut self, view: &View<'_>, out: &mut Outputs<Output>) {
        let ids: Vec<NodeId> = self.readers.keys().copied().collect();
        for id in ids {
            let Some(reader) = self.readers.get_mut(&id) else { continue };
            match reader.mode {
                Mode::Snapshot { sent, .. } if sent + PIECE_PATIENCE <= view.now => {
                    self.send_piece(id, view, out);
                }
                Mode::Waits => {
                    let is_due = reader.told + PULSE_EVERY <= view.now;
                    self.serve(id, view, is_due, out);
                }
                _ if reader.told + PULSE_EVERY <= view.now => reader.send_pulse(id, view, out),
                _ => {}
            }
        }
        let is_used = |reader: &Reader| !matches!(reader.mode, Mode::Entries { .. });
        if !self.readers.values().any(is_used) {
            self.outgoing = None;
        }
    }
}

impl Source {
    /// Whether somebody waits for a snapshot to be made.
    pub(in crate::node) fn needs_snapshot(&self) -> bool {
        self.needs_snapshot
    }

    /// One was made.
    pub(in crate::node) fn offer_snapshot(&mut self, snapshot: &Snapshot, checksum: u64) {
        let waits = |reader: &Reader| matches!(reader.mode, Mode::Waits);
        if core::mem::take(&mut self.needs_snapshot) && self.readers.values().any(waits) {
            self.outgoing = Some(Outgoing { snapshot: snapshot.clone(), checksum });
            self.is_stirred = true;
        }
    }
}

impl Reader {
    /// As much as there is credit for; one message always.
    fn send_entries(&mut self, to: NodeId, view: &View<'_>, out: &mut Outputs<Output>) {
        let Mode::Entries { sent, on_way } = &mut self.mode else { return };
        let mut used: u64 = on_way.iter().map(|(_, cost)| cost).sum();
        while on_way.is_empty() || used < self.credit {
            let room = usize::try_from(self.credit.saturating_sub(used)).unwrap_or(PORTION_BYTES);
            let Some(found) = view.raft.committed_after(*sent, room.min(PORTION_BYTES)) else {
                self.mode = Mode::Waits;
                return;
            };
            let Committed { prev, entries, bytes } = found;
            let Some(last) = entries.last().map(|entry| entry.id.index) else { return };
            let cost = bytes as u64 + entries.len() as u64 * ENTRY_COST;
            used += cost;
            on_way.push_back((last, cost));
            *sent = last;
            self.told = view.now;
            let (session, told) = (self.session, view.told);
            say(to, Feed::Entries { session, prev, entries, told }, out);
        }
    }

    fn send_pulse(&mut self, to: NodeId, view: &View<'_>, out: &mut Outputs<Output>) {
        let upto = match &self.mode {
            Mode::Entries { sent, .. } => *sent,
            Mode::Waits | Mode::Snapshot { .. } => Index::ZERO,
        };
        self.told = view.now;
        say(to, Feed::Pulse { session: self.session, upto, told: view.told }, out);
    }
}
