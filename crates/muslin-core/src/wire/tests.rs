use super::*;
use crate::base::{ClusterId, Epoch, GroupId, Incarnation, Index, LogId, NodeId, Term};
use crate::groups;
use crate::node::{
    Feed, FeedId, FeedRefusal, Health, KeepAliveAnswer, PeerMessage, Piece, Taken, Told,
};
use crate::raft::{
    AppendResult, Bound, Condition, Configuration, Entry, HardState, Message, Payload, RebuildId,
    SessionId, SnapshotMeta, Standing, Unbound,
};
use crate::swim::{BUCKETS, Buckets, Digest, Liveness, Metadata, Packet, PacketKind, Rumor};
use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};
use bytes::Bytes;
use core::net::{IpAddr, SocketAddr, SocketAddrV6};
use core::time::Duration;
use proptest::collection::{btree_set, vec as many};
use proptest::prelude::*;
use std::eprintln;

/// Numbers of every length on the wire, not only the long ones.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..300_u64, any::<u64>(), any::<u64>().prop_map(|bits| bits >> (bits % 64))]
}

fn node() -> impl Strategy<Value = NodeId> {
    number().prop_map(NodeId)
}

fn term() -> impl Strategy<Value = Term> {
    number().prop_map(Term)
}

fn index() -> impl Strategy<Value = Index> {
    number().prop_map(Index)
}

fn log_id() -> impl Strategy<Value = LogId> {
    (term(), index()).prop_map(|(term, index)| LogId::new(term, index))
}

fn session() -> impl Strategy<Value = SessionId> {
    number().prop_map(SessionId)
}

fn payload_bytes() -> impl Strategy<Value = Bytes> {
    many(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip.into(), port)),
        (any::<[u8; 16]>(), any::<u16>(), any::<u32>())
            .prop_map(|(ip, port, scope)| SocketAddrV6::new(ip.into(), port, 0, scope).into()),
    ]
}

prop_compose! {
    fn configuration()(
        voters in btree_set(node(), 0..8),
        outgoing in btree_set(node(), 0..8),
        learners in btree_set(node(), 0..8),
    ) -> Configuration {
        Configuration { voters, outgoing, learners }
    }
}

prop_compose! {
    fn snapshot_meta()(last in log_id(), configuration in configuration()) -> SnapshotMeta {
        SnapshotMeta { last, configuration }
    }
}

