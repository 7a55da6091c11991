//! Changes as etcd's clients read them: `mvccpb.Event`, each as a field of an answer to a watch.

use crate::state::{Blob, KeyValue, KvEvent, KvEventKind};
use alloc::vec::Vec;
use bytes::Bytes;
use prost::Message as _;
use prost::encoding::{encode_varint, encoded_len_varint};

/// Field 11 of `WatchResponse`, with a length: an event.
const EVENT: u8 = 0x5a;

/// Fields of `mvccpb.Event`: the type, the pair, the pair before.
const TYPE: u8 = 0x08;
const PAIR: u8 = 0x12;
const PREV: u8 = 0x1a;

/// The type of a deletion; that of a put is left out, being 0.
const DELETE: u8 = 1;

/// Fields of `mvccpb.KeyValue`.
const KEY: u8 = 0x0a;
const CREATED: u8 = 0x10;
const MODIFIED: u8 = 0x18;
const VERSION: u8 = 0x20;
const VALUE: u8 = 0x2a;
const LEASE: u8 = 0x30;

/// What goes before an event of so many bytes.
pub(super) fn frame(bytes: usize, to: &mut Vec<u8>) {
    to.push(EVENT);
    encode_varint(bytes as u64, to);
}

/// The size of that.
pub(super) fn frame_len(bytes: usize) -> usize {
    1 + encoded_len_varint(bytes as u64)
}

/// The event without the pair before; where in `to` its key begins.
pub(super) fn event(event: &KvEvent, to: &mut Vec<u8>) -> usize {
    if event.kind != KvEventKind::Put {
        to.extend([TYPE, DELETE]);
    }
    to.push(PAIR);
    pair(&event.kv, to)
}

/// The size of that.
pub(super) fn event_len(event: &KvEvent) -> usize {
    let pair = pair_len(&event.kv);
    let kind = if event.kind == KvEventKind::Put { 0 } else { 2 };
    kind + 1 + encoded_len_varint(pair as u64) + pair
}

/// The pair before.
pub(super) fn prev(kv: &KeyValue, to: &mut Vec<u8>) {
    to.push(PREV);
    pair(kv, to);
}

/// With its length; where its key begins.
fn pair(kv: &KeyValue, to: &mut Vec<u8>) -> usize {
    encode_varint(pair_len(kv) as u64, to);
    bytes(KEY, &kv.key, to);
    let key = to.len() - kv.key.len();
    number(CREATED, kv.create_revision, to);
    number(MODIFIED, kv.mod_revision, to);
    number(VERSION, kv.version, to);
    bytes(VALUE, &kv.value, to);
    number(LEASE, kv.lease, to);
    key
}

fn pair_len(kv: &KeyValue) -> usize {
    let bytes = |bytes: &Blob| match bytes.len() {
        0 => 0,
        len => 1 + encoded_len_varint(len as u64) + len,
    };
    let numbers = [kv.create_revision, kv.mod_revision, kv.version, kv.lease];
    let number = |number: &u64| if *number == 0 { 0 } else { 1 + encoded_len_varint(*number) };
    bytes(&kv.key) + bytes(&kv.value) + numbers.iter().map(number).sum::<usize>()
}

fn bytes(field: u8, bytes: &[u8], to: &mut Vec<u8>) {
    if !bytes.is_empty() {
        to.push(field);
        encode_varint(bytes.len() as u64, to);
        to.extend(bytes);
    }
}

fn number(field: u8, number: u64, to: &mut Vec<u8>) {
    if number != 0 {
        to.push(field);
        encode_varint(number, to);
    }
}

/// As it is read again.
#[derive(Clone, PartialEq, prost::Message)]
struct EventOnWire {
    #[prost(message, optional, tag = "2")]
    kv: Option<PairOnWire>,
    #[prost(message, optional, tag = "3")]
    prev: Option<PairOnWire>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PairOnWire {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(uint64, tag = "2")]
    create_revision: u64,
    #[prost(uint64, tag = "3")]
    mod_revision: u64,
    #[prost(uint64, tag = "4")]
    version: u64,
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
    #[prost(uint64, tag = "6")]
    lease: u64,
}

impl PairOnWire {
    fn read(self) -> KeyValue {
        KeyValue {
            key: Blob::from(self.key),
            value: Blob::from(self.value),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: self.version,
            lease: self.lease,
        }
    }
}

/// Reads an event that was encoded here; its kind is more than the wire tells. The pair before is
/// read from bytes of its own.
pub(super) fn read(kind: KvEventKind, event: Bytes, prev: Bytes) -> KvEvent {
    let read = |bytes| EventOnWire::decode(bytes).expect("it was encoded here");
    let kv = read(event).kv.unwrap_or_default().read();
    KvEvent { kind, kv, prev: read(prev).prev.map(PairOnWire::read) }
}
