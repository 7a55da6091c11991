//! That core stays `no_std`.

use crate::process;

/// A target without a standard library.
const BARE: &str = "thumbv7em-none-eabi";

/// Builds core for a machine without an operating system when that target is installed; otherwise
/// reads that nothing lets `std` in.
pub(crate) fn run() -> Result<(), String> {
    let installed =
        process::output(&mut process::command("rustup", &["target", "list", "--installed"]));
    if installed.is_ok_and(|list| list.lines().any(|line| line == BARE)) {
        let mut check = process::cargo(&["check", "-p", "muslin-core", "--target", BARE]);
        return process::run(&mut check);
    }
    let path = crate::root().join("crates/muslin-core/src/lib.rs");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("cannot read {path:?}: {e}"))?;
    lets_no_std_in(&text)?;
    println!("{BARE} is not installed; read that core is no_std");
    process::run(&mut process::cargo(&["check", "-p", "muslin-core"]))
}

/// `#![no_std]` stands there, and `extern crate std` only behind `#[cfg(test)]`.
fn lets_no_std_in(text: &str) -> Result<(), String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    if !lines.contains(&"#![no_std]") {
        return Err("core does not say #![no_std]".to_string());
    }
    let mut previous = "";
    for line in lines {
        if line.contains("extern crate std") && previous != "#[cfg(test)]" {
            return Err("core lets std in outside tests".to_string());
        }
        previous = line;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::lets_no_std_in;

    #[test]
    fn std_is_for_the_tests_of_core_only() {
        assert!(lets_no_std_in("#![no_std]\n#[cfg(test)]\nextern crate std;\n").is_ok());
        assert!(lets_no_std_in("#![no_std]\nextern crate std;\n").is_err());
        assert!(lets_no_std_in("extern crate alloc;\n").is_err());
    }
}