prop_compose! {
    fn hard_state()(
        term in term(),
        vote in proptest::option::of(node()),
        commit in index(),
        rebuilding in any::<bool>(),
        leased in any::<bool>(),
    ) -> HardState {
        HardState { term, vote, commit, rebuilding, leased }
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    let payload = prop_oneof![
        Just(Payload::Empty),
        payload_bytes().prop_map(Payload::Command),
        configuration().prop_map(Payload::Configuration),
    ];
    (log_id(), payload).prop_map(|(id, payload)| Entry { id, payload })
}

prop_compose! {
    fn append()(
        term in term(),
        session in session(),
        prev in log_id(),
        entries in many(entry(), 0..20),
        commit in index(),
    ) -> Unbound {
        Unbound::Append { term, session, prev, entries: entries.into(), commit }
    }
}

prop_compose! {
    fn snapshot_chunk()(
        term in term(),
        session in session(),
        meta in snapshot_meta(),
        (offset, total, checksum) in (number(), number(), number()),
        data in payload_bytes(),
        cluster in any::<u128>().prop_map(ClusterId),
    ) -> Unbound {
        Unbound::SnapshotChunk { term, session, cluster, meta, offset, total, checksum, data }
    }
}

fn unbound() -> impl Strategy<Value = Unbound> {
    prop_oneof![
        (term(), log_id()).prop_map(|(term, last)| Unbound::PreVote { term, last }),
        (term(), any::<bool>()).prop_map(|(term, granted)| Unbound::PreVoteReply { term, granted }),
        append(),
        (term(), session(), index(), index(), number(), any::<bool>()).prop_map(
            |(term, session, commit, matched, round, lease)| {
                Unbound::Heartbeat { term, session, commit, matched, round, lease }
            }
        ),
        snapshot_chunk(),
        term().prop_map(|term| Unbound::TimeoutNow { term }),
        (term(), number(), any::<bool>()).prop_map(|(term, id, lease)| Unbound::ReadIndex {
            term,
            id,
            lease
        }),
        (term(), number(), proptest::option::of(index()), many(number(), 0..5)).prop_map(
            |(term, id, index, silent)| Unbound::ReadIndexReply {
                term,
                id,
                index,
                silent: silent.into_iter().map(NodeId).collect(),
            }
        ),
    ]
}

prop_compose! {
    fn condition()(
        rebuild in proptest::option::of(number().prop_map(RebuildId)),
        is_full in any::<bool>(),
        commit in index(),
    ) -> Condition {
        Condition { rebuild, is_full, commit }
    }
}

fn bound() -> impl Strategy<Value = Bound> {
    let result = prop_oneof![
        index().prop_map(|matched| AppendResult::Accepted { matched }),
        (index(), log_id()).prop_map(|(prev, hint)| AppendResult::Rejected { prev, hint }),
    ];
    prop_oneof![
        (term(), log_id(), any::<bool>()).prop_map(|(term, last, transfer)| Bound::Vote {
            term,
            last,
            transfer
        }),
        (term(), any::<bool>()).prop_map(|(term, granted)| Bound::VoteReply { term, granted }),
        (term(), session(), result, condition()).prop_map(|(term, session, result, condition)| {
            Bound::AppendReply { term, session, result, condition }
        }),
        (term(), session(), number(), condition()).prop_map(|(term, session, round, condition)| {
            Bound::HeartbeatReply { term, session, round, condition }
        }),
        (term(), session(), log_id(), number(), any::<bool>(), condition()).prop_map(
            |(term, session, last, received, installed, condition)| Bound::SnapshotReply {
                term,
                session,
                last,
                received,
                installed,
                condition,
            }
        ),
    ]
}

fn peer_message() -> impl Strategy<Value = PeerMessage> {
    // In boxes: strategies of this depth, side by side, do not fit the stack of a test.
    let raft = prop_oneof![
        unbound().prop_map(Message::Unbound).boxed(),
        bound().prop_map(Message::Bound).boxed(),
    ];
    let answer = prop_oneof![
        (number(), number())
            .prop_map(|(ttl_ms, left_ms)| KeepAliveAnswer::Alive { ttl_ms, left_ms }),
        Just(KeepAliveAnswer::NotFound),
        Just(KeepAliveAnswer::NotLeader),
    ];
    prop_oneof![
        4 => (number(), raft).prop_map(|(group, message)| {
            PeerMessage::Raft { group: GroupId(group), message }
        }),
        1 => many(payload_bytes(), 0..10).prop_map(PeerMessage::Propose),
        1 => (
            many(number(), 0..10), proptest::option::of(node()), any::<bool>(), any::<bool>()
        ).prop_map(
            |(sequences, leader, busy, full)| PeerMessage::ProposeRefused {
                sequences,
                leader,
                busy,
                full
            }
        ),
        1 => (number(), number())
            .prop_map(|(number, lease)| PeerMessage::KeepAlive { number, lease }),
        1 => (number(), answer)
            .prop_map(|(number, answer)| PeerMessage::KeepAliveReply { number, answer }),
        1 => (number(), number())
            .prop_map(|(number, lease)| PeerMessage::TimeToLive { number, lease }),
        1 => group_message().prop_map(PeerMessage::Groups).boxed(),
        1 => payload_bytes().prop_map(PeerMessage::Gossip),
        2 => feed().prop_map(PeerMessage::Feed).boxed(),
    ]
}

fn told() -> impl Strategy<Value = Told> {
    let age = proptest::option::of(number());
    (number(), proptest::option::of(node()), number(), age).prop_map(
        |(term, leader, commit, age_ms)| {
            let standing = Standing { term: Term(term), leader, commit: Index(commit) };
            Told { standing, age_ms }
        },
    )
}

fn health() -> impl Strategy<Value = Health> {
    (any::<bool>(), any::<bool>())
        .prop_map(|(is_full, is_rebuilding)| Health { is_full, is_rebuilding })
}

fn feed() -> impl Strategy<Value = Feed> {
    let session = || number().prop_map(FeedId);
    let why = proptest::sample::select(vec![
        FeedRefusal::NoVoter,
        FeedRefusal::NoMember,
        FeedRefusal::Replicated,
        FeedRefusal::Busy,
    ]);
    let taken = (node(), number(), number(), health())
        .prop_map(|(node, upto, age_ms, health)| Taken { node, upto: Index(upto), age_ms, health });
    prop_oneof![
        (session(), proptest::option::of(log_id()), number())
            .prop_map(|(session, from, credit)| Feed::Subscribe { session, from, credit }),
        (session(), number(), health()).prop_map(|(session, upto, health)| Feed::Taken {
            session,
            upto: Index(upto),
            health
        }),
        (session(), log_id(), number()).prop_map(|(session, last, received)| Feed::PieceTaken {
            session,
            last,
            received
        }),
        session().prop_map(|session| Feed::Stop { session }),
        (session(), log_id(), many(entry(), 0..5), told()).prop_map(
            |(session, prev, entries, told)| {
                Feed::Entries { session, prev, entries: entries.into(), told }
            }
        ),
        (session(), number(), told()).prop_map(|(session, upto, told)| Feed::Pulse {
            session,
            upto: Index(upto),
            told
        }),
        (session(), feed_piece(), told()).prop_map(|(session, piece, told)| Feed::Piece {
            session,
            piece,
            told
        }),
        (session(), why, many(node(), 0..5)).prop_map(|(session, why, voters)| Feed::Refused {
            session,
            why,
            voters
        }),
        many(taken, 0..5).prop_map(Feed::Readers),
    ]
}

fn feed_piece() -> impl Strategy<Value = Piece> {
    (any::<u128>(), log_id(), configuration(), number(), number(), number(), payload_bytes())
        .prop_map(|(cluster, last, configuration, offset, total, checksum, data)| Piece {
            cluster: ClusterId(cluster),
            meta: SnapshotMeta { last, configuration },
            offset,
            total,
            checksum,
            data,
        })
}

fn matter() -> impl Strategy<Value = groups::Matter> {
    prop_oneof![
        number().prop_map(groups::Matter::Command),
        number().prop_map(groups::Matter::Question),
    ]
}

fn group_answer() -> impl Strategy<Value = groups::Answer> {
    let millis = |millis| groups::Answer::Busy { retry_after: Duration::from_millis(millis) };
    prop_oneof![
        payload_bytes().prop_map(groups::Answer::Said),
        number().prop_map(millis),
        Just(groups::Answer::Gone),
        Just(groups::Answer::Elsewhere),
        Just(groups::Answer::TooLong),
        Just(groups::Answer::Lost),
    ]
}

fn group_message() -> impl Strategy<Value = groups::Message> {
    let group = || number().prop_map(GroupId);
    let claim = (group(), number(), any::<bool>())
        .prop_map(|(group, assignment, declines)| groups::Claim { group, assignment, declines });
    prop_oneof![
        (number(), any::<bool>())
            .prop_map(|(boot, is_deaf)| groups::Message::Alive { boot, is_deaf }),
        (group(), many(payload_bytes(), 0..10))
            .prop_map(|(group, proposals)| groups::Message::Propose { group, proposals }),
        (group(), many(number(), 0..10), any::<bool>(), proptest::option::of(node())).prop_map(
            |(group, sequences, full, leader)| groups::Message::ProposeRefused {
                group,
                sequences,
                full,
                leader
            }
        ),
        (group(), number(), number(), payload_bytes(), any::<bool>()).prop_map(
            |(group, boot, number, query, is_local)| groups::Message::Question {
                group,
                boot,
                number,
                query,
                is_local
            }
        ),
        (group(), number(), matter(), group_answer()).prop_map(|(group, boot, matter, answer)| {
            groups::Message::Answered { group, boot, matter, answer }
        }),
        many(claim, 0..10).prop_map(groups::Message::Claims),
    ]
}

prop_compose! {
    fn metadata()(
        name in ".{0,20}",
        roles in many("[a-z]{0,8}", 0..4),
        etcd_address in ".{0,20}",
        protocol in any::<(u32, u32)>(),
        version in ".{0,10}",
        is_rebuilding in any::<bool>(),
        load in any::<u32>(),
        application in payload_bytes(),
    ) -> Metadata {
        Metadata { name, roles, etcd_address, protocol, version, is_rebuilding, load, application }
    }
}

fn liveness() -> impl Strategy<Value = Liveness> {
    prop_oneof![
        Just(Liveness::Alive),
        Just(Liveness::Suspect),
        Just(Liveness::Down),
        Just(Liveness::Left)
    ]
}

prop_compose! {
    fn rumor()(
        node in node(),
        state in liveness(),
        incarnation in number().prop_map(Incarnation),
        address in proptest::option::of(address()),
        metadata in proptest::option::of(metadata()),
        by in node(),
        ticket in payload_bytes(),
        gone_s in any::<u32>(),
    ) -> Rumor {
        Rumor { node, state, incarnation, address, metadata, by, ticket, gone_s }
    }
}

fn packet_kind() -> impl Strategy<Value = PacketKind> {
    prop_oneof![
        (number(), proptest::option::of(node()))
            .prop_map(|(number, target)| PacketKind::Ping { number, target }),
        (number(), proptest::option::of(address()))
            .prop_map(|(number, observed)| PacketKind::Ack { number, observed }),
        (number(), node(), address()).prop_map(|(number, target, address)| {
            PacketKind::PingRequest { number, target, address }
        }),
        (number(), node()).prop_map(|(number, target)| PacketKind::IndirectAck { number, target }),
        Just(PacketKind::Gossip),
        (number(), node()).prop_map(|(number, target)| PacketKind::Nack { number, target }),
        any::<u64>().prop_map(|wanted| PacketKind::SyncReply { wanted: Buckets(wanted) }),
        many(any::<u32>(), BUCKETS).prop_map(|sums| PacketKind::Sync {
            digest: Digest::new(sums.try_into().expect("as many as there are buckets")),
        }),
    ]
}

prop_compose! {
    fn packet()(
        from in node(),
        incarnation in number().prop_map(Incarnation),
        epoch in number().prop_map(Epoch),
        kind in packet_kind(),
        rumors in many(rumor(), 0..12),
    ) -> Packet {
        Packet { from, incarnation, epoch, kind, rumors }
    }
}

proptest! {
    #[test]
    fn a_peer_message_comes_back_as_it_went(message in peer_message()) {
        prop_assert_eq!(decode_peer(encode_peer(&message)), Ok(message));
    }

    #[test]
    fn a_packet_comes_back_as_it_went(packet in packet()) {
        prop_assert_eq!(decode_packet(encode_packet(&packet)), Ok(packet));
    }

    #[test]
    fn what_the_log_keeps_comes_back_as_it_went(
        entry in entry(),
        state in hard_state(),
        meta in snapshot_meta(),
    ) {
        prop_assert_eq!(decode_entry(encode_entry(&entry)), Ok(entry));
        prop_assert_eq!(decode_hard_state(encode_hard_state(&state)), Ok(state));
        prop_assert_eq!(decode_snapshot_meta(encode_snapshot_meta(&meta)), Ok(meta));
    }

    #[test]
    fn lengths_told_beforehand_are_the_lengths_written(packet in packet(), more in rumor()) {
        let before = encode_packet(&packet).len();
        prop_assert_eq!(packet_len(&packet), before);
        let mut longer = packet;
        longer.rumors.push(more.clone());
        prop_assert_eq!(encode_packet(&longer).len(), before + rumor_len(&more));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in many(any::<u8>(), 0..400)) {
        read_everything(&Bytes::from(bytes));
    }

    /// Bytes that are almost right go deeper into a decoder than noise does.
    #[test]
    fn damaged_messages_are_read_or_refused(
        message in peer_message(),
        packet in packet(),
        cut in any::<proptest::sample::Index>(),
        hit in any::<proptest::sample::Index>(),
        value in any::<u8>(),
    ) {
        for whole in [encode_peer(&message), encode_packet(&packet)] {
            let mut damaged = whole.to_vec();
            if !damaged.is_empty() {
                let place = hit.index(damaged.len());
                damaged[place] = value;
            }
            read_everything(&Bytes::from(damaged));
            read_everything(&whole.slice(..cut.index(whole.len() + 1)));
        }
    }
}

fn read_everything(bytes: &Bytes) {
    let _ = decode_peer(bytes.clone());
    let _ = decode_packet(bytes.clone());
    let _ = decode_entry(bytes.clone());
    let _ = decode_hard_state(bytes.clone());
    let _ = decode_snapshot_meta(bytes.clone());
}

#[test]
fn a_claimed_length_allocates_nothing() {
    // Each field says it is 2^62 bytes long; reserving that much would abort the process.
    let length = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f];
    for tag in 1..=15_u8 {
        let mut field = vec![tag << 3 | 2];
        field.extend_from_slice(&length);
        read_everything(&Bytes::from(field.clone()));
        for outer in 1..=15_u8 {
            let mut nested = vec![outer << 3 | 2, field.len() as u8];
            nested.extend_from_slice(&field);
            read_everything(&Bytes::from(nested.clone()));
            let mut deeper = vec![1 << 3 | 2, nested.len() as u8];
            deeper.extend_from_slice(&nested);
            assert!(decode_peer(Bytes::from(deeper)).is_err());
        }
    }
}

