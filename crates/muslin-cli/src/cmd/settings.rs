//! `muslin cluster settings`

use super::node::freshness;
use crate::args::{Format, Global, Settings};
use crate::client::{Call, Client};
use crate::failure::{Failure, Kind};
use crate::output::{self, Table, cell};
use serde_json::{Map, Value, json};

pub(super) const PATH: &str = "/v1/cluster/settings";

/// Ending of the names of times.
const MILLIS: &str = "_ms";

/// The units in which times are given and shown, the largest first.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Shows, or changes.
pub(crate) async fn run(global: &Global, settings: Settings) -> Result<(), Failure> {
    let (call, is_change) = match settings {
        Settings::Show { freshness: wish } => {
            (Call::get(format!("{PATH}?{}", freshness(&wish))), false)
        }
        Settings::Set { settings } => (Call::patch(PATH, body(&settings)?.to_string()), true),
    };
    let answer = Client::new(global).await?.json(call).await?;
    if !is_change {
        super::node::warn(&answer);
    }
    for warning in answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        output::hint(&format!("warning: {warning}"));
    }
    match global.output {
        Format::Json => output::json(&answer),
        Format::Table => rows(&answer["items"]).print(),
    }
}

fn rows(items: &Value) -> Table {
    let mut table = Table::new(&["SETTING", "VALUE", "DEFAULT", "WHAT"]);
    for item in items.as_array().into_iter().flatten() {
        let key = cell(item, "key");
        let plain = key.strip_suffix(MILLIS);
        let show = |name: &str| match (plain, item[name].as_u64()) {
            (Some(_), Some(millis)) => told(millis),
            _ => cell(item, name),
        };
        let (value, default) = (show("value"), show("default"));
        table.row([plain.unwrap_or(&key).to_string(), value, default, cell(item, "what")]);
    }
    table
}

/// A time in the largest unit that tells all of it.
pub(super) fn told(millis: u64) -> String {
    let unit = UNITS.iter().find(|(_, size)| millis.is_multiple_of(*size) && millis > 0);
    unit.map_or_else(|| format!("{millis}ms"), |(unit, size)| format!("{}{unit}", millis / size))
}

/// What is sent: a value that is not of the right kind is refused there, with what is right.
pub(super) fn body(settings: &[String]) -> Result<Value, Failure> {
    let mut body = Map::new();
    for setting in settings {
        let Some((key, text)) = setting.split_once('=') else {
            let sentence = format!("`{setting}` sets nothing");
            return Err(Failure::new(Kind::Usage, sentence).hint("write KEY=VALUE"));
        };
        let (key, value) = match (text, time(text), text.parse::<u64>(), text.parse::<bool>()) {
            ("default", ..) => (full(key), Value::Null),
            (_, _, Ok(number), _) => (key.to_string(), json!(number)),
            (_, _, _, Ok(is_so)) => (key.to_string(), json!(is_so)),
            (_, Some(millis), ..) => (full(key), json!(millis)),
            _ => (key.to_string(), json!(text)),
        };
        check_unit(&key, text)?;
        body.insert(key, value);
    }
    Ok(Value::Object(body))
}

/// The settings that are times.
const TIMES: [&str; 6] =
    ["voter_grace", "reap_after", "tombstone_after", "hold_for", "keep_history", "backup_every"];

/// A time has a unit, and fits: told here, where the name is the one that the person wrote.
fn check_unit(key: &str, text: &str) -> Result<(), Failure> {
    if !TIMES.contains(&key) {
        return Ok(());
    }
    let sentence = match text.parse::<u128>() {
        Ok(_) => format!("{key} is a time and `{text}` has no unit"),
        Err(_) => format!("{key} is a time, and cannot be `{text}`"),
    };
    Err(Failure::new(Kind::Usage, sentence).hint(format!(
        "write it with a unit: {key}=10s, or ms, m, h, d; `default` for the default"
    )))
}

/// The name that the interface has for a setting.
fn full(key: &str) -> String {
    if TIMES.contains(&key) { format!("{key}{MILLIS}") } else { key.to_string() }
}

fn time(text: &str) -> Option<u64> {
    UNITS.iter().rev().find_map(|(unit, size)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*size)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(settings: &[&str]) -> Value {
        body(&settings.iter().map(|one| one.to_string()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn times_have_units_and_the_rest_is_sent_as_it_is() {
        let body = sent(&["min_members=2", "voter_grace=90s", "tokens_only=true", "hold_for=2h"]);
        let wanted = json!({
            "min_members": 2, "voter_grace_ms": 90_000, "tokens_only": true,
            "hold_for_ms": 7_200_000,
        });
        assert_eq!(body, wanted);
        assert_eq!(sent(&["reap_after=default"]), json!({ "reap_after_ms": null }));
        assert_eq!(sent(&["voter_grace_ms=1500"]), json!({ "voter_grace_ms": 1_500 }));
        assert_eq!(sent(&["colour=red"]), json!({ "colour": "red" }), "refused there");
        assert!(body_of_nothing().is_err());
    }

    #[test]
    fn a_time_without_a_unit_is_told_so() {
        for (setting, says) in [
            ("voter_grace=10", "has no unit"),
            ("hold_for=soon", "cannot be `soon`"),
            ("reap_after=true", "cannot be `true`"),
            ("reap_after=999999999999999d", "cannot be `999999999999999d`"),
        ] {
            let refused = body(&[setting.to_string()]).unwrap_err();
            assert_eq!(refused.kind, Kind::Usage);
            assert!(refused.sentence.contains(says), "{}", refused.sentence);
        }
    }

    fn body_of_nothing() -> Result<Value, Failure> {
        body(&["min_members".to_string()])
    }

    #[test]
    fn a_time_is_told_in_the_largest_unit_that_tells_all_of_it() {
        let told = [0, 250, 90_000, 3_600_000, 86_400_000].map(told);
        assert_eq!(told, ["0ms", "250ms", "90s", "1h", "1d"]);
    }
}
