//! Debian's `etcdctl`.

use crate::cluster::Cluster;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A wait longer than this is a failure, not slowness.
const PATIENCE: Duration = Duration::from_secs(180);

/// `etcdctl` for one node.
fn etcdctl(cluster: &Cluster, node: usize, arguments: &[&str]) -> Command {
    etcdctl_at(&cluster.endpoints[node], arguments)
}

/// `etcdctl` for one or more endpoints. Its own limits are two and five seconds.
fn etcdctl_at(endpoints: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("etcdctl");
    command.env("ETCDCTL_API", "3").arg(format!("--endpoints={endpoints}"));
    command.args(["--dial-timeout=60s", "--command-timeout=60s"]).args(arguments);
    command
}

/// The revision of a key's last change.
fn revision(cluster: &Cluster, key: &str) -> u64 {
    let shown = said(cluster, 0, &["get", key, "-w", "json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    shown["kvs"][0]["mod_revision"].as_u64().unwrap()
}

/// Runs it with something on stdin; what it printed.
fn with_input(cluster: &Cluster, node: usize, arguments: &[&str], input: &str) -> String {
    let mut command = etcdctl(cluster, node, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs it; what it printed.
fn said(cluster: &Cluster, node: usize, arguments: &[&str]) -> String {
    with_input(cluster, node, arguments, "")
}

#[test]
fn put_get_prefix_and_del() {
    let cluster = Cluster::start();
    assert_eq!(said(&cluster, 0, &["put", "ctl/a", "1"]), "OK\n");
    assert_eq!(said(&cluster, 1, &["put", "ctl/b", "2"]), "OK\n");
    assert_eq!(said(&cluster, 2, &["get", "ctl/a"]), "ctl/a\n1\n");
    assert_eq!(said(&cluster, 2, &["get", "--prefix", "ctl/"]), "ctl/a\n1\nctl/b\n2\n");
    assert_eq!(said(&cluster, 0, &["get", "ctl/b", "--print-value-only"]), "2\n");
    assert_eq!(said(&cluster, 0, &["get", "ctl/nothing"]), "");
    assert_eq!(said(&cluster, 1, &["del", "ctl/", "--prefix"]), "2\n");
    assert_eq!(said(&cluster, 2, &["get", "--prefix", "ctl/"]), "");
    assert_eq!(with_input(&cluster, 0, &["put", "ctl/stdin"], "piped"), "OK\n");
    assert_eq!(said(&cluster, 0, &["get", "ctl/stdin", "--print-value-only"]), "piped\n");
}

#[test]
fn a_transaction() {
    let cluster = Cluster::start();
    said(&cluster, 0, &["put", "tx/a", "1"]);
    let step = "value(\"tx/a\") = \"1\"\n\nput tx/a 2\nget tx/a\n\nput tx/a lost\n\n";
    let first = with_input(&cluster, 1, &["txn"], step);
    assert!(first.starts_with("SUCCESS") && first.ends_with("tx/a\n2\n"), "{first:?}");
    let second = with_input(&cluster, 2, &["txn"], step);
    assert!(second.starts_with("FAILURE"), "{second:?}");
    assert_eq!(said(&cluster, 0, &["get", "tx/a", "--print-value-only"]), "lost\n");
}

#[test]
fn a_watch() {
    let cluster = Cluster::start();
    said(&cluster, 1, &["put", "wc/a", "1"]);
    let from = format!("--rev={}", revision(&cluster, "wc/a"));
    let mut command = etcdctl(&cluster, 0, &["watch", "--prefix", "wc/", &from]);
    let mut watch = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    said(&cluster, 2, &["del", "wc/a"]);
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told: Vec<String> = lines.take(6).collect();
    let _ = watch.kill();
    let _ = watch.wait();
    assert_eq!(told, ["PUT", "wc/a", "1", "DELETE", "wc/a", ""]);
}

#[test]
fn a_lease() {
    let cluster = Cluster::start();
    let granted = said(&cluster, 0, &["lease", "grant", "500"]);
    let id = granted.split_whitespace().nth(1).unwrap().to_string();
    assert!(granted.ends_with("granted with TTL(500s)\n"), "{granted:?}");
    said(&cluster, 1, &["put", "lc/a", "1", "--lease", &id]);
    let shown = said(&cluster, 2, &["lease", "timetolive", &id, "--keys"]);
    assert!(shown.contains("granted with TTL(500s)") && shown.contains("lc/a"), "{shown:?}");
    assert!(said(&cluster, 1, &["lease", "list"]).contains(&id));
    let kept = said(&cluster, 1, &["lease", "keep-alive", "--once", &id]);
    assert!(kept.contains("keepalived with TTL(500)"), "{kept:?}");
    assert!(said(&cluster, 0, &["lease", "revoke", &id]).contains("revoked"));
    assert_eq!(said(&cluster, 2, &["get", "lc/a"]), "");
}

/// Asks until all three name one leader: on a busy machine there may be an election at any time.
fn until_one_leads(all: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = etcdctl_at(all, &["endpoint", "status", "-w", "json"]).output().unwrap();
        let status: Value = serde_json::from_slice(&status.stdout).unwrap();
        let leader = |s: &Value| s["Status"]["leader"].as_u64().unwrap_or(0);
        let leaders: Vec<u64> = status.as_array().into_iter().flatten().map(leader).collect();
        let is_one = leaders.iter().all(|leader| *leader != 0 && *leader == leaders[0]);
        if leaders.len() == 3 && is_one {
            return;
        }
        assert!(Instant::now() < deadline, "{status}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn members_status_and_health() {
    let cluster = Cluster::start();
    let list = said(&cluster, 0, &["member", "list"]);
    assert_eq!(list.lines().filter(|line| line.contains(", started, ")).count(), 3, "{list:?}");
    let all = cluster.endpoints.join(",");
    until_one_leads(&all);
    let table = etcdctl_at(&all, &["endpoint", "status", "-w", "table"]).output().unwrap();
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    let leads = |line: &&str| line.split('|').map(str::trim).any(|cell| cell == "true");
    assert_eq!(table.lines().filter(leads).count(), 1, "{table}");
    let health = etcdctl_at(&all, &["endpoint", "health"]).output().unwrap();
    assert!(health.status.success(), "{health:?}");
    // Asks each by the whole address that it names itself.
    for words in [["endpoint", "status"], ["endpoint", "hashkv"], ["endpoint", "health"]] {
        let told = etcdctl_at(&cluster.endpoints[0], &[&words[..], &["--cluster"]].concat());
        let told = { told }.output().unwrap();
        assert!(told.status.success(), "{words:?}: {told:?}");
        let lines = String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned();
        let named = |end: &&String| lines.contains(&format!("http://{end}"));
        assert_eq!(cluster.endpoints.iter().filter(named).count(), 3, "{lines}");
    }
    said(&cluster, 1, &["defrag", "--cluster"]);
    let with_slash = format!("http://{}/", cluster.endpoints[0]);
    for words in [&["endpoint", "status"][..], &["endpoint", "health"], &["get", "a"]] {
        let told = etcdctl_at(&with_slash, words).output().unwrap();
        assert!(told.status.success(), "{words:?}: {told:?}");
    }
}

#[test]
fn compaction_hides_the_past() {
    let cluster = Cluster::start();
    said(&cluster, 0, &["put", "cc/a", "1"]);
    said(&cluster, 0, &["put", "cc/a", "2"]);
    let shown: Value =
        serde_json::from_str(&said(&cluster, 1, &["get", "cc/a", "-w", "json"])).unwrap();
    let revision = shown["header"]["revision"].as_u64().unwrap();
    let compacted = said(&cluster, 2, &["compaction", &revision.to_string()]);
    assert_eq!(compacted, format!("compacted revision {revision}\n"));
    let past = format!("--rev={}", revision - 1);
    let refused = etcdctl(&cluster, 0, &["get", "cc/a", &past]).output().unwrap();
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && why.contains("compacted"), "{why}");
}

#[test]
fn a_snapshot_is_saved_and_is_a_whole_backup_and_members_hash_alike() {
    let cluster = Cluster::start();
    assert_eq!(said(&cluster, 0, &["put", "ctl/saved", "1"]), "OK\n");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot");
    said(&cluster, 1, &["snapshot", "save", path.to_str().unwrap()]);
    let length = std::fs::metadata(&path).unwrap().len();
    assert_eq!(length % 512, 32, "etcd's tools look for the sum there");
    let hash = |node| {
        let shown = said(&cluster, node, &["endpoint", "hashkv", "-w", "json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        shown[0]["HashKV"].clone()
    };
    // A follower may apply a moment later.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let hashes = [hash(0), hash(1), hash(2)];
        let is_alike = |one: &Value| {
            one["hash"] == hashes[0]["hash"]
                && one["header"]["revision"] == hashes[0]["header"]["revision"]
        };
        if hashes[0]["hash"].is_u64() && hashes.iter().all(is_alike) {
            break;
        }
        assert!(Instant::now() < deadline, "{hashes:?}");
    }
}
