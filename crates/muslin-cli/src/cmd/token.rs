//! `muslin token`

use crate::args::{Format, Global, Token};
use crate::client::{self, Call, Client};
use crate::failure::Failure;
use crate::output::{self, Table, cell};
use serde_json::{Value, json};

/// Makes, lists, shows, takes back, replaces.
pub(crate) async fn run(global: &Global, token: Token) -> Result<(), Failure> {
    let client = Client::new(global).await?;
    match token {
        Token::Create { name, roles, expires, uses } => {
            let asked =
                json!({ "name": name, "roles": roles, "ttl_seconds": expires, "uses": uses });
            let call = Call::post("/v1/tokens", asked.to_string());
            told(global, &client.json(call).await?)
        }
        Token::Ls => {
            let body = client.json(Call::get("/v1/tokens")).await?;
            output::body(global.output, &body, |body| table(&body["items"]))
        }
        Token::Show { token } => {
            let body = client.json(Call::get(path(&token, ""))).await?;
            output::body(global.output, &body, fields)
        }
        Token::Revoke { token } => {
            let body = client.json(Call::delete(path(&token, ""))).await?;
            output::body(global.output, &body, fields)
        }
        Token::Rotate { token } => {
            told(global, &client.json(Call::post(path(&token, ":rotate"), "")).await?)
        }
    }
}

fn path(token: &str, more: &str) -> String {
    format!("/v1/tokens/{}{more}", client::escape(token))
}

/// The secret stands on stdout, and nothing else does.
fn told(global: &Global, made: &Value) -> Result<(), Failure> {
    match global.output {
        Format::Json => output::json(made),
        Format::Table => {
            let uses = match made["uses_left"].as_u64() {
                None => String::from("any number of nodes"),
                Some(1) => String::from("1 node"),
                Some(uses) => format!("{uses} nodes"),
            };
            output::hint(&format!("token {} admits {uses}; told this once:", cell(made, "id")));
            output::text(&format!("{}\n", cell(made, "join")))
        }
    }
}

const COLUMNS: [&str; 7] = ["id", "name", "state", "roles", "uses_left", "used", "expires_unix_ms"];

fn table(items: &Value) -> Table {
    let mut table =
        Table::new(&["ID", "NAME", "STATE", "ROLES", "USES LEFT", "USED", "EXPIRES (UNIX MS)"]);
    for item in items.as_array().into_iter().flatten() {
        table.row(COLUMNS.map(|name| cell(item, name)));
    }
    table
}

/// One row per field.
pub(super) fn fields(object: &Value) -> Table {
    let mut table = Table::new(&["FIELD", "VALUE"]);
    for name in object.as_object().into_iter().flat_map(|object| object.keys()) {
        table.row([name.clone(), cell(object, name)]);
    }
    table
}
