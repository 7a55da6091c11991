//! Failures and refusals in etcd's words. Clients match on the text, so it is etcd's to the letter.

use hyper::Response;
use muslin_core::node::Failure;
use muslin_core::state::{AuthRefusal, Refusal};
use std::time::Duration;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

/// Where clients look for the pause before they try again, in milliseconds.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// When one that was refused for lack of room asks again: readers who do not read are cut in twice
/// that time.
const ANSWER_PUSHBACK: Duration = Duration::from_secs(1);

pub(super) fn empty_key() -> Status {
    Status::invalid_argument("etcdserver: key is not provided")
}

/// An operation of a transaction that is none: etcd says it like this.
pub(super) fn no_operation() -> Status {
    Status::invalid_argument("etcdserver: key not found")
}

pub(super) fn too_many_ops() -> Status {
    Status::invalid_argument("etcdserver: too many operations in txn request")
}

pub(super) fn invalid_sort() -> Status {
    Status::invalid_argument("etcdserver: invalid sort option")
}

pub(super) fn no_leader() -> Status {
    Status::unavailable("etcdserver: no leader")
}

pub(super) fn stopped() -> Status {
    Status::unavailable("etcdserver: server stopped")
}

pub(super) fn lease_not_found() -> Status {
    Status::not_found("etcdserver: requested lease not found")
}

pub(super) fn lease_ttl() -> Status {
    Status::out_of_range("etcdserver: too large lease TTL")
}

pub(super) fn member_not_found() -> Status {
    Status::not_found("etcdserver: member not found")
}

pub(super) fn bad_member_urls() -> Status {
    Status::invalid_argument("etcdserver: given member URLs are invalid")
}

pub(super) fn not_a_learner() -> Status {
    Status::failed_precondition("etcdserver: can only promote a learner member")
}

pub(super) fn learner_not_ready() -> Status {
    Status::failed_precondition(
        "etcdserver: can only promote a learner member which is in sync with leader",
    )
}

pub(super) fn says_its_address(name: &str) -> Status {
    Status::failed_precondition(format!(
        "muslin: {name} says by itself where it is reached; start it with another `--listen` or \
         `--advertise`"
    ))
}

pub(super) fn bad_transferee() -> Status {
    Status::failed_precondition("etcdserver: bad leader transferee")
}

fn no_space() -> Status {
    Status::resource_exhausted("etcdserver: mvcc: database space exceeded")
}

/// A hash by which no password can be told.
pub(super) fn foreign_hash() -> Status {
    let text = "muslin: the hash is not one of muslin's; say the password, and it is hashed here";
    Status::invalid_argument(text)
}

/// The node answered in a shape that the request cannot have: a bug, told instead of panicking.
pub(super) fn unexpected() -> Status {
    Status::internal("muslin: the node gave an answer of another kind than asked for")
}

/// The answer would not fit.
pub(super) fn answer_too_large() -> Status {
    Status::resource_exhausted("muslin: the answer is larger than 64 MiB; read it in pages (limit)")
}

/// The answer would not fit, and what it tells has happened.
pub(super) fn result_too_large() -> Status {
    Status::resource_exhausted(
        "muslin: it is done, but what there is to tell of it is larger than 64 MiB; ask for less \
         (prev_kv, ranges in transactions)",
    )
}

/// What the answers of all callers together may hold is under way.
pub(super) fn no_room_for_answer() -> Status {
    let text = "muslin: too many large answers are under way; ask again, or in pages (limit)";
    with_pushback(text, ANSWER_PUSHBACK)
}

/// The same, of an answer that tells what has happened: nobody is told to do it again.
pub(super) fn no_room_for_result() -> Status {
    Status::resource_exhausted(
        "muslin: it is done, but too many large answers are under way to tell what it replaced",
    )
}

/// What gRPC says of calls it cannot read is said in the words of its implementation in Go, which
/// etcd has.
pub(super) fn message_too_large(len: usize, limit: usize) -> Status {
    let text = format!("grpc: received message larger than max ({len} vs. {limit})");
    Status::resource_exhausted(text)
}

pub(super) fn compressed_without_encoding() -> Status {
    Status::internal("grpc: compressed flag set with identity or empty encoding")
}

pub(super) fn unknown_format(flag: u8) -> Status {
    Status::internal(format!("grpc: received unexpected payload format {flag}"))
}

pub(super) fn unknown_encoding(encoding: &str) -> Status {
    let text = format!("grpc: Decompressor is not installed for grpc-encoding {encoding:?}");
    let mut metadata = MetadataMap::new();
    metadata.insert("grpc-accept-encoding", MetadataValue::from_static("identity"));
    Status::with_metadata(Code::Unimplemented, text, metadata)
}

pub(super) fn cut_message() -> Status {
    Status::internal("unexpected EOF")
}

pub(super) fn no_message() -> Status {
    Status::internal("grpc: the call has no message")
}

pub(super) fn two_messages() -> Status {
    Status::internal("grpc: the call has more than one message")
}

pub(super) fn unreadable(error: &str) -> Status {
    Status::internal(format!("grpc: error unmarshalling request: {error}"))
}

/// How the generated services begin what they say of a message that cannot be decoded.
const GENERATED: &str = "failed to decode Protobuf message";

/// The answer of a generated service to a single call; of a message that cannot be decoded it says
/// what [`unreadable`] does. A stream is refused at its end, in tonic's words.
pub(crate) fn in_one_wording<B: Default>(response: Response<B>) -> Response<B> {
    match Status::from_header_map(response.headers()) {
        Some(status) if status.message().starts_with(GENERATED) => {
            unreadable(status.message()).into_http()
        }
        _ => response,
    }
}

