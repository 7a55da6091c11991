//! The detector as a value: what it holds, its timers and its inputs.

use super::callers::Callers;
use super::contacts::Contacts;
use super::exchange::Transfers;
use super::health::Health;
use super::members::Members;
use super::planted::Bug;
use super::probing::Probe;
use super::relays::Relays;
use super::rumors::RumorQueue;
use super::timing;
use super::{
    Event, Gate, Input, Liveness, METADATA_BYTES_MAX, Metadata, OpenGate, Options, Output,
    PacketKind, Scope, TICKET_BYTES_MAX, ViewEntry,
};
use crate::base::{Epoch, Incarnation, Machine, NodeId, Now, Outputs, Prng, Wake};
use crate::wire;
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::SocketAddr;
use core::time::Duration;

/// Removed members remembered, so that rumors do not bring them back. Identities are not reused, so
/// forgetting the oldest only risks that a very late rumor shows it for a while.
const REMOVED_MAX: usize = 4_096;

/// News travel on this many gossip rounds per probe period, besides riding on probes.
const GOSSIP_PER_PERIOD: u32 = 5;

/// Members told in one gossip round.
const GOSSIP_FANOUT: usize = 3;

/// Members told of a good-bye, twice each: it is said once, and nobody asks for it again.
const LEAVE_FANOUT: usize = 16;

/// Callers told in one gossip round, by a node that tracks a slice.
const CALLERS_FANOUT: usize = 2;

/// The failure detector of one node.
#[derive(Debug)]
pub struct Swim {
    pub(super) id: NodeId,
    pub(super) epoch: Epoch,
    /// The latest that anybody spoke in.
    pub(super) heard_epoch: Epoch,
    pub(super) options: Options,
    pub(super) rng: Prng,
    pub(super) own: Own,
    pub(super) gate: Box<dyn Gate>,
    pub(super) members: Members,
    /// Whom of the cluster it tracks.
    pub(super) scope: Scope,
    /// Somebody of the slice is not in the view.
    pub(super) is_seeking: bool,
    pub(super) callers: Callers,
    pub(super) removed: Removed,
    pub(super) rumors: RumorQueue,
    pub(super) contacts: Contacts,
    pub(super) health: Health,
    pub(super) probe: Option<Probe>,
    pub(super) relays: Relays,
    /// Those this node accused itself: they are asked again until it is settled.
    pub(super) accused: BTreeSet<NodeId>,
    pub(super) last_number: u64,
    pub(super) transfers: Transfers,
    /// Not before then is anybody asked for all it knows, except by the periodic sync.
    pub(super) sync_again_at: Now,
    pub(super) observed: Option<SocketAddr>,
    pub(super) next_probe: Now,
    next_rejoin: Now,
    pub(super) next_sync: Now,
    /// Set while there is news to spread.
    next_gossip: Option<Now>,
    /// When this node asked to be woken, as of the last input.
    promised: Option<Now>,
    #[cfg(test)]
    pub(super) planted: Option<Bug>,
}

/// What a node says of itself.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) phase: Phase,
    pub(super) incarnation: Incarnation,
    pub(super) address: SocketAddr,
    pub(super) metadata: Metadata,
    /// Empty while it has none.
    pub(super) ticket: Bytes,
    pub(super) since: Now,
}

/// Whether this node takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Present,
    /// It has said good-bye: nothing is sent or answered any more.
    Gone,
}

/// Identities removed for good, bounded.
#[derive(Debug, Default)]
pub(super) struct Removed {
    set: BTreeSet<NodeId>,
    order: VecDeque<NodeId>,
}

impl Removed {
    pub(super) fn contains(&self, node: NodeId) -> bool {
        self.set.contains(&node)
    }

    fn insert(&mut self, node: NodeId) {
        if self.set.insert(node) {
            self.order.push_back(node);
        }
        if self.order.len() > REMOVED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        assert!(self.set.len() == self.order.len(), "each removed one has its place in the order");
    }
}

