//! Identities and numbers that must not mix.

use core::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $show:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number before the first.
            pub const ZERO: $name = $name(0);

            /// The number that follows this one. Panics on overflow, which is a bug.
            #[must_use]
            pub fn next(self) -> $name {
                $name(self.0.checked_add(1).expect("numbers are never exhausted"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $show, self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $show, self.0)
            }
        }
    };
}

number!(
    /// Raft's term: at most one leader each.
    Term, u64, "{}"
);
number!(
    /// Position of an entry in a group's log; the first entry has index 1.
    Index, u64, "{}"
);
number!(
    /// Key-value history number, raised by every transaction that writes.
    Revision, u64, "{}"
);
number!(
    /// Number of the cluster's membership history.
    Epoch, u64, "{}"
);
number!(
    /// Raised by a node to refute a suspicion about itself.
    Incarnation, u64, "{}"
);
number!(
    /// Identity of a lease; positive and at most `i64::MAX`, as etcd clients expect.
    LeaseId, u64, "{:x}"
);
number!(
    /// One write to stable storage. Numbered in the order of issue, which is the order in which
    /// writes become durable.
    PersistId, u64, "p{}"
);
number!(
    /// One request of a local client, numbered by the driver; never reused within a process.
    RequestId, u64, "q{}"
);
number!(
    /// One Raft group. The control group is group 0.
    GroupId, u64, "g{}"
);

impl GroupId {
    /// The group that keeps the record: members, key-value state and everything desired.
    pub const CONTROL: GroupId = GroupId(0);
}

/// Identity of a running Muslin process, drawn at random when its data directory is made, never
/// reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Short in transcripts: `n1` for small (test) identities, hexadecimal for real ones.
impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1 << 16 { write!(f, "n{}", self.0) } else { write!(f, "{:016x}", self.0) }
    }
}

impl NodeId {
    /// Reads the 16 hexadecimal digits that `Display` writes.
    pub fn parse(text: &str) -> Option<NodeId> {
        if text.len() != 16 {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(NodeId)
    }
}

/// Identity of a cluster, drawn at random at `init`; carried by every packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClusterId(pub u128);

impl ClusterId {
    /// Reads the 32 hexadecimal digits that `Display` writes.
    pub fn parse(text: &str) -> Option<ClusterId> {
        if text.len() != 32 {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(ClusterId)
    }

    /// The 16 bytes carried in packets, most significant first.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Names one entry for ever: two entries with equal `LogId` are equal, and so is all before them
/// (R2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogId {
    /// Compared first: the more recent term wins (Raft 5.4.1).
    pub term: Term,
    /// Compared second.
    pub index: Index,
}

impl LogId {
    /// Before the first entry.
    pub const ZERO: LogId = LogId { term: Term::ZERO, index: Index::ZERO };

    /// Puts the two together.
    pub fn new(term: Term, index: Index) -> LogId {
        LogId { term, index }
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}
