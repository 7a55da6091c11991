//! The driver of every node: gathers inputs, hands them over, carries outputs out in order.

use super::World;
use super::steps::Happening;
use crate::checkers::Broken;
use crate::checkers::logs::Observed;
use crate::checkers::quorums::{check_elected, check_overlap};
use crate::host::{Held, Process, Seen, Standing, address_of, id_of, place_of, place_of_address};
use crate::net::{Fate, Parcel};
use crate::time::{Clock, Time, nanos};
use bytes::Bytes;
use muslin_core::base::{
    ClusterId, GroupId, Index, LogId, Machine as _, NodeId, Outputs, PersistId,
};
use muslin_core::node::{self, Event, Input, Node, Output, PeerMessage};
use muslin_core::raft::{self, Message, Payload, Role, Write};
use muslin_core::state::CommandKind;
use muslin_core::wire;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

/// The one cluster of a simulation.
const CLUSTER: ClusterId = ClusterId(0x006d_7573_6c69_6e00);

impl World {
    /// Starts a node from what its disk has.
    pub(crate) fn start(&mut self, place: usize) {
        let (draw, offset) = (self.draws.process.draw(), self.draws.process.below(1 << 50));
        let drift_most = self.profile.machines.drift_ppm;
        let drift = self.draws.process.below(2 * drift_most.unsigned_abs() + 1) as i64 - drift_most;
        let host = &mut self.hosts[place];
        let may_run = matches!(host.standing, Standing::Member | Standing::Removed);
        if host.process.is_some() || !may_run {
            return;
        }
        self.net.on_start(place);
        host.life += 1;
        host.boot += 1;
        host.hindered = self.time;
        let clock = Clock::started(self.time, offset, drift);
        let mut options = node::Options::new(host.id, CLUSTER, address_of(place));
        options.boot = host.boot;
        options.metadata.name = format!("{:?}", host.id);
        options.founding = self.founding.clone();
        options.raft = self.profile.raft.clone();
        options.swim = self.profile.swim.clone();
        options.request_timeout = self.profile.request_timeout;
        options.snapshot_entries = self.profile.snapshot_entries;
        let recovered = host.disk.recovered();
        host.hard_state = recovered.raft.hard_state;
        self.trace.tell(self.time, format_args!("{:?} starts, boot {}", host.id, host.boot));
        let node = Node::new(options, recovered, draw, clock.now(self.time));
        let base = host.disk.written().base().last.index;
        let seen = Seen {
            role: Role::Follower,
            term: node.raft().term(),
            commit: base,
            applied: Index::ZERO,
        };
        host.process = Some(Process {
            node,
            clock,
            inbox: VecDeque::new(),
            held: Vec::new(),
            busy_until: self.time,
            is_roused: true,
            due: None,
            wake_at: None,
            is_paused: false,
            is_stopping: false,
            routes: BTreeMap::new(),
            refused: BTreeSet::new(),
            cut_after: None,
            seen,
        });
        let life = host.life;
        let contacts = (0..self.profile.nodes).filter(|other| *other != place).map(address_of);
        self.arrive(place, Input::Contacts(contacts.collect()));
        self.queue.push(self.time, Happening::Work { host: place, life });
    }

    /// Power is gone, and with it all that no sync has saved.
    pub(crate) fn crash(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        if host.process.take().is_none() {
            return;
        }
        let prng = &mut self.draws.disk;
        let pending = host.disk.pending() as u64;
        // The harshest crash half the time; else some prefix of what was under way is there.
        let (survivors, torn) = match prng.below(2) {
            0 => (0, 0),
            _ => (prng.below(pending + 1), prng.below(4)),
        };
        host.disk.crash(survivors as usize, torn as usize);
        host.life += 1;
        self.crashes += 1;
        self.net.on_crash(place);
        let text = format_args!("{:?} loses power: {survivors} of {pending} writes", host.id);
        self.trace.tell(self.time, text);
        self.on_host_lost(place);
    }

