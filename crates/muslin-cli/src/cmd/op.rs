//! `muslin op`

use super::token::fields;
use crate::args::{Format, Global, Op};
use crate::client::{self, Call, Client};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table, cell};
use serde_json::Value;
use tokio::time::timeout;

/// Lists, shows, waits, takes back.
pub(crate) async fn run(global: &Global, op: Op) -> Result<(), Failure> {
    match op {
        Op::Ls { watch: true, from } => watch(global, from).await,
        Op::Ls { .. } => {
            let body = Client::new(global).await?.json(Call::get("/v1/ops")).await?;
            if body["items"].as_array().is_none_or(Vec::is_empty) {
                output::hint("nothing is under way, and nothing ended since the node started");
            }
            output::body(global.output, &body, |body| table(&body["items"]))
        }
        Op::Show { op } => {
            let body = Client::new(global).await?.json(Call::get(path(&op, ""))).await?;
            output::body(global.output, &body, fields)
        }
        Op::Wait { op, within: None } => wait(global, &op).await,
        Op::Wait { op, within: Some(time) } => match timeout(time, wait(global, &op)).await {
            Ok(ended) => ended,
            Err(_) => Err(Failure::new(Kind::TimedOut, format!("{op} is still under way"))
                .hint(format!("`muslin op show {op}` says how it stands"))),
        },
        Op::Cancel { op } => {
            let call = Call::post(path(&op, ":cancel"), "");
            let body = Client::new(global).await?.json(call).await?;
            output::sentence(global.output, &body, &format!("{}\n", cell(&body, "text")))
        }
    }
}

fn path(op: &str, word: &str) -> String {
    format!("/v1/ops/{}{word}", client::escape(op))
}

fn cells(op: &Value) -> [String; 4] {
    ["id", "state", "began", "text"].map(|name| cell(op, name))
}

fn table(items: &Value) -> Table {
    let mut table = Table::new(&["ID", "STATE", "BEGAN", "WHAT"]);
    for op in items.as_array().into_iter().flatten() {
        table.row(cells(op));
    }
    table
}

/// Follows one, which is there, until it has ended.
async fn wait(global: &Global, op: &str) -> Result<(), Failure> {
    let client = Client::new(global).await?;
    let ended = |told: &Value| told["id"] == *op && told["state"] != "running";
    let first = client.json(Call::get(path(op, ""))).await?;
    if ended(&first) {
        return outcome(global, &first);
    }
    let mut lines = client.lines(Call::get("/v1/ops?watch=1")).await?;
    while let Some(line) = lines.next().await? {
        let told: Value = serde_json::from_str(&line).unwrap_or_default();
        if ended(&told) && told["type"] != "delete" {
            return outcome(global, &told);
        }
        if told["type"] == "delete" && told["id"] == *op {
            let sentence = format!("this node is not told any more how {op} stands");
            return Err(Failure::new(Kind::Failed, sentence)
                .hint("ask the leader: `muslin status` names it"));
        }
    }
    Err(Failure::new(Kind::Unreachable, "the node ended the stream of operations"))
}

/// Says how it ended; the exit code says it too.
fn outcome(global: &Global, op: &Value) -> Result<(), Failure> {
    output::sentence(global.output, op, &format!("{}\n", cell(op, "text")))?;
    match op["state"].as_str() {
        Some("done") => Ok(()),
        Some("undone") => Err(Failure::silent(Kind::Conflict)),
        _ => Err(Failure::silent(Kind::Failed)),
    }
}

async fn watch(global: &Global, from: Option<String>) -> Result<(), Failure> {
    let from = from.map_or_else(String::new, |from| format!("&from={}", client::escape(from)));
    let client = Client::new(global).await?;
    let mut lines = client.lines(Call::get(format!("/v1/ops?watch=1{from}"))).await?;
    while let Some(line) = lines.next().await? {
        match global.output {
            Format::Json => output::text(&format!("{line}\n"))?,
            Format::Table => {
                let told: Value = serde_json::from_str(&line).unwrap_or_default();
                // What is said of the watch itself is for programs.
                if told["state"].is_string() {
                    output::text(&output::separated(&cells(&told)))?;
                }
            }
        }
    }
    Err(Failure::new(Kind::Unreachable, "the node ended the stream of operations"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_operation_has_a_row_and_nothing_for_what_it_does_not_have() {
        let op = json!({
            "id": "voters", "kind": "voters", "state": "running", "text": "n2 is to vote",
            "node": null, "began": "2026-11-23T00:00:00Z", "ended": null,
        });
        let row = "voters\trunning\t2026-11-23T00:00:00Z\tn2 is to vote\n";
        assert_eq!(table(&json!([op])).separated(), row);
    }
}