#[test]
fn kinds_of_a_later_version_are_told_apart_from_damage() {
    // Field 100, three bytes: what a later version might add.
    let later = [0xa2, 0x06, 0x03, 1, 2, 3];
    let of = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    assert_eq!(decode_peer(of(&later)), Err(WireError::UnknownKind));
    assert_eq!(decode_packet(of(&later)), Err(WireError::UnknownKind));
    assert_eq!(decode_entry(of(&later)), Err(WireError::UnknownKind));
    let raft_of_later_kind = [&[1 << 3 | 2, 6], &later[..]].concat();
    assert_eq!(decode_peer(of(&raft_of_later_kind)), Err(WireError::UnknownKind));
}

#[test]
fn fields_of_a_later_version_are_passed_over() {
    let message = PeerMessage::KeepAlive { number: 7, lease: 9 };
    let mut bytes = encode_peer(&message).to_vec();
    bytes.extend_from_slice(&[0xa2, 0x06, 0x03, 1, 2, 3]);
    assert_eq!(decode_peer(Bytes::from(bytes)), Ok(message));
}

#[test]
fn payloads_share_the_buffer_they_came_in() {
    let command = Bytes::from(vec![7; 1000]);
    let entry = Entry { id: LogId::ZERO, payload: Payload::Command(command) };
    let encoded = encode_entry(&entry);
    let Ok(Entry { payload: Payload::Command(decoded), .. }) = decode_entry(encoded.clone()) else {
        panic!("an entry was written and something else was read");
    };
    assert!(encoded.as_ptr_range().contains(&decoded.as_ptr()));
}