impl Swim {
    /// A node that knows nobody. It begins at incarnation 0; the others teach it a higher one if
    /// they remember an earlier life.
    ///
    /// # Panics
    /// When the metadata is larger than [`METADATA_BYTES_MAX`]: nobody could be told of this node.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is of a type of its own, and asked for once"
    )]
    pub fn new(
        id: NodeId,
        epoch: Epoch,
        address: SocketAddr,
        metadata: Metadata,
        options: Options,
        seed: u64,
        now: Now,
    ) -> Swim {
        assert!(
            wire::metadata_len(&metadata) <= METADATA_BYTES_MAX,
            "what a node says of itself must fit into a packet"
        );
        assert!(options.probe_timeout < options.probe_period, "a probe ends within its period");
        let mut rng = Prng::seeded(seed);
        // Nodes started together must not probe together.
        let next_probe = now + rng.duration(Duration::ZERO, options.probe_period);
        let next_sync = now + rng.duration(options.probe_period, options.probe_period * 30);
        // An answer to an earlier process of this node must not pass for one to this process.
        let last_number = rng.draw() >> 32;
        let own = Own {
            phase: Phase::Present,
            incarnation: Incarnation::ZERO,
            address,
            metadata,
            ticket: Bytes::new(),
            since: now,
        };
        let mut swim = Swim {
            id,
            epoch,
            heard_epoch: epoch,
            options,
            rng,
            own,
            gate: Box::new(OpenGate),
            members: Members::default(),
            scope: Scope::All,
            is_seeking: false,
            callers: Callers::default(),
            removed: Removed::default(),
            rumors: RumorQueue::default(),
            contacts: Contacts::default(),
            health: Health::default(),
            probe: None,
            relays: Relays::default(),
            accused: BTreeSet::new(),
            last_number,
            transfers: Transfers::default(),
            sync_again_at: now,
            observed: None,
            next_probe,
            next_rejoin: now,
            next_sync,
            next_gossip: None,
            promised: None,
            #[cfg(test)]
            planted: None,
        };
        swim.spread_own();
        swim
    }

    /// Begins at a remembered incarnation, which spares the others a correction.
    #[must_use]
    pub fn resumed_at(mut self, incarnation: Incarnation) -> Swim {
        assert!(incarnation >= self.own.incarnation, "M2: an incarnation never goes back");
        self.own.incarnation = incarnation;
        self.spread_own();
        self
    }

    /// Believes in members only as this gate admits them (M3).
    #[must_use]
    pub fn behind(mut self, gate: Box<dyn Gate>) -> Swim {
        self.gate = gate;
        self
    }

    /// Shows this ticket to the gates of the others.
    ///
    /// # Panics
    /// When it is larger than [`TICKET_BYTES_MAX`]: nobody could be told of this node.
    #[must_use]
    pub fn with_ticket(mut self, ticket: Bytes) -> Swim {
        assert!(ticket.len() <= TICKET_BYTES_MAX, "a ticket must fit into a packet");
        self.own.ticket = ticket;
        self.spread_own();
        self
    }

    /// All this node knows of, in id order, itself included.
    pub fn view(&self, now: Now) -> Vec<ViewEntry> {
        let mut view: Vec<ViewEntry> =
            self.members.iter().map(|(node, member)| member.view(node)).collect();
        let place = view.partition_point(|entry| entry.node < self.id);
        view.insert(place, self.own_entry(now));
        view
    }

    /// One row of the view; of another node only.
    pub fn entry(&self, node: NodeId) -> Option<ViewEntry> {
        self.members.find(node).map(|member| member.view(node))
    }

    /// Who is alive (suspects are not), in id order, itself included while it takes part.
    pub fn alive(&self) -> impl Iterator<Item = NodeId> {
        let own = (self.own.phase == Phase::Present).then_some(self.id);
        let others = self.members.iter();
        let others = others.filter(|(_, member)| member.standing.liveness() == Liveness::Alive);
        let mut own = own.into_iter().peekable();
        let mut others = others.map(|(node, _)| node).peekable();
        core::iter::from_fn(move || match (own.peek(), others.peek()) {
            (Some(own_id), Some(other)) if own_id > other => others.next(),
            (Some(_), _) => own.next(),
            (None, _) => others.next(),
        })
    }

    /// This node's present life.
    pub fn incarnation(&self) -> Incarnation {
        self.own.incarnation
    }

    /// The epoch this node speaks in.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Where a node is reached, or was when last heard of.
    pub fn address_of(&self, node: NodeId) -> Option<SocketAddr> {
        if node == self.id {
            return Some(self.own.address);
        }
        self.members.find(node).map(|member| member.address)
    }

    fn own_entry(&self, now: Now) -> ViewEntry {
        ViewEntry {
            node: self.id,
            state: match self.own.phase {
                Phase::Present => Liveness::Alive,
                Phase::Gone => Liveness::Left,
            },
            incarnation: self.own.incarnation,
            address: self.own.address,
            metadata: self.own.metadata.clone(),
            since: self.own.since,
            heard: now,
            by: self.id,
        }
    }

    /// How many nodes take part, as this one knows.
    pub(super) fn size(&self) -> usize {
        self.members.live() + 1
    }

    pub(super) fn retransmit_limit(&self) -> u32 {
        timing::retransmit_limit(&self.options, self.size())
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

impl Machine for Swim {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Input, out: &mut Outputs<Output>) {
        if self.own.phase == Phase::Gone {
            return;
        }
        match input {
            Input::Tick => self.on_tick(now, out),
            Input::Packet { from, packet } => self.on_packet(now, from, packet, out),
            Input::Stream { from, packet } => self.on_stream(now, from, packet, out),
            Input::Contacts(addresses) => self.on_contacts(addresses, out),
            Input::Seek(addresses) => self.on_seek(addresses, out),
            Input::Heard(node) => self.on_heard(now, node),
            Input::Describe(metadata) => self.on_describe(metadata, out),
            Input::Ticket(ticket) => self.on_ticket(ticket, out),
            Input::Reside(address) => self.on_reside(address),
            Input::Track(scope) => self.on_track(scope, out),
            Input::Outlive(ended) => {
                self.own.incarnation = self.own.incarnation.max(ended.next());
                self.spread_own();
            }
            Input::Epoch(epoch) => self.epoch = self.epoch.max(epoch),
            Input::Leave => self.on_leave(out),
            Input::Forget(node) => self.on_forget(node),
        }
        if self.next_gossip.is_none() && self.has_news() {
            self.next_gossip = Some(now + self.gossip_period());
        }
        self.promised = self.deadline().map(|(at, _)| at.max(now));
    }

    fn deadline(&self) -> Option<(Now, Wake)> {
        if self.own.phase == Phase::Gone {
            return None;
        }
        let is_watching = self.members.live() > 0;
        let probe = is_watching.then_some((self.next_probe, Wake("probe")));
        let next_step = self.probe.as_ref().and_then(Probe::next_step_at);
        let sync = is_watching.then_some((self.next_sync, Wake("sync")));
        let rejoin = self.has_to_rejoin().then_some((self.next_rejoin, Wake("rejoin")));
        let all = [
            probe,
            next_step.map(|at| (at, Wake("next-way-to-probe"))),
            self.members.next_timer().map(|(at, _)| (at, Wake("suspicion"))),
            self.relays.deadline().map(|at| (at, Wake("relay"))),
            self.transfers.deadline().map(|at| (at, Wake("transfer"))),
            self.next_gossip.map(|at| (at, Wake("gossip"))),
            sync,
            rejoin,
        ];
        all.into_iter().flatten().min()
    }
}

