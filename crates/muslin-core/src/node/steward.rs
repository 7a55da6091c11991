//! What the nodes do so that the record says who is there: watchers report, the leader declares,
//! removes by policy, and collects what is left of the removed.

use super::reports::{REPORT_EVERY, REPORTS_MAX, Report, Reports, ended_life, is_news};
use super::requests::encoded;
use super::{Node, Output, PeerMessage};
use crate::base::mutant::{self, Mutant};
use crate::base::{Incarnation, NodeId, Now, Outputs};
use crate::state::{
    Command, CommandKind, Life, Member, Membership, MembershipChange, RaiseEpoch, RaisedFor, Reap,
};
use crate::swim::{self, Liveness, ring};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

/// How often the leader looks for members to remove and tombstones to collect: those wait for
/// hours.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// Most members removed by one command.
const REAP_MAX: usize = 64;

/// A member that nobody speaks of is asked so often, one probe period apart, before it counts as
/// unheard: one of three answers comes through in 99 of 100 cases where a tenth of all datagrams
/// is lost.
const SEARCHES: u32 = 3;

/// Most members asked at a time: as many as one message reports.
const SOUGHT_MAX: usize = REPORTS_MAX;

/// A member that is looked for.
#[derive(Clone, Copy, Debug)]
struct Search {
    since: Now,
    asked: u32,
    /// When it is asked again; after the last time, until when an answer is waited for.
    next: Now,
}

/// What a node remembers of this.
#[derive(Clone, Debug, Default)]
pub(super) struct Steward {
    reports: Reports,
    /// Members of the record that this node watches and has never heard of.
    looked_for: BTreeMap<NodeId, Search>,
    /// Since when voters are gone, as this leader sees it.
    pub(super) gone_since: BTreeMap<NodeId, Now>,
    next_report: Now,
    next_tidy: Now,
    /// The wall clock as the shell told it last.
    wall: Option<(Now, u64)>,
}

impl Steward {
    /// The wall clock, Unix milliseconds; 0 when the shell has told none.
    pub(super) fn unix_ms(&self, now: Now) -> u64 {
        let Some((at, unix_ms)) = self.wall else { return 0 };
        let since = u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
        unix_ms.saturating_add(since)
    }

    pub(super) fn set_clock(&mut self, now: Now, unix_ms: u64) {
        self.wall = Some((now, unix_ms));
    }
}

impl Node {
    /// Tells the leader what the record does not say, and decides if this node leads.
    pub(super) fn keep_record(&mut self, now: Now, out: &mut Outputs<Output>) {
        self.outlive_declaration(now, out);
        self.follow_epoch(now, out);
        if now < self.steward.next_report {
            return;
        }
        self.steward.next_report = now + REPORT_EVERY;
        self.look_for_unheard(now, out);
        let reports = self.own_reports(now);
        if self.may_assign() {
            self.steward.reports.take(now, self.options.id, &reports);
            self.declare(now);
            self.tidy_record(now);
        } else if let Some(leader) = self.raft.leader().filter(|_| !reports.is_empty()) {
            let message = PeerMessage::Reports(reports);
            out.push(Output::Send { to: leader, after: None, message });
        }
    }

    /// A peer's reports, for the leader to count.
    pub(super) fn on_reports(&mut self, now: Now, from: NodeId, reports: &[Report]) {
        if self.may_assign() && self.state.members().contains_key(&from) {
            self.steward.reports.take(now, from, reports);
            self.declare(now);
        }
    }

