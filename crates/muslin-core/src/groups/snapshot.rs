//! The state of a group as bytes: what the machine makes of itself, and the table of retries.

use crate::state::{SessionRecord, Sessions};
use bytes::Bytes;
use core::fmt;
use prost::Message as _;

/// Raised when a reader of the last one would misunderstand.
const FORMAT: u32 = 1;

#[derive(Clone, PartialEq, prost::Message)]
struct GroupSnapshot {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(message, repeated, tag = "2")]
    sessions: alloc::vec::Vec<SessionRecord>,
    #[prost(bytes = "bytes", tag = "3")]
    machine: Bytes,
}

/// Why bytes are no state of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RestoreFailed(&'static str);

impl fmt::Display for RestoreFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Puts the two together.
pub(super) fn encode(sessions: &Sessions, machine: Bytes) -> Bytes {
    let sessions = sessions.records().collect();
    Bytes::from(GroupSnapshot { format: FORMAT, sessions, machine }.encode_to_vec())
}

/// Takes them apart. No bytes make it panic.
pub(super) fn decode(bytes: Bytes) -> Result<(Sessions, Bytes), RestoreFailed> {
    let snapshot = GroupSnapshot::decode(bytes).map_err(|_| RestoreFailed("cut short"))?;
    if snapshot.format != FORMAT {
        return Err(RestoreFailed("of another format"));
    }
    let mut sessions = Sessions::default();
    for record in snapshot.sessions {
        sessions.take(record).map_err(|_| RestoreFailed("an impossible table of retries"))?;
    }
    Ok((sessions, snapshot.machine))
}