    /// Something comes for a node.
    pub(super) fn arrive(&mut self, place: usize, input: Input) {
        let Some(process) = &mut self.hosts[place].process else { return };
        process.inbox.push_back(input);
    }

    /// Lets a node work if it can, at once or when it has time.
    pub(super) fn rouse(&mut self, place: usize) -> Result<(), Broken> {
        let host = &mut self.hosts[place];
        let Some(process) = &mut host.process else { return Ok(()) };
        if process.is_paused || process.is_roused {
            return Ok(());
        }
        if process.busy_until > self.time {
            process.is_roused = true;
            let work = Happening::Work { host: place, life: host.life };
            self.queue.push(process.busy_until, work);
            return Ok(());
        }
        self.work(place)
    }

    /// As [`World::rouse`], never at once: whoever calls has more to do first.
    pub(super) fn rouse_soon(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        let Some(process) = &mut host.process else { return };
        if process.is_paused || process.is_roused {
            return;
        }
        process.is_roused = true;
        let at = process.busy_until.max(self.time);
        self.queue.push(at, Happening::Work { host: place, life: host.life });
    }

    pub(super) fn on_work(&mut self, place: usize, life: u64) -> Result<(), Broken> {
        let host = &mut self.hosts[place];
        if host.life != life {
            return Ok(());
        }
        let Some(process) = &mut host.process else { return Ok(()) };
        process.is_roused = false;
        if process.is_paused { Ok(()) } else { self.work(place) }
    }

    pub(super) fn on_wake(&mut self, place: usize, life: u64) -> Result<(), Broken> {
        let host = &mut self.hosts[place];
        if host.life != life {
            return Ok(());
        }
        let Some(process) = &mut host.process else { return Ok(()) };
        if process.wake_at != Some(self.time) {
            return Ok(());
        }
        process.wake_at = None;
        let now = process.clock.now(self.time);
        if process.due.is_some_and(|due| due <= now) {
            self.rouse(place)
        } else {
            self.plan_wake(place);
            Ok(())
        }
    }

    pub(super) fn on_parcel(&mut self, parcel: Box<Parcel>) -> Result<(), Broken> {
        let Some(parcel) = self.net.arrive(parcel) else { return Ok(()) };
        let Parcel { from, to, message, .. } = *parcel;
        let from = id_of(from);
        let process = self.hosts[to].process.as_ref();
        if process.is_none_or(|process| process.refused.contains(&from)) {
            return Ok(());
        }
        self.arrive(to, Input::Peer { from, message });
        self.rouse(to)
    }

    pub(super) fn on_datagram(
        &mut self,
        from: SocketAddr,
        to: usize,
        bytes: Bytes,
    ) -> Result<(), Broken> {
        if self.net.is_cut(place_of_address(from), to) {
            return Ok(());
        }
        self.arrive(to, Input::Datagram { from, bytes });
        self.rouse(to)
    }

    pub(super) fn on_synced(&mut self, place: usize, life: u64) -> Result<(), Broken> {
        let host = &mut self.hosts[place];
        if host.life != life {
            return Ok(());
        }
        for id in host.disk.finish_sync() {
            self.arrive(place, Input::Persisted { group: GroupId::CONTROL, id });
        }
        if let Some(index) = self.hosts[place].disk.take_saved() {
            self.arrive(place, Input::Saved { group: GroupId::CONTROL, index });
        }
        self.sync(place, self.time);
        self.rouse(place)
    }

    /// Starts the next sync, if something waits for one.
    fn sync(&mut self, place: usize, at: Time) {
        let host = &mut self.hosts[place];
        if host.disk.start_sync(self.profile.disks.batch).is_none() {
            return;
        }
        let delay = self.profile.disks.sync.draw(&mut self.draws.disk) + host.slow_disk;
        self.queue.push(at + delay, Happening::Synced { host: place, life: host.life });
    }

