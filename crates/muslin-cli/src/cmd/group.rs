//! `muslin group`

use crate::args::{Global, Group};
use crate::client::{self, Call, Client};
use crate::failure::Failure;
use crate::output::{self, Table, cell};
use serde_json::Value;

/// Lists, shows, makes or takes out.
pub(crate) async fn run(global: &Global, group: Group) -> Result<(), Failure> {
    let client = Client::new(global).await?;
    let (call, table): (Call, fn(&Value) -> Table) = match group {
        Group::Ls => (Call::get("/v1/groups"), |body| table(&body["items"])),
        Group::Show { group } => (Call::get(format!("/v1/groups/{group}")), fields),
        Group::Create { kind, replicas } => {
            let (kind, replicas) = (client::escape(&kind), client::escape(replicas.join(",")));
            (Call::post(format!("/v1/groups?kind={kind}&replicas={replicas}"), ""), fields)
        }
        Group::Rm { group } => (Call::delete(format!("/v1/groups/{group}")), fields),
    };
    let body = client.json(call).await?;
    output::body(global.output, &body, table)
}

/// One row per group, by id.
fn table(items: &Value) -> Table {
    let mut table = Table::new(&["ID", "KIND", "LEADER", "REPLICAS", "TERM", "COMMIT"]);
    for item in items.as_array().into_iter().flatten() {
        let (id, kind) = (cell(item, "id"), cell(item, "kind"));
        let leader = cell(&item["leader"], "name");
        let (term, commit) = (cell(&item["here"], "term"), cell(&item["here"], "commit"));
        table.row([id, kind, leader, names(&item["replicas"]), term, commit]);
    }
    table
}

/// One row per field, those of the replica on the asked node as `here.NAME`.
fn fields(group: &Value) -> Table {
    let mut table = Table::new(&["FIELD", "VALUE"]);
    for (name, value) in group.as_object().into_iter().flatten() {
        match value {
            Value::Object(here) if name == "here" => {
                for field in here.keys() {
                    table.row([format!("here.{field}"), told(value, field)]);
                }
            }
            _ => table.row([name.clone(), told(group, name)]),
        }
    }
    table
}

/// Nodes by their names.
fn told(of: &Value, field: &str) -> String {
    match &of[field] {
        node @ Value::Object(_) => cell(node, "name"),
        nodes @ Value::Array(_) => names(nodes),
        _ => cell(of, field),
    }
}

fn names(nodes: &Value) -> String {
    let names: Vec<String> =
        nodes.as_array().into_iter().flatten().map(|node| cell(node, "name")).collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_group_is_shown_in_words_with_the_replica_of_the_asked_node() {
        let node = |name: &str| json!({ "id": "0000000000000001", "name": name });
        let here = json!({ "role": "follower", "term": 3, "leader": node("n2") });
        let group = json!({
            "id": 1, "kind": "register", "replicas": [node("n1"), node("n2")],
            "leader": node("n2"), "here": here,
        });
        let text = fields(&group).separated();
        for line in ["here.leader\tn2", "here.role\tfollower", "leader\tn2", "replicas\tn1,n2"] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
