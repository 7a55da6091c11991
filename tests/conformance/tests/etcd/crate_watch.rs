//! Watches through the crate `etcd-client`.

use crate::cluster::Cluster;
use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use std::time::Duration;

/// A wait longer than this is a failure.
const WAIT: Duration = Duration::from_secs(120);

async fn next(watch: &mut WatchStream) -> WatchResponse {
    let message = tokio::time::timeout(WAIT, watch.message()).await;
    message.expect("the watch says something").unwrap().expect("the watch goes on")
}

/// The next changes, as `put key=value` and `delete key`; creation and progress are passed over.
async fn changes(watch: &mut WatchStream, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    while told.len() < count {
        for event in next(watch).await.events() {
            let kv = event.kv().unwrap();
            told.push(match event.event_type() {
                EventType::Put => {
                    format!("put {}={}", kv.key_str().unwrap(), kv.value_str().unwrap())
                }
                EventType::Delete => format!("delete {}", kv.key_str().unwrap()),
            });
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_every_change_in_order_wherever_it_was_made() {
    let cluster = Cluster::start();
    let options = WatchOptions::new().with_prefix().with_prev_key();
    let mut watch = cluster.client(0).await.watch("w1/", Some(options)).await.unwrap();
    let mut expected = Vec::new();
    for number in 0..30 {
        let mut client = cluster.client(number % 3).await;
        client.put(format!("w1/{}", number % 5), number.to_string(), None).await.unwrap();
        client.put(format!("w2/{number}"), "elsewhere", None).await.unwrap();
        expected.push(format!("put w1/{}={number}", number % 5));
    }
    cluster.client(1).await.delete("w1/3", None).await.unwrap();
    expected.push("delete w1/3".to_string());
    assert_eq!(changes(&mut watch, 31).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_from_the_past_begins_there() {
    let cluster = Cluster::start();
    let mut client = cluster.client(0).await;
    let first = client.put("w3/a", "1", None).await.unwrap().header().unwrap().revision();
    client.put("w3/a", "2", None).await.unwrap();
    client.delete("w3/a", None).await.unwrap();
    let options = WatchOptions::new().with_start_revision(first);
    let mut watch = cluster.client(1).await.watch("w3/a", Some(options)).await.unwrap();
    let told = changes(&mut watch, 3).await;
    assert_eq!(told, ["put w3/a=1", "put w3/a=2", "delete w3/a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_from_a_compacted_revision_is_cancelled_and_says_from_where_it_could_begin() {
    let cluster = Cluster::start();
    let mut client = cluster.client(2).await;
    let first = client.put("w4/a", "1", None).await.unwrap().header().unwrap().revision();
    let last = client.put("w4/a", "2", None).await.unwrap().header().unwrap().revision();
    client.compact(last, None).await.unwrap();
    let options = WatchOptions::new().with_start_revision(first);
    // The refusal comes instead of the first message or behind it.
    let refusal = match client.watch("w4/a", Some(options)).await {
        Ok(mut watch) => loop {
            let message = next(&mut watch).await;
            if message.canceled() {
                break message.compact_revision();
            }
        },
        Err(error) => panic!("{error}"),
    };
    assert_eq!(refusal, last);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_watches_share_a_stream_and_end_one_by_one() {
    let cluster = Cluster::start();
    let mut client = cluster.client(0).await;
    let mut watch = client.watch("w5/a", None).await.unwrap();
    let created = next(&mut watch).await;
    assert!(created.created(), "{created:?}");
    let first = created.watch_id();
    watch.watch("w5/b", None).await.unwrap();
    let second = next(&mut watch).await;
    assert!(second.created() && second.watch_id() != first);
    client.put("w5/b", "1", None).await.unwrap();
    let told = next(&mut watch).await;
    assert_eq!((told.watch_id(), told.events().len()), (second.watch_id(), 1));
    watch.cancel(second.watch_id()).await.unwrap();
    let ended = next(&mut watch).await;
    assert!(ended.canceled() && ended.watch_id() == second.watch_id(), "{ended:?}");
    client.put("w5/b", "2", None).await.unwrap();
    client.put("w5/a", "3", None).await.unwrap();
    assert_eq!(changes(&mut watch, 1).await, ["put w5/a=3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_arrives_whole_and_with_what_was_before() {
    let cluster = Cluster::start();
    let mut client = cluster.client(1).await;
    client.put("w6/a", "old", None).await.unwrap();
    let options = WatchOptions::new().with_prefix().with_prev_key();
    let mut watch = cluster.client(2).await.watch("w6/", Some(options)).await.unwrap();
    assert!(next(&mut watch).await.created());
    let both = [
        etcd_client::TxnOp::put("w6/a", "new", None),
        etcd_client::TxnOp::put("w6/b", "new", None),
    ];
    client.txn(etcd_client::Txn::new().and_then(both)).await.unwrap();
    let told = next(&mut watch).await;
    assert_eq!(told.events().len(), 2, "{told:?}");
    let before = told.events()[0].prev_kv().map(|kv| kv.value().to_vec());
    assert_eq!(before, Some(b"old".to_vec()));
    assert!(told.events()[1].prev_kv().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_can_be_asked_for() {
    let cluster = Cluster::start();
    let mut client = cluster.client(0).await;
    let mut watch = client.watch("w7/a", None).await.unwrap();
    assert!(next(&mut watch).await.created());
    let revision = client.put("w7/else", "1", None).await.unwrap().header().unwrap().revision();
    watch.request_progress().await.unwrap();
    let progress = next(&mut watch).await;
    assert!(progress.events().is_empty() && !progress.created(), "{progress:?}");
    assert!(progress.header().unwrap().revision() >= revision - 1, "{progress:?}");
}
