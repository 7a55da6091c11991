//! `muslin node`

use crate::args::{Global, Node};
use crate::client::{self, Call, Client};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table, cell};
use serde_json::Value;

/// Lists or shows.
pub(crate) async fn run(global: &Global, node: Node) -> Result<(), Failure> {
    let client = Client::new(global).await?;
    match node {
        Node::Ls => {
            let body = client.json(Call::get("/v1/nodes")).await?;
            output::body(global.output, &body, |body| table(&body["items"]))
        }
        Node::Show { node } => {
            let body = find(&client, &node).await?;
            output::body(global.output, &body, fields)
        }
        Node::Held => {
            let body = client.json(Call::get("/v1/joins")).await?;
            output::body(global.output, &body, |body| held(&body["items"]))
        }
        Node::Approve { node, code, force } => {
            if let Some(code) = code {
                check_code(&client, &node, &code).await?;
            }
            let force = if force { "?force=1" } else { "" };
            let path = format!("/v1/joins/{}/approve{force}", client::escape(&node));
            let body = client.json(Call::post(path, "")).await?;
            output::body(global.output, &body, fields)
        }
        Node::Deny { node } => {
            let path = format!("/v1/joins/{}/deny", client::escape(&node));
            let body = client.json(Call::post(path, "")).await?;
            output::body(global.output, &body, fields)
        }
    }
}

/// Whether the join that waits here has the code that the joiner's person sees.
async fn check_code(client: &Client, node: &str, code: &str) -> Result<(), Failure> {
    let all = client.json(Call::get("/v1/joins")).await?;
    let is_it = |item: &&Value| {
        item["name"] == node || item["id"].as_str().is_some_and(|id| id.starts_with(node))
    };
    let waiting: Vec<&Value> =
        all["items"].as_array().into_iter().flatten().filter(is_it).collect();
    if waiting.is_empty() || waiting.iter().any(|item| item["code"] == code) {
        return Ok(());
    }
    let sentence = format!("the join of {node} that waits here has another code than {code}");
    Err(Failure::new(Kind::Denied, sentence)
        .hint("was the code copied whole? if so, somebody stands between: deny the join"))
}

fn held(items: &Value) -> Table {
    let mut table = Table::new(&["NAME", "ID", "ADDRESS", "ROLES", "WAITS FOR", "CODE"]);
    for item in items.as_array().into_iter().flatten() {
        let names = ["name", "id", "addr", "roles", "waits_for", "code"];
        table.row(names.map(|name| cell(item, name)));
    }
    table
}

/// By name or id; else by the beginning of an id, when it fits one node only.
async fn find(client: &Client, node: &str) -> Result<Value, Failure> {
    let path = format!("/v1/nodes/{}", client::escape(node));
    let missing = match client.json(Call::get(&path)).await {
        Err(failure) if failure.kind == Kind::NotFound => failure,
        other => return other,
    };
    let all = client.json(Call::get("/v1/nodes")).await?;
    let begins = |item: &&Value| item["id"].as_str().is_some_and(|id| id.starts_with(node));
    let mut matching = all["items"].as_array().into_iter().flatten().filter(begins);
    match (matching.next(), matching.next()) {
        (Some(only), None) => Ok(only.clone()),
        (Some(_), Some(_)) => {
            let sentence = format!("more than one node has an id that begins with {node}");
            Err(Failure::new(Kind::Usage, sentence).hint("write more of it"))
        }
        (None, _) => Err(missing.hint("`muslin node ls` lists the nodes")),
    }
}

/// One row per node, by name.
pub(crate) fn table(items: &Value) -> Table {
    let mut table =
        Table::new(&["NAME", "ID", "ADDRESS", "ETCD", "STATE", "ROLE", "MATCHED", "VERSION"]);
    let mut items: Vec<&Value> = items.as_array().into_iter().flatten().collect();
    items.sort_by_key(|item| cell(item, "name"));
    for item in items {
        let names = ["name", "id", "addr", "etcd", "state", "role", "matched", "version"];
        table.row(names.map(|name| cell(item, name)));
    }
    table
}

/// One row per field.
fn fields(node: &Value) -> Table {
    let mut table = Table::new(&["FIELD", "VALUE"]);
    for name in node.as_object().into_iter().flat_map(|object| object.keys()) {
        table.row([name.clone(), cell(node, name)]);
    }
    table
}
