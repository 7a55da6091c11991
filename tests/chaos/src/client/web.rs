//! What is asked over HTTP: work is pushed and taken, and keys have a time to live.

use super::call::{CALL_WAIT, ETCD_PORT};
use super::{Draw, Recorder};
use crate::history::{Action, Family, Key, Lease, Outcome, Work};
use muslin::client::{Call, Client, ClientError};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// Between two things of one client.
const PAUSE: Duration = Duration::from_millis(60);

/// How long a key lives that has a time, and how long an item stays with who took it.
const TTL: Duration = Duration::from_secs(3);

/// How often whoever stays in touch says so.
const KEEP_EVERY: Duration = Duration::from_millis(700);

fn client() -> Client {
    Client::new(format!("127.0.0.1:{ETCD_PORT}"), None).timeout(CALL_WAIT)
}

async fn post(path: &str, body: String) -> Result<Value, ClientError> {
    client().json(Call::post(path, body)).await
}

/// Pushes work until told to stop: each item until it is known to be pushed.
pub(super) async fn push(node: u8, recorder: Arc<Recorder>, stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let item = recorder.fresh_value().0;
        let path = format!("/v1/queues/jobs?id={node}.{item}");
        let mut is_known = false;
        while !is_known && !*stop.borrow() {
            is_known = post(&path, item.to_string()).await.is_ok();
            sleep(PAUSE).await;
        }
        recorder.add_work(if is_known { Work::Pushed(item) } else { Work::PerhapsPushed(item) });
    }
}

/// Takes work until told to stop, and does most of it in time.
pub(super) async fn take(seed: u64, recorder: Arc<Recorder>, stop: watch::Receiver<bool>) {
    let mut draw = Draw::seeded(seed);
    while !*stop.borrow() {
        if take_one(&mut draw, &recorder).await.is_none() {
            sleep(PAUSE).await;
        }
    }
}

async fn take_one(draw: &mut Draw, recorder: &Recorder) -> Option<()> {
    let id = draw.below(u64::MAX);
    let ttl = TTL.as_millis();
    let path = format!("/v1/queues/jobs:take?ttl={ttl}ms&wait=1s&id={id}");
    let taken = post(&path, String::new()).await.ok()?;
    let item: u64 = taken["value"].as_str()?.parse().ok()?;
    recorder.add_work(Work::Taken(item));
    match draw.below(10) {
        // It dies.
        0 => return Some(()),
        // It stands still, and goes on as if nothing had been.
        1 => sleep(TTL + Duration::from_millis(draw.between(300, 2_000))).await,
        _ => {}
    }
    let (place, fence) = (taken["item"].as_str()?, &taken["fence"]);
    let path = format!("/v1/queues/jobs:done?item={place}&fence={fence}");
    recorder.add_work(match post(&path, String::new()).await {
        Ok(_) => Work::Done(item),
        Err(ClientError::Problem { status: 412, .. }) => Work::Late(item),
        Err(_) => Work::PerhapsDone(item),
    });
    Some(())
}

/// Puts keys that go by themselves, and keeps some of them alive for a while.
pub(super) async fn mortal(
    node: u8,
    seed: u64,
    recorder: Arc<Recorder>,
    stop: watch::Receiver<bool>,
) {
    let mut draw = Draw::seeded(seed);
    while !*stop.borrow() {
        mortal_one(node, &mut draw, &recorder, &stop).await;
        sleep(PAUSE).await;
    }
}

async fn mortal_one(
    node: u8,
    draw: &mut Draw,
    recorder: &Recorder,
    stop: &watch::Receiver<bool>,
) -> Option<()> {
    let kept = recorder.now();
    let key = Key::new(Family::Leased, recorder.fresh_leased());
    let value = recorder.fresh_value();
    let path = format!("/v1/kv/{key}?ttl={}ms", TTL.as_millis());
    let begun = recorder.begin(node);
    let answer = client().json::<Value>(Call::put(path, value.bytes())).await;
    let revision = answer.as_ref().ok().and_then(|answer| answer["revision"].as_u64());
    let outcome = revision.map_or(Outcome::Unknown, Outcome::Written);
    recorder.finish(begun, Action::Put((key, value)), outcome);
    let lease = answer.ok()?["lease"].as_str()?.to_string();
    let mut life = Lease { key, ttl: TTL.as_nanos() as u64, kept, ended: None };
    for _ in 0..draw.below(6) {
        sleep(KEEP_EVERY).await;
        if *stop.borrow() {
            break;
        }
        let asked = recorder.now();
        match post(&format!("/v1/leases/{lease}:keep-alive"), String::new()).await {
            Ok(_) => life.kept = asked,
            Err(ClientError::Problem { status: 404, .. }) => {
                life.ended = Some(recorder.now());
                break;
            }
            Err(_) => {}
        }
    }
    recorder.add_lease(life);
    Some(())
}
