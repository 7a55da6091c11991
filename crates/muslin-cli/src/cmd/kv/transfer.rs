//! `muslin kv export` and `muslin kv import`
//!
//! The text is a line of JSON for what it is, one for each key, and one for the end, so that a part
//! of it is not taken for the whole:
//!
//! ```text
//! {"muslin":"kv","format":1,"revision":17,"prefix":"app/"}
//! {"key":"app/a","value":"1"}
//! {"key_b64":"YXBwL/8=","value_b64":"/w=="}
//! {"end":2}
//! ```

use super::{PAGE, key_of, read, with_all};
use crate::args::{Format, Global};
use crate::client::{Call, Client, escape};
use crate::failure::{Failure, Kind};
use crate::output;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muslin_core::state::RECEIPT_PREFIX;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;

/// What is written here, and the only thing that is read.
const FORMAT: u64 = 1;

/// Keys of one piece: a transaction may do 128 things, and each key is one.
const PIECE_KEYS: usize = 100;

/// Bytes of one piece: well within what one command may have, unless one value is larger alone.
const PIECE_BYTES: usize = 512 << 10;

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    muslin: String,
    format: u64,
    revision: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
}

/// A line of a key: of each two fields one is there, text as it is and other bytes in base64.
#[derive(Serialize, Deserialize, Default, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_b64: Option<String>,
}

/// The last line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    end: usize,
}

/// Which keys, besides those that somebody has put and that stay.
pub(super) struct Part {
    pub(super) leased: bool,
    pub(super) all: bool,
}

/// Prints all keys of one revision.
pub(super) async fn export(global: &Global, prefix: &str, part: Part) -> Result<(), Failure> {
    let client = Client::new(global).await?;
    let (mut told, mut left_out) = (0, 0);
    let (mut revision, mut after) = (None, None::<Vec<u8>>);
    loop {
        let mut path = format!("/v1/kv?prefix={}&limit={PAGE}", escape(prefix));
        path += with_all(part.all);
        if let Some(revision) = &revision {
            path += &format!("&revision={revision}");
        }
        if let Some(after) = &after {
            path += &format!("&after={}", escape(after));
        }
        let page = client.json(Call::get(&path)).await.map_err(|failure| cut(failure, told))?;
        if revision.is_none() {
            let at = page["revision"].clone();
            revision = Some(at.as_str().map_or_else(|| at.to_string(), String::from));
            let prefix = Some(String::from(prefix)).filter(|prefix| !prefix.is_empty());
            write(&Head { muslin: "kv".into(), format: FORMAT, revision: at, prefix })?;
        }
        let items = page["items"].as_array().map_or(&[][..], Vec::as_slice);
        for item in items {
            // A receipt is of this cluster, and of a day: it means nothing elsewhere.
            if key_of(item)?.starts_with(RECEIPT_PREFIX) {
                continue;
            }
            if item["lease"].is_string() && !part.leased {
                left_out += 1;
                continue;
            }
            let field = |name: &str| item[name].as_str().map(String::from);
            let (key, value) = (field("key"), field("value"));
            write(&Line { key, key_b64: field("key_b64"), value, value_b64: field("value_b64") })?;
            told += 1;
        }
        let last = items.last().filter(|_| page["more"] == true);
        let Some(last) = last else { break };
        after = Some(key_of(last)?);
    }
    write(&End { end: told })?;
    if left_out > 0 {
        output::hint(&format!("{left_out} keys hang on leases and are left out (--leased)"));
    }
    Ok(())
}

fn cut(failure: Failure, told: usize) -> Failure {
    let said = failure.hint.clone().map_or_else(String::new, |hint| format!("{hint}; "));
    match told {
        0 => failure,
        told => failure.hint(format!("{said}{told} keys are printed, and more there are")),
    }
}

fn write(line: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(line).expect("a line of strings and numbers is JSON");
    output::text(&format!("{text}\n"))
}

/// How keys are taken.
pub(super) struct Wish {
    pub(super) if_absent: bool,
    pub(super) check: bool,
}

