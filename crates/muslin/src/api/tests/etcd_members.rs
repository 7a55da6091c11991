//! Members, alarms and probes as etcd offers them, through tonic's client.

use super::etcd::{put, range};
use super::*;
use crate::api::etcd::VERSION;
use crate::api::proto::etcdserverpb as pb;
use crate::client::{Call, Client, ClientError};
use pb::alarm_request::AlarmAction;
use pb::cluster_client::ClusterClient;
use pb::kv_client::KvClient;
use pb::maintenance_client::MaintenanceClient;
use serde_json::{Value, json};
use tonic::{Code, Status};

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, text: &str) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, text));
}

fn add(url: &str) -> pb::MemberAddRequest {
    pb::MemberAddRequest { peer_ur_ls: vec![url.into()], is_learner: false }
}

#[tokio::test]
async fn members_are_added_updated_and_removed_as_etcd_lists_them() {
    let world = World::new().await;
    let mut cluster = ClusterClient::new(world.channel().await);
    let added = cluster.member_add(add("http://10.0.0.2:2380")).await.unwrap().into_inner();
    let member = added.member.unwrap();
    assert_eq!((member.name.as_str(), member.client_ur_ls.len()), ("", 0), "it has not started");
    assert_eq!(added.members.len(), 2);
    let id = member.id;
    let text = "etcdserver: Peer URLs already exists";
    let again = cluster.member_add(add("https://10.0.0.2:2380/")).await;
    refused(again, Code::FailedPrecondition, text);
    let of_the_node = cluster.member_add(add("https://127.0.0.1:7401")).await;
    refused(of_the_node, Code::FailedPrecondition, text);
    let text = "etcdserver: given member URLs are invalid";
    let wrong = ["", "10.0.0.2:2380", "http://10.0.0.2", "http://:1", "ftp://a:1", "http://a:b"];
    for url in wrong.into_iter().chain(["http://a b:1", "http://a/b:1", "http://u@a:1"]) {
        refused(cluster.member_add(add(url)).await, Code::InvalidArgument, text);
    }
    refused(cluster.member_add(pb::MemberAddRequest::default()).await, Code::InvalidArgument, text);
    let peer_ur_ls = vec![String::from("http://10.0.0.3:2380")];
    let update = pb::MemberUpdateRequest { id, peer_ur_ls: peer_ur_ls.clone() };
    let told = cluster.member_update(update.clone()).await.unwrap().into_inner();
    assert_eq!(told.members[1].peer_ur_ls, peer_ur_ls);
    let missing = "etcdserver: member not found";
    let nobody = pb::MemberUpdateRequest { id: 99, ..update };
    refused(cluster.member_update(nobody).await, Code::NotFound, missing);
    let not_there = "etcdserver: can only promote a learner member which is in sync with leader";
    let promote = |id| pb::MemberPromoteRequest { id };
    refused(cluster.member_promote(promote(id)).await, Code::FailedPrecondition, not_there);
    let voter = "etcdserver: can only promote a learner member";
    refused(cluster.member_promote(promote(1)).await, Code::FailedPrecondition, voter);
    refused(cluster.member_promote(promote(99)).await, Code::NotFound, missing);
    let remove = |id| pb::MemberRemoveRequest { id };
    let left = cluster.member_remove(remove(id)).await.unwrap().into_inner().members;
    assert_eq!(left.len(), 1);
    refused(cluster.member_remove(remove(id)).await, Code::NotFound, missing);
    let text = "etcdserver: re-configuration failed due to not enough started members";
    refused(cluster.member_remove(remove(1)).await, Code::FailedPrecondition, text);
}

fn alarm(action: AlarmAction, member_id: u64, alarm: pb::AlarmType) -> pb::AlarmRequest {
    pb::AlarmRequest { action: action.into(), member_id, alarm: alarm.into() }
}

#[tokio::test]
async fn alarms_are_raised_listed_and_ended_by_member_and_kind() {
    use AlarmAction::{Activate, Deactivate, Get};
    use pb::AlarmType::{Corrupt, None as Any, Nospace};
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    let mut client = MaintenanceClient::new(world.channel().await);
    let mut ask = async |action, member, kind| {
        let told = client.alarm(alarm(action, member, kind)).await.unwrap().into_inner().alarms;
        told.iter().map(|one| (one.member_id, one.alarm())).collect::<Vec<_>>()
    };
    assert_eq!(ask(Get, 0, Any).await, []);
    assert_eq!(ask(Activate, 1, Nospace).await, [(1, Nospace)]);
    let text = "etcdserver: mvcc: database space exceeded";
    refused(kv.put(put("a", "1")).await, Code::ResourceExhausted, text);
    assert_eq!(ask(Activate, 0, Corrupt).await, [(0, Corrupt)]);
    let text = "etcdserver: corrupt cluster";
    refused(kv.put(put("a", "1")).await, Code::DataLoss, text);
    refused(kv.range(range("a", b"")).await, Code::DataLoss, text);
    assert_eq!(ask(Get, 0, Any).await, [(0, Corrupt), (1, Nospace)]);
    assert_eq!(ask(Get, 1, Any).await, [(1, Nospace)]);
    assert_eq!(ask(Get, 0, Corrupt).await, [(0, Corrupt)]);
    assert_eq!(ask(Deactivate, 1, Corrupt).await, [], "of another member");
    assert_eq!(ask(Deactivate, 0, Corrupt).await, [(0, Corrupt)]);
    let status = MaintenanceClient::new(world.channel().await).status(pb::StatusRequest {}).await;
    assert_eq!(status.unwrap().into_inner().errors, ["memberID:1 alarm:NOSPACE "]);
    assert_eq!(ask(Deactivate, 1, Nospace).await, [(1, Nospace)]);
    assert_eq!(ask(Get, 0, Any).await, []);
    kv.put(put("a", "1")).await.unwrap();
}

#[tokio::test]
async fn probes_made_for_etcd_are_answered() {
    let world = World::new().await;
    let client = Client::new(world.etcd.to_string(), None);
    let health: Value = client.json(Call::get("/health")).await.unwrap();
    assert_eq!(health, json!({ "health": "true", "reason": "" }));
    let version: Value = client.json(Call::get("/version")).await.unwrap();
    assert_eq!(version["etcdserver"], VERSION);
    let mut maintenance = MaintenanceClient::new(world.channel().await);
    let raise = alarm(AlarmAction::Activate, 1, pb::AlarmType::Nospace);
    maintenance.alarm(raise).await.unwrap();
    let sick = client.bytes(Call::get("/health")).await;
    assert!(matches!(sick, Err(ClientError::Problem { status: 503, .. })), "{sick:?}");
    client.bytes(Call::get("/health?exclude=NOSPACE")).await.unwrap();
    #[derive(Clone, PartialEq, prost::Message)]
    struct Told {
        #[prost(int32, tag = "1")]
        status: i32,
    }
    let mut grpc = tonic::client::Grpc::new(world.channel().await);
    grpc.ready().await.unwrap();
    let codec = || tonic_prost::ProstCodec::<(), Told>::default();
    let check = "/grpc.health.v1.Health/Check".parse().unwrap();
    let told = grpc.unary(tonic::Request::new(()), check, codec()).await.unwrap();
    assert_eq!(told.into_inner().status, 1);
    grpc.ready().await.unwrap();
    let watch = "/grpc.health.v1.Health/Watch".parse().unwrap();
    let stream = grpc.server_streaming(tonic::Request::new(()), watch, codec()).await.unwrap();
    let first = stream.into_inner().message().await.unwrap().unwrap();
    assert_eq!(first.status, 1);
}
