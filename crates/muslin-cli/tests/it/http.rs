//! A node's HTTP interface, with nothing between the test and the bytes.

use crate::process::until;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for one answer.
const WAIT: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// One request on one connection; `None` when there was no whole answer.
pub(crate) fn ask(address: &str, method: &str, path: &str, body: &[u8]) -> Option<Answer> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, WAIT).ok()?;
    stream.set_read_timeout(Some(WAIT)).ok()?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = &bytes[end + 4..];
    let body = match head.contains("transfer-encoding: chunked") {
        true => unchunk(body)?,
        false => body.to_vec(),
    };
    let length = head.split("content-length: ").nth(1).and_then(|l| l.lines().next()?.parse().ok());
    (length.is_none_or(|length: usize| length == body.len())).then_some(Answer { status, body })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        rest = &rest[end + 2..];
        if length == 0 {
            return Some(body);
        }
        body.extend(rest.get(..length)?);
        rest = rest.get(length + 2..)?;
    }
}

/// Writes; whether it was acknowledged.
pub(crate) fn put(address: &str, key: &str, value: &str) -> bool {
    ask(address, "PUT", &format!("/v1/kv/{key}"), value.as_bytes()).is_some_and(|a| a.status == 200)
}

/// Reads linearizably; `None` without an answer, `Some(None)` when the key is not there.
pub(crate) fn get(address: &str, key: &str) -> Option<Option<String>> {
    let answer = ask(address, "GET", &format!("/v1/kv/{key}"), b"")?;
    match answer.status {
        200 => Some(Some(String::from_utf8(answer.body).unwrap())),
        404 => Some(None),
        _ => None,
    }
}

/// Writes, again and again until it is acknowledged.
#[track_caller]
pub(crate) fn write(address: &str, key: &str, value: &str) {
    until("a write is acknowledged", || put(address, key, value).then_some(()));
}

/// Reads linearizably, again and again until there is an answer.
#[track_caller]
pub(crate) fn read(address: &str, key: &str) -> Option<String> {
    until("a read is answered", || get(address, key))
}

/// The status of a node.
pub(crate) fn status(address: &str) -> Option<Value> {
    let answer = ask(address, "GET", "/v1/status", b"")?;
    (answer.status == 200).then(|| answer.json())
}
