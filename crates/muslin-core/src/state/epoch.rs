//! The number of the membership history, the cluster's settings and its gossip keys.

use super::members::{BARRED_MAX, Change, Members};
use super::snapshot::NUMBER_MAX;
use super::{
    AddGossipKey, BadForm, DeclaredDown, FIRST_EPOCH, GossipKey, Member, MemberNews, RaiseEpoch,
    RaisedFor, Refusal, Response, Settings, Standing, TOMBSTONES_MAX,
};
use crate::base::mutant::{self, Mutant};
use crate::base::quorum::Tally;
use crate::base::{Epoch, NodeId, quorum};
use alloc::boxed::Box;
use bytes::Bytes;

/// Most gossip keys at once: the one that seals, the one before it and the one after it.
pub const GOSSIP_KEYS_MAX: usize = 3;

/// Length of a gossip key.
pub const GOSSIP_KEY_BYTES: usize = 32;

/// How large a cluster is, against what it is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClusterSize {
    /// Members that have not left.
    pub members: usize,
    /// Those of them that take part.
    pub living: usize,
    /// With fewer living members than this nothing is assigned.
    pub min_members: usize,
}

impl ClusterSize {
    /// Whether assignments are frozen: a policy, not what makes it safe, since where no quorum
    /// answers nothing can be committed anyway.
    pub fn is_too_small(&self) -> bool {
        self.living < self.min_members
    }
}

impl core::fmt::Display for ClusterSize {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let ClusterSize { members, living, min_members } = self;
        write!(f, "{living} of {members} members live, at least {min_members} are to")
    }
}

