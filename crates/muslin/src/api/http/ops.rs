//! Operations: what the cluster does that outlasts the call which asked for it.
//!
//! Most of them stand in the record, so every node tells them, under the same id: whoever asked one
//! node may look at another. An id names what is done to what, as `drain-0000000000000002`, and is
//! there again when the same is done again. Backups, and what a node does for itself, are told by
//! that node alone. Each node also tells what it saw end since it started.

use super::board::{Board, process_of, tell_problem};
use super::lines::{Following, Gone, Lines};
use super::operate::{Asker, write};
use super::params::{self, Params};
use super::views::known;
use crate::api::desk::{Desk, Office};
use crate::api::problem::Problem;
use crate::api::status::{name_of, rfc3339};
use crate::driver::EventRecord;
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, IntoResponseParts, Response};
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Request, StatusCode};
use muslin_core::base::NodeId;
use muslin_core::node::{Consistency, Event, MemberChange, NodeStatus};
use muslin_core::raft;
use muslin_core::state::{self, Member, MembershipChange, Query, VoteWish, Whom};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex as Turn, Notify};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Operations that have ended and are kept: the ones before are forgotten.
const ENDED_KEPT: usize = 256;

/// While something is under way it is looked at this often; what is asked is of that moment.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What happens within this time is looked at together.
const GATHER: Duration = Duration::from_millis(50);

/// Where an operation stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Stand {
    Running,
    /// What was to be done is done.
    Done,
    /// It was taken back, or has nothing left to do it to.
    Undone,
    Failed,
}

/// One operation.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(in crate::api) struct OpRow {
    id: String,
    kind: &'static str,
    state: Stand,
    text: String,
    /// Whom it is done to, or by.
    node: Option<String>,
    /// When the answering node first saw it, RFC 3339; `null` when it saw the end only.
    began: Option<String>,
    /// When it saw the end.
    ended: Option<String>,
}

/// One that is found to be under way.
#[derive(Clone, PartialEq, Debug)]
struct Found {
    kind: &'static str,
    node: Option<NodeId>,
    text: String,
}

/// What is found, by id.
type Under = BTreeMap<String, Found>;

/// See the module.
pub(in crate::api) struct OpBoard {
    board: Board<OpRow>,
    /// Whoever looks does so alone: an older look never comes behind a newer one.
    turn: Turn<()>,
    own: Arc<Own>,
}

/// What this process does itself.
#[derive(Default)]
struct Own {
    errands: Mutex<Errands>,
    called: Notify,
}

#[derive(Default)]
struct Errands {
    last: u64,
    under_way: BTreeMap<u64, Arc<Errand>>,
    /// Ended, and not taken into the rows yet.
    ended: Vec<(u64, Arc<Errand>, Stand)>,
}

/// A backup that leaves over the network.
#[derive(Debug)]
struct Errand {
    bytes: u64,
    left: AtomicU64,
}

impl Errand {
    fn text(&self) -> String {
        let sent = self.bytes - self.left.load(Ordering::Relaxed).min(self.bytes);
        format!("a backup leaves for whoever asked: {sent} of {} bytes", self.bytes)
    }
}

/// Tells of a backup that leaves, until it is dropped.
pub(in crate::api) struct Leaves {
    own: Arc<Own>,
    number: u64,
    errand: Arc<Errand>,
}

impl Leaves {
    /// So many bytes are left.
    pub(in crate::api) fn left(&self, bytes: u64) {
        self.errand.left.store(bytes, Ordering::Relaxed);
    }
}

impl Drop for Leaves {
    fn drop(&mut self) {
        let stand = match self.errand.left.load(Ordering::Relaxed) {
            0 => Stand::Done,
            _ => Stand::Failed,
        };
        let mut errands = self.own.errands();
        errands.under_way.remove(&self.number);
        if errands.ended.len() < ENDED_KEPT {
            errands.ended.push((self.number, self.errand.clone(), stand));
        }
        drop(errands);
        self.own.called.notify_one();
    }
}

