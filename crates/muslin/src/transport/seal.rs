//! Gossip datagrams, sealed.
//!
//! Gossip has no handshake: a probe of a node met once in ten minutes must not cost one. Every
//! datagram is sealed by itself with AES-256-GCM under a key derived from the cluster's gossip key,
//! the sender's id and its start. So two senders never share a key, and a nonce (four random bytes
//! of the process and a counter) cannot repeat under one.
//!
//! ```text
//! 0      1      2         6       10       18     26     30        38
//! | kind | key  | cluster | epoch | sender | boot | salt | counter | sealed .. tag |
//! ```
//! The whole header and the full cluster id are authenticated. The receiver keeps, per sender, the
//! latest start and a window of counters: a datagram is opened once.
//!
//! The keyring may change at any time: what is sealed from then on has its first key, what comes is
//! opened with any of it.
//!
//! # Invariants
//! - Nothing is remembered, and nothing is answered, because of a datagram that did not open.
//! - A datagram of an earlier start of its sender than the latest seen is dropped.
//!
//! # Limits
//! [`SENDERS_MAX`] senders are remembered; beyond it the one heard least lately is forgotten, and
//! its datagrams of before could be replayed once.
//!
//! # Not here
//! Which node of the cluster sealed a datagram: all hold the gossip key, so any of them could have.

use crate::identity::Keyring;
use bytes::Bytes;
use muslin_core::base::{ClusterId, Epoch, NodeId};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};

/// First bytes that are ours on a socket shared with QUIC, whose packets begin with 0x40 or more.
pub const FIRST_BYTES: RangeInclusive<u8> = 4..=15;

/// What sealing adds to a datagram.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;

/// Largest sealed datagram: with the headers of IPv6 and UDP it fits the 1,280 bytes that every
/// IPv6 link carries.
pub const DATAGRAM_BYTES_MAX: usize = 1_200;

/// Senders remembered: a whole cluster of the size that gossips without slices, with room.
pub const SENDERS_MAX: usize = 8_192;

/// First byte: version 1 of this format.
const KIND_SEALED: u8 = 4;

const HEADER_BYTES: usize = 38;
const TAG_BYTES: usize = 16;

const _: () = assert!(muslin_core::swim::PACKET_BYTES_MAX + OVERHEAD_BYTES <= DATAGRAM_BYTES_MAX);

/// Seals and opens this node's gossip.
pub struct Sealer {
    cluster: ClusterId,
    node: NodeId,
    boot: u64,
    salt: [u8; 4],
    counter: AtomicU64,
    ring: RwLock<Ring>,
    senders: Mutex<Senders>,
}

/// The keys in use.
struct Ring {
    keyring: Keyring,
    sealing: LessSafeKey,
}

/// An opened datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Who says to have sealed it.
    pub sender: NodeId,
    /// Which start of that node's process.
    pub boot: u64,
    /// What was sealed.
    pub bytes: Bytes,
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsealed {
    /// Shorter than header and tag.
    Short,
    /// Longer than [`DATAGRAM_BYTES_MAX`].
    Long,
    /// Its first byte names no kind of this version.
    Kind,
    /// Of another cluster.
    Cluster,
    /// Of an older epoch than its sender may be of.
    Epoch,
    /// Of a removed node.
    Removed,
    /// Its key is not in the ring.
    Key,
    /// The key does not open it.
    Forged,
    /// Opened before, too old to tell, or of an earlier start.
    Replayed,
}

struct Header {
    key: u8,
    epoch: u32,
    sender: NodeId,
    boot: u64,
    salt: [u8; 4],
    counter: u64,
}

impl Sealer {
    /// For one start of a node's process. `start` grows from one start of a node to the next.
    pub fn new(cluster: ClusterId, node: NodeId, boot: u64, keyring: Keyring) -> Sealer {
        let mut salt = [0; 4];
        SystemRandom::new().fill(&mut salt).expect("the system gives random bytes");
        let sealing = derive(cluster, &keyring.sealing().secret, node, boot);
        let (counter, senders) = (AtomicU64::new(1), Mutex::default());
        let ring = RwLock::new(Ring { keyring, sealing });
        Sealer { cluster, node, boot, salt, counter, ring, senders }
    }

