//! The day on which most voters are lost, and lesser ones: nodes that are wiped, moved or dead.

use crate::http;
use crate::ports;
use crate::process::{Running, Said, answered, copy, muslin, run, until};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;
use tempfile::TempDir;

/// So often a recovery is killed, evenly over its time.
const KILLS: u32 = 12;

/// Three voters, `n1` to `n3`, and room for more. Nodes do not find each other as nodes of one host
/// do.
struct Cluster {
    directory: TempDir,
    addresses: Vec<String>,
    nodes: BTreeMap<usize, Running>,
}

impl Cluster {
    fn make() -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let first = ports::row(8);
        let addresses = (first..first + 8).map(|port| format!("127.0.0.1:{port}")).collect();
        let mut cluster = Cluster { directory, addresses, nodes: BTreeMap::new() };
        let place = cluster.text_of(1);
        let line = ["init", "-o", "json", "--data-dir", &place, "--name", "n1"];
        let node = ["--listen", cluster.address(1), "--profile", "fast"];
        run(&[&line[..], &node].concat()).ok();
        cluster.up(1, &[]);
        http::write(cluster.address(1), "founded", "yes");
        for number in [2, 3] {
            cluster.join(number, number, 1).ok();
            cluster.up(number, &[]);
        }
        cluster.wait_whole(&[1, 2, 3]);
        cluster
    }

    fn place(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("n{number}"))
    }

    fn text_of(&self, number: usize) -> String {
        self.place(number).to_str().unwrap().to_string()
    }

    fn address(&self, number: usize) -> &str {
        &self.addresses[number - 1]
    }

    /// Admits the node of a place under the name of a number, through another.
    fn join(&self, number: usize, named: usize, through: usize) -> Said {
        let token = self.ask(through, &["token", "create"])["token"].as_str().unwrap().to_string();
        let (place, name) = (self.text_of(number), format!("n{named}"));
        let line = ["join", self.address(through), "--token", &token, "--data-dir", &place];
        let node = ["--name", &name, "--listen", self.address(number), "--profile", "fast"];
        answered(&[&line[..], &node].concat())
    }

    fn up(&mut self, number: usize, more: &[&str]) {
        let running = up(&self.place(number), more);
        self.nodes.insert(number, running);
    }

    fn kill(&mut self, number: usize) {
        self.nodes.remove(&number).unwrap().kill();
    }

    fn kill_all(&mut self) {
        self.nodes.values_mut().for_each(Running::kill);
        self.nodes.clear();
    }

    /// Asks a node, in JSON.
    fn ask(&self, number: usize, words: &[&str]) -> Value {
        answered(&[words, &["-o", "json", "--addr", self.address(number)]].concat()).ok().json()
    }

    fn wait_whole(&self, numbers: &[usize]) {
        for number in numbers {
            until("every node sees three voters that answer", || {
                let status = http::status(self.address(*number))?;
                let is_whole = status["voters"]["total"] == 3 && status["voters"]["answering"] == 3;
                is_whole.then_some(())
            });
        }
    }

    fn recover(&self, number: usize, more: &[&str]) -> Said {
        let place = self.text_of(number);
        run(&[&["cluster", "recover", "--data-dir", &place][..], more].concat())
    }
}

/// Runs a node in a runtime directory of its own.
fn up(place: &Path, more: &[&str]) -> Running {
    let runtime = place.with_extension("run");
    std::fs::create_dir_all(&runtime).unwrap();
    let log = std::fs::File::options();
    let log = log.clone().create(true).append(true).open(place.with_extension("log")).unwrap();
    let line = ["up", "--data-dir", place.to_str().unwrap()];
    let mut command = muslin(&[&line[..], more].concat());
    command.env("XDG_RUNTIME_DIR", runtime).stdin(Stdio::null());
    Running::start(command.stdout(log.try_clone().unwrap()).stderr(log))
}

