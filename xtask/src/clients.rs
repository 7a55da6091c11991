//! Clients of other languages: the packages `etcd3` of npm and of PyPI, as their registries have
//! them, and etcd's own client for Go, as Debian has it, against three real nodes; with `--etcd`
//! against an etcd instead, which says whether a suite asks for what etcd does.

use crate::process::{self, Running, Scratch};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Until the nodes, or the etcd, answer.
const READY: Duration = Duration::from_secs(120);

/// Longest that nodes stay if everything else is forgotten.
const LIFE_SECONDS: &str = "1800";

/// A package, and what asks it.
struct Suite {
    /// Its directory below `tests/it`.
    name: &'static str,
    install: fn(&Path, &Path) -> Result<(), String>,
    run: fn(&Path, &Path) -> Command,
}

/// Where Debian keeps what programs in Go are made of.
const GO_PATH: &str = "/usr/share/gocode";

const SUITES: [Suite; 3] = [
    Suite { name: "npm", install: install_npm, run: run_npm },
    Suite { name: "pypi", install: install_pypi, run: run_pypi },
    Suite { name: "go", install: install_go, run: run_go },
];

/// Installs the packages, starts nodes, and lets the suites at them.
pub(crate) fn run(is_etcd: bool) -> Result<(), String> {
    let mut failed = Vec::new();
    for suite in &SUITES {
        let source = crate::root().join("tests/it").join(suite.name);
        let place = crate::target().join("clients").join(suite.name);
        std::fs::create_dir_all(&place).map_err(|e| format!("cannot make {place:?}: {e}"))?;
        (suite.install)(&source, &place)
            .map_err(|why| format!("cannot install what tests/it/{} needs: {why}", suite.name))?;
        // Nodes of its own: what one suite leaves behind is nothing to the other.
        let servers = if is_etcd { Servers::etcd()? } else { Servers::muslin()? };
        let mut command = (suite.run)(&source, &place);
        command.env("ENDPOINTS", servers.endpoints.join(","));
        if !is_etcd {
            command.env("MUSLIN", "1");
        }
        if let Err(why) = process::run(&mut command) {
            failed.push(format!("tests/it/{}: {why}", suite.name));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

fn install_npm(source: &Path, place: &Path) -> Result<(), String> {
    let package = source.join("package.json");
    std::fs::copy(&package, place.join("package.json")).map_err(|e| e.to_string())?;
    let line = ["install", "--no-audit", "--no-fund", "--loglevel=error"];
    process::run(Command::new("npm").args(line).current_dir(place))
}

fn run_npm(source: &Path, place: &Path) -> Command {
    let mut command = Command::new("node");
    command.arg("--test-reporter=spec").arg(source.join("suite.js"));
    command.env("NODE_PATH", place.join("node_modules"));
    command
}

fn install_pypi(source: &Path, place: &Path) -> Result<(), String> {
    let home = place.join("venv");
    if !home.join("bin/pip").is_file() {
        process::run(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
    }
    let mut pip = Command::new(home.join("bin/pip"));
    process::run(pip.args(["install", "--quiet", "-r"]).arg(source.join("requirements.txt")))
}

fn run_pypi(source: &Path, place: &Path) -> Command {
    let mut command = Command::new(place.join("venv/bin/python"));
    command.arg(source.join("suite.py"));
    command
}

/// Builds it, so that the nodes need not wait for that.
fn install_go(source: &Path, place: &Path) -> Result<(), String> {
    let mut command = Command::new("go");
    command.args(["test", "-c", "-o"]).arg(place.join("suite")).arg(source.join("suite_test.go"));
    command.env("GOPATH", GO_PATH).env("GOCACHE", place.join("cache"));
    process::run(command.env("GO111MODULE", "off").env("GOFLAGS", ""))
}

fn run_go(_: &Path, place: &Path) -> Command {
    let mut command = Command::new(place.join("suite"));
    command.arg("-test.v");
    command
}

/// What the clients connect to; ends with this value.
struct Servers {
    _running: Running,
    /// Nobody types, and the end of it is not the end of the nodes.
    _stdin: Option<ChildStdin>,
    _scratch: Scratch,
    endpoints: Vec<String>,
}

impl Servers {
    fn muslin() -> Result<Servers, String> {
        let scratch = Scratch::new("clients")?;
        let binary = crate::target().join("debug/muslin");
        let ports = process::free_ports(1)?;
        // Below the ports that the kernel hands out: what is free there stays free.
        let base = 18_000 + ports[0] % 10_000;
        let mut command = Command::new(binary);
        command.args(["dev", "-o", "json", "--exit-after", LIFE_SECONDS]);
        command.args(["--data-dir", &scratch.join("nodes")]);
        command.arg(format!("--base-port={base}")).arg(format!("--etcd-base-port={}", base + 10));
        let mut running = Running::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let (stdin, stdout) = running.pipes();
        let mut line = String::new();
        let mut lines = BufReader::new(stdout);
        lines.read_line(&mut line).map_err(|e| format!("the nodes say nothing: {e}"))?;
        std::thread::spawn(move || lines.lines().map_while(Result::ok).for_each(drop));
        let endpoints = endpoints(&line);
        if endpoints.is_empty() {
            return Err(format!("the nodes are not ready: {line}"));
        }
        Ok(Servers { _running: running, _stdin: Some(stdin), _scratch: scratch, endpoints })
    }

    fn etcd() -> Result<Servers, String> {
        crate::conformance::install(&[("etcd", "etcd-server")])?;
        let scratch = Scratch::new("clients")?;
        let ports = process::free_ports(2)?;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let (client, peer) = (url(ports[0]), url(ports[1]));
        let mut command = Command::new("etcd");
        command.args(["--data-dir", &scratch.join("etcd"), "--listen-client-urls", &client]);
        command.args(["--advertise-client-urls", &client, "--listen-peer-urls", &peer]);
        command.args(["--initial-advertise-peer-urls", &peer]);
        command.arg("--initial-cluster").arg(format!("default={peer}"));
        let running = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        let endpoint = format!("127.0.0.1:{}", ports[0]);
        let end = Instant::now() + READY;
        while std::net::TcpStream::connect(&endpoint).is_err() {
            if Instant::now() > end {
                return Err(String::from("etcd does not answer"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let endpoints = vec![endpoint];
        Ok(Servers { _running: running, _stdin: None, _scratch: scratch, endpoints })
    }
}

/// What stands behind each `"etcd":` of a line that tells of ready nodes.
fn endpoints(line: &str) -> Vec<String> {
    let pieces = line.split("\"etcd\":\"").skip(1);
    pieces.filter_map(|piece| piece.split('"').next()).map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_are_ready_say_where_etcds_clients_connect() {
        let line = r#"{"event":"ready","nodes":[{"etcd":"127.0.0.1:1"},{"etcd":"127.0.0.1:2"}]}"#;
        assert_eq!(endpoints(line), ["127.0.0.1:1", "127.0.0.1:2"]);
        assert_eq!(endpoints("{}"), Vec::<String>::new());
    }
}
