//! What stands in a request's address and headers.

use crate::api::bodies::{self, NoRoom};
use crate::api::problem::Problem;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use muslin_core::node::Consistency;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::timeout;

/// The parameters of a query, decoded; those that nobody took are refused, so that a misspelt one
/// is not silently ignored.
pub(super) struct Params {
    named: BTreeMap<String, Vec<u8>>,
}

impl Params {
    pub(super) fn of<B>(request: &Request<B>) -> Result<Params, Problem> {
        let mut named = BTreeMap::new();
        let query = request.uri().query().unwrap_or_default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode(&value.replace('+', " "))?;
            if named.insert(String::from(name), value).is_some() {
                return Err(Problem::bad_request(format!("parameter {name} is given twice")));
            }
        }
        Ok(Params { named })
    }

    pub(super) fn bytes(&mut self, name: &str) -> Option<Bytes> {
        self.named.remove(name).map(Bytes::from)
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let Some(value) = self.named.remove(name) else { return Ok(None) };
        let text = String::from_utf8(value);
        text.map(Some).map_err(|_| Problem::bad_request(format!("{name} is not text (UTF-8)")))
    }

    pub(super) fn number<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let wrong = |_| Problem::bad_request(format!("{name} is not a number in range: {text}"));
        text.parse().map(Some).map_err(wrong)
    }

    /// A switch: absent or `0` is off; present, `1` or `true` is on.
    pub(super) fn switch(&mut self, name: &str) -> Result<bool, Problem> {
        match self.text(name)?.as_deref() {
            None | Some("0" | "false") => Ok(false),
            Some("" | "1" | "true") => Ok(true),
            Some(other) => Err(Problem::bad_request(format!("{name} is 1 or 0, not {other}"))),
        }
    }

    pub(super) fn consistency(&mut self) -> Result<Consistency, Problem> {
        Ok(self.consistency_said()?.unwrap_or(Consistency::Linearizable))
    }

    /// As it was asked for; `None` when nothing was said.
    pub(super) fn consistency_said(&mut self) -> Result<Option<Consistency>, Problem> {
        match self.text("consistency")?.as_deref() {
            None => Ok(None),
            Some("linearizable") => Ok(Some(Consistency::Linearizable)),
            Some("lease") => Ok(Some(Consistency::Lease)),
            Some("local") => Ok(Some(Consistency::Local)),
            Some(other) => Err(Problem::bad_request(format!(
                "consistency is linearizable, lease or local, not {other}"
            ))),
        }
    }

    /// A time: `2s`, `500ms`, `1m`, `3h` or `7d`.
    pub(super) fn duration(&mut self, name: &str) -> Result<Option<Duration>, Problem> {
        self.text(name)?.map(|text| duration_of(name, &text)).transpose()
    }

    /// Every parameter has been taken; one that is left is unknown.
    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.named.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(Problem::bad_request(format!("there is no parameter {name} here"))
                .hint("see /openapi.json")),
        }
    }
}

/// The one header of this name: of two, one would be ignored.
pub(super) fn header<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<Option<&'a HeaderValue>, Problem> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (one, None) => Ok(one),
        _ => Err(Problem::bad_request(format!("header {name} is given twice; nothing happened"))
            .hint("send it once")),
    }
}

/// A time as it is written.
pub(super) fn duration_of(name: &str, text: &str) -> Result<Duration, Problem> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let parsed = units.iter().find_map(|(unit, millis)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*millis).map(Duration::from_millis)
    });
    let wrong =
        || Problem::bad_request(format!("{name} is a time as 500ms, 2s, 1m, 3h or 7d: {text}"));
    parsed.ok_or_else(wrong)
}

/// Undoes `%xx`.
pub(super) fn percent_decode(text: &str) -> Result<Vec<u8>, Problem> {
    let digit = |byte: Option<&u8>| byte.and_then(|b| char::from(*b).to_digit(16));
    let mut bytes = text.as_bytes().iter();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
            return Err(Problem::bad_request("a % is not followed by two hexadecimal digits"));
        };
        decoded.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits make a byte"));
    }
    Ok(decoded)
}

/// What is read of a body.
#[derive(Clone, Copy)]
pub(super) struct BodyLimit {
    /// At most so many bytes ..
    pub(super) bytes: usize,
    /// .. that come in this time.
    pub(super) time: Duration,
}

/// Reads a whole body.
pub(super) async fn body(request: Request<Body>, limit: BodyLimit) -> Result<Bytes, Problem> {
    let BodyLimit { bytes: limit, time } = limit;
    let claimed = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if claimed.and_then(|length| length.parse::<u64>().ok()).is_some_and(|l| l > limit as u64) {
        return Err(Problem::too_large(limit));
    }
    let collected = Limited::new(request.into_body(), limit).collect();
    match timeout(time, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(limit)),
        Ok(Err(error)) if NoRoom::is_cause_of(error.as_ref()) => {
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", NoRoom.to_string())
                .hint("ask again, or ask another node; with fewer at once none is refused")
                .retry_after(bodies::RETRY_AFTER))
        }
        Ok(Err(error)) => Err(Problem::bad_request(format!("the body cannot be read: {error}"))),
        Err(_) => {
            let detail = format!("the body did not come within {} s", time.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", detail).retryable())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &str) -> Result<Params, Problem> {
        let uri = format!("/v1/kv?{query}");
        Params::of(&Request::builder().uri(uri).body(()).unwrap())
    }

    #[test]
    fn parameters_are_any_bytes() {
        let mut params = of("prefix=a%00%ff+b&limit=5").unwrap();
        assert_eq!(params.bytes("prefix").unwrap().as_ref(), b"a\x00\xff b");
        assert_eq!(params.number("limit").unwrap(), Some(5_u64));
        assert!(params.finish().is_ok());
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        assert_eq!(of("limitt=1").unwrap().finish().unwrap_err().status, 400);
        assert_eq!(of("a=%2").err().unwrap().status, 400);
        assert_eq!(of("a=%-1").err().unwrap().status, 400);
        assert_eq!(of("a=1&a=2").err().unwrap().status, 400);
        assert_eq!(of("limit=-1").unwrap().number::<u64>("limit").unwrap_err().status, 400);
        assert_eq!(of("watch=perhaps").unwrap().switch("watch").unwrap_err().status, 400);
        assert_eq!(of("consistency=soon").unwrap().consistency().unwrap_err().status, 400);
    }
}
