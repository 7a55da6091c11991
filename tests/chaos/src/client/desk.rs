//! Questions of the campaign to one node.

use super::Recorder;
use super::call::{Caller, connect};
use crate::history::{Action, Dump, Family, Key, Value};
use muslin::api::proto::etcdserverpb as pb;
use pb::maintenance_client::MaintenanceClient;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::transport::Channel;

/// A node that has not answered by then does not answer.
const WAIT: Duration = Duration::from_secs(1);

/// As [`WAIT`], for all that a node holds.
const DUMP_WAIT: Duration = Duration::from_secs(5);

/// How a node stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Its id.
    pub id: u64,
    /// Who leads, as it knows; 0 when nobody does.
    pub leader: u64,
    /// Its term.
    pub term: u64,
    /// What it has applied.
    pub applied: u64,
    /// Whether it votes.
    pub is_voter: bool,
    /// Its revision.
    pub revision: u64,
}

/// A question, and where its answer goes.
pub enum Ask {
    /// How the node stands.
    Standing(Sender<Option<Standing>>),
    /// Hand leadership to the node with this id.
    Transfer(u64, Sender<Option<()>>),
    /// All that it holds.
    Dump(Sender<Option<Dump>>),
    /// Write many values.
    Burst(Burst, Sender<Option<()>>),
}

/// Writes at once, so many of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Burst {
    /// Of the usual size.
    Small(u32),
    /// Of the largest.
    Large(u32),
}

/// Small writes of a burst in flight, and large ones.
const SMALL_AT_ONCE: u32 = 192;
const LARGE_AT_ONCE: u32 = 4;

/// Keys of one node's small writes in a burst; all large ones are of one key, so that compaction
/// gives the room back.
const BURST_KEYS: u32 = 1_000;

/// Answers until nobody can ask any more.
pub(super) async fn run(node: u8, recorder: Arc<Recorder>, mut asks: mpsc::Receiver<Ask>) {
    let channel = connect();
    while let Some(ask) = asks.recv().await {
        let (channel, recorder) = (channel.clone(), recorder.clone());
        tokio::spawn(async move {
            // Whoever asked may have lost patience.
            match ask {
                Ask::Standing(reply) => drop(reply.send(standing(channel).await)),
                Ask::Transfer(to, reply) => drop(reply.send(transfer(channel, to).await)),
                Ask::Dump(reply) => drop(reply.send(dump(node, channel, recorder).await)),
                Ask::Burst(burst, reply) => {
                    burst.write(node, Caller::new(channel, recorder.clone()), &recorder).await;
                    let _ = reply.send(Some(()));
                }
            }
        });
    }
}

async fn standing(channel: Channel) -> Option<Standing> {
    let mut client = MaintenanceClient::new(channel);
    let answer = timeout(WAIT, client.status(pb::StatusRequest {})).await.ok()?.ok()?.into_inner();
    let header = answer.header?;
    Some(Standing {
        id: header.member_id,
        leader: answer.leader,
        term: answer.raft_term,
        applied: answer.raft_applied_index,
        is_voter: !answer.is_learner,
        revision: header.revision as u64,
    })
}

async fn transfer(channel: Channel, to: u64) -> Option<()> {
    let mut client = MaintenanceClient::new(channel);
    let request = pb::MoveLeaderRequest { target_id: to };
    timeout(WAIT, client.move_leader(request)).await.ok()?.ok().map(drop)
}

async fn dump(node: u8, channel: Channel, recorder: Arc<Recorder>) -> Option<Dump> {
    let mut caller = Caller::new(channel, recorder);
    let why = match timeout(DUMP_WAIT, caller.everything()).await {
        Ok(Ok((revision, items))) => return Some(Dump { node, revision, items }),
        Ok(Err(status)) => status.to_string(),
        Err(_) => format!("no answer within {DUMP_WAIT:?}"),
    };
    eprintln!("node {} does not say what it holds: {why}", node + 1);
    None
}

impl Burst {
    async fn write(self, node: u8, caller: Caller, recorder: &Recorder) {
        let (count, at_once) = match self {
            Burst::Small(count) => (count, SMALL_AT_ONCE),
            Burst::Large(count) => (count, LARGE_AT_ONCE),
        };
        let mut writers = JoinSet::new();
        for number in 0..count {
            if number >= at_once {
                writers.join_next().await;
            }
            let action = Action::Put(self.write_of(node, number, recorder.fresh_value()));
            let mut caller = caller.clone();
            writers.spawn(async move { caller.perform(node, action).await });
        }
        while writers.join_next().await.is_some() {}
    }

    fn write_of(self, node: u8, number: u32, fresh: Value) -> (Key, Value) {
        let first = (u32::from(node) + 1) * BURST_KEYS;
        match self {
            Burst::Small(_) => (Key::new(Family::Probe, first + number % BURST_KEYS), fresh),
            Burst::Large(_) => (Key::new(Family::Bulk, u32::from(node)), Value::large(fresh.0)),
        }
    }
}
