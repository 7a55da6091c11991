//! HTTP as people and programs use it.

use super::*;
use crate::client::{Call, Client, ClientError, Lines};
use hyper::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, ORIGIN};
use serde_json::{Value, json};

pub(super) fn client(world: &World) -> Client {
    Client::new(world.addr.to_string(), None).timeout(PATIENCE)
}

pub(super) async fn line(lines: &mut Lines) -> Value {
    let line = tokio::time::timeout(PATIENCE, lines.next()).await;
    serde_json::from_slice(&line.expect("a line comes").unwrap().expect("it goes on")).unwrap()
}

fn with(call: Call, name: HeaderName, value: &'static str) -> Call {
    call.header(name, HeaderValue::from_static(value))
}

pub(super) async fn refused(client: &Client, call: Call, status: u16, code: &str) {
    match client.bytes(call.clone()).await {
        Err(ClientError::Problem { status: s, code: c, detail, .. }) => {
            assert_eq!((s, c.as_str()), (status, code), "{call:?}: {detail}");
            assert!(!detail.is_empty());
        }
        other => panic!("{call:?}: {other:?}"),
    }
}

#[tokio::test]
async fn any_bytes_are_written_read_and_deleted_under_any_key() {
    let world = World::new().await;
    let client = client(&world);
    let value = Bytes::from_iter(0..=255);
    let put = Call::put("/v1/kv/app//a%2Fb%00%ff", value.clone());
    let written: Value = client.json(put).await.unwrap();
    let key =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, b"app//a/b\x00\xff");
    assert_eq!(written, json!({ "key_b64": key, "revision": 2 }));
    let read = client.bytes(Call::get("/v1/kv/app//a%2fb%00%FF")).await.unwrap();
    assert_eq!(read.body, value);
    assert_eq!(read.headers["etag"], "\"2\"");
    assert_eq!(read.headers["muslin-index"], "1.2");
    assert_eq!(read.headers["muslin-leader"], "0000000000000001");
    assert_eq!(read.headers["muslin-consistency"], "linearizable");
    let local = client.bytes(Call::get("/v1/kv/app//a%2fb%00%FF?consistency=local")).await.unwrap();
    assert_eq!(local.headers["muslin-consistency"], "local");
    let gone: Value = client.json(Call::delete("/v1/kv/app//a%2fb%00%FF")).await.unwrap();
    assert_eq!(gone, json!({ "deleted": 1, "revision": 3 }));
    refused(&client, Call::get("/v1/kv/app//a%2fb%00%FF"), 404, "not-found").await;
}

#[tokio::test]
async fn conditions_are_kept() {
    let world = World::new().await;
    let client = client(&world);
    let put = || Call::put("/v1/kv/a", "1");
    client.bytes(with(put(), IF_NONE_MATCH, "*")).await.unwrap();
    refused(&client, with(put(), IF_NONE_MATCH, "*"), 412, "conflict").await;
    refused(&client, with(put(), IF_MATCH, "\"9\""), 412, "conflict").await;
    refused(&client, with(put(), IF_MATCH, "2"), 400, "bad-request").await;
    refused(&client, with(put(), IF_NONE_MATCH, "\"2\""), 400, "bad-request").await;
    let answer: Value = client.json(with(put(), IF_MATCH, "\"2\"")).await.unwrap();
    assert_eq!(answer["revision"], 3);
    refused(&client, with(Call::delete("/v1/kv/a"), IF_MATCH, "\"2\""), 412, "conflict").await;
    let gone: Value = client.json(with(Call::delete("/v1/kv/a"), IF_MATCH, "\"3\"")).await.unwrap();
    assert_eq!(gone["deleted"], 1);
    refused(&client, with(put(), IF_MATCH, "\"3\""), 412, "conflict").await;
}

