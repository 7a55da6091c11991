use super::lookup::all_names;
use super::message::{Content, Kind, NotOurs, Record, Target, question, read};
use super::name::Name;
use super::name_server::{NameServer, Zone, answer};
use super::*;
use crate::discovery::{Discovery, Patient, contract};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const NAME: &str = "_muslin._udp.cluster.test";

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Two services, one of them on two addresses.
fn zone() -> Zone {
    let service = |priority, port, target: &str| (NAME.into(), priority, 0, port, target.into());
    let host = |name: &str, ip: &str| (name.into(), ip.parse().unwrap());
    Zone {
        services: vec![service(2, 7402, "n2.cluster.test"), service(1, 7401, "n1.cluster.test")],
        hosts: vec![
            host("n1.cluster.test", "10.0.0.1"),
            host("n1.cluster.test", "fd00::1"),
            host("n2.cluster.test", "10.0.0.2"),
        ],
        ttl: 5,
        is_generous: true,
        ..Zone::default()
    }
}

fn expected() -> Vec<SocketAddr> {
    vec![at("10.0.0.1:7401"), at("[fd00::1]:7401"), at("10.0.0.2:7402")]
}

fn srv_at(server: &NameServer) -> Srv {
    Srv::new(format!("{NAME}@{}", server.address).parse().unwrap())
}

/// Asks, however young the last answer is.
fn ask_again(srv: &mut Srv) -> Vec<SocketAddr> {
    srv.again_at = None;
    srv.contacts()
}

/// Asks until the answer is as expected: on a busy machine the server may be late.
#[track_caller]
fn until(srv: &mut Srv, expected: &[SocketAddr]) {
    let end = Instant::now() + Duration::from_secs(120);
    while ask_again(srv) != expected {
        assert!(Instant::now() < end, "{:?} is not {expected:?}", srv.contacts());
    }
}

#[test]
fn a_name_gives_hosts_and_ports_in_the_order_of_their_priority() {
    let server = NameServer::start(zone());
    let mut srv = srv_at(&server);
    until(&mut srv, &expected());
    contract::check(&mut srv);
    contract::check(&mut Patient::new(srv));
}

#[test]
fn targets_that_come_without_addresses_are_asked_about() {
    let server = NameServer::start(Zone { is_generous: false, ..zone() });
    until(&mut srv_at(&server), &expected());
}

#[test]
fn an_answer_that_does_not_fit_a_datagram_is_fetched_over_tcp() {
    let server = NameServer::start(Zone { is_cutting: true, ..zone() });
    until(&mut srv_at(&server), &expected());
}

#[test]
fn other_names_are_followed_and_circles_come_to_an_end() {
    let server = NameServer::start(zone());
    server.change(|zone| {
        zone.services[0].0 = "real.cluster.test".into();
        zone.services[1].0 = "real.cluster.test".into();
        zone.aliases.push((NAME.into(), "real.cluster.test".into()));
    });
    until(&mut srv_at(&server), &expected());
    let alias = |owner: &str, target: &str| Record {
        owner: name(owner),
        ttl: 1,
        content: Content::Alias(name(target)),
    };
    let circle = [alias("a", "b"), alias("b", "a"), alias("b", "c")];
    assert_eq!(all_names(&name("a"), &circle), [&name("a"), &name("b"), &name("c")]);
}

#[test]
fn a_target_without_an_address_harms_no_other() {
    let server = NameServer::start(Zone { is_generous: false, ..zone() });
    server.change(|zone| zone.hosts.retain(|(owner, _)| owner != "n1.cluster.test"));
    until(&mut srv_at(&server), &[at("10.0.0.2:7402")]);
}

#[test]
fn what_was_known_last_outlives_a_server_that_fails_and_follows_one_that_is_back() {
    let server = NameServer::start(zone());
    let mut srv = srv_at(&server);
    until(&mut srv, &expected());
    server.change(|zone| zone.is_silent = true);
    assert_eq!(ask_again(&mut srv), expected());
    server.change(|zone| (zone.is_silent, zone.services) = (false, Vec::new()));
    assert_eq!(ask_again(&mut srv), expected(), "no such name is a failure, too");
    server.change(|zone| {
        zone.services = vec![(NAME.into(), 0, 0, 9, "n2.cluster.test".into())];
    });
    until(&mut srv, &[at("10.0.0.2:9")]);
    server.change(|zone| zone.services[0].4 = ".".into());
    assert_eq!(ask_again(&mut srv), [at("10.0.0.2:9")], "a dot says that there is none");
}

#[test]
fn an_answer_is_kept_as_long_as_it_says() {
    let server = NameServer::start(Zone { ttl: 20, ..zone() });
    let mut srv = srv_at(&server);
    until(&mut srv, &expected());
    server.change(|zone| zone.services.truncate(1));
    assert_eq!(srv.contacts(), expected());
    assert!(srv.again_at.unwrap() > Instant::now() + Duration::from_secs(5));
    until(&mut srv, &[at("10.0.0.2:7402")]);
}