#[test]
fn a_survivor_of_three_goes_on_with_all_it_had_and_two_others_join() {
    let mut cluster = Cluster::make();
    let writes: Vec<String> = (0..50).map(|number| format!("w{number}")).collect();
    for write in &writes {
        http::write(cluster.address(2), write, write);
    }
    until("the survivor has all of it", || {
        let path = format!("/v1/kv/{}?consistency=local", writes[49]);
        let answer = http::ask(cluster.address(1), "GET", &path, b"")?;
        (answer.status == 200).then_some(())
    });
    let running = cluster.recover(1, &["--yes"]);
    assert_eq!(running.code, Some(4), "{running:?}");
    assert!(running.stderr.contains("in use by a running node"), "{running:?}");
    let survivor = cluster.ask(1, &["node", "show", "n1"])["id"].clone();
    cluster.kill(1);
    let alive = cluster.recover(1, &["--yes"]);
    assert_eq!(alive.code, Some(4), "{alive:?}");
    assert!(alive.stderr.contains("voters are left (n1, n2, n3)"), "{alive:?}");
    cluster.kill_all();
    let unsure = cluster.recover(1, &[]);
    assert_eq!(unsure.code, Some(2), "{unsure:?}");
    assert!(
        unsure.stderr.contains("go on with n1 alone, and never again with n2, n3"),
        "{unsure:?}"
    );
    let before = cluster.recover(1, &["--dry-run", "-o", "json"]).ok().json();
    assert_eq!((&before["taken"], &before["recovered"]), (&"n1".into(), &false.into()));
    assert_eq!(before["left_out"]["voters"], serde_json::json!(["n2", "n3"]), "{before}");
    let answer = cluster.recover(1, &["--yes", "-o", "json"]).ok().json();
    let epoch = answer["epoch"].as_u64().unwrap();
    assert!(epoch > 1 && answer["recovered"] == true, "{answer}");
    let kept = PathBuf::from(answer["kept"].as_str().unwrap());
    assert!(kept.join("log").is_dir() && kept.join("node.json").is_file(), "{answer}");
    cluster.up(1, &[]);
    for write in &writes {
        let read = http::read(cluster.address(1), write);
        assert_eq!(read.as_ref(), Some(write));
    }
    assert_eq!(cluster.ask(1, &["cluster", "epoch", "show"])["epoch"], epoch);
    // One new machine, and one of before that was wiped.
    cluster.join(4, 4, 1).ok();
    cluster.up(4, &[]);
    std::fs::remove_dir_all(cluster.place(3)).unwrap();
    cluster.join(3, 3, 1).ok();
    cluster.up(3, &[]);
    cluster.wait_whole(&[1, 3, 4]);
    let cluster_now = cluster.ask(4, &["cluster", "info"]);
    assert_eq!(cluster_now["epoch"], epoch, "{cluster_now}");
    assert_eq!(cluster.ask(4, &["node", "show", "n1"])["id"], survivor, "it is the same node");
    assert_eq!(http::read(cluster.address(4), "w49"), Some("w49".to_string()));
    http::write(cluster.address(3), "after", "it");
}

#[test]
fn a_voter_that_was_left_out_comes_back_by_itself_with_nothing_of_its_own() {
    let mut cluster = Cluster::make();
    http::write(cluster.address(1), "before", "1");
    let old = cluster.ask(1, &["node", "show", "n2"])["id"].clone();
    cluster.kill_all();
    let said = cluster.recover(1, &["--yes"]).ok().stdout;
    let identity = format!("--identity {}", cluster.place(1).display());
    assert_eq!(said.matches(&identity).count(), 2, "to ask from there: {said}");
    cluster.up(1, &[]);
    http::write(cluster.address(1), "after", "2");
    cluster.up(2, &[]);
    let new = until("it is admitted again, under another id", || {
        let said = run(&["node", "show", "n2", "-o", "json", "--addr", cluster.address(1)]);
        let shown: Value = serde_json::from_str(&said.stdout).ok()?;
        (shown["state"] == "alive" && shown["id"] != old).then(|| shown["id"].clone())
    });
    assert_ne!(new, old);
    let read = http::read(cluster.address(2), "after");
    assert_eq!(read, Some("2".to_string()));
    until("and votes", || {
        let status = http::status(cluster.address(1))?;
        (status["voters"]["total"] == 2).then_some(())
    });
}

#[test]
fn of_several_survivors_the_one_with_the_longest_log_is_taken() {
    let mut cluster = Cluster::make();
    cluster.kill(3);
    for number in 0..20 {
        let key = format!("late{number}");
        http::write(cluster.address(1), &key, "yes");
    }
    cluster.kill_all();
    // n2 is lost. n3 is behind; it is named first, and not taken.
    let (third, first) = (cluster.text_of(3), cluster.text_of(1));
    let line = ["cluster", "recover", "--data-dir", &third, "--data", &first, "-o", "json"];
    let refused = run(&[&line[..], &["--yes"]].concat());
    assert_eq!(refused.code, Some(4), "two of three are a quorum: {refused:?}");
    let answer = run(&[&line[..], &["--yes", "--force"]].concat()).ok().json();
    assert_eq!(answer["taken"], "n1", "{answer}");
    let survivors = answer["survivors"].as_array().unwrap();
    let index = |at: usize| survivors[at]["last"]["index"].as_u64().unwrap();
    assert!(index(0) < index(1), "{answer}");
    // Whoever was left behind is none to recover from as long as there is the other.
    let again = run(&[&line[..], &["--dry-run"]].concat()).ok().json();
    assert_eq!(again["taken"], "n1", "{again}");
    assert!(again["epoch"].as_u64() > answer["epoch"].as_u64(), "{again}");
    cluster.up(1, &[]);
    let read = http::read(cluster.address(1), "late19");
    assert_eq!(read, Some("yes".to_string()));
}

