//! Where the nodes of a `dev` cluster live, and whether they can.

use super::temporary;
use crate::args::Dev;
use crate::failure::{Failure, Kind};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

/// Nodes when nothing else says how many: the fewest that survive the loss of one.
const NODES: u16 = 3;

/// Between two nodes' etcd ports, so that 2380, etcd's usual peer port, stays free.
const ETCD_STEP: u16 = 10;

/// A cluster to run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The directory above the nodes' directories.
    pub(crate) directory: PathBuf,
    /// The nodes.
    pub(crate) nodes: Vec<NodePlan>,
    /// Whether the directory holds a cluster already.
    pub(crate) is_resumed: bool,
    /// What to remove at the end.
    pub(crate) removal: Removal,
    /// Held while this lives: the temporary directory is in use.
    _lock: Option<File>,
}

/// What happens to the data at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Removal {
    /// It stays.
    Nothing,
    /// What we put into a directory somebody named.
    Nodes {
        /// And the directory, which was not there.
        and_directory: bool,
    },
    /// The temporary directory we made.
    Everything,
}

/// Where one node lives.
#[derive(Clone, Debug)]
pub(crate) struct NodePlan {
    /// `n1` and so on.
    pub(crate) name: String,
    /// Its data directory.
    pub(crate) data_dir: PathBuf,
    /// Where its output goes.
    pub(crate) log: PathBuf,
    /// Its address.
    pub(crate) listen: SocketAddr,
    /// Its address for plain etcd clients.
    pub(crate) etcd: SocketAddr,
}

/// Decides everything; makes the directory and nothing else.
pub(crate) fn plan(dev: &Dev) -> Result<Plan, Failure> {
    let held = dev.data_dir.as_deref().map_or(0, nodes_held);
    let count = match (held, dev.nodes) {
        (0, asked) => asked.unwrap_or(NODES),
        (held, None) => held,
        (held, Some(asked)) if held == asked => held,
        (held, Some(asked)) => {
            let sentence = format!("the directory holds {held} nodes, not {asked}");
            let failure = Failure::new(Kind::Conflict, sentence);
            return Err(failure.hint("leave --nodes out, or name another directory"));
        }
    };
    let addresses: Result<Vec<_>, _> = (1..=count).map(|number| addresses(dev, number)).collect();
    let addresses = addresses?;
    for (number, (listen, etcd)) in addresses.iter().enumerate() {
        check_free(number + 1, *listen, "--base-port")?;
        check_free(number + 1, *etcd, "--etcd-base-port")?;
    }
    let Place { directory, is_made, lock } = place_of(dev)?;
    let place = |(number, (listen, etcd)): (usize, (SocketAddr, SocketAddr))| {
        let name = format!("n{}", number + 1);
        let (data_dir, log) = (directory.join(&name), directory.join(format!("{name}.log")));
        NodePlan { name, data_dir, log, listen, etcd }
    };
    let nodes: Vec<NodePlan> = addresses.into_iter().enumerate().map(place).collect();
    if held == 0 {
        nodes
            .iter()
            .flat_map(|node| [&node.data_dir, &node.log])
            .try_for_each(|p| check_absent(p))?;
    }
    let removal = match (&dev.data_dir, dev.retain || held > 0) {
        (_, true) => Removal::Nothing,
        (Some(_), false) => Removal::Nodes { and_directory: is_made },
        (None, false) => Removal::Everything,
    };
    Ok(Plan { directory, nodes, is_resumed: held > 0, removal, _lock: lock })
}

/// How many nodes an earlier run left in a directory.
fn nodes_held(directory: &Path) -> u16 {
    let is_node = |number: &u16| {
        let node = directory.join(format!("n{number}"));
        std::fs::read_dir(node).is_ok_and(|mut entries| entries.next().is_some())
    };
    (1..).take_while(is_node).last().unwrap_or(0)
}

fn addresses(dev: &Dev, number: u16) -> Result<(SocketAddr, SocketAddr), Failure> {
    let too_high =
        || Failure::new(Kind::Usage, format!("node {number} would have a port above 65535"));
    let port = dev.base_port.checked_add(number).ok_or_else(too_high)?;
    let step = ETCD_STEP * (number - 1);
    let etcd = dev.etcd_base_port.checked_add(step).ok_or_else(too_high)?;
    let at = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    Ok((at(port), at(etcd)))
}

/// Refuses an address somebody else listens on, while nothing has been started.
fn check_free(number: usize, address: SocketAddr, flag: &str) -> Result<(), Failure> {
    let tcp = TcpListener::bind(address).map(drop);
    let bound = tcp.and_then(|()| UdpSocket::bind(address).map(drop));
    bound.map_err(|error| {
        let sentence = format!("port {} of n{number} cannot be used: {error}", address.port());
        Failure::new(Kind::Conflict, sentence)
            .hint(format!("is another cluster running? choose other ports with {flag}"))
    })
}

/// Nothing that is there is ever taken for ours: it would be removed at the end.
fn check_absent(path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let sentence = format!("{} is there, and is not a node of an earlier `dev`", path.display());
    Err(Failure::new(Kind::Conflict, sentence).hint("move it away, or name another --data-dir"))
}

/// The directory above the nodes' directories.
struct Place {
    directory: PathBuf,
    is_made: bool,
    lock: Option<File>,
}

