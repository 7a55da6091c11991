//! A cluster made by hand: `init`, `join`, `up`.

use crate::http;
use crate::ports;
use crate::process::{Running, answered, copy, run, run_with_input, until};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Three directories of one cluster, and where their nodes listen.
struct Cluster {
    _directory: TempDir,
    places: Vec<PathBuf>,
    addresses: Vec<String>,
    nodes: Vec<Running>,
}

impl Cluster {
    /// Founds with one node and lets two more join it, all running.
    fn make() -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let places: Vec<PathBuf> =
            (1..=3).map(|n| directory.path().join(format!("n{n}"))).collect();
        let addresses = new_addresses();
        let (token, first) = found(&places[0], &addresses[0]);
        let mut nodes = vec![first];
        for number in 1..3 {
            let name = format!("n{}", number + 1);
            let place = places[number].to_str().unwrap();
            let node = ["--name", &name, "--listen", &addresses[number]];
            let line = ["join", &addresses[0], "--token", &token, "--data-dir", place];
            answered(&[&line[..], &node[..]].concat()).ok();
            nodes.push(Running::up(&places[number], &[]));
        }
        let cluster = Cluster { _directory: directory, places, addresses, nodes };
        cluster.wait_healthy();
        cluster
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

    fn stop_all(&mut self) {
        self.nodes.iter_mut().for_each(Running::stop);
        self.nodes.clear();
    }

    fn kill_all(&mut self) {
        self.nodes.iter_mut().for_each(Running::kill);
        self.nodes.clear();
    }

    fn up_all(&mut self) {
        self.nodes = self.places.iter().map(|place| Running::up(place, &[])).collect();
    }
}

fn new_addresses() -> Vec<String> {
    let first = ports::row(3);
    (first..first + 3).map(|port| format!("127.0.0.1:{port}")).collect()
}

/// Founds a cluster and runs its first node; the token and the node.
fn found(place: &Path, address: &str) -> (String, Running) {
    let node = ["--name", "n1", "--listen", address, "--profile", "fast"];
    let line = ["init", "-o", "json", "--data-dir", place.to_str().unwrap()];
    let said = run(&[&line[..], &node[..]].concat()).ok().json();
    let token = said["token"].as_str().unwrap().to_string();
    let join = said["join"].as_str().unwrap();
    assert!(token.starts_with("MSL1-"), "{said}");
    assert_eq!(
        join,
        format!(
            "muslin join {address} --token {token} --data-dir DIR --name NAME --listen IP:PORT"
        )
    );
    let running = Running::up(place, &[]);
    http::write(address, "founded", "yes");
    (token, running)
}

#[test]
fn three_directories_become_a_cluster_and_again_after_all_were_stopped_or_killed() {
    let mut cluster = Cluster::make();
    http::write(&cluster.addresses[1], "first", "1");
    cluster.stop_all();
    cluster.up_all();
    cluster.wait_healthy();
    assert_eq!(http::read(&cluster.addresses[2], "first"), Some("1".to_string()));
    http::write(&cluster.addresses[2], "second", "2");
    cluster.kill_all();
    cluster.up_all();
    cluster.wait_healthy();
    assert_eq!(http::read(&cluster.addresses[0], "second"), Some("2".to_string()));
    cluster.stop_all();
}

#[test]
fn a_cluster_re_forms_when_every_address_has_changed() {
    let mut cluster = Cluster::make();
    http::write(&cluster.addresses[0], "before", "the move");
    cluster.kill_all();
    cluster.addresses = new_addresses();
    let seed = cluster.addresses[0].clone();
    for (place, address) in cluster.places.iter().zip(&cluster.addresses) {
        // Nobody is where anybody was: someone has to say where to look.
        let flags = ["--listen", address, "--advertise", address, "--seed", &seed];
        cluster.nodes.push(Running::up(place, &flags));
    }
    cluster.wait_healthy();
    let read = http::read(&cluster.addresses[2], "before");
    assert_eq!(read, Some("the move".to_string()));
    http::write(&cluster.addresses[1], "after", "it");
    // Once found again, they are found again without help.
    cluster.stop_all();
    cluster.up_all();
    cluster.wait_healthy();
    assert_eq!(http::read(&cluster.addresses[0], "after"), Some("it".to_string()));
    cluster.stop_all();
}