#[test]
fn a_recovery_that_is_killed_leaves_the_old_directory_or_the_recovered_one() {
    let mut cluster = Cluster::make();
    http::write(cluster.address(1), "before", "1");
    cluster.kill_all();
    let original = cluster.directory.path().join("original");
    copy(&cluster.place(1), &original);
    let place = cluster.place(1);
    let recover = || {
        let text = place.to_str().unwrap();
        let mut command = muslin(&["cluster", "recover", "--data-dir", text, "--yes"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Running::start(&mut command)
    };
    let begun = Instant::now();
    assert!(recover().wait().success());
    let (whole, mut epochs) = (begun.elapsed(), BTreeSet::new());
    for part in (0..=KILLS).rev() {
        std::fs::remove_dir_all(&place).unwrap();
        copy(&original, &place);
        let mut running = recover();
        std::thread::sleep(whole * part / KILLS);
        running.kill();
        let seen = cluster.recover(1, &["--dry-run", "-o", "json"]).ok().json();
        let (survivor, left_out) = (&seen["survivors"][0], &seen["left_out"]["voters"]);
        let left_out = left_out.as_array().unwrap().len();
        match survivor["epoch"].as_u64() {
            Some(1) => assert_eq!(left_out, 2, "{seen}"),
            Some(_) => assert_eq!(left_out, 0, "{seen}"),
            None => panic!("{seen}"),
        }
        assert_eq!(run(&["check-disk", place.to_str().unwrap()]).code, Some(0));
        epochs.insert(survivor["epoch"].as_u64());
    }
    assert!(epochs.contains(&Some(1)), "some were killed in time: {epochs:?}");
    // Whatever was left, it can be recovered, once.
    let refused = cluster.recover(1, &["--dry-run", "-o", "json"]).ok().json()["refused"].clone();
    if refused.is_null() {
        cluster.recover(1, &["--yes"]).ok();
    }
    cluster.up(1, &[]);
    let read = http::read(cluster.address(1), "before");
    assert_eq!(read, Some("1".to_string()));
}

#[test]
fn a_survivor_whose_disk_lost_data_is_taken_only_if_that_is_said() {
    let mut cluster = Cluster::make();
    for number in 0..20 {
        http::write(cluster.address(1), &format!("k{number}"), "v");
    }
    // At rest the log says that what is in it is durable: what is missing then is damage.
    cluster.nodes.values_mut().for_each(Running::stop);
    cluster.nodes.clear();
    let log = cluster.place(1).join("log");
    let segment = std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    let segment = segment.min().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&segment, bytes).unwrap();
    let refused = cluster.recover(1, &["--yes"]);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.stderr.contains("lost data"), "{refused:?}");
    cluster.recover(1, &["--yes", "--accept-damage"]).ok();
    cluster.up(1, &[]);
    http::write(cluster.address(1), "on", "1");
}

#[test]
fn a_quorum_that_lives_after_all_is_not_given_up_for_a_recovered_one() {
    let mut cluster = Cluster::make();
    cluster.kill_all();
    cluster.recover(1, &["--yes"]).ok();
    cluster.up(1, &[]);
    http::write(cluster.address(1), "whose", "n1's");
    for number in [2, 3] {
        cluster.up(number, &[]);
    }
    // The two of before are a quorum.
    http::write(cluster.address(2), "whose", "theirs");
    until("one of them is told", || {
        let log = |number: usize| cluster.place(number).with_extension("log");
        let said = [2, 3].map(|number| std::fs::read_to_string(log(number)).unwrap());
        said.iter().any(|log| log.contains("goes on alone in a later epoch")).then_some(())
    });
    assert_eq!(http::read(cluster.address(3), "whose"), Some("theirs".to_string()));
    assert_eq!(http::read(cluster.address(1), "whose"), Some("n1's".to_string()));
    assert_eq!(cluster.ask(3, &["cluster", "epoch", "show"])["epoch"], 1);
    let survivors = cluster.ask(1, &["cluster", "epoch", "show"]);
    assert!(survivors["epoch"].as_u64() > Some(1), "{survivors}");
}

