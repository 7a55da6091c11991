//! What two ends tell each other first.

use super::stream::{FrameReader, StreamError};
use crate::transport::Barred;
use bytes::{BufMut, Bytes, BytesMut};
use muslin_core::base::{ClusterId, Epoch, NodeId};
use prost::Message;

/// Oldest and newest protocol version this program speaks.
const VERSIONS: (u32, u32) = (1, 1);

/// Largest greeting taken: far above what any version will say.
const HELLO_BYTES_MAX: usize = 1 << 10;

/// The first frame of a stream, each way.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Hello {
    /// Oldest protocol version spoken.
    #[prost(uint32, tag = "1")]
    pub(super) version_min: u32,
    /// Newest protocol version spoken.
    #[prost(uint32, tag = "2")]
    pub(super) version_max: u32,
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) cluster: Bytes,
    /// The sender's epoch.
    #[prost(uint64, tag = "4")]
    pub(super) epoch: u64,
    /// The sender.
    #[prost(fixed64, tag = "5")]
    pub(super) node: u64,
    /// Which start of the sender's process.
    #[prost(uint64, tag = "6")]
    pub(super) boot: u64,
    /// How many connections with the receiver the sender has taken into use in this start, this
    /// one included in an answer. It tells a dial sent before another connection came into use
    /// from one sent after that was lost.
    #[prost(uint64, tag = "7")]
    pub(super) links: u64,
    /// Drawn by the sender's process: two that say the same start are told apart by it. 0 in
    /// greetings of programs that draw none.
    #[prost(fixed64, tag = "8")]
    pub(super) session: u64,
}

/// Who greets, with which numbers.
#[derive(Clone, Copy)]
pub(super) struct Greeter {
    pub(super) cluster: ClusterId,
    pub(super) epoch: Epoch,
    pub(super) node: NodeId,
    pub(super) boot: u64,
    pub(super) session: u64,
}

/// Why a connection is not taken. Also the code it is closed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Refusal {
    /// Both dialled, and the other connection goes on; or there is one of a later start.
    Duplicate = 1,
    /// The node was removed.
    Removed = 2,
    /// The certificate or the greeting names another node or cluster.
    Stranger = 3,
    /// The node's epoch is older: it must join again.
    Epoch = 4,
    /// No protocol version in common.
    Version = 5,
    /// A frame that is not allowed.
    Frame = 6,
    /// More peers than [`PEERS_MAX`](super::PEERS_MAX).
    Busy = 7,
    /// A later process of that node is connected, or another one of the same start: its directory
    /// was copied, or set back.
    Copied = 8,
}

/// A later connection took over.
pub(super) const REPLACED: u32 = 16;

/// The node stops.
pub(super) const CLOSING: u32 = 0;

impl From<Barred> for Refusal {
    fn from(barred: Barred) -> Refusal {
        match barred {
            Barred::Removed => Refusal::Removed,
            Barred::Outdated => Refusal::Epoch,
        }
    }
}

impl Hello {
    pub(super) fn of(greeter: Greeter, links: u64) -> Hello {
        let (version_min, version_max) = VERSIONS;
        let Greeter { cluster, epoch, node, boot, session } = greeter;
        let cluster = Bytes::copy_from_slice(&cluster.to_bytes());
        let (epoch, node) = (epoch.0, node.0);
        Hello { version_min, version_max, cluster, epoch, node, boot, links, session }
    }

    /// As it is written to a stream.
    pub(super) fn framed(&self) -> Bytes {
        let mut frame = BytesMut::with_capacity(self.encoded_len() + 4);
        frame.put_u32(self.encoded_len() as u32);
        self.encode(&mut frame).expect("the buffer grows as needed");
        frame.freeze()
    }

    /// Reads the other end's, which must be this node of the same cluster.
    pub(super) async fn read(
        reader: &mut FrameReader,
        own: Greeter,
        node: NodeId,
    ) -> Result<Hello, StreamError> {
        let frame = reader.next(HELLO_BYTES_MAX).await?.ok_or(StreamError::Ended)?;
        let hello = Hello::decode(frame).map_err(|_| Refusal::Frame)?;
        if hello.cluster != own.cluster.to_bytes().as_slice() || hello.node != node.0 {
            return Err(Refusal::Stranger.into());
        }
        if hello.version_max < VERSIONS.0 || hello.version_min > VERSIONS.1 {
            return Err(Refusal::Version.into());
        }
        Ok(hello)
    }
}
