//! The child processes of a `dev` cluster.

use super::plan::NodePlan;
use crate::args::Dev;
use crate::failure::{Failure, Kind};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::OpenOptions;
use std::num::NonZero;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a node has to leave before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Between two looks at children that are leaving.
const LOOK: Duration = Duration::from_millis(10);

/// The variable by which tokio is told how many threads to work with.
const WORKERS: &str = "TOKIO_WORKER_THREADS";

/// All nodes.
pub(crate) struct Fleet {
    nodes: Vec<DevNode>,
    /// Options of `muslin up` that are the same for all.
    options: Vec<String>,
    /// Threads of each.
    workers: usize,
}

/// One node and its process.
pub(crate) struct DevNode {
    /// Where it lives.
    pub(crate) plan: NodePlan,
    process: Process,
}

enum Process {
    Ended,
    Running(Child),
    Paused(Child),
}

/// A node's process that has ended.
pub(crate) struct Exit {
    /// Which node.
    pub(crate) node: String,
    /// Its exit code, when it ended by itself.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
}

impl Fleet {
    /// Nodes, none of which runs.
    pub(crate) fn new(plans: &[NodePlan], dev: &Dev) -> Fleet {
        let idle = |plan: &NodePlan| DevNode { plan: plan.clone(), process: Process::Ended };
        let mut options = vec!["--log".to_string(), dev.log.clone()];
        options.extend(dev.lease_reads.then(|| "--lease-reads".to_string()));
        let profile = dev.profile.map(|profile| crate::cmd::init::profile(profile).name());
        options.extend(profile.map(|name| format!("--profile={name}")));
        let nodes: Vec<DevNode> = plans.iter().map(idle).collect();
        // Each gets its share of the machine: threads that find no core only wake each other.
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let workers = (cores / nodes.len().max(1)).max(1);
        Fleet { nodes, options, workers }
    }

    /// The nodes, in order.
    pub(crate) fn nodes(&self) -> &[DevNode] {
        &self.nodes
    }

    /// Starts every node. Must be called from the thread that lives as long as the process: the
    /// kernel's death signal follows the thread that started a child.
    pub(crate) fn start_all(&mut self) -> Result<(), Failure> {
        for node in &mut self.nodes {
            node.start(&self.options, self.workers)?;
        }
        Ok(())
    }

    /// Starts a node that has ended; its process id.
    pub(crate) fn start(&mut self, name: &str) -> Result<u32, Failure> {
        let (options, workers) = (self.options.clone(), self.workers);
        let node = self.find(name)?;
        match node.process {
            Process::Ended => node.start(&options, workers),
            _ => Err(Failure::new(Kind::Conflict, format!("{name} is running"))),
        }
    }

    /// Ends a node as a power cut would.
    pub(crate) fn kill(&mut self, name: &str) -> Result<(), Failure> {
        self.find(name)?.signal(Signal::SIGKILL)
    }

    /// Lets a node neither work nor answer.
    pub(crate) fn pause(&mut self, name: &str) -> Result<(), Failure> {
        let node = self.find(name)?;
        node.signal(Signal::SIGSTOP)?;
        node.process = match std::mem::replace(&mut node.process, Process::Ended) {
            Process::Running(child) => Process::Paused(child),
            other => other,
        };
        Ok(())
    }

    /// Lets a paused node go on.
    pub(crate) fn resume(&mut self, name: &str) -> Result<(), Failure> {
        let node = self.find(name)?;
        node.signal(Signal::SIGCONT)?;
        node.process = match std::mem::replace(&mut node.process, Process::Ended) {
            Process::Paused(child) => Process::Running(child),
            other => other,
        };
        Ok(())
    }

    /// Collects the processes that have ended since the last call.
    pub(crate) fn reap(&mut self) -> Vec<Exit> {
        self.nodes.iter_mut().filter_map(DevNode::reap).collect()
    }

    /// Ends every node: politely, then not.
    pub(crate) async fn stop_all(&mut self) {
        for node in &mut self.nodes {
            let _ = node.signal(Signal::SIGTERM);
            // A paused process takes its signals when it goes on.
            let _ = node.signal(Signal::SIGCONT);
        }
        let deadline = Instant::now() + GRACE;
        while self.nodes.iter().any(DevNode::has_process) && Instant::now() < deadline {
            self.reap();
            tokio::time::sleep(LOOK).await;
        }
        self.kill_all();
    }

    fn kill_all(&mut self) {
        for node in &mut self.nodes {
            if let Process::Running(child) | Process::Paused(child) = &mut node.process {
                let _ = child.kill();
                let _ = child.wait();
            }
            node.process = Process::Ended;
        }
    }

    fn find(&mut self, name: &str) -> Result<&mut DevNode, Failure> {
        let names: Vec<String> = self.nodes.iter().map(|node| node.plan.name.clone()).collect();
        let found = self.nodes.iter_mut().find(|node| node.plan.name == name);
        found.ok_or_else(|| {
            let sentence = format!("there is no node `{name}`");
            Failure::new(Kind::NotFound, sentence).hint(format!("there are {}", names.join(", ")))
        })
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.kill_all();
    }
}

impl DevNode {
    /// Its process id while it has a process.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.process {
            Process::Ended => None,
            Process::Running(child) | Process::Paused(child) => Some(child.id()),
        }
    }

    /// A word for what its process does.
    pub(crate) fn word(&self) -> &'static str {
        match self.process {
            Process::Ended => "ended",
            Process::Running(_) => "running",
            Process::Paused(_) => "paused",
        }
    }

    /// Whether it could answer.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.process, Process::Running(_))
    }

    fn has_process(&self) -> bool {
        !matches!(self.process, Process::Ended)
    }

    fn start(&mut self, options: &[String], workers: usize) -> Result<u32, Failure> {
        let log = OpenOptions::new().create(true).append(true).open(&self.plan.log)?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("up")
            .arg("--data-dir")
            .arg(&self.plan.data_dir)
            .args(["--listen", &self.plan.listen.to_string()])
            .args(["--advertise", &self.plan.listen.to_string()])
            .args(["--etcd-listen", &self.plan.etcd.to_string()])
            .args(options)
            .env(WORKERS, std::env::var(WORKERS).unwrap_or_else(|_| workers.to_string()))
            .args(["--exit-with-parent", &std::process::id().to_string()])
            // Ctrl-C at the terminal is for the supervisor, which stops the nodes in its own way.
            .process_group(0)
            // Kept open and never written to: its end tells the child that we are gone.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn().map_err(|error| {
            Failure::new(Kind::Failed, format!("cannot start {}: {error}", self.plan.name))
        })?;
        let pid = child.id();
        self.process = Process::Running(child);
        Ok(pid)
    }

    fn signal(&mut self, signal: Signal) -> Result<(), Failure> {
        let name = &self.plan.name;
        let Some(pid) = self.pid() else {
            let failure = Failure::new(Kind::Conflict, format!("{name} is not running"));
            return Err(failure.hint(format!("start {name}")));
        };
        // The child has not been waited for, so the number is still its own.
        kill(Pid::from_raw(pid as i32), signal)
            .map_err(|error| Failure::new(Kind::Failed, format!("cannot signal {name}: {error}")))
    }

    fn reap(&mut self) -> Option<Exit> {
        let (Process::Running(child) | Process::Paused(child)) = &mut self.process else {
            return None;
        };
        let status: ExitStatus = child.try_wait().ok().flatten()?;
        self.process = Process::Ended;
        let node = self.plan.name.clone();
        Some(Exit { node, code: status.code(), signal: status.signal() })
    }
}
