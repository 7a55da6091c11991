//! The node's own promises, in a small world: one millisecond to a peer, one to the disk.
//!
//! Faults, loss and reordering are the simulator's business; these tests say what is meant.

mod afar;
mod crowd;
mod feed;
mod groups;
mod history;
mod places;
mod planted;
mod snapshots;
mod stewards;

use super::*;
use crate::base::{ClusterId, Machine, NodeId, Now, Outputs, RequestId, Revision};
use crate::raft::DiskRoom;
use crate::raft::Role;
use crate::state::{
    Admit, Asker, Command, CommandKind, Cursor, Founding, KeyRange, LeaseGrant, Member, Put, Query,
    Range, Remove, Response, Ring, RingRoom, Room, Token, Told, WatchSpec,
};
use bytes::Bytes;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

const HOP: Duration = Duration::from_millis(1);

struct World {
    now: Now,
    nodes: BTreeMap<u64, Node>,
    /// What arrives when, in the order of sending.
    queue: BTreeMap<(Now, u64), (u64, Input)>,
    sent: u64,
    /// What nodes said to each other, all of it.
    said: Vec<PeerMessage>,
    replies: BTreeMap<(u64, RequestId), Vec<Reply>>,
    /// What each told of changes.
    rings: BTreeMap<u64, Ring>,
    cut: BTreeSet<u64>,
    /// Who refuses whom.
    barred: BTreeSet<(u64, u64)>,
    last_request: u64,
    /// Where each is told to reach the others.
    routes: BTreeMap<(u64, u64), SocketAddr>,
    /// Datagrams sent, by to whom.
    datagrams: BTreeMap<u64, u64>,
}

fn address(id: u64) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7400 + id as u16))
}

fn member(id: u64) -> Member {
    Member {
        id,
        name: std::format!("n{id}"),
        address: std::format!("{}", address(id)),
        roles: std::vec![CONTROL_ROLE.into()],
        ..Member::default()
    }
}

fn token() -> Token {
    Token {
        id: "t".into(),
        secret_hash: Bytes::from_static(&[7; 32]),
        expires_unix_ms: 1_000,
        ..Token::default()
    }
}

fn put(key: &'static str, value: &'static str, lease: u64) -> Request {
    let put = Put { key: key.into(), value: value.into(), lease, ..Put::default() };
    Request::Write(Command::of(CommandKind::Put(put)))
}

fn read(key: &'static str, consistency: Consistency) -> Request {
    let range = KeyRange { key: key.into(), range_end: Bytes::new() };
    Request::Read { query: Query::Range(Range { range, ..Range::default() }), consistency }
}

fn options(id: u64, founders: u64) -> Options {
    let founding = Founding {
        members: (1..=founders).map(member).collect(),
        tokens: std::vec![token()],
        ..Founding::default()
    };
    let mut options = Options::new(NodeId(id), ClusterId(1), address(id));
    options.groups.snapshot_entries = 20;
    let metadata =
        crate::swim::Metadata { name: std::format!("n{id}"), ..options.metadata.clone() };
    Options { founding, metadata, ..options }
}

impl World {
    fn of(founders: u64) -> World {
        let mut world = World {
            now: Now::START,
            nodes: BTreeMap::new(),
            queue: BTreeMap::new(),
            sent: 0,
            said: Vec::new(),
            replies: BTreeMap::new(),
            rings: BTreeMap::new(),
            cut: BTreeSet::new(),
            barred: BTreeSet::new(),
            last_request: 0,
            routes: BTreeMap::new(),
            datagrams: BTreeMap::new(),
        };
        for id in 1..=founders {
            world.start(options(id, founders));
        }
        world.run(2_000);
        world
    }

    fn start(&mut self, options: Options) {
        self.start_from(options, Recovered::default());
    }

    fn start_from(&mut self, options: Options, recovered: Recovered) {
        let id = options.id.0;
        let node = Node::new(options, recovered, id, self.now);
        self.nodes.insert(id, node);
        let contacts = (1..=3).filter(|other| *other != id).map(address).collect();
        self.step(id, Input::Contacts(contacts));
    }

