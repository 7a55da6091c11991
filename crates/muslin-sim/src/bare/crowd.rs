//! The clients of a bare group, and what their answers are held against.
//!
//! K1, R7: the log gives one order of all writes. An answer to a write names its place there; a
//! read shows all registers as of one place. Both are strictly serializable when nothing stands
//! before what was answered before it was asked.

use super::registers::{Put, REGISTERS, Registers};
use super::seated::{Arrival, Bare};
use crate::checkers::Broken;
use crate::checkers::logs::Fresh;
use crate::replica::Replica;
use crate::time::Time;
use crate::trace::WordHash;
use crate::world::{ASKED_IN_CALM_PPM, Happening, World};
use muslin_core::base::{Index, NodeId};
use muslin_core::raft::{self, Entry, Payload, Role};
use std::time::Duration;

/// Names one question of one client, so that a late answer to an earlier one is told from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket {
    pub(super) client: u32,
    number: u32,
}

impl Ticket {
    pub(super) fn fold(self, hash: &mut WordHash) {
        hash.word(u64::from(self.client) << 32 | u64::from(self.number));
    }
}

/// What a client is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    Written {
        value: u64,
        index: Index,
    },
    Read(Registers),
    /// Nothing happened.
    Refused,
    /// It is not known what happened.
    Failed,
}

impl Told {
    pub(super) fn fold(&self, hash: &mut WordHash) {
        match self {
            Told::Written { value, index } => {
                hash.word(*value);
                hash.word(index.0);
            }
            Told::Read(registers) => hash.word(registers.digest()),
            Told::Refused => hash.word(1),
            Told::Failed => hash.word(2),
        }
    }
}

/// What a client does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    Work,
    /// Changes who votes.
    Operate,
    /// Once all is well: writes wherever it can and reads at one replica.
    Probe {
        written: bool,
    },
}

pub(super) struct Client {
    pub(super) duty: Duty,
    /// The place it asks.
    home: usize,
    /// What is planned for an earlier turn is void.
    turn: u64,
    asking: Option<Asking>,
    number: u32,
    is_retired: bool,
}

#[derive(Clone, Copy)]
struct Asking {
    place: usize,
    since: Time,
    /// Acknowledged anywhere when it was asked.
    floor: Index,
}

impl Client {
    /// It asks nothing any more, unless it puts a replica to the test.
    pub(super) fn retire(&mut self) {
        self.is_retired |= !matches!(self.duty, Duty::Probe { .. });
    }
}

/// A value that a client wrote.
#[derive(Clone, Copy)]
struct Written {
    /// Acknowledged anywhere when it was asked.
    floor: Index,
    /// Where it took effect.
    at: Option<Index>,
}

#[derive(Default)]
pub(crate) struct Crowd {
    pub(super) clients: Vec<Client>,
    /// By value, from 1.
    values: Vec<Written>,
    /// Every committed entry applied, one by one.
    reference: Registers,
    /// The digest after each entry, by index.
    digests: Vec<u64>,
    acked_index: Index,
    acked: u64,
    /// Places that the operator may bring back.
    pub(super) members: Vec<bool>,
}

impl Crowd {
    pub(super) fn acked(&self) -> u64 {
        self.acked
    }

    pub(super) fn digest(&self) -> u64 {
        self.reference.digest()
    }

    pub(super) fn is_member(&self, place: usize) -> bool {
        self.members.get(place).copied().unwrap_or(true)
    }

    pub(super) fn on_committed(&mut self, fresh: &Fresh) -> Result<(), Broken> {
        let entry = Entry { id: fresh.id, payload: fresh.payload.clone() };
        let put = self.reference.apply(&entry);
        self.digests.push(self.reference.digest());
        let Some(put) = put else {
            if matches!(entry.payload, Payload::Command(_)) {
                let facts = format!("entry {} was asked for by no client", entry.id);
                return Err(Broken::new("K1", facts));
            }
            return Ok(());
        };
        let index = entry.id.index;
        let Some(written) = self.values.get_mut(put.value as usize - 1) else {
            let facts = format!("entry {index} has value {}, written by no client", put.value);
            return Err(Broken::new("K1", facts));
        };
        if let Some(first) = written.at {
            let facts = format!("value {} takes effect at {first} and at {index}", put.value);
            return Err(Broken::new("K1", facts));
        }
        if index <= written.floor {
            let facts = format!(
                "value {} was written after entry {} was acknowledged, and stands at {index}",
                put.value, written.floor
            );
            return Err(Broken::new("K1", facts));
        }
        written.at = Some(index);
        Ok(())
    }

