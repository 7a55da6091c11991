//! Failures and refusals in etcd's words. Clients match on the text, so it is etcd's to the letter.

use muslin_core::node::Failure;
use muslin_core::state::Refusal;
use tonic::{Code, Status};

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
        Failure::Busy => Status::resource_exhausted("etcdserver: too many requests"),
        Failure::Stopping => stopped(),
        Failure::TooLarge => Status::invalid_argument("etcdserver: request is too large"),
        Failure::NoGroup => Status::not_found("muslin: this node keeps no replica of the group"),
        Failure::NoSpace => Status::resource_exhausted("etcdserver: mvcc: database space exceeded"),
    }
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