    fn run(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        loop {
            let timer = (self.nodes.iter())
                .filter_map(|(id, node)| node.deadline().map(|(at, _)| (at.max(self.now), *id)))
                .min();
            let arrival = self.queue.first_key_value().map(|(key, _)| key.0);
            let next = timer.map(|(at, _)| at).into_iter().chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = next;
            if arrival == Some(next) {
                let (_, (to, input)) = self.queue.pop_first().unwrap();
                self.step(to, input);
            } else if let Some((_, id)) = timer {
                self.step(id, Input::Tick);
            }
        }
        self.now = end;
    }

    fn step(&mut self, id: u64, input: Input) {
        let mut out = Outputs::new();
        let node = self.nodes.get_mut(&id).unwrap();
        node.handle(self.now, input, &mut out);
        node.handle(self.now, Input::Flush, &mut out);
        self.carry_out(id, out);
    }

    fn carry_out(&mut self, id: u64, mut out: Outputs<Output>) {
        let outputs: Vec<Output> = out.drain().collect();
        for output in outputs {
            match output {
                Output::Persist { group, id: write, .. } => {
                    self.post(id, id, HOP, Input::Persisted { group, id: write });
                }
                Output::Send { to, message, after } => {
                    self.said.push(message.clone());
                    // Behind a write: after it, since the disk takes one hop too.
                    let hops = if after.is_some() { HOP * 2 } else { HOP };
                    self.post(id, to.0, hops, Input::Peer { from: NodeId(id), message });
                }
                Output::Datagram { to, bytes } => {
                    let to = u64::from(to.port()) - 7400;
                    *self.datagrams.entry(to).or_default() += 1;
                    self.post(id, to, HOP, Input::Datagram { from: address(id), bytes });
                }
                Output::Reply { id: request, reply } => {
                    self.replies.entry((id, request)).or_default().push(reply);
                }
                Output::Save { group, snapshot, .. } => {
                    let index = snapshot.meta.last.index;
                    self.post(id, id, HOP, Input::Saved { group, index });
                }
                Output::Unroute(node) => {
                    self.barred.insert((id, node.0));
                }
                Output::Route { node, address } => {
                    self.routes.insert((id, node.0), address);
                }
                Output::Changes(changes) => {
                    let room = RingRoom { bytes: 1 << 20, events: 100 };
                    self.rings.entry(id).or_insert_with(|| Ring::new(room)).push(changes);
                }
                Output::Report(_) | Output::Hold(_) => {}
            }
        }
    }

    fn post(&mut self, from: u64, to: u64, after: Duration, input: Input) {
        let is_cut = from != to && (self.cut.contains(&from) || self.cut.contains(&to));
        let is_barred = self.barred.contains(&(from, to)) || self.barred.contains(&(to, from));
        if is_cut || is_barred || !self.nodes.contains_key(&to) {
            return;
        }
        self.sent += 1;
        self.queue.insert((self.now + after, self.sent), (to, input));
    }

    fn ask(&mut self, node: u64, request: Request) -> (u64, RequestId) {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        self.step(node, Input::Request { id, asker: Asker::Cluster, request });
        (node, id)
    }

    /// The one reply, after at most `millis`.
    fn answer(&mut self, node: u64, request: Request, millis: u64) -> Option<Reply> {
        let asked = self.ask(node, request);
        self.run(millis);
        self.replies.remove(&asked).map(|mut replies| replies.remove(0))
    }

    fn revision_of(&mut self, node: u64, request: Request) -> Revision {
        match self.answer(node, request, 100) {
            Some(Reply::Outcome(outcome)) if outcome.result.is_ok() => outcome.revision,
            other => panic!("not answered: {other:?}"),
        }
    }

    fn leader(&self) -> u64 {
        let leads = |node: &Node| node.raft().role() == Role::Leader;
        let leaders: Vec<u64> = (self.nodes.iter())
            .filter(|(id, node)| leads(node) && !self.cut.contains(id))
            .map(|(id, _)| *id)
            .collect();
        assert_eq!(leaders.len(), 1, "one leader among those that can be reached");
        leaders[0]
    }

    fn follower(&self) -> u64 {
        let leader = self.leader();
        *self.nodes.keys().find(|id| **id != leader && !self.cut.contains(id)).unwrap()
    }
}

