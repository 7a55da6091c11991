//! Passive groups: journals, written to and read at any node, one of their replicas or not.
//!
//! A journal answers a command with its place, so that every answer names its place in the order of
//! its group. Every other group keeps receipts: it is asked under keys, and again when no answer
//! came, at any node. K1: a value has one place, and a place one value. R7: what was answered
//! before a question was asked is behind its answer. R6: replicas that applied equally much are
//! equal.

use super::Nodes;
use super::clients::Duty;
use crate::checkers::Broken;
use crate::host::id_of;
use bytes::Bytes;
use muslin_core::base::{GroupId, Index, NodeId};
use muslin_core::groups::{
    Ask, Envelope, Group, Journal, Machines, Receipt, ReceiptKind, Receipted,
};
use muslin_core::node::Request;
use muslin_core::raft::Configuration;
use muslin_core::state::{Command, CommandKind, GroupCreate};
use prost::Message as _;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Replicas of a group, where there are as many nodes.
const REPLICAS: usize = 3;

/// A question for a group.
pub(super) struct Asked {
    group: GroupId,
    what: What,
    /// The last place that anybody was told of when it was asked.
    floor: u64,
}

enum What {
    Append(Bytes),
    /// Under a key: perhaps not for the first time.
    Once(Bytes),
    Count,
    Read(u64),
}

/// What is known of one group.
#[derive(Default)]
struct Known {
    replicas: Vec<usize>,
    is_made: bool,
    /// By place, as told by anybody.
    told: BTreeMap<u64, Bytes>,
    /// The same by value; looked up only.
    places: HashMap<Bytes, u64>,
    /// The last place told.
    last: u64,
    values: u64,
    /// The last place told when a value was first asked for under a key.
    begun: HashMap<Bytes, u64>,
    digests: BTreeMap<Index, u64>,
}

/// What groups must answer.
#[derive(Default)]
pub(crate) struct GroupLedger {
    /// By number, from 1.
    known: Vec<Known>,
}

impl GroupLedger {
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    fn of(&mut self, group: GroupId) -> &mut Known {
        &mut self.known[group.0 as usize - 1]
    }

    /// A client is about to ask a group.
    pub(super) fn on_asked(&mut self, group: GroupId, ask: &Ask) -> Asked {
        let known = self.of(group);
        let mut floor = known.last;
        let what = match ask {
            Ask::Propose(command) if keeps_receipts(group) => {
                let envelope = Envelope::decode(command.clone()).expect("it was made here");
                let value = envelope.command.expect("with a command");
                floor = *known.begun.entry(value.clone()).or_insert(floor);
                What::Once(value)
            }
            Ask::Propose(command) => What::Append(command.clone()),
            Ask::Query(query) | Ask::QueryLocal(query) => {
                number(query).map_or(What::Count, What::Read)
            }
        };
        Asked { group, what, floor }
    }

    /// A group answered.
    pub(super) fn on_answer(
        &mut self,
        node: NodeId,
        asked: &Asked,
        answer: &Bytes,
    ) -> Result<(), Broken> {
        let (group, floor) = (asked.group, asked.floor);
        let known = self.of(group);
        match &asked.what {
            What::Append(value) => {
                let place = number(answer).unwrap_or_default();
                if place <= floor {
                    let facts = format!(
                        "{node:?} puts {value:?} at {place} of {group}; {floor} was told before \
                         it was asked"
                    );
                    return Err(Broken::new("K1", facts));
                }
                known.tell(node, (group, place), value)
            }
            What::Once(value) => {
                let receipt = Receipt::decode(answer.clone()).unwrap_or_default();
                let place = number(&receipt.answer).unwrap_or_default();
                if receipt.kind() != ReceiptKind::Done || place <= floor {
                    let facts = format!(
                        "{node:?} answers {value:?} under a key in {group} with {receipt:?}; \
                         {floor} was told before it was first asked"
                    );
                    return Err(Broken::new("K1", facts));
                }
                known.tell(node, (group, place), value)
            }
            What::Count => {
                let count = number(answer).unwrap_or_default();
                known.last = known.last.max(count);
                if count < floor {
                    let facts =
                        format!("{node:?} counts {count} in {group}; {floor} was told before");
                    return Err(Broken::new("R7", facts));
                }
                Ok(())
            }
            What::Read(place) if *place <= floor && answer.is_empty() => {
                let facts = format!("{node:?} has nothing at {place} of {group}; {floor} was told");
                Err(Broken::new("R7", facts))
            }
            What::Read(_) if answer.is_empty() => Ok(()),
            What::Read(place) => known.tell(node, (group, *place), answer),
        }
    }

