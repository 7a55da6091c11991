//! Locks, elections and namespaces, through the crate `etcd-client`.

use crate::cluster::Cluster;
use etcd_client::{
    KvClientPrefix, LeaderKey, LeaseClientPrefix, LockOptions, ProclaimOptions, PutOptions,
    ResignOptions,
};
use std::time::Duration;
use tokio::time::timeout;

/// A wait longer than this is a failure, not slowness.
const PATIENCE: Duration = Duration::from_secs(120);

/// Long enough to see that something does not happen.
const A_WHILE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_held_by_one_and_goes_to_the_next_in_line() {
    let cluster = Cluster::start();
    let (mut one, mut two) = (cluster.client(0).await, cluster.client(1).await);
    let held = one.lock("lock", None).await.unwrap().key().to_vec();
    assert!(held.starts_with(b"lock/"));
    let lease = two.lease_grant(600, None).await.unwrap().id();
    let options = LockOptions::new().with_lease(lease);
    let waiting = tokio::spawn(async move { two.lock("lock", Some(options)).await });
    tokio::time::sleep(A_WHILE).await;
    assert!(!waiting.is_finished());
    one.unlock(held).await.unwrap();
    let next = timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(next.key(), format!("lock/{lease:x}").as_bytes());
    // It ends with its lease.
    one.lease_revoke(lease).await.unwrap();
    timeout(PATIENCE, one.lock("lock", None)).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_election_is_won_told_observed_and_given_up() {
    let cluster = Cluster::start();
    let (mut one, mut two) = (cluster.client(0).await, cluster.client(1).await);
    assert!(one.leader("office").await.is_err(), "nobody leads yet");
    let lease = one.lease_grant(600, None).await.unwrap().id();
    let mut won = one.campaign("office", "ann", lease).await.unwrap();
    let leader: LeaderKey = won.take_leader().unwrap();
    assert_eq!((leader.name(), leader.lease()), (&b"office"[..], lease));
    assert_eq!(two.leader("office").await.unwrap().kv().unwrap().value(), b"ann");
    let mut observed = two.observe("office").await.unwrap();
    let told = timeout(PATIENCE, observed.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(told.kv().unwrap().value(), b"ann");
    let options = ProclaimOptions::new().with_leader(leader.clone());
    one.proclaim("ann again", Some(options)).await.unwrap();
    let told = timeout(PATIENCE, observed.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(told.kv().unwrap().value(), b"ann again");
    let mut three = cluster.client(2).await;
    let other = three.lease_grant(600, None).await.unwrap().id();
    let candidate = tokio::spawn(async move { three.campaign("office", "bob", other).await });
    tokio::time::sleep(A_WHILE).await;
    assert!(!candidate.is_finished());
    one.resign(Some(ResignOptions::new().with_leader(leader.clone()))).await.unwrap();
    timeout(PATIENCE, candidate).await.unwrap().unwrap().unwrap();
    assert_eq!(one.leader("office").await.unwrap().kv().unwrap().value(), b"bob");
    let late = ProclaimOptions::new().with_leader(leader);
    assert!(one.proclaim("too late", Some(late)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_keeps_apart_what_is_in_it() {
    let cluster = Cluster::start();
    let mut client = cluster.client(0).await;
    let mut inside = KvClientPrefix::new(client.kv_client(), "ns/".into());
    let mut leases = LeaseClientPrefix::new(client.lease_client(), "ns/".into());
    inside.put("a", "1", None).await.unwrap();
    client.put("a", "2", None).await.unwrap();
    assert_eq!(client.get("ns/a", None).await.unwrap().kvs()[0].value(), b"1");
    let told = inside.get("a", None).await.unwrap();
    assert_eq!((told.kvs()[0].key(), told.kvs()[0].value()), (&b"a"[..], &b"1"[..]));
    let lease = client.lease_grant(600, None).await.unwrap().id();
    inside.put("b", "3", Some(PutOptions::new().with_lease(lease))).await.unwrap();
    let options = etcd_client::LeaseTimeToLiveOptions::new().with_keys();
    let told = leases.time_to_live(lease, Some(options)).await.unwrap();
    assert_eq!(told.keys(), [b"b"]);
    inside.delete("a", None).await.unwrap();
    assert_eq!(client.get("a", None).await.unwrap().kvs()[0].value(), b"2");
}
