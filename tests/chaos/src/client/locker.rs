//! Holders of locks, some of whom stand still for longer than they hold them, and go on as if
//! nothing had been.

use super::call::{CALL_WAIT, Caller, connect};
use super::{Draw, Recorder};
use crate::history::{Family, Fence, Hold, Key};
use lock::lock_client::LockClient;
use muslin::api::proto::etcdserverpb as pb;
use muslin::api::proto::v3lockpb as lock;
use pb::lease_client::LeaseClient;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};
use tonic::codegen::tokio_stream;
use tonic::transport::Channel;

/// Locks: few, so that all of them are waited for.
const LOCKS: u64 = 3;

/// How long a lock is held without a word.
const TTL: Duration = Duration::from_secs(2);

/// How often a lease is kept alive.
const KEEP_EVERY: Duration = Duration::from_millis(500);

/// Longest wait for a lock: others stand still while they hold it.
const TURN_WAIT: Duration = Duration::from_secs(20);

/// Between two writes of a holder, and after a turn that was not had.
const PAUSE: Duration = Duration::from_millis(50);

/// Wants locks at a node until told to stop.
pub(super) async fn run(
    node: u8,
    number: u64,
    recorder: Arc<Recorder>,
    stop: watch::Receiver<bool>,
) {
    let channel = connect();
    let mut locker = Locker {
        node,
        draw: Draw::seeded(number),
        lease: LeaseClient::new(channel.clone()),
        lock: LockClient::new(channel.clone()),
        caller: Caller::new(channel, recorder.clone()),
        recorder,
    };
    while !*stop.borrow() {
        locker.turn().await;
        sleep(PAUSE).await;
    }
}

struct Locker {
    node: u8,
    draw: Draw,
    lease: LeaseClient<Channel>,
    lock: LockClient<Channel>,
    caller: Caller,
    recorder: Arc<Recorder>,
}

impl Locker {
    /// Has a lock once, if it can be had.
    async fn turn(&mut self) -> Option<()> {
        let number = self.draw.below(LOCKS) as u32;
        let request = pb::LeaseGrantRequest { ttl: TTL.as_secs() as i64, id: 0 };
        let granted = timeout(CALL_WAIT, self.lease.lease_grant(request)).await.ok()?.ok()?;
        let lease = granted.into_inner().id;
        let had = self.acquire(number, lease).await;
        if let Some((place, revision)) = had {
            self.hold(number, lease, (&place, revision)).await;
        }
        // Ends the place too, unless it stood still for so long that it is over.
        let _ =
            timeout(CALL_WAIT, self.lease.lease_revoke(pb::LeaseRevokeRequest { id: lease })).await;
        Some(())
    }

    /// The key of the place, and as of which revision it is the first.
    async fn acquire(&mut self, number: u32, lease: i64) -> Option<(Vec<u8>, u64)> {
        let name = format!("lock/{number}").into_bytes().into();
        let request = lock::LockRequest { name, lease };
        let mut asked = self.lock.clone();
        let asking = timeout(TURN_WAIT, asked.lock(request));
        let kept = keep(self.lease.clone(), lease);
        let answer = tokio::select! {
            answer = asking => answer.ok()?.ok()?.into_inner(),
            () = kept => return None,
        };
        let revision = answer.header?.revision as u64;
        Some((answer.key.to_vec(), revision))
    }

    /// Writes with the fence while it holds, and afterwards.
    async fn hold(&mut self, number: u32, lease: i64, (place, had_at): (&[u8], u64)) -> Option<()> {
        let revision = self.caller.made_by(place).await?;
        let fence = Fence { place: self.recorder.foreign(place), revision };
        self.recorder.add_hold(Hold { fence, revision: had_at });
        let key = Key::new(Family::Fenced, number);
        let writes = self.draw.between(1, 6);
        for _ in 0..writes {
            let write = (key, self.recorder.fresh_value());
            self.caller.guarded(self.node, (write, fence), place).await;
            sleep(PAUSE).await;
        }
        match self.draw.below(3) {
            0 => {
                let revoke = pb::LeaseRevokeRequest { id: lease };
                let _ = timeout(CALL_WAIT, self.lease.lease_revoke(revoke)).await;
            }
            1 => {
                let request = lock::UnlockRequest { key: place.to_vec().into() };
                let _ = timeout(CALL_WAIT, self.lock.unlock(request)).await;
            }
            // It stands still, for longer than its lease lives.
            _ => sleep(TTL + Duration::from_millis(self.draw.between(300, 4_000))).await,
        }
        // It does not know better.
        for _ in 0..2 {
            let write = (key, self.recorder.fresh_value());
            self.caller.guarded(self.node, (write, fence), place).await;
        }
        Some(())
    }
}

/// Keeps a lease alive for as long as it is.
async fn keep(mut lease: LeaseClient<Channel>, id: i64) {
    let mut ticks = interval(KEEP_EVERY);
    loop {
        ticks.tick().await;
        let ask = async {
            let requests = tokio_stream::once(pb::LeaseKeepAliveRequest { id });
            let mut answers = lease.lease_keep_alive(requests).await?.into_inner();
            answers.message().await
        };
        if let Ok(Ok(Some(answer))) = timeout(CALL_WAIT, ask).await
            && answer.ttl <= 0
        {
            return;
        }
    }
}
