//! `muslin kv txn` and `muslin kv cas`

use super::{cell, fence, named, read, readable};
use crate::args::{Fenced, Format, Global};
use crate::client::{Call, Client};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::Path;

/// Runs a transaction that stands in a file.
pub(super) async fn run(
    global: &Global,
    file: Option<&Path>,
    fenced: &Fenced,
) -> Result<(), Failure> {
    let text = read(file)?;
    check(&text, file)?;
    let call = Call::post(format!("/v1/txn?{}", fence(fenced)), text);
    let answer = Client::new(global).await?.json(call).await;
    let body = answer.map_err(|failure| named_by(failure, file))?;
    output::body(global.output, &body, table)
}

/// What is no JSON is not sent: the line is told here.
fn check(text: &[u8], file: Option<&Path>) -> Result<(), Failure> {
    let failed = |sentence: String| {
        Failure::new(Kind::Usage, format!("{}{sentence}", place(file)))
            .hint("a transaction is {\"compare\": [..], \"success\": [..], \"failure\": [..]}")
    };
    let parsed: Value = serde_json::from_slice(text).map_err(|error| failed(error.to_string()))?;
    match parsed.is_object() {
        true => Ok(()),
        false => Err(failed(String::from("it is no object"))),
    }
}

fn place(file: Option<&Path>) -> String {
    file.map_or_else(String::new, |file| format!("{}: ", file.display()))
}

/// What the node finds wrong, with the file where it stands.
fn named_by(failure: Failure, file: Option<&Path>) -> Failure {
    match failure.kind {
        Kind::Usage => Failure { sentence: place(file) + &failure.sentence, ..failure },
        _ => failure,
    }
}

/// First which of the lists was done and at which revision, then a row for each thing it did, and
/// one for each pair that was read.
fn table(body: &Value) -> Table {
    let mut table = Table::new(&["RESULT", "KEY", "VALUE", "REVISION"]);
    rows(&mut table, body, "");
    table
}

fn rows(table: &mut Table, body: &Value, indent: &str) {
    let done = if body["succeeded"] == true { "success" } else { "failure" };
    let none = || String::from("-");
    table.row([format!("{indent}{done}"), none(), none(), cell(body, "revision")]);
    for answer in body["responses"].as_array().into_iter().flatten() {
        if answer["txn"].is_object() {
            rows(table, &answer["txn"], &format!("{indent}txn "));
        } else if answer["get"].is_object() {
            let count = cell(&answer["get"], "count");
            table.row([format!("{indent}get"), none(), count, none()]);
            pairs(table, &answer["get"]["items"], &format!("{indent}item"));
        } else if answer["delete"].is_object() {
            let count = cell(&answer["delete"], "deleted");
            table.row([format!("{indent}delete"), none(), count, none()]);
            pairs(table, &answer["delete"]["prev"], &format!("{indent}prev"));
        } else {
            table.row([format!("{indent}put"), none(), none(), none()]);
            if answer["put"]["prev"].is_object() {
                let prev = json!([answer["put"]["prev"]]);
                pairs(table, &prev, &format!("{indent}prev"));
            }
        }
    }
}

fn pairs(table: &mut Table, items: &Value, word: &str) {
    for item in items.as_array().into_iter().flatten() {
        let revision = cell(item, "mod_revision");
        table.row([String::from(word), readable(item, "key"), readable(item, "value"), revision]);
    }
}

/// One value in the place of another.
pub(super) struct Swap {
    pub(super) key: String,
    pub(super) old: String,
    pub(super) new: Vec<u8>,
}

/// Writes a value where another stands.
pub(super) async fn swap(global: &Global, swap: Swap, fenced: &Fenced) -> Result<(), Failure> {
    let key = named(&swap.key)?;
    let put = json!({ "key": key, "value_b64": STANDARD.encode(&swap.new), "keep_lease": true });
    let body = json!({
        // A key that is not there has no value, and is not made.
        "compare": [
            { "key": key, "value": swap.old },
            { "key": key, "version": 0, "result": ">" },
        ],
        "success": [{ "put": put }],
        "failure": [{ "get": { "key": key } }],
    });
    let call = Call::post(format!("/v1/txn?{}", fence(fenced)), body.to_string());
    let answer = Client::new(global).await?.json(call).await?;
    if answer["succeeded"] != true {
        return Err(differs(key, &answer["responses"][0]["get"]["items"][0]));
    }
    let written = json!({ "key": key, "revision": answer["revision"] });
    match global.output {
        Format::Json => output::json(&written),
        Format::Table => {
            let mut table = Table::new(&["KEY", "REVISION"]);
            table.row([cell(&written, "key"), cell(&written, "revision")]);
            table.print()
        }
    }
}

fn differs(key: &str, found: &Value) -> Failure {
    let sentence = match found.is_object() {
        false => format!("there is no key `{key}`; nothing was written"),
        true => format!(
            "`{key}` has another value, since revision {}; nothing was written",
            cell(found, "mod_revision")
        ),
    };
    Failure::new(Kind::Conflict, sentence).hint("read it again, and decide again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_refused_with_its_line() {
        let file = Path::new("order.json");
        let failure = check(b"{\n \"compare\": [\n}", Some(file)).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
        assert!(failure.sentence.starts_with("order.json: "), "{failure}");
        assert!(failure.sentence.contains("line 3"), "{failure}");
        assert!(check(b"[]", None).is_err());
        assert!(check(b"{}", None).is_ok());
    }

    #[test]
    fn an_answer_is_a_row_for_each_thing_done() {
        let item = json!({"key": "a", "value": "1", "mod_revision": 2});
        let inner =
            json!({"succeeded": false, "responses": [{"delete": {"deleted": 0, "prev": []}}]});
        let body = json!({
            "succeeded": true, "revision": 9,
            "responses": [{"put": {"prev": item}}, {"get": {"items": [item], "count": 1}},
                {"txn": inner}],
        });
        let text = table(&body).separated();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "success\t-\t-\t9",
                "put\t-\t-\t-",
                "prev\ta\t1\t2",
                "get\t-\t1\t-",
                "item\ta\t1\t2",
                "txn failure\t-\t-\t-",
                "txn delete\t-\t0\t-",
            ]
        );
    }
}
