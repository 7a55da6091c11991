//! Watches over gRPC.

use super::etcd::put;
use super::*;
use crate::api::proto::etcdserverpb as pb;
use crate::api::proto::mvccpb;
use crate::client::{Call, Client};
use pb::kv_client::KvClient;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tonic::Streaming;

/// One stream of watches.
pub(super) struct Stream {
    requests: mpsc::Sender<pb::WatchRequest>,
    answers: Streaming<pb::WatchResponse>,
}

/// All keys from `a` on.
fn all() -> pb::WatchCreateRequest {
    let (key, range_end) = ("a".into(), Bytes::from_static(&[0]));
    pb::WatchCreateRequest { key, range_end, ..pb::WatchCreateRequest::default() }
}

pub(super) fn from(start_revision: i64) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest { start_revision, ..all() }
}

impl Stream {
    pub(super) async fn open(world: &World) -> Stream {
        Stream::open_with(world, None).await
    }

    /// With a user's token.
    pub(super) async fn open_with(world: &World, token: Option<&str>) -> Stream {
        let (requests, waiting) = mpsc::channel(64);
        let mut waiting = tonic::Request::new(Requests(waiting));
        if let Some(token) = token {
            waiting.metadata_mut().insert("token", token.parse().unwrap());
        }
        let mut client = WatchClient::new(world.channel().await);
        let answers = client.watch(waiting).await.unwrap().into_inner();
        Stream { requests, answers }
    }

    async fn ask(&self, request: RequestUnion) {
        let request = pb::WatchRequest { request_union: Some(request) };
        self.requests.send(request).await.unwrap();
    }

    pub(super) async fn create(&mut self, request: pb::WatchCreateRequest) -> pb::WatchResponse {
        self.ask(RequestUnion::CreateRequest(request)).await;
        let answer = self.next().await;
        assert!(answer.created, "{answer:?}");
        answer
    }

    pub(super) async fn next(&mut self) -> pb::WatchResponse {
        let answer = tokio::time::timeout(PATIENCE, self.answers.message()).await;
        answer.expect("an answer comes").unwrap().expect("the stream goes on")
    }

    /// Reads so many events, and the answers they came in.
    pub(super) async fn events(&mut self, count: usize) -> Vec<mvccpb::Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.extend(self.next().await.events);
        }
        assert_eq!(events.len(), count);
        events
    }
}

struct Requests(mpsc::Receiver<pb::WatchRequest>);

impl tonic::codegen::tokio_stream::Stream for Requests {
    type Item = pb::WatchRequest;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<pb::WatchRequest>> {
        self.0.poll_recv(cx)
    }
}

/// Clients write when they have the head, and count on being told.
#[tokio::test]
async fn the_head_of_the_answer_says_that_the_first_watch_has_begun() {
    let world = World::new().await;
    let (requests, waiting) = mpsc::channel(1);
    let request_union = Some(RequestUnion::CreateRequest(all()));
    requests.send(pb::WatchRequest { request_union }).await.unwrap();
    let mut client = WatchClient::new(world.channel().await);
    let _answers = client.watch(Requests(waiting)).await.unwrap();
    assert_eq!(world.handle.hub().spans(), 1, "changes are told");
}

/// As those do that are told what to watch on a line: all is said, then read.
#[tokio::test]
async fn who_closes_their_side_reads_on_and_a_stream_without_watches_ends() {
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    let Stream { requests, mut answers } = {
        let mut stream = Stream::open(&world).await;
        stream.create(all()).await;
        stream
    };
    drop(requests);
    for number in 0..3 {
        kv.put(put("a", "1")).await.unwrap();
        let told = tokio::time::timeout(PATIENCE, answers.message()).await;
        let told = told.expect("it is told").unwrap().expect("the stream goes on");
        assert_eq!(revisions(&told.events), [2 + number]);
    }
    let Stream { requests, mut answers } = Stream::open(&world).await;
    drop(requests);
    let end = tokio::time::timeout(PATIENCE, answers.message()).await;
    assert_eq!(end.expect("it ends").unwrap(), None);
}

fn revisions(events: &[mvccpb::Event]) -> Vec<i64> {
    events.iter().map(|event| event.kv.as_ref().unwrap().mod_revision).collect()
}

