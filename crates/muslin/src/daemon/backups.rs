//! Backups that the settings ask for: whoever leads writes them.

use crate::backup::{self, Backup, BackupError, Origin, Saved};
use crate::driver::Handle;
use muslin_core::base::Revision;
use muslin_core::node::{Consistency, Event};
use muslin_core::state::{Query, Settings};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often it is looked whether one is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// After one that came to nothing: a full disk is told of, and not filled with what is told.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Endings of the names of its files. Nothing else in the directory is looked at, or removed.
const ENDING: &str = "backup";

const UNFINISHED: &str = "unfinished";

/// What the files of one cluster begin with.
const BEGINNING: &str = "muslin-";

/// Writes backups while this node leads, until it stops.
pub(super) async fn write(handle: Handle, origin: Origin, directory: PathBuf) {
    let mut period = interval(LOOK_EVERY);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut not_before = Instant::now();
    loop {
        period.tick().await;
        if handle.is_stopped() {
            return;
        }
        if handle.glance().leader != Some(origin.node) || Instant::now() < not_before {
            continue;
        }
        let Ok(status) = handle.status().await else { return };
        let Some(every) = status.settings.backup_every() else { continue };
        if !is_due(&directory, every).await {
            continue;
        }
        let event = match once(&handle, &origin, &directory, &status.settings).await {
            Ok(Some(saved)) => Event::BackedUp {
                revision: Revision(saved.head.revision),
                bytes: saved.bytes,
                path: saved.path.display().to_string(),
            },
            Ok(None) => continue,
            Err(error) => {
                not_before = Instant::now() + AGAIN_AFTER;
                Event::BackupFailed { what: format!("{error}; it is tried again in a minute") }
            }
        };
        handle.report(event).await;
    }
}

/// Whether the last one is old enough, by the files themselves: so it is whoever led, and however
/// often the node was started. A clock that was set back must not put it off.
async fn is_due(directory: &Path, every: Duration) -> bool {
    let directory = directory.to_owned();
    let newest = tokio::task::spawn_blocking(move || files(&directory).map(|files| files.newest));
    match newest.await {
        Ok(Ok(Some(newest))) => newest.elapsed().is_ok_and(|age| age >= every) || is_ahead(newest),
        // Whatever is wrong with the directory is told when it is written to.
        _ => true,
    }
}

fn is_ahead(time: SystemTime) -> bool {
    time > SystemTime::now() + LOOK_EVERY
}

/// `None` when the node does not lead after all.
async fn once(
    handle: &Handle,
    origin: &Origin,
    directory: &Path,
    settings: &Settings,
) -> Result<Option<Saved>, BackupError> {
    // A leader that was replaced and has not heard of it must not write an old state as a new one.
    let read = handle.read(Query::Revision, Consistency::Linearizable).await;
    let Ok(frozen) = (match read {
        Ok(_) => handle.freeze().await,
        Err(failure) => Err(failure),
    }) else {
        return Ok(None);
    };
    let (origin, directory) = (origin.clone(), directory.to_owned());
    let keep = settings.backup_keep() as usize;
    let written = tokio::task::spawn_blocking(move || {
        fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
        // Room is made for it first: one less, and it is as many as are to be kept.
        files(&directory).and_then(|files| files.retain(keep.saturating_sub(1)))?;
        let backup = Backup::of(&origin, frozen);
        let path = directory.join(name(&backup));
        backup::save(backup, &path)
    });
    match written.await {
        Ok(written) => written.map(Some),
        Err(error) => Err(io_error("write to", Path::new("the directory of backups"))(
            io::Error::other(error),
        )),
    }
}

/// Names in order are backups in order.
fn name(backup: &Backup) -> String {
    let head = backup.head();
    format!("{BEGINNING}{:013}-{}.{ENDING}", head.unix_ms, head.revision)
}

/// The backups in a directory.
struct Files {
    /// The oldest first.
    paths: Vec<PathBuf>,
    unfinished: Vec<PathBuf>,
    newest: Option<SystemTime>,
}

fn files(directory: &Path) -> Result<Files, BackupError> {
    let mut files = Files { paths: Vec::new(), unfinished: Vec::new(), newest: None };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        entries => entries.map_err(io_error("read", directory))?,
    };
    for entry in entries {
        let path = entry.map_err(io_error("read", directory))?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if !name.starts_with(BEGINNING) {
            continue;
        }
        match path.extension().and_then(OsStr::to_str) {
            Some(ENDING) => {
                let modified = path.metadata().and_then(|found| found.modified()).ok();
                files.newest = files.newest.max(modified);
                files.paths.push(path);
            }
            Some(UNFINISHED) => files.unfinished.push(path),
            _ => {}
        }
    }
    files.paths.sort();
    Ok(files)
}

impl Files {
    /// Removes all but the newest, and what was cut short.
    fn retain(&self, keep: usize) -> Result<(), BackupError> {
        let old = &self.paths[..self.paths.len().saturating_sub(keep)];
        for path in old.iter().chain(&self.unfinished) {
            fs::remove_file(path).map_err(io_error("remove", path))?;
        }
        Ok(())
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_nothing_else_is_touched() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str| fs::write(directory.path().join(name), "").unwrap();
        (1..=5).for_each(|n| write(&format!("muslin-000000000000{n}-{n}.backup")));
        write("muslin-0000000000006-6.backup.77.unfinished");
        ["notes.backup", "muslin-1.txt"].into_iter().for_each(write);
        let found = files(directory.path()).unwrap();
        assert!(found.newest.is_some());
        found.retain(2).unwrap();
        let left = fs::read_dir(directory.path()).unwrap().map(|one| one.unwrap().file_name());
        let mut left: Vec<_> = left.map(|name| name.into_string().unwrap()).collect();
        left.sort();
        let kept = ["muslin-0000000000004-4.backup", "muslin-0000000000005-5.backup"];
        assert_eq!(left, [kept[0], kept[1], "muslin-1.txt", "notes.backup"]);
    }

    #[tokio::test]
    async fn one_is_due_when_the_last_is_old_or_there_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let absent = directory.path().join("absent");
        assert!(is_due(&absent, Duration::from_secs(1)).await);
        let path = directory.path().join("muslin-1-1.backup");
        let file = fs::File::create(path).unwrap();
        assert!(!is_due(directory.path(), Duration::from_secs(3_600)).await);
        file.set_modified(SystemTime::now() - Duration::from_secs(7_200)).unwrap();
        assert!(is_due(directory.path(), Duration::from_secs(3_600)).await);
        file.set_modified(SystemTime::now() + Duration::from_secs(7_200)).unwrap();
        assert!(is_due(directory.path(), Duration::from_secs(3_600)).await);
    }
}
