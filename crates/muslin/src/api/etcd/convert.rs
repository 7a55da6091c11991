//! Between etcd's messages and the core's. Nothing is copied: keys and values are shared bytes.

use super::refuse;
use crate::api::proto::etcdserverpb as pb;
use crate::api::proto::mvccpb;
use bytes::Bytes;
use muslin_core::state::{
    Compare, CompareResult, CompareTarget, DeleteRange, KeyRange, KeyValue, Op, OpKind, Put, Range,
    SortOrder, SortTarget, TXN_OPS_MAX, Txn, WatchSpec,
};
use tonic::Status;

/// Deepest nesting of transactions inside transactions: what anyone has a use for, and no stack
/// overflow.
const TXN_DEPTH_MAX: usize = 8;

/// A number of the wire as the core's. etcd treats what is below zero as not given.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A number of the core as the wire's.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A lease as a client names it; one below zero does not exist.
pub(super) fn lease_id(id: i64) -> Result<u64, Status> {
    u64::try_from(id).map_err(|_| refuse::lease_not_found())
}

pub(super) fn range(request: pb::RangeRequest) -> Result<Range, Status> {
    if request.key.is_empty() {
        return Err(refuse::empty_key());
    }
    SortOrder::try_from(request.sort_order).map_err(|_| refuse::invalid_sort())?;
    SortTarget::try_from(request.sort_target).map_err(|_| refuse::invalid_sort())?;
    Ok(Range {
        range: KeyRange { key: request.key, range_end: request.range_end },
        limit: unsigned(request.limit),
        revision: unsigned(request.revision),
        sort_order: request.sort_order,
        sort_target: request.sort_target,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: unsigned(request.min_mod_revision),
        max_mod_revision: unsigned(request.max_mod_revision),
        min_create_revision: unsigned(request.min_create_revision),
        max_create_revision: unsigned(request.max_create_revision),
    })
}

pub(super) fn put(request: pb::PutRequest) -> Result<Put, Status> {
    if request.key.is_empty() {
        return Err(refuse::empty_key());
    }
    Ok(Put {
        key: request.key,
        value: request.value,
        lease: lease_id(request.lease)?,
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
        ttl_ms: 0,
    })
}

pub(super) fn delete(request: pb::DeleteRangeRequest) -> Result<DeleteRange, Status> {
    if request.key.is_empty() {
        return Err(refuse::empty_key());
    }
    let range = KeyRange { key: request.key, range_end: request.range_end };
    Ok(DeleteRange { range, prev_kv: request.prev_kv })
}

/// What a transaction of the wire is here.
pub(super) struct TxnPlan {
    pub(super) txn: Txn,
    /// It writes nothing, whichever branch runs.
    pub(super) read_only: bool,
    /// Every read in it may be answered from what this node has applied.
    pub(super) serializable: bool,
}

pub(super) fn txn(request: pb::TxnRequest) -> Result<TxnPlan, Status> {
    let mut traits = Traits { read_only: true, serializable: true };
    let txn = txn_at(request, &mut traits, 0)?;
    Ok(TxnPlan { txn, read_only: traits.read_only, serializable: traits.serializable })
}

struct Traits {
    read_only: bool,
    serializable: bool,
}

fn txn_at(request: pb::TxnRequest, traits: &mut Traits, depth: usize) -> Result<Txn, Status> {
    let pb::TxnRequest { compare, success, failure } = request;
    let longest = compare.len().max(success.len()).max(failure.len());
    if longest > TXN_OPS_MAX || depth > TXN_DEPTH_MAX {
        return Err(refuse::too_many_ops());
    }
    Ok(Txn {
        compares: compare.into_iter().map(comparison).collect::<Result<_, _>>()?,
        success: ops(success, traits, depth)?,
        failure: ops(failure, traits, depth)?,
    })
}

fn ops(requests: Vec<pb::RequestOp>, traits: &mut Traits, depth: usize) -> Result<Vec<Op>, Status> {
    requests.into_iter().map(|request| op(request, traits, depth)).collect()
}

fn op(request: pb::RequestOp, traits: &mut Traits, depth: usize) -> Result<Op, Status> {
    use pb::request_op::Request;
    let kind = match request.request.ok_or_else(refuse::no_operation)? {
        Request::RequestRange(request) => {
            traits.serializable &= request.serializable;
            OpKind::Range(range(request)?)
        }
        Request::RequestPut(request) => {
            traits.read_only = false;
            OpKind::Put(put(request)?)
        }
        Request::RequestDeleteRange(request) => {
            traits.read_only = false;
            OpKind::Delete(delete(request)?)
        }
        Request::RequestTxn(request) => OpKind::Txn(txn_at(request, traits, depth + 1)?),
    };
    Ok(Op { kind: Some(kind) })
}

