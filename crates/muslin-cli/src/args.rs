//! Everything that can be asked, as types. Every help text ends with examples; a test parses them.

mod auth;
mod backup;
mod bench;
mod cluster;
mod collections;
mod coordination;
mod kv;
mod load;
mod node;
mod numbers;
mod op;

use clap::{Args, Parser, Subcommand, ValueEnum};
use muslin::discovery::Method;
use muslin_core::node::COMMAND_BYTES_MAX;
pub(crate) use numbers::LEVELS;
use numbers::{LEVEL_DEFAULT, level, port, process, whole, within};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

pub(crate) use auth::{Auth, Keys, RoleOf, User};
pub(crate) use backup::{Backup, Restore, Schedule};
pub(crate) use bench::{Bench, BenchGroups, BenchRaft, BenchState, LogMode};
pub(crate) use cluster::{Cluster, Epoch, Explain, Recover, Settings};
pub(crate) use collections::{Barrier, Counter, List, Map, Multimap, Queue, Set, Work};
pub(crate) use coordination::{Elect, Hold, Lease, Lock};
pub(crate) use kv::{Fenced, Kv, KvPut};
pub(crate) use load::{BenchKv, BenchOutage, BenchWatchers, Workload};
pub(crate) use node::{Freshness, Node, Role, Sure};
pub(crate) use op::Op;

/// A light-weight cluster fabric: membership, agreement and a key-value store in one binary
#[derive(Parser, Debug)]
#[command(name = "muslin", version, after_help = examples::TOP, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Heading of the flags every command takes: they stand behind its own.
const FOR_ALL: &str = "Options of every command";

/// Flags every command takes.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = FOR_ALL)]
pub(crate) struct Global {
    /// How results are printed; a table becomes tab-separated when piped
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// Node to talk to [default: the first of 127.0.0.1:7400 to 7403 that listens]
    #[arg(long, global = true, env = "MUSLIN_ADDR", value_name = "HOST:PORT")]
    pub(crate) addr: Option<String>,
    /// Data directory whose certificate is shown to nodes on other machines
    #[arg(long, global = true, env = "MUSLIN_IDENTITY", value_name = "DIR")]
    pub(crate) identity: Option<PathBuf>,
    /// User to ask as, while auth is enabled; without a password it is taken from MUSLIN_PASSWORD,
    /// or asked for
    #[arg(
        long,
        global = true,
        env = "MUSLIN_USER",
        value_name = "NAME[:PASSWORD]",
        hide_env_values = true
    )]
    pub(crate) user: Option<String>,
    /// Seconds to wait for an answer
    #[arg(long, global = true, default_value_t = 10, value_name = "SECONDS",
        value_parser = seconds())]
    pub(crate) timeout: u64,
}

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// For people, and for `cut`.
    Table,
    /// As the HTTP API answers.
    Json,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a cluster of several nodes on this machine, to try things
    Dev(Dev),
    /// Found a cluster: make its identity, its keys and its first node
    Init(Init),
    /// Join a cluster with the line that `init` printed
    Join(Join),
    /// Run the node of a data directory
    Up(Up),
    /// How the cluster is; the exit code says it too (0 healthy, 8 not, 5 no connection)
    #[command(after_help = examples::STATUS)]
    Status,
    /// Nodes, as the one asked sees them
    #[command(subcommand, after_help = node::examples::NODE, visible_alias = "nodes")]
    Node(Node),
    /// The cluster as a whole
    #[command(subcommand, after_help = cluster::examples::CLUSTER)]
    Cluster(Cluster),
    /// Why something is as it is: what happened, since when, because of what, what to do
    Explain(Explain),
    /// Tokens that let nodes join
    #[command(subcommand, after_help = examples::TOKEN, visible_alias = "tokens")]
    Token(Token),
    /// Users, who may do what their roles let them while auth is enabled
    #[command(subcommand, after_help = auth::examples::USER, visible_alias = "users")]
    User(User),
    /// Roles of users: what they may do with which keys
    #[command(subcommand, after_help = auth::examples::ROLE, visible_alias = "roles")]
    Role(RoleOf),
    /// Whether everything is checked
    #[command(subcommand, after_help = auth::examples::AUTH)]
    Auth(Auth),
    /// What a node shows others: its certificate and the keys of gossip
    #[command(subcommand, after_help = examples::CERT)]
    Cert(Cert),
    /// Raft groups besides the control group
    #[command(subcommand, after_help = examples::GROUP)]
    Group(Group),
    /// Keys and values
    #[command(subcommand, after_help = examples::KV)]
    Kv(Kv),
    /// Run a command while a lock is held, one holder at a time, first come, first served
    Lock(Lock),
    /// Run a command while this one leads, of all who stand for an election
    Elect(Elect),
    /// Leases: what keys hang on, and for how long
    #[command(subcommand, after_help = coordination::examples::LEASE, visible_alias = "leases")]
    Lease(Lease),
    /// Numbers that all count on
    #[command(subcommand, after_help = "Examples:\n  muslin counter add hits")]
    Counter(Counter),
    /// Maps that all share
    #[command(subcommand, after_help = "Examples:\n  muslin map put users ann 7")]
    Map(Map),
    /// Sets that all share
    #[command(subcommand, after_help = "Examples:\n  muslin set add seen a")]
    Set(Set),
    /// Maps with several values for a key
    #[command(subcommand, after_help = "Examples:\n  muslin multimap put tags n1 fast")]
    Multimap(Multimap),
    /// Lists that all share
    #[command(subcommand, after_help = "Examples:\n  muslin list push names ann")]
    List(List),
    /// Work: durable, in order, each item taken once
    #[command(subcommand, after_help = "Examples:\n  muslin queue push jobs build")]
    Queue(Queue),
    Barrier(Barrier),
    /// Copies of what the cluster holds, and a cluster begun with one
    #[command(subcommand, after_help = backup::examples::BACKUP)]
    Backup(Backup),
    /// What the cluster is about that outlasts a command: drains, votes, keys of gossip, backups
    #[command(subcommand, after_help = op::examples::OP, visible_alias = "ops")]
    Op(Op),
    /// What happened lately
    Events(Events),
    /// Look at the files of a node that is not running; the exit code says how they are (0 sound or
    /// with a torn tail, 8 damaged)
    CheckDisk(CheckDisk),
    /// Print a completion script
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the version
    #[command(after_help = examples::VERSION)]
    Version,
    /// Measure a cluster
    #[command(subcommand, after_help = examples::BENCH)]
    Bench(Bench),
}