#[tokio::test]
async fn a_listing_comes_in_pages() {
    let world = World::new().await;
    let client = client(&world);
    for key in ["app/a", "app/b", "app/c", "apq"] {
        client.bytes(Call::put(format!("/v1/kv/{key}"), key)).await.unwrap();
    }
    client.bytes(Call::put("/v1/kv/app/d", vec![0xff])).await.unwrap();
    let first: Value = client.json(Call::get("/v1/kv?prefix=app/&limit=3")).await.unwrap();
    assert_eq!(
        (&first["count"], &first["more"], &first["revision"]),
        (&json!(4), &json!(true), &json!(6))
    );
    let item = json!({
        "key": "app/a", "value": "app/a", "create_revision": 2, "mod_revision": 2, "version": 1,
    });
    assert_eq!(first["items"][0], item);
    let second: Value = client.json(Call::get("/v1/kv?prefix=app/&after=app/c")).await.unwrap();
    assert_eq!((second["items"].as_array().unwrap().len(), &second["more"]), (1, &json!(false)));
    assert_eq!(second["items"][0]["value_b64"], "/w==");
    let all: Value = client.json(Call::get("/v1/kv")).await.unwrap();
    assert_eq!(all["items"].as_array().unwrap().len(), 5);
    let past: Value = client.json(Call::get("/v1/kv?revision=3")).await.unwrap();
    assert_eq!(past["items"].as_array().unwrap().len(), 2);
    refused(&client, Call::get("/v1/kv?limit=0"), 400, "bad-request").await;
}

#[tokio::test]
async fn a_watch_tells_items_sync_and_then_each_change_once() {
    let world = World::new().await;
    let client = client(&world);
    client.bytes(Call::put("/v1/kv/app/a", "1")).await.unwrap();
    let mut lines = client.lines(Call::get("/v1/kv?prefix=app/&watch=1")).await.unwrap();
    let item = line(&mut lines).await;
    assert_eq!(
        (&item["type"], &item["key"], &item["value"]),
        (&json!("item"), &json!("app/a"), &json!("1"))
    );
    assert_eq!(line(&mut lines).await, json!({ "type": "sync", "index": 2 }));
    client.bytes(Call::put("/v1/kv/other", "1")).await.unwrap();
    client.bytes(Call::put("/v1/kv/app/b", "2")).await.unwrap();
    client.bytes(Call::delete("/v1/kv/app/b")).await.unwrap();
    let put = line(&mut lines).await;
    assert_eq!(
        (&put["type"], &put["revision"], &put["cause"]),
        (&json!("put"), &json!(4), &json!("client"))
    );
    let gone = json!({ "type": "delete", "key": "app/b", "revision": 5, "cause": "client" });
    assert_eq!(line(&mut lines).await, gone);
    let mut later = client.lines(Call::get("/v1/kv?prefix=app/&watch=1&from=4")).await.unwrap();
    assert_eq!(line(&mut later).await, json!({ "type": "sync", "index": 3 }));
    assert_eq!(line(&mut later).await["revision"], 4);
}