    /// Takes other keys into use. Counters go on, so that no nonce repeats when a key comes back.
    pub fn set_keyring(&self, keyring: Keyring) {
        let sealing = derive(self.cluster, &keyring.sealing().secret, self.node, self.boot);
        let mut ring = self.ring.write().expect("no holder of this lock panics");
        let mut senders = self.senders.lock().expect("no holder of this lock panics");
        senders.keep_keys(|id| ring.keyring.key(id) == keyring.key(id));
        *ring = Ring { keyring, sealing };
    }

    /// The keys in use.
    pub fn keyring(&self) -> Keyring {
        self.ring.read().expect("no holder of this lock panics").keyring.clone()
    }

    /// How many senders it remembers.
    #[cfg(all(test, feature = "node"))]
    pub(super) fn senders(&self) -> usize {
        self.senders.lock().expect("no holder of this lock panics").by_node.len()
    }

    /// Seals; `None` when the result would be larger than [`DATAGRAM_BYTES_MAX`].
    pub fn seal(&self, epoch: Epoch, bytes: &[u8]) -> Option<Vec<u8>> {
        if bytes.len() + OVERHEAD_BYTES > DATAGRAM_BYTES_MAX {
            return None;
        }
        let ring = self.ring.read().expect("no holder of this lock panics");
        let header = Header {
            key: ring.keyring.sealing().id,
            epoch: wire_epoch(epoch),
            sender: self.node,
            boot: self.boot,
            salt: self.salt,
            counter: self.counter.fetch_add(1, Ordering::Relaxed),
        };
        let mut datagram = Vec::with_capacity(bytes.len() + OVERHEAD_BYTES);
        header.write(self.cluster, &mut datagram);
        let aad = associated(&datagram, self.cluster);
        datagram.extend_from_slice(bytes);
        let sealed = datagram.get_mut(HEADER_BYTES..).expect("the header was written");
        let tag = ring.sealing.seal_in_place_separate_tag(header.nonce(), aad, sealed);
        datagram.extend_from_slice(tag.expect("a datagram is far below AES-GCM's limit").as_ref());
        Some(datagram)
    }

    /// Opens a datagram of this epoch or a later one, once.
    pub fn open(&self, epoch: Epoch, datagram: &[u8]) -> Result<Opened, Unsealed> {
        self.open_if(datagram, |_, wire| match wire < wire_epoch(epoch) {
            true => Err(Unsealed::Epoch),
            false => Ok(()),
        })
    }

    /// Opens a datagram, once, if its sender and the lower half of its epoch are let in.
    pub fn open_if(
        &self,
        datagram: &[u8],
        admits: impl FnOnce(NodeId, u32) -> Result<(), Unsealed>,
    ) -> Result<Opened, Unsealed> {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return Err(Unsealed::Long);
        }
        if datagram.len() < OVERHEAD_BYTES {
            return Err(Unsealed::Short);
        }
        let (clear, sealed) = datagram.split_at(HEADER_BYTES);
        let header = Header::read(self.cluster, clear)?;
        admits(header.sender, header.epoch)?;
        let ring = self.ring.read().expect("no holder of this lock panics");
        let secret = &ring.keyring.key(header.key).ok_or(Unsealed::Key)?.secret;
        let mut senders = self.senders.lock().expect("no holder of this lock panics");
        if !senders.is_fresh(&header) {
            return Err(Unsealed::Replayed);
        }
        let mut bytes = sealed.to_vec();
        let aad = associated(clear, self.cluster);
        let opened = match senders.key(&header) {
            Some(key) => key.open_in_place(header.nonce(), aad, &mut bytes).map(|open| open.len()),
            None => {
                let key = derive(self.cluster, secret, header.sender, header.boot);
                let length =
                    key.open_in_place(header.nonce(), aad, &mut bytes).map(|open| open.len());
                if length.is_ok() {
                    senders.remember(&header, key);
                }
                length
            }
        };
        let length = opened.map_err(|_| Unsealed::Forged)?;
        senders.mark(&header);
        bytes.truncate(length);
        Ok(Opened { sender: header.sender, boot: header.boot, bytes: bytes.into() })
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer({} boot {}, ..)", self.node, self.boot)
    }
}

