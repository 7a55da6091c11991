//! Cables and packets.

use super::Field;
use crate::stage::{Link, Rule};

/// A cut lasts so long: several times what an election takes.
const CUT_MS: u64 = 3_000;

/// A leader that is half cut off, so long: longer than anyone needs to notice.
const HALF_CUT_MS: u64 = 4_000;

/// Times a flapping cable is plugged out.
const FLAPS: usize = 6;

fn hold_rules(field: &mut Field<'_>, rules: &[Rule], ms: u64) -> Result<(), String> {
    field.strike();
    field.stage.set_network(rules)?;
    field.hold(ms)?;
    field.stage.set_network(&[])?;
    field.heal();
    Ok(())
}

fn both_ways(one: u8, other: u8) -> [Rule; 2] {
    [Rule::Cut { from: one, to: other }, Rule::Cut { from: other, to: one }]
}

pub(super) fn isolate_any(field: &mut Field<'_>) -> Result<String, String> {
    let node = field.any();
    isolate(field, node)
}

pub(super) fn isolate_leader(field: &mut Field<'_>) -> Result<String, String> {
    let node = field.leader()?;
    isolate(field, node)
}

fn isolate(field: &mut Field<'_>, node: u8) -> Result<String, String> {
    let others = field.others(node);
    let rules: Vec<Rule> = others.iter().flat_map(|other| both_ways(node, *other)).collect();
    hold_rules(field, &rules, CUT_MS)?;
    Ok(field.node(node).name())
}

pub(super) fn one_way(field: &mut Field<'_>) -> Result<String, String> {
    let from = field.any();
    let others = field.others(from);
    let to = field.draw.one_of(&others);
    hold_rules(field, &[Rule::Cut { from, to }], CUT_MS)?;
    Ok(format!("{} to {}", field.node(from).name(), field.node(to).name()))
}

pub(super) fn partial(field: &mut Field<'_>) -> Result<String, String> {
    let leader = field.leader()?;
    let others = field.others(leader);
    let other = field.draw.one_of(&others);
    hold_rules(field, &both_ways(leader, other), CUT_MS)?;
    Ok(format!("{} and {}", field.node(leader).name(), field.node(other).name()))
}

pub(super) fn ring(field: &mut Field<'_>) -> Result<String, String> {
    let count = field.nodes();
    let mut rules = Vec::new();
    for one in 0..count {
        for other in one + 1..count {
            let distance = other - one;
            if distance != 1 && distance != count - 1 {
                rules.extend(both_ways(one, other));
            }
        }
    }
    hold_rules(field, &rules, CUT_MS)?;
    Ok("all".to_string())
}

pub(super) fn deaf_leader(field: &mut Field<'_>) -> Result<String, String> {
    let leader = field.leader()?;
    let others = field.others(leader);
    let rules: Vec<Rule> =
        others.iter().map(|other| Rule::Cut { from: *other, to: leader }).collect();
    hold_rules(field, &rules, HALF_CUT_MS)?;
    Ok(field.node(leader).name())
}

pub(super) fn mute_leader(field: &mut Field<'_>) -> Result<String, String> {
    let leader = field.leader()?;
    let others = field.others(leader);
    let rules: Vec<Rule> =
        others.iter().map(|other| Rule::Cut { from: leader, to: *other }).collect();
    hold_rules(field, &rules, HALF_CUT_MS)?;
    Ok(field.node(leader).name())
}

pub(super) fn loss(field: &mut Field<'_>) -> Result<String, String> {
    let percent = field.draw.between(10, 30);
    hold_rules(field, &[Rule::Lose { percent }], HALF_CUT_MS)?;
    Ok(format!("{percent} %"))
}

pub(super) fn flap(field: &mut Field<'_>) -> Result<String, String> {
    let node = field.any();
    field.strike();
    for _ in 0..FLAPS {
        let (out, back) = (field.draw.between(100, 500), field.draw.between(100, 500));
        field.stage.plug(node, Link::Down)?;
        field.hold(out)?;
        field.stage.plug(node, Link::Up)?;
        field.hold(back)?;
    }
    field.heal();
    Ok(field.node(node).name())
}
