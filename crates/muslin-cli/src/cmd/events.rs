//! `muslin events`

use crate::args::{Events, Format, Global};
use crate::client::{self, Call, Client};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table, cell};
use serde_json::Value;

/// Prints what happened, and with `--watch` what happens.
pub(crate) async fn run(global: &Global, events: Events) -> Result<(), Failure> {
    let from = events.from.map(|from| format!("&from={}", client::escape(from)));
    tell(global, events.watch, &from.unwrap_or_default()).await
}

/// The same of one node.
pub(crate) async fn of_node(global: &Global, node: &str, watch: bool) -> Result<(), Failure> {
    tell(global, watch, &format!("&node={}", client::escape(node))).await
}

async fn tell(global: &Global, watch: bool, more: &str) -> Result<(), Failure> {
    let client = Client::new(global).await?;
    if !watch {
        let body = client.json(Call::get(format!("/v1/events?watch=0{more}"))).await?;
        let is_empty = body["items"].as_array().is_none_or(Vec::is_empty);
        output::body(global.output, &body, table)?;
        if is_empty {
            output::hint("nothing has happened since the node started");
        }
        return Ok(());
    }
    let mut lines = client.lines(Call::get(format!("/v1/events?watch=1{more}"))).await?;
    while let Some(line) = lines.next().await? {
        match (global.output, serde_json::from_str::<Value>(&line)) {
            // What is said of the watch itself is for programs.
            (Format::Table, Ok(event)) if event["kind"].is_string() => output::text(&format!(
                "{}\n",
                cells(&event).map(|cell| output::printable(&cell)).join("\t")
            ))?,
            (Format::Table, Ok(event)) if event["type"] == "resync" => {
                output::hint("events before these are lost to this watch");
            }
            (Format::Table, Ok(_)) => {}
            _ => output::text(&format!("{line}\n"))?,
        }
    }
    Err(Failure::new(Kind::Unreachable, "the node ended the stream of events"))
}

fn table(body: &Value) -> Table {
    let mut table = Table::new(&["TIME", "KIND", "EVENT"]);
    for event in body["items"].as_array().into_iter().flatten() {
        table.row(cells(event));
    }
    table
}

fn cells(event: &Value) -> [String; 3] {
    ["time", "kind", "text"].map(|name| cell(event, name))
}
