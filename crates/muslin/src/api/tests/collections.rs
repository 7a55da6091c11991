//! One shape for every collection: lines, server-sent events, and polls, over all of them.

use super::http::client;
use super::views::add_promoted;
use super::*;
use crate::client::Call;
use muslin_core::state::{Command, CommandKind, Compact};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The collections, and the kind of line that tells a change.
const COLLECTIONS: [(&str, &str); 4] =
    [("/v1/kv", "put"), ("/v1/nodes", "put"), ("/v1/events", "event"), ("/v1/ops", "put")];

/// Changes something in each of them.
async fn change(world: &World, number: u64) {
    client(world).bytes(Call::put(format!("/v1/kv/{number}"), "value")).await.unwrap();
    add_promoted(world, number).await;
}

async fn poll(world: &World, path: &str, index: &Value, wait: &str) -> Value {
    let index = match index {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let path = format!("{path}?wait={wait}&index={index}");
    client(world).json(Call::get(&path)).await.unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn count(document: &Value, list: &str) -> usize {
    document[list].as_array().unwrap().len()
}

/// What there is, and the place behind it, once nothing more comes by itself.
async fn settled(world: &World, path: &str) -> Value {
    let asked: Value = client(world).json(Call::get(format!("{path}?wait=10s"))).await.unwrap();
    assert_eq!((&asked["resync"], count(&asked, "changes")), (&false.into(), 0), "{path}");
    let mut last = asked;
    loop {
        let next = poll(world, path, &last["index"], "300ms").await;
        if count(&next, "changes") == 0 {
            assert_eq!(next["index"], last["index"], "{path}");
            return last;
        }
        last = next;
    }
}

#[tokio::test]
async fn whoever_polls_is_told_what_is_behind_its_index_and_the_same_again() {
    let world = World::new().await;
    change(&world, 2).await;
    for (number, (path, kind)) in (3..).zip(COLLECTIONS) {
        let before = settled(&world, path).await;
        let (told, ()) =
            tokio::join!(poll(&world, path, &before["index"], "1m"), change(&world, number),);
        assert_ne!(told["index"], before["index"], "{path}");
        assert_eq!(told["changes"][0]["type"], kind, "{path}: {told}");
        assert!(told["changes"][0]["cause"].is_string() || kind == "event", "{path}: {told}");
        settled(&world, path).await;
        let again = poll(&world, path, &before["index"], "1m").await;
        assert_eq!(again["changes"][0], told["changes"][0], "{path}");
    }
}

#[tokio::test]
async fn an_index_of_nowhere_is_answered_with_all_that_is_there() {
    let world = World::new().await;
    change(&world, 2).await;
    for (path, _) in &COLLECTIONS[1..] {
        let own: Value = client(&world).json(Call::get(format!("{path}?wait=1s"))).await.unwrap();
        let own = own["index"].as_str().unwrap();
        let (process, _) = own.rsplit_once('-').unwrap();
        // Of another node, of an earlier start of this one, and of what has not come to be.
        let elsewhere = own.replacen("0000000000000001", "0000000000000002", 1);
        let later = format!("{process}-{}", u64::MAX);
        for index in ["x-1", &elsewhere, "0000000000000001-1-1", &later] {
            let told = poll(&world, path, &Value::from(index), "1m").await;
            assert_eq!(told["resync"], true, "{path} {index}");
            assert!(count(&told, "items") > 0, "{path} {index}: {told}");
        }
    }
    let put = Call::put("/v1/kv/a", "value");
    client(&world).bytes(put).await.unwrap();
    let compact = Command::of(CommandKind::Compact(Compact { revision: 3 }));
    world.handle.write(compact).await.unwrap().result.unwrap();
    let told = poll(&world, "/v1/kv", &Value::from(1), "1m").await;
    assert_eq!((&told["resync"], count(&told, "items")), (&true.into(), 2), "{told}");
}

/// Server-sent events until there is one of this kind.
async fn events_until(world: &World, path: &str, last: &str, kind: &str) -> String {
    let mut stream = TcpStream::connect(world.addr).await.unwrap();
    let request = format!(
        "GET {path}?watch=1 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{last}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains(&format!("event: {kind}\n")) {
        let mut piece = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut piece)).await.unwrap().unwrap();
        assert!(read > 0, "{path}: {text}");
        text += &String::from_utf8_lossy(&piece[..read]);
    }
    text
}

#[tokio::test]
async fn events_have_names_and_places_and_go_on_behind_the_last_one() {
    let world = World::new().await;
    change(&world, 2).await;
    for (number, (path, kind)) in (3..).zip(COLLECTIONS) {
        let before = settled(&world, path).await;
        let begun = events_until(&world, path, "", "sync").await;
        assert!(begun.to_lowercase().contains("content-type: text/event-stream"), "{begun}");
        assert!(begun.contains("event: item\ndata: {") || begun.contains("event: item\nid: "));
        let place = before["index"].as_str().map_or(before["index"].to_string(), String::from);
        assert!(begun.contains(&format!("id: {place}\n")), "{path}: {begun}");
        change(&world, number).await;
        let last = format!("Last-Event-ID: {place}\r\n");
        let behind = events_until(&world, path, &last, kind).await;
        assert_eq!(behind.matches(&format!("id: {place}\n")).count(), 1, "{path}: {behind}");
        assert!(!behind.contains("event: item"), "{path}: {behind}");
    }
}