#[derive(Args, Debug)]
#[command(after_help = examples::CHECK_DISK)]
pub(crate) struct CheckDisk {
    /// The node's data directory
    #[arg(value_name = "DATA_DIR")]
    pub(crate) dir: PathBuf,
}

#[derive(Args, Debug)]
#[command(after_help = examples::DEV)]
pub(crate) struct Dev {
    /// How many nodes [default: 3, or as many as the data directory holds]
    #[arg(long, value_parser = nodes())]
    pub(crate) nodes: Option<u16>,
    /// Node i listens on this port plus i
    #[arg(long, default_value_t = 7400, value_parser = port())]
    pub(crate) base_port: u16,
    /// Node i serves plain etcd clients on this port plus 10 * (i - 1)
    #[arg(long, default_value_t = 2379, value_parser = port())]
    pub(crate) etcd_base_port: u16,
    /// Keep the nodes here [default: a temporary directory, which the next `dev` removes if this
    /// one is killed]. What it made there (n1, n1.log and so on) is removed when it ends, unless
    /// --retain is given; nodes of an earlier run stay
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Keep the data when it ends, so that the next `dev` with this --data-dir goes on with it
    #[arg(long)]
    pub(crate) retain: bool,
    /// End by itself after so many seconds
    #[arg(long, value_name = "SECS", value_parser = whole())]
    pub(crate) exit_after: Option<u64>,
    /// How fast failures are noticed, see `muslin init --help`
    /// [default: fast, or as the data directory has it]
    #[arg(long, value_enum)]
    pub(crate) profile: Option<Profile>,
    /// Start the nodes with `--lease-reads`, see `muslin up --help`
    #[arg(long)]
    pub(crate) lease_reads: bool,
    /// What the nodes write to their log files: error, warn, info, debug, trace or off
    #[arg(long, default_value = LEVEL_DEFAULT, value_name = "LEVEL", value_parser = level)]
    pub(crate) log: String,
}

/// Most nodes of `dev`: their etcd ports must stay below the next thousand.
const NODES_MAX: u64 = 15;

