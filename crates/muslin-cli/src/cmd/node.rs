//! `muslin node`

use crate::args::{Consistency, Format, Freshness, Global, Node, Role, Sure};
use crate::client::{self, Call, Client};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table, cell};
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal, Write};

/// Lists, shows, or changes.
pub(crate) async fn run(global: &Global, node: Node) -> Result<(), Failure> {
    match node {
        Node::Ls { watch: true, from, .. } => watch(global, from).await,
        Node::Ls { freshness: wish, .. } => {
            let path = format!("/v1/nodes?{}", freshness(&wish));
            let body = Client::new(global).await?.json(Call::get(path)).await?;
            warn(&body);
            output::body(global.output, &body, |body| table(&body["items"]))
        }
        Node::Show { node, freshness } => show(global, &node, &freshness).await,
        Node::Events { node, watch } => super::events::of_node(global, &node, watch).await,
        Node::Held => {
            let mut body = Client::new(global).await?.json(Call::get("/v1/joins")).await?;
            if let Some(items) = body["items"].as_array_mut() {
                items.retain(|item| item["denied"] != true);
            }
            if body["items"].as_array().is_none_or(Vec::is_empty) {
                output::hint("no join waits");
            }
            output::body(global.output, &body, |body| held(&body["items"]))
        }
        Node::Rm { node, force, sure: given } => {
            sure(given, &format!("take {node} out for good"))?;
            let path = format!("{}:remove{}", path_of(&node), switch("force", force));
            let body = Client::new(global).await?.json(Call::post(path, "")).await?;
            let words = format!("{} is out\n", cell(&body["removed"], "name"));
            output::sentence(global.output, &body, &words)
        }
        other => change(global, other).await,
    }
}

/// What changes one node, or the join of one.
async fn change(global: &Global, node: Node) -> Result<(), Failure> {
    let client = Client::new(global).await?;
    let subject = Subject::of(&node);
    let (path, body) = match node {
        Node::Drain { node } => (format!("{}:drain", path_of(&node)), Value::Null),
        Node::Resume { node } => (format!("{}:resume", path_of(&node)), Value::Null),
        Node::Promote { node, undo } => {
            (format!("{}:promote{}", path_of(&node), switch("undo", undo)), Value::Null)
        }
        Node::Demote { node, undo } => {
            (format!("{}:demote{}", path_of(&node), switch("undo", undo)), Value::Null)
        }
        Node::Approve { node, code, force } => {
            if let Some(code) = code {
                check_code(&client, &node, &code).await?;
            }
            (format!("{}:approve{}", path_of(&node), switch("force", force)), Value::Null)
        }
        Node::Deny { node } => (format!("{}:deny", path_of(&node)), Value::Null),
        Node::Role(Role::Add { node, roles }) => {
            (format!("{}:roles", path_of(&node)), json!({ "add": roles }))
        }
        Node::Role(Role::Rm { node, roles }) => {
            (format!("{}:roles", path_of(&node)), json!({ "remove": roles }))
        }
        Node::Label { node, labels, zone } => {
            (format!("{}:labels", path_of(&node)), label_body(&labels, zone)?)
        }
        _ => unreachable!("`run` has carried out the others"),
    };
    let sent = if body.is_null() { String::new() } else { body.to_string() };
    let answer = client.json(Call::post(path, sent)).await?;
    output::sentence(global.output, &answer, &changed(&answer, subject))?;
    if let Some(op) = answer["op"].as_str() {
        output::hint(&format!("it is under way: `muslin op wait {op}` waits until it is done"));
    }
    Ok(())
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

/// What of a node a command changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Subject {
    /// Whether it is drained, admitted, denied.
    Standing,
    Vote,
    Roles,
    Labels,
}

impl Subject {
    fn of(node: &Node) -> Subject {
        match node {
            Node::Promote { .. } | Node::Demote { .. } => Subject::Vote,
            Node::Role(_) => Subject::Roles,
            Node::Label { .. } => Subject::Labels,
            _ => Subject::Standing,
        }
    }
}

/// The labels and the zone that a node has.
fn labels_of(answer: &Value) -> String {
    let labels = answer["labels"].as_object().into_iter().flatten();
    let labels: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("-"))).collect();
    let zone = match answer["zone"].as_str() {
        None | Some("") => String::new(),
        Some(zone) => format!(", in zone {zone}"),
    };
    match labels.is_empty() {
        true => format!("has no labels{zone}"),
        false => format!("is labelled {}{zone}", labels.join(", ")),
    }
}

