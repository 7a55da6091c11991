//! A disk: an ext4 filesystem in a file.

use super::shell::{run_words, word};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Size of a disk: room for the logs of a whole run. What is not used takes no room.
const BYTES: u64 = 4 << 30;

/// Files a disk may have.
const FILES: &str = "4096";

/// What takes up all room that is left.
const BALLAST: &str = "ballast";

/// Smallest piece the ballast grows by in the end.
const PIECE_MIN: u64 = 4 << 10;

/// The last process that used the disk may be a moment in dying.
const UNMOUNT_WAIT: Duration = Duration::from_secs(5);

/// One node's disk.
#[derive(Debug)]
pub(super) struct Disk {
    image: PathBuf,
    place: PathBuf,
    powercut: PathBuf,
}

impl Disk {
    pub(super) fn make(directory: &Path, powercut: &Path) -> Result<Disk, String> {
        let (image, place) = (directory.join("disk.ext4"), directory.join("disk"));
        std::fs::create_dir_all(&place).map_err(|e| format!("cannot make {place:?}: {e}"))?;
        let file = File::create(&image).and_then(|file| file.set_len(BYTES));
        file.map_err(|e| format!("cannot make {image:?}: {e}"))?;
        let eager = "lazy_itable_init=0,lazy_journal_init=0";
        run_words(
            &["mkfs.ext4", "-q", "-F", "-m", "0", "-N", FILES, "-E", eager, word(&image)],
            "",
        )?;
        let disk = Disk { image, place, powercut: powercut.to_path_buf() };
        disk.mount()?;
        Ok(disk)
    }

    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    pub(super) fn mount(&self) -> Result<(), String> {
        let words = ["mount", "-t", "ext4", "-o", "loop", word(&self.image), word(&self.place)];
        run_words(&words, "").map(drop)
    }

    pub(super) fn unmount(&self) -> Result<(), String> {
        let deadline = Instant::now() + UNMOUNT_WAIT;
        loop {
            match run_words(&["umount", word(&self.place)], "") {
                Err(_) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                answer => return answer.map(drop),
            }
        }
    }

    /// From here on the disk takes nothing and answers nothing, until it is mounted again. What was
    /// not synced is gone.
    pub(super) fn cut_power(&self) -> Result<(), String> {
        run_words(&[word(&self.powercut), word(&self.place)], "").map(drop)
    }

    /// Takes up all room.
    pub(super) fn fill(&self) -> Result<(), String> {
        let path = self.place.join(BALLAST);
        let file = File::create(&path).map_err(|e| format!("cannot make {path:?}: {e}"))?;
        let (mut length, mut piece) = (0, BYTES);
        while piece >= PIECE_MIN {
            let mode = nix::fcntl::FallocateFlags::empty();
            match nix::fcntl::fallocate(&file, mode, length as i64, piece as i64) {
                Ok(()) => length += piece,
                Err(_) => piece /= 2,
            }
        }
        Ok(())
    }

    /// Gives the room back.
    pub(super) fn empty(&self) -> Result<(), String> {
        let path = self.place.join(BALLAST);
        let removed = std::fs::remove_file(&path).and_then(|()| {
            // Or the next power cut brings it back.
            File::open(&self.place)?.sync_all()
        });
        removed.map_err(|e| format!("cannot remove {path:?}: {e}"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It vanishes with this process in any case.
        let _ = self.unmount();
    }
}
