//! What a leader knows of one peer, and the appends it has under way to it.

use super::log::{Log, Portion};
use super::{Condition, Entries, Options, Output, SessionId, Unbound};
use crate::base::mutant::{self, Mutant};
use crate::base::{Index, LogId, NodeId, Now, Outputs, Term};
use alloc::collections::{BTreeSet, VecDeque};
use core::time::Duration;

/// Appends with entries that leave without gathering: one for the peer's disk to write, and one to
/// be there when it has. With one alone, the disk would wait for each answer to come back.
const APPENDS_AHEAD: usize = 2;

/// While entries wait for an answer, the commit index waits with them, but no longer than this: a
/// quorum may be faster than this peer's disk, and its clients need not wait for that.
const COMMIT_RIDES: Duration = Duration::from_millis(2);

/// What replication looks at besides the peer.
pub(super) struct Leading<'a> {
    pub(super) now: Now,
    pub(super) term: Term,
    pub(super) commit: Index,
    pub(super) log: &'a Log,
    pub(super) options: &'a Options,
    /// Whether an entry of the term is committed: until then nothing can be read or written.
    pub(super) is_settled: bool,
    /// Peers that are not served, since their nodes are not alive (passive groups only).
    pub(super) absent: Option<&'a BTreeSet<NodeId>>,
}

impl Leading<'_> {
    pub(super) fn is_absent(&self, id: NodeId) -> bool {
        self.absent.is_some_and(|absent| absent.contains(&id))
    }
}

/// One peer as its leader sees it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// R10: only acknowledgements of this session count.
    pub(super) session: SessionId,
    /// The peer's log equals the leader's up to here, on the peer's disk.
    pub(super) matched: Index,
    /// The next entry to send. Always above `matched`.
    pub(super) next: Index,
    /// How it is served.
    pub(super) mode: Mode,
    /// When it last answered.
    pub(super) heard: Now,
    /// The highest read round it has answered.
    pub(super) round: u64,
    /// How it is, as it last said.
    pub(super) condition: Condition,
    /// When the latest round it answered began; `START` when it answered none.
    pub(super) lease_from: Now,
    /// The highest commit index that a message under way or arrived tells it.
    commit_sent: Index,
    window: Window,
}

/// How a peer is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Where the logs part is looked for, one append at a time.
    Probe {
        /// When the append under way left; `None` when the next may leave.
        sent: Option<Now>,
    },
    /// The logs are known to agree at `next - 1` unless something was lost: appends follow one
    /// another, small ones when few are under way.
    Stream,
    /// It needs entries that are compacted away, and no snapshot is at hand yet.
    AwaitSnapshot,
    /// A snapshot is on its way, one piece at a time.
    Snapshot {
        /// The entry the snapshot ends with.
        last: LogId,
        /// What the peer holds of it.
        received: u64,
        /// When the piece under way left.
        sent: Now,
    },
}

/// Appends sent and not yet answered.
#[derive(Clone, Debug, Default)]
struct Window {
    /// Last index and payload bytes of each.
    in_flight: VecDeque<(Index, usize)>,
    bytes: usize,
    /// When it last moved: an answer came, or the first append left.
    moved: Now,
}

impl Window {
    fn has_room(&self, options: &Options) -> bool {
        self.in_flight.len() < options.appends_in_flight_max
            && self.bytes < options.bytes_in_flight_max
    }

    fn push(&mut self, last: Index, bytes: usize, now: Now) {
        if self.in_flight.is_empty() {
            self.moved = now;
        }
        self.in_flight.push_back((last, bytes));
        self.bytes += bytes;
    }

    fn answered(&mut self, matched: Index, now: Now) {
        while let Some((last, bytes)) = self.in_flight.front().copied() {
            if last > matched {
                break;
            }
            self.in_flight.pop_front();
            self.bytes -= bytes;
            self.moved = now;
        }
    }

    /// Whether as much is under way as leaves without gathering.
    fn is_ahead(&self) -> bool {
        let with_entries = self.in_flight.iter().filter(|(_, bytes)| *bytes > 0);
        with_entries.take(APPENDS_AHEAD).count() == APPENDS_AHEAD
    }

    fn clear(&mut self) {
        self.in_flight.clear();
        self.bytes = 0;
    }
}

