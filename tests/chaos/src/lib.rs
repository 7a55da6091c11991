//! Real nodes under real faults: processes in network namespaces of their own, on disks of their
//! own, whose clients write down what they do and what they are told, and checkers that judge it.
//!
//! | part | what it is |
//! | --- | --- |
//! | [`history`] | what clients did and saw |
//! | [`check`] | whether a store that keeps its promises could have answered so |
//! | [`client`] | the clients |
//! | [`stage`] | machines, cables and disks |
//! | [`fault`] | what is done to them |
//! | [`campaign`] | one run |
//!
//! Everything a run makes on the machine (namespaces, mounts, loop devices, control groups) is gone
//! when its process is, however it ends: mounts and namespaces are made inside a mount namespace of
//! the process itself, and nodes die with their parent.

pub mod campaign;
pub mod check;
pub mod client;
pub mod fault;
pub mod figures;
pub mod history;
pub mod stage;
