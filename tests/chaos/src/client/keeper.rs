//! Leases kept alive for a while and then left to end.

use super::call::{CALL_WAIT, Caller, connect};
use super::{Draw, Recorder};
use crate::history::{Action, Family, Key, Lease, Outcome};
use muslin::api::proto::etcdserverpb as pb;
use pb::lease_client::LeaseClient;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::codegen::tokio_stream;
use tonic::transport::Channel;

/// How long a lease lives without being kept alive: shorter than many faults.
const TTL: Duration = Duration::from_secs(3);

/// How often it is kept alive.
const KEEP_EVERY: Duration = Duration::from_millis(700);

/// After a grant that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Keeps leases at a node until told to stop, one after the other.
pub(super) async fn run(
    node: u8,
    number: u64,
    recorder: Arc<Recorder>,
    stop: watch::Receiver<bool>,
) {
    let channel = connect();
    let mut keeper = Keeper {
        node,
        draw: Draw::seeded(number),
        lease: LeaseClient::new(channel.clone()),
        caller: Caller::new(channel, recorder.clone()),
        recorder,
    };
    while !*stop.borrow() {
        if keeper.one(&stop).await.is_none() {
            sleep(PAUSE).await;
        }
    }
}

struct Keeper {
    node: u8,
    draw: Draw,
    lease: LeaseClient<Channel>,
    caller: Caller,
    recorder: Arc<Recorder>,
}

impl Keeper {
    /// The whole life of one lease; `None` when it never began.
    async fn one(&mut self, stop: &watch::Receiver<bool>) -> Option<()> {
        let kept = self.recorder.now();
        let id = self.grant().await?;
        let key = Key::new(Family::Leased, self.recorder.fresh_leased());
        let mut lease = Lease { key, ttl: TTL.as_nanos() as u64, kept, ended: None };
        let put = Action::Put((key, self.recorder.fresh_value()));
        let outcome = self.caller.perform_with(self.node, put, id).await;
        if !matches!(outcome, Outcome::Written(_)) {
            // Whether the key hangs on the lease is not known: only its end would say.
            return None;
        }
        for _ in 0..self.draw.below(20) {
            sleep(KEEP_EVERY).await;
            if *stop.borrow() {
                break;
            }
            let asked = self.recorder.now();
            match self.keep(id).await {
                Some(true) => lease.kept = asked,
                Some(false) => {
                    lease.ended = Some(self.recorder.now());
                    break;
                }
                // Nobody knows: it lives at least from the last time on that somebody does.
                None => {}
            }
        }
        self.recorder.add_lease(lease);
        Some(())
    }

    async fn grant(&mut self) -> Option<i64> {
        let request = pb::LeaseGrantRequest { ttl: TTL.as_secs() as i64, id: 0 };
        let answer = timeout(CALL_WAIT, self.lease.lease_grant(request)).await.ok()?.ok()?;
        Some(answer.into_inner().id)
    }

    /// Whether it lives; `None` when there was no answer.
    async fn keep(&mut self, id: i64) -> Option<bool> {
        let ask = async {
            let requests = tokio_stream::once(pb::LeaseKeepAliveRequest { id });
            let mut answers = self.lease.lease_keep_alive(requests).await?.into_inner();
            answers.message().await
        };
        let answer = timeout(CALL_WAIT, ask).await.ok()?.ok()??;
        Some(answer.ttl > 0)
    }
}
