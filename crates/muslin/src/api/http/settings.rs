//! What operators may set of the cluster, for all nodes at once.
//!
//! The record holds all settings as one value. A change is made of what a quorum says they are, so
//! that what is not named stays; of two operators who change them in the same moment the later one
//! wins.

use super::kv::stamp;
use super::operate::{Asker, body, fresh, write};
use super::params::Params;
use super::views::{Look, Wish, look, merge};
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::status::millis;
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use muslin_core::base::quorum;
use muslin_core::node::Consistency;
use muslin_core::state::{ClusterSize, MembershipChange, Settings};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Ending of the names of times.
const MILLIS: &str = "_ms";

/// One setting, as it is shown and changed.
struct Setting {
    key: &'static str,
    what: &'static str,
    /// As it is in force, where it has a default.
    shown: fn(&Settings) -> Value,
    /// Takes a value, `None` for the default; whether it is of the right kind.
    set: fn(&mut Settings, Option<&Value>) -> bool,
}

/// A setting that is a time or a number.
macro_rules! number {
    ($field:ident, $shown:expr, $what:literal) => {
        Setting {
            key: stringify!($field),
            what: $what,
            shown: $shown,
            set: |settings, value| {
                let number = value.map_or(Some(0), Value::as_u64);
                let number = number.and_then(|number| number.try_into().ok());
                settings.$field = number.unwrap_or_default();
                number.is_some()
            },
        }
    };
}

/// All of them.
const ALL: [Setting; 12] = [
    number!(
        min_members,
        |settings| json!(settings.min_members),
        "with fewer living members nothing is assigned; 0 is more than half of all"
    ),
    number!(
        voters_target,
        |settings| json!(settings.voters_target),
        "how many are to vote: 1, 3, 5 or 7; 0 is 3, and 5 from 7 control nodes on"
    ),
    number!(
        voter_grace_ms,
        |settings| json!(millis(settings.voter_grace())),
        "how long a voter is down before a spare takes its place"
    ),
    number!(
        reap_after_ms,
        |settings| json!(millis(settings.reap_after())),
        "how long a member that does not vote is down or left before it is removed"
    ),
    number!(
        tombstone_after_ms,
        |settings| json!(millis(settings.tombstone_after())),
        "how long after the last removal the epoch rises, and the removed are forgotten"
    ),
    number!(
        hold_for_ms,
        |settings| json!(millis(settings.hold_for())),
        "how long a join is held that waits for approval or for a role"
    ),
    number!(
        keep_revisions,
        |settings| json!(settings.keep_revisions()),
        "how many revisions can be read and watched from, at most; older ones are compacted"
    ),
    number!(
        keep_history_ms,
        |settings| json!(millis(settings.keep_history())),
        "for how long a revision can be read and watched from, at most"
    ),
    number!(
        quota_bytes,
        |settings| json!(settings.quota()),
        "how much keys, values and history may take; above it nothing is added"
    ),
    number!(
        backup_every_ms,
        |settings| json!(settings.backup_every().map(millis)),
        "how often whoever leads writes a backup; never by default"
    ),
    number!(
        backup_keep,
        |settings| json!(settings.backup_keep()),
        "how many of its backups each node keeps"
    ),
    Setting {
        key: "tokens_only",
        what: "whoever asks to join without a token is refused at once",
        shown: |settings| json!(settings.tokens_only),
        set: |settings, value| {
            let is_so = value.map_or(Some(false), Value::as_bool);
            settings.tokens_only = is_so.unwrap_or_default();
            is_so.is_some()
        },
    },
];

/// The key of each, and what it is for.
pub(super) fn described() -> impl Iterator<Item = (&'static str, &'static str)> {
    ALL.iter().map(|one| (one.key, one.what))
}

/// All settings as they are in force.
pub(super) fn plain(settings: &Settings) -> Value {
    let fields = ALL.iter().map(|one| (one.key.to_string(), (one.shown)(settings)));
    Value::Object(fields.collect::<Map<String, Value>>())
}

fn answer(settings: &Settings, size: &ClusterSize) -> Value {
    let default = Settings::default();
    let items: Vec<Value> = (ALL.iter())
        .map(|one| {
            let (value, default) = ((one.shown)(settings), (one.shown)(&default));
            json!({ "key": one.key, "value": value, "default": default, "what": one.what })
        })
        .collect();
    json!({ "settings": plain(settings), "items": items, "warnings": warnings(settings, size) })
}

/// What a person should know who sets them so.
fn warnings(settings: &Settings, size: &ClusterSize) -> Vec<String> {
    let ClusterSize { members, living, min_members } = *size;
    let majority = quorum::majority(members);
    let mut warnings = Vec::new();
    if min_members < majority {
        warnings.push(format!(
            "min_members is {min_members}, less than {majority}, more than half of {members}: the \
             smaller part of a divided cluster goes on assigning if the quorum of voters is in it"
        ));
    }
    if size.is_too_small() {
        warnings.push(format!(
            "{living} of {members} members live, and min_members is {min_members}: nothing is \
             assigned until there are more"
        ));
    }
    if settings.voters_target == 1 {
        warnings.push("one node votes: when it is lost, so is the cluster".into());
    }
    warnings
}