/// One of each, with small and large numbers: what the golden bytes are made of.
fn examples() -> Vec<(String, Bytes)> {
    let mut list = Vec::new();
    for message in example_messages() {
        let bytes = encode_peer(&message);
        assert_eq!(decode_peer(bytes.clone()), Ok(message.clone()));
        list.push((format!("peer {message:?}"), bytes));
    }
    for packet in example_packets() {
        let bytes = encode_packet(&packet);
        assert_eq!(decode_packet(bytes.clone()), Ok(packet.clone()));
        list.push((format!("packet {packet:?}"), bytes));
    }
    for entry in example_entries() {
        list.push((format!("entry {entry:?}"), encode_entry(&entry)));
    }
    let state = HardState {
        term: Term(7),
        vote: Some(NodeId(2)),
        commit: Index(300),
        rebuilding: false,
        leased: true,
    };
    list.push((format!("hard-state {state:?}"), encode_hard_state(&state)));
    let meta = example_meta();
    list.push((format!("snapshot-meta {meta:?}"), encode_snapshot_meta(&meta)));
    list
}

fn example_configuration() -> Configuration {
    Configuration {
        voters: [1, 2, 3].map(NodeId).into(),
        outgoing: [1, 2].map(NodeId).into(),
        learners: [0xfedc_ba98_7654_3210].map(NodeId).into(),
    }
}

