//! Recovering a cluster whose quorum is lost for good, from the directories of those that are left.
//!
//! A person does it, with all nodes stopped: [`survey`] reads what the survivors have,
//! [`Survivors::answering`] looks whether others answer after all, and [`Survivors::recover`] makes
//! of the one that has most a cluster of its own, in an epoch that leaves all others behind
//! ([`muslin_core::node::recover`]). Its directory is written anew in one step, and the log and the
//! snapshots of before are kept in it.

use super::DaemonError;
use super::found::unix_ms;
use crate::data_dir::{NodeConfig, Stopped};
use crate::identity::{Identity, draw_cluster_id};
use crate::join::{Trust, greet};
use crate::store::{RecoveredGroup, Store, StoreError};
use muslin_core::base::quorum;
use muslin_core::base::{Epoch, GroupId, NodeId};
use muslin_core::node::{self, EPOCH_LEAP_MAX, RecoveryRefusal, Survey, Survivor};
use muslin_core::state::Member;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a voter that may run is waited for. A person waits too.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The directories that were found, which nobody else can take until this is dropped.
pub struct Survivors {
    all: Vec<Candidate>,
    best: usize,
    /// By how much the epoch is to rise.
    leap: u64,
}

/// One of them.
pub struct Candidate {
    directory: Stopped,
    trust: Trust,
    survey: Survey,
    peers: BTreeMap<NodeId, SocketAddr>,
}

/// A voter that answers, or a node of the cluster that does in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answering {
    /// Whose address it is.
    pub name: String,
    /// Where.
    pub address: SocketAddr,
}

/// What a recovery has made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveredAnswer {
    /// The directory to start.
    pub data_dir: PathBuf,
    /// The epoch that began.
    pub epoch: Epoch,
    /// Where the log and the snapshots of before are kept.
    pub kept: PathBuf,
}

/// Reads what nodes have that do not run. They must be of one cluster.
pub fn survey(paths: &[PathBuf]) -> Result<Survivors, DaemonError> {
    let mut all: Vec<Candidate> = Vec::new();
    for path in paths {
        let candidate = Candidate::open(path)?;
        let first = all.first().map(|first| (first.directory.path(), first.config().cluster));
        if let Some((other, cluster)) = first.filter(|(_, one)| *one != candidate.config().cluster)
        {
            return Err(DaemonError::TwoClusters {
                paths: [other.to_owned(), path.clone()],
                clusters: [cluster, candidate.config().cluster],
            });
        }
        all.push(candidate);
    }
    // Of equals the one that was named first.
    let best = (0..all.len()).rev().max_by_key(|at| all[*at].survey.rank());
    let best = best.ok_or(DaemonError::Recovery(RecoveryRefusal::NoMember))?;
    Ok(Survivors { all, best, leap: draw_leap() })
}

impl Candidate {
    fn open(path: &Path) -> Result<Candidate, DaemonError> {
        let directory = Stopped::open(path)?;
        let config = directory.config();
        let identity = Identity::load(path)?;
        if (identity.cluster, identity.node) != (config.cluster, config.node) {
            return Err(DaemonError::Store(StoreError::Foreign {
                path: path.join("identity"),
                found: format!("node {} of cluster {}", identity.node, identity.cluster),
                wanted: format!("node {} of cluster {}", config.node, config.cluster),
            }));
        }
        let trust = Trust { cluster: config.cluster, ca_hash: identity.ca_fingerprint()? };
        let mut groups = directory.look()?;
        let control = groups.remove(&GroupId::CONTROL).unwrap_or_default();
        let survey = node::survey(directory.founding(), &recovered(control))?;
        // A hint: without it there are the addresses of the record.
        let peers = directory.peers().unwrap_or_default();
        Ok(Candidate { directory, trust, survey, peers })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Who it is.
    pub fn config(&self) -> &NodeConfig {
        self.directory.config()
    }

    /// What its disk says.
    pub fn survey(&self) -> &Survey {
        &self.survey
    }

    /// The voters that a recovery from it leaves out; a member that is gone from the record has no
    /// name.
    pub fn voters_left_out(&self) -> Vec<String> {
        let others = self.survey.voters.iter().filter(|id| **id != self.config().node);
        let mut names: Vec<String> = others.map(|id| self.name_of(*id)).collect();
        names.sort();
        names
    }

    /// The other members that it leaves behind.
    pub fn others_left_out(&self) -> Vec<String> {
        let is_other = |one: &&Member| {
            one.node() != self.config().node && !self.survey.voters.contains(&one.node())
        };
        self.survey.members.iter().filter(is_other).map(|one| one.name.clone()).collect()
    }

    /// Entries at the end of its log of which it is not known here whether they were acknowledged.
    pub fn unsettled(&self) -> u64 {
        let position = self.survey.position;
        position.last.index.0.saturating_sub(position.commit.0)
    }

    fn name_of(&self, id: NodeId) -> String {
        let member = self.survey.members.iter().find(|one| one.node() == id);
        member.map_or_else(|| id.to_string(), |member| member.name.clone())
    }

    /// Where a voter was last.
    fn places_of(&self, id: NodeId) -> BTreeSet<SocketAddr> {
        let member = self.survey.members.iter().find(|one| one.node() == id);
        let recorded = member.and_then(|member| member.address.parse().ok());
        recorded.into_iter().chain(self.peers.get(&id).copied()).collect()
    }
}

impl Survivors {
    /// All, as they were named.
    pub fn all(&self) -> &[Candidate] {
        &self.all
    }

