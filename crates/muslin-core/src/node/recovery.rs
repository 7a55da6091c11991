//! Recovery of a cluster whose quorum is lost for good, from what one member has on its disk.
//!
//! It is an act of a person, done while the node is stopped, and writes entries at the end of its
//! log: a configuration in which it votes alone, and a rise of the epoch that leaves everybody else
//! behind. Started again, it elects itself and commits all that its log has.
//!
//! The epoch rises by a number that is drawn, not by one: two survivors of one cluster that are
//! recovered apart must never take each other for members, since their logs may agree in term and
//! index and not in what they say.
//!
//! # What it rests on
//! - No other voter of before comes back in the old epoch: two of three could elect a leader among
//!   themselves and go on as the cluster of before. They are refused by the survivor and by all who
//!   are admitted in the new epoch, but not by each other.
//! - The survivor chosen has the longest log of those that are left ([`Position`]).
//!
//! # What can be lost
//! Whatever a majority without the survivor had acknowledged and the survivor had not yet received;
//! and what it had received and nobody had acknowledged may come to be. Both are at the end of its
//! log.

use super::Recovered;
use crate::base::{Epoch, Index, LogId, NodeId};
use crate::raft::{Configuration, Entry, HardState, Payload, Write};
use crate::state::{
    CONTROL_ROLE, Command, CommandKind, Founding, Member, Membership, MembershipChange, Proposal,
    RaiseEpoch, RaisedFor, State,
};
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use prost::Message as _;

/// How far a stopped node is: what survivors are compared by. The greatest has most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position {
    /// The last entry of its log.
    pub last: LogId,
    /// What it knows to be committed.
    pub commit: Index,
}

impl Position {
    /// Of what a node has on its disk.
    pub fn of(recovered: &Recovered) -> Position {
        let snapshot = recovered.raft.snapshot.last;
        let last = recovered.raft.entries.last().map_or(snapshot, |entry| entry.id.max(snapshot));
        Position { last, commit: recovered.raft.hard_state.commit.max(snapshot.index) }
    }
}

/// What the disk of a stopped node says of its cluster, with all of its log applied.
#[derive(Clone, PartialEq, Debug)]
pub struct Survey {
    /// How far it is.
    pub position: Position,
    /// What its snapshot covers.
    pub snapshot: Index,
    /// The number of the membership history.
    pub epoch: Epoch,
    /// All members, the node itself included, in the order of their ids.
    pub members: Vec<Member>,
    /// Those of the last configuration whose votes count.
    pub voters: BTreeSet<NodeId>,
    /// Its disk lost data (R11).
    pub is_damaged: bool,
}

impl Survey {
    /// What survivors are compared by, the greatest first: whoever has not even the latest epoch is
    /// one that was left behind by an earlier recovery, however long its log is.
    pub fn rank(&self) -> (bool, Epoch, Position) {
        (!self.is_damaged, self.epoch, self.position)
    }
}

/// Reads what a stopped node's disk says.
pub fn survey(founding: &Founding, recovered: &Recovered) -> Result<Survey, RecoveryRefusal> {
    let state = state_of(founding, recovered)?;
    Ok(survey_of(&state, recovered))
}

fn survey_of(state: &State, recovered: &Recovered) -> Survey {
    let raft = &recovered.raft;
    let in_log = raft.entries.iter().rev().find_map(|entry| match &entry.payload {
        Payload::Configuration(configuration) => Some(configuration),
        Payload::Command(_) | Payload::Empty => None,
    });
    let last = in_log.unwrap_or(&raft.snapshot.configuration);
    let mut voters: BTreeSet<NodeId> = last.voters.union(&last.outgoing).copied().collect();
    if voters.is_empty() {
        // Nobody has changed what the founding says.
        voters.clone_from(state.voters());
    }
    Survey {
        position: Position::of(recovered),
        snapshot: raft.snapshot.last.index,
        epoch: state.epoch(),
        members: state.members().values().cloned().collect(),
        voters,
        is_damaged: raft.hard_state.rebuilding,
    }
}

/// Who recovers, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Survivor {
    /// The node.
    pub id: NodeId,
    /// A start counter of its data directory, raised and made durable for this.
    pub boot: u64,
    /// The wall clock, Unix milliseconds.
    pub unix_ms: u64,
    /// The latest epoch that it ever heard of, whatever its log says: others live in that.
    pub heard: Epoch,
    /// It may be one whose disk lost data (R11): what it lacks is lost for all.
    pub may_be_damaged: bool,
    /// By how much the epoch rises beyond all that is known, from 1 to [`EPOCH_LEAP_MAX`]: drawn
    /// anew for each recovery.
    pub leap: u64,
}

/// By how much a recovery raises the epoch at most: two that know nothing of each other begin the
/// same epoch once in a million times.
pub const EPOCH_LEAP_MAX: u64 = 1 << 20;