impl Header {
    fn write(&self, cluster: ClusterId, out: &mut Vec<u8>) {
        out.extend_from_slice(&[KIND_SEALED, self.key]);
        out.extend_from_slice(&cluster_tag(cluster));
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.sender.0.to_be_bytes());
        out.extend_from_slice(&self.boot.to_be_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.counter.to_be_bytes());
        debug_assert_eq!(out.len(), HEADER_BYTES);
    }

    fn read(cluster: ClusterId, mut clear: &[u8]) -> Result<Header, Unsealed> {
        let [kind, key] = take(&mut clear);
        if kind != KIND_SEALED {
            return Err(Unsealed::Kind);
        }
        if take(&mut clear) != cluster_tag(cluster) {
            return Err(Unsealed::Cluster);
        }
        Ok(Header {
            key,
            epoch: u32::from_be_bytes(take(&mut clear)),
            sender: NodeId(u64::from_be_bytes(take(&mut clear))),
            boot: u64::from_be_bytes(take(&mut clear)),
            salt: take(&mut clear),
            counter: u64::from_be_bytes(take(&mut clear)),
        })
    }

    fn nonce(&self) -> Nonce {
        let mut nonce = [0; 12];
        let (salt, counter) = nonce.split_at_mut(4);
        salt.copy_from_slice(&self.salt);
        counter.copy_from_slice(&self.counter.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

/// The next bytes of a header; the caller has checked the length of the whole.
fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (head, rest) = bytes.split_first_chunk().expect("the length of a header is checked first");
    *bytes = rest;
    *head
}

/// Tells clusters apart before any cryptography; the full id is authenticated.
fn cluster_tag(cluster: ClusterId) -> [u8; 4] {
    take(&mut cluster.to_bytes().as_slice())
}

/// An epoch rises at most a few times a day: its lower half is enough to compare.
pub(super) fn wire_epoch(epoch: Epoch) -> u32 {
    epoch.0 as u32
}

fn associated(header: &[u8], cluster: ClusterId) -> Aad<[u8; HEADER_BYTES + 16]> {
    let mut all = [0; HEADER_BYTES + 16];
    let (head, tail) = all.split_at_mut(HEADER_BYTES);
    head.copy_from_slice(header);
    tail.copy_from_slice(&cluster.to_bytes());
    Aad::from(all)
}

fn derive(cluster: ClusterId, secret: &[u8; 32], sender: NodeId, boot: u64) -> LessSafeKey {
    let salt = Salt::new(HKDF_SHA256, &cluster.to_bytes());
    let (sender, boot) = (sender.0.to_be_bytes(), boot.to_be_bytes());
    let labels = [b"muslin gossip 1".as_slice(), &sender, &boot];
    let extracted = salt.extract(secret);
    let okm = extracted.expand(&labels, &AES_256_GCM).expect("HKDF gives 32 bytes");
    LessSafeKey::new(UnboundKey::from(okm))
}

/// What is remembered of senders.
#[derive(Default)]
struct Senders {
    by_node: BTreeMap<NodeId, Sender>,
    /// By when they were last heard, for the oldest to be forgotten.
    by_age: BTreeMap<u64, NodeId>,
    heard: u64,
}

struct Sender {
    boot: u64,
    /// Highest counter opened, and which of the [`WINDOW`] at and below it were.
    highest: u64,
    seen: u128,
    /// Keys of this start by number in the ring; at most as many as the ring has.
    keys: Vec<(u8, LessSafeKey)>,
    heard: u64,
}

/// Counters below the highest that are told apart: reordering in a network is far smaller.
const WINDOW: u64 = 128;

impl Senders {
    /// Whether this start and counter were not opened before, as far as is remembered.
    fn is_fresh(&self, header: &Header) -> bool {
        let Some(sender) = self.by_node.get(&header.sender) else {
            return true;
        };
        if header.boot != sender.boot {
            return header.boot > sender.boot;
        }
        match sender.highest.checked_sub(header.counter) {
            None => true,
            Some(behind) => behind < WINDOW && sender.seen >> behind & 1 == 0,
        }
    }

    fn key(&self, header: &Header) -> Option<&LessSafeKey> {
        let sender = self.by_node.get(&header.sender)?;
        let keys = if sender.boot == header.boot { sender.keys.as_slice() } else { &[] };
        keys.iter().find(|(id, _)| *id == header.key).map(|(_, key)| key)
    }

    /// Forgets what was derived from keys that are gone or changed.
    fn keep_keys(&mut self, is_kept: impl Fn(u8) -> bool) {
        for sender in self.by_node.values_mut() {
            sender.keys.retain(|(id, _)| is_kept(*id));
        }
    }

    fn remember(&mut self, header: &Header, key: LessSafeKey) {
        if let Some(known) = self.by_node.get_mut(&header.sender) {
            if known.boot == header.boot {
                known.keys.push((header.key, key));
            } else {
                (known.boot, known.highest, known.seen) = (header.boot, 0, 0);
                known.keys = vec![(header.key, key)];
            }
            return;
        }
        if self.by_node.len() == SENDERS_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_node.remove(&oldest);
        }
        let keys = vec![(header.key, key)];
        let sender = Sender { boot: header.boot, highest: 0, seen: 0, keys, heard: 0 };
        self.by_node.insert(header.sender, sender);
    }

    /// Notes that this counter was opened. The sender is known by then.
    fn mark(&mut self, header: &Header) {
        let sender = self.by_node.get_mut(&header.sender).expect("remembered when its key was");
        if header.counter > sender.highest {
            let ahead = header.counter - sender.highest;
            sender.seen = if ahead < WINDOW { sender.seen << ahead } else { 0 };
            sender.highest = header.counter;
        }
        sender.seen |= 1 << (sender.highest - header.counter);
        self.by_age.remove(&sender.heard);
        self.heard += 1;
        sender.heard = self.heard;
        self.by_age.insert(self.heard, header.sender);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(0x1234_5678 << 96);
    const EPOCH: Epoch = Epoch(3);

    fn pair() -> (Sealer, Sealer) {
        let ring = Keyring::generate();
        let sealer = |node| Sealer::new(CLUSTER, NodeId(node), 10, ring.clone());
        (sealer(1), sealer(2))
    }

    #[test]
    fn what_is_sealed_is_opened_once() {
        let (one, two) = pair();
        let sealed = one.seal(EPOCH, b"ping").unwrap();
        assert_eq!(sealed.len(), 4 + OVERHEAD_BYTES);
        let opened = two.open(EPOCH, &sealed).unwrap();
        assert_eq!((opened.sender, opened.boot, &opened.bytes[..]), (NodeId(1), 10, &b"ping"[..]));
        assert_eq!(two.open(EPOCH, &sealed), Err(Unsealed::Replayed));
    }

    #[test]
    fn reordered_datagrams_open_within_the_window_and_only_once() {
        let (one, two) = pair();
        let all: Vec<_> = (0..300).map(|_| one.seal(EPOCH, b"x").unwrap()).collect();
        for at in (100..200).rev().chain(200..300) {
            assert!(two.open(EPOCH, &all[at]).is_ok(), "{at}");
        }
        for at in (0..300).filter(|at| *at < 172 || *at >= 200) {
            assert_eq!(two.open(EPOCH, &all[at]), Err(Unsealed::Replayed), "{at}");
        }
    }

    #[test]
    fn an_earlier_start_is_refused_once_a_later_one_was_heard() {
        let ring = Keyring::generate();
        let [old, new] = [10, 11].map(|boot| Sealer::new(CLUSTER, NodeId(1), boot, ring.clone()));
        let two = Sealer::new(CLUSTER, NodeId(2), 1, ring);
        assert!(two.open(EPOCH, &old.seal(EPOCH, b"a").unwrap()).is_ok());
        assert!(two.open(EPOCH, &new.seal(EPOCH, b"b").unwrap()).is_ok());
        assert_eq!(two.open(EPOCH, &old.seal(EPOCH, b"c").unwrap()), Err(Unsealed::Replayed));
        assert!(two.open(EPOCH, &new.seal(EPOCH, b"d").unwrap()).is_ok());
    }

    #[test]
    fn what_does_not_belong_is_told_apart() {
        let (one, two) = pair();
        let sealed = one.seal(EPOCH, b"ping").unwrap();
        let check =
            |datagram: &[u8], expected| assert_eq!(two.open(EPOCH, datagram), Err(expected));
        check(&sealed[..OVERHEAD_BYTES - 1], Unsealed::Short);
        check(&[4; 1201], Unsealed::Long);
        check(&[5; 100], Unsealed::Kind);
        let ring = Keyring::generate();
        let other = Sealer::new(ClusterId(9 << 96), NodeId(1), 10, ring.clone());
        check(&other.seal(EPOCH, b"ping").unwrap(), Unsealed::Cluster);
        // The same first bytes of the id do not help: the whole id is authenticated.
        let near = Sealer::new(ClusterId(CLUSTER.0 + 1), NodeId(1), 10, one.keyring());
        check(&near.seal(EPOCH, b"ping").unwrap(), Unsealed::Forged);
        let stranger = Sealer::new(CLUSTER, NodeId(1), 10, ring);
        check(&stranger.seal(EPOCH, b"ping").unwrap(), Unsealed::Forged);
        check(&one.seal(Epoch(2), b"ping").unwrap(), Unsealed::Epoch);
        assert!(two.open(EPOCH, &one.seal(Epoch(4), b"ping").unwrap()).is_ok());
        let mut unknown = sealed.clone();
        unknown[1] = 77;
        check(&unknown, Unsealed::Key);
        assert!(two.open(EPOCH, &sealed).is_ok(), "nothing of that spoils the true one");
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_nothing_of_it_is_remembered() {
        let (one, two) = pair();
        let sealed = one.seal(EPOCH, b"ping").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(two.open(EPOCH, &flipped).is_err(), "bit {bit}");
        }
        assert!(two.senders.lock().unwrap().by_node.is_empty());
        assert!(two.open(EPOCH, &sealed).is_ok());
    }

    #[test]
    fn an_oversized_packet_is_not_sealed() {
        let (one, _) = pair();
        assert!(one.seal(EPOCH, &[0; muslin_core::swim::PACKET_BYTES_MAX]).is_some());
        assert!(one.seal(EPOCH, &[0; DATAGRAM_BYTES_MAX - OVERHEAD_BYTES + 1]).is_none());
    }

    #[test]
    fn all_keys_of_the_ring_open_and_the_first_seals() {
        let ring = |ids: &[u8]| {
            let key = |id: &u8| crate::identity::GossipKey { id: *id, secret: [*id; 32] };
            Keyring::of(ids.iter().map(key).collect()).unwrap()
        };
        let two = Sealer::new(CLUSTER, NodeId(2), 1, ring(&[2, 1]));
        for (node, ids) in [(3, [1, 2]), (4, [2, 1])] {
            let sender = Sealer::new(CLUSTER, NodeId(node), 1, ring(&ids));
            let sealed = sender.seal(EPOCH, b"x").unwrap();
            assert_eq!(sealed[1], ids[0]);
            assert!(two.open(EPOCH, &sealed).is_ok());
        }
    }

    #[test]
    fn keys_are_changed_without_a_gap() {
        let key = |id: u8| crate::identity::GossipKey { id, secret: [id; 32] };
        let ring = |ids: &[u8]| Keyring::of(ids.iter().map(|id| key(*id)).collect()).unwrap();
        let sealer = |node| Sealer::new(CLUSTER, NodeId(node), 1, ring(&[1]));
        let all = [sealer(1), sealer(2), sealer(3)];
        let everyone_hears = |when: &str| {
            for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 2)] {
                let sealed = all[from].seal(EPOCH, b"x").unwrap();
                assert!(all[to].open(EPOCH, &sealed).is_ok(), "{from} to {to}, {when}");
            }
        };
        let held_back = all[0].seal(EPOCH, b"x").unwrap();
        // Each step reaches one node after the other: all are heard in between as well.
        for step in [&[1, 2][..], &[2, 1], &[2]] {
            for one in &all {
                one.set_keyring(ring(step));
                everyone_hears(&format!("on the way to {step:?}"));
            }
        }
        assert_eq!(all[1].open(EPOCH, &held_back), Err(Unsealed::Key), "the old key is gone");
        // The number comes back for another key: nothing of the first one is left.
        let other =
            Keyring::of(vec![key(2), crate::identity::GossipKey { id: 1, secret: [9; 32] }]);
        all[1].set_keyring(other.unwrap());
        assert_eq!(all[1].open(EPOCH, &held_back), Err(Unsealed::Forged));
    }

    #[test]
    fn the_sender_heard_least_lately_is_forgotten_first() {
        let ring = Keyring::generate();
        let two = Sealer::new(CLUSTER, NodeId(0), 1, ring.clone());
        let sealer = |node| Sealer::new(CLUSTER, NodeId(node), 1, ring.clone());
        let first = sealer(1);
        for node in 1..=SENDERS_MAX as u64 {
            two.open(EPOCH, &sealer(node).seal(EPOCH, b"x").unwrap()).unwrap();
        }
        first.seal(EPOCH, b"skipped: its counter was used above").unwrap();
        two.open(EPOCH, &first.seal(EPOCH, b"x").unwrap()).unwrap();
        two.open(EPOCH, &sealer(1 << 20).seal(EPOCH, b"x").unwrap()).unwrap();
        let senders = two.senders.lock().unwrap();
        assert_eq!(senders.by_node.len(), SENDERS_MAX);
        assert_eq!(senders.by_age.len(), SENDERS_MAX);
        assert!(senders.by_node.contains_key(&NodeId(1)));
        assert!(!senders.by_node.contains_key(&NodeId(2)));
    }
}
