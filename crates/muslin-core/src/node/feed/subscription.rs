//! The member that is fed.

use super::{
    Feed, FeedId, FeedRefusal, Health, Node, Output, PeerMessage, Piece, Told, choice, say,
};
use crate::base::mutant::{self, Mutant};
use crate::base::{GroupId, Index, LogId, NodeId, Now, Outputs};
use crate::node::Event;
use crate::raft::{self, Arriving, Entries, Fed, Message, Role, Standing, Unbound};
use crate::swim::Liveness;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

/// Bytes on their way to a member at a time: enough for a busy record over a slow line (50 ms at
/// 5 MB/s), and a voter that feeds a few hundred holds no more than a few dozen megabytes.
const CREDIT: u64 = 256 << 10;

/// A voter that does not answer a subscription for so long is left.
const ANSWER_PATIENCE: Duration = Duration::from_millis(800);

/// A voter that fed and says nothing for so long is left: it misses a few pulses.
const SILENCE_MAX: Duration = Duration::from_millis(2_500);

/// A voter that has known no leader for so long, or nothing younger of what that leader told, is
/// left: it may be cut off from the others.
const LEADERLESS_MAX: Duration = Duration::from_secs(3);

/// One that was left or refused is not asked again for so long; each time that it happens anew,
/// twice as long.
const AVOID_FOR: Duration = Duration::from_secs(3);

/// Beyond this it does not double, and after this it is forgotten that it was left.
const AVOID_MAX: Duration = Duration::from_secs(60);

/// A leader that a voter tells of counts as known for so long.
const LEADER_KNOWN_FOR: Duration = Duration::from_secs(3);

/// A learner that the leader does not speak to for so long subscribes: it may have been taken out
/// of the configuration, of which it is not told.
const LEARNER_PATIENCE: Duration = Duration::from_secs(1);

/// A voter, by the configuration it knows, does so after this: there may be no leader at all, and
/// the others refuse it while it votes.
const VOTER_PATIENCE: Duration = Duration::from_secs(5);

/// After a gap a member subscribes anew, no more often than this.
const GAP_PAUSE: Duration = Duration::from_millis(50);

/// Most voters that are remembered from a refusal: no configuration has more.
const HINTS_MAX: usize = 16;

/// Who feeds this node.
#[derive(Clone, Debug, Default)]
pub(in crate::node) struct Subscription {
    current: Option<Current>,
    /// The last number drawn; begins at random, so that what an earlier process of this node asked
    /// for is told apart.
    number: u64,
    avoided: BTreeMap<NodeId, Avoided>,
    /// Who votes, as a node said that refused.
    hints: Vec<NodeId>,
    /// When the leader itself spoke last.
    replicated: Option<Now>,
    next_gap: Now,
}

/// A voter that was left, or refused.
#[derive(Clone, Copy, Debug)]
struct Avoided {
    left: Now,
    lasts: Duration,
}

#[derive(Clone, Debug)]
struct Current {
    by: NodeId,
    session: FeedId,
    asked: Now,
    heard: Option<Now>,
    /// When it last knew a leader; when it was asked, before it has spoken.
    led: Now,
    incoming: Option<Arriving>,
}

impl Subscription {
    pub(in crate::node) fn numbered_from(number: u64) -> Subscription {
        Subscription { number, ..Subscription::default() }
    }

    /// Takes note of what the leader itself sends.
    pub(in crate::node) fn note(&mut self, now: Now, message: &Message) {
        if let Message::Unbound(
            Unbound::Append { .. } | Unbound::Heartbeat { .. } | Unbound::SnapshotChunk { .. },
        ) = message
        {
            self.replicated = Some(now);
        }
    }

    /// By whom, since when, and when it was heard last.
    pub(super) fn told_by(&self) -> Option<(NodeId, Now, Option<Now>)> {
        self.current.as_ref().map(|current| (current.by, current.asked, current.heard))
    }

    fn is_avoided(&self, now: Now, node: NodeId) -> bool {
        self.avoided.get(&node).is_some_and(|avoided| now < avoided.left + avoided.lasts)
    }

    fn avoid(&mut self, now: Now, node: NodeId) {
        let before = self.avoided.get(&node);
        let lasts = before.map_or(AVOID_FOR, |avoided| (avoided.lasts * 2).min(AVOID_MAX));
        self.avoided.insert(node, Avoided { left: now, lasts });
    }

    /// Of these the one that was left first, a while ago.
    fn most_rested(&self, now: Now, nodes: impl Iterator<Item = NodeId>) -> Option<NodeId> {
        let left = nodes.filter_map(|node| Some((self.avoided.get(&node)?.left, node)));
        left.min().filter(|(left, _)| *left + AVOID_FOR <= now).map(|(_, node)| node)
    }
}