impl Members {
    /// The number of the membership history.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch.max(FIRST_EPOCH)
    }

    /// Raises the epoch: living members follow, whoever is gone stays behind, and what is left of
    /// those that were removed goes.
    pub(super) fn raise_epoch(
        &mut self,
        raise: &RaiseEpoch,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        let present = self.epoch();
        if raise.from < present.0 {
            return Ok(Response::Epoch { epoch: present, collected: 0 });
        }
        if raise.from > present.0 {
            return Err(Refusal::OldEpoch { epoch: Epoch(raise.from), present });
        }
        if raise.why() == RaisedFor::Tombstones && !self.is_collection_due(change.unix_ms) {
            return Err(Refusal::TombstonesYoung);
        }
        // Who is left behind and votes can only be removed, which needs a majority of the others.
        let answers = |node| self.present.get(&node).is_some_and(Member::is_living);
        let tally = Tally::of(&self.voters, answers);
        if raise.why() == RaisedFor::Recovered {
            self.leave_behind(NodeId(raise.survivor), change);
        } else if !self.voters.is_empty() && tally.spare().is_none() {
            return Err(Refusal::VotersGone(tally));
        }
        if !mutant::is_active(Mutant::CollectedWithoutEpoch) {
            self.epoch = Epoch(raise.to.min(NUMBER_MAX)).max(present.next());
        }
        let epoch = self.epoch();
        let follows =
            |one: &&mut Member| one.is_living() || mutant::is_active(Mutant::GoneFollowsEpoch);
        for member in self.present.values_mut().filter(follows) {
            member.epoch_number = epoch.0;
        }
        let tombstones = core::mem::take(&mut self.tombstones);
        let collected = tombstones.len();
        tombstones.into_keys().for_each(|id| self.bar(id));
        change.news.push(MemberNews::EpochRaised { epoch, collected });
        Ok(Response::Epoch { epoch, collected })
    }

    /// All but the survivor of a recovery are gone: nobody watched, so there are no witnesses. The
    /// survivor is there, in a first life of its own, even if the record says that it had left:
    /// there is nobody else to see it come back.
    fn leave_behind(&mut self, survivor: NodeId, change: &mut Change<'_>) {
        let unix_ms = change.unix_ms;
        if let Some(alone) = self.present.get_mut(&survivor).filter(|one| !one.is_living()) {
            (alone.standing, alone.life) = (None, 0);
            change.news.push(MemberNews::Back(Box::new(alone.clone())));
        }
        let others = self.present.values_mut().filter(|one| one.node() != survivor);
        for member in others.filter(|one| one.is_living()) {
            let (incarnation, declared) = (member.life, DeclaredDown::default());
            let declared = DeclaredDown { incarnation, unix_ms, ..declared };
            member.standing = Some(Standing::Down(declared));
            change.news.push(MemberNews::Gone(Box::new(member.clone())));
        }
    }

    /// Whether there are tombstones, and it is long enough since the last member was removed; or
    /// there are many.
    pub(super) fn is_collection_due(&self, unix_ms: u64) -> bool {
        let since = u128::from(unix_ms.saturating_sub(self.removed_unix_ms));
        let is_old = since >= self.settings.tombstone_after().as_millis();
        !self.tombstones.is_empty() && (is_old || self.tombstones.len() >= TOMBSTONES_MAX)
    }

    /// Bars an id by name. Beyond the limit those go that were barred in the oldest epoch.
    pub(super) fn bar(&mut self, id: NodeId) {
        self.barred.insert(id, self.epoch());
        while self.barred.len() > BARRED_MAX {
            let oldest = self.barred.iter().min_by_key(|(id, epoch)| (**epoch, **id));
            let oldest = *oldest.expect("there are many").0;
            self.barred.remove(&oldest);
        }
    }

    /// Sets all settings at once.
    pub(super) fn set_settings(
        &mut self,
        settings: &Settings,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        settings.check()?;
        if self.settings != *settings {
            self.settings = *settings;
            let size = self.size();
            let is_risky = size.min_members < quorum::majority(size.members);
            change.news.push(MemberNews::Settings { settings: *settings, is_risky });
        }
        Ok(Response::Done)
    }

    /// How large the cluster is, and is to be.
    pub(super) fn size(&self) -> ClusterSize {
        let is_in = |one: &&Member| !matches!(one.standing, Some(super::Standing::Left(_)));
        let members = self.present.values().filter(is_in).count();
        let living = self.present.values().filter(|one| one.is_living()).count();
        let min_members = match self.settings.min_members {
            0 => quorum::majority(members),
            set => set as usize,
        };
        ClusterSize { members, living, min_members }
    }

    /// Adds a gossip key.
    pub(super) fn add_gossip_key(
        &mut self,
        add: &AddGossipKey,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        if add.key.len() != GOSSIP_KEY_BYTES {
            return Err(BadForm::Key.into());
        }
        if let Some(known) = self.keys.get(&add.generation) {
            let is_same = known.key == add.key;
            return if is_same { Ok(Response::Done) } else { Err(Refusal::GossipKeyOrder) };
        }
        if self.last_key.checked_add(1) != Some(add.generation) {
            return Err(Refusal::GossipKeyOrder);
        }
        if self.keys.len() >= GOSSIP_KEYS_MAX {
            return Err(Refusal::TooManyGossipKeys);
        }
        let key = GossipKey {
            generation: add.generation,
            key: Bytes::copy_from_slice(&add.key),
            added_unix_ms: change.unix_ms,
            is_primary: self.keys.is_empty(),
        };
        self.last_key = add.generation;
        self.keys.insert(add.generation, key);
        change.news.push(MemberNews::GossipKeys);
        Ok(Response::Done)
    }

    /// Seals with this key from here on.
    pub(super) fn use_gossip_key(
        &mut self,
        generation: u64,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        let key = self.keys.get(&generation).ok_or(Refusal::GossipKeyNotFound)?;
        if !key.is_primary {
            for key in self.keys.values_mut() {
                key.is_primary = key.generation == generation;
            }
            change.news.push(MemberNews::GossipKeys);
        }
        Ok(Response::Done)
    }

    /// Opens nothing with this key any more.
    pub(super) fn drop_gossip_key(
        &mut self,
        generation: u64,
        change: &mut Change<'_>,
    ) -> Result<Response, Refusal> {
        let Some(key) = self.keys.get(&generation) else {
            let was_there = (1..=self.last_key).contains(&generation);
            return if was_there { Ok(Response::Done) } else { Err(Refusal::GossipKeyNotFound) };
        };
        if key.is_primary {
            return Err(Refusal::GossipKeyInUse);
        }
        self.keys.remove(&generation);
        change.news.push(MemberNews::GossipKeys);
        Ok(Response::Done)
    }
}
