mod multicast;
mod seeds;

use super::*;
use muslin_core::base::{ClusterId, NodeId};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const CLUSTER: ClusterId = ClusterId(7);

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn announce(runtime: &Path, node: u64, port: u16) -> (Local, Announcement) {
    Local::announce(runtime, CLUSTER, NodeId(node), at(port)).unwrap()
}

fn folder(runtime: &Path) -> std::path::PathBuf {
    let user = nix::unistd::geteuid().as_raw();
    runtime.join(format!("muslin-{user}")).join(CLUSTER.to_string())
}

#[test]
fn every_discovery_keeps_the_contract() {
    let runtime = tempfile::tempdir().unwrap();
    let (mut local, _kept) = announce(runtime.path(), 1, 7401);
    for node in 2..500 {
        let name = NodeId(node).to_string();
        let text = ["127.0.0.1:7400", "0.0.0.0:1", "[::1]:0", "10.0.0.1:7"][node as usize % 4];
        fs::write(folder(runtime.path()).join(name), text).unwrap();
    }
    contract::check(&mut local);
    let many = || (0..1_000).map(|number| at(number % 400));
    contract::check(&mut Fixed::new(many()));
    contract::check(&mut Seeds::new((1..60).map(|port| format!("localhost:{port}"))).unwrap());
    contract::check(&mut Patient::new(Fixed::new(many())));
    let combined = Combined::new(at(1)).with(Fixed::new(many())).with(Fixed::new(many()));
    contract::check(&mut { combined });
    contract::check(&mut Combined::new(at(1)));
}

#[test]
fn nodes_of_one_host_find_each_other_at_their_present_addresses() {
    let runtime = tempfile::tempdir().unwrap();
    let (mut one, _one) = announce(runtime.path(), 1, 7401);
    let (mut two, first) = announce(runtime.path(), 2, 7402);
    assert_eq!(one.contacts(), [at(7402)]);
    assert_eq!(two.contacts(), [at(7401)]);
    drop(first);
    assert_eq!(one.contacts(), [], "a clean stop takes the address back");
    let (_, _second) = announce(runtime.path(), 2, 9402);
    assert_eq!(one.contacts(), [at(9402)]);
}

#[test]
fn a_clean_stop_leaves_no_directory_and_takes_none_from_others() {
    let runtime = tempfile::tempdir().unwrap();
    let (_, one) = announce(runtime.path(), 1, 7401);
    let (mut two, second) = announce(runtime.path(), 2, 7402);
    drop(one);
    assert_eq!(two.contacts(), []);
    assert!(folder(runtime.path()).join(NodeId(2).to_string()).exists());
    drop(second);
    assert_eq!(fs::read_dir(runtime.path()).unwrap().count(), 0);
}

#[test]
fn a_start_removes_what_killed_processes_left_and_nothing_of_those_that_live() {
    let runtime = tempfile::tempdir().unwrap();
    let other = Local::announce(runtime.path(), ClusterId(8), NodeId(2), at(7402)).unwrap();
    let of_user = folder(runtime.path()).parent().unwrap().to_path_buf();
    let private = || {
        let mut builder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
    };
    for (cluster, file) in [(9, NodeId(3).to_string()), (10, NodeId(4).to_string() + ".tmp")] {
        let killed = of_user.join(ClusterId(cluster).to_string());
        private().create(&killed).unwrap();
        fs::write(killed.join(file), "127.0.0.1:7403").unwrap();
    }
    private().create(of_user.join(ClusterId(11).to_string())).unwrap();
    let precious = of_user.join(ClusterId(12).to_string());
    private().create(&precious).unwrap();
    fs::write(precious.join("notes"), "").unwrap();
    private().create(of_user.join("notes")).unwrap();
    fs::write(of_user.join(ClusterId(8).to_string()).join(NodeId(9).to_string()), "").unwrap();
    let _kept = announce(runtime.path(), 1, 7401);
    let names = |path: &Path| {
        let entries = fs::read_dir(path).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let clusters = [CLUSTER, ClusterId(8), ClusterId(12)].map(|cluster| cluster.to_string());
    let expected = clusters.into_iter().chain(["notes".into()]).collect::<Vec<_>>();
    assert_eq!(names(&of_user), expected);
    assert_eq!(names(&of_user.join(ClusterId(8).to_string())), [NodeId(2).to_string()]);
    drop(other);
}

#[test]
fn clusters_of_one_host_do_not_meet() {
    let runtime = tempfile::tempdir().unwrap();
    let (mut one, _one) = announce(runtime.path(), 1, 7401);
    let other = Local::announce(runtime.path(), ClusterId(8), NodeId(2), at(7402)).unwrap();
    assert_eq!(one.contacts(), []);
    drop(other);
}

#[test]
fn a_file_left_by_a_killed_node_is_replaced_when_it_starts_again() {
    let runtime = tempfile::tempdir().unwrap();
    let (mut one, _one) = announce(runtime.path(), 1, 7401);
    let (_, killed) = announce(runtime.path(), 2, 7402);
    std::mem::forget(killed);
    assert_eq!(one.contacts(), [at(7402)]);
    let (_, _again) = announce(runtime.path(), 2, 7502);
    assert_eq!(one.contacts(), [at(7502)]);
}

#[test]
fn only_the_user_can_look_in() {
    let runtime = tempfile::tempdir().unwrap();
    let (_, announcement) = announce(runtime.path(), 1, 7401);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder(runtime.path())), 0o700);
    assert_eq!(mode(&folder(runtime.path()).join(NodeId(1).to_string())), 0o600);
    drop(announcement);
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let runtime = tempfile::tempdir().unwrap();
    let folder = folder(runtime.path());
    let of_user = folder.parent().unwrap();
    fs::create_dir(of_user).unwrap();
    fs::set_permissions(of_user, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = Local::announce(runtime.path(), CLUSTER, NodeId(1), at(7401));
    assert_eq!(refused.err().unwrap().kind(), std::io::ErrorKind::PermissionDenied);
    fs::remove_dir(of_user).unwrap();
    std::os::unix::fs::symlink(runtime.path(), of_user).unwrap();
    assert!(Local::announce(runtime.path(), CLUSTER, NodeId(1), at(7401)).is_err());
}

#[test]
fn rubbish_in_the_directory_is_passed_over() {
    let runtime = tempfile::tempdir().unwrap();
    let (mut one, _one) = announce(runtime.path(), 1, 7401);
    let folder = folder(runtime.path());
    fs::write(folder.join("notes"), "127.0.0.1:1").unwrap();
    fs::write(folder.join(NodeId(2).to_string()), vec![0xff; 1 << 20]).unwrap();
    fs::create_dir(folder.join(NodeId(3).to_string())).unwrap();
    fs::write(folder.join(NodeId(4).to_string()), "127.0.0.1:7404").unwrap();
    assert_eq!(one.contacts(), [at(7404)]);
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(one.contacts(), [at(7404)], "what was known last is kept");
}

#[test]
fn combined_keeps_the_order_and_leaves_out_the_node_itself() {
    let first = Fixed::new([at(3), at(1), at(2)]);
    let second = Fixed::new([at(2), at(4)]);
    let mut combined = Combined::new(at(1)).with(first).with(second);
    assert_eq!(combined.contacts(), [at(3), at(2), at(4)]);
}
