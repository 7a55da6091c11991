//! etcd's gateway, over plain sockets as `curl` uses it. The answers are those that etcd 3.4 gave
//! to the same requests, but for identities and the status of a failed precondition (400, as of
//! etcd 3.5).

use super::*;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Sends a request and its body; the connection ends with the answer.
async fn send(at: SocketAddr, head: &str, body: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let length = body.len();
    let request = format!(
        "{head} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\
         \r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    BufReader::new(stream)
}

/// The status, after which the headers have been read.
async fn status(stream: &mut BufReader<TcpStream>) -> u16 {
    let mut first = String::new();
    stream.read_line(&mut first).await.unwrap();
    let mut line = String::from("-");
    while !line.trim().is_empty() {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
    }
    first.split(' ').nth(1).and_then(|status| status.parse().ok()).expect(&first)
}

/// What `POST` is answered, without what every header says of the cluster.
async fn post(world: &World, path: &str, body: Value) -> (u16, Value) {
    raw(world, &format!("POST {path}"), &body.to_string()).await
}

async fn raw(world: &World, head: &str, body: &str) -> (u16, Value) {
    let mut stream = send(world.etcd, head, body).await;
    let status = status(&mut stream).await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    let mut answer: Value = serde_json::from_slice(&rest)
        .unwrap_or_else(|_| panic!("{head} {body}: {}", String::from_utf8_lossy(&rest)));
    let header = Value::take(&mut answer["header"]);
    if header.is_null() {
        answer.as_object_mut().unwrap().remove("header");
    } else {
        assert_eq!(header["member_id"], "1", "{head}");
        answer["header"] = header["revision"].clone();
    }
    (status, answer)
}

fn error(text: &str, code: u32) -> Value {
    json!({ "error": text, "message": text, "code": code })
}

#[tokio::test]
async fn key_value_calls_are_answered_as_etcd_answers_them() {
    let world = World::new().await;
    let put = json!({ "key": "Zm9v", "value": "YmFy", "lease": 0 });
    assert_eq!(post(&world, "/v3/kv/put", put).await, (200, json!({ "header": "2" })));
    let put = json!({ "key": "Zm9v", "value": "YmF6", "prevKv": true });
    let previous = json!({
        "key": "Zm9v", "create_revision": "2", "mod_revision": "2", "version": "1", "value": "YmFy",
    });
    assert_eq!(
        post(&world, "/v3/kv/put", put).await,
        (200, json!({ "header": "3", "prev_kv": previous }))
    );
    let present = json!({
        "key": "Zm9v", "create_revision": "2", "mod_revision": "3", "version": "2", "value": "YmF6",
    });
    for range in [
        json!({ "key": "Zm9v", "limit": "3", "sort_order": "DESCEND" }),
        json!({ "key": "Zm9v", "limit": 3, "sortOrder": 1, "no_such_field": true }),
    ] {
        let (status, answer) = post(&world, "/v3/kv/range", range).await;
        assert_eq!(status, 200);
        assert_eq!(answer, json!({ "header": "3", "kvs": [present], "count": "1" }));
    }
    let txn = json!({
        "compare": [{ "target": "CREATE", "key": "Zm9v", "create_revision": "2" }],
        "success": [{ "request_put": { "key": "Zm9v", "value": "eA==" } }],
    });
    let wrote = json!([{ "response_put": { "header": { "revision": "4" } } }]);
    assert_eq!(
        post(&world, "/v3beta/kv/txn", txn).await,
        (200, json!({ "header": "4", "succeeded": true, "responses": wrote }))
    );
    let (status, gone) = post(&world, "/v3/kv/deleterange", json!({ "key": "Zm9v" })).await;
    assert_eq!((status, gone), (200, json!({ "header": "5", "deleted": "1" })));
    let read = world.handle.glance().revision;
    assert_eq!(read.0, 5);
}

#[tokio::test]
async fn refusals_have_the_words_and_codes_of_etcd() {
    let world = World::new().await;
    let absent = error("etcdserver: key is not provided", 3);
    assert_eq!(post(&world, "/v3/kv/range", json!({})).await, (400, absent.clone()));
    assert_eq!(raw(&world, "POST /v3/kv/range", "").await, (400, absent));
    let future = error("etcdserver: mvcc: required revision is a future revision", 11);
    let compact = json!({ "revision": "100" });
    assert_eq!(post(&world, "/v3/kv/compaction", compact).await, (400, future));
    let lease = error("etcdserver: requested lease not found", 5);
    assert_eq!(post(&world, "/v3/kv/lease/revoke", json!({ "ID": 7 })).await, (404, lease));
    for body in ["[]", "{\"key\":\"Zm9v", "{\"key\":\"!!\"}", "{} {}"] {
        let (status, answer) = raw(&world, "POST /v3/kv/range", body).await;
        assert_eq!((status, &answer["code"]), (400, &json!(3)), "{body}: {answer}");
    }
    let (status, answer) = raw(&world, "GET /v3/kv/range", "").await;
    assert_eq!((status, answer), (405, error("Method Not Allowed", 12)));
    let large = format!("{{\"key\":\"{}\"}}", "A".repeat(5 << 20));
    let (status, answer) = raw(&world, "POST /v3/kv/range", &large).await;
    assert_eq!((status, answer), (400, error("etcdserver: request is too large", 3)));
    let value = "A".repeat(3 << 20);
    let (status, answer) =
        post(&world, "/v3/kv/put", json!({ "key": "YQ==", "value": value })).await;
    assert_eq!(status, 429, "{answer}");
    assert_eq!(world.handle.glance().revision.0, 1, "nothing of it was written");
}

#[tokio::test]
async fn leases_members_and_locks_are_there_too() {
    let world = World::new().await;
    let grant = json!({ "TTL": 100, "ID": 7 });
    let granted = json!({ "header": "1", "ID": "7", "TTL": "100" });
    assert_eq!(post(&world, "/v3/lease/grant", grant).await, (200, granted.clone()));
    let (status, kept) = post(&world, "/v3/lease/keepalive", json!({ "ID": "7" })).await;
    assert_eq!((status, &kept["result"]["TTL"]), (200, &json!("100")), "{kept}");
    let (_, leases) = post(&world, "/v3/kv/lease/leases", json!({})).await;
    assert_eq!(leases["leases"], json!([{ "ID": "7" }]));
    let (_, members) = post(&world, "/v3/cluster/member/list", json!({})).await;
    assert_eq!(members["members"][0]["ID"], "1");
    assert_eq!(members["members"][0]["name"], "n1");
    let lock = json!({ "name": "bG9jaw==", "lease": "7" });
    let (status, locked) = post(&world, "/v3/lock/lock", lock).await;
    assert_eq!((status, &locked["key"]), (200, &json!("bG9jay83")), "lock/7: {locked}");
    let (_, status) = post(&world, "/v3/maintenance/status", json!({})).await;
    assert_eq!(status["leader"], "1");
}

#[tokio::test]
async fn a_watch_goes_on_after_its_request_has_ended() {
    let world = World::new().await;
    let put = |value| json!({ "key": "Zm9v", "value": value });
    post(&world, "/v3/kv/put", put("MQ==")).await;
    let create =
        |revision| json!({ "create_request": { "key": "Zm9v", "start_revision": revision } });
    let body = format!("{} {}", create("1"), create("3"));
    let mut stream = send(world.etcd, "POST /v3/watch", &body).await;
    assert_eq!(status(&mut stream).await, 200);
    post(&world, "/v3/kv/put", put("Mg==")).await;
    let (mut created, mut events) = (0, [0, 0]);
    while created < 2 || events != [2, 1] {
        let line = result(&mut stream).await;
        let id: usize = line["watch_id"].as_str().map_or(0, |id| id.parse().unwrap());
        created += usize::from(line["created"] == true);
        events[id] += line["events"].as_array().map_or(0, Vec::len);
        assert!(events[0] <= 2 && events[1] <= 1, "{line}");
    }
}

/// The next result among the chunks of an answer.
async fn result(stream: &mut BufReader<TcpStream>) -> Value {
    loop {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_line(&mut line)).await;
        assert_ne!(read.expect("a line comes").unwrap(), 0, "the answer goes on");
        if let Ok(mut value) = serde_json::from_str::<Value>(&line)
            && value.is_object()
        {
            return Value::take(&mut value["result"]);
        }
    }
}

