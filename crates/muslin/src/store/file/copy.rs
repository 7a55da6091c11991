//! Looking at a stopped node's store, and copying it: the original stays as it is, to the byte.

use super::super::{RecoveredGroup, StoreError};
use super::disk;
use super::log::Home;
use super::rebuild;
use super::recover;
use super::replay;
use super::room;
use muslin_core::base::GroupId;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What a store is made of, under its root. The last is there when a crash cut the repair of damage
/// short.
const PARTS: [&str; 3] = ["log", "snapshot", "log.new"];

/// What the groups would find. Of damaged ones what can be vouched for, as a start would leave it.
pub(super) fn look(home: &Home) -> Result<BTreeMap<GroupId, RecoveredGroup>, StoreError> {
    let new = rebuild::new_log(home);
    let is_cut_short = !home.log.exists() && new.exists();
    let home = Home { log: if is_cut_short { new } else { home.log.clone() }, ..home.clone() };
    let mut picture = replay::read(&home)?;
    let damages = rebuild::concerned(&picture);
    for id in damages.keys() {
        picture.groups.entry(*id).or_default();
    }
    let groups = picture.groups.into_iter().map(|(id, found)| {
        let saved = picture.snapshots.remove(&id);
        let damage = damages.get(&id).cloned();
        let found = match damage {
            Some(_) => rebuild::sound_part(found, saved.as_ref(), true),
            None => found,
        };
        let (_, recovered) = recover::join(found, saved);
        (id, RecoveredGroup { damage, ..recovered })
    });
    Ok(groups.collect())
}

/// Copies a store, durably, into a directory that has none.
pub(super) fn copy(from: &Path, to: &Path, segment_bytes: u64) -> Result<(), StoreError> {
    let sizes = PARTS.iter().map(|part| room::taken(&from.join(part)));
    let bytes = sizes.sum::<Result<u64, StoreError>>()?;
    room::check_copy(to, bytes, segment_bytes)?;
    for part in PARTS {
        copy_directory(&from.join(part), &to.join(part))?;
    }
    disk::sync_dir(to)
}

/// The files of a directory of ours: none of them has directories in it.
fn copy_directory(from: &Path, to: &Path) -> Result<(), StoreError> {
    if !from.exists() {
        return Ok(());
    }
    disk::make_dir(to)?;
    for name in disk::names(from)? {
        let (from, to) = (from.join(&name), to.join(&name));
        disk::must_be_file(&from)?;
        disk::explain("copy", &from, fs::copy(&from, &to))?;
        disk::sync(&disk::open(&to)?, &to)?;
    }
    disk::sync_dir(to)
}
