//! Runs the scripts of `testdata`. Their commands, `N` being a node's number or `leader`:
//!
//! ```text
//! cluster voters=3 [learners=1] [tail=10] [chunk=4] [batch=64] [window=64] [bytes=100]
//!     [gather=BYTES] [uncommitted=100] [lease=yes] [drift=PPM] [drive=passive]
//! run MS                        virtual time passes
//! lease-read N | disk N full|room | peer N of=M alive=yes|no | clock N ppm=P | idle
//! drive passive|ticking | spoil nothing|bytes|cluster
//! campaign N | propose N a b | read N | transfer N to=M | stop N | snapshot N
//! change N add-learner=4 add-voter=4 demote=3 remove=2
//! isolate N | cut A B | heal | lose KIND.. | hold-disk N | release-disk N
//! crash N | start N | wipe N | join N
//! damage N keep=I | set-back N keep=I           its disk loses what follows; nobody notices
//! ack N from=M term=T session=S matched=I [rebuild=R]   a forged acknowledgement
//! refuse N from=M term=T session=S prev=I      a forged refusal
//! ask N from=M term=T last=I                   a forged request for a vote
//! forge N from=M term=T wrong=WHAT             an append no correct leader sends
//! trace on|off | status | log N
//! ```

use super::cluster::{Cluster, Spoil};
use super::describe;
use crate::base::{Index, LogId, Machine, NodeId, Term};
use crate::raft::{
    AppendResult, Bound, Change, Condition, Configuration, DiskRoom, Drive, Entry, Input, Message,
    Options, Payload, Raft, RebuildId, SessionId, Unbound,
};
use bytes::Bytes;
use core::time::Duration;
use goldenscript::{Command, Context, Runner};
use std::boxed::Box;
use std::error::Error;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

type Answer<T> = Result<T, Box<dyn Error>>;

#[derive(Default)]
struct Script {
    cluster: Option<Cluster>,
}

fn node(cluster: &Cluster, text: Option<&str>) -> Answer<NodeId> {
    match text {
        None => Err("which node?".into()),
        Some("leader") => cluster.leader().ok_or("nobody leads".into()),
        Some(number) => Ok(NodeId(number.parse()?)),
    }
}

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Answer<String> {
        if command.name == "cluster" {
            self.cluster = Some(found(command)?);
            return Ok(String::new());
        }
        let cluster = self.cluster.as_mut().ok_or("no cluster yet")?;
        let answer = match command.name.as_str() {
            "status" => status(cluster),
            "log" => log_of(cluster, node(cluster, command.consume_args().next_pos())?)?,
            "change" => change(cluster, command)?,
            "ack" | "refuse" | "ask" => promise(cluster, command)?,
            "forge" => forge(cluster, command)?,
            "isolate" | "cut" | "heal" | "lose" | "trace" => disturb(cluster, command)?,
            "drive" | "spoil" | "idle" => arrange(cluster, command)?,
            _ => act(cluster, command)?,
        };
        Ok(core::mem::take(&mut cluster.transcript) + &answer)
    }
}

fn found(command: &Command) -> Answer<Cluster> {
    // Most scripts tell each message apart.
    let mut options = Options { appends_gather_bytes: 0, ..Options::default() };
    let (mut voters, mut learners) = (3, 0);
    let mut args = command.consume_args();
    while let Some((key, value)) = args.next_key() {
        match key {
            "voters" => voters = value.parse()?,
            "learners" => learners = value.parse()?,
            "tail" => options.log_tail_entries = value.parse()?,
            "chunk" => options.snapshot_chunk_bytes = value.parse()?,
            "batch" => options.append_entries_max = value.parse()?,
            "window" => options.appends_in_flight_max = value.parse()?,
            "bytes" => {
                options.bytes_in_flight_max = value.parse()?;
                options.append_bytes_max = options.append_bytes_max.min(value.parse()?);
            }
            "gather" => options.appends_gather_bytes = value.parse()?,
            "append-bytes" => options.append_bytes_max = value.parse()?,
            "uncommitted" => options.uncommitted_entries_max = value.parse()?,
            "lease" => {
                options.lease_reads = value != "no";
                options.keeps_leases = value == "odd";
            }
            "drift" => options.clock_drift_ppm = value.parse()?,
            "drive" => options.drive = drive(value)?,
            _ => return Err(format!("what is {key}?").into()),
        }
    }
    let mut founding = Configuration::of_voters((1..=voters).map(NodeId));
    founding.learners = (voters + 1..=voters + learners).map(NodeId).collect();
    Ok(Cluster::founded(founding, options, 1))
}