fn place_of(dev: &Dev) -> Result<Place, Failure> {
    let Some(named) = &dev.data_dir else {
        let (directory, lock) = temporary::make(&std::env::temp_dir(), dev.retain)?;
        return Ok(Place { directory, is_made: true, lock });
    };
    let is_made = !named.exists();
    std::fs::create_dir_all(named).map_err(|error| {
        Failure::new(Kind::Failed, format!("cannot make {}: {error}", named.display()))
    })?;
    Ok(Place { directory: named.canonicalize()?, is_made, lock: None })
}

impl Plan {
    /// Removes what is to go. The nodes must have ended.
    pub(crate) fn clean_up(&self) {
        match self.removal {
            Removal::Nothing => {}
            Removal::Everything => drop(std::fs::remove_dir_all(&self.directory)),
            Removal::Nodes { and_directory } => {
                for node in &self.nodes {
                    let _ = std::fs::remove_dir_all(&node.data_dir);
                    let _ = std::fs::remove_file(&node.log);
                }
                if and_directory {
                    // Only when nothing else is in it.
                    let _ = std::fs::remove_dir(&self.directory);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;
    use std::sync::atomic::{AtomicU16, Ordering};

    fn dev(flags: &[&str]) -> Dev {
        let cli = Cli::try_parse_from([&["muslin", "dev"], flags].concat()).unwrap();
        match cli.command {
            Command::Dev(dev) => dev,
            other => panic!("{other:?}"),
        }
    }

    /// Ports nobody uses, as flags, so that tests do not meet. Below those that the system gives to
    /// whoever asks for any: between looking and using, others might be given them.
    fn ports() -> [String; 2] {
        const FIRST: u16 = 10_000;
        const LAST: u16 = 17_900;
        const ROW: u16 = 60;
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Two test processes begin far apart.
        let begin = (std::process::id() as u16).wrapping_mul(97);
        let row = |_| {
            let offset = begin.wrapping_add(NEXT.fetch_add(ROW, Ordering::Relaxed));
            FIRST + offset % (LAST - FIRST)
        };
        let is_free = |base: &u16| {
            (*base..base + ROW).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        };
        let base = (0..1_000).map(row).find(is_free).expect("some ports are free");
        [format!("--base-port={base}"), format!("--etcd-base-port={}", base + 20)]
    }

    #[test]
    fn addresses_follow_the_contract() {
        let flags = dev(&["--base-port", "7400", "--etcd-base-port", "2379"]);
        let third = addresses(&flags, 3).unwrap();
        assert_eq!(third, ("127.0.0.1:7403".parse().unwrap(), "127.0.0.1:2399".parse().unwrap()));
        assert!(addresses(&dev(&["--base-port", "65535"]), 1).is_err());
    }

    #[test]
    fn a_port_in_use_is_named_before_anything_starts() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let failure = check_free(2, address, "--base-port").unwrap_err();
        assert!(failure.sentence.contains(&format!("port {} of n2", address.port())), "{failure}");
    }

    #[test]
    fn a_directory_of_an_earlier_run_is_resumed_and_never_removed() {
        let held = tempfile::tempdir().unwrap();
        let directory = held.path().to_str().unwrap();
        for node in ["n1", "n2"] {
            std::fs::create_dir(held.path().join(node)).unwrap();
            std::fs::write(held.path().join(node).join("log"), "").unwrap();
        }
        let [base, etcd] = ports();
        let flags = dev(&["--data-dir", directory, &base, &etcd]);
        let found = plan(&flags).unwrap();
        assert_eq!((found.nodes.len(), found.is_resumed), (2, true));
        assert_eq!(found.removal, Removal::Nothing);
        let flags = dev(&["--data-dir", directory, "--nodes", "3", &base, &etcd]);
        assert_eq!(plan(&flags).unwrap_err().kind, Kind::Conflict);
    }

    #[test]
    fn only_our_part_of_a_named_directory_is_removed() {
        let named = tempfile::tempdir().unwrap();
        std::fs::write(named.path().join("precious"), "").unwrap();
        let [base, etcd] = ports();
        let flags = dev(&["--data-dir", named.path().to_str().unwrap(), &base, &etcd]);
        let found = plan(&flags).unwrap();
        assert_eq!(found.removal, Removal::Nodes { and_directory: false });
        std::fs::create_dir(&found.nodes[0].data_dir).unwrap();
        found.clean_up();
        assert!(named.path().join("precious").exists());
        assert!(!named.path().join("n1").exists());
    }

    #[test]
    fn what_stands_in_the_place_of_a_node_is_refused_and_stays() {
        // No node n1: so these are of no earlier run.
        for name in ["n2", "n3", "n1.log"] {
            let named = tempfile::tempdir().unwrap();
            let precious = named.path().join(name);
            std::fs::create_dir(&precious).unwrap();
            std::fs::write(precious.join("precious"), "").unwrap();
            let [base, etcd] = ports();
            let flags = dev(&["--data-dir", named.path().to_str().unwrap(), &base, &etcd]);
            let failure = plan(&flags).unwrap_err();
            assert_eq!(failure.kind, Kind::Conflict, "{failure}");
            assert!(failure.sentence.contains(precious.to_str().unwrap()), "{failure}");
        }
    }

    #[test]
    fn a_directory_that_was_there_before_stays_and_one_that_was_made_goes() {
        let named = tempfile::tempdir().unwrap();
        for (place, is_made) in [(named.path().to_owned(), false), (named.path().join("a"), true)] {
            let [base, etcd] = ports();
            let flags = dev(&["--data-dir", place.to_str().unwrap(), &base, &etcd]);
            plan(&flags).unwrap().clean_up();
            assert_eq!(place.exists(), !is_made);
        }
    }
}