fn value_of(reply: Option<Reply>) -> Option<Bytes> {
    match reply {
        Some(Reply::Outcome(outcome)) => match outcome.result {
            Ok(Response::Range { kvs, .. }) => kvs.first().map(|kv| Bytes::from(&kv.value)),
            other => panic!("not a range: {other:?}"),
        },
        other => panic!("not answered: {other:?}"),
    }
}

#[test]
fn a_write_on_a_follower_is_read_on_every_node() {
    let mut world = World::of(3);
    let follower = world.follower();
    world.revision_of(follower, put("a", "1", 0));
    for node in 1..=3 {
        let reply = world.answer(node, read("a", Consistency::Linearizable), 100);
        assert_eq!(value_of(reply), Some("1".into()), "n{node}");
    }
}

#[test]
fn a_sole_node_answers_as_soon_as_its_disk_does() {
    let mut world = World::of(1);
    assert_eq!(world.revision_of(1, put("a", "1", 0)), Revision(2));
}

#[test]
fn a_write_waiting_on_a_follower_survives_the_leaders_death_and_happens_once() {
    let mut world = World::of(3);
    let (leader, follower) = (world.leader(), world.follower());
    let before = world.revision_of(follower, put("a", "0", 0));
    let asked = world.ask(follower, put("a", "1", 0));
    // The proposal reaches the leader, and nothing leaves it any more.
    world.run(1);
    world.cut.insert(leader);
    world.run(3_000);
    let replies = world.replies.remove(&asked).unwrap_or_default();
    assert!(matches!(replies[..], [Reply::Outcome(_)]), "{replies:?}");
    assert_eq!(world.nodes[&follower].state().revision(), before.next());
}

#[test]
fn a_follower_with_a_full_disk_says_so_and_goes_on_when_there_is_room() {
    let mut world = World::of(3);
    let (leader, follower) = (world.leader(), world.follower());
    world.revision_of(leader, put("a", "1", 0));
    world.run(100);
    world.step(follower, Input::Disk(DiskRoom::Full));
    world.run(300);
    let reply = world.answer(follower, read("a", Consistency::Linearizable), 100);
    assert_eq!(value_of(reply), Some("1".into()), "what it has is the latest");
    world.revision_of(leader, put("a", "2", 0));
    let stands_still = Some(Reply::Failed(Failure::StandsStill));
    for consistency in [Consistency::Linearizable, Consistency::Lease] {
        assert_eq!(world.answer(follower, read("a", consistency), 100), stands_still);
    }
    assert_eq!(world.answer(follower, put("a", "3", 0), 100), stands_still);
    let reply = world.answer(follower, read("a", Consistency::Local), 100);
    assert_eq!(value_of(reply), Some("1".into()));
    world.step(follower, Input::Disk(DiskRoom::Room));
    world.run(500);
    world.revision_of(follower, put("b", "1", 0));
    let reply = world.answer(follower, read("a", Consistency::Linearizable), 100);
    assert_eq!(value_of(reply), Some("2".into()), "what was refused did not happen");
}

#[test]
fn a_cut_off_leader_answers_local_reads_only() {
    let mut world = World::of(3);
    let leader = world.leader();
    world.revision_of(leader, put("a", "1", 0));
    world.cut.insert(leader);
    let reply = world.answer(leader, read("a", Consistency::Linearizable), 6_000);
    assert_eq!(reply, Some(Reply::Failed(Failure::TimedOut)));
    let reply = world.answer(leader, read("a", Consistency::Local), 1);
    assert_eq!(value_of(reply), Some("1".into()));
}

#[test]
fn a_lease_kept_alive_through_a_follower_lives_and_then_expires() {
    let mut world = World::of(3);
    let follower = world.follower();
    let grant = Command::of(CommandKind::LeaseGrant(LeaseGrant { id: 9, ttl_ms: 2_000 }));
    world.revision_of(follower, Request::Write(grant));
    world.revision_of(follower, put("a", "1", 9));
    for _ in 0..4 {
        world.run(1_400);
        let reply = world.answer(follower, Request::KeepAlive(9), 100);
        assert!(matches!(reply, Some(Reply::Lease { ttl: Some((2_000, _)), .. })), "{reply:?}");
    }
    let reply = world.answer(follower, read("a", Consistency::Linearizable), 100);
    assert_eq!(value_of(reply), Some("1".into()));
    world.run(2_500);
    let reply = world.answer(follower, read("a", Consistency::Linearizable), 100);
    assert_eq!(value_of(reply), None, "the key went with its lease");
    let reply = world.answer(follower, Request::KeepAlive(9), 100);
    assert!(matches!(reply, Some(Reply::Lease { ttl: None, .. })), "{reply:?}");
}

