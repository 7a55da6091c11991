//! TLS configurations made of an identity.

use super::ca::KeyedCertificate;
use super::node::certificate_of;
use super::{Identity, IdentityError};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::Arc;

/// What peers speak over QUIC.
pub const ALPN_PEER: &[u8] = b"muslin/1";

const ALPN_API: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The cryptography used everywhere: ring.
pub fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl Identity {
    /// For the API on TCP: a client may show a certificate, and if it does it must be the
    /// authority's, whose own certificate is sent along for joiners that know only its hash.
    pub fn server_tls(&self) -> Result<Arc<ServerConfig>, IdentityError> {
        let failed = |error| IdentityError::crypto("set up TLS for the API", error);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots()?, crypto_provider())
                .allow_unauthenticated()
                .build()
                .map_err(|error| IdentityError::crypto("set up TLS for the API", error))?;
        let (chain, key) = self.chain(&self.own)?;
        let mut config = ServerConfig::builder_with_provider(crypto_provider())
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(failed)?;
        config.alpn_protocols = ALPN_API.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// For clients of the API: shows the administrator's certificate, or else the node's own.
    pub fn client_tls(&self) -> Result<Arc<ClientConfig>, IdentityError> {
        let failed = |error| IdentityError::crypto("set up TLS for an API client", error);
        let (chain, key) = self.chain(self.admin.as_ref().unwrap_or(&self.own))?;
        let mut config = ClientConfig::builder_with_provider(crypto_provider())
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(chain, key)
            .map_err(failed)?;
        config.alpn_protocols = ALPN_API.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// For accepting peers: TLS 1.3, a certificate of the authority is demanded, none is resumed.
    pub fn peer_server_tls(&self) -> Result<ServerConfig, IdentityError> {
        let failed = |error| IdentityError::crypto("set up TLS for peers", error);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots()?, crypto_provider())
                .build()
                .map_err(|error| IdentityError::crypto("set up TLS for peers", error))?;
        let (chain, key) = self.chain(&self.own)?;
        let mut config = ServerConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(failed)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(failed)?;
        config.alpn_protocols = vec![ALPN_PEER.to_vec()];
        // Every connection shows its certificate again, so that none outlives its admission.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// For dialling peers. The name demanded is [`node_dns_name`](super::node_dns_name).
    pub fn peer_client_tls(&self) -> Result<ClientConfig, IdentityError> {
        let failed = |error| IdentityError::crypto("set up TLS for peers", error);
        let (chain, key) = self.chain(&self.own)?;
        let mut config = ClientConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(failed)?
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(chain, key)
            .map_err(failed)?;
        config.alpn_protocols = vec![ALPN_PEER.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, IdentityError> {
        let mut roots = RootCertStore::empty();
        roots
            .add(certificate_of(&self.ca_pem)?)
            .map_err(|error| IdentityError::crypto("trust the cluster's CA", error))?;
        Ok(Arc::new(roots))
    }

    fn chain(
        &self,
        leaf: &KeyedCertificate,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), IdentityError> {
        let chain = vec![certificate_of(&leaf.certificate_pem)?, certificate_of(&self.ca_pem)?];
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.expose().as_bytes());
        // What the parser says could quote the key.
        let key = key.map_err(|_| IdentityError::crypto("read a private key", "it is not PEM"))?;
        Ok((chain, key))
    }
}
