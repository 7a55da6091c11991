//! Real etcd clients against a real cluster.

use crate::process;

/// The programs the conformance tests need, and the Debian packages that hold them.
const TOOLS: [(&str, &str); 2] = [("protoc", "protobuf-compiler"), ("etcdctl", "etcd-client")];

/// Builds the binary and lets the clients at it.
pub(crate) fn run() -> Result<(), String> {
    install_tools()?;
    process::run(&mut process::cargo(&["build", "-p", "muslin-cli"]))?;
    let binary = crate::target().join("debug/muslin");
    let mut test = process::cargo(&["test", "-p", "conformance"]);
    process::run(test.env("MUSLIN_BIN", binary))
}

/// Makes sure that the tools are there; installs them when we may.
pub(crate) fn install_tools() -> Result<(), String> {
    install(&TOOLS)
}

/// As [`install_tools`], for any programs.
pub(crate) fn install(tools: &[(&str, &'static str)]) -> Result<(), String> {
    let missing = tools.iter().filter(|(program, _)| !process::is_installed(program));
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
