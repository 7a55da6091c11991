//! `muslin explain`: the answer first, then what it rests on, then what to do.

use super::node::freshness;
use crate::args::{Explain, Format, Global};
use crate::client::{self, Call, Client};
use crate::failure::Failure;
use crate::output::{self, Table, cell};
use serde_json::Value;

/// Asks, and prints.
pub(crate) async fn run(global: &Global, explain: Explain) -> Result<(), Failure> {
    let subject = client::escape(explain.subject);
    let path = format!("/v1/explain?subject={subject}&{}", freshness(&explain.freshness));
    let body = Client::new(global).await?.json(Call::get(path)).await?;
    super::node::warn(&body["basis"]);
    match global.output {
        Format::Json => output::json(&body),
        Format::Table => output::text(&text(&body)),
    }
}

/// As a person reads it.
pub(crate) fn text(body: &Value) -> String {
    let mut text = format!("{}\n\n", output::printable(&cell(body, "answer")));
    if body["since"].is_string() {
        text += &format!("{:<9}{}\n", "since", cell(body, "since"));
    }
    text += &list("because", &body["because"]);
    text += &list("do", &body["do"]);
    text
}

/// The same as rows, one per sentence.
pub(crate) fn rows(body: &Value, table: &mut Table) {
    table.row(["answer".to_string(), cell(body, "answer")]);
    for name in ["because", "do"] {
        for line in body[name].as_array().into_iter().flatten().filter_map(Value::as_str) {
            table.row([name.to_string(), line.to_string()]);
        }
    }
}

fn list(title: &str, lines: &Value) -> String {
    let lines = lines.as_array().into_iter().flatten().filter_map(Value::as_str);
    let titles = std::iter::once(title).chain(std::iter::repeat(""));
    let row = |(title, line): (&str, &str)| format!("{title:<9}{}\n", output::printable(line));
    titles.zip(lines).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_answer_stands_first_and_what_to_do_last() {
        let body = json!({
            "answer": "n3 is down", "since": "2026-01-01T00:00:00Z",
            "because": ["one", "two"], "do": ["start it"],
        });
        let expected = "n3 is down\n\nsince    2026-01-01T00:00:00Z\nbecause  one\n         two\n\
                        do       start it\n";
        assert_eq!(text(&body), expected);
    }
}
