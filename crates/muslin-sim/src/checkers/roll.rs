//! M1 to M3 of the committed record: written a second time, from the commands and the news alone.
//!
//! Who is a member was let in by a token that had a use left, when all that it requires for that
//! was performed; nobody comes back that was removed, or in a life that has ended; the epoch never
//! goes back, leaves behind whoever is gone when it rises, and rises whenever what is left of the
//! removed goes; a death has more witnesses than not; whoever is removed by policy was gone for as
//! long as it says and did not vote; who votes or learns was let in; and where too few live, no
//! group is made.

use super::Broken;
use muslin_core::base::{Epoch, NodeId};
use muslin_core::raft::Configuration;
use muslin_core::state::{
    Applied, Command, CommandKind, DeclaredDown, Founding, HoldState, Member, MemberNews,
    MembershipChange, Standing, State, Token, UnheldFor,
};
use std::collections::{BTreeMap, BTreeSet};

/// How a life of a member ended.
#[derive(Clone, Copy)]
struct Ended {
    incarnation: u64,
    /// By the clock of whoever declared it.
    unix_ms: u64,
}

/// What was committed about members.
pub(crate) struct Roll {
    epoch: Epoch,
    /// Everybody who was let in at any time.
    admitted: BTreeSet<NodeId>,
    removed: BTreeSet<NodeId>,
    /// Members that do not take part.
    gone: BTreeMap<NodeId, Ended>,
    /// Joins that wait for a role, by who asks: the token that let them wait.
    held: BTreeMap<NodeId, String>,
    voters: BTreeSet<NodeId>,
    tombstones: usize,
    /// By token: how many nodes it may admit (0 is any number), and has admitted.
    tokens: BTreeMap<String, (u64, u64)>,
    refused: u64,
}

impl Roll {
    pub(crate) fn new(founding: &Founding) -> Roll {
        let limit = |token: &Token| (token.id.clone(), (token.uses_left, 0));
        Roll {
            epoch: Epoch::ZERO,
            admitted: founding.members.iter().map(Member::node).collect(),
            removed: BTreeSet::new(),
            gone: BTreeMap::new(),
            held: BTreeMap::new(),
            voters: BTreeSet::new(),
            tombstones: 0,
            tokens: founding.tokens.iter().map(limit).collect(),
            refused: 0,
        }
    }

    pub(crate) fn was_admitted(&self, node: NodeId) -> bool {
        self.admitted.contains(&node)
    }

