//! The key-value calls as bytes on the wire: what gRPC says of heads, messages and trailers.

use super::etcd::{put, range};
use super::*;
use crate::api::proto::etcdserverpb as pb;
use crate::client::{Call, Client};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper::header::HeaderMap;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pb::kv_client::KvClient;
use prost::Message;
use std::convert::Infallible;
use tokio::net::TcpStream;
use tonic::Code;
use tonic::body::Body;
use tonic::codegen::tokio_stream;
use tower::ServiceExt;

/// An answer as it came.
struct Raw {
    status: StatusCode,
    head: HeaderMap,
    message: Bytes,
    trailers: Option<HeaderMap>,
}

impl Raw {
    /// Where the outcome of the call stands: in the head when there is nothing else.
    fn said(&self) -> (&str, &str) {
        let told = self.trailers.as_ref().unwrap_or(&self.head);
        let text = |name| told.get(name).map_or("", |value| value.to_str().unwrap());
        (text("grpc-status"), text("grpc-message"))
    }
}

async fn call(world: &World, method: &str, head: &[(&str, &str)], body: Body) -> Raw {
    called(world, &format!("etcdserverpb.{method}"), head, body).await
}

/// The same, of any package.
async fn called(world: &World, method: &str, head: &[(&str, &str)], body: Body) -> Raw {
    let mut request = Request::post(format!("http://x/{method}"));
    if !head.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/grpc");
    }
    for (name, value) in head {
        request = request.header(*name, *value);
    }
    send(world, request.body(body).unwrap()).await
}

async fn send(world: &World, request: Request<Body>) -> Raw {
    // Tonic's client would heed `grpc-timeout` by itself.
    let stream = TokioIo::new(TcpStream::connect(world.etcd).await.unwrap());
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let response = client.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned();
    Raw { status: head.status, head: head.headers, message: body.to_bytes(), trailers }
}

fn framed(message: &impl Message) -> Bytes {
    let len = u32::try_from(message.encoded_len()).unwrap();
    [&[0][..], &len.to_be_bytes(), &message.encode_to_vec()].concat().into()
}

fn whole(bytes: impl Into<Bytes>) -> Body {
    Body::new(Full::new(bytes.into()))
}

fn in_pieces(pieces: Vec<Bytes>) -> Body {
    let frames = pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    Body::new(StreamBody::new(tokio_stream::iter(frames)))
}

#[tokio::test]
async fn an_answer_is_a_head_a_message_and_trailers() {
    let world = World::new().await;
    for (kind, answered) in [
        ("application/grpc", "application/grpc"),
        ("application/grpc+proto", "application/grpc+proto"),
        ("application/grpc;a=b", "application/grpc"),
    ] {
        let head = [("content-type", kind), ("te", "trailers"), ("token", "nobody.1")];
        let raw = call(&world, "KV/Put", &head, whole(framed(&put("a", "1")))).await;
        assert_eq!((raw.status, raw.said()), (StatusCode::OK, ("0", "")));
        assert_eq!(raw.head["content-type"], answered);
        assert!(!raw.head.contains_key("grpc-status"), "it stands at the end");
        assert_eq!(raw.message[0], 0);
        let len = u32::from_be_bytes(raw.message[1..5].try_into().unwrap());
        assert_eq!(raw.message.len(), 5 + len as usize);
        let answer = pb::PutResponse::decode(raw.message.slice(5..)).unwrap();
        assert_eq!(answer.header.unwrap().member_id, 1);
    }
    let raw = call(&world, "KV/Put", &[("content-type", "application/grpc-web")], whole("")).await;
    assert_eq!(raw.status, StatusCode::NOT_FOUND, "that is something else");
}

#[tokio::test]
async fn a_message_may_come_in_any_pieces() {
    let world = World::new().await;
    let value = vec![b'v'; 300 << 10];
    let framed = framed(&put("a", value.clone()));
    for size in [1_000, 20_000, framed.len() - 1] {
        let pieces = framed.chunks(size).map(Bytes::copy_from_slice).collect();
        let raw = call(&world, "KV/Put", &[], in_pieces(pieces)).await;
        assert_eq!(raw.said(), ("0", ""));
    }
    let mut kv = KvClient::new(world.channel().await);
    let read = kv.range(range("a", b"")).await.unwrap().into_inner();
    assert_eq!((read.kvs[0].version, read.kvs[0].value == value), (3, true));
}

