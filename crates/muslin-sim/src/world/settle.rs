//! The good phase: faults are over, so the cluster must answer, agree, and come to rest.

use super::World;
use super::clients::{Duty, TTL_MAX};
use crate::checkers::{Broken, Violation};
use crate::host::id_of;
use muslin_core::base::{Index, NodeId};
use muslin_core::plan::SMALL_VOTERS;
use muslin_core::raft::{Raft, Role};
use muslin_core::swim::Liveness;
use std::collections::BTreeSet;
use std::time::Duration;

/// From the last write on: catching up, telling watchers, ending leases.
const REST: Duration = Duration::from_secs(8);

/// How often, in a million, one fault stays while the others must go on.
const LASTING_PPM: u64 = 300_000;

impl World {
    /// Ends the faults, lets most clients go, and puts one probe to each node.
    pub(crate) fn heal(&mut self) {
        self.trace.tell(self.time, format_args!("faults are over"));
        self.healed = Some(self.time);
        self.profile.heal();
        self.mend_all();
        for client in &mut self.clients {
            client.is_retired |= matches!(client.duty, Duty::Work | Duty::Hold { .. });
        }
        for place in self.members() {
            self.hire_probe(place);
        }
    }

    /// Now and then, ends all faults but one, which stays: whether it did.
    pub(crate) fn heal_but_one(&mut self) -> bool {
        let is_fixed = self.profile.founders == self.profile.nodes && self.profile.nodes >= 3;
        if !is_fixed || self.profile.faults.every.is_zero() || !self.draws.fault.chance(LASTING_PPM)
        {
            return false;
        }
        let any = self.draws.fault.below(self.hosts.len() as u64) as usize;
        let is_leader = self.draws.fault.chance(500_000);
        let victim = self.leader().filter(|_| is_leader).unwrap_or(any);
        self.heal();
        self.retire_probe(victim);
        self.hit_for_good(victim);
        true
    }

    /// Whether all but the victim of a lasting fault have answered; an error when they should have.
    pub(crate) fn do_others_answer(&mut self) -> Result<bool, Violation> {
        let Some(place) = self.unanswered_probe() else { return Ok(true) };
        let healed = self.healed.expect("asked after the other faults only");
        let bound = self.answer_bound();
        if self.time < healed + bound {
            return Ok(false);
        }
        let what = self.describe(Unsettled::Answers(place));
        let facts = format!("{bound:?} into a fault of one node {what}");
        Err(self.violation(Broken::new("progress", facts)))
    }

    fn answer_bound(&self) -> Duration {
        self.profile.election_bound() * 2 + self.profile.request_timeout * 2
    }

    /// Whether the cluster has come to rest; an error when it should have long ago.
    pub(crate) fn is_settled(&mut self) -> Result<bool, Violation> {
        let Some(unsettled) = self.unsettled() else { return Ok(true) };
        let healed = self.healed.expect("asked after the faults only");
        let answers = self.answer_bound();
        let bound = match unsettled {
            Unsettled::Answers(_) => answers,
            _ => answers + TTL_MAX * 2 + REST,
        };
        if self.time < healed + bound {
            return Ok(false);
        }
        let facts = format!("{bound:?} after the last fault {}", self.describe(unsettled));
        Err(self.violation(Broken::new("progress", facts)))
    }

    fn unsettled(&mut self) -> Option<Unsettled> {
        if !self.is_operated() {
            return Some(Unsettled::Members);
        }
        if let Some(place) = self.unanswered_probe() {
            return Some(Unsettled::Answers(place));
        }
        if !self.is_quiet() || self.ledger.model().leases().next().is_some() {
            return Some(Unsettled::Leases);
        }
        if let Some(place) = self.find_laggard() {
            return Some(Unsettled::Log(place));
        }
        if !self.is_configured() {
            return Some(Unsettled::Configuration);
        }
        if !self.are_watchers_complete() {
            return Some(Unsettled::Watchers);
        }
        self.find_pessimist().map(|(place, of)| Unsettled::View(place, of))
    }

