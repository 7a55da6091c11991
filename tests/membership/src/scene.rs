//! A network, and nodes on it.

use crate::ask::{self, Answer};
use chaos::stage::{Network, Process, address, on_machine, word};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The port of everything, on every machine.
pub(crate) const PORT: u16 = 7400;

/// Whatever takes longer than this does not happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What to run, and where.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The program under test.
    pub(crate) binary: PathBuf,
    /// For data and logs.
    pub(crate) directory: PathBuf,
    /// How many join at once.
    pub(crate) crowd: usize,
}

/// Machines on one switch, each with a node that may run.
pub(crate) struct Scene {
    /// They end before their cables go.
    pub(crate) nodes: Vec<Node>,
    /// Where faults are made.
    pub(crate) network: Network,
}

/// One machine and its node.
pub(crate) struct Node {
    /// Which machine.
    pub(crate) number: u8,
    /// Its process.
    pub(crate) process: Process,
    /// What it keeps.
    pub(crate) place: PathBuf,
    /// What `up` is told besides.
    pub(crate) flags: Vec<String>,
    binary: PathBuf,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    /// Its exit code.
    pub(crate) code: Option<i32>,
    /// On stdout.
    pub(crate) stdout: String,
    /// On stderr.
    pub(crate) stderr: String,
}

impl Said {
    /// Its output, or an error with what it said.
    pub(crate) fn ok(self) -> Result<String, String> {
        match self.code {
            Some(0) => Ok(self.stdout),
            code => Err(format!("exit code {code:?}: {}", self.stderr.trim())),
        }
    }

    /// What was wrong, in one line.
    pub(crate) fn words(&self) -> String {
        let lines: Vec<&str> = self.stderr.lines().map(str::trim).collect();
        lines.join(" / ")
    }
}

impl Scene {
    /// So many machines with nothing on them.
    pub(crate) fn build(plan: &Plan, machines: u8) -> Result<Scene, String> {
        let directory = &plan.directory;
        let _ = std::fs::remove_dir_all(directory);
        std::fs::create_dir_all(directory)
            .map_err(|e| format!("cannot make {directory:?}: {e}"))?;
        let network = Network::build(machines)?;
        let nodes = (0..machines).map(|number| Node::new(number, plan)).collect();
        Ok(Scene { nodes, network })
    }

    /// The first founds; the next `control` ones join as control nodes, and others as workers, one
    /// after the other. All run, and all see each other. The token, which admits any number.
    pub(crate) fn found(&mut self, control: usize, workers: usize) -> Result<String, String> {
        let token = self.nodes[0].init()?;
        self.nodes[0].up()?;
        until("the founder answers", || self.nodes[0].put("founded", "yes").ok())?;
        for number in 1..control + workers {
            let role = if number < control { "control" } else { "worker" };
            let through = self.nodes[0].address();
            self.nodes[number].join(&through, &["--token", &token, "--roles", role])?.ok()?;
            self.nodes[number].up()?;
        }
        self.wait_whole(control + workers, control.min(3))?;
        Ok(token)
    }

    /// Waits until each of the first `count` nodes sees so many alive and so many vote.
    pub(crate) fn wait_whole(&self, count: usize, voters: usize) -> Result<(), String> {
        for node in &self.nodes[..count] {
            let seen = |state: &Value| {
                let rows = state["nodes"].as_array().into_iter().flatten();
                let fit = |row: &&Value| row["state"] == "alive" && row["standing"] == "admitted";
                rows.filter(fit).count()
            };
            let mut last = Value::Null;
            let whole = until("", || {
                last = node.get("/v1/status").ok()?;
                let is_whole = seen(&last) == count
                    && last["health"] == "healthy"
                    && last["voters"]["total"] == voters;
                is_whole.then_some(())
            });
            whole.map_err(|_| {
                let (alive, sentence) = (seen(&last), &last["sentence"]);
                format!("{} sees {alive} of {count} alive: {sentence}", node.name())
            })?;
        }
        Ok(())
    }

    /// Who leads, as the nodes that run say.
    pub(crate) fn leader(&self) -> Result<usize, String> {
        until("somebody leads", || {
            self.nodes.iter().position(|node| {
                let status = node.process.is_started().then(|| node.get("/v1/status").ok());
                status.flatten().is_some_and(|status| status["node"]["role"] == "leader")
            })
        })
    }

    /// Some that run and do not lead.
    pub(crate) fn followers(&self) -> Result<Vec<usize>, String> {
        let leader = self.leader()?;
        let runs = |number: &usize| self.nodes[*number].process.is_started();
        Ok((0..self.nodes.len()).filter(|number| *number != leader).filter(runs).collect())
    }
}

impl Node {
    fn new(number: u8, plan: &Plan) -> Node {
        let name = format!("n{}", number + 1);
        Node {
            number,
            process: Process::new(name.clone(), plan.directory.join(format!("{name}.log"))),
            place: plan.directory.join(&name),
            flags: Vec::new(),
            binary: plan.binary.clone(),
        }
    }

    /// `n1` and so on.
    pub(crate) fn name(&self) -> String {
        self.process.name()
    }

    /// Where others reach it.
    pub(crate) fn address(&self) -> String {
        format!("{}:{PORT}", address(self.number))
    }

    /// What a new node is told.
    fn new_node(&self) -> Vec<String> {
        let listen = format!("0.0.0.0:{PORT}");
        let words = ["--data-dir", word(&self.place), "--name", &self.name(), "--listen", &listen];
        let more = ["--advertise", &self.address(), "--profile", "fast", "-o", "json"];
        [&words[..], &more[..]].concat().into_iter().map(String::from).collect()
    }

