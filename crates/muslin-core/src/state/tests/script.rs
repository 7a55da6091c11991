//! The scripts in `testdata`. Commands:
//!
//! ```text
//! put KEY VALUE [lease=ID] [ttl=MS] [prev=true] [ignore_value=true] [ignore_lease=true]
//! delete KEY [to=KEY|end] [prefix=true] [prev=true]
//! range KEY [to=KEY|end] [prefix=true] [rev=N] [limit=N] [sort=ascend|descend] [by=TARGET] [..]
//! begin, if TARGET KEY RESULT VALUE [to=KEY], then COMMAND.., else COMMAND.., end, commit, ask
//! compact REV / grant ID TTL_MS / revoke ID.. [expired=true] / leases / lease ID
//! and everything about members, see `roster.rs`
//! group KIND ID.. [id=N] / assign GROUP LEADER ASSIGNMENT .. / ungroup ID / groups
//! session [origin=N] [boot=N] [sequence=N] [settled=N]   what the next proposal says of itself
//! watch START [KEY] [to=KEY|end] [prefix=true] [limit=N]
//! raw BYTES / unknown / status / restart                 (restart = snapshot and restore)
//! ```

use super::*;
use crate::base::{LeaseId, NodeId, Revision};
use goldenscript::{ArgumentConsumer, Context};
use std::borrow::ToOwned as _;
use std::boxed::Box;
use std::error::Error;
use std::fmt::Write as _;
use std::format;
use std::string::String;

macro_rules! scripts {
    ($($name:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            let path = concat!(
                env!("CARGO_MANIFEST_DIR"), "/src/state/testdata/", stringify!($name), ".txt",
            );
            goldenscript::run(&mut Script::default(), path).expect("the script runs");
        })+

        #[test]
        fn every_script_is_run() {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/state/testdata");
            let found = std::fs::read_dir(folder).expect("a folder").count();
            assert_eq!(found, [$(stringify!($name)),+].len());
        }
    };
}

scripts! {
    a_group_is_assigned_upon_what_the_record_says,
    a_compacted_revision_can_still_be_read_and_watched,
    a_key_counts_its_versions_within_its_life,
    a_lease_takes_its_keys_with_it_in_one_revision,
    a_put_moves_a_key_between_leases,
    a_put_with_a_time_to_live_makes_a_lease_of_its_own,
    a_range_answers_as_etcd_does,
    a_refused_transaction_changes_nothing,
    a_removed_node_never_comes_back,
    a_retry_has_no_effect,
    a_join_waits_for_approval_or_for_a_role,
    a_token_lets_in_who_knows_its_secret,
    an_epoch_leaves_behind_who_is_gone,
    an_epoch_leaves_a_majority_of_the_voters,
    an_operator_never_takes_the_quorum_away,
    gossip_keys_are_rotated_without_a_gap,
    who_is_down_is_declared_by_most_of_its_watchers,
    a_transaction_inside_compares_the_store_before_it,
    a_transaction_is_one_revision,
    a_transaction_writes_a_key_once,
    a_watch_is_told_whole_revisions,
    what_is_not_understood_changes_nothing,
}

pub(super) type Outcomes = Result<String, Box<dyn Error>>;

struct Script {
    state: State,
    /// What the next proposal says of itself; `command` is not used.
    next: Proposal,
    /// Transactions being written, innermost last.
    txns: Vec<Txn>,
}

impl Default for Script {
    fn default() -> Script {
        let next =
            Proposal { origin: 1, boot: 1, sequence: 1, settled_below: 1, ..Proposal::default() };
        Script { state: founded(), next, txns: Vec::new() }
    }
}

impl goldenscript::Runner for Script {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _: &Context) -> Outcomes {
        let mut args = command.consume_args();
        let out = self.step(&command.name, &mut args)?;
        args.reject_next()?;
        Ok(out)
    }

    /// After every script, the state must survive a snapshot.
    fn end_script(&mut self) -> Result<(), Box<dyn Error>> {
        self.restart().map(drop)
    }
}

