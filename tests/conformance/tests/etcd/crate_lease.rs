//! Leases through the crate `etcd-client`.

use crate::cluster::Cluster;
use etcd_client::{Client, ConnectOptions, LeaseGrantOptions, LeaseTimeToLiveOptions, PutOptions};
use std::time::Duration;

/// Long enough for a slow machine to keep it alive, short enough to wait for its end.
const TTL: i64 = 6;

/// A wait longer than this is a failure, not slowness.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until a key is gone; false when it stays.
async fn vanishes(client: &mut Client, key: &str) -> bool {
    for _ in 0..1_200 {
        if client.get(key, None).await.unwrap().count() == 0 {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_go_when_their_lease_ends() {
    let cluster = Cluster::start();
    let mut client = cluster.client(0).await;
    let lease = client.lease_grant(TTL, None).await.unwrap();
    assert!(lease.ttl() >= TTL && lease.id() != 0);
    let options = PutOptions::new().with_lease(lease.id());
    client.put("lease/a", "1", Some(options)).await.unwrap();
    client.put("lease/other", "1", None).await.unwrap();
    let mut other = cluster.client(1).await;
    assert_eq!(other.get("lease/a", None).await.unwrap().kvs()[0].lease(), lease.id());
    assert!(vanishes(&mut other, "lease/a").await);
    assert_eq!(other.get("lease/other", None).await.unwrap().count(), 1);
    let ended = other.lease_time_to_live(lease.id(), None).await.unwrap();
    assert_eq!(ended.ttl(), -1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_lives_as_long_as_it_is_kept_alive_through_any_node() {
    let cluster = Cluster::start();
    let lease = cluster.client(0).await.lease_grant(TTL, None).await.unwrap().id();
    let mut client = cluster.client(1).await;
    let options = PutOptions::new().with_lease(lease);
    client.put("alive/a", "1", Some(options)).await.unwrap();
    let (mut keeper, mut answers) = cluster.client(2).await.lease_keep_alive(lease).await.unwrap();
    for _ in 0..3 * TTL {
        keeper.keep_alive().await.unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        assert!(answer.id() == lease && answer.ttl() > 0, "{answer:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(client.get("alive/a", None).await.unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_lease_takes_its_keys_at_once() {
    let cluster = Cluster::start();
    let mut client = cluster.client(2).await;
    let asked = LeaseGrantOptions::new().with_id(7_777);
    let lease = client.lease_grant(600, Some(asked)).await.unwrap();
    assert_eq!(lease.id(), 7_777);
    let again = LeaseGrantOptions::new().with_id(7_777);
    assert!(client.lease_grant(600, Some(again)).await.is_err(), "an id is granted once");
    for key in ["revoke/a", "revoke/b"] {
        let options = PutOptions::new().with_lease(lease.id());
        client.put(key, "1", Some(options)).await.unwrap();
    }
    let options = LeaseTimeToLiveOptions::new().with_keys();
    let shown = client.lease_time_to_live(lease.id(), Some(options)).await.unwrap();
    assert!(shown.granted_ttl() == 600 && shown.ttl() > 0 && shown.ttl() <= 600, "{shown:?}");
    // In no order.
    let mut keys = shown.keys().to_vec();
    keys.sort();
    assert_eq!(keys, [b"revoke/a".to_vec(), b"revoke/b".to_vec()]);
    let leases = client.leases().await.unwrap();
    assert!(leases.leases().iter().any(|l| l.id() == lease.id()));
    client.lease_revoke(lease.id()).await.unwrap();
    assert_eq!(client.get("revoke/a", None).await.unwrap().count(), 0);
    let twice = client.lease_revoke(lease.id()).await.unwrap_err();
    assert!(twice.to_string().contains("lease not found"), "{twice}");
    let options = PutOptions::new().with_lease(lease.id());
    let put = client.put("revoke/c", "1", Some(options)).await.unwrap_err();
    assert!(put.to_string().contains("lease not found"), "{put}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_wants_a_leader_is_told_when_there_is_none() {
    let mut cluster = Cluster::start();
    let options = ConnectOptions::new().with_require_leader(true);
    let mut client = Client::connect([&cluster.endpoints[0]], Some(options)).await.unwrap();
    let lease = client.lease_grant(TTL, None).await.unwrap().id();
    let (mut keeper, mut answers) = client.lease_keep_alive(lease).await.unwrap();
    keeper.keep_alive().await.unwrap();
    assert!(answers.message().await.unwrap().unwrap().ttl() > 0);
    // Nothing is asked any more: what is told next, the node says by itself.
    if cluster.order("kill n2") && cluster.order("kill n3") {
        let end = tokio::time::timeout(PATIENCE, answers.message()).await.expect("it is told");
        let error = end.expect_err("there is no leader").to_string();
        assert!(error.contains("etcdserver: no leader"), "{error}");
    }
}