    /// What this node sees of the members that it watches, and the record does not say.
    fn own_reports(&self, now: Now) -> Vec<Report> {
        let mut reports = Vec::new();
        for (node, member) in self.state.members() {
            let Some(seen) = self.swim.entry(*node).filter(|_| *node != self.options.id) else {
                continue;
            };
            let is_told = is_news(member, seen.state, seen.incarnation);
            if is_told && (seen.state == Liveness::Alive || self.swim.watches(*node)) {
                let silent_ms =
                    u64::try_from(now.since(seen.heard).as_millis()).unwrap_or(u64::MAX);
                reports.push(Report {
                    node: *node,
                    state: seen.state,
                    incarnation: seen.incarnation,
                    probed_by: seen.by,
                    silent_ms,
                    is_unheard: false,
                });
            }
        }
        reports.extend(self.unheard_reports(now));
        reports.truncate(REPORTS_MAX);
        reports
    }

    /// Keeps the list of those it has never heard of, and asks where the record says they are.
    fn look_for_unheard(&mut self, now: Now, out: &mut Outputs<Output>) {
        let is_looked_for = |(node, member): &(&NodeId, &Member)| {
            let is_other = **node != self.options.id && ended_life(member).is_none();
            is_other && self.swim.entry(**node).is_none() && self.swim.watches(**node)
        };
        let missing: BTreeSet<NodeId> = match self.is_static() {
            true => BTreeSet::new(),
            false => self.state.members().iter().filter(is_looked_for).map(|(id, _)| *id).collect(),
        };
        let looked_for = &mut self.steward.looked_for;
        looked_for.retain(|node, _| missing.contains(node));
        for node in missing {
            looked_for.entry(node).or_insert(Search { since: now, asked: 0, next: now });
        }
        let mut sought = Vec::new();
        let is_due = |search: &Search| search.asked < SEARCHES && search.next <= now;
        let due = looked_for.iter_mut().filter(|(_, search)| is_due(search));
        for (node, search) in due.take(SOUGHT_MAX) {
            search.asked += 1;
            search.next = now + self.options.swim.probe_period;
            sought.push(*node);
        }
        let members = self.state.members();
        let places = sought.iter().filter_map(|node| self.place_of(members.get(node)?));
        let places: Vec<SocketAddr> = places.collect();
        if !places.is_empty() {
            self.handle_swim(now, swim::Input::Seek(places), out);
        }
    }

    /// Those it has looked for long enough.
    fn unheard_reports(&self, now: Now) -> impl Iterator<Item = Report> {
        let is_over = move |search: &Search| search.asked == SEARCHES && search.next <= now;
        let overdue = self.steward.looked_for.iter().filter(move |(_, search)| is_over(search));
        overdue.map(move |(node, search)| Report {
            node: *node,
            state: Liveness::Down,
            incarnation: Incarnation(self.state.members().get(node).map_or(0, |one| one.life)),
            probed_by: self.options.id,
            silent_ms: u64::try_from(now.since(search.since).as_millis()).unwrap_or(u64::MAX),
            is_unheard: true,
        })
    }

    fn declare(&mut self, now: Now) {
        let mut reports = core::mem::take(&mut self.steward.reports);
        let watchers = |node| self.living_watchers(node);
        let changes = reports.verdicts(now, self.state.members(), watchers);
        self.steward.reports = reports;
        for change in changes {
            self.decide(now, change);
        }
    }

    /// Who watches a member and lives itself, as the leader sees it.
    fn living_watchers(&self, node: NodeId) -> BTreeSet<NodeId> {
        let members = self.state.members();
        let is_living = |id: &NodeId| {
            let sees = || self.swim.entry(*id).is_some_and(|seen| seen.state == Liveness::Alive);
            members[id].is_living() && (*id == self.options.id || sees())
        };
        let count = self.options.swim.slice;
        let watchers = ring::watchers(node, members.keys().copied(), count);
        watchers.into_iter().filter(is_living).collect()
    }

