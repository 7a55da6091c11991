//! Asking over the network.

use super::joiner::JoinError;
use super::message::{ANSWER_BYTES_MAX, JoinAnswer, JoinRequest};
use super::token::Token;
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
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Connecting and the TLS handshake take at most this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The answer takes at most this long: a commit, with an election in between.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Asks a member to be admitted. The secret is sent only after the member has proved to be of the
/// token's cluster.
pub async fn request(
    address: SocketAddr,
    token: &Token,
    request: &JoinRequest,
) -> Result<JoinAnswer, JoinError> {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect(address, token)).await;
    let stream = connected.map_err(|_| JoinError::TimedOut(address))??;
    let asked = tokio::time::timeout(ANSWER_TIMEOUT, ask(stream, address, request)).await;
    let (status, body) = asked.map_err(|_| JoinError::TimedOut(address))??;
    if status != 200 {
        return Err(refusal(status, &body));
    }
    // The parser's message could quote a key.
    serde_json::from_slice(&body)
        .map_err(|_| JoinError::Answer { address, what: "it is not the JSON of an answer".into() })
}

async fn connect(address: SocketAddr, token: &Token) -> Result<TlsStream<TcpStream>, JoinError> {
    let failed = |source| JoinError::Connect { address, source };
    let provider = crypto_provider();
    let pinned = PinnedCa { ca_hash: token.ca_hash, token: token.clone(), provider };
    let mut config = ClientConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    let name = ServerName::from(address.ip());
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| {
        if is_bad_certificate(&error) { JoinError::WrongCluster(address) } else { failed(error) }
    })
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
    let body = serde_json::to_vec(request).expect("text is always JSON");
    let message = hyper::Request::post("/v1/join")
        .header(HOST, address.to_string())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("a fixed path and an address are a valid request");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let answered = async {
        let response = sender.send_request(message).await.map_err(failed)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| JoinError::Answer { address, what: error.to_string() })?;
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

/// Accepts a node of the token's cluster, by a chain that ends in the CA whose hash the token
/// holds. The address dialled need not be in the certificate: it is the cluster that must be right.
#[derive(Debug)]
struct PinnedCa {
    ca_hash: [u8; 32],
    token: Token,
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
        let is_pinned = |one: &&CertificateDer<'_>| digest(&SHA256, one).as_ref() == self.ca_hash;
        let ca = intermediates.iter().find(is_pinned).ok_or_else(refused)?;
        let node = match Principal::of(end_entity) {
            Ok(Principal::Node { cluster, node }) if cluster == self.token.cluster => node,
            _ => return Err(refused()),
        };
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone());
        let verifier = verifier.build().map_err(|error| Error::General(error.to_string()))?;
        let name = ServerName::try_from(node_dns_name(self.token.cluster, node));
        let name = name.map_err(|_| refused())?;
        verifier.verify_server_cert(end_entity, intermediates, &name, ocsp, now)
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
