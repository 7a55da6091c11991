//! Everything that a run needs, made in one directory.

use super::network::{self, Network};
use super::orders::Built;
use super::{Link, Node, Rule};
use crate::client::Machine;
use std::path::PathBuf;

/// What to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program under test.
    pub binary: PathBuf,
    /// Where; made for this run, and removed when it ends well.
    pub directory: PathBuf,
    /// How many nodes.
    pub nodes: u8,
}

/// What was made.
#[derive(Debug)]
pub struct Stage {
    /// The nodes. They end before their cables and disks go.
    pub nodes: Vec<Node>,
    network: Network,
    directory: PathBuf,
}

impl Stage {
    /// Makes machines, cables and disks; founds a cluster and starts every node.
    pub fn build(plan: &Plan) -> Result<Stage, String> {
        let Plan { binary, directory, nodes } = plan.clone();
        std::fs::create_dir_all(&directory)
            .map_err(|e| format!("cannot make {directory:?}: {e}"))?;
        let built = Built::build(&directory)?;
        let network = Network::build(nodes)?;
        let make = |number| {
            let place = directory.join(format!("n{}", number + 1));
            Node::make(number, place, binary.clone(), &built)
        };
        let nodes: Result<Vec<Node>, String> = (0..nodes).map(make).collect();
        let mut stage = Stage { nodes: nodes?, network, directory };
        stage.found()?;
        Ok(stage)
    }

    /// The first node founds, the others join.
    fn found(&mut self) -> Result<(), String> {
        let (first, others) = self.nodes.split_first_mut().ok_or("a cluster has nodes")?;
        let flags = first.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let said = first.command(&[&["init", "-o", "json"], &flags[..]].concat())?;
        let said: serde_json::Value =
            serde_json::from_str(&said).map_err(|e| format!("init said {said:?}: {e}"))?;
        let token = said["token"].as_str().ok_or("init gave no token")?;
        first.start()?;
        let contact = first.address();
        for node in others {
            let flags = node.flags();
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            let join = ["join", &contact, "--token", token, "-o", "json"];
            retry(|| node.command(&[&join[..], &flags].concat()))?;
            node.start()?;
        }
        Ok(())
    }

    /// Where clients run.
    pub fn machines(&self) -> Vec<Machine> {
        let numbers = 0..self.nodes.len() as u8;
        numbers.map(|number| Machine { netns: network::namespace(number) }).collect()
    }

    /// These faults of the network and no others.
    pub fn set_network(&self, rules: &[Rule]) -> Result<(), String> {
        self.network.set(rules)
    }

    /// Plugs a machine's cable in or out.
    pub fn plug(&self, node: u8, link: Link) -> Result<(), String> {
        self.network.plug(node, link)
    }

    /// Takes everything down and removes it, logs included.
    pub fn remove(self) -> Result<(), String> {
        let directory = self.directory.clone();
        drop(self);
        std::fs::remove_dir_all(&directory).map_err(|e| format!("cannot remove {directory:?}: {e}"))
    }
}

/// The first node may not answer yet.
fn retry(mut attempt: impl FnMut() -> Result<String, String>) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..40 {
        match attempt() {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
        std::thread::sleep(std::time::Duration::from_millis(250));
    }
    Err(last)
}