impl Own {
    fn errands(&self) -> MutexGuard<'_, Errands> {
        self.errands.lock().expect("no holder of this lock panics")
    }
}

impl OpBoard {
    /// Of the process that began then.
    pub(in crate::api) fn new(id: NodeId, began: u64) -> OpBoard {
        let process = format!("{id}-{began:x}");
        let board = Board::of(process, BTreeMap::new());
        OpBoard { board, turn: Turn::new(()), own: Arc::default() }
    }

    /// A backup of so many bytes begins to leave.
    pub(in crate::api) fn backup_leaves(&self, bytes: u64) -> Leaves {
        let errand = Arc::new(Errand { bytes, left: AtomicU64::new(bytes) });
        let mut errands = self.own.errands();
        errands.last += 1;
        let number = errands.last;
        errands.under_way.insert(number, errand.clone());
        drop(errands);
        self.own.called.notify_one();
        Leaves { own: self.own.clone(), number, errand }
    }
}

/// Keeps the board up to date, until the node stops.
pub(in crate::api) async fn keep_up(desk: Arc<Desk>) {
    let mut events = desk.handle.events();
    let mut is_busy = false;
    let mut period = interval(LOOK_EVERY);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let told = tokio::select! {
            told = events.recv() => told,
            () = desk.ops.own.called.notified() => Err(RecvError::Lagged(0)),
            _ = period.tick(), if is_busy => Err(RecvError::Lagged(0)),
            () = desk.stopping() => return,
        };
        match told {
            Ok(record) if !is_worth_a_look(&record.event) => continue,
            Ok(record) => note_backup(&desk, &record).await,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
        sleep(GATHER).await;
        while let Ok(record) = events.try_recv() {
            note_backup(&desk, &record).await;
        }
        let Ok(running) = look(&desk).await else { return };
        is_busy = running;
    }
}

/// Whether an operation may have begun or ended with it.
fn is_worth_a_look(event: &Event) -> bool {
    match event {
        Event::Members { change, .. } => matches!(
            change,
            MemberChange::Updated(_)
                | MemberChange::Removed(_)
                | MemberChange::Gone(_)
                | MemberChange::GossipKeys
        ),
        Event::Raft { event, .. } => matches!(
            event,
            raft::Event::ConfigurationChanged { .. }
                | raft::Event::RoleChanged { .. }
                | raft::Event::RebuildBegun { .. }
                | raft::Event::Rebuilt { .. }
                | raft::Event::PeerRebuilds { .. }
        ),
        Event::BackedUp { .. } | Event::BackupFailed { .. } => true,
        _ => false,
    }
}

/// One that the settings asked for: it is told when it has ended.
async fn note_backup(desk: &Desk, record: &EventRecord) {
    let (state, text) = match &record.event {
        Event::BackedUp { revision, bytes, path } => {
            (Stand::Done, format!("a backup of revision {revision}, {bytes} bytes, is at {path}"))
        }
        Event::BackupFailed { what } => (Stand::Failed, format!("no backup was written: {what}")),
        _ => return,
    };
    let row = OpRow {
        id: format!("backup-{}-event-{}", process_of(desk), record.number),
        kind: "backup",
        state,
        text,
        node: Some(desk.id.to_string()),
        began: None,
        ended: told_time(record.time),
    };
    let _turn = desk.ops.turn.lock().await;
    let (mut rows, _) = desk.ops.board.shown();
    rows.insert(row.id.clone(), row);
    desk.ops.board.take(forget(rows), |_| String::from("the node reports it"));
}

