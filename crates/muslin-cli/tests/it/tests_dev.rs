//! `muslin dev`

use crate::dev::Dev;
use crate::http;
use crate::ports;
use crate::process::{Running, exists, muslin, run, until};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

#[test]
fn the_ready_line_keeps_its_contract() {
    let dev = Dev::start(&[]);
    let base: u16 = dev.ports[0].split('=').nth(1).unwrap().parse().unwrap();
    let etcd: u16 = dev.ports[1].split('=').nth(1).unwrap().parse().unwrap();
    let names: Vec<&str> = dev.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["n1", "n2", "n3"]);
    for (number, node) in (1..).zip(&dev.nodes) {
        assert_eq!(node.addr, format!("127.0.0.1:{}", base + number));
        assert_eq!(node.etcd, format!("127.0.0.1:{}", etcd + 10 * (number - 1)));
        assert_eq!(node.id.len(), 16, "{node:?}");
        assert!(exists(node.pid) && Path::new(&node.data_dir).is_dir(), "{node:?}");
        http::write(&node.addr, &node.name, "1");
    }
    dev.stop();
}

#[test]
fn dev_ends_by_itself_and_leaves_nothing_behind() {
    let mut dev = Dev::start(&["--exit-after", "1"]);
    let directory = Path::new(&dev.nodes[0].data_dir).parent().unwrap().to_path_buf();
    assert_eq!(dev.next_of("stopped")["retained"], serde_json::Value::Null);
    assert_eq!(dev.running().wait().code(), Some(0));
    assert!(!directory.exists(), "{directory:?}");
    assert!(dev.nodes.iter().all(|node| !exists(node.pid)));
}

#[test]
fn no_node_outlives_a_supervisor_that_was_killed_not_even_a_paused_one() {
    let mut dev = Dev::start(&[]);
    dev.order("pause n2");
    assert_eq!(dev.next_of("paused")["node"], "n2");
    dev.running().kill();
    until("all nodes are gone", || dev.nodes.iter().all(|node| !exists(node.pid)).then_some(()));
    let directory = Path::new(&dev.nodes[0].data_dir).parent().unwrap();
    assert!(directory.exists());
    Dev::start(&["--nodes", "1"]).stop();
    assert!(!directory.exists(), "the next one removes what a killed one left");
}

#[test]
fn nodes_that_have_stopped_leave_nothing_where_nodes_of_one_host_find_each_other() {
    let runtime = tempfile::tempdir().unwrap();
    let mut command = muslin(&["dev", "-o", "json", "--nodes", "1"]);
    let ports = [ports::row(4), ports::row(30)].map(|port| port.to_string());
    command.args(["--base-port", &ports[0], "--etcd-base-port", &ports[1]]);
    command.env("XDG_RUNTIME_DIR", runtime.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut dev = Running::start(&mut command);
    let mut ready = String::new();
    let mut said = BufReader::new(dev.child().stdout.take().unwrap());
    said.read_line(&mut ready).unwrap();
    assert_eq!(std::fs::read_dir(runtime.path()).unwrap().count(), 1, "{ready}");
    dev.stop();
    assert_eq!(std::fs::read_dir(runtime.path()).unwrap().count(), 0);
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_started() {
    let base = ports::row(4);
    let _taken = TcpListener::bind(("127.0.0.1", base + 2)).unwrap();
    let etcd = ports::row(30).to_string();
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("dev");
    let flags = ["--base-port", &base.to_string(), "--etcd-base-port", &etcd];
    let place_text = place.to_str().unwrap();
    let said = run(&[&["dev", "-o", "json", "--data-dir", place_text], &flags[..]].concat());
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.stderr.contains(&format!("port {} of n2", base + 2)), "{said:?}");
    assert!(said.stdout.is_empty() && !place.exists(), "{said:?}");
}

#[test]
fn a_retained_cluster_is_resumed_with_its_keys() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--retain", "--data-dir", directory.path().to_str().unwrap()];
    let first = Dev::start(&flags);
    http::write(&first.nodes[0].addr, "kept", "yes");
    let (ids, ports) =
        (first.nodes.iter().map(|n| n.id.clone()).collect::<Vec<_>>(), first.ports.clone());
    first.stop();
    let second = Dev::start_on(ports, &flags);
    assert_eq!(second.nodes.iter().map(|n| n.id.clone()).collect::<Vec<_>>(), ids);
    assert_eq!(http::read(&second.nodes[2].addr, "kept"), Some("yes".to_string()));
    second.stop();
}

#[test]
fn dev_does_what_is_piped_in_and_goes_on_when_the_pipe_ends() {
    let mut dev = Dev::start(&[]);
    dev.order("kill n2");
    assert_eq!(dev.next_of("killed")["node"], "n2");
    let exited = dev.next_of("exited");
    assert_eq!((&exited["node"], &exited["signal"]), (&"n2".into(), &9.into()));
    dev.order("kill n2");
    assert_eq!(dev.next()["event"], "refused");
    dev.order("dance");
    assert_eq!(dev.next()["event"], "refused");
    let pid = dev.start_node("n2");
    assert!(exists(pid));
    dev.order("status");
    let status = dev.next_of("status");
    assert_eq!(status["processes"].as_array().unwrap().len(), 3);
    assert_eq!(status["status"]["voters"]["total"], 3);
    dev.close_stdin();
    http::write(&dev.nodes[0].addr, "still", "there");
    assert!(dev.running().is_alive());
    dev.stop();
}

#[test]
fn quit_and_an_interrupt_end_it_with_success() {
    let mut dev = Dev::start(&["--nodes", "1"]);
    dev.order("quit");
    assert_eq!(dev.running().wait().code(), Some(0));
    let mut dev = Dev::start(&["--nodes", "1"]);
    dev.running().signal(Signal::SIGINT);
    assert_eq!(dev.running().wait().code(), Some(0));
}
