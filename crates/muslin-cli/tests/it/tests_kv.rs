//! Keys through the command line.

use crate::dev::Dev;
use crate::process::{Running, answered, muslin, run_with_input, until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn keys_are_written_read_listed_and_deleted_through_any_node() {
    let dev = Dev::start(&[]);
    let on = |node: usize, words: &[&str]| {
        answered(&[words, &["--addr", &dev.nodes[node].addr]].concat())
    };
    on(0, &["kv", "put", "app/a", "one"]).ok();
    on(1, &["kv", "put", "app/b c?", "two words"]).ok();
    assert_eq!(on(2, &["kv", "get", "app/a"]).ok().stdout, "one");
    assert_eq!(on(0, &["kv", "get", "app/b c?"]).ok().stdout, "two words");
    let listed = on(1, &["kv", "ls", "--prefix", "app/"]).ok().stdout;
    let columns: Vec<Vec<&str>> = listed.lines().map(|l| l.split('\t').take(2).collect()).collect();
    assert_eq!(columns, [["app/a", "one"], ["app/b c?", "two words"]]);
    let limited =
        on(1, &["kv", "ls", "--prefix", "app/", "--limit", "1", "-o", "json"]).ok().json();
    assert_eq!(limited["items"].as_array().unwrap().len(), 1, "{limited}");
    on(2, &["kv", "del", "app/a"]).ok();
    assert_eq!(on(0, &["kv", "get", "app/a"]).code, Some(3));
    let again = on(0, &["kv", "del", "app/a"]).ok();
    assert!(again.stdout.starts_with("0\t") && again.stderr.contains("no key"), "{again:?}");
    let nothing = on(0, &["kv", "ls", "--prefix", "nothing/"]).ok();
    assert!(nothing.stdout.is_empty() && !nothing.stderr.is_empty(), "{nothing:?}");
    dev.stop();
}

#[test]
fn a_value_is_bytes_and_comes_from_stdin_when_asked() {
    let dev = Dev::start(&["--nodes", "1"]);
    let addr = dev.nodes[0].addr.as_str();
    run_with_input(&["kv", "put", "raw", "-", "--addr", addr], &[0xff, 0x00, b'\n']).ok();
    let shown = answered(&["kv", "get", "raw", "-o", "json", "--addr", addr]).ok().json();
    assert_eq!(shown["value_b64"], "/wAK", "{shown}");
    answered(&["kv", "put", "text", "hello", "--addr", addr]).ok();
    let shown = answered(&["kv", "get", "text", "-o", "json", "--addr", addr]).ok().json();
    let fields = [&shown["key"], &shown["value"], &shown["version"]];
    assert_eq!(fields, [&json!("text"), &json!("hello"), &json!(1)]);
    let local = answered(&["kv", "get", "text", "--consistency", "local", "--addr", addr]).ok();
    assert_eq!(local.stdout, "hello");
    dev.stop();
}

#[test]
fn a_write_may_ask_for_what_it_replaces() {
    let dev = Dev::start(&["--nodes", "1"]);
    let addr = dev.nodes[0].addr.as_str();
    let put = |value: &str, flags: &[&str]| {
        answered(&[&["kv", "put", "k", value, "-o", "json", "--addr", addr], flags].concat())
    };
    let first = put("1", &["--if-absent"]).ok().json()["revision"].as_u64().unwrap();
    assert_eq!(put("2", &["--if-absent"]).code, Some(4));
    put("2", &["--if-revision", &first.to_string()]).ok();
    assert_eq!(put("3", &["--if-revision", &first.to_string()]).code, Some(4));
    assert_eq!(answered(&["kv", "get", "k", "--addr", addr]).ok().stdout, "2");
    dev.stop();
}

#[test]
fn a_watch_tells_what_is_there_and_then_every_change() {
    let dev = Dev::start(&[]);
    let (addr, other) = (dev.nodes[0].addr.as_str(), dev.nodes[1].addr.as_str());
    answered(&["kv", "put", "w/old", "0", "--addr", addr]).ok();
    let line = ["kv", "watch", "--prefix", "w/", "--count", "3", "-o", "json", "--addr", addr];
    let mut watch = Running::start(muslin(&line).stdout(Stdio::piped()).stdin(Stdio::null()));
    let stdout = BufReader::new(watch.child().stdout.take().unwrap());
    let mut lines =
        stdout.lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut next = || loop {
        let line = lines.next().expect("the watch goes on");
        if line["type"] != "progress" {
            return line;
        }
    };
    let item = next();
    assert_eq!((&item["type"], &item["key"]), (&json!("item"), &json!("w/old")));
    assert_eq!(next()["type"], "sync");
    answered(&["kv", "put", "w/new", "1", "--addr", other]).ok();
    answered(&["kv", "put", "elsewhere", "1", "--addr", other]).ok();
    answered(&["kv", "put", "w/new", "2", "--addr", addr]).ok();
    answered(&["kv", "del", "w/old", "--addr", other]).ok();
    let told: Vec<[Value; 3]> = (0..3)
        .map(|_| next())
        .map(|l| [l["type"].clone(), l["key"].clone(), l["value"].clone()])
        .collect();
    assert_eq!(told[0], [json!("put"), json!("w/new"), json!("1")]);
    assert_eq!(told[1], [json!("put"), json!("w/new"), json!("2")]);
    assert_eq!(told[2][..2], [json!("delete"), json!("w/old")]);
    assert_eq!(watch.wait().code(), Some(0));
    dev.stop();
}

#[test]
fn status_nodes_and_events_say_how_the_cluster_is() {
    let mut dev = Dev::start(&[]);
    let addr = dev.nodes[0].addr.clone();
    until("it says that it is healthy", || {
        let status = answered(&["status", "--addr", &addr]).stdout;
        status.starts_with("Healthy - can lose 1 more node\n").then_some(())
    });
    until("it says so to programs", || {
        let body = answered(&["status", "--addr", &addr, "-o", "json"]).json();
        (body["health"] == "healthy" && body["can_lose"] == 1).then_some(())
    });
    let rows = answered(&["node", "ls", "--addr", &addr]).ok().stdout;
    assert_eq!(rows.lines().map(|l| &l[..2]).collect::<Vec<_>>(), ["n1", "n2", "n3"]);
    let by_name = answered(&["node", "show", "n2", "-o", "json", "--addr", &addr]).ok().json();
    assert_eq!(by_name["id"], dev.node("n2").id.as_str());
    let prefix = &dev.node("n2").id[..12];
    let by_id = answered(&["node", "show", prefix, "-o", "json", "--addr", &addr]).ok().json();
    assert_eq!(by_id["name"], "n2");
    assert_eq!(answered(&["node", "show", "n9", "--addr", &addr]).code, Some(3));
    let events = answered(&["events", "-o", "json", "--addr", &addr]).ok().json();
    assert!(events["items"].as_array().is_some_and(|items| !items.is_empty()), "{events}");
    dev.kill("n3");
    until("the loss is told", || {
        let said = answered(&["status", "--addr", &addr]);
        (said.code == Some(8) && said.stdout.starts_with("Degraded")).then_some(())
    });
    dev.stop();
}