#[test]
fn a_lease_lives_its_full_time_under_a_later_leader() {
    let mut world = World::of(3);
    let (leader, follower) = (world.leader(), world.follower());
    let grant = Command::of(CommandKind::LeaseGrant(LeaseGrant { id: 9, ttl_ms: 3_000 }));
    world.revision_of(follower, Request::Write(grant));
    world.run(2_000);
    let reply = world.answer(follower, Request::KeepAlive(9), 100);
    assert!(matches!(reply, Some(Reply::Lease { ttl: Some(_), .. })));
    world.cut.insert(leader);
    // Longer than the time from the grant, shorter than from the keep-alive.
    world.run(2_500);
    let follower = world.follower();
    let reply = world.answer(follower, Request::TimeToLive(9), 100);
    assert!(matches!(reply, Some(Reply::Lease { ttl: Some(_), .. })), "{reply:?}");
}

#[test]
fn the_end_that_a_deposed_leader_proposed_is_not_handed_to_the_next() {
    let mut world = World::of(3);
    let (first, follower) = (world.leader(), world.follower());
    let grant = Command::of(CommandKind::LeaseGrant(LeaseGrant { id: 9, ttl_ms: 2_000 }));
    world.revision_of(follower, Request::Write(grant));
    // The time is up while the leader, not yet deposed, reaches nobody.
    world.run(1_750);
    world.cut.insert(first);
    world.run(2_000);
    let follower = world.follower();
    let reply = world.answer(follower, Request::KeepAlive(9), 100);
    assert!(matches!(reply, Some(Reply::Lease { ttl: Some(_), .. })), "{reply:?}");
    world.cut.clear();
    world.run(1_500);
    let reply = world.answer(follower, Request::TimeToLive(9), 100);
    assert!(matches!(reply, Some(Reply::Lease { ttl: Some(_), .. })), "{reply:?}");
}

#[test]
fn a_watch_from_the_past_is_told_each_revision_once() {
    let mut world = World::of(3);
    let follower = world.follower();
    let first = world.revision_of(follower, put("a", "1", 0));
    world.revision_of(follower, put("b", "2", 0));
    let range = KeyRange { key: "a".into(), range_end: "z".into() };
    let spec = WatchSpec { range, start_revision: first.0, ..WatchSpec::default() };
    let begun = world.answer(follower, Request::Watch(spec.clone()), 100);
    let Some(Reply::WatchStarted { from, applied, .. }) = begun else { panic!("{begun:?}") };
    let mut cursor = Cursor::new(&Asker::Cluster, spec, (from, applied));
    world.revision_of(follower, put("c", "3", 0));
    let leader = world.leader();
    world.revision_of(leader, put("a", "4", 0));
    let room = Room { bytes: 1, ..Room::WHOLE };
    let mut told: Vec<u64> = Vec::new();
    loop {
        let read = match cursor.read(&world.rings[&follower], room) {
            Told::Behind => {
                let (at, view) = world.nodes[&follower].state_view();
                cursor.read_history((at, &view), room).expect("nothing was compacted")
            }
            read => read,
        };
        let Told::Passage(passage) = read else { panic!("{read:?}") };
        told.extend(passage.events().iter().map(|event| event.kv.mod_revision));
        if !passage.has_more {
            break;
        }
    }
    assert_eq!(told, (first.0..first.0 + 4).collect::<Vec<_>>());
}

