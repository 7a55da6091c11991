//! K1 and R7: the committed commands, replayed in order, say what every reply must be.
//!
//! Each is applied to the real state machine one by one (never from a snapshot) and to the
//! [`Model`]; both must agree, and every reply with them. Strict serializability then only needs
//! that the order of the log is one of real time: what is asked after an answer stands behind it.

use super::Broken;
use super::digests::Digests;
use super::logs::Fresh;
use super::roll::Roll;
use crate::model::Model;
use crate::trace::WordHash;
use muslin_core::base::{Epoch, Index, NodeId, Revision};
use muslin_core::node::Consistency;
use muslin_core::raft::Payload;
use muslin_core::state::{
    Command, CommandKind, Founding, Member, Outcome, Proposal, Query, Refusal, Response, State,
};
use prost::Message as _;
use std::collections::{BTreeSet, HashMap};

/// Names a write that a client asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct OpId(usize);

struct Op {
    /// The last index acknowledged anywhere when it was asked.
    floor: Index,
    /// Where it took effect.
    index: Option<Index>,
    /// What its reply must be; taken by the reply.
    expected: Option<Outcome>,
}

/// A read that a client asked for.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) query: Query,
    pub(crate) consistency: Consistency,
    /// The newest revision acknowledged anywhere when it was asked.
    floor: Revision,
}

pub(crate) struct Ledger {
    state: State,
    roll: Roll,
    model: Model,
    digests: Digests,
    applied: Index,
    ops: Vec<Op>,
    /// By the hash of the command: clients never ask the same twice. Looked up only.
    by_hash: HashMap<u64, OpId>,
    acked_index: Index,
    acked_revision: Revision,
    acked: u64,
}

