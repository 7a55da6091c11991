//! Turns `crates/muslin/proto/*.proto` into `crates/muslin/src/api/proto/*.rs`, without `protoc`.
//!
//! The result is checked in, so that building Muslin needs no protobuf compiler; a test compares.
//! Run it with `cargo run -p codegen`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Every file to compile; imports are found beside them.
const PROTOS: [&str; 1] = ["rpc.proto"];

/// One per protobuf package: the name prost gives the file.
const GENERATED: [&str; 2] = ["etcdserverpb.rs", "mvccpb.rs"];

fn main() -> Result<(), Box<dyn Error>> {
    let to = checked_in();
    fs::create_dir_all(&to)?;
    generate(&to)?;
    println!("wrote {} to {}", GENERATED.join(", "), to.display());
    Ok(())
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn checked_in() -> PathBuf {
    repository().join("crates/muslin/src/api/proto")
}

/// Compiles the protos into `to` and formats what comes out, so that the result is the same
/// whatever rustfmt would make of it later.
fn generate(to: &Path) -> Result<(), Box<dyn Error>> {
    let proto = repository().join("crates/muslin/proto");
    let descriptors = protox::compile(PROTOS, [proto])?;
    tonic_prost_build::configure()
        // Calls go through whatever carries them (a channel, a test's socket): no `connect`.
        .build_transport(false)
        // Keys and values are shared with the receive buffer.
        .bytes(".")
        .emit_rerun_if_changed(false)
        .out_dir(to)
        .compile_fds(descriptors)?;
    let mut rustfmt = Command::new(env::var_os("RUSTFMT").unwrap_or("rustfmt".into()));
    rustfmt.args(["--edition", "2024", "--config-path"]).arg(repository().join("rustfmt.toml"));
    let status = rustfmt.args(GENERATED.map(|name| to.join(name))).status()?;
    if !status.success() {
        return Err(format!("rustfmt failed: {status}").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checked_in_code_is_what_codegen_makes() {
        let fresh = env::temp_dir().join(format!("muslin-codegen-{}", std::process::id()));
        fs::create_dir_all(&fresh).expect("a temporary directory can be made");
        generate(&fresh).expect("the protos compile");
        let differs = |name: &&str| read(&fresh, name) != read(&checked_in(), name);
        let stale: Vec<&str> = GENERATED.into_iter().filter(differs).collect();
        fs::remove_dir_all(&fresh).expect("the temporary directory can be removed");
        assert!(stale.is_empty(), "run `cargo run -p codegen` and commit {stale:?}");
    }

    fn read(directory: &Path, name: &str) -> String {
        fs::read_to_string(directory.join(name)).unwrap_or_default()
    }
}
