//! An operator who does all that can be done about members, as long as it leaves a group that can
//! go on: lets in, lets wait for a role, drains, resumes, promotes, demotes, removes, raises the
//! epoch; and machines that die and never come back.

use super::Nodes;
use super::operator::Step;
use crate::checkers::Broken;
use crate::checkers::seats::Led;
use crate::host::{Standing, id_of, place_of};
use muslin_core::base::{Epoch, GroupId, NodeId};
use muslin_core::node::CONTROL_ROLE;
use muslin_core::plan::{LARGE_CONTROL_MEMBERS, LARGE_VOTERS, SMALL_VOTERS};
use muslin_core::raft::{Configuration, Role};
use muslin_core::state::{
    CommandKind, Member, Membership, MembershipChange, RaiseEpoch, RaisedFor, VoteWish, Whom,
};
use std::collections::BTreeSet;

/// What may be refused, or be in vain, is asked for so often.
const TRIES: u32 = 6;

/// So many control nodes that live and may vote are left, whatever is done.
const ELECTABLE_LEFT: usize = 3;

/// Something about members besides letting them in and removing them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Deed {
    /// A node asks to be let in, and waits until what it needs is performed.
    Hold(usize),
    Drain(usize),
    Resume(usize),
    Promote(usize),
    Demote(usize),
    /// Leave it to the planner.
    Auto(usize),
    /// Raise the epoch, whoever is away.
    Raise(Epoch),
}

impl Nodes {
    pub(super) fn deed(&mut self, deed: Deed) -> CommandKind {
        let whom = |place: usize| Whom { id: id_of(place).0 };
        let change = match deed {
            Deed::Hold(place) => return self.admission(place, true),
            Deed::Drain(place) => MembershipChange::Drain(whom(place)),
            Deed::Resume(place) => MembershipChange::Resume(whom(place)),
            Deed::Promote(place) => MembershipChange::Promote(whom(place)),
            Deed::Demote(place) => MembershipChange::Demote(whom(place)),
            Deed::Auto(place) => MembershipChange::VoteAuto(whom(place)),
            Deed::Raise(epoch) => {
                let (from, why) = (epoch.0, RaisedFor::Asked.into());
                MembershipChange::RaiseEpoch(RaiseEpoch { from, why, survivor: 0, to: 0 })
            }
        };
        CommandKind::Membership(Membership::at(self.time.wall_ms(), change).into())
    }

    pub(super) fn is_done(&self, deed: Deed) -> bool {
        let ledger = &self.crowd.ledger;
        let is = |place: usize, holds: fn(&Member) -> bool| {
            ledger.member(id_of(place)).is_none_or(holds)
        };
        match deed {
            Deed::Hold(place) => ledger.is_held(id_of(place)) || ledger.is_member(id_of(place)),
            Deed::Drain(place) => is(place, |one| one.is_draining),
            Deed::Resume(place) => is(place, |one| !one.is_draining),
            Deed::Promote(place) => is(place, |one| one.vote_wish() == VoteWish::Votes),
            Deed::Demote(place) => is(place, |one| one.vote_wish() == VoteWish::Never),
            Deed::Auto(place) => is(place, |one| one.vote_wish() == VoteWish::Auto),
            Deed::Raise(from) => ledger.epoch() > from,
        }
    }

    /// Whether a step is given up. What is to be done at the end is not.
    pub(super) fn is_vain(&self, step: Step) -> bool {
        let may_be_refused = match step {
            Step::Tend(_) => true,
            Step::Admit(_) => self.profile.tended,
            Step::Remove(_) => self.profile.tended && self.healed.is_none(),
            Step::Ghost(_) => false,
        };
        may_be_refused && self.crowd.tries > TRIES
    }

    /// Whether nobody has to be removed any more.
    pub(super) fn is_tended(&self) -> bool {
        !self.profile.tended || self.one_to_go().is_none()
    }

    /// A member that cannot come back: the epoch rose without it, or its machine is gone.
    fn one_to_go(&self) -> Option<usize> {
        let is_lost = |place: &usize| {
            self.hosts[*place].standing == Standing::Gone
                && self.crowd.ledger.is_member(id_of(*place))
        };
        self.left_behind().or_else(|| (0..self.hosts.len()).find(is_lost))
    }

