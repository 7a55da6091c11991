//! Counters, maps, sets, lists, queues and barriers through the command line and over HTTP.

use crate::dev::Dev;
use crate::http::ask;
use crate::process::{Running, Said, answered, muslin, run, run_with_input, until};
use serde_json::{Value, json};
use std::process::Stdio;

/// What a command says, at one of the nodes.
#[track_caller]
fn on(dev: &Dev, node: usize, line: &str) -> Said {
    let words: Vec<&str> = line.split(' ').collect();
    answered(&[&words[..], &["--addr", &dev.nodes[node].addr]].concat())
}

fn post(dev: &Dev, path: &str, body: &str) -> (u16, Value) {
    let answer = ask(&dev.nodes[0].addr, "POST", path, body.as_bytes()).unwrap();
    (answer.status, answer.json())
}

#[test]
fn what_one_node_is_told_all_of_them_know() {
    let dev = Dev::start(&[]);
    assert_eq!(on(&dev, 0, "counter add hits").ok().stdout, "1\n");
    assert_eq!(on(&dev, 1, "counter add hits 9").ok().stdout, "10\n");
    assert_eq!(on(&dev, 2, "counter set hits -3 --if 10").ok().stdout, "-3\n");
    assert_eq!(on(&dev, 0, "counter set hits 1 --if 10").code, Some(4));
    assert_eq!(on(&dev, 1, "counter get hits").ok().stdout, "-3\n");
    on(&dev, 2, "map put m/1 a/b 7").ok();
    assert_eq!(on(&dev, 0, "map put m/1 a/b 8 --if-absent").code, Some(4));
    assert_eq!(on(&dev, 1, "map get m/1 a/b").ok().stdout, "7");
    assert_eq!(on(&dev, 1, "map get m/1 b").code, Some(3));
    assert!(on(&dev, 0, "map ls m/1").ok().stdout.starts_with("a/b\t7\t"));
    assert_eq!(on(&dev, 0, "map rm m/1 a/b").ok().stdout, "1\t7\n");
    assert_eq!(on(&dev, 1, "set add s x").ok().stdout, "true\n");
    assert_eq!(on(&dev, 2, "set add s x").ok().stdout, "false\n");
    assert_eq!(on(&dev, 0, "set has s y").code, Some(3));
    assert_eq!(on(&dev, 0, "set ls s").ok().stdout, "x\n");
    on(&dev, 0, "multimap put t k 1").ok();
    on(&dev, 1, "multimap put t k 2").ok();
    assert_eq!(on(&dev, 2, "multimap get t k").ok().stdout, "1\n2\n");
    assert_eq!(on(&dev, 2, "multimap rm t k 1").ok().stdout, "1\n");
    assert_eq!(on(&dev, 0, "multimap ls t").ok().stdout, "k\t2\n");
    for word in ["a", "b", "c"] {
        on(&dev, 0, &format!("list push l {word}")).ok();
    }
    on(&dev, 1, "list set l 1 B").ok();
    assert_eq!(on(&dev, 2, "list rm l 0").ok().stdout, "a\n");
    assert_eq!(on(&dev, 2, "list ls l").ok().stdout, "B\nc\n");
    assert_eq!(on(&dev, 2, "list get l 2").code, Some(3));
    assert_eq!(on(&dev, 2, "list clear l").ok().stdout, "2\n");
    // None of it is among the keys, unless they are asked for.
    on(&dev, 0, "kv put own 1").ok();
    let keys = on(&dev, 1, "kv ls").ok().stdout;
    assert_eq!(keys.lines().map(|line| &line[..4]).collect::<Vec<_>>(), ["own\t"]);
    assert!(on(&dev, 1, "kv ls --all").ok().stdout.lines().count() > 3);
    let first = on(&dev, 1, "kv watch --from 2 --count 1").ok().stdout;
    assert!(first.starts_with("put\t") && first.contains("\town\t"), "{first}");
    let first = on(&dev, 1, "kv watch --from 2 --count 1 --all").ok().stdout;
    assert!(first.contains("m/counter/hits"), "{first}");
    assert_eq!(on(&dev, 1, "kv export").ok().stdout.lines().count(), 3);
    let all = on(&dev, 1, "kv export --all --leased").ok().stdout;
    assert!(all.lines().count() > 5, "{all}");
    dev.stop();
}

