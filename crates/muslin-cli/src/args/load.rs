//! What `muslin bench kv` and `muslin bench outage` can be asked.

use super::numbers::process;
use super::{bytes, clients, seconds, within};
use clap::{Args, ValueEnum};

/// Most calls a second that can be asked for: beyond what a machine's clock can pace.
const RATE_MAX: u64 = 1_000_000;

/// Most seconds of warming up.
const WARM_UP_MAX: u64 = 600;

#[derive(Args, Debug)]
#[command(after_help = examples::BENCH_KV)]
pub(crate) struct BenchKv {
    /// Where clients connect, in turn
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2379")]
    pub(crate) endpoints: Vec<String>,
    /// What is asked; one run for each
    #[arg(long, value_delimiter = ',', value_enum, default_value = "put")]
    pub(crate) workload: Vec<Workload>,
    /// Clients, each with one request at a time; one run for each number
    #[arg(long, value_delimiter = ',', default_value = "256", value_parser = clients())]
    pub(crate) clients: Vec<usize>,
    /// Connections they share [default: one each]
    #[arg(long, value_parser = clients())]
    pub(crate) connections: Option<usize>,
    /// How long each run is measured
    #[arg(long, default_value_t = 10, value_parser = seconds())]
    pub(crate) seconds: u64,
    /// How long each run goes on before it is measured
    #[arg(long, default_value_t = 1, value_name = "SECONDS", value_parser = warm_up())]
    pub(crate) warm_up: u64,
    /// Size of a value
    #[arg(long, default_value_t = 128, value_parser = bytes())]
    pub(crate) value_bytes: usize,
    /// Keys used, at least one for each client. Workloads that read write them all first
    #[arg(long, default_value_t = 10_000, value_parser = keys())]
    pub(crate) keys: u64,
    /// Calls a second, all clients together [default: as many as are answered; watch: 1000]
    #[arg(long, value_name = "CALLS", value_parser = rate())]
    pub(crate) rate: Option<u64>,
    /// Watchers of the workload `watch`, each with a connection of its own
    #[arg(long, default_value_t = 100, value_parser = clients())]
    pub(crate) watchers: usize,
    /// Processes of the servers, where they run on this machine: their processor time and peak
    /// memory are told
    #[arg(long, value_delimiter = ',', value_name = "PID,..", value_parser = process())]
    pub(crate) pids: Vec<u32>,
}

/// A benchmark's keys: what each was given is remembered, in eight bytes.
const KEYS: u64 = 50_000_000;

/// How many keys are used.
fn keys() -> impl Fn(&str) -> Result<u64, String> + Clone {
    within(1..=KEYS, "what was written to each is remembered")
}

fn rate() -> impl Fn(&str) -> Result<u64, String> + Clone {
    within(1..=RATE_MAX, "at least something, and no more than a clock can pace")
}

fn warm_up() -> impl Fn(&str) -> Result<u64, String> + Clone {
    within(0..=WARM_UP_MAX, "it is not what is measured")
}

/// What a load consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Workload {
    /// Writes.
    Put,
    /// Reads that see every write answered before.
    Linearizable,
    /// Reads of what the node asked has.
    Serializable,
    /// Nine linearizable reads for each write.
    Mix,
    /// Writes, and watchers that are told of them.
    Watch,
    /// Leases, granted and revoked.
    Lease,
    /// Leases, kept alive, each on a stream of its own.
    KeepAlive,
    /// Every key, once, however long it takes.
    Fill,
}

impl Workload {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Workload::Put => "put",
            Workload::Linearizable => "linearizable",
            Workload::Serializable => "serializable",
            Workload::Mix => "mix",
            Workload::Watch => "watch",
            Workload::Lease => "lease",
            Workload::KeepAlive => "keep-alive",
            Workload::Fill => "fill",
        }
    }

    /// Whether it reads what must have been written before.
    pub(crate) fn reads(self) -> bool {
        matches!(self, Workload::Linearizable | Workload::Serializable | Workload::Mix)
    }
}

#[derive(Args, Debug)]
#[command(after_help = examples::BENCH_OUTAGE)]
pub(crate) struct BenchOutage {
    /// Where puts are sent, at all of them at the same time
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2379")]
    pub(crate) endpoints: Vec<String>,
    /// How long
    #[arg(long, default_value_t = 10, value_parser = seconds())]
    pub(crate) seconds: u64,
    /// Shortest time without an acknowledged put that is told
    #[arg(long, default_value_t = 20, value_name = "MS", value_parser = longer_than())]
    pub(crate) longer_than: u64,
}

