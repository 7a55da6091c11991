//! Locks and elections as etcd's services offer them, through tonic's client.

use super::etcd::{put, range};
use super::*;
use crate::api::proto::etcdserverpb as etcd;
use crate::api::proto::v3electionpb as election;
use crate::api::proto::v3lockpb as lock;
use crate::coordination::{Lock, Session};
use election::election_client::ElectionClient;
use etcd::kv_client::KvClient;
use etcd::lease_client::LeaseClient;
use lock::lock_client::LockClient;
use tonic::{Code, Status};

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it happens")
}

async fn grant(world: &World, id: i64) -> i64 {
    let request = etcd::LeaseGrantRequest { ttl: 600, id };
    let granted = LeaseClient::new(world.channel().await).lease_grant(request).await;
    granted.unwrap().into_inner().id
}

async fn revoke(world: &World, id: i64) {
    let request = etcd::LeaseRevokeRequest { id };
    LeaseClient::new(world.channel().await).lease_revoke(request).await.unwrap();
}

/// Waits until so many keys begin so.
async fn queued(world: &World, prefix: &'static str, end: &'static [u8], count: i64) {
    let mut kv = KvClient::new(world.channel().await);
    within(async {
        while kv.range(range(prefix, end)).await.unwrap().into_inner().count != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn wanted(name: &'static str, lease: i64) -> lock::LockRequest {
    lock::LockRequest { name: name.into(), lease }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, text: &str) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unknown, text));
}

#[tokio::test]
async fn a_lock_goes_to_the_next_when_it_is_given_back_and_when_its_lease_ends() {
    let world = World::new().await;
    let mut client = LockClient::new(world.channel().await);
    for id in [0x11, 0x22, 0x33] {
        grant(&world, id).await;
    }
    let held = client.lock(wanted("name", 0x11)).await.unwrap().into_inner();
    assert_eq!((held.key.as_ref(), held.header.unwrap().revision), (&b"name/11"[..], 2));
    let again = client.lock(wanted("name", 0x11)).await.unwrap().into_inner();
    assert_eq!(again.key, held.key, "a lease has it once");
    let wait = |lease| {
        let mut client = client.clone();
        tokio::spawn(async move { client.lock(wanted("name", lease)).await })
    };
    let second = wait(0x22);
    queued(&world, "name/", b"name0", 2).await;
    let third = wait(0x33);
    queued(&world, "name/", b"name0", 3).await;
    client.unlock(lock::UnlockRequest { key: held.key }).await.unwrap();
    assert_eq!(within(second).await.unwrap().unwrap().into_inner().key, "name/22");
    assert!(!third.is_finished());
    revoke(&world, 0x22).await;
    assert_eq!(within(third).await.unwrap().unwrap().into_inner().key, "name/33");
}

#[tokio::test]
async fn whoever_waits_for_a_lock_may_go_and_may_lose_its_lease() {
    let world = World::new().await;
    let mut client = LockClient::new(world.channel().await);
    for id in [0x11, 0x22] {
        grant(&world, id).await;
    }
    client.lock(wanted("name", 0x11)).await.unwrap();
    let mut other = client.clone();
    let gone = tokio::spawn(async move { other.lock(wanted("name", 0x22)).await });
    queued(&world, "name/", b"name0", 2).await;
    // A caller that hangs up is in the queue no longer.
    gone.abort();
    queued(&world, "name/", b"name0", 1).await;
    let mut other = client.clone();
    let waits = tokio::spawn(async move { other.lock(wanted("name", 0x22)).await });
    queued(&world, "name/", b"name0", 2).await;
    revoke(&world, 0x22).await;
    refused(within(waits).await.unwrap(), "mutex: session is expired");
    refused(client.lock(wanted("name", 99)).await, "etcdserver: requested lease not found");
    refused(client.lock(wanted("name", -1)).await, "etcdserver: requested lease not found");
    let none = lock::UnlockRequest::default();
    refused(client.unlock(none).await, "etcdserver: key is not provided");
    client.unlock(lock::UnlockRequest { key: "none".into() }).await.unwrap();
}

#[tokio::test]
async fn a_lock_without_a_lease_has_one_for_a_minute() {
    let world = World::new().await;
    let mut client = LockClient::new(world.channel().await);
    let held = client.lock(wanted("name", 0)).await.unwrap().into_inner();
    let mut kv = KvClient::new(world.channel().await);
    let found = kv.range(range("name/", b"name0")).await.unwrap().into_inner().kvs;
    assert_eq!((found.len(), &found[0].key), (1, &held.key));
    assert_eq!(held.key, format!("name/{:x}", found[0].lease));
    let mut leases = LeaseClient::new(world.channel().await);
    let ask = etcd::LeaseTimeToLiveRequest { id: found[0].lease, keys: true };
    let ttl = leases.lease_time_to_live(ask).await.unwrap().into_inner();
    assert_eq!((ttl.granted_ttl, ttl.keys), (60, vec![held.key.clone()]));
    client.unlock(lock::UnlockRequest { key: held.key }).await.unwrap();
    assert_eq!(leases.lease_time_to_live(ask).await.unwrap().into_inner().ttl, -1);
}