impl Peer {
    /// A peer of which nothing is known but that it exists.
    pub(super) fn unknown(session: SessionId, next: Index, now: Now) -> Peer {
        let matched = match mutant::is_active(Mutant::MatchAssumed) {
            true => Index(next.0 - 1),
            false => Index::ZERO,
        };
        Peer {
            session,
            matched,
            next,
            mode: Mode::Probe { sent: None },
            heard: now,
            round: 0,
            condition: Condition::default(),
            lease_from: Now::START,
            commit_sent: Index::ZERO,
            window: Window::default(),
        }
    }

    /// R10: whether an answer of this session is about this replication.
    pub(super) fn is_in(&self, session: SessionId) -> bool {
        self.session == session
    }

    /// Whether pieces of a snapshot may be sent to it.
    pub(super) fn may_receive(&self, id: NodeId, view: &Leading) -> bool {
        !self.is_held(id, view)
    }

    /// Nothing is sent but heartbeats: it could not take it, or is not there. The few entries that
    /// a leader must commit before it can answer reads find a place on a full disk.
    fn is_held(&self, id: NodeId, view: &Leading) -> bool {
        (self.condition.is_full && view.is_settled) || view.is_absent(id)
    }

    /// What is under way counts as lost: it is served from what it acknowledged on.
    pub(super) fn start_over(&mut self) {
        self.window.clear();
        if matches!(self.mode, Mode::Stream | Mode::Probe { .. }) {
            if self.mode == Mode::Stream {
                self.next = self.matched.next();
            }
            self.mode = Mode::Probe { sent: None };
        }
        self.commit_sent = Index::ZERO;
    }

    /// Sends what the mode allows.
    pub(super) fn replicate(&mut self, to: NodeId, view: &Leading, out: &mut Outputs<Output>) {
        if self.is_held(to, view) {
            return;
        }
        match self.mode {
            Mode::Probe { sent: None } => {
                if self.send_append(to, view, out) {
                    self.mode = Mode::Probe { sent: Some(view.now) };
                }
            }
            Mode::Stream => self.stream(to, view, out),
            Mode::Probe { sent: Some(_) } | Mode::AwaitSnapshot | Mode::Snapshot { .. } => {}
        }
    }

    fn stream(&mut self, to: NodeId, view: &Leading, out: &mut Outputs<Output>) {
        let last = view.log.last().index;
        while self.next <= last && self.window.has_room(view.options) && !self.gathers(view) {
            if !self.send_append(to, view, out) {
                return;
            }
        }
        // Followers answer their own clients when they apply: they are told of a commit at once, by
        // an append without entries, unless one with entries is about to tell them.
        let tellable = view.commit.min(Index(self.next.0 - 1));
        let is_awaited = self.next <= last && view.now < self.window.moved + COMMIT_RIDES;
        if self.commit_sent < tellable && self.window.has_room(view.options) && !is_awaited {
            self.tell_commit(to, view, out);
        }
    }

    /// Whether what comes next waits for an answer to what is under way.
    fn gathers(&self, view: &Leading) -> bool {
        let is_under_way = self.window.is_ahead() || mutant::is_active(Mutant::GatheredNeverSent);
        let enough = Portion {
            entries: view.options.append_entries_max,
            bytes: view.options.appends_gather_bytes,
        };
        is_under_way && !view.log.fills(self.next, enough)
    }

    /// Sends the commit index alone.
    fn tell_commit(&mut self, to: NodeId, view: &Leading, out: &mut Outputs<Output>) {
        let Some(prev) = self.prev(view.log) else {
            return self.await_snapshot();
        };
        self.window.push(prev.index, 0, view.now);
        self.commit_sent = self.commit_sent.max(view.commit.min(prev.index));
        let Leading { term, commit, .. } = *view;
        let (session, entries) = (self.session, Entries::new());
        out.push(Output::send(to, Unbound::Append { term, session, prev, entries, commit }));
    }

    /// Sends what there is from `next` on, possibly nothing. False when the log no longer reaches
    /// back that far.
    fn send_append(&mut self, to: NodeId, view: &Leading, out: &mut Outputs<Output>) -> bool {
        let Some(prev) = self.prev(view.log) else {
            self.await_snapshot();
            return false;
        };
        let portion = Portion {
            entries: view.options.append_entries_max,
            bytes: view.options.append_bytes_max,
        };
        let (entries, bytes) = view.log.gather(self.next, portion);
        let sent_to = Index(prev.index.0 + entries.len() as u64);
        if self.mode == Mode::Stream {
            self.next = sent_to.next();
            self.window.push(sent_to, bytes, view.now);
        }
        self.commit_sent = self.commit_sent.max(view.commit.min(sent_to));
        let Leading { term, commit, .. } = *view;
        let session = self.session;
        out.push(Output::send(to, Unbound::Append { term, session, prev, entries, commit }));
        true
    }

