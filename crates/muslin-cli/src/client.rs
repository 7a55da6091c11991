//! The node a command talks to, and what its answers mean for the exit code.

use crate::args::Global;
use crate::failure::{Failure, Kind};
use crate::password;
use bytes::Bytes;
use muslin::client::{Client as Caller, ClientError};
use muslin::identity::Identity;
use rustls::ClientConfig;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

pub(crate) use muslin::client::{Answer, Call};

/// Tried in turn when no node is named.
const DEFAULT_ADDRESSES: [&str; 4] =
    ["127.0.0.1:7400", "127.0.0.1:7401", "127.0.0.1:7402", "127.0.0.1:7403"];

/// A node that is just starting listens a moment later: connecting is tried again for so long.
const CONNECT_PATIENCE: Duration = Duration::from_millis(500);

/// Pause between two of these tries: short against a start, long against a spin.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// One node.
pub(crate) struct Client {
    caller: Caller,
    /// Of the user it asks as.
    token: Option<String>,
}

impl Client {
    /// The node named by the flags, or the first local one that listens.
    pub(crate) async fn new(global: &Global) -> Result<Client, Failure> {
        Client::patient(global, Duration::from_secs(global.timeout.max(1))).await
    }

    /// The same, for answers that take so long.
    pub(crate) async fn patient(global: &Global, timeout: Duration) -> Result<Client, Failure> {
        let mut client = Client::of_nobody(global, timeout).await?;
        if let Some(user) = &global.user {
            client.token = client.log_in(user).await?;
        }
        Ok(client)
    }

    /// A token for a user, unless nothing is checked.
    async fn log_in(&self, user: &str) -> Result<Option<String>, Failure> {
        let (name, password) = match user.split_once(':') {
            Some((name, password)) => (name, String::from(password)),
            None => (user, password::of(user).await?),
        };
        let asked = json!({ "user": name, "password": password }).to_string();
        match self.caller.json::<Value>(Call::post("/v1/auth/token", asked)).await {
            Ok(told) => Ok(told["token"].as_str().map(String::from)),
            Err(ClientError::Problem { status: 409, .. }) => Ok(None),
            Err(error) => Err(failure(error)),
        }
    }

    fn signed(&self, call: Call) -> Call {
        match &self.token {
            Some(token) => call.bearer(token),
            None => call,
        }
    }

    async fn of_nobody(global: &Global, timeout: Duration) -> Result<Client, Failure> {
        let tls = global.identity.as_deref().map(tls_of).transpose()?;
        let Some(address) = &global.addr else {
            return Client::of_this_machine(tls, timeout).await;
        };
        let address = address.trim_start_matches("http://").trim_end_matches('/');
        if tls.is_none() {
            check_is_here(address).await?;
        }
        Ok(Client { caller: Caller::new(address, tls).timeout(timeout), token: None })
    }

    /// A node on this machine, by its address.
    pub(crate) fn at(address: &str, timeout: Duration) -> Client {
        Client { caller: Caller::new(address, None).timeout(timeout), token: None }
    }

    async fn of_this_machine(
        tls: Option<Arc<ClientConfig>>,
        timeout: Duration,
    ) -> Result<Client, Failure> {
        for address in DEFAULT_ADDRESSES {
            if TcpStream::connect(address).await.is_ok() {
                let caller = Caller::new(address, tls).timeout(timeout);
                return Ok(Client { caller, token: None });
            }
        }
        let sentence = "no node listens on 127.0.0.1, ports 7400 to 7403";
        Err(Failure::new(Kind::Unreachable, sentence)
            .hint("name one with --addr HOST:PORT or MUSLIN_ADDR, or start some with `muslin dev`"))
    }

    /// The body of a whole answer. Anything but success is a [`Failure`] with what the node said.
    pub(crate) async fn bytes(&self, call: Call) -> Result<Bytes, Failure> {
        Ok(self.answer(call).await?.body)
    }

    /// A whole answer with its headers.
    pub(crate) async fn answer(&self, call: Call) -> Result<Answer, Failure> {
        let call = self.signed(call);
        patiently(|| self.caller.bytes(call.clone())).await.map_err(failure)
    }

    /// A whole answer as JSON.
    pub(crate) async fn json(&self, call: Call) -> Result<Value, Failure> {
        let call = self.signed(call);
        patiently(|| self.caller.json(call.clone())).await.map_err(failure)
    }

