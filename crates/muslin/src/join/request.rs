//! Asking over the network.

use super::joiner::JoinError;
use super::joiner::Trust;
use super::message::{ANSWER_BYTES_MAX, JoinReply, JoinRequest};
use crate::identity::{Principal, crypto_provider, node_dns_name};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use serde::Deserialize;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Connecting and the TLS handshake take at most this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The answer takes at most this long: a commit, with an election in between.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Asks a member to be admitted. Nothing is said before the member has proved to be of the
/// cluster that is meant.
pub async fn request(
    address: SocketAddr,
    trust: Trust,
    request: &JoinRequest,
) -> Result<JoinReply, JoinError> {
    let (stream, _) = connect_in_time(address, Some(trust)).await?;
    let asked = tokio::time::timeout(ANSWER_TIMEOUT, ask(stream, address, request)).await;
    let (status, body) = asked.map_err(|_| JoinError::TimedOut(address))??;
    if status != 200 {
        return Err(refusal(status, &body));
    }
    // The parser's message could quote a key.
    serde_json::from_slice(&body)
        .map_err(|_| JoinError::Answer { address, what: "it is not the JSON of an answer".into() })
}

/// Whose node answers there. Whether that is the cluster one means, a person has to say: both its
/// people compare a [code](super::join_code).
pub async fn greet(address: SocketAddr) -> Result<Trust, JoinError> {
    let (_, seen) = connect_in_time(address, None).await?;
    seen.ok_or(JoinError::WrongCluster(address))
}

type Connected = (TlsStream<TcpStream>, Option<Trust>);

async fn connect_in_time(
    address: SocketAddr,
    trust: Option<Trust>,
) -> Result<Connected, JoinError> {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect(address, trust)).await;
    connected.map_err(|_| JoinError::TimedOut(address))?
}

async fn connect(address: SocketAddr, trust: Option<Trust>) -> Result<Connected, JoinError> {
    let failed = |source| JoinError::Connect { address, source };
    let seen = Arc::new(Mutex::new(None));
    let pinned = PinnedCa { trust, seen: seen.clone(), provider: crypto_provider() };
    let mut config = ClientConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    let name = ServerName::from(address.ip());
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = connected.map_err(|error| match is_bad_certificate(&error) {
        true => JoinError::WrongCluster(address),
        false => failed(error),
    })?;
    let seen = *seen.lock().expect("no holder of this lock panics");
    Ok((stream, seen))
}

fn is_bad_certificate(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(inner, Some(Error::InvalidCertificate(_)))
}

async fn ask(
    stream: TlsStream<TcpStream>,
    address: SocketAddr,
    request: &JoinRequest,
) -> Result<(u16, Bytes), JoinError> {
    let failed =
        |error: hyper::Error| JoinError::Connect { address, source: io::Error::other(error) };
    let broken_off =
        |error: hyper::Error| JoinError::BrokenOff { address, reason: error.to_string() };
    let body = serde_json::to_vec(request).expect("text is always JSON");
    let message = hyper::Request::post("/v1/join")
        .header(HOST, address.to_string())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("a fixed path and an address are a valid request");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let answered = async {
        let response = sender.send_request(message).await.map_err(broken_off)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => broken_off(*error),
            Err(error) => JoinError::Answer { address, what: error.to_string() },
        })?;
        Ok((status, body.to_bytes()))
    };
    // The connection is driven here: nothing goes on once the answer is there or the caller is
    // gone.
    let (mut answered, mut connection) = (std::pin::pin!(answered), std::pin::pin!(connection));
    tokio::select! {
        answer = &mut answered => answer,
        _ = &mut connection => answered.await,
    }
}

/// What the member's problem says.
fn refusal(status: u16, body: &[u8]) -> JoinError {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Problem {
        code: String,
        detail: String,
        hint: String,
        retryable: bool,
    }
    let mut problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    if problem.detail.is_empty() {
        problem.detail = format!("the node answered with HTTP status {status}");
    }
    if problem.hint.is_empty() {
        problem.hint = "is it a node of Muslin, and of this version?".into();
    }
    let Problem { code, detail, hint, retryable } = problem;
    JoinError::Refused { status, code, detail, hint, retryable }
}

/// Accepts a node of the cluster that is meant, by a chain that ends in its CA; where none is
/// meant, of any cluster, and tells which. The address dialled need not be in the certificate: it
/// is the cluster that must be right.
#[derive(Debug)]
struct PinnedCa {
    trust: Option<Trust>,
    seen: Arc<Mutex<Option<Trust>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refused = || Error::from(CertificateError::ApplicationVerificationFailure);
        let hash_of = |one: &CertificateDer<'_>| {
            *digest(&SHA256, one).as_ref().first_chunk::<32>().expect("SHA-256 has 32 bytes")
        };
        let is_meant = |one: &&CertificateDer<'_>| {
            self.trust.is_none_or(|trust| trust.ca_hash == hash_of(one))
        };
        let ca = intermediates.iter().find(is_meant).ok_or_else(refused)?;
        let Ok(Principal::Node { cluster, node }) = Principal::of(end_entity) else {
            return Err(refused());
        };
        let seen = Trust { cluster, ca_hash: hash_of(ca) };
        if self.trust.is_some_and(|trust| trust != seen) {
            return Err(refused());
        }
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone());
        let verifier = verifier.build().map_err(|error| Error::General(error.to_string()))?;
        let name = ServerName::try_from(node_dns_name(cluster, node)).map_err(|_| refused())?;
        let verified = verifier.verify_server_cert(end_entity, intermediates, &name, ocsp, now)?;
        *self.seen.lock().expect("no holder of this lock panics") = Some(seen);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