/// Whom to ask.
impl Node {
    /// Sees to it that this node is fed by whoever is to feed it, if it is to be fed. With the
    /// other chores.
    pub(in crate::node) fn seek_feed(&mut self, now: Now, out: &mut Outputs<Output>) {
        self.subscription.avoided.retain(|_, avoided| now < avoided.left + AVOID_MAX * 2);
        if !self.wants_feed(now) {
            return self.leave_feed(out);
        }
        if let Some(current) = &self.subscription.current {
            let by = current.by;
            let is_silent = match current.heard {
                Some(heard) => heard + SILENCE_MAX <= now,
                None => current.asked + ANSWER_PATIENCE <= now,
            };
            if is_silent || current.led + LEADERLESS_MAX <= now {
                self.subscription.avoid(now, by);
                self.leave_feed(out);
            }
        }
        let (current, best) = (self.subscription.current.as_ref(), self.choose_voter(now));
        let is_content = match (current, best) {
            (_, None) => true,
            // Another one would begin the snapshot from its start.
            (Some(current), Some(best)) => current.by == best || current.incoming.is_some(),
            (None, Some(_)) => false,
        };
        if let Some(best) = best.filter(|_| !is_content) {
            self.leave_feed(out);
            self.subscribe(now, best, out);
        }
    }

    /// Whether the leader does not replicate to this node.
    fn wants_feed(&self, now: Now) -> bool {
        if self.is_stopping || self.raft.role() == Role::Leader {
            return false;
        }
        let configuration = self.raft.configuration();
        let patience =
            if configuration.is_voter(self.options.id) { VOTER_PATIENCE } else { LEARNER_PATIENCE };
        let is_in = configuration.members().contains(&self.options.id);
        let spoken = match self.subscription.replicated {
            Some(at) => at,
            None if is_in => self.started,
            None => return true,
        };
        spoken + patience <= now
    }

    /// The voter that comes first, of those that seem to live and were not left lately; if there is
    /// none, any voter; if that helps nobody, any member, who knows who votes.
    fn choose_voter(&self, now: Now) -> Option<NodeId> {
        let own = self.options.id;
        let is_open = |node: &NodeId| *node != own && !self.subscription.is_avoided(now, *node);
        let is_alive = |node: &NodeId| self.is_believed_alive(now, *node);
        let first = |nodes: Vec<NodeId>| choice::in_order(own, nodes.into_iter()).first().copied();
        let hints = self.subscription.hints.iter().copied().filter(is_open);
        if let Some(hint) = first(hints.filter(is_alive).collect()) {
            return Some(hint);
        }
        let voters = &self.raft.configuration().voters;
        let open = voters.iter().copied().filter(is_open);
        if let Some(voter) = first(open.clone().filter(is_alive).collect()) {
            return Some(voter);
        }
        let avoided = voters.iter().copied().filter(|voter| *voter != own && is_alive(voter));
        if avoided.clone().next().is_some() {
            // All were left. The cluster may have had no leader for a while.
            return self.subscription.most_rested(now, avoided);
        }
        let seen = self.swim.view(now).into_iter();
        let seen = seen.filter(|entry| entry.state == Liveness::Alive).map(|entry| entry.node);
        let others = seen.chain(self.state.members().keys().copied()).filter(is_open);
        first(open.collect()).or_else(|| first(others.collect()))
    }

    fn subscribe(&mut self, now: Now, to: NodeId, out: &mut Outputs<Output>) {
        self.subscription.number = self.subscription.number.wrapping_add(1);
        let session = FeedId(self.subscription.number);
        self.subscription.current =
            Some(Current { by: to, session, asked: now, heard: None, led: now, incoming: None });
        let from = self.raft.position();
        say(to, Feed::Subscribe { session, from, credit: CREDIT }, out);
    }

    fn leave_feed(&mut self, out: &mut Outputs<Output>) {
        if let Some(current) = self.subscription.current.take() {
            say(current.by, Feed::Stop { session: current.session }, out);
        }
    }

    /// What was told does not follow: something was lost.
    fn on_gap(&mut self, now: Now, out: &mut Outputs<Output>) {
        let Some(current) = &self.subscription.current else { return };
        if now >= self.subscription.next_gap {
            self.subscription.next_gap = now + GAP_PAUSE;
            let (by, led) = (current.by, current.led);
            self.subscribe(now, by, out);
            if let Some(current) = &mut self.subscription.current {
                current.led = led;
            }
        }
    }
}

/// What is told.
impl Node {
    /// Whether this is what this node subscribed to; takes note of it.
    pub(super) fn hears_feed(
        &mut self,
        now: Now,
        (from, session): (NodeId, FeedId),
        told: Told,
        out: &mut Outputs<Output>,
    ) -> bool {
        let current = self.subscription.current.as_mut();
        let Some(current) = current.filter(|one| one.by == from && one.session == session) else {
            say(from, Feed::Stop { session }, out);
            return false;
        };
        let is_first = current.heard.is_none();
        current.heard = Some(now);
        let age = told.age_ms.map(Duration::from_millis);
        if told.standing.leader.is_some() && age.is_some_and(|age| age < LEADERLESS_MAX) {
            current.led = now;
            self.subscription.avoided.remove(&from);
        }
        self.subscription.hints.clear();
        if is_first {
            out.push(Output::Report(Event::FeedBegun { by: from }));
        }
        true
    }

