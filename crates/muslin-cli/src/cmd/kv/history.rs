//! `muslin kv history`

use super::{cell, named, readable};
use crate::args::Global;
use crate::client::{Call, Client, escape_key};
use crate::failure::Failure;
use crate::output::{self, Table};
use serde_json::Value;

/// Prints the changes of a key, the last first.
pub(super) async fn run(global: &Global, key: &str, limit: u64) -> Result<(), Failure> {
    let path = format!("/v1/kv/{}?history=1&limit={limit}", escape_key(named(key)?));
    let body = Client::new(global).await?.json(Call::get(path)).await?;
    if body["more"] == true {
        output::hint("there are older changes: --limit");
    } else if body["since"].as_u64().is_some_and(|since| since > 1) {
        output::hint(&format!("history begins with revision {}", body["since"]));
    }
    output::body(global.output, &body, table)
}

fn table(body: &Value) -> Table {
    let mut table = Table::new(&["REVISION", "CHANGE", "VERSION", "VALUE", "LEASE"]);
    for change in body["changes"].as_array().into_iter().flatten() {
        let kind = match (change["type"].as_str(), change["cause"].as_str()) {
            (Some("delete"), Some("expired")) => "expired".to_string(),
            _ => cell(change, "type"),
        };
        table.row([
            cell(change, "revision"),
            kind,
            cell(change, "version"),
            readable(change, "value"),
            cell(change, "lease"),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_that_time_made_is_told_from_one_that_somebody_made() {
        let put = json!({"type": "put", "key": "a", "value": "1", "revision": 7, "version": 2,
            "cause": "client", "lease": "0f"});
        let gone = json!({"type": "delete", "key": "a", "revision": 8, "cause": "expired"});
        let text = table(&json!({ "changes": [gone, put] })).separated();
        assert_eq!(text, "8\texpired\t-\t-\t-\n7\tput\t2\t1\t0f\n");
    }
}
