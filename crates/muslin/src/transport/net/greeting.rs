//! What the two ends of a connection say first.

use crate::identity::{GossipKey, Keyring};
use muslin_core::base::{ClusterId, Epoch, NodeId};
use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// First bytes of a greeting: name and version of this format.
const MAGIC: [u8; 4] = *b"MSN1";

const NONCE_BYTES: usize = 16;
const TAG_BYTES: usize = 32;

/// All of a `Hello` but its tag.
const HELLO_CLEAR_BYTES: usize = 4 + 1 + 8 + 8 + 8 + 8 + 8 + 2 + NONCE_BYTES;

/// A `Hello`.
pub(super) const HELLO_BYTES: usize = HELLO_CLEAR_BYTES + TAG_BYTES;

const WELCOME_CLEAR_BYTES: usize = 8 + NONCE_BYTES;

/// A `Welcome`.
pub(super) const WELCOME_BYTES: usize = WELCOME_CLEAR_BYTES + TAG_BYTES;

/// Who dials.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hello {
    pub(super) epoch: Epoch,
    pub(super) node: NodeId,
    /// Whom it means.
    pub(super) target: NodeId,
    /// Which start of the dialler's process.
    pub(super) boot: u64,
    /// Which of its dials.
    pub(super) dial: u64,
    /// Where it listens.
    pub(super) port: u16,
}

/// A greeting as it was sent or received, for what is derived from it.
pub(super) struct Greeted {
    key: Prk,
    transcript: Vec<u8>,
}

impl Hello {
    /// The bytes to send.
    pub(super) fn write(&self, cluster: ClusterId, key: &GossipKey) -> (Vec<u8>, Greeted) {
        let mut bytes = Vec::with_capacity(HELLO_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(key.id);
        for number in [self.epoch.0, self.node.0, self.target.0, self.boot, self.dial] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.port.to_be_bytes());
        bytes.extend_from_slice(&nonce());
        let key = extract(cluster, &key.secret);
        bytes.extend_from_slice(hmac::sign(&mac_key(&key, b"hello"), &bytes).as_ref());
        let transcript = bytes.clone();
        (bytes, Greeted { key, transcript })
    }

    /// Reads what [`Hello::write`] wrote, if a key of the ring made its tag.
    pub(super) fn read(
        cluster: ClusterId,
        keyring: &Keyring,
        bytes: &[u8; HELLO_BYTES],
    ) -> Option<(Hello, Greeted)> {
        let (clear, tag) = bytes.split_at(HELLO_CLEAR_BYTES);
        let mut rest = clear;
        if take::<4>(&mut rest) != MAGIC {
            return None;
        }
        let [id] = take(&mut rest);
        let key = extract(cluster, &keyring.key(id)?.secret);
        hmac::verify(&mac_key(&key, b"hello"), clear, tag).ok()?;
        let mut number = || u64::from_be_bytes(take(&mut rest));
        let (epoch, node, target) = (Epoch(number()), NodeId(number()), NodeId(number()));
        let (boot, dial) = (number(), number());
        let port = u16::from_be_bytes(take(&mut rest));
        let hello = Hello { epoch, node, target, boot, dial, port };
        Some((hello, Greeted { key, transcript: bytes.to_vec() }))
    }
}

impl Greeted {
    /// The answer of a node in this start, and the key of what follows.
    pub(super) fn welcome(mut self, boot: u64) -> (Vec<u8>, LessSafeKey) {
        let mut bytes = boot.to_be_bytes().to_vec();
        bytes.extend_from_slice(&nonce());
        self.transcript.extend_from_slice(&bytes);
        let tag = hmac::sign(&mac_key(&self.key, b"welcome"), &self.transcript);
        bytes.extend_from_slice(tag.as_ref());
        (bytes, self.records_key())
    }

