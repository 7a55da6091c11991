//! Clients that are broken, slow, or mean harm.

use super::etcd::put;
use super::*;
use crate::api::auth::Doorman;
use crate::api::caller::Caller;
use crate::api::connection::Line;
use crate::api::desk::{Desk, Office};
use crate::api::front::Front;
use crate::api::gallery::Gallery;
use crate::api::gate::Gate;
use crate::api::metrics::Metrics;
use crate::api::proto::etcdserverpb as pb;
use crate::api::unread::Unread;
use crate::api::visitor::Visitor;
use crate::client::{Call, Client, ClientError};
use crate::identity::crypto_provider;
use axum::body::Body;
use http_body_util::BodyExt;
use pb::kv_client::KvClient;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Code;
use tower::ServiceExt;

/// Short enough for a test. On a busy machine it may cut off somebody who does not stall.
const SHORT: Patience = Patience {
    handshake: Duration::from_millis(300),
    header: Duration::from_millis(300),
    body: Duration::from_millis(300),
    unread: Duration::from_millis(300),
};

async fn impatient() -> World {
    World::of(Wishes { patience: SHORT, ..Wishes::default() }).await
}

/// What a connection is answered to these bytes until it is closed; it must be closed in time.
async fn answer_to(world: &World, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.addr).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A reset is a way to close, too.
    let _ = tokio::time::timeout(PATIENCE, read).await.expect("it is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Somebody who does not stall is served, perhaps not at the first try.
async fn serves(world: &World) {
    let put_once = async || {
        let endpoint = Endpoint::from_shared(format!("http://{}", world.etcd)).unwrap();
        let mut kv = KvClient::new(endpoint.connect().await.ok()?);
        kv.put(put("a", "1")).await.ok()
    };
    let served = async { while put_once().await.is_none() {} };
    tokio::time::timeout(PATIENCE, served).await.expect("it is served");
}

#[tokio::test]
async fn whoever_stalls_is_cut_off() {
    let world = impatient().await;
    let bodies = Patience { body: SHORT.body, ..Patience::default() };
    let reading = World::of(Wishes { patience: bodies, ..Wishes::default() }).await;
    let claims = "PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf";
    let (silent, preface, head, body) = tokio::join!(
        answer_to(&world, b""),
        answer_to(&world, b"PRI * HTTP/2.0\r\n"),
        answer_to(&world, b"GET /livez HTTP/1.1\r\nHost: loc"),
        answer_to(&reading, claims.as_bytes()),
    );
    assert_eq!((silent.as_str(), preface.as_str()), ("", ""));
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
    assert!(body.contains("body-timeout"), "{body}");
    serves(&world).await;
    serves(&reading).await;
}

#[tokio::test]
async fn a_trickle_of_header_bytes_does_not_buy_time() {
    let world = impatient().await;
    let mut stream = TcpStream::connect(world.addr).await.unwrap();
    let mut answer = [0; 64];
    let trickle = async {
        loop {
            if stream.write_all(b"G").await.is_err() {
                return;
            }
            let read = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut answer));
            if matches!(read.await, Ok(Ok(0) | Err(_))) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, trickle).await.expect("it is closed");
}

#[tokio::test]
async fn noise_is_answered_by_closing() {
    let world = impatient().await;
    let mut noise = vec![0_u8; 4_096];
    for seed in 0..50_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for byte in &mut noise {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state as u8;
        }
        answer_to(&world, &noise).await;
        let http2 = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &noise].concat();
        answer_to(&world, &http2).await;
    }
    serves(&world).await;
}

