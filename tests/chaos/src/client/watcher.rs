//! Watchers of all keys, which go on where they were after every break.
//!
//! Each node has one that stays. Besides, some roam: one thread's worth of watching handed from
//! machine to machine, so that what one node told is taken up by another.

use super::call::{connect, key_of, value_of};
use super::{Draw, Recorder};
use crate::history::{Change, Watch};
use muslin::api::proto::etcdserverpb as pb;
use muslin::api::proto::mvccpb::event::EventType;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tonic::codegen::tokio_stream::{self, StreamExt};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// After a watch that ended, this long until the next.
const PAUSE: Duration = Duration::from_millis(50);

/// Longest wait for a watch to be made: a node that hangs is left alone.
const CREATE_WAIT: Duration = Duration::from_secs(2);

/// A watcher that stays watches this long, then asks anew all the same.
const STAY: Duration = Duration::from_secs(30);

/// A roaming watcher that is to be taken up.
pub(super) struct Roaming {
    pub(super) watcher: u32,
    pub(super) from: u64,
}

/// Watches one node until told to stop.
pub(super) async fn stay(node: u8, recorder: Arc<Recorder>, mut stop: watch::Receiver<bool>) {
    let channel = connect();
    let mut from = 1;
    while !*stop.borrow() {
        let watch = Watch { watcher: u32::from(node), node, from, ..Watch::default() };
        let one = One { channel: channel.clone(), recorder: &recorder };
        from = one.run(watch, STAY, &mut stop).await;
        sleep(PAUSE).await;
    }
}

/// Takes up roaming watchers on this node, each for a while, and hands them to the next.
pub(super) async fn host(
    node: u8,
    recorder: Arc<Recorder>,
    (mut inbox, next): (mpsc::Receiver<Roaming>, mpsc::Sender<Roaming>),
    mut stop: watch::Receiver<bool>,
) {
    let channel = connect();
    let mut draw = Draw::seeded(u64::from(node));
    loop {
        let taken = tokio::select! {
            taken = inbox.recv() => taken,
            _ = stop.changed() => None,
        };
        let Some(Roaming { watcher, from }) = taken else { return };
        let length = Duration::from_millis(draw.between(200, 4_000));
        let one = One { channel: channel.clone(), recorder: &recorder };
        let watch = Watch { watcher, node, from, ..Watch::default() };
        let from = one.run(watch, length, &mut stop).await;
        sleep(PAUSE).await;
        // At the end of the run the next machine may be gone already.
        let _ = next.send(Roaming { watcher, from }).await;
    }
}

/// One watch.
struct One<'a> {
    channel: Channel,
    recorder: &'a Recorder,
}

impl One<'_> {
    /// Watches until it breaks or the time is over; from where to go on.
    async fn run(
        &self,
        mut watch: Watch,
        length: Duration,
        stop: &mut watch::Receiver<bool>,
    ) -> u64 {
        tokio::select! {
            _ = timeout(length, self.follow(&mut watch)) => {}
            _ = stop.changed() => {}
        }
        let told = watch.changes.last().map(|change| change.revision + 1);
        let passed = watch.compacted.map(|revision| revision + 1);
        let from = told.max(passed).unwrap_or(0).max(watch.from);
        self.recorder.add_watch(watch);
        from
    }

    async fn follow(&self, watch: &mut Watch) -> Result<(), Status> {
        let created = timeout(CREATE_WAIT, self.create(watch.from)).await;
        let mut answers = created.map_err(|_| Status::deadline_exceeded("no watch was made"))??;
        while let Some(answer) = answers.message().await? {
            self.take(answer, watch)?;
        }
        Ok(())
    }

    async fn create(&self, from: u64) -> Result<Streaming<pb::WatchResponse>, Status> {
        let create = pb::WatchCreateRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            start_revision: from as i64,
            ..pb::WatchCreateRequest::default()
        };
        let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let requests = tokio_stream::once(request).chain(tokio_stream::pending());
        Ok(WatchClient::new(self.channel.clone()).watch(requests).await?.into_inner())
    }

    fn take(&self, answer: pb::WatchResponse, watch: &mut Watch) -> Result<(), Status> {
        if answer.compact_revision > 0 {
            watch.compacted = Some(answer.compact_revision as u64);
        }
        let seen = self.recorder.now();
        for event in answer.events {
            let is_put = event.r#type == EventType::Put as i32;
            let kv = event.kv.ok_or_else(|| Status::internal("a change of nothing"))?;
            let Some(key) = key_of(&kv.key, self.recorder) else { continue };
            let value = if is_put { value_of(key, &kv.value, self.recorder) } else { None };
            let revision = kv.mod_revision as u64;
            watch.changes.push(Change { revision, key, value, seen });
        }
        let stays = watch.watcher == u32::from(watch.node);
        if let Some(last) = watch.changes.last().filter(|_| stays) {
            self.recorder.watched(watch.node, last.revision);
        }
        match answer.canceled {
            true => Err(Status::cancelled(answer.cancel_reason)),
            false => Ok(()),
        }
    }
}
