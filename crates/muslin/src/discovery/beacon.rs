//! What a node calls out to a multicast group, as bytes.
//!
//! ```text
//! 0      4         5     6         22       30     38        46        62     64    96
//! | MSLB | version | key | cluster | sender | boot | counter | address | port | tag |
//! ```
//! All of one size, most significant byte first; an IPv4 address is mapped into IPv6. The tag is
//! HMAC-SHA-256 over all before it, under a key derived from the cluster's gossip key.
//!
//! A member believes a beacon whose tag is right. A joiner has a token and no gossip key: to it a
//! beacon of its token's cluster is a hint, and nothing else. That costs nothing in safety: it
//! sends its request only to a node that shows a certificate of the cluster's CA, whose hash is in
//! the token. A key derived from that hash would keep nobody out who can reach a node, since every
//! node shows its CA's certificate to whoever connects.
//!
//! What stands in a beacon is no secret for the same reason: cluster and node are in the
//! certificate that every node shows, the address is where the node answers.

use crate::identity::{GossipKey, Keyring};
use muslin_core::base::{ClusterId, NodeId};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::hmac::{self, HMAC_SHA256};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Size of every beacon.
pub const BEACON_BYTES: usize = 96;

const MAGIC: &[u8; 4] = b"MSLB";
const VERSION: u8 = 1;
const TAG_BYTES: usize = 32;
const SIGNED_BYTES: usize = BEACON_BYTES - TAG_BYTES;

/// Who calls, and where it is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beacon {
    /// Of which cluster.
    pub cluster: ClusterId,
    /// Who.
    pub node: NodeId,
    /// Which start of its process.
    pub boot: u64,
    /// Of which call of that process.
    pub counter: u64,
    /// Where it is reached.
    pub address: SocketAddr,
}

/// A beacon as it came: not to be believed before [`Received::is_signed`] says so.
pub(super) struct Received {
    pub(super) beacon: Beacon,
    key: u8,
    signed: [u8; SIGNED_BYTES],
    tag: [u8; TAG_BYTES],
}

impl Beacon {
    /// As it is sent.
    pub(super) fn sign(&self, keyring: &Keyring) -> [u8; BEACON_BYTES] {
        let key = keyring.sealing();
        let mut bytes = Vec::with_capacity(BEACON_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[VERSION, key.id]);
        bytes.extend_from_slice(&self.cluster.to_bytes());
        for number in [self.node.0, self.boot, self.counter] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        let ip = match self.address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        bytes.extend_from_slice(&ip.octets());
        bytes.extend_from_slice(&self.address.port().to_be_bytes());
        let tag = hmac::sign(&derive(self.cluster, key), &bytes);
        bytes.extend_from_slice(tag.as_ref());
        bytes.try_into().expect("the parts of a beacon have fixed lengths")
    }

    /// What of a datagram can be read; `None` when it is no beacon of this cluster and version.
    pub(super) fn read(cluster: ClusterId, datagram: &[u8]) -> Option<Received> {
        let datagram: &[u8; BEACON_BYTES] = datagram.try_into().ok()?;
        let (signed, tag) = datagram.split_at(SIGNED_BYTES);
        let mut rest = signed;
        if take::<4>(&mut rest) != *MAGIC {
            return None;
        }
        let [version, key] = take(&mut rest);
        if version != VERSION || take(&mut rest) != cluster.to_bytes() {
            return None;
        }
        let [node, boot, counter] = [take, take, take].map(|take| take(&mut rest));
        let ip = Ipv6Addr::from(take::<16>(&mut rest)).to_canonical();
        let beacon = Beacon {
            cluster,
            node: NodeId(u64::from_be_bytes(node)),
            boot: u64::from_be_bytes(boot),
            counter: u64::from_be_bytes(counter),
            address: SocketAddr::new(ip, u16::from_be_bytes(take(&mut rest))),
        };
        let exact = "a beacon was split where its tag begins";
        let (signed, tag) = (signed.try_into().expect(exact), tag.try_into().expect(exact));
        Some(Received { beacon, key, signed, tag })
    }
}

impl Received {
    /// Whether a holder of one of these keys has signed it. Compares in constant time.
    pub(super) fn is_signed(&self, keyring: &Keyring) -> bool {
        keyring.key(self.key).is_some_and(|key| {
            hmac::verify(&derive(self.beacon.cluster, key), &self.signed, &self.tag).is_ok()
        })
    }
}

/// The next bytes; a beacon has one length.
fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (head, rest) = bytes.split_first_chunk().expect("the length is checked first");
    *bytes = rest;
    *head
}

fn derive(cluster: ClusterId, key: &GossipKey) -> hmac::Key {
    let salt = Salt::new(HKDF_SHA256, &cluster.to_bytes());
    let extracted = salt.extract(&key.secret);
    let okm = extracted.expand(&[b"muslin beacon 1"], HmacKey).expect("HKDF gives 32 bytes");
    let mut secret = [0; 32];
    okm.fill(&mut secret).expect("as long as was asked for");
    hmac::Key::new(HMAC_SHA256, &secret)
}

/// Asks HKDF for a key as long as the hash.
struct HmacKey;

impl KeyType for HmacKey {
    fn len(&self) -> usize {
        32
    }
}