#[test]
fn admitted_nodes_become_voters() {
    let mut world = World::of(1);
    for id in 2..=3 {
        let admit = Admit {
            member: member(id),
            token_id: token().id,
            secret_hash: token().secret_hash,
            unix_ms: 1,
            ..Admit::default()
        };
        world.revision_of(1, Request::Write(Command::of(CommandKind::Admit(admit.into()))));
        world.start(options(id, 1));
        // A joiner starts from the founding of the cluster it joins.
        world.run(3_000);
    }
    let configuration = world.nodes[&1].raft().configuration().clone();
    assert_eq!(configuration.voters, [1, 2, 3].map(NodeId).into_iter().collect());
    assert!(!configuration.is_joint());
    world.cut.insert(world.leader());
    world.run(2_000);
    let survivor = world.leader();
    world.revision_of(survivor, put("a", "1", 0));
}

#[test]
fn an_oversized_write_is_refused_and_changes_nothing() {
    let mut world = World::of(1);
    let value = Bytes::from(std::vec![0; COMMAND_BYTES_MAX]);
    let put = Put { key: "a".into(), value, ..Put::default() };
    let reply = world.answer(1, Request::Write(Command::of(CommandKind::Put(put))), 100);
    assert_eq!(reply, Some(Reply::Failed(Failure::TooLarge)));
    assert_eq!(world.nodes[&1].state().revision(), Revision(1));
}

#[test]
fn a_removed_voter_is_heard_until_the_group_can_do_without_it() {
    let mut world = World::of(3);
    let (leader, removed) = (world.leader(), world.follower());
    let silent = (1..=3).find(|id| *id != leader && *id != removed).unwrap();
    // With one voter silent, the removed one is needed for the change that leaves it out.
    world.cut.insert(silent);
    let remove = Command::of(CommandKind::Remove(Remove { id: removed, force: true, unix_ms: 0 }));
    world.revision_of(leader, Request::Write(remove));
    world.run(1_000);
    world.cut.clear();
    world.run(3_000);
    let left: Vec<u64> = (1..=3).filter(|id| *id != removed).collect();
    let voters = world.nodes[&silent].raft().configuration().voters.clone();
    assert_eq!(voters, left.into_iter().map(NodeId).collect());
    world.revision_of(silent, put("a", "1", 0));
    assert!(world.barred.contains(&(silent, removed)), "and then it is refused");
}

#[test]
fn every_node_that_reads_is_told_who_is_silent_to_the_leader() {
    let mut world = World::of(3);
    let (leader, silent) = (world.leader(), world.follower());
    let other = (1..=3).find(|id| *id != leader && *id != silent).unwrap();
    world.answer(other, read("a", Consistency::Linearizable), 100).unwrap();
    assert_eq!(world.nodes[&other].status(world.now).silent, []);
    world.cut.insert(silent);
    // Longer than an election time-out.
    world.run(1_000);
    for node in [leader, other] {
        world.answer(node, read("a", Consistency::Linearizable), 100).unwrap();
        assert_eq!(world.nodes[&node].status(world.now).silent, [NodeId(silent)], "n{node}");
    }
    world.cut.clear();
    world.run(1_000);
    world.answer(other, read("a", Consistency::Linearizable), 100).unwrap();
    assert_eq!(world.nodes[&other].status(world.now).silent, []);
}

#[test]
fn a_replica_whose_disk_lost_what_it_acknowledged_says_so() {
    use crate::base::Index;
    use crate::raft::{self, Configuration, Message, Raft, SessionId, SnapshotMeta, Unbound};
    let configuration = Configuration::of_voters([1, 2, 3].map(NodeId));
    let snapshot = SnapshotMeta { configuration, ..SnapshotMeta::default() };
    let recovered = raft::Recovered { snapshot, ..raft::Recovered::default() };
    let mut raft = Raft::new(NodeId(2), raft::Options::default(), recovered, 1, Now::START);
    let (term, session) = (crate::base::Term(1), SessionId(1));
    let heartbeat = Unbound::Heartbeat {
        term,
        session,
        commit: Index(5),
        matched: Index(5),
        round: 1,
        lease: false,
    };
    let message = Message::Unbound(heartbeat);
    let mut out = Outputs::new();
    raft.handle(Now::START, raft::Input::Message { from: NodeId(1), message }, &mut out);
    let lost = raft::Event::DataLost { acknowledged: Index(5), lost_after: Index(0) };
    assert!(out.as_slice().contains(&raft::Output::Report(lost)), "{out:?}");
}
