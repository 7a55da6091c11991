//! etcd's calls, through tonic's client.

use super::*;
use crate::api::etcd::VERSION;
use crate::api::proto::etcdserverpb as pb;
use pb::cluster_client::ClusterClient;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Request, Status};

pub(super) fn put(key: &'static str, value: impl Into<Bytes>) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), value: value.into(), ..pb::PutRequest::default() }
}

pub(super) fn range(key: &'static str, range_end: &'static [u8]) -> pb::RangeRequest {
    let (key, range_end) = (key.into(), range_end.into());
    pb::RangeRequest { key, range_end, ..pb::RangeRequest::default() }
}

fn delete(key: &'static str) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: key.into(), ..pb::DeleteRangeRequest::default() }
}

fn op(request: pb::request_op::Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

fn put_op(key: &'static str) -> pb::RequestOp {
    op(pb::request_op::Request::RequestPut(put(key, "v")))
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, text: &str) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, text));
}

#[tokio::test]
async fn what_is_put_is_read_back_with_its_numbers() {
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    let first = kv.put(put("a", "1")).await.unwrap().into_inner().header.unwrap();
    assert_eq!((first.cluster_id, first.member_id), (0xdef, 1));
    assert_eq!((first.revision, first.raft_term), (2, world.handle.glance().term.0));
    let again = pb::PutRequest { prev_kv: true, ..put("a", "2") };
    let prev = kv.put(again).await.unwrap().into_inner().prev_kv.unwrap();
    assert_eq!(prev.value, "1");
    kv.put(put("b", "3")).await.unwrap();
    let answer = kv.range(range("a", b"\0")).await.unwrap().into_inner();
    assert_eq!((answer.count, answer.more, answer.header.unwrap().revision), (2, false, 4));
    let kv_a = &answer.kvs[0];
    assert_eq!((kv_a.value.as_ref(), kv_a.version), (b"2".as_slice(), 2));
    assert_eq!((kv_a.create_revision, kv_a.mod_revision), (2, 3));
    let past = pb::RangeRequest { revision: 2, ..range("a", b"") };
    assert_eq!(kv.range(past).await.unwrap().into_inner().kvs[0].value, "1");
    let gone = kv.delete_range(delete("a")).await.unwrap().into_inner();
    assert_eq!((gone.deleted, gone.header.unwrap().revision), (1, 5));
}

#[tokio::test]
async fn errors_are_etcds_to_the_letter() {
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    let empty = "etcdserver: key is not provided";
    refused(kv.put(put("", "v")).await, Code::InvalidArgument, empty);
    refused(kv.range(range("", b"")).await, Code::InvalidArgument, empty);
    refused(kv.delete_range(delete("")).await, Code::InvalidArgument, empty);
    let future = pb::RangeRequest { revision: 99, ..range("a", b"") };
    let text = "etcdserver: mvcc: required revision is a future revision";
    refused(kv.range(future).await, Code::OutOfRange, text);
    let keep = pb::PutRequest { ignore_value: true, ..put("none", "") };
    refused(kv.put(keep).await, Code::InvalidArgument, "etcdserver: key not found");
    let both = pb::PutRequest { ignore_value: true, ..put("a", "v") };
    refused(kv.put(both).await, Code::InvalidArgument, "etcdserver: value is provided");
    let leased = pb::PutRequest { lease: 99, ..put("a", "v") };
    refused(kv.put(leased).await, Code::NotFound, "etcdserver: requested lease not found");
    let sorted = pb::RangeRequest { sort_order: 9, ..range("a", b"") };
    refused(kv.range(sorted).await, Code::InvalidArgument, "etcdserver: invalid sort option");
    let twice = pb::TxnRequest { success: vec![put_op("a"), put_op("a")], ..Default::default() };
    let text = "etcdserver: duplicate key given in txn request";
    refused(kv.txn(twice).await, Code::InvalidArgument, text);
    let blank = pb::RequestOp { request: None };
    let blank = pb::TxnRequest { success: vec![put_op("a"), blank], ..Default::default() };
    refused(kv.txn(blank).await, Code::InvalidArgument, "etcdserver: key not found");
    let many = pb::TxnRequest { success: vec![put_op("a"); 129], ..Default::default() };
    let text = "etcdserver: too many operations in txn request";
    refused(kv.txn(many).await, Code::InvalidArgument, text);
    let large = put("a", vec![0; 1_600 << 10]);
    refused(kv.put(large).await, Code::InvalidArgument, "etcdserver: request is too large");
}

