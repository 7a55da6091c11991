//! A whole node as what a world is made of.

use super::asks::Asks;
use super::clients::Client;
use super::groups::{GroupLedger, machines};
use super::strangers::{Doorkeeper, strangers, ticket_of};
use super::trace;
use crate::checkers::Broken;
use crate::checkers::leases::Leases;
use crate::checkers::ledger::Ledger;
use crate::checkers::locks::Locks;
use crate::checkers::logs::Fresh;
use crate::checkers::once::Once;
use crate::checkers::seats::Seats;
use crate::checkers::timed::Timed;
use crate::host::{address_in, address_of, id_of, place_of_address};
use crate::net::Fate;
use crate::profile::Profile;
use crate::replica::{Promise, View};
use crate::subject::{Act, Subject, Unsettled};
use crate::time::Time;
use crate::trace::{Trace, WordHash};
use crate::world::{Happening, World};
use bytes::Bytes;
use muslin_core::base::{ClusterId, GroupId, Index, LogId, NodeId, Now, Outputs, PersistId, Sum64};
use muslin_core::node::{self, CONTROL_ROLE, Event, Input, Node, Output, PeerMessage, Request};
use muslin_core::raft::{
    self, AppendResult, Bound, Configuration, DiskRoom, Message, Raft, SessionId, SnapshotMeta,
    Unbound, Write,
};
use muslin_core::state::{Command, CommandKind, Founding, Member, Ring, RingRoom, Token};
use muslin_core::swim::{self, Swim};
use muslin_core::wire;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// The one cluster of a simulation.
pub(super) const CLUSTER: ClusterId = ClusterId(0x006d_7573_6c69_6e00);

/// The token of clusters that admit.
pub(super) const TOKEN: &str = "sim";

/// A token that admits one node.
pub(super) const TOKEN_FOR_ONE: &str = "one";

/// What stands in for the hash of the token's secret.
pub(super) const SECRET_HASH: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A world of whole nodes.
pub(crate) type Nodes = World<Node>;

/// Who is around the nodes, and what they are held against.
pub(crate) struct Crowd {
    founding: Founding,
    pub(crate) ledger: Ledger,
    pub(super) leases: Leases,
    pub(super) timed: Timed,
    pub(super) locks: Locks,
    pub(super) once: Once,
    pub(super) asks: Asks,
    pub(super) clients: Vec<Client>,
    /// The newest revision that anybody asked to compact to.
    pub(super) compact_asked: u64,
    pub(super) last_lease: u64,
    pub(super) groups: GroupLedger,
    /// How far the operator is with what it does besides admitting and removing.
    pub(super) ghost_step: u8,
    pub(super) seats: Seats,
    /// Of another cluster.
    pub(super) strangers: Vec<Swim>,
    /// How often the operator has asked for what it is about.
    pub(super) tries: u32,
    /// The last wall clock time in an admission: no two have the same.
    pub(super) last_unix_ms: u64,
    /// Looks at everything so far.
    looks: u64,
}

/// What the driver of a node keeps for it.
pub(crate) struct Connections {
    routes: BTreeMap<NodeId, SocketAddr>,
    refused: BTreeSet<NodeId>,
    /// When it heard others in a later epoch: it asks for papers of it.
    outpaced: Option<Time>,
    /// What it told of changes.
    pub(super) ring: Ring,
}

impl Connections {
    /// The ring is small: most that lag fall behind it.
    fn new(draw: u64) -> Connections {
        let room = RingRoom { bytes: 32 << 10, events: 2 + (draw % 64) as usize };
        let (routes, refused, outpaced) = (BTreeMap::new(), BTreeSet::new(), None);
        Connections { routes, refused, outpaced, ring: Ring::new(room) }
    }
}

