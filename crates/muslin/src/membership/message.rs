//! Messages of the application, beside the detector's packets.
//!
//! A packet is protobuf, which never begins with a byte below 8: a first byte of 0 or 1 tells these
//! apart from packets, on datagrams. On streams every message has a first byte that says what it
//! is.

use super::broadcast::Name;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use muslin_core::base::NodeId;
use muslin_core::swim::PACKET_BYTES_MAX;

const DIRECT: u8 = 0;
const SPREAD: u8 = 1;
const PACKET: u8 = 2;

const DIRECT_HEADER_BYTES: usize = 1 + 8;
const SPREAD_HEADER_BYTES: usize = 1 + 8 + 8 + 8;

/// Largest message of one datagram.
pub const DATAGRAM_BYTES_MAX: usize = PACKET_BYTES_MAX - DIRECT_HEADER_BYTES;

/// Largest message to all.
pub const BROADCAST_BYTES_MAX: usize = PACKET_BYTES_MAX - SPREAD_HEADER_BYTES;

/// Largest message on a stream.
pub const STREAM_BYTES_MAX: usize = crate::transport::FRAME_BYTES_MAX - 1;

/// How a message came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Way {
    /// By one datagram: it may be lost, doubled or late.
    Datagram,
    /// On a stream: in order, while the connection lasts.
    Stream,
    /// By gossip, once: all members hear it, but for bad luck.
    Broadcast,
}

/// A message of another member's application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Who sent it, as it says. On a transport of shared keys any member could say so.
    pub from: NodeId,
    /// How.
    pub way: Way,
    /// What.
    pub bytes: Bytes,
}

/// Why a message was not sent. One that was may still be lost.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// It is too large for the way it was to go.
    #[error("{bytes} bytes are too many for this way, which takes {most}; send it on a stream")]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        most: usize,
    },
    /// There is no such member, or it is down or has left.
    #[error("no member {0} is there")]
    NotThere(NodeId),
    /// This member has stopped.
    #[error("this member has stopped")]
    Stopped,
}

impl Way {
    /// Largest message.
    pub fn bytes_max(self) -> usize {
        match self {
            Way::Datagram => DATAGRAM_BYTES_MAX,
            Way::Stream => STREAM_BYTES_MAX,
            Way::Broadcast => BROADCAST_BYTES_MAX,
        }
    }

    pub(super) fn check(self, bytes: &Bytes) -> Result<(), SendError> {
        let (bytes, most) = (bytes.len(), self.bytes_max());
        if bytes > most { Err(SendError::TooLarge { bytes, most }) } else { Ok(()) }
    }
}

/// What a datagram holds.
pub(super) enum Datagram {
    Direct { from: NodeId, bytes: Bytes },
    Spread { name: Name, bytes: Bytes },
    Packet(Bytes),
}

impl Datagram {
    /// `None` when it is cut short.
    pub(super) fn read(mut bytes: Bytes) -> Option<Datagram> {
        match bytes.first() {
            Some(&DIRECT) => {
                bytes.advance(1);
                let from = NodeId(bytes.try_get_u64().ok()?);
                Some(Datagram::Direct { from, bytes })
            }
            Some(&SPREAD) => {
                bytes.advance(1);
                let mut number = || bytes.try_get_u64().ok();
                let name = Name { origin: NodeId(number()?), boot: number()?, number: number()? };
                Some(Datagram::Spread { name, bytes })
            }
            _ => Some(Datagram::Packet(bytes)),
        }
    }
}

pub(super) fn direct(from: NodeId, message: &Bytes) -> Bytes {
    let mut bytes = BytesMut::with_capacity(DIRECT_HEADER_BYTES + message.len());
    bytes.put_u8(DIRECT);
    bytes.put_u64(from.0);
    bytes.put_slice(message);
    bytes.freeze()
}

pub(super) fn spread(name: Name, message: &Bytes) -> Bytes {
    let mut bytes = BytesMut::with_capacity(SPREAD_HEADER_BYTES + message.len());
    bytes.put_u8(SPREAD);
    for number in [name.origin.0, name.boot, name.number] {
        bytes.put_u64(number);
    }
    bytes.put_slice(message);
    bytes.freeze()
}

/// What a message on a stream holds.
pub(super) enum OnStream {
    Direct(Bytes),
    Packet(Bytes),
}

impl OnStream {
    pub(super) fn read(mut bytes: Bytes) -> Option<OnStream> {
        match bytes.try_get_u8().ok()? {
            DIRECT => Some(OnStream::Direct(bytes)),
            PACKET => Some(OnStream::Packet(bytes)),
            _ => None,
        }
    }
}

pub(super) fn on_stream(message: &Bytes) -> Bytes {
    with_first(DIRECT, message)
}

pub(super) fn packet_on_stream(packet: &Bytes) -> Bytes {
    with_first(PACKET, packet)
}

fn with_first(first: u8, rest: &Bytes) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + rest.len());
    bytes.put_u8(first);
    bytes.put_slice(rest);
    bytes.freeze()
}