    /// Reads the answer: which start of the peer, and the key of what follows.
    pub(super) fn welcomed(mut self, bytes: &[u8; WELCOME_BYTES]) -> Option<(u64, LessSafeKey)> {
        let (mut clear, tag) = bytes.split_at(WELCOME_CLEAR_BYTES);
        self.transcript.extend_from_slice(clear);
        hmac::verify(&mac_key(&self.key, b"welcome"), &self.transcript, tag).ok()?;
        Some((u64::from_be_bytes(take(&mut clear)), self.records_key()))
    }

    fn records_key(&self) -> LessSafeKey {
        let labels = [b"muslin stream 1".as_slice(), &self.transcript];
        let okm = self.key.expand(&labels, &AES_256_GCM).expect("HKDF gives 32 bytes");
        LessSafeKey::new(UnboundKey::from(okm))
    }
}

/// The cluster is part of every key: a greeting of another opens nothing (M4).
fn extract(cluster: ClusterId, secret: &[u8; 32]) -> Prk {
    Salt::new(HKDF_SHA256, &cluster.to_bytes()).extract(secret)
}

fn mac_key(key: &Prk, purpose: &[u8]) -> hmac::Key {
    let labels = [b"muslin greeting 1".as_slice(), purpose];
    let okm = key.expand(&labels, hmac::HMAC_SHA256).expect("HKDF gives 32 bytes");
    hmac::Key::from(okm)
}

fn nonce() -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    SystemRandom::new().fill(&mut nonce).expect("the system gives random bytes");
    nonce
}

/// The next bytes; the lengths above are those of what is written.
fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (head, rest) = bytes.split_first_chunk().expect("a greeting has one length");
    *bytes = rest;
    *head
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(7);

    fn hello() -> Hello {
        let (node, target) = (NodeId(1), NodeId(2));
        Hello { epoch: Epoch(3), node, target, boot: 4, dial: 5, port: 6 }
    }

    fn array<const N: usize>(bytes: Vec<u8>) -> [u8; N] {
        bytes.try_into().unwrap()
    }

    #[test]
    fn both_ends_come_to_one_key_and_a_replayed_greeting_to_another() {
        let keyring = Keyring::generate();
        let (sent, dialler) = hello().write(CLUSTER, keyring.sealing());
        let sent = array(sent);
        let (seen, acceptor) = Hello::read(CLUSTER, &keyring, &sent).unwrap();
        assert_eq!(seen, hello());
        let (answer, theirs) = acceptor.welcome(9);
        let (boot, ours) = dialler.welcomed(&array(answer)).unwrap();
        assert_eq!(boot, 9);
        let (_, replayed) = Hello::read(CLUSTER, &keyring, &sent).unwrap();
        let (_, other) = replayed.welcome(9);
        let seal = |key: &LessSafeKey| {
            let nonce = ring::aead::Nonce::assume_unique_for_key([0; 12]);
            let tag = key.seal_in_place_separate_tag(nonce, ring::aead::Aad::empty(), &mut []);
            tag.unwrap().as_ref().to_vec()
        };
        assert_eq!(seal(&theirs), seal(&ours));
        assert_ne!(seal(&other), seal(&ours));
    }

    #[test]
    fn no_changed_byte_other_cluster_or_other_key_is_taken() {
        let keyring = Keyring::generate();
        let (sent, dialler) = hello().write(CLUSTER, keyring.sealing());
        let sent: [u8; HELLO_BYTES] = array(sent);
        assert!(Hello::read(ClusterId(8), &keyring, &sent).is_none());
        assert!(Hello::read(CLUSTER, &Keyring::generate(), &sent).is_none());
        assert!(Hello::read(CLUSTER, &Keyring::public(), &sent).is_none());
        for at in 0..HELLO_BYTES {
            let mut changed = sent;
            changed[at] ^= 1;
            assert!(Hello::read(CLUSTER, &keyring, &changed).is_none(), "byte {at}");
        }
        let (_, acceptor) = Hello::read(CLUSTER, &keyring, &sent).unwrap();
        let (mut answer, _) = acceptor.welcome(9);
        answer[3] ^= 1;
        assert!(dialler.welcomed(&array(answer)).is_none());
    }
}
