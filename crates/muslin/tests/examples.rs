//! The examples do what they say.

use std::path::PathBuf;
use std::process::Command;

/// Where cargo put them: beside the directory of this test.
fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows where it is");
    let built = own.ancestors().nth(2).expect("a test is in a directory of what was built");
    built.join("examples").join(name)
}

fn run(name: &str) {
    let output = Command::new(example(name)).output().unwrap_or_else(|error| {
        panic!(
            "{name}: {error}; `cargo test -p muslin` builds it, `--test examples` alone does not"
        )
    });
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{said}\n{complained}", output.status);
}

#[test]
fn three_members_see_one_die_and_one_leave() {
    run("membership");
}

#[test]
fn members_meet_over_a_transport_of_ones_own() {
    run("own_transport");
}

#[test]
fn members_speak_in_a_format_of_ones_own() {
    run("own_serializer");
}

#[test]
fn members_find_each_other_in_a_way_of_ones_own() {
    run("own_discovery");
}

#[cfg(feature = "consensus")]
#[test]
fn a_node_keeps_what_it_has_in_a_store_of_ones_own() {
    run("own_persistence");
}