impl Survivor {
    /// The epoch that begins, after this one.
    pub fn next_epoch(&self, present: Epoch) -> Epoch {
        let leap = self.leap.clamp(1, EPOCH_LEAP_MAX);
        Epoch(present.max(self.heard).0.saturating_add(leap))
    }
}

/// What a recovery writes, and what it means.
#[derive(Clone, PartialEq, Debug)]
pub struct Recovery {
    /// To be appended to the control group's log, and synced, before the node starts again.
    pub write: Write,
    /// The epoch that begins.
    pub epoch: Epoch,
    /// What the survivor's disk said before.
    pub survey: Survey,
    /// Names of the members that are left behind: each has to join anew.
    pub left_behind: Vec<String>,
}

/// Why a node cannot be the survivor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecoveryRefusal {
    /// It is no member by its own record.
    NoMember,
    /// It has not the role `control`.
    NotControl,
    /// Its disk lost data, and that was not allowed for.
    Damaged,
    /// Its snapshot cannot be read.
    Unreadable,
    /// The start counter is none of a later start.
    OldBoot,
}

impl fmt::Display for RecoveryRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecoveryRefusal::NoMember => {
                "this node is no member by its own record; recover from another"
            }
            RecoveryRefusal::NotControl => {
                "this node has not the role control; recover from one that has"
            }
            RecoveryRefusal::Damaged => {
                "the disk of this node lost data; recover from another, or accept the loss"
            }
            RecoveryRefusal::Unreadable => "the snapshot of this node cannot be read",
            RecoveryRefusal::OldBoot => "the start counter has to be raised first",
        })
    }
}

impl core::error::Error for RecoveryRefusal {}

/// Plans the recovery of a cluster from this one node.
pub fn recover(
    survivor: &Survivor,
    founding: &Founding,
    recovered: &Recovered,
) -> Result<Recovery, RecoveryRefusal> {
    if recovered.raft.hard_state.rebuilding && !survivor.may_be_damaged {
        return Err(RecoveryRefusal::Damaged);
    }
    let mut state = state_of(founding, recovered)?;
    let member = state.members().get(&survivor.id).ok_or(RecoveryRefusal::NoMember)?;
    if !member.performs(CONTROL_ROLE) {
        return Err(RecoveryRefusal::NotControl);
    }
    let others = state.members().values().filter(|one| one.node() != survivor.id);
    let left_behind = others.map(|one| one.name.clone()).collect();
    let survey = survey_of(&state, recovered);
    let position = survey.position;
    let hard_state = recovered.raft.hard_state;
    let term = hard_state.term.max(position.last.term).next();
    let first = LogId::new(term, position.last.index.next());
    let second = LogId::new(term, first.index.next());
    let alone = Payload::Configuration(Configuration::of_voters([survivor.id]));
    let raise = raise_epoch(survivor, state.epoch());
    let applied = state.apply(second.index, raise.clone());
    if applied.duplicate || applied.outcome.result.is_err() {
        return Err(RecoveryRefusal::OldBoot);
    }
    let entries = [(first, alone), (second, Payload::Command(raise))];
    let entries = entries.into_iter().map(|(id, payload)| Entry { id, payload }).collect();
    let hard_state = HardState {
        term,
        vote: Some(survivor.id),
        commit: hard_state.commit,
        rebuilding: false,
        leased: false,
    };
    let write = Write::Log { hard_state: Some(hard_state), entries };
    Ok(Recovery { write, epoch: state.epoch(), survey, left_behind })
}

/// The state with all of the log applied: what is not committed will be.
fn state_of(founding: &Founding, recovered: &Recovered) -> Result<State, RecoveryRefusal> {
    let mut state = match &recovered.snapshot {
        Some(bytes) => State::restore(bytes.clone()).map_err(|_| RecoveryRefusal::Unreadable)?,
        None => State::founded(founding),
    };
    let from = recovered.raft.snapshot.last.index;
    for entry in recovered.raft.entries.iter().filter(|entry| entry.id.index > from) {
        match &entry.payload {
            Payload::Command(bytes) => drop(state.apply(entry.id.index, bytes.clone())),
            Payload::Configuration(configuration) if !configuration.is_joint() => {
                state.configured(entry.id.index, &configuration.voters);
            }
            Payload::Configuration(_) | Payload::Empty => {}
        }
    }
    Ok(state)
}

fn raise_epoch(survivor: &Survivor, from: Epoch) -> Bytes {
    let (why, to) = (RaisedFor::Recovered.into(), survivor.next_epoch(from).0);
    let raise = RaiseEpoch { from: from.0, why, survivor: survivor.id.0, to };
    let change = MembershipChange::RaiseEpoch(raise);
    let membership = Membership::at(survivor.unix_ms, change);
    let proposal = Proposal {
        origin: survivor.id.0,
        boot: survivor.boot,
        sequence: 1,
        settled_below: 1,
        command: Some(Command::of(CommandKind::Membership(membership.into()))),
        asker: None,
    };
    proposal.encode_to_vec().into()
}
