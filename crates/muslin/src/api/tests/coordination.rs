//! Transactions, leases, locks, elections and fences over HTTP.

use super::http::{client, line, refused};
use super::*;
use crate::client::{Call, Client};
use crate::coordination::Queue;
use muslin_core::base::LeaseId;
use muslin_core::node::Consistency;
use muslin_core::state::{Query, Response};
use serde_json::{Value, json};

async fn asked(client: &Client, call: Call) -> Value {
    client.json(call).await.unwrap()
}

fn post(path: impl Into<String>) -> Call {
    Call::post(path.into(), "")
}

async fn txn(client: &Client, body: Value) -> Value {
    asked(client, Call::post("/v1/txn", body.to_string())).await
}

/// Waits until so many are in a queue.
async fn queued(client: &Client, path: &str, waiting: usize) {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let shown = client.json::<Value>(Call::get(path)).await.ok();
        let found = shown.and_then(|shown| {
            let list = shown.get("waiting").or_else(|| shown.get("candidates"));
            list.and_then(Value::as_array).map(Vec::len)
        });
        if found == Some(waiting) {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "{found:?} wait, not {waiting}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_transaction_compares_and_then_acts() {
    let world = World::new().await;
    let client = client(&world);
    let body = json!({
        "compare": [{ "key": "a", "version": 0 }],
        "success": [
            { "put": { "key": "a", "value": "1" } },
            { "put": { "key_b64": "/w==", "value_b64": "/w==" } },
            { "get": { "key": "", "prefix": true } },
        ],
        "failure": [{ "get": { "key": "a" } }],
    });
    let item = |key: &str, value: &str, place: &str| {
        json!({
            format!("key{place}"): key, format!("value{place}"): value,
            "create_revision": 2, "mod_revision": 2, "version": 1,
        })
    };
    let first = txn(&client, body.clone()).await;
    let items = [item("a", "1", ""), item("/w==", "/w==", "_b64")];
    let expected = json!({
        "revision": 2,
        "succeeded": true,
        "responses": [
            { "put": {} },
            { "put": {} },
            { "get": { "items": items, "more": false, "count": 2 } },
        ],
    });
    assert_eq!(first, expected);
    let again = txn(&client, body).await;
    assert_eq!((&again["succeeded"], &again["revision"]), (&json!(false), &json!(2)));
    assert_eq!(again["responses"][0]["get"]["items"][0]["value"], "1");
    let body = json!({
        "compare": [
            { "key": "a", "mod_revision": "2" },
            { "key": "a", "value": "0", "result": ">" },
            { "key": "a", "lease": "0" },
        ],
        "success": [
            { "txn": { "success": [{ "delete": { "key": "a", "prev": true } }] } },
            { "put": { "key": "b", "value": "", "ttl": "10m", "prev": true } },
        ],
    });
    let answer = txn(&client, body).await;
    assert_eq!(answer["succeeded"], true);
    let inner = &answer["responses"][0]["txn"]["responses"][0]["delete"];
    assert_eq!(inner, &json!({ "deleted": 1, "prev": [item("a", "1", "")] }));
    let b = txn(&client, json!({ "success": [{ "get": { "key": "b" } }] })).await;
    assert!(b["responses"][0]["get"]["items"][0]["lease"].is_string());
}

#[tokio::test]
async fn a_transaction_that_makes_no_sense_is_refused() {
    let world = World::new().await;
    let client = client(&world);
    for body in [
        json!({ "succes": [] }),
        json!({ "success": [{ "put": { "key": "a" } }] }),
        json!({ "success": [{ "put": { "value": "a" } }] }),
        json!({ "success": [{ "put": { "key": "a", "key_b64": "YQ==", "value": "" } }] }),
        json!({ "success": [{ "put": { "key": "a", "value": "", "lease": "1", "ttl": "9s" } }] }),
        json!({ "success": [{ "put": { "key": "a", "value": "", "ttl": "1ms" } }] }),
        json!({ "success": [{ "put": { "key": "", "value": "" } }] }),
        json!({ "success": [{ "get": { "key": "a", "prefiks": true } }] }),
        json!({ "success": [{ "get": { "key": "a", "prefix": true, "range_end": "b" } }] }),
        json!({ "success": [{ "delete": { "key_b64": "?" } }] }),
        json!({ "success": [{ "move": { "key": "a" } }] }),
        json!({ "compare": [{ "key": "a" }] }),
        json!({ "compare": [{ "key": "a", "version": 1, "value": "1" }] }),
        json!({ "compare": [{ "key": "a", "version": -1 }] }),
        json!({ "compare": [{ "key": "a", "version": 1, "result": ">=" }] }),
        json!({ "compare": [{ "key": "a", "version": 1, "wrong": ">" }] }),
    ] {
        let call = Call::post("/v1/txn", body.to_string());
        refused(&client, call, 400, "bad-request").await;
    }
    let put = json!({ "put": { "key": "a", "value": "1" } });
    let twice = json!({ "success": [put, put] }).to_string();
    refused(&client, Call::post("/v1/txn", twice), 400, "bad-request").await;
    let lease = json!({ "success": [{ "put": { "key": "a", "value": "", "lease": "9" } }] });
    refused(&client, Call::post("/v1/txn", lease.to_string()), 404, "not-found").await;
    let mut deep = json!({ "success": [put] });
    for _ in 0..9 {
        deep = json!({ "success": [{ "txn": deep }] });
    }
    refused(&client, Call::post("/v1/txn", deep.to_string()), 400, "bad-request").await;
    refused(&client, Call::get("/v1/kv/a"), 404, "not-found").await;
}

#[tokio::test]
async fn a_lease_is_made_kept_shown_listed_and_ended() {
    let world = World::new().await;
    let client = client(&world);
    let made = asked(&client, post("/v1/leases?ttl=10m&id=ff")).await;
    assert_eq!(made, json!({ "id": "00000000000000ff", "ttl_ms": 600_000 }));
    refused(&client, post("/v1/leases?ttl=10m&id=ff"), 409, "conflict").await;
    let drawn = asked(&client, post("/v1/leases?ttl=1s")).await;
    assert_eq!(drawn["id"].as_str().unwrap().len(), 16);
    asked(&client, Call::put("/v1/kv/a?lease=ff", "1")).await;
    refused(&client, Call::put("/v1/kv/b?lease=fe", "1"), 404, "not-found").await;
    let shown = asked(&client, Call::get("/v1/leases/ff")).await;
    assert_eq!((&shown["ttl_ms"], &shown["keys"]), (&json!(600_000), &json!([{ "key": "a" }])));
    assert!((1..=600_000).contains(&shown["left_ms"].as_u64().unwrap()));
    let kept = asked(&client, post("/v1/leases/00000000000000ff:keep-alive")).await;
    assert_eq!(kept["ttl_ms"], 600_000);
    let page = asked(&client, Call::get("/v1/leases?limit=1")).await;
    assert_eq!(page["leases"], json!([{ "id": "00000000000000ff" }]));
    assert_eq!(page["count"].as_u64().unwrap() > 1, page["more"].as_bool().unwrap());
    let gone = asked(&client, Call::delete("/v1/leases/ff")).await;
    assert_eq!(gone["id"], "00000000000000ff");
    refused(&client, Call::get("/v1/kv/a"), 404, "not-found").await;
    refused(&client, Call::get("/v1/leases/ff"), 404, "not-found").await;
    refused(&client, post("/v1/leases/ff:keep-alive"), 404, "not-found").await;
    refused(&client, Call::delete("/v1/leases/ff"), 404, "not-found").await;
    for wrong in ["/v1/leases", "/v1/leases?ttl=1ms", "/v1/leases?ttl=9s&id=0"] {
        refused(&client, post(wrong), 400, "bad-request").await;
    }
}

#[tokio::test]
async fn a_key_with_a_time_to_live_goes_by_itself() {
    let world = World::new().await;
    let client = client(&world);
    let mut lines = client.lines(Call::get("/v1/kv?prefix=a&watch=1&from=1")).await.unwrap();
    line(&mut lines).await;
    let put = asked(&client, Call::put("/v1/kv/a?ttl=1s", "1")).await;
    let lease = put["lease"].as_str().unwrap();
    assert_eq!(line(&mut lines).await["lease"], lease);
    let gone = line(&mut lines).await;
    assert_eq!((&gone["type"], &gone["cause"]), (&json!("delete"), &json!("expired")));
    refused(&client, Call::get(format!("/v1/leases/{lease}")), 404, "not-found").await;
    // One that is overwritten stays, and its lease does not.
    let put = asked(&client, Call::put("/v1/kv/a?ttl=10m", "1")).await;
    let path = format!("/v1/leases/{}", put["lease"].as_str().unwrap());
    assert_eq!(asked(&client, Call::get(&path)).await["keys"], json!([{ "key": "a" }]));
    assert_eq!(asked(&client, Call::get("/v1/leases")).await["leases"], json!([]));
    asked(&client, Call::put("/v1/kv/a", "2")).await;
    refused(&client, Call::get(&path), 404, "not-found").await;
    refused(&client, Call::put("/v1/kv/a?ttl=2s&lease=ff", "1"), 400, "bad-request").await;
    refused(&client, Call::put("/v1/kv/a?ttl=2ms", "1"), 400, "bad-request").await;
}

#[tokio::test]
async fn a_lock_is_acquired_shown_and_released_in_order() {
    let world = World::new().await;
    let client = client(&world);
    let lock = "/v1/locks/app%2Fone";
    refused(&client, Call::get(lock), 404, "not-found").await;
    let held = asked(&client, post(format!("{lock}:acquire?ttl=10m"))).await;
    let lease = held["lease"].as_str().unwrap().trim_start_matches('0').to_owned();
    assert_eq!(held["key"], format!("app/one/{lease}"));
    assert_eq!((&held["name"], &held["ttl_ms"]), (&json!("app/one"), &json!(600_000)));
    let call = post(format!("{lock}:acquire?wait=0s"));
    refused(&client, call, 409, "held").await;
    let next = tokio::spawn({
        let client = client.clone();
        async move { asked(&client, post(format!("{lock}:acquire?ttl=1s"))).await }
    });
    queued(&client, lock, 1).await;
    // Its lease is kept alive while it waits.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let shown = asked(&client, Call::get(lock)).await;
    assert_eq!((&shown["holder"]["fence"], &shown["name"]), (&held["fence"], &held["name"]));
    let listed = asked(&client, Call::get("/v1/locks?prefix=app")).await;
    assert_eq!(listed["locks"][0]["name"], "app/one");
    assert_eq!((&listed["locks"][0]["waiting"], &listed["more"]), (&json!(1), &json!(false)));
    assert_eq!(asked(&client, Call::get("/v1/elections")).await["elections"], json!([]));
    let path = format!("{lock}:release?fence={}", held["fence"]);
    assert_eq!(asked(&client, post(&path)).await["name"], "app/one");
    let next = next.await.unwrap();
    assert!(next["fence"].as_u64() > held["fence"].as_u64());
    refused(&client, post(&path), 412, "fenced").await;
    refused(&client, post(format!("{lock}:release")), 400, "bad-request").await;
    refused(&client, Call::get(format!("/v1/leases/{lease}")), 404, "not-found").await;
    // Nobody keeps the second one's lease alive.
    let last = asked(&client, post(format!("{lock}:acquire"))).await;
    assert!(last["fence"].as_u64() > next["fence"].as_u64());
}

#[tokio::test]
async fn a_lock_with_a_lease_of_ones_own_goes_with_it() {
    let world = World::new().await;
    let client = client(&world);
    for id in ["a1", "a2"] {
        asked(&client, post(format!("/v1/leases?ttl=10m&id={id}"))).await;
    }
    let path = "/v1/locks/own:acquire?lease=";
    let first = asked(&client, post(format!("{path}a1"))).await;
    assert_eq!(asked(&client, post(format!("{path}a1"))).await["fence"], first["fence"]);
    let waits = tokio::spawn({
        let client = client.clone();
        async move { refused(&client, post(format!("{path}a2")), 404, "not-found").await }
    });
    queued(&client, "/v1/locks/own", 1).await;
    asked(&client, Call::delete("/v1/leases/a2")).await;
    waits.await.unwrap();
    refused(&client, post(format!("{path}a3")), 404, "not-found").await;
    refused(&client, post(format!("{path}a1&ttl=9s")), 400, "bad-request").await;
    asked(&client, Call::delete("/v1/leases/a1")).await;
    refused(&client, Call::get("/v1/locks/own"), 404, "not-found").await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_is_in_no_queue() {
    let world = World::new().await;
    let client = client(&world);
    asked(&client, post("/v1/locks/gone:acquire?ttl=10m")).await;
    let waits = tokio::spawn({
        let client = client.clone();
        async move { asked(&client, post("/v1/locks/gone:acquire?ttl=10m")).await }
    });
    queued(&client, "/v1/locks/gone", 1).await;
    waits.abort();
    queued(&client, "/v1/locks/gone", 0).await;
}

#[tokio::test]
async fn a_write_behind_an_old_fence_is_refused() {
    let world = World::new().await;
    let client = client(&world);
    let held = asked(&client, post("/v1/locks/l:acquire?ttl=1s")).await;
    let (old, lease) = (&held["fence"], held["lease"].as_str().unwrap());
    let fenced = |path: &str, fence: &Value| format!("{path}?fence=l:{fence}");
    asked(&client, Call::put(fenced("/v1/kv/a", old), "first")).await;
    // The holder stands still: nobody keeps its lease alive, and the next one gets the lock.
    let next = asked(&client, post("/v1/locks/l:acquire?ttl=10m")).await;
    let new = &next["fence"];
    asked(&client, Call::put(fenced("/v1/kv/a", new), "second")).await;
    refused(&client, Call::put(fenced("/v1/kv/a", old), "late"), 412, "fenced").await;
    refused(&client, Call::delete(fenced("/v1/kv/a", old)), 412, "fenced").await;
    let body = json!({ "success": [{ "put": { "key": "a", "value": "late" } }] }).to_string();
    let late = Call::post(fenced("/v1/txn", old), body.clone());
    refused(&client, late, 412, "fenced").await;
    assert_eq!(client.bytes(Call::get("/v1/kv/a")).await.unwrap().body, "second");
    assert_eq!(asked(&client, Call::post(fenced("/v1/txn", new), body)).await["succeeded"], true);
    assert_ne!(next["lease"], lease);
    // Who waits does not hold: its fence is worth nothing yet.
    let queue = Queue::new(&world.handle, b"l");
    let lease = LeaseId(0x77);
    let entry = crate::coordination::Entry { lease, value: Bytes::new(), ttl_ms: 600_000 };
    let place = queue.enter(entry).await.unwrap().keep();
    let waits = json!(place.fence.create_revision.0);
    refused(&client, Call::put(fenced("/v1/kv/a", &waits), "early"), 412, "fenced").await;
    for wrong in ["l", "l:", "l:0", "l:x"] {
        let call = Call::put(format!("/v1/kv/a?fence={wrong}"), "1");
        refused(&client, call, 400, "bad-request").await;
    }
    // A condition of its own is told apart from the fence.
    let call = Call::put(fenced("/v1/kv/a", new), "x");
    let call = call.header(hyper::header::IF_NONE_MATCH, "*".parse().unwrap());
    refused(&client, call, 412, "conflict").await;
}

#[tokio::test]
async fn an_election_is_won_followed_and_given_up() {
    let world = World::new().await;
    let client = client(&world);
    let path = "/v1/elections/office";
    refused(&client, Call::get(path), 404, "not-found").await;
    let mut seen = client.lines(Call::get(format!("{path}?watch=1"))).await.unwrap();
    assert_eq!(line(&mut seen).await["type"], "vacant", "nobody leads yet");
    let campaign = move |value: &'static str| Call::post(format!("{path}:campaign?ttl=10m"), value);
    let first = asked(&client, campaign("one")).await;
    let told = line(&mut seen).await;
    assert_eq!((&told["type"], &told["value"]), (&json!("leader"), &json!("one")));
    assert_eq!((&told["fence"], &told["index"]), (&first["fence"], &first["fence"]));
    let second = tokio::spawn({
        let client = client.clone();
        async move { asked(&client, campaign("two")).await }
    });
    queued(&client, path, 1).await;
    let as_first = format!("fence={}", first["fence"]);
    asked(&client, Call::post(format!("{path}:proclaim?{as_first}"), "more")).await;
    assert_eq!(line(&mut seen).await["value"], "more");
    let shown = asked(&client, Call::get(path)).await;
    assert_eq!(shown["leader"]["value"], "more");
    assert_eq!(shown["candidates"][0]["value"], "two");
    let listed = asked(&client, Call::get("/v1/elections")).await;
    assert_eq!(listed["elections"][0]["name"], "office");
    asked(&client, post(format!("{path}:resign?{as_first}"))).await;
    let second = second.await.unwrap();
    assert_eq!(line(&mut seen).await["fence"], second["fence"]);
    let late = Call::post(format!("{path}:proclaim?{as_first}"), "late");
    refused(&client, late, 409, "not-leader").await;
    refused(&client, post(format!("{path}:resign?{as_first}")), 412, "fenced").await;
    let call = Call::post(format!("{path}:campaign?wait=0s"), "three");
    refused(&client, call, 409, "held").await;
    let as_second = format!("fence={}", second["fence"]);
    let resigned = asked(&client, post(format!("{path}:resign?{as_second}"))).await;
    let vacant = json!({ "type": "vacant", "index": resigned["revision"] });
    assert_eq!(line(&mut seen).await, vacant, "nobody leads any more");
}

#[tokio::test]
async fn the_history_of_a_key_goes_back_to_where_it_is_kept() {
    let world = World::new().await;
    let client = client(&world);
    refused(&client, Call::get("/v1/kv/a?history=1"), 404, "not-found").await;
    for value in ["1", "2", "3"] {
        asked(&client, Call::put("/v1/kv/a", value)).await;
        asked(&client, Call::put("/v1/kv/b", value)).await;
    }
    asked(&client, Call::delete("/v1/kv/a")).await;
    let told = |answer: &Value| {
        let changes = answer["changes"].as_array().unwrap().iter();
        changes.map(|change| change["revision"].as_u64().unwrap()).collect::<Vec<u64>>()
    };
    let all = asked(&client, Call::get("/v1/kv/a?history=1")).await;
    assert_eq!(told(&all), [8, 6, 4, 2]);
    assert_eq!((&all["revision"], &all["more"]), (&json!(8), &json!(false)));
    assert_eq!(all["changes"][0]["type"], "delete");
    assert_eq!(all["changes"][3]["value"], "1");
    let some = asked(&client, Call::get("/v1/kv/a?history=1&limit=2")).await;
    assert_eq!((told(&some), &some["more"]), (vec![8, 6], &json!(true)));
    let compact = muslin_core::state::Compact { revision: 5 };
    let compact = muslin_core::state::CommandKind::Compact(compact);
    let command = muslin_core::state::Command::of(compact);
    world.handle.write(command).await.unwrap().result.unwrap();
    let rest = asked(&client, Call::get("/v1/kv/a?history=1")).await;
    assert_eq!((told(&rest), &rest["since"]), (vec![8, 6, 4], &json!(5)));
    refused(&client, Call::get("/v1/kv/a?history=1&limit=0"), 400, "bad-request").await;
}

#[tokio::test]
async fn what_is_too_old_for_the_caller_is_not_told() {
    let world = World::of(Wishes { absent_voters: 2, ..Wishes::default() }).await;
    let client = client(&world);
    for path in ["/v1/kv/a", "/v1/kv"] {
        let call = Call::get(format!("{path}?consistency=local&max_staleness=1s"));
        refused(&client, call, 503, "too-stale").await;
    }
    asked(&client, Call::get("/v1/kv?consistency=local")).await;
    let world = World::new().await;
    let client = super::http::client(&world);
    asked(&client, Call::put("/v1/kv/a", "1")).await;
    let call = Call::get("/v1/kv/a?consistency=local&max_staleness=60m");
    assert_eq!(client.bytes(call).await.unwrap().body, "1");
}

#[tokio::test]
async fn a_lease_made_for_an_item_ends_with_it_and_one_that_was_brought_along_does_not() {
    let world = World::new().await;
    let client = client(&world);
    let own = asked(&client, post("/v1/leases?ttl=60s")).await["id"].clone();
    let own = own.as_str().unwrap();
    for (by, end, stays) in [
        (String::from("ttl=60s"), "done", false),
        (String::from("ttl=60s"), "put-back", false),
        (format!("lease={own}"), "done", true),
    ] {
        asked(&client, Call::post("/v1/queues/q", "work")).await;
        let taken = asked(&client, post(format!("/v1/queues/q:take?{by}&wait=0s"))).await;
        let lease = format!("/v1/leases/{}", taken["lease"].as_str().unwrap());
        assert_eq!(taken["ttl_ms"], 60_000);
        asked(&client, post(format!("{lease}:keep-alive"))).await;
        let (item, fence) = (taken["item"].as_str().unwrap(), &taken["fence"]);
        asked(&client, post(format!("/v1/queues/q:{end}?item={item}&fence={fence}"))).await;
        match stays {
            true => drop(asked(&client, Call::get(lease)).await),
            false => refused(&client, Call::get(lease), 404, "not-found").await,
        }
    }
    // Nobody has an item for whom there was none.
    asked(&client, Call::delete("/v1/queues/q")).await;
    refused(&client, post("/v1/queues/q:take?ttl=60s&wait=0s"), 404, "empty").await;
    let view = world.handle.read(Query::Leases, Consistency::Local).await.unwrap();
    let Ok(Response::Leases { ids }) = view.result else { panic!("leases are listed") };
    assert_eq!(ids, [u64::from_str_radix(own, 16).unwrap()]);
}

#[tokio::test]
async fn who_only_tries_a_barrier_is_not_counted_by_those_who_wait() {
    let world = World::new().await;
    let client = client(&world);
    let waiting = tokio::spawn({
        let client = super::http::client(&world);
        async move { client.json::<Value>(post("/v1/barriers/b:enter?parties=2")).await }
    });
    let there = async || asked(&client, Call::get("/v1/barriers/b")).await["parties"].clone();
    while there().await.as_array().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let revision = async || {
        let read = world.handle.read(Query::Revision, Consistency::Linearizable).await;
        read.unwrap().revision
    };
    let before = revision().await;
    let tried = post("/v1/barriers/b:enter?parties=3&wait=0s");
    refused(&client, tried, 409, "not-all-there").await;
    assert_eq!(revision().await, before, "it has left no trace");
    assert!(!waiting.is_finished());
    asked(&client, post("/v1/barriers/b:enter?parties=2&wait=0s")).await;
    waiting.await.unwrap().unwrap();
}
