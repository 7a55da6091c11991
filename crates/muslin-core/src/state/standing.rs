//! What members are, and what operators want them to be: down, gone, back, drained, to vote.

use super::members::{Change, Members};
use super::{
    BadForm, CONTROL_ROLE, ChangeLabels, ChangeRoles, DeclaredDown, DeclaredLeft, Down, Life,
    Member, MemberNews, Reap, Refusal, Rekey, RemovedFor, ReportLoad, Response, Standing, VoteWish,
    form,
};
use crate::base::NodeId;
use crate::base::mutant::{self, Mutant};
use crate::base::quorum::Tally;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// Most witnesses named of one death: enough for a person to ask; their number is kept beside.
pub const WITNESSES_MAX: usize = 16;

/// That something would leave no majority of voters, with the numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumNeeded {
    /// Whose vote would go.
    pub name: String,
    /// As it is.
    pub before: Tally,
    /// As it would be, with a spare in its place if there is one.
    pub after: Tally,
}

impl core::fmt::Display for QuorumNeeded {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let QuorumNeeded { name, before, after } = self;
        if after.voters == 0 {
            return write!(f, "{name} is the last voter; nobody would be left to vote");
        }
        write!(
            f,
            "{before}; without {name} {} of {} would, and {} are needed",
            after.answering,
            after.voters,
            after.needed()
        )
    }
}

impl Members {
    /// A member that takes part was declared down.
    pub(super) fn declare_down(
        &mut self,
        down: &Down,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        let id = NodeId(down.id);
        if !self.is_proven(id, &down.declared) {
            return Err(BadForm::Witnesses.into());
        }
        let unix_ms = change.unix_ms;
        let member = self.living_or_done(id)?;
        let Some(member) = member else { return Ok(Response::Done) };
        if down.declared.incarnation < member.life {
            return Err(Refusal::OldLife);
        }
        let declared = DeclaredDown { unix_ms, ..down.declared.clone() };
        member.standing = Some(Standing::Down(declared));
        change.news.push(MemberNews::Gone(Box::new(member.clone())));
        Ok(Response::Done)
    }

    /// More than half of the watchers, each named once and none of them the one in question.
    fn is_proven(&self, id: NodeId, declared: &DeclaredDown) -> bool {
        let witnesses = &declared.witnesses;
        let is_known = |node: NodeId| node != id && self.present.contains_key(&node);
        let is_majority = u64::from(declared.confirmed) * 2 > u64::from(declared.watchers)
            || mutant::is_active(Mutant::WatcherMajorityIgnored);
        is_majority
            && declared.confirmed <= declared.watchers
            && witnesses.len() == (declared.confirmed as usize).min(WITNESSES_MAX)
            && witnesses.is_sorted_by(|one, next| one.node < next.node)
            && witnesses.iter().all(|witness| is_known(NodeId(witness.node)))
    }

    /// A member that left says so.
    pub(super) fn declare_left(
        &mut self,
        life: &Life,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        let unix_ms = change.unix_ms;
        let member = self.living_or_done(NodeId(life.id))?;
        let Some(member) = member else { return Ok(Response::Done) };
        if life.incarnation < member.life {
            return Err(Refusal::OldLife);
        }
        let incarnation = life.incarnation;
        member.standing = Some(Standing::Left(DeclaredLeft { incarnation, unix_ms }));
        change.news.push(MemberNews::Gone(Box::new(member.clone())));
        Ok(Response::Done)
    }

    /// A member that was down, or had left, is there again: in a later life and of this epoch.
    pub(super) fn declare_up(
        &mut self,
        life: &Life,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        let epoch = self.epoch();
        let member = self.present.get_mut(&NodeId(life.id)).ok_or(Refusal::MemberNotFound)?;
        let ended = match &member.standing {
            None => return Ok(Response::Done),
            Some(Standing::Down(down)) => down.incarnation,
            Some(Standing::Left(left)) => left.incarnation,
        };
        if life.incarnation <= ended {
            return Err(Refusal::OldLife);
        }
        if member.epoch() != epoch {
            return Err(Refusal::OldEpoch { epoch: member.epoch(), present: epoch });
        }
        member.standing = None;
        member.life = life.incarnation;
        change.news.push(MemberNews::Back(Box::new(member.clone())));
        Ok(Response::Done)
    }

    /// `None` when it does not take part, or was removed: what is to be declared is known.
    fn living_or_done(&mut self, id: NodeId) -> Result<Option<&mut Member>, Refusal> {
        if self.is_removed(id) {
            return Ok(None);
        }
        let member = self.present.get_mut(&id).ok_or(Refusal::MemberNotFound)?;
        Ok(if member.is_living() { Some(member) } else { None })
    }

    /// Has everything moved off a member, or undoes that.
    pub(super) fn drain(
        &mut self,
        id: NodeId,
        is_draining: bool,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        if is_draining {
            self.check_quorum_without(id)?;
        }
        self.change_member(id, change, |member| {
            member.is_draining = is_draining;
            Ok(())
        })
    }

    /// Whether an operator wants a member to vote.
    pub(super) fn wish(
        &mut self,
        id: NodeId,
        wish: VoteWish,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        if wish == VoteWish::Never {
            self.check_quorum_without(id)?;
        }
        self.change_member(id, change, |member| {
            if wish == VoteWish::Votes {
                check_may_vote(member)?;
            }
            member.set_vote_wish(wish);
            Ok(())
        })
    }

