//! All groups of a node, and the sets that say which of them need looking at.

use super::afar::{Afar, Answered, Refused};
use super::group::{Asker, Home, Opening};
use super::liveness::{self, Liveness};
use super::{Answer, Event, Failure, Group, Input, Matter, Message, Options, Output, Recovered};
use crate::base::{
    GroupId, Index, Machine, NodeId, Now, Outputs, PersistId, Prng, RequestId, Wake,
};
use crate::raft::{self, Drive, Snapshot, SnapshotMeta, Write};
use crate::state::GroupRecord;
use crate::waiting::Relayed;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// How often groups with something under way are looked after.
const CHORES_EVERY: Duration = Duration::from_millis(20);

/// Entries applied by all groups of a node after which a group that rests is saved as well, so that
/// its last few entries do not keep the segments of the shared log for ever: some twenty segments.
const REST_ENTRIES: u64 = 1 << 20;

/// This node's replicas of the groups in the record. See the [module](super). A clone goes its own
/// way: what a model checker needs.
#[derive(Clone, Debug)]
pub struct Groups {
    home: Home,
    options: Options,
    prng: Prng,
    groups: BTreeMap<GroupId, Box<Group>>,
    /// What is on the disk of groups that the record has not named yet.
    dormant: BTreeMap<GroupId, Recovered>,
    liveness: Liveness,
    /// Groups kept elsewhere, asked through this node.
    afar: Afar,
    /// When each group that wants to be woken does.
    timers: Timers,
    /// Groups with something under way.
    restless: BTreeSet<GroupId>,
    next_chores: Now,
    /// Groups with something to send at the next flush.
    waiting: BTreeSet<GroupId>,
    /// Groups that have applied something since their last snapshot, by the count of entries
    /// applied by all of them when they did.
    unsaved: BTreeSet<(u64, GroupId)>,
    unsaved_since: BTreeMap<GroupId, u64>,
    applied: u64,
    drive: Drive,
    /// Since when the control group has no leader.
    unled_since: Option<Now>,
    is_stopping: bool,
}

/// Who the node is, and what it found.
pub struct Start {
    /// This node.
    pub id: NodeId,
    /// Start counter of its data directory.
    pub boot: u64,
    /// A request not settled this long is answered [`Failure::TimedOut`].
    pub request_timeout: Duration,
    /// What each group has on the disk.
    pub recovered: BTreeMap<GroupId, Recovered>,
}

impl Groups {
    /// No group is open yet: [`Input::Open`] says which there are.
    pub fn new(options: Options, start: Start, seed: u64, now: Now) -> Groups {
        let Start { id, boot, request_timeout, recovered } = start;
        let (snapshot_entries, snapshot_bytes) = (options.snapshot_entries, options.snapshot_bytes);
        let home = Home { id, boot, request_timeout, snapshot_entries, snapshot_bytes };
        Groups {
            home,
            afar: Afar::new(home),
            prng: Prng::seeded(seed),
            groups: BTreeMap::new(),
            dormant: recovered,
            liveness: Liveness::new(boot, options.alive_every, options.alive_timeout, now),
            timers: Timers::default(),
            restless: BTreeSet::new(),
            next_chores: now,
            waiting: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            unsaved_since: BTreeMap::new(),
            applied: 0,
            drive: Drive::Passive,
            unled_since: Some(now),
            is_stopping: false,
            options,
        }
    }

    /// The groups this node keeps, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.groups.values().map(|group| &**group)
    }

    /// One of them.
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(&id).map(|group| &**group)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn home_id(&self) -> NodeId {
        self.home.id
    }

    /// Whether they keep time by themselves at present.
    pub fn drive(&self) -> Drive {
        self.drive
    }

    /// Whether a node that shares groups with this one is alive; `None` of any other.
    pub fn is_alive(&self, node: NodeId) -> Option<bool> {
        self.liveness.is_alive(node)
    }

    /// Answers whoever still waits: the process ends.
    pub fn abandon(&mut self, out: &mut Outputs<Output>) {
        for group in self.groups.values_mut() {
            group.stop(out);
        }
        self.afar.stop(out);
    }

    /// Groups of which this node keeps no replica, and which were asked through it.
    pub fn asked_afar(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.afar.ids()
    }
}