/// A world of nodes from a profile.
pub(crate) fn world(seed: u64, profile: Profile, trace: Trace) -> Nodes {
    World::new(seed, profile, trace, |profile| {
        let founding = founding_of(profile);
        Crowd {
            ledger: Ledger::new(&founding),
            founding,
            leases: Leases::new(profile.machines.drift_ppm.unsigned_abs()),
            timed: Timed::new(profile.machines.drift_ppm.unsigned_abs()),
            locks: Locks::default(),
            once: Once::default(),
            asks: Asks::default(),
            clients: Vec::new(),
            compact_asked: 0,
            last_lease: 0,
            groups: GroupLedger::default(),
            ghost_step: 0,
            seats: Seats::default(),
            strangers: strangers(seed, profile),
            tries: 0,
            last_unix_ms: 0,
            looks: 0,
        }
    })
}

fn founding_of(profile: &Profile) -> Founding {
    let members = (0..profile.founders).map(|place| member_at(place, profile));
    let token = Token {
        id: TOKEN.into(),
        secret_hash: Bytes::from_static(SECRET_HASH),
        expires_unix_ms: u64::MAX,
        ..Token::default()
    };
    let for_one = Token { id: TOKEN_FOR_ONE.into(), uses_left: 1, ..token.clone() };
    let settings = Some(profile.settings);
    let tokens = vec![token, for_one];
    Founding { members: members.collect(), tokens, settings, ..Founding::default() }
}

/// What no member of the control group performs.
const WORKER_ROLE: &str = "worker";

/// What the first machine that is to be fed performs where members are tended, and the last one
/// needs to be let in.
const STORE_ROLE: &str = "store";

/// The member on a machine: the first ones may vote.
pub(super) fn member_at(place: usize, profile: &Profile) -> Member {
    let id = id_of(place);
    let role = if place < profile.control { CONTROL_ROLE } else { WORKER_ROLE };
    let plain = Member {
        id: id.0,
        name: format!("{id:?}"),
        address: address_of(place).to_string(),
        roles: vec![role.into()],
        ..Member::default()
    };
    if !profile.tended {
        return plain;
    }
    let mut roles = plain.roles.clone();
    roles.extend((place == profile.control).then(|| STORE_ROLE.into()));
    let needs = (place + 1 == profile.nodes).then(|| STORE_ROLE.into());
    let zone = if place.is_multiple_of(2) { "even" } else { "odd" }.into();
    Member { roles, zone, requires_for_bootstrap: needs.into_iter().collect(), ..plain }
}

/// The wall clock of a machine: up to two seconds off.
const WALL_OFF_MS: u64 = 2_000;

/// So long a node waits for papers of a later epoch.
const PAPERS_TAKE: Duration = Duration::from_millis(500);

/// How often a node is told what its wall clock says, in looks at everything.
const LOOKS_PER_CLOCK: u64 = 10;

impl Subject for Node {
    type Input = Input;
    type Output = Output;
    type Message = PeerMessage;
    type Crowd = Crowd;
    type Local = Connections;

    fn start(world: &mut Nodes, place: usize, now: Now) -> (Node, Connections) {
        let draw = world.draws.process.draw();
        world.move_house(place);
        let host = &world.hosts[place];
        let profile = &world.profile;
        let mut options = node::Options::new(host.id, CLUSTER, host.address);
        options.boot = host.boot;
        // As a joiner is told, and a member has it on its disk.
        options.epoch = world.crowd.ledger.epoch();
        options.metadata.name = format!("{:?}", host.id);
        options.founding = world.crowd.founding.clone();
        options.raft = profile.raft.clone();
        options.raft.cluster = CLUSTER;
        options.swim = profile.swim.clone();
        if profile.tended {
            options.gate = Box::new(Doorkeeper(CLUSTER));
            options.ticket = ticket_of(CLUSTER, host.id);
        }
        options.request_timeout = profile.request_timeout;
        options.snapshot_entries = profile.snapshot_entries;
        options.snapshot_piece_bytes = profile.snapshot_piece_bytes;
        options.groups.snapshot_entries = profile.snapshot_entries;
        options.groups.machines = machines(options.groups.machines);
        let recovered = node::Recovered {
            raft: host.disk.recovered(GroupId::CONTROL),
            snapshot: host.disk.snapshot(GroupId::CONTROL),
            groups: host
                .disk
                .groups()
                .map(|group| (group, recovered_of(&host.disk, group)))
                .collect(),
        };
        (Node::new(options, recovered, draw, now), Connections::new(draw))
    }

