//! What rumors do to the view, and what the view says in rumors.

use super::evidence::{Accuser, History, Testimony, Trail, Transition};
use super::machine::{Phase, Swim};
use super::members::{MEMBERS_MAX, Member, Standing, Suspicion};
use super::packets::Heed;
use super::planted::Bug;
use super::{Event, Liveness, METADATA_BYTES_MAX, Output, Rumor, TICKET_BYTES_MAX, timing};
use crate::base::{Incarnation, NodeId, Now, Outputs};
use crate::wire;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// A rumor that raises an incarnation by more than this is forged or damaged. A node that refutes
/// once a second while another hears nothing of it stays below for twelve days.
const INCARNATION_JUMP_MAX: u64 = 1 << 20;

/// Members that probe a suspect at once when they hear of it, on average: enough to confirm or to
/// refute, and not the whole cluster.
const VOLUNTEERS: u64 = 4;

impl Swim {
    /// A rumor about this node; whether its sender must hear our own words.
    pub(super) fn on_rumor_of_self(&mut self, rumor: Rumor, out: &mut Outputs<Output>) -> bool {
        if rumor.incarnation < self.own.incarnation {
            return true;
        }
        if is_forged(self.own.incarnation, rumor.incarnation) {
            out.push(Output::Report(Event::Dropped { why: FORGED }));
            return false;
        }
        let is_ours = rumor.incarnation == self.own.incarnation
            && rumor.state == Liveness::Alive
            && rumor.address.is_none_or(|address| address == self.own.address)
            && rumor.metadata.is_none_or(|metadata| metadata == self.own.metadata);
        if is_ours {
            return false;
        }
        // Either a suspicion, or the memory of an earlier life of this node: rise above it (M1).
        if !self.has(Bug::RefutesInSameLife) {
            self.own.incarnation = rumor.incarnation.next();
        }
        self.spread_own();
        if matches!(rumor.state, Liveness::Suspect | Liveness::Down) {
            self.health.worsen(1);
        }
        if rumor.state != Liveness::Alive {
            let incarnation = self.own.incarnation;
            out.push(Output::Report(Event::RefutedSelf { incarnation, by: rumor.by }));
        }
        true
    }

    /// A rumor about another.
    pub(super) fn on_rumor(
        &mut self,
        now: Now,
        source: Source,
        mut rumor: Rumor,
        out: &mut Outputs<Output>,
    ) -> Heed {
        let node = rumor.node;
        assert!(node != self.id, "rumors about this node itself go elsewhere");
        let is_covered = self.scope.covers(node) || self.has(Bug::SliceNotBounded);
        if !is_covered || self.removed.contains(node) || self.is_of_no_weight(&rumor) {
            return Heed::default();
        }
        if let Some(why) = self.fault_of(&rumor) {
            out.push(Output::Report(Event::Dropped { why }));
            return Heed::default();
        }
        if !self.is_let_in(&rumor) {
            out.push(Output::Report(Event::Dropped { why: "no valid ticket" }));
            return Heed::default();
        }
        let Some(member) = self.members.find(node) else {
            self.admit(now, source.node, rumor, out);
            let has_learned = self.members.find(node).is_some();
            return Heed { has_learned, ..Heed::default() };
        };
        let is_live = member.standing.is_live();
        if source.is_sync && rumor.state == Liveness::Down && is_live {
            // An old opinion, not news: the member may have been on our side of a partition all the
            // time. It gets the time to refute (M1).
            rumor.state = Liveness::Suspect;
        }
        let (is_own_word, is_news) = (node == source.node, is_news(member, &rumor));
        let heed = Heed {
            tell_sender: is_own_word && differs_in_same_life(member, &rumor),
            is_back: is_own_word && is_news && !is_live && rumor.state == Liveness::Alive,
            has_learned: is_news,
            ..Heed::default()
        };
        let is_accusation = is_same_suspicion(member, &rumor);
        self.describe(&rumor, out);
        if is_news || self.has(Bug::DownBeatsAnyLife) && is_death_of_the_living(self, &rumor) {
            self.adopt(now, source.node, rumor, out);
        } else if is_accusation {
            self.confirm(now, node, rumor.by);
        }
        heed
    }

