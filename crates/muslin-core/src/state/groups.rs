//! Which groups there are besides the control group, where their replicas are, and who leads.

use super::digest::Digest;
use super::{GroupAssign, GroupCreate, GroupRecord, Member, Refusal};
use crate::base::mutant::{self, Mutant};
use crate::base::{GroupId, Index, NodeId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// Most groups there may be: sixteen namespaces of a thousand shards. A record takes some 200
/// bytes.
pub const GROUPS_MAX: usize = 1 << 14;

/// Most replicas of one group: two may fail with five, three with seven; more only cost.
pub const GROUP_REPLICAS_MAX: usize = 7;

/// Longest name of a state machine, in bytes.
pub const GROUP_KIND_BYTES_MAX: usize = 64;

/// The groups of the cluster.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Groups {
    pub(super) table: BTreeMap<GroupId, GroupRecord>,
    /// The highest id ever given. An id is never given again: a disk may still hold entries of the
    /// group that had it.
    pub(super) last_id: u64,
    /// The last entry that changed anything here.
    pub(super) changed_at: Index,
}

/// What an accepted creation did.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Creation {
    /// A group was made.
    Made(GroupRecord),
    /// This very group was made before: the retry is a success.
    Known(GroupId),
}

impl Groups {
    /// Makes a group. Nobody leads it yet.
    pub(super) fn create(
        &mut self,
        index: Index,
        create: &GroupCreate,
        members: &BTreeMap<NodeId, Member>,
    ) -> Result<Creation, Refusal> {
        let replicas = checked_replicas(&create.replicas, members)?;
        let is_odd = create.kind.chars().any(char::is_control);
        if is_odd || create.kind.is_empty() || create.kind.len() > GROUP_KIND_BYTES_MAX {
            return Err(Refusal::GroupKind);
        }
        let id = match create.id {
            0 => GroupId(self.last_id).next(),
            id => GroupId(id),
        };
        if let Some(known) = self.table.get(&id) {
            let is_same = known.kind == create.kind && known.replicas == replicas;
            return if is_same { Ok(Creation::Known(id)) } else { Err(Refusal::GroupExists) };
        }
        if id.0 <= self.last_id || id.0 > GROUP_ID_MAX {
            return Err(Refusal::GroupIdSpent);
        }
        if self.table.len() >= GROUPS_MAX {
            return Err(Refusal::TooManyGroups);
        }
        let record = GroupRecord {
            id: id.0,
            kind: create.kind.clone(),
            replicas,
            leader: None,
            assignment: 0,
            created_at: index.0,
        };
        self.last_id = id.0;
        self.changed_at = index;
        self.table.insert(id, record.clone());
        Ok(Creation::Made(record))
    }

    /// Says who is to lead, all of it or nothing: each assignment follows the one it was decided
    /// upon, so that of two deciders who looked at the same record one is refused.
    pub(super) fn assign(
        &mut self,
        index: Index,
        assign: &GroupAssign,
    ) -> Result<Vec<GroupRecord>, Refusal> {
        let mut seen = BTreeSet::new();
        for step in &assign.steps {
            let record = self.table.get(&GroupId(step.group)).ok_or(Refusal::GroupNotFound)?;
            if !record.replicas.contains(&step.leader) {
                return Err(Refusal::GroupReplicas);
            }
            let follows = record.assignment.checked_add(1) == Some(step.assignment)
                || mutant::is_active(Mutant::StaleAssignmentTaken);
            if !follows || !seen.insert(step.group) {
                return Err(Refusal::GroupReassigned);
            }
        }
        if !assign.steps.is_empty() {
            self.changed_at = index;
        }
        let changed = assign.steps.iter().map(|step| {
            let record = self.table.get_mut(&GroupId(step.group)).expect("it was just checked");
            record.leader = Some(step.leader);
            record.assignment = step.assignment;
            record.clone()
        });
        Ok(changed.collect())
    }

    /// Takes a group out; `None` when it was taken out before.
    pub(super) fn remove(&mut self, index: Index, id: GroupId) -> Result<Option<GroupId>, Refusal> {
        if self.table.remove(&id).is_some() {
            self.changed_at = index;
            return Ok(Some(id));
        }
        let was_there = id != GroupId::CONTROL && id.0 <= self.last_id;
        if was_there { Ok(None) } else { Err(Refusal::GroupNotFound) }
    }

    /// Adds everything to a digest. A cluster that never had a group adds nothing, so that its
    /// snapshots of before there were groups keep their digest.
    pub(super) fn digest(&self, digest: Digest) -> Digest {
        if self.last_id == 0 {
            return digest;
        }
        let digest = digest.number(self.last_id).number(self.changed_at.0);
        self.table.values().fold(digest.number(self.table.len() as u64), |digest, record| {
            let digest = digest
                .number(record.id)
                .bytes(record.kind.as_bytes())
                .number(u64::from(record.leader.is_some()))
                .number(record.leader.unwrap_or_default())
                .number(record.assignment)
                .number(record.created_at)
                .number(record.replicas.len() as u64);
            record.replicas.iter().fold(digest, |digest, id| digest.number(*id))
        })
    }
}

/// Ids count up from the highest one: a forged snapshot or a mistaken wish must not use them up.
pub(super) const GROUP_ID_MAX: u64 = 1 << 48;

/// In ascending order, so that all replicas make the same founding configuration of them.
fn checked_replicas(
    asked: &[u64],
    members: &BTreeMap<NodeId, Member>,
) -> Result<Vec<u64>, Refusal> {
    let replicas: BTreeSet<u64> = asked.iter().copied().collect();
    let is_possible = (1..=GROUP_REPLICAS_MAX).contains(&asked.len())
        && replicas.len() == asked.len()
        && replicas.iter().all(|id| members.contains_key(&NodeId(*id)));
    if is_possible { Ok(replicas.into_iter().collect()) } else { Err(Refusal::GroupReplicas) }
}
