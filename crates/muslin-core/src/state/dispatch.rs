//! Each change of the record to what carries it out.

use super::members::{Change, Members};
use super::{Applied, CommandKind, MemberNews, Membership, MembershipChange, Refusal, Response};
use super::{State, VoteWish};
use crate::base::{Index, NodeId};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;

impl State {
    /// A command about members.
    pub(super) fn change_members(
        &mut self,
        kind: CommandKind,
        news: &mut Applied,
    ) -> Result<Response, Refusal> {
        let (unix_ms, by) = match &kind {
            CommandKind::Admit(admit) => (admit.unix_ms, ""),
            CommandKind::Remove(remove) => (remove.unix_ms, ""),
            CommandKind::PutToken(token) => (token.created_unix_ms, ""),
            CommandKind::Membership(membership) => (membership.unix_ms, &*membership.by),
            _ => (0, ""),
        };
        super::form::check_word(by)?;
        let first = news.members.len();
        let mut change = Change { index: self.applied, unix_ms, by, news: &mut news.members };
        self.members.expire_held(&mut change);
        let result = self.members.carry_out(&kind, &mut change);
        if result.is_ok() {
            self.members.release_held(&mut change);
        }
        for told in &news.members[first..] {
            if let MemberNews::Removed(id) = told {
                self.sessions.forget(*id);
                self.alarms.forget(*id);
            }
        }
        result
    }

    /// A configuration of the control group was committed: these vote. Part of the replicated
    /// state, since it says whose vote a removal would take.
    pub fn configured(&mut self, index: Index, voters: &BTreeSet<NodeId>) {
        assert!(index > self.applied, "R6: a configuration is taken in once");
        self.members.voters.clone_from(voters);
    }
}

impl Members {
    fn carry_out(
        &mut self,
        kind: &CommandKind,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        match kind {
            CommandKind::Admit(admit) => self.admit(admit, change).map(Response::Admission),
            CommandKind::Remove(remove) => self.remove(remove, change),
            CommandKind::UpdateMember(update) => {
                change.news.extend(
                    self.update(update.clone())?.map(|it| MemberNews::Updated(Box::new(it))),
                );
                Ok(Response::Done)
            }
            CommandKind::PutToken(token) => self.put_token(token).map(|()| Response::Done),
            CommandKind::Membership(membership) => self.change(membership, change),
            _ => Err(Refusal::Unknown),
        }
    }

    fn change(
        &mut self,
        membership: &Membership,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        use MembershipChange as Wanted;
        match membership.change.as_ref().ok_or(Refusal::Unknown)? {
            Wanted::Approve(approve) => self.approve(approve, change),
            Wanted::Deny(whom) => self.deny(NodeId(whom.id), change.by),
            Wanted::Drain(whom) => self.drain(NodeId(whom.id), true, change),
            Wanted::Resume(whom) => self.drain(NodeId(whom.id), false, change),
            Wanted::Promote(whom) => self.wish(NodeId(whom.id), VoteWish::Votes, change),
            Wanted::Demote(whom) => self.wish(NodeId(whom.id), VoteWish::Never, change),
            Wanted::VoteAuto(whom) => self.wish(NodeId(whom.id), VoteWish::Auto, change),
            Wanted::ChangeRoles(roles) => self.change_roles(roles, change),
            Wanted::ChangeLabels(labels) => self.change_labels(labels, change),
            Wanted::Down(down) => self.declare_down(down, change),
            Wanted::Up(life) => self.declare_up(life, change),
            Wanted::Leave(life) => self.declare_left(life, change),
            Wanted::Reap(reap) => Ok(self.reap(reap, change)),
            Wanted::RaiseEpoch(raise) => self.raise_epoch(raise, change),
            Wanted::SetSettings(settings) => self.set_settings(settings, change),
            Wanted::RevokeToken(token) => self.revoke_token(&token.id).map(|_| Response::Done),
            Wanted::RotateToken(rotate) => self.rotate_token(rotate).map(|()| Response::Done),
            Wanted::AddGossipKey(add) => self.add_gossip_key(add, change),
            Wanted::UseGossipKey(key) => self.use_gossip_key(key.generation, change),
            Wanted::DropGossipKey(key) => self.drop_gossip_key(key.generation, change),
            Wanted::ReportLoad(report) => self.report_load(report),
            Wanted::Rekey(rekey) => self.rekey(rekey, change),
            Wanted::Invite(invite) => self.invite(invite),
            Wanted::Uninvite(whom) => self.uninvite(NodeId(whom.id)),
        }
    }
}
