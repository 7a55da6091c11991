//! Places kept for nodes that are to come: whoever comes to such an address needs no token.
//!
//! An operator's word stands for the token: the node that asks has to be found at the address,
//! which the member that admits looks after. The place is taken with the first node that is
//! admitted at its address, by whatever right.

use super::members::{Admission, Change, Members};
use super::snapshot::{RestoreError, require};
use super::{Admit, BadForm, HoldState, Member, Refusal, Response, form};
use crate::base::NodeId;
use alloc::string::String;
use alloc::vec::Vec;

/// Most places kept: each is an operator's intention, and a cluster grows by a few nodes at a time.
pub const INVITES_MAX: usize = 64;

/// Most addresses of one place.
pub const INVITE_URLS_MAX: usize = 8;

/// A place for a node that is to come.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Invite {
    /// Names the place, as long as nobody has come; never the id of a member.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// Where peers are to reach the node: `SCHEME://HOST:PORT`.
    #[prost(string, repeated, tag = "2")]
    pub peer_urls: Vec<String>,
    /// It is not to vote until somebody says so.
    #[prost(bool, tag = "3")]
    pub is_learner: bool,
}

impl Invite {
    fn addresses(&self) -> impl Iterator<Item = &str> {
        self.peer_urls.iter().filter_map(|url| url.split_once("://")).map(|(_, place)| place)
    }

    fn is_for(&self, address: &str) -> bool {
        self.addresses().any(|one| one == address)
    }

    fn check_form(&self) -> Result<(), BadForm> {
        if self.peer_urls.is_empty() || self.peer_urls.len() > INVITE_URLS_MAX {
            return Err(BadForm::Address);
        }
        let mut urls = self.peer_urls.iter();
        urls.try_for_each(|url| {
            form::check_addresses(url, "")?;
            if url.contains("://") { Ok(()) } else { Err(BadForm::Address) }
        })
    }
}

impl Members {
    /// Keeps a place, or has another address for one that is kept.
    pub(super) fn invite(&mut self, invite: &Invite) -> Result<Response, Refusal> {
        let id = NodeId(invite.id);
        if id == NodeId(0) || self.present.contains_key(&id) || self.is_removed(id) {
            return Err(Refusal::MemberExists);
        }
        invite.check_form().map_err(Refusal::BadForm)?;
        let is_known = self.invites.contains_key(&id);
        if !is_known && self.invites.len() >= INVITES_MAX {
            return Err(Refusal::TooManyHeld);
        }
        for address in invite.addresses() {
            let mut members = self.present.values();
            if let Some(holder) = members.find(|one| one.is_living() && one.address == address) {
                return Err(Refusal::AddressTaken(holder.name.clone()));
            }
            let mut others = self.invites.values().filter(|other| other.id != invite.id);
            if others.any(|other| other.is_for(address)) {
                return Err(Refusal::AddressTaken(String::from("a node that is to come")));
            }
        }
        self.invites.insert(id, invite.clone());
        Ok(Response::Done)
    }

    /// Keeps a place no longer.
    pub(super) fn uninvite(&mut self, id: NodeId) -> Result<Response, Refusal> {
        self.invites.remove(&id).map(|_| Response::Done).ok_or(Refusal::MemberNotFound)
    }

    /// Whether a place is kept for this one.
    pub(super) fn is_invited(&self, member: &Member) -> bool {
        self.invites.values().any(|invite| invite.is_for(&member.address))
    }

    /// Lets in one for whom a place is kept.
    pub(super) fn admit_invited(
        &mut self,
        admit: &Admit,
        change: &mut Change<'_>,
    ) -> Result<Admission, Refusal> {
        self.check_conflicts(&admit.member, None)?;
        let missing = self.missing_roles(&admit.member);
        if !missing.is_empty() {
            return match admit.may_wait {
                true => self.hold(admit, HoldState::Roles, change),
                false => Err(Refusal::RolesMissing(missing)),
            };
        }
        self.held.remove(&admit.member.node());
        self.enter(&admit.member, "an invitation", change);
        Ok(Admission::Admitted { epoch: self.epoch(), known: false })
    }

    /// Somebody comes to this address: what was kept for it.
    pub(super) fn take_place(&mut self, address: &str) -> Option<Invite> {
        let id = self.invites.values().find(|invite| invite.is_for(address))?.id;
        self.invites.remove(&NodeId(id))
    }

    pub(super) fn take_invite(&mut self, invite: Invite) -> Result<(), RestoreError> {
        require(self.invites.len() < INVITES_MAX, "too many invites")?;
        require(invite.check_form().is_ok(), "an invite without limits")?;
        require(self.invites.insert(NodeId(invite.id), invite).is_none(), "an invite twice")
    }
}