pub(super) async fn show(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let wish = Wish::of(&mut params)?;
    params.finish()?;
    let Look { record, basis, headers, .. } = look(&desk, wish).await?;
    let mut body = answer(&record.settings, &record.size);
    merge(&mut body, &basis);
    Ok((headers, Json(body)).into_response())
}

pub(super) async fn change(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let asker = Asker::of(&desk, &request);
    let wanted: Map<String, Value> = body(&desk, request).await?;
    let mut settings = fresh(&desk).await?.record.settings;
    apply(&mut settings, &wanted)?;
    let change = asker.wants(MembershipChange::SetSettings(settings));
    let (_, revision) = write(&desk, change).await?;
    let record = fresh(&desk).await?.record;
    let answer = answer(&record.settings, &record.size);
    Ok((stamp(&desk, revision, Consistency::Linearizable), Json(answer)).into_response())
}

/// Sets what is named. Nothing has happened when one of them is refused.
fn apply(settings: &mut Settings, wanted: &Map<String, Value>) -> Result<(), Problem> {
    if wanted.is_empty() {
        return Err(Problem::bad_request("no setting is named").hint("send {\"KEY\": VALUE}"));
    }
    for (key, value) in wanted {
        let setting = ALL.iter().find(|one| one.key == key).ok_or_else(|| {
            let all: Vec<&str> = ALL.iter().map(|one| one.key).collect();
            let all = all.join(", ");
            let hint = format!("there are {all}; on the command line without {MILLIS}");
            Problem::bad_request(format!("there is no setting {key}; nothing happened")).hint(hint)
        })?;
        let value = Some(value).filter(|value| !value.is_null());
        if key.ends_with(MILLIS) && value.and_then(Value::as_u64) == Some(0) {
            let detail = format!("{key} cannot be 0: a time is from 1 s; nothing happened");
            return Err(Problem::bad_request(detail).hint("null is the default"));
        }
        if !(setting.set)(settings, value) {
            let value = value.unwrap_or(&Value::Null);
            let detail = format!("{key} cannot be {value}; nothing happened");
            return Err(Problem::bad_request(detail).hint(setting.what));
        }
    }
    settings.check().map_err(|form| {
        Problem::bad_request(format!("{form}; nothing happened"))
            .hint("`muslin cluster settings show` shows them as they are")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(wanted: Value) -> Result<Settings, Problem> {
        let mut settings = Settings { reap_after_ms: 5_000, ..Settings::default() };
        apply(&mut settings, wanted.as_object().unwrap())?;
        Ok(settings)
    }

    #[test]
    fn what_is_not_named_stays_and_null_is_the_default() {
        let settings = applied(json!({ "min_members": 2, "tokens_only": true })).unwrap();
        assert_eq!((settings.min_members, settings.reap_after_ms), (2, 5_000));
        assert!(settings.tokens_only);
        let settings = applied(json!({ "reap_after_ms": null })).unwrap();
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        for (wanted, reason) in [
            (json!({}), "no setting"),
            (json!({ "colour": "red" }), "no setting colour"),
            (json!({ "tokens_only": 1 }), "tokens_only cannot be 1"),
            (json!({ "min_members": -1 }), "min_members cannot be -1"),
            (json!({ "min_members": 4_294_967_296_u64 }), "cannot be 4294967296"),
            (json!({ "min_members": 70_000 }), "at most 65536"),
            (json!({ "voters_target": 4 }), "1, 3, 5 or 7"),
            (json!({ "voter_grace_ms": 999 }), "from 1 s"),
            (json!({ "voter_grace_ms": 0 }), "from 1 s"),
            (json!({ "hold_for_ms": 31_622_400_001_u64 }), "366 days"),
        ] {
            let refused = applied(wanted.clone()).unwrap_err();
            assert!(refused.detail.contains(reason), "{wanted}: {}", refused.detail);
        }
    }

    #[test]
    fn whoever_may_be_surprised_is_warned() {
        let (settings, three) =
            (Settings::default(), ClusterSize { members: 3, living: 3, min_members: 2 });
        assert_eq!(warnings(&settings, &three), Vec::<String>::new());
        let smaller = ClusterSize { min_members: 1, ..three };
        assert!(warnings(&settings, &smaller)[0].contains("less than 2"));
        let too_small = ClusterSize { living: 1, ..three };
        assert!(warnings(&settings, &too_small)[0].contains("nothing is assigned"));
        let alone = Settings { voters_target: 1, ..settings };
        assert!(warnings(&alone, &three)[0].contains("one node votes"));
    }
}
