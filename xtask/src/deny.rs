//! Licences, duplicates and origins of what we depend on, as `deny.toml` says.

use crate::process;

/// Runs cargo-deny, installing it first when it is missing: without optimization, which would take
/// minutes to make a run of two seconds one of half a second.
pub(crate) fn run() -> Result<(), String> {
    if process::output(&mut process::cargo(&["deny", "--version"])).is_err() {
        let mut install = process::cargo(&["install", "cargo-deny", "--locked", "--debug"]);
        process::run(install.env("CARGO_PROFILE_DEV_DEBUG", "0"))?;
    }
    process::run(&mut process::cargo(&["deny", "check", "bans", "licenses", "sources"]))
}
