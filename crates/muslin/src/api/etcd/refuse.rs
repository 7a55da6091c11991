//! Failures and refusals in etcd's words. Clients match on the text, so it is etcd's to the letter.

use muslin_core::node::Failure;
use muslin_core::state::Refusal;
use std::time::Duration;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

/// Where clients look for the pause before they try again, in milliseconds.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

pub(super) fn empty_key() -> Status {
    Status::invalid_argument("etcdserver: key is not provided")
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

pub(super) fn bad_transferee() -> Status {
    Status::failed_precondition("etcdserver: bad leader transferee")
}

/// The node answered in a shape that the request cannot have: a bug, told instead of panicking.
pub(super) fn unexpected() -> Status {
    Status::internal("muslin: the node gave an answer of another kind than asked for")
}

/// The answer would not fit.
pub(super) fn answer_too_large() -> Status {
    Status::resource_exhausted("muslin: the answer is larger than 64 MiB; read it in pages (limit)")
}

/// The node did not settle a request.
pub(super) fn failure(failure: Failure) -> Status {
    match failure {
        Failure::TimedOut => Status::unavailable("etcdserver: request timed out"),
        Failure::NoLeader => no_leader(),
        Failure::Busy { retry_after } => too_many_requests(retry_after),
        Failure::Stopping => stopped(),
        Failure::TooLarge => Status::invalid_argument("etcdserver: request is too large"),
        Failure::NoGroup => Status::not_found("muslin: this node keeps no replica of the group"),
        Failure::Lost => Status::data_loss("muslin: the group's only replica has lost its data"),
        Failure::StandsStill => {
            Status::unavailable("muslin: the disk of this node is full; ask another node")
        }
        Failure::Starting => Status::unavailable("muslin: the node has not read its groups yet"),
        Failure::NoSpace => Status::resource_exhausted("etcdserver: mvcc: database space exceeded"),
    }
}

/// As etcd says it. Clients whose retry policy knows it take the pause from the metadata, by the
/// name that gRPC gave it (gRFC A6).
fn too_many_requests(retry_after: Duration) -> Status {
    let mut metadata = MetadataMap::new();
    let millis = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
    metadata.insert(PUSHBACK, MetadataValue::from(millis));
    let text = "etcdserver: too many requests";
    Status::with_metadata(Code::ResourceExhausted, text, metadata)
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
        Refusal::MemberNotFound => return member_not_found(),
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
