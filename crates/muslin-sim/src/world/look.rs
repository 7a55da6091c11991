//! The look inside a machine after each batch, before anything of it has left.

use super::World;
use super::steps::GroupChecks;
use crate::checkers::Broken;
use crate::checkers::logs::{CountedBy, Observed};
use crate::checkers::quorums::{check_elected, check_overlap};
use crate::host::place_of;
use crate::replica::View;
use crate::subject::Subject;
use muslin_core::base::{GroupId, Index, LogId, NodeId, Outputs};
use muslin_core::raft::{Role, Write};

impl<S: Subject> World<S> {
    /// Looks at what a batch of a machine came to.
    pub(super) fn observe(&mut self, place: usize, out: &Outputs<S::Output>) -> Result<(), Broken> {
        for output in out.as_slice() {
            if let Some((group, write)) = S::write(output) {
                self.observe_write(place, group, write)?;
            }
        }
        let groups = S::groups(&self.crowd);
        let process = self.hosts[place].process.as_mut().expect("it has just worked");
        while process.seen.len() < groups {
            process.seen.push(View::unknown());
        }
        if self.checks.len() < groups {
            self.checks.resize_with(groups, GroupChecks::default);
        }
        for group in 0..process.seen.len() {
            self.observe_group(place, GroupId(group as u64))?;
        }
        S::on_batch(self, place)
    }

    fn observe_group(&mut self, place: usize, group: GroupId) -> Result<(), Broken> {
        let slot = group.0 as usize;
        let host = &mut self.hosts[place];
        let node = host.id;
        let process = host.process.as_mut().expect("it has just worked");
        let after = process.subject.view(group);
        let before = std::mem::replace(&mut process.seen[slot], after);
        let led = before.role == Role::Leader && before.term == after.term;
        let leads = after.role == Role::Leader;
        if after.term < before.term || after.commit < before.commit {
            let facts = format!("{node:?} goes back from {before:?} to {after:?}");
            return Err(Broken::new("R5", facts));
        }
        if leads && !led {
            let written = host.disk.shelf(group).written();
            self.checks[slot].leaders.on_leader(after.term, node)?;
            self.checks[slot].logs.on_elected(node, after.term, written)?;
            // Applied ones: any of a batch may have counted.
            let (from, to) = match S::configures_when_applied() {
                true => (before.applied, after.applied),
                false => (written.last(), written.last()),
            };
            let promises = &self.checks[slot].promises;
            let has_voted = |voter| promises.has_voted(voter, after.term, node);
            check_elected((node, after.term), &written.voters_between(from, to), has_voted)?;
        }
        if after.commit != before.commit {
            let leads = led && leads;
            self.observe_commit((place, group), (before, after), leads)?;
        }
        let shelf = self.hosts[place].disk.shelf_mut(group);
        if leads && shelf.written().has_fresh_voters() {
            check_overlap(node, &shelf.written().voters_from(after.commit))?;
        }
        shelf.trim();
        if after.applied != before.applied {
            S::on_applied(self, place, group, after.applied)?;
        }
        Ok(())
    }

    fn observe_write(&mut self, place: usize, group: GroupId, write: &Write) -> Result<(), Broken> {
        let host = &mut self.hosts[place];
        let slot = group.0 as usize;
        if self.checks.len() <= slot {
            self.checks.resize_with(slot + 1, GroupChecks::default);
        }
        let GroupChecks { promises, logs, .. } = &mut self.checks[slot];
        let shelf = host.disk.shelf_mut(group);
        if let Write::Log { hard_state, entries } = write {
            if let Some(hard_state) = hard_state {
                promises.on_hard_state(host.id, shelf.hard_state(), *hard_state)?;
                if hard_state.rebuilding && !shelf.hard_state().rebuilding && !host.was_damaged {
                    let facts = format!("{:?}, whose disk is whole, rebuilds", host.id);
                    return Err(Broken::new("R3", facts));
                }
            }
            let mut prev = entries
                .first()
                .and_then(|first| shelf.written().term_at(Index(first.id.index.0 - 1)));
            for entry in entries {
                logs.on_append(host.id, entry, prev)?;
                prev = Some(entry.id.term);
            }
        }
        shelf.note(write);
        Ok(())
    }

    fn observe_commit(
        &mut self,
        (place, group): (usize, GroupId),
        (before, after): (View, View),
        leads: bool,
    ) -> Result<(), Broken> {
        let mut fresh = std::mem::take(&mut self.fresh);
        let hosts = &self.hosts;
        let host = &hosts[place];
        let written = host.disk.shelf(group).written();
        let commit = (before.commit, after.commit);
        let counted_by = match S::configures_when_applied() {
            true => CountedBy::Applied(before.applied, after.applied),
            false => CountedBy::Appended,
        };
        let term = after.term;
        let seen = Observed { node: host.id, term, leads, written, commit, counted_by };
        let is_durable = |node: NodeId, id: LogId| hosts[place_of(node)].disk.has(group, id);
        let logs = &mut self.checks[group.0 as usize].logs;
        let mut result = logs.on_commit(&seen, is_durable, &mut fresh);
        for entry in fresh.drain(..) {
            if result.is_ok() {
                result = S::on_committed(self, group, &entry);
            }
        }
        self.fresh = fresh;
        result
    }
}