    fn handle(&mut self, now: Now, input: Input, out: &mut Outputs<Output>) {
        muslin_core::base::Machine::handle(self, now, input, out);
    }

    fn flush(&mut self, now: Now, out: &mut Outputs<Output>) {
        muslin_core::base::Machine::handle(self, now, Input::Flush, out);
    }

    fn deadline(&self) -> Option<Now> {
        muslin_core::base::Machine::deadline(self).map(|(due, _)| due)
    }

    fn survives_damage() -> bool {
        true
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn shutdown() -> Input {
        Input::Shutdown
    }

    fn persisted(group: GroupId, id: PersistId) -> Input {
        Input::Persisted { group, id }
    }

    fn saved(group: GroupId, index: Index) -> Input {
        Input::Saved { group, index }
    }

    fn disk(room: DiskRoom) -> Input {
        Input::Disk(room)
    }

    fn received(from: NodeId, message: PeerMessage) -> Input {
        Input::Peer { from, message }
    }

    fn durable(input: &Input) -> Option<(GroupId, PersistId)> {
        match input {
            Input::Persisted { group, id } => Some((*group, *id)),
            _ => None,
        }
    }

    fn write(output: &Output) -> Option<(GroupId, &Write)> {
        match output {
            Output::Persist { group, write, .. } => Some((*group, write)),
            _ => None,
        }
    }

    fn act(output: Output) -> Act<Node> {
        match output {
            Output::Persist { group, id, write } => Act::Persist { group, id, write },
            Output::Send { to, after, message } => Act::Send { to, after, message },
            Output::Save { group, snapshot, keep_from } => Act::Save { group, snapshot, keep_from },
            other => Act::Other(other),
        }
    }

    fn promise(message: &PeerMessage) -> Option<(GroupId, Promise)> {
        match message {
            PeerMessage::Raft { group, message: Message::Bound(bound) } => {
                Some((*group, promise_of(bound)))
            }
            _ => None,
        }
    }

    fn of_another_cluster(view: &View, voters: Configuration) -> Option<PeerMessage> {
        let message = foreign_snapshot(view, voters);
        Some(PeerMessage::Raft { group: GroupId::CONTROL, message })
    }

    fn encoded(message: PeerMessage) -> Result<PeerMessage, Broken> {
        match wire::decode_peer(wire::encode_peer(&message)) {
            Ok(read) if read == message => Ok(read),
            other => Err(Broken::new("wire", format!("{message:?} is read as {other:?}"))),
        }
    }

    fn groups(crowd: &Crowd) -> usize {
        crowd.groups.count() + 1
    }

    fn view(&self, group: GroupId) -> View {
        if group == GroupId::CONTROL {
            return view_of(self.raft());
        }
        self.groups().group(group).map_or(View::unknown(), |group| View {
            applied: group.applied(),
            ..view_of(group.raft())
        })
    }

    fn configurations(&self) -> [Configuration; 2] {
        let raft = self.raft();
        [raft.configuration().clone(), raft.committed_configuration().clone()]
    }

    fn fold_input(hash: &mut WordHash, input: &Input) {
        trace::fold_input(hash, input);
    }

    fn fold_output(hash: &mut WordHash, output: &Output) {
        trace::fold_output(hash, output);
    }

    fn tell_input(input: &Input) -> Option<String> {
        trace::tell_input(input)
    }

    fn tell_output(output: &Output) -> Option<String> {
        Some(trace::tell_output(output))
    }

    fn reaches(local: &Connections, to: NodeId, there: SocketAddr) -> bool {
        local.routes.get(&to).is_some_and(|address| *address == there)
    }

    fn hears(local: &Connections, from: NodeId) -> bool {
        !local.refused.contains(&from)
    }

    fn on_let_loose(world: &mut Nodes) {
        world.hire_clients();
    }

    fn on_turn(world: &mut Nodes, client: usize, turn: u64) -> Result<(), Broken> {
        world.on_client_turn(client, turn)
    }

    fn on_started(world: &mut Nodes, place: usize) {
        world.tell_contacts(place);
        world.tell_wall(place);
    }

    fn on_datagram(
        world: &mut Nodes,
        from: SocketAddr,
        to: usize,
        bytes: Bytes,
    ) -> Result<(), Broken> {
        if world.net.is_cut(place_of_address(from), to) {
            return Ok(());
        }
        if to >= world.hosts.len() {
            return world.on_datagram_abroad(from, to, bytes);
        }
        world.arrive(to, Input::Datagram { from, bytes });
        world.rouse(to)
    }

    fn on_other(world: &mut Nodes, place: usize, output: Output, done: Time) -> Result<(), Broken> {
        match output {
            Output::Datagram { to, bytes } => world.gossip(place, to, bytes, done),
            Output::Changes(changes) => world.on_changes(place, changes)?,
            Output::Reply { id, reply } => world.on_reply(place, id, reply)?,
            Output::Route { node, address } => {
                if let Some(process) = &mut world.hosts[place].process {
                    process.local.routes.insert(node, address);
                }
            }
            Output::Unroute(node) => {
                if let Some(process) = &mut world.hosts[place].process {
                    process.local.routes.remove(&node);
                    process.local.refused.insert(node);
                }
            }
            // A matter of time, which nothing takes here.
            Output::Hold(_) => {}
            Output::Report(event) => world.on_event(place, &event)?,
            Output::Persist { .. } | Output::Send { .. } | Output::Save { .. } => {
                unreachable!("the world does these")
            }
        }
        Ok(())
    }

    fn on_lost(world: &mut Nodes, place: usize) {
        world.on_host_lost(place);
    }

    fn on_committed(world: &mut Nodes, group: GroupId, entry: &Fresh) -> Result<(), Broken> {
        if group != GroupId::CONTROL {
            return Ok(());
        }
        let before = world.crowd.ledger.model().events().len();
        let command = world.crowd.ledger.on_committed(entry)?;
        world.note_events(before)?;
        if let Some(Command { kind: Some(CommandKind::Membership(_)) }) = &command {
            world.note_standings();
        }
        match command.and_then(|command| command.kind) {
            Some(CommandKind::LeaseRevoke(revoke)) => {
                world.crowd.leases.on_revoked(world.time, &revoke)
            }
            _ => Ok(()),
        }
    }

    fn on_applied(
        world: &mut Nodes,
        place: usize,
        group: GroupId,
        applied: Index,
    ) -> Result<(), Broken> {
        let host = &world.hosts[place];
        let process = host.process.as_ref().expect("it has just worked");
        if let Some(replica) = process.subject.groups().group(group) {
            return world.crowd.groups.on_applied(host.id, replica);
        }
        if group != GroupId::CONTROL {
            return Ok(());
        }
        world.crowd.ledger.on_node_state(host.id, applied, process.subject.state())
    }

    fn on_batch(world: &mut Nodes, place: usize) -> Result<(), Broken> {
        world.check_seats(place)?;
        world.check_apart(place)
    }

    fn on_look(world: &mut Nodes) -> Result<(), Broken> {
        world.check_patience()?;
        world.check_views()?;
        world.note_removed();
        world.switch_off_removed();
        world.crowd.looks += 1;
        world.look_abroad(world.crowd.looks)?;
        if world.crowd.looks.is_multiple_of(LOOKS_PER_CLOCK) {
            for place in 0..world.hosts.len() {
                world.tell_wall(place);
                world.give_papers(place);
                if world.profile.moves_ppm > 0 {
                    world.tell_contacts(place);
                }
                world.rouse_soon(place);
            }
        }
        Ok(())
    }

    fn is_shrinking(world: &Nodes) -> bool {
        world.is_removing()
    }

    fn on_transfer(world: &mut Nodes, leader: usize, to: NodeId) {
        world.say(leader, Request::TransferLeader(to));
    }

    fn on_healed(world: &mut Nodes) {
        for client in &mut world.crowd.clients {
            let is_over = client.duty.ends_with_faults();
            client.is_retired |= is_over;
        }
        world.hire_group_probes();
        // Nobody sleeps through what is left of a calm stretch.
        for client in 0..world.crowd.clients.len() {
            if !world.crowd.clients[client].is_retired {
                world.plan_turn(client, Duration::ZERO);
            }
        }
        for place in world.members() {
            world.hire_probe(place);
        }
    }

    fn on_given_up(world: &mut Nodes, place: usize) {
        world.retire_probe(place);
    }

    fn unanswered(world: &Nodes) -> Option<usize> {
        world.unanswered_probe()
    }

    fn unsettled(world: &mut Nodes) -> Option<Unsettled> {
        world.open_ends()
    }

    fn may_return(world: &Nodes, place: usize) -> bool {
        world.crowd.ledger.is_member(world.hosts[place].id)
    }

    fn describe(world: &Nodes) -> String {
        world.standings()
    }

    fn acked(world: &Nodes) -> u64 {
        world.crowd.ledger.acked()
    }
}

fn recovered_of(disk: &crate::disk::Disk, group: GroupId) -> muslin_core::groups::Recovered {
    let (raft, snapshot) = (disk.recovered(group), disk.snapshot(group));
    muslin_core::groups::Recovered { raft, snapshot }
}

/// How a replica of ours looks from outside.
pub(crate) fn view_of(raft: &Raft) -> View {
    View {
        role: raft.role(),
        term: raft.term(),
        commit: raft.commit(),
        applied: raft.applied(),
        last: raft.last(),
        leader: raft.leader(),
    }
}

/// What a bound message of ours promises.
pub(crate) fn promise_of(bound: &Bound) -> Promise {
    match bound {
        Bound::Vote { term, .. } => Promise::Candidacy { term: *term },
        Bound::VoteReply { term, granted: true, .. } => Promise::Vote { term: *term },
        Bound::AppendReply { term, result: AppendResult::Accepted { matched }, .. } => {
            Promise::Accepted { term: *term, matched: *matched }
        }
        Bound::SnapshotReply { term, last, installed: true, .. } => {
            Promise::Installed { term: *term, last: *last }
        }
        Bound::VoteReply { term, .. }
        | Bound::AppendReply { term, .. }
        | Bound::HeartbeatReply { term, .. }
        | Bound::SnapshotReply { term, .. } => Promise::Entered { term: *term },
    }
}

/// How far the log of another cluster is ahead.
const FOREIGN_LEAD: u64 = 7;

/// A whole snapshot of another cluster, from a leader in the term that a replica is in, and ahead
/// of it.
pub(crate) fn foreign_snapshot(view: &View, voters: Configuration) -> Message {
    let last = LogId::new(view.term, Index(view.last.index.0 + FOREIGN_LEAD));
    Message::Unbound(Unbound::SnapshotChunk {
        term: view.term,
        session: SessionId(0),
        cluster: ClusterId(CLUSTER.0 + 1),
        meta: SnapshotMeta { last, configuration: voters },
        offset: 0,
        total: 0,
        checksum: Sum64::of(&[]),
        data: Bytes::new(),
    })
}

impl Nodes {
    /// A machine that starts again may have another address by then.
    fn move_house(&mut self, place: usize) {
        let (boot, often) = (self.hosts[place].boot, self.profile.moves_ppm);
        if often > 0 && boot > 1 && self.draws.process.chance(often) {
            self.hosts[place].address = address_in(boot as u8, place);
        }
    }

