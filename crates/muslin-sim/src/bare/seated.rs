//! A replica in its seat: the replica, its registers, and what it was asked.

use super::crowd::{Client, Crowd, Ticket, Told};
use super::registers::{Put, Registers};
use crate::checkers::Broken;
use crate::checkers::logs::Fresh;
use crate::host::id_of;
use crate::profile::Profile;
use crate::replica::{Input, Output, Promise, Replica, Seat, View, fold_message};
use crate::subject::{Act, Subject, Unsettled};
use crate::time::Time;
use crate::trace::{Trace, WordHash, fold_meta, fold_write};
use crate::world::World;
use muslin_core::base::{GroupId, Index, NodeId, Now, Outputs, PersistId};
use muslin_core::raft::{Configuration, DiskRoom, ReadId, Snapshot, Write};
use std::collections::VecDeque;

/// A world of replicas of one group.
pub(crate) fn world<R: Replica>(seed: u64, profile: Profile, trace: Trace) -> World<Bare<R>> {
    World::new(seed, profile, trace, |_| Crowd::default())
}

/// A replica and what its process holds.
pub(crate) struct Bare<R: Replica> {
    pub(super) replica: R,
    pub(super) registers: Registers,
    /// Proposals for the next flush.
    proposals: Vec<bytes::Bytes>,
    /// Who waits for a value to be applied, in the order of asking.
    writers: VecDeque<(u64, Ticket)>,
    /// Who waits for a read index.
    readers: VecDeque<(ReadId, Ticket)>,
    /// Who waits for entries up to an index to be applied.
    behind: Vec<(Index, Ticket)>,
    last_read: u64,
    saved: Index,
    snapshot_entries: u64,
    is_snapshot_needed: bool,
    /// Kept for its allocation.
    said: Outputs<Output<R::Message>>,
}

/// What comes to a seat.
pub(crate) enum Arrival<M> {
    /// For the replica.
    Replica(Input<M>),
    /// A client writes.
    Write { ticket: Ticket, put: Put },
    /// A client reads.
    Read { ticket: Ticket, by_lease: bool },
}

/// What a seat wants done.
pub(crate) enum Deed<M> {
    Persist {
        id: PersistId,
        write: Write,
    },
    Send {
        to: NodeId,
        after: Option<PersistId>,
        message: M,
    },
    Save {
        snapshot: Snapshot,
        keep_from: Index,
    },
    /// A client is answered.
    Tell {
        ticket: Ticket,
        told: Told,
    },
    Event(Box<muslin_core::raft::Event>),
}

impl<R: Replica> Bare<R> {
    fn step(&mut self, now: Now, input: Input<R::Message>, out: &mut Outputs<Deed<R::Message>>) {
        let mut said = std::mem::take(&mut self.said);
        self.replica.handle(now, input, &mut said);
        for output in said.drain() {
            self.on_output(output, out);
        }
        self.said = said;
        self.take_snapshot(now, out);
    }

    fn on_output(&mut self, output: Output<R::Message>, out: &mut Outputs<Deed<R::Message>>) {
        match output {
            Output::Persist { id, write } => out.push(Deed::Persist { id, write }),
            Output::Send { to, after, message } => out.push(Deed::Send { to, after, message }),
            Output::Save { snapshot, keep_from } => out.push(Deed::Save { snapshot, keep_from }),
            Output::Commit(entries) => {
                for entry in &entries {
                    let put = self.registers.apply(entry);
                    self.answer_writer(put, out);
                }
                self.answer_behind(out);
            }
            Output::Install(snapshot) => {
                self.registers = Registers::restored(&snapshot.data);
                self.registers.applied = snapshot.meta.last.index;
                self.saved = self.registers.applied;
                // Whether these were in the snapshot is not known here.
                for (_, ticket) in self.writers.drain(..) {
                    out.push(Deed::Tell { ticket, told: Told::Failed });
                }
                self.answer_behind(out);
            }
            Output::SnapshotNeeded => self.is_snapshot_needed = true,
            Output::ReadReady { id, index } => {
                if let Some(ticket) = self.take_reader(id) {
                    self.behind.push((index, ticket));
                    self.answer_behind(out);
                }
            }
            Output::ReadFailed { id } => {
                if let Some(ticket) = self.take_reader(id) {
                    out.push(Deed::Tell { ticket, told: Told::Failed });
                }
            }
            Output::Report(event) => out.push(Deed::Event(event)),
        }
    }

