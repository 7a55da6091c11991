//! What rumors do to the view, and what the view says in rumors.

use super::machine::{Phase, Swim};
use super::members::{MEMBERS_MAX, Member, Standing, Suspicion};
use super::packets::Heed;
use super::{Event, Liveness, METADATA_BYTES_MAX, Output, Rumor, timing};
use crate::base::{Incarnation, NodeId, Now, Outputs};
use crate::wire;
use alloc::vec;

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
        self.own.incarnation = rumor.incarnation.next();
        self.spread_own();
        if matches!(rumor.state, Liveness::Suspect | Liveness::Down) {
            self.health.worsen();
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
        if self.removed.contains(node) || self.is_of_no_weight(&rumor) {
            return Heed::default();
        }
        if let Some(why) = self.fault_of(&rumor) {
            out.push(Output::Report(Event::Dropped { why }));
            return Heed::default();
        }
        let Some(member) = self.members.find(node) else {
            let has_learned = self.admit(now, rumor, out);
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
            ..Heed::default()
        };
        let is_accusation = is_same_suspicion(member, &rumor);
        self.describe(&rumor, out);
        if is_news {
            self.adopt(now, rumor, out);
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
        let member = self.members.find(rumor.node)?;
        is_forged(member.incarnation, rumor.incarnation).then_some(FORGED)
    }

    /// Whoever is down itself accuses everybody: most likely it does not hear them.
    fn is_of_no_weight(&self, rumor: &Rumor) -> bool {
        let accuser = self.members.find(rumor.by);
        rumor.state == Liveness::Suspect && accuser.is_some_and(|m| !m.standing.is_live())
    }

    /// Takes a node into the view. Only a rumor that says where it is can do that.
    fn admit(&mut self, now: Now, rumor: Rumor, out: &mut Outputs<Output>) -> bool {
        let (Some(address), Some(metadata)) = (rumor.address, rumor.metadata) else { return false };
        if self.members.len() == MEMBERS_MAX {
            out.push(Output::Report(Event::Dropped { why: "the view is full" }));
            return false;
        }
        let (node, incarnation, by) = (rumor.node, rumor.incarnation, rumor.by);
        let member = Member {
            standing: Standing::Alive,
            incarnation,
            described: incarnation,
            address,
            metadata,
            since: now,
            heard: now,
            by,
        };
        self.members.insert(node, member, &mut self.rng);
        if rumor.state.is_live() {
            out.push(Output::Report(Event::Alive { node, address, incarnation, refuted: false }));
        }
        if rumor.state == Liveness::Alive {
            self.spread(node, by);
        } else {
            self.become_standing(now, Verdict { node, state: rumor.state, incarnation, by }, out);
        }
        true
    }

    /// Takes over an opinion that beats the one held (M2).
    fn adopt(&mut self, now: Now, rumor: Rumor, out: &mut Outputs<Output>) {
        let Rumor { node, state, incarnation, by, .. } = rumor;
        self.become_standing(now, Verdict { node, state, incarnation, by }, out);
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
        self.members.change(rumor.node, &mut self.rng, |member| {
            member.described = rumor.incarnation;
            member.incarnation = member.incarnation.max(rumor.incarnation);
            member.address = address;
            member.metadata = metadata.clone();
        });
        if is_changed {
            out.push(Output::Report(Event::Changed { node: rumor.node, address }));
        }
    }

    /// This node probed `node` in vain.
    pub(super) fn accuse(&mut self, now: Now, node: NodeId, out: &mut Outputs<Output>) {
        let Some(member) = self.members.find(node) else { return };
        let (state, incarnation) = (member.standing.liveness(), member.incarnation);
        match state {
            Liveness::Alive => {
                let verdict = Verdict { node, state: Liveness::Suspect, incarnation, by: self.id };
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
            if has_room && !suspicion.accusers.contains(&by) {
                suspicion.accusers.push(by);
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
                    let by = suspicion.accusers[0];
                    let (state, incarnation) = (Liveness::Down, member.incarnation);
                    self.become_standing(now, Verdict { node, state, incarnation, by }, out);
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
        let Verdict { node, state, incarnation, by } = verdict;
        let forget_at = now + self.options.forget_after;
        let standing = match state {
            Liveness::Alive => Standing::Alive,
            Liveness::Suspect => Standing::Suspect(Suspicion {
                started: now,
                expires: now + timing::suspicion_time(&self.options, self.size(), 0),
                accusers: vec![by],
            }),
            Liveness::Down => Standing::Down { forget_at },
            Liveness::Left => Standing::Left { forget_at },
        };
        let (mut before, mut address) = (Liveness::Alive, None);
        self.members.change(node, &mut self.rng, |member| {
            before = member.standing.liveness();
            address = Some(member.address);
            member.standing = standing;
            member.incarnation = incarnation;
            member.since = now;
            member.heard = now;
            member.by = by;
        });
        let address = address.expect("a member has an address");
        self.spread(node, by);
        let refuted = before == Liveness::Suspect;
        out.push(Output::Report(match state {
            // A later life of somebody who was alive all the time is no change of the view.
            Liveness::Alive if before == Liveness::Alive => return,
            Liveness::Alive => Event::Alive { node, address, incarnation, refuted },
            Liveness::Suspect => Event::Suspected { node, by, incarnation },
            Liveness::Down => Event::Down { node, by, incarnation },
            Liveness::Left => Event::Left { node },
        }));
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
            by: member.by,
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
            by: self.id,
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
#[derive(Clone, Copy, Debug)]
struct Verdict {
    node: NodeId,
    state: Liveness,
    incarnation: Incarnation,
    by: NodeId,
}

impl Liveness {
    fn is_live(self) -> bool {
        matches!(self, Liveness::Alive | Liveness::Suspect)
    }
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

fn is_same_suspicion(member: &Member, rumor: &Rumor) -> bool {
    rumor.state == Liveness::Suspect
        && matches!(member.standing, Standing::Suspect(_))
        && rumor.incarnation == member.incarnation
}

/// A node that says two things in one life has been restarted and has forgotten the first.
fn differs_in_same_life(member: &Member, rumor: &Rumor) -> bool {
    rumor.incarnation == member.described
        && (rumor.address.is_some_and(|address| address != member.address)
            || rumor.metadata.as_ref().is_some_and(|metadata| *metadata != member.metadata))
}