    /// A node that has not applied everything, or applied it to another effect.
    fn find_laggard(&self) -> Option<usize> {
        let last = self.logs.last();
        self.members().into_iter().find(|place| {
            let Some(process) = &self.hosts[*place].process else { return true };
            let raft = process.node.raft();
            raft.applied() != last
                || raft.last().index != last
                || process.node.state().digest() != self.ledger.digest()
        })
    }

    /// A node in whose view another one is not alive, though all of them are.
    fn find_pessimist(&self) -> Option<(usize, usize)> {
        let members = self.members();
        let pairs = members.iter().flat_map(|place| members.iter().map(move |of| (*place, *of)));
        pairs.into_iter().find(|(place, of)| {
            let Some(process) = &self.hosts[*place].process else { return true };
            let entry = process.node.swim().entry(self.hosts[*of].id);
            place != of && entry.is_none_or(|seen| seen.state != Liveness::Alive)
        })
    }

    /// Whether one node leads, enough vote and the others receive the log.
    fn is_configured(&self) -> bool {
        let members: BTreeSet<NodeId> = self.members().into_iter().map(id_of).collect();
        let rafts: Vec<&Raft> = (self.hosts.iter())
            .filter_map(|host| host.process.as_ref().map(|process| process.node.raft()))
            .collect();
        let leaders = rafts.iter().filter(|raft| raft.role() == Role::Leader).count();
        let is_plain = |raft: &&Raft| {
            let configuration = raft.configuration();
            !configuration.is_joint()
                && configuration.voters.len() >= members.len().min(SMALL_VOTERS)
                && configuration.members() == members
        };
        leaders == 1 && rafts.iter().all(is_plain)
    }

    fn describe(&self, unsettled: Unsettled) -> String {
        let nodes: Vec<String> = (self.hosts.iter())
            .map(|host| match &host.process {
                None => format!("{:?} down", host.id),
                Some(process) => {
                    let raft = process.node.raft();
                    format!(
                        "{:?} {:?} term {} leader {:?} last {} commit {} applied {} digest {:016x}",
                        host.id,
                        raft.role(),
                        raft.term(),
                        raft.leader(),
                        raft.last(),
                        raft.commit(),
                        raft.applied(),
                        process.node.state().digest()
                    )
                }
            })
            .collect();
        let what = match unsettled {
            Unsettled::Members => "a node is not yet admitted, or removed and counted".into(),
            Unsettled::Answers(place) => {
                format!("{:?} has not answered a write and a read", self.hosts[place].id)
            }
            Unsettled::Leases => {
                let leases: Vec<u64> = self.ledger.model().leases().collect();
                format!("leases live that nobody keeps: {leases:x?}")
            }
            Unsettled::Log(place) => format!("{:?} has not caught up", self.hosts[place].id),
            Unsettled::Configuration => {
                let voters = self.leader().and_then(|place| self.hosts[place].process.as_ref());
                let voters = voters.map(|process| process.node.raft().configuration().clone());
                format!("too few vote, or nobody leads: {voters:?}")
            }
            Unsettled::Watchers => "a watch was not told everything".into(),
            Unsettled::View(place, of) => {
                format!("{:?} does not see {:?} alive", self.hosts[place].id, self.hosts[of].id)
            }
        };
        let (last, digest) = (self.logs.last(), self.ledger.digest());
        format!("{what}; committed {last} digest {digest:016x}; {}", nodes.join("; "))
    }

    /// The last committed entry.
    pub(crate) fn committed(&self) -> Index {
        self.logs.last()
    }
}

/// What has not come to rest.
#[derive(Clone, Copy)]
enum Unsettled {
    Members,
    Answers(usize),
    Leases,
    Log(usize),
    Configuration,
    Watchers,
    View(usize, usize),
}
