//! The bytes of a backup.
//!
//! ```text
//! MUSLINB1 | block | block .. | end | zeros | SHA-256 of all before
//! ```
//!
//! A block is its length and the CRC-32C of its data, four bytes each, the lowest first, and the
//! data; the end is a block without data. The first block is a [`Head`], the others, all
//! [`BLOCK_BYTES`] long but the last, are the state as its snapshots are. Zeros fill up to a
//! multiple of [`UNIT_BYTES`], so that etcd's tools find the sum where they look for it.

use serde::Serialize;

/// Raised when a reader of the last one would misunderstand.
pub const FORMAT: u32 = 1;

/// What every backup begins with.
pub(super) const MAGIC: [u8; 8] = *b"MUSLINB1";

/// Data of every block but the first and the last: small beside a state, large beside its frame,
/// and near enough to say where something is wrong.
pub const BLOCK_BYTES: usize = 1 << 20;

/// In front of the data of a block: length and sum.
pub(super) const FRAME_BYTES: usize = 8;

/// Largest head read: one is some hundreds of bytes.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;

/// The SHA-256 begins at a multiple of this.
pub const UNIT_BYTES: u64 = 512;

/// Length of the SHA-256.
pub const SUM_BYTES: u64 = 32;

/// What a backup says of itself.
#[derive(Clone, PartialEq, prost::Message, Serialize)]
pub struct Head {
    /// [`FORMAT`] when it was written.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// The cluster.
    #[prost(string, tag = "2")]
    pub cluster: String,
    /// What the cluster is called.
    #[prost(string, tag = "3")]
    pub cluster_name: String,
    /// The node that wrote it.
    #[prost(string, tag = "4")]
    pub node: String,
    /// Version of the program.
    #[prost(string, tag = "5")]
    pub program: String,
    /// When it was made, Unix milliseconds.
    #[prost(uint64, tag = "6")]
    pub unix_ms: u64,
    /// The present revision.
    #[prost(uint64, tag = "7")]
    pub revision: u64,
    /// The earliest revision that it has; zero when nothing was ever compacted.
    #[prost(uint64, tag = "8")]
    pub compacted: u64,
    /// The number of the membership history.
    #[prost(uint64, tag = "9")]
    pub epoch: u64,
    /// The last entry of the log whose effect is in it.
    #[prost(uint64, tag = "10")]
    pub applied: u64,
    /// Keys.
    #[prost(uint64, tag = "11")]
    pub keys: u64,
    /// Leases.
    #[prost(uint64, tag = "12")]
    pub leases: u64,
    /// Users.
    #[prost(uint64, tag = "13")]
    pub users: u64,
    /// Roles of users.
    #[prost(uint64, tag = "14")]
    pub roles: u64,
    /// Members; they are told of, and do not come with a restore.
    #[prost(uint64, tag = "15")]
    pub members: u64,
    /// Groups besides the control group, whose state is not in it.
    #[prost(uint64, tag = "16")]
    pub groups: u64,
    /// Length of the state.
    #[prost(uint64, tag = "17")]
    pub state_bytes: u64,
}

impl Head {
    /// Length of the whole backup, whose head takes so many bytes.
    pub(super) fn file_bytes(&self, head_bytes: usize) -> u64 {
        padded(self.unpadded_bytes(head_bytes)) + SUM_BYTES
    }

    /// Without zeros and sum.
    pub(super) fn unpadded_bytes(&self, head_bytes: usize) -> u64 {
        let frame = FRAME_BYTES as u64;
        let blocks = self.state_bytes.div_ceil(BLOCK_BYTES as u64);
        let framed = self.state_bytes.saturating_add(blocks.saturating_mul(frame));
        framed.saturating_add(MAGIC.len() as u64 + frame + head_bytes as u64 + frame)
    }
}

/// With the zeros that fill it up.
fn padded(bytes: u64) -> u64 {
    bytes.div_ceil(UNIT_BYTES).saturating_mul(UNIT_BYTES)
}

/// A block's frame.
pub(super) fn frame(data: &[u8]) -> [u8; FRAME_BYTES] {
    let length = u32::try_from(data.len()).expect("no block is near that long");
    let mut frame = [0; FRAME_BYTES];
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..].copy_from_slice(&sum_of(length, data).to_le_bytes());
    frame
}

/// The sum of a block: of its length too, or a length of zero would have the sum of none.
pub(super) fn sum_of(length: u32, data: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length.to_le_bytes()), data)
}
