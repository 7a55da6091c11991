//! Questions of the campaign to one node.

use super::Recorder;
use super::call::{Caller, connect};
use crate::history::Dump;
use muslin::api::proto::etcdserverpb as pb;
use pb::maintenance_client::MaintenanceClient;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::transport::Channel;

/// A node that has not answered by then does not answer.
const WAIT: Duration = Duration::from_secs(1);

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
}

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
    let (revision, items) = timeout(WAIT, caller.everything()).await.ok()?.ok()?;
    Some(Dump { node, revision, items })
}