impl Script {
    fn step(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Outcomes {
        match name {
            "begin" | "if" | "then" | "else" | "end" => self.write_txn(name, args),
            "commit" => {
                let txn = self.txns.pop().ok_or("no transaction")?;
                self.propose(CommandKind::Txn(txn))
            }
            "ask" => {
                let txn = self.txns.pop().ok_or("no transaction")?;
                self.query(&Query::Txn(txn))
            }
            "range" => self.query(&Query::Range(range(args)?)),
            "leases" => self.query(&Query::Leases),
            "lease" => self.query(&Query::Lease(number(args.next_pos())?)),
            "watch" => self.watch(args),
            "members" => roster::members(&self.state),
            "tokens" => roster::tokens(&self.state),
            "record" => roster::record(&self.state),
            "join" => {
                let id = NodeId(number(args.next_pos())?);
                Ok(format!("{:?}", self.state.join_state(id)))
            }
            "voters" => {
                let index = self.state.applied().next();
                self.state.configured(index, &roster::voters(args)?);
                Ok(String::new())
            }
            "groups" => self.query(&Query::Groups),
            "status" => Ok(self.status()),
            "restart" => self.restart(),
            "session" => {
                let next = &mut self.next;
                next.origin = number_or(args, "origin", next.origin)?;
                next.boot = number_or(args, "boot", next.boot)?;
                next.sequence = number_or(args, "sequence", next.sequence)?;
                next.settled_below = number_or(args, "settled", next.settled_below)?;
                Ok(String::new())
            }
            "raw" => {
                let bytes = bytes(args.next_pos().ok_or("no bytes")?);
                Ok(self.apply(bytes))
            }
            "unknown" => {
                let command = Some(Command { kind: None });
                Ok(self.say(&Proposal { command, ..self.next.clone() }))
            }
            _ => {
                let kind = change(name, args)?;
                self.propose(kind)
            }
        }
    }

    fn propose(&mut self, kind: CommandKind) -> Outcomes {
        let command = Some(Command::of(kind));
        Ok(self.say(&Proposal { command, ..self.next.clone() }))
    }

    fn say(&mut self, proposal: &Proposal) -> String {
        self.next.sequence += 1;
        self.apply(proposal.encode_to_vec().into())
    }

    fn apply(&mut self, proposal: Bytes) -> String {
        let before = self.state.digest();
        let applied = self.state.apply(self.state.applied().next(), proposal);
        let mut out = String::new();
        let revision = applied.outcome.revision;
        match &applied.outcome.result {
            _ if applied.duplicate => line(&mut out, &format!("@{revision} duplicate")),
            Ok(response) => line(&mut out, &format!("@{revision} {}", shown(response))),
            Err(refusal) => line(&mut out, &format!("@{revision} refused: {refusal}")),
        }
        for event in &applied.events {
            line(&mut out, &format!("  {}", shown_event(event)));
        }
        for news in &applied.members {
            line(&mut out, &format!("  {}", roster::shown_news(news)));
        }
        for news in &applied.groups {
            let shown = match news {
                GroupNews::Created(record) => format!("created {}", shown_group(record)),
                GroupNews::Assigned(record) => format!("assigned {}", shown_group(record)),
                GroupNews::Removed(id) => format!("removed {id}"),
            };
            line(&mut out, &format!("  {shown}"));
        }
        for news in &applied.leases {
            line(&mut out, &format!("  {news:?}"));
        }
        assert_ne!(self.state.digest(), before, "the digest sees at least the index");
        out
    }

    fn query(&self, query: &Query) -> Outcomes {
        let Outcome { revision, result } = self.state.query(query);
        Ok(match result {
            Ok(response) => format!("@{revision} {}", shown(&response)),
            Err(refusal) => format!("@{revision} refused: {refusal}"),
        })
    }

    fn write_txn(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Outcomes {
        if name == "begin" {
            self.txns.push(Txn::default());
            return Ok(String::new());
        }
        let kind = match name {
            "if" => {
                let compare = compare(args)?;
                self.txns.last_mut().ok_or("no transaction")?.compares.push(compare);
                return Ok(String::new());
            }
            "end" => None,
            _ => Some(op(args.next_pos().ok_or("no operation")?, args)?),
        };
        let (kind, branch) = match kind {
            Some(kind) => (kind, name),
            None => {
                let inner = self.txns.pop().ok_or("no transaction")?;
                (OpKind::Txn(inner), args.next_pos().ok_or("end then or end else")?)
            }
        };
        let txn = self.txns.last_mut().ok_or("no transaction")?;
        let ops = if branch == "then" { &mut txn.success } else { &mut txn.failure };
        ops.push(Op { kind: Some(kind) });
        Ok(String::new())
    }

    fn watch(&self, args: &mut ArgumentConsumer<'_>) -> Outcomes {
        let start = Revision(number(args.next_pos())?);
        let limit = number_or(args, "limit", 100)? as usize;
        let range = match args.next_pos() {
            Some(key) => key_range(key, args)?,
            None => KeyRange::of_prefix(""),
        };
        let history = match self.state.events_since(start, &range, limit) {
            Ok(history) => history,
            Err(compacted) => return Ok(format!("{compacted}")),
        };
        let mut out = String::new();
        history.events.iter().for_each(|event| line(&mut out, &shown_event(event)));
        line(&mut out, &format!("through @{}", history.through));
        Ok(out)
    }

    fn status(&self) -> String {
        let state = &self.state;
        let versions: usize = state.kv.keys.iter().map(|(_, history)| history.iter().count()).sum();
        format!(
            "@{} compacted={} keys={} with-history={} versions={versions} changes={}",
            state.revision(),
            state.compacted(),
            state.keys(),
            state.kv.keys.counts().all,
            state.kv.history.counts().all,
        )
    }

    fn restart(&mut self) -> Outcomes {
        let snapshot = self.state.snapshot();
        let restored = State::restore(snapshot.clone())?;
        assert_eq!(restored.digest(), self.state.digest());
        assert_eq!(restored.snapshot(), snapshot, "equal states give equal bytes");
        assert_eq!(restored.approximate_bytes(), self.state.approximate_bytes());
        self.state = restored;
        Ok(String::new())
    }
}

fn change(name: &str, args: &mut ArgumentConsumer<'_>) -> Result<CommandKind, Box<dyn Error>> {
    if let Some(kind) = roster::change(name, args)? {
        return Ok(kind);
    }
    Ok(match name {
        "put" => CommandKind::Put(new_put(args)?),
        "delete" => CommandKind::Delete(delete(args)?),
        "compact" => CommandKind::Compact(Compact { revision: number(args.next_pos())? }),
        "grant" => {
            let (id, ttl_ms) = (number(args.next_pos())?, number(args.next_pos())?);
            CommandKind::LeaseGrant(LeaseGrant { id, ttl_ms })
        }
        "revoke" => {
            let expired = is_set(args, "expired");
            let mut ids = Vec::new();
            while let Some(id) = args.next_pos() {
                ids.push(number(Some(id))?);
            }
            CommandKind::LeaseRevoke(LeaseRevoke { ids, expired })
        }
        "group" => {
            let kind = args.next_pos().unwrap_or_default().to_owned();
            let id = number_or(args, "id", 0)?;
            CommandKind::GroupCreate(GroupCreate { id, kind, replicas: numbers(args)? })
        }
        "assign" => {
            let steps = numbers(args)?
                .chunks(3)
                .map(|step| AssignStep { group: step[0], leader: step[1], assignment: step[2] })
                .collect();
            CommandKind::GroupAssign(GroupAssign { steps })
        }
        "ungroup" => CommandKind::GroupRemove(GroupRemove { id: number(args.next_pos())? }),
        _ => return Err(format!("no command {name}").into()),
    })
}

fn numbers(args: &mut ArgumentConsumer<'_>) -> Result<Vec<u64>, Box<dyn Error>> {
    let mut all = Vec::new();
    while let Some(one) = args.next_pos() {
        all.push(number(Some(one))?);
    }
    Ok(all)
}

fn shown_group(record: &GroupRecord) -> String {
    let GroupRecord { id, kind, replicas, leader, assignment, created_at } = record;
    let leader = leader.map_or("nobody".to_owned(), |leader| format!("n{leader}"));
    format!("g{id} {kind} of {replicas:?} led by {leader} ({assignment}) since {created_at}")
}

fn op(name: &str, args: &mut ArgumentConsumer<'_>) -> Result<OpKind, Box<dyn Error>> {
    Ok(match name {
        "put" => OpKind::Put(new_put(args)?),
        "delete" => OpKind::Delete(delete(args)?),
        "range" => OpKind::Range(range(args)?),
        _ => return Err(format!("no operation {name}").into()),
    })
}

fn new_put(args: &mut ArgumentConsumer<'_>) -> Result<Put, Box<dyn Error>> {
    Ok(Put {
        key: bytes(args.next_pos().ok_or("no key")?),
        value: bytes(args.next_pos().unwrap_or_default()),
        lease: number_or(args, "lease", 0)?,
        prev_kv: is_set(args, "prev"),
        ignore_value: is_set(args, "ignore_value"),
        ignore_lease: is_set(args, "ignore_lease"),
        ttl_ms: number_or(args, "ttl", 0)?,
    })
}

fn delete(args: &mut ArgumentConsumer<'_>) -> Result<DeleteRange, Box<dyn Error>> {
    let key = args.next_pos().ok_or("no key")?;
    Ok(DeleteRange { range: key_range(key, args)?, prev_kv: is_set(args, "prev") })
}

fn range(args: &mut ArgumentConsumer<'_>) -> Result<Range, Box<dyn Error>> {
    let key = args.next_pos().ok_or("no key")?;
    let sort_order = match args.take_key("sort") {
        None => SortOrder::None,
        Some("ascend") => SortOrder::Ascend,
        Some("descend") => SortOrder::Descend,
        Some(other) => return Err(format!("no order {other}").into()),
    };
    let sort_target = match args.take_key("by") {
        None | Some("key") => SortTarget::Key,
        Some("version") => SortTarget::Version,
        Some("create") => SortTarget::Create,
        Some("mod") => SortTarget::Mod,
        Some("value") => SortTarget::Value,
        Some(other) => return Err(format!("no target {other}").into()),
    };
    Ok(Range {
        range: key_range(key, args)?,
        limit: number_or(args, "limit", 0)?,
        revision: number_or(args, "rev", 0)?,
        sort_order: sort_order.into(),
        sort_target: sort_target.into(),
        keys_only: is_set(args, "keys_only"),
        count_only: is_set(args, "count_only"),
        min_mod_revision: number_or(args, "min_mod", 0)?,
        max_mod_revision: number_or(args, "max_mod", 0)?,
        min_create_revision: number_or(args, "min_create", 0)?,
        max_create_revision: number_or(args, "max_create", 0)?,
    })
}

fn compare(args: &mut ArgumentConsumer<'_>) -> Result<Compare, Box<dyn Error>> {
    let target = args.next_pos().ok_or("no target")?;
    let key = args.next_pos().ok_or("no key")?;
    let result = match args.next_pos() {
        Some("eq") => CompareResult::Equal,
        Some("ne") => CompareResult::NotEqual,
        Some("gt") => CompareResult::Greater,
        Some("lt") => CompareResult::Less,
        other => return Err(format!("no comparison {other:?}").into()),
    };
    let wanted = args.next_pos();
    let target = match target {
        "version" => CompareTarget::Version(number(wanted)?),
        "create" => CompareTarget::Create(number(wanted)?),
        "mod" => CompareTarget::Mod(number(wanted)?),
        "lease" => CompareTarget::Lease(number(wanted)?),
        "value" => CompareTarget::Value(bytes(wanted.unwrap_or_default())),
        other => return Err(format!("no target {other}").into()),
    };
    let range = key_range(key, args)?;
    Ok(Compare { range, result: result.into(), target: Some(target) })
}

fn key_range(key: &str, args: &mut ArgumentConsumer<'_>) -> Result<KeyRange, Box<dyn Error>> {
    if is_set(args, "prefix") {
        return Ok(KeyRange::of_prefix(bytes(key)));
    }
    let range_end = match args.take_key("to") {
        Some("end") => Bytes::from_static(&[0]),
        Some(end) => bytes(end),
        None => Bytes::new(),
    };
    Ok(KeyRange { key: bytes(key), range_end })
}

pub(super) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(super) fn number(text: Option<&str>) -> Result<u64, Box<dyn Error>> {
    Ok(text.ok_or("a number is missing")?.parse()?)
}

pub(super) fn number_or(
    args: &mut ArgumentConsumer<'_>,
    key: &str,
    default: u64,
) -> Result<u64, Box<dyn Error>> {
    args.take_key(key).map_or(Ok(default), |text| number(Some(text)))
}

pub(super) fn is_set(args: &mut ArgumentConsumer<'_>, key: &str) -> bool {
    args.take_key(key) == Some("true")
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("strings take all");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}

fn shown(response: &Response) -> String {
    match response {
        Response::Put { prev: None } => "put".to_string(),
        Response::Put { prev: Some(prev) } => format!("put, was {}", shown_pair(prev)),
        Response::Range { kvs, more, count } => {
            let mut out = format!("range count={count} more={more}");
            kvs.iter().for_each(|kv| write!(out, "\n  {}", shown_pair(kv)).expect("strings"));
            out
        }
        Response::Delete { deleted, prev } => {
            let mut out = format!("deleted {deleted}");
            prev.iter().for_each(|kv| write!(out, "\n  was {}", shown_pair(kv)).expect("strings"));
            out
        }
        Response::Txn { succeeded, responses } => {
            let mut out = format!("txn succeeded={succeeded}");
            for response in responses {
                let inner = shown(response).replace('\n', "\n  ");
                write!(out, "\n  {inner}").expect("strings take all");
            }
            out
        }
        Response::Lease { ttl_ms, keys } => {
            let keys: Vec<String> = keys.iter().map(|key| text(key)).collect();
            format!("lease ttl_ms={ttl_ms} keys={keys:?}")
        }
        other => roster::shown(other).unwrap_or_else(|| format!("{other:?}")),
    }
}

fn shown_pair(kv: &KeyValue) -> String {
    let KeyValue { key, value, create_revision, mod_revision, version, lease } = kv;
    let mut out = format!("{}={}", text(key), text(value));
    write!(out, " created@{create_revision} mod@{mod_revision} v{version}").expect("strings");
    if *lease != 0 {
        write!(out, " lease={}", LeaseId(*lease)).expect("strings take all");
    }
    out
}

fn shown_event(event: &KvEvent) -> String {
    let what = match event.kind {
        KvEventKind::Put => format!("put {}", shown_pair(&event.kv)),
        KvEventKind::Delete => format!("delete {} @{}", text(&event.kv.key), event.kv.mod_revision),
        KvEventKind::Expired => {
            format!("expire {} @{}", text(&event.kv.key), event.kv.mod_revision)
        }
    };
    match &event.prev {
        Some(prev) => format!("{what} (was {})", shown_pair(prev)),
        None => what,
    }
}