    /// R6: what a replica has is what the log gives, entry by entry.
    pub(super) fn check_registers(
        &self,
        node: NodeId,
        registers: &Registers,
    ) -> Result<(), Broken> {
        let Index(index) = registers.applied;
        let expected = match index.checked_sub(1) {
            None => 0,
            Some(place) => match self.digests.get(place as usize) {
                Some(digest) => *digest,
                None => {
                    let facts = format!("{node:?} has applied {index}, which is not committed");
                    return Err(Broken::new("R3", facts));
                }
            },
        };
        if registers.digest() == expected {
            return Ok(());
        }
        let facts = format!(
            "{node:?} applied up to {index} and has digest {:016x}; the log gives {expected:016x}",
            registers.digest()
        );
        Err(Broken::new("R6", facts))
    }

    pub(super) fn retire_probe(&mut self, place: usize) {
        for client in &mut self.clients {
            client.is_retired |= client.home == place && matches!(client.duty, Duty::Probe { .. });
        }
    }

    pub(super) fn unanswered_probe(&self) -> Option<usize> {
        let is_open =
            |client: &&Client| matches!(client.duty, Duty::Probe { .. }) && !client.is_retired;
        self.clients.iter().find(is_open).map(|client| client.home)
    }

    /// Whether nobody waits.
    pub(super) fn is_quiet(&self) -> bool {
        self.clients.iter().all(|client| client.asking.is_none())
    }

    fn on_answer(&mut self, node: NodeId, told: &Told, asking: Asking) -> Result<(), Broken> {
        match told {
            Told::Written { value, index } => {
                let written = self.values.get(*value as usize - 1);
                if written.and_then(|written| written.at) != Some(*index) {
                    let facts = format!("{node:?} acknowledges value {value} at {index}");
                    return Err(Broken::new("K1", facts + ", which is not there in the log"));
                }
                self.acked += 1;
                self.acked_index = self.acked_index.max(*index);
            }
            Told::Read(registers) => {
                if registers.applied < asking.floor {
                    let facts = format!(
                        "{node:?} answers a linearizable read as of {}; {} was acknowledged \
                         before it was asked at {}",
                        registers.applied, asking.floor, asking.since
                    );
                    return Err(Broken::new("R7", facts));
                }
                self.check_registers(node, registers)?;
                self.acked_index = self.acked_index.max(registers.applied);
            }
            Told::Refused | Told::Failed => {}
        }
        Ok(())
    }
}

impl<R: Replica> World<Bare<R>> {
    pub(super) fn hire_clients(&mut self) {
        for _ in 0..self.profile.load.clients {
            self.hire(Duty::Work);
        }
        if self.profile.founders < self.profile.nodes {
            self.hire(Duty::Operate);
        }
    }

    fn hire(&mut self, duty: Duty) {
        let home = self.draws.client.below(self.hosts.len() as u64) as usize;
        let client = self.crowd.clients.len();
        let (turn, asking, number, is_retired) = (0, None, 0, false);
        self.crowd.clients.push(Client { duty, home, turn, asking, number, is_retired });
        self.plan_turn(client, Duration::from_millis(1));
    }

    pub(super) fn hire_probe(&mut self, home: usize) {
        self.hire(Duty::Probe { written: false });
        self.crowd.clients.last_mut().expect("one was hired").home = home;
    }

    pub(super) fn plan_turn(&mut self, client: usize, after: Duration) {
        let after = after + self.profile.load.think.draw(&mut self.draws.client);
        let state = &mut self.crowd.clients[client];
        state.turn += 1;
        let turn = state.turn;
        let at = self.next_busy(self.time + after, ASKED_IN_CALM_PPM);
        self.queue.push(at, Happening::Client { client, turn });
    }

    pub(super) fn on_client_turn(&mut self, client: usize, turn: u64) {
        let state = &self.crowd.clients[client];
        if state.turn != turn || state.is_retired || state.asking.is_some() {
            return;
        }
        match state.duty {
            Duty::Operate => self.operate_turn(client),
            Duty::Work => {
                let is_read = self.draws.client.below(1_000_000) < self.profile.load.reads_ppm;
                if is_read {
                    let home = self.draws.client.below(self.hosts.len() as u64) as usize;
                    self.ask_read(client, home);
                } else {
                    self.ask_write(client);
                }
            }
            Duty::Probe { written: false } => self.ask_write(client),
            Duty::Probe { written: true } => {
                let home = state.home;
                self.ask_read(client, home);
            }
        }
    }

