//! Keys, ranges, transactions, members, through the crate `etcd-client`.

use crate::cluster::Cluster;
use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, GetResponse, PutOptions, SortOrder, SortTarget,
    Txn, TxnOp, TxnOpResponse,
};

fn pairs(answer: &GetResponse) -> Vec<(String, String)> {
    let pair = |kv: &etcd_client::KeyValue| {
        (kv.key_str().unwrap().to_string(), kv.value_str().unwrap().to_string())
    };
    answer.kvs().iter().map(pair).collect()
}

fn keys(answer: &GetResponse) -> Vec<String> {
    pairs(answer).into_iter().map(|(key, _)| key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_wrote_another_reads() {
    let cluster = Cluster::start();
    let put = cluster.client(0).await.put("read/a", "1", None).await.unwrap();
    let answer = cluster.client(1).await.get("read/a", None).await.unwrap();
    let kv = &answer.kvs()[0];
    let revision = put.header().unwrap().revision();
    assert_eq!((kv.key(), kv.value(), kv.version(), kv.lease()), (&b"read/a"[..], &b"1"[..], 1, 0));
    assert_eq!((kv.create_revision(), kv.mod_revision()), (revision, revision));
    assert!(answer.header().unwrap().revision() >= revision);
    assert_ne!(answer.header().unwrap().cluster_id(), 0);
    assert_ne!(answer.header().unwrap().member_id(), put.header().unwrap().member_id());
    let missing = cluster.client(2).await.get("read/b", None).await.unwrap();
    assert_eq!((missing.kvs().len(), missing.count(), missing.more()), (0, 0, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_tells_what_it_replaced_and_raises_revision_and_version() {
    let cluster = Cluster::start();
    let mut client = cluster.client(0).await;
    let first = client.put("over/a", "1", None).await.unwrap();
    assert!(first.prev_key().is_none());
    let options = PutOptions::new().with_prev_key();
    let second = client.put("over/a", "2", Some(options)).await.unwrap();
    assert_eq!(second.prev_key().unwrap().value(), b"1");
    assert!(second.header().unwrap().revision() > first.header().unwrap().revision());
    let kv = &client.get("over/a", None).await.unwrap().take_kvs()[0];
    assert_eq!((kv.version(), kv.create_revision()), (2, first.header().unwrap().revision()));
    let missing = client.put("over/b", "", Some(PutOptions::new().with_ignore_value())).await;
    assert!(missing.is_err(), "a value can only be kept that is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_sorted_limited_counted_and_cut_as_asked() {
    let cluster = Cluster::start();
    let mut client = cluster.client(1).await;
    for (key, value) in [("range/c", "1"), ("range/a", "3"), ("range/b", "2"), ("rangf", "9")] {
        client.put(key, value, None).await.unwrap();
    }
    let get = |options: GetOptions| {
        let mut client = client.clone();
        async move { client.get("range/", Some(options)).await.unwrap() }
    };
    let all = get(GetOptions::new().with_prefix()).await;
    assert_eq!(keys(&all), ["range/a", "range/b", "range/c"]);
    let two = get(GetOptions::new().with_prefix().with_limit(2)).await;
    assert_eq!((keys(&two).len(), two.count(), two.more()), (2, 3, true));
    let by_value = GetOptions::new().with_prefix().with_sort(SortTarget::Value, SortOrder::Ascend);
    assert_eq!(keys(&get(by_value).await), ["range/c", "range/b", "range/a"]);
    let newest = GetOptions::new().with_prefix().with_sort(SortTarget::Mod, SortOrder::Descend);
    assert_eq!(keys(&get(newest.with_limit(1)).await), ["range/b"]);
    let count = get(GetOptions::new().with_prefix().with_count_only()).await;
    assert_eq!((count.count(), count.kvs().len()), (3, 0));
    let bare = get(GetOptions::new().with_prefix().with_keys_only()).await;
    assert!(bare.kvs().iter().all(|kv| kv.value().is_empty()));
    let mut other = cluster.client(2).await;
    let part = other.get("range/b", Some(GetOptions::new().with_range("rangg"))).await.unwrap();
    assert_eq!(keys(&part), ["range/b", "range/c", "rangf"]);
    let local = get(GetOptions::new().with_prefix().with_serializable()).await;
    assert!(local.count() <= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_can_be_read_until_it_is_compacted() {
    let cluster = Cluster::start();
    let mut client = cluster.client(2).await;
    let first = client.put("past/a", "old", None).await.unwrap().header().unwrap().revision();
    client.put("past/a", "new", None).await.unwrap();
    let last = client.delete("past/a", None).await.unwrap().header().unwrap().revision();
    let then = client.get("past/a", Some(GetOptions::new().with_revision(first))).await.unwrap();
    assert_eq!(then.kvs()[0].value(), b"old");
    let future =
        client.get("past/a", Some(GetOptions::new().with_revision(last + 1_000_000))).await;
    assert!(future.unwrap_err().to_string().contains("future revision"));
    client.compact(last, None).await.unwrap();
    let gone = client.get("past/a", Some(GetOptions::new().with_revision(first))).await;
    assert!(gone.unwrap_err().to_string().contains("compacted"));
    let again = client.compact(first, None).await;
    assert!(again.unwrap_err().to_string().contains("compacted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_count_and_return_what_went() {
    let cluster = Cluster::start();
    let mut client = cluster.client(0).await;
    for key in ["del/a", "del/b", "dem"] {
        client.put(key, key, None).await.unwrap();
    }
    let options = DeleteOptions::new().with_prefix().with_prev_key();
    let gone = client.delete("del/", Some(options)).await.unwrap();
    let values: Vec<&[u8]> = gone.prev_kvs().iter().map(|kv| kv.value()).collect();
    assert_eq!((gone.deleted(), values), (2, vec![&b"del/a"[..], &b"del/b"[..]]));
    let before = gone.header().unwrap().revision();
    let none = client.delete("del/a", None).await.unwrap();
    assert_eq!((none.deleted(), none.header().unwrap().revision()), (0, before));
    assert_eq!(client.get("dem", None).await.unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_takes_one_branch_whole() {
    let cluster = Cluster::start();
    let mut client = cluster.client(1).await;
    client.put("txn/a", "1", None).await.unwrap();
    let step = |expected: &str| {
        Txn::new()
            .when([Compare::value("txn/a", CompareOp::Equal, expected)])
            .and_then([
                TxnOp::put("txn/a", "2", Some(PutOptions::new().with_prev_key())),
                TxnOp::put("txn/b", "2", None),
                TxnOp::get("txn/", Some(GetOptions::new().with_prefix())),
            ])
            .or_else([TxnOp::get("txn/a", None), TxnOp::delete("txn/b", None)])
    };
    let taken = client.txn(step("1")).await.unwrap();
    assert!(taken.succeeded());
    let answers = taken.op_responses();
    match answers.as_slice() {
        [TxnOpResponse::Put(put), TxnOpResponse::Put(_), TxnOpResponse::Get(get)] => {
            assert_eq!(put.prev_key().unwrap().value(), b"1");
            assert_eq!(keys(get), ["txn/a", "txn/b"]);
            assert!(
                get.kvs().iter().all(|kv| kv.mod_revision() == taken.header().unwrap().revision())
            );
        }
        other => panic!("{other:?}"),
    }
    let refused = client.txn(step("1")).await.unwrap();
    assert!(!refused.succeeded());
    match refused.op_responses().as_slice() {
        [TxnOpResponse::Get(get), TxnOpResponse::Delete(delete)] => {
            assert_eq!((get.kvs()[0].value(), delete.deleted()), (&b"2"[..], 1));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(client.get("txn/b", None).await.unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_compare_versions_and_revisions_and_nest() {
    let cluster = Cluster::start();
    let mut client = cluster.client(2).await;
    let absent = Compare::create_revision("lock/a", CompareOp::Equal, 0);
    let take = Txn::new().when([absent]).and_then([TxnOp::put("lock/a", "me", None)]);
    assert!(client.txn(take.clone()).await.unwrap().succeeded());
    assert!(!client.txn(take).await.unwrap().succeeded());
    let kv = client.get("lock/a", None).await.unwrap().take_kvs().remove(0);
    let inner = Txn::new()
        .when([Compare::version("lock/a", CompareOp::Greater, 5)])
        .or_else([TxnOp::put("lock/inner", "else", None)]);
    let outer = Txn::new()
        .when([
            Compare::mod_revision("lock/a", CompareOp::Equal, kv.mod_revision()),
            Compare::version("lock/a", CompareOp::Less, 2),
            Compare::value("lock/a", CompareOp::NotEqual, "you"),
        ])
        .and_then([TxnOp::txn(inner)]);
    let answer = client.txn(outer).await.unwrap();
    assert!(answer.succeeded());
    match answer.op_responses().as_slice() {
        [TxnOpResponse::Txn(inner)] => assert!(!inner.succeeded()),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.get("lock/inner", None).await.unwrap().kvs()[0].value(), b"else");
    let twice = [TxnOp::put("lock/x", "1", None), TxnOp::put("lock/x", "2", None)];
    let refused = client.txn(Txn::new().and_then(twice)).await.unwrap_err();
    assert!(refused.to_string().contains("duplicate key"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_and_status_describe_the_cluster() {
    let cluster = Cluster::start();
    let mut client = cluster.client(0).await;
    let list = client.member_list().await.unwrap();
    assert_eq!(list.members().len(), 3);
    for endpoint in &cluster.endpoints {
        let url = format!("http://{endpoint}");
        assert!(list.members().iter().any(|member| member.client_urls().contains(&url)), "{url}");
    }
    let ids: Vec<u64> = list.members().iter().map(|member| member.id()).collect();
    let mut leaders = Vec::new();
    for node in 0..3 {
        let status = cluster.client(node).await.status().await.unwrap();
        assert!(!status.version().is_empty() && status.raft_term() > 0 && status.raft_index() > 0);
        assert!(ids.contains(&status.header().unwrap().member_id()));
        leaders.push(status.leader());
    }
    assert!(ids.contains(&leaders[0]) && leaders.iter().all(|leader| *leader == leaders[0]));
}