/// What came of a change, in a sentence.
fn changed(answer: &Value, subject: Subject) -> String {
    let name = cell(answer, "name");
    if answer["denied"].is_object() {
        return format!("{} is denied\n", cell(&answer["denied"], "name"));
    }
    match answer["admitted"].as_bool() {
        Some(true) => return format!("{name} is admitted\n"),
        Some(false) => return format!("{name} waits for {}\n", cell(answer, "waits_for")),
        None => {}
    }
    let how = match subject {
        Subject::Standing => format!("is {}", cell(answer, "standing")),
        Subject::Vote => match answer["vote"].as_str() {
            Some("votes") => String::from("is to vote"),
            Some("never") => String::from("is not to vote"),
            _ => String::from("votes when the planner wants it to"),
        },
        Subject::Roles => match answer["roles"].as_array().is_none_or(Vec::is_empty) {
            true => String::from("performs no role"),
            false => format!("performs {}", cell(answer, "roles")),
        },
        Subject::Labels => labels_of(answer),
    };
    let already = if answer["changed"] == false { "; so it was before" } else { "" };
    format!("{name} {how}{already}\n")
}

fn path_of(node: &str) -> String {
    format!("/v1/nodes/{}", client::escape(node))
}

fn switch(name: &str, is_on: bool) -> String {
    if is_on { format!("?{name}=1") } else { String::new() }
}

fn label_body(labels: &[String], zone: Option<String>) -> Result<Value, Failure> {
    let mut set = serde_json::Map::new();
    let mut remove = Vec::new();
    for label in labels {
        match (label.split_once('='), label.strip_suffix('-')) {
            (Some((key, value)), _) => drop(set.insert(key.to_string(), json!(value))),
            (None, Some(key)) => remove.push(key),
            (None, None) => {
                let sentence = format!("`{label}` is no label");
                let hint = "KEY=VALUE sets one, KEY- takes it away";
                return Err(Failure::new(Kind::Usage, sentence).hint(hint));
            }
        }
    }
    if set.is_empty() && remove.is_empty() && zone.is_none() {
        return Err(Failure::new(Kind::Usage, "say which labels: KEY=VALUE, KEY- or --zone"));
    }
    Ok(json!({ "set": set, "remove": remove, "zone": zone }))
}

/// Asks a person whether to go on; where there is none, the flag must say so.
pub(crate) fn sure(given: Sure, what: &str) -> Result<(), Failure> {
    if given.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let sentence = format!("this cannot be undone: {what}");
        return Err(Failure::new(Kind::Usage, sentence).hint("say --yes where nobody can be asked"));
    }
    eprint!("{what}? [y/N] ");
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    match line.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(Kind::Failed, "nothing was done")),
    }
}

/// How fresh a view is to be, as parameters.
pub(crate) fn freshness(wish: &Freshness) -> String {
    let consistency = match wish.consistency {
        Consistency::Local => "local",
        Consistency::Lease => "lease",
        Consistency::Linearizable => "linearizable",
    };
    let most = wish.max_staleness.as_deref().map(client::escape);
    let most = most.map(|most| format!("&max_staleness={most}")).unwrap_or_default();
    format!("consistency={consistency}{most}")
}

/// Tells the person when no quorum stands behind an answer.
pub(crate) fn warn(body: &Value) {
    if let Some(why) = body["degraded"].as_str() {
        let age = body["staleness_ms"].as_u64();
        let age = age.map_or(String::from("of unknown age"), |ms| format!("{ms} ms old"));
        output::hint(&format!("degraded: {why} (what is shown is {age})"));
    }
}

/// A node's story, then its fields.
async fn show(global: &Global, node: &str, wish: &Freshness) -> Result<(), Failure> {
    let client = Client::new(global).await?;
    let row = find(&client, node, wish).await?;
    if global.output == Format::Json {
        return output::json(&row);
    }
    let subject = client::escape(format!("node/{}", cell(&row, "name")));
    let path = format!("/v1/explain?subject={subject}&{}", freshness(wish));
    let mut table = fields(&row);
    match client.json(Call::get(path)).await {
        Ok(story) if std::io::stdout().is_terminal() => {
            warn(&story["basis"]);
            output::text(&format!("{}\n", super::explain::text(&story)))?;
        }
        // For programs, one row per sentence.
        Ok(story) => super::explain::rows(&story, &mut table),
        Err(_) => output::hint("how it came to be so is not known here"),
    }
    table.print()
}