#[tokio::test]
async fn each_change_after_created_is_told_once_in_order() {
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    kv.put(put("a", "0")).await.unwrap();
    let mut stream = Stream::open(&world).await;
    let created = stream.create(all()).await;
    assert_eq!((created.watch_id, created.header.unwrap().revision), (0, 2));
    for _ in 0..50 {
        kv.put(put("a", "1")).await.unwrap();
    }
    kv.put(put("Z", "before the range")).await.unwrap();
    let gone = pb::DeleteRangeRequest { key: "a".into(), ..pb::DeleteRangeRequest::default() };
    kv.delete_range(gone).await.unwrap();
    let events = stream.events(51).await;
    let told = revisions(&events);
    assert_eq!(told[..50], (3..=52).collect::<Vec<i64>>());
    assert_eq!((told[50], events[50].r#type), (54, mvccpb::event::EventType::Delete as i32));
}

#[tokio::test]
async fn a_watch_from_the_past_is_told_what_happened_since() {
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    for _ in 0..5 {
        kv.put(put("a", "1")).await.unwrap();
    }
    let mut stream = Stream::open(&world).await;
    stream.create(from(4)).await;
    assert_eq!(revisions(&stream.events(3).await), [4, 5, 6]);
    kv.put(put("b", "1")).await.unwrap();
    assert_eq!(revisions(&stream.events(1).await), [7]);
}

#[tokio::test]
async fn history_that_is_gone_is_told_after_created() {
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    for _ in 0..5 {
        kv.put(put("a", "1")).await.unwrap();
    }
    kv.compact(pb::CompactionRequest { revision: 5, physical: false }).await.unwrap();
    let mut stream = Stream::open(&world).await;
    assert!(!stream.create(from(2)).await.canceled);
    let canceled = stream.next().await;
    assert_eq!((canceled.canceled, canceled.compact_revision), (true, 5));
}

#[tokio::test]
async fn ids_are_the_clients_or_the_next_that_is_free() {
    let world = World::new().await;
    let mut stream = Stream::open(&world).await;
    let named = |watch_id| pb::WatchCreateRequest { watch_id, ..all() };
    assert_eq!(stream.create(named(1)).await.watch_id, 1);
    assert_eq!(stream.create(all()).await.watch_id, 0);
    assert_eq!(stream.create(all()).await.watch_id, 2);
    let taken = stream.create(named(1)).await;
    assert_eq!((taken.watch_id, taken.canceled), (-1, true));
    assert_eq!(taken.cancel_reason, "mvcc: duplicate watch ID provided on the WatchStream");
    stream.ask(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 1 })).await;
    let canceled = stream.next().await;
    assert_eq!((canceled.watch_id, canceled.canceled), (1, true));
    assert_eq!(stream.create(named(1)).await.watch_id, 1);
}

#[tokio::test]
async fn a_range_without_keys_is_refused() {
    let world = World::new().await;
    let mut stream = Stream::open(&world).await;
    let nothing = pb::WatchCreateRequest { key: "b".into(), range_end: "a".into(), ..all() };
    let refused = stream.create(nothing).await;
    assert_eq!((refused.watch_id, refused.canceled), (-1, true));
    assert_eq!(refused.cancel_reason, "mvcc: watcher range is empty");
}

#[tokio::test]
async fn progress_is_told_after_every_event_before_it() {
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    let mut stream = Stream::open(&world).await;
    for _ in 0..3 {
        stream.create(all()).await;
    }
    // More than the queues hold, so that what is asked now is asked while events still wait.
    for _ in 0..200 {
        kv.put(put("a", vec![1; 4 << 10])).await.unwrap();
    }
    stream.ask(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})).await;
    let mut told = 0;
    let progress = loop {
        let answer = stream.next().await;
        told += answer.events.len();
        if answer.watch_id == -1 {
            break answer;
        }
    };
    assert_eq!((told, progress.header.unwrap().revision), (600, 201));
}

