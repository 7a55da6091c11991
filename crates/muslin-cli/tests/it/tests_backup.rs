//! Copies of what a cluster holds, and clusters begun with one.

use crate::http;
use crate::load::Load;
use crate::ports;
use crate::process::{Running, Said, answered, muslin, run, until};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

/// Nodes that do not find each other as nodes of one host do.
struct Nodes {
    directory: TempDir,
    first: u16,
    running: Vec<Running>,
}

impl Nodes {
    fn new() -> Nodes {
        let (directory, first) = (tempfile::tempdir().unwrap(), ports::row(8));
        Nodes { directory, first, running: Vec::new() }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.place(name).to_str().unwrap().to_string()
    }

    fn address(&self, number: u16) -> String {
        format!("127.0.0.1:{}", self.first + number)
    }

    /// Makes a node's directory with a command that takes these.
    fn make(&self, command: &[&str], name: &str, number: u16) -> Said {
        let (place, listen) = (self.text(name), self.address(number));
        let node = ["--data-dir", &place, "--name", name, "--listen", &listen];
        run(&[command, &node, &["--profile", "fast", "-o", "json"]].concat()).ok()
    }

    fn up(&mut self, name: &str, more: &[&str]) {
        let runtime = self.place(&format!("{name}.run"));
        std::fs::create_dir_all(&runtime).unwrap();
        let (log, path) = (std::fs::File::options(), self.place(&format!("{name}.log")));
        let log = log.clone().create(true).append(true).open(path).unwrap();
        let place = self.text(name);
        let mut command = muslin(&[&["up", "--data-dir", &place][..], more].concat());
        command.env("XDG_RUNTIME_DIR", runtime).stdin(Stdio::null());
        self.running.push(Running::start(command.stdout(log.try_clone().unwrap()).stderr(log)));
    }

    /// A cluster of one, at number 1.
    fn founded() -> Nodes {
        let mut nodes = Nodes::new();
        nodes.make(&["init"], "n1", 1);
        nodes.up("n1", &[]);
        http::write(&nodes.address(1), "founded", "yes");
        nodes
    }

    fn ask(&self, number: u16, words: &[&str]) -> Said {
        answered(&[words, &["--addr", &self.address(number)]].concat())
    }

    fn json(&self, number: u16, words: &[&str]) -> Value {
        self.ask(number, &[words, &["-o", "json"]].concat()).ok().json()
    }

    fn save(&self, number: u16, name: &str) -> Value {
        self.json(number, &["backup", "save", &self.text(name)])
    }
}