/// Looks at what is under way now, so that what is shown is of now; whether something is.
async fn look(desk: &Desk) -> Result<bool, Problem> {
    let _turn = desk.ops.turn.lock().await;
    let status = known(desk).await?;
    let read = desk.handle.read(Query::GossipKeys, Consistency::Local).await;
    let keys = match read.map(|outcome| outcome.result) {
        Ok(Ok(state::Response::GossipKeys(keys))) => {
            keys.0.iter().map(|key| key.generation).collect()
        }
        _ => Vec::new(),
    };
    let mut under = under_way(&status, &keys);
    let ended = {
        let mut errands = desk.ops.own.errands();
        for (number, errand) in &errands.under_way {
            under.insert(errand_id(desk, *number), found_errand(desk, errand));
        }
        std::mem::take(&mut errands.ended)
    };
    let (mut rows, _) = desk.ops.board.shown();
    for (number, errand, stand) in ended {
        let id = errand_id(desk, number);
        let row = rows.entry(id.clone()).or_insert_with(|| begun(id, found_errand(desk, &errand)));
        (row.state, row.text, row.ended) = (stand, errand.text(), told_time(SystemTime::now()));
    }
    settle(&mut rows, &under, &status);
    let is_busy = !under.is_empty();
    desk.ops.board.take(forget(rows), |id| match under.contains_key(id) {
        true => String::from("it is under way"),
        false => String::from("it has ended"),
    });
    Ok(is_busy)
}

fn errand_id(office: &Office, number: u64) -> String {
    format!("backup-{}-{number}", process_of(office))
}

fn found_errand(office: &Office, errand: &Errand) -> Found {
    Found { kind: "backup", node: Some(office.id), text: errand.text() }
}

fn begun(id: String, found: Found) -> OpRow {
    let Found { kind, node, text } = found;
    let node = node.map(|node| node.to_string());
    let began = told_time(SystemTime::now());
    OpRow { id, kind, state: Stand::Running, text, node, began, ended: None }
}

fn told_time(time: SystemTime) -> Option<String> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    rfc3339(u64::try_from(since.as_millis()).ok()?)
}

/// What the cluster does by what a node knows, and what the node does for itself.
fn under_way(status: &NodeStatus, keys: &[u64]) -> Under {
    let mut under = Under::new();
    let configuration = &status.configuration;
    let mut add = |kind, node: NodeId, text: String| {
        under.insert(id_of(kind, node), Found { kind, node: Some(node), text });
    };
    let is_settled = |id: NodeId| configuration.is_voter(id);
    // A node that knows of no voters has not read the record yet.
    for member in status.members.iter().filter(|_| !configuration.voters.is_empty()) {
        let (id, name) = (member.node(), &member.name);
        match (is_settled(id), member.vote_wish()) {
            (true, _) if member.is_draining => {
                add("drain", id, format!("{name} votes until another has its seat"));
            }
            (true, VoteWish::Never) => {
                add("demote", id, format!("{name} votes until it can be done without"));
            }
            (false, VoteWish::Votes) if member.is_living() && !member.is_draining => {
                add("promote", id, format!("{name} is to vote once it has caught up"));
            }
            _ => {}
        }
    }
    let rebuilds = status.is_rebuilding.then_some(status.id);
    for id in status.rebuilding.iter().copied().chain(rebuilds) {
        let text = format!("{} lost data, and fetches it from the others", name_of(status, id));
        add("rebuild", id, text);
    }
    if !configuration.outgoing.is_empty() {
        let names = |ids: &mut dyn Iterator<Item = &NodeId>| {
            ids.map(|id| name_of(status, *id)).collect::<Vec<_>>().join(", ")
        };
        let (old, new) =
            (names(&mut configuration.outgoing.iter()), names(&mut configuration.voters.iter()));
        let text = format!("{new} are to vote in the place of {old}");
        under.insert(String::from(VOTERS), Found { kind: VOTERS, node: None, text });
    }
    if let (Some(newest), true) = (keys.iter().max(), keys.len() > 1) {
        let text = format!("gossip changes to key {newest}; {} are in use", keys.len());
        let id = format!("gossip-key-{newest}");
        under.insert(id, Found { kind: "gossip-key", node: None, text });
    }
    under
}

/// Kind and id of a change of voters: there is one at a time.
const VOTERS: &str = "voters";

fn id_of(kind: &str, node: NodeId) -> String {
    format!("{kind}-{node}")
}