fn nodes() -> impl Fn(&str) -> Result<u16, String> + Clone {
    within(1..=NODES_MAX, "the ports of more would not stay apart")
}

#[derive(Args, Debug)]
#[command(after_help = examples::INIT)]
pub(crate) struct Init {
    #[command(flatten)]
    pub(crate) node: NewNode,
    /// What the cluster is called
    #[arg(long, default_value = "muslin")]
    pub(crate) cluster_name: String,
}

/// How fast failures are noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Profile {
    /// In about a second.
    Fast,
    /// In some seconds, with less traffic.
    Lan,
    /// In half a minute, over ways of hundreds of milliseconds.
    Wan,
    /// With the periods of SlimCluster, on its UDP port where --listen names none.
    Slimcluster,
}

/// An address; without a port it is 0, which names none.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let bare = |_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 0));
    text.parse().or_else(bare).map_err(|_| "it is not IP:PORT".into())
}

/// What a node needs that is made by `init` or `join`.
#[derive(Args, Debug)]
pub(crate) struct NewNode {
    /// Where the node keeps its data; must be empty or absent
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// What the node is called
    #[arg(long)]
    pub(crate) name: String,
    /// Address it listens on, TCP and UDP
    #[arg(long, value_name = "IP:PORT", value_parser = listen_address)]
    pub(crate) listen: SocketAddr,
    /// Address others reach it at, when it is not the one it listens on
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) advertise: Option<SocketAddr>,
    /// Serve plain etcd clients here (loopback addresses only)
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) etcd_listen: Option<SocketAddr>,
    /// Roles of the node, with commas between: `control` may vote and admit nodes, all other words
    /// are yours
    #[arg(long, value_delimiter = ',', default_value = "control")]
    pub(crate) roles: Vec<String>,
    /// How fast failures are noticed: `fast` for one machine or rack, `lan` for less traffic,
    /// `wan` for several data centres, `slimcluster` as users of that know it; the same on all
    /// nodes
    #[arg(long, value_enum, default_value_t = Profile::Lan)]
    pub(crate) profile: Profile,
    /// Allow plain etcd clients from other machines: no encryption, no identity
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// How the others are found, besides what the node remembers of them.
#[derive(Args, Debug, Clone)]
pub(crate) struct Find {
    /// Where members may be; names are resolved again at every try
    #[arg(long, visible_alias = "seed", value_name = "HOST:PORT,..", value_delimiter = ',')]
    pub(crate) seeds: Vec<String>,
    /// How else they are found; may be given more than once: `srv:NAME` (DNS SRV; `@SERVER` asks
    /// that name server), `multicast` (or `multicast:GROUP:PORT`, `@IP` chooses the interface), or
    /// alone `static:NAME=HOST:PORT,..` (where every member is: nobody gossips, the same on all
    /// nodes)
    #[arg(long, value_name = "WAY")]
    pub(crate) discover: Vec<Method>,
}

#[derive(Args, Debug)]
#[command(after_help = examples::JOIN)]
pub(crate) struct Join {
    /// Any node of the cluster; may be left out where --seeds or --discover find one
    #[arg(value_name = "HOST:PORT", required_unless_present_any = ["seeds", "discover"])]
    pub(crate) contact: Option<String>,
    /// What `init` or `token create` printed; without one somebody has to approve the join. The
    /// list of processes shows it to everybody on this machine: the variable and --token-file do
    /// not
    #[arg(long, env = "MUSLIN_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Read the token from a file, whatever else says one; `-` reads stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) node: NewNode,
    /// Seconds to wait for a join that is held; the same command goes on with it later
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = whole())]
    pub(crate) wait: u64,
    /// Roles that somebody must perform for the node to operate
    #[arg(long, value_delimiter = ',', value_name = "ROLES")]
    pub(crate) requires: Vec<String>,
    /// Roles that somebody must perform before the node is admitted: until then the join is held
    #[arg(long, value_delimiter = ',', value_name = "ROLES")]
    pub(crate) requires_for_bootstrap: Vec<String>,
    /// What the node shares its fate with: a rack, a room, a provider's zone
    #[arg(long, default_value = "", value_name = "ZONE")]
    pub(crate) zone: String,
    /// Ask although the others cannot reach the node's address before it runs: without this, the
    /// node takes its ports while it asks, and is tried there before it is admitted
    #[arg(long)]
    pub(crate) no_reach_check: bool,
    #[command(flatten)]
    pub(crate) find: Find,
    /// Run the node as soon as it has joined
    #[arg(long)]
    pub(crate) up: bool,
    /// What `--up` writes to stderr: error, warn, info, debug, trace or off
    #[arg(long, default_value = LEVEL_DEFAULT, env = "MUSLIN_LOG", value_name = "LEVEL",
        value_parser = level)]
    pub(crate) log: String,
}

