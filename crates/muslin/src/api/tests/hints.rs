//! What to do, as refusals over HTTP say it.

use super::http::client;
use super::*;
use crate::client::{Call, Client, ClientError};
use serde_json::Value;

async fn hint_of(client: &Client, call: Call) -> String {
    match client.bytes(call.clone()).await {
        Err(ClientError::Problem { hint, .. }) => hint,
        other => panic!("{call:?}: {other:?}"),
    }
}

#[tokio::test]
async fn who_is_refused_is_told_what_to_do() {
    let world = World::new().await;
    let client = client(&world);
    let post = |path: &str| Call::post(path, "");
    for call in [
        post("/v1/locks/taken:acquire?ttl=10m"),
        post("/v1/counters/hits:add?id=a"),
        Call::put("/v1/kv/a", "1"),
        post("/v1/kv:compact?revision=3"),
        Call::post("/v1/auth/roles", r#"{"name":"app"}"#),
    ] {
        client.json::<Value>(call).await.unwrap();
    }
    let hint_of = async |call| hint_of(&client, call).await;
    for (call, hint) in [
        (
            post("/v1/leases/77:keep-alive"),
            "`muslin lease ls` lists the leases, over HTTP GET /v1/leases",
        ),
        (post("/v1/queues/jobs:take?ttl=10m&wait=0s"), "wait for it: wait=10s"),
        (
            post("/v1/queues/jobs:pop"),
            "`muslin queue work` waits for one, over HTTP `:take?wait=10s`",
        ),
        (
            post("/v1/locks/taken:acquire?ttl=10m&wait=0s"),
            "wait for it, longer if you did: `--wait`, over HTTP wait=",
        ),
        (post("/v1/counters/hits:add?id=a&by=2"), "use another id for another operation"),
        (
            Call::get("/v1/kv?prefix=a&revision=2"),
            "name a later revision, or none: the header `muslin-index` of every answer ends with \
             the present one",
        ),
        (Call::get("/v1/counters/"), "a name or an id of at least one character belongs behind it"),
        (Call::get("/v1/nothing"), "see /openapi.json"),
        (Call::get("/v1/tokens/rack7"), "see `muslin token ls`"),
        (Call::get("/v1/elections/web"), "GET /v1/elections lists those that are led"),
        (Call::get("/v1/auth/users/ann"), "`muslin user ls` lists them"),
        (Call::get("/v1/auth/roles/other"), "`muslin role ls` lists them"),
        (
            Call::post("/v1/auth/roles", r#"{"name":"app"}"#),
            "choose another name; `muslin role show` tells what it may do",
        ),
        (post("/v1/auth:enable"), "make it first: `muslin user add root`"),
        (Call::post("/v1/auth/roles/app:grant", r#"{"permission":"read","key":""}"#), ROOT_STAYS),
    ] {
        let place = format!("{call:?}");
        assert_eq!(hint_of(call).await, hint, "{place}");
    }
    let unknown = Call::patch("/v1/cluster/settings", r#"{"keep_histry_ms":1000}"#);
    let hint = hint_of(unknown).await;
    assert!(hint.starts_with("there are ") && hint.contains("keep_history_ms, "), "{hint}");
    assert!(hint.ends_with("; on the command line without _ms"), "{hint}");
}

const ROOT_STAYS: &str = "the user root, its role and that role stay while auth is enabled; a \
                          permission is on a key that is not empty, and a range ends behind its \
                          key";
