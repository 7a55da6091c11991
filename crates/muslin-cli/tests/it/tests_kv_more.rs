//! Keys through the command line: with conditions, for a time, many at once, their history.

use crate::dev::Dev;
use crate::process::{Said, answered, muslin, run, run_with_input, until};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A cluster of one, and its commands.
struct One {
    dev: Dev,
}

impl One {
    fn start() -> One {
        One { dev: Dev::start(&["--nodes", "1"]) }
    }

    fn addr(&self) -> &str {
        &self.dev.nodes[0].addr
    }

    #[track_caller]
    fn on(&self, words: &[&str]) -> Said {
        answered(&[&["--addr", self.addr()], words].concat())
    }

    fn input(&self, words: &[&str], input: &str) -> Said {
        run_with_input(&[&["--addr", self.addr()], words].concat(), input.as_bytes())
    }

    fn get(&self, key: &str) -> Option<String> {
        let said = self.on(&["kv", "get", key]);
        (said.code == Some(0)).then_some(said.stdout)
    }
}

#[test]
fn a_key_goes_after_its_time_and_history_tells_why() {
    let one = One::start();
    let put = one.on(&["kv", "put", "t", "1", "--ttl", "1s", "-o", "json"]).ok().json();
    assert!(put["lease"].is_string(), "{put}");
    until("it goes", || one.get("t").is_none().then_some(()));
    let told = one.on(&["kv", "history", "t"]).ok().stdout;
    let kinds: Vec<&str> = told.lines().map(|line| line.split('\t').nth(1).unwrap()).collect();
    assert_eq!(kinds, ["expired", "put"]);
    let body = one.on(&["kv", "history", "t", "--limit", "1", "-o", "json"]).ok().json();
    assert_eq!((&body["more"], &body["changes"][0]["cause"]), (&json!(true), &json!("expired")));
    assert_eq!(one.on(&["kv", "history", "nothing"]).code, Some(3));
    assert_eq!(one.on(&["kv", "put", "t", "1", "--ttl", "5"]).code, Some(2));
    one.dev.stop();
}

#[test]
fn leases_are_made_shown_kept_and_ended() {
    let one = One::start();
    let id = one.on(&["lease", "grant", "1h"]).ok().stdout.trim().to_string();
    one.on(&["kv", "put", "leased", "1", "--lease", &id]).ok();
    assert_eq!(one.on(&["lease", "ls"]).ok().stdout.trim(), id);
    let told = one.on(&["lease", "ttl", &id]).ok().stdout;
    assert!(told.contains("ttl_ms\t3600000\n") && told.contains("key\tleased\n"), "{told}");
    let kept = one.on(&["lease", "keep", &id, "--once", "-o", "json"]).ok().json();
    assert!(kept["left_ms"].as_u64().unwrap() > 3_500_000, "{kept}");
    one.on(&["lease", "revoke", &id]).ok();
    assert_eq!(one.get("leased"), None);
    for words in [["lease", "ttl", &id], ["lease", "keep", &id], ["lease", "revoke", &id]] {
        assert_eq!(one.on(&words).code, Some(3), "{words:?}");
    }
    assert_eq!(one.on(&["lease", "ttl", "no lease"]).code, Some(2));
    // Kept alive by a process: it outlives its time.
    let short = one.on(&["lease", "grant", "1s"]).ok().stdout.trim().to_string();
    one.on(&["kv", "put", "kept", "1", "--lease", &short]).ok();
    let mut keeper = crate::process::Running::start(&mut muslin(&[
        "lease",
        "keep",
        &short,
        "--addr",
        one.addr(),
    ]));
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(one.get("kept").as_deref(), Some("1"));
    keeper.kill();
    until("it goes with its keeper", || one.get("kept").is_none().then_some(()));
    one.dev.stop();
}

#[test]
fn a_value_is_swapped_for_another_only_where_that_stands() {
    let one = One::start();
    let id = one.on(&["lease", "grant", "1h"]).ok().stdout.trim().to_string();
    one.on(&["kv", "put", "stock", "5", "--lease", &id]).ok();
    one.on(&["kv", "cas", "stock", "5", "4"]).ok();
    let late = one.on(&["kv", "cas", "stock", "5", "3"]);
    assert!(late.code == Some(4) && late.stderr.contains("since revision"), "{late:?}");
    assert_eq!(one.on(&["kv", "cas", "absent", "", "1"]).code, Some(4));
    assert_eq!((one.get("stock").as_deref(), one.get("absent")), (Some("4"), None));
    one.on(&["lease", "revoke", &id]).ok();
    assert_eq!(one.get("stock"), None, "it stayed on its lease");
    one.dev.stop();
}

/// An editor that does this to the file.
fn editor(directory: &Path, does: &str) -> String {
    let path = directory.join("editor");
    std::fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_string()
}

