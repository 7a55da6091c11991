//! M1 to M3 of the committed record: written a second time, from the commands and the news alone.
//!
//! Who is a member was let in by a token that had a use left; nobody comes back that was removed;
//! the epoch never goes back, and rises whenever what is left of the removed goes; and a death has
//! more witnesses than not.

use super::Broken;
use muslin_core::base::{Epoch, NodeId};
use muslin_core::state::{
    Applied, Command, CommandKind, Founding, MemberNews, Standing, State, Token,
};
use std::collections::{BTreeMap, BTreeSet};

/// What was committed about members.
pub(crate) struct Roll {
    epoch: Epoch,
    removed: BTreeSet<NodeId>,
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
            removed: BTreeSet::new(),
            tombstones: 0,
            tokens: founding.tokens.iter().map(limit).collect(),
            refused: 0,
        }
    }

    pub(crate) fn is_removed(&self, node: NodeId) -> bool {
        self.removed.contains(&node)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused
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
            self.on_news(command, news)?;
        }
        let tombstones = state.tombstones().len();
        if tombstones < self.tombstones + buried && epoch == self.epoch {
            let facts = format!("in epoch {epoch} tombstones are collected by {command:?}");
            return Err(Broken::new("M2", facts));
        }
        (self.epoch, self.tombstones) = (epoch, tombstones);
        Ok(())
    }

    fn on_news(&mut self, command: &Command, news: &MemberNews) -> Result<(), Broken> {
        match news {
            MemberNews::Admitted(member) => {
                let node = member.node();
                if self.removed.contains(&node) {
                    let facts = format!("{node:?} was removed, and is admitted by {command:?}");
                    return Err(Broken::new("M3", facts));
                }
                let Some(CommandKind::Admit(admit)) = &command.kind else { return Ok(()) };
                let Some((limit, used)) = self.tokens.get_mut(&admit.token_id) else {
                    return Err(Broken::new("M3", format!("no token admits {node:?}")));
                };
                *used += 1;
                if *limit > 0 && *used > *limit {
                    let facts = format!("{node:?} is one too many for token {}", admit.token_id);
                    return Err(Broken::new("M3", facts));
                }
                Ok(())
            }
            MemberNews::Removed(node) => {
                self.removed.insert(*node);
                Ok(())
            }
            MemberNews::Gone(member) => match &member.standing {
                Some(Standing::Down(down)) if down.confirmed * 2 <= down.watchers => {
                    let node = member.node();
                    Err(Broken::new("M1", format!("{node:?} is declared down by {down:?}")))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