fn example_meta() -> SnapshotMeta {
    SnapshotMeta { last: LogId::new(Term(7), Index(300)), configuration: example_configuration() }
}

fn example_entries() -> Vec<Entry> {
    let payloads = [
        Payload::Empty,
        Payload::Command(Bytes::from_static(b"put a 1")),
        Payload::Configuration(example_configuration()),
    ];
    let entry = |(index, payload)| Entry { id: LogId::new(Term(7), Index(index)), payload };
    (301..).zip(payloads).map(entry).collect()
}

fn example_promises() -> Vec<Bound> {
    let (term, session) = (Term(7), SessionId(0x1234_5678_9abc_def0));
    let (last, commit) = (LogId::new(Term(6), Index(300)), Index(299));
    let sound = Condition::default();
    let condition = Condition { rebuild: Some(RebuildId(9)), is_full: true, commit };
    vec![
        Bound::Vote { term, last, transfer: true },
        Bound::VoteReply { term, granted: false },
        Bound::AppendReply {
            term,
            session,
            result: AppendResult::Accepted { matched: commit },
            condition: sound,
        },
        Bound::AppendReply {
            term,
            session,
            result: AppendResult::Rejected { prev: commit, hint: last },
            condition,
        },
        Bound::HeartbeatReply { term, session, round: 12, condition: sound },
        Bound::HeartbeatReply { term, session, round: 12, condition },
        Bound::SnapshotReply { term, session, last, received: 517, installed: true, condition },
    ]
}

