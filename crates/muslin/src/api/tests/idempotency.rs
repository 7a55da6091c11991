//! Writes that are sent again with the same `Idempotency-Key`.

use super::http::{client, refused};
use super::*;
use crate::client::{Answer, Call, Client};
use hyper::header::{HeaderName, HeaderValue, IF_NONE_MATCH};
use serde_json::{Value, json};

fn keyed(call: Call, key: &'static str) -> Call {
    let name = HeaderName::from_static("idempotency-key");
    call.header(name, HeaderValue::from_static(key))
}

async fn twice(client: &Client, call: Call) -> Value {
    let first = client.bytes(call.clone()).await.unwrap();
    let again = client.bytes(call).await.unwrap();
    let is_again = |answer: &Answer| answer.headers.contains_key("muslin-again");
    assert_eq!((is_again(&first), is_again(&again)), (false, true));
    let told: Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&again.body).unwrap(), told);
    told
}

async fn value(client: &Client, key: &str) -> Vec<u8> {
    client.bytes(Call::get(format!("/v1/kv/{key}"))).await.unwrap().body.to_vec()
}

#[tokio::test]
async fn what_is_sent_again_with_its_key_is_answered_as_before_and_done_once() {
    let world = World::new().await;
    let client = client(&world);
    let put = keyed(Call::put("/v1/kv/a?ttl=60s", "one"), "first");
    let told = client.bytes(put.clone()).await.unwrap();
    let told: Value = serde_json::from_slice(&told.body).unwrap();
    client.bytes(Call::put("/v1/kv/a", "two")).await.unwrap();
    // The answer was lost; what came after stays.
    let again: Value = client.json(put).await.unwrap();
    assert_eq!(again, told);
    assert_eq!(value(&client, "a").await, b"two");
    let deleted = twice(&client, keyed(Call::delete("/v1/kv/a"), "second")).await;
    assert_eq!(deleted["deleted"], 1);
    let nothing = twice(&client, keyed(Call::delete("/v1/kv/a"), "third")).await;
    assert_eq!(nothing["deleted"], 0);
    let absent = Call::put("/v1/kv/b", "x").header(IF_NONE_MATCH, HeaderValue::from_static("*"));
    twice(&client, keyed(absent.clone(), "fourth")).await;
    // Without the key it is another request.
    refused(&client, absent.clone(), 412, "conflict").await;
    // What did nothing is not remembered: it may come to be.
    refused(&client, keyed(absent.clone(), "fifth"), 412, "conflict").await;
    client.bytes(Call::delete("/v1/kv/b")).await.unwrap();
    twice(&client, keyed(absent, "fifth")).await;
}

#[tokio::test]
async fn a_transaction_sent_again_says_whether_it_held() {
    let world = World::new().await;
    let client = client(&world);
    let body = json!({
        "compare": [{ "key": "a", "version": 0 }],
        "success": [{ "put": { "key": "a", "value": "1" } }],
        "failure": [{ "put": { "key": "a", "value": "2" } }],
    });
    let call = || Call::post("/v1/txn", body.to_string());
    for (key, held, expected) in [("t1", true, b"1"), ("t2", false, b"2")] {
        let first: Value = client.json(keyed(call(), key)).await.unwrap();
        assert_eq!(
            (&first["succeeded"], &first["responses"]),
            (&json!(held), &json!([{ "put": {} }]))
        );
        let again: Value = client.json(keyed(call(), key)).await.unwrap();
        assert_eq!(again, json!({ "succeeded": held, "revision": first["revision"] }));
        assert_eq!(value(&client, "a").await, expected);
    }
}

#[tokio::test]
async fn a_key_is_one_requests_and_has_a_form() {
    let world = World::new().await;
    let client = client(&world);
    client.bytes(keyed(Call::put("/v1/kv/a", "one"), "k")).await.unwrap();
    for other in
        [Call::put("/v1/kv/a", "two"), Call::put("/v1/kv/b", "one"), Call::delete("/v1/kv/a")]
    {
        refused(&client, keyed(other, "k"), 422, "key-reused").await;
    }
    assert_eq!(value(&client, "a").await, b"one");
    refused(&client, keyed(Call::put("/v1/kv/a", "x"), ""), 400, "bad-request").await;
}
