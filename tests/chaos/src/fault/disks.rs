//! Disks that lose power, fill up, crawl, fail or change what they hold.

use super::Field;
use crate::client::Burst;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A machine without power stays so for so long.
const DARK_MS: u64 = 1_000;

/// A disk stays full for so long.
const FULL_MS: u64 = 4_000;

/// Large values written meanwhile: more than the room a node has set aside.
const STUFFING: Burst = Burst::Large(48);

/// A slow disk stays slow for so long.
const SLOW_MS: u64 = 3_000;

/// How much longer every sync takes on a slow disk.
const SLOW_SYNC_MS: u32 = 120;

/// A node whose files are damaged may end so often, saying so, and is started again each time.
const RESTARTS: u32 = 2;

/// Bits of one file that change at once.
const FLIPS: u64 = 3;

pub(super) fn power_one(field: &mut Field<'_>) -> Result<String, String> {
    let node = field.any();
    field.strike();
    cut_power(field, node)?;
    field.hold(DARK_MS)?;
    field.node(node).restore_power()?;
    field.start(node)?;
    field.heal();
    Ok(field.node(node).name())
}

pub(super) fn power_all(field: &mut Field<'_>) -> Result<String, String> {
    field.strike();
    for node in 0..field.nodes() {
        cut_power(field, node)?;
    }
    field.hold(DARK_MS)?;
    for node in 0..field.nodes() {
        field.node(node).restore_power()?;
    }
    field.heal();
    for node in 0..field.nodes() {
        field.start(node)?;
    }
    Ok("all".to_string())
}

/// First the disk, then the process: what it does in between is for nothing.
fn cut_power(field: &mut Field<'_>, node: u8) -> Result<(), String> {
    field.node(node).cut_power()?;
    field.kill(node);
    Ok(())
}

pub(super) fn full(field: &mut Field<'_>) -> Result<String, String> {
    let node = field.any();
    field.strike();
    field.node(node).fill_disk()?;
    let stuffing = field.load.burst(node, STUFFING);
    field.hold(FULL_MS)?;
    field.node(node).empty_disk()?;
    // Settled, well or not, before the cluster is looked at.
    let _ = stuffing.recv();
    field.heal();
    Ok(field.node(node).name())
}

pub(super) fn full_all(field: &mut Field<'_>) -> Result<String, String> {
    field.strike();
    for node in 0..field.nodes() {
        field.node(node).fill_disk()?;
    }
    let stuffing = field.load.burst(0, STUFFING);
    field.hold(FULL_MS)?;
    for node in 0..field.nodes() {
        field.node(node).empty_disk()?;
    }
    let _ = stuffing.recv();
    field.heal();
    Ok("all".to_string())
}

pub(super) fn slow(field: &mut Field<'_>) -> Result<String, String> {
    let node = field.any();
    field.strike();
    field.node(node).delay_syncs(SLOW_SYNC_MS)?;
    field.hold(SLOW_MS)?;
    field.node(node).delay_syncs(0)?;
    field.heal();
    Ok(field.node(node).name())
}

/// The process must end by itself: a sync that failed is never tried again.
pub(super) fn sync_error(field: &mut Field<'_>) -> Result<String, String> {
    let node = field.any();
    field.strike();
    field.node(node).fail_syncs()?;
    let ended = field.node(node).wait_for_end();
    field.load.recorder().turn_life(node);
    field.node(node).delay_syncs(0)?;
    let name = field.node(node).name();
    if ended.map_err(|_| format!("{name} goes on after a sync failed"))?.success() {
        return Err(format!("{name} ended after a failed sync as if nothing were wrong"));
    }
    field.start(node)?;
    field.heal();
    Ok(name)
}

pub(super) fn flip_log(field: &mut Field<'_>) -> Result<String, String> {
    flip(field, "log")
}

pub(super) fn flip_snapshot(field: &mut Field<'_>) -> Result<String, String> {
    flip(field, "snapshot")
}

/// Changes bits of one file of a directory, in what is written of it.
fn flip(field: &mut Field<'_>, directory: &str) -> Result<String, String> {
    let node = field.any();
    let name = field.node(node).name();
    let place = field.node(node).data_dir().join(directory);
    field.strike();
    field.kill(node);
    let mut says = format!("{name}: there was nothing");
    if let Some(path) = one_file(field, &place) {
        let failed = |e| format!("cannot change {path:?}: {e}");
        let bytes = std::fs::read(&path).map_err(failed)?;
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64;
        let file = File::options().write(true).open(&path).map_err(failed)?;
        says = format!("{name}: {}", path.file_name().unwrap_or_default().to_string_lossy());
        for _ in 0..FLIPS {
            // The last bytes may be a batch that nobody was promised: cutting it is right.
            let at = field.draw.below((used * 3 / 4).max(1));
            let bit = 1 << field.draw.below(8);
            file.write_all_at(&[bytes[at as usize] ^ bit], at).map_err(failed)?;
            says += &format!(" @{at}");
        }
    }
    field.start(node)?;
    field.supervise(RESTARTS);
    field.heal();
    Ok(says)
}

/// One of the files there that are in use: others hold nothing yet.
fn one_file(field: &mut Field<'_>, directory: &Path) -> Option<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "log" || end == "snap"));
    files.sort();
    if files.is_empty() {
        return None;
    }
    Some(files.swap_remove(field.draw.below(files.len() as u64) as usize))
}

pub(super) fn wipe(field: &mut Field<'_>) -> Result<String, String> {
    let node = field.any();
    field.strike();
    field.kill(node);
    for directory in ["log", "snapshot"] {
        let place = field.node(node).data_dir().join(directory);
        let removed = std::fs::remove_dir_all(&place);
        removed.map_err(|e| format!("cannot remove {place:?}: {e}"))?;
    }
    field.start(node)?;
    field.supervise(RESTARTS);
    field.heal();
    Ok(field.node(node).name())
}