fn example_questions() -> Vec<Unbound> {
    let (term, session) = (Term(7), SessionId(0x1234_5678_9abc_def0));
    let (last, commit) = (LogId::new(Term(6), Index(300)), Index(299));
    vec![
        Unbound::PreVote { term, last },
        Unbound::PreVoteReply { term, granted: true },
        Unbound::Append { term, session, prev: last, entries: example_entries().into(), commit },
        Unbound::Heartbeat { term, session, commit, matched: last.index, round: 12, lease: true },
        Unbound::SnapshotChunk {
            term,
            session,
            cluster: ClusterId(0x0123_4567_89ab_cdef_0011_2233_4455_6677),
            meta: example_meta(),
            offset: 512,
            total: 1024,
            checksum: 0xcbf2_9ce4_8422_2325,
            data: Bytes::from_static(b"piece"),
        },
        Unbound::TimeoutNow { term },
        Unbound::ReadIndex { term, id: 5, lease: true },
        Unbound::ReadIndexReply { term, id: 5, index: Some(commit), silent: Vec::new() },
        Unbound::ReadIndexReply { term, id: 5, index: None, silent: Vec::new() },
        Unbound::ReadIndexReply { term, id: 5, index: Some(commit), silent: vec![NodeId(3)] },
    ]
}

fn example_messages() -> Vec<PeerMessage> {
    let term = Term(7);
    let raft = example_questions().into_iter().map(Message::Unbound);
    let raft = raft.chain(example_promises().into_iter().map(Message::Bound));
    let mut list: Vec<PeerMessage> =
        raft.map(|message| PeerMessage::Raft { group: GroupId::CONTROL, message }).collect();
    let message = Message::Unbound(Unbound::TimeoutNow { term });
    list.push(PeerMessage::Raft { group: GroupId(9), message });
    list.push(PeerMessage::Propose(vec![Bytes::from_static(b"one"), Bytes::new()]));
    let sequences = vec![1, 200, 40_000];
    let leader = Some(NodeId(3));
    list.push(PeerMessage::ProposeRefused { sequences, leader, busy: false, full: true });
    let sequences = vec![4];
    list.push(PeerMessage::ProposeRefused { sequences, leader: None, busy: true, full: false });
    list.push(PeerMessage::KeepAlive { number: 8, lease: 0x7000_0000_0000_0001 });
    let answers = [
        KeepAliveAnswer::Alive { ttl_ms: 5000, left_ms: 4999 },
        KeepAliveAnswer::NotFound,
        KeepAliveAnswer::NotLeader,
    ];
    list.extend(answers.map(|answer| PeerMessage::KeepAliveReply { number: 8, answer }));
    list.push(PeerMessage::TimeToLive { number: 8, lease: 1 });
    let group = GroupId(300);
    let claim = groups::Claim { group, assignment: 2, declines: true };
    let of_groups = [
        groups::Message::Alive { boot: 3, is_deaf: true },
        groups::Message::Propose { group, proposals: vec![Bytes::from_static(b"proposal")] },
        groups::Message::ProposeRefused {
            group,
            sequences: vec![7, 8],
            full: true,
            leader: Some(NodeId(2)),
        },
        groups::Message::Question {
            group,
            boot: 3,
            number: 7,
            query: Bytes::from_static(b"query"),
            is_local: true,
        },
        groups::Message::Answered {
            group,
            boot: 3,
            matter: groups::Matter::Command(7),
            answer: groups::Answer::Said(Bytes::from_static(b"answer")),
        },
        groups::Message::Answered {
            group,
            boot: 3,
            matter: groups::Matter::Question(8),
            answer: groups::Answer::Elsewhere,
        },
        groups::Message::Claims(vec![claim]),
    ];
    list.extend(of_groups.map(PeerMessage::Groups));
    list.extend(example_feeds().into_iter().map(PeerMessage::Feed));
    list
}