pub(super) fn malformed_timeout(value: &str) -> Status {
    Status::internal(format!("malformed grpc-timeout: {value:?}"))
}

/// The caller's own time is over.
pub(crate) fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("context deadline exceeded")
}

/// The node did not settle a request.
pub(super) fn failure(failure: Failure) -> Status {
    match failure {
        Failure::TimedOut => Status::unavailable("etcdserver: request timed out"),
        Failure::NoLeader => no_leader(),
        Failure::Busy { retry_after } => too_many_requests(retry_after),
        Failure::Stopping => stopped(),
        Failure::TooLarge => Status::invalid_argument("etcdserver: request is too large"),
        Failure::NoGroup => Status::not_found("muslin: this node knows of no such group"),
        Failure::Lost => Status::data_loss("muslin: the group's only replica has lost its data"),
        Failure::StandsStill => {
            Status::unavailable("muslin: the disk of this node is full; ask another node")
        }
        Failure::Starting => Status::unavailable("muslin: the node has not read its groups yet"),
        Failure::Denied(refusal) => auth(refusal),
        Failure::NoSpace => no_space(),
    }
}

/// As etcd says it.
fn too_many_requests(retry_after: Duration) -> Status {
    with_pushback("etcdserver: too many requests", retry_after)
}

/// Clients whose retry policy knows it take the pause from the metadata, by the name that gRPC gave
/// it (gRFC A6).
fn with_pushback(text: &str, retry_after: Duration) -> Status {
    let mut metadata = MetadataMap::new();
    let millis = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
    metadata.insert(PUSHBACK, MetadataValue::from(millis));
    Status::with_metadata(Code::ResourceExhausted, text, metadata)
}

/// Somebody may not, or rights cannot be changed so.
pub(in crate::api) fn auth(refusal: AuthRefusal) -> Status {
    let code = match refusal {
        AuthRefusal::RootUserMissing
        | AuthRefusal::RootRoleMissing
        | AuthRefusal::UserExists
        | AuthRefusal::UserNotFound
        | AuthRefusal::RoleExists
        | AuthRefusal::RoleNotFound
        | AuthRefusal::RoleNotGranted
        | AuthRefusal::PermissionNotGranted
        | AuthRefusal::NotEnabled => Code::FailedPrecondition,
        AuthRefusal::UserEmpty
        | AuthRefusal::RoleEmpty
        | AuthRefusal::Failed
        | AuthRefusal::PermissionNotGiven
        | AuthRefusal::InvalidManagement
        | AuthRefusal::BadForm => Code::InvalidArgument,
        AuthRefusal::Denied => Code::PermissionDenied,
        AuthRefusal::InvalidToken => Code::Unauthenticated,
        AuthRefusal::NoPasswordUser => Code::Unknown,
        AuthRefusal::TooMany => Code::ResourceExhausted,
    };
    // What etcd does not know begins as what it has no code for, or as ours.
    let from = match refusal {
        AuthRefusal::NoPasswordUser => "auth",
        AuthRefusal::TooMany | AuthRefusal::BadForm => "muslin",
        _ => "etcdserver",
    };
    Status::new(code, format!("{from}: {refusal}"))
}

/// The replicated state refused.
pub(super) fn refusal(refusal: Refusal) -> Status {
    let (code, text) = match refusal {
        Refusal::Compacted => {
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted")
        }
        Refusal::FutureRevision => {
            (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision")
        }
        Refusal::EmptyKey => return empty_key(),
        Refusal::KeyNotFound => (Code::InvalidArgument, "etcdserver: key not found"),
        Refusal::ValueProvided => (Code::InvalidArgument, "etcdserver: value is provided"),
        Refusal::LeaseProvided => (Code::InvalidArgument, "etcdserver: lease is provided"),
        Refusal::DuplicateKey => {
            (Code::InvalidArgument, "etcdserver: duplicate key given in txn request")
        }
        Refusal::TooManyOps => return too_many_ops(),
        Refusal::LeaseNotFound => return lease_not_found(),
        Refusal::LeaseExists => (Code::FailedPrecondition, "etcdserver: lease already exists"),
        Refusal::LeaseTtl => return lease_ttl(),
        Refusal::TooManyLeases => {
            (Code::ResourceExhausted, "muslin: there are too many leases; revoke some first")
        }
        Refusal::Full { .. } | Refusal::NoSpace => return no_space(),
        Refusal::Corrupt => (Code::DataLoss, "etcdserver: corrupt cluster"),
        Refusal::AddressTaken(_) => {
            (Code::FailedPrecondition, "etcdserver: Peer URLs already exists")
        }
        Refusal::MemberExists => (Code::FailedPrecondition, "etcdserver: member ID already exist"),
        Refusal::QuorumNeeded(_) => (
            Code::FailedPrecondition,
            "etcdserver: re-configuration failed due to not enough started members",
        ),
        Refusal::MemberNotFound => return member_not_found(),
        Refusal::Auth(refusal) => return auth(refusal),
        other => return Status::failed_precondition(format!("muslin: {other}")),
    };
    Status::new(code, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_node_says_so_as_etcd_does_and_when_to_come_again_as_grpc_does() {
        let status = failure(Failure::Busy { retry_after: Duration::from_millis(120) });
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), "etcdserver: too many requests");
        assert_eq!(status.metadata().get(PUSHBACK).unwrap(), "120");
    }
}