#[test]
fn two_survivors_that_were_recovered_apart_never_mix() {
    let mut cluster = Cluster::make();
    http::write(cluster.address(1), "before", "1");
    cluster.kill_all();
    // Each alone, so that their logs agree in term and index, and in nothing that they say.
    for number in [1, 2] {
        cluster.recover(number, &["--yes"]).ok();
        cluster.up(number, &[]);
        http::write(cluster.address(number), "whose", &format!("n{number}'s"));
        cluster.kill_all();
        // Nor did it live to write down where others are: its record says so, too.
        std::fs::remove_file(cluster.place(number).join("peers.json")).ok();
    }
    for number in [1, 2] {
        cluster.up(number, &[]);
    }
    let epoch = |number| cluster.ask(number, &["cluster", "epoch", "show"])["epoch"].as_u64();
    for number in [1, 2] {
        until("it leads, and has applied what it kept", || {
            epoch(number).filter(|epoch| *epoch > 1)
        });
    }
    assert_ne!(epoch(1), epoch(2));
    let (earlier, later) = if epoch(1) < epoch(2) { (1, 2) } else { (2, 1) };
    until("the one that was left behind says so", || {
        let status = run(&["status", "--addr", cluster.address(earlier)]);
        let is_told = status.stdout.starts_with("Degraded - others of this cluster go on in epoch");
        is_told.then_some(())
    });
    for number in [earlier, later, earlier] {
        let whose = http::read(cluster.address(number), "whose");
        assert_eq!(whose, Some(format!("n{number}'s")));
        http::write(cluster.address(number), "still", &format!("n{number}'s"));
    }
    let (one, other) = (epoch(earlier), epoch(later));
    assert!(one < other, "neither followed the other: {one:?} {other:?}");
}

#[test]
fn a_directory_that_cannot_be_recovered_is_refused_and_stays_as_it_is() {
    let mut cluster = Cluster::make();
    cluster.kill_all();
    let mut other = Cluster::make();
    other.kill_all();
    let (ours, theirs) = (cluster.text_of(1), other.directory.path().join("copy"));
    copy(&other.place(1), &theirs);
    let theirs = theirs.to_str().unwrap();
    let mixed = run(&["cluster", "recover", "--data-dir", &ours, "--data-dir", theirs, "--yes"]);
    assert_eq!(mixed.code, Some(4), "{mixed:?}");
    assert!(mixed.stderr.contains("directories of one cluster"), "{mixed:?}");
    // Another cluster's papers in ours.
    let place = cluster.directory.path().join("mixed");
    copy(&cluster.place(1), &place);
    std::fs::remove_dir_all(place.join("identity")).unwrap();
    copy(&other.place(1).join("identity"), &place.join("identity"));
    let text = place.to_str().unwrap();
    let foreign = run(&["cluster", "recover", "--data-dir", text, "--yes"]);
    assert_eq!(foreign.code, Some(4), "{foreign:?}");
    assert!(foreign.stderr.contains("belongs to node"), "{foreign:?}");
    let nothing = cluster.directory.path().to_str().unwrap();
    let none = run(&["cluster", "recover", "--data-dir", nothing, "--yes"]);
    assert!(none.stderr.contains("there is no node in it"), "{none:?}");
    let seen = cluster.recover(1, &["--dry-run", "-o", "json"]).ok().json();
    assert_eq!(seen["survivors"][0]["epoch"], 1);
    assert!(!cluster.place(1).join("rewritten").exists());
}

#[test]
fn all_start_elsewhere_and_find_each_other_by_one_seed() {
    let mut cluster = Cluster::make();
    http::write(cluster.address(1), "before", "the move");
    cluster.kill_all();
    let first = ports::row(8);
    cluster.addresses = (first..first + 8).map(|port| format!("127.0.0.1:{port}")).collect();
    let seed = cluster.address(2).to_string();
    for number in [1, 2, 3] {
        let address = cluster.address(number).to_string();
        let flags = ["--listen", &address, "--advertise", &address];
        // Whoever is the seed is told nothing: it is found.
        let more = if number == 2 { vec![] } else { vec!["--seed", seed.as_str()] };
        cluster.up(number, &[&flags[..], &more].concat());
    }
    cluster.wait_whole(&[1, 2, 3]);
    assert_eq!(http::read(cluster.address(3), "before"), Some("the move".to_string()));
    until("the record has the new addresses", || {
        let nodes = cluster.ask(1, &["node", "ls"]);
        let items = nodes["items"].as_array()?;
        let is_new = |one: &Value| cluster.addresses.iter().any(|at| one["addr"] == **at);
        (items.len() == 3 && items.iter().all(is_new)).then_some(())
    });
}

