//! Orders to the library that is preloaded into a node: see `c/disk.c`.

use super::shell::{run_words, word};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The programs that are written in C, since they stand between a node and its system.
const DISK: &str = include_str!("../../c/disk.c");
const POWERCUT: &str = include_str!("../../c/powercut.c");

/// An input/output error.
const EIO: u32 = 5;

/// What was built.
#[derive(Clone, Debug)]
pub(super) struct Built {
    pub(super) preload: PathBuf,
    pub(super) powercut: PathBuf,
}

impl Built {
    pub(super) fn build(directory: &Path) -> Result<Built, String> {
        let preload = directory.join("disk.so");
        let powercut = directory.join("powercut");
        let to = |path| ["-O2", "-Wall", "-x", "c", "-", "-o", path];
        let library = [&["gcc", "-shared", "-fPIC"], &to(word(&preload))[..], &["-ldl"]].concat();
        run_words(&library, DISK)?;
        run_words(&[&["gcc"], &to(word(&powercut))[..]].concat(), POWERCUT)?;
        Ok(Built { preload, powercut })
    }
}

/// One node's orders.
#[derive(Debug)]
pub(super) struct Orders {
    path: PathBuf,
    file: File,
}

impl Orders {
    pub(super) fn make(directory: &Path) -> Result<Orders, String> {
        let path = directory.join("orders");
        let file = File::create(&path).map_err(|e| format!("cannot make {path:?}: {e}"))?;
        let orders = Orders { path, file };
        orders.write([0, 0])?;
        Ok(orders)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Every sync takes so much longer.
    pub(super) fn delay(&self, ms: u32) -> Result<(), String> {
        self.write([0, ms])
    }

    /// Every sync fails.
    pub(super) fn fail(&self) -> Result<(), String> {
        self.write([EIO, 0])
    }

    fn write(&self, [error, delay]: [u32; 2]) -> Result<(), String> {
        let bytes = [error.to_ne_bytes(), delay.to_ne_bytes()].concat();
        self.file.write_all_at(&bytes, 0).map_err(|e| format!("cannot give orders: {e}"))
    }
}
