//! Three nodes for one test.

use crate::ports;
use etcd_client::Client;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

/// A cluster that ends with this value.
pub(crate) struct Cluster {
    dev: Option<Child>,
    /// Where etcd clients connect, one per node.
    pub(crate) endpoints: Vec<String>,
}

impl Cluster {
    /// Three nodes that answer writes.
    pub(crate) fn start() -> Cluster {
        if let Ok(given) = std::env::var("CONFORMANCE_ENDPOINTS") {
            let endpoints = given.split(',').map(str::to_string).collect();
            return Cluster { dev: None, endpoints };
        }
        let binary = std::env::var("MUSLIN_BIN").expect("run this with `cargo xtask conformance`");
        let base = format!("--base-port={}", ports::row(4));
        let etcd = format!("--etcd-base-port={}", ports::row(30));
        let mut command = Command::new(binary);
        command.args(["dev", "-o", "json", "--exit-after", "900", &base, &etcd]);
        let mut dev = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(dev.stdout.take().unwrap());
        lines.read_line(&mut line).unwrap();
        std::thread::spawn(move || lines.lines().map_while(Result::ok).for_each(drop));
        let ready: Value = serde_json::from_str(&line).unwrap();
        let endpoint = |node: &Value| node["etcd"].as_str().unwrap().to_string();
        let endpoints = ready["nodes"].as_array().unwrap().iter().map(endpoint).collect();
        Cluster { dev: Some(dev), endpoints }
    }

    /// Says something to the nodes' keeper, such as `kill n2`. False where they are not ours.
    pub(crate) fn order(&mut self, order: &str) -> bool {
        let Some(dev) = &mut self.dev else { return false };
        writeln!(dev.stdin.as_mut().unwrap(), "{order}").unwrap();
        true
    }

    /// A client of one node.
    pub(crate) async fn client(&self, node: usize) -> Client {
        Client::connect([&self.endpoints[node]], None).await.unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(dev) = &mut self.dev {
            // Politely, so that it removes its directory.
            let _ = Command::new("kill").arg(dev.id().to_string()).status();
            let _ = dev.wait();
        }
    }
}
