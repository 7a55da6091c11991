//! What a [`Handle`] asks of groups.

use super::Handle;
use super::handle::unexpected;
use bytes::Bytes;
use muslin_core::base::{GroupId, NodeId};
use muslin_core::groups::{Ask, GroupStatus};
use muslin_core::node::{Consistency, Failure, Reply, Request};
use muslin_core::state::{
    Command, CommandKind, GroupCreate, GroupRecord, GroupRemove, Query, Refusal, Response,
};

/// Why the record did not change, or could not be asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GroupError {
    /// The record says no; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is not known whether it was done, or it was not.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The node that was asked has no state machine of this name; nothing happened. It stands for
    /// all: they run the same application, and a group that no node knows would never work.
    #[error(
        "this node knows no groups of the kind {kind:?}; nothing happened; the kinds it knows: {}",
        known.join(", ")
    )]
    UnknownKind {
        /// What was asked for.
        kind: String,
        /// What there is.
        known: Vec<String>,
    },
}

impl Handle {
    /// Makes a group: on these members, replicating the state machine of this name
    /// ([`Machines`](muslin_core::groups::Machines)), which each of them must have, and this node
    /// too.
    pub async fn group_create(
        &self,
        kind: &str,
        replicas: impl IntoIterator<Item = NodeId>,
    ) -> Result<GroupId, GroupError> {
        let known = self.group_kinds();
        if !known.iter().any(|known| known == kind) {
            let (kind, known) = (kind.to_string(), known.to_vec());
            return Err(GroupError::UnknownKind { kind, known });
        }
        let replicas = replicas.into_iter().map(|node| node.0).collect();
        let create = GroupCreate { id: 0, kind: kind.to_string(), replicas };
        let outcome = self.write(Command::of(CommandKind::GroupCreate(create))).await?;
        match outcome.result? {
            Response::Group { id } => Ok(id),
            other => Err(answered_otherwise(&other)),
        }
    }

    /// Takes a group out, with all that it holds. Its id is never given again.
    pub async fn group_remove(&self, group: GroupId) -> Result<(), GroupError> {
        let remove = CommandKind::GroupRemove(GroupRemove { id: group.0 });
        self.write(Command::of(remove)).await?.result?;
        Ok(())
    }

    /// Every group in the record, in the order of their ids.
    pub async fn group_records(
        &self,
        consistency: Consistency,
    ) -> Result<Vec<GroupRecord>, GroupError> {
        match self.read(Query::Groups, consistency).await?.result? {
            Response::Groups { records } => Ok(records),
            other => Err(answered_otherwise(&other)),
        }
    }

    /// What this node knows of the groups it keeps, or of one. Never waits for other nodes.
    pub async fn group_status(&self, group: Option<GroupId>) -> Result<Vec<GroupStatus>, Failure> {
        match self.ask(Request::GroupStatus(group)).await? {
            Reply::GroupStatus(statuses) => Ok(statuses),
            other => Err(unexpected(other)),
        }
    }

    /// Carries a command out in a group, and answers with what its state machine said: it is then
    /// on a majority of the replicas' disks, and took effect once. Where this node keeps no
    /// replica, those that do are asked, whoever leads.
    pub async fn group_propose(&self, group: GroupId, command: Bytes) -> Result<Bytes, Failure> {
        self.group_ask(group, Ask::Propose(command)).await
    }

    /// Asks a group. Where this node keeps no replica, one that does answers; locally: with
    /// whatever it has.
    pub async fn group_query(
        &self,
        group: GroupId,
        query: Bytes,
        consistency: Consistency,
    ) -> Result<Bytes, Failure> {
        let ask = match consistency {
            Consistency::Local => Ask::QueryLocal(query),
            Consistency::Linearizable | Consistency::Lease => Ask::Query(query),
        };
        self.group_ask(group, ask).await
    }

    async fn group_ask(&self, group: GroupId, ask: Ask) -> Result<Bytes, Failure> {
        match self.ask(Request::Group { group, ask }).await? {
            Reply::Group(answer) => Ok(answer),
            other => Err(unexpected(other)),
        }
    }
}

/// An answer of another kind than asked for is a bug of the state.
fn answered_otherwise(response: &Response) -> GroupError {
    debug_assert!(false, "an answer of another kind than asked for: {response:?}");
    GroupError::Failed(Failure::Stopping)
}
