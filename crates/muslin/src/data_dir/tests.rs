//! What a data directory accepts, refuses and says.

use super::*;
use crate::discovery::{Discovery, LastSeen, contract};
use crate::store::{Store, StoreError};
use bytes::Bytes;
use muslin_core::base::{ClusterId, Epoch, GroupId, Index, LogId, NodeId, Term};
use muslin_core::raft::{Entry, Payload, Write};
use muslin_core::state::{Founding, Member};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

pub(super) fn config() -> NodeConfig {
    NodeConfig {
        cluster: ClusterId(0xc1),
        cluster_name: "first".to_owned(),
        node: NodeId(0xa1),
        name: "n1".to_owned(),
        addresses: Addresses {
            listen: "127.0.0.1:7401".parse().unwrap(),
            advertise: "[::1]:7401".parse().unwrap(),
            etcd_listen: None,
        },
        roles: vec!["control".to_owned()],
        profile: "fast".to_owned(),
        epoch: Epoch(3),
    }
}

pub(super) fn founding() -> Founding {
    let member = Member { id: 0xa1, name: "n1".to_owned(), ..Member::default() };
    Founding { members: vec![member], ..Founding::default() }
}

fn made() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    DataDir::create(dir.path(), config(), founding()).unwrap();
    dir
}