    /// One batch of a node: everything that waits, then a flush, then what it wants done.
    fn work(&mut self, place: usize) -> Result<(), Broken> {
        let mut out = std::mem::take(&mut self.out);
        let mut leaving = Vec::new();
        let handled = self.hand_over(place, &mut out, &mut leaving);
        self.events += handled;
        let cost = self.profile.machines.batch_cost
            + self.profile.machines.input_cost * u32::try_from(handled).unwrap_or(u32::MAX);
        let done = self.time + cost;
        let process = self.hosts[place].process.as_mut().expect("it has just worked");
        process.busy_until = done;
        let result = self
            .observe(place, &out)
            .and_then(|()| self.carry_out(place, (&mut out, leaving), done));
        for _ in out.drain() {}
        self.out = out;
        result?;
        let Some(process) = &mut self.hosts[place].process else { return Ok(()) };
        if !process.inbox.is_empty() && !process.is_roused {
            process.is_roused = true;
            let life = self.hosts[place].life;
            self.queue.push(done, Happening::Work { host: place, life });
        }
        self.sync(place, done);
        self.note_deadline(place);
        Ok(())
    }

    /// Hands a batch over. Inputs come before timers, as in a process that was asleep. How many
    /// inputs.
    fn hand_over(
        &mut self,
        place: usize,
        out: &mut Outputs<Output>,
        leaving: &mut Vec<Held>,
    ) -> u64 {
        let (at, most) = (self.time, self.profile.machines.batch);
        let host = &mut self.hosts[place];
        let id = host.id;
        let process = host.process.as_mut().expect("only a running node works");
        let now = process.clock.now(at);
        let mut handled = 0;
        while handled < most
            && let Some(input) = process.inbox.pop_front()
        {
            handled += 1;
            if let Input::Persisted { id: durable, .. } = input {
                leaving.extend(process.held.extract_if(.., |held| held.after <= durable));
            }
            self.trace.input(at, id, &input);
            process.node.handle(now, input, out);
        }
        // The inputs may have put it off.
        if process.due.is_some_and(|due| due <= now)
            && process.node.deadline().is_some_and(|(due, _)| due <= now)
        {
            handled += 1;
            self.trace.input(at, id, &Input::Tick);
            process.node.handle(now, Input::Tick, out);
        }
        process.node.handle(now, Input::Flush, out);
        handled
    }

    /// Looks inside the node after a batch, before anything of it has left.
    fn observe(&mut self, place: usize, out: &Outputs<Output>) -> Result<(), Broken> {
        for output in out.as_slice() {
            if let Output::Persist { write, .. } = output {
                self.observe_write(place, write)?;
            }
        }
        let host = &mut self.hosts[place];
        let node = host.id;
        let process = host.process.as_mut().expect("it has just worked");
        let raft = process.node.raft();
        let before = process.seen;
        let after = Seen {
            role: raft.role(),
            term: raft.term(),
            commit: raft.commit(),
            applied: raft.applied(),
        };
        process.seen = after;
        let led = before.role == Role::Leader && before.term == after.term;
        let leads = after.role == Role::Leader;
        if after.term < before.term || after.commit < before.commit {
            let facts = format!("{node:?} goes back from {before:?} to {after:?}");
            return Err(Broken::new("R5", facts));
        }
        if leads && !led {
            self.leaders.on_leader(after.term, node)?;
            let written = self.hosts[place].disk.written();
            self.logs.on_elected(node, after.term, written)?;
            let in_force = written.voters_from(written.last());
            let has_voted = |voter| self.promises.has_voted(voter, after.term, node);
            let votes = in_force.last().map(|it| check_elected((node, after.term), it, has_voted));
            votes.transpose()?;
        }
        if after.commit != before.commit {
            let commit = (before.commit, after.commit);
            self.observe_commit(place, (after.term, led && leads), commit)?;
        }
        if leads && out.as_slice().iter().any(is_about_voters) {
            check_overlap(node, &self.hosts[place].disk.written().voters_from(after.commit))?;
        }
        self.hosts[place].disk.trim();
        if after.applied != before.applied {
            let process = self.hosts[place].process.as_ref().expect("it has just worked");
            self.ledger.on_node_state(node, after.applied, process.node.state())?;
        }
        Ok(())
    }