    pub(super) fn next_deed(&mut self) -> Option<Step> {
        self.welcome();
        if self.healed.is_some() {
            return self.one_to_go().map(Step::Remove);
        }
        if let Some(place) = self.left_behind() {
            return Some(Step::Remove(place));
        }
        let draw = self.draws.client.below(16);
        let members = self.members();
        match draw {
            0..4 => self.one_outside().map(Step::Admit),
            4 | 5 => {
                let last = self.hosts.len() - 1;
                let is_outside = self.hosts[last].standing == Standing::Outside;
                is_outside.then_some(Step::Tend(Deed::Hold(last)))
            }
            6 | 7 => {
                let drained = self.one_of(&members, |one| one.is_draining);
                drained.map(|place| Step::Tend(Deed::Resume(place)))
            }
            8 => {
                let wished = self.one_of(&members, |one| one.vote_wish() != VoteWish::Auto);
                wished.map(|place| Step::Tend(Deed::Auto(place)))
            }
            9 => self.one_of(&members, may_be_wished).map(|place| Step::Tend(Deed::Promote(place))),
            10 => self.spared().map(|place| Step::Tend(Deed::Demote(place))),
            11 => self.spared().map(|place| Step::Tend(Deed::Drain(place))),
            12 => self.spared().map(Step::Remove),
            13 | 14 => {
                if let Some(place) = self.spared() {
                    self.lose_for_good(place);
                }
                None
            }
            _ => {
                let epoch = self.crowd.ledger.epoch();
                self.do_voters_live().then_some(Step::Tend(Deed::Raise(epoch)))
            }
        }
    }

    /// Machines start that were let in while nobody looked.
    fn welcome(&mut self) {
        for place in 0..self.hosts.len() {
            let is_in = self.crowd.ledger.is_member(id_of(place));
            if is_in && self.hosts[place].standing == Standing::Outside {
                self.hosts[place].standing = Standing::Member;
                self.start(place);
            }
        }
    }

    /// Members that were removed by policy, or while they were given up, are to be switched off.
    pub(super) fn note_removed(&mut self) {
        for place in self.members() {
            if self.profile.tended && self.crowd.ledger.is_removed(id_of(place)) {
                self.part_with(place);
            }
        }
        if self.profile.tended {
            self.welcome();
        }
    }

    fn one_outside(&mut self) -> Option<usize> {
        let is_outside = |place: &usize| self.hosts[*place].standing == Standing::Outside;
        let outside: Vec<usize> = (0..self.hosts.len()).filter(is_outside).collect();
        self.draws.client.pick(&outside).copied()
    }

    fn one_of(&mut self, places: &[usize], holds: impl Fn(&Member) -> bool) -> Option<usize> {
        let holds = |place: &&usize| self.crowd.ledger.member(id_of(**place)).is_some_and(&holds);
        let those: Vec<usize> = places.iter().filter(holds).copied().collect();
        self.draws.client.pick(&those).copied()
    }

    /// A member without which the control group goes on, and has a node for each seat.
    fn spared(&mut self) -> Option<usize> {
        let members = self.members();
        let place = self.draws.client.pick(&members).copied()?;
        let is_quiet = self.is_control_at_rest();
        let is_electable = |other: &&usize| {
            **other != place
                && self.hosts[**other].process.is_some()
                && self.crowd.ledger.member(id_of(**other)).is_some_and(may_vote)
        };
        let electable = members.iter().filter(is_electable).count();
        let is_control = place < self.profile.control;
        (is_quiet && (!is_control || electable >= ELECTABLE_LEFT)).then_some(place)
    }

    /// Whether no change of voters is under way, and all who vote are there to stay.
    fn is_control_at_rest(&self) -> bool {
        let Some(leader) = self.leader().and_then(|at| self.hosts[at].process.as_ref()) else {
            return false;
        };
        let raft = leader.subject.raft();
        let stays = |id: &NodeId| {
            let host = &self.hosts[place_of(*id)];
            host.standing == Standing::Member && !host.disk.is_rebuilding()
        };
        raft.configuration() == raft.committed_configuration()
            && !raft.configuration().is_joint()
            && raft.configuration().voters.len() >= SMALL_VOTERS
            && raft.configuration().members().iter().all(stays)
    }