    /// Where a machine is reached at present, also one of another cluster.
    pub(super) fn address(&self, place: usize) -> SocketAddr {
        self.hosts.get(place).map_or_else(|| address_of(place), |host| host.address)
    }

    /// A node hears where its discovery finds the others.
    fn tell_contacts(&mut self, place: usize) {
        let others = (0..self.net.places()).filter(|other| *other != place);
        let contacts = others.map(|other| self.address(other)).collect();
        self.arrive(place, Input::Contacts(contacts));
    }

    /// Whoever has heard of a later epoch is given papers of the present one after a while, if it
    /// is of it.
    fn give_papers(&mut self, place: usize) {
        let Some(process) = &self.hosts[place].process else { return };
        let is_due = process.local.outpaced.is_some_and(|at| self.time >= at + PAPERS_TAKE);
        let ledger = &self.crowd.ledger;
        if is_due && ledger.is_current(self.hosts[place].id) {
            let epoch = ledger.epoch();
            self.arrive(place, Input::Epoch(epoch));
        }
    }

    /// A node hears what its wall clock says.
    fn tell_wall(&mut self, place: usize) {
        // Each is off by something of its own, which stays.
        let off = place as u64 * 1_237 % (2 * WALL_OFF_MS);
        let unix_ms = self.time.wall_ms() + off - WALL_OFF_MS;
        self.arrive(place, Input::Clock(unix_ms));
    }

