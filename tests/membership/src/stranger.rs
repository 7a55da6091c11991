//! Callers without a certificate, or with a wrong one, over HTTP/2: HTTP routes and gRPC alike.

use crate::ask::on;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use muslin::identity::Identity;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// An answer that has not come by then does not come.
const WAIT: Duration = Duration::from_secs(5);

/// An empty message with its length in front, as gRPC frames it.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// What a caller shows.
#[derive(Clone)]
pub(crate) enum Shows {
    /// Nothing is encrypted.
    Plain,
    /// TLS, by this configuration.
    Tls(Arc<ClientConfig>),
}

impl Shows {
    /// TLS that trusts the CA of a node's directory, and no certificate.
    pub(crate) fn nothing(place: &Path) -> Result<Shows, String> {
        let config = ClientConfig::builder_with_provider(muslin::identity::crypto_provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots(place)?)
            .with_no_client_auth();
        Ok(Shows::Tls(Arc::new(over_http2(config))))
    }

    /// TLS that trusts the CA of one directory and shows the certificate of another.
    pub(crate) fn papers_of(whose: &Path, trusting: &Path) -> Result<Shows, String> {
        let theirs = Identity::load(whose).map_err(|e| e.to_string())?;
        let shown = theirs.admin.as_ref().unwrap_or(&theirs.own);
        let failed = |e: &dyn std::fmt::Display| format!("papers of {whose:?}: {e}");
        let certificate = CertificateDer::from_pem_slice(shown.certificate_pem.as_bytes());
        let certificate = certificate.map_err(|e| failed(&e))?;
        let key =
            rustls::pki_types::PrivateKeyDer::from_pem_slice(shown.key_pem.expose().as_bytes());
        let config = ClientConfig::builder_with_provider(muslin::identity::crypto_provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| failed(&e))?
            .with_root_certificates(roots(trusting)?)
            .with_client_auth_cert(vec![certificate], key.map_err(|_| failed(&"a key"))?)
            .map_err(|e| failed(&e))?;
        Ok(Shows::Tls(Arc::new(over_http2(config))))
    }
}

fn roots(place: &Path) -> Result<RootCertStore, String> {
    let identity = Identity::load(place).map_err(|e| e.to_string())?;
    let ca = CertificateDer::from_pem_slice(identity.ca_pem.as_bytes());
    let mut roots = RootCertStore::empty();
    roots.add(ca.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    Ok(roots)
}

fn over_http2(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// What came of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// HTTP's status, and `code` of the problem.
    Http(u16, String),
    /// gRPC's.
    Grpc(u16),
    /// Not even that: the handshake or the connection failed.
    Refused(String),
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    /// A route.
    Http(Method, String),
    /// `/package.Service/Method`.
    Grpc(String),
}

/// Asks, on one connection from a machine to a node, one after the other.
pub(crate) fn ask(
    from: u8,
    to: &str,
    shows: &Shows,
    questions: &[Question],
) -> Result<Vec<Outcome>, String> {
    on(from, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| format!("no runtime: {e}"))?;
        let stream = TcpStream::connect(to).map_err(|e| format!("cannot connect: {e}"))?;
        stream.set_nonblocking(true).map_err(|e| e.to_string())?;
        Ok(runtime.block_on(ask_all(stream, to, shows, questions)))
    })?
}

async fn ask_all(
    stream: TcpStream,
    to: &str,
    shows: &Shows,
    questions: &[Question],
) -> Vec<Outcome> {
    let refused = |why: String| vec![Outcome::Refused(why); questions.len()];
    let stream = match tokio::net::TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return refused(error.to_string()),
    };
    let sender = match shows {
        Shows::Plain => open(stream).await,
        Shows::Tls(config) => {
            let host = to.rsplit_once(':').map_or(to, |(host, _)| host).to_string();
            let name = ServerName::try_from(host).expect("it is an address");
            let connector = tokio_rustls::TlsConnector::from(config.clone());
            match timeout(WAIT, connector.connect(name, stream)).await {
                Ok(Ok(stream)) => open(stream).await,
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("no handshake in time".to_string()),
            }
        }
    };
    let mut sender = match sender {
        Ok(sender) => sender,
        Err(why) => return refused(why),
    };
    let mut outcomes = Vec::new();
    for question in questions {
        let outcome = timeout(WAIT, ask_one(&mut sender, to, question)).await;
        let outcome = outcome.unwrap_or_else(|_| Err("no answer in time".to_string()));
        outcomes.push(outcome.unwrap_or_else(Outcome::Refused));
    }
    outcomes
}

async fn open<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let opened = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = opened.map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn ask_one(
    sender: &mut SendRequest<Full<Bytes>>,
    to: &str,
    question: &Question,
) -> Result<Outcome, String> {
    let (method, path, body) = match question {
        Question::Http(method, path) => (method.clone(), path, Bytes::from_static(b"{}")),
        Question::Grpc(path) => (Method::POST, path, Bytes::from_static(EMPTY_MESSAGE)),
    };
    let mut request = Request::builder().method(method).uri(format!("http://{to}{path}"));
    if let Question::Grpc(_) = question {
        request = request.header("content-type", "application/grpc").header("te", "trailers");
    }
    let request = request.body(Full::new(body)).map_err(|e| e.to_string())?;
    let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let status = answer.status().as_u16();
    let code = |headers: &hyper::HeaderMap| {
        headers.get("grpc-status").and_then(|value| value.to_str().ok()?.parse::<u16>().ok())
    };
    if let Question::Grpc(path) = question {
        let early = code(answer.headers());
        let late = match early {
            Some(_) => None,
            None => answer.into_body().collect().await.ok().and_then(|b| code(b.trailers()?)),
        };
        let found = early.or(late).ok_or(format!("{path}: no status of gRPC"))?;
        return Ok(Outcome::Grpc(found));
    }
    // An answer that goes on is one that was given.
    if answer.status().is_success() {
        return Ok(Outcome::Http(status, String::new()));
    }
    let body = answer.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    Ok(Outcome::Http(status, body["code"].as_str().unwrap_or_default().to_string()))
}