#[tokio::test]
async fn what_queues_and_receipts_are_made_of_is_told_to_whoever_asks_for_it_only() {
    let world = World::new().await;
    let client = client(&world);
    let mut watch = client.lines(Call::get("/v1/kv?watch=1")).await.unwrap();
    let mut all = client.lines(Call::get("/v1/kv?watch=1&all=1")).await.unwrap();
    for lines in [&mut watch, &mut all] {
        assert_eq!(line(lines).await["type"], "sync");
    }
    client.bytes(Call::put("/v1/kv/%00a", "before")).await.unwrap();
    client.bytes(Call::post("/v1/queues/work", "hidden")).await.unwrap();
    let keyed = HeaderName::from_static("idempotency-key");
    client.bytes(with(Call::put("/v1/kv/b", "behind"), keyed, "k")).await.unwrap();
    let list = async |query: &str| -> (Vec<String>, u64, bool) {
        let told: Value = client.json(Call::get(format!("/v1/kv?{query}"))).await.unwrap();
        let items = told["items"].as_array().unwrap();
        let keys = items.iter().map(|item| item["key"].as_str().unwrap().to_string());
        (keys.collect(), told["count"].as_u64().unwrap(), told["more"] == true)
    };
    let keys = |keys: &[&str]| keys.iter().map(|key| key.to_string()).collect::<Vec<_>>();
    assert_eq!(list("").await, (keys(&["\0a", "b"]), 2, false));
    assert_eq!(list("limit=1").await, (keys(&["\0a"]), 2, true));
    assert_eq!(list("limit=1&after=%00a").await, (keys(&["b"]), 1, false));
    assert_eq!(list("prefix=%00").await, (keys(&["\0a"]), 1, false));
    assert_eq!(list("prefix=%00m").await, (keys(&[]), 0, false));
    assert_eq!(list("all=1").await.1, 4);
    let (within, ..) = list("prefix=%00m/").await;
    assert!(within.len() == 2 && within[1].starts_with("\0m/receipt/"), "{within:?}");
    for key in ["\0a", "b"] {
        assert_eq!(line(&mut watch).await["key"], key);
    }
    let mut seen = 0;
    while seen < 4 {
        seen += usize::from(line(&mut all).await["type"] == "put");
    }
}

#[tokio::test]
async fn a_watch_from_compacted_history_begins_again() {
    use muslin_core::state::{Command, CommandKind, Compact};
    let world = World::new().await;
    let client = client(&world);
    for value in ["1", "2", "3"] {
        client.bytes(Call::put("/v1/kv/a", value)).await.unwrap();
    }
    let compact = Command::of(CommandKind::Compact(Compact { revision: 4 }));
    world.handle.write(compact).await.unwrap().result.unwrap();
    let mut lines = client.lines(Call::get("/v1/kv?watch=1&from=2")).await.unwrap();
    assert_eq!(line(&mut lines).await, json!({ "type": "resync", "index": 4 }));
    assert_eq!(line(&mut lines).await["value"], "3");
    assert_eq!(line(&mut lines).await["type"], "sync");
}

#[tokio::test]
async fn every_failure_is_a_problem() {
    let world = World::new().await;
    let client = client(&world);
    for (call, status, code) in [
        (Call::get("/"), 404, "not-found"),
        (Call::get("/v1/nothing"), 404, "not-found"),
        (Call::get("/v1/nodes/n9"), 404, "not-found"),
        (Call::get("/v1/kv/"), 404, "not-found"),
        (Call::post("/v1/status", ""), 405, "method-not-allowed"),
        (Call::delete("/v1/kv"), 405, "method-not-allowed"),
        (Call::get("/v1/kv/%zz"), 400, "bad-request"),
        (Call::get("/v1/kv/a?consistency=soon"), 400, "bad-request"),
        (Call::get("/v1/kv?prefx=a"), 400, "bad-request"),
        (Call::get("/v1/kv?revision=99"), 400, "future-revision"),
        (Call::post("/v1/cluster:transfer-leader", ""), 409, "conflict"),
        (Call::post("/v1/cluster:transfer-leader?to=n9", ""), 404, "not-found"),
        (Call::put("/v1/kv/a", vec![0; 2 << 20]), 413, "too-large"),
        (Call::put("/v1/kv/a", vec![0; 1_536 << 10]), 413, "too-large"),
        (Call::post("/v1/join", "{}"), 501, "not-offered"),
        (with(Call::get("/v1/status"), ORIGIN, "http://evil.example"), 403, "cross-site"),
    ] {
        refused(&client, call, status, code).await;
    }
}

