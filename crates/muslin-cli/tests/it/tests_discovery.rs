//! Nodes that have to be found: none of them is where it was, and none sees the others' files.

#[path = "../../../muslin/src/discovery/srv/name_server.rs"]
mod name_server;

use crate::http;
use crate::ports;
use crate::process::{Running, Said, muslin, run, until};
use name_server::{NameServer, Zone};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Stdio;
use tempfile::TempDir;

const SRV: &str = "_muslin._udp.cluster.test";

/// A cluster whose nodes do not find each other as nodes of one host do.
struct Cluster {
    directory: TempDir,
    addresses: Vec<String>,
    nodes: Vec<Running>,
    token: String,
}

impl Cluster {
    /// Founds with `n1` at the first address and runs it.
    fn found(addresses: Vec<String>, ways: &[&str]) -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let mut cluster = Cluster { directory, addresses, nodes: vec![], token: String::new() };
        let place = cluster.place(0);
        let line = ["init", "-o", "json", "--data-dir", place.to_str().unwrap(), "--name", "n1"];
        let node = ["--listen", &cluster.addresses[0], "--profile", "fast"];
        let said = run(&[&line[..], &node[..]].concat()).ok().json();
        cluster.token = said["token"].as_str().unwrap().to_string();
        let first = cluster.up(0, ways);
        cluster.nodes.push(first);
        http::write(&cluster.addresses[0], "a", "1");
        cluster
    }

    /// Lets the others join in the way that is named, and run in these ways.
    fn grow(&mut self, join: &[&str], ways: &[&str]) {
        for number in 1..self.addresses.len() {
            until("it is let in", || (self.join(number, join).code == Some(0)).then_some(()));
            let node = self.up(number, ways);
            self.nodes.push(node);
        }
        self.wait_healthy();
    }

    fn join(&self, number: usize, ways: &[&str]) -> Said {
        let (place, name) = (self.place(number), format!("n{}", number + 1));
        let line = ["join", "--token", &self.token, "--data-dir", place.to_str().unwrap()];
        let node = ["--name", &name, "--listen", &self.addresses[number], "--profile", "fast"];
        run(&[&line[..], &node[..], ways].concat())
    }

    fn place(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("n{}", number + 1))
    }

    /// Runs a node at its present address, in a runtime directory of its own.
    fn up(&self, number: usize, ways: &[&str]) -> Running {
        let place = self.place(number);
        let runtime = place.with_extension("run");
        std::fs::create_dir_all(&runtime).unwrap();
        let log = std::fs::File::options();
        let log = log.clone().create(true).append(true).open(place.with_extension("log")).unwrap();
        let address = &self.addresses[number];
        let line = ["up", "--data-dir", place.to_str().unwrap(), "--listen", address];
        let mut command = muslin(&[&line[..], &["--advertise", address], ways].concat());
        command.env("XDG_RUNTIME_DIR", runtime).stdin(Stdio::null());
        Running::start(command.stdout(log.try_clone().unwrap()).stderr(log))
    }

    /// All killed, and back at other addresses.
    fn move_to(&mut self, addresses: Vec<String>, ways: &[&str]) {
        self.kill_all();
        self.addresses = addresses;
        self.nodes = (0..self.addresses.len()).map(|number| self.up(number, ways)).collect();
    }

    fn kill_all(&mut self) {
        self.nodes.iter_mut().for_each(Running::kill);
        self.nodes.clear();
    }

    fn wait_healthy(&self) {
        for address in &self.addresses {
            until("every node sees three voters that answer", || {
                let status = http::status(address)?;
                let is_whole = status["voters"]["total"] == 3 && status["health"] == "healthy";
                is_whole.then_some(())
            });
        }
    }

    /// Until a node sees the others and itself where they are, and nobody else.
    fn wait_seen_by(&self, number: usize) {
        until("all are seen where they are", || {
            let answer = http::ask(&self.addresses[number], "GET", "/v1/nodes", b"")?.json();
            let items = answer["items"].as_array()?;
            let mut seen: Vec<&str> =
                items.iter().filter_map(|node| node["addr"].as_str()).collect();
            seen.sort();
            (seen == self.addresses).then_some(())
        });
    }
}

fn addresses(ip: &str, first: u16) -> Vec<String> {
    (first..first + 3).map(|port| format!("{ip}:{port}")).collect()
}

/// A zone that names these addresses by one host each.
fn zone(addresses: &[String]) -> Zone {
    let mut zone = Zone { ttl: 1, ..Zone::default() };
    for (number, address) in addresses.iter().enumerate() {
        let address: std::net::SocketAddr = address.parse().unwrap();
        let host = format!("n{number}.cluster.test");
        zone.services.push((SRV.into(), 0, 10, address.port(), host.clone()));
        zone.hosts.push((host, address.ip()));
    }
    zone
}

#[test]
fn a_cluster_is_joined_and_re_forms_by_an_srv_name() {
    let first = addresses("127.0.0.1", ports::row(3));
    let server = NameServer::start(zone(&first));
    let way = format!("srv:{SRV}@{}", server.address);
    let ways = ["--discover", way.as_str()];
    let mut cluster = Cluster::found(first, &ways);
    cluster.grow(&ways, &ways);
    // All are elsewhere, and the name server learns it after they were started.
    let moved = addresses("127.0.0.1", ports::row(3));
    cluster.move_to(moved.clone(), &ways);
    server.change(|served| *served = zone(&moved));
    cluster.wait_healthy();
    assert_eq!(http::read(&cluster.addresses[2], "a"), Some("1".to_string()));
}

