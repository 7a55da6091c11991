//! Turns `crates/muslin/proto/*.proto` into `crates/muslin/src/api/proto/*.rs`, without `protoc`.
//!
//! The result is checked in, so that building Muslin needs no protobuf compiler; a test compares.
//! Run it with `cargo run -p codegen`.

use prost::Message;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Every file to compile; imports are found beside them.
const PROTOS: [&str; 3] = ["rpc.proto", "v3lock.proto", "v3election.proto"];

/// One per protobuf package: the name prost gives the file.
const GENERATED: [&str; 5] =
    ["authpb.rs", "etcdserverpb.rs", "mvccpb.rs", "v3electionpb.rs", "v3lockpb.rs"];

/// The same interface as data, for those who must know its shapes at run time.
const DESCRIBED: &str = "interface.bin";

fn main() -> Result<(), Box<dyn Error>> {
    let to = checked_in();
    fs::create_dir_all(&to)?;
    generate(&to)?;
    println!("wrote {} and {DESCRIBED} to {}", GENERATED.join(", "), to.display());
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
    let mut descriptors = protox::compile(PROTOS, [proto])?;
    for file in &mut descriptors.file {
        // Where it stands in the file, and with what comments.
        file.source_code_info = None;
    }
    fs::write(to.join(DESCRIBED), descriptors.encode_to_vec())?;
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
    use std::collections::BTreeSet;

    #[test]
    fn checked_in_code_is_what_codegen_makes() {
        let fresh = env::temp_dir().join(format!("muslin-codegen-{}", std::process::id()));
        fs::create_dir_all(&fresh).expect("a temporary directory can be made");
        generate(&fresh).expect("the protos compile");
        let bytes = |path: PathBuf| fs::read(path).unwrap_or_default();
        let differs = |name: &&str| bytes(fresh.join(name)) != bytes(checked_in().join(name));
        let all = GENERATED.into_iter().chain([DESCRIBED]);
        let stale: Vec<&str> = all.filter(differs).collect();
        fs::remove_dir_all(&fresh).expect("the temporary directory can be removed");
        assert!(stale.is_empty(), "run `cargo run -p codegen` and commit {stale:?}");
    }

    /// Calls and fields, as `Service.Call` and `Message.field`.
    fn words() -> BTreeSet<String> {
        let proto = repository().join("crates/muslin/proto");
        let files = protox::compile(PROTOS, [proto]).expect("the protos compile").file;
        let services = files.iter().flat_map(|file| &file.service);
        let calls =
            services.flat_map(|one| one.method.iter().map(|call| (one.name(), call.name())));
        let messages = files.iter().flat_map(|file| &file.message_type);
        let fields = messages.flat_map(|one| one.field.iter().map(|f| (one.name(), f.name())));
        calls.chain(fields).map(|(of, name)| format!("{of}.{name}")).collect()
    }

    #[test]
    fn the_page_of_compatibility_names_every_call_and_field_once() {
        let page = read(&repository(), "docs/etcd-compatibility.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let mut named = BTreeSet::new();
        for (name, rest) in rows {
            assert!(named.insert(name.to_string()), "{name} stands there twice");
            let is_said = ["yes", "part", "no"].iter().any(|word| rest.starts_with(word));
            assert!(is_said, "{name} says neither yes, part nor no");
            assert!(!rest.starts_with("part | |"), "{name} does not say which part");
        }
        let all = words();
        let missing: Vec<&String> = all.difference(&named).collect();
        assert!(missing.is_empty(), "docs/etcd-compatibility.md does not name {missing:?}");
        let unknown: Vec<&String> = named.difference(&all).collect();
        assert!(unknown.is_empty(), "there is no {unknown:?} in the interface");
    }

    fn read(directory: &Path, name: &str) -> String {
        fs::read_to_string(directory.join(name)).unwrap_or_default()
    }
}
