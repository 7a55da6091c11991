//! One request on one connection, as little as measuring needs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A whole answer of success; `None` for anything else.
pub(crate) fn ask(address: &str, request: &str, wait: Duration) -> Option<String> {
    let address: SocketAddr = address.parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&address, wait).ok()?;
    stream.set_read_timeout(Some(wait)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}

/// Reads a path.
pub(crate) fn get(address: &str, path: &str, wait: Duration) -> Option<String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    ask(address, &request, wait)
}

/// Writes a key; whether it was answered with success.
pub(crate) fn put(address: &str, key: &str, wait: Duration) -> bool {
    let request = format!(
        "PUT /v1/kv/{key} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\
         connection: close\r\n\r\n1"
    );
    ask(address, &request, wait).is_some()
}