#[tokio::test]
async fn a_refusal_stands_in_the_head_and_its_text_is_escaped() {
    let world = World::new().await;
    let empty = framed(&put("", "1"));
    let raw = call(&world, "KV/Put", &[], whole(empty)).await;
    assert_eq!(raw.status, StatusCode::OK);
    assert_eq!(raw.said(), ("3", "etcdserver:%20key%20is%20not%20provided"));
    assert!(raw.head.contains_key("grpc-status") && raw.message.is_empty());

    let gzip = [("grpc-encoding", "gzip")];
    let raw = call(&world, "KV/Range", &gzip, whole(framed(&range("a", b"")))).await;
    assert_eq!(raw.said().0, "12");
    assert_eq!(raw.head["grpc-accept-encoding"], "identity");

    let identity = [("grpc-encoding", "identity"), ("grpc-accept-encoding", "gzip")];
    let raw = call(&world, "KV/Range", &identity, whole(framed(&range("a", b"")))).await;
    assert_eq!(raw.said().0, "0");

    let put = framed(&put("a", "1"));
    let compressed = [&[1], &put[1..]].concat();
    let twice = [put.clone(), put.clone()].concat();
    let unreadable = b"\0\0\0\0\x02\x0a\x7f".to_vec();
    for bytes in [compressed, twice, unreadable.clone(), put[..7].to_vec(), Vec::new()] {
        let raw = call(&world, "KV/Put", &[], whole(bytes)).await;
        assert_eq!(raw.said().0, "13", "{:?}", raw.said());
    }
    // A field of 127 bytes, of which none come: every service says the same of it.
    for method in [
        "etcdserverpb.KV/Put",
        "etcdserverpb.Lease/LeaseGrant",
        "etcdserverpb.Cluster/MemberRemove",
        "etcdserverpb.Auth/UserAdd",
        "etcdserverpb.Maintenance/HashKV",
        "v3lockpb.Lock/Lock",
        "v3electionpb.Election/Leader",
        "v3electionpb.Election/Observe",
        "grpc.health.v1.Health/Check",
    ] {
        let raw = called(&world, method, &[], whole(unreadable.clone())).await;
        let (code, text) = raw.said();
        let begun = text.starts_with("grpc:%20error%20unmarshalling%20request:%20failed%20to%20");
        assert!(code == "13" && begun, "{method}: {code} {text}");
    }
    let raw = call(&world, "KV/RangeStream", &[], whole(put.clone())).await;
    assert_eq!(raw.said().0, "12");
    let get = Request::builder().method(Method::GET).uri("http://x/etcdserverpb.KV/Put");
    let get = get.header("content-type", "application/grpc").body(whole(put)).unwrap();
    let raw = send(&world, get).await;
    assert_eq!((raw.status, raw.said().0), (StatusCode::METHOD_NOT_ALLOWED, "13"));
    let mut kv = KvClient::new(world.channel().await);
    assert_eq!(kv.range(range("a", b"")).await.unwrap().into_inner().count, 0, "nothing was put");
}

#[tokio::test]
async fn a_call_ends_when_the_callers_patience_does() {
    let world = World::of(Wishes { absent_voters: 2, ..Wishes::default() }).await;
    let grant = framed(&pb::LeaseGrantRequest { ttl: 60, id: 0 });
    for (method, message) in
        [("KV/Put", framed(&put("a", "1"))), ("Lease/LeaseGrant", grant.clone())]
    {
        let hurried = [("grpc-timeout", "5m")];
        let raw = call(&world, method, &hurried, whole(message.clone())).await;
        assert_eq!(raw.said(), ("4", "context%20deadline%20exceeded"), "{method}");
        let patient = [("grpc-timeout", "99999999S")];
        let raw = call(&world, method, &patient, whole(message.clone())).await;
        assert_eq!(raw.said(), ("14", "etcdserver:%20request%20timed%20out"), "{method}");
        let raw = call(&world, method, &[("grpc-timeout", "soon")], whole(message)).await;
        assert_eq!(raw.said().0, "13", "{method}");
    }
}

#[tokio::test]
async fn a_message_that_stops_coming_ends_its_call_and_no_other() {
    let body = Duration::from_millis(300);
    let patience = Patience { body, ..Patience::default() };
    let world = World::of(Wishes { patience, ..Wishes::default() }).await;
    let half = framed(&put("a", "1")).slice(..7);
    let frames = tokio_stream::iter([Ok::<_, Infallible>(Frame::data(half))]);
    let stalled = tokio_stream::StreamExt::chain(frames, tokio_stream::pending());
    let raw = call(&world, "KV/Put", &[], Body::new(StreamBody::new(stalled))).await;
    assert_eq!(raw.said().0, "4", "{:?}", raw.said());
    KvClient::new(world.channel().await).put(put("a", "1")).await.unwrap();
}

/// How many keys of one mebibyte make up less than the largest answer, and two of them all that
/// answers may hold.
const MANY: u8 = 63;

fn large(number: u8) -> pb::PutRequest {
    pb::PutRequest {
        key: vec![b'a', number].into(),
        value: vec![number; 1 << 20].into(),
        ..pb::PutRequest::default()
    }
}

async fn cut_connections(world: &World) -> u64 {
    let text = Client::new(world.addr.to_string(), None).bytes(Call::get("/metrics")).await;
    let text = String::from_utf8_lossy(&text.unwrap().body).into_owned();
    let line = text.lines().find_map(|l| l.strip_prefix("muslin_api_cut_connections_total "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_keep_none_from_others_for_long() {
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await).max_decoding_message_size(usize::MAX);
    for number in 0..MANY {
        kv.put(large(number)).await.unwrap();
    }
    let mut unread = Vec::new();
    for _ in 0..2 {
        let channel = world.channel().await;
        let all = whole(framed(&range("a", b"b")));
        let request = Request::post("http://x/etcdserverpb.KV/Range")
            .header("content-type", "application/grpc")
            .body(all)
            .unwrap();
        unread.push((channel.clone().oneshot(request).await.unwrap(), channel));
    }
    let mut refused = 0;
    let read = loop {
        match kv.range(range("a", b"b")).await {
            Ok(read) => break read.into_inner(),
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
                refused += 1;
            }
        }
        // What is small has room all the time.
        kv.put(put("z", "1")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(read.kvs.len(), usize::from(MANY));
    assert!(read.kvs.iter().all(|kv| kv.value.len() == 1 << 20));
    assert!(cut_connections(&world).await > 0, "{refused} were refused");
    drop(unread);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_with_too_much_to_tell_is_done_and_says_so() {
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    for number in 0..MANY + 2 {
        kv.put(large(number)).await.unwrap();
    }
    let (key, range_end) = (Bytes::from("a"), Bytes::from("b"));
    let delete = pb::DeleteRangeRequest { key, range_end, prev_kv: true };
    let status = kv.delete_range(delete).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("it is done"), "{status}");
    assert_eq!(kv.range(range("a", b"b")).await.unwrap().into_inner().count, 0);
}
