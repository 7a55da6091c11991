//! What `dev` says: JSON lines for scripts, text for people.

use super::fleet::{Exit, Fleet};
use super::plan::{Plan, Removal};
use super::ready::ReadyNode;
use crate::args::Format;
use crate::cmd::status;
use crate::failure::Failure;
use crate::output::{self, Table, cell};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// What can be typed.
pub(crate) const HELP: &str = "kill NODE, start NODE, pause NODE, resume NODE, status, quit";

/// How things are said.
#[derive(Clone, Copy)]
pub(crate) struct Voice {
    format: Format,
    has_prompt: bool,
}

impl Voice {
    /// Speaks to whoever is there.
    pub(crate) fn new(format: Format) -> Voice {
        let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        Voice { format, has_prompt: is_terminal && format == Format::Table }
    }

    /// Whether a person sits at both ends.
    pub(crate) fn has_prompt(self) -> bool {
        self.has_prompt
    }

    /// The cluster answers writes.
    pub(crate) fn ready(
        self,
        nodes: &[ReadyNode],
        plan: &Plan,
        after: Duration,
    ) -> Result<(), Failure> {
        if self.format == Format::Json {
            return line(&Ready { event: "ready", nodes });
        }
        let seconds = after.as_secs_f64();
        output::text(&format!("Ready - every node answered a write after {seconds:.2} s\n\n"))?;
        output::text(&ready_text(nodes, plan))
    }

    /// A node's process has ended.
    pub(crate) fn exited(self, exit: &Exit) -> Result<(), Failure> {
        match self.format {
            Format::Json => line(&json!({
                "event": "exited", "node": exit.node, "code": exit.code, "signal": exit.signal,
            })),
            Format::Table => {
                let how = match (exit.signal, exit.code) {
                    (Some(signal), _) => format!("signal {signal}"),
                    (None, Some(code)) => format!("code {code}"),
                    (None, None) => "no reason".to_string(),
                };
                // It comes while the prompt waits, and takes its place.
                let place = if self.has_prompt { "\r" } else { "" };
                self.sentence(&format!("{place}{0} has ended ({how}); `start {0}`", exit.node))
            }
        }
    }

    /// An order was carried out.
    pub(crate) fn done(self, event: &str, node: &str, pid: Option<u32>) -> Result<(), Failure> {
        match self.format {
            Format::Json => line(&json!({ "event": event, "node": node, "pid": pid })),
            Format::Table => self.sentence(&format!("{node} {event}")),
        }
    }

    /// An order was not carried out.
    pub(crate) fn refused(self, failure: &Failure) -> Result<(), Failure> {
        match self.format {
            Format::Json => {
                let (text, hint) = (&failure.sentence, &failure.hint);
                line(&json!({ "event": "refused", "text": text, "hint": hint }))
            }
            Format::Table => self.sentence(&failure.to_string()),
        }
    }

    /// How the cluster is.
    pub(crate) fn status(self, fleet: &Fleet, body: &Value) -> Result<(), Failure> {
        let processes: Vec<Value> = fleet.nodes().iter().map(process).collect();
        if self.format == Format::Json {
            return line(&json!({ "event": "status", "processes": processes, "status": body }));
        }
        let mut table = Table::new(&["NODE", "PROCESS", "PID"]);
        for process in &processes {
            table.row(["name", "process", "pid"].map(|name| cell(process, name)));
        }
        output::text(&format!("{}\n{}", status::text(body), table.aligned()))
    }

    /// What can be typed.
    pub(crate) fn help(self) -> Result<(), Failure> {
        match self.format {
            Format::Json => line(&json!({ "event": "help", "text": HELP })),
            Format::Table => self.sentence(HELP),
        }
    }

    /// Everything has ended.
    pub(crate) fn stopped(self, plan: &Plan) -> Result<(), Failure> {
        let kept = match plan.removal {
            Removal::Nothing => Some(plan.directory.to_string_lossy()),
            Removal::Nodes { .. } | Removal::Everything => None,
        };
        match self.format {
            Format::Json => line(&json!({ "event": "stopped", "retained": kept })),
            Format::Table => match kept {
                Some(directory) => output::text(&format!("stopped; the data is in {directory}\n")),
                None => output::text("stopped\n"),
            },
        }
    }

    /// Asks for an order.
    pub(crate) fn prompt(self) {
        if self.has_prompt {
            print!("muslin> ");
            let _ = std::io::stdout().flush();
        }
    }

    fn sentence(self, text: &str) -> Result<(), Failure> {
        output::text(&format!("{text}\n"))
    }
}

fn process(node: &super::fleet::DevNode) -> Value {
    json!({ "name": node.plan.name, "process": node.word(), "pid": node.pid() })
}

/// One event, one line, at once: scripts wait for it.
fn line(event: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string(event).map_err(std::io::Error::from)?;
    text.push('\n');
    output::text(&text)
}

/// The ready line. Its fields stand in this order.
#[derive(Serialize)]
struct Ready<'a> {
    event: &'static str,
    nodes: &'a [ReadyNode],
}

fn ready_text(nodes: &[ReadyNode], plan: &Plan) -> String {
    let mut table = Table::new(&["NODE", "ID", "PID", "ADDRESS", "ETCD"]);
    for node in nodes {
        let pid = node.pid.map_or("-".to_string(), |pid| pid.to_string());
        table.row([&node.name, &node.id, &pid, &node.addr, &node.etcd].map(String::clone));
    }
    let first = &nodes[0];
    let last = &nodes[nodes.len() - 1];
    let fate = match plan.removal {
        Removal::Nothing => "kept",
        Removal::Nodes { .. } | Removal::Everything => "removed at the end, unless --retain",
    };
    format!(
        "{table}\nTry:\n  \
         etcdctl --endpoints={etcd} put greeting hello\n  \
         muslin kv get greeting --addr {addr}\n  \
         kill n1     (here, then `status`: the others go on)\n\n\
         Data in {directory} ({fate}). Ctrl-C stops everything.\n",
        table = table.aligned(),
        etcd = first.etcd,
        addr = last.addr,
        directory = plan.directory.display(),
    )
}
