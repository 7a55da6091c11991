//! The state as a whole: commands in, outcomes and news out.

use super::alarms::{AlarmKind, Alarms};
use super::auth::Auth;
use super::digest::Digest;
use super::groups::{Creation, Groups};
use super::kv::Kv;
use super::lease::Leases;
use super::members::Members;
use super::sessions::{Sessions, Stub, Verdict};
use super::txn::{Chosen, Writer, Written, check_put};
use super::{
    Asker, Blob, CommandKind, DeleteRange, Founding, GossipKeys, GroupCreate, GroupRecord, KvEvent,
    Lease, LeaseGrant, LeaseRevoke, MemberNews, Outcome, Proposal, Put, Query, Refusal, Response,
    Txn,
};
use crate::base::mutant::{self, Mutant};
use crate::base::{GroupId, Index, LeaseId, NodeId, Revision};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use prost::Message as _;

/// Changes a compaction goes over with each entry applied: a compaction of any size delays no entry
/// by more than some 50 microseconds, and still drops history 32 times as fast as it is made. Part
/// of the replicated state's law: nodes that count differently have different digests.
const SWEEP_CHANGES: usize = 32;

/// Most changes that one command of its own goes over.
const SWEEP_MOST: u32 = 10_000;

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
    /// Shared with copies, until it changes.
    pub(super) auth: Arc<Auth>,
    pub(super) alarms: Alarms,
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
    /// Who may do what has changed: what goes on by a right is to be checked again.
    pub rights_changed: bool,
}

