//! Running the system's tools.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The tools that are used, and the Debian packages that hold them.
const TOOLS: [(&str, &str); 9] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("nsenter", "util-linux"),
    ("env", "coreutils"),
    ("gcc", "gcc"),
    ("faketime", "faketime"),
];

/// Those that make machines and cables, without disks.
const NETWORK_TOOLS: [&str; 3] = ["ip", "nft", "nsenter"];

/// Whether this machine has all that a run needs; else a sentence that says what is missing.
pub fn check_tools() -> Result<(), String> {
    check(&TOOLS.map(|(program, _)| program))
}

/// As [`check_tools`], for a run without disks of its own.
pub fn check_network_tools() -> Result<(), String> {
    check(&NETWORK_TOOLS)
}

fn check(programs: &[&str]) -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root can make network namespaces and filesystems".to_string());
    }
    let used = TOOLS.iter().filter(|(program, _)| programs.contains(program));
    let missing = used.filter(|(program, _)| !is_installed(program));
    let mut packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    packages.dedup();
    match packages.as_slice() {
        [] => Ok(()),
        packages => Err(format!("install these Debian packages first: {}", packages.join(" "))),
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Runs a line of words to its end and returns what it printed.
pub(super) fn run(line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    run_words(&words, "")
}

/// As [`run`], for words that may have spaces inside, and with something on stdin.
pub(super) fn run_words(words: &[&str], input: &str) -> Result<String, String> {
    let line = words.join(" ");
    let (program, arguments) = words.split_first().ok_or("nothing to run")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run `{line}`: {e}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read has its reasons, and says them.
        let _ = stdin.write_all(input.as_bytes());
    }
    let answer = child.wait_with_output().map_err(|e| format!("lost `{line}`: {e}"))?;
    match answer.status.success() {
        true => Ok(String::from_utf8_lossy(&answer.stdout).into_owned()),
        false => {
            let said = String::from_utf8_lossy(&answer.stderr);
            Err(format!("`{line}` failed ({}): {}", answer.status, said.trim()))
        }
    }
}

/// A path as a word.
pub fn word(path: &Path) -> &str {
    path.to_str().expect("paths of a run are made by the run, of letters and digits")
}