/// One key to write.
#[derive(PartialEq, Debug)]
struct Pair {
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Writes all keys of a file, or none if there is anything wrong with it.
pub(super) async fn import(
    global: &Global,
    file: Option<&Path>,
    wish: Wish,
) -> Result<(), Failure> {
    let text = read(file)?;
    let pairs = parsed(&text).map_err(|wrong| {
        let place = file.map_or_else(|| String::from("stdin"), |file| file.display().to_string());
        let sentence = format!("{place}: line {}: {}; nothing was written", wrong.line, wrong.what);
        Failure::new(Kind::Usage, sentence)
    })?;
    let (mut written, mut left) = (0, 0);
    if !wish.check {
        let client = Client::new(global).await?;
        for piece in pieces(&pairs) {
            let call = Call::post("/v1/txn", body(piece, wish.if_absent).to_string());
            let answer = client.json(call).await.map_err(|failure| part(failure, written))?;
            let responses = answer["responses"].as_array().map_or(&[][..], Vec::as_slice);
            let there = responses.iter().filter(|answer| answer["txn"]["succeeded"] == false);
            let there = there.count();
            written += piece.len() - there;
            left += there;
        }
    }
    let told = json!({ "keys": pairs.len(), "written": written, "left": left });
    let words = match wish.check {
        true => format!("{} keys, and nothing wrong with them\n", pairs.len()),
        false if wish.if_absent => format!("{written} keys written, {left} were there\n"),
        false => format!("{written} keys written\n"),
    };
    match global.output {
        Format::Json => output::json(&told),
        Format::Table => output::text(&words),
    }
}

fn part(failure: Failure, written: usize) -> Failure {
    let said = failure.hint.clone().map_or_else(String::new, |hint| format!("{hint}; "));
    failure.hint(format!("{said}the first {written} keys are written: import the file again"))
}

/// What is wrong, and where.
#[derive(PartialEq, Debug)]
struct Wrong {
    line: usize,
    what: String,
}

fn parsed(text: &[u8]) -> Result<Vec<Pair>, Wrong> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let before = &text[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Wrong { line, what: "it is no text (UTF-8)".into() }
    })?;
    let mut lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    let head = lines.next().unwrap_or(("", 1));
    check_head(head.0).map_err(|what| Wrong { line: head.1, what })?;
    let mut pairs = Vec::new();
    let mut seen: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut number = head.1;
    while let Some((line, at)) = lines.next() {
        number = at;
        if let Ok(End { end }) = serde_json::from_str(line) {
            return match (end == pairs.len(), lines.next()) {
                (true, None) => Ok(pairs),
                (true, Some((_, line))) => {
                    Err(Wrong { line, what: "something stands behind the end".into() })
                }
                (false, _) => {
                    let what = format!("the end counts {end} keys, and there are {}", pairs.len());
                    Err(Wrong { line: at, what })
                }
            };
        }
        let pair = pair_of(line).map_err(|what| Wrong { line: at, what })?;
        if let Some(first) = seen.insert(pair.key.clone(), at) {
            return Err(Wrong {
                line: at,
                what: format!("its key stands in line {first} already"),
            });
        }
        pairs.push(pair);
    }
    Err(Wrong { line: number, what: "it ends before its end: {\"end\":..} is missing".into() })
}

fn check_head(line: &str) -> Result<(), String> {
    let wrong = "this is no output of `muslin kv export`";
    match serde_json::from_str::<Head>(line) {
        Ok(head) if head.muslin == "kv" && head.format == FORMAT => Ok(()),
        Ok(head) if head.muslin == "kv" => {
            Err(format!("format {} is not known here: {FORMAT} is", head.format))
        }
        Ok(_) => Err(wrong.into()),
        Err(error) => Err(format!("{wrong}: {error}")),
    }
}

fn pair_of(line: &str) -> Result<Pair, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let bytes = |name: &str, text: Option<String>, b64: Option<String>| match (text, b64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(b64)) => {
            STANDARD.decode(b64).map_err(|error| format!("{name}_b64 is no base64: {error}"))
        }
        _ => Err(format!("one of {name} and {name}_b64 is wanted")),
    };
    let key = bytes("key", line.key, line.key_b64)?;
    if key.is_empty() {
        return Err("a key has at least one byte".into());
    }
    Ok(Pair { key, value: bytes("value", line.value, line.value_b64)? })
}