#[test]
fn a_node_that_joins_with_up_goes_on_as_the_node() {
    let directory = tempfile::tempdir().unwrap();
    let addresses = new_addresses();
    let (token, mut first) = found(&directory.path().join("n1"), &addresses[0]);
    let second = directory.path().join("n2");
    let line = ["join", &addresses[0], "--token", &token, "--up", "--log", "error"];
    let node = ["--name", "n2", "--listen", &addresses[1], "--data-dir", second.to_str().unwrap()];
    let mut command = crate::process::muslin(&[&line[..], &node[..]].concat());
    let mut running = Running::start(command.stdout(std::process::Stdio::null()));
    until("the second node answers", || http::get(&addresses[1], "founded").flatten());
    let words = std::fs::read_to_string(format!("/proc/{}/cmdline", running.pid()));
    let words = words.unwrap();
    assert!(!words.contains("MSL1-") && words.contains("\0up\0"), "{words}");
    running.stop();
    first.stop();
}

#[test]
fn a_token_is_read_from_a_file_or_from_stdin() {
    let directory = tempfile::tempdir().unwrap();
    let addresses = new_addresses();
    let (token, mut first) = found(&directory.path().join("n1"), &addresses[0]);
    let file = directory.path().join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let join = |number: usize, from: &str, input: &[u8]| {
        let (name, place) = (format!("n{number}"), directory.path().join(format!("n{number}")));
        let line = ["join", &addresses[0], "--token-file", from, "--name", &name];
        let node = ["--listen", &addresses[number - 1], "--data-dir", place.to_str().unwrap()];
        run_with_input(&[&line[..], &node[..]].concat(), input)
    };
    let missing = join(2, directory.path().join("none").to_str().unwrap(), b"");
    assert!(missing.code == Some(2) && missing.stderr.contains("none"), "{missing:?}");
    join(2, file.to_str().unwrap(), b"").ok();
    join(3, "-", token.as_bytes()).ok();
    first.stop();
}

#[test]
fn a_wrong_token_is_refused_and_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let addresses = new_addresses();
    let (token, mut first) = found(&directory.path().join("n1"), &addresses[0]);
    let second = directory.path().join("n2");
    // A token of another cluster, which is well formed.
    let (other, _other) = found(&directory.path().join("other"), &addresses[2]);
    assert_ne!(token, other);
    for wrong in [other.as_str(), "MSL1-nonsense"] {
        let line = ["join", &addresses[0], "--token", wrong, "--name", "n2"];
        let node = ["--listen", &addresses[1], "--data-dir", second.to_str().unwrap()];
        let said = answered(&[&line[..], &node[..]].concat());
        assert!(said.code.is_some_and(|code| code != 0), "{said:?}");
        assert!(said.stderr.contains("token"), "{said:?}");
        let left = std::fs::read_dir(&second).map_or(0, |entries| entries.count());
        assert_eq!(left, 0, "a refused join leaves nothing");
    }
    assert!(first.is_alive());
    first.stop();
}

#[test]
fn a_data_directory_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("n1");
    let addresses = new_addresses();
    let (_, mut first) = found(&place, &addresses[0]);
    let said = Running::refused_up(&place, &["--listen", &addresses[1]]);
    assert!(said.contains(place.to_str().unwrap()), "{said}");
    http::write(&addresses[0], "still", "here");
    first.stop();
}

/// Puts a part of one data directory into the place of the same part of another.
fn transplant(part: &str, from: &Path, to: &Path) {
    let (from, to) = (from.join(part), to.join(part));
    let is_directory = from.is_dir();
    let _ = if is_directory { std::fs::remove_dir_all(&to) } else { std::fs::remove_file(&to) };
    std::fs::rename(from, to).unwrap();
}

#[test]
fn a_directory_put_together_of_two_nodes_is_refused_whatever_came_from_elsewhere() {
    for part in ["identity", "node.json", "log"] {
        let directory = tempfile::tempdir().unwrap();
        let (ours, theirs) = (directory.path().join("ours"), directory.path().join("theirs"));
        let addresses = new_addresses();
        for (place, address) in [(&ours, &addresses[0]), (&theirs, &addresses[1])] {
            let (_, mut node) = found(place, address);
            node.stop();
        }
        transplant(part, &theirs, &ours);
        let said = Running::refused_up(&ours, &[]);
        assert!(said.contains(directory.path().to_str().unwrap()), "{part}: {said}");
    }
}

