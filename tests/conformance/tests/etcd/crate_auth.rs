//! Users, roles and rights, through the crate `etcd-client`.

use crate::cluster::Cluster;
use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, Error, GetOptions, LockOptions, Permission,
    PermissionType, PutOptions, RoleRevokePermissionOptions, Txn, TxnOp, WatchOptions,
    WatchResponse, WatchStream,
};

/// A client of one node, as a user.
async fn of(cluster: &Cluster, node: usize, name: &str, password: &str) -> Result<Client, Error> {
    let options = ConnectOptions::new().with_user(name, password);
    Client::connect([&cluster.endpoints[node]], Some(options)).await
}

/// What is refused, in the words it is refused with.
fn is<T>(answer: Result<T, Error>, words: &str) {
    match answer {
        Err(Error::GRpcStatus(status)) => assert_eq!(status.message(), words),
        Err(other) => panic!("{words}: {other}"),
        Ok(_) => panic!("{words}: it was done"),
    }
}

const DENIED: &str = "etcdserver: permission denied";

/// The next that is not about the beginning of a watch.
async fn news(stream: &mut WatchStream) -> WatchResponse {
    loop {
        let told = stream.message().await.unwrap().unwrap();
        if told.canceled() || !told.created() {
            return told;
        }
    }
}

