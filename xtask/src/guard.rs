//! Nothing stays when a command ends, however it ends.
//!
//! A destructor does not run when somebody presses Ctrl-C or kills the command. So a second process
//! is told, through a pipe, which programs run and which directories were made; the end of the
//! pipe is the end of the command, and what is left is then ended and removed. It has a process
//! group of its own: Ctrl-C at a terminal is not for it.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The hidden command that the guard runs as.
pub(crate) const COMMAND: &str = "guard";

/// How long a program has to end by itself.
const GRACE: Duration = Duration::from_secs(8);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

static GUARD: Mutex<Option<Child>> = Mutex::new(None);

/// From here on everything started or made is watched. Once for a command.
pub(crate) fn begin() -> Result<(), String> {
    let own = std::env::current_exe().map_err(|e| format!("where am I: {e}"))?;
    let mut command = Command::new(own);
    command.arg(COMMAND).process_group(0).stdin(Stdio::piped());
    let guard = command.spawn().map_err(|e| format!("cannot start the guard: {e}"))?;
    *GUARD.lock().map_err(|e| e.to_string())? = Some(guard);
    Ok(())
}

/// A program was started.
pub(crate) fn started(id: u32) {
    if let Some(birth) = birth(id) {
        tell(&format!("program {id} {birth}"));
    }
}

/// It has ended and was waited for.
pub(crate) fn ended(id: u32) {
    tell(&format!("ended {id}"));
}

/// A directory was made.
pub(crate) fn made(path: &Path) {
    tell(&format!("directory {}", path.display()));
}

/// It was removed.
pub(crate) fn removed(path: &Path) {
    tell(&format!("removed {}", path.display()));
}

fn tell(line: &str) {
    let Ok(mut guard) = GUARD.lock() else { return };
    if let Some(pipe) = guard.as_mut().and_then(|guard| guard.stdin.as_mut()) {
        let _ = writeln!(pipe, "{line}");
    }
}

/// What is there and must not stay.
#[derive(Default, Debug, PartialEq)]
struct Left {
    /// Programs, and when each was born: a number may be given to another program later.
    programs: BTreeMap<u32, String>,
    directories: Vec<String>,
}

impl Left {
    fn hear(&mut self, line: &str) {
        let Some((verb, rest)) = line.split_once(' ') else { return };
        match (verb, rest.split_once(' ').map(|(id, birth)| (id.parse(), birth))) {
            ("program", Some((Ok(id), birth))) => {
                self.programs.insert(id, birth.to_string());
            }
            ("ended", _) => self.programs.retain(|id, _| id.to_string() != rest),
            ("directory", _) => self.directories.push(rest.to_string()),
            ("removed", _) => self.directories.retain(|directory| directory != rest),
            _ => {}
        }
    }

    fn is_there(&self, id: u32) -> bool {
        self.programs.get(&id).is_some_and(|known| birth(id).as_ref() == Some(known))
    }

    fn signal(&self, signal: &str) {
        for id in self.programs.keys().filter(|id| self.is_there(**id)) {
            let _ = Command::new("kill").args([signal, &id.to_string()]).status();
        }
    }

    fn clean(&self) {
        self.signal("-TERM");
        let end = Instant::now() + GRACE;
        while Instant::now() < end && self.programs.keys().any(|id| self.is_there(*id)) {
            std::thread::sleep(LOOK);
        }
        self.signal("-KILL");
        for directory in &self.directories {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

/// The guard itself.
pub(crate) fn run() -> Result<(), String> {
    let mut left = Left::default();
    std::io::stdin().lock().lines().map_while(Result::ok).for_each(|line| left.hear(&line));
    left.clean();
    Ok(())
}

/// When a program that runs was born, in the kernel's own count; nothing when it has ended.
fn birth(id: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let birth = fields.nth(18)?.to_string();
    (state != "Z").then_some(birth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_not_left() {
        let mut left = Left::default();
        for line in ["program 7 99", "program 8 100", "directory /a b", "directory /c", "ended 7"] {
            left.hear(line);
        }
        left.hear("removed /c");
        left.hear("nonsense");
        let programs = BTreeMap::from([(8, "100".to_string())]);
        assert_eq!(left, Left { programs, directories: vec!["/a b".to_string()] });
    }

    #[test]
    fn what_is_left_ends_and_goes() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let directory = std::env::temp_dir().join(format!("guard-{}", child.id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut left = Left::default();
        left.hear(&format!("program {} {}", child.id(), birth(child.id()).unwrap()));
        left.hear(&format!("program {} 1", std::process::id()));
        left.hear(&format!("directory {}", directory.display()));
        assert!(!left.is_there(std::process::id()), "another program has its number");
        left.clean();
        assert!(child.wait().unwrap().code().is_none(), "a signal ended it");
        assert!(!directory.exists());
        assert_eq!(birth(child.id()), None);
    }
}