#[derive(Args, Debug)]
#[command(after_help = examples::UP)]
pub(crate) struct Up {
    /// Made by `init` or `join`
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Listen here, whatever was said before
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Be reached here, whatever was said before
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) advertise: Option<SocketAddr>,
    /// Serve plain etcd clients here, whatever was said before
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) etcd_listen: Option<SocketAddr>,
    /// How fast failures are noticed, whatever was said before; the same on all nodes
    #[arg(long, value_enum)]
    pub(crate) profile: Option<Profile>,
    /// Allow plain etcd clients from other machines: no encryption, no identity
    #[arg(long)]
    pub(crate) insecure: bool,
    #[command(flatten)]
    pub(crate) find: Find,
    /// While it leads, answer reads that ask for `--consistency lease` at once: as fresh as others
    /// as long as no machine's clock stops (suspended, or a paused virtual machine) or runs more
    /// than 0.1 % fast or slow. May differ between nodes
    #[arg(long)]
    pub(crate) lease_reads: bool,
    /// Whether callers on this machine are trusted, or must show a certificate as all others do
    /// (`--identity DIR`); plain etcd clients are then refused
    #[arg(long, value_enum, default_value_t = ApiAuth::Remote, value_name = "WHO")]
    pub(crate) api_auth: ApiAuth,
    /// In a cluster of more members, follow a part of it: at most so many, and the voters
    /// [default: above 2000, 32 of them]. The same on all nodes
    #[arg(long, value_name = "MEMBERS", value_parser = slice_above())]
    pub(crate) slice_above: Option<usize>,
    /// Where backups are put that `muslin backup schedule` asks for
    /// [default: `backups` in the data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) backup_dir: Option<PathBuf>,
    /// What is written to stderr: error, warn, info, debug, trace or off
    #[arg(long, default_value = LEVEL_DEFAULT, env = "MUSLIN_LOG", value_name = "LEVEL",
        value_parser = level)]
    pub(crate) log: String,
    /// End when the process with this id does
    #[arg(long, hide = true, value_name = "PID", value_parser = process())]
    pub(crate) exit_with_parent: Option<u32>,
}

/// Most members that nodes follow as a whole: what a node remembers of each gossiper is bounded.
const SLICE_ABOVE_MAX: u64 = 8_000;

