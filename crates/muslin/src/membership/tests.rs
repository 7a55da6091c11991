use super::*;
use crate::codec::Json;
use crate::discovery::Fixed;
use crate::identity::Keyring;
use crate::transport::mem::MemNetwork;
use crate::transport::{Incoming, Transport};
use bytes::Bytes;
use muslin_core::base::ClusterId;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long something that must happen may take: far more than it does, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A network in memory, on which members are started by number.
struct World {
    network: MemNetwork,
    first: SocketAddr,
}

impl World {
    fn new() -> World {
        World { network: MemNetwork::seeded(7), first: ([127, 0, 0, 1], 7001).into() }
    }

    async fn start(&self, number: u64) -> Membership {
        self.build(number, Membership::builder()).await
    }

    async fn build(&self, number: u64, builder: Builder) -> Membership {
        let address = SocketAddr::new(self.first.ip(), 7000 + number as u16);
        let (sender, incoming) = mpsc::channel(1_000);
        let place = (ClusterId(1), NodeId(number));
        let transport = self.network.start(place, Some(address), sender);
        let builder = builder.name(format!("n{number}")).id(NodeId(number)).profile(Profile::Fast);
        let builder = builder.discovery(Fixed::new([self.first]));
        builder.transport(transport, address, incoming).start().await.unwrap()
    }
}

