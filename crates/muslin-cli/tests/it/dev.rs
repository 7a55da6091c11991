//! A whole cluster.

use crate::http;
use crate::ports;
use crate::process::{Running, muslin, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};

/// `muslin dev -o json` on ports of its own.
pub(crate) struct Dev {
    running: Running,
    events: Receiver<Value>,
    /// The nodes of the ready line.
    pub(crate) nodes: Vec<Node>,
    /// The first ports, as flags, to start the same again.
    pub(crate) ports: [String; 2],
}

/// A node as the ready line tells of it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) pid: u32,
    pub(crate) addr: String,
    pub(crate) etcd: String,
    pub(crate) data_dir: String,
}

impl Dev {
    /// Three nodes, ready.
    pub(crate) fn start(flags: &[&str]) -> Dev {
        let ports = [
            format!("--base-port={}", ports::row(4)),
            format!("--etcd-base-port={}", ports::row(30)),
        ];
        Dev::start_on(ports, flags)
    }

    /// As [`Dev::start`], on ports already chosen.
    pub(crate) fn start_on(ports: [String; 2], flags: &[&str]) -> Dev {
        let mut command = muslin(&["dev", "-o", "json", &ports[0], &ports[1]]);
        command.args(flags).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::start(&mut command);
        let stdout = running.child().stdout.take().unwrap();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
                let _ = sender.send(event);
            }
        });
        let mut dev = Dev { running, events, nodes: Vec::new(), ports };
        let ready = dev.next();
        assert_eq!(ready["event"], "ready", "{ready}");
        dev.nodes = ready["nodes"].as_array().unwrap().iter().map(Node::new).collect();
        dev
    }

    /// The next line.
    #[track_caller]
    pub(crate) fn next(&self) -> Value {
        self.events.recv_timeout(crate::process::PATIENCE).expect("dev says something")
    }

    /// The next line of a kind; others are passed over.
    #[track_caller]
    pub(crate) fn next_of(&self, kind: &str) -> Value {
        loop {
            let event = self.next();
            if event["event"] == kind {
                return event;
            }
        }
    }

    /// Types a line.
    pub(crate) fn order(&mut self, line: &str) {
        let stdin = self.running.child().stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Closes its stdin.
    pub(crate) fn close_stdin(&mut self) {
        drop(self.running.child().stdin.take());
    }

    pub(crate) fn running(&mut self) -> &mut Running {
        &mut self.running
    }

    /// SIGKILL for a node, and the news of its end.
    pub(crate) fn kill(&mut self, name: &str) {
        self.order(&format!("kill {name}"));
        assert_eq!(self.next_of("exited")["node"], name);
    }

    /// Starts a node again; its process id.
    pub(crate) fn start_node(&mut self, name: &str) -> u32 {
        self.order(&format!("start {name}"));
        self.next_of("started")["pid"].as_u64().unwrap() as u32
    }

    pub(crate) fn node(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name == name).unwrap()
    }

    /// Who leads, as soon as a node says so that leads itself.
    #[track_caller]
    pub(crate) fn leader(&self) -> Node {
        until("a node leads", || {
            let leads = |node: &&Node| {
                http::status(&node.addr).is_some_and(|status| status["node"]["role"] == "leader")
            };
            self.nodes.iter().find(leads).cloned()
        })
    }

    /// One that follows.
    pub(crate) fn follower(&self) -> Node {
        let leader = self.leader();
        self.nodes.iter().find(|node| node.name != leader.name).unwrap().clone()
    }

    /// Stops everything; dev must end with success.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.running.stop();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // The polite way first: it removes its directory.
        if self.running.is_alive() {
            self.running.signal(Signal::SIGTERM);
            for _ in 0..400 {
                if !self.running.is_alive() {
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }
}

impl Node {
    fn new(node: &Value) -> Node {
        let text = |name: &str| node[name].as_str().unwrap_or_else(|| panic!("{node}")).to_string();
        Node {
            name: text("name"),
            id: text("id"),
            pid: node["pid"].as_u64().unwrap() as u32,
            addr: text("addr"),
            etcd: text("etcd"),
            data_dir: text("data_dir"),
        }
    }
}
