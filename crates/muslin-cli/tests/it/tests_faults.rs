//! Processes that die.

use crate::dev::{Dev, Node};
use crate::http;
use crate::load::{Load, check_all};
use crate::process::{run, until};
use std::time::Duration;

/// The load goes on so long around each fault.
const A_WHILE: Duration = Duration::from_millis(700);

fn addresses(dev: &Dev) -> Vec<String> {
    dev.nodes.iter().map(|node| node.addr.clone()).collect()
}

/// Waits until a node has everything another has.
fn caught_up(behind: &Node, ahead: &Node) {
    let applied = |node: &Node| http::status(&node.addr)?["applied"].as_u64();
    let target = until("a node answers", || applied(ahead));
    until("it has caught up", || (applied(behind)? >= target).then_some(()));
}

#[test]
fn no_acknowledged_write_is_lost_when_the_leader_is_killed() {
    let mut dev = Dev::start(&[]);
    let load = Load::start(&addresses(&dev));
    let mut killed = Vec::new();
    for _ in 0..3 {
        std::thread::sleep(A_WHILE);
        let leader = dev.leader();
        dev.kill(&leader.name);
        std::thread::sleep(A_WHILE);
        dev.start_node(&leader.name);
        caught_up(&leader, &dev.leader());
        killed.push(leader.name);
    }
    let acknowledged = load.stop();
    for node in &dev.nodes {
        check_all(&node.addr, &acknowledged);
    }
    println!("killed {killed:?}; {} acknowledged writes are all there", acknowledged.len());
    dev.stop();
}

#[test]
fn a_killed_follower_catches_up() {
    let mut dev = Dev::start(&[]);
    let follower = dev.follower();
    let load = Load::start(&addresses(&dev));
    std::thread::sleep(A_WHILE);
    dev.kill(&follower.name);
    std::thread::sleep(A_WHILE);
    dev.start_node(&follower.name);
    let acknowledged = load.stop();
    caught_up(&follower, &dev.leader());
    for key in &acknowledged {
        let path = format!("/v1/kv/{key}?consistency=local");
        let local = until("it has all that was acknowledged", || {
            let local = http::ask(&follower.addr, "GET", &path, b"")?;
            (local.status == 200).then_some(local)
        });
        assert_eq!(local.body, key.as_bytes(), "{key}: {local:?}");
    }
    dev.stop();
}

#[test]
fn a_paused_leader_is_replaced_and_follows_when_it_wakes() {
    let mut dev = Dev::start(&[]);
    let old = dev.leader();
    dev.order(&format!("pause {}", old.name));
    dev.next_of("paused");
    let others: Vec<Node> = dev.nodes.iter().filter(|n| n.name != old.name).cloned().collect();
    until("another node leads", || {
        let leads = |node: &Node| Some(http::status(&node.addr)?["node"]["role"] == "leader");
        others.iter().any(|node| leads(node) == Some(true)).then_some(())
    });
    http::write(&others[0].addr, "while", "paused");
    dev.order(&format!("resume {}", old.name));
    dev.next_of("resumed");
    let read = http::read(&old.addr, "while");
    assert_eq!(read.as_deref(), Some("paused"));
    dev.stop();
}

#[test]
fn everything_killed_and_started_again_keeps_every_acknowledged_write() {
    let mut dev = Dev::start(&[]);
    let load = Load::start(&addresses(&dev));
    std::thread::sleep(A_WHILE);
    let names: Vec<String> = dev.nodes.iter().map(|node| node.name.clone()).collect();
    for name in &names {
        dev.order(&format!("kill {name}"));
    }
    for _ in &names {
        dev.next_of("exited");
    }
    let acknowledged = load.stop();
    for name in &names {
        dev.start_node(name);
    }
    for node in &dev.nodes {
        check_all(&node.addr, &acknowledged);
    }
    dev.stop();
}

#[test]
fn a_node_that_is_asked_to_stop_leaves() {
    let mut dev = Dev::start(&[]);
    let (leaving, staying) = (dev.node("n3").clone(), dev.node("n1").clone());
    crate::process::send(leaving.pid, nix::sys::signal::Signal::SIGTERM);
    let exited = dev.next_of("exited");
    assert_eq!((&exited["node"], &exited["code"]), (&"n3".into(), &0.into()), "{exited}");
    until("the others see that it left", || {
        let shown = run(&["node", "show", "n3", "-o", "json", "--addr", &staying.addr]);
        (shown.code == Some(0) && shown.json()["state"] == "left").then_some(())
    });
    dev.start_node("n3");
    until("it is back", || {
        let shown = run(&["node", "show", "n3", "-o", "json", "--addr", &staying.addr]);
        (shown.code == Some(0) && shown.json()["state"] == "alive").then_some(())
    });
    dev.stop();
}

#[test]
fn without_a_quorum_writes_are_refused_and_local_reads_are_answered() {
    let mut dev = Dev::start(&[]);
    let addr = dev.node("n1").addr.clone();
    http::write(&addr, "before", "1");
    until("n1 has it", || {
        let local = http::ask(&addr, "GET", "/v1/kv/before?consistency=local", b"")?;
        (local.status == 200).then_some(())
    });
    dev.kill("n2");
    dev.kill("n3");
    let refused = run(&["kv", "put", "after", "1", "--addr", &addr]);
    assert!(matches!(refused.code, Some(5 | 6)), "{refused:?}");
    let local = run(&["kv", "get", "before", "--consistency", "local", "--addr", &addr]).ok();
    assert_eq!(local.stdout, "1");
    let status = run(&["status", "--addr", &addr]);
    assert_eq!(status.code, Some(8), "{status:?}");
    assert!(status.stdout.starts_with("Unavailable"), "{status:?}");
    dev.start_node("n2");
    http::write(&addr, "after", "1");
    dev.stop();
}