    /// Why a rumor cannot be true.
    fn fault_of(&self, rumor: &Rumor) -> Option<&'static str> {
        let bytes = rumor.metadata.as_ref().map_or(0, wire::metadata_len);
        if bytes > METADATA_BYTES_MAX {
            return Some("metadata larger than allowed");
        }
        if rumor.ticket.len() > TICKET_BYTES_MAX {
            return Some("a ticket larger than allowed");
        }
        let member = self.members.find(rumor.node)?;
        is_forged(member.incarnation, rumor.incarnation).then_some(FORGED)
    }

    /// M3: nobody is taken in, brought back or described anew without a valid ticket. The one that
    /// let a member in is not asked about again.
    fn is_let_in(&mut self, rumor: &Rumor) -> bool {
        if rumor.state != Liveness::Alive && rumor.metadata.is_none() {
            return true;
        }
        if let Some(member) = self.members.find(rumor.node) {
            let is_old = rumor.incarnation <= member.described && !is_news(member, rumor);
            if is_old || rumor.ticket == member.ticket || self.has(Bug::TicketCheckedOncePerNode) {
                return true;
            }
        }
        self.has(Bug::TicketOfAnyCluster) || self.gate.admits(rumor.node, &rumor.ticket)
    }

    /// Whoever is down itself accuses everybody: most likely it does not hear them.
    fn is_of_no_weight(&self, rumor: &Rumor) -> bool {
        let accuser = self.members.find(rumor.by);
        rumor.state == Liveness::Suspect && accuser.is_some_and(|m| !m.standing.is_live())
    }

    /// Takes a node into the view. Only a rumor that says where it is can do that.
    fn admit(&mut self, now: Now, told_by: NodeId, rumor: Rumor, out: &mut Outputs<Output>) {
        let (Some(address), Some(metadata)) = (rumor.address, rumor.metadata) else { return };
        let is_gone = !rumor.state.is_live();
        if is_gone && self.remember_for(rumor.gone_s).is_zero() {
            return;
        }
        if self.members.len() == MEMBERS_MAX {
            out.push(Output::Report(Event::Dropped { why: "the view is full" }));
            return;
        }
        let (node, incarnation, by) = (rumor.node, rumor.incarnation, rumor.by);
        let (trail, gone_s) = (None, rumor.gone_s);
        let verdict = Verdict { node, state: rumor.state, incarnation, by, told_by, trail, gone_s };
        let mut history = History::default();
        if !is_gone {
            let alive = Verdict { state: Liveness::Alive, trail: None, ..verdict };
            history.push(alive.transition(now, Vec::new()));
        }
        let member = Member {
            standing: Standing::Alive,
            incarnation,
            described: incarnation,
            address,
            metadata,
            ticket: rumor.ticket,
            since: now,
            heard: now,
            by,
            history,
            is_detoured: false,
        };
        self.members.insert(node, member, &mut self.rng);
        if !is_gone {
            out.push(Output::Report(Event::Alive { node, address, incarnation, refuted: false }));
        }
        if verdict.state == Liveness::Alive {
            self.spread(node, by);
        } else {
            self.become_standing(now, verdict, out);
        }
    }

    /// Takes over an opinion that beats the one held (M2).
    fn adopt(&mut self, now: Now, told_by: NodeId, rumor: Rumor, out: &mut Outputs<Output>) {
        let Rumor { node, state, incarnation, by, gone_s, .. } = rumor;
        let trail = None;
        let verdict = Verdict { node, state, incarnation, by, told_by, trail, gone_s };
        self.become_standing(now, verdict, out);
        let first_suspected = state == Liveness::Suspect;
        if first_suspected && self.rng.below(self.members.len() as u64) < VOLUNTEERS {
            self.members.probe_next(node);
        }
    }

    /// Takes over where a node is and what it says of itself, if that is of a later life than what
    /// is held: it may come behind a suspicion of the same life.
    fn describe(&mut self, rumor: &Rumor, out: &mut Outputs<Output>) {
        let (Some(address), Some(metadata)) = (rumor.address, &rumor.metadata) else { return };
        let member = self.members.find(rumor.node).expect("the caller found the member");
        if rumor.incarnation <= member.described {
            return;
        }
        let is_changed = member.address != address || member.metadata != *metadata;
        let ticket = rumor.ticket.clone();
        self.members.change(rumor.node, &mut self.rng, |member| {
            member.described = rumor.incarnation;
            member.incarnation = member.incarnation.max(rumor.incarnation);
            member.address = address;
            member.metadata = metadata.clone();
            member.ticket = ticket;
        });
        if is_changed {
            out.push(Output::Report(Event::Changed { node: rumor.node, address }));
        }
    }

    /// This node probed `node` in vain.
    pub(super) fn accuse(
        &mut self,
        now: Now,
        node: NodeId,
        trail: Trail,
        out: &mut Outputs<Output>,
    ) {
        let Some(member) = self.members.find(node) else { return };
        let (state, incarnation) = (member.standing.liveness(), member.incarnation);
        match state {
            Liveness::Alive => {
                let (state, own, trail) = (Liveness::Suspect, self.id, Some(trail));
                let verdict =
                    Verdict { node, state, incarnation, by: own, told_by: own, trail, gone_s: 0 };
                self.become_standing(now, verdict, out);
                self.accused.insert(node);
                // The accused hears it first (Lifeguard's buddy system).
                let number = self.next_number();
                self.ping(node, number, out);
            }
            Liveness::Suspect => {
                self.accused.insert(node);
                self.confirm(now, node, self.id);
            }
            Liveness::Down | Liveness::Left => {}
        }
    }

    /// One more accuser: the suspicion gets shorter, up to a number of them (Lifeguard, section
    /// IV-B).
    fn confirm(&mut self, now: Now, node: NodeId, by: NodeId) {
        let (options, size) = (self.options.clone(), self.size());
        let mut is_first_word = false;
        self.members.change(node, &mut self.rng, |member| {
            let Standing::Suspect(suspicion) = &mut member.standing else { return };
            let has_room = suspicion.accusers.len() <= timing::CONFIRMATIONS;
            if has_room && suspicion.accusers.iter().all(|accuser| accuser.node != by) {
                let accuser = Accuser { node: by, at: now };
                suspicion.accusers.push(accuser);
                member.history.add_accuser(accuser);
                let confirmations = suspicion.accusers.len() - 1;
                let time = timing::suspicion_time(&options, size, confirmations);
                // Never later than it was, never in the past.
                suspicion.expires = suspicion.expires.min(suspicion.started + time).max(now);
                is_first_word = true;
            }
        });
        if is_first_word {
            self.spread(node, by);
        }
    }

    /// Standings that are over: suspects go down, the gone are forgotten.
    pub(super) fn end_standings(&mut self, now: Now, out: &mut Outputs<Output>) {
        while let Some((at, node)) = self.members.next_timer() {
            if at > now {
                break;
            }
            let member = self.members.find(node).expect("timers are of members");
            match &member.standing {
                Standing::Alive => unreachable!("M1: a refutation takes the timer away"),
                Standing::Suspect(suspicion) => {
                    let (by, told_by) = (suspicion.accusers[0].node, self.id);
                    let (state, incarnation) = (Liveness::Down, member.incarnation);
                    let (trail, gone_s) = (None, 0);
                    let verdict = Verdict { node, state, incarnation, by, told_by, trail, gone_s };
                    self.become_standing(now, verdict, out);
                }
                Standing::Down { .. } | Standing::Left { .. } => {
                    self.members.remove(node);
                    self.rumors.remove(node);
                }
            }
        }
    }

    /// Changes the opinion of a member, reports and spreads it.
    fn become_standing(&mut self, now: Now, verdict: Verdict, out: &mut Outputs<Output>) {
        let Verdict { node, state, incarnation, by, .. } = verdict;
        let standing = self.standing(now, &verdict);
        let member = self.members.find(node).expect("an opinion is of a member");
        let (before, address) = (member.standing.liveness(), member.address);
        let accusers = match (&standing, &member.standing) {
            (Standing::Suspect(suspicion), _) => suspicion.accusers.clone(),
            (Standing::Down { .. }, before) => accusers_of_end(now, before, &verdict),
            _ => Vec::new(),
        };
        let transition = verdict.transition(now, accusers);
        let evidence = transition.clone();
        self.members.change(node, &mut self.rng, |member| {
            member.standing = standing;
            member.incarnation = incarnation;
            member.since = now;
            // That others miss it is no word of it.
            if matches!(state, Liveness::Alive | Liveness::Left) {
                member.heard = now;
            }
            member.by = by;
            // A later life of somebody who was alive all the time is no change of the view.
            if (before, state) != (Liveness::Alive, Liveness::Alive) {
                member.history.push(transition);
            }
        });
        self.spread(node, by);
        let refuted = before == Liveness::Suspect;
        let is_witness = before.is_live() != state.is_live() && self.watches(node);
        out.push(Output::Report(match state {
            Liveness::Alive if before == Liveness::Alive => return,
            Liveness::Alive => Event::Alive { node, address, incarnation, refuted },
            Liveness::Suspect => {
                let evidence = evidence.clone();
                Event::Suspected { node, by, incarnation, evidence }
            }
            Liveness::Down => {
                let evidence = evidence.clone();
                Event::Down { node, by, incarnation, evidence }
            }
            Liveness::Left => Event::Left { node },
        }));
        if is_witness {
            let testimony = Testimony { node, transition: evidence };
            out.push(Output::Report(Event::Witnessed(testimony)));
        }
    }

    fn standing(&self, now: Now, verdict: &Verdict) -> Standing {
        let forget_at = now + self.remember_for(verdict.gone_s);
        match verdict.state {
            Liveness::Alive => Standing::Alive,
            Liveness::Suspect => Standing::Suspect(Suspicion {
                started: now,
                expires: now + self.patience(verdict.by),
                accusers: vec![Accuser { node: verdict.by, at: now }],
            }),
            Liveness::Down => Standing::Down { forget_at },
            Liveness::Left => Standing::Left { forget_at },
        }
    }

    /// How long a suspicion runs that nobody confirms or refutes. The accuser's name makes no
    /// difference: everybody who hears of it runs the timer.
    fn patience(&self, accuser: NodeId) -> Duration {
        if self.has(Bug::OnlyAccuserTimes) && accuser != self.id {
            return Duration::from_secs(24 * 3_600);
        }
        timing::suspicion_time(&self.options, self.size(), 0)
    }

    /// Puts this node's own words into the queue.
    pub(super) fn spread_own(&mut self) {
        self.spread(self.id, self.id);
    }

    fn spread(&mut self, node: NodeId, by: NodeId) {
        let rumor = self.rumor(node, Some(by)).expect("only what is known is spread");
        self.rumors.push(node, by, wire::rumor_len(&rumor));
    }

    /// What is said of a node, to whoever may be assumed to know it. `by` when it is said in the
    /// name of another than the first.
    pub(super) fn rumor(&self, node: NodeId, by: Option<NodeId>) -> Option<Rumor> {
        let mut rumor = self.full_rumor(node)?;
        if rumor.state != Liveness::Alive {
            rumor.address = None;
            rumor.metadata = None;
            rumor.ticket = Bytes::new();
        }
        if let (Liveness::Suspect, Some(by)) = (rumor.state, by) {
            rumor.by = by;
        }
        Some(rumor)
    }

    /// All that is known of a node.
    pub(super) fn full_rumor(&self, node: NodeId) -> Option<Rumor> {
        if node == self.id {
            return Some(self.rumor_of_self());
        }
        let member = self.members.find(node)?;
        Some(Rumor {
            node,
            state: member.standing.liveness(),
            incarnation: member.incarnation,
            address: Some(member.address),
            metadata: Some(member.metadata.clone()),
            ticket: member.ticket.clone(),
            by: member.by,
            gone_s: 0,
        })
    }

    fn rumor_of_self(&self) -> Rumor {
        let state = if self.is_gone() { Liveness::Left } else { Liveness::Alive };
        Rumor {
            node: self.id,
            state,
            incarnation: self.own.incarnation,
            address: Some(self.own.address),
            metadata: Some(self.own.metadata.clone()),
            ticket: self.own.ticket.clone(),
            by: self.id,
            gone_s: 0,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.own.phase == Phase::Gone
    }
}