#[test]
fn a_value_is_edited_unless_somebody_else_has_written() {
    let one = One::start();
    let directory = tempfile::tempdir().unwrap();
    let edit = |key: &str, does: &str| {
        let mut command = muslin(&["kv", "edit", key, "--addr", one.addr()]);
        command.env("EDITOR", editor(directory.path(), does)).env_remove("VISUAL");
        let output = command.env("TMPDIR", directory.path()).output().unwrap();
        Said {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    };
    let drafts = || {
        let entries = std::fs::read_dir(directory.path()).unwrap();
        entries.filter(|e| e.as_ref().unwrap().path().is_dir()).count()
    };
    one.on(&["kv", "put", "app/c.toml", "old"]).ok();
    edit("app/c.toml", "grep -q old \"$1\" && echo new > \"$1\"").ok();
    assert_eq!(one.get("app/c.toml").as_deref(), Some("new"));
    let same = edit("app/c.toml", "echo new > \"$1\"").ok();
    assert!(same.stdout.is_empty() && same.stderr.contains("left as it is"), "{same:?}");
    edit("made", "echo first > \"$1\"").ok();
    assert_eq!(one.get("made").as_deref(), Some("first"));
    assert_eq!(drafts(), 0);
    let binary = env!("CARGO_BIN_EXE_muslin");
    let meanwhile = format!("{binary} kv put made other --addr {}; echo mine > \"$1\"", one.addr());
    let late = edit("made", &meanwhile);
    assert!(late.code == Some(4) && late.stderr.contains("kept in"), "{late:?}");
    assert_eq!((one.get("made").as_deref(), drafts()), (Some("other"), 1));
    assert_eq!(edit("made", "exit 3").code, Some(1));
    one.dev.stop();
}

#[test]
fn a_transaction_comes_from_a_file_and_says_where_it_is_wrong() {
    let one = One::start();
    let txn = |body: &str| one.input(&["kv", "txn"], body);
    let order = r#"{"compare": [{"key": "stock", "version": 0}],
        "success": [{"put": {"key": "stock", "value": "5"}}],
        "failure": [{"get": {"key": "stock"}}]}"#;
    assert_eq!(txn(order).ok().stdout, "success\t-\t-\t2\nput\t-\t-\t-\n");
    assert_eq!(txn(order).ok().stdout, "failure\t-\t-\t2\nget\t-\t1\t-\nitem\tstock\t5\t2\n");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("order.json");
    std::fs::write(&file, order).unwrap();
    let body = one.on(&["kv", "txn", file.to_str().unwrap(), "-o", "json"]).ok().json();
    assert_eq!(body["succeeded"], false, "{body}");
    for (wrong, says) in [
        ("{\n \"compare\": [\n", "line 3"),
        ("{\"succes\": []}", "succes"),
        ("{\"success\":\n [{\"putt\": {}}]}", "line 2"),
        (
            "{\"success\": [{\"get\": {\"key\": \"a\"}}, {\"put\": {\"key\": \"a\"}}]}",
            "success[1]: ",
        ),
        ("{\"compare\": [{\"key\": \"a\"}]}", "compare[0]: "),
    ] {
        let said = txn(wrong);
        assert!(said.code == Some(2) && said.stderr.contains(says), "{wrong}: {said:?}");
    }
    let missing = one.on(&["kv", "txn", "/nowhere/order.json"]);
    assert!(missing.code == Some(3) && missing.stderr.contains("/nowhere"), "{missing:?}");
    one.dev.stop();
}

#[test]
fn keys_and_values_of_any_bytes_go_out_and_come_back() {
    let one = One::start();
    let odd = r#"{"success": [{"put": {"key_b64": "a/8=", "value_b64": "AP8="}}]}"#;
    one.input(&["kv", "txn"], odd).ok();
    one.on(&["kv", "put", "k/text", "two\nlines"]).ok();
    for number in 0..5 {
        one.on(&["kv", "put", &format!("many/{number}"), "x"]).ok();
    }
    one.on(&["kv", "put", "going", "1", "--ttl", "1h"]).ok();
    let out = one.on(&["kv", "export"]).ok();
    assert!(out.stderr.contains("1 keys hang on leases"), "{out:?}");
    assert_eq!(out.stdout.lines().count(), 9, "{out:?}");
    assert_eq!(one.on(&["kv", "export", "--leased"]).ok().stdout.lines().count(), 10);
    let other = One::start();
    let checked = other.input(&["kv", "import", "--check"], &out.stdout).ok();
    assert!(checked.stdout.starts_with("7 keys"), "{checked:?}");
    assert_eq!(other.on(&["kv", "ls", "-o", "json"]).ok().json()["count"], 0);
    let cut = out.stdout.lines().take(4).collect::<Vec<_>>().join("\n");
    let said = other.input(&["kv", "import"], &cut);
    assert!(said.code == Some(2) && said.stderr.contains("line 4"), "{said:?}");
    assert_eq!(other.on(&["kv", "ls", "-o", "json"]).ok().json()["count"], 0);
    other.on(&["kv", "put", "k/text", "here before"]).ok();
    let told = other.input(&["kv", "import", "--if-absent", "-o", "json"], &out.stdout).ok();
    assert_eq!(told.json(), json!({ "keys": 7, "written": 6, "left": 1 }));
    assert_eq!(other.get("k/text").as_deref(), Some("here before"));
    other.input(&["kv", "import"], &out.stdout).ok();
    let keys = |of: &One| of.on(&["kv", "export", "--prefix", "k"]).ok().stdout;
    let lines = |text: String| text.lines().skip(1).map(String::from).collect::<Vec<_>>();
    assert_eq!(lines(keys(&other)), lines(keys(&one)));
    one.dev.stop();
    other.dev.stop();
}

#[test]
fn compacted_history_is_gone_and_what_is_there_is_not() {
    let one = One::start();
    for value in ["1", "2", "3"] {
        one.on(&["kv", "put", "c", value]).ok();
    }
    let said = one.on(&["kv", "compact", "4", "--physical"]).ok();
    assert_eq!(said.stdout, "4\t4\n");
    assert_eq!(one.get("c").as_deref(), Some("3"));
    let told = one.on(&["kv", "history", "c"]).ok();
    assert_eq!(told.stdout.lines().count(), 1, "{told:?}");
    for wrong in ["3", "99"] {
        let said = run(&["kv", "compact", wrong, "--addr", one.addr()]);
        assert!(said.code.is_some_and(|code| code != 0), "{said:?}");
    }
    one.dev.stop();
}