#[test]
fn a_certificate_of_the_cluster_opens_the_door_and_one_of_another_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let addresses = new_addresses();
    let (ours, theirs) = (directory.path().join("ours"), directory.path().join("theirs"));
    let (_, mut node) = found(&ours, &addresses[0]);
    let (_, mut other) = found(&theirs, &addresses[1]);
    let ask = |identity: &Path| {
        let identity = identity.to_str().unwrap();
        run(&["kv", "get", "founded", "--addr", &addresses[0], "--identity", identity])
    };
    assert_eq!(ask(&ours).ok().stdout, "yes");
    let refused = ask(&theirs);
    assert!(refused.code.is_some_and(|code| code != 0) && refused.stdout.is_empty(), "{refused:?}");
    assert_eq!(ask(&directory.path().join("absent")).code, Some(2));
    node.stop();
    other.stop();
}

impl Cluster {
    /// Another directory of that node, as its is now, and an address for it. It writes nothing
    /// meanwhile: the copy is of one moment.
    fn copied(&self, number: usize) -> (PathBuf, String) {
        let place = self.places[number].with_extension("copy");
        self.nodes[number].signal(Signal::SIGSTOP);
        copy(&self.places[number], &place);
        self.nodes[number].signal(Signal::SIGCONT);
        (place, format!("127.0.0.1:{}", ports::row(1)))
    }

    fn events(&self, number: usize) -> String {
        let said = run(&["events", "--addr", &self.addresses[number]]);
        if said.code != Some(0) {
            let log = std::fs::read_to_string(self.places[number].with_extension("log"));
            panic!("{said:?} of a node that says: {}", log.unwrap_or_default());
        }
        said.stdout
    }
}

#[test]
fn a_copy_of_a_node_that_runs_is_not_started_and_both_are_told() {
    let mut cluster = Cluster::make();
    let (place, address) = cluster.copied(1);
    let said = Running::refused_up(&place, &["--listen", &address, "--advertise", &address]);
    assert!(said.contains(&format!("runs already, at {}", cluster.addresses[1])), "{said}");
    assert!(said.contains("join"), "{said}");
    assert!(cluster.events(1).contains("node-copied"), "{}", cluster.events(1));
    let status = http::status(&cluster.addresses[1]).unwrap();
    assert_eq!(status["health"], "degraded", "{status}");
    assert!(status["sentence"].as_str().unwrap().contains(&address), "{status}");
    // A node that has moved is known to the others at its next place: its old directory is not
    // started there either.
    cluster.nodes.remove(1).stop();
    let flags = ["--listen", &address, "--advertise", &address];
    let moved = Running::up(&place, &flags);
    until("the others see it where it is", || {
        let row = http::ask(&cluster.addresses[0], "GET", "/v1/nodes/n2", b"")?.json();
        (row["addr"] == address.as_str() && row["state"] == "alive").then_some(())
    });
    let said = Running::refused_up(&cluster.places[1], &[]);
    assert!(said.contains(&format!("runs already, at {address}")), "{said}");
    http::write(&cluster.addresses[0], "still", "here");
    drop(moved);
}

#[test]
fn of_two_copies_that_could_not_know_the_earlier_one_ends_and_says_why() {
    let mut cluster = Cluster::make();
    let (place, address) = cluster.copied(1);
    // Nobody can be asked.
    cluster.nodes.iter().for_each(|node| node.signal(Signal::SIGSTOP));
    let flags = ["--listen", &address, "--advertise", &address];
    let mut later = Running::up(&place, &flags);
    until("the later one serves", || http::ask(&address, "GET", "/livez", b""));
    cluster.nodes.iter().for_each(|node| node.signal(Signal::SIGCONT));
    let status = cluster.nodes[1].wait();
    assert_ne!(status.code(), Some(0), "{status}");
    let said = std::fs::read_to_string(cluster.places[1].with_extension("log")).unwrap();
    assert!(said.contains("was started later as another process"), "{said}");
    assert!(said.contains(&address), "{said}");
    until("a peer tells of it", || {
        [0, 2].iter().any(|peer| cluster.events(*peer).contains("node-copied")).then_some(())
    });
    let said = std::fs::read_to_string(place.with_extension("log")).unwrap();
    assert!(said.contains("another process has this node's identity"), "{said}");
    assert!(later.is_alive());
    until("the cluster goes on", || http::put(&address, "after", "it").then_some(()));
}