    /// The one that has most.
    pub fn best(&self) -> &Candidate {
        &self.all[self.best]
    }

    /// The epoch that a recovery begins: drawn, so that it differs each time that somebody looks.
    pub fn next_epoch(&self) -> Epoch {
        let best = self.best();
        best.survivor((0, self.leap), false).next_epoch(best.survey.epoch)
    }

    /// Voters that are not among these, and answer.
    pub async fn answering(&self) -> Vec<Answering> {
        let best = self.best();
        let here: BTreeSet<NodeId> = self.all.iter().map(|one| one.config().node).collect();
        let mut asked = tokio::task::JoinSet::new();
        for id in best.survey.voters.difference(&here) {
            for address in best.places_of(*id) {
                let (name, trust) = (best.name_of(*id), best.trust);
                asked.spawn(async move {
                    let greeted = tokio::time::timeout(ANSWER_MAX, greet(address)).await;
                    let is_ours = matches!(greeted, Ok(Ok(seen)) if seen == trust);
                    is_ours.then_some(Answering { name, address })
                });
            }
        }
        let mut answering: Vec<Answering> = asked.join_all().await.into_iter().flatten().collect();
        answering.sort_by(|one, next| (&one.name, one.address).cmp(&(&next.name, next.address)));
        answering.dedup_by(|next, one| next.name == one.name);
        answering
    }

    /// Voters that are left, by what is known; and how many there are, if that is a quorum.
    pub fn quorum_left(&self, answering: &[Answering]) -> Option<(Vec<String>, usize)> {
        let best = self.best();
        let voters = &best.survey.voters;
        let is_left = |one: &&Candidate| {
            let is_equal = one.survey.epoch == best.survey.epoch && !one.survey.is_damaged;
            is_equal && voters.contains(&one.config().node)
        };
        let here = self.all.iter().filter(is_left).map(|one| one.config().name.clone());
        let left: BTreeSet<String> =
            here.chain(answering.iter().map(|one| one.name.clone())).collect();
        let is_quorum = left.len() >= quorum::majority(voters.len());
        is_quorum.then(|| (left.into_iter().collect(), voters.len()))
    }

    /// Whether it can be done, as far as that is known without doing it.
    pub fn check(&self, may_be_damaged: bool) -> Result<(), DaemonError> {
        let best = self.best();
        let mut groups = best.directory.look()?;
        let control = groups.remove(&GroupId::CONTROL).unwrap_or_default();
        let survivor = best.survivor((best.directory.next_boot(), self.leap), may_be_damaged);
        node::recover(&survivor, best.directory.founding(), &recovered(control))?;
        Ok(())
    }

    /// Makes the one that has most the only voter, in an epoch of its own.
    pub fn recover(&self, may_be_damaged: bool) -> Result<RecoveredAnswer, DaemonError> {
        let best = self.best();
        let rewrite = best.directory.rewrite()?;
        let mut store = rewrite.store();
        let mut groups = store.recover()?;
        let control = groups.remove(&GroupId::CONTROL).unwrap_or_default();
        let survivor = best.survivor((rewrite.boot(), self.leap), may_be_damaged);
        let planned = node::recover(&survivor, best.directory.founding(), &recovered(control))?;
        store.write(&[(GroupId::CONTROL, planned.write)])?;
        store.rest()?;
        drop(store);
        // What a start will find is looked at before anything is decided.
        let written = rewrite.look()?.remove(&GroupId::CONTROL).unwrap_or_default();
        let written = node::survey(best.directory.founding(), &recovered(written))?;
        if written.epoch != planned.epoch || written.voters != BTreeSet::from([survivor.id]) {
            return Err(DaemonError::Bug("what was written does not read as it should".into()));
        }
        let kept = rewrite.commit(planned.epoch)?;
        let data_dir = best.path().to_owned();
        Ok(RecoveredAnswer { data_dir, epoch: planned.epoch, kept })
    }
}

impl Candidate {
    fn survivor(&self, (boot, leap): (u64, u64), may_be_damaged: bool) -> Survivor {
        let (id, heard) = (self.config().node, self.config().epoch);
        Survivor { id, boot, unix_ms: unix_ms(), heard, may_be_damaged, leap }
    }
}

/// By how much an epoch rises that must meet no other.
pub(super) fn draw_leap() -> u64 {
    1 + draw_cluster_id().0 as u64 % EPOCH_LEAP_MAX
}

fn recovered(control: RecoveredGroup) -> node::Recovered {
    let snapshot = control.snapshot.map(|snapshot| snapshot.data);
    node::Recovered { raft: control.raft, snapshot, groups: BTreeMap::new() }
}