/// Where a rumor comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) node: NodeId,
    /// It is part of all that node knows, not of its news.
    pub(super) is_sync: bool,
}

/// An opinion to be formed of a member.
#[derive(Clone, Debug)]
struct Verdict {
    node: NodeId,
    state: Liveness,
    incarnation: Incarnation,
    by: NodeId,
    /// Whose packet brings it; this node itself when it forms it.
    told_by: NodeId,
    /// What this node tried itself.
    trail: Option<Trail>,
    /// For how many seconds it has been known, of one that is gone.
    gone_s: u32,
}

impl Verdict {
    fn transition(&self, now: Now, accusers: Vec<Accuser>) -> Transition {
        Transition {
            at: now,
            state: self.state,
            incarnation: self.incarnation,
            by: self.by,
            told_by: self.told_by,
            trail: self.trail.clone(),
            accusers,
        }
    }
}

impl Liveness {
    fn is_live(self) -> bool {
        matches!(self, Liveness::Alive | Liveness::Suspect)
    }
}

/// Who had accused a member that is down. The news of its end may come before that of the suspicion
/// which it began with: whoever is named in it has probed in vain as well.
fn accusers_of_end(now: Now, before: &Standing, verdict: &Verdict) -> Vec<Accuser> {
    let mut accusers = match before {
        Standing::Suspect(suspicion) => suspicion.accusers.clone(),
        _ => Vec::new(),
    };
    let by = verdict.by;
    if by != verdict.node && accusers.iter().all(|accuser| accuser.node != by) {
        accusers.push(Accuser { node: by, at: now });
    }
    accusers
}