impl Swim {
    fn on_tick(&mut self, now: Now, out: &mut Outputs<Output>) {
        let late = now.since(self.promised.unwrap_or(now));
        if late >= self.options.probe_period && !self.has(Bug::StoppedNodeJudges) {
            self.forgive_all(late);
        }
        self.end_relays(now, out);
        self.end_standings(now, out);
        self.go_on_probing(now, out);
        if self.next_rejoin <= now && self.has_to_rejoin() {
            self.next_rejoin = now + self.options.rejoin_period;
            self.rejoin(out);
        }
        if self.next_sync <= now {
            self.compare(now, out);
        }
        if self.transfers.deadline().is_some_and(|at| at <= now) {
            self.transfer(now, out);
        }
        if self.next_gossip.is_some_and(|at| at <= now) {
            self.gossip(out);
            self.next_gossip = self.has_news().then(|| now + self.gossip_period());
        }
    }

    /// This process itself was stopped or starved for `late`: what it did not hear meanwhile is no
    /// evidence against anybody (M1).
    fn forgive_all(&mut self, late: Duration) {
        self.health.worsen(1);
        self.probe = None;
        for node in self.members.suspects() {
            self.members.change(node, &mut self.rng, |member| member.postpone(late));
        }
    }

    fn has_news(&self) -> bool {
        !self.rumors.is_empty() && self.members.live() > 0
    }