    /// An answer of any length.
    pub(crate) async fn pieces(&self, call: Call) -> Result<Pieces, Failure> {
        let call = self.signed(call);
        let pieces = patiently(|| self.caller.pieces(call.clone())).await;
        Ok(Pieces { pieces: pieces.map_err(failure)? })
    }

    /// An answer that goes on, one JSON value per line.
    pub(crate) async fn lines(&self, call: Call) -> Result<Lines, Failure> {
        let call = self.signed(call);
        let lines = patiently(|| self.caller.lines(call.clone())).await;
        Ok(Lines { lines: lines.map_err(failure)? })
    }
}

/// The pieces of an answer of any length.
pub(crate) struct Pieces {
    pieces: muslin::client::Pieces,
}

impl Pieces {
    /// The next one; `None` when that was all.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        self.pieces.next().await.map_err(failure)
    }
}

/// The lines of an answer that goes on.
pub(crate) struct Lines {
    lines: muslin::client::Lines,
}

impl Lines {
    /// The next line; `None` when the node ended the answer.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Failure> {
        let line = self.lines.next().await.map_err(failure)?;
        Ok(line.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// Asks again while nobody could be asked.
async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let deadline = Instant::now() + CONNECT_PATIENCE;
    loop {
        match ask().await {
            Err(ClientError::Connect { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(CONNECT_PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// A node answers plain text on its own machine only, and elsewhere it just hangs up.
async fn check_is_here(address: &str) -> Result<(), Failure> {
    let found = tokio::net::lookup_host(address).await.map_err(|error| {
        let sentence = format!("cannot use `{address}` as an address: {error}");
        Failure::new(Kind::Usage, sentence).hint("write HOST:PORT")
    })?;
    match found.into_iter().all(|found| found.ip().is_loopback()) {
        true => Ok(()),
        false => {
            let sentence = format!(
                "{address} is not a loopback address, and is asked with a certificate only"
            );
            Err(Failure::new(Kind::Denied, sentence)
                .hint("show the certificate of a data directory of the cluster: --identity DIR"))
        }
    }
}

/// TLS that shows the certificate of a data directory and believes only its cluster.
fn tls_of(directory: &Path) -> Result<Arc<ClientConfig>, Failure> {
    let config = Identity::load(directory).and_then(|identity| identity.client_tls());
    config.map_err(|error| Failure::new(Kind::Usage, error.to_string()))
}

/// What a person reads, and the exit code.
fn failure(error: ClientError) -> Failure {
    let sentence = error.to_string();
    match error {
        ClientError::Connect { .. } => Failure::new(Kind::Unreachable, sentence)
            .hint("is the node running? name another with --addr HOST:PORT"),
        ClientError::Timeout { .. } => Failure::new(Kind::TimedOut, sentence)
            .hint("a write may still happen; wait longer with --timeout SECONDS"),
        ClientError::Protocol { .. } => Failure::new(Kind::Unreachable, sentence)
            .hint("a write may or may not have happened: read before you repeat it"),
        ClientError::Unsendable { .. } => Failure::new(Kind::Usage, sentence),
        ClientError::Problem { status, hint, .. } => {
            let failure = Failure::new(Kind::of_status(status), sentence);
            if hint.is_empty() { failure } else { failure.hint(hint) }
        }
    }
}

/// A text as one part of a path or query: everything that could mean something is escaped.
pub(crate) fn escape(text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    let mut escaped = String::with_capacity(text.len());
    for byte in text {
        match *byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(*byte));
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
    fn what_a_node_refuses_becomes_its_sentence_hint_and_exit_code() {
        let problem = |status, hint: &str| {
            failure(ClientError::Problem {
                status,
                code: String::new(),
                detail: "1 of 3 voters answers".to_string(),
                hint: hint.to_string(),
                retry_after: None,
            })
        };
        let refused = problem(503, "start n2");
        assert_eq!(refused.kind, Kind::Unreachable);
        assert_eq!(refused.to_string(), "1 of 3 voters answers\n hint: start n2");
        assert_eq!(
            (problem(404, "").kind, problem(412, "").kind),
            (Kind::NotFound, Kind::Conflict)
        );
        assert_eq!(problem(404, "").hint, None);
    }
}