    /// Founds a cluster; its token.
    pub(crate) fn init(&self) -> Result<String, String> {
        let words = self.new_node();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = self.run(&[&["init"], &words[..]].concat())?.ok()?;
        let said: Value = serde_json::from_str(&said).map_err(|e| format!("init: {e}"))?;
        Ok(said["token"].as_str().ok_or("init gave no token")?.to_string())
    }

    /// Asks to join through a node at that address.
    pub(crate) fn join(&self, through: &str, more: &[&str]) -> Result<Said, String> {
        let words = self.new_node();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.run(&[&["join", through], &words[..], more].concat())
    }

    /// Starts its process.
    pub(crate) fn up(&mut self) -> Result<(), String> {
        let parent = std::process::id().to_string();
        let mut command = on_machine(self.number);
        command.arg(&self.binary);
        command.args(["up", "--data-dir", word(&self.place), "--exit-with-parent", &parent]);
        // Nodes of one host find each other there: these are on hosts of their own.
        let own = self.place.with_extension("run");
        std::fs::create_dir_all(&own).map_err(|e| format!("cannot make {own:?}: {e}"))?;
        command.env("XDG_RUNTIME_DIR", own).args(&self.flags);
        self.process.spawn(&mut command)
    }

    /// Runs a command of the program on its machine.
    pub(crate) fn run(&self, words: &[&str]) -> Result<Said, String> {
        let mut command = on_machine(self.number);
        command.arg(&self.binary).args(words).stdin(Stdio::null());
        let output = command.output().map_err(|e| format!("cannot run {words:?}: {e}"))?;
        Ok(Said {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// As [`Node::run`], for a command that answers in JSON.
    pub(crate) fn run_json(&self, words: &[&str]) -> Result<Value, String> {
        let said = self.run(&[words, &["-o", "json"]].concat())?.ok()?;
        serde_json::from_str(&said).map_err(|e| format!("{words:?} said {said:?}: {e}"))
    }

    /// Asks the node from its own machine; any answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Result<Answer, String> {
        ask::ask(self.number, (method, path), body)
    }

    /// Reads a path; an error when it is refused.
    pub(crate) fn get(&self, path: &str) -> Result<Value, String> {
        let answer = self.ask("GET", path, "")?;
        match answer.status {
            200 => serde_json::from_str(&answer.body).map_err(|e| format!("{path}: {e}")),
            status => Err(format!("{path}: {status} {}", answer.body)),
        }
    }

    /// Writes a key.
    pub(crate) fn put(&self, key: &str, value: &str) -> Result<(), String> {
        let answer = self.ask("PUT", &format!("/v1/kv/{key}"), value)?;
        (answer.status == 200).then_some(()).ok_or(format!("{} {}", answer.status, answer.body))
    }

    /// The sum of the metrics whose lines begin so.
    pub(crate) fn metric(&self, begins: &str) -> Result<f64, String> {
        let text = self.ask("GET", "/metrics", "")?.body;
        let lines = text.lines().filter(|line| line.starts_with(begins));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Its row in the eyes of another.
    pub(crate) fn row_at(&self, other: &Node) -> Result<Value, String> {
        other.get(&format!("/v1/nodes/{}", self.name()))
    }

    /// What the record holds, without what changes by itself.
    pub(crate) fn record(&self) -> Result<String, String> {
        let cluster = self.get("/v1/cluster?consistency=linearizable")?;
        let tokens = self.get("/v1/tokens")?["items"].clone();
        let joins = self.get("/v1/joins")?["items"].clone();
        Ok(format!("{}\n{tokens}\n{joins}", self.known_members(&cluster)?))
    }

    /// The members and the epoch as this node has them, without a quorum.
    pub(crate) fn local_record(&self) -> Result<String, String> {
        let cluster = self.get("/v1/cluster")?;
        self.known_members(&cluster)
    }

    fn known_members(&self, cluster: &Value) -> Result<String, String> {
        const OF_CLUSTER: [&str; 8] = [
            "id",
            "epoch",
            "voters",
            "learners",
            "members",
            "joins_waiting",
            "tombstones",
            "gossip_keys",
        ];
        const OF_NODE: [&str; 10] = [
            "id",
            "name",
            "addr",
            "roles",
            "standing",
            "epoch",
            "labels",
            "zone",
            "vote",
            "admitted_by",
        ];
        let pick = |value: &Value, names: &[&str]| {
            let one = |name: &&str| format!("{name}={}", value[*name]);
            names.iter().map(one).collect::<Vec<_>>().join(" ")
        };
        let nodes = self.get("/v1/nodes")?;
        let rows = nodes["items"].as_array().into_iter().flatten();
        let rows: Vec<String> = rows.map(|row| pick(row, &OF_NODE)).collect();
        Ok(format!("{} {}\n{}", pick(cluster, &OF_CLUSTER), cluster["settings"], rows.join("\n")))
    }

    /// Resident memory, in megabytes.
    pub(crate) fn resident_mb(&self) -> Result<f64, String> {
        let path = format!("/proc/{}/status", self.process.pid());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
        kilobytes.map(|kb| kb / 1024.0).ok_or(format!("{} has no memory to read", self.name()))
    }
}

/// Asks again and again until there is an answer.
pub(crate) fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> Result<T, String> {
    within(PATIENCE, what, ask)
}

/// As [`until`], with another patience.
pub(crate) fn within<T>(
    patience: Duration,
    what: &str,
    mut ask: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            return Err(format!("waited {} s in vain until {what}", patience.as_secs()));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Milliseconds for printing.
pub(crate) fn ms(time: Duration) -> u128 {
    time.as_millis()
}

/// Fails with a sentence unless it is so.
pub(crate) fn ensure(is_so: bool, sentence: impl Into<String>) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(sentence.into()) }
}

/// All files below a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}