#[test]
fn a_wiped_voter_joins_under_its_name_and_votes_again_by_itself() {
    let mut cluster = Cluster::make();
    http::write(cluster.address(1), "before", "1");
    let old = cluster.ask(1, &["node", "show", "n3"])["id"].as_str().unwrap().to_string();
    cluster.kill(3);
    std::fs::remove_dir_all(cluster.place(3)).unwrap();
    until("the record lets it take its name over", || {
        (cluster.join(3, 3, 1).code == Some(0)).then_some(())
    });
    cluster.up(3, &[]);
    cluster.wait_whole(&[1, 2, 3]);
    let shown = cluster.ask(3, &["node", "show", "n3"]);
    assert_ne!(shown["id"], *old);
    assert_eq!(http::read(cluster.address(3), "before"), Some("1".to_string()));
    until("the old id votes no more", || {
        let shown = cluster.ask(1, &["cluster", "info"]);
        let voters = shown["voters"].as_array()?.clone();
        let is_new = voters.len() == 3 && voters.iter().all(|one| one["id"] != *old);
        is_new.then_some(())
    });
}

#[test]
fn a_dead_voter_is_taken_out_and_another_takes_its_seat() {
    let mut cluster = Cluster::make();
    cluster.kill(2);
    until("it is declared down", || {
        let shown = cluster.ask(1, &["node", "show", "n2"]);
        (shown["standing"] == "down").then_some(())
    });
    cluster.join(5, 5, 1).ok();
    cluster.up(5, &[]);
    let why = until("it is said who is to vote, and why", || {
        [1, 3].into_iter().find_map(|number| {
            let why = cluster.ask(number, &["explain", "voters"]);
            let because = why["because"].to_string();
            because.contains("next: ").then_some(because)
        })
    });
    assert!(why.contains("voters answer"), "{why}");
    cluster.ask(1, &["node", "rm", "n2", "--yes"]);
    cluster.wait_whole(&[1, 3, 5]);
    until("the last one knows that it is gone", || {
        let nodes = cluster.ask(5, &["node", "ls"]);
        (nodes["items"].as_array()?.len() == 3).then_some(())
    });
    // What is left of it is of no use.
    cluster.up(2, &[]);
    let ended = cluster.nodes.get_mut(&2).unwrap().wait();
    assert_ne!(ended.code(), Some(0));
    let log = std::fs::read_to_string(cluster.place(2).with_extension("log")).unwrap();
    assert!(log.contains("was removed from the cluster"), "{log}");
}

#[test]
fn settings_are_shown_changed_and_refused_with_the_reason() {
    let cluster = Cluster::make();
    let at = ["--addr", cluster.address(2)];
    let set = |settings: &[&str]| {
        answered(&[&["cluster", "settings", "set"][..], settings, &at].concat())
    };
    let shown = answered(&[&["cluster", "settings", "show"][..], &at].concat()).ok().stdout;
    assert!(shown.contains("voter_grace\t30s\t30s\t"), "{shown}");
    set(&["voter_grace=2m", "tokens_only=true"]).ok();
    let settings =
        cluster.ask(3, &["cluster", "settings", "show", "--consistency", "linearizable"]);
    assert_eq!(settings["settings"]["voter_grace_ms"], 120_000, "{settings}");
    assert_eq!(settings["settings"]["tokens_only"], true);
    let warned = set(&["min_members=1"]).ok();
    assert!(warned.stderr.contains("min_members is 1, less than 2"), "{warned:?}");
    for (setting, reason) in [
        ("min_members=many", "cannot be"),
        ("voters_target=2", "1, 3, 5 or 7"),
        ("voter_grace=10ms", "from 1 s"),
        ("voter_grace=0s", "from 1 s"),
        ("voter_grace=10", "has no unit"),
        ("grace=10s", "there is no setting grace"),
    ] {
        let refused = set(&[setting]);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(reason), "{refused:?}");
    }
    set(&["min_members=default", "voter_grace=default", "tokens_only=default"]).ok();
    let settings =
        cluster.ask(1, &["cluster", "settings", "show", "--consistency", "linearizable"]);
    assert_eq!(settings["settings"]["voter_grace_ms"], 30_000, "{settings}");
    assert_eq!(settings["warnings"], serde_json::json!([]));
}