    /// Gives roles and takes some.
    pub(super) fn change_roles(
        &mut self,
        roles: &ChangeRoles,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        if roles.remove.iter().any(|role| role == CONTROL_ROLE) {
            self.check_quorum_without(NodeId(roles.id))?;
        }
        self.change_member(NodeId(roles.id), change, |member| {
            let kept: BTreeSet<&String> = roles.remove.iter().collect();
            member.roles.retain(|role| !kept.contains(role));
            for role in &roles.add {
                if !member.performs(role) {
                    member.roles.push(role.clone());
                }
            }
            Ok(())
        })
    }

    /// Sets labels and takes some away.
    pub(super) fn change_labels(
        &mut self,
        labels: &ChangeLabels,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        self.change_member(NodeId(labels.id), change, |member| {
            for key in &labels.remove {
                member.labels.remove(key);
            }
            member.labels.extend(labels.set.clone());
            if let Some(zone) = &labels.zone {
                member.zone.clone_from(zone);
            }
            Ok(())
        })
    }

    /// Another key in the place of the one that a member had.
    pub(super) fn rekey(
        &mut self,
        rekey: &Rekey,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        self.change_member(NodeId(rekey.id), change, |member| {
            if member.key_hash != rekey.from && member.key_hash != rekey.key_hash {
                return Err(Refusal::MemberExists);
            }
            member.key_hash = Bytes::copy_from_slice(&rekey.key_hash);
            Ok(())
        })
    }

    /// What a member says of its load: no news, it changes all the time.
    pub(super) fn report_load(&mut self, report: &ReportLoad) -> Result<Response, Refusal> {
        let member = self.present.get_mut(&NodeId(report.id)).ok_or(Refusal::MemberNotFound)?;
        member.load = Some(report.load);
        Ok(Response::Done)
    }

    /// Removes those that were gone for long enough and do not vote.
    pub(super) fn reap(&mut self, reap: &Reap, change: &mut Change<'_>) -> Response {
        let mut removed = Vec::new();
        for id in reap.ids.iter().copied().map(NodeId) {
            if self.is_reapable(id, change.unix_ms) && !removed.contains(&id) {
                self.bury(id, RemovedFor::Reaped, NodeId(0), change);
                removed.push(id);
            }
        }
        Response::Removed { nodes: removed }
    }

    /// Whether a member was gone for long enough, and does not vote.
    pub(super) fn is_reapable(&self, id: NodeId, unix_ms: u64) -> bool {
        let since = match self.present.get(&id).and_then(|member| member.standing.as_ref()) {
            None => return false,
            Some(Standing::Down(down)) => down.unix_ms,
            Some(Standing::Left(left)) => left.unix_ms,
        };
        let gone_for = u128::from(unix_ms.saturating_sub(since));
        // Whoever declared it had no clock: it is not known since when.
        let is_dated = since != 0;
        let is_due = gone_for >= self.settings.reap_after().as_millis()
            || mutant::is_active(Mutant::ReapedTooSoon);
        is_dated && is_due && !self.voters.contains(&id)
    }

    /// Changes a copy, which takes the member's place when it has the form of one.
    fn change_member(
        &mut self,
        id: NodeId,
        change: &mut Change<'_>,
        edit: impl FnOnce(&mut Member) -> Result<(), Refusal>,
    ) -> Result<Response, Refusal> {
        let member = self.present.get_mut(&id).ok_or(Refusal::MemberNotFound)?;
        let mut next = member.clone();
        edit(&mut next)?;
        form::check_member(&next)?;
        let changed = next != *member;
        if changed {
            *member = next.clone();
            change.news.push(MemberNews::Updated(Box::new(next.clone())));
        }
        Ok(Response::Member { member: Box::new(next), changed })
    }

    /// Whether a majority of voters is left, and answers, without this one: those that are on their
    /// way out are not counted, and a spare that would take its place is.
    pub(super) fn check_quorum_without(&self, id: NodeId) -> Result<(), Refusal> {
        let Some(member) = self.present.get(&id).filter(|_| self.voters.contains(&id)) else {
            return Ok(());
        };
        let stays = |node: &NodeId| *node != id && self.present.get(node).is_some_and(may_vote);
        let staying: BTreeSet<NodeId> = self.voters.iter().copied().filter(stays).collect();
        let answers = |node| self.present.get(&node).is_some_and(Member::is_living);
        let before = Tally::of(&self.voters, answers);
        let mut after = Tally::of(&staying, answers);
        let is_spare =
            |one: &Member| one.is_living() && may_vote(one) && !self.voters.contains(&one.node());
        if self.present.values().any(is_spare) {
            after = Tally { voters: after.voters + 1, answering: after.answering + 1 };
        }
        if after.spare().is_some() {
            return Ok(());
        }
        let name = member.name.clone();
        Err(Refusal::QuorumNeeded(Box::new(QuorumNeeded { name, before, after })))
    }
}

/// Whether the planner may let a member vote.
fn may_vote(member: &Member) -> bool {
    member.performs(CONTROL_ROLE) && !member.is_draining && member.vote_wish() != VoteWish::Never
}

fn check_may_vote(member: &Member) -> Result<(), Refusal> {
    let name = || member.name.clone();
    if !member.performs(CONTROL_ROLE) {
        return Err(Refusal::NotControl(name()));
    }
    if !member.is_living() {
        return Err(Refusal::MemberGone(name()));
    }
    if member.is_draining { Err(Refusal::MemberDrains(name())) } else { Ok(()) }
}