/// Who must show a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ApiAuth {
    /// Callers on other machines.
    Remote,
    /// Everyone.
    Required,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Token {
    /// Make a token and print the line that joins with it; the secret is told this once
    #[command(after_help = examples::TOKEN_CREATE)]
    Create {
        /// What it is called
        #[arg(long, default_value = "")]
        name: String,
        /// Roles a node may have that it admits [default: any]
        #[arg(long, value_delimiter = ',')]
        roles: Vec<String>,
        /// Seconds until it admits nobody any more
        #[arg(long, default_value_t = 3_600, value_name = "SECONDS", value_parser = whole())]
        expires: u64,
        /// How many nodes it admits; 0 is any number
        #[arg(long, default_value_t = 1, value_parser = whole())]
        uses: u64,
    },
    /// All tokens, without their secrets
    #[command(visible_alias = "list", after_help = examples::TOKEN_LS)]
    Ls,
    /// One token
    #[command(after_help = examples::TOKEN_SHOW)]
    Show {
        /// Its name, or the beginning of its id
        token: String,
    },
    /// Take a token back: it admits nobody any more
    #[command(after_help = examples::TOKEN_REVOKE)]
    Revoke {
        /// Its name, or the beginning of its id
        token: String,
    },
    /// Put another token in the place of one, with a secret of its own
    #[command(after_help = examples::TOKEN_ROTATE)]
    Rotate {
        /// Its name, or the beginning of its id
        token: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum Cert {
    /// The certificate, the ticket and the gossip keys of the node asked
    #[command(visible_alias = "list", after_help = examples::CERT_LS)]
    Ls,
    /// Have the node asked get another certificate at once; no connection is cut
    #[command(after_help = examples::CERT_ROTATE)]
    Rotate {
        /// Change the cluster's gossip key too: added everywhere, then used, then the old one goes
        #[arg(long)]
        gossip: bool,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum Group {
    /// All groups, and who leads
    #[command(visible_alias = "list", after_help = examples::GROUP_LS)]
    Ls,
    /// One group
    #[command(after_help = examples::GROUP_SHOW)]
    Show {
        /// Its id
        #[arg(value_parser = whole())]
        group: u64,
    },
    /// Make a group
    #[command(after_help = examples::GROUP_CREATE)]
    Create {
        /// Name of its state machine: `register`, `journal`, or one of the application's
        kind: String,
        /// Members that keep it, by name or id
        #[arg(long, value_delimiter = ',', required = true)]
        replicas: Vec<String>,
    },
    /// Take a group out, with all that it holds
    #[command(after_help = examples::GROUP_RM)]
    Rm {
        /// Its id
        #[arg(value_parser = whole())]
        group: u64,
    },
}

/// What a read promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Consistency {
    /// Sees every write answered before.
    Linearizable,
    /// The same, resting on clocks where the cluster allows it.
    Lease,
    /// What the node asked has; always answers.
    Local,
}

#[derive(Args, Debug)]
#[command(after_help = examples::EVENTS)]
pub(crate) struct Events {
    /// Go on as they happen, until interrupted
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// With --watch: go on behind this `index`
    #[arg(long, value_name = "INDEX", requires = "watch")]
    pub(crate) from: Option<String>,
}

/// How long something takes.
fn seconds() -> impl Fn(&str) -> Result<u64, String> + Clone {
    within(1..=DAY, "at least something, and at most a day")
}

/// From how many members on nodes follow a part of a cluster only.
fn slice_above() -> impl Fn(&str) -> Result<usize, String> + Clone {
    within(3..=SLICE_ABOVE_MAX, "fewer watch too little, and no view holds more")
}

/// How many do something at once.
fn clients() -> impl Fn(&str) -> Result<usize, String> + Clone {
    within(1..=AT_ONCE, "a cluster lets no more wait at once")
}

/// The size of what is written.
fn bytes() -> impl Fn(&str) -> Result<usize, String> + Clone {
    within(0..=COMMAND_BYTES_MAX as u64, "a cluster takes nothing larger")
}

/// Seconds in a day: a longer run is a mistyped one.
const DAY: u64 = 86_400;

/// As many as a group lets wait uncommitted.
const AT_ONCE: u64 = 65_536;

/// What each help text ends with.
mod examples {
    pub(super) const TOP: &str = "\
Examples:
  muslin dev
  muslin status
  muslin kv put greeting hello";
    pub(super) const CHECK_DISK: &str = "\
Examples:
  muslin check-disk /var/lib/muslin
  muslin check-disk n1 -o json";
    pub(super) const DEV: &str = "\
Examples:
  muslin dev
  muslin dev --nodes 5 --base-port 8400
  muslin dev --data-dir ./cluster --retain
  muslin dev -o json --exit-after 60";
    pub(super) const INIT: &str = "\
Examples:
  muslin init --data-dir n1 --name n1 --listen 127.0.0.1:7401
  muslin init --data-dir n1 --name n1 --listen 0.0.0.0:7400 --advertise 10.0.0.1:7400
  muslin init --data-dir n1 --name n1 --listen 127.0.0.1:7401 --etcd-listen 127.0.0.1:2379";
    pub(super) const JOIN: &str = "\
Examples:
  muslin join 127.0.0.1:7401 --token MSL1-.. --data-dir n2 --name n2 --listen 127.0.0.1:7402
  muslin join 10.0.0.1:7400 --token MSL1-.. --data-dir n2 --name n2 --listen 10.0.0.2:7400 --up
  muslin join 10.0.0.1:7400 --token-file t --data-dir n2 --name n2 --listen 10.0.0.2:7400
  muslin join 10.0.0.1:7400 --data-dir w1 --name w1 --listen 10.0.0.9:7400 --roles worker
  muslin join --discover multicast --token MSL1-.. --data-dir n2 --name n2 --listen 10.0.0.2:7400
  muslin join --seeds db:7400 --token MSL1-.. --data-dir n2 --name n2 --listen 10.0.0.2:7400";
    pub(super) const UP: &str = "\
Examples:
  muslin up --data-dir n1
  muslin up --data-dir n1 --listen 10.0.0.7:7400 --seeds 10.0.0.2:7400,db.example:7400
  muslin up --data-dir n1 --discover srv:_muslin._udp.example.org
  muslin up --data-dir n1 --discover srv:_muslin._udp.example.org@10.0.0.53 --discover multicast
  muslin up --data-dir n1 --discover multicast:239.1.1.1:7399@10.0.0.7
  muslin up --data-dir n1 --discover static:n1=10.0.0.1:7400,n2=10.0.0.2:7400,n3=db3.example:7400
  muslin up --data-dir n1 --lease-reads
  muslin up --data-dir n1 --api-auth required
  muslin up --data-dir n1 --log debug";
    pub(super) const STATUS: &str = "\
Examples:
  muslin status
  muslin status --addr 127.0.0.1:7402 -o json
  muslin status --addr 10.0.0.1:7400 --identity /var/lib/muslin";
    pub(super) const TOKEN: &str = "\
Examples:
  muslin token create
  muslin token ls";
    pub(super) const TOKEN_CREATE: &str = "\
Examples:
  muslin token create
  muslin token create --name rack7 --roles worker --uses 30 --expires 86400";
    pub(super) const TOKEN_LS: &str = "\
Examples:
  muslin token ls
  muslin token ls -o json";
    pub(super) const TOKEN_SHOW: &str = "\
Examples:
  muslin token show rack7";
    pub(super) const TOKEN_REVOKE: &str = "\
Examples:
  muslin token revoke rack7";
    pub(super) const TOKEN_ROTATE: &str = "\
Examples:
  muslin token rotate rack7";
    pub(super) const CERT: &str = "\
Examples:
  muslin cert ls
  muslin cert rotate";
    pub(super) const CERT_LS: &str = "\
Examples:
  muslin cert ls
  muslin cert ls --addr 127.0.0.1:7402 -o json";
    pub(super) const CERT_ROTATE: &str = "\
Examples:
  muslin cert rotate
  muslin cert rotate --gossip";
    pub(super) const GROUP: &str = "\
Examples:
  muslin group create register --replicas n1,n2,n3
  muslin group ls
  muslin group show 1";
    pub(super) const GROUP_LS: &str = "\
Examples:
  muslin group ls
  muslin group ls -o json";
    pub(super) const GROUP_SHOW: &str = "\
Examples:
  muslin group show 1";
    pub(super) const GROUP_CREATE: &str = "\
Examples:
  muslin group create register --replicas n1,n2,n3
  muslin group create journal --replicas n2";
    pub(super) const GROUP_RM: &str = "\
Examples:
  muslin group rm 1";
    pub(super) const KV: &str = "\
Examples:
  muslin kv put greeting hello
  muslin kv get greeting
  muslin kv ls --prefix gre
  muslin kv edit greeting
  muslin kv del greeting";
    pub(super) const EVENTS: &str = "\
Examples:
  muslin events
  muslin events --watch -o json";
    pub(super) const COMPLETIONS: &str = "\
Examples:
  muslin completions bash > ~/.local/share/bash-completion/completions/muslin
  muslin completions zsh > ~/.zfunc/_muslin";
    pub(super) const VERSION: &str = "\
Examples:
  muslin version
  muslin version -o json";
    pub(super) const BENCH: &str = "\
Examples:
  muslin bench kv --clients 64 --seconds 5
  muslin bench outage --seconds 60
  muslin bench raft --mode memory";
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Calls `check` for every command and subcommand.
    fn for_each(command: &clap::Command, check: &mut impl FnMut(&clap::Command)) {
        check(command);
        for below in command.get_subcommands() {
            for_each(below, check);
        }
    }

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    /// What stands behind `muslin` between backticks, in the texts of a folder of sources.
    fn named_in(folder: &std::path::Path, named: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                named_in(&path, named);
                continue;
            }
            // A text that goes on in the next line of the source goes on in the next word.
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let text = text.replace("\\\n", " ").replace("//!", " ").replace("///", " ");
            let begun = text.split("`muslin ").skip(1);
            named.extend(begun.filter_map(|rest| rest.split('`').next()).map(|words| {
                let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
                (path.display().to_string(), words)
            }));
        }
    }

    #[test]
    fn every_command_that_a_text_names_is_there() {
        let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut named = Vec::new();
        for sources in ["muslin/src", "muslin-cli/src"] {
            named_in(&crates.join(sources), &mut named);
        }
        assert!(named.len() > 20, "hints name commands: {named:?}");
        let all = Cli::command();
        for (place, words) in named {
            let mut command = &all;
            for word in words.split(' ').take_while(|word| word.starts_with(char::is_lowercase)) {
                if !command.has_subcommands() {
                    break;
                }
                let below = command.find_subcommand(word);
                command = below.unwrap_or_else(|| panic!("{place}: `muslin {words}` is none"));
            }
        }
    }

    #[test]
    fn numbers_that_cannot_be_measured_are_refused_with_the_reason() {
        let most = u64::MAX.to_string();
        for line in [
            "bench raft --seconds N",
            "bench raft --payload-bytes N",
            "bench raft --proposers 1,N",
            "bench state --keys N",
            "bench state --value-bytes N",
            "bench groups --groups N",
            "bench groups --clients N",
            "bench kv --seconds N",
            "bench kv --value-bytes N",
            "bench kv --keys N",
            "bench kv --connections N",
            "bench kv --clients 1,N",
            "bench kv --warm-up N",
            "bench kv --rate N",
            "bench kv --watchers N",
            "bench kv --pids N",
            "bench outage --seconds N",
            "bench outage --longer-than N",
            "status --timeout N",
        ] {
            for number in [most.as_str(), "-1", "x"] {
                let line = format!("muslin {}", line.replace('N', number));
                assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
            }
        }
        let refused = Cli::try_parse_from(["muslin", "bench", "raft", "--proposers", "0"]);
        assert!(refused.unwrap_err().to_string().contains("from 1 to 65536: a cluster lets"));
    }

    #[test]
    fn what_is_no_number_is_refused_with_those_that_are_allowed() {
        use std::any::TypeId;
        let numbers = [
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<i64>(),
            TypeId::of::<usize>(),
        ];
        let mut seen = 0;
        for_each(&Cli::command(), &mut |command| {
            let is_number = |arg: &&clap::Arg| {
                numbers.iter().any(|number| arg.get_value_parser().type_id() == *number)
            };
            for arg in command.get_arguments().filter(is_number) {
                seen += 1;
                // The same parser alone: what else a command must be given does not matter.
                let same = clap::Arg::new("it").value_parser(arg.get_value_parser().clone());
                let alone = clap::Command::new("muslin").arg(same);
                let refused = alone.try_get_matches_from(["muslin", "seven"]).unwrap_err();
                let told = refused.to_string();
                let place = format!("{} {}: {told}", command.get_name(), arg.get_id());
                assert!(told.contains("'seven'") && told.contains("a number from "), "{place}");
            }
        });
        assert!(seen > 40, "commands take numbers: {seen}");
        let refused = Cli::try_parse_from(["muslin", "dev", "--base-port", "x"]).unwrap_err();
        let told = refused.to_string();
        let line =
            "error: invalid value 'x' for '--base-port <BASE_PORT>': a number from 0 to 65535";
        assert!(told.starts_with(line), "{told}");
    }

    #[test]
    fn a_level_of_logs_that_is_none_is_refused() {
        for command in ["dev", "up --data-dir d", "join 127.0.0.1:1 --data-dir d --up"] {
            let line = format!("muslin {command} --log nonsense");
            let refused = Cli::try_parse_from(line.split(' ')).map(drop).unwrap_err().to_string();
            assert!(refused.contains("'--log <LEVEL>': error, warn, info, debug"), "{refused}");
        }
    }

    #[test]
    fn every_help_ends_with_examples_that_parse() {
        for_each(&Cli::command(), &mut |command| {
            let help = command.get_after_help().map(|h| h.to_string()).unwrap_or_default();
            let lines = help.strip_prefix("Examples:\n");
            let lines = lines.unwrap_or_else(|| panic!("{} has no examples", command.get_name()));
            for line in lines.lines() {
                // What stands before a pipe and behind a redirection is the shell's.
                let piped = line.split(" | ").last().unwrap_or(line);
                let ours = piped.split(" < ").next().and_then(|l| l.split(" > ").next());
                let words = ours.unwrap_or_default().split_whitespace();
                let parsed = Cli::try_parse_from(words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.err().unwrap());
            }
        });
    }
}
