//! The state as a whole: commands in, outcomes and news out.

use super::digest::Digest;
use super::groups::{Creation, Groups};
use super::kv::Kv;
use super::lease::Leases;
use super::members::Members;
use super::sessions::{Sessions, Stub, Verdict};
use super::txn::{Chosen, Writer, check_put};
use super::{
    CommandKind, DeleteRange, Founding, GossipKeys, GroupCreate, GroupRecord, KvEvent, Lease,
    LeaseGrant, LeaseRevoke, MemberNews, Outcome, Proposal, Put, Query, Refusal, Response, Txn,
};
use crate::base::mutant::{self, Mutant};
use crate::base::{GroupId, Index, LeaseId, NodeId, Revision};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use prost::Message as _;

/// Changes a compaction goes over with each entry applied: a compaction of any size delays no entry
/// by more than some 50 microseconds, and still drops history 32 times as fast as it is made. Part
/// of the replicated state's law: nodes that count differently have different digests.
const SWEEP_CHANGES: usize = 32;

/// All that the control group replicates, after some entry of its log.
#[derive(Clone, Debug)]
pub struct State {
    /// The last entry that carried a proposal.
    pub(super) applied: Index,
    pub(super) kv: Kv,
    pub(super) leases: Leases,
    pub(super) members: Members,
    pub(super) groups: Groups,
    pub(super) sessions: Sessions,
}

/// What applying one entry did.
#[derive(Clone, PartialEq, Debug)]
pub struct Applied {
    /// The answer to whoever proposed it. Of a duplicate it is `Done`, whatever the first answer
    /// was.
    pub outcome: Outcome,
    /// Changes of keys in order, all of one revision, each with the pair before it.
    pub events: Vec<KvEvent>,
    /// Who proposed it: node, its boot, its sequence; `None` if that could not be read.
    pub origin: Option<(NodeId, u64, u64)>,
    /// It took effect before, or its process has ended: nothing happened.
    pub duplicate: bool,
    /// Changes of the member list.
    pub members: Vec<MemberNews>,
    /// Leases made and ended.
    pub leases: Vec<LeaseNews>,
    /// Groups made, assigned and taken out.
    pub groups: Vec<GroupNews>,
}

/// A change of the table of groups.
#[derive(Clone, PartialEq, Debug)]
pub enum GroupNews {
    /// There is one more.
    Created(GroupRecord),
    /// It is said who is to lead.
    Assigned(GroupRecord),
    /// There is one less.
    Removed(GroupId),
}

/// A lease made or ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseNews {
    /// It begins to run.
    Granted {
        /// Which.
        id: LeaseId,
        /// Time to live, in milliseconds.
        ttl_ms: u64,
    },
    /// It is gone, with its keys.
    Ended {
        /// Which.
        id: LeaseId,
        /// Its time was up; otherwise a client revoked it.
        expired: bool,
    },
}

impl State {
    /// The state before the first entry.
    pub fn founded(founding: &Founding) -> State {
        State {
            applied: Index::ZERO,
            kv: Kv::default(),
            leases: Leases::default(),
            members: Members::founded(founding),
            groups: Groups::default(),
            sessions: Sessions::default(),
        }
    }

    /// Applies the [`Proposal`] of a committed entry. Entries come in order of their index; those
    /// without a proposal are left out.
    pub fn apply(&mut self, index: Index, proposal: Bytes) -> Applied {
        assert!(
            index > self.applied,
            "R6: an entry is applied once: {index} after {}",
            self.applied
        );
        self.applied = index;
        let mut applied = Applied {
            outcome: Outcome { revision: Revision::ZERO, result: Ok(Response::Done) },
            events: Vec::new(),
            origin: None,
            duplicate: false,
            members: Vec::new(),
            leases: Vec::new(),
            groups: Vec::new(),
        };
        applied.outcome.result = match Proposal::decode(proposal) {
            Ok(proposal) => self.propose(proposal, &mut applied),
            Err(_) => Err(Refusal::Unknown),
        };
        applied.outcome.revision = self.kv.revision;
        if self.kv.is_sweeping() {
            self.kv.sweep(SWEEP_CHANGES);
        }
        applied
    }

