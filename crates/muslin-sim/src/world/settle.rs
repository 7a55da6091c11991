//! The good phase: faults are over, so the cluster must answer, agree, and come to rest.

use super::World;
use crate::checkers::{Broken, Violation};
use crate::host::{Host, Standing};
use crate::profile::TTL_MAX;
use crate::subject::Subject;
use std::time::Duration;

/// From the last write on: catching up, telling watchers, ending leases.
const REST: Duration = Duration::from_secs(8);

/// How often, in a million, one fault stays while the others must go on.
const LASTING_PPM: u64 = 300_000;

/// Whether a machine counts everybody: one that was demoted and one that is gone may be two too
/// many of three.
fn votes<S: Subject>(host: &Host<S>) -> bool {
    host.process.as_ref().is_none_or(|process| {
        let configurations = process.subject.configurations();
        configurations.iter().all(|it| !it.is_joint() && it.learners.is_empty())
    })
}

impl<S: Subject> World<S> {
    /// Ends the faults, lets most clients go, and puts each node to the test.
    pub(crate) fn heal(&mut self) {
        self.trace.tell(self.time, format_args!("faults are over"));
        self.healed = Some(self.time);
        self.profile.heal();
        self.mend_all();
        S::on_healed(self);
    }

    /// Now and then, ends all faults but one, which stays: whether it did.
    pub(crate) fn heal_but_one(&mut self) -> bool {
        let is_fixed = self.profile.founders == self.profile.nodes && self.profile.nodes >= 3;
        let is_whole = self.hosts.iter().all(|host| !host.disk.is_rebuilding() && votes(host));
        if !is_fixed
            || !is_whole
            || !self.do_vote_as_founded(0)
            || self.profile.faults.every.is_zero()
            || !self.draws.fault.chance(LASTING_PPM)
        {
            return false;
        }
        let any = self.draws.fault.below(self.hosts.len() as u64) as usize;
        let is_leader = self.draws.fault.chance(500_000);
        let victim = self.leader().filter(|_| is_leader).unwrap_or(any);
        self.heal();
        S::on_given_up(self, victim);
        self.hit_for_good(victim);
        true
    }

    /// Whether all but the victim of a lasting fault have answered; an error when they should have.
    pub(crate) fn do_others_answer(&mut self) -> Result<bool, Violation> {
        let Some(place) = S::unanswered(self) else { return Ok(true) };
        let healed = self.healed.expect("asked after the other faults only");
        let bound = self.answer_bound();
        if self.time < healed + bound {
            return Ok(false);
        }
        let (node, how) = (self.hosts[place].id, S::describe(self));
        let facts = format!("{bound:?} into a fault of one node {node:?} has not answered; {how}");
        Err(self.violation(Broken::new("progress", facts)))
    }

    fn answer_bound(&self) -> Duration {
        self.profile.election_bound() * 2 + self.profile.request_timeout * 2
    }

    /// Whether the cluster has come to rest; an error when it should have long ago.
    pub(crate) fn is_settled(&mut self) -> Result<bool, Violation> {
        let Some(unsettled) = S::unsettled(self) else { return Ok(true) };
        let healed = self.healed.expect("asked after the faults only");
        let answers = self.answer_bound();
        let bound = if unsettled.is_answer { answers } else { answers + TTL_MAX * 2 + REST };
        if self.time < healed + bound {
            return Ok(false);
        }
        let (what, how) = (unsettled.what, S::describe(self));
        let facts = format!("{bound:?} after the last fault {what}; {how}");
        Err(self.violation(Broken::new("progress", facts)))
    }

    /// A node that was lost for good, for once, comes back.
    pub(crate) fn bring_back(&mut self) {
        for place in 0..self.hosts.len() {
            if self.hosts[place].standing == Standing::Gone && S::may_return(self, place) {
                self.hosts[place].standing = Standing::Member;
            }
        }
    }
}