#[tokio::test]
async fn a_body_that_no_one_takes_is_refused_before_anything_happens() {
    let world = World::new().await;
    let client = client(&world);
    for path in [
        "/v1/cluster:bump-epoch",
        "/v1/cluster:transfer-leader",
        "/v1/nodes/n1:promote",
        "/v1/gossip-keys:rotate",
        "/v1/tokens/a:rotate",
        "/v1/tokens/a/rotate",
        "/v1/groups?kind=counter&replicas=n1",
    ] {
        for body in ["{", r#"{"to":"n2"}"#] {
            refused(&client, Call::post(path, body), 400, "bad-request").await;
        }
    }
    let call = Call::post("/v1/cluster:transfer-leader", r#"{"to":"n2"}"#);
    let Err(ClientError::Problem { detail, hint, .. }) = client.bytes(call).await else {
        panic!("it was taken");
    };
    assert_eq!(detail, "POST /v1/cluster:transfer-leader takes no body; nothing happened");
    assert_eq!(hint, "send none; it takes the query parameters to");
    let cluster: Value = client.json(Call::get("/v1/cluster")).await.unwrap();
    assert_eq!(cluster["epoch"], 1);
}

#[tokio::test]
async fn without_a_quorum_every_answer_says_so() {
    let join = Some(Arc::new(Polite) as Arc<dyn Admission>);
    let world = World::of(Wishes { absent_voters: 2, join, ..Wishes::default() }).await;
    let client = client(&world);
    for path in ["/v1/tokens", "/v1/tokens/a", "/v1/joins", "/v1/certificates"] {
        refused(&client, Call::get(path), 503, "no-quorum").await;
    }
    refused(&client, Call::post("/v1/tokens", "{}"), 503, "no-quorum").await;
    refused(&client, Call::delete("/v1/tokens/a"), 503, "no-quorum").await;
    refused(&client, Call::post("/v1/gossip-keys:rotate", ""), 503, "no-quorum").await;
    refused(&client, Call::put("/v1/kv/a", "1"), 503, "no-quorum").await;
    refused(&client, Call::get("/v1/kv/a"), 503, "no-quorum").await;
    refused(&client, Call::get("/v1/kv/a?consistency=local"), 404, "not-found").await;
    refused(&client, Call::get("/readyz"), 503, "not-ready").await;
    client.bytes(Call::get("/livez")).await.unwrap();
    let status: Value = client.json(Call::get("/v1/status")).await.unwrap();
    assert_eq!(status["health"], "unavailable");
    assert!(
        status["sentence"].as_str().unwrap().starts_with("Unavailable - 1 of 3 voters answers")
    );
}

#[tokio::test]
async fn the_node_tells_of_itself() {
    let world = World::new().await;
    let client = client(&world);
    let status: Value = client.json(Call::get("/v1/status")).await.unwrap();
    assert_eq!(status["sentence"], "Healthy - single node, cannot lose any");
    let nodes: Value = client.json(Call::get("/v1/nodes")).await.unwrap();
    assert_eq!(
        (&nodes["consistency"], &nodes["items"][0]["name"]),
        (&json!("local"), &json!("n1"))
    );
    for node in ["n1", "0000000000000001"] {
        let mut one: Value = client.json(Call::get(format!("/v1/nodes/{node}"))).await.unwrap();
        // Its log and its opinions grow older.
        for field in ["since_ms", "matched"] {
            one[field] = nodes["items"][0][field].clone();
        }
        assert_eq!(one, nodes["items"][0]);
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(client.bytes(Call::get(path)).await.unwrap().body, "ok\n");
    }
    let moved: Value =
        client.json(Call::post("/v1/cluster:transfer-leader?to=n1", "")).await.unwrap();
    assert_eq!(moved["leader"]["name"], "n1");
}

#[tokio::test]
async fn events_are_listed_and_followed() {
    let world = World::new().await;
    let client = client(&world);
    let events: Value = client.json(Call::get("/v1/events")).await.unwrap();
    let items = events["items"].as_array().unwrap();
    let led = items.iter().find(|item| item["kind"] == "leader-changed").unwrap();
    assert_eq!(led["text"], format!("n1 leads in term {}", led["term"]));
    assert_eq!(led["node"], "0000000000000001");
    let mut lines = client.lines(Call::get("/v1/events?watch=1")).await.unwrap();
    for item in items {
        let told = line(&mut lines).await;
        assert_eq!((&told["type"], &told["number"]), (&json!("item"), &item["number"]));
    }
    let sync = line(&mut lines).await;
    assert_eq!((&sync["type"], &sync["index"]), (&json!("sync"), &items.last().unwrap()["index"]));
}

#[tokio::test]
async fn every_row_of_the_table_is_in_the_metrics() {
    let world = World::new().await;
    let client = client(&world);
    client.bytes(Call::put("/v1/kv/a", "1")).await.unwrap();
    let text = client.bytes(Call::get("/metrics")).await.unwrap().body;
    let text = std::str::from_utf8(&text).unwrap();
    for Row { name, help, .. } in TABLE {
        assert!(!help.is_empty(), "{name}");
        assert!(text.contains(&format!("# HELP {name} {help}\n")), "{name}");
        assert!(text.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}");
    }
    assert!(text.contains("\nmuslin_kv_writes_total 1\n"));
    assert!(text.contains("\nmuslin_kv_revision 2\n"));
    assert!(text.contains("\nmuslin_transport_datagrams_dropped_total{reason=\"forged\"} 0\n"));
}

/// Every route, in order.
const ROUTES: [&str; 119] = [
    "delete /v1/auth/roles/{role}",
    "delete /v1/auth/users/{user}",
    "delete /v1/counters/{name}",
    "delete /v1/groups/{group}",
    "delete /v1/kv/{key}",
    "delete /v1/leases/{lease}",
    "delete /v1/lists/{name}",
    "delete /v1/lists/{name}/{index}",
    "delete /v1/maps/{name}",
    "delete /v1/maps/{name}/{key}",
    "delete /v1/multimaps/{name}",
    "delete /v1/multimaps/{name}/{key}",
    "delete /v1/queues/{name}",
    "delete /v1/sets/{name}",
    "delete /v1/sets/{name}/{key}",
    "delete /v1/tokens/{token}",
    "get /health",
    "get /livez",
    "get /metrics",
    "get /openapi.json",
    "get /readyz",
    "get /v1/auth",
    "get /v1/auth/roles",
    "get /v1/auth/roles/{role}",
    "get /v1/auth/users",
    "get /v1/auth/users/{user}",
    "get /v1/barriers/{name}",
    "get /v1/certificates",
    "get /v1/cluster",
    "get /v1/cluster/health",
    "get /v1/cluster/settings",
    "get /v1/counters/{name}",
    "get /v1/elections",
    "get /v1/elections/{election}",
    "get /v1/events",
    "get /v1/explain",
    "get /v1/groups",
    "get /v1/groups/{group}",
    "get /v1/joins",
    "get /v1/kv",
    "get /v1/kv/{key}",
    "get /v1/leases",
    "get /v1/leases/{lease}",
    "get /v1/lists/{name}",
    "get /v1/lists/{name}/{index}",
    "get /v1/locks",
    "get /v1/locks/{lock}",
    "get /v1/maps/{name}",
    "get /v1/maps/{name}/{key}",
    "get /v1/multimaps/{name}",
    "get /v1/multimaps/{name}/{key}",
    "get /v1/nodes",
    "get /v1/nodes/{node}",
    "get /v1/nodes/{node}/evidence",
    "get /v1/ops",
    "get /v1/ops/{op}",
    "get /v1/queues/{name}",
    "get /v1/sets/{name}",
    "get /v1/sets/{name}/{key}",
    "get /v1/snapshot",
    "get /v1/status",
    "get /v1/tokens",
    "get /v1/tokens/{token}",
    "get /version",
    "patch /v1/cluster/settings",
    "post /v1/auth/roles",
    "post /v1/auth/roles/{role}:grant",
    "post /v1/auth/roles/{role}:revoke",
    "post /v1/auth/token",
    "post /v1/auth/users",
    "post /v1/auth/users/{user}:grant",
    "post /v1/auth/users/{user}:password",
    "post /v1/auth/users/{user}:revoke",
    "post /v1/auth:disable",
    "post /v1/auth:enable",
    "post /v1/barriers/{name}:enter",
    "post /v1/barriers/{name}:leave",
    "post /v1/certificates:renew",
    "post /v1/certificates:rotate",
    "post /v1/cluster:bump-epoch",
    "post /v1/cluster:transfer-leader",
    "post /v1/copies",
    "post /v1/counters/{name}:add",
    "post /v1/counters/{name}:set",
    "post /v1/elections/{election}:campaign",
    "post /v1/elections/{election}:proclaim",
    "post /v1/elections/{election}:resign",
    "post /v1/gossip-keys:rotate",
    "post /v1/groups",
    "post /v1/join",
    "post /v1/kv:compact",
    "post /v1/leases",
    "post /v1/leases/{lease}:keep-alive",
    "post /v1/lists/{name}",
    "post /v1/locks/{lock}:acquire",
    "post /v1/locks/{lock}:release",
    "post /v1/multimaps/{name}/{key}",
    "post /v1/nodes/{node}:approve",
    "post /v1/nodes/{node}:demote",
    "post /v1/nodes/{node}:deny",
    "post /v1/nodes/{node}:drain",
    "post /v1/nodes/{node}:labels",
    "post /v1/nodes/{node}:promote",
    "post /v1/nodes/{node}:remove",
    "post /v1/nodes/{node}:resume",
    "post /v1/nodes/{node}:roles",
    "post /v1/ops/{op}:cancel",
    "post /v1/queues/{name}",
    "post /v1/queues/{name}:done",
    "post /v1/queues/{name}:pop",
    "post /v1/queues/{name}:put-back",
    "post /v1/queues/{name}:take",
    "post /v1/tokens",
    "post /v1/tokens/{token}:rotate",
    "post /v1/txn",
    "put /v1/kv/{key}",
    "put /v1/lists/{name}/{index}",
    "put /v1/maps/{name}/{key}",
    "put /v1/sets/{name}/{key}",
];

#[tokio::test]
async fn every_route_is_described_and_every_description_is_a_route() {
    let world = World::new().await;
    let client = client(&world);
    let document: Value = client.json(Call::get("/openapi.json")).await.unwrap();
    let mut described = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
            described.push(format!("{method} {path}"));
            let path = path.replace("{key}", "a").replace("{node}", "n1").replace("{group}", "1");
            let path = path.replace(":take", ":take?wait=0s");
            let call = match method.as_str() {
                "get" => Call::get(path),
                "put" => Call::put(path, "1"),
                "post" if operation["requestBody"].is_null() => Call::post(path, ""),
                "post" => Call::post(path, "{}"),
                "patch" => Call::patch(path, "{}"),
                "delete" => Call::delete(path),
                other => panic!("a method that this test does not know: {other}"),
            };
            if let Err(ClientError::Problem { status, detail, .. }) = client.bytes(call).await {
                assert!(status != 405 && !detail.contains("there is no route"), "{detail}");
            }
        }
    }
    described.sort();
    assert_eq!(described, ROUTES);
}