#[tokio::test]
async fn compacted_history_cannot_be_read() {
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    for value in ["1", "2", "3"] {
        kv.put(put("a", value)).await.unwrap();
    }
    kv.compact(pb::CompactionRequest { revision: 4, physical: true }).await.unwrap();
    let text = "etcdserver: mvcc: required revision has been compacted";
    let past = pb::RangeRequest { revision: 3, ..range("a", b"") };
    refused(kv.range(past).await, Code::OutOfRange, text);
    let again = pb::CompactionRequest { revision: 4, physical: false };
    refused(kv.compact(again).await, Code::OutOfRange, text);
    let future = pb::CompactionRequest { revision: 40, physical: false };
    let text = "etcdserver: mvcc: required revision is a future revision";
    refused(kv.compact(future).await, Code::OutOfRange, text);
}

/// Compares something of key `a`, which is at version 1, with a number.
fn comparison(result: pb::compare::CompareResult, number: i64) -> pb::Compare {
    pb::Compare {
        result: result as i32,
        target: pb::compare::CompareTarget::Version as i32,
        key: "a".into(),
        target_union: Some(pb::compare::TargetUnion::Version(number)),
        ..pb::Compare::default()
    }
}

#[tokio::test]
async fn comparisons_hold_as_with_signed_numbers() {
    use pb::compare::CompareResult::{Equal, Greater, Less, NotEqual};
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    kv.put(put("a", "1")).await.unwrap();
    for (result, number, holds) in [
        (Equal, 1, true),
        (Equal, -1, false),
        (NotEqual, -1, true),
        (Greater, 0, true),
        (Greater, -1, true),
        (Less, 2, true),
        (Less, -1, false),
        (Less, i64::MIN, false),
    ] {
        let compare = vec![comparison(result, number)];
        let txn = pb::TxnRequest { compare, ..pb::TxnRequest::default() };
        let answer = kv.txn(txn).await.unwrap().into_inner();
        assert_eq!(answer.succeeded, holds, "{result:?} {number}");
    }
}

#[tokio::test]
async fn a_transaction_answers_for_each_operation_also_for_those_inside() {
    use pb::request_op::Request::{RequestRange, RequestTxn};
    use pb::response_op::Response::{ResponsePut, ResponseRange, ResponseTxn};
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    let absent = comparison(pb::compare::CompareResult::Equal, 0);
    let inner = pb::TxnRequest { success: vec![put_op("b")], ..pb::TxnRequest::default() };
    let txn = pb::TxnRequest {
        compare: vec![absent],
        success: vec![put_op("a"), op(RequestRange(range("a", b""))), op(RequestTxn(inner))],
        failure: vec![],
    };
    let answer = kv.txn(txn.clone()).await.unwrap().into_inner();
    assert!(answer.succeeded);
    let kinds: Vec<_> = answer.responses.into_iter().map(|r| r.response.unwrap()).collect();
    let [ResponsePut(_), ResponseRange(read), ResponseTxn(inner)] = &kinds[..] else {
        panic!("{kinds:?}");
    };
    assert_eq!(read.kvs[0].mod_revision, 2);
    assert_eq!(inner.header.unwrap().revision, 2);
    assert!(!kv.txn(txn).await.unwrap().into_inner().succeeded);
}

#[tokio::test]
async fn transactions_too_deep_to_mean_anything_are_refused() {
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    let mut txn = pb::TxnRequest { success: vec![put_op("a")], ..pb::TxnRequest::default() };
    for _ in 0..20 {
        let inner = op(pb::request_op::Request::RequestTxn(txn));
        txn = pb::TxnRequest { success: vec![inner], ..pb::TxnRequest::default() };
    }
    assert_eq!(kv.txn(txn).await.unwrap_err().code(), Code::InvalidArgument);
    kv.put(put("a", "1")).await.unwrap();
}

