//! Views, explanations and operators' commands against real nodes.

use crate::dev::Dev;
use crate::http;
use crate::process::{answered, run, until};

#[test]
fn a_killed_node_is_explained_by_those_who_are_left() {
    let mut dev = Dev::start(&[]);
    let staying = dev.leader();
    let killed = dev.nodes.iter().find(|node| node.name != staying.name).unwrap().clone();
    dev.kill(&killed.name);
    let subject = format!("node/{}", killed.name);
    let why = until("its end is explained", || {
        let line = ["explain", &subject, "-o", "json", "--addr", &staying.addr];
        let why = answered(&line).ok().json();
        let answer = why["answer"].as_str()?;
        let is_told = answer.contains("is down") || answer.contains("does not answer");
        is_told.then_some(why)
    });
    assert!(why["since"].is_string(), "{why}");
    assert!(!why["because"].as_array().unwrap().is_empty(), "{why}");
    assert!(!why["do"].as_array().unwrap().is_empty(), "{why}");
    let path = format!("/v1/nodes/{}/evidence", killed.name);
    // Whoever leads may miss its answers before anybody has suspected it.
    until("the evidence says that it was suspected", || {
        let evidence = http::ask(&staying.addr, "GET", &path, b"")?.json();
        let states = evidence["transitions"].as_array()?;
        states.iter().any(|one| one["state"] == "suspect").then_some(())
    });
    let story = answered(&["node", "show", &killed.name, "--addr", &staying.addr]).ok().stdout;
    assert!(story.lines().any(|line| line.starts_with("because\t")), "{story}");
    dev.stop();
}

#[test]
fn leadership_is_handed_on_from_a_node_that_does_not_have_it() {
    let dev = Dev::start(&[]);
    let follower = dev.follower();
    let line = ["cluster", "transfer-leader", &follower.name, "--addr", &follower.addr];
    answered(&line).ok();
    let why = answered(&["explain", "leader", "--addr", &follower.addr]).ok();
    assert!(why.stdout.starts_with(&format!("{} leads in term ", follower.name)), "{why:?}");
    dev.stop();
}

#[test]
fn an_operation_is_known_to_every_node_and_waited_for_at_any() {
    let dev = Dev::start(&[]);
    let (asked, other) = (&dev.nodes[0].addr, &dev.nodes[1].addr);
    let empty = answered(&["op", "ls", "--addr", asked]).ok();
    assert_eq!(empty.stdout, "", "{empty:?}");
    assert_eq!(run(&["op", "wait", "gossip-key-2", "--addr", asked]).code, Some(3));
    // Its steps are seconds apart.
    let said = answered(&["cert", "rotate", "--gossip", "--addr", asked]).ok();
    let op = said.stderr.split('`').find_map(|words| words.strip_prefix("muslin op wait "));
    let op = op.unwrap_or_else(|| panic!("{said:?}"));
    let soon = run(&["op", "wait", op, "--within", "1ms", "--addr", asked]);
    assert_eq!(soon.code, Some(6), "{soon:?}");
    for node in &dev.nodes {
        until("every node knows it", || {
            let shown = run(&["op", "show", op, "-o", "json", "--addr", &node.addr]);
            (shown.code == Some(0)).then(|| assert_eq!(shown.json()["kind"], "gossip-key"))
        });
    }
    let never = answered(&["op", "cancel", op, "--addr", other]);
    assert_eq!(never.code, Some(4), "{never:?}");
    let ended = answered(&["op", "wait", op, "--addr", other]).ok();
    assert_eq!(ended.stdout, "one gossip key is in use\n");
    let listed = answered(&["op", "ls", "--addr", other]).ok().stdout;
    assert!(listed.starts_with(&format!("{op}\tdone\t")), "{listed}");
    dev.stop();
}

#[test]
fn operators_are_answered_by_any_node_and_refused_with_the_numbers() {
    let mut dev = Dev::start(&[]);
    let leader = dev.leader();
    let asked = dev.nodes.iter().find(|node| node.name != leader.name).unwrap().clone();
    let at = ["--addr", &asked.addr];
    let on_it = |words: &[&str]| answered(&[words, &at[..]].concat());
    on_it(&["node", "label", &leader.name, "rack=7", "--zone", "north"]).ok();
    let shown = on_it(&["node", "show", &leader.name, "-o", "json"]).ok().json();
    assert_eq!((&shown["labels"]["rack"], &shown["zone"]), (&"7".into(), &"north".into()));
    until("all voters are seen to answer", || {
        let quorum = on_it(&["cluster", "quorum"]).stdout;
        quorum.starts_with("3 of 3 voters answer, 2 needed: can lose 1 more").then_some(())
    });
    until("it is healthy", || (on_it(&["cluster", "health"]).code == Some(0)).then_some(()));
    let unsure = on_it(&["node", "rm", &leader.name]);
    assert_eq!(unsure.code, Some(2), "{unsure:?}");
    let living = on_it(&["node", "rm", &leader.name, "--yes"]);
    assert_eq!(living.code, Some(4), "{living:?}");
    assert_eq!(on_it(&["node", "drain", "n9"]).code, Some(3));
    dev.kill(&leader.name);
    let third = dev.nodes.iter().find(|n| n.name != leader.name && n.name != asked.name).unwrap();
    let third = third.name.clone();
    dev.kill(&third);
    let views = until("the node notices that it has no quorum", || {
        let said = on_it(&["node", "ls", "-o", "json"]).ok();
        said.json()["degraded"].is_string().then_some(said)
    });
    assert!(views.stderr.contains("nobody is admitted or removed"), "{views:?}");
    let refused = run(&[&["node", "drain", &asked.name], &at[..]].concat());
    assert!(matches!(refused.code, Some(5 | 6)), "{refused:?}");
    dev.stop();
}