    fn gossip(&mut self, out: &mut Outputs<Output>) {
        let targets = self.members.sample(GOSSIP_FANOUT, &mut self.rng, |_, _| true);
        for target in targets {
            if !self.rumors.is_empty() {
                self.send_to_all(&[target], PacketKind::Gossip, out);
            }
        }
        // What is said about members of a slice concerns their other watchers, and those are among
        // this node's own; so does what it says of itself.
        for address in self.callers.sample(CALLERS_FANOUT, &mut self.rng) {
            if !self.rumors.is_empty() {
                self.send(address, PacketKind::Gossip, &[], out);
            }
        }
    }

    pub(super) fn gossip_period(&self) -> Duration {
        self.options.probe_period / GOSSIP_PER_PERIOD
    }

    /// Somebody may be out there whom only asking will find.
    fn has_to_rejoin(&self) -> bool {
        self.is_seeking || self.members.down() > 0 || self.contacts.is_any_due(self.is_alone())
    }

    fn is_alone(&self) -> bool {
        self.members.live() == 0
    }

    fn rejoin(&mut self, out: &mut Outputs<Output>) {
        let again = self.is_alone() || self.members.down() > 0;
        for address in self.contacts.turn(again) {
            self.ping_contact(address, out);
        }
        self.ping_down_members(out);
        self.seek_tracked(out);
    }

    fn on_contacts(&mut self, addresses: Vec<SocketAddr>, out: &mut Outputs<Output>) {
        for address in self.contacts.replace(addresses, self.own.address) {
            self.ping_contact(address, out);
        }
    }

    fn on_describe(&mut self, metadata: Metadata, out: &mut Outputs<Output>) {
        if wire::metadata_len(&metadata) > METADATA_BYTES_MAX {
            out.push(Output::Report(Event::Dropped { why: "own metadata is too large to gossip" }));
        } else if metadata != self.own.metadata {
            self.own.metadata = metadata;
            self.own.incarnation = self.own.incarnation.next();
            self.spread_own();
        }
    }

    fn on_ticket(&mut self, ticket: Bytes, out: &mut Outputs<Output>) {
        if ticket.len() > TICKET_BYTES_MAX {
            out.push(Output::Report(Event::Dropped { why: "own ticket is too large to gossip" }));
        } else if ticket != self.own.ticket {
            self.own.ticket = ticket;
            self.own.incarnation = self.own.incarnation.next();
            self.spread_own();
        }
    }

    fn on_reside(&mut self, address: SocketAddr) {
        if address != self.own.address {
            self.own.address = address;
            self.own.incarnation = self.own.incarnation.next();
            self.observed = None;
            self.spread_own();
        }
    }

    fn on_leave(&mut self, out: &mut Outputs<Output>) {
        self.own.phase = Phase::Gone;
        let told = self.members.sample(LEAVE_FANOUT, &mut self.rng, |_, _| true);
        for _ in 0..2 {
            self.send_to_all(&told, PacketKind::Gossip, out);
            for address in self.callers.addresses() {
                self.send(address, PacketKind::Gossip, &[self.id], out);
            }
        }
    }

    fn on_forget(&mut self, node: NodeId) {
        if node == self.id {
            return;
        }
        self.removed.insert(node);
        self.callers.remove(node);
        self.drop_member(node);
    }
}