#[tokio::test]
async fn every_body_of_json_has_fields_and_every_name_in_the_description_a_schema() {
    let world = World::new().await;
    let document: Value = client(&world).json(Call::get("/openapi.json")).await.unwrap();
    let schemas = &document["components"]["schemas"];
    let named = |schema: &Value| {
        let name = schema["$ref"].as_str()?.strip_prefix("#/components/schemas/")?;
        Some(&schemas[name])
    };
    let has_fields = |schema: &Value| {
        let fields = named(schema).unwrap_or(schema)["properties"].as_object();
        fields.is_some_and(|fields| !fields.is_empty())
    };
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"];
            assert!(body.is_null() || has_fields(&body["schema"]), "{method} {path} takes what?");
            let answer = &operation["responses"]["200"]["content"]["application/json"];
            let is_told = ["/v1/auth", "/v1/ops"].iter().any(|begin| path.starts_with(begin));
            assert!(!is_told || has_fields(&answer["schema"]), "{method} {path} gives what?");
        }
    }
    let text = document.to_string();
    for named in text.split("#/components/schemas/").skip(1) {
        let name = named.split('"').next().unwrap();
        assert!(schemas[name].is_object(), "{name} is not described");
    }
    let described = schemas["Settings"]["properties"].as_object().unwrap();
    let settings: Value = client(&world).json(Call::get("/v1/cluster/settings")).await.unwrap();
    assert_eq!(
        described.keys().collect::<Vec<_>>(),
        settings["settings"].as_object().unwrap().keys().collect::<Vec<_>>(),
    );
}