    /// R6: a replica has applied more.
    pub(super) fn on_applied(&mut self, node: NodeId, group: &Group) -> Result<(), Broken> {
        let (id, index, digest) = (group.id(), group.applied(), group.digest());
        let first = *self.of(id).digests.entry(index).or_insert(digest);
        if first != digest {
            let facts = format!(
                "{node:?} applied {id} up to {index} and has digest {digest:016x}; another has \
                 {first:016x}"
            );
            return Err(Broken::new("R6", facts));
        }
        Ok(())
    }
}

impl Known {
    /// Somebody was told what stands at a place.
    fn tell(
        &mut self,
        node: NodeId,
        (group, place): (GroupId, u64),
        value: &Bytes,
    ) -> Result<(), Broken> {
        self.last = self.last.max(place);
        let at = *self.places.entry(value.clone()).or_insert(place);
        if at != place {
            let facts = format!("{node:?} tells {value:?} of {group} at {place}; it is at {at}");
            return Err(Broken::new("K1", facts));
        }
        let first = self.told.entry(place).or_insert_with(|| value.clone());
        if first != value {
            let facts =
                format!("{node:?} tells {value:?} at {place} of {group}; {first:?} is there");
            return Err(Broken::new("K1", facts));
        }
        Ok(())
    }
}

/// Every other group.
fn keeps_receipts(group: GroupId) -> bool {
    group.0.is_multiple_of(2)
}

/// What the groups of the simulator replicate, besides what every node can.
pub(super) fn machines(machines: Machines) -> Machines {
    machines.with("receipts", |_| Box::new(Receipted::new(Journal::default())))
}

fn number(bytes: &[u8]) -> Option<u64> {
    <[u8; 8]>::try_from(bytes).ok().map(u64::from_be_bytes)
}

impl Nodes {
    /// Has the next group made as long as some are missing, then asks one.
    pub(super) fn group_turn(&mut self, client: usize) {
        let missing = self.crowd.groups.known.iter().position(|known| !known.is_made);
        let count = self.crowd.groups.count() as u64;
        match missing {
            Some(place) => self.make_group(client, GroupId(place as u64 + 1)),
            None if count < self.profile.load.groups => {
                let group = GroupId(count + 1);
                self.draw_group(group);
                self.make_group(client, group);
            }
            None => match self.asked_again(client) {
                Some((group, command)) => self.ask_any(client, group, Ask::Propose(command)),
                None => {
                    let group = GroupId(1 + self.draws.client.below(count));
                    self.ask_group(client, group);
                }
            },
        }
    }

    fn draw_group(&mut self, group: GroupId) {
        let mut replicas: Vec<usize> = (0..self.profile.founders).collect();
        self.draws.client.shuffle(&mut replicas);
        replicas.truncate(REPLICAS);
        replicas.sort_unstable();
        let founding = Configuration::of_voters(replicas.iter().map(|place| id_of(*place)));
        for host in &mut self.hosts {
            host.disk.open(group, &founding);
        }
        self.crowd.groups.known.push(Known { replicas, ..Known::default() });
    }

