//! Numbers for Prometheus. Every one has its row in [`TABLE`]; `GET /metrics` and the documentation
//! are made of it.

use super::gate::Gate;
use crate::driver::Handle;
use crate::store::{DiskNumbers, SYNC_CLASSES_US};
use crate::transport::{CounterRow, TransportCounters};
use metrics::{Counter, Key, KeyName, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use muslin_core::node::{Event, NodeStatus};
use muslin_core::raft::{self, Role};
use muslin_core::swim::{self, Liveness};
use std::sync::Arc;
use std::time::Duration;

/// One number.
pub struct Row {
    /// As Prometheus knows it.
    pub name: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    /// What it says.
    pub help: &'static str,
    source: Source,
}

/// Where a number comes from.
#[derive(Clone, Copy)]
enum Source {
    /// A state, read from the node at each scrape.
    Node(fn(&NodeStatus) -> u64),
    /// Counted where it happens: the registered counter of that name.
    Counted,
    /// A state of this process, or of its connections.
    Process(fn(&Gate) -> u64),
}

const fn state(name: &'static str, unit: Unit, of: fn(&NodeStatus) -> u64) -> Row {
    Row { name, unit, help: "", source: Source::Node(of) }
}

const fn counted(name: &'static str) -> Row {
    Row { name, unit: Unit::Count, help: "", source: Source::Counted }
}

impl Row {
    const fn help(self, help: &'static str) -> Row {
        Row { help, ..self }
    }
}

fn in_view(status: &NodeStatus, state: Liveness) -> u64 {
    status.view.iter().filter(|entry| entry.state == state).count() as u64
}

/// Every number there is, in the order it is told.
pub const TABLE: &[Row] = &[
    state("muslin_raft_term", Unit::Count, |s| s.term.0).help("Present term."),
    state("muslin_raft_is_leader", Unit::Count, |s| u64::from(s.role == Role::Leader))
        .help("1 while this node leads."),
    state("muslin_raft_has_leader", Unit::Count, |s| u64::from(s.leader.is_some()))
        .help("1 while this node knows a leader."),
    state("muslin_raft_last_index", Unit::Count, |s| s.last_index.0).help("Last entry of the log."),
    state("muslin_raft_commit_index", Unit::Count, |s| s.commit.0)
        .help("Last entry known to be committed."),
    state("muslin_raft_applied_index", Unit::Count, |s| s.applied.0)
        .help("Last entry applied to the state."),
    state("muslin_raft_voters", Unit::Count, |s| s.configuration.voters.len() as u64)
        .help("Voters of the configuration in force."),
    state("muslin_raft_learners", Unit::Count, |s| s.configuration.learners.len() as u64)
        .help("Learners of the configuration in force."),
    state("muslin_feed_members", Unit::Count, |s| s.fed.len() as u64)
        .help("Members that are fed: by this node and, if it leads, by the other voters."),
    state("muslin_feed_lag_entries", Unit::Count, |s| {
        s.fed.iter().map(|fed| s.commit.0.saturating_sub(fed.upto.0)).max().unwrap_or(0)
    })
    .help("How far the last of them is behind."),
    state("muslin_feed_is_fed", Unit::Count, |s| u64::from(s.fed_by.is_some()))
        .help("1 while a voter is to tell this node the record."),
    state("muslin_raft_is_rebuilding", Unit::Count, |s| u64::from(s.is_rebuilding))
        .help("1 while this node fetches again what its disk has lost."),
    state("muslin_disk_is_full", Unit::Count, |s| u64::from(s.full.contains(&s.id)))
        .help("1 while this node takes no writes for lack of room."),
    state("muslin_swim_alive", Unit::Count, |s| in_view(s, Liveness::Alive))
        .help("Nodes that this node sees alive, itself included."),
    state("muslin_swim_suspect", Unit::Count, |s| in_view(s, Liveness::Suspect))
        .help("Nodes that this node suspects."),
    state("muslin_swim_down", Unit::Count, |s| in_view(s, Liveness::Down))
        .help("Nodes that this node holds for down."),
    state("muslin_kv_revision", Unit::Count, |s| s.revision.0)
        .help("Key-value revision applied here."),
    state("muslin_kv_compacted_revision", Unit::Count, |s| s.compacted.0)
        .help("Earliest revision that can be read."),
    state("muslin_kv_keys", Unit::Count, |s| s.keys).help("Keys present."),
    state("muslin_kv_state_bytes", Unit::Bytes, |s| s.state_bytes)
        .help("Approximate size of the key-value state."),
    state("muslin_kv_quota_bytes", Unit::Bytes, |s| s.quota_bytes)
        .help("How large the key-value state may be; above it nothing is added."),
    state("muslin_uptime_seconds", Unit::Seconds, |s| s.uptime.as_secs())
        .help("Since the node started."),
    counted(KV_READS).help("Key-value reads asked for through this node."),
    counted(KV_WRITES).help("Key-value writes asked for through this node."),
    counted(GRPC_REQUESTS).help("gRPC calls, of any kind."),
    counted(HTTP_REQUESTS).help("HTTP requests other than gRPC."),
    counted(REFUSED_CALLS).help("Calls refused because of who called."),
    counted(REFUSED_CONNECTIONS).help("Connections closed at once because there were too many."),
    counted(CUT_CONNECTIONS)
        .help("Connections cut because they held too much that they did not read."),
    counted(CANCELLED_WATCHES).help("Watches cancelled because nothing of them was read."),
    counted(LEADER_CHANGES).help("Times this node learnt of another leader."),
    counted(SUSPICIONS).help("Times a node became suspect in this node's view."),
    counted(DEATHS).help("Times a node was held for down in this node's view."),
    counted(SNAPSHOTS).help("Snapshots of the state taken."),
    counted(SNAPSHOTS_SENT).help("Snapshots of the state that began to be sent to a node."),
    counted(BAD_MESSAGES).help("Messages dropped because they could not be read."),
    Row {
        name: "muslin_api_connections",
        unit: Unit::Count,
        help: "",
        source: Source::Process(connections),
    }
    .help("Client connections open."),
    Row {
        name: "process_resident_memory_bytes",
        unit: Unit::Bytes,
        help: "",
        source: Source::Process(|_| resident_bytes()),
    }
    .help("Resident memory of the process."),
];

const KV_READS: &str = "muslin_kv_reads_total";
const KV_WRITES: &str = "muslin_kv_writes_total";
const GRPC_REQUESTS: &str = "muslin_api_grpc_requests_total";
const HTTP_REQUESTS: &str = "muslin_api_http_requests_total";
const REFUSED_CALLS: &str = "muslin_api_refused_calls_total";
const REFUSED_CONNECTIONS: &str = "muslin_api_refused_connections_total";
const CUT_CONNECTIONS: &str = "muslin_api_cut_connections_total";
const CANCELLED_WATCHES: &str = "muslin_api_cancelled_watches_total";
const LEADER_CHANGES: &str = "muslin_raft_leader_changes_total";
const SUSPICIONS: &str = "muslin_swim_suspicions_total";
const DEATHS: &str = "muslin_swim_deaths_total";
const SNAPSHOTS: &str = "muslin_raft_snapshots_total";
const SNAPSHOTS_SENT: &str = "muslin_raft_snapshots_sent_total";
const BAD_MESSAGES: &str = "muslin_bad_messages_total";

fn connections(gate: &Gate) -> u64 {
    gate.len() as u64
}

/// What the kernel says this process has in memory; 0 where it does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes =
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}