/// Said of a rumor that claims a life far beyond the one known.
const FORGED: &str = "an incarnation far beyond the known one";

fn is_forged(known: Incarnation, claimed: Incarnation) -> bool {
    claimed.0.saturating_sub(known.0) > INCARNATION_JUMP_MAX
}

/// Later lives win; within one, `Left` beats `Down` beats `Suspect` beats `Alive`. A total order,
/// so that views agree whatever the order in which they hear (M2).
fn is_news(member: &Member, rumor: &Rumor) -> bool {
    (rumor.incarnation, rumor.state) > (member.incarnation, member.standing.liveness())
}

/// For a planted bug.
fn is_death_of_the_living(swim: &Swim, rumor: &Rumor) -> bool {
    let member = swim.members.find(rumor.node);
    rumor.state == Liveness::Down && member.is_some_and(|member| member.standing.is_live())
}

fn is_same_suspicion(member: &Member, rumor: &Rumor) -> bool {
    rumor.state == Liveness::Suspect
        && matches!(member.standing, Standing::Suspect(_))
        && rumor.incarnation == member.incarnation
}

/// A node that says two things in one life has been restarted and has forgotten the first.
fn differs_in_same_life(member: &Member, rumor: &Rumor) -> bool {
    rumor.incarnation == member.described
        && (rumor.address.is_some_and(|address| address != member.address)
            || rumor.metadata.as_ref().is_some_and(|metadata| *metadata != member.metadata)
            || rumor.metadata.is_some() && rumor.ticket != member.ticket)
}