impl Ledger {
    pub(crate) fn new(founding: &Founding) -> Ledger {
        let state = State::founded(founding);
        let model = Model::at(state.revision());
        Ledger {
            state,
            roll: Roll::new(founding),
            model,
            digests: Digests::default(),
            applied: Index::ZERO,
            ops: Vec::new(),
            by_hash: HashMap::new(),
            acked_index: Index::ZERO,
            acked_revision: Revision::ZERO,
            acked: 0,
        }
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// Digest of the state with every committed entry applied.
    pub(crate) fn digest(&self) -> u64 {
        self.state.digest()
    }

    /// Whether the record has a node as a member.
    pub(crate) fn is_member(&self, node: NodeId) -> bool {
        self.state.members().contains_key(&node)
    }

    /// A member, by the record.
    pub(crate) fn member(&self, node: NodeId) -> Option<&Member> {
        self.state.members().get(&node)
    }

    /// Whether a node was let in at any time.
    pub(crate) fn was_admitted(&self, node: NodeId) -> bool {
        self.roll.was_admitted(node)
    }

    /// Whether a node waits to be let in.
    pub(crate) fn is_held(&self, node: NodeId) -> bool {
        self.state.held().contains_key(&node)
    }

    /// Who votes, by the last configuration that was committed; founders until there is one.
    pub(crate) fn voters(&self) -> &BTreeSet<NodeId> {
        self.state.voters()
    }

    /// Whether a node was a member once, and is none.
    pub(crate) fn is_removed(&self, node: NodeId) -> bool {
        self.roll.is_removed(node)
    }

    /// Whether a node belongs to the present epoch.
    pub(crate) fn is_current(&self, node: NodeId) -> bool {
        self.state.is_current(node)
    }

    /// The number of the membership history.
    pub(crate) fn epoch(&self) -> Epoch {
        self.state.epoch()
    }

    /// How many admissions were refused.
    pub(crate) fn admissions_refused(&self) -> u64 {
        self.roll.refused()
    }

    /// Writes acknowledged so far.
    pub(crate) fn acked(&self) -> u64 {
        self.acked
    }

    /// A client is about to ask for a write. It must differ from all before.
    pub(crate) fn on_asked(&mut self, command: &Command) -> OpId {
        let id = OpId(self.ops.len());
        self.ops.push(Op { floor: self.acked_index, index: None, expected: None });
        let before = self.by_hash.insert(hash_of(command), id);
        assert!(before.is_none(), "no two commands of clients are equal: {command:?}");
        id
    }

    /// A client is about to ask for a read.
    pub(crate) fn on_reading(&self, query: Query, consistency: Consistency) -> Reading {
        Reading { query, consistency, floor: self.acked_revision }
    }

    /// An entry was committed for the first time. The command, if it took effect.
    pub(crate) fn on_committed(&mut self, fresh: &Fresh) -> Result<Option<Command>, Broken> {
        assert_eq!(fresh.id.index, self.applied.next(), "entries are committed in order");
        self.applied = fresh.id.index;
        let command = match &fresh.payload {
            Payload::Command(bytes) => self.apply(bytes)?,
            Payload::Configuration(configuration) => {
                self.roll.on_configured(configuration)?;
                if !configuration.is_joint() {
                    self.state.configured(self.applied, &configuration.voters);
                }
                None
            }
            Payload::Empty => None,
        };
        if Digests::wants(self.applied) {
            self.digests.on_reference(self.applied, self.state.digest());
        }
        Ok(command)
    }

    fn apply(&mut self, bytes: &bytes::Bytes) -> Result<Option<Command>, Broken> {
        let applied = self.state.apply(self.applied, bytes.clone());
        let proposal = Proposal::decode(bytes.clone()).map_err(|error| {
            Broken::new("K1", format!("entry {} is no proposal: {error}", self.applied))
        })?;
        if applied.duplicate {
            return Ok(None);
        }
        let Some(command) = proposal.command else { return Ok(None) };
        self.roll.on_applied(&command, &applied, &self.state)?;
        let op = self.by_hash.get(&hash_of(&command)).copied();
        if applied.outcome.result == Err(Refusal::TooManyUnsettled) {
            // Refused for who proposed it, before it was looked at: it changed nothing.
            self.expect(op, applied.outcome);
            return Ok(None);
        }
        self.check_effect(op, &command)?;
        let told = self.model.events().len();
        if let Some(expected) = self.model.apply(&command)
            && expected != applied.outcome
        {
            let facts = format!(
                "entry {} {command:?} gives {:?}; by the model it gives {expected:?}",
                self.applied, applied.outcome
            );
            return Err(Broken::new("K1", facts));
        }
        if self.model.events()[told..] != applied.events[..] {
            let facts = format!(
                "entry {} {command:?} changes {:?}; by the model it changes {:?}",
                self.applied,
                applied.events,
                &self.model.events()[told..]
            );
            return Err(Broken::new("K2", facts));
        }
        self.expect(op, applied.outcome);
        Ok(Some(command))
    }

    /// The reply to an operation is to be this, unless it has settled before.
    fn expect(&mut self, op: Option<OpId>, outcome: Outcome) {
        if let Some(OpId(op)) = op
            && self.ops[op].index.is_none()
        {
            self.ops[op].index = Some(self.applied);
            self.ops[op].expected = Some(outcome);
        }
    }

    /// A command took effect: somebody asked for it, once, and not after it was to be seen.
    fn check_effect(&self, op: Option<OpId>, command: &Command) -> Result<(), Broken> {
        let Some(OpId(op)) = op else {
            if is_by_node(command) {
                return Ok(());
            }
            let facts = format!("entry {} {command:?} was asked for by no client", self.applied);
            return Err(Broken::new("K1", facts));
        };
        let op = &self.ops[op];
        if let Some(first) = op.index {
            let facts =
                format!("{command:?} takes effect at {first} and again at {}", self.applied);
            return Err(Broken::new("K1", facts));
        }
        if self.applied <= op.floor {
            let facts = format!(
                "{command:?} was asked for after entry {} was acknowledged, and stands at {}",
                op.floor, self.applied
            );
            return Err(Broken::new("K1", facts));
        }
        Ok(())
    }

    /// A write was answered.
    pub(crate) fn on_write_reply(
        &mut self,
        node: NodeId,
        OpId(op): OpId,
        outcome: &Outcome,
    ) -> Result<(), Broken> {
        let op = &mut self.ops[op];
        let Some(index) = op.index else {
            let facts = format!("{node:?} acknowledges a write that is not committed: {outcome:?}");
            return Err(Broken::new("K1", facts));
        };
        let expected = op.expected.take();
        if expected.as_ref() != Some(outcome) {
            let facts = format!(
                "{node:?} answers the write at {index} with {outcome:?}; it is {expected:?}"
            );
            return Err(Broken::new("K1", facts));
        }
        self.acked += 1;
        self.acked_index = self.acked_index.max(index);
        self.acked_revision = self.acked_revision.max(outcome.revision);
        Ok(())
    }

    /// A read was answered.
    pub(crate) fn on_read_reply(
        &mut self,
        node: NodeId,
        reading: &Reading,
        outcome: &Outcome,
    ) -> Result<(), Broken> {
        let revision = outcome.revision;
        if revision > self.model.revision() {
            let newest = self.model.revision();
            let facts = format!("{node:?} reads revision {revision}; committed is {newest}");
            return Err(Broken::new("R7", facts));
        }
        if reading.consistency != Consistency::Local {
            if revision < reading.floor {
                let facts = format!(
                    "{node:?} answers a linearizable read at revision {revision}; {} was \
                     acknowledged before it was asked",
                    reading.floor
                );
                return Err(Broken::new("R7", facts));
            }
            self.acked_revision = self.acked_revision.max(revision);
        }
        match &outcome.result {
            Ok(response) => self.check_content(node, reading, revision, response),
            Err(refusal) => self.check_refusal(node, reading, revision, refusal),
        }
    }

    fn check_content(
        &self,
        node: NodeId,
        reading: &Reading,
        revision: Revision,
        response: &Response,
    ) -> Result<(), Broken> {
        match self.model.answer(&reading.query, revision) {
            Some(expected) if expected != *response => {
                let facts = format!(
                    "{node:?} answers {:?} at revision {revision} with {response:?}; it is \
                     {expected:?}",
                    reading.query
                );
                Err(Broken::new("R7", facts))
            }
            _ => Ok(()),
        }
    }

    fn check_refusal(
        &self,
        node: NodeId,
        reading: &Reading,
        revision: Revision,
        refusal: &Refusal,
    ) -> Result<(), Broken> {
        let asked = match &reading.query {
            Query::Range(range) => Revision(range.revision),
            _ => Revision::ZERO,
        };
        let is_true = match refusal {
            Refusal::Compacted => asked < self.model.compacted(),
            Refusal::FutureRevision => asked > revision,
            _ => false,
        };
        if is_true {
            return Ok(());
        }
        let facts = format!("{node:?} refuses {:?} at {revision}: {refusal:?}", reading.query);
        Err(Broken::new("R7", facts))
    }

    /// A node's state stands at an index.
    pub(crate) fn on_node_state(
        &self,
        node: NodeId,
        index: Index,
        state: &State,
    ) -> Result<(), Broken> {
        if Digests::wants(index) {
            return self.digests.on_node(node, index, state.digest());
        }
        Ok(())
    }
}

/// Commands that a node proposes on its own, and those that an operator may give more than once.
fn is_by_node(command: &Command) -> bool {
    match &command.kind {
        Some(CommandKind::LeaseRevoke(revoke)) => revoke.expired,
        Some(
            // A leader that slept for an hour compacts what was written before.
            CommandKind::Compact(_)
            | CommandKind::Sweep(_)
            | CommandKind::UpdateMember(_)
            | CommandKind::Membership(_)
            | CommandKind::Remove(_)
            | CommandKind::GroupCreate(_)
            | CommandKind::GroupAssign(_),
        ) => true,
        _ => false,
    }
}

fn hash_of(command: &Command) -> u64 {
    let mut hash = WordHash::new();
    hash.bytes(&command.encode_to_vec());
    hash.finish()
}
