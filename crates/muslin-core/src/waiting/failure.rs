//! Why what a client asked was not settled.

use crate::state::AuthRefusal;
use core::fmt;
use core::time::Duration;

/// Largest encoded command of any group, as etcd: 1.5 MiB.
pub const COMMAND_BYTES_MAX: usize = 1_536 << 10;

/// Why a request could not be settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// No quorum or no leader in time. A write may or may not have happened.
    TimedOut,
    /// No leader is known, and the client asked to be told rather than to wait.
    NoLeader,
    /// Too much waits already; nothing happened.
    Busy {
        /// When there should be room, at the present pace.
        retry_after: Duration,
    },
    /// The process is stopping; nothing happened.
    Stopping,
    /// The command is larger than [`COMMAND_BYTES_MAX`], or what another node would answer is
    /// larger than a message may be; nothing happened.
    TooLarge,
    /// The disk of the leader, or of a quorum, is full. A write was refused; only a network that
    /// doubles messages could have made it happen all the same.
    NoSpace,
    /// The disk of this node is full and its replica, which does not lead, stands still. Others go
    /// on; nothing happened.
    StandsStill,
    /// The disk of this node has lost what it promised, and it has the only replica: no command or
    /// query of this group is ever answered again; nothing happened.
    Lost,
    /// There is no such group; or this node is to keep a replica and cannot run its kind. Nothing
    /// happened.
    NoGroup,
    /// Whoever asks may not; nothing happened.
    Denied(AuthRefusal),
    /// This node has started and cannot tell yet whether it keeps such a group; nothing happened.
    Starting,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::TimedOut => {
                "no quorum answered in time; a write may have happened: read before repeating it"
            }
            Failure::NoLeader => "no leader is known, or this node does not lead; try another node",
            Failure::Busy { retry_after } => {
                return write!(
                    f,
                    "as much as may wait here waits already, so this was refused and nothing \
                     happened; ask again in {} ms, or ask another node",
                    retry_after.as_millis()
                );
            }
            Failure::Stopping => "the node is stopping; nothing happened, ask another node",
            Failure::TooLarge => {
                "the command is larger than 1.5 MiB, or the answer than 8 MiB; split it"
            }
            Failure::StandsStill => {
                "the disk of this node is full and its copy stands still, so nothing happened; ask \
                 another node, or make room"
            }
            Failure::Lost => {
                "the disk of this node has lost what it had acknowledged, and it keeps the group's \
                 only replica: restore the data directory from a backup, or take the group out"
            }
            Failure::NoGroup => {
                "this node knows of no such group, or is to keep a replica and knows no such kind; \
                 see `muslin group ls`, or ask another node"
            }
            Failure::Starting => {
                "this node has started and has not read yet which groups it keeps; nothing \
                 happened, ask again or ask another node"
            }
            Failure::Denied(refusal) => refusal.words(),
            Failure::NoSpace => {
                "the disk is full where the group needs it and the write was refused; make room, \
                 it clears by itself"
            }
        })
    }
}

impl core::error::Error for Failure {}