/// Counts, and tells. The counters are handles: counting is one atomic addition.
pub(super) struct Metrics {
    pub(super) kv_reads: Counter,
    pub(super) kv_writes: Counter,
    pub(super) grpc_requests: Counter,
    pub(super) http_requests: Counter,
    pub(super) refused_calls: Counter,
    pub(super) refused_connections: Counter,
    pub(super) cut_connections: Counter,
    pub(super) cancelled_watches: Counter,
    leader_changes: Counter,
    suspicions: Counter,
    deaths: Counter,
    snapshots: Counter,
    snapshots_sent: Counter,
    bad_messages: Counter,
    gate: Arc<Gate>,
    transport: Option<Arc<TransportCounters>>,
    recorder: PrometheusRecorder,
}

/// How every number here is registered.
const METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

impl Metrics {
    pub(super) fn new(gate: Arc<Gate>, transport: Option<Arc<TransportCounters>>) -> Metrics {
        let recorder = PrometheusBuilder::new().build_recorder();
        for row in TABLE {
            let name = KeyName::from_const_str(row.name);
            match row.source {
                Source::Counted => recorder.describe_counter(name, Some(row.unit), row.help.into()),
                _ => recorder.describe_gauge(name, Some(row.unit), row.help.into()),
            }
        }
        let counter =
            |name: &'static str| recorder.register_counter(&Key::from_static_name(name), &METADATA);
        Metrics {
            kv_reads: counter(KV_READS),
            kv_writes: counter(KV_WRITES),
            grpc_requests: counter(GRPC_REQUESTS),
            http_requests: counter(HTTP_REQUESTS),
            refused_calls: counter(REFUSED_CALLS),
            refused_connections: counter(REFUSED_CONNECTIONS),
            cut_connections: counter(CUT_CONNECTIONS),
            cancelled_watches: counter(CANCELLED_WATCHES),
            leader_changes: counter(LEADER_CHANGES),
            suspicions: counter(SUSPICIONS),
            deaths: counter(DEATHS),
            snapshots: counter(SNAPSHOTS),
            snapshots_sent: counter(SNAPSHOTS_SENT),
            bad_messages: counter(BAD_MESSAGES),
            gate,
            transport,
            recorder,
        }
    }

