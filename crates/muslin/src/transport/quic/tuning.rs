//! How QUIC behaves between nodes of one cluster.

use crate::identity::{Identity, IdentityError};
use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::hmac;
use std::sync::Arc;
use std::time::Duration;

/// A connection over which nothing comes this long is given up.
const IDLE_TIMEOUT_MS: u32 = 3_000;

/// An idle connection says something this often.
const KEEP_ALIVE: Duration = Duration::from_millis(750);

/// First guess of the round trip: lost first packets of a handshake are repeated after three of it.
const INITIAL_RTT: Duration = Duration::from_millis(10);

/// Unread bytes a peer may send: one gigabit for 30 ms, or a handful of the largest appends.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// Bytes under way before anything is acknowledged: fits a socket's default receive buffer.
const INITIAL_CONGESTION_WINDOW_BYTES: u64 = 128 << 10;

/// Datagrams of handshakes that wait for their turn, in bytes, all together.
const WAITING_HANDSHAKE_BYTES_MAX: u64 = 4 << 20;

/// Least time between two stateless resets: each is smaller than what it answers.
const RESET_INTERVAL: Duration = Duration::from_millis(2);

/// What QUIC needs to begin.
pub(super) struct Configs {
    pub(super) endpoint: EndpointConfig,
    pub(super) server: ServerConfig,
    pub(super) client: ClientConfig,
}

impl Configs {
    pub(super) fn of(identity: &Identity, handshakes_max: usize) -> Result<Configs, IdentityError> {
        let failed = |error| IdentityError::crypto("set up QUIC", error);
        let transport = Arc::new(transport());
        let tls = QuicServerConfig::try_from(identity.peer_server_tls()?).map_err(failed)?;
        let mut server = ServerConfig::with_crypto(Arc::new(tls));
        server
            .transport_config(transport.clone())
            // An address is part of who a peer is: a connection does not move.
            .migration(false)
            .max_incoming(handshakes_max)
            .incoming_buffer_size(WAITING_HANDSHAKE_BYTES_MAX / handshakes_max as u64)
            .incoming_buffer_size_total(WAITING_HANDSHAKE_BYTES_MAX);
        let tls = QuicClientConfig::try_from(identity.peer_client_tls()?).map_err(failed)?;
        let mut client = ClientConfig::new(Arc::new(tls));
        client.transport_config(transport);
        Ok(Configs { endpoint: endpoint(identity), server, client })
    }
}

fn transport() -> TransportConfig {
    let mut congestion = CubicConfig::default();
    congestion.initial_window(INITIAL_CONGESTION_WINDOW_BYTES);
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(INITIAL_RTT)
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .send_window(u64::from(STREAM_WINDOW_BYTES))
        .congestion_controller_factory(Arc::new(congestion));
    transport
}

/// Reset key and connection ids are derived from the node's key, so that the process after a
/// restart recognizes, and resets, connections of the process before. (Where the key was renewed in
/// between, they end by the time-out or by the gossip of the later start.) What carries another id
/// is noise and is not answered.
fn endpoint(identity: &Identity) -> EndpointConfig {
    let secret = identity.own.key_pem.expose().as_bytes();
    let extracted = Salt::new(HKDF_SHA256, &identity.cluster.to_bytes()).extract(secret);
    let derive = |label: &[u8]| {
        let okm = [label];
        let okm = extracted.expand(&okm, hmac::HMAC_SHA256).expect("HKDF gives 32 bytes");
        hmac::Key::from(okm)
    };
    let tag = hmac::sign(&derive(b"muslin quic connection ids 1"), b"");
    let ids = u64::from_be_bytes(*tag.as_ref().first_chunk().expect("a tag has 32 bytes"));
    let mut endpoint = EndpointConfig::new(Arc::new(derive(b"muslin quic resets 1")));
    endpoint
        // Gossip is told apart by the bit that greasing would clear.
        .grease_quic_bit(false)
        .min_reset_interval(RESET_INTERVAL)
        .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    endpoint
}