#[tokio::test]
async fn a_group_is_made_shown_and_taken_out() {
    let world = World::new().await;
    let client = client(&world);
    let made = Call::post("/v1/groups?kind=register&replicas=n1", "");
    let made: Value = client.json(made).await.unwrap();
    assert_eq!(made, json!({ "id": 1 }));
    let listed: Value = client.json(Call::get("/v1/groups")).await.unwrap();
    assert_eq!(listed["items"][0]["kind"], "register");
    let one: Value = client.json(Call::get("/v1/groups/1")).await.unwrap();
    assert_eq!((&one["id"], &one["replicas"][0]["name"]), (&json!(1), &json!("n1")));
    assert!(one["here"]["role"].is_string(), "{one}");
    refused(&client, Call::get("/v1/groups/2"), 404, "not-found").await;
    refused(&client, Call::get("/v1/groups/x"), 400, "bad-request").await;
    let unknown = Call::post("/v1/groups?kind=register&replicas=n9", "");
    refused(&client, unknown, 404, "not-found").await;
    client.bytes(Call::delete("/v1/groups/1")).await.unwrap();
    refused(&client, Call::get("/v1/groups/1"), 404, "not-found").await;
}

/// Admits whoever says please.
pub(super) struct Polite;

impl Admission for Polite {
    fn join(&self, asked: Asked) -> BoxFuture<Result<Bytes, Problem>> {
        Box::pin(async move {
            let is_polite = asked.body == "please";
            if is_polite { Ok("welcome".into()) } else { Err(Problem::bad_request("rude")) }
        })
    }