    /// Removes who was gone for long enough, and lets the epoch rise so that tombstones can go.
    fn tidy_record(&mut self, now: Now) {
        if now < self.steward.next_tidy {
            return;
        }
        self.steward.next_tidy = now + TIDY_EVERY;
        let unix_ms = self.steward.unix_ms(now);
        let ids: Vec<u64> =
            self.state.reapable(unix_ms).into_iter().take(REAP_MAX).map(|id| id.0).collect();
        if !ids.is_empty() {
            self.decide(now, MembershipChange::Reap(Reap { ids }));
        }
        if self.state.is_collection_due(unix_ms) {
            let (from, why) = (self.state.epoch().0, RaisedFor::Tombstones.into());
            self.decide(
                now,
                MembershipChange::RaiseEpoch(RaiseEpoch { from, why, survivor: 0, to: 0 }),
            );
        }
    }

    /// Of a leader that was deposed meanwhile nothing is carried out: the next one looks for
    /// itself.
    fn decide(&mut self, now: Now, change: MembershipChange) {
        let membership = Membership::at(self.steward.unix_ms(now), change);
        let command = Command::of(CommandKind::Membership(membership.into()));
        // Busy is no loss: it is decided again.
        let _ = self.proposals.add_as_leader(now, self.raft.term(), encoded(&command));
    }

    /// A node that the record says is gone begins a life that the record does not know.
    fn outlive_declaration(&mut self, now: Now, out: &mut Outputs<Output>) {
        let own = self.state.members().get(&self.options.id);
        let Some(ended) = own.and_then(ended_life) else { return };
        if self.is_static() {
            return self.come_back(now, ended);
        }
        if !self.is_stopping && self.swim.incarnation().0 <= ended {
            self.handle_swim(now, swim::Input::Outlive(Incarnation(ended)), out);
        }
    }

    /// The detector speaks in the record's epoch.
    pub(super) fn follow_epoch(&mut self, now: Now, out: &mut Outputs<Output>) {
        if self.state.is_current(self.options.id) && self.state.epoch() > self.swim.epoch() {
            self.handle_swim(now, swim::Input::Epoch(self.state.epoch()), out);
        }
    }

    /// A node that is told to stop says so to the record.
    pub(super) fn propose_leave(&mut self, now: Now) {
        // Nobody would see it come back from there.
        if self.is_static() || !self.state.members().contains_key(&self.options.id) {
            return;
        }
        let life = Life { id: self.options.id.0, incarnation: self.swim.incarnation().0 };
        self.propose_change(now, MembershipChange::Leave(life));
    }

    /// A change that this node makes as a member, whoever leads.
    pub(super) fn propose_change(&mut self, now: Now, change: MembershipChange) {
        let membership = Membership::at(self.steward.unix_ms(now), change);
        let command = Command::of(CommandKind::Membership(membership.into()));
        // If it is not taken, it is tried again, or the watchers say so.
        let _ = self.proposals.add(now, None, encoded(&command));
    }

    /// Voters that were gone for longer than the grace time: a spare is to take their seats.
    pub(super) fn overdue_voters(&mut self, now: Now) -> BTreeSet<NodeId> {
        let is_gone = |id: &NodeId| {
            let is_declared = self.state.members().get(id).is_none_or(|one| !one.is_living());
            let sees = || self.swim.entry(*id).is_some_and(|seen| seen.state == Liveness::Alive);
            is_declared && *id != self.options.id && !sees()
        };
        let gone: BTreeSet<NodeId> =
            self.raft.configuration().voters.iter().copied().filter(is_gone).collect();
        let since = &mut self.steward.gone_since;
        since.retain(|node, _| gone.contains(node));
        for node in &gone {
            since.entry(*node).or_insert(now);
        }
        let is_early = mutant::is_active(Mutant::ReplacedBeforeGrace);
        let grace = if is_early { Duration::ZERO } else { self.state.settings().voter_grace() };
        since.iter().filter(|(_, since)| **since + grace <= now).map(|(node, _)| *node).collect()
    }

    /// A node that does not decide remembers nothing of it.
    pub(super) fn retire_steward(&mut self) {
        self.steward.gone_since.clear();
        self.steward.reports = Reports::default();
    }
}
