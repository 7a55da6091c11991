//! Between the vocabulary of the simulator and that of raft-rs.

use bytes::Bytes;
use muslin_core::base::{Index, LogId, NodeId, Term};
use muslin_core::raft::{Change, Configuration, Entry, Payload, Snapshot, SnapshotMeta};
use muslin_sim::Promise;
use raft::eraftpb::{self, ConfChangeTransition, ConfChangeType, EntryType, MessageType};
use std::collections::BTreeSet;

/// An entry as the simulator's disks keep it. One that changes who votes carries what comes of it
/// in its context: raft-rs's own words name the difference only.
pub(crate) fn entry_of(entry: &eraftpb::Entry) -> Entry {
    let payload = match entry.get_entry_type() {
        EntryType::EntryNormal if entry.data.is_empty() => Payload::Empty,
        EntryType::EntryNormal => Payload::Command(Bytes::copy_from_slice(&entry.data)),
        _ => Payload::Configuration(decoded(&entry.context)),
    };
    Entry { id: LogId::new(Term(entry.term), Index(entry.index)), payload }
}

/// The way back.
pub(crate) fn entry_from(entry: &Entry) -> eraftpb::Entry {
    let mut other = eraftpb::Entry { term: entry.id.term.0, ..eraftpb::Entry::default() };
    other.index = entry.id.index.0;
    match &entry.payload {
        Payload::Empty => {}
        Payload::Command(bytes) => other.data = bytes.to_vec(),
        Payload::Configuration(configuration) => {
            other.set_entry_type(EntryType::EntryConfChangeV2);
            other.context = encoded(configuration);
        }
    }
    other
}

/// Three lists, each behind its length.
pub(crate) fn encoded(configuration: &Configuration) -> Vec<u8> {
    let Configuration { voters, outgoing, learners } = configuration;
    let list = |ids: &BTreeSet<NodeId>| {
        let words = std::iter::once(ids.len() as u64).chain(ids.iter().map(|id| id.0));
        words.flat_map(u64::to_le_bytes).collect::<Vec<u8>>()
    };
    [list(voters), list(outgoing), list(learners)].concat()
}

pub(crate) fn decoded(bytes: &[u8]) -> Configuration {
    let mut words = bytes
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("chunks are of eight")));
    let mut list = || {
        let many = words.next().expect("a length stands before each list") as usize;
        words.by_ref().take(many).map(NodeId).collect::<BTreeSet<NodeId>>()
    };
    Configuration { voters: list(), outgoing: list(), learners: list() }
}

/// What raft-rs calls learners-next are learners that still vote in the outgoing set.
pub(crate) fn conf_state_of(configuration: &Configuration) -> eraftpb::ConfState {
    let Configuration { voters, outgoing, learners } = configuration;
    let ids = |set: &BTreeSet<NodeId>| set.iter().map(|id| id.0).collect::<Vec<u64>>();
    eraftpb::ConfState {
        voters: ids(voters),
        voters_outgoing: ids(outgoing),
        learners: ids(&(learners - outgoing)),
        learners_next: ids(&(learners & outgoing)),
        auto_leave: false,
    }
}

pub(crate) fn configuration_of(state: &eraftpb::ConfState) -> Configuration {
    let ids = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<BTreeSet<NodeId>>();
    let learners = &ids(&state.learners) | &ids(&state.learners_next);
    Configuration { voters: ids(&state.voters), outgoing: ids(&state.voters_outgoing), learners }
}

/// What a configuration becomes by some wishes: by one in a single step, by several through a joint
/// configuration. `None` when nothing changes or nobody would vote.
pub(crate) fn changed(from: &Configuration, changes: &[Change]) -> Option<Configuration> {
    let mut to = from.clone();
    for change in changes {
        let (Change::AddLearner(id)
        | Change::AddVoter(id)
        | Change::Demote(id)
        | Change::Remove(id)) = *change;
        to.voters.remove(&id);
        to.learners.remove(&id);
        match change {
            Change::AddVoter(_) => to.voters.insert(id),
            Change::AddLearner(_) | Change::Demote(_) => to.learners.insert(id),
            Change::Remove(_) => true,
        };
    }
    if to == *from || to.voters.is_empty() {
        return None;
    }
    if changes.len() > 1 {
        to.outgoing = from.voters.clone();
    }
    Some(to)
}

/// The configuration after a joint one.
pub(crate) fn left(joint: &Configuration) -> Configuration {
    Configuration { outgoing: BTreeSet::new(), ..joint.clone() }
}