    fn take_reader(&mut self, id: ReadId) -> Option<Ticket> {
        let place = self.readers.iter().position(|(waits, _)| *waits == id)?;
        self.readers.remove(place).map(|(_, ticket)| ticket)
    }

    fn answer_writer(&mut self, put: Option<Put>, out: &mut Outputs<Deed<R::Message>>) {
        let Some(put) = put else { return };
        let Some(place) = self.writers.iter().position(|(value, _)| *value == put.value) else {
            return;
        };
        let (_, ticket) = self.writers.remove(place).expect("it was found a line ago");
        let told = Told::Written { value: put.value, index: self.registers.applied };
        out.push(Deed::Tell { ticket, told });
    }

    fn answer_behind(&mut self, out: &mut Outputs<Deed<R::Message>>) {
        let applied = self.registers.applied;
        for (_, ticket) in self.behind.extract_if(.., |(index, _)| *index <= applied) {
            out.push(Deed::Tell { ticket, told: Told::Read(self.registers) });
        }
    }

    fn take_snapshot(&mut self, now: Now, out: &mut Outputs<Deed<R::Message>>) {
        let applied = self.registers.applied;
        let save = applied.0 - self.saved.0 >= self.snapshot_entries;
        if !save && !self.is_snapshot_needed {
            return;
        }
        self.is_snapshot_needed = false;
        if save {
            self.saved = applied;
        }
        let meta = self.replica.snapshot_meta();
        let snapshot = Snapshot { meta, data: self.registers.snapshot() };
        self.step(now, Input::Snapshot { snapshot, save }, out);
    }

    fn on_write(&mut self, ticket: Ticket, put: Put, out: &mut Outputs<Deed<R::Message>>) {
        if !self.replica.accepts_proposals() {
            return out.push(Deed::Tell { ticket, told: Told::Refused });
        }
        self.writers.push_back((put.value, ticket));
        self.proposals.push(put.encoded());
    }

    fn on_read(
        &mut self,
        now: Now,
        (ticket, by_lease): (Ticket, bool),
        out: &mut Outputs<Deed<R::Message>>,
    ) {
        self.last_read += 1;
        let id = ReadId(self.last_read);
        self.readers.push_back((id, ticket));
        self.step(now, if by_lease { Input::LeaseRead(id) } else { Input::Read(id) }, out);
    }
}

impl<R: Replica> Subject for Bare<R> {
    type Input = Arrival<R::Message>;
    type Output = Deed<R::Message>;
    type Message = R::Message;
    type Crowd = Crowd;
    type Local = ();

    fn start(world: &mut World<Self>, place: usize, now: Now) -> (Self, ()) {
        let host = &world.hosts[place];
        let founding = Configuration::of_voters((0..world.profile.first_voters()).map(id_of));
        let seed = world.draws.process.draw();
        let options = world.profile.raft.clone();
        let seat = Seat { id: host.id, founding: founding.clone(), options, seed };
        let mut found = host.disk.recovered(GroupId::CONTROL);
        let snapshot = host.disk.snapshot(GroupId::CONTROL);
        if snapshot.is_none() {
            found.snapshot.configuration = founding;
        }
        let mut registers = Registers::restored(&snapshot.unwrap_or_default());
        registers.applied = found.snapshot.last.index;
        let bare = Bare {
            replica: R::start(seat, found, now),
            saved: registers.applied,
            registers,
            proposals: Vec::new(),
            writers: VecDeque::new(),
            readers: VecDeque::new(),
            behind: Vec::new(),
            last_read: 0,
            snapshot_entries: world.profile.snapshot_entries,
            is_snapshot_needed: false,
            said: Outputs::new(),
        };
        (bare, ())
    }

    fn handle(&mut self, now: Now, input: Self::Input, out: &mut Outputs<Self::Output>) {
        match input {
            Arrival::Replica(input) => self.step(now, input, out),
            Arrival::Write { ticket, put } => self.on_write(ticket, put, out),
            Arrival::Read { ticket, by_lease } => self.on_read(now, (ticket, by_lease), out),
        }
    }

