//! Exit codes and texts that need no cluster.

use crate::ports;
use crate::process::{Said, run};

/// Every command, for what holds for all of them.
const COMMANDS: [&str; 74] = [
    "",
    "dev",
    "init",
    "join",
    "up",
    "status",
    "node",
    "node ls",
    "node show",
    "node events",
    "node drain",
    "node resume",
    "node rm",
    "node held",
    "node approve",
    "node deny",
    "node role",
    "node role add",
    "node role rm",
    "node label",
    "node promote",
    "node demote",
    "cluster",
    "cluster info",
    "cluster health",
    "cluster quorum",
    "cluster transfer-leader",
    "cluster epoch",
    "cluster epoch bump",
    "cluster id",
    "explain",
    "token",
    "token create",
    "token ls",
    "token show",
    "token revoke",
    "token rotate",
    "cert",
    "cert ls",
    "cert rotate",
    "kv",
    "kv get",
    "kv put",
    "kv del",
    "kv ls",
    "kv watch",
    "kv history",
    "kv cas",
    "kv edit",
    "kv txn",
    "kv export",
    "kv import",
    "kv compact",
    "lock",
    "elect",
    "lease",
    "lease grant",
    "lease revoke",
    "lease ttl",
    "lease ls",
    "lease keep",
    "op",
    "op ls",
    "op show",
    "op wait",
    "op cancel",
    "events",
    "completions",
    "version",
    "bench",
    "bench kv",
    "bench outage",
    "node list",
    "kv list",
];

fn help(command: &str) -> Said {
    let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
    run(&words).ok()
}

#[test]
fn every_help_ends_with_examples() {
    for command in COMMANDS {
        let said = help(command);
        let (_, examples) =
            said.stdout.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{said:?}"));
        assert!(
            examples.lines().all(|line| line.starts_with("  muslin ")),
            "{command}: {examples}"
        );
    }
}

#[test]
fn a_wrong_command_is_a_usage_error_that_suggests_the_right_one() {
    let said = run(&["statsu"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("'status'") && said.stdout.is_empty(), "{said:?}");
    assert_eq!(run(&["dev", "--nodes", "0"]).code, Some(2));
    assert_eq!(run(&["kv", "put", ""]).code, Some(2));
    assert_eq!(run(&[]).code, Some(2));
}

#[test]
fn nobody_there_is_exit_code_5_and_says_what_to_do() {
    let addr = format!("127.0.0.1:{}", ports::row(1));
    let commands: [&[&str]; 4] = [&["status"], &["kv", "get", "a"], &["node", "ls"], &["events"]];
    for command in commands {
        let said = run(&[command, &["--addr", &addr]].concat());
        assert_eq!(said.code, Some(5), "{said:?}");
        assert!(said.stderr.contains(&addr) && said.stderr.contains("hint:"), "{said:?}");
        assert!(said.stdout.is_empty(), "{said:?}");
    }
    let bench = ["bench", "kv", "--clients", "1", "--seconds", "1", "--endpoints", &addr];
    assert_eq!(run(&bench).code, Some(5));
}

#[test]
fn init_leaves_a_directory_alone_that_is_not_empty() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("letter"), "dear").unwrap();
    let place = directory.path().to_str().unwrap();
    let said = run(&["init", "--data-dir", place, "--name", "n1", "--listen", "127.0.0.1:7401"]);
    assert_eq!(said.code, Some(4), "{said:?}");
    assert_eq!(std::fs::read_dir(place).unwrap().count(), 1);
}

#[test]
fn plain_etcd_clients_from_elsewhere_must_be_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("n1");
    let node = ["--name", "n1", "--listen", "127.0.0.1:7401", "--etcd-listen", "0.0.0.0:2379"];
    let said = run(&[&["init", "--data-dir", place.to_str().unwrap()], &node[..]].concat());
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("--insecure") && !place.exists(), "{said:?}");
}

#[test]
fn up_says_that_a_directory_holds_no_node() {
    let directory = tempfile::tempdir().unwrap();
    for place in [directory.path().to_owned(), directory.path().join("none")] {
        let place = place.to_str().unwrap();
        let said = run(&["up", "--data-dir", place]);
        assert_eq!(said.code, Some(3), "{said:?}");
        let told = format!("cannot use {place}: there is no node in it; make one with");
        assert!(said.stderr.contains(&told), "{said:?}");
    }
}

#[test]
fn version_and_completions_need_nobody() {
    let version = run(&["version", "-o", "json"]).ok().json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["--version"]).ok().stdout, format!("muslin {}\n", env!("CARGO_PKG_VERSION")));
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).ok().stdout.contains("muslin"));
    }
}

#[test]
fn a_disk_that_is_not_there_cannot_be_checked() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("n9");
    let said = run(&["check-disk", missing.to_str().unwrap()]);
    assert_eq!(said.code, Some(3));
    let text = format!("there is no directory {}", missing.display());
    assert!(said.stderr.contains(&text), "{said:?}");
}