#[tokio::test]
async fn those_who_embed_the_library_and_etcds_clients_wait_in_one_queue() {
    let world = World::new().await;
    let mut client = LockClient::new(world.channel().await);
    let session = Session::open(&world.handle, PATIENCE).await.unwrap();
    let held = Lock::new(&world.handle, "both").acquire(&session).await.unwrap();
    grant(&world, 0x11).await;
    let mut other = client.clone();
    let waits = tokio::spawn(async move { other.lock(wanted("both", 0x11)).await });
    queued(&world, "both/", b"both0", 2).await;
    held.release().await.unwrap();
    let theirs = within(waits).await.unwrap().unwrap().into_inner();
    let (handle, own) = (world.handle.clone(), session.clone());
    let ours = tokio::spawn(async move { Lock::new(&handle, "both").acquire(&own).await });
    queued(&world, "both/", b"both0", 2).await;
    client.unlock(lock::UnlockRequest { key: theirs.key }).await.unwrap();
    within(ours).await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn an_election_is_won_proclaimed_observed_and_given_up() {
    let world = World::new().await;
    let mut client = ElectionClient::new(world.channel().await);
    let named = || election::LeaderRequest { name: "office".into() };
    refused(client.leader(named()).await, "election: no leader");
    let mut observed = client.observe(named()).await.unwrap().into_inner();
    for id in [0x11, 0x22] {
        grant(&world, id).await;
    }
    let campaign = |lease, value: &'static str| election::CampaignRequest {
        name: "office".into(),
        lease,
        value: value.into(),
    };
    let won = client.campaign(campaign(0x11, "one")).await.unwrap().into_inner();
    let leader = won.leader.unwrap();
    let told = election::LeaderKey {
        name: "office".into(),
        key: "office/11".into(),
        rev: won.header.unwrap().revision,
        lease: 0x11,
    };
    assert_eq!(leader, told);
    let next = within(observed.message()).await.unwrap().unwrap();
    assert_eq!(next.kv.unwrap().value, "one");
    let mut other = client.clone();
    let second = tokio::spawn(async move { other.campaign(campaign(0x22, "two")).await });
    queued(&world, "office/", b"office0", 2).await;
    let says = |leader: &election::LeaderKey, value: &'static str| election::ProclaimRequest {
        leader: Some(leader.clone()),
        value: value.into(),
    };
    client.proclaim(says(&leader, "more")).await.unwrap();
    let next = within(observed.message()).await.unwrap().unwrap();
    assert_eq!(next.kv.unwrap().value, "more");
    // Its lease need not be told again.
    let bare = election::LeaderKey { lease: 0, ..leader.clone() };
    client.proclaim(says(&bare, "most")).await.unwrap();
    let now = client.leader(named()).await.unwrap().into_inner().kv.unwrap();
    assert_eq!((now.value.as_ref(), now.lease), (&b"most"[..], 0x11));
    let old = election::LeaderKey { rev: leader.rev - 1, ..leader.clone() };
    refused(client.proclaim(says(&old, "late")).await, "election: not leader");
    let none = election::LeaderKey { rev: 0, key: "none".into(), ..leader.clone() };
    refused(client.proclaim(says(&none, "late")).await, "election: not leader");
    // Who does not lead gives up nothing.
    client.resign(election::ResignRequest { leader: Some(old) }).await.unwrap();
    assert!(!second.is_finished());
    client.resign(election::ResignRequest { leader: Some(leader.clone()) }).await.unwrap();
    let second = within(second).await.unwrap().unwrap().into_inner().leader.unwrap();
    assert_eq!(second.key, "office/22");
    while within(observed.message()).await.unwrap().unwrap().kv.unwrap().value != "two" {}
    refused(client.proclaim(says(&leader, "late")).await, "election: not leader");
    let missing = "\"leader\" field must be provided";
    let nobody = election::ProclaimRequest::default();
    refused(client.proclaim(nobody).await, missing);
    refused(client.resign(election::ResignRequest::default()).await, missing);
}

#[tokio::test]
async fn calls_that_wait_end_when_the_node_stops() {
    let world = World::new().await;
    let mut client = LockClient::new(world.channel().await);
    grant(&world, 0x11).await;
    client.lock(wanted("name", 0x11)).await.unwrap();
    let mut observer = ElectionClient::new(world.channel().await);
    let request = election::LeaderRequest { name: "office".into() };
    let mut observed = observer.observe(request).await.unwrap().into_inner();
    let waits = tokio::spawn(async move { client.lock(wanted("name", 0)).await });
    queued(&world, "name/", b"name0", 2).await;
    let _ = world.shutdown.send(true);
    let status = within(waits).await.unwrap().unwrap_err();
    assert_eq!(status.message(), "etcdserver: server stopped");
    let status = within(observed.message()).await.unwrap_err();
    assert_eq!(status.message(), "etcdserver: server stopped");
}

#[tokio::test]
async fn a_write_behind_a_fence_happens_while_the_lock_is_held() {
    let world = World::new().await;
    let mut client = LockClient::new(world.channel().await);
    let mut kv = KvClient::new(world.channel().await);
    grant(&world, 0x11).await;
    let held = client.lock(wanted("name", 0x11)).await.unwrap().into_inner();
    let fence = etcd::Compare {
        result: etcd::compare::CompareResult::Equal as i32,
        target: etcd::compare::CompareTarget::Create as i32,
        key: held.key,
        target_union: Some(etcd::compare::TargetUnion::CreateRevision(
            held.header.unwrap().revision,
        )),
        range_end: Bytes::new(),
    };
    let request = etcd::request_op::Request::RequestPut(put("file", "1"));
    let txn = || etcd::TxnRequest {
        compare: vec![fence.clone()],
        success: vec![etcd::RequestOp { request: Some(request.clone()) }],
        failure: Vec::new(),
    };
    assert!(kv.txn(txn()).await.unwrap().into_inner().succeeded);
    revoke(&world, 0x11).await;
    assert!(!kv.txn(txn()).await.unwrap().into_inner().succeeded);
}