/// By name or id; else by the beginning of an id, when it fits one node only.
async fn find(client: &Client, node: &str, wish: &Freshness) -> Result<Value, Failure> {
    let path = format!("{}?{}", path_of(node), freshness(wish));
    let missing = match client.json(Call::get(&path)).await {
        Err(failure) if failure.kind == Kind::NotFound => failure,
        other => return other,
    };
    let all = client.json(Call::get(format!("/v1/nodes?{}", freshness(wish)))).await?;
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

/// One line per change, until the node stops or the person has seen enough.
async fn watch(global: &Global, from: Option<String>) -> Result<(), Failure> {
    let from = from.map(|from| format!("&from={}", client::escape(from))).unwrap_or_default();
    let client = Client::new(global).await?;
    let mut lines = client.lines(Call::get(format!("/v1/nodes?watch=1{from}"))).await?;
    while let Some(line) = lines.next().await? {
        match (global.output, serde_json::from_str::<Value>(&line)) {
            (Format::Table, Ok(told)) => output::text(&told_line(&told))?,
            _ => output::text(&format!("{line}\n"))?,
        }
    }
    Err(Failure::new(Kind::Unreachable, "the node ended the stream of changes"))
}

fn told_line(told: &Value) -> String {
    let names = ["type", "name", "state", "standing", "role", "addr", "cause"];
    let kind = cell(told, "type");
    match kind.as_str() {
        "item" | "put" => {
            let cells = names.map(|name| output::printable(&cell(told, name)));
            format!("{}\n", cells.join("\t"))
        }
        "delete" => format!("delete\t{}\t{}\n", cell(told, "id"), cell(told, "cause")),
        _ => format!("{kind}\t{}\n", cell(told, "index")),
    }
}

/// One row per node, by name.
pub(crate) fn table(items: &Value) -> Table {
    let mut table = Table::new(&[
        "NAME", "ID", "ADDRESS", "ETCD", "STATE", "ROLE", "MATCHED", "VERSION", "RECORD", "ROLES",
    ]);
    let mut items: Vec<&Value> = items.as_array().into_iter().flatten().collect();
    items.sort_by_key(|item| cell(item, "name"));
    for item in items {
        let names = [
            "name", "id", "addr", "etcd", "state", "role", "matched", "version", "standing",
            "roles",
        ];
        table.row(names.map(|name| cell(item, name)));
    }
    table
}

/// One row per join that waits.
fn held(items: &Value) -> Table {
    let mut table = Table::new(&["NAME", "ID", "ADDRESS", "ROLES", "WAITS FOR", "CODE"]);
    for item in items.as_array().into_iter().flatten() {
        let names = ["name", "id", "addr", "roles", "waits_for", "code"];
        table.row(names.map(|name| cell(item, name)));
    }
    table
}

/// One row per field; those of a field with fields as `FIELD.NAME`.
pub(crate) fn fields(node: &Value) -> Table {
    let mut table = Table::new(&["FIELD", "VALUE"]);
    for (name, value) in node.as_object().into_iter().flatten() {
        match value {
            Value::Object(inner) => {
                for field in inner.keys() {
                    table.row([format!("{name}.{field}"), cell(value, field)]);
                }
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                let names: Vec<String> = items.iter().map(brief).collect();
                table.row([name.clone(), names.join(",")]);
            }
            _ => table.row([name.clone(), cell(node, name)]),
        }
    }
    table
}

/// An item by its name, or all of it.
fn brief(item: &Value) -> String {
    if item["name"].is_string() { cell(item, "name") } else { item.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_of_a_node_is_what_is_told() {
        let answer = json!({
            "name": "n2", "changed": true, "standing": "draining", "roles": ["dns", "worker"],
            "labels": { "rack": "7" }, "zone": "north", "vote": "never",
        });
        for (subject, says) in [
            (Subject::Standing, "n2 is draining\n"),
            (Subject::Vote, "n2 is not to vote\n"),
            (Subject::Roles, "n2 performs dns,worker\n"),
            (Subject::Labels, "n2 is labelled rack=7, in zone north\n"),
        ] {
            assert_eq!(changed(&answer, subject), says);
        }
        let bare = json!({
            "name": "n2", "changed": false, "roles": [], "labels": {}, "zone": "", "vote": "auto",
        });
        for (subject, says) in [
            (Subject::Vote, "n2 votes when the planner wants it to; so it was before\n"),
            (Subject::Roles, "n2 performs no role; so it was before\n"),
            (Subject::Labels, "n2 has no labels; so it was before\n"),
        ] {
            assert_eq!(changed(&bare, subject), says);
        }
    }
}
