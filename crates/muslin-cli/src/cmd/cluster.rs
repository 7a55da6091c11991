//! `muslin cluster`

use super::node::{freshness, sure};
use crate::args::{Cluster, Epoch, Format, Global};
use crate::client::{self, Call, Client};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table, cell};
use serde_json::Value;
use std::collections::BTreeMap;

/// Shows, or changes.
pub(crate) async fn run(global: &Global, cluster: Cluster) -> Result<(), Failure> {
    match cluster {
        Cluster::Info { freshness: wish } => {
            let path = format!("/v1/cluster?{}", freshness(&wish));
            let body = Client::new(global).await?.json(Call::get(path)).await?;
            super::node::warn(&body);
            output::body(global.output, &body, super::node::fields)
        }
        Cluster::Health => health(global).await,
        Cluster::Quorum => quorum(global).await,
        Cluster::TransferLeader { to } => {
            let to = to.map(|to| format!("?to={}", client::escape(to))).unwrap_or_default();
            let call = Call::post(format!("/v1/cluster:transfer-leader{to}"), "");
            let body = Client::new(global).await?.json(call).await?;
            let words = format!("{} leads\n", cell(&body["leader"], "name"));
            output::sentence(global.output, &body, &words)
        }
        Cluster::Epoch(Epoch::Show) => one(global, "epoch").await,
        Cluster::Epoch(Epoch::Bump { sure: given }) => {
            sure(given, "begin another epoch: members that are down or have left must join anew")?;
            let call = Call::post("/v1/cluster:bump-epoch", "");
            let body = Client::new(global).await?.json(call).await?;
            let (before, epoch) = (cell(&body, "before"), cell(&body, "epoch"));
            let gone = cell(&body, "collected");
            let words = format!("epoch {epoch}, after {before}; {gone} tombstones went\n");
            output::sentence(global.output, &body, &words)
        }
        Cluster::Settings(settings) => super::settings::run(global, settings).await,
        Cluster::Recover(recover) => super::recover::run(global, recover).await,
        Cluster::Id => one(global, "id").await,
    }
}

/// One field of the cluster, bare.
async fn one(global: &Global, field: &str) -> Result<(), Failure> {
    let body = Client::new(global).await?.json(Call::get("/v1/cluster")).await?;
    let value = serde_json::json!({ field: body[field] });
    output::sentence(global.output, &value, &format!("{}\n", cell(&body, field)))
}

async fn health(global: &Global) -> Result<(), Failure> {
    let body = Client::new(global).await?.json(Call::get("/v1/cluster/health")).await?;
    match global.output {
        Format::Json => output::json(&body)?,
        Format::Table => {
            let health = cell(&body, "health");
            output::text(&format!("{}\n\n", output::coloured(&cell(&body, "sentence"), &health)))?;
            let mut table = Table::new(&["CHECK", "OK", "SAYS"]);
            for check in body["checks"].as_array().into_iter().flatten() {
                let ok = if check["ok"] == true { "yes" } else { "no" };
                table.row([cell(check, "check"), ok.to_string(), cell(check, "says")]);
            }
            table.print()?;
        }
    }
    match body["health"].as_str() {
        Some("healthy") => Ok(()),
        _ => Err(Failure::silent(Kind::Unhealthy)),
    }
}

async fn quorum(global: &Global) -> Result<(), Failure> {
    let client = Client::new(global).await?;
    let body = client.json(Call::get("/v1/status")).await?;
    if global.output == Format::Json {
        let voters: Vec<&Value> = voting(&body).collect();
        return output::json(&serde_json::json!({
            "voters": body["voters"], "can_lose": body["can_lose"], "leader": body["leader"],
            "items": voters,
        }));
    }
    let (answering, total) = (cell(&body["voters"], "answering"), cell(&body["voters"], "total"));
    let needed = body["voters"]["total"].as_u64().unwrap_or(0) / 2 + 1;
    output::text(&format!(
        "{answering} of {total} voters answer, {needed} needed: can lose {} more\n\n",
        cell(&body, "can_lose")
    ))?;
    let mut table = Table::new(&["NAME", "PART", "STATE", "MATCHED", "HEARD_MS", "ZONE"]);
    for row in voting(&body) {
        table.row(["name", "role", "state", "matched", "heard_ms", "zone"].map(|n| cell(row, n)));
    }
    table.print()?;
    output::text(&fed(&body))
}

/// Those that have a part in the control group.
fn voting(status: &Value) -> impl Iterator<Item = &Value> {
    let rows = status["nodes"].as_array().into_iter().flatten();
    rows.filter(|row| row["role"] != "none")
}

/// Whom each voter feeds, as far as the asked node knows: a line each.
fn fed(status: &Value) -> String {
    let commit = status["commit"].as_u64().unwrap_or(0);
    let mut shares = BTreeMap::<&str, (u64, u64)>::new();
    for row in status["nodes"].as_array().into_iter().flatten() {
        let Some(voter) = row["fed_by"]["name"].as_str() else { continue };
        let behind = row["matched"].as_u64().map_or(0, |upto| commit.saturating_sub(upto));
        let share = shares.entry(voter).or_default();
        *share = (share.0 + 1, share.1.max(behind));
    }
    let line = |(voter, (members, behind)): (&str, (u64, u64))| {
        let noun = if members == 1 { "member" } else { "members" };
        format!("{voter} feeds {members} {noun}, the last of them {behind} entries behind\n")
    };
    shares.into_iter().map(line).collect()
}