impl Applied {
    fn written(&mut self, written: Written) {
        self.events = written.events;
        self.leases.extend(written.leases);
    }
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
            auth: Arc::default(),
            alarms: Alarms::default(),
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
            rights_changed: false,
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
        let Proposal { origin, boot, sequence, settled_below, command, asker } = proposal;
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
        // The order of the log decides: what the node knew that took the command is no matter.
        if !mutant::is_active(Mutant::AuthCheckedBeforeLog) {
            self.check_command(&Asker::from(asker), &kind)?;
        }
        self.check_sound(&kind)?;
        self.command(kind, news)
    }

    /// While what is kept cannot be relied upon, clients do nothing with it. Leases end as ever.
    fn check_sound(&self, kind: &CommandKind) -> Result<(), Refusal> {
        let is_of_clients = match kind {
            CommandKind::Put(_)
            | CommandKind::Delete(_)
            | CommandKind::Txn(_)
            | CommandKind::Compact(_)
            | CommandKind::LeaseGrant(_) => true,
            CommandKind::LeaseRevoke(revoke) => !revoke.expired,
            _ => false,
        };
        if is_of_clients && self.is_corrupt() { Err(Refusal::Corrupt) } else { Ok(()) }
    }

    /// Whether somebody has said that what is kept cannot be relied upon.
    pub(super) fn is_corrupt(&self) -> bool {
        self.alarms.is_raised(AlarmKind::Corrupt)
    }

    fn command(&mut self, kind: CommandKind, news: &mut Applied) -> Result<Response, Refusal> {
        match kind {
            CommandKind::Put(put) => self.put(&put, news),
            CommandKind::Delete(delete) => self.delete(&delete, news),
            CommandKind::Txn(txn) => self.txn(&txn, news),
            CommandKind::Compact(compact) => {
                self.kv.compact(Revision(compact.revision)).map(|()| Response::Compact)
            }
            CommandKind::Sweep(sweep) => {
                self.kv.sweep(sweep.changes.min(SWEEP_MOST) as usize);
                Ok(Response::Done)
            }
            CommandKind::LeaseGrant(grant) => self.grant(&grant, news),
            CommandKind::LeaseRevoke(revoke) => self.revoke(&revoke, news),
            CommandKind::Alarm(set) => {
                let member = NodeId(set.alarm.member);
                let is_known = member == NodeId(0) || self.members.present.contains_key(&member);
                if set.is_raised && !is_known {
                    return Err(Refusal::MemberNotFound);
                }
                self.alarms.set(&set)
            }
            CommandKind::Auth(change) => {
                let before = self.auth_revision();
                let done = Arc::make_mut(&mut self.auth).change(&change);
                news.rights_changed = before != self.auth_revision();
                done
            }
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
        self.check_room()?;
        let mut writer = Writer::new(&mut self.kv, &mut self.leases);
        let response = writer.put(put);
        news.written(writer.finish());
        Ok(response)
    }

    fn delete(&mut self, delete: &DeleteRange, news: &mut Applied) -> Result<Response, Refusal> {
        delete.check_form()?;
        let mut writer = Writer::new(&mut self.kv, &mut self.leases);
        let response = writer.delete(delete);
        news.written(writer.finish());
        Ok(response)
    }

    fn txn(&mut self, txn: &Txn, news: &mut Applied) -> Result<Response, Refusal> {
        txn.check_form()?;
        txn.check_cost(&self.kv)?;
        let chosen = Chosen::of(txn, &self.kv);
        chosen.check(&self.kv, &self.leases)?;
        if chosen.puts() {
            self.check_room()?;
        }
        let mut writer = Writer::new(&mut self.kv, &mut self.leases);
        let response = writer.txn(&chosen);
        news.written(writer.finish());
        Ok(response)
    }

    fn grant(&mut self, grant: &LeaseGrant, news: &mut Applied) -> Result<Response, Refusal> {
        self.check_room()?;
        let id = self.leases.grant(grant)?;
        news.leases.push(LeaseNews::Granted { id, ttl_ms: grant.ttl_ms });
        Ok(Response::LeaseGrant { id: grant.id, ttl_ms: grant.ttl_ms })
    }

    /// Ends leases: their keys go in one revision, in order of the keys.
    fn revoke(&mut self, revoke: &LeaseRevoke, news: &mut Applied) -> Result<Response, Refusal> {
        let ids = self.leases.revoked(revoke)?;
        let mut keys: Vec<Blob> = Vec::new();
        for (_, lease) in ids.iter().filter_map(|id| self.leases.table.get(id)) {
            keys.extend(lease.keys().cloned());
        }
        keys.sort_unstable();
        self.leases.begin_revoke(&ids);
        let mut writer = Writer::new(&mut self.kv, &mut self.leases);
        for key in &keys {
            writer.delete_key(key, revoke.expired);
        }
        news.written(writer.finish());
        for id in ids {
            self.leases.end(id);
            news.leases.push(LeaseNews::Ended { id, expired: revoke.expired });
        }
        Ok(Response::LeaseRevoke)
    }

    /// Answers a question of the cluster's own; changes nothing.
    pub fn query(&self, query: &Query) -> Outcome {
        self.query_by(&Asker::Cluster, query)
    }

    /// Answers somebody's question, if they may be answered; changes nothing.
    pub fn query_by(&self, asker: &Asker, query: &Query) -> Outcome {
        match self.check_query(asker, query) {
            Ok(()) => self.query_kept(query).unwrap_or_else(|| self.query_rest(query)),
            Err(refusal) => Outcome { revision: self.kv.revision, result: Err(refusal) },
        }
    }

    /// What is not about keys and leases.
    fn query_rest(&self, query: &Query) -> Outcome {
        let result = match query {
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
            Query::Alarms => Ok(Response::Alarms { alarms: self.alarms.all().collect() }),
            Query::Invites => {
                let invites = self.members.invites.values().cloned().collect();
                Ok(Response::Invites { invites })
            }
            Query::Auth(query) => match self.auth.answer(query) {
                Ok(answer) => Ok(Response::Auth(Box::new(answer))),
                Err(refusal) => Err(Refusal::Auth(refusal)),
            },
            Query::Range(_) | Query::Txn(_) | Query::Leases | Query::Lease(_) | Query::Revision => {
                unreachable!("answered above")
            }
        };
        Outcome { revision: self.kv.revision, result }
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

    /// How far the compaction is carried out.
    pub(crate) fn swept(&self) -> Revision {
        self.kv.swept
    }

    /// Whether a compaction is not yet carried out in full.
    pub fn is_sweeping(&self) -> bool {
        self.kv.is_sweeping()
    }

    /// Whether keys, values and history take as much as they may.
    pub fn is_full(&self) -> bool {
        self.approximate_bytes() >= self.settings().quota()
    }

    /// Nothing is added above the quota; whatever takes away goes on.
    fn check_room(&self) -> Result<(), Refusal> {
        if self.alarms.is_raised(AlarmKind::NoSpace) {
            return Err(Refusal::NoSpace);
        }
        let is_full = self.is_full();
        if is_full { Err(Refusal::Full { quota: self.settings().quota() }) } else { Ok(()) }
    }

    /// How many keys exist.
    pub fn keys(&self) -> u64 {
        self.kv.keys.counts().live as u64
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

    /// The leases, in order.
    pub fn leases(&self) -> impl ExactSizeIterator<Item = (LeaseId, &Lease)> {
        self.leases.table.iter().map(|(id, lease)| (*id, lease))
    }

    /// A lease that exists.
    pub fn lease(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.table.get(&id).map(|(_, lease)| lease)
    }

    /// Changes with everything about rights, whether auth is enabled among it.
    fn auth_revision(&self) -> (bool, u64) {
        self.auth.standing()
    }

    /// Equal states have equal digests (R6). Costs nothing per key: call it as often as you like.
    pub fn digest(&self) -> u64 {
        self.digest_with(&self.sessions)
    }

    pub(super) fn digest_with(&self, sessions: &Sessions) -> u64 {
        let mut digest = Digest::new()
            .number(self.applied.0)
            .number(self.kv.revision.0)
            .number(self.kv.compacted.0)
            .number(self.kv.swept.0)
            .number(self.kv.totals().digest)
            .number(self.leases().len() as u64);
        for (id, lease) in self.leases() {
            // A time to live leaves the highest bit free.
            let terms = lease.ttl_ms | u64::from(lease.is_of_put) << 63;
            digest = digest.number(id.0).number(terms).number(lease.keys().len() as u64);
        }
        let digest = self.auth.digest(self.groups.digest(self.members.digest(digest)));
        let digest = self.alarms.digest(digest);
        sessions.digest(digest).finish()
    }
}