fn example_feeds() -> Vec<Feed> {
    let session = FeedId(0x0102_0304_0506_0708);
    let last = LogId::new(Term(7), Index(300));
    let standing = Standing { term: Term(7), leader: Some(NodeId(3)), commit: Index(301) };
    let told = Told { standing, age_ms: Some(0) };
    let entry = Entry {
        id: LogId::new(Term(7), Index(301)),
        payload: Payload::Command(Bytes::from_static(b"command")),
    };
    let meta = SnapshotMeta { last, configuration: Configuration::of_voters([NodeId(1)]) };
    let piece = Piece {
        cluster: ClusterId(9 << 64 | 8),
        meta,
        offset: 0,
        total: 5,
        checksum: 77,
        data: Bytes::from_static(b"state"),
    };
    let health = Health { is_full: true, is_rebuilding: true };
    let taken = Taken { node: NodeId(4), upto: Index(300), age_ms: 12, health };
    vec![
        Feed::Subscribe { session, from: Some(LogId::ZERO), credit: 65_536 },
        Feed::Subscribe { session, from: None, credit: 0 },
        Feed::Taken { session, upto: Index(300), health },
        Feed::PieceTaken { session, last, received: 5 },
        Feed::Stop { session },
        Feed::Entries { session, prev: last, entries: vec![entry].into(), told },
        Feed::Pulse { session, upto: Index(301), told: Told::default() },
        Feed::Piece { session, piece, told },
        Feed::Refused { session, why: FeedRefusal::Replicated, voters: vec![NodeId(1), NodeId(2)] },
        Feed::Readers(vec![taken]),
    ]
}

fn example_packets() -> Vec<Packet> {
    let v4 = SocketAddr::new([127, 0, 0, 1].into(), 7401);
    let v6_ip = IpAddr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let v6 = SocketAddr::new(v6_ip, 7402);
    let metadata = Metadata {
        name: "n3".into(),
        roles: vec!["control".into(), "worker".into()],
        etcd_address: "127.0.0.1:2379".into(),
        protocol: (1, 2),
        version: "0.1.0".into(),
        is_rebuilding: false,
        load: 250,
        application: Bytes::from_static(b"app"),
    };
    let state = |state, address, metadata| Rumor {
        node: NodeId(3),
        state,
        incarnation: Incarnation(4),
        address,
        metadata,
        by: NodeId(2),
        ticket: Bytes::new(),
        gone_s: 0,
    };
    let ticket = Bytes::from_static(b"ticket");
    let rumors = vec![
        Rumor { ticket, ..state(Liveness::Alive, Some(v6), Some(metadata)) },
        state(Liveness::Suspect, None, None),
        state(Liveness::Down, None, None),
        Rumor { gone_s: 60, ..state(Liveness::Left, Some(v4), None) },
    ];
    let kinds = [
        PacketKind::Ping { number: 1, target: Some(NodeId(2)) },
        PacketKind::Ping { number: 1, target: None },
        PacketKind::Ack { number: 1, observed: Some(v4) },
        PacketKind::Ack { number: 1, observed: None },
        PacketKind::PingRequest { number: 1, target: NodeId(2), address: v6 },
        PacketKind::IndirectAck { number: 1, target: NodeId(2) },
        PacketKind::Gossip,
        PacketKind::Sync { digest: Digest::new(core::array::from_fn(|at| at as u32)) },
        PacketKind::SyncReply { wanted: Buckets(0b101) },
        PacketKind::Nack { number: 1, target: NodeId(2) },
    ];
    let packet = |kind| Packet {
        from: NodeId(1),
        incarnation: Incarnation(300),
        epoch: Epoch(1),
        kind,
        rumors: Vec::new(),
    };
    let mut list: Vec<Packet> = kinds.map(packet).into();
    list.push(Packet { rumors, ..packet(PacketKind::Gossip) });
    list
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_format_has_not_changed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/wire/testdata/golden.txt");
    let lines = examples().into_iter().map(|(name, bytes)| format!("{name}\n{}\n", hex(&bytes)));
    let present: Vec<String> = lines.collect();
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        std::fs::write(path, present.join("\n")).expect("the test data can be written");
    }
    let golden = std::fs::read_to_string(path).expect("the test data can be read");
    for (line, (old, new)) in golden.split("\n\n").zip(&present).enumerate() {
        if old.trim() != new.trim() {
            eprintln!("example {line} was\n{old}\nand is\n{new}");
        }
    }
    assert!(
        golden == present.join("\n"),
        "the format changed: nodes of two versions could not talk"
    );
}
