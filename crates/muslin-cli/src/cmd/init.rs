//! `muslin init`

use crate::args::{Format, Global, Init, NewNode, Profile};
use crate::failure::{Failure, Kind};
use crate::output;
use muslin::daemon::{self, InitOptions};
use muslin::data_dir::DataDir;
use std::net::SocketAddr;
use std::path::Path;

/// Founds a cluster and prints the line that others join it with.
pub(crate) fn run(global: &Global, mut init: Init) -> Result<(), Failure> {
    complete(&mut init.node);
    check_new_node(&init.node, Begun::Not)?;
    let NewNode { data_dir, name, listen, advertise, etcd_listen, roles, profile: chosen, .. } =
        init.node;
    let answer = daemon::init(InitOptions {
        data_dir: data_dir.clone(),
        name,
        cluster_name: init.cluster_name,
        listen,
        advertise,
        etcd_listen,
        roles,
        profile: profile(chosen),
    });
    let answer = answer.map_err(super::up::failure)?;
    let address = advertise.unwrap_or(listen);
    let line = join_line(address, &answer.join_line_token);
    match global.output {
        Format::Json => output::json(&serde_json::json!({
            "cluster": answer.cluster.to_string(),
            "node": answer.node.to_string(),
            "token": answer.join_line_token,
            "join": line,
        })),
        Format::Table => {
            output::hint(&format!("run it:    muslin up --data-dir {}", data_dir.display()));
            output::hint("join it, within an hour, from any number of nodes:");
            output::text(&format!("{line}\n"))
        }
    }
}

pub(crate) fn join_line(address: SocketAddr, token: &str) -> String {
    format!("muslin join {address} --token {token} --data-dir DIR --name NAME --listen IP:PORT")
}

pub(crate) fn profile(profile: Profile) -> daemon::Profile {
    match profile {
        Profile::Fast => daemon::Profile::Fast,
        Profile::Lan => daemon::Profile::Lan,
        Profile::Wan => daemon::Profile::Wan,
        Profile::Slimcluster => daemon::Profile::Slimcluster,
    }
}

/// Fills in what the profile says where nothing else did.
pub(crate) fn complete(node: &mut NewNode) {
    if let (0, Some(port)) = (node.listen.port(), profile(node.profile).port()) {
        node.listen.set_port(port);
    }
}

/// Whether a join may have been begun in the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begun {
    Not,
    MayBe,
}

/// Refuses what could not work or would not be safe, before anything is written.
pub(crate) fn check_new_node(node: &NewNode, begun: Begun) -> Result<(), Failure> {
    check_etcd_listen(node.etcd_listen, node.insecure)?;
    check_unused(&node.data_dir)?;
    if begun == Begun::Not && muslin::join::Joiner::is_pending(&node.data_dir) {
        let sentence = format!("a join was begun in {}", node.data_dir.display());
        let failure = Failure::new(Kind::Conflict, sentence);
        return Err(failure.hint("go on with it (`muslin join`), or name another directory"));
    }
    if node.listen.ip().is_unspecified() && node.advertise.is_none() {
        let sentence = format!("nobody can reach a node at {}", node.listen);
        let failure = Failure::new(Kind::Usage, sentence);
        return Err(failure.hint("say how others reach it with --advertise IP:PORT"));
    }
    check_port(node.listen, "--listen")?;
    node.advertise.map_or(Ok(()), |address| check_port(address, "--advertise"))
}

/// Others remember where a node is: a port that each start chooses anew would be of no use to them.
fn check_port(address: SocketAddr, option: &str) -> Result<(), Failure> {
    if address.port() != 0 {
        return Ok(());
    }
    let sentence = format!("{option} {address} names no port: the others must know which it is");
    Err(Failure::new(Kind::Usage, sentence).hint(format!("say which one: {option} IP:PORT")))
}

/// Plain etcd clients are nobody in particular: from this machine only, unless asked for.
pub(crate) fn check_etcd_listen(
    address: Option<SocketAddr>,
    insecure: bool,
) -> Result<(), Failure> {
    match address.filter(|address| !address.ip().is_loopback() && !insecure) {
        None => Ok(()),
        Some(address) => {
            let sentence = format!("{address} would let anyone read and write, without encryption");
            let failure = Failure::new(Kind::Usage, sentence);
            Err(failure.hint("use a loopback address, or say --insecure if you mean it"))
        }
    }
}

/// A directory with something in it belongs to something, unless it is what an `init` left that was
/// cut short.
fn check_unused(directory: &Path) -> Result<(), Failure> {
    let checked = DataDir::check_unused(directory);
    checked.map_err(|error| Failure::new(Kind::Conflict, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    #[test]
    fn where_no_port_is_named_the_profile_may_name_one() {
        let port = |words: &str| {
            let line = format!("muslin init --data-dir d --name n1 {words}");
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            let Command::Init(mut init) = cli.command else { panic!("it is `init`") };
            complete(&mut init.node);
            init.node.listen.port()
        };
        assert_eq!(port("--listen 10.0.0.1 --profile slimcluster"), 60_001);
        assert_eq!(port("--listen 10.0.0.1:7400 --profile slimcluster"), 7_400);
        assert_eq!(port("--listen ::1"), 0, "no other profile has a port of its own");
    }

    #[test]
    fn plain_etcd_clients_come_from_this_machine_unless_asked_for() {
        let check = |address: &str, insecure| {
            check_etcd_listen(Some(address.parse().unwrap()), insecure).map_err(|f| f.kind)
        };
        assert_eq!(check("127.0.0.1:2379", false), Ok(()));
        assert_eq!(check("[::1]:2379", false), Ok(()));
        assert_eq!(check("0.0.0.0:2379", false), Err(Kind::Usage));
        assert_eq!(check("10.0.0.1:2379", true), Ok(()));
    }

    #[test]
    fn a_directory_with_something_in_it_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(check_unused(directory.path()), Ok(()));
        assert_eq!(check_unused(&directory.path().join("absent")), Ok(()));
        std::fs::write(directory.path().join("file"), "").unwrap();
        assert_eq!(check_unused(directory.path()).unwrap_err().kind, Kind::Conflict);
    }
}
