//! The operator: has nodes admitted and removed, one after the other.
//!
//! A removed node is switched off once it has no vote any more, never before: that would be taking
//! a machine away from a quorum that still counts on it.

use super::Nodes;
use super::clients::Duty;
use super::tending::Deed;
use super::{SECRET_HASH, TOKEN, TOKEN_FOR_ONE, member_at};
use crate::host::{Standing, id_of};
use bytes::Bytes;
use muslin_core::base::NodeId;
use muslin_core::node::{Node, Request};
use muslin_core::state::{
    Admit, Command, CommandKind, FIRST_EPOCH, Member, Membership, MembershipChange, RaiseEpoch,
    RaisedFor, Remove, Whom,
};
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
    /// See [`Nodes::ghost_asks`].
    Ghost(u8),
    /// See [`Deed`].
    Tend(Deed),
}

/// What nodes that there are not ask for, and an operator who raises the epoch: so many steps.
const GHOST_STEPS: u8 = 5;

/// Two that are no machines at all.
const GHOSTS: [NodeId; 2] = [NodeId(1_000), NodeId(1_001)];

impl Nodes {
    pub(super) fn operate_turn(&mut self, client: usize) {
        let Duty::Operate { doing } = self.crowd.clients[client].duty else { return };
        self.crowd.tries += 1;
        let doing = doing.filter(|step| !self.finish(*step) && !self.is_vain(*step));
        let doing = doing.or_else(|| {
            self.crowd.tries = 0;
            self.next_step()
        });
        self.crowd.clients[client].duty = Duty::Operate { doing };
        let Some(step) = doing else {
            self.crowd.clients[client].is_retired = self.healed.is_some() && !self.profile.tended;
            return self.plan_turn(client, IDLE);
        };
        let kind = match step {
            Step::Remove(place) => self.drained_or_removed(id_of(place)),
            Step::Ghost(step) => self.ghost_asks(step),
            Step::Admit(place) => self.admission(place, false),
            Step::Tend(deed) => self.deed(deed),
        };
        self.ask_home(client, Request::Write(Command::of(kind)));
    }

    /// A node shows a token, and waits to be let in if it may.
    pub(super) fn admission(&mut self, place: usize, may_wait: bool) -> CommandKind {
        let admit = Admit {
            member: member_at(place, &self.profile),
            token_id: TOKEN.into(),
            secret_hash: Bytes::from_static(SECRET_HASH),
            unix_ms: self.next_unix_ms(),
            may_wait,
            ..Admit::default()
        };
        CommandKind::Admit(admit.into())
    }

    /// The wall clock, or a moment later: no two admissions are equal.
    fn next_unix_ms(&mut self) -> u64 {
        let last = self.crowd.last_unix_ms;
        self.crowd.last_unix_ms = self.time.wall_ms().max(last + 1);
        self.crowd.last_unix_ms
    }

    /// A living member is drained first; one that is down can go at once.
    fn drained_or_removed(&self, node: NodeId) -> CommandKind {
        let member = self.crowd.ledger.member(node);
        if member.is_some_and(|one| one.is_living() && !one.is_draining) {
            let drain = MembershipChange::Drain(Whom { id: node.0 });
            return CommandKind::Membership(Membership::at(0, drain).into());
        }
        let unix_ms = self.time.wall_ms();
        CommandKind::Remove(Remove { id: node.0, force: false, unix_ms })
    }

    /// A ghost is let in by a token for one, and removed; the other one shows the same token, and
    /// the first asks again. Last, what is left of the removed is collected.
    fn ghost_asks(&mut self, step: u8) -> CommandKind {
        let unix_ms = self.next_unix_ms();
        let admit = |ghost: NodeId, token: &str| {
            let member = Member { id: ghost.0, name: format!("{ghost:?}"), ..Member::default() };
            let secret_hash = Bytes::from_static(SECRET_HASH);
            let token_id = token.into();
            CommandKind::Admit(
                Admit { member, token_id, secret_hash, unix_ms, ..Admit::default() }.into(),
            )
        };
        match step {
            0 => admit(GHOSTS[0], TOKEN_FOR_ONE),
            1 => CommandKind::Remove(Remove { id: GHOSTS[0].0, force: true, unix_ms }),
            2 => admit(GHOSTS[1], TOKEN_FOR_ONE),
            3 => admit(GHOSTS[0], TOKEN),
            _ => {
                let (from, why) = (self.crowd.ledger.epoch().0, RaisedFor::Tombstones.into());
                let raise = RaiseEpoch { from, why, survivor: 0, to: 0 };
                let long_after = u64::MAX / 2;
                let change = MembershipChange::RaiseEpoch(raise);
                CommandKind::Membership(Membership::at(long_after, change).into())
            }
        }
    }

    fn is_ghost_done(&self, step: u8) -> bool {
        let ledger = &self.crowd.ledger;
        match step {
            0 => ledger.is_member(GHOSTS[0]) || ledger.is_removed(GHOSTS[0]),
            1 => ledger.is_removed(GHOSTS[0]),
            2 => ledger.admissions_refused() >= 1,
            3 => ledger.admissions_refused() >= 2,
            _ => ledger.epoch() > FIRST_EPOCH,
        }
    }

    /// Whether no member would be left behind by another epoch, as far as one can tell.
    fn are_all_there(&self) -> bool {
        self.members().into_iter().all(|place| {
            let is_living = self.crowd.ledger.member(id_of(place)).is_some_and(Member::is_living);
            is_living && self.hosts[place].process.is_some()
        })
    }

    /// One that was gone when the epoch rose can only be removed.
    pub(super) fn left_behind(&self) -> Option<usize> {
        let is_behind = |place: &usize| !self.crowd.ledger.is_current(id_of(*place));
        self.members().into_iter().find(is_behind)
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
                self.part_with(place);
                true
            }
            Step::Tend(deed) => self.is_done(deed),
            Step::Ghost(step) if self.is_ghost_done(step) => {
                self.crowd.ghost_step = step + 1;
                true
            }
            _ => false,
        }
    }

    /// A member is removed by the record.
    pub(super) fn part_with(&mut self, place: usize) {
        if self.hosts[place].standing != Standing::Gone {
            self.hosts[place].standing = Standing::Removed;
        }
        self.retire_probe(place);
    }

    fn next_step(&mut self) -> Option<Step> {
        if self.profile.tended {
            return self.next_deed();
        }
        let outside =
            (0..self.hosts.len()).find(|place| self.hosts[*place].standing == Standing::Outside);
        if !self.profile.churn {
            return outside.map(Step::Admit);
        }
        if let Some(place) = self.left_behind() {
            return Some(Step::Remove(place));
        }
        if self.healed.is_some() {
            return None;
        }
        let ghost = self.crowd.ghost_step;
        if ghost < GHOST_STEPS - 1 || (ghost < GHOST_STEPS && self.are_all_there()) {
            return Some(Step::Ghost(ghost));
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
            Standing::Outside => !self.profile.churn && !self.profile.tended,
            _ => !is_at_rest(host),
        };
        is_idle && !self.hosts.iter().any(is_open) && self.is_tended()
    }
}