    /// Counts what a node reports.
    pub(super) fn on_event(&self, event: &Event) {
        match event {
            Event::Raft { event: raft::Event::RoleChanged { leader: Some(_), .. }, .. } => {
                self.leader_changes.increment(1);
            }
            Event::Swim(swim::Event::Suspected { .. }) => self.suspicions.increment(1),
            Event::Swim(swim::Event::Down { .. }) => self.deaths.increment(1),
            Event::SnapshotTaken { .. } => self.snapshots.increment(1),
            Event::Raft { event: raft::Event::SnapshotSent { .. }, .. } => {
                self.snapshots_sent.increment(1);
            }
            Event::BadMessage { .. } => self.bad_messages.increment(1),
            _ => {}
        }
    }

    /// All numbers as Prometheus reads them.
    pub(super) fn render(&self, status: &NodeStatus, handle: &Handle) -> String {
        for row in TABLE {
            let value = match row.source {
                Source::Node(of) => of(status),
                Source::Process(of) => of(&self.gate),
                Source::Counted => continue,
            };
            let key = Key::from_static_name(row.name);
            self.recorder.register_gauge(&key, &METADATA).set(value as f64);
        }
        let mut text = self.recorder.handle().render();
        write_disk(&mut text, &handle.disk());
        let (name, longest) = ("muslin_driver_longest_turn_seconds", handle.longest_turn());
        text += &format!(
            "# HELP {name} Longest turn of the driver in the last ten to twenty seconds.\n\
             # TYPE {name} gauge\n{name} {}\n",
            longest.as_secs_f64()
        );
        if let Some(transport) = &self.transport {
            write_transport(&mut text, transport);
        }
        text
    }
}

/// The store counts by itself.
fn write_disk(text: &mut String, disk: &DiskNumbers) {
    let name = "muslin_disk_sync_seconds";
    *text += &format!(
        "# HELP {name} Time of one durable batch of the log: write and fdatasync.\n\
         # TYPE {name} histogram\n"
    );
    let mut count = 0;
    for (class, syncs) in disk.sync_classes.iter().enumerate() {
        count += syncs;
        let bound = SYNC_CLASSES_US.get(class).map(|us| Duration::from_micros(*us).as_secs_f64());
        let bound = bound.map_or(String::from("+Inf"), |bound| bound.to_string());
        *text += &format!("{name}_bucket{{le=\"{bound}\"}} {count}\n");
    }
    *text += &format!("{name}_sum {}\n{name}_count {count}\n", disk.sync_time.as_secs_f64());
    let rows = [
        ("disk_written_bytes_total", "Bytes written to the log.", disk.written_bytes),
        ("scrubbed_bytes_total", "Bytes read again to find damage.", disk.scrubbed_bytes),
        ("disk_damage_total", "Times damage was found on the disk.", disk.damages),
        ("disk_queue_writes", "Writes that wait for the disk.", disk.waiting_writes),
        ("disk_queue_bytes", "What they hold.", disk.waiting_bytes),
    ];
    for (name, help, value) in rows {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        *text += &format!("# HELP muslin_{name} {help}\n# TYPE muslin_{name} {kind}\n");
        *text += &format!("muslin_{name} {value}\n");
    }
}

/// The transport counts by itself; rows of one name stand together.
fn write_transport(text: &mut String, transport: &TransportCounters) {
    let mut last = "";
    for CounterRow { name, reason, help, value } in transport.rows() {
        if name != last {
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            let help = if reason.is_empty() { help } else { "By reason." };
            *text += &format!("# HELP muslin_{name} {help}\n# TYPE muslin_{name} {kind}\n");
            last = name;
        }
        let label =
            if reason.is_empty() { String::new() } else { format!("{{reason=\"{reason}\"}}") };
        *text += &format!("muslin_{name}{label} {value}\n");
    }
}