/// With auth enabled, `root`, and `ann` who may do all below `app/` and read `config`.
async fn guarded(cluster: &Cluster) {
    let mut client = cluster.client(0).await;
    client.user_add("root", "secret", None).await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.user_add("ann", "word", None).await.unwrap();
    client.role_add("app").await.unwrap();
    let all = Permission::read_write("app/").with_prefix();
    client.role_grant_permission("app", all).await.unwrap();
    client.role_grant_permission("app", Permission::read("config")).await.unwrap();
    client.user_grant_role("ann", "app").await.unwrap();
    client.auth_enable().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_roles_are_made_listed_changed_and_taken_out() {
    let cluster = Cluster::start();
    let mut client = cluster.client(0).await;
    client.role_add("r").await.unwrap();
    is(client.role_add("r").await, "etcdserver: role name already exists");
    client.role_grant_permission("r", Permission::read("a")).await.unwrap();
    client.role_grant_permission("r", Permission::write("b").with_from_key()).await.unwrap();
    client.role_grant_permission("r", Permission::read_write("c").with_prefix()).await.unwrap();
    let mut other = cluster.client(1).await;
    let all = other.role_get("r").await.unwrap().permissions();
    let ranges: Vec<_> = all.iter().map(|it| (it.key(), it.range_end())).collect();
    assert_eq!(ranges, [(&b"a"[..], &b""[..]), (b"b", b"\0"), (b"c", b"d")]);
    assert!(all[0] == Permission::new(PermissionType::Read, "a"));
    let from = RoleRevokePermissionOptions::new().with_from_key();
    other.role_revoke_permission("r", "b", Some(from)).await.unwrap();
    let missing = other.role_revoke_permission("r", "b", None).await;
    is(missing, "etcdserver: permission is not granted to the role");
    other.user_add("u", "word", None).await.unwrap();
    is(other.user_add("u", "word", None).await, "etcdserver: user name already exists");
    is(other.user_add("", "word", None).await, "etcdserver: user name is empty");
    other.user_grant_role("u", "r").await.unwrap();
    is(other.user_grant_role("u", "x").await, "etcdserver: role name not found");
    assert_eq!(client.user_get("u").await.unwrap().roles(), ["r"]);
    assert_eq!(client.user_list().await.unwrap().users(), ["u"]);
    assert_eq!(client.role_list().await.unwrap().roles(), ["r"]);
    client.user_revoke_role("u", "r").await.unwrap();
    let again = client.user_revoke_role("u", "r").await;
    is(again, "etcdserver: role is not granted to the user");
    client.user_change_password("u", "other").await.unwrap();
    is(client.user_change_password("x", "other").await, "etcdserver: user name not found");
    client.user_delete("u").await.unwrap();
    is(client.user_delete("u").await, "etcdserver: user name not found");
    client.role_delete("r").await.unwrap();
    is(client.role_delete("r").await, "etcdserver: role name not found");
    is(client.role_get("r").await, "etcdserver: role name not found");
    is(client.auth_enable().await, "etcdserver: root user does not exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_does_what_they_may_at_every_node() {
    let cluster = Cluster::start();
    guarded(&cluster).await;
    let mut nobody = cluster.client(2).await;
    is(nobody.get("app/x", None).await, "etcdserver: user name is empty");
    let wrong = of(&cluster, 0, "ann", "wort").await;
    is(wrong, "etcdserver: authentication failed, invalid user ID or password");
    let mut root = of(&cluster, 0, "root", "secret").await.unwrap();
    root.put("config", "1", None).await.unwrap();
    for node in 0..3 {
        let mut ann = of(&cluster, node, "ann", "word").await.unwrap();
        ann.put("app/x", "1", None).await.unwrap();
        assert_eq!(ann.get("config", None).await.unwrap().kvs()[0].value(), b"1");
        is(ann.put("config", "2", None).await, DENIED);
        is(ann.get("other", None).await, DENIED);
        let prefix = GetOptions::new().with_prefix();
        assert_eq!(ann.get("app/", Some(prefix.clone())).await.unwrap().count(), 1);
        is(ann.get("a", Some(prefix)).await, DENIED);
        let serializable = GetOptions::new().with_serializable();
        is(ann.get("other", Some(serializable)).await, DENIED);
        // What will not run tells as much as what will.
        let spy = Txn::new()
            .when([Compare::version("app/x", CompareOp::Greater, 0)])
            .and_then([TxnOp::get("app/x", None)])
            .or_else([TxnOp::get("other", None)]);
        is(ann.txn(spy).await, DENIED);
        is(ann.user_list().await, DENIED);
        assert_eq!(ann.user_get("ann").await.unwrap().roles(), ["app"]);
    }
    root.auth_disable().await.unwrap();
    nobody.put("other", "1", None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_watches_and_locks_ask_for_rights_too() {
    let cluster = Cluster::start();
    guarded(&cluster).await;
    let mut root = of(&cluster, 0, "root", "secret").await.unwrap();
    let mut ann = of(&cluster, 1, "ann", "word").await.unwrap();
    let lease = root.lease_grant(600, None).await.unwrap().id();
    let leased = PutOptions::new().with_lease(lease);
    root.put("secret", "1", Some(leased.clone())).await.unwrap();
    // Whoever could hang a key on it, or end it, could end the others.
    is(ann.put("app/x", "1", Some(leased)).await, DENIED);
    is(ann.lease_revoke(lease).await, DENIED);
    let own = ann.lease_grant(600, None).await.unwrap().id();
    let options = PutOptions::new().with_lease(own);
    ann.put("app/x", "1", Some(options)).await.unwrap();
    let prefix = WatchOptions::new().with_prefix();
    let mut stream = ann.watch("app/", Some(prefix)).await.unwrap();
    root.put("app/y", "1", None).await.unwrap();
    let told = news(&mut stream).await;
    assert_eq!(told.events()[0].kv().unwrap().key(), b"app/y");
    let mut refused = ann.watch("secret", None).await.unwrap();
    let told = news(&mut refused).await;
    assert!(told.canceled(), "{told:?}");
    let key = ann.lock("app/lock", None).await.unwrap().key().to_vec();
    ann.unlock(key).await.unwrap();
    is(ann.lock("lock", Some(LockOptions::new())).await, DENIED);
    is(ann.campaign("office", "ann", own).await, DENIED);
    ann.lease_revoke(own).await.unwrap();
    root.auth_disable().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_is_missing_at_once_and_a_password_takes_its_tokens_along() {
    let cluster = Cluster::start();
    guarded(&cluster).await;
    let mut root = of(&cluster, 0, "root", "secret").await.unwrap();
    let mut ann = of(&cluster, 1, "ann", "word").await.unwrap();
    ann.put("app/x", "1", None).await.unwrap();
    root.role_grant_permission("app", Permission::read_write("more")).await.unwrap();
    ann.put("more", "1", None).await.unwrap();
    root.role_revoke_permission("app", "more", None).await.unwrap();
    is(ann.put("more", "2", None).await, DENIED);
    root.user_change_password("ann", "another").await.unwrap();
    assert!(ann.put("app/x", "2", None).await.is_err(), "its token is of the old password");
    let mut again = of(&cluster, 2, "ann", "another").await.unwrap();
    again.put("app/x", "2", None).await.unwrap();
    is(root.user_delete("root").await, "etcdserver: invalid auth management");
    root.auth_disable().await.unwrap();
}