    fn do_voters_live(&self) -> bool {
        let lives = |id: &NodeId| {
            self.hosts[place_of(*id)].process.is_some()
                && self.crowd.ledger.member(*id).is_some_and(Member::is_living)
        };
        self.is_control_at_rest() && self.crowd.ledger.voters().iter().all(lives)
    }

    /// Power is gone, and the machine with it.
    fn lose_for_good(&mut self, place: usize) {
        self.trace.tell(self.time, format_args!("{:?} is lost for good", self.hosts[place].id));
        self.hosts[place].standing = Standing::Gone;
        self.retire_probe(place);
        self.crash(place);
    }
}

/// What is looked at.
impl Nodes {
    /// What the record says of who takes part, at the moment of a commit.
    pub(super) fn note_standings(&mut self) {
        for place in 0..self.hosts.len() {
            let id = id_of(place);
            let is_living = self.crowd.ledger.member(id).is_some_and(Member::is_living);
            self.crowd.seats.on_standing(id, self.time, is_living);
        }
    }

    /// Whoever leads gives votes to those that are there, and takes none too soon.
    pub(super) fn check_seats(&mut self, place: usize) -> Result<(), Broken> {
        let process = self.hosts[place].process.as_ref().expect("it has just worked");
        let (node, raft) = (self.hosts[place].id, process.subject.raft());
        if raft.role() != Role::Leader {
            return Ok(());
        }
        let voters = &raft.configuration().voters;
        let (term, last) = (raft.term(), raft.last().index);
        let led = Led { node, term, voters, last, plan: process.subject.voter_plan() };
        let Some(before) = self.crowd.seats.changed(&led) else { return Ok(()) };
        for id in voters.difference(&before) {
            let host = &self.hosts[place_of(*id)];
            let on_disk = host.disk.shelf(GroupId::CONTROL).written().last();
            if !host.was_damaged {
                self.crowd.seats.check_given(&led, *id, on_disk)?;
            }
        }
        if !self.profile.tended {
            return Ok(());
        }
        let grace = process.subject.state().settings().voter_grace();
        for id in before.difference(voters) {
            self.crowd.seats.check_taken(&led, *id, (self.time, grace))?;
        }
        Ok(())
    }

    /// M3: nobody is in a view who was never let in.
    pub(super) fn check_views(&self) -> Result<(), Broken> {
        for host in &self.hosts {
            let Some(process) = &host.process else { continue };
            let mut seen = (0..self.hosts.len()).map(id_of);
            let is_stranger = |id: &NodeId| {
                process.subject.swim().entry(*id).is_some() && !self.crowd.ledger.was_admitted(*id)
            };
            if let Some(stranger) = seen.find(is_stranger) {
                let facts = format!("{:?} sees {stranger:?}, who was never let in", host.id);
                return Err(Broken::new("M3", facts));
            }
        }
        Ok(())
    }

    /// Whether as many vote as are to, and all of them are wanted, where members are tended.
    pub(super) fn are_seats_right(&self, configuration: &Configuration) -> bool {
        if !self.profile.tended {
            return true;
        }
        let members: Vec<&Member> =
            self.members().iter().filter_map(|at| self.crowd.ledger.member(id_of(*at))).collect();
        let wanted: BTreeSet<NodeId> =
            members.iter().filter(|one| may_vote(one)).map(|one| one.node()).collect();
        let is_promoted = |one: &&&Member| may_vote(one) && one.vote_wish() == VoteWish::Votes;
        let promoted = members.iter().filter(is_promoted).count();
        let control = members.iter().filter(|one| one.performs(CONTROL_ROLE)).count();
        let usual = if control >= LARGE_CONTROL_MEMBERS { LARGE_VOTERS } else { SMALL_VOTERS };
        configuration.voters.len() == usual.max(promoted).min(wanted.len())
            && configuration.voters.is_subset(&wanted)
    }
}

/// Whether a member may vote, by the record.
pub(super) fn may_vote(member: &Member) -> bool {
    may_be_wished(member) && member.vote_wish() != VoteWish::Never
}

/// Whether an operator may want it to vote.
fn may_be_wished(member: &Member) -> bool {
    member.performs(CONTROL_ROLE) && member.is_living() && !member.is_draining
}