    pub(crate) fn is_removed(&self, node: NodeId) -> bool {
        self.removed.contains(&node)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// Who votes and who learns, by a configuration that is committed.
    pub(crate) fn on_configured(&mut self, configuration: &Configuration) -> Result<(), Broken> {
        if let Some(stranger) = configuration.members().difference(&self.admitted).next() {
            let facts = format!("{stranger:?} was never let in, and is in {configuration:?}");
            return Err(Broken::new("M3", facts));
        }
        if !configuration.is_joint() {
            self.voters.clone_from(&configuration.voters);
        }
        Ok(())
    }

    /// A command took effect, or was refused; `state` is as it is after it.
    pub(crate) fn on_applied(
        &mut self,
        command: &Command,
        applied: &Applied,
        state: &State,
    ) -> Result<(), Broken> {
        let epoch = state.epoch();
        if epoch < self.epoch {
            return Err(Broken::new("M2", format!("epoch {epoch} after {}", self.epoch)));
        }
        if let Some(CommandKind::Admit(_)) = &command.kind {
            self.refused += u64::from(applied.outcome.result.is_err());
        }
        let mut buried = 0;
        for news in &applied.members {
            buried += usize::from(matches!(news, MemberNews::Removed(_)));
            self.on_news(command, news, state)?;
        }
        let tombstones = state.tombstones().len();
        if tombstones < self.tombstones + buried && epoch == self.epoch {
            let facts = format!("in epoch {epoch} tombstones are collected by {command:?}");
            return Err(Broken::new("M2", facts));
        }
        (self.epoch, self.tombstones) = (epoch, tombstones);
        self.check_size(applied, state)
    }

    /// Where fewer live than must, no group is made.
    fn check_size(&self, applied: &Applied, state: &State) -> Result<(), Broken> {
        let is_made = |news: &_| matches!(news, muslin_core::state::GroupNews::Created(_));
        let least = state.settings().min_members as usize;
        let living = state.members().len() - self.gone.len();
        if applied.groups.iter().any(is_made) && living < least {
            let facts = format!("a group is made while {living} live, and {least} must");
            return Err(Broken::new("min-members", facts));
        }
        Ok(())
    }

    fn on_news(
        &mut self,
        command: &Command,
        news: &MemberNews,
        state: &State,
    ) -> Result<(), Broken> {
        match news {
            MemberNews::Admitted(member) => self.on_admitted(command, member, state),
            MemberNews::Held(held) if held.state() == HoldState::Roles => {
                let node = held.member.node();
                if self.held.insert(node, held.token_id.clone()).is_none() {
                    self.count_use(node, &held.token_id)?;
                }
                Ok(())
            }
            MemberNews::Unheld { node, why } => {
                // A denial gave the use back when it was made; nobody denies here.
                let held = self.held.remove(node).filter(|_| *why != UnheldFor::Forgotten);
                if let Some((_, used)) = held.and_then(|token| self.tokens.get_mut(&token)) {
                    *used = used.saturating_sub(1);
                }
                Ok(())
            }
            MemberNews::Removed(node) => {
                let result = self.check_reaped(command, *node, state);
                self.gone.remove(node);
                self.removed.insert(*node);
                result
            }
            MemberNews::Gone(member) => self.on_gone(command, member),
            MemberNews::Back(member) => self.on_back(member, state),
            MemberNews::EpochRaised { epoch, .. } => self.on_epoch(*epoch, state),
            _ => Ok(()),
        }
    }

    fn on_admitted(
        &mut self,
        command: &Command,
        member: &Member,
        state: &State,
    ) -> Result<(), Broken> {
        let node = member.node();
        if self.removed.contains(&node) || !self.admitted.insert(node) {
            let facts = format!("{node:?} was a member, and is admitted by {command:?}");
            return Err(Broken::new("M3", facts));
        }
        let living = || state.members().values().filter(|one| one.is_living());
        let is_met = |role: &&String| living().any(|one| one.performs(role));
        if let Some(role) = member.requires_for_bootstrap.iter().find(|role| !is_met(role)) {
            let facts = format!("{node:?} is admitted, and nobody who lives performs {role}");
            return Err(Broken::new("M3", facts));
        }
        // Of one that was held the use is counted.
        let was_held = self.held.remove(&node).is_some();
        match &command.kind {
            Some(CommandKind::Admit(admit)) if admit.member.node() == node && !was_held => {
                self.count_use(node, &admit.token_id)
            }
            _ if was_held => Ok(()),
            _ => Err(Broken::new("M3", format!("{node:?} is admitted by {command:?}"))),
        }
    }

    fn count_use(&mut self, node: NodeId, token: &str) -> Result<(), Broken> {
        let Some((limit, used)) = self.tokens.get_mut(token) else {
            return Err(Broken::new("M3", format!("no token admits {node:?}")));
        };
        *used += 1;
        if *limit > 0 && *used > *limit {
            let facts = format!("{node:?} is one too many for token {token}");
            return Err(Broken::new("M3", facts));
        }
        Ok(())
    }

    fn on_gone(&mut self, command: &Command, member: &Member) -> Result<(), Broken> {
        let node = member.node();
        let unix_ms = unix_ms(command);
        let incarnation = match &member.standing {
            Some(Standing::Down(down)) => {
                self.check_witnesses(node, down)?;
                down.incarnation
            }
            Some(Standing::Left(left)) => left.incarnation,
            None => return Err(Broken::new("M1", format!("{node:?} is gone and lives"))),
        };
        self.gone.insert(node, Ended { incarnation, unix_ms });
        Ok(())
    }

    /// More than half of those that watch it, each of them a member and none of them it itself.
    fn check_witnesses(&self, node: NodeId, down: &DeclaredDown) -> Result<(), Broken> {
        let witnesses: BTreeSet<NodeId> =
            down.witnesses.iter().map(|witness| NodeId(witness.node)).collect();
        let is_proven = down.confirmed * 2 > down.watchers
            && witnesses.len() == down.confirmed as usize
            && witnesses.iter().all(|witness| *witness != node && self.was_admitted(*witness));
        match is_proven {
            true => Ok(()),
            false => Err(Broken::new("M1", format!("{node:?} is declared down by {down:?}"))),
        }
    }

    fn on_back(&mut self, member: &Member, state: &State) -> Result<(), Broken> {
        let (node, life) = (member.node(), member.life);
        let ended = self.gone.remove(&node);
        if ended.is_some_and(|ended| life <= ended.incarnation) || !state.is_current(node) {
            let facts = format!("{node:?} is back in life {life} of {}", member.epoch());
            return Err(Broken::new("M2", facts));
        }
        Ok(())
    }

    /// Who lives is of the epoch that begins, and who is gone is not.
    fn on_epoch(&mut self, epoch: Epoch, state: &State) -> Result<(), Broken> {
        let is_wrong = |id: &&NodeId| state.is_current(**id) == self.gone.contains_key(*id);
        if epoch <= self.epoch && self.epoch != Epoch::ZERO {
            return Err(Broken::new("M2", format!("epoch {epoch} begins after {}", self.epoch)));
        }
        match state.members().keys().find(is_wrong) {
            None => Ok(()),
            Some(id) => {
                let member = &state.members()[id];
                let facts = format!("epoch {epoch} begins, and {id:?} is {member:?}");
                Err(Broken::new("M2", facts))
            }
        }
    }

    /// Whoever the leader removes by itself was gone for long enough, and had no vote.
    fn check_reaped(&self, command: &Command, node: NodeId, state: &State) -> Result<(), Broken> {
        let Some(CommandKind::Membership(membership)) = &command.kind else { return Ok(()) };
        if !matches!(membership.change, Some(MembershipChange::Reap(_))) {
            return Ok(());
        }
        let least = state.settings().reap_after().as_millis();
        let is_due =
            |ended: &Ended| u128::from(membership.unix_ms.saturating_sub(ended.unix_ms)) >= least;
        if self.voters.contains(&node) || !self.gone.get(&node).is_some_and(is_due) {
            let facts = format!("{node:?} is removed by policy, too soon or with a vote");
            return Err(Broken::new("reaping", facts));
        }
        Ok(())
    }
}

fn unix_ms(command: &Command) -> u64 {
    match &command.kind {
        Some(CommandKind::Membership(membership)) => membership.unix_ms,
        _ => 0,
    }
}
