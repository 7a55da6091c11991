//! `muslin status`: the answer first, then what it rests on.

use crate::args::{Format, Global};
use crate::client::{Call, Client};
use crate::failure::{Failure, Kind};
use crate::output::{self, cell};
use muslin::daemon::RemovedNote;
use serde_json::Value;

/// Prints it; healthy or not is the exit code.
pub(crate) async fn run(global: &Global) -> Result<(), Failure> {
    let asked = async { Client::new(global).await?.json(Call::get("/v1/status")).await };
    let status = asked.await.map_err(|failure| removed(global).unwrap_or(failure))?;
    match global.output {
        Format::Json => output::json(&status)?,
        Format::Table => output::text(&text(&status))?,
    }
    match status["health"].as_str() {
        Some("healthy") => Ok(()),
        _ => Err(Failure::silent(Kind::Unhealthy)),
    }
}

/// What the directory that was named says, if its node was removed: such a node does not run, and
/// the others answer nothing to its certificate.
fn removed(global: &Global) -> Option<Failure> {
    let note = RemovedNote::read(global.identity.as_deref()?)?;
    Some(Failure::new(Kind::Unhealthy, note.to_string()))
}

/// The status as text; `dev` prints it too.
pub(crate) fn text(status: &Value) -> String {
    let sentence = output::coloured(&cell(status, "sentence"), &cell(status, "health"));
    let cluster = &status["cluster"];
    let voters = &status["voters"];
    let lines = [
        ("cluster", format!("{} ({})", cell(cluster, "name"), cell(cluster, "id"))),
        ("asked", format!("{}, {}", cell(&status["node"], "name"), cell(&status["node"], "role"))),
        ("leader", format!("{}, term {}", cell(&status["leader"], "name"), cell(status, "term"))),
        ("voters", format!("{} of {} answer", cell(voters, "answering"), cell(voters, "total"))),
        ("log", format!("commit {}, applied {}", cell(status, "commit"), cell(status, "applied"))),
        ("keys", format!("{}, revision {}", cell(status, "keys"), cell(status, "revision"))),
    ];
    let mut text = format!("{sentence}\n\n");
    for (name, line) in lines {
        text += &format!("{name:<9}{line}\n");
    }
    if let Some(groups) = status["groups"].as_object().filter(|of| of["replicas"] != 0) {
        let (replicas, led) = (&groups["replicas"], &groups["led"]);
        text += &format!("{:<9}{replicas} here, {led} led here\n", "groups");
    }
    let nodes = super::node::table(&status["nodes"]);
    if !nodes.is_empty() {
        text += &format!("\n{}", nodes.aligned());
    }
    text
}
