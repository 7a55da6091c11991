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

/// One row per field.
fn fields(group: &Value) -> Table {
    let mut table = Table::new(&["FIELD", "VALUE"]);
    for name in group.as_object().into_iter().flat_map(|object| object.keys()) {
        let value = match &group[name] {
            Value::Object(_) if name == "leader" => cell(&group[name], "name"),
            Value::Array(_) => names(&group[name]),
            _ => cell(group, name),
        };
        table.row([name.clone(), value]);
    }
    table
}

fn names(nodes: &Value) -> String {
    let names: Vec<String> =
        nodes.as_array().into_iter().flatten().map(|node| cell(node, "name")).collect();
    names.join(",")
}