/// What is written together.
fn pieces(pairs: &[Pair]) -> Vec<&[Pair]> {
    let mut pieces = Vec::new();
    let mut rest = pairs;
    while !rest.is_empty() {
        let mut bytes = 0;
        let over = rest.iter().take(PIECE_KEYS).position(|pair| {
            bytes += pair.key.len() + pair.value.len();
            bytes > PIECE_BYTES
        });
        let end = over.unwrap_or(PIECE_KEYS.min(rest.len())).max(1);
        let (piece, behind) = rest.split_at(end);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

fn body(piece: &[Pair], if_absent: bool) -> Value {
    let ops = piece.iter().map(|pair| {
        let key = STANDARD.encode(&pair.key);
        let put = json!({ "put": { "key_b64": key, "value_b64": STANDARD.encode(&pair.value) } });
        match if_absent {
            false => put,
            true => json!({ "txn": {
                "compare": [{ "key_b64": key, "version": 0 }], "success": [put],
            } }),
        }
    });
    json!({ "success": ops.collect::<Vec<Value>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "{\"muslin\":\"kv\",\"format\":1,\"revision\":7}\n";

    fn wrong(lines: &str) -> Wrong {
        parsed(format!("{HEAD}{lines}").as_bytes()).unwrap_err()
    }

    #[test]
    fn keys_and_values_are_any_bytes() {
        let text = format!(
            "{HEAD}{}\n{}\n{}\n",
            "{\"key\":\"a\\n\",\"value\":\"\"}",
            "{\"key_b64\":\"/w==\",\"value_b64\":\"AP8=\"}",
            "{\"end\":2}"
        );
        let pairs = parsed(text.as_bytes()).unwrap();
        let pair = |key: &[u8], value: &[u8]| Pair { key: key.to_vec(), value: value.to_vec() };
        assert_eq!(pairs, [pair(b"a\n", b""), pair(b"\xff", b"\0\xff")]);
    }

    #[test]
    fn a_part_of_a_file_and_what_is_none_is_refused_with_its_line() {
        let pair = "{\"key\":\"a\",\"value\":\"1\"}\n";
        assert_eq!(wrong(pair).line, 2);
        assert!(wrong(pair).what.contains("ends before its end"));
        assert!(wrong(&format!("{pair}{{\"end\":2}}")).what.contains("counts 2"));
        assert!(wrong(&format!("{pair}{pair}{{\"end\":2}}")).what.contains("line 2 already"));
        assert_eq!(wrong(&format!("{{\"end\":0}}\n{pair}")).line, 3);
        assert_eq!(wrong("{\"key\":\"a\"}\n").what, "one of value and value_b64 is wanted");
        assert!(wrong("{\"kye\":\"a\"}\n").what.contains("kye"));
        assert!(wrong("{\"key_b64\":\"?\",\"value\":\"\"}\n").what.contains("base64"));
        assert_eq!(parsed(b"").unwrap_err().line, 1);
        assert_eq!(parsed(b"a\n\xff").unwrap_err().line, 2);
        let later = HEAD.replace(":1,", ":2,");
        assert!(parsed(later.as_bytes()).unwrap_err().what.contains("format 2"));
    }

    #[test]
    fn pieces_are_bounded_and_lose_nothing() {
        let pair = |size: usize| Pair { key: b"k".to_vec(), value: vec![0; size] };
        let pairs: Vec<Pair> = (0..250).map(|_| pair(10)).collect();
        let sizes = |pairs: &[Pair]| pieces(pairs).iter().map(|p| p.len()).collect::<Vec<_>>();
        assert_eq!(sizes(&pairs), [100, 100, 50]);
        assert_eq!(sizes(&[pair(PIECE_BYTES), pair(1), pair(PIECE_BYTES - 2)]), [1, 1, 1]);
        assert_eq!(sizes(&[pair(1), pair(1)]), [2]);
        assert!(pieces(&[]).is_empty());
    }
}
