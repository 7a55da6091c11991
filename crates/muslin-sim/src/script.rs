//! Runs the scripts of `scenarios`: whole clusters of real nodes, every checker watching. Commands,
//! `N` being `n1`, .., `leader`, `follower`, or a name given to one:
//!
//! ```text
//! cluster nodes=3 [founders=3] [seed=1] [snapshot=2000] [tail=2000]
//! name NAME N              the node that N is at present is called NAME from here on
//! put N key=value [lease=L] | del N key | get N key [local]
//! grant N lease ttl=MS | keep N lease | admit N by=N
//! kill N.. | start N.. | isolate N | heal | wait MS
//! watch prefix             a watcher that goes on by itself wherever it can; `told`: how far it is
//! status                   who votes, and whether all agree
//! installs                 how many snapshots were installed so far
//! ```

use crate::nodes::{self, Answer, Nodes};
use crate::profile::{Preset, Profile};
use crate::trace::Trace;
use bytes::Bytes;
use goldenscript::{Command, Context, Runner};
use muslin_core::base::LeaseId;
use muslin_core::node::{Consistency, Request};
use muslin_core::state::{
    Command as Write, CommandKind, DeleteRange, KeyRange, LeaseGrant, Outcome, Put, Query, Range,
    Response, WatchSpec,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

/// Until founders have a leader and everything they say about themselves is told.
const SETTLES_IN: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Script {
    world: Option<Nodes>,
    names: BTreeMap<String, usize>,
    watcher: Option<usize>,
}

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let positional: Vec<String> =
            std::iter::from_fn(|| args.next_pos().map(str::to_string)).collect();
        match command.name.as_str() {
            "cluster" => return self.found(command),
            "name" => {
                let place = self.place(&positional[1])?;
                self.names.insert(positional[0].clone(), place);
                return Ok(String::new());
            }
            _ => {}
        }
        self.act(command, &positional)
    }
}

impl Script {
    fn found(&mut self, command: &Command) -> Result<String, Box<dyn Error>> {
        let (mut nodes, mut founders, mut seed) = (3, None, 1);
        let (mut snapshot, mut tail) = (2_000, 2_000);
        let mut args = command.consume_args();
        while let Some((key, value)) = args.next_key() {
            match key {
                "nodes" => nodes = value.parse()?,
                "founders" => founders = Some(value.parse()?),
                "seed" => seed = value.parse()?,
                "snapshot" => snapshot = value.parse()?,
                "tail" => tail = value.parse()?,
                _ => return Err(format!("what is {key}?").into()),
            }
        }
        let mut profile = Profile::drawn(seed, nodes, Preset::Calm);
        profile.founders = founders.unwrap_or(nodes);
        profile.snapshot_entries = snapshot;
        profile.raft.log_tail_entries = tail;
        let mut world = nodes::world(seed, profile, Trace::new(None));
        world.run_until(world.time + SETTLES_IN)?;
        self.world = Some(world);
        Ok(String::new())
    }

    fn world(&mut self) -> Result<&mut Nodes, Box<dyn Error>> {
        self.world.as_mut().ok_or_else(|| "no cluster yet".into())
    }

    fn place(&mut self, name: &str) -> Result<usize, Box<dyn Error>> {
        if let Some(place) = self.names.get(name) {
            return Ok(*place);
        }
        let world = self.world()?;
        let leader = world.leader();
        match name {
            "leader" => leader.ok_or_else(|| "nobody leads".into()),
            "follower" => (0..world.hosts.len())
                .find(|place| Some(*place) != leader && world.hosts[*place].process.is_some())
                .ok_or_else(|| "nobody follows".into()),
            _ => Ok(name.trim_start_matches('n').parse::<usize>()? - 1),
        }
    }

    fn act(&mut self, command: &Command, words: &[String]) -> Result<String, Box<dyn Error>> {
        match command.name.as_str() {
            "wait" => {
                let wait = Duration::from_millis(words[0].parse()?);
                let world = self.world()?;
                world.run_until(world.time + wait)?;
                Ok(String::new())
            }
            "kill" | "start" | "isolate" => {
                for name in words {
                    let place = self.place(name)?;
                    let world = self.world()?;
                    match command.name.as_str() {
                        "kill" => world.crash(place),
                        "start" => world.start(place),
                        _ => world.isolate(place),
                    }
                }
                Ok(String::new())
            }
            "heal" => {
                self.world()?.mend_links();
                Ok(String::new())
            }
            "watch" => {
                let range = KeyRange::of_prefix(words[0].clone());
                let spec = WatchSpec { range, start_revision: 1, ..WatchSpec::default() };
                self.watcher = Some(self.world()?.watch_by_hand(spec));
                Ok(String::new())
            }
            "told" => {
                let watcher = self.watcher.ok_or("no watcher yet")?;
                let world = self.world()?;
                let all = world.crowd.ledger.model().events().len();
                Ok(format!("{} of {all}\n", world.told(watcher).unwrap_or(0)))
            }
            "status" => self.status(),
            "installs" => Ok(format!("{} snapshots\n", self.world()?.counts.installs)),
            _ => self.ask(command, words),
        }
    }

