//! Machines, cables and disks: one network namespace, one filesystem on a file of its own, and one
//! process for every node.
//!
//! [`seclude`] comes first: it gives this process a mount namespace of its own. All mounts and
//! named network namespaces live in it and vanish with the process, however it ends; no name can
//! meet that of another run. Nodes are killed by the kernel when their parent is gone.

mod build;
mod cpu;
mod disk;
mod network;
mod node;
mod orders;
mod process;
mod shell;

pub use build::{Plan, Stage};
pub use cpu::Starved;
pub use network::{Link, Network, Rule, address, namespace, seclude};
pub use node::{Clock, Node};
pub use process::{Process, on_machine};
pub use shell::{check_network_tools, check_tools, word};