fn refusal(result: Result<DataDir, StoreError>) -> String {
    match result {
        Ok(_) => panic!("it should have been refused"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check_refusal(result: Result<DataDir, StoreError>, words: &[&str]) {
    let text = refusal(result);
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[test]
fn a_node_is_found_again_as_it_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("some/where");
    let first = DataDir::create(&path, config(), founding()).unwrap();
    assert_eq!((first.boot(), first.config()), (1, &config()));
    assert_eq!(first.identity_dir(), path.join("identity"));
    drop(first);
    let again = DataDir::open_as(&path, ClusterId(0xc1), NodeId(0xa1)).unwrap();
    assert_eq!((again.config(), again.founding()), (&config(), &founding()));
    assert_eq!(again.path(), path);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn every_opening_has_a_boot_number_of_its_own() {
    let dir = made();
    for boot in 2..6 {
        assert_eq!(DataDir::open(dir.path()).unwrap().boot(), boot);
    }
}

#[test]
fn addresses_and_peers_are_remembered() {
    let dir = made();
    let mut open = DataDir::open(dir.path()).unwrap();
    assert_eq!(open.peers().unwrap(), BTreeMap::new());
    let addresses = Addresses {
        listen: "0.0.0.0:7400".parse().unwrap(),
        advertise: "10.0.0.1:7400".parse().unwrap(),
        etcd_listen: Some("127.0.0.1:2379".parse().unwrap()),
    };
    open.set_addresses(addresses).unwrap();
    let peers: BTreeMap<_, _> = [(NodeId(2), "10.0.0.2:7400".parse().unwrap())].into();
    open.peers_file().save(&peers).unwrap();
    drop(open);
    let open = DataDir::open(dir.path()).unwrap();
    assert_eq!(open.config().addresses, addresses);
    assert_eq!(open.peers().unwrap(), peers);
    fs::write(dir.path().join("peers.json"), r#"{"format":1,"peers":{"x":"1.2.3.4:5"}}"#).unwrap();
    let text = open.peers().unwrap_err().to_string();
    assert!(text.contains("`x` is not a node") && text.contains("delete it"), "{text}");
}

#[test]
fn an_epoch_once_known_is_remembered_and_never_goes_back() {
    let dir = made();
    let mut open = DataDir::open(dir.path()).unwrap();
    for (epoch, known) in [(9, 9), (4, 9)] {
        open.set_epoch(Epoch(epoch)).unwrap();
        assert_eq!(open.config().epoch, Epoch(known));
    }
    drop(open);
    assert_eq!(DataDir::open(dir.path()).unwrap().config().epoch, Epoch(9));
}

#[test]
fn damage_to_the_members_last_seen_is_said_and_ignored() {
    let dir = made();
    let open = DataDir::open(dir.path()).unwrap();
    let peers: BTreeMap<_, _> =
        (2..6).map(|id| (NodeId(id), SocketAddr::from(([10, 0, 0, id as u8], 7400)))).collect();
    open.peers_file().save(&peers).unwrap();
    let path = dir.path().join("peers.json");
    let whole = fs::read(&path).unwrap();
    let seen = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let mut seen = LastSeen::new(&open);
        contract::check(&mut seen);
        seen.contacts()
    };
    assert_eq!(seen(&whole).len(), 4);
    for length in 0..whole.len() - 1 {
        assert_eq!(seen(&whole[..length]), [], "cut at {length}");
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(seen(&changed).len() <= 4);
    }
    let endless = [&whole[..whole.len() - 2], &vec![b' '; 2 << 20], b"}"].concat();
    assert_eq!(seen(&endless), []);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    contract::check(&mut LastSeen::new(&open));
}

#[test]
fn what_the_store_wrote_is_there_after_reopening() {
    let dir = made();
    let entry = Entry {
        id: LogId::new(Term(1), Index(1)),
        payload: Payload::Command(Bytes::from_static(b"put")),
    };
    let open = DataDir::open(dir.path()).unwrap();
    let mut store = open.store();
    store.recover().unwrap();
    let write = Write::Log { hard_state: None, entries: vec![entry.clone()].into() };
    store.write(&[(GroupId::CONTROL, write)]).unwrap();
    drop((store, open));
    let groups = DataDir::open(dir.path()).unwrap().store().recover().unwrap();
    assert_eq!(groups[&GroupId::CONTROL].raft.entries, [entry]);
}

#[test]
fn a_second_opening_is_refused_and_told_who_has_it() {
    let dir = made();
    let open = DataDir::open(dir.path()).unwrap();
    let pid = format!("(pid {})", std::process::id());
    check_refusal(DataDir::open(dir.path()), &["in use by another muslin process", &pid]);
    let boot = open.boot();
    drop(open);
    let next = DataDir::open(dir.path()).unwrap().boot();
    assert_eq!(next, boot + 1, "a refused opening counts for nothing");
}

/// Names the directory for the process that the test below starts.
const HELD: &str = "MUSLIN_TEST_HELD_DIR";

#[test]
fn a_lock_of_another_process_holds_until_it_is_killed() {
    let dir = made();
    let name = "data_dir::tests::holds_a_directory_until_it_is_killed";
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--ignored", "--nocapture"])
        .env(HELD, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("held")));
    let pid = format!("(pid {})", other.id());
    check_refusal(DataDir::open(dir.path()), &["in use by another muslin process", &pid]);
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(DataDir::open(dir.path()).unwrap().boot(), 3);
}

#[test]
#[ignore = "run as a process of its own by the test above"]
fn holds_a_directory_until_it_is_killed() {
    let Some(path) = std::env::var_os(HELD) else { return };
    let _open = DataDir::open(Path::new(&path)).unwrap();
    println!("held");
    std::thread::sleep(std::time::Duration::from_secs(600));
}

#[test]
fn another_nodes_directory_is_refused_unchanged() {
    let dir = made();
    let before = fs::read(dir.path().join("node.json")).unwrap();
    for (cluster, node) in [(0xc1, 0xa2), (0xc2, 0xa1)] {
        let result = DataDir::open_as(dir.path(), ClusterId(cluster), NodeId(node));
        let theirs = "node 00000000000000a1 of cluster 000000000000000000000000000000c1";
        check_refusal(result, &[theirs, "belongs to", &format!("node {}", NodeId(node))]);
    }
    assert_eq!(fs::read(dir.path().join("node.json")).unwrap(), before);
}

#[test]
fn a_log_of_another_node_under_our_name_is_refused() {
    let (ours, theirs) = (made(), tempfile::tempdir().unwrap());
    let other = NodeConfig { node: NodeId(0xa2), ..config() };
    DataDir::create(theirs.path(), other, founding()).unwrap();
    let name = "log/0000000000000001.log";
    fs::copy(theirs.path().join(name), ours.path().join(name)).unwrap();
    let error = DataDir::open(ours.path()).unwrap().store().recover().unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

#[test]
fn a_directory_that_is_not_ours_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
    let result = DataDir::create(dir.path(), config(), founding());
    check_refusal(result, &["not empty", "thesis.txt"]);
    check_refusal(DataDir::open(dir.path()), &["there is no node in it", "muslin init"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_node_is_not_made_twice() {
    let dir = made();
    let again = DataDir::create(dir.path(), config(), founding());
    check_refusal(again, &["there is a node in it already", "muslin up"]);
    assert_eq!(DataDir::open(dir.path()).unwrap().boot(), 2);
}

#[test]
fn a_creation_cut_short_can_be_done_again_but_not_over_a_log_in_use() {
    let dir = made();
    fs::remove_file(dir.path().join("node.json")).unwrap();
    fs::write(dir.path().join("node.json.tmp"), "{").unwrap();
    let open = DataDir::create(dir.path(), config(), founding()).unwrap();
    let mut store = open.store();
    store.recover().unwrap();
    drop((store, open));
    fs::remove_file(dir.path().join("node.json")).unwrap();
    let result = DataDir::create(dir.path(), config(), founding());
    check_refusal(result, &["a log in it but no node.json"]);
}

#[test]
fn what_belongs_to_a_node_is_in_its_directory_before_there_is_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let cut = DataDir::create_with(path, config(), founding(), |path| {
        fs::create_dir(path.join("identity")).unwrap();
        fs::write(path.join("identity/node.pem"), "half of it").unwrap();
        fs::write(path.join("peers.json"), "{}").unwrap();
        Err(super::dir::unusable("write", path, std::io::Error::other("cut short")))
    });
    assert!(cut.is_err());
    check_refusal(DataDir::open(path), &["there is no node in it"]);
    DataDir::check_unused(path).unwrap();
    let fill = |path: &Path| {
        fs::write(path.join("identity/node.pem"), "all of it").unwrap();
        assert!(!path.join("node.json").exists());
        Ok::<(), StoreError>(())
    };
    drop(DataDir::create_with(path, config(), founding(), fill).unwrap());
    assert_eq!(DataDir::open(path).unwrap().boot(), 2);
}

#[test]
fn what_is_no_directory_or_not_there_is_refused_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    check_refusal(DataDir::open(&file), &["not a directory", "--data-dir"]);
    let made = DataDir::create(&file, config(), founding());
    check_refusal(made, &["not a directory"]);
    let below = DataDir::create(&file.join("below"), config(), founding());
    check_refusal(below, &["not a directory"]);
    check_refusal(DataDir::open(&dir.path().join("gone")), &["no node in it", "muslin init"]);
    check_refusal(DataDir::open(dir.path()), &["no node in it", "muslin join"]);
}

#[test]
fn missing_rights_are_explained() {
    let of = |kind: std::io::ErrorKind| {
        super::dir::unusable("read", Path::new("/d"), std::io::Error::from(kind)).to_string()
    };
    assert!(of(std::io::ErrorKind::PermissionDenied).contains("chown"));
    assert!(of(std::io::ErrorKind::ReadOnlyFilesystem).contains("read-only"));
    assert!(of(std::io::ErrorKind::StorageFull).contains("make room"));
    let dir = made();
    if fs::metadata(dir.path()).unwrap().uid() == 0 {
        return; // Rights mean nothing to root.
    }
    for mode in [0o000, 0o500] {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        check_refusal(DataDir::open(dir.path()), &["chown"]);
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_corrupt_node_json_is_refused_by_field() {
    let dir = made();
    let path = dir.path().join("node.json");
    let whole = fs::read_to_string(&path).unwrap();
    let cases = [
        ("", "EOF while parsing"),
        ("{\"format\":1}", "missing field `cluster_id`"),
        ("{}", "missing field `format`"),
        ("[]", "expected"),
    ];
    for (text, word) in cases {
        fs::write(&path, text).unwrap();
        check_refusal(DataDir::open(dir.path()), &["node.json", word, "restore it from a backup"]);
    }
    let edits = [
        ("00000000000000a1", "xyz", "`node_id` is not 16 hexadecimal digits"),
        ("000000000000000000000000000000c1", "c1", "`cluster_id` is not 32 hexadecimal digits"),
        ("127.0.0.1:7401", "localhost", "invalid socket address"),
        ("\"boot\": 1", "\"boot\": 0", "`boot` is not 1 or more"),
        ("\"founding\": \"", "\"founding\": \"!", "`founding` is not a founding in base64"),
        ("\"profile\"", "\"profil\"", "unknown field `profil`"),
    ];
    for (from, to, word) in edits {
        assert!(whole.contains(from), "{from} is not in {whole}");
        fs::write(&path, whole.replace(from, to)).unwrap();
        check_refusal(DataDir::open(dir.path()), &["node.json", word, "restore it from a backup"]);
    }
}

#[test]
fn a_later_format_is_refused_by_number() {
    let dir = made();
    let path = dir.path().join("node.json");
    fs::write(&path, r#"{"format":2,"anything":[]}"#).unwrap();
    check_refusal(DataDir::open(dir.path()), &["has format 2, this version reads 1"]);
}

#[test]
fn what_has_a_segments_name_and_is_none_is_refused_at_once() {
    let dir = made();
    let pipe = dir.path().join("log").join("0000000000000009.log");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let refused = DataDir::check(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("a pipe") && !refused.contains("stops"), "{refused}");
    let open = DataDir::open(dir.path()).unwrap();
    assert!(matches!(open.store().recover(), Err(StoreError::Unusable { .. })));
    fs::remove_file(&pipe).unwrap();
    // Another spelling of a number is no segment.
    fs::write(dir.path().join("log").join("00000000000000FF.log"), "mine").unwrap();
    assert!(open.store().recover().is_ok());
}
