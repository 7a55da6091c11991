//! Names that are resolved again, and lists of names.

use super::at;
use crate::discovery::{
    Combined, Discovery, Fixed, Listed, Method, Resolve, SEEDS_MAX, Seeds, StaticList, contract,
};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a name stands for; `None` hangs until it is set.
type Answer = (String, Option<Vec<SocketAddr>>);

/// Gives what is set, by name.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Vec<Answer>>>);

impl Names {
    fn set(&self, name: &str, addresses: Option<&[SocketAddr]>) {
        let mut names = self.0.lock().unwrap();
        names.retain(|(known, _)| known != name);
        names.push((name.into(), addresses.map(<[_]>::to_vec)));
    }

    fn forget(&self, name: &str) {
        self.0.lock().unwrap().retain(|(known, _)| known != name);
    }

    fn resolver(&self) -> Resolve {
        let names = self.clone();
        Arc::new(move |wanted| {
            loop {
                let known = names.0.lock().unwrap().clone();
                match known.into_iter().find(|(name, _)| name == wanted) {
                    Some((_, Some(addresses))) => return Ok(addresses),
                    Some((_, None)) => std::thread::sleep(Duration::from_millis(5)),
                    None => return Err(io::Error::other("no such name")),
                }
            }
        })
    }
}

/// Asks until the answer is as expected: one that is late is given the next time.
#[track_caller]
fn until(discovery: &mut dyn Discovery, expected: &[SocketAddr]) {
    let end = Instant::now() + Duration::from_secs(120);
    while discovery.contacts() != expected {
        assert!(Instant::now() < end, "{:?} is not {expected:?}", discovery.contacts());
    }
}

#[test]
fn a_name_and_an_address_are_seeds() {
    let mut seeds = Seeds::new(["localhost:7400", "127.0.0.1:7401", "[::1]:7402"]).unwrap();
    let contacts = seeds.contacts();
    assert!(contacts.contains(&at(7401)));
    assert!(contacts.iter().any(|address| address.ip().is_loopback() && address.port() == 7400));
    assert!(contacts.iter().any(|address| address.is_ipv6() && address.port() == 7402));
}

#[test]
fn what_is_no_seed_is_refused_with_the_reason_and_an_example() {
    for (bad, why) in [
        ("", "no port"),
        ("host", "no port"),
        ("host:", "no port"),
        (":7400", "no host"),
        ("host:0", "port 0"),
        ("host:99999", "no number from 1"),
        ("::1:7400", "brackets"),
        ("::1", "brackets"),
        ("http://host:80", "web page"),
        ("a b:1", "a space"),
    ] {
        let error = Seeds::new([bad]).err().unwrap_or_else(|| panic!("`{bad}` was taken"));
        let error = error.to_string();
        assert!(error.contains(why) && error.contains("write host:port"), "{error}");
    }
    let many = (0..=SEEDS_MAX).map(|number| format!("n{number}:1"));
    assert!(Seeds::new(many).err().unwrap().to_string().contains("65 seeds"));
}

#[test]
fn a_seed_that_does_not_resolve_does_not_hide_the_others() {
    let mut seeds = Seeds::new(["no-such-name.invalid:1", "127.0.0.1:7401"]).unwrap();
    assert_eq!(seeds.contacts(), [at(7401)]);
}

#[test]
fn one_name_may_have_many_addresses_and_is_asked_again_at_every_try() {
    let names = Names::default();
    names.set("db:7400", Some(&[at(1), at(2)]));
    let mut seeds = Seeds::resolved_by(["db:7400"], names.resolver()).unwrap();
    until(&mut seeds, &[at(1), at(2)]);
    names.set("db:7400", Some(&[at(2), at(3), at(4)]));
    until(&mut seeds, &[at(2), at(3), at(4)]);
    let many: Vec<SocketAddr> = (1..=1_000).map(at).collect();
    names.set("db:7400", Some(&many));
    until(&mut seeds, &many[..64]);
    contract::check(&mut seeds);
}

#[test]
fn a_name_that_hangs_or_fails_harms_no_other_and_is_taken_up_when_it_answers() {
    let names = Names::default();
    names.set("hangs:1", None);
    names.set("good:1", Some(&[at(1)]));
    let written = ["hangs:1", "fails:1", "good:1", "127.0.0.1:7402"];
    let mut seeds = Seeds::resolved_by(written, names.resolver()).unwrap();
    until(&mut seeds, &[at(1), at(7402)]);
    names.set("hangs:1", Some(&[at(3)]));
    names.set("fails:1", Some(&[at(4)]));
    until(&mut seeds, &[at(3), at(4), at(1), at(7402)]);
}

#[test]
fn what_a_name_was_last_outlives_the_name_server() {
    let names = Names::default();
    names.set("db:1", Some(&[at(1), at(2)]));
    let mut seeds = Seeds::resolved_by(["db:1"], names.resolver()).unwrap();
    until(&mut seeds, &[at(1), at(2)]);
    contract::check_lasting(&mut seeds, || names.forget("db:1"));
    contract::check_lasting(&mut seeds, || names.set("db:1", None));
    names.set("db:1", Some(&[]));
    until(&mut seeds, &[]);
}

#[test]
fn a_static_list_says_who_is_where() {
    let list: StaticList = "n1=127.0.0.1:7401, n2=[::1]:7402,n3=localhost:7403,".parse().unwrap();
    assert_eq!(list.to_string(), "n1=127.0.0.1:7401,n2=[::1]:7402,n3=localhost:7403");
    let mut listed = Listed::new(&list);
    let end = Instant::now() + Duration::from_secs(120);
    while listed.places().len() < 3 {
        assert!(Instant::now() < end);
    }
    let places = listed.places();
    assert_eq!((places["n1"], places["n2"]), (at(7401), "[::1]:7402".parse().unwrap()));
    assert!(places["n3"].ip().is_loopback());
    contract::check(&mut listed);
    contract::check(&mut Combined::new(at(7401)).with(listed).with(Fixed::new([at(1)])));
}

#[test]
fn a_static_list_that_cannot_be_is_refused_with_the_reason() {
    let refused = |text: &str| text.parse::<Method>().unwrap_err().to_string();
    for (text, why) in [
        ("static:", "is empty"),
        ("static:,", "is empty"),
        ("static:10.0.0.1:7400", "no name"),
        ("static:=10.0.0.1:7400", "name is empty"),
        ("static:n1=10.0.0.1", "no port"),
        ("static:n1=a:1,n1=b:1", "names n1 twice"),
        ("10.0.0.1:7400", "a seed: --seeds"),
        ("dns:x", "write srv:_muslin._udp.example.org"),
    ] {
        assert!(refused(text).contains(why), "{text}: {}", refused(text));
    }
    let many: Vec<String> = (0..300).map(|number| format!("n{number}=10.0.0.1:7400")).collect();
    assert!(refused(&format!("static:{}", many.join(","))).contains("300 members are too many"));
}