async fn next_event(events: &mut Feed<Event>, is_it: impl Fn(&Event) -> bool) -> Event {
    let found = async {
        loop {
            let event = events.next().await.unwrap().unwrap();
            if is_it(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("it happens in time")
}

async fn joined(events: &mut Feed<Event>, id: u64) -> Member {
    let event = next_event(
        events,
        |event| matches!(event, Event::Joined(member) if member.id == NodeId(id)),
    );
    let Event::Joined(member) = event.await else { unreachable!("it was looked for") };
    member
}

#[tokio::test]
async fn whoever_joins_changes_dies_and_leaves_is_told_with_evidence() {
    let world = World::new();
    let one = world.start(1).await;
    let mut events = one.subscribe();
    let two = world.start(2).await;
    let three = world.start(3).await;
    // In whichever order they are heard of.
    let mut awaited = vec![NodeId(2), NodeId(3)];
    while !awaited.is_empty() {
        let event = next_event(&mut events, |event| matches!(event, Event::Joined(_))).await;
        let Event::Joined(member) = event else { unreachable!("it was looked for") };
        assert_eq!((member.name, member.state), (format!("n{}", member.id.0), Liveness::Alive));
        assert!(one.member(member.id).is_some(), "what was told is in the view");
        assert!(awaited.contains(&member.id), "{:?} has joined before", member.id);
        awaited.retain(|id| *id != member.id);
    }
    assert!(two.set_metadata("blue").await.unwrap());
    assert_eq!(two.myself().metadata, "blue");
    next_event(
        &mut events,
        |event| matches!(event, Event::Changed(member) if member.metadata == "blue"),
    )
    .await;
    drop(three);
    let is_three = |member: &Member| member.id == NodeId(3);
    let is_suspected =
        |event: &Event| matches!(event, Event::Suspected { member, .. } if is_three(member));
    next_event(&mut events, is_suspected).await;
    let is_down = |event: &Event| matches!(event, Event::Down { member, .. } if is_three(member));
    let down = next_event(&mut events, is_down).await;
    let Event::Down { member, evidence } = down else { unreachable!("it was looked for") };
    assert_eq!(member.state, Liveness::Down);
    assert!(evidence.accusers.contains(&evidence.by), "{evidence}");
    let story = one.explain(NodeId(3)).await.unwrap().unwrap();
    assert_eq!(story.history.last().unwrap().state, Liveness::Down);
    two.leave().await;
    let left = next_event(&mut events, |event| matches!(event, Event::Left(_))).await;
    assert!(matches!(left, Event::Left(member) if member.id == NodeId(2)));
}

#[tokio::test]
async fn a_member_that_was_cut_off_returns_and_nobody_joins_twice() {
    let world = World::new();
    let (one, two) = (world.start(1).await, world.start(2).await);
    let mut events = one.subscribe();
    if one.member(NodeId(2)).is_none() {
        joined(&mut events, 2).await;
    }
    for (from, to) in [(1, 2), (2, 1)] {
        world.network.cut(NodeId(from), NodeId(to));
    }
    next_event(&mut events, |event| matches!(event, Event::Down { .. })).await;
    world.network.heal();
    let back = next_event(&mut events, |event| {
        assert!(!matches!(event, Event::Joined(_)), "it never left");
        matches!(event, Event::Returned { .. })
    });
    let Event::Returned { member, was } = back.await else { unreachable!("it was looked for") };
    assert_eq!((member.id, was), (two.id(), Liveness::Down));
}

#[tokio::test]
async fn where_no_datagram_gets_through_a_stream_keeps_a_member() {
    let world = World::new();
    let one = world.start(1).await;
    let mut events = one.subscribe();
    let _two = world.start(2).await;
    joined(&mut events, 2).await;
    world.network.set_loss(1_000_000);
    let reached = next_event(&mut events, |event| {
        assert!(!matches!(event, Event::Down { .. }), "it answers on a stream");
        matches!(event, Event::Reached { .. })
    });
    let Event::Reached { member, through } = reached.await else { unreachable!("looked for") };
    assert_eq!((member.id, through), (NodeId(2), None));
}

#[tokio::test]
async fn messages_go_to_one_by_both_ways_and_to_all_once() {
    let world = World::new();
    let one = world.start(1).await;
    let mut events = one.subscribe();
    let two = world.start(2).await;
    joined(&mut events, 2).await;
    let mut heard = two.messages();
    for way in [Way::Datagram, Way::Stream, Way::Broadcast] {
        let bytes = Bytes::from(vec![b'x'; way.bytes_max().min(100_000)]);
        match way {
            Way::Datagram => one.send_datagram(NodeId(2), bytes.clone()).await.unwrap(),
            Way::Stream => one.send(NodeId(2), bytes.clone()).await.unwrap(),
            Way::Broadcast => one.broadcast(bytes.clone()).await.unwrap(),
        }
        let message = tokio::time::timeout(PATIENCE, heard.next()).await.unwrap();
        assert_eq!(message.unwrap().unwrap(), Message { from: NodeId(1), way, bytes });
    }
    assert_eq!(heard.try_next(), None, "once");
    let too_large = vec![0; DATAGRAM_BYTES_MAX + 1];
    let refused = one.send_datagram(NodeId(2), too_large).await;
    let (bytes, most) = (DATAGRAM_BYTES_MAX + 1, DATAGRAM_BYTES_MAX);
    assert_eq!(refused, Err(SendError::TooLarge { bytes, most }));
    let nobody = NodeId(9);
    let refused = one.send(nobody, "x").await;
    assert_eq!(refused, Err(SendError::NotThere(nobody)));
}

#[tokio::test]
async fn values_go_as_their_serializer_says_and_rubbish_is_told() {
    let world = World::new();
    let one = world.start(1).await;
    let mut events = one.subscribe();
    let two = world.start(2).await;
    joined(&mut events, 2).await;
    let mut numbers = two.typed::<Vec<u32>, _>(Json);
    let sender = one.typed::<Vec<u32>, _>(Json);
    sender.send(NodeId(2), &vec![1, 2]).await.unwrap();
    assert_eq!(numbers.next().await, Some(Ok((NodeId(1), vec![1, 2]))));
    one.send(NodeId(2), "no JSON").await.unwrap();
    assert!(matches!(numbers.next().await, Some(Err(TypedError::Codec(_)))));
    assert!(numbers.describe(&vec![7]).await.unwrap());
    next_event(&mut events, |event| matches!(event, Event::Changed(_))).await;
    assert_eq!(sender.said_by(NodeId(2)), Some(Ok(vec![7])));
}

#[tokio::test]
async fn a_slow_reader_is_told_how_much_it_missed() {
    let world = World::new();
    let one = world.start(1).await;
    let mut events = one.subscribe();
    let two = world.start(2).await;
    joined(&mut events, 2).await;
    let (mut slow, mut quick) = (two.messages(), two.messages());
    for number in 0..FEED_MAX + 10 {
        one.send(NodeId(2), number.to_string()).await.unwrap();
        assert_eq!(quick.next().await.unwrap().unwrap().bytes, number.to_string());
    }
    assert_eq!(slow.next().await, Some(Err(Lagged(10))));
    assert_eq!(slow.next().await.unwrap().unwrap().bytes, "10");
}

#[tokio::test]
async fn what_does_not_fit_into_a_packet_is_refused_and_changes_nothing() {
    let world = World::new();
    let one = world.build(1, Membership::builder().metadata("first")).await;
    assert!(!one.set_metadata(vec![0; 600]).await.unwrap());
    assert_eq!(one.myself().metadata, "first");
    let started = Membership::builder().bind(ANYWHERE).metadata(vec![0; 600]).start().await;
    assert!(matches!(started, Err(StartError::Metadata(_))));
}

/// Lets in whoever knows the word.
#[derive(Clone, Debug)]
struct Word(&'static str);

impl Gate for Word {
    fn admits(&mut self, _: NodeId, ticket: &Bytes) -> bool {
        ticket == self.0
    }

    fn boxed(&self) -> Box<dyn Gate> {
        Box::new(self.clone())
    }
}

#[tokio::test]
async fn a_gate_keeps_out_whoever_shows_no_ticket() {
    let world = World::new();
    let gated = |ticket: &'static str| Membership::builder().gate(Word("open")).ticket(ticket);
    let one = world.build(1, gated("open")).await;
    let mut events = one.subscribe();
    let _stranger = world.build(3, gated("please")).await;
    let _two = world.build(2, gated("open")).await;
    joined(&mut events, 2).await;
    assert_eq!(one.member(NodeId(3)), None);
}

#[tokio::test]
async fn readers_of_a_member_that_has_left_come_to_an_end() {
    let world = World::new();
    let one = world.start(1).await;
    let (mut events, mut messages, again) = (one.subscribe(), one.messages(), one.clone());
    one.leave().await;
    assert_eq!(messages.next().await, None);
    while events.next().await.is_some() {}
    assert_eq!(again.explain(NodeId(2)).await, Err(Stopped));
    assert_eq!(again.subscribe().next().await, None);
    again.leave().await;
}

#[tokio::test]
async fn rubbish_from_the_network_stops_nobody() {
    let world = World::new();
    let one = world.start(1).await;
    let mut events = one.subscribe();
    let (sender, _inbox) = mpsc::channel::<Incoming>(10);
    let hostile = world.network.start((ClusterId(1), NodeId(66)), None, sender);
    hostile.route(NodeId(1), world.first);
    let mut prng = muslin_core::base::Prng::seeded(1);
    for number in 0..20_000 {
        let length = prng.below(60);
        let mut bytes: Vec<u8> = (0..length).map(|_| prng.draw() as u8).collect();
        if let Some(first) = bytes.first_mut() {
            *first %= 12;
        }
        hostile.datagram(world.first, Bytes::from(bytes.clone()));
        if number % 4 == 0 {
            hostile.send(NodeId(1), Bytes::from(bytes));
        }
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let _two = world.start(2).await;
    joined(&mut events, 2).await;
}

#[tokio::test]
async fn over_udp_a_member_learns_where_it_is_and_whoever_lacks_the_key_stays_out() {
    let keyring = Keyring::generate();
    let on = |address: SocketAddr, keyring: &Keyring| {
        let builder = Membership::builder().bind(address).profile(Profile::Fast);
        builder.keyring(keyring.clone())
    };
    let one = on(ANYWHERE, &keyring).start().await.unwrap();
    let mut events = one.subscribe();
    let seed = [one.myself().address.to_string()];
    let stranger = on(ANYWHERE, &Keyring::generate()).seeds(&seed[..]);
    let stranger = stranger.unwrap().start().await.unwrap();
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let two = on(everywhere, &keyring).seeds(&seed[..]).unwrap().start().await.unwrap();
    let is_here = |event: &Event| match event {
        Event::Joined(member) | Event::Changed(member) => member.address.ip().is_loopback(),
        _ => false,
    };
    next_event(&mut events, is_here).await;
    assert!(two.myself().address.ip().is_loopback(), "the first that answered told it");
    assert_eq!(one.members().len(), 2);
    assert_eq!(stranger.members().len(), 1);
}
