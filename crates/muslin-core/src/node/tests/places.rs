//! Static membership.

use super::*;
use crate::node::Membership;
use crate::swim::Liveness;
use std::string::String;

fn place(id: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, id as u8], 7400))
}

fn places(ids: impl IntoIterator<Item = u64>) -> Input {
    let named = ids.into_iter().map(|id| (std::format!("n{id}"), place(id)));
    Input::Places(named.collect::<BTreeMap<String, SocketAddr>>())
}

fn fixed(id: u64, founders: u64) -> Options {
    Options { membership: Membership::Static, ..options(id, founders) }
}

/// A cluster whose nodes are told where `n1` and `n2` are, and not where `n3` is.
fn world() -> World {
    let mut world = World { nodes: BTreeMap::new(), ..World::of(0) };
    for id in 1..=3 {
        world.start(fixed(id, 3));
        world.step(id, places([1, 2]));
    }
    world.run(2_000);
    world
}

#[test]
fn members_that_are_listed_agree_without_a_word_of_gossip() {
    let mut world = world();
    let follower = world.follower();
    world.revision_of(follower, put("a", "1", 0));
    assert!(world.datagrams.is_empty());
    world.cut.insert(world.leader());
    world.run(3_000);
    let survivor = world.leader();
    world.revision_of(survivor, put("b", "1", 0));
    assert!(world.datagrams.is_empty());
}

#[test]
fn routes_follow_the_list_and_where_it_is_silent_the_record() {
    let mut world = world();
    assert_eq!(world.routes[&(1, 2)], place(2));
    assert_eq!(world.routes[&(1, 3)], address(3), "as admitted");
    world.step(1, places([1, 2, 3]));
    assert_eq!(world.routes[&(1, 3)], place(3));
    assert_eq!(world.routes[&(2, 3)], address(3), "nobody else was told");
}

#[test]
fn the_view_is_the_record_with_the_places_of_the_list() {
    let world = world();
    let view = world.nodes[&2].status(world.now).view;
    let seen: Vec<_> = view.iter().map(|one| (one.node.0, one.state, one.address)).collect();
    let alive = Liveness::Alive;
    assert_eq!(seen, [(1, alive, place(1)), (2, alive, address(2)), (3, alive, address(3))]);
    assert_eq!(view[0].metadata.name, "n1");
}

#[test]
fn a_node_admitted_to_a_static_cluster_becomes_a_voter() {
    let mut world = World { nodes: BTreeMap::new(), ..World::of(0) };
    world.start(fixed(1, 1));
    world.step(1, places([1, 2, 3]));
    world.run(2_000);
    for id in 2..=3 {
        let Token { id: token_id, secret_hash, .. } = token();
        let member = member(id);
        let admit = Admit { member, token_id, secret_hash, unix_ms: 1, ..Admit::default() };
        world.revision_of(1, Request::Write(Command::of(CommandKind::Admit(admit.into()))));
        world.start(fixed(id, 1));
        world.step(id, places([1, 2, 3]));
        world.run(3_000);
    }
    let voters = world.nodes[&3].raft().configuration().voters.clone();
    assert_eq!(voters, [1, 2, 3].map(NodeId).into_iter().collect());
    assert_eq!(world.routes[&(3, 2)], place(2), "learned from the record, placed by the list");
}

#[test]
fn gossip_that_comes_all_the_same_changes_nothing() {
    let mut world = world();
    world.start(options(4, 3));
    world.run(2_000);
    assert!(!world.datagrams.is_empty(), "the fourth one gossips");
    let view = world.nodes[&1].status(world.now).view;
    assert!(view.iter().all(|one| one.node != NodeId(4)));
    world.run(2_000);
    assert!(!world.nodes[&4].swim().alive().any(|node| node == NodeId(1)), "nor is it answered");
}