#[tokio::test]
async fn filters_and_earlier_pairs_are_as_asked() {
    use pb::watch_create_request::FilterType;
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    let mut stream = Stream::open(&world).await;
    let filters = vec![FilterType::Noput as i32];
    stream.create(pb::WatchCreateRequest { filters, prev_kv: true, ..all() }).await;
    kv.put(put("a", "1")).await.unwrap();
    let gone = pb::DeleteRangeRequest { key: "a".into(), ..pb::DeleteRangeRequest::default() };
    kv.delete_range(gone).await.unwrap();
    let events = stream.events(1).await;
    assert_eq!(events[0].r#type, mvccpb::event::EventType::Delete as i32);
    assert_eq!(events[0].prev_kv.as_ref().unwrap().value, "1");
}

#[tokio::test]
async fn a_large_revision_comes_in_fragments_if_the_client_takes_them() {
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    let mut stream = Stream::open(&world).await;
    stream.create(pb::WatchCreateRequest { fragment: true, ..all() }).await;
    stream.create(pb::WatchCreateRequest { prev_kv: true, ..all() }).await;
    let ops = ["a", "b", "c", "d"].map(|key| pb::RequestOp {
        request: Some(pb::request_op::Request::RequestPut(put(key, vec![1; 360 << 10]))),
    });
    let txn = pb::TxnRequest { success: ops.to_vec(), ..pb::TxnRequest::default() };
    kv.txn(txn).await.unwrap();
    let mut shapes = [const { Vec::new() }; 2];
    while shapes.iter().flatten().map(|(events, _)| events).sum::<usize>() < 8 {
        let answer = stream.next().await;
        shapes[answer.watch_id as usize].push((answer.events.len(), answer.fragment));
    }
    assert_eq!(shapes[0], [(3, true), (1, false)]);
    assert_eq!(shapes[1], [(4, false)]);
}

#[tokio::test]
async fn a_reader_that_sleeps_misses_nothing_and_holds_up_nobody() {
    const PUTS: usize = 3_000;
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    let mut asleep = Stream::open(&world).await;
    asleep.create(all()).await;
    // Together more than all queues and windows between the node and the reader hold.
    for _ in 0..PUTS {
        kv.put(put("a", vec![1; 4 << 10])).await.unwrap();
    }
    let expected: Vec<i64> = (2..2 + PUTS as i64).collect();
    assert_eq!(revisions(&asleep.events(PUTS).await), expected);
}

#[tokio::test]
async fn a_watch_that_nobody_reads_is_cancelled_and_goes_on_from_where_it_says() {
    let patience = Patience { unread: Duration::from_millis(500), ..Patience::default() };
    let world = World::of(Wishes { patience, ..Wishes::default() }).await;
    let mut kv = KvClient::new(world.channel().await);
    let (mut asleep, mut awake) = (Stream::open(&world).await, Stream::open(&world).await);
    asleep.create(all()).await;
    awake.create(all()).await;
    let client = Client::new(world.addr.to_string(), None);
    let mut puts = 0;
    // More than the windows and queues between hold, then until the reader is found to sleep.
    loop {
        kv.put(put("a", vec![1; 64 << 10])).await.unwrap();
        puts += 1;
        awake.events(1).await;
        let text = client.bytes(Call::get("/metrics")).await.unwrap().body;
        let text = String::from_utf8_lossy(&text).into_owned();
        let name = "muslin_api_cancelled_watches_total ";
        if text.lines().any(|line| line.strip_prefix(name).is_some_and(|n| n != "0")) {
            break;
        }
    }
    let mut told = Vec::new();
    let canceled = loop {
        let answer = asleep.next().await;
        if answer.canceled {
            break answer;
        }
        told.extend(revisions(&answer.events));
    };
    let reason = canceled.cancel_reason;
    let from: i64 = reason.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(reason.ends_with(&format!("watch again from revision {from}")), "{reason}");
    asleep.create(self::from(from)).await;
    told.extend(revisions(&asleep.events(puts - told.len()).await));
    assert_eq!(told, (2..2 + puts as i64).collect::<Vec<_>>());
}

#[tokio::test]
async fn each_watch_of_a_crowd_is_told_its_own_whatever_others_stand_beside_it() {
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    let mut stream = Stream::open(&world).await;
    for _ in 0..40 {
        stream.create(all()).await;
    }
    let mut told = vec![Vec::new(); 60];
    for number in 0..60i64 {
        kv.put(put(if number % 3 == 0 { "a" } else { "b" }, "1")).await.unwrap();
        if number % 3 == 0 {
            // Some from now on, some from the past, some of one key.
            let (key, range_end) = (Bytes::from_static(b"b"), Bytes::new());
            let own = match number % 2 {
                0 => from(2 + number / 2),
                _ => pb::WatchCreateRequest { key, range_end, ..all() },
            };
            let request =
                pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(own)) };
            stream.requests.send(request).await.unwrap();
        }
    }
    stream.ask(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})).await;
    let mut begun = vec![2; 60];
    loop {
        let answer = stream.next().await;
        if answer.watch_id == -1 {
            break;
        }
        if answer.created {
            begun[answer.watch_id as usize] = answer.header.unwrap().revision + 1;
        }
        told[answer.watch_id as usize].extend(revisions(&answer.events));
    }
    let all: Vec<i64> = (2..62).collect();
    for (id, told) in told.into_iter().enumerate() {
        let (number, id) = ((id as i64 - 40) * 3, id);
        let expected: Vec<i64> = match id {
            0..40 => all.clone(),
            _ if number % 2 == 0 => (2 + number / 2..62).collect(),
            _ => (begun[id]..62).filter(|at| (at - 2) % 3 != 0).collect(),
        };
        assert_eq!(told, expected, "watch {id}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_process() {
    let mut world = World::new().await;
    let mut stream = Stream::open(&world).await;
    stream.create(all()).await;
    world.shutdown.send(true).unwrap();
    let end = stream.answers.message().await.unwrap_err();
    assert_eq!(end.message(), "etcdserver: server stopped");
    // The connection is still open at the client's end; the server does not wait for that.
    let ended = tokio::time::timeout(PATIENCE, &mut world.serving).await;
    ended.expect("the server ends").unwrap();
}