fn comparison(request: pb::Compare) -> Result<Compare, Status> {
    use pb::compare::TargetUnion;
    if request.key.is_empty() {
        return Err(refuse::empty_key());
    }
    let result = CompareResult::try_from(request.result)
        .map_err(|_| Status::invalid_argument("muslin: no such comparison"))?;
    let Ok(target) = pb::compare::CompareTarget::try_from(request.target) else {
        return Err(Status::invalid_argument("muslin: nothing of that kind is compared"));
    };
    // What is compared with is left out by clients when it is zero: the target says what is meant,
    // and what is meant for another target counts as left out, as in etcd.
    use pb::compare::CompareTarget as Asked;
    let number = match (target, &request.target_union) {
        (Asked::Version, Some(TargetUnion::Version(number)))
        | (Asked::Create, Some(TargetUnion::CreateRevision(number)))
        | (Asked::Mod, Some(TargetUnion::ModRevision(number)))
        | (Asked::Lease, Some(TargetUnion::Lease(number))) => *number,
        _ => 0,
    };
    let (result, number) = as_unsigned(result, number);
    let target = match target {
        Asked::Version => CompareTarget::Version(number),
        Asked::Create => CompareTarget::Create(number),
        Asked::Mod => CompareTarget::Mod(number),
        Asked::Lease => CompareTarget::Lease(number),
        Asked::Value => CompareTarget::Value(match request.target_union {
            Some(TargetUnion::Value(value)) => value,
            _ => Bytes::new(),
        }),
    };
    Ok(Compare {
        range: KeyRange { key: request.key, range_end: request.range_end },
        result: result as i32,
        target: Some(target),
    })
}

/// The same comparison with a number that is not below zero. The core's numbers never are, so one
/// with a negative number has the same result whatever the key holds.
fn as_unsigned(result: CompareResult, number: i64) -> (CompareResult, u64) {
    /// Larger than any number a key can have.
    const NEVER: u64 = u64::MAX;
    match (u64::try_from(number), result) {
        (Ok(number), result) => (result, number),
        (Err(_), CompareResult::Equal) => (CompareResult::Equal, NEVER),
        (Err(_), CompareResult::Less) => (CompareResult::Less, 0),
        (Err(_), CompareResult::Greater | CompareResult::NotEqual) => {
            (CompareResult::NotEqual, NEVER)
        }
    }
}

pub(super) fn watch(request: &pb::WatchCreateRequest) -> WatchSpec {
    use pb::watch_create_request::FilterType;
    let filters = |wanted: FilterType| request.filters.contains(&(wanted as i32));
    // etcd's clients ask for everything with an empty key.
    let key = if request.key.is_empty() { Bytes::from_static(&[0]) } else { request.key.clone() };
    WatchSpec {
        range: KeyRange { key, range_end: request.range_end.clone() },
        start_revision: unsigned(request.start_revision),
        no_put: filters(FilterType::Noput),
        no_delete: filters(FilterType::Nodelete),
        prev_kv: request.prev_kv,
    }
}

pub(super) fn pair(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key.into(),
        create_revision: signed(kv.create_revision),
        mod_revision: signed(kv.mod_revision),
        version: signed(kv.version),
        value: kv.value.into(),
        lease: signed(kv.lease),
    }
}

/// What heads an answer.
pub(super) type Header = Option<pb::ResponseHeader>;

#[cfg(test)]
mod tests {
    use super::*;
    use pb::compare::{CompareTarget as Asked, TargetUnion};

    #[test]
    fn what_is_compared_with_is_of_the_target_or_zero() {
        let of = |target: Asked, union: Option<TargetUnion>| {
            let (key, target) = ("a".into(), target as i32);
            let asked = pb::Compare { key, target, target_union: union, ..pb::Compare::default() };
            comparison(asked).unwrap().target.unwrap()
        };
        let created = |number| Some(TargetUnion::CreateRevision(number));
        assert_eq!(of(Asked::Create, created(7)), CompareTarget::Create(7));
        assert_eq!(of(Asked::Create, None), CompareTarget::Create(0));
        assert_eq!(of(Asked::Create, Some(TargetUnion::Version(7))), CompareTarget::Create(0));
        assert_eq!(of(Asked::Version, created(7)), CompareTarget::Version(0));
        assert_eq!(of(Asked::Value, created(7)), CompareTarget::Value(Bytes::new()));
        let value = Some(TargetUnion::Value("x".into()));
        assert_eq!(of(Asked::Value, value), CompareTarget::Value("x".into()));
        let none = pb::Compare { key: "a".into(), target: 5, ..pb::Compare::default() };
        assert!(comparison(none).unwrap_err().message().starts_with("muslin: "));
    }
}