    fn await_snapshot(&mut self) {
        self.window.clear();
        self.mode = Mode::AwaitSnapshot;
    }

    fn prev(&self, log: &Log) -> Option<LogId> {
        let index = Index(self.next.0 - 1);
        log.term_at(index).map(|term| LogId::new(term, index))
    }

    /// It answered something while appends are under way. What has been silent for a heartbeat
    /// interval may be lost, and is asked for: a slow disk is told from a lost message, since
    /// an append without entries is refused at once if an earlier one is missing.
    pub(super) fn nudge(&mut self, to: NodeId, view: &Leading, out: &mut Outputs<Output>) {
        let patience = view.options.heartbeat_interval;
        if self.is_held(to, view) {
            return;
        }
        match self.mode {
            Mode::Probe { sent: Some(sent) } if sent + patience <= view.now => {
                self.mode = Mode::Probe { sent: None };
                self.replicate(to, view, out);
            }
            Mode::Stream if self.window.in_flight.is_empty() => {
                if self.condition.rebuild.is_some() {
                    // It is told of commits by appends alone, and one may be lost.
                    self.commit_sent = self.commit_sent.min(self.condition.commit);
                }
                self.replicate(to, view, out);
            }
            Mode::Stream if self.window.moved + patience <= view.now => {
                let Some(prev) = self.prev(view.log) else {
                    self.await_snapshot();
                    return;
                };
                self.window.moved = view.now;
                let Leading { term, commit, .. } = *view;
                let (session, entries) = (self.session, Entries::new());
                out.push(Output::send(
                    to,
                    Unbound::Append { term, session, prev, entries, commit },
                ));
            }
            _ => {}
        }
    }

    /// The peer has everything up to `matched` on its disk.
    pub(super) fn accepted(&mut self, matched: Index, log: &Log, now: Now) {
        // An answer to an append of before the search does not end it: it would begin to stream, be
        // refused again, and so on with each such answer, a whole window of appends every time.
        let is_of_search = matched.next() >= self.next;
        let is_progress = matched > self.matched;
        self.matched = self.matched.max(matched);
        self.window.answered(self.matched, now);
        self.next = self.next.max(self.matched.next());
        let is_found = match self.mode {
            Mode::Stream => false,
            Mode::Probe { .. } => is_of_search,
            // Perhaps the peer got so far by an earlier append, or the snapshot is in place.
            Mode::AwaitSnapshot | Mode::Snapshot { .. } => self.matched >= log.base().index,
        };
        if is_found {
            self.next = self.matched.next();
            self.window.clear();
            self.mode = match self.condition.is_full {
                false => Mode::Stream,
                // What it has no room for is offered again at the pace of heartbeats.
                true => Mode::Probe { sent: (!is_progress).then_some(now) },
            };
        }
    }

    /// The peer does not have `prev`. False when this is old news: a refusal that crossed with
    /// others must not start a second search, or searches multiply.
    pub(super) fn rejected(&mut self, prev: Index, hint: LogId, log: &Log) -> bool {
        if prev == Index::ZERO && self.next == Index(1) && matches!(self.mode, Mode::Probe { .. }) {
            // It was not there at the founding: no log, however long, begins early enough.
            self.await_snapshot();
            return true;
        }
        let is_news = match self.mode {
            Mode::Probe { .. } => prev.next() == self.next && prev > self.matched,
            Mode::Stream => prev < self.next && prev > self.matched,
            Mode::AwaitSnapshot | Mode::Snapshot { .. } => false,
        };
        if !is_news {
            return false;
        }
        // Below the base nothing can agree but through a snapshot; `next` then tells so.
        let bound = hint.index.min(Index(prev.0 - 1));
        let agreed = log.last_at_most(hint.term, bound).map_or(Index::ZERO, |id| id.index);
        self.next = agreed.next().max(self.matched.next());
        self.window.clear();
        self.mode = Mode::Probe { sent: None };
        true
    }
}
