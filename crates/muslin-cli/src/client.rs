//! HTTP/1.1 with one node: plain on this machine, with TLS and a certificate of the cluster to
//! others. Every call is one connection: commands make one or two.

use crate::args::Global;
use crate::failure::{Failure, Kind};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use muslin::identity::Identity;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Tried in turn when no node is named.
const DEFAULT_ADDRESSES: [&str; 4] =
    ["127.0.0.1:7400", "127.0.0.1:7401", "127.0.0.1:7402", "127.0.0.1:7403"];

/// A node that is just starting listens a moment later: a refused connection is tried again so
/// long.
const REFUSED_PATIENCE: Duration = Duration::from_millis(500);

/// Pause between two of these tries: short against a start, long against a spin.
const REFUSED_PAUSE: Duration = Duration::from_millis(25);

/// Largest answer that is read as a whole: a page of a listing stays far below.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// One node, by its address.
pub(crate) struct Client {
    address: String,
    timeout: Duration,
    tls: Option<Arc<ClientConfig>>,
}

/// A connection, sealed or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Client {
    /// The node named by the flags, or the first local one that listens.
    pub(crate) async fn new(global: &Global) -> Result<Client, Failure> {
        let timeout = Duration::from_secs(global.timeout.max(1));
        if let Some(address) = &global.addr {
            let address = address.trim_start_matches("http://").trim_end_matches('/').to_string();
            let tls = global.identity.as_deref().map(tls_of).transpose()?;
            return Ok(Client { address, timeout, tls });
        }
        for address in DEFAULT_ADDRESSES {
            if TcpStream::connect(address).await.is_ok() {
                return Ok(Client::at(address, timeout));
            }
        }
        let sentence = "no node listens on 127.0.0.1, ports 7400 to 7403";
        Err(Failure::new(Kind::Unreachable, sentence)
            .hint("name one with --addr HOST:PORT or MUSLIN_ADDR, or start some with `muslin dev`"))
    }

    /// A node at an address.
    pub(crate) fn at(address: &str, timeout: Duration) -> Client {
        Client { address: address.to_string(), timeout, tls: None }
    }

    /// The body of a whole answer. Anything but success is a [`Failure`] with what the node said.
    pub(crate) async fn call(&self, request: Call<'_>) -> Result<Bytes, Failure> {
        let answer = async {
            let (status, body) = self.send(&request).await?;
            let limited = http_body_util::Limited::new(body, ANSWER_BYTES_MAX);
            let body = limited.collect().await.map_err(|e| self.lost(e.as_ref()))?.to_bytes();
            match status.is_success() {
                true => Ok(body),
                false => Err(problem(status, &body)),
            }
        };
        tokio::time::timeout(self.timeout, answer).await.unwrap_or_else(|_| Err(self.too_late()))
    }

    /// A whole answer as JSON.
    pub(crate) async fn json(&self, request: Call<'_>) -> Result<Value, Failure> {
        let body = self.call(request).await?;
        serde_json::from_slice(&body).map_err(|error| {
            let sentence =
                format!("{} did not answer as a Muslin node does: {error}", self.address);
            Failure::new(Kind::Failed, sentence)
        })
    }

    /// An answer that goes on, one JSON value per line.
    pub(crate) async fn lines(&self, path: &str) -> Result<Lines, Failure> {
        let call = Call::get(path);
        let sent = tokio::time::timeout(self.timeout, self.send(&call)).await;
        let (status, body) = sent.unwrap_or_else(|_| Err(self.too_late()))?;
        if status.is_success() {
            return Ok(Lines { body, waiting: Vec::new(), address: self.address.clone() });
        }
        let body = body.collect().await.map_err(|e| self.lost(&e))?.to_bytes();
        Err(problem(status, &body))
    }

    async fn send(&self, call: &Call<'_>) -> Result<(StatusCode, Incoming), Failure> {
        let stream = self.open().await?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|e| self.lost(&e))?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(call.method.clone()).uri(call.path);
        request = request.header(HOST, &self.address);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if call.method == Method::PUT {
            request = request.header(CONTENT_TYPE, "application/octet-stream");
        }
        let request = request.body(Full::new(call.body.clone())).map_err(|error| {
            Failure::new(Kind::Usage, format!("cannot ask for {}: {error}", call.path))
        })?;
        let (head, body) =
            sender.send_request(request).await.map_err(|e| self.lost(&e))?.into_parts();
        Ok((head.status, body))
    }

    async fn open(&self) -> Result<Box<dyn Stream>, Failure> {
        let stream = self.connect().await?;
        // A request is one small write: waiting to fill a packet only delays it.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return match stream.peer_addr()? {
                peer if peer.ip().is_loopback() => Ok(Box::new(stream)),
                peer => Err(self.needs_identity(peer)),
            };
        };
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_string();
        let name = ServerName::try_from(host).map_err(|error| {
            Failure::new(Kind::Usage, format!("`{}` is no address: {error}", self.address))
        })?;
        let connected = tokio_rustls::TlsConnector::from(tls.clone()).connect(name, stream).await;
        let sealed = connected.map_err(|error| {
            let sentence = format!("{} is not the node it should be: {error}", self.address);
            Failure::new(Kind::Denied, sentence)
                .hint("is --identity the data directory of a node of that cluster?")
        })?;
        Ok(Box::new(sealed))
    }

    fn needs_identity(&self, peer: SocketAddr) -> Failure {
        let sentence = format!("{peer} is another machine and wants to know who asks");
        Failure::new(Kind::Denied, sentence)
            .hint("show the certificate of a data directory of the cluster with --identity DIR")
    }

    async fn connect(&self) -> Result<TcpStream, Failure> {
        let deadline = Instant::now() + REFUSED_PATIENCE;
        loop {
            let error = match TcpStream::connect(&self.address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            let is_refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
            if !is_refused || Instant::now() >= deadline {
                let sentence = format!("cannot connect to {}: {error}", self.address);
                return Err(Failure::new(Kind::Unreachable, sentence)
                    .hint("is the node running? name another with --addr HOST:PORT"));
            }
            tokio::time::sleep(REFUSED_PAUSE).await;
        }
    }

    fn lost(&self, error: &(dyn std::error::Error + 'static)) -> Failure {
        let mut sentence = format!("lost the connection to {}: {error}", self.address);
        if let Some(source) = error.source() {
            sentence += &format!(": {source}");
        }
        Failure::new(Kind::Unreachable, sentence)
            .hint("a write may or may not have happened: read before you repeat it")
    }

    fn too_late(&self) -> Failure {
        let seconds = self.timeout.as_secs();
        let sentence = format!("{} did not answer within {seconds} s", self.address);
        Failure::new(Kind::TimedOut, sentence).hint("wait longer with --timeout SECONDS")
    }
}

/// TLS that shows the certificate of a data directory and believes only its cluster.
fn tls_of(directory: &Path) -> Result<Arc<ClientConfig>, Failure> {
    let loaded = Identity::load(directory).and_then(|identity| identity.client_tls());
    let config = loaded.map_err(|error| Failure::new(Kind::Usage, error.to_string()))?;
    let mut config = Arc::unwrap_or_clone(config);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What is asked of a node.
pub(crate) struct Call<'a> {
    method: Method,
    path: &'a str,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl<'a> Call<'a> {
    /// Reads.
    pub(crate) fn get(path: &'a str) -> Call<'a> {
        Call { method: Method::GET, path, headers: Vec::new(), body: Bytes::new() }
    }

    /// Writes a body.
    pub(crate) fn put(path: &'a str, body: impl Into<Bytes>) -> Call<'a> {
        Call { method: Method::PUT, path, headers: Vec::new(), body: body.into() }
    }

    /// Deletes.
    pub(crate) fn delete(path: &'a str) -> Call<'a> {
        Call { method: Method::DELETE, path, headers: Vec::new(), body: Bytes::new() }
    }

    /// The same with a header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Call<'a> {
        self.headers.push((name, value.into()));
        self
    }
}

/// The lines of an answer that goes on.
pub(crate) struct Lines {
    body: Incoming,
    waiting: Vec<u8>,
    address: String,
}

/// Longest line accepted: a value of the largest size, in base64, with its fields.
const LINE_BYTES_MAX: usize = 16 << 20;

impl Lines {
    /// The next line; `None` when the node ended the answer.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if let Some(end) = self.waiting.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.waiting.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            if self.waiting.len() > LINE_BYTES_MAX {
                let sentence = format!("{} sent a line without an end", self.address);
                return Err(Failure::new(Kind::Failed, sentence));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.waiting.extend(frame.data_ref().into_iter().flatten()),
                Some(Err(error)) => {
                    let sentence = format!("lost the connection to {}: {error}", self.address);
                    return Err(Failure::new(Kind::Unreachable, sentence));
                }
                None => return Ok(None),
            }
        }
    }
}

