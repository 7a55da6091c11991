//! Cables: a switch in a namespace of its own, and one cable from it to each machine.

use super::shell::{run, run_words, word};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::path::PathBuf;

/// Where named network namespaces are.
const NAMESPACES: &str = "/run/netns";

/// With more machines than this each is told where all others are: the kernel looks for no more
/// than 1,024 neighbours in all namespaces together (`gc_thresh3`).
const FIND_EACH_OTHER_MAX: u8 = 32;

/// The namespace that holds the switch.
const SWITCH: &str = "switch";

/// A mount namespace for this process alone, with a place for network namespaces that is empty.
/// Must come before any thread is started.
pub fn seclude() -> Result<(), String> {
    let failed = |what: &str, error| format!("cannot {what}: {error}");
    unshare(CloneFlags::CLONE_NEWNS).map_err(|e| failed("leave the mount namespace", e))?;
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .map_err(|e| failed("make mounts private", e))?;
    std::fs::create_dir_all(NAMESPACES).map_err(|e| format!("cannot make {NAMESPACES}: {e}"))?;
    mount(Some("tmpfs"), NAMESPACES, Some("tmpfs"), MsFlags::empty(), nothing)
        .map_err(|e| failed("mount over the network namespaces", e))
}

/// What happens to packets between two machines; both by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Nothing gets from one to the other. Silent for both.
    Cut {
        /// Who is not heard.
        from: u8,
        /// Who does not hear.
        to: u8,
    },
    /// No gossip gets from one to the other; QUIC on the same port does.
    CutGossip {
        /// Who is not heard.
        from: u8,
        /// Who does not hear.
        to: u8,
    },
    /// Of everything between everyone, so many in a hundred are lost.
    Lose {
        /// How many.
        percent: u64,
    },
}

/// Whether a machine's cable is plugged in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// It is.
    Up,
    /// It is not.
    Down,
}

/// The switch and its cables; gone when it is dropped.
#[derive(Debug)]
pub struct Network {
    machines: u8,
}

/// The file that stands for a machine's network namespace.
pub fn namespace(node: u8) -> PathBuf {
    PathBuf::from(NAMESPACES).join(machine(node))
}

/// A machine's address. The range is kept for tests of networks (RFC 2544).
pub fn address(node: u8) -> String {
    format!("198.18.0.{}", node + 1)
}

/// The hardware address of its end of the cable.
fn card(node: u8) -> String {
    format!("02:00:00:00:00:{node:02x}")
}

fn machine(node: u8) -> String {
    format!("n{}", node + 1)
}

impl Network {
    /// So many machines.
    pub fn build(machines: u8) -> Result<Network, String> {
        run(&format!("ip netns add {SWITCH}"))?;
        // From here on what was made is taken away, whatever fails.
        let network = Network { machines };
        run(&format!("ip -n {SWITCH} link add bridge0 type bridge"))?;
        run(&format!("ip -n {SWITCH} link set bridge0 up"))?;
        for node in 0..machines {
            let (host, address) = (machine(node), address(node));
            run(&format!("ip netns add {host}"))?;
            let card = format!("name eth0 address {} netns {host}", card(node));
            run(&format!("ip -n {SWITCH} link add {host} type veth peer {card}"))?;
            run(&format!("ip -n {SWITCH} link set {host} master bridge0 up"))?;
            run(&format!("ip -n {host} addr add {address}/24 dev eth0"))?;
            run(&format!("ip -n {host} link set lo up"))?;
            run(&format!("ip -n {host} link set eth0 up"))?;
        }
        if machines > FIND_EACH_OTHER_MAX {
            network.introduce()?;
        }
        network.nft(
            "add table bridge faults\nadd chain bridge faults cables { type filter hook \
                     forward priority 0; }\n",
        )?;
        Ok(network)
    }

    /// Tells each machine where all others are.
    fn introduce(&self) -> Result<(), String> {
        for node in 0..self.machines {
            let others = (0..self.machines).filter(|other| *other != node);
            let line = |other| {
                let (at, card) = (address(other), card(other));
                format!("neigh replace {at} lladdr {card} dev eth0 nud permanent\n")
            };
            let script: String = others.map(line).collect();
            run_words(&["ip", "-n", &machine(node), "-batch", "-"], &script)?;
        }
        Ok(())
    }

    /// These rules and no others, at one moment.
    pub fn set(&self, rules: &[Rule]) -> Result<(), String> {
        let mut script = "flush chain bridge faults cables\n".to_string();
        for rule in rules {
            let rule = match *rule {
                Rule::Cut { from, to } => {
                    format!("ip saddr {} ip daddr {} drop", address(from), address(to))
                }
                Rule::CutGossip { from, to } => {
                    let between = format!("ip saddr {} ip daddr {}", address(from), address(to));
                    // Behind the eight bytes of UDP's header: QUIC begins with 0x40 or more.
                    format!("{between} ip protocol udp @th,64,8 < 64 drop")
                }
                Rule::Lose { percent } => {
                    format!("ether type ip numgen random mod 100 < {percent} drop")
                }
            };
            script += &format!("add rule bridge faults cables {rule}\n");
        }
        self.nft(&script)
    }

    /// Plugs a machine's cable in or out.
    pub fn plug(&self, node: u8, link: Link) -> Result<(), String> {
        assert!(node < self.machines, "there is a cable to every machine");
        let state = match link {
            Link::Up => "up",
            Link::Down => "down",
        };
        run(&format!("ip -n {SWITCH} link set {} {state}", machine(node))).map(drop)
    }

    fn nft(&self, script: &str) -> Result<(), String> {
        let namespace = PathBuf::from(NAMESPACES).join(SWITCH);
        let inside = format!("--net={}", word(&namespace));
        run_words(&["nsenter", &inside, "nft", "-f", "-"], script).map(drop)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Those that were not made yet cannot be removed; all vanish with this process anyhow.
        for node in 0..self.machines {
            let _ = run(&format!("ip netns del {}", machine(node)));
        }
        let _ = run(&format!("ip netns del {SWITCH}"));
    }
}