#[test]
fn two_clusters_on_one_multicast_group_and_the_same_ports_never_mix() {
    let group = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let way = format!("multicast:239.1.1.1:{group}");
    let ways = ["--discover", way.as_str()];
    // The same ports on two addresses of the loopback interface.
    let port = ports::row(3);
    let places = [addresses("127.0.0.1", port), addresses("127.0.0.2", port)];
    let mut clusters = places.clone().map(|places| Cluster::found(places, &ways));
    for cluster in &mut clusters {
        cluster.grow(&ways, &ways);
    }
    for cluster in &clusters {
        cluster.wait_seen_by(1);
    }
    http::write(&clusters[0].addresses[0], "whose", "ours");
    http::write(&clusters[1].addresses[0], "whose", "theirs");
    // Each takes the places of the other, where all that they remember leads them to.
    clusters.iter_mut().for_each(Cluster::kill_all);
    let [ours, theirs] = &mut clusters;
    ours.move_to(places[1].clone(), &ways);
    theirs.move_to(places[0].clone(), &ways);
    for (cluster, whose) in clusters.iter().zip(["ours", "theirs"]) {
        cluster.wait_healthy();
        let read = http::read(&cluster.addresses[2], "whose");
        assert_eq!(read, Some(whose.to_string()));
        cluster.wait_seen_by(2);
    }
}

#[test]
fn members_of_a_static_list_agree_without_gossip_and_survive_a_death() {
    let places = addresses("127.0.0.1", ports::row(3));
    let list: Vec<String> =
        places.iter().enumerate().map(|(at, place)| format!("n{}={place}", at + 1)).collect();
    let way = format!("static:{}", list.join(","));
    let ways = ["--discover", way.as_str()];
    let mut cluster = Cluster::found(places, &ways);
    cluster.grow(&ways, &ways);
    cluster.wait_seen_by(2);
    cluster.nodes[0].kill();
    http::write(&cluster.addresses[2], "b", "2");
    until("the one that leads says that one is missing", || {
        let status = cluster.addresses[1..].iter().filter_map(|address| http::status(address));
        status.into_iter().find(|status| status["health"] == "degraded")
    });
    cluster.nodes[0] = cluster.up(0, &ways);
    cluster.wait_healthy();
    assert_eq!(http::read(&cluster.addresses[0], "b"), Some("2".to_string()));
    for address in &cluster.addresses {
        let metrics = until("it counts", || http::ask(address, "GET", "/metrics", b""));
        let metrics = String::from_utf8(metrics.body).unwrap();
        let sent =
            metrics.lines().find(|line| line.starts_with("muslin_transport_datagrams_out_total"));
        assert!(sent.is_some_and(|line| line.ends_with(" 0")), "{sent:?}");
    }
    // All elsewhere: the list is all that has to be changed.
    let moved = addresses("127.0.0.1", ports::row(3));
    let list: Vec<String> =
        moved.iter().enumerate().map(|(at, place)| format!("n{}={place}", at + 1)).collect();
    let way = format!("static:{}", list.join(","));
    cluster.move_to(moved, &["--discover", way.as_str()]);
    cluster.wait_healthy();
}

#[test]
fn a_joiner_tries_the_next_place_and_says_where_it_looked_in_vain() {
    let places = addresses("127.0.0.1", ports::row(3));
    let other = Cluster::found(addresses("127.0.0.1", ports::row(3)), &[]);
    let cluster = Cluster::found(places, &[]);
    // Nobody, a node of another cluster, one that is right.
    let seeds = format!("{},{},{}", cluster.addresses[2], other.addresses[0], cluster.addresses[0]);
    cluster.join(1, &["--seeds", &seeds]).ok();
    let nobody = format!("srv:{SRV}@127.0.0.1:9");
    let said = cluster.join(2, &["--discover", &nobody]);
    assert_eq!(said.code, Some(5), "{said:?}");
    assert!(said.stderr.contains(&nobody) && said.stderr.contains("HOST:PORT"), "{said:?}");
}

#[test]
fn ways_that_cannot_be_are_refused_with_an_example() {
    for (way, example) in [
        ("--discover=10.0.0.1:7400", "--seeds"),
        ("--discover=srv:cluster.test", "srv:_muslin._udp.example.org"),
        ("--discover=multicast:10.0.0.1:7", "multicast:239.1.1.1:7399"),
        ("--discover=static:10.0.0.1:7", "n1=10.0.0.1:7400"),
        ("--seeds=db", "db.example:7400"),
        ("--seed=a:1,b", "it has no port"),
    ] {
        let said = run(&["up", "--data-dir", "nowhere", way]);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.stderr.contains(example), "{said:?}");
    }
    let both = ["--discover", "static:n1=10.0.0.1:7400", "--seeds", "10.0.0.1:7400"];
    let said = run(&[&["up", "--data-dir", "nowhere"][..], &both[..]].concat());
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("static:"), "{said:?}");
}
