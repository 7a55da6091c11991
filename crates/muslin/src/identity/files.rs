//! Files replaced atomically, secrets readable by their owner only.

use super::IdentityError;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;
const PRIVATE_DIRECTORY: u32 = 0o700;

/// Largest file of an identity that is read: a certificate or a key has about one KiB.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Replaces a file by one that only its owner can read; durable when it returns.
pub fn write_private(path: &Path, text: &str) -> Result<(), IdentityError> {
    replace(path, text, PRIVATE)
}

pub(super) fn write_public(path: &Path, text: &str) -> Result<(), IdentityError> {
    replace(path, text, PUBLIC)
}

pub(super) fn make_private_directory(path: &Path) -> Result<(), IdentityError> {
    fs::create_dir_all(path).map_err(failed("create", path))?;
    fs::set_permissions(path, Permissions::from_mode(PRIVATE_DIRECTORY))
        .map_err(failed("set the mode of", path))
}

/// The file's text; `None` when there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<String>, IdentityError> {
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    if size > FILE_BYTES_MAX {
        let what = format!("it has {size} bytes, at most {FILE_BYTES_MAX} are expected");
        return Err(IdentityError::Damaged { path: path.into(), what });
    }
    fs::read_to_string(path).map(Some).map_err(failed("read", path))
}

fn replace(path: &Path, text: &str, mode: u32) -> Result<(), IdentityError> {
    let temporary = path.with_extension("tmp");
    // A file left by a crash could have another mode, so it is never reused.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", &temporary)(error));
        }
        _ => {}
    }
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary);
    let written = written.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(failed("write", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("replace", path))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory).and_then(|file| file.sync_all()).map_err(failed("sync", directory))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    move |source| IdentityError::Io { action, path: path.into(), source }
}
