//! Who is let in, with what, and who is not any more.

use crate::http;
use crate::ports;
use crate::process::{Running, Said, answered, muslin, run, until};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;
use tempfile::TempDir;

/// A founder that runs, and places for workers.
struct Cluster {
    directory: TempDir,
    first_port: u16,
    token: String,
    nodes: Vec<Running>,
}

impl Cluster {
    fn found() -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let mut cluster =
            Cluster { directory, first_port: ports::row(5), token: String::new(), nodes: vec![] };
        let (place, address) = (cluster.text_of(0), cluster.address(0));
        let node = ["--name", "n0", "--listen", &address, "--profile", "fast"];
        let said = run(&[&["init", "-o", "json", "--data-dir", &place][..], &node].concat());
        cluster.token = said.ok().json()["token"].as_str().unwrap().to_string();
        cluster.nodes.push(Running::up(&cluster.place(0), &[]));
        http::write(&address, "founded", "yes");
        cluster
    }

    fn place(&self, number: u16) -> PathBuf {
        self.directory.path().join(format!("n{number}"))
    }

    fn text_of(&self, number: u16) -> String {
        self.place(number).to_str().unwrap().to_string()
    }

    fn address(&self, number: u16) -> String {
        format!("127.0.0.1:{}", self.first_port + number)
    }

    /// The line that joins a worker through that node.
    fn line(&self, number: u16, through: u16, more: &[&str]) -> Vec<String> {
        let (name, place) = (format!("n{number}"), self.text_of(number));
        let (contact, listen) = (self.address(through), self.address(number));
        let line = ["join", &contact, "--data-dir", &place, "--name", &name];
        let node = ["--listen", &listen, "--roles", "worker", "--profile", "fast"];
        [&line[..], &node, more].concat().into_iter().map(String::from).collect()
    }

    fn join(&self, number: u16, through: u16, token: &str) -> Said {
        let line = self.line(number, through, &["--token", token]);
        answered(&line.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Asks the founder, in JSON.
    fn ask(&self, words: &[&str]) -> Value {
        self.ask_at(0, words)
    }

    fn ask_at(&self, number: u16, words: &[&str]) -> Value {
        answered(&[words, &["-o", "json", "--addr", &self.address(number)]].concat()).ok().json()
    }

    fn up(&mut self, number: u16) {
        self.nodes.push(Running::up(&self.place(number), &[]));
        self.wait_alive(number);
    }

    fn wait_alive(&self, number: u16) {
        until("the founder sees it alive", || {
            let nodes = self.ask(&["node", "ls"]);
            let name = format!("n{number}");
            let found = nodes["items"].as_array()?.iter().find(|one| one["name"] == *name)?;
            (found["state"] == "alive").then_some(())
        });
    }
}

#[test]
fn nodes_join_through_a_worker_by_tokens_and_by_approval() {
    let mut cluster = Cluster::found();
    let made = cluster.ask(&["token", "create", "--name", "rack", "--roles", "worker"]);
    let token = made["token"].as_str().unwrap().to_string();
    cluster.join(1, 0, &token).ok();
    cluster.up(1);
    // A worker does not hold the CA's key: it passes the request on.
    assert!(!cluster.place(1).join("identity/ca-key.pem").exists());
    cluster.join(2, 1, &cluster.token.clone()).ok();
    cluster.up(2);
    // Used up, revoked and unknown tokens are told the same.
    let other = cluster.ask(&["token", "create", "--name", "other"]);
    let revoked = other["token"].as_str().unwrap().to_string();
    assert_eq!(cluster.ask(&["token", "revoke", "other"])["state"], "revoked");
    let rows = cluster.ask(&["token", "ls"]);
    let states: Vec<_> = rows["items"].as_array().unwrap().iter().map(|r| &r["state"]).collect();
    assert!(states.contains(&&"spent".into()) && states.contains(&&"revoked".into()), "{rows}");
    assert!(!rows.to_string().contains(&revoked[80..120]), "no secret is listed");
    let refusals = [token, revoked].map(|token| cluster.join(3, 1, &token));
    assert_eq!(refusals[0].stderr, refusals[1].stderr);
    assert_eq!((refusals[0].code, refusals[1].code), (Some(7), Some(7)), "{refusals:?}");
    assert!(refusals[0].stderr.contains("muslin token create"), "{refusals:?}");
    // Without a token the join waits, is found again by the same command, and is approved.
    let line = cluster.line(3, 1, &["--wait", "1"]);
    let said = run(&line.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.stderr.contains("somebody has to approve it"), "{said:?}");
    let held = cluster.ask(&["node", "held"])["items"].clone();
    let code = held[0]["code"].as_str().unwrap().to_string();
    assert!(said.stderr.contains(&code), "both ends see {code}: {said:?}");
    let id = held[0]["id"].clone();
    let line = cluster.line(3, 1, &["--wait", "60"]);
    let mut child = muslin(&line.iter().map(String::as_str).collect::<Vec<_>>());
    let child = child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    let wrong = ["node", "approve", "n3", "--code", "AAAA", "--addr", &cluster.address(0)];
    assert_ne!(run(&wrong).code, Some(0));
    cluster.ask(&["node", "approve", "n3", "--code", &code]);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    cluster.up(3);
    let shown = cluster.ask(&["node", "show", "n3"]);
    assert_eq!(shown["id"], id, "the same node that asked first");
}

#[test]
fn a_node_that_could_not_be_reached_is_refused_with_the_reason_and_spends_no_use() {
    let mut cluster = Cluster::found();
    let made = cluster.ask(&["token", "create", "--name", "once", "--uses", "1"]);
    let token = made["token"].as_str().unwrap().to_string();
    let (taken, free) = (cluster.address(0), cluster.address(4));
    let own = cluster.address(1);
    let cases = [
        (vec!["--advertise", &taken], "n0"),
        (vec!["--advertise", &free], "is not there"),
        (vec!["--advertise", "239.1.1.1:7400"], "--advertise"),
        (vec!["--name", "n0"], "the name n0 is taken"),
        (vec!["--listen", &taken], "cannot listen"),
        (vec!["--etcd-listen", &taken], "cannot listen"),
        (vec!["--roles", "worker,"], "cannot be a role"),
        (vec!["--name", "fdbb1aeb646c5bf3"], "taken for an id"),
    ];
    for (more, reason) in cases {
        let mut words = vec!["--token", token.as_str()];
        words.extend(more);
        let place = cluster.text_of(1);
        let contact = cluster.address(0);
        let mut line = vec!["join", &contact, "--data-dir", &place];
        if !words.contains(&"--name") {
            line.extend(["--name", "n1"]);
        }
        if !words.contains(&"--listen") {
            line.extend(["--listen", &own]);
        }
        let said = answered(&[&line[..], &words].concat());
        assert!(said.code.is_some_and(|code| code != 0), "{words:?}: {said:?}");
        assert!(said.stderr.contains(reason), "{words:?}: {said:?}");
        assert!(!cluster.place(1).exists(), "{words:?} leaves nothing");
    }
    assert_eq!(cluster.ask(&["node", "ls"])["items"].as_array().unwrap().len(), 1);
    cluster.join(1, 0, &token).ok();
    cluster.up(1);
    // What works only once the node runs is let in without a try, where a person says so.
    let more = ["--token", &cluster.token, "--advertise", &free, "--no-reach-check"];
    let line = cluster.line(2, 0, &more);
    answered(&line.iter().map(String::as_str).collect::<Vec<_>>()).ok();
}

#[test]
fn certificates_and_gossip_keys_are_rotated_while_all_go_on() {
    let mut cluster = Cluster::found();
    cluster.join(1, 0, &cluster.token.clone()).ok();
    cluster.up(1);
    for number in [0, 1] {
        let before = cluster.ask_at(number, &["cert", "ls"]);
        let after = cluster.ask_at(number, &["cert", "rotate"]);
        assert_ne!(before["key"], after["key"], "n{number} has another key");
    }
    cluster.ask(&["cert", "rotate", "--gossip"]);
    until("the old gossip key is gone, and the new one seals, on both", || {
        for number in [0, 1] {
            let keys = cluster.ask_at(number, &["cert", "ls"])["gossip_keys"].clone();
            let wanted = serde_json::json!([{ "generation": 2, "seals": true }]);
            (keys == wanted).then_some(())?;
        }
        Some(())
    });
    cluster.wait_alive(1);
    http::write(&cluster.address(1), "after", "it");
}

#[test]
fn whoever_was_away_over_a_rise_of_the_epoch_comes_back_by_itself() {
    let mut cluster = Cluster::found();
    for number in [1, 2] {
        cluster.join(number, 0, &cluster.token.clone()).ok();
        cluster.up(number);
    }
    cluster.nodes.pop().unwrap().stop();
    until("it is seen to have left", || {
        let left = cluster.ask(&["node", "show", "n2"]);
        (left["state"] != "alive").then_some(())
    });
    cluster.ask(&["cluster", "epoch", "bump", "--yes"]);
    until("who lives has papers of the new epoch", || {
        let all = [0, 1].map(|number| cluster.ask_at(number, &["cert", "ls"])["epoch"].clone());
        all.iter().all(|epoch| *epoch == 2).then_some(())
    });
    cluster.up(2);
    until("it has papers of the new epoch, of its own accord", || {
        (cluster.ask_at(2, &["cert", "ls"])["epoch"] == 2).then_some(())
    });
    assert_eq!(http::read(&cluster.address(2), "founded"), Some("yes".into()));
}

#[test]
fn a_node_that_was_removed_says_when_and_what_to_do_at_each_start() {
    let mut cluster = Cluster::found();
    for number in [1, 2] {
        cluster.join(number, 0, &cluster.token.clone()).ok();
        cluster.up(number);
    }
    // One is stopped first, and one is removed while it runs.
    cluster.nodes.remove(2).stop();
    for name in ["n1", "n2"] {
        cluster.ask(&["node", "rm", name, "--force", "--yes"]);
    }
    let status = cluster.nodes[1].wait();
    assert_ne!(status.code(), Some(0), "{status}");
    let running = std::fs::read_to_string(cluster.place(1).with_extension("log")).unwrap();
    for (number, said) in [
        (1, running),
        (1, Running::refused_up(&cluster.place(1), &[])),
        (2, Running::refused_up(&cluster.place(2), &[])),
        (2, Running::refused_up(&cluster.place(2), &[])),
    ] {
        let year = "by an operator (`muslin node rm`), at 20";
        assert!(said.contains(year), "n{number}: {said}");
        let line = format!(
            "muslin join {} --token TOKEN --data-dir NEW --name n{number} --listen {} \
             --roles worker",
            cluster.address(0),
            cluster.address(number),
        );
        assert!(said.contains(&line), "n{number}: {said}");
        let place = cluster.text_of(number);
        let asked = run(&["status", "--addr", &cluster.address(number), "--identity", &place]);
        assert_eq!(asked.code, Some(8), "{asked:?}");
        assert!(asked.stderr.contains(year) && asked.stderr.contains(&line), "{asked:?}");
    }
}

#[test]
fn a_join_outlives_a_restart_of_the_node_it_asked_and_one_of_its_own() {
    let mut cluster = Cluster::found();
    cluster.join(1, 0, &cluster.token.clone()).ok();
    cluster.up(1);
    // The node that is asked restarts while the join waits.
    let line = cluster.line(3, 1, &["--wait", "60"]);
    let mut child = muslin(&line.iter().map(String::as_str).collect::<Vec<_>>());
    let child = child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    until("the join is held", || {
        let held = cluster.ask(&["node", "held"])["items"].clone();
        (held[0]["name"] == "n3").then_some(())
    });
    let begun = cluster.place(3).join("identity/joining.json");
    let asked_with = std::fs::read(&begun).unwrap();
    cluster.nodes.remove(1).stop();
    // Longer than it waits between two questions.
    std::thread::sleep(std::time::Duration::from_secs(5));
    cluster.up(1);
    cluster.ask(&["node", "approve", "n3"]);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // As a crash leaves it before the last file of the node is written: the same command goes on.
    for last in ["node.json", "peers.json"] {
        std::fs::remove_file(cluster.place(3).join(last)).unwrap();
    }
    std::fs::write(begun, asked_with).unwrap();
    assert!(cluster.place(3).join("identity/identity.json").exists());
    answered(&line.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    cluster.up(3);
}

#[test]
fn a_join_that_is_killed_at_any_moment_is_gone_on_with_by_the_same_line() {
    const KILLS: u32 = 12;
    let mut cluster = Cluster::found();
    let token = cluster.token.clone();
    let begin = |cluster: &Cluster, number| {
        let line = cluster.line(number, 0, &["--token", &token]);
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let mut command = muslin(&line);
        Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
    };
    let begun = Instant::now();
    assert!(begin(&cluster, 1).wait().success());
    let whole = begun.elapsed();
    // The later steps are short, and the ones that matter: most are killed there.
    for kill in 1..=KILLS {
        let mut running = begin(&cluster, 2);
        std::thread::sleep(whole * (2 * KILLS + kill) / (3 * KILLS));
        running.kill();
        if !cluster.place(2).join("node.json").exists() {
            cluster.join(2, 0, &token).ok();
        }
        let mut node = Running::up(&cluster.place(2), &[]);
        cluster.wait_alive(2);
        node.stop();
        std::fs::remove_dir_all(cluster.place(2)).unwrap();
        answered(&["node", "rm", "n2", "--yes", "--addr", &cluster.address(0)]).ok();
    }
    cluster.up(1);
}