    fn observe_write(&mut self, place: usize, write: &Write) -> Result<(), Broken> {
        let host = &mut self.hosts[place];
        if let Write::Log { hard_state, entries } = write {
            if let Some(hard_state) = hard_state {
                self.promises.on_hard_state(host.id, host.hard_state, *hard_state)?;
                host.hard_state = *hard_state;
            }
            let mut prev = entries
                .first()
                .and_then(|first| host.disk.written().term_at(Index(first.id.index.0 - 1)));
            for entry in entries {
                self.logs.on_append(host.id, entry, prev)?;
                prev = Some(entry.id.term);
            }
        }
        host.disk.note(write);
        Ok(())
    }

    fn observe_commit(
        &mut self,
        place: usize,
        (term, leads): (muslin_core::base::Term, bool),
        commit: (Index, Index),
    ) -> Result<(), Broken> {
        let mut fresh = std::mem::take(&mut self.fresh);
        let hosts = &self.hosts;
        let host = &hosts[place];
        let seen = Observed { node: host.id, term, leads, written: host.disk.written(), commit };
        let is_durable = |node: NodeId, id: LogId| hosts[place_of(node)].disk.durable().has(id);
        let mut result = self.logs.on_commit(&seen, is_durable, &mut fresh);
        for entry in fresh.drain(..) {
            if result.is_ok() {
                result = self.ledger.on_committed(&entry).and_then(|command| {
                    match command.and_then(|command| command.kind) {
                        Some(CommandKind::LeaseRevoke(revoke)) => {
                            self.leases.on_revoked(self.time, &revoke)
                        }
                        _ => Ok(()),
                    }
                });
            }
        }
        self.fresh = fresh;
        result
    }

    /// Carries outputs out, in order; they leave when the batch is done.
    fn carry_out(
        &mut self,
        place: usize,
        (out, leaving): (&mut Outputs<Output>, Vec<Held>),
        done: Time,
    ) -> Result<(), Broken> {
        for Held { to, message, .. } in leaving {
            self.transmit(place, to, message, done)?;
        }
        let cut_after =
            self.hosts[place].process.as_mut().and_then(|process| process.cut_after.take());
        for (number, output) in out.drain().enumerate() {
            if cut_after == Some(number) {
                self.crash_for_a_while(place);
                return Ok(());
            }
            // An answer may have been the occasion for a crash.
            if self.hosts[place].process.is_none() {
                return Ok(());
            }
            self.trace.output(self.time, self.hosts[place].id, &output);
            self.carry(place, output, done)?;
        }
        Ok(())
    }

    fn carry(&mut self, place: usize, output: Output, done: Time) -> Result<(), Broken> {
        let host = &mut self.hosts[place];
        let process = host.process.as_mut().expect("outputs of a running node");
        match output {
            Output::Persist { id, write, .. } => host.disk.issue(id, write),
            Output::Save { snapshot, keep_from, .. } => host.disk.save(snapshot, keep_from),
            Output::Send { to, after, message } => {
                let after = after.map_or(PersistId::ZERO, |(_, id)| id);
                if after > host.disk.durable_id() {
                    process.held.push(Held { after, to, message });
                } else {
                    self.transmit(place, to, message, done)?;
                }
            }
            Output::Datagram { to, bytes } => self.gossip(place, to, bytes, done),
            Output::Reply { id, reply } => self.on_reply(place, id, reply)?,
            Output::Route { node, address } => {
                process.routes.insert(node, address);
            }
            Output::Unroute(node) => {
                process.routes.remove(&node);
                process.refused.insert(node);
            }
            Output::Report(event) => self.on_event(place, &event)?,
        }
        Ok(())
    }