    pub(super) fn on_fed_entries(
        &mut self,
        now: Now,
        (prev, entries): (LogId, Entries),
        told: Told,
        out: &mut Outputs<Output>,
    ) {
        let last = entries.last().map_or(Index::ZERO, |entry| entry.id.index);
        self.take_fed(now, (prev, entries), told.standing, out);
        self.after_fed(now, last, told, out);
    }

    pub(super) fn on_fed_pulse(
        &mut self,
        now: Now,
        upto: Index,
        told: Told,
        out: &mut Outputs<Output>,
    ) {
        self.take_fed(now, (LogId::ZERO, Entries::new()), told.standing, out);
        self.after_fed(now, upto, told, out);
    }

    fn take_fed(
        &mut self,
        now: Now,
        (prev, entries): (LogId, Entries),
        standing: Standing,
        out: &mut Outputs<Output>,
    ) {
        let fed = Fed { prev, entries, standing, patience: LEADER_KNOWN_FOR };
        self.handle_raft(now, raft::Input::Fed(fed), out);
    }

    /// Says how far this node is, when its disk is; asks again if something is missing.
    fn after_fed(&mut self, now: Now, told_upto: Index, told: Told, out: &mut Outputs<Output>) {
        let upto = self.raft.commit();
        if upto < told_upto && !self.raft.stands_still() {
            return self.on_gap(now, out);
        }
        self.note_fed_fresh(now, told);
        self.say_taken(upto, out);
    }

    fn say_taken(&mut self, upto: Index, out: &mut Outputs<Output>) {
        let Some(current) = &self.subscription.current else { return };
        let is_full = self.raft.stands_still();
        let health = Health { is_full, is_rebuilding: self.raft.is_rebuilding() };
        let message = PeerMessage::Feed(Feed::Taken { session: current.session, upto, health });
        // The credit comes back when the disk has it, so that nothing piles up before a slow one.
        let after = Some((GroupId::CONTROL, self.raft.write_covering(upto)));
        out.push(Output::Send { to: current.by, after, message });
    }

    pub(super) fn on_fed_piece(
        &mut self,
        now: Now,
        piece: Piece,
        told: Told,
        out: &mut Outputs<Output>,
    ) {
        if piece.cluster != self.options.cluster && !mutant::is_active(Mutant::SnapshotOfAnyCluster)
        {
            return self.leave_feed(out);
        }
        let last = piece.meta.last;
        // Without room for it there is none for its pieces.
        if last.index <= self.raft.commit() || self.raft.stands_still() {
            return self.say_taken(self.raft.commit(), out);
        }
        let Some(current) = &mut self.subscription.current else { return };
        let total = piece.total;
        let mut received = Arriving::take(&mut current.incoming, piece.chunk());
        if received == total
            && let Some(incoming) = current.incoming.take()
        {
            if let Some(snapshot) = incoming.whole() {
                let (standing, patience) = (told.standing, LEADER_KNOWN_FOR);
                let input = raft::Input::FedSnapshot { snapshot, standing, patience };
                self.handle_raft(now, input, out);
                return self.say_taken(self.raft.commit(), out);
            }
            received = 0;
        }
        let Some(current) = &self.subscription.current else { return };
        say(current.by, Feed::PieceTaken { session: current.session, last, received }, out);
    }

    pub(super) fn on_feed_refused(
        &mut self,
        now: Now,
        (from, session): (NodeId, FeedId),
        (why, voters): (FeedRefusal, &[NodeId]),
        out: &mut Outputs<Output>,
    ) {
        let current = self.subscription.current.as_ref();
        if !current.is_some_and(|one| one.by == from && one.session == session) {
            return;
        }
        self.subscription.current = None;
        self.subscription.avoid(now, from);
        self.subscription.hints = voters.iter().copied().take(HINTS_MAX).collect();
        out.push(Output::Report(Event::FeedRefused { by: from, why }));
        if why == FeedRefusal::NoVoter {
            self.seek_feed(now, out);
        }
    }

    /// What is applied here is as old as what the voter told, at most.
    fn note_fed_fresh(&mut self, now: Now, told: Told) {
        let Some(age) = told.age_ms.map(Duration::from_millis) else { return };
        if self.raft.commit() >= told.standing.commit && !self.raft.is_rebuilding() {
            let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
            self.freshness.note_at(Now(now.0.saturating_sub(age)));
        }
    }
}