#[tokio::test]
async fn a_body_that_claims_to_be_huge_is_refused_before_it_is_read() {
    let world = World::new().await;
    let claims = "PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000000\r\n\r\n";
    let answer = answer_to(&world, claims.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("1572864"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_long_is_refused_in_words() {
    let world = impatient().await;
    let long = "k".repeat(70_000);
    for head in [
        format!("GET /v1/kv/{long} HTTP/1.1\r\nhost: a\r\n\r\n"),
        format!("GET /v1/kv/a HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"),
        format!("GET /v1/kv/a HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101)),
    ] {
        let answer = answer_to(&world, head.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 4") && head.contains("application/problem+json"));
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["code"], "head-too-large", "{body}");
        assert!(body["hint"].as_str().unwrap().contains("etcd"), "{body}");
        assert!(body["detail"].as_str().unwrap().contains("more than 100 fields"), "{body}");
    }
    // As many as are said are taken.
    let most = format!(
        "GET /livez HTTP/1.1\r\nhost: localhost\r\n{}connection: close\r\n\r\n",
        "x: y\r\n".repeat(98)
    );
    assert!(answer_to(&world, most.as_bytes()).await.starts_with("HTTP/1.1 200"));
    serves(&world).await;
}

#[tokio::test]
async fn a_message_that_claims_to_be_huge_is_refused_before_it_is_read() {
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    let status = kv.put(put("a", vec![0; 3 << 20])).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let text = status.message();
    assert!(text.starts_with("grpc: received message larger than max (3145"), "{text}");
    assert!(text.ends_with(" vs. 2097152)"), "{text}");
    kv.put(put("a", "1")).await.unwrap();
}

#[tokio::test]
async fn many_silent_connections_leave_room_for_others() {
    let world = impatient().await;
    let mut silent = Vec::new();
    for _ in 0..500 {
        silent.push(TcpStream::connect(world.addr).await.unwrap());
    }
    serves(&world).await;
    for stream in &mut silent {
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
}

/// What handlers hold, for a node that nobody else asks.
pub(in crate::api) fn desk(world: &World, identity: Option<&Identity>) -> Arc<Desk> {
    let office = Office {
        doorman: Doorman::new(world.handle.clone()),
        id: NodeId(1),
        cluster: identity.map_or(ClusterId(1), |identity| identity.cluster),
        facts: NodeFacts {
            name: String::new(),
            cluster_name: String::new(),
            addr: String::new(),
            etcd: String::new(),
            version: String::new(),
        },
        join: None,
        roster: None,
        metrics: Metrics::new(Arc::new(Gate::new(1)), None),
        gallery: Gallery::default(),
        patience: Patience::default(),
        shutdown: world.shutdown.subscribe(),
        caught_up: AtomicBool::new(false),
        began: 1,
        chronicle: chronicle::Chronicle::default(),
        nodes: super::super::http::NodeBoard::default(),
        ops: super::super::http::OpBoard::new(NodeId(1), 1),
    };
    Desk::new(world.handle.clone(), office)
}

/// Two ends of a connection; the node believes that the far one is at `peer`.
async fn connection_from(world: &World, identity: Option<&Identity>, peer: &str) -> TcpStream {
    let tls = identity.map(|identity| watch::channel(identity.server_tls().unwrap()).1);
    let front = Arc::new(Front::new(desk(world, identity)));
    let shutdown = world.shutdown.subscribe();
    let line = Line { front, tls, is_strict: false, patience: Patience::default(), shutdown };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (near, _) = listener.accept().await.unwrap();
    let peer: IpAddr = peer.parse().unwrap();
    tokio::spawn(line.serve(near, peer));
    far
}

async fn ask<S>(mut stream: S, request: &str) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let request = format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn plain_text_from_another_machine_is_refused_and_told_why() {
    let world = World::new().await;
    for request in ["GET /livez", "GET /v1/status", "PUT /v1/kv/a"] {
        let stream = connection_from(&world, None, "192.0.2.1").await;
        let answer = ask(stream, request).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert!(answer.contains("https-required") && answer.contains("https://"), "{answer}");
    }
}

fn identity() -> Identity {
    Identity::found("test", NodeId(1), &[]).unwrap()
}

/// A client that trusts the cluster, and has no certificate of its own.
fn stranger(identity: &Identity) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(identity.ca_pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// What a request over TLS from another machine is answered.
async fn ask_from_afar(
    identity: &Identity,
    tls: Arc<ClientConfig>,
    requests: &[&str],
) -> Vec<String> {
    let world = World::new().await;
    let mut tls = Arc::unwrap_or_clone(tls);
    tls.alpn_protocols.clear();
    let connector = TlsConnector::from(Arc::new(tls));
    let mut answers = Vec::new();
    for request in requests {
        let stream = connection_from(&world, Some(identity), "192.0.2.1").await;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        answers.push(ask(stream, request).await);
    }
    answers
}

const REQUESTS: [(&str, u16, u16); 11] = [
    ("GET /livez", 200, 200),
    ("GET /readyz", 200, 200),
    ("POST /v1/join", 501, 501),
    ("GET /v1/join", 401, 405),
    ("GET /v1/status", 401, 200),
    ("GET /metrics", 401, 200),
    ("GET /openapi.json", 401, 200),
    ("PUT /v1/kv/a", 401, 200),
    ("GET /nothing", 401, 404),
    ("POST /livez", 401, 405),
    ("GET /livez/../v1/status", 401, 404),
];

#[tokio::test]
async fn a_stranger_may_ask_for_life_and_to_join_and_nothing_else() {
    let identity = identity();
    let requests = REQUESTS.map(|(request, ..)| request);
    let answers = ask_from_afar(&identity, stranger(&identity), &requests).await;
    for ((request, status, _), answer) in REQUESTS.into_iter().zip(answers) {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
        assert!(status == 200 || answer.contains("application/problem+json"), "{answer}");
    }
}

#[tokio::test]
async fn a_certificate_of_the_cluster_opens_every_route() {
    let identity = identity();
    let requests = REQUESTS.map(|(request, ..)| request);
    let answers = ask_from_afar(&identity, identity.client_tls().unwrap(), &requests).await;
    for ((request, _, status), answer) in REQUESTS.into_iter().zip(answers) {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
    }
}

#[tokio::test]
async fn a_stranger_is_refused_over_grpc_too() {
    let identity = identity();
    let calls = ["KV/Put", "KV/Range", "Watch/Watch", "Lease/LeaseGrant", "Cluster/MemberList"]
        .map(|method| format!("POST /etcdserverpb.{method}"));
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    for answer in ask_from_afar(&identity, stranger(&identity), &calls).await {
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    let disguised =
        calls.iter().map(|call| format!("{call} HTTP/1.1\r\ncontent-type: application/grpc\r\nX:"));
    let disguised: Vec<String> = disguised.collect();
    let disguised: Vec<&str> = disguised.iter().map(String::as_str).collect();
    for answer in ask_from_afar(&identity, stranger(&identity), &disguised).await {
        assert!(answer.contains("grpc-status: 16"), "{answer}");
    }
}

#[tokio::test]
async fn this_machine_may_use_tls_and_need_not() {
    let identity = identity();
    let tls = stranger(&identity);
    let wishes = Wishes { identity: Some(identity), ..Wishes::default() };
    let world = World::of(wishes).await;
    for tls in [None, Some(tls)] {
        let client = Client::new(world.addr.to_string(), tls);
        client.bytes(Call::put("/v1/kv/a", "1")).await.unwrap();
    }
    let other = Identity::found("other", NodeId(1), &[]).unwrap();
    let client = Client::new(world.addr.to_string(), Some(stranger(&other)));
    let error = client.bytes(Call::get("/livez")).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
}

#[tokio::test]
async fn half_a_handshake_is_cut_off() {
    let wishes = Wishes { identity: Some(identity()), patience: SHORT, ..Wishes::default() };
    let world = World::of(wishes).await;
    answer_to(&world, &[0x16, 3, 1, 2, 0]).await;
    serves(&world).await;
}

#[tokio::test]
async fn a_web_page_does_not_pass_for_a_local_caller() {
    let world = World::new().await;
    let range = "POST /v3/kv/range";
    for (asked, header, allowed) in [
        ("GET /v1/nodes", "Host: 127.0.0.1:7401", true),
        ("GET /v1/nodes", "Host: localhost:7401", true),
        ("GET /v1/nodes", "Host: [::1]:7401", true),
        ("GET /v1/nodes", "Host: evil.example:7401", false),
        ("HEAD /v1/nodes", "Host: evil.example:7401", false),
        ("GET /v1/nodes", "Host: 127.0.0.1:7401\r\nOrigin: http://127.0.0.1:7401", true),
        ("GET /v1/nodes", "Host: 127.0.0.1:7401\r\nOrigin: http://evil.example", false),
        ("GET /v1/nodes", "Host: 127.0.0.1:7401\r\nOrigin: null", false),
        // A page's requests that do more than read have an origin.
        (range, "Host: etcd.internal:2379", true),
        (range, "Host: evil.example\r\nOrigin: http://evil.example", false),
        (range, "Host: evil.example\r\nOrigin: null", false),
        // What looks after a node may call it by any name.
        ("GET /health", "Host: etcd.internal:2379", true),
        ("GET /version", "Host: etcd.internal:2379", true),
        ("GET /metrics", "Host: etcd.internal:2379", true),
        ("GET /metrics", "Host: evil.example\r\nOrigin: http://evil.example", false),
    ] {
        let body = "Content-Length: 14\r\nConnection: close\r\n\r\n{\"key\":\"YQ==\"}";
        let request = format!("{asked} HTTP/1.1\r\n{header}\r\n{body}");
        let answer = answer_to(&world, request.as_bytes()).await;
        let status = if allowed { "HTTP/1.1 200" } else { "HTTP/1.1 403" };
        assert!(answer.starts_with(status), "{asked} {header}: {answer}");
    }
}

/// Every route of the description, and every gRPC service, over real sockets, where this machine is
/// trusted no more than another: nobody is answered without a certificate, in plain text or TLS.
#[tokio::test]
async fn every_route_and_every_call_refuses_unauthenticated_callers() {
    let identity = identity();
    let wishes = Wishes { identity: Some(identity.clone()), is_strict: true, ..Wishes::default() };
    let world = World::of(wishes).await;
    let address = world.addr.to_string();
    let admin = Client::new(&address, Some(identity.client_tls().unwrap()));
    let document: serde_json::Value = admin.json(Call::get("/openapi.json")).await.unwrap();
    let mut walked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path.replace(['{', '}'], "");
        for method in operations.as_object().unwrap().keys() {
            let call = || match method.as_str() {
                "get" => Call::get(&path),
                "put" => Call::put(&path, "1"),
                "post" => Call::post(&path, "1"),
                "patch" => Call::patch(&path, "{}"),
                "delete" => Call::delete(&path),
                other => panic!("a method that this test does not know: {other}"),
            };
            for tls in [None, Some(stranger(&identity))] {
                let (is_plain, client) = (tls.is_none(), Client::new(&address, tls));
                let status = match client.bytes(call()).await {
                    Ok(_) => 200,
                    Err(ClientError::Problem { status, .. }) => status,
                    Err(other) => panic!("{method} {path}: {other}"),
                };
                let expected = match (method.as_str(), path.as_str()) {
                    ("get", "/livez" | "/readyz") => 200,
                    // Whoever knows a password may show it, where nobody else can read it.
                    ("post", "/v1/auth/token") if !is_plain => 400,
                    // To ask to join is open to all, and here nobody admits.
                    ("post", "/v1/join") => {
                        if is_plain {
                            403
                        } else {
                            501
                        }
                    }
                    _ => 401,
                };
                assert_eq!(status, expected, "{method} {path}, in plain text: {is_plain}");
            }
            walked += 1;
        }
    }
    assert!(walked >= 19, "{walked} routes");
    // Plain gRPC, on both ports; what no service offers is refused alike.
    for port in [world.addr, world.etcd] {
        for service in [
            "KV/Range",
            "Watch/Watch",
            "Lease/LeaseGrant",
            "Cluster/MemberList",
            "Maintenance/Status",
            "Auth/Authenticate",
        ] {
            let mut stream = TcpStream::connect(port).await.unwrap();
            let head = format!(
                "POST /etcdserverpb.{service} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 content-type: application/grpc\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.contains("grpc-status: 16"), "{service}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_removed_nodes_certificate_is_refused_from_the_next_request_on() {
    let identity = identity();
    let other = identity.sibling(NodeId(9), &[]).unwrap();
    let other = Identity { admin: None, ..other };
    let roster = Arc::new(Roster::new(crate::identity::FIRST_EPOCH));
    let wishes = Wishes {
        identity: Some(identity.clone()),
        roster: Some(roster.clone()),
        ..Wishes::default()
    };
    let world = World::of(wishes).await;
    let client = Client::new(world.addr.to_string(), Some(other.client_tls().unwrap()));
    client.bytes(Call::get("/v1/nodes")).await.unwrap();
    roster.raise(muslin_core::base::Epoch(2));
    let code = |answer: Result<_, ClientError>| match answer {
        Err(ClientError::Problem { status: 403, code, hint, .. }) if !hint.is_empty() => code,
        other => panic!("{:?}", other.map(drop)),
    };
    assert_eq!(code(client.bytes(Call::get("/v1/nodes")).await), "outdated");
    roster.remove(NodeId(9));
    assert_eq!(code(client.bytes(Call::get("/v1/nodes")).await), "removed");
    assert!(client.bytes(Call::get("/livez")).await.is_ok(), "what all may ask, it may");
}

/// A stream of all changes; nothing of it is read but its head.
async fn unread_watch(world: &World) -> TcpStream {
    let mut stream = TcpStream::connect(world.addr).await.unwrap();
    let request = "GET /v1/kv?watch=true&from=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

async fn metric(world: &World, name: &str) -> u64 {
    let client = Client::new(world.addr.to_string(), None);
    let text = client.bytes(Call::get("/metrics")).await.unwrap();
    let text = String::from_utf8_lossy(&text.body).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The lines of an answer that ends, in chunks, each a line or more.
async fn lines_to_the_end(mut stream: TcpStream) -> Vec<serde_json::Value> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n0\r\n\r\n") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut text)).await;
        assert!(read.expect("the answer ends").unwrap() > 0, "the connection stays");
    }
    let text = String::from_utf8(text).unwrap();
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_cancelled_and_says_where_to_go_on() {
    let patience = Patience { unread: Duration::from_millis(500), ..Patience::default() };
    let world = World::of(Wishes { patience, ..Wishes::default() }).await;
    let mut kv = KvClient::new(world.channel().await);
    let asleep = unread_watch(&world).await;
    let mut puts = 0;
    // More than is between the node and the reader, then until the reader is found to sleep.
    while metric(&world, "muslin_api_cancelled_watches_total").await == 0 {
        kv.put(put("a", vec![b'x'; 64 << 10])).await.unwrap();
        puts += 1;
    }
    let mut told = lines_to_the_end(asleep).await;
    let last = told.pop().unwrap();
    assert_eq!((&last["type"], &last["problem"]["code"]), (&"error".into(), &"unread".into()));
    let index = last["index"].as_u64().unwrap();
    let hint = last["problem"]["hint"].as_str().unwrap();
    assert!(hint.contains(&index.to_string()), "{hint}");
    let revisions = told.iter().filter_map(|line| line["revision"].as_u64());
    assert_eq!(revisions.collect::<Vec<_>>(), (2..=index).collect::<Vec<_>>());
    assert!(index < 1 + puts, "there was more to tell");
    let client = Client::new(world.addr.to_string(), None);
    let path = format!("/v1/kv?watch=1&from={}", index + 1);
    let mut rest = client.lines(Call::get(&path)).await.unwrap();
    for revision in index..=1 + puts {
        let line = rest.next().await.unwrap().unwrap();
        let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
        match revision == index {
            true => assert_eq!((&line["type"], &line["index"]), (&"sync".into(), &index.into())),
            false => assert_eq!(line["revision"], revision),
        }
    }
}

#[tokio::test]
async fn what_is_read_for_a_watch_counts_until_it_is_told_however_short_its_lines() {
    const KEYS: usize = 1_000;
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    for number in 0..KEYS {
        let key = format!("a{number}").into();
        kv.put(pb::PutRequest { key, ..put("", vec![b'v'; 1_000]) }).await.unwrap();
    }
    for what in ["the changes", "the items"] {
        let from = if what == "the changes" { "&from=2" } else { "" };
        let unread = Unread::default();
        let path = format!("/v1/kv?watch=1{from}");
        let mut request = hyper::Request::get(path).body(Body::empty()).unwrap();
        let visitor = Visitor { caller: Caller::Loopback, reader: unread.reader() };
        request.extensions_mut().insert(visitor);
        let router = super::super::http::router(desk(&world, None));
        let mut told = router.oneshot(request).await.unwrap().into_body();
        // A few lines wait for their reader, and some hundred that were read with them.
        let counted = async {
            while unread.streams_bytes() < KEYS as u64 * 1_000 / 4 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, counted).await.expect(what);
        // And a line that says up to where it is.
        for _ in 0..=KEYS {
            told.frame().await.unwrap().unwrap();
        }
        let settled = async {
            while unread.streams_bytes() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.expect("what was told counts no more");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_who_do_not_read_are_cut_off_when_they_hold_too_much_and_nobody_else_is() {
    let world = World::new().await;
    let mut kv = KvClient::new(world.channel().await);
    let mut asleep = Vec::new();
    for _ in 0..64 {
        asleep.push(unread_watch(&world).await);
    }
    let mut awake = super::etcd_watch::Stream::open(&world).await;
    awake.create(super::etcd_watch::from(1)).await;
    let mut puts = 0;
    // 64 readers of six or so lines each hold far more than all may.
    while metric(&world, "muslin_api_cut_connections_total").await == 0 {
        kv.put(put("a", vec![b'x'; 1 << 20])).await.unwrap();
        puts += 1;
        awake.events(1).await;
        assert!(puts < 200, "nobody was cut off");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    kv.put(put("a", "after")).await.unwrap();
    awake.events(1).await;
}
