//! Commands that run while something is held.

use crate::dev::Dev;
use crate::process::{Running, answered, exists, muslin, run, send, until};
use nix::sys::signal::Signal;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// A command whose stdin is no terminal, and whose output is kept.
fn quiet(words: &[&str]) -> Command {
    let mut command = muslin(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a file holds as soon as it holds something.
#[track_caller]
fn written(path: &Path) -> String {
    until("the command runs", || {
        std::fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'))
    })
    .trim()
    .to_string()
}

#[test]
fn one_command_at_a_time_runs_under_a_lock_and_its_code_is_passed_on() {
    let dev = Dev::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let line = format!("echo in >> {0}; sleep 0.05; echo out >> {0}; exit 7", log.display());
    let mut running: Vec<Running> = (0..4)
        .map(|number: usize| {
            let addr = dev.nodes[number % 3].addr.as_str();
            let words = ["lock", "one", "--addr", addr, "--", "sh", "-c", &line];
            Running::start(&mut quiet(&words))
        })
        .collect();
    for one in &mut running {
        assert_eq!(one.wait().code(), Some(7));
    }
    let told = std::fs::read_to_string(&log).unwrap();
    assert_eq!(told, "in\nout\n".repeat(4));
    let addr = dev.nodes[0].addr.as_str();
    let locks = answered(&["lease", "ls", "--addr", addr]).ok().stdout;
    assert_eq!(locks, "", "each gives its lease back");
    let under = |words: &[&str]| run(&[&["lock", "a/b", "--addr", addr, "--"], words].concat());
    assert_eq!(under(&["sh", "-c", "kill -9 $$"]).code, Some(137));
    assert_eq!(under(&["/nowhere/to/be/found"]).code, Some(127));
    assert_eq!(under(&["/"]).code, Some(126));
    let told = under(&["sh", "-c", "echo $MUSLIN_LOCK $MUSLIN_FENCE $MUSLIN_LEASE"]).ok();
    let words: Vec<&str> = told.stdout.split_whitespace().collect();
    assert!(words.len() == 3 && words[0] == "a/b" && words[1].parse::<u64>().is_ok(), "{told:?}");
    assert_eq!(run(&["lock", "a", "--addr", addr]).code, Some(2), "a command is wanted");
    dev.stop();
}

#[test]
fn a_lock_that_is_held_is_waited_for_as_long_as_is_said() {
    let dev = Dev::start(&["--nodes", "1"]);
    let addr = dev.nodes[0].addr.as_str();
    let directory = tempfile::tempdir().unwrap();
    let begun = directory.path().join("begun");
    let line = format!("echo begun > {}; sleep 600", begun.display());
    let mut holder =
        Running::start(&mut quiet(&["lock", "l", "--addr", addr, "--", "sh", "-c", &line]));
    written(&begun);
    for wait in ["0s", "300ms"] {
        let said = run(&["lock", "l", "--wait", wait, "--addr", addr, "--", "true"]);
        assert!(said.code == Some(4) && said.stderr.contains("another session"), "{said:?}");
    }
    let mut next = Running::start(&mut quiet(&["lock", "l", "--addr", addr, "--", "true"]));
    until("it waits", || {
        let body = crate::http::ask(addr, "GET", "/v1/locks/l", b"")?.json();
        (body["waiting"].as_array()?.len() == 1).then_some(())
    });
    // Whoever is asked to stop asks its command to.
    holder.signal(Signal::SIGTERM);
    assert_eq!(holder.wait().code(), Some(143));
    assert_eq!(next.wait().code(), Some(0));
    dev.stop();
}

/// Starts a holder whose command, and what that starts, pay no heed to SIGTERM; their processes.
fn stubborn(addr: &str, directory: &Path) -> (Running, [u32; 2]) {
    let pids = directory.join("pids");
    let line = format!("trap '' TERM; sleep 600 & echo $$ $! > {}; wait; wait", pids.display());
    let words = ["lock", "s", "--ttl", "3s", "--addr", addr, "--", "sh", "-c", &line];
    let holder = Running::start(&mut quiet(&words));
    let told = written(&pids);
    let pids: Vec<u32> = told.split(' ').map(|pid| pid.parse().unwrap()).collect();
    (holder, [pids[0], pids[1]])
}

#[test]
fn a_command_is_killed_when_its_lock_is_lost() {
    let dev = Dev::start(&["--nodes", "1"]);
    let addr = dev.nodes[0].addr.as_str();
    let directory = tempfile::tempdir().unwrap();
    // Its lease is ended by somebody.
    let (mut holder, pids) = stubborn(addr, directory.path());
    let lease = answered(&["lease", "ls", "--addr", addr]).ok().stdout.trim().to_string();
    answered(&["lease", "revoke", &lease, "--addr", addr]).ok();
    assert_eq!(holder.wait().code(), Some(4));
    assert!(!pids.iter().any(|pid| exists(*pid)), "all of it is killed");
    // Nobody answers any more.
    std::fs::remove_file(directory.path().join("pids")).unwrap();
    let (mut holder, pids) = stubborn(addr, directory.path());
    let node = dev.nodes[0].pid;
    send(node, Signal::SIGSTOP);
    assert_eq!(holder.wait().code(), Some(4));
    assert!(!pids.iter().any(|pid| exists(*pid)), "all of it is killed");
    send(node, Signal::SIGCONT);
    dev.stop();
}

#[test]
fn a_command_does_not_outlive_its_holder() {
    let dev = Dev::start(&["--nodes", "1"]);
    let addr = dev.nodes[0].addr.as_str();
    let directory = tempfile::tempdir().unwrap();
    let (mut holder, [pid, _]) = stubborn(addr, directory.path());
    holder.kill();
    until("it is killed with it", || (!exists(pid)).then_some(()));
    // Nobody gave the lock back: it goes by itself.
    assert_eq!(run(&["lock", "s", "--addr", addr, "--", "true"]).code, Some(0));
    dev.stop();
}

#[test]
fn a_write_with_the_fence_of_a_lost_lock_is_refused() {
    let dev = Dev::start(&["--nodes", "1"]);
    let addr = dev.nodes[0].addr.as_str();
    let binary = env!("CARGO_BIN_EXE_muslin");
    let put =
        |value: &str| format!("{binary} kv put f {value} --addr {addr} --fence f:$MUSLIN_FENCE");
    let line = format!("{} >&2 && echo $MUSLIN_FENCE", put("held"));
    let told = run(&["lock", "f", "--addr", addr, "--", "sh", "-c", &line]).ok();
    let late = format!("f:{}", told.stdout.trim());
    let commands: [&[&str]; 3] =
        [&["kv", "put", "f", "late"], &["kv", "del", "f"], &["kv", "cas", "f", "held", "late"]];
    for words in commands {
        let said = run(&[words, &["--fence", &late, "--addr", addr]].concat());
        assert!(said.code == Some(4) && said.stderr.contains("not held any more"), "{said:?}");
    }
    assert_eq!(answered(&["kv", "get", "f", "--addr", addr]).ok().stdout, "held");
    dev.stop();
}

#[test]
fn who_leads_runs_and_the_next_stands_in_for_it() {
    let dev = Dev::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let start = |number: usize, name: &str| {
        let addr = dev.nodes[number].addr.as_str();
        let file = directory.path().join(name);
        let line = format!("echo $MUSLIN_ELECTION $MUSLIN_FENCE > {}; sleep 600", file.display());
        let words = ["elect", "web", "--value", name, "--addr", addr, "--", "sh", "-c", &line];
        (Running::start(&mut quiet(&words)), file)
    };
    let leader = || {
        let answer = crate::http::ask(&dev.nodes[2].addr, "GET", "/v1/elections/web", b"")?;
        (answer.status == 200).then(|| answer.json()["leader"]["value"].clone())
    };
    let (first, file) = start(0, "first");
    let before: u64 = written(&file).strip_prefix("web ").unwrap().parse().unwrap();
    assert_eq!(leader(), Some(json!("first")));
    let (mut second, file) = start(1, "second");
    until("the second stands for it", || {
        let answer = crate::http::ask(&dev.nodes[2].addr, "GET", "/v1/elections/web", b"")?;
        (answer.json()["candidates"].as_array()?.len() == 1).then_some(())
    });
    // Whoever believes that it leads runs its command meanwhile.
    assert_eq!(answered(&["op", "ls", "--addr", &dev.nodes[1].addr]).code, Some(0));
    assert!(!file.exists(), "two lead at once");
    drop(first);
    let after: u64 = written(&file).strip_prefix("web ").unwrap().parse().unwrap();
    assert!(after > before, "{after} > {before}");
    // Its place is taken away: it stands again, and leads again.
    std::fs::remove_file(&file).unwrap();
    let path = format!("/v1/elections/web:resign?fence={after}");
    let addr = dev.nodes[2].addr.as_str();
    assert_eq!(crate::http::ask(addr, "POST", &path, b"").unwrap().status, 200);
    let again: u64 = written(&file).strip_prefix("web ").unwrap().parse().unwrap();
    assert!(again > after, "{again} > {after}");
    second.signal(Signal::SIGTERM);
    assert_eq!(second.wait().code(), Some(143));
    dev.stop();
}

#[test]
fn who_runs_no_command_says_when_it_leads() {
    let dev = Dev::start(&["--nodes", "1"]);
    let addr = dev.nodes[0].addr.as_str();
    let mut running = Running::start(&mut quiet(&["elect", "e", "-o", "json", "--addr", addr]));
    let mut lines = BufReader::new(running.child().stdout.take().unwrap()).lines();
    let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&line["type"], &line["name"]), (&json!("leading"), &json!("e")));
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code(), Some(130));
    let gone = crate::http::ask(addr, "GET", "/v1/elections/e", b"").unwrap();
    assert_eq!(gone.status, 404, "it has given the lead back");
    dev.stop();
}
