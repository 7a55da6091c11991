//! Real etcd clients against a real cluster.

use crate::{clients, process};
use std::path::Path;
use std::process::Command;

/// The programs the conformance tests need, and the Debian packages that hold them.
const TOOLS: [(&str, &str); 2] = [("protoc", "protobuf-compiler"), ("etcdctl", "etcd-client")];

/// What the clients of other languages need. etcd's own for Go is a package of Debian's too.
const LANGUAGES: [(&str, &str); 5] = [
    ("node", "nodejs"),
    ("npm", "npm"),
    ("python3", "python3-venv"),
    ("go", "golang-go"),
    ("/usr/share/gocode/src/go.etcd.io/etcd/clientv3", "golang-etcd-server-dev"),
];

/// Builds the binary and lets the clients at it.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (rust, packages) = match words[..] {
        [] => (true, true),
        ["--only", "rust"] => (true, false),
        ["--only", "packages"] => (false, true),
        ["--etcd"] => {
            install(&LANGUAGES)?;
            return clients::run(true);
        }
        _ => return Err(String::from("[--only rust|packages] or --etcd")),
    };
    install_tools()?;
    process::run(&mut process::cargo(&["build", "-p", "muslin-cli"]))?;
    if rust {
        process::run(with_binary(&mut process::cargo(&["test", "-p", "conformance"])))?;
    }
    if packages {
        install(&LANGUAGES)?;
        clients::run(false)?;
    }
    Ok(())
}

/// Tells the tests which binary is meant: the one that is built with them.
pub(crate) fn with_binary(tests: &mut Command) -> &mut Command {
    tests.env("MUSLIN_BIN", crate::target().join("debug/muslin"))
}

/// Makes sure that the tools are there; installs them when we may.
pub(crate) fn install_tools() -> Result<(), String> {
    install(&TOOLS)
}

/// As [`install_tools`], for any programs, and directories by their whole path.
pub(crate) fn install(tools: &[(&str, &'static str)]) -> Result<(), String> {
    let is_there = |what: &str| {
        if what.starts_with('/') { Path::new(what).is_dir() } else { process::is_installed(what) }
    };
    let missing = tools.iter().filter(|(what, _)| !is_there(what));
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    if !is_root() || !process::is_installed("apt-get") {
        return Err(format!("install these Debian packages first: {}", packages.join(" ")));
    }
    let apt = |arguments: &[&str]| {
        let mut command = process::command("apt-get", arguments);
        process::run(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update", "-qq"])?;
    let line = ["install", "-y", "-qq", "--no-install-recommends"];
    apt(&[&line[..], &packages].concat())
}

fn is_root() -> bool {
    let id = process::output(&mut process::command("id", &["-u"]));
    id.is_ok_and(|text| text.trim() == "0")
}
