//! What must hold of a bare group once all is well.

use super::seated::Bare;
use crate::host::id_of;
use crate::replica::Replica;
use crate::subject::{Subject as _, Unsettled};
use crate::world::World;
use muslin_core::base::NodeId;
use muslin_core::raft::Role;
use std::collections::BTreeSet;

impl<R: Replica> World<Bare<R>> {
    pub(super) fn open_ends(&self) -> Option<Unsettled> {
        let rest = |what: String| Some(Unsettled { what, is_answer: false });
        if let Some(place) = self.crowd.unanswered_probe() {
            let what = format!("{:?} has not answered a write and a read", id_of(place));
            return Some(Unsettled { what, is_answer: true });
        }
        if !self.crowd.is_quiet() {
            return rest("a client waits".into());
        }
        let last = self.committed();
        let lags = |place: &usize| {
            let Some(process) = &self.hosts[*place].process else { return true };
            let view = process.subject.replica.view();
            let registers = &process.subject.registers;
            registers.applied != last
                || view.last.index != last
                || registers.digest() != self.crowd.digest()
        };
        if let Some(place) = self.members().into_iter().find(lags) {
            return rest(format!("{:?} has not caught up", id_of(place)));
        }
        if self.is_configured() { None } else { rest("they differ on who votes or leads".into()) }
    }

    /// Whether one leads, and all agree on who votes.
    fn is_configured(&self) -> bool {
        let members: BTreeSet<NodeId> = self.members().into_iter().map(id_of).collect();
        let running = || self.hosts.iter().filter_map(|host| host.process.as_ref());
        let leads = |role: Role| role == Role::Leader;
        let leaders = running().filter(|it| leads(it.subject.replica.view().role)).count();
        let agree = running().all(|process| {
            let [in_force, _] = process.subject.configurations();
            !in_force.is_joint() && in_force.members() == members
        });
        leaders == 1 && agree
    }

    pub(super) fn standings(&self) -> String {
        let nodes: Vec<String> = (self.hosts.iter())
            .map(|host| match &host.process {
                None => format!("{:?} {:?} down", host.id, host.standing),
                Some(process) => {
                    let registers = &process.subject.registers;
                    let [in_force, _] = process.subject.configurations();
                    let view = process.subject.replica.view();
                    format!("{:?} {view:?} {registers:?} {in_force:?}", host.id)
                }
            })
            .collect();
        format!("committed {}; {}", self.committed(), nodes.join("; "))
    }
}
