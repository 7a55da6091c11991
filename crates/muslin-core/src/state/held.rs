//! Joins that wait: for somebody's approval, or for a role that nobody performs.

use super::members::{Admission, Change, Members, owned_member};
use super::{
    Admit, Approve, HeldJoin, HoldState, Member, MemberNews, Refusal, Response, UnheldFor,
};
use crate::base::NodeId;
use crate::base::mutant::{self, Mutant};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// Most joins held at once; more are refused.
pub const HELD_MAX: usize = 1_024;

/// Most of them without a token: anyone can ask for those, and they must leave room for the others.
pub const HELD_STRANGERS_MAX: usize = 64;

/// What a held join waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HoldReason {
    /// It came without a token: somebody has to approve it.
    Approval,
    /// Nobody performs these roles, which it requires.
    Roles(Vec<String>),
}

impl Members {
    /// Holds a join without a token until somebody approves it.
    pub(super) fn hold_stranger(
        &mut self,
        admit: &Admit,
        change: &mut Change<'_>,
    ) -> Result<Admission, Refusal> {
        if !admit.may_wait || self.settings.tokens_only {
            return Err(Refusal::TokenInvalid);
        }
        let strangers = self.held.values().filter(|held| held.token_id.is_empty()).count();
        if strangers >= HELD_STRANGERS_MAX {
            return Err(Refusal::TooManyHeld);
        }
        self.hold(admit, HoldState::Approval, change)
    }

    /// Holds a join with a good token until somebody performs what it requires. That uses the
    /// token, so that it holds no more than it may admit.
    pub(super) fn hold_for_roles(
        &mut self,
        admit: &Admit,
        missing: Vec<String>,
        change: &mut Change<'_>,
    ) -> Result<Admission, Refusal> {
        if !admit.may_wait {
            return Err(Refusal::RolesMissing(missing));
        }
        let answer = self.hold(admit, HoldState::Roles, change)?;
        self.use_token(&admit.token_id, change.unix_ms);
        Ok(answer)
    }

    pub(super) fn hold(
        &mut self,
        admit: &Admit,
        state: HoldState,
        change: &mut Change<'_>,
    ) -> Result<Admission, Refusal> {
        if self.held.len() >= HELD_MAX {
            return Err(Refusal::TooManyHeld);
        }
        let hold_for = u64::try_from(self.settings.hold_for().as_millis()).unwrap_or(u64::MAX);
        let held = HeldJoin {
            member: owned_member(&admit.member),
            token_id: admit.token_id.clone(),
            asked_unix_ms: change.unix_ms,
            expires_unix_ms: change.unix_ms.saturating_add(hold_for),
            asked_at: change.index.0,
            state: state.into(),
            decided_by: String::new(),
        };
        let answer = self.answer_held(&held);
        self.held.insert(admit.member.node(), held.clone());
        change.news.push(MemberNews::Held(Box::new(held)));
        Ok(answer)
    }

    pub(super) fn answer_held(&self, held: &HeldJoin) -> Admission {
        let reason = match held.state() {
            HoldState::Roles => HoldReason::Roles(self.missing_roles(&held.member)),
            HoldState::Approval | HoldState::Denied => HoldReason::Approval,
        };
        Admission::Held { reason, expires_unix_ms: held.expires_unix_ms }
    }

    /// What a node requires to be admitted and no living member performs, nor it itself.
    pub(super) fn missing_roles(&self, member: &Member) -> Vec<String> {
        self.unmet(&member.requires_for_bootstrap, member)
    }

    /// Which of these roles no living member performs, nor this one.
    pub(super) fn unmet(&self, roles: &[String], member: &Member) -> Vec<String> {
        let is_met = |role: &String| {
            let mut living = self.present.values().filter(|one| one.is_living());
            member.performs(role) || living.any(|one| one.performs(role))
        };
        roles.iter().filter(|role| !is_met(role)).cloned().collect()
    }

    /// Lets a held join in, or has it wait for the roles it requires.
    pub(super) fn approve(
        &mut self,
        approve: &Approve,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        let id = NodeId(approve.id);
        if self.present.contains_key(&id) {
            let known = Admission::Admitted { epoch: self.epoch(), known: true };
            return Ok(Response::Admission(known));
        }
        let held = self.held.get(&id).ok_or(Refusal::JoinNotFound)?;
        self.check_conflicts(&held.member, None)?;
        let mut held = held.clone();
        held.decided_by = change.by.into();
        if approve.force || self.missing_roles(&held.member).is_empty() {
            self.held.remove(&id);
            self.enter(&held.member, change.by, change);
            let answer = Admission::Admitted { epoch: self.epoch(), known: false };
            return Ok(Response::Admission(answer));
        }
        held.set_state(HoldState::Roles);
        let answer = self.answer_held(&held);
        self.held.insert(id, held.clone());
        change.news.push(MemberNews::Held(Box::new(held)));
        Ok(Response::Admission(answer))
    }

    /// Refuses a held join. It is kept until it expires, so that it is refused again.
    pub(super) fn deny(&mut self, id: NodeId, by: &str) -> Result<Response, Refusal> {
        if self.present.contains_key(&id) {
            return Err(Refusal::MemberExists);
        }
        let held = self.held.get_mut(&id).ok_or(Refusal::JoinNotFound)?;
        if held.state() != HoldState::Denied {
            held.set_state(HoldState::Denied);
            held.decided_by = by.into();
            let token = core::mem::take(&mut held.token_id);
            self.return_use(&token);
        }
        Ok(Response::Done)
    }

    /// Gives up what was held for too long.
    pub(super) fn expire_held(&mut self, change: &mut Change<'_>) {
        let is_over = |held: &&HeldJoin| held.expires_unix_ms <= change.unix_ms;
        let over: Vec<NodeId> =
            self.held.values().filter(is_over).map(|held| held.member.node()).collect();
        for node in over {
            self.drop_held(node, UnheldFor::Expired, change);
        }
    }

    /// Lets in, in the order in which they asked, whoever waits for nothing any more: one that
    /// comes in may perform what another waits for.
    pub(super) fn release_held(&mut self, change: &mut Change<'_>) {
        while let Some(held) = self.next_released() {
            let node = held.member.node();
            if self.check_conflicts(&held.member, None).is_err() {
                self.drop_held(node, UnheldFor::Conflict, change);
                continue;
            }
            self.held.remove(&node);
            let by = if held.token_id.is_empty() { &held.decided_by } else { &held.token_id };
            self.enter(&held.member, by, change);
        }
    }

    fn next_released(&self) -> Option<HeldJoin> {
        let is_met = |member: &Member| {
            self.missing_roles(member).is_empty() || mutant::is_active(Mutant::ReleasedWithoutRole)
        };
        let is_released =
            |held: &&HeldJoin| held.state() == HoldState::Roles && is_met(&held.member);
        let waiting = self.held.values().filter(is_released);
        waiting.min_by_key(|held| (held.asked_at, held.member.id)).cloned()
    }

    fn drop_held(&mut self, node: NodeId, why: UnheldFor, change: &mut Change<'_>) {
        let held = self.held.remove(&node).expect("the caller has found it");
        let why = if held.state() == HoldState::Denied { UnheldFor::Forgotten } else { why };
        self.return_use(&held.token_id);
        change.news.push(MemberNews::Unheld { node, why });
    }
}