/// Brings rows in line with what is under way.
fn settle(rows: &mut BTreeMap<String, OpRow>, under: &Under, status: &NodeStatus) {
    for (id, found) in under {
        match rows.get_mut(id) {
            Some(row) if row.state == Stand::Running => row.text.clone_from(&found.text),
            _ => {
                rows.insert(id.clone(), begun(id.clone(), found.clone()));
            }
        }
    }
    let is_over = |row: &OpRow| row.state == Stand::Running && !under.contains_key(&row.id);
    let over: Vec<String> =
        rows.values().filter(|row| is_over(row)).map(|r| r.id.clone()).collect();
    for id in over {
        let Some(row) = rows.get_mut(&id) else { continue };
        match outcome(row, status) {
            Some((state, text)) => {
                (row.state, row.text, row.ended) = (state, text, told_time(SystemTime::now()));
            }
            // Nobody tells this node any more how it stands.
            None => {
                rows.remove(&id);
            }
        }
    }
}

/// What became of one that is under way no more; `None` when this node cannot tell.
fn outcome(row: &OpRow, status: &NodeStatus) -> Option<(Stand, String)> {
    let node = row.node.as_deref().and_then(NodeId::parse);
    let member = node.and_then(|id| status.members.iter().find(|one| one.node() == id));
    let name = node.map(|id| name_of(status, id)).unwrap_or_default();
    let of_member = |is_so: fn(&Member) -> bool, done: String, undone: String| {
        Some(match member {
            Some(member) if is_so(member) => (Stand::Done, done),
            Some(_) => (Stand::Undone, undone),
            None => (Stand::Undone, String::from("it is no member any more")),
        })
    };
    match row.kind {
        "drain" => of_member(
            |member| member.is_draining,
            format!("{name} does not vote, and nothing is put on it"),
            format!("{name} takes part as before"),
        ),
        "demote" => of_member(
            |member| member.vote_wish() == VoteWish::Never,
            format!("{name} does not vote"),
            format!("{name} may vote as before"),
        ),
        "promote" => of_member(
            |member| member.vote_wish() == VoteWish::Votes && member.is_living(),
            format!("{name} votes"),
            format!("{name} need not vote"),
        ),
        "rebuild" if node == Some(status.id) || status.leader == Some(status.id) => {
            Some((Stand::Done, format!("{name} has everything again")))
        }
        VOTERS => Some((Stand::Done, String::from("the change of voters is done"))),
        "gossip-key" => Some((Stand::Done, String::from("one gossip key is in use"))),
        _ => None,
    }
}

/// Without those that ended first, where more have ended than are kept.
fn forget(mut rows: BTreeMap<String, OpRow>) -> BTreeMap<String, OpRow> {
    let mut ended: Vec<(Option<String>, String)> = (rows.values())
        .filter(|row| row.state != Stand::Running)
        .map(|row| (row.ended.clone(), row.id.clone()))
        .collect();
    ended.sort();
    let over = ended.len().saturating_sub(ENDED_KEPT);
    for (_, id) in &ended[..over] {
        rows.remove(id);
    }
    rows
}

pub(super) async fn list_or_watch(
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let mut params = Params::of(&request)?;
    let following = Following::of(&request, &mut params)?;
    let Some(following) = following else {
        params.finish()?;
        look(&desk).await?;
        let (rows, index) = desk.ops.board.shown();
        let items: Vec<OpRow> = rows.into_values().collect();
        return Ok(Json(json!({ "index": index, "items": items })).into_response());
    };
    let from = params.text("from")?.or_else(|| following.behind.clone());
    params.finish()?;
    let (lines, answered) = Lines::following(&desk, &request, &following);
    tokio::spawn(async move {
        tokio::select! {
            _ = follow(&desk, from, &lines) => {}
            () = lines.closed() => {}
            () = desk.stopping() => {}
        }
    });
    answered.response().await
}

async fn follow(desk: &Desk, from: Option<String>, lines: &Lines) -> Result<(), Gone> {
    match look(desk).await {
        Ok(_) => desk.ops.board.follow(from, lines).await,
        Err(problem) => tell_problem(lines, problem).await,
    }
}