    /// Asked for until a replica has it.
    fn make_group(&mut self, client: usize, group: GroupId) {
        let replicas = self.crowd.groups.of(group).replicas.clone();
        let has = |place: &usize| {
            let process = self.hosts[*place].process.as_ref();
            process.is_some_and(|process| process.subject.groups().group(group).is_some())
        };
        if replicas.iter().any(has) {
            self.crowd.groups.of(group).is_made = true;
            return self.plan_turn(client, Duration::ZERO);
        }
        let replicas = replicas.into_iter().map(|place| id_of(place).0).collect();
        let kind = if keeps_receipts(group) { "receipts" } else { "journal" };
        let create = GroupCreate { id: group.0, kind: kind.into(), replicas };
        self.ask_home(client, Request::Write(Command::of(CommandKind::GroupCreate(create))));
    }

    fn ask_group(&mut self, client: usize, group: GroupId) {
        let last = self.crowd.groups.of(group).last;
        let ask = match self.draws.client.below(10) {
            0..5 => self.append_to(group),
            5..7 => Ask::Query(Bytes::from_static(b"count")),
            _ => {
                let place = 1 + self.draws.client.below(last.max(1));
                Ask::Query(Bytes::copy_from_slice(&place.to_be_bytes()))
            }
        };
        if let Ask::Propose(command) = &ask
            && keeps_receipts(group)
            && let Duty::Grouped { again } = &mut self.crowd.clients[client].duty
        {
            *again = Some((group, command.clone()));
        }
        self.ask_any(client, group, ask);
    }

    /// What a client asked for under a key, until it is done with it.
    fn asked_again(&self, client: usize) -> Option<(GroupId, Bytes)> {
        match &self.crowd.clients[client].duty {
            Duty::Grouped { again } => again.clone(),
            _ => None,
        }
    }

    fn ask_any(&mut self, client: usize, group: GroupId, ask: Ask) {
        // Where there are more nodes than replicas, some keep none and ask those that do.
        let home = self.draws.client.below(self.profile.founders as u64) as usize;
        self.crowd.clients[client].home = home;
        if self.hosts[home].process.is_none() {
            return self.plan_turn(client, Duration::from_millis(10));
        }
        self.ask(client, home, Request::Group { group, ask });
    }

    /// A value that is written once.
    fn append_to(&mut self, group: GroupId) -> Ask {
        let known = self.crowd.groups.of(group);
        known.values += 1;
        let value = Bytes::from(format!("{group} {}", known.values));
        if !keeps_receipts(group) {
            return Ask::Propose(value);
        }
        let envelope = Envelope { key: value.clone(), since: 0, command: Some(value) };
        Ask::Propose(Bytes::from(envelope.encode_to_vec()))
    }

    /// Puts every replica of every group to the test.
    pub(super) fn hire_group_probes(&mut self) {
        for place in 0..self.crowd.groups.count() {
            if !self.crowd.groups.known[place].is_made {
                continue;
            }
            let group = GroupId(place as u64 + 1);
            for home in self.crowd.groups.of(group).replicas.clone() {
                self.hire(Duty::GroupProbe { group, written: false });
                self.crowd.clients.last_mut().expect("one was hired").home = home;
            }
        }
    }

    pub(super) fn group_probe_turn(&mut self, client: usize, group: GroupId, written: bool) {
        let ask = match written {
            false => self.append_to(group),
            true => Ask::Query(Bytes::from_static(b"count")),
        };
        self.ask_home(client, Request::Group { group, ask });
    }

    /// A replica of a group that is behind the others.
    pub(super) fn lagging_group(&self) -> Option<(GroupId, usize)> {
        for (place, known) in self.crowd.groups.known.iter().enumerate() {
            let group = GroupId(place as u64 + 1);
            let last = self.checks.get(place + 1).map_or(Index::ZERO, |checks| checks.logs.last());
            let lags = |replica: &usize| {
                let process = self.hosts[*replica].process.as_ref();
                let found = process.and_then(|process| process.subject.groups().group(group));
                found.is_none_or(|found| found.applied() != last)
            };
            if let Some(replica) = known.replicas.iter().copied().find(lags)
                && known.is_made
            {
                return Some((group, replica));
            }
        }
        None
    }
}