    /// Requests to the node that the first word names.
    fn ask(&mut self, command: &Command, words: &[String]) -> Result<String, Box<dyn Error>> {
        let place = self.place(&words[0])?;
        let mut args = command.consume_args();
        let request = match command.name.as_str() {
            "admit" => {
                let by = self.place(args.take_key("by").ok_or("by whom?")?)?;
                let answer = self.world()?.admit_by_hand(by, place)?;
                return Ok(told(answer));
            }
            "put" => {
                let lease = args.take_key("lease").map_or(Ok(0), str::parse)?;
                let (key, value) = args.next_key().ok_or("put what?")?;
                let (key, value) = (Bytes::from(key.to_string()), Bytes::from(value.to_string()));
                Request::Write(Write::of(CommandKind::Put(Put {
                    key,
                    value,
                    lease,
                    ..Put::default()
                })))
            }
            "del" => {
                let range = KeyRange::of_key(words[1].clone());
                let delete = DeleteRange { range, prev_kv: false };
                Request::Write(Write::of(CommandKind::Delete(delete)))
            }
            "get" => {
                let range = Range { range: KeyRange::of_key(words[1].clone()), ..Range::default() };
                let is_local = words.get(2).is_some_and(|word| word == "local");
                let consistency =
                    if is_local { Consistency::Local } else { Consistency::Linearizable };
                Request::Read { query: Query::Range(range), consistency }
            }
            "grant" => {
                let ttl_ms = args.take_key("ttl").map_or(Ok(1_000), str::parse)?;
                let id = words[1].parse()?;
                Request::Write(Write::of(CommandKind::LeaseGrant(LeaseGrant { id, ttl_ms })))
            }
            "keep" => Request::KeepAlive(LeaseId(words[1].parse()?).0),
            other => return Err(format!("what is {other}?").into()),
        };
        let answer = self.world()?.ask_by_hand(place, request)?;
        Ok(told(answer))
    }

    /// Without names: who leads is a matter of chance, and not what scenarios are about.
    fn status(&mut self) -> Result<String, Box<dyn Error>> {
        let world = self.world()?;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut digests = Vec::new();
        for host in &world.hosts {
            let text = match &host.process {
                None => "down".to_string(),
                Some(process) => {
                    let raft = process.subject.raft();
                    digests.push((raft.applied(), process.subject.state().digest()));
                    let configuration = raft.configuration();
                    let (voters, learners) = (&configuration.voters, &configuration.learners);
                    format!("voters={voters:?} learners={learners:?}")
                }
            };
            *counts.entry(text).or_default() += 1;
        }
        digests.dedup();
        let lines: Vec<String> =
            counts.into_iter().map(|(text, count)| format!("{count}: {text}\n")).collect();
        let agree = if digests.len() == 1 { "all agree" } else { "they differ" };
        Ok(lines.concat() + agree + "\n")
    }
}

fn told(answer: Option<Answer>) -> String {
    let text = match answer {
        None => "no answer".into(),
        Some(Answer::Failed) => "failed".into(),
        Some(Answer::Done) => "done".into(),
        Some(Answer::Lease(None)) => "no such lease".into(),
        Some(Answer::Lease(Some((granted, _)))) => format!("alive, of {granted} ms"),
        Some(Answer::Outcome(Outcome { revision, result })) => match result {
            Err(refusal) => format!("refused: {refusal}"),
            Ok(Response::Range { kvs, .. }) => match kvs.first() {
                None => format!("nothing, at revision {revision}"),
                Some(kv) => {
                    let value = String::from_utf8_lossy(&kv.value);
                    format!("{value}, written at revision {}", kv.mod_revision)
                }
            },
            Ok(Response::Delete { deleted, .. }) => format!("deleted {deleted}"),
            Ok(_) => format!("done, at revision {revision}"),
        },
    };
    text + "\n"
}

#[test]
fn scenarios_go_as_written() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = std::fs::read_dir(folder).expect("the scenarios are part of the crate");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are scenarios");
    for path in paths {
        goldenscript::run(&mut Script::default(), &path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