#[test]
fn what_has_an_identity_is_done_once() {
    let dev = Dev::start(&["--nodes", "1"]);
    for _ in 0..2 {
        let (status, body) = post(&dev, "/v1/counters/c:add?by=5&id=one", "");
        assert_eq!((status, &body["value"]), (200, &json!(5)));
    }
    let (_, first) = post(&dev, "/v1/queues/q?id=one", "item");
    assert_eq!(post(&dev, "/v1/queues/q?id=one", "item").1, first);
    let take = "/v1/queues/q:take?ttl=60s&wait=0s&id=mine";
    let (status, taken) = post(&dev, take, "");
    assert_eq!((status, &taken["value"], &taken["item"]), (200, &json!("item"), &first["item"]));
    let (_, again) = post(&dev, take, "");
    assert_eq!([&again["fence"], &again["lease"]], [&taken["fence"], &taken["lease"]]);
    assert_eq!(post(&dev, "/v1/queues/q:take?ttl=60s&wait=0s", "").1["code"], "empty");
    let item = format!("item={}", first["item"].as_str().unwrap());
    let (status, refused) = post(&dev, &format!("/v1/queues/q:done?{item}&fence=1"), "");
    assert_eq!((status, &refused["code"]), (412, &json!("fenced")));
    let done = format!("/v1/queues/q:done?{item}&fence={}", taken["fence"]);
    assert_eq!(post(&dev, &done, "").0, 200);
    assert_eq!(post(&dev, &done, "").0, 412);
    assert_eq!(post(&dev, "/v1/queues/q:pop", "").0, 404);
    for path in ["/v1/counters/c:add?by=x", "/v1/counters/c:set", "/v1/barriers/b:enter"] {
        assert_eq!(post(&dev, path, "").0, 400, "{path}");
    }
    // Neither the lease of an item that is done nor one that was made in vain is left behind.
    let lease = format!("lease ttl {}", taken["lease"].as_str().unwrap());
    assert_eq!(on(&dev, 0, &lease).code, Some(3));
    assert_eq!(on(&dev, 0, "lease ls").ok().stdout, "");
    dev.stop();
}

#[test]
fn each_item_of_a_queue_is_worked_on_by_one_and_none_is_lost() {
    let dev = Dev::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    for number in 0..6 {
        on(&dev, number % 3, &format!("queue push jobs {number}")).ok();
    }
    assert_eq!(on(&dev, 1, "queue pop jobs").ok().stdout, "0\n");
    // One dies with an item in its hands: it is back where it was.
    let mut dying = Running::start(
        muslin(&["queue", "work", "jobs", "--ttl", "2s", "--addr", &dev.nodes[0].addr, "--"])
            .args(["sh", "-c", "cat > /dev/null; sleep 600"])
            .stdin(Stdio::null()),
    );
    until("an item is taken", || {
        let told = on(&dev, 1, "queue ls jobs").ok().stdout;
        (!told.lines().next().unwrap().ends_with("\t-")).then_some(())
    });
    dying.kill();
    let line = format!("(cat; echo) >> {}", log.display());
    let mut workers: Vec<Running> = (0..3)
        .map(|node| {
            let mut command = muslin(&["queue", "work", "jobs", "--idle", "5s", "--addr"]);
            command.arg(&dev.nodes[node].addr).args(["--", "sh", "-c", &line]);
            Running::start(command.stdin(Stdio::null()))
        })
        .collect();
    for worker in &mut workers {
        assert_eq!(worker.wait().code(), Some(0));
    }
    let told = std::fs::read_to_string(&log).unwrap();
    let mut told: Vec<&str> = told.lines().collect();
    told.sort_unstable();
    assert_eq!(told, ["1", "2", "3", "4", "5"]);
    assert_eq!(on(&dev, 0, "queue pop jobs").code, Some(3));
    // What fails is put back, and the code is passed on.
    run_with_input(&["queue", "push", "jobs", "-", "--addr", &dev.nodes[0].addr], b"\xff").ok();
    let words = ["queue", "work", "jobs", "--addr", &dev.nodes[1].addr, "--", "false"];
    assert_eq!(run(&words).code, Some(1));
    assert_eq!(on(&dev, 2, "queue pop jobs").ok().stdout, "base64:/w==\n");
    dev.stop();
}

#[test]
fn a_barrier_lets_all_through_together() {
    let dev = Dev::start(&[]);
    let enter = |node: usize| {
        let addr = dev.nodes[node].addr.as_str();
        Running::start(&mut muslin(&["barrier", "b", "--parties", "3", "--addr", addr]))
    };
    let mut parties = vec![enter(0), enter(1)];
    until("two are there", || {
        let gate = ask(&dev.nodes[2].addr, "GET", "/v1/barriers/b", b"")?.json();
        (gate["parties"].as_array()?.len() == 2).then_some(())
    });
    assert!(parties.iter_mut().all(Running::is_alive));
    let said = on(&dev, 2, "barrier b --parties 4 --wait 0s");
    assert_eq!(said.code, Some(4), "{said:?}");
    parties.push(enter(2));
    for party in &mut parties {
        assert_eq!(party.wait().code(), Some(0));
    }
    until("all have left", || {
        let gate = ask(&dev.nodes[0].addr, "GET", "/v1/barriers/b", b"")?.json();
        (gate["parties"] == json!([]) && gate["open"] == false).then_some(())
    });
    dev.stop();
}
