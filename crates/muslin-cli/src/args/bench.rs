//! `muslin bench ..`

use super::load::{BenchKv, BenchOutage, BenchWatchers};
use super::{bytes, clients, seconds, within};
use clap::{Args, Subcommand, ValueEnum};
use muslin_core::state::GROUPS_MAX;
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub(crate) enum Bench {
    /// Load a cluster through the etcd interface (works on etcd too)
    Kv(BenchKv),
    /// Write beside a crowd of watches, each of which must be told everything
    Watchers(BenchWatchers),
    /// Write without pause through the etcd interface, and tell how long nobody could
    Outage(BenchOutage),
    /// Measure consensus alone: three replicas in this process, no network
    Raft(BenchRaft),
    /// Measure many groups: what they cost idle, what they carry (three nodes in this process)
    Groups(BenchGroups),
    /// Measure the key-value state alone: puts, reads, memory of a key, snapshots
    State(BenchState),
}

#[derive(Args, Debug)]
#[command(after_help = examples::BENCH_STATE)]
pub(crate) struct BenchState {
    /// How many keys
    #[arg(long, default_value_t = 1_000_000, value_parser = state_keys())]
    pub(crate) keys: u64,
    /// Size of a value
    #[arg(long, default_value_t = 128, value_parser = bytes())]
    pub(crate) value_bytes: usize,
}

#[derive(Args, Debug)]
#[command(after_help = examples::BENCH_GROUPS)]
pub(crate) struct BenchGroups {
    /// How many groups, each with a replica on all three nodes
    #[arg(long, default_value_t = 256, value_parser = groups())]
    pub(crate) groups: u64,
    /// How long they idle, and how long they are written to
    #[arg(long, default_value_t = 10, value_parser = seconds())]
    pub(crate) seconds: u64,
    /// Clients of each group while they are written to, each with one command at a time
    #[arg(long, default_value_t = 4, value_parser = clients())]
    pub(crate) clients: usize,
    /// Size of a command
    #[arg(long, default_value_t = 128, value_parser = bytes())]
    pub(crate) payload_bytes: usize,
}

#[derive(Args, Debug)]
#[command(after_help = examples::BENCH_RAFT)]
pub(crate) struct BenchRaft {
    /// Where the logs are: in memory, on the disk, or one after the other
    #[arg(long, value_enum, default_value_t = LogMode::Both)]
    pub(crate) mode: LogMode,
    /// Proposals under way at any time; one run for each number
    #[arg(long, value_delimiter = ',', default_value = "1,64,256,1024", value_parser = clients())]
    pub(crate) proposers: Vec<usize>,
    /// How long each run is measured
    #[arg(long, default_value_t = 5, value_parser = seconds())]
    pub(crate) seconds: u64,
    /// Size of a proposal
    #[arg(long, default_value_t = 128, value_parser = bytes())]
    pub(crate) payload_bytes: usize,
    /// Directory on the disk to be measured [default: the one for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// Where the logs of a measured group are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum LogMode {
    /// In memory: what consensus itself costs.
    Memory,
    /// On the disk, synced.
    Durable,
    /// Both, one after the other.
    Both,
}

impl LogMode {
    /// The kinds of run it asks for.
    pub(crate) fn modes(self) -> &'static [LogMode] {
        match self {
            LogMode::Memory => &[LogMode::Memory],
            LogMode::Durable => &[LogMode::Durable],
            LogMode::Both => &[LogMode::Memory, LogMode::Durable],
        }
    }
}

/// How many groups there are.
fn groups() -> impl Fn(&str) -> Result<u64, String> + Clone {
    within(1..=GROUPS, "a cluster has room for no more")
}

/// How many keys a measured state has.
fn state_keys() -> impl Fn(&str) -> Result<u64, String> + Clone {
    within(1..=STATE_KEYS, "more fit in no memory")
}

/// About 40 GB.
const STATE_KEYS: u64 = 100_000_000;

/// As many as a cluster has room for.
const GROUPS: u64 = GROUPS_MAX as u64;

/// What each help text ends with.
mod examples {
    pub(super) const BENCH_RAFT: &str = "\
Examples:
  muslin bench raft
  muslin bench raft --mode memory --proposers 256,1024 --seconds 3
  muslin bench raft --mode durable --dir /var/lib/muslin -o json";
    pub(super) const BENCH_STATE: &str = "\
Examples:
  muslin bench state
  muslin bench state --keys 100000 --value-bytes 16 -o json";
    pub(super) const BENCH_GROUPS: &str = "\
Examples:
  muslin bench groups
  muslin bench groups --groups 1024 --seconds 5
  muslin bench groups --groups 256 --clients 16 -o json";
}