    fn flush(&mut self, now: Now, out: &mut Outputs<Self::Output>) {
        if self.proposals.is_empty() {
            return;
        }
        let proposals = std::mem::take(&mut self.proposals);
        if self.replica.accepts_proposals() {
            return self.step(now, Input::Propose(proposals), out);
        }
        // Leadership was lost within the batch: whoever asked is told that nothing happened.
        let from = self.writers.len() - proposals.len();
        for (_, ticket) in self.writers.drain(from..) {
            out.push(Deed::Tell { ticket, told: Told::Refused });
        }
    }

    fn deadline(&self) -> Option<Now> {
        self.replica.deadline()
    }

    fn survives_damage() -> bool {
        R::survives_damage()
    }

    fn configures_when_applied() -> bool {
        R::configures_when_applied()
    }

    fn tick() -> Self::Input {
        Arrival::Replica(Input::Tick)
    }

    fn shutdown() -> Self::Input {
        Arrival::Replica(Input::Shutdown)
    }

    fn persisted(_: GroupId, id: PersistId) -> Self::Input {
        Arrival::Replica(Input::Persisted(id))
    }

    fn saved(_: GroupId, index: Index) -> Self::Input {
        Arrival::Replica(Input::Saved(index))
    }

    fn disk(room: DiskRoom) -> Self::Input {
        Arrival::Replica(Input::Disk(room))
    }

    fn received(from: NodeId, message: R::Message) -> Self::Input {
        Arrival::Replica(Input::Message { from, message })
    }

    fn durable(input: &Self::Input) -> Option<(GroupId, PersistId)> {
        match input {
            Arrival::Replica(Input::Persisted(id)) => Some((GroupId::CONTROL, *id)),
            _ => None,
        }
    }

    fn write(output: &Self::Output) -> Option<(GroupId, &Write)> {
        match output {
            Deed::Persist { write, .. } => Some((GroupId::CONTROL, write)),
            _ => None,
        }
    }

    fn act(output: Self::Output) -> Act<Self> {
        const GROUP: GroupId = GroupId::CONTROL;
        match output {
            Deed::Persist { id, write } => Act::Persist { group: GROUP, id, write },
            Deed::Send { to, after, message } => {
                Act::Send { to, after: after.map(|id| (GROUP, id)), message }
            }
            Deed::Save { snapshot, keep_from } => Act::Save { group: GROUP, snapshot, keep_from },
            other => Act::Other(other),
        }
    }

    fn promise(message: &R::Message) -> Option<(GroupId, Promise)> {
        R::promise(message).map(|promise| (GroupId::CONTROL, promise))
    }

    fn of_another_cluster(view: &View, voters: Configuration) -> Option<R::Message> {
        R::of_another_cluster(view, voters)
    }

    fn encoded(message: R::Message) -> Result<R::Message, Broken> {
        R::encoded(message).map_err(|facts| Broken::new("wire", facts))
    }

    fn view(&self, _: GroupId) -> View {
        View { applied: self.registers.applied, ..self.replica.view() }
    }

    fn configurations(&self) -> [Configuration; 2] {
        self.replica.configurations()
    }

    fn fold_input(hash: &mut WordHash, input: &Self::Input) {
        match input {
            Arrival::Write { ticket, put } => {
                ticket.fold(hash);
                hash.word(put.value);
            }
            Arrival::Read { ticket, .. } => ticket.fold(hash),
            Arrival::Replica(Input::Message { from, message }) => {
                hash.word(from.0 << 8 | 3);
                fold_message::<R>(hash, message);
            }
            Arrival::Replica(Input::Persisted(id)) => hash.word(id.0 << 8 | 4),
            Arrival::Replica(_) => hash.word(5),
        }
    }