    fn ca_hash(&self) -> Result<[u8; 32], Problem> {
        Ok([7; 32])
    }

    fn papers(&self) -> Result<serde_json::Value, Problem> {
        Ok(serde_json::json!({}))
    }

    fn rotate(&self) -> BoxFuture<Result<(), Problem>> {
        Box::pin(async { Ok(()) })
    }

    fn renew(&self, node: NodeId, _: Asked) -> BoxFuture<Result<Bytes, Problem>> {
        Box::pin(async move { Ok(node.to_string().into()) })
    }
}

#[tokio::test]
async fn who_asks_to_join_is_answered_by_whoever_decides_it() {
    let join = Some(Arc::new(Polite) as Arc<dyn Admission>);
    let world = World::of(Wishes { join, ..Wishes::default() }).await;
    let client = client(&world);
    let answer = client.bytes(Call::post("/v1/join", "please")).await.unwrap();
    assert_eq!(answer.body, "welcome");
    refused(&client, Call::post("/v1/join", "now"), 400, "bad-request").await;
    refused(&client, Call::post("/v1/join", vec![0; 70 << 10]), 413, "too-large").await;
    // Only a node can ask for papers, and this is a person.
    refused(&client, Call::post("/v1/certificates:renew", "please"), 403, "not-a-node").await;
}

#[tokio::test]
async fn nobody_there_is_told_from_a_node_that_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = Client::new(listener.local_addr().unwrap().to_string(), None);
    drop(listener);
    let error = nobody.bytes(Call::get("/livez")).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
}