#[tokio::test]
async fn an_answer_may_be_larger_than_any_request() {
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await).max_decoding_message_size(usize::MAX);
    for key in ["a", "b", "c", "d", "e", "f", "g"] {
        kv.put(put(key, vec![7; 1 << 20])).await.unwrap();
    }
    let answer = kv.range(range("a", b"\0")).await.unwrap().into_inner();
    assert_eq!(answer.kvs.iter().map(|kv| kv.value.len()).sum::<usize>(), 7 << 20);
}

#[tokio::test]
async fn without_a_quorum_writes_time_out_and_local_reads_work() {
    let world = World::of(Wishes { absent_voters: 2, ..Wishes::default() }).await;
    let mut kv = KvClient::new(world.channel().await);
    let text = "etcdserver: request timed out";
    refused(kv.put(put("a", "1")).await, Code::Unavailable, text);
    let local = pb::RangeRequest { serializable: true, ..range("a", b"") };
    assert_eq!(kv.range(local).await.unwrap().into_inner().count, 0);
    let mut asked = Request::new(range("a", b""));
    asked.metadata_mut().insert("hasleader", "true".parse().unwrap());
    refused(kv.range(asked).await, Code::Unavailable, "etcdserver: no leader");
}

/// `Maintenance.Status` as the Go client of etcd 3.4 asks for it: `:authority` is the whole address
/// of the endpoint, `http://127.0.0.1:2379` in the code of RFC 7541.
const STATUS_BY_ADDRESS: &[u8] = b"\x83\x86\x45\x97\x60\xa9\x24\x88\x2d\x9d\xcb\x65\x71\xaf\
    \xa0\x66\xa9\x25\xa8\x75\x10\xac\x6e\x48\xd3\x6a\x3f\x41\x8f\x9d\x29\xae\xe3\x0c\x04\x4e\
    \xae\x05\xc0\xb8\x6e\x09\x97\x5f\x5f\x8b\x1d\x75\xd0\x62\x0d\x26\x3d\x4c\x4d\x65\x64\x40\
    \x02\x74\x65\x86\x4d\x83\x35\x05\xb1\x1f";

#[tokio::test]
async fn a_call_to_an_address_with_its_scheme_is_answered() {
    let world = World::new().await;
    let head = [0, 0, u8::try_from(STATUS_BY_ADDRESS.len()).unwrap(), 1, 4, 0, 0, 0, 1];
    let sent = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".as_slice(),
        head.as_slice(),
        STATUS_BY_ADDRESS,
        // An empty message, and no more of them.
        b"\0\0\x05\0\x01\0\0\0\x01\0\0\0\0\0",
    ]
    .concat();
    let mut stream = TcpStream::connect(world.etcd).await.unwrap();
    stream.write_all(&sent).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(VERSION.len()).any(|bytes| bytes == VERSION.as_bytes()) {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await;
        assert!(read.expect("it is answered").unwrap() > 0, "hung up: {answer:?}");
    }
}

#[tokio::test]
async fn leases_live_as_long_as_they_are_kept() {
    let world = World::new().await;
    let mut lease = LeaseClient::new(world.channel().await);
    let mut kv = KvClient::new(world.channel().await);
    let grant = lease.lease_grant(pb::LeaseGrantRequest { ttl: 60, id: 0 }).await.unwrap();
    let grant = grant.into_inner();
    assert!(grant.id > 0);
    assert_eq!(grant.ttl, 60);
    kv.put(pb::PutRequest { lease: grant.id, ..put("a", "1") }).await.unwrap();

    let ask = pb::LeaseTimeToLiveRequest { id: grant.id, keys: true };
    let left = lease.lease_time_to_live(ask).await.unwrap().into_inner();
    assert_eq!((left.granted_ttl, left.keys), (60, vec![Bytes::from("a")]));
    assert!((58..=60).contains(&left.ttl));
    let all = lease.lease_leases(pb::LeaseLeasesRequest {}).await.unwrap().into_inner();
    assert_eq!(all.leases, [pb::LeaseStatus { id: grant.id }]);

    let requests = [grant.id, grant.id + 1].map(|id| pb::LeaseKeepAliveRequest { id });
    let requests = tonic::codegen::tokio_stream::iter(requests);
    let mut answers = lease.lease_keep_alive(requests).await.unwrap().into_inner();
    let kept = answers.message().await.unwrap().unwrap();
    assert_eq!((kept.id, kept.ttl), (grant.id, 60));
    let gone = answers.message().await.unwrap().unwrap();
    assert_eq!((gone.id, gone.ttl), (grant.id + 1, 0));
    assert!(answers.message().await.unwrap().is_none());

    lease.lease_revoke(pb::LeaseRevokeRequest { id: grant.id }).await.unwrap();
    assert_eq!(kv.range(range("a", b"")).await.unwrap().into_inner().count, 0);
    let left = lease.lease_time_to_live(ask).await.unwrap().into_inner();
    assert_eq!((left.ttl, left.granted_ttl), (-1, 0));
}