    /// Applies what has not taken effect before.
    fn propose(&mut self, proposal: Proposal, news: &mut Applied) -> Result<Response, Refusal> {
        let Proposal { origin, boot, sequence, settled_below, command } = proposal;
        let origin = NodeId(origin);
        news.origin = Some((origin, boot, sequence));
        // Its session went with it: whether this is a repetition cannot be told any more. So it
        // does nothing, and is not answered as a refusal either, which would deny the first copy
        // (K1).
        if self.members.is_removed(origin) {
            news.duplicate = true;
            return Ok(Response::Done);
        }
        match self.sessions.admit(Stub { origin, boot, sequence, settled_below }) {
            Verdict::Fresh => {}
            Verdict::Duplicate => {
                news.duplicate = true;
                return Ok(Response::Done);
            }
            Verdict::TooFar => return Err(Refusal::TooManyUnsettled),
        }
        let kind = command.and_then(|command| command.kind).ok_or(Refusal::Unknown)?;
        self.command(kind, news)
    }

    fn command(&mut self, kind: CommandKind, news: &mut Applied) -> Result<Response, Refusal> {
        match kind {
            CommandKind::Put(put) => self.put(&put, news),
            CommandKind::Delete(delete) => self.delete(&delete, news),
            CommandKind::Txn(txn) => self.txn(&txn, news),
            CommandKind::Compact(compact) => {
                self.kv.compact(Revision(compact.revision)).map(|()| Response::Compact)
            }
            CommandKind::LeaseGrant(grant) => self.grant(&grant, news),
            CommandKind::LeaseRevoke(revoke) => self.revoke(&revoke, news),
            CommandKind::Admit(_)
            | CommandKind::Remove(_)
            | CommandKind::UpdateMember(_)
            | CommandKind::PutToken(_)
            | CommandKind::Membership(_) => self.change_members(kind, news),
            CommandKind::GroupCreate(create) => self.create_group(&create, news),
            CommandKind::GroupAssign(assign) => {
                let changed = self.groups.assign(self.applied, &assign)?;
                news.groups.extend(changed.into_iter().map(GroupNews::Assigned));
                Ok(Response::Done)
            }
            CommandKind::GroupRemove(remove) => {
                let removed = self.groups.remove(self.applied, GroupId(remove.id))?;
                news.groups.extend(removed.map(GroupNews::Removed));
                Ok(Response::Done)
            }
        }
    }

    fn create_group(
        &mut self,
        create: &GroupCreate,
        news: &mut Applied,
    ) -> Result<Response, Refusal> {
        let size = self.members.size();
        if size.is_too_small() && !mutant::is_active(Mutant::SmallClusterAssigns) {
            return Err(Refusal::ClusterTooSmall(size));
        }
        let id = match self.groups.create(self.applied, create, &self.members.present)? {
            Creation::Known(id) => id,
            Creation::Made(record) => {
                let id = GroupId(record.id);
                news.groups.push(GroupNews::Created(record));
                id
            }
        };
        Ok(Response::Group { id })
    }

    fn put(&mut self, put: &Put, news: &mut Applied) -> Result<Response, Refusal> {
        put.check_form()?;
        check_put(put, &self.kv, &self.leases)?;
        let mut writer = Writer::new(&mut self.kv, &mut self.leases);
        let response = writer.put(put);
        news.events = writer.finish();
        Ok(response)
    }

    fn delete(&mut self, delete: &DeleteRange, news: &mut Applied) -> Result<Response, Refusal> {
        delete.check_form()?;
        let mut writer = Writer::new(&mut self.kv, &mut self.leases);
        let response = writer.delete(delete);
        news.events = writer.finish();
        Ok(response)
    }

    fn txn(&mut self, txn: &Txn, news: &mut Applied) -> Result<Response, Refusal> {
        txn.check_form()?;
        txn.check_cost(&self.kv)?;
        let chosen = Chosen::of(txn, &self.kv);
        chosen.check(&self.kv, &self.leases)?;
        let mut writer = Writer::new(&mut self.kv, &mut self.leases);
        let response = writer.txn(&chosen);
        news.events = writer.finish();
        Ok(response)
    }

    fn grant(&mut self, grant: &LeaseGrant, news: &mut Applied) -> Result<Response, Refusal> {
        let id = self.leases.grant(grant)?;
        news.leases.push(LeaseNews::Granted { id, ttl_ms: grant.ttl_ms });
        Ok(Response::LeaseGrant { id: grant.id, ttl_ms: grant.ttl_ms })
    }