impl Machine for Groups {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Input, out: &mut Outputs<Output>) {
        match input {
            Input::Tick => self.on_tick(now, out),
            Input::Flush => self.on_flush(now, out),
            Input::Open { record, rebuilding } => self.open(now, record, rebuilding, out),
            Input::Assigned(record) => {
                let id = GroupId(record.id);
                if let Some(group) = self.groups.get_mut(&id) {
                    group.on_assigned(now, record);
                    self.refresh(now, id);
                    self.look_soon(now, id);
                } else {
                    self.afar.on_record(&record);
                }
            }
            Input::Close(id) => {
                self.afar.close(id, out);
                self.close(id, out);
            }
            Input::Message { from, message } => self.on_message(now, from, message, out),
            Input::Persisted { group, id } => {
                self.step(now, group, raft::Input::Persisted(id), out);
            }
            Input::Saved { group, index } => {
                self.step(now, group, raft::Input::Saved(index), out);
            }
            Input::SnapshotLost(id) => {
                if let Some(group) = self.groups.get_mut(&id) {
                    group.on_snapshot_lost(now, out);
                    self.refresh(now, id);
                }
            }
            Input::Disk(room) => self.step_all(now, &raft::Input::Disk(room), out),
            Input::ControlLed(is_led) => self.on_control_led(now, is_led, out),
            Input::Ask { id, group, ask } => match self.groups.get_mut(&group) {
                Some(found) => {
                    found.on_ask(now, id, ask, out);
                    self.refresh(now, group);
                }
                None => out.push(Output::Reply { id, result: Err(Failure::NoGroup) }),
            },
            Input::AskAfar { id, record, ask } => {
                self.begin_chores(now);
                self.afar.ask(now, id, (record, ask), out);
            }
            Input::Shutdown => {
                self.is_stopping = true;
                self.step_all(now, &raft::Input::Shutdown, out);
            }
        }
    }

    fn deadline(&self) -> Option<(Now, Wake)> {
        let timer = self.timers.first().map(|at| (at, Wake("a group")));
        let alive = self.liveness.deadline().map(|at| (at, Wake("say alive")));
        let is_restless = !self.restless.is_empty() || self.afar.is_restless();
        let chores = is_restless.then_some((self.next_chores, Wake("chores")));
        let fallback = match self.drive {
            Drive::Passive if !self.groups.is_empty() => self.unled_since,
            _ => None,
        };
        let fallback =
            fallback.map(|since| (since + self.options.fallback_after, Wake("fall back")));
        [timer, alive, chores, fallback].into_iter().flatten().min()
    }
}

/// Time.
impl Groups {
    fn on_tick(&mut self, now: Now, out: &mut Outputs<Output>) {
        for id in self.timers.take_due(now) {
            self.step(now, id, raft::Input::Tick, out);
        }
        for change in self.liveness.on_tick(now, out) {
            self.on_liveness(now, change, out);
        }
        let falls_back = self.unled_since.is_some_and(|at| at + self.options.fallback_after <= now);
        if falls_back && self.drive == Drive::Passive {
            self.set_drive(now, Drive::Ticking, out);
        }
        if self.next_chores <= now {
            self.next_chores = now + CHORES_EVERY;
            for id in self.restless.clone() {
                self.look_after(now, id, out);
            }
            self.afar.do_chores(now, out);
        }
    }

    /// Something is about to be under way: what is looked after is looked after a while from now.
    fn begin_chores(&mut self, now: Now) {
        if self.restless.is_empty() && !self.afar.is_restless() {
            self.next_chores = now + CHORES_EVERY;
        }
    }

    /// At the next tick, and not at once: the record may have more to say in the same step.
    fn look_soon(&mut self, now: Now, id: GroupId) {
        if self.restless.contains(&id) {
            self.next_chores = now;
        }
    }