/// The step from one configuration to the next in raft-rs's words.
pub(crate) fn step_between(from: &Configuration, to: &Configuration) -> eraftpb::ConfChangeV2 {
    let mut step = eraftpb::ConfChangeV2::default();
    if from.is_joint() {
        // No changes and no transition: out of the joint configuration.
        return step;
    }
    let mut add = |id: NodeId, kind: ConfChangeType| {
        let mut single = eraftpb::ConfChangeSingle { node_id: id.0, ..Default::default() };
        single.set_change_type(kind);
        step.changes.push(single);
    };
    (&to.voters - &from.voters).into_iter().for_each(|id| add(id, ConfChangeType::AddNode));
    let learners = &to.learners - &from.learners;
    learners.into_iter().for_each(|id| add(id, ConfChangeType::AddLearnerNode));
    let stay = &to.voters | &to.learners;
    let gone = &from.members() - &stay;
    gone.into_iter().for_each(|id| add(id, ConfChangeType::RemoveNode));
    if to.is_joint() {
        step.set_transition(ConfChangeTransition::Explicit);
    }
    step
}

pub(crate) fn snapshot_of(snapshot: &eraftpb::Snapshot) -> Snapshot {
    let meta = snapshot.get_metadata();
    let last = LogId::new(Term(meta.term), Index(meta.index));
    let configuration = configuration_of(meta.get_conf_state());
    let data = Bytes::copy_from_slice(&snapshot.data);
    Snapshot { meta: SnapshotMeta { last, configuration }, data }
}

pub(crate) fn snapshot_from(snapshot: &Snapshot) -> eraftpb::Snapshot {
    let SnapshotMeta { last, configuration } = &snapshot.meta;
    let mut other = eraftpb::Snapshot { data: snapshot.data.to_vec(), ..Default::default() };
    let meta = other.mut_metadata();
    (meta.index, meta.term) = (last.index.0, last.term.0);
    meta.set_conf_state(conf_state_of(configuration));
    other
}

/// What a message says about its sender's disk.
pub(crate) fn promise_of(message: &eraftpb::Message) -> Option<Promise> {
    let term = Term(message.term);
    match message.get_msg_type() {
        MessageType::MsgRequestVote => Some(Promise::Candidacy { term }),
        MessageType::MsgRequestVoteResponse if !message.reject => Some(Promise::Vote { term }),
        MessageType::MsgAppendResponse if !message.reject => {
            Some(Promise::Accepted { term, matched: Index(message.index) })
        }
        MessageType::MsgAppendResponse
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgHeartbeatResponse => Some(Promise::Entered { term }),
        _ => None,
    }
}

/// Every field that raft-rs reads, in words.
pub(crate) fn fold(message: &eraftpb::Message, fold: &mut dyn FnMut(u64)) {
    let head = [
        message.msg_type as u64,
        message.from << 32 | message.to,
        message.term,
        message.log_term,
        message.index,
        message.commit,
        message.commit_term,
        message.reject_hint,
        u64::from(message.reject),
        message.entries.len() as u64,
    ];
    head.into_iter().for_each(&mut *fold);
    fold_bytes(&message.context, fold);
    for entry in &message.entries {
        fold(entry.term << 2 | entry.entry_type as u64);
        fold(entry.index);
        fold_bytes(&entry.data, fold);
        fold_bytes(&entry.context, fold);
    }
    let meta = message.get_snapshot().get_metadata();
    fold(meta.index);
    fold(meta.term);
}

fn fold_bytes(bytes: &[u8], fold: &mut dyn FnMut(u64)) {
    fold(bytes.len() as u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        fold(u64::from_le_bytes(word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn of(voters: &[u64], outgoing: &[u64], learners: &[u64]) -> Configuration {
        let (voters, outgoing, learners) = (ids(voters), ids(outgoing), ids(learners));
        Configuration { voters, outgoing, learners }
    }

    #[test]
    fn a_configuration_survives_both_ways_there_and_back() {
        for it in [of(&[1, 2, 3], &[], &[4]), of(&[1, 5], &[1, 2, 3], &[3, 4])] {
            assert_eq!(decoded(&encoded(&it)), it);
            assert_eq!(configuration_of(&conf_state_of(&it)), it);
        }
    }

    #[test]
    fn one_wish_is_one_step_and_two_go_through_a_joint_configuration() {
        let from = of(&[1, 2, 3], &[], &[]);
        let one = changed(&from, &[Change::Demote(NodeId(3))]);
        assert_eq!(one, Some(of(&[1, 2], &[], &[3])));
        let two = [Change::Remove(NodeId(3)), Change::AddVoter(NodeId(4))];
        let two = changed(&from, &two).expect("it changes");
        assert_eq!(two, of(&[1, 2, 4], &[1, 2, 3], &[]));
        assert_eq!(left(&two), of(&[1, 2, 4], &[], &[]));
        assert_eq!(changed(&from, &[Change::AddVoter(NodeId(1))]), None);
    }
}