    fn fold_output(hash: &mut WordHash, output: &Self::Output) {
        match output {
            Deed::Persist { id, write } => {
                hash.word(id.0 << 8 | 11);
                fold_write(hash, write);
            }
            Deed::Send { to, after, message } => {
                hash.word(to.0 << 8 | 12);
                hash.word(after.unwrap_or_default().0);
                fold_message::<R>(hash, message);
            }
            Deed::Tell { ticket, told } => {
                ticket.fold(hash);
                told.fold(hash);
            }
            Deed::Save { snapshot, .. } => {
                hash.word(15);
                fold_meta(hash, &snapshot.meta);
            }
            Deed::Event(_) => hash.word(14),
        }
    }

    fn tell_input(input: &Self::Input) -> Option<String> {
        Some(match input {
            Arrival::Replica(Input::Message { from, message }) => format!("{from:?}: {message:?}"),
            Arrival::Replica(other) => format!("{other:?}"),
            Arrival::Write { ticket, put } => format!("{ticket:?} writes {put:?}"),
            Arrival::Read { ticket, by_lease: true } => format!("{ticket:?} reads by lease"),
            Arrival::Read { ticket, .. } => format!("{ticket:?} reads"),
        })
    }

    fn tell_output(output: &Self::Output) -> Option<String> {
        Some(match output {
            Deed::Persist { id, write } => format!("{id} {write:?}"),
            Deed::Save { snapshot, keep_from } => {
                format!("saves {:?}, keeps from {keep_from}", snapshot.meta)
            }
            Deed::Send { to, after: Some(after), message } => {
                format!("to {to:?} after {after}: {message:?}")
            }
            Deed::Send { to, after: None, message } => format!("to {to:?}: {message:?}"),
            Deed::Tell { ticket, told } => format!("{ticket:?}: {told:?}"),
            Deed::Event(event) => format!("{event:?}"),
        })
    }

    fn on_let_loose(world: &mut World<Self>) {
        world.hire_clients();
    }

    fn on_turn(world: &mut World<Self>, client: usize, turn: u64) -> Result<(), Broken> {
        world.on_client_turn(client, turn);
        Ok(())
    }

    fn on_started(_: &mut World<Self>, _: usize) {}

    fn on_other(
        world: &mut World<Self>,
        place: usize,
        output: Self::Output,
        _: Time,
    ) -> Result<(), Broken> {
        match output {
            Deed::Tell { ticket, told } => world.on_told(place, ticket, told),
            Deed::Event(event) => world.on_event(place, &event),
            Deed::Persist { .. } | Deed::Send { .. } | Deed::Save { .. } => {
                unreachable!("the world does these")
            }
        }
    }

    fn on_lost(world: &mut World<Self>, place: usize) {
        world.on_host_lost(place);
    }

    fn on_committed(world: &mut World<Self>, _: GroupId, entry: &Fresh) -> Result<(), Broken> {
        world.crowd.on_committed(entry)
    }

    fn on_applied(
        world: &mut World<Self>,
        place: usize,
        _: GroupId,
        _: Index,
    ) -> Result<(), Broken> {
        let host = &world.hosts[place];
        let process = host.process.as_ref().expect("it has just worked");
        world.crowd.check_registers(host.id, &process.subject.registers)
    }

    fn on_look(world: &mut World<Self>) -> Result<(), Broken> {
        world.let_the_impatient_go();
        world.switch_off_removed();
        world.keep_voters();
        Ok(())
    }

    fn on_transfer(world: &mut World<Self>, leader: usize, to: NodeId) {
        world.arrive(leader, Arrival::Replica(Input::Transfer(to)));
        world.rouse_soon(leader);
    }

    fn on_healed(world: &mut World<Self>) {
        world.crowd.clients.iter_mut().for_each(Client::retire);
        for place in world.members() {
            world.hire_probe(place);
        }
    }

    fn on_given_up(world: &mut World<Self>, place: usize) {
        world.crowd.retire_probe(place);
    }

    fn unanswered(world: &World<Self>) -> Option<usize> {
        world.crowd.unanswered_probe()
    }

    fn unsettled(world: &mut World<Self>) -> Option<Unsettled> {
        world.open_ends()
    }

    fn may_return(world: &World<Self>, place: usize) -> bool {
        world.crowd.is_member(place)
    }

    fn describe(world: &World<Self>) -> String {
        world.standings()
    }

    fn acked(world: &World<Self>) -> u64 {
        world.crowd.acked()
    }
}
