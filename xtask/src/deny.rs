//! Licences, duplicates and origins of what we depend on, as `deny.toml` says.

use crate::process;

/// Runs cargo-deny, installing it first when it is missing.
pub(crate) fn run() -> Result<(), String> {
    if process::output(&mut process::cargo(&["deny", "--version"])).is_err() {
        process::run(&mut process::cargo(&["install", "cargo-deny", "--locked"]))?;
    }
    process::run(&mut process::cargo(&["deny", "check", "bans", "licenses", "sources"]))
}