    /// Ends leases: their keys go in one revision, in order of the keys.
    fn revoke(&mut self, revoke: &LeaseRevoke, news: &mut Applied) -> Result<Response, Refusal> {
        let ids = self.leases.revoked(revoke)?;
        let mut keys: Vec<Bytes> = Vec::new();
        for id in &ids {
            keys.extend(self.leases.table[id].keys.iter().cloned());
        }
        keys.sort_unstable();
        let mut writer = Writer::new(&mut self.kv, &mut self.leases);
        for key in &keys {
            writer.delete_key(key, revoke.expired);
        }
        news.events = writer.finish();
        for id in ids {
            self.leases.end(id);
            news.leases.push(LeaseNews::Ended { id, expired: revoke.expired });
        }
        Ok(Response::LeaseRevoke)
    }

    /// Answers a question; changes nothing.
    pub fn query(&self, query: &Query) -> Outcome {
        let result = match query {
            Query::Range(range) => range
                .check_form()
                .and_then(|()| self.kv.check_range(range))
                .map(|()| self.kv.range(range)),
            Query::Txn(txn) => self.read_txn(txn),
            Query::Leases => {
                Ok(Response::Leases { ids: self.leases.table.keys().map(|id| id.0).collect() })
            }
            Query::Lease(id) => self.read_lease(LeaseId(*id)),
            Query::Revision => Ok(Response::Done),
            Query::Record => Ok(Response::Record(Box::new(self.record()))),
            Query::Join(id) => Ok(Response::Join(self.join_state(*id))),
            Query::Admission(admit) => self.members.foresee(admit),
            Query::GossipKeys => {
                let keys = self.gossip_keys().values().cloned().collect();
                Ok(Response::GossipKeys(GossipKeys(keys)))
            }
            Query::Groups => {
                Ok(Response::Groups { records: self.groups.table.values().cloned().collect() })
            }
            Query::Group(id) => match self.groups.table.get(id) {
                Some(record) => Ok(Response::Groups { records: alloc::vec![record.clone()] }),
                None => Err(Refusal::GroupNotFound),
            },
        };
        Outcome { revision: self.kv.revision, result }
    }

    fn read_txn(&self, txn: &Txn) -> Result<Response, Refusal> {
        // Asking with writes is a bug of the asker; there is no answer to it.
        if !txn.is_read_only() {
            return Err(Refusal::Unknown);
        }
        txn.check_form()?;
        txn.check_cost(&self.kv)?;
        let chosen = Chosen::of(txn, &self.kv);
        chosen.check(&self.kv, &self.leases)?;
        Ok(chosen.read(&self.kv))
    }

    fn read_lease(&self, id: LeaseId) -> Result<Response, Refusal> {
        let lease = self.leases.table.get(&id).ok_or(Refusal::LeaseNotFound)?;
        Ok(Response::Lease { ttl_ms: lease.ttl_ms, keys: lease.keys.iter().cloned().collect() })
    }

    /// The last entry applied that carried a proposal.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// The present revision.
    pub fn revision(&self) -> Revision {
        self.kv.revision
    }

    /// The earliest revision that can be read; zero when nothing was ever compacted.
    pub fn compacted(&self) -> Revision {
        self.kv.compacted
    }

    /// How many keys exist.
    pub fn keys(&self) -> u64 {
        self.kv.totals().live
    }

    /// About how much memory keys, values and their history take.
    pub fn approximate_bytes(&self) -> u64 {
        self.kv.totals().bytes
    }

    /// The groups besides the control group.
    pub fn groups(&self) -> &BTreeMap<GroupId, GroupRecord> {
        &self.groups.table
    }

    /// The last entry that changed the table of groups.
    pub fn groups_changed_at(&self) -> Index {
        self.groups.changed_at
    }

    /// The leases.
    pub fn leases(&self) -> &BTreeMap<LeaseId, Lease> {
        &self.leases.table
    }

    /// Equal states have equal digests (R6). Costs nothing per key: call it as often as you like.
    pub fn digest(&self) -> u64 {
        let mut digest = Digest::new()
            .number(self.applied.0)
            .number(self.kv.revision.0)
            .number(self.kv.compacted.0)
            .number(self.kv.swept.0)
            .number(self.kv.totals().digest)
            .number(self.leases.table.len() as u64);
        for (id, lease) in &self.leases.table {
            digest = digest.number(id.0).number(lease.ttl_ms).number(lease.keys.len() as u64);
        }
        let digest = self.groups.digest(self.members.digest(digest));
        self.sessions.digest(digest).finish()
    }
}
