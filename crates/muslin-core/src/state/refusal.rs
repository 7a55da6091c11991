//! Refusals in words, each with what to do.

use super::Refusal;
use core::fmt;

impl core::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NameTaken(name) => {
                write!(f, "the name {name} is taken by another member; choose another with --name")
            }
            Refusal::AddressTaken(name) => write!(
                f,
                "the address is that of {name}, which takes part; stop it, or remove it first"
            ),
            Refusal::TokenRole(role) => write!(
                f,
                "the join token does not admit nodes with the role {role}; ask for another"
            ),
            Refusal::RolesMissing(roles) => {
                let roles = roles.join(", ");
                write!(f, "nobody performs what the node requires: {roles}")
            }
            Refusal::MemberLives(name) => {
                write!(f, "{name} takes part; stop or drain it first, or use force")
            }
            Refusal::MemberGone(name) => write!(f, "{name} is down or has left; start it first"),
            Refusal::MemberDrains(name) => {
                write!(f, "{name} is being drained; let it resume first")
            }
            Refusal::NotControl(name) => {
                write!(f, "{name} has not the role control; give it that role first")
            }
            Refusal::ClusterTooSmall(size) => write!(
                f,
                "the cluster is too small to assign anything: {size}; start some, or lower that"
            ),
            Refusal::Full { quota } => write!(
                f,
                "the keys take the {quota} bytes that they may; delete some (deleting goes on), or \
                 raise quota_bytes"
            ),
            Refusal::QuorumNeeded(numbers) => write!(f, "{numbers}; add a voter first"),
            Refusal::VotersGone(tally) => write!(
                f,
                "{tally}; the others could not come back in another epoch; start or remove them"
            ),
            Refusal::NotLeftBehind(name) => write!(
                f,
                "{name} did not stay behind when the epoch rose, or it votes, or other duties are \
                     asked for than it had; join with a token"
            ),
            Refusal::OldEpoch { epoch, present } => write!(
                f,
                "it is of epoch {epoch}, the cluster's is {present}; look again, and a node \
                     has to join anew"
            ),
            other => f.write_str(other.words()),
        }
    }
}

impl Refusal {
    fn words(&self) -> &'static str {
        match self {
            Refusal::Compacted => "the required revision has been compacted",
            Refusal::FutureRevision => "the required revision is a future revision",
            Refusal::EmptyKey => "the key is empty; give at least one byte",
            Refusal::KeyNotFound => "the key does not exist; put it with a value first",
            Refusal::ValueProvided => "a value is given together with ignore_value; drop one",
            Refusal::LeaseProvided => "a lease is given together with ignore_lease; drop one",
            Refusal::DuplicateKey => "the transaction writes one key twice; write each key once",
            Refusal::TooManyOps => "the transaction has too many operations; split it",
            Refusal::TooManyKeys => {
                "the transaction's ranges cover more than 100,000 keys; read or delete them apart"
            }
            Refusal::LeaseNotFound => {
                "the lease does not exist: it expired or was revoked; grant a new one"
            }
            Refusal::LeaseExists => {
                "a lease of that id exists; choose another id, or 0 to have one chosen"
            }
            Refusal::LeaseTtl => "the time to live must be between 1 ms and 9,000,000,000 s",
            Refusal::NoSpace => {
                "an alarm says that there is no room: nothing is added until somebody ends it"
            }
            Refusal::Corrupt => {
                "an alarm says that what is kept cannot be relied upon; end it to go on"
            }
            Refusal::AlarmUnknown => "an alarm is about room (NOSPACE) or soundness (CORRUPT)",
            Refusal::TooManyLeases => "there are too many leases; revoke some first",
            Refusal::LeaseFull => {
                "100,000 keys hang on the lease, which is the most; hang the key on another"
            }
            Refusal::TooManyUnsettled => {
                "too many commands of this node are unsettled; retry when some are answered"
            }
            Refusal::GroupNotFound => "no such group",
            Refusal::GroupExists => "another group has that id; choose 0 to have one chosen",
            Refusal::GroupIdSpent => {
                "ids of groups count up and are never given again; choose 0 to have one chosen"
            }
            Refusal::GroupKind => {
                "the kind of a group is a name of 1 to 64 bytes, without control characters"
            }
            Refusal::GroupReplicas => {
                "a group has 1 to 7 replicas, each a member and named once, and one of them leads"
            }
            Refusal::GroupReassigned => "the group's leader was decided anew meanwhile; look again",
            Refusal::TooManyGroups => "there are too many groups; remove some first",
            Refusal::Unknown => "this version does not know the command; upgrade this node",
            other => other.words_on_members(),
        }
    }

    fn words_on_members(&self) -> &'static str {
        match self {
            Refusal::MemberNotFound => "no such member",
            Refusal::MemberExists => {
                "the node id is taken or was removed; join with an empty data directory"
            }
            Refusal::TokenInvalid => {
                "the join token is not valid for this cluster; ask for a new one"
            }
            Refusal::TokenExists => "a token of that id exists, with another secret",
            Refusal::TokenNotFound => "no such token, or it admits nobody any more",
            Refusal::JoinDenied => "the join was denied; ask the cluster's operator",
            Refusal::JoinNotFound => "no join of that node waits",
            Refusal::TooManyHeld => "too many joins wait; approve or deny some, or use a token",
            Refusal::OldLife => "what is said is of a life of the node that is over",
            Refusal::TombstonesYoung => "there are no tombstones old enough to be collected",
            Refusal::GossipKeyOrder => "gossip keys are numbered without a gap; look again",
            Refusal::GossipKeyNotFound => "no such gossip key",
            Refusal::GossipKeyInUse => "gossip is sealed with that key; use another first",
            Refusal::TooManyGossipKeys => "there are three gossip keys; drop one first",
            Refusal::BadForm(form) => form.words(),
            Refusal::Auth(refusal) => refusal.words(),
            _ => "refused",
        }
    }
}