/// The first line of an answer that goes on.
fn first_line(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.find(|line| line.starts_with('{')).unwrap_or_default()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_cluster_begins_with_a_backup_saved_under_writes_and_grows_to_three() {
    let mut nodes = Nodes::founded();
    let old = nodes.address(1);
    let load = Load::start(std::slice::from_ref(&old));
    let before: Vec<String> = (0..50).map(|number| format!("before-{number}")).collect();
    before.iter().for_each(|key| http::write(&old, key, key));
    let saved = nodes.save(1, "b");
    assert!(!load.stop().is_empty());
    let inspected = run(&["backup", "inspect", &nodes.text("b"), "-o", "json"]).ok().json();
    assert_eq!(inspected["revision"], saved["revision"]);
    assert_eq!(inspected["groups"], 0);
    // The old cluster goes on, and the other one begins beside it.
    let made = nodes.make(&["backup", "restore", &nodes.text("b")], "r1", 2).json();
    nodes.up("r1", &[]);
    let address = nodes.address(2);
    for key in &before {
        assert_eq!(http::read(&address, key).as_ref(), Some(key), "acknowledged before the save");
    }
    let revision = saved["revision"].as_u64().unwrap();
    assert_eq!(made["revision"].as_u64(), Some(revision + 1_000_000_000_000));
    let watch = format!("/v1/kv?watch=1&from={}", revision + 3);
    let told = first_line(&address, &watch);
    assert!(told.contains("resync"), "a watcher from before is told to read anew: {told}");
    let cluster = |number| nodes.json(number, &["cluster", "info"]);
    let (ours, theirs) = (cluster(2), cluster(1));
    assert!(ours["id"].is_string());
    assert_ne!(ours["id"], theirs["id"]);
    assert!(ours["epoch"].as_u64() > theirs["epoch"].as_u64());
    let token = made["token"].as_str().unwrap();
    for (name, number) in [("r2", 3), ("r3", 4)] {
        nodes.make(&["join", &address, "--token", token], name, number);
        nodes.up(name, &[]);
    }
    until("three vote", || {
        let status = http::status(&address)?;
        (status["voters"]["total"] == 3 && status["voters"]["answering"] == 3).then_some(())
    });
    http::write(&nodes.address(3), "after", "restore");
    for number in [2, 3, 4] {
        assert_eq!(http::read(&nodes.address(number), "after").as_deref(), Some("restore"));
        assert_eq!(http::read(&nodes.address(number), "founded").as_deref(), Some("yes"));
    }
    // One that came by the network is as good as the one that was restored.
    nodes.save(3, "again");
    assert_eq!(run(&["backup", "inspect", &nodes.text("again")]).code, Some(0));
}

#[test]
fn what_is_no_whole_backup_is_refused_and_nothing_is_made() {
    let nodes = Nodes::founded();
    nodes.save(1, "b");
    let (good, bad) = (nodes.place("b"), nodes.place("bad"));
    let length = std::fs::metadata(&good).unwrap().len() as usize;
    let restore = |place: &str| {
        let (place, file, listen) = (nodes.text(place), nodes.text("bad"), nodes.address(5));
        let node = ["--data-dir", &place, "--name", "r", "--listen", &listen];
        run(&[&["backup", "restore", &file][..], &node].concat())
    };
    for at in [0, 9, 40, length / 2, length - 40, length - 1] {
        std::fs::copy(&good, &bad).unwrap();
        flip(&bad, at);
        for said in [run(&["backup", "inspect", &nodes.text("bad")]), restore("r")] {
            assert_eq!(said.code, Some(4), "byte {at}: {said:?}");
            assert!(said.stderr.contains("use another backup"), "byte {at}: {said:?}");
        }
    }
    std::fs::write(&bad, &std::fs::read(&good).unwrap()[..length - 100]).unwrap();
    let said = restore("r");
    assert!(said.stderr.contains(&format!("{} bytes of {length}", length - 100)), "{said:?}");
    assert!(!nodes.place("r").exists());
    let said = run(&["backup", "inspect", &nodes.text("absent")]);
    assert_eq!(said.code, Some(3), "{said:?}");
    std::fs::copy(&good, &bad).unwrap();
    assert_eq!(restore("n1").code, Some(4), "there is a node in it");
}

#[test]
fn whoever_leads_writes_backups_as_it_is_asked_to_and_keeps_the_last() {
    let nodes = Nodes::founded();
    assert_eq!(nodes.json(1, &["backup", "schedule"])["every_ms"], Value::Null);
    let asked = nodes.json(1, &["backup", "schedule", "--every", "1s", "--keep", "2"]);
    assert_eq!((asked["every_ms"].as_u64(), asked["keep"].as_u64()), (Some(1_000), Some(2)));
    let directory = nodes.place("n1").join("backups");
    let files = || {
        let entries = std::fs::read_dir(&directory).into_iter().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        names.retain(|name| name.extension().is_some_and(|ending| ending == "backup"));
        names.sort();
        names
    };
    let first = until("one is written", || files().first().cloned());
    until("the first has gone", || (!first.exists()).then_some(()));
    assert!(files().len() <= 2);
    nodes.json(1, &["backup", "schedule", "--off"]);
    let last = until("one is there", || files().last().cloned());
    let told = nodes.ask(1, &["events"]).ok();
    assert!(told.stdout.contains("wrote a backup of revision"), "{told:?}");
    run(&["backup", "inspect", last.to_str().unwrap()]).ok();
}

#[test]
fn a_schedule_that_cannot_be_kept_is_told() {
    let mut nodes = Nodes::new();
    nodes.make(&["init"], "n1", 1);
    // A file is no directory, whoever asks.
    std::fs::write(nodes.place("file"), "").unwrap();
    nodes.up("n1", &["--backup-dir", &nodes.text("file")]);
    http::write(&nodes.address(1), "founded", "yes");
    nodes.json(1, &["backup", "schedule", "--every", "1s"]);
    until("it is told", || {
        let told = nodes.ask(1, &["events"]).ok().stdout;
        told.contains("wrote no backup").then_some(())
    });
}