#[test]
fn names_are_refused_with_an_example() {
    let refused = |text: &str| text.parse::<SrvName>().unwrap_err().to_string();
    for text in ["", "cluster.test", "muslin._udp.test", "_muslin.test", "10.0.0.1:7400"] {
        assert!(refused(text).contains("srv:_muslin._udp.example.org"), "{text}");
    }
    for text in ["_a._b.c d", "_a._b..c", "_a._b.c:53", &format!("_a._b.{}", "x".repeat(64))] {
        assert!(refused(text).contains("no domain name"), "{text}");
    }
    for text in ["_a._b.c@", "_a._b.c@dns.test", "_a._b.c@0.0.0.0", "_a._b.c@10.0.0.1:0"] {
        assert!(refused(text).contains("@10.0.0.53"), "{text}");
    }
    for (text, shown) in [
        ("_Muslin._UDP.Example.org.", "_muslin._udp.example.org"),
        ("_a._b.c@10.0.0.53", "_a._b.c@10.0.0.53:53"),
        ("_a._b.c@[::1]:5353", "_a._b.c@[::1]:5353"),
        ("_a._b.c@::1", "_a._b.c@[::1]:53"),
    ] {
        assert_eq!(text.parse::<SrvName>().unwrap().to_string(), shown);
    }
}

#[test]
fn the_systems_servers_are_read_and_this_machine_is_asked_when_there_are_none() {
    let text = "# a\nsearch x\nnameserver 10.0.0.1\nnameserver bad\n nameserver fd00::1 \n\
                nameserver 0.0.0.0\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n";
    assert_eq!(system::parse(text), ["10.0.0.1:53", "[fd00::1]:53", "10.0.0.2:53"].map(at));
    assert_eq!(system::parse("options edns0"), [at("127.0.0.1:53")]);
}

fn target(priority: u16, weight: u16, port: u16) -> Target {
    Target { priority, weight, port, host: name("t") }
}

#[test]
fn among_equals_heavier_ones_come_first_more_often() {
    let services = [target(5, 100, 4), target(1, 30, 2), target(1, 10, 1), target(1, 0, 3)];
    let mut firsts = [0; 5];
    for drawn in 0..=40 {
        let ordered = order::ordered(services.to_vec(), &mut |most| drawn.min(most));
        assert_eq!(ordered[3].port, 4, "a later priority is tried last");
        firsts[usize::from(ordered[0].port)] += 1;
    }
    assert_eq!(firsts, [0, 10, 30, 1, 0], "by weight, and one without any now and then");
    let mut draws = (0..100).map(|_| order::drawn(u32::MAX));
    let first = draws.next();
    assert!(draws.any(|drawn| Some(drawn) != first));
    assert_eq!(order::drawn(0), 0);
}

/// A question and an answer to it, as they travel.
fn exchange() -> (Vec<u8>, Vec<u8>) {
    let question = question(7, &name(NAME), Kind::Srv);
    let answer = answer(&zone(), &question, false);
    (question, answer)
}

#[test]
fn an_answer_is_read_whole_or_refused_wherever_it_breaks_off_or_is_changed() {
    let (question, whole) = exchange();
    let (asked, other) = (name(NAME), name("_other._udp.cluster.test"));
    let read_as = |bytes: &[u8]| read(bytes, 7, (&asked, Kind::Srv));
    let records = read_as(&whole).unwrap();
    assert_eq!((records.records.len(), records.additional.len()), (2, 3));
    for length in 0..whole.len() {
        assert!(read_as(&whole[..length]).is_err(), "{length}");
    }
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            if let Ok(answer) = read_as(&changed) {
                assert!(answer.records.len() + answer.additional.len() <= 5);
            }
        }
    }
    assert_eq!(read_as(&question).unwrap_err(), NotOurs::Other, "a question is no answer");
    assert_eq!(read(&whole, 8, (&asked, Kind::Srv)).unwrap_err(), NotOurs::Other);
    assert_eq!(read(&whole, 7, (&other, Kind::Srv)).unwrap_err(), NotOurs::Other);
    assert_eq!(read(&whole, 7, (&asked, Kind::A)).unwrap_err(), NotOurs::Other);
}

#[test]
fn names_that_point_at_themselves_or_ahead_are_refused() {
    let (question, whole) = exchange();
    // The first record begins behind the question, with a pointer.
    let record = question.len() - 11;
    assert_eq!(whole[record], 0xc0);
    for target in [record, record + 2, whole.len() + 5] {
        let mut changed = whole.clone();
        changed[record + 1] = target as u8;
        changed[record] |= (target >> 8) as u8;
        assert_eq!(
            read(&changed, 7, (&name(NAME), Kind::Srv)).unwrap_err(),
            NotOurs::Malformed,
            "{target}"
        );
    }
}

#[test]
fn a_message_that_claims_many_records_costs_what_it_has() {
    let (_, whole) = exchange();
    let mut changed = whole;
    (changed[6], changed[7]) = (0xff, 0xff);
    assert_eq!(read(&changed, 7, (&name(NAME), Kind::Srv)).unwrap_err(), NotOurs::Malformed);
}