#[tokio::test]
async fn leases_are_refused_in_etcds_words() {
    let world = World::new().await;
    let mut lease = LeaseClient::new(world.channel().await);
    let grant = pb::LeaseGrantRequest { ttl: 60, id: 77 };
    lease.lease_grant(grant).await.unwrap();
    let text = "etcdserver: lease already exists";
    refused(lease.lease_grant(grant).await, Code::FailedPrecondition, text);
    let forever = pb::LeaseGrantRequest { ttl: i64::MAX, id: 0 };
    let text = "etcdserver: too large lease TTL";
    refused(lease.lease_grant(forever).await, Code::OutOfRange, text);
    let short = pb::LeaseGrantRequest { ttl: -5, id: 0 };
    assert_eq!(lease.lease_grant(short).await.unwrap().into_inner().ttl, 1);
    let text = "etcdserver: requested lease not found";
    for id in [78, -1] {
        let revoke = pb::LeaseRevokeRequest { id };
        refused(lease.lease_revoke(revoke).await, Code::NotFound, text);
    }
}

#[tokio::test]
async fn members_and_status_are_told_as_etcd_tells_them() {
    let world = World::new().await;
    let mut cluster = ClusterClient::new(world.channel().await);
    let mut maintenance = MaintenanceClient::new(world.channel().await);
    let list = pb::MemberListRequest { linearizable: true };
    let members = cluster.member_list(list).await.unwrap().into_inner().members;
    let [only] = &members[..] else { panic!("{members:?}") };
    assert_eq!((only.id, only.name.as_str(), only.is_learner), (1, "n1", false));
    assert_eq!(only.peer_ur_ls, ["https://127.0.0.1:7401"]);
    assert_eq!(only.client_ur_ls, ["http://127.0.0.1:23791"]);
    let status = maintenance.status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.leader, status.version.as_str()), (1, VERSION));
    assert!(status.raft_applied_index >= 1 && status.raft_term >= 1);
    let alarms = maintenance.alarm(pb::AlarmRequest::default()).await.unwrap().into_inner();
    assert!(alarms.alarms.is_empty());
    maintenance.defragment(pb::DefragmentRequest {}).await.unwrap();
    let to_nobody = pb::MoveLeaderRequest { target_id: 9 };
    let text = "etcdserver: bad leader transferee";
    refused(maintenance.move_leader(to_nobody).await, Code::FailedPrecondition, text);
}

#[tokio::test]
async fn what_is_not_offered_says_so() {
    use tonic::client::Grpc;
    use tonic::codegen::http::uri::PathAndQuery;
    let world = World::new().await;
    let mut client = Grpc::new(world.channel().await);
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<pb::HashRequest, pb::HashResponse>::default();
    let path = PathAndQuery::from_static("/etcdserverpb.Auth/AuthForget");
    let answer = client.unary(Request::new(pb::HashRequest {}), path, codec).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn the_main_port_speaks_grpc_too() {
    let world = World::new().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", world.addr)).unwrap();
    let mut kv = KvClient::new(endpoint.connect().await.unwrap());
    kv.put(put("a", "1")).await.unwrap();
}
