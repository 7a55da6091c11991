//! The operator: has nodes admitted and removed, one after the other.
//!
//! A removed node is switched off once it has no vote any more, never before: that would be taking
//! a machine away from a quorum that still counts on it.

use super::Nodes;
use super::clients::Duty;
use super::{SECRET_HASH, TOKEN, member_of};
use crate::host::{Standing, address_of, id_of};
use bytes::Bytes;
use muslin_core::node::{Node, Request};
use muslin_core::state::{Admit, Command, CommandKind, Remove};
use std::time::Duration;

/// A group that nodes are taken from keeps at least so many.
const MEMBERS_LEFT: usize = 3;

/// Between two steps of an operator that has nothing to do at present.
const IDLE: Duration = Duration::from_millis(200);

/// What the operator is about.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Admit(usize),
    Remove(usize),
}

impl Nodes {
    pub(super) fn operate_turn(&mut self, client: usize) {
        let Duty::Operate { doing } = self.crowd.clients[client].duty else { return };
        let doing = doing.filter(|step| !self.finish(*step)).or_else(|| self.next_step());
        self.crowd.clients[client].duty = Duty::Operate { doing };
        let Some(step) = doing else {
            self.crowd.clients[client].is_retired = self.healed.is_some();
            return self.plan_turn(client, IDLE);
        };
        let kind = match step {
            Step::Remove(place) => {
                CommandKind::Remove(Remove { id: id_of(place).0, force: true, unix_ms: 0 })
            }
            Step::Admit(place) => CommandKind::Admit(Admit {
                member: member_of(id_of(place), address_of(place)),
                token_id: TOKEN.into(),
                secret_hash: Bytes::from_static(SECRET_HASH),
                // Unique, and far from the token's end.
                unix_ms: self.next_count(client),
                may_wait: false,
            }),
        };
        self.ask_home(client, Request::Write(Command::of(kind)));
    }

    /// Whether a step is done, by the record; if so, what follows from it.
    fn finish(&mut self, step: Step) -> bool {
        match step {
            Step::Admit(place) if self.crowd.ledger.is_member(id_of(place)) => {
                self.hosts[place].standing = Standing::Member;
                self.start(place);
                true
            }
            Step::Remove(place) if !self.crowd.ledger.is_member(id_of(place)) => {
                self.hosts[place].standing = Standing::Removed;
                self.retire_probe(place);
                true
            }
            _ => false,
        }
    }

    fn next_step(&mut self) -> Option<Step> {
        let outside =
            (0..self.hosts.len()).find(|place| self.hosts[*place].standing == Standing::Outside);
        if !self.profile.churn {
            return outside.map(Step::Admit);
        }
        if self.healed.is_some() {
            return None;
        }
        let members = self.members();
        if let Some(place) = outside
            && members.len() <= self.profile.founders
        {
            return Some(Step::Admit(place));
        }
        let is_one_going = self.hosts.iter().any(|host| host.standing == Standing::Removed);
        let is_one_lost = self.hosts.iter().any(|host| host.disk.is_rebuilding());
        if is_one_going || is_one_lost || members.len() <= MEMBERS_LEFT {
            return None;
        }
        self.draws.client.pick(&members).copied().map(Step::Remove)
    }

    /// Whether a member is about to be removed, or is removed and counted still.
    pub(super) fn is_removing(&self) -> bool {
        let removes = |client: &super::clients::Client| {
            matches!(client.duty, Duty::Operate { doing: Some(Step::Remove(_)) })
        };
        self.hosts.iter().any(|host| host.standing == Standing::Removed)
            || self.crowd.clients.iter().any(removes)
    }

    /// Switches removed nodes off that have no vote any more.
    pub(super) fn switch_off_removed(&mut self) {
        for place in 0..self.hosts.len() {
            if self.hosts[place].standing == Standing::Removed && !self.may_vote(place) {
                self.hosts[place].standing = Standing::Gone;
                self.crash(place);
            }
        }
    }

    /// Whether the leader counts a node among the group, or nobody leads to tell.
    fn may_vote(&self, place: usize) -> bool {
        let leader = self.leader().and_then(|leader| self.hosts[leader].process.as_ref());
        leader.is_none_or(|process| {
            // The last one may be taken back as long as it is not committed.
            let raft = process.subject.raft();
            [raft.committed_configuration(), raft.configuration()]
                .into_iter()
                .any(|it| it.is_joint() || it.members().contains(&id_of(place)))
        })
    }

    /// Whether the operator has done what it was about, and all that follows has happened.
    pub(super) fn is_operated(&self) -> bool {
        let is_at_rest = |host: &crate::host::Host<Node>| {
            matches!(host.standing, Standing::Member | Standing::Gone)
        };
        let is_idle = self.crowd.clients.iter().all(|client| match client.duty {
            Duty::Operate { doing } => doing.is_none(),
            _ => true,
        });
        let is_open = |host: &crate::host::Host<Node>| match host.standing {
            Standing::Outside => !self.profile.churn,
            _ => !is_at_rest(host),
        };
        is_idle && !self.hosts.iter().any(is_open)
    }
}
