//! Processes that end.

use super::Field;

/// A dead node stays dead so long.
const DEAD_MS: u64 = 1_500;

/// When all are dead, there is nothing to wait for.
const ALL_DEAD_MS: u64 = 300;

pub(super) fn kill_any(field: &mut Field<'_>) -> Result<String, String> {
    let node = field.any();
    kill_and_start(field, node)
}

pub(super) fn kill_leader(field: &mut Field<'_>) -> Result<String, String> {
    let node = field.leader()?;
    kill_and_start(field, node)
}

fn kill_and_start(field: &mut Field<'_>, node: u8) -> Result<String, String> {
    field.strike();
    field.kill(node);
    field.hold(DEAD_MS)?;
    field.start(node)?;
    field.heal();
    Ok(field.node(node).name())
}

pub(super) fn kill_all(field: &mut Field<'_>) -> Result<String, String> {
    field.strike();
    for node in 0..field.nodes() {
        field.kill(node);
    }
    field.hold(ALL_DEAD_MS)?;
    field.heal();
    for node in 0..field.nodes() {
        field.start(node)?;
    }
    Ok("all".to_string())
}

pub(super) fn rolling(field: &mut Field<'_>) -> Result<String, String> {
    field.strike();
    for node in 0..field.nodes() {
        field.stop_node(node)?;
        field.start(node)?;
        field.settle()?;
    }
    field.heal();
    Ok("all, one by one".to_string())
}

pub(super) fn stop_leader(field: &mut Field<'_>) -> Result<String, String> {
    let node = field.leader()?;
    field.strike();
    field.stop_node(node)?;
    field.hold(DEAD_MS)?;
    field.start(node)?;
    field.heal();
    Ok(field.node(node).name())
}

pub(super) fn transfer(field: &mut Field<'_>) -> Result<String, String> {
    let from = field.leader()?;
    let others = field.others(from);
    let to = field.draw.one_of(&others);
    let id = field.id(to).ok_or("a node that is well does not say its id")?;
    field.strike();
    // A refusal is an answer too: one that does not vote cannot lead.
    let done = field.load.ask(from, |reply| crate::client::Ask::Transfer(id, reply));
    field.hold(500)?;
    field.heal();
    let word = if done.is_some() { "to" } else { "not to" };
    Ok(format!("{} {word} {}", field.node(from).name(), field.node(to).name()))
}