    fn look_after(&mut self, now: Now, id: GroupId, out: &mut Outputs<Output>) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let (home, liveness) = (self.home.id, &self.liveness);
        let is_alive = |node: NodeId| node == home || liveness.is_alive(node) == Some(true);
        group.do_chores(now, is_alive, out);
        self.refresh(now, id);
    }

    fn on_flush(&mut self, now: Now, out: &mut Outputs<Output>) {
        for id in core::mem::take(&mut self.waiting) {
            if let Some(group) = self.groups.get_mut(&id) {
                group.flush(now, out);
                self.refresh(now, id);
                // What could not leave is looked at again with the chores.
                self.waiting.remove(&id);
            }
        }
        self.afar.flush(now, out);
        self.save_resting(now, out);
    }

    /// What a group that rests has in the shared log goes into a snapshot, when much came after.
    fn save_resting(&mut self, now: Now, out: &mut Outputs<Output>) {
        while let Some((since, id)) = self.unsaved.first().copied() {
            if since + REST_ENTRIES > self.applied {
                return;
            }
            let Some(group) = self.groups.get_mut(&id) else { continue };
            if group.raft().is_saving() {
                // Its turn comes again.
                self.unsaved.remove(&(since, id));
                self.unsaved.insert((self.applied, id));
                self.unsaved_since.insert(id, self.applied);
                continue;
            }
            group.take_snapshot(now, true, out);
            self.refresh(now, id);
        }
    }

    fn on_control_led(&mut self, now: Now, is_led: bool, out: &mut Outputs<Output>) {
        if is_led {
            self.unled_since = None;
            if self.drive == Drive::Ticking {
                self.set_drive(now, Drive::Passive, out);
            }
        } else {
            self.unled_since.get_or_insert(now);
        }
    }

    fn set_drive(&mut self, now: Now, drive: Drive, out: &mut Outputs<Output>) {
        self.drive = drive;
        out.push(Output::Report(Event::Driven { drive }));
        self.step_all(now, &raft::Input::Drive(drive), out);
    }
}

/// Groups that come and go.
impl Groups {
    fn open(&mut self, now: Now, record: GroupRecord, rebuilding: bool, out: &mut Outputs<Output>) {
        let id = GroupId(record.id);
        if !record.replicas.contains(&self.home.id.0) {
            return self.afar.on_record(&record);
        }
        if self.groups.contains_key(&id) {
            return;
        }
        if self.dormant.get(&id).is_some_and(Recovered::was_removed) {
            // A node that starts reads its record from the saved state on: the removal is ahead.
            return;
        }
        let Some(machine) = self.options.machines.make(&record.kind, id) else {
            return out.push(Output::Report(Event::UnknownKind { group: id }));
        };
        let mut recovered = self.dormant.remove(&id).unwrap_or_default();
        recovered.raft.hard_state.rebuilding |= rebuilding;
        let opening = Opening {
            home: self.home,
            raft: raft::Options { drive: self.drive, ..self.options.raft.clone() },
            record,
            machine,
            recovered,
            seed: self.prng.draw(),
        };
        let mut group = Group::open(opening, now);
        group.begin(now, out);
        for peer in group.peers() {
            self.liveness.share(now, peer);
        }
        self.groups.insert(id, Box::new(group));
        for (peer, is_alive) in self.liveness.peers().collect::<Vec<_>>() {
            if !is_alive {
                self.step(now, id, raft::Input::Peer { id: peer, is_alive }, out);
            }
        }
        self.refresh(now, id);
        self.look_soon(now, id);
    }

    /// The replica goes; what it has in the shared log is given up by an empty snapshot at its end.
    fn close(&mut self, id: GroupId, out: &mut Outputs<Output>) {
        let Some(meta) = self.forget(id, out).or_else(|| self.dormant_meta(id)) else { return };
        let snapshot = Snapshot { meta, data: Bytes::new() };
        let write = Write::Snapshot { snapshot, keep_from: Index(u64::MAX), discard_log: true };
        // The last write of a group that is never opened again (its id is spent): above all others.
        out.push(Output::Persist { group: id, id: PersistId(u64::MAX), write });
    }