fn act(cluster: &mut Cluster, command: &Command) -> Answer<String> {
    let mut args = command.consume_args();
    if command.name == "run" {
        let millis = args.next_pos().ok_or("how long?")?.parse()?;
        cluster.run(Duration::from_millis(millis));
        return Ok(String::new());
    }
    let id = node(cluster, args.next_pos())?;
    match command.name.as_str() {
        "campaign" => cluster.input(id, Input::Campaign),
        "stop" => cluster.input(id, Input::Shutdown),
        "transfer" => {
            let to = node(cluster, args.take_key("to"))?;
            cluster.input(id, Input::Transfer(to));
        }
        "propose" => {
            let mut commands = Vec::new();
            while let Some(command) = args.next_pos() {
                commands.push(command);
            }
            if !cluster.propose(id, &commands) {
                return Err(format!("{id:?} takes no proposals").into());
            }
        }
        "read" => cluster.read(id, false),
        "lease-read" => cluster.read(id, true),
        "disk" => {
            let is_full = args.next_pos() == Some("full");
            let room = if is_full { DiskRoom::Full } else { DiskRoom::Room };
            cluster.input(id, Input::Disk(room));
        }
        "peer" => {
            let of = node(cluster, args.take_key("of"))?;
            let is_alive = args.take_key("alive") == Some("yes");
            cluster.input(id, Input::Peer { id: of, is_alive });
        }
        "clock" => {
            cluster.drift.insert(id, args.take_key("ppm").ok_or("how fast?")?.parse()?);
        }
        "snapshot" => cluster.snapshot(id, true),
        "crash" => cluster.crash(id),
        "start" => cluster.start(id),
        "wipe" => cluster.wipe(id),
        "damage" | "set-back" => {
            let keep = Index(args.take_key("keep").ok_or("how much is left?")?.parse()?);
            cluster.damage(id, keep, command.name == "damage");
        }
        "join" => cluster.add(id, Configuration::default()),
        "hold-disk" => cluster.hold_disk(id, true),
        "release-disk" => cluster.hold_disk(id, false),
        name => return Err(format!("what is {name}?").into()),
    }
    Ok(String::new())
}

fn drive(text: &str) -> Answer<Drive> {
    match text {
        "passive" => Ok(Drive::Passive),
        "ticking" => Ok(Drive::Ticking),
        other => Err(format!("what is {other}?").into()),
    }
}

fn arrange(cluster: &mut Cluster, command: &Command) -> Answer<String> {
    let mut args = command.consume_args();
    if command.name == "idle" {
        // Who wants to be woken, and for what.
        let wants = |id: &NodeId| {
            let (_, wake) = cluster.raft(*id)?.deadline()?;
            Some(format!("{id:?} waits to {}\n", wake.0))
        };
        let waits: String = cluster.running().iter().filter_map(wants).collect();
        return Ok(if waits.is_empty() { "nobody wakes\n".to_string() } else { waits });
    }
    let what = args.next_pos().ok_or("which?")?;
    match command.name.as_str() {
        "drive" => cluster.drive_all(drive(what)?),
        _ => {
            cluster.spoil = match what {
                "bytes" => Spoil::Bytes,
                "cluster" => Spoil::Cluster,
                _ => Spoil::Nothing,
            };
        }
    }
    Ok(String::new())
}

fn disturb(cluster: &mut Cluster, command: &Command) -> Answer<String> {
    let mut args = command.consume_args();
    match command.name.as_str() {
        "isolate" => {
            let id = node(cluster, args.next_pos())?;
            cluster.isolate(id);
        }
        "cut" => {
            let link = (node(cluster, args.next_pos())?, node(cluster, args.next_pos())?);
            cluster.cut.insert(link);
        }
        "heal" => {
            cluster.cut.clear();
            cluster.lose.clear();
        }
        "lose" => {
            while let Some(kind) = args.next_pos() {
                cluster.lose.insert(kind.to_string());
            }
        }
        _ => cluster.is_traced = args.next_pos() == Some("on"),
    }
    Ok(String::new())
}

fn change(cluster: &mut Cluster, command: &Command) -> Answer<String> {
    let mut args = command.consume_args();
    let id = node(cluster, args.next_pos())?;
    let mut changes = Vec::new();
    while let Some((key, value)) = args.next_key() {
        let whom = NodeId(value.parse()?);
        changes.push(match key {
            "add-learner" => Change::AddLearner(whom),
            "add-voter" => Change::AddVoter(whom),
            "demote" => Change::Demote(whom),
            "remove" => Change::Remove(whom),
            _ => return Err(format!("what is {key}?").into()),
        });
    }
    cluster.input(id, Input::Change(changes));
    Ok(String::new())
}

/// A promise delivered late, or by nobody: an acknowledgement, a refusal, a request for a vote.
fn promise(cluster: &mut Cluster, command: &Command) -> Answer<String> {
    let mut args = command.consume_args();
    let to = node(cluster, args.next_pos())?;
    let from = node(cluster, args.take_key("from"))?;
    let mut number = |key| -> Answer<u64> { Ok(args.take_key(key).ok_or(key)?.parse()?) };
    let term = Term(number("term")?);
    let bound = match command.name.as_str() {
        "ack" => {
            let result = AppendResult::Accepted { matched: Index(number("matched")?) };
            let session = SessionId(number("session")?);
            let rebuild = number("rebuild").ok().map(RebuildId);
            let condition = Condition { rebuild, ..Condition::default() };
            Bound::AppendReply { term, session, result, condition }
        }
        "refuse" => {
            let prev = Index(number("prev")?);
            let result = AppendResult::Rejected { prev, hint: LogId::ZERO };
            let session = SessionId(number("session")?);
            Bound::AppendReply { term, session, result, condition: Condition::default() }
        }
        _ => {
            let last = LogId::new(term, Index(number("last")?));
            Bound::Vote { term, last, transfer: false }
        }
    };
    cluster.forge(from, to, Message::Bound(bound));
    Ok(String::new())
}