    /// Some events must never be told where disks keep what they synced and peers speak well.
    fn on_event(&mut self, place: usize, event: &Event) -> Result<(), Broken> {
        match event {
            Event::Raft { event: raft::Event::SnapshotInstalled { .. }, .. } => self.installs += 1,
            Event::Raft { event: raft::Event::DataLost { .. }, .. } => {
                let facts = format!("{:?}, whose disk is whole: {event:?}", self.hosts[place].id);
                return Err(Broken::new("R3", facts));
            }
            Event::BadMessage { .. } => {
                let facts = format!("{:?} of its peers: {event:?}", self.hosts[place].id);
                return Err(Broken::new("wire", facts));
            }
            _ => {}
        }
        Ok(())
    }

    /// Sends on the stream to a peer.
    fn transmit(
        &mut self,
        place: usize,
        to: NodeId,
        message: PeerMessage,
        at: Time,
    ) -> Result<(), Broken> {
        let host = &self.hosts[place];
        if let PeerMessage::Raft { message: Message::Bound(bound), .. } = &message {
            self.promises.on_send((host.id, to), host.disk.durable(), bound)?;
        }
        let route = host.process.as_ref().and_then(|process| process.routes.get(&to));
        let other = place_of(to);
        if route.is_none_or(|address| *address != address_of(other)) {
            return Ok(());
        }
        let message = if self.profile.network.encoded { encoded(message)? } else { message };
        let parcel = self.net.pack(place, other, message);
        match self.net.send(&self.profile.network, at, &parcel) {
            Fate::Lost => {}
            Fate::Arrives(arrival) => self.queue.push(arrival, Happening::Parcel(parcel)),
            Fate::Twice(first, second) => {
                let again = self.net.pack(place, other, parcel.message.clone());
                self.queue.push(first, Happening::Parcel(parcel));
                self.queue.push(second, Happening::Parcel(again));
            }
        }
        Ok(())
    }

    fn gossip(&mut self, place: usize, to: SocketAddr, bytes: Bytes, at: Time) {
        let other = place_of_address(to);
        if other >= self.hosts.len() {
            return;
        }
        let from = address_of(place);
        let fate = self.net.send_datagram(&self.profile.network, at, (place, other));
        let (first, second) = match fate {
            Fate::Lost => return,
            Fate::Arrives(first) => (first, None),
            Fate::Twice(first, second) => (first, Some(second)),
        };
        if let Some(second) = second {
            let bytes = bytes.clone();
            self.queue.push(second, Happening::Datagram { from, to: other, bytes });
        }
        self.queue.push(first, Happening::Datagram { from, to: other, bytes });
    }

    /// The node's deadline may be another after a batch. One that was put off is looked at again
    /// when the old one comes: most are put off many times before they come.
    fn note_deadline(&mut self, place: usize) {
        let Some(process) = &mut self.hosts[place].process else { return };
        let before = process.due;
        process.due = process.node.deadline().map(|(due, _)| due);
        if process.wake_at.is_none() || process.due < before {
            self.plan_wake(place);
        }
    }

    /// Sees to it that the node is woken for its deadline, a little late as timers are.
    fn plan_wake(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        let Some(process) = &mut host.process else { return };
        let Some(deadline) = process.due else { return };
        let due = process.clock.when(deadline).max(process.busy_until);
        if process.wake_at.is_some_and(|at| at <= due) {
            return;
        }
        let late = self.draws.process.below(nanos(self.profile.machines.timer_late).max(1));
        let at = Time(due.0 + late);
        process.wake_at = Some(at);
        self.queue.push(at, Happening::Wake { host: place, life: host.life });
    }
}

fn is_about_voters(output: &Output) -> bool {
    let Output::Persist { write: Write::Log { entries, .. }, .. } = output else { return false };
    entries.iter().any(|entry| matches!(entry.payload, Payload::Configuration(_)))
}

/// Through its encoding and back: what arrives must be what was sent.
fn encoded(message: PeerMessage) -> Result<PeerMessage, Broken> {
    match wire::decode_peer(wire::encode_peer(&message)) {
        Ok(read) if read == message => Ok(read),
        other => Err(Broken::new("wire", format!("{message:?} is read as {other:?}"))),
    }
}