/// A problem document (RFC 9457) as a failure; the HTTP status decides its kind.
fn problem(status: StatusCode, body: &[u8]) -> Failure {
    let kind = match status.as_u16() {
        400 | 405 | 415 => Kind::Usage,
        401 | 403 => Kind::Denied,
        404 => Kind::NotFound,
        409 | 412 => Kind::Conflict,
        408 | 504 => Kind::TimedOut,
        429 | 502 | 503 => Kind::Unreachable,
        _ => Kind::Failed,
    };
    let Ok(document) = serde_json::from_slice::<Value>(body) else {
        return Failure::new(kind, format!("the node answered {status}"));
    };
    let field = |name: &str| document[name].as_str().filter(|text| !text.is_empty());
    let sentence = field("detail").or(field("title")).unwrap_or("the node gave no reason");
    let failure = Failure::new(kind, sentence);
    match field("hint") {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A text as one part of a path or query: everything that could mean something is escaped.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(byte as char);
            }
            other => escaped += &format!("%{other:02X}"),
        }
    }
    escaped
}

/// A key as the rest of a path: slashes stay.
pub(crate) fn escape_key(key: &str) -> String {
    key.split('/').map(escape).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_slashes_and_nothing_else_special() {
        assert_eq!(escape_key("app/a b?c#d%"), "app/a%20b%3Fc%23d%25");
        assert_eq!(escape("app/é"), "app%2F%C3%A9");
    }

    #[test]
    fn a_problem_document_becomes_its_sentence_hint_and_exit_code() {
        let body = br#"{"title":"No quorum","detail":"1 of 3 voters answers","hint":"start n2"}"#;
        let failure = problem(StatusCode::SERVICE_UNAVAILABLE, body);
        assert_eq!(failure.kind, Kind::Unreachable);
        assert_eq!(failure.to_string(), "1 of 3 voters answers\n hint: start n2");
        assert_eq!(problem(StatusCode::NOT_FOUND, b"{}").kind, Kind::NotFound);
        assert_eq!(problem(StatusCode::PRECONDITION_FAILED, b"x").kind, Kind::Conflict);
    }
}