    /// Some events must never be told where disks keep what they synced and peers speak well.
    fn on_event(&mut self, place: usize, event: &Event) -> Result<(), Broken> {
        match event {
            Event::Raft { event: raft::Event::SnapshotInstalled { .. }, .. } => {
                self.counts.installs += 1;
            }
            Event::Raft { group: GroupId::CONTROL, event: raft::Event::Rebuilt { commit } } => {
                return self.check_rebuilt(place, *commit);
            }
            Event::Raft { event: raft::Event::RebuildImpossible, .. } => {
                self.crash_for_a_while(place);
            }
            Event::Raft {
                event: raft::Event::DataLost { .. } | raft::Event::RebuildBegun { .. },
                ..
            } if !self.hosts[place].was_damaged => {
                let facts = format!("{:?}, whose disk is whole: {event:?}", self.hosts[place].id);
                return Err(Broken::new("R3", facts));
            }
            Event::Raft { event: raft::Event::Diverged { .. }, .. } => {
                let facts = format!("{:?}: {event:?}", self.hosts[place].id);
                return Err(Broken::new("R3", facts));
            }
            Event::Swim(swim::Event::Outpaced { .. }) => {
                if let Some(process) = &mut self.hosts[place].process {
                    process.local.outpaced = Some(self.time);
                }
            }
            Event::BadMessage { .. } => {
                let facts = format!("{:?} of its peers: {event:?}", self.hosts[place].id);
                return Err(Broken::new("wire", facts));
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn gossip(&mut self, place: usize, to: SocketAddr, bytes: Bytes, at: Time) {
        let other = place_of_address(to);
        if other >= self.net.places() || to != self.address(other) {
            return;
        }
        let from = self.address(place);
        let fate = self.net.send_datagram(&self.profile.network, at, (place, other));
        let (first, second) = match fate {
            Fate::Lost => return,
            Fate::Arrives(first) => (first, None),
            Fate::Twice(first, second) => (first, Some(second)),
        };
        if let Some(second) = second {
            let bytes = bytes.clone();
            self.queue.push(second, Happening::Datagram { from, to: other, bytes });
        }
        self.queue.push(first, Happening::Datagram { from, to: other, bytes });
    }
}