    /// Where the replica stood.
    fn forget(&mut self, id: GroupId, out: &mut Outputs<Output>) -> Option<SnapshotMeta> {
        let mut group = self.groups.remove(&id)?;
        group.close(out);
        for peer in group.peers() {
            self.liveness.unshare(peer);
        }
        self.timers.set(id, None);
        self.restless.remove(&id);
        self.waiting.remove(&id);
        if let Some(since) = self.unsaved_since.remove(&id) {
            self.unsaved.remove(&(since, id));
        }
        Some(group.raft().snapshot_meta())
    }

    /// Of a group that was never opened, since this program does not know its kind.
    fn dormant_meta(&mut self, id: GroupId) -> Option<SnapshotMeta> {
        let found = self.dormant.remove(&id).filter(|found| !found.was_removed())?;
        Some(found.raft.snapshot)
    }
}

/// What peers say, and what is known of them.
impl Groups {
    /// A peer said something, about groups or not: it is alive.
    pub fn on_heard(&mut self, now: Now, from: NodeId, out: &mut Outputs<Output>) {
        if let Some(change) = self.liveness.on_heard(now, from) {
            self.on_liveness(now, change, out);
        }
    }

    fn on_message(&mut self, now: Now, from: NodeId, message: Message, out: &mut Outputs<Output>) {
        match message {
            Message::Raft { group, message } => {
                self.step(now, group, raft::Input::Message { from, message }, out);
            }
            Message::Alive { boot, is_deaf } => {
                if let Some(change) = self.liveness.on_alive(now, from, (boot, is_deaf)) {
                    self.on_liveness(now, change, out);
                }
            }
            Message::Propose { group, proposals } if proposals.is_empty() => {
                self.tell_who_leads(now, from, group, out);
            }
            Message::Propose { group, proposals } => {
                if let Some(found) = self.groups.get_mut(&group) {
                    found.on_relayed(from, proposals);
                    self.refresh(now, group);
                } else {
                    turn_away(from, group, proposals, out);
                }
            }
            Message::ProposeRefused { group, sequences, full, leader } => {
                if let Some(found) = self.groups.get_mut(&group) {
                    found.on_refused(now, &sequences, full, out);
                    self.refresh(now, group);
                } else {
                    let refused = Refused { group, sequences: &sequences, full, leader };
                    self.afar.on_refused(now, from, refused, out);
                }
            }
            Message::Question { group, boot, number, query, is_local } => {
                let asker = Asker::Afar { node: from, boot, number };
                if let Some(found) = self.groups.get_mut(&group) {
                    found.on_question(now, asker, (query, is_local), out);
                    self.refresh(now, group);
                } else {
                    let (matter, answer) = (Matter::Question(number), Answer::Elsewhere);
                    let message = Message::Answered { group, boot, matter, answer };
                    out.push(Output::Send { to: from, after: None, message });
                }
            }
            Message::Answered { group, boot, matter, answer } => {
                let answered = Answered { group, boot, matter, answer };
                self.afar.on_answer(now, from, answered, out);
            }
            // For the leader of the control group; the node takes them.
            Message::Claims(_) => {}
        }
    }

    /// A peer does not know who leads: if a replica here does, it begins anew with that peer.
    fn tell_who_leads(&mut self, now: Now, to: NodeId, id: GroupId, out: &mut Outputs<Output>) {
        if self.liveness.is_alive(to) == Some(true) {
            for is_alive in [false, true] {
                self.step(now, id, raft::Input::Peer { id: to, is_alive }, out);
            }
        }
    }