    fn ask_read(&mut self, client: usize, place: usize) {
        if let Some(ticket) = self.ask(client, place) {
            let by_lease = self.draws.client.chance(500_000);
            self.arrive(place, Arrival::Read { ticket, by_lease });
            self.rouse_soon(place);
        }
    }

    /// Writes at somebody who believes to lead, or at anybody.
    fn ask_write(&mut self, client: usize) {
        let leads = |place: &usize| {
            self.hosts[*place].process.as_ref().is_some_and(|it| it.seen[0].role == Role::Leader)
        };
        let mut leaders: Vec<usize> = (0..self.hosts.len()).filter(leads).collect();
        if self.healed.is_some() {
            // Who led before and stands still for good is no help.
            leaders = self.leader().into_iter().collect();
        }
        let any = self.draws.client.below(self.hosts.len() as u64) as usize;
        let place = self.draws.client.pick(&leaders).copied().unwrap_or(any);
        let Some(ticket) = self.ask(client, place) else { return };
        let floor = self.crowd.acked_index;
        self.crowd.values.push(Written { floor, at: None });
        let value = self.crowd.values.len() as u64;
        let register = self.draws.client.below(REGISTERS as u64) as usize;
        self.arrive(place, Arrival::Write { ticket, put: Put { register, value } });
        self.rouse_soon(place);
    }

    fn ask(&mut self, client: usize, place: usize) -> Option<Ticket> {
        if self.hosts[place].process.is_none() {
            self.plan_turn(client, Duration::from_millis(10));
            return None;
        }
        let state = &mut self.crowd.clients[client];
        state.number += 1;
        let (since, floor) = (self.time, self.crowd.acked_index);
        state.asking = Some(Asking { place, since, floor });
        Some(Ticket { client: client as u32, number: state.number })
    }

    /// A client is answered, unless it has gone on to another question.
    pub(super) fn on_told(
        &mut self,
        place: usize,
        ticket: Ticket,
        told: Told,
    ) -> Result<(), Broken> {
        let client = ticket.client as usize;
        let state = &mut self.crowd.clients[client];
        if state.number != ticket.number {
            return Ok(());
        }
        let Some(asking) = state.asking.take() else { return Ok(()) };
        match (&mut state.duty, &told) {
            (_, Told::Refused | Told::Failed) => {}
            (Duty::Probe { written }, _) if !*written => *written = true,
            (Duty::Probe { .. }, _) => state.is_retired = true,
            _ => {}
        }
        self.crowd.on_answer(self.hosts[place].id, &told, asking)?;
        self.counts.reads += u64::from(matches!(told, Told::Read(_)));
        self.plan_turn(client, Duration::ZERO);
        if matches!(told, Told::Written { .. }) {
            self.crash_after_ack(place);
        }
        Ok(())
    }

    /// A process is gone: nobody there answers.
    pub(super) fn on_host_lost(&mut self, place: usize) {
        self.give_up(|asking| asking.place == place);
    }

    /// Whoever has waited for too long asks elsewhere.
    pub(super) fn let_the_impatient_go(&mut self) {
        let (time, timeout) = (self.time, self.profile.request_timeout);
        self.give_up(|asking| asking.since + timeout <= time);
    }

    fn give_up(&mut self, is_lost: impl Fn(&Asking) -> bool) {
        for client in 0..self.crowd.clients.len() {
            let state = &mut self.crowd.clients[client];
            if state.asking.take_if(|asking| is_lost(asking)).is_some() {
                self.plan_turn(client, Duration::from_millis(5));
            }
        }
    }

    /// Some events must never be told where disks keep what they synced.
    pub(super) fn on_event(&mut self, place: usize, event: &raft::Event) -> Result<(), Broken> {
        match event {
            raft::Event::SnapshotInstalled { .. } => self.counts.installs += 1,
            raft::Event::Rebuilt { commit } => return self.check_rebuilt(place, *commit),
            raft::Event::RebuildImpossible => self.crash_for_a_while(place),
            raft::Event::Diverged { .. } => {
                let facts = format!("{:?}: {event:?}", self.hosts[place].id);
                return Err(Broken::new("R3", facts));
            }
            raft::Event::DataLost { .. } | raft::Event::RebuildBegun { .. }
                if !self.hosts[place].was_damaged =>
            {
                let facts = format!("{:?}, whose disk is whole: {event:?}", self.hosts[place].id);
                return Err(Broken::new("R3", facts));
            }
            _ => {}
        }
        Ok(())
    }
}