fn longer_than() -> impl Fn(&str) -> Result<u64, String> + Clone {
    within(0..=60_000, "milliseconds, and at most a minute")
}

#[derive(Args, Debug)]
#[command(after_help = examples::BENCH_WATCHERS)]
pub(crate) struct BenchWatchers {
    /// Where clients and watchers connect, in turn
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2379")]
    pub(crate) endpoints: Vec<String>,
    /// Watches, all of the prefix under which all puts are
    #[arg(long, default_value_t = 10_000, value_parser = watchers())]
    pub(crate) watchers: usize,
    /// Watches on one stream
    #[arg(long, default_value_t = 100, value_parser = per_stream())]
    pub(crate) per_stream: usize,
    /// Connections that the streams share
    #[arg(long, default_value_t = 12, value_parser = clients())]
    pub(crate) connections: usize,
    /// Puts a second, all clients together
    #[arg(long, default_value_t = 1_000, value_name = "CALLS", value_parser = rate())]
    pub(crate) rate: u64,
    /// Clients that put, each with a connection of its own
    #[arg(long, default_value_t = 64, value_parser = clients())]
    pub(crate) clients: usize,
    /// How long puts go on, once without watches and once with them
    #[arg(long, default_value_t = 30, value_parser = seconds())]
    pub(crate) seconds: u64,
    /// Size of a value
    #[arg(long, default_value_t = 28, value_parser = bytes())]
    pub(crate) value_bytes: usize,
    /// Keys that are put
    #[arg(long, default_value_t = 10_000, value_parser = keys())]
    pub(crate) keys: u64,
    /// So many watches more, each with a connection of its own, which are not read until long after
    /// the last put
    #[arg(long, default_value_t = 0, value_name = "WATCHES", value_parser = asleep())]
    pub(crate) asleep: usize,
    /// How long they are not read after the last put
    #[arg(long, default_value_t = 70, value_name = "SECONDS", value_parser = seconds())]
    pub(crate) asleep_seconds: u64,
    /// Processes of the servers, where they run on this machine: their processor time and peak
    /// memory are told
    #[arg(long, value_delimiter = ',', value_name = "PID,..", value_parser = process())]
    pub(crate) pids: Vec<u32>,
}

/// More than a process has memory for the places of.
const WATCHERS_MAX: u64 = 10_000_000;

/// More than a server takes.
const PER_STREAM_MAX: u64 = 10_000;

fn watchers() -> impl Fn(&str) -> Result<usize, String> + Clone {
    within(1..=WATCHERS_MAX, "each is remembered")
}

/// More connections than most programs may have.
const ASLEEP_MAX: u64 = 1_000;

fn asleep() -> impl Fn(&str) -> Result<usize, String> + Clone {
    within(0..=ASLEEP_MAX, "each has a connection of its own")
}

fn per_stream() -> impl Fn(&str) -> Result<usize, String> + Clone {
    within(1..=PER_STREAM_MAX, "a node takes no more")
}

mod examples {
    pub(super) const BENCH_WATCHERS: &str = "\
Examples:
  muslin bench watchers --endpoints 127.0.0.1:2379,127.0.0.1:2389,127.0.0.1:2399
  muslin bench watchers --watchers 1000 --per-stream 1 --seconds 10
  muslin bench watchers --asleep 10 -o json";
    pub(super) const BENCH_KV: &str = "\
Examples:
  muslin bench kv --endpoints 127.0.0.1:2379,127.0.0.1:2389,127.0.0.1:2399
  muslin bench kv --clients 1,64,256 --seconds 10 --value-bytes 128
  muslin bench kv --workload linearizable,serializable,mix --keys 1000
  muslin bench kv --workload watch --watchers 100 --rate 1000 --clients 8
  muslin bench kv --workload lease,keep-alive -o json
  muslin bench kv --pids 4711,4712,4713";
    pub(super) const BENCH_OUTAGE: &str = "\
Examples:
  muslin bench outage --endpoints 127.0.0.1:2379,127.0.0.1:2389,127.0.0.1:2399
  muslin bench outage --seconds 60 --longer-than 5 -o json";
}
