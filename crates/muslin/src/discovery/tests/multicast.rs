//! Beacons, and sockets on the loopback interface.

use super::at;
use crate::discovery::multicast::Multicast;
use crate::discovery::{
    BEACON_BYTES, Beacon, Combined, Discovery, Fixed, Group, HINTS_MAX, Member, Method, contract,
};
use crate::identity::{GossipKey, Keyring};
use muslin_core::base::{ClusterId, NodeId};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const OURS: ClusterId = ClusterId(7);
const THEIRS: ClusterId = ClusterId(7 + (1 << 100));

/// A group of the test's own on the loopback interface.
fn group() -> Group {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("239.1.1.1:{free}@127.0.0.1").parse().unwrap()
}

fn member(cluster: ClusterId, node: u64) -> Member {
    Member { cluster, node: NodeId(node), boot: 1, address: at(7400 + node as u16) }
}

fn of(group: Group, cluster: ClusterId, node: u64, ring: &Keyring) -> Multicast {
    let ring = ring.clone();
    Multicast::of_member(group, member(cluster, node), Box::new(move || ring.clone()))
}

fn beacon(node: u64, boot: u64, counter: u64) -> Beacon {
    Beacon { cluster: OURS, node: NodeId(node), boot, counter, address: at(7400 + node as u16) }
}

/// Until each has found what it should, or a while has passed.
fn until_found(all: &mut [(Multicast, Vec<SocketAddr>)]) {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let found: Vec<_> = all.iter_mut().map(|(one, _)| one.contacts()).collect();
        if found.iter().zip(all.iter()).all(|(found, (_, expected))| found == expected) {
            return;
        }
        assert!(Instant::now() < end, "found {found:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn two_clusters_on_one_group_find_their_own_and_joiners_the_one_of_their_token() {
    let group = group();
    let (ours, theirs) = (Keyring::generate(), Keyring::generate());
    // The same ids and addresses in both: nothing but cluster and key tells them apart.
    let mut all = vec![
        (of(group, OURS, 1, &ours), vec![at(7402)]),
        (of(group, OURS, 2, &ours), vec![at(7401)]),
        (of(group, THEIRS, 2, &theirs), vec![at(7403)]),
        (of(group, THEIRS, 3, &theirs), vec![at(7402)]),
        (Multicast::of_joiner(group, OURS), vec![at(7401), at(7402)]),
        (Multicast::of_joiner(group, THEIRS), vec![at(7402), at(7403)]),
        (Multicast::of_joiner(group, ClusterId(9)), vec![]),
    ];
    until_found(&mut all);
    for (one, _) in &mut all {
        contract::check(one);
    }
    assert!(all.iter().all(|(one, _)| one.dropped() > 0), "each heard the others");
}

#[test]
fn nothing_is_sent_because_of_what_comes() {
    let group = group();
    let ring = Keyring::generate();
    let mut listener = Multicast::of_joiner(group, OURS);
    listener.contacts();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&sender).set_multicast_if_v4(&[127, 0, 0, 1].into()).unwrap();
    sender.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let to: SocketAddr = group.to_string().split('@').next().unwrap().parse().unwrap();
    for counter in 0..20 {
        sender.send_to(&beacon(1, 1, counter).sign(&ring), to).unwrap();
        sender.send_to(&[0; 1_400], to).unwrap();
        let _ = listener.contacts();
    }
    assert_eq!(listener.contacts(), [at(7401)]);
    assert!(sender.recv(&mut [0; 2_000]).is_err());
}

#[test]
fn a_member_believes_only_what_its_clusters_keys_signed() {
    let ring = Keyring::generate();
    let mut one = of(group(), OURS, 9, &ring);
    let stranger = Keyring::generate();
    one.on_datagram(&beacon(1, 1, 1).sign(&stranger), Some(&ring));
    let other = Beacon { cluster: THEIRS, ..beacon(1, 1, 1) };
    one.on_datagram(&other.sign(&ring), Some(&ring));
    assert_eq!((one.heard(), one.dropped()), (0, 2));
    let signed = beacon(1, 1, 1).sign(&ring);
    for length in 0..BEACON_BYTES {
        one.on_datagram(&signed[..length], Some(&ring));
    }
    one.on_datagram(&[&signed[..], &[0]].concat(), Some(&ring));
    for place in 0..BEACON_BYTES {
        for bit in 0..8 {
            let mut changed = signed;
            changed[place] ^= 1 << bit;
            one.on_datagram(&changed, Some(&ring));
        }
    }
    assert_eq!(one.heard(), 0, "cut, too long or changed in one bit");
    one.on_datagram(&signed, Some(&ring));
    assert_eq!(one.heard(), 1);
}

