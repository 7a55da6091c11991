//! One call: connect, ask, read the answer.

use super::{ClientError, Lines, Pieces};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsConnector;

/// Longest a connection may take to be made, encryption included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest a whole answer may take, unless said otherwise: longer than a node takes to give up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer read as a whole: a page of the largest size, written in base64, fits several
/// times.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Longest path with its query: what an address in a request can hold.
const PATH_BYTES_MAX: usize = 65_534;

/// Calls one node.
#[derive(Clone)]
pub struct Client {
    address: String,
    tls: Option<Arc<rustls::ClientConfig>>,
    /// Whom its certificate must name; the host of the address when not said.
    name: Option<String>,
    timeout: Duration,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A whole answer of success.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Call {
    /// Reads. `path` is the path with its query, escaped.
    pub fn get(path: impl Into<String>) -> Call {
        Call::new(Method::GET, path.into(), Bytes::new())
    }

    /// Writes.
    pub fn put(path: impl Into<String>, body: impl Into<Bytes>) -> Call {
        Call::new(Method::PUT, path.into(), body.into())
    }

    /// Changes a part.
    pub fn patch(path: impl Into<String>, body: impl Into<Bytes>) -> Call {
        Call::new(Method::PATCH, path.into(), body.into())
    }

    /// Deletes.
    pub fn delete(path: impl Into<String>) -> Call {
        Call::new(Method::DELETE, path.into(), Bytes::new())
    }

    /// Has something done.
    pub fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Call {
        Call::new(Method::POST, path.into(), body.into())
    }

    /// Has something done, said in JSON.
    pub fn post_json<T: Serialize>(path: impl Into<String>, body: &T) -> serde_json::Result<Call> {
        Ok(Call::post(path, serde_json::to_vec(body)?))
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Call {
        self.headers.insert(name, value);
        self
    }

    /// As the user whose token this is.
    pub fn bearer(self, token: &str) -> Call {
        match HeaderValue::try_from(format!("Bearer {token}")) {
            Ok(value) => self.header(AUTHORIZATION, value),
            // No token has such bytes; it would be refused all the same.
            Err(_) => self,
        }
    }

    fn new(method: Method, path: String, body: Bytes) -> Call {
        Call { method, path, headers: HeaderMap::new(), body }
    }
}

impl Client {
    /// Calls the node at `address` (`host:port`): with TLS when given, else in plain text, which a
    /// node answers on its own machine only.
    pub fn new(address: impl Into<String>, tls: Option<Arc<rustls::ClientConfig>>) -> Client {
        Client { address: address.into(), tls, name: None, timeout: ANSWER_TIMEOUT }
    }

    /// The same with another time for whole answers.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Client {
        self.timeout = timeout;
        self
    }

    /// The same, demanding a certificate of this name, whatever the address: of one node, say
    /// ([`node_dns_name`](crate::identity::node_dns_name)).
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Client {
        self.name = Some(name.into());
        self
    }

    /// A whole answer. A node that refuses for the moment, and says for how long, is asked again
    /// while there is time: nothing has happened.
    pub async fn bytes(&self, call: Call) -> Result<Answer, ClientError> {
        let until = Instant::now() + self.timeout;
        loop {
            let answer = self.bytes_once(call.clone(), until).await;
            match answer.as_ref().err().and_then(ClientError::ask_again_after) {
                Some(pause) if Instant::now() + pause < until => sleep(pause).await,
                _ => return answer,
            }
        }
    }

    async fn bytes_once(&self, call: Call, until: Instant) -> Result<Answer, ClientError> {
        let whole = async {
            let (head, body) = self.send(call).await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| self.broken(error))?.to_bytes();
            match head.status.is_success() {
                true => Ok(Answer { headers: head.headers, body }),
                false => Err(ClientError::of_answer(head.status, &body)),
            }
        };
        let late = |_| ClientError::Timeout { address: self.address.clone() };
        timeout_at(until, whole).await.map_err(late)?
    }