/// What no correct peer sends, by the name of what is wrong with it.
fn forge(cluster: &mut Cluster, command: &Command) -> Answer<String> {
    let mut args = command.consume_args();
    let to = node(cluster, args.next_pos())?;
    let from = node(cluster, args.take_key("from"))?;
    let term = Term(args.take_key("term").ok_or("which term?")?.parse()?);
    let wrong = args.take_key("wrong").ok_or("what is wrong with it?")?;
    let zero = LogId::ZERO;
    let entry = |term, index| Entry {
        id: LogId::new(Term(term), Index(index)),
        payload: Payload::Command(Bytes::from_static(b"forged")),
    };
    let (prev, entries) = match wrong {
        "gap" => (zero, std::vec![entry(1, 1), entry(1, 3)]),
        "term-goes-down" => (zero, std::vec![entry(term.0, 1), entry(term.0 - 1, 2)]),
        "term-zero" => (zero, std::vec![entry(0, 1)]),
        "absurd-index" => (LogId::new(term, Index(u64::MAX)), std::vec![entry(1, 0)]),
        "changes-the-committed" => (zero, std::vec![entry(term.0, 1)]),
        "commits-the-unverified" => (LogId::new(Term(1), Index(1)), std::vec![]),
        "second-leader" => (zero, std::vec![]),
        _ => return Err(format!("what is {wrong}?").into()),
    };
    let session = SessionId(1);
    let commit = Index(u64::MAX >> 2);
    let entries = entries.into();
    let append = Unbound::Append { term, session, prev, entries, commit };
    cluster.forge(from, to, Message::Unbound(append));
    Ok(String::new())
}

fn status(cluster: &Cluster) -> String {
    let mut lines = String::new();
    for id in cluster.ids() {
        match cluster.raft(id) {
            Some(raft) => lines += &status_of(cluster, raft),
            None => lines += &format!("{id:?} down\n"),
        }
    }
    lines
}

fn status_of(cluster: &Cluster, raft: &Raft) -> String {
    let state = String::from_utf8_lossy(cluster.state(raft.id())).into_owned();
    format!(
        "{:?} {} term={} leader={} log={}..{} durable={} commit={}{} state={state}\n",
        raft.id(),
        describe::role_name(raft.role()),
        raft.term(),
        raft.leader().map_or("nobody".into(), |id| format!("{id:?}")),
        raft.first_index(),
        raft.last(),
        raft.durable_index(),
        raft.commit(),
        if raft.is_rebuilding() { " rebuilds" } else { "" },
    )
}

fn log_of(cluster: &Cluster, id: NodeId) -> Answer<String> {
    let raft = cluster.raft(id).ok_or("it is down")?;
    let first = raft.first_index();
    if raft.last().index < first {
        return Ok(format!("{id:?} has an empty log\n"));
    }
    let entries = raft.log.range(first, raft.last().index);
    Ok(format!("{id:?} has {}\n", describe::list(&entries)))
}

/// Bugs that only scripts see, each with the one that sees it.
#[cfg(feature = "mutants")]
#[test]
#[ignore = "what it plants is in the whole process"]
fn bugs_planted_in_raft_change_what_scripts_tell() {
    use crate::base::mutant::{Mutant, activate};
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/raft/testdata");
    for (planted, script) in [
        (Mutant::AckOfOlderSessionKept, "an_answer_that_waits_for_its_write_is_given_once"),
        (Mutant::LeaseForgotten, "a_voter_that_started_again_keeps_its_leaders_lease"),
    ] {
        let text = std::fs::read_to_string(format!("{folder}/{script}.txt")).expect("it is there");
        let told = || goldenscript::generate(&mut Script::default(), &text).unwrap_or_default();
        assert_eq!(told(), text, "{}: without the bug", planted.name());
        activate(planted);
        let is_seen = told() != text;
        activate(Mutant::None);
        assert!(is_seen, "{} is not seen", planted.name());
    }
}

/// Every script is a test; `UPDATE_GOLDENFILES=1` writes what happens into it.
#[test]
fn every_script_goes_as_written() {
    #[cfg(feature = "mutants")]
    super::property::plant();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/raft/testdata");
    let mut scripts: Vec<_> = std::fs::read_dir(folder)
        .expect("there are scripts")
        .map(|file| file.expect("the folder can be read").path())
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for path in scripts {
        std::println!("{}", path.display());
        goldenscript::run(&mut Script::default(), &path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