/// The id in the path, before what stands behind it.
fn id_in_path(request: &Request<Body>, behind: &str) -> Result<String, Problem> {
    let path = request.uri().path();
    let id = path.strip_prefix("/v1/ops/").and_then(|rest| rest.strip_suffix(behind));
    let id = params::percent_decode(id.expect("the router matched this path"))?;
    Ok(String::from_utf8_lossy(&id).into_owned())
}

async fn found(desk: &Desk, id: &str) -> Result<OpRow, Problem> {
    look(desk).await?;
    desk.ops.board.shown().0.remove(id).ok_or_else(|| {
        let detail = format!("this node knows of no operation {id}, under way or lately ended");
        Problem::not_found(detail)
            .hint("`muslin op ls` lists those it knows; backups are known where they are made")
    })
}

pub(super) async fn one(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let id = id_in_path(&request, "")?;
    Ok(Json(found(&desk, &id).await?).into_response())
}

/// Takes back what asked for it.
pub(super) async fn cancel(desk: Arc<Desk>, request: Request<Body>) -> Result<Response, Problem> {
    Params::of(&request)?.finish()?;
    let (asker, id) = (Asker::of(&desk, &request), id_in_path(&request, ":cancel")?);
    let row = found(&desk, &id).await?;
    let conflict = |detail: String, hint: &str| {
        Err(Problem::new(StatusCode::CONFLICT, "conflict", detail).hint(hint))
    };
    if row.state != Stand::Running {
        let detail = format!("{} has ended: {}; nothing happened", row.id, row.text);
        return conflict(detail, "ask for the contrary in its own right");
    }
    let change = match row.kind {
        "drain" => MembershipChange::Resume,
        "promote" | "demote" => MembershipChange::VoteAuto,
        kind => {
            let detail = format!("{kind} goes on until it is done; nothing happened");
            return conflict(detail, "drains and wishes for votes can be cancelled");
        }
    };
    let node = row.node.as_deref().and_then(NodeId::parse);
    let node = node.expect("a drain and a wish are of a node");
    write(&desk, asker.wants(change(Whom { id: node.0 }))).await?;
    look(&desk).await?;
    let row = desk.ops.board.shown().0.remove(&row.id).unwrap_or(row);
    Ok(Json(row).into_response())
}

/// What is answered to a call that began something: 202 and where to look, if that is under way.
pub(super) async fn begun_by(
    desk: &Desk,
    (id, mut body): (Option<String>, Value),
    headers: impl IntoResponseParts,
) -> Result<Response, Problem> {
    let Some(id) = id else { return Ok((headers, Json(body)).into_response()) };
    look(desk).await?;
    let is_running = |row: &OpRow| row.state == Stand::Running;
    if !desk.ops.board.shown().0.get(&id).is_some_and(is_running) {
        return Ok((headers, Json(body)).into_response());
    }
    let location = HeaderValue::from_str(&format!("/v1/ops/{id}"));
    let location = location.expect("an id is letters, digits and dashes");
    body["op"] = json!(id);
    Ok((StatusCode::ACCEPTED, headers, [(LOCATION, location)], Json(body)).into_response())
}

/// Routes whose answer may be 202.
pub(super) const BEGIN: [&str; 4] = [
    "/v1/nodes/{node}:drain",
    "/v1/nodes/{node}:promote",
    "/v1/nodes/{node}:demote",
    "/v1/gossip-keys:rotate",
];

/// The id of what a change of a member begins.
pub(super) fn id_of_change(change: &MembershipChange) -> Option<String> {
    let (kind, whom) = match change {
        MembershipChange::Drain(whom) => ("drain", whom),
        MembershipChange::Promote(whom) => ("promote", whom),
        MembershipChange::Demote(whom) => ("demote", whom),
        _ => return None,
    };
    Some(id_of(kind, NodeId(whom.id)))
}

#[cfg(test)]
mod tests;
