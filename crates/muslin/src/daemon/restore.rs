//! The first node of a cluster that begins with a backup.

use super::found::{founder_config, founding_of, member};
use super::recovery::draw_leap;
use super::{DaemonError, InitAnswer, InitOptions};
use crate::backup::{self, BackupError, Fault, Head};
use crate::data_dir::{DataDir, NodeConfig};
use crate::identity::{Identity, draw_node_id};
use crate::join::{check_name, check_new_name, check_roles};
use crate::store::Store as _;
use crate::store::file::{FileStore, Options, Owner};
use muslin_core::base::{GroupId, Index, LogId, Term};
use muslin_core::raft::{Configuration, HardState, Snapshot, SnapshotMeta, Write};
use muslin_core::state::{Rebirth, State};
use std::path::Path;

/// What a restore made.
#[derive(Clone, PartialEq, Debug)]
pub struct RestoreAnswer {
    /// The node, as `init` tells it.
    pub made: InitAnswer,
    /// What the backup says of itself.
    pub head: Head,
    /// The revision that the cluster begins with; everything below is compacted.
    pub revision: u64,
    /// Its epoch.
    pub epoch: u64,
}

/// Makes the first node of a new cluster, as [`init`](super::init) does, that begins with what a
/// backup holds: keys, leases, users and settings. Everybody else joins it.
///
/// The cluster has an identity and a CA of its own: a backup has no secret keys, and the cluster
/// that it is of may still run.
pub fn restore(file: &Path, options: &InitOptions) -> Result<RestoreAnswer, DaemonError> {
    check_new_name(&options.name)?;
    check_name(&options.cluster_name)?;
    check_roles(&options.roles)?;
    if !options.roles.iter().any(|role| role == "control") {
        return Err(DaemonError::Founders(
            "the first node of a cluster needs the role `control`; add it with --roles control",
        ));
    }
    DataDir::check_unused(&options.data_dir)?;
    let (head, state) = backup::read(file)?;
    let ips = [options.advertise.unwrap_or(options.listen).ip()];
    let identity = Identity::found(&options.cluster_name, draw_node_id(), &ips)?;
    let members = vec![member(options, &identity)?];
    let (founding, token) = founding_of(&identity, members)?;
    let at = FIRST.index;
    let rebirth = Rebirth { founding: founding.clone(), at, epoch_leap: draw_leap() };
    let no_room = || BackupError::Bad { path: file.to_owned(), fault: Fault::NoRoom };
    let state = state.reborn(&rebirth).ok_or_else(no_room)?;
    let (revision, epoch) = (state.revision(), state.epoch());
    let config = NodeConfig { epoch, ..founder_config(options, &identity)? };
    let owner = Owner { cluster: identity.cluster, node: identity.node };
    let directory = DataDir::create_with(&options.data_dir, config, founding, |path| {
        identity.save(path)?;
        let mut store = FileStore::open(path, owner, Options::default());
        write(&mut store, &identity, state)
    })?;
    let address = directory.config().addresses.advertise;
    let (node, cluster) = (identity.node, identity.cluster);
    let made = InitAnswer { join_line_token: token.expose(), node, cluster, address };
    Ok(RestoreAnswer { made, head, revision: revision.0, epoch: epoch.0 })
}

/// The entry that the state is after: as if it had been the first of the log.
const FIRST: LogId = LogId { term: Term(1), index: Index(1) };

/// Writes the state as the snapshot that a log begins with.
fn write(store: &mut FileStore, identity: &Identity, state: State) -> Result<(), DaemonError> {
    store.recover()?;
    let configuration = Configuration::of_voters([identity.node]);
    let meta = SnapshotMeta { last: FIRST, configuration };
    let snapshot = Snapshot { meta, data: state.snapshot() };
    let keep_from = FIRST.index.next();
    let state = Write::Snapshot { snapshot, keep_from, discard_log: true };
    let hard_state = HardState { term: FIRST.term, commit: FIRST.index, ..HardState::default() };
    let hard_state = Write::Log { hard_state: Some(hard_state), entries: Vec::new().into() };
    store.write(&[(GroupId::CONTROL, state), (GroupId::CONTROL, hard_state)])?;
    Ok(store.rest()?)
}