    /// Every group that has a replica there is told.
    fn on_liveness(&mut self, now: Now, change: liveness::Change, out: &mut Outputs<Output>) {
        let (node, changes): (NodeId, &[bool]) = match change {
            liveness::Change::Silent(node) => (node, &[false]),
            liveness::Change::Back(node) => (node, &[true]),
            liveness::Change::Anew(node) | liveness::Change::Met(node) => (node, &[false, true]),
        };
        let is_worth_telling = !matches!(change, liveness::Change::Met(_));
        let shared: Vec<GroupId> = (self.groups.iter())
            .filter(|(_, group)| group.record().replicas.contains(&node.0))
            .map(|(id, _)| *id)
            .collect();
        for is_alive in changes {
            if is_worth_telling {
                out.push(Output::Report(Event::PeerAlive { node, is_alive: *is_alive }));
            }
            for id in &shared {
                let input = raft::Input::Peer { id: node, is_alive: *is_alive };
                self.step(now, *id, input, out);
            }
        }
    }

    /// The client has gone: forget the request. A command may still happen.
    pub fn cancel(&mut self, request: RequestId) {
        for id in &self.restless {
            if let Some(group) = self.groups.get_mut(id) {
                group.on_cancel(request);
            }
        }
        self.afar.cancel(request);
    }
}

/// Commands for a group of which this node has no replica, or none yet.
fn turn_away(from: NodeId, group: GroupId, proposals: Vec<Bytes>, out: &mut Outputs<Output>) {
    let mut relayed = Relayed::default();
    relayed.add(from, proposals);
    for (to, sequences) in relayed.refuse() {
        let message = Message::ProposeRefused { group, sequences, full: false, leader: None };
        out.push(Output::Send { to, after: None, message });
    }
}

/// Steps, and the sets that follow from them.
impl Groups {
    pub(crate) fn step(
        &mut self,
        now: Now,
        id: GroupId,
        input: raft::Input,
        out: &mut Outputs<Output>,
    ) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.handle(now, input, out);
        self.refresh(now, id);
    }

    fn step_all(&mut self, now: Now, input: &raft::Input, out: &mut Outputs<Output>) {
        for id in self.groups.keys().copied().collect::<Vec<_>>() {
            self.step(now, id, input.clone(), out);
        }
    }

    /// Puts a group in the sets it belongs to, and takes it out of the others.
    fn refresh(&mut self, now: Now, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        self.applied += group.take_fresh();
        self.timers.set(id, group.deadline().map(|(at, _)| at));
        let (is_restless, is_waiting) = (group.is_restless(), group.is_waiting());
        if is_restless {
            self.begin_chores(now);
            self.restless.insert(id);
        } else {
            self.restless.remove(&id);
        }
        if is_waiting {
            self.waiting.insert(id);
        }
        self.note_unsaved(id);
    }

    fn note_unsaved(&mut self, id: GroupId) {
        let unsaved = self.groups.get(&id).map_or(0, |group| group.unsaved());
        match self.unsaved_since.get(&id).copied() {
            None if unsaved > 0 => {
                self.unsaved_since.insert(id, self.applied);
                self.unsaved.insert((self.applied, id));
            }
            Some(since) if unsaved == 0 => {
                self.unsaved_since.remove(&id);
                self.unsaved.remove(&(since, id));
            }
            _ => {}
        }
    }
}

/// When groups want to be woken: only those that do are in it.
#[derive(Clone, Debug, Default)]
struct Timers {
    by_group: BTreeMap<GroupId, Now>,
    in_order: BTreeSet<(Now, GroupId)>,
}

impl Timers {
    fn set(&mut self, id: GroupId, due: Option<Now>) {
        let before = match due {
            Some(due) => self.by_group.insert(id, due),
            None => self.by_group.remove(&id),
        };
        if before == due {
            return;
        }
        if let Some(before) = before {
            self.in_order.remove(&(before, id));
        }
        if let Some(due) = due {
            self.in_order.insert((due, id));
        }
    }

    fn first(&self) -> Option<Now> {
        self.in_order.first().map(|(at, _)| *at)
    }

    /// The groups that are to be woken; each sets its next time when it was stepped.
    fn take_due(&mut self, now: Now) -> Vec<GroupId> {
        let mut due = Vec::new();
        while let Some((at, id)) = self.in_order.first().copied()
            && at <= now
        {
            self.in_order.pop_first();
            self.by_group.remove(&id);
            due.push(id);
        }
        due
    }
}