#[tokio::test]
async fn rights_are_those_of_the_call_and_tokens_are_handed_on() {
    let world = World::new().await;
    for (path, body) in [
        ("/v3/auth/user/add", json!({ "name": "root", "password": "secret" })),
        ("/v3/auth/role/add", json!({ "name": "root" })),
        ("/v3/auth/user/grant", json!({ "user": "root", "role": "root" })),
        ("/v3/auth/enable", json!({})),
    ] {
        let (status, answer) = post(&world, path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }
    let put = json!({ "key": "Zm9v", "value": "YmFy" });
    let nobody = error("etcdserver: user name is empty", 3);
    assert_eq!(post(&world, "/v3/kv/put", put.clone()).await, (400, nobody));
    // Who may not is told so before anything that was sent is read.
    let (status, answer) = raw(&world, "POST /v3/auth/user/add", "[").await;
    assert_eq!((status, answer), (400, error("etcdserver: user name is empty", 3)));
    let login = json!({ "name": "root", "password": "secret" });
    let (_, answer) = post(&world, "/v3/auth/authenticate", login).await;
    let token = answer["token"].as_str().expect("a token is given");
    let head = |token: &str| format!("Authorization: {token}\r\n");
    let (status, wrote) = with(&world, "/v3/kv/put", &put, &head(token)).await;
    assert_eq!((status, &wrote["header"]), (200, &json!("2")), "{wrote}");
    let (status, answer) = with(&world, "/v3/kv/put", &put, &head("false")).await;
    assert_eq!((status, answer), (401, error("etcdserver: invalid auth token", 16)));
}

/// The same with headers.
async fn with(world: &World, path: &str, body: &Value, headers: &str) -> (u16, Value) {
    let head = format!("POST {path} HTTP/1.0\r\n{headers}X-Rest:");
    raw(world, &head, &body.to_string()).await
}

#[tokio::test]
async fn a_stream_that_begins_badly_is_refused_before_it_begins() {
    let world = World::new().await;
    for body in ["", "{\"create_request\":{\"key\":", "[]", "}"] {
        let (status, answer) = raw(&world, "POST /v3/watch", body).await;
        assert_eq!((status, &answer["code"]), (400, &json!(3)), "{body}: {answer}");
    }
    let mut stream = send(world.etcd, "POST /v3/watch", "{\"cancel_request\":{}} {").await;
    assert_eq!(status(&mut stream).await, 200);
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let ended: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ended["error"]["grpc_code"], 3, "{ended}");
    assert_eq!(ended["error"]["http_code"], 400);
}