#[test]
fn every_key_of_the_ring_is_believed_and_none_that_has_left_it() {
    let keys: Vec<GossipKey> =
        (1..=3).map(|id| GossipKey { id, ..Keyring::generate().sealing().clone() }).collect();
    let ring = |ids: &[usize]| Keyring::of(ids.iter().map(|id| keys[*id].clone()).collect());
    let (old, both, new) = (ring(&[0]).unwrap(), ring(&[1, 0]).unwrap(), ring(&[2, 1]).unwrap());
    let mut one = of(group(), OURS, 9, &both);
    one.on_datagram(&beacon(1, 1, 1).sign(&old), Some(&both));
    one.on_datagram(&beacon(2, 1, 1).sign(&both), Some(&both));
    one.on_datagram(&beacon(2, 1, 1).sign(&both), Some(&new));
    assert_eq!(one.heard(), 2);
    one.on_datagram(&beacon(3, 1, 1).sign(&old), Some(&new));
    assert_eq!(one.heard(), 2);
}

#[test]
fn an_older_beacon_does_not_move_a_node_back() {
    let ring = Keyring::generate();
    let mut one = of(group(), OURS, 9, &ring);
    let moved = Beacon { address: at(9_000), ..beacon(1, 2, 1) };
    for beacon in [beacon(1, 1, 500), moved, beacon(1, 1, 501), beacon(1, 2, 1)] {
        one.on_datagram(&beacon.sign(&ring), Some(&ring));
    }
    assert_eq!(one.contacts(), [at(9_000)]);
    assert_eq!(one.dropped(), 0, "they are true, and late");
}

#[test]
fn a_joiner_keeps_few_hints_the_latest() {
    let ring = Keyring::generate();
    let mut one = Multicast::of_joiner(group(), OURS);
    for node in 1..=500 {
        one.on_datagram(&beacon(node, 1, 1).sign(&ring), None);
    }
    let kept = one.contacts();
    assert_eq!(kept.len(), HINTS_MAX);
    assert!(kept.contains(&at(7_900)));
    let unreachable = Beacon { address: SocketAddr::from(([0, 0, 0, 0], 1)), ..beacon(501, 1, 1) };
    one.on_datagram(&unreachable.sign(&ring), None);
    contract::check(&mut one);
}

#[test]
fn a_member_hears_others_and_keeps_as_many_as_there_are_contacts() {
    let ring = Keyring::generate();
    let mut one = of(group(), OURS, 9, &ring);
    for node in 1..=1_000 {
        one.on_datagram(&beacon(node, 1, 1).sign(&ring), Some(&ring));
    }
    contract::check(&mut one);
    assert_eq!(one.contacts().len(), crate::discovery::CONTACTS_MAX);
}

#[test]
fn an_interface_that_is_not_there_harms_no_other_discovery() {
    let group: Group = "239.1.1.1:7399@192.0.2.77".parse().unwrap();
    let mut combined =
        Combined::new(at(1)).with(Multicast::of_joiner(group, OURS)).with(Fixed::new([at(2)]));
    assert_eq!(combined.contacts(), [at(2)]);
    assert_eq!(combined.contacts(), [at(2)]);
}

#[test]
fn groups_are_read_as_people_write_them() {
    let shown = |text: &str| text.parse::<Method>().map(|method| method.to_string());
    assert_eq!(shown("multicast").unwrap(), "multicast:239.1.1.1:7399");
    assert_eq!(shown("multicast:239.2.3.4:7000").unwrap(), "multicast:239.2.3.4:7000");
    assert_eq!(shown("multicast@10.0.0.1").unwrap(), "multicast:239.1.1.1:7399@10.0.0.1");
    for text in ["multicast:", "multicast:239.1.1.1", "multicast:10.0.0.1:7", "multicast:x:7"] {
        assert!(
            shown(text).unwrap_err().to_string().contains("multicast:239.1.1.1:7399"),
            "{text}"
        );
    }
    for text in ["multicast:224.0.0.1:7", "multicast:239.1.1.1:0", "multicast:[ff02::1]:7"] {
        assert!(shown(text).unwrap_err().to_string().contains("224.0.1.0"), "{text}");
    }
    for text in ["multicast@eth0", "multicast@0.0.0.0", "multicast@", "multicast@::1"] {
        assert!(shown(text).unwrap_err().to_string().contains("@10.0.0.1"), "{text}");
    }
}