    /// A whole answer in JSON.
    pub async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let answer = self.bytes(call).await?;
        serde_json::from_slice(&answer.body).map_err(|error| self.broken(error))
    }

    /// An answer that goes on; its first line may be long in coming.
    pub async fn lines(&self, call: Call) -> Result<Lines, ClientError> {
        Ok(Lines::new(self.body(call).await?, &self.address))
    }

    /// The body of an answer of success.
    async fn body(&self, call: Call) -> Result<Incoming, ClientError> {
        let late = |_| ClientError::Timeout { address: self.address.clone() };
        let answer = timeout(self.timeout, self.send(call)).await.map_err(late)??;
        let (head, body) = answer.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let body = timeout(self.timeout, Limited::new(body, ANSWER_BYTES_MAX).collect());
        let body = body.await.map_err(late)?.map_err(|error| self.broken(error))?.to_bytes();
        Err(ClientError::of_answer(head.status, &body))
    }

    /// An answer of any length, a piece at a time.
    pub async fn pieces(&self, call: Call) -> Result<Pieces, ClientError> {
        Ok(Pieces::new(self.body(call).await?, &self.address, self.timeout))
    }

    async fn send(&self, call: Call) -> Result<Response<Incoming>, ClientError> {
        check_path(&call.path)?;
        let connecting = async {
            let stream = TcpStream::connect(&self.address).await?;
            // A request is one small write: waiting to fill a packet only delays it.
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(stream)
        };
        let late = |_| self.unreachable("it took too long");
        let stream = timeout(CONNECT_TIMEOUT, connecting).await.map_err(late)?;
        let stream = stream.map_err(|error| self.unreachable(error))?;
        let Some(tls) = self.tls.clone() else {
            return self.exchange(stream, call).await;
        };
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = self.name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(String::from(host)).map_err(|e| self.unreachable(e))?;
        let handshake = TlsConnector::from(http1_only(tls)).connect(name, stream);
        let stream = timeout(CONNECT_TIMEOUT, handshake).await.map_err(late)?;
        self.exchange(stream.map_err(|error| self.unreachable(error))?, call).await
    }

    async fn exchange<S>(&self, stream: S, call: Call) -> Result<Response<Incoming>, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| self.broken(error))?;
        // Ends with the answer, or when the answer is dropped.
        tokio::spawn(connection);
        let request = Request::builder().method(call.method).uri(call.path);
        let mut request = request.body(Full::new(call.body)).map_err(|error| self.broken(error))?;
        *request.headers_mut() = call.headers;
        let host = HeaderValue::try_from(&self.address).map_err(|error| self.broken(error))?;
        request.headers_mut().insert(HOST, host);
        sender.send_request(request).await.map_err(|error| self.broken(error))
    }

    fn unreachable(&self, reason: impl Display) -> ClientError {
        ClientError::Connect { address: self.address.clone(), reason: reason.to_string() }
    }

    fn broken(&self, reason: impl Display) -> ClientError {
        ClientError::Protocol { address: self.address.clone(), reason: reason.to_string() }
    }
}

/// A path that is no address is not sent. Keys stand in paths, and long ones do not fit.
fn check_path(path: &str) -> Result<(), ClientError> {
    let reason = match path.parse::<hyper::Uri>() {
        Ok(_) => return Ok(()),
        Err(_) if path.len() > PATH_BYTES_MAX => {
            format!("its address has {} bytes, and {PATH_BYTES_MAX} fit", path.len())
        }
        Err(error) => format!("{error}: {path}"),
    };
    Err(ClientError::Unsendable { reason })
}

/// This client speaks HTTP/1.1, so it must not offer more.
fn http1_only(tls: Arc<rustls::ClientConfig>) -> Arc<rustls::ClientConfig> {
    let mut tls = Arc::unwrap_or_clone(tls);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(tls)
}
