//! What `GET /v1/status` and `GET /v1/nodes` say, as a pure function of what the node knows.

use jiff::Timestamp;
use muslin_core::base::{Epoch, Index, NodeId, Now};
use muslin_core::groups::GroupCounts;
use muslin_core::node::{NodeStatus, role_name};
use muslin_core::state::{Member, MemberState, NodeLoad, VoteWish};
use muslin_core::swim::{Liveness, ViewEntry};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// What does not change while a node runs.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// Label for people.
    pub name: String,
    /// The cluster's label.
    pub cluster_name: String,
    /// Where peers and clients reach it, `ip:port`.
    pub addr: String,
    /// Where plain etcd clients reach it, `ip:port`; empty when nowhere.
    pub etcd: String,
    /// Version of the program.
    pub version: String,
}

/// Whether a linearizable read was answered just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quorum {
    /// It was: a quorum of voters works.
    Answers,
    /// It was not, in the time given.
    Silent,
}

/// How the cluster is, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// All voters answer, and one may be lost (or there is only one).
    Healthy,
    /// It works, and should be looked after.
    Degraded,
    /// Writes and linearizable reads do not work.
    Unavailable,
}

/// The answer of `GET /v1/status`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Status {
    /// In one word.
    pub health: Health,
    /// In one sentence.
    pub sentence: String,
    /// How many more voters may be lost before writes stop.
    pub can_lose: usize,
    /// Which cluster.
    pub cluster: ClusterRow,
    /// The node that answers.
    pub node: SelfRow,
    /// Who leads, as it knows.
    pub leader: Option<NodeName>,
    /// Raft's term.
    pub term: u64,
    /// Known to be committed.
    pub commit: u64,
    /// Applied on the answering node.
    pub applied: u64,
    /// Key-value revision there.
    pub revision: u64,
    /// Earliest revision that can be read.
    pub compacted: u64,
    /// Keys present.
    pub keys: u64,
    /// Approximate size of the key-value state, in bytes.
    pub state_bytes: u64,
    /// How much that may be: above it nothing is added.
    pub quota_bytes: u64,
    /// The groups of which the answering node keeps replicas, as far as it knows.
    pub groups: GroupsRow,
    /// How many voters answer.
    pub voters: VoterCount,
    /// Every node, in id order.
    pub nodes: Vec<NodeRow>,
}

/// Names a cluster.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ClusterRow {
    /// 32 hexadecimal digits.
    pub id: String,
    /// Label for people.
    pub name: String,
    /// Number of its membership history.
    pub epoch: u64,
}

/// Names a node.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct NodeName {
    /// 16 hexadecimal digits.
    pub id: String,
    /// Label for people.
    pub name: String,
}

/// The node that answers.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SelfRow {
    /// 16 hexadecimal digits.
    pub id: String,
    /// Label for people.
    pub name: String,
    /// `leader`, `follower`, `candidate` or `pre-candidate`.
    pub role: String,
    /// Whether it votes.
    pub voter: bool,
    /// Version of the program.
    pub version: String,
    /// Where peers and clients reach it.
    pub addr: String,
    /// Where plain etcd clients reach it; empty when nowhere.
    pub etcd: String,
    /// Since the process started.
    pub uptime_ms: u64,
}

/// Voters that answer, of how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct VoterCount {
    /// Alive in the answering node's view.
    pub answering: usize,
    /// In the configuration in force.
    pub total: usize,
}

/// The groups besides the control group, on one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct GroupsRow {
    /// It keeps replicas of so many.
    pub replicas: usize,
    /// It leads these.
    pub led: usize,
    /// These have no leader who lives and has a quorum.
    pub leaderless: usize,
    /// A replica of these fetches what its disk has lost.
    pub rebuilding: usize,
    /// Of the leaderless: their only replica is here and has lost its data.
    pub lost: usize,
}

impl GroupsRow {
    fn of(counts: &GroupCounts) -> GroupsRow {
        let GroupCounts { replicas, led, leaderless, rebuilding, lost } = *counts;
        GroupsRow { replicas, led, leaderless, rebuilding, lost }
    }
}

/// One node, as the answering node sees it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct NodeRow {
    /// 16 hexadecimal digits.
    pub id: String,
    /// Label for people.
    pub name: String,
    /// Where peers and clients reach it.
    pub addr: String,
    /// Where plain etcd clients reach it; empty when nowhere.
    pub etcd: String,
    /// Its duties.
    pub roles: Vec<String>,
    /// `alive`, `suspect`, `down`, `left` or `unknown`: the view's opinion.
    pub state: &'static str,
    /// How long the view has had this opinion; `null` when it has none.
    pub since_ms: Option<u64>,
    /// `admitted`, `draining`, `down` or `left`, by the record; `none` when it is no member.
    pub standing: &'static str,
    /// `leader`, `voter`, `learner` or `none`: its part in the control group.
    pub role: &'static str,
    /// Of which life the opinion is.
    pub incarnation: u64,
    /// Since it was last heard; `null` when it never was.
    pub heard_ms: Option<u64>,
    /// How far its log is known to match; `null` unless the answering node leads, or feeds it.
    pub matched: Option<u64>,
    /// The voter that tells it the record, if it has no part in the control group; `null` where
    /// the answering node does not know.
    pub fed_by: Option<NodeName>,
    /// Version of the program; empty while unknown.
    pub version: String,
    /// Words of the operator's own.
    pub labels: BTreeMap<String, String>,
    /// What it shares its fate with; empty when unknown.
    pub zone: String,
    /// The epoch it belongs to; 0 when it is no member.
    pub epoch: u64,
    /// `auto`, `votes` or `never`: whether an operator wants it to vote.
    pub vote: &'static str,
    /// Whose token or word let it in; empty for a founder.
    pub admitted_by: String,
    /// When, RFC 3339; `null` for a founder.
    pub admitted: Option<String>,
    /// How busy it is, by what it last told the record; `null` while it has told nothing.
    pub load: Option<LoadRow>,
}

/// How busy a node is.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LoadRow {
    /// Of its processors, in thousandths.
    pub cpu_permille: u32,
    /// Of its memory, in thousandths.
    pub memory_permille: u32,
    /// What it runs: replicas of groups, and whatever else is placed on nodes.
    pub parts: u32,
    /// When it said so, RFC 3339.
    pub told: String,
}

impl Status {
    /// Judges what a node knows.
    pub fn of(status: &NodeStatus, facts: &NodeFacts, quorum: Quorum) -> Status {
        let verdict = Verdict::of(status, quorum);
        Status {
            health: verdict.health,
            sentence: verdict.sentence,
            can_lose: verdict.can_lose,
            cluster: ClusterRow {
                id: status.cluster.to_string(),
                name: facts.cluster_name.clone(),
                epoch: status.epoch.0,
            },
            node: SelfRow {
                id: status.id.to_string(),
                name: facts.name.clone(),
                role: role_name(status.role),
                voter: status.voter,
                version: facts.version.clone(),
                addr: facts.addr.clone(),
                etcd: facts.etcd.clone(),
                uptime_ms: millis(status.uptime),
            },
            leader: status
                .leader
                .map(|id| NodeName { id: id.to_string(), name: name_of(status, id) }),
            term: status.term.0,
            commit: status.commit.0,
            applied: status.applied.0,
            revision: status.revision.0,
            compacted: status.compacted.0,
            keys: status.keys,
            state_bytes: status.state_bytes,
            quota_bytes: status.quota_bytes,
            groups: GroupsRow::of(&status.groups),
            voters: verdict.voters,
            nodes: node_rows(status),
        }
    }
}

impl Status {
    /// Says of nodes that they run more than once: that is worse than whatever else is wrong, for
    /// as long as the cluster works.
    pub(super) fn warn_of_copies(
        &mut self,
        known: &NodeStatus,
        copied: &[(NodeId, [SocketAddr; 2])],
    ) {
        let Some((node, [heard, other])) = copied.first() else { return };
        let name = name_of(known, *node);
        let what = format!("{name} runs more than once, at {heard} and {other}: stop one");
        if self.health == Health::Unavailable {
            self.sentence += &format!("; {what}");
        } else {
            self.health = Health::Degraded;
            self.sentence = format!("Degraded - {what}; {}", can_lose_words(self.can_lose));
        }
    }
}

/// The name of a node: by the record, else by what it says itself, else its id.
pub fn name_of(status: &NodeStatus, id: NodeId) -> String {
    let recorded = status.members.iter().find(|member| member.id == id.0).map(|m| &m.name);
    let told = || status.view.iter().find(|entry| entry.node == id).map(|e| &e.metadata.name);
    recorded.or_else(told).filter(|name| !name.is_empty()).cloned().unwrap_or(id.to_string())
}

/// Every node of the record or of the view, in id order.
pub fn node_rows(status: &NodeStatus) -> Vec<NodeRow> {
    let members: BTreeMap<NodeId, &Member> =
        status.members.iter().map(|member| (NodeId(member.id), member)).collect();
    let view: BTreeMap<NodeId, &ViewEntry> =
        status.view.iter().map(|entry| (entry.node, entry)).collect();
    let ids: BTreeSet<NodeId> = members.keys().chain(view.keys()).copied().collect();
    ids.into_iter()
        .map(|id| node_row(status, id, members.get(&id).copied(), view.get(&id).copied()))
        .collect()
}

fn node_row(
    status: &NodeStatus,
    id: NodeId,
    member: Option<&Member>,
    seen: Option<&ViewEntry>,
) -> NodeRow {
    let now = Now::START + status.uptime;
    // The view knows a moved node's address before the record does.
    let addr = match (seen, member) {
        (Some(entry), _) => entry.address.to_string(),
        (None, Some(member)) => member.address.clone(),
        (None, None) => String::new(),
    };
    let etcd = match (seen, member) {
        (Some(entry), _) => entry.metadata.etcd_address.clone(),
        (None, Some(member)) => member.etcd_address.clone(),
        (None, None) => String::new(),
    };
    let roles = member.map(|m| &m.roles).or(seen.map(|entry| &entry.metadata.roles));
    NodeRow {
        id: id.to_string(),
        name: name_of(status, id),
        addr,
        etcd,
        roles: roles.cloned().unwrap_or_default(),
        state: seen.map_or("unknown", |entry| liveness_name(entry.state)),
        since_ms: seen.map(|entry| millis(now.since(entry.since))),
        standing: member.map_or("none", standing_name),
        role: part_of(status, id),
        incarnation: seen.map_or(0, |entry| entry.incarnation.0),
        heard_ms: heard_ms(status, id, seen, now),
        matched: matched(status, id).map(|index| index.0),
        fed_by: feeder(status, id)
            .map(|voter| NodeName { id: voter.to_string(), name: name_of(status, voter) }),
        version: seen.map_or(String::new(), |entry| entry.metadata.version.clone()),
        labels: member.map(|one| one.labels.clone()).unwrap_or_default(),
        zone: member.map(|one| one.zone.clone()).unwrap_or_default(),
        epoch: member.map_or(0, |one| one.epoch().0),
        vote: member.map_or("auto", vote_name),
        admitted_by: member.map(|one| one.admitted_by.clone()).unwrap_or_default(),
        admitted: member.and_then(|one| rfc3339(one.admitted_unix_ms)),
        load: member.and_then(|one| one.load.as_ref()).map(load_row),
    }
}

/// What a member is to the record, in one word.
pub fn standing_name(member: &Member) -> &'static str {
    match member.state() {
        MemberState::Admitted => "admitted",
        MemberState::Draining => "draining",
        MemberState::Down => "down",
        MemberState::Left => "left",
    }
}

/// Whether a member is to vote, in a word.
pub(crate) fn vote_name(member: &Member) -> &'static str {
    match member.vote_wish() {
        VoteWish::Auto => "auto",
        VoteWish::Votes => "votes",
        VoteWish::Never => "never",
    }
}

fn load_row(load: &NodeLoad) -> LoadRow {
    LoadRow {
        cpu_permille: load.cpu_permille,
        memory_permille: load.memory_permille,
        parts: load.parts,
        told: rfc3339(load.unix_ms).unwrap_or_default(),
    }
}

/// A moment as people write it; `None` for zero, which stands for unknown.
pub fn rfc3339(unix_ms: u64) -> Option<String> {
    let millis = i64::try_from(unix_ms).ok().filter(|millis| *millis != 0)?;
    Timestamp::from_millisecond(millis).ok().map(|time| time.to_string())
}

fn heard_ms(status: &NodeStatus, id: NodeId, seen: Option<&ViewEntry>, now: Now) -> Option<u64> {
    if id == status.id { Some(0) } else { seen.map(|entry| millis(now.since(entry.heard))) }
}

/// Who tells a node the record, as far as the answering one knows: it is fed itself, feeds it, or
/// leads.
fn feeder(status: &NodeStatus, id: NodeId) -> Option<NodeId> {
    match status.fed_by {
        Some(fed) if id == status.id => Some(fed.voter),
        _ => status.fed.iter().find(|fed| fed.node == id).map(|fed| fed.by),
    }
}

fn matched(status: &NodeStatus, id: NodeId) -> Option<Index> {
    if let Some(fed) = status.fed.iter().find(|fed| fed.node == id) {
        return Some(fed.upto);
    }
    if status.leader != Some(status.id) {
        None
    } else if id == status.id {
        Some(status.last_index)
    } else {
        status.progress.iter().find(|(peer, _)| *peer == id).map(|(_, index)| *index)
    }
}

fn part_of(status: &NodeStatus, id: NodeId) -> &'static str {
    if status.leader == Some(id) {
        "leader"
    } else if status.configuration.is_voter(id) {
        "voter"
    } else if status.configuration.learners.contains(&id) {
        "learner"
    } else {
        "none"
    }
}

pub(super) fn liveness_name(state: Liveness) -> &'static str {
    match state {
        Liveness::Alive => "alive",
        Liveness::Suspect => "suspect",
        Liveness::Down => "down",
        Liveness::Left => "left",
    }
}

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

struct Verdict {
    health: Health,
    sentence: String,
    can_lose: usize,
    voters: VoterCount,
}

impl Verdict {
    fn of(status: &NodeStatus, quorum: Quorum) -> Verdict {
        let missing = missing_voters(status);
        let voters = &status.configuration;
        let all: BTreeSet<NodeId> = voters.voters.union(&voters.outgoing).copied().collect();
        let count = VoterCount { answering: all.len() - missing.len(), total: all.len() };
        let useless = useless_voters(status, &missing);
        let can_lose = match quorum {
            Quorum::Silent => 0,
            Quorum::Answers if voters.is_joint() => {
                spare(&voters.voters, &useless).min(spare(&voters.outgoing, &useless))
            }
            Quorum::Answers => spare(&voters.voters, &useless),
        };
        let disks = disk_words(status);
        let groups = group_words(&status.groups);
        let (health, sentence) = match (quorum, status.left_behind_by) {
            (Quorum::Answers, Some(later)) => {
                let words = parted_words(status.epoch, later);
                (Health::Degraded, format!("Degraded - {words}; {}", can_lose_words(can_lose)))
            }
            (quorum, _) => match quorum {
                Quorum::Answers if !disks.is_empty() => {
                    (Health::Degraded, format!("{disks}; {groups}{}", can_lose_words(can_lose)))
                }
                Quorum::Silent => (Health::Unavailable, unavailable(status, count)),
                Quorum::Answers if missing.is_empty() && !groups.is_empty() => {
                    let sentence = format!("Degraded - {groups}{}", can_lose_words(can_lose));
                    (Health::Degraded, sentence)
                }
                Quorum::Answers if count.total == 1 => (Health::Healthy, single(status)),
                Quorum::Answers if missing.is_empty() && can_lose > 0 => {
                    (Health::Healthy, format!("Healthy - {}", can_lose_words(can_lose)))
                }
                Quorum::Answers if missing.is_empty() && voters.is_joint() => {
                    let sentence = "Degraded - the voters are being changed; can lose 0 more nodes";
                    (Health::Degraded, String::from(sentence))
                }
                Quorum::Answers if missing.is_empty() => {
                    let sentence = format!(
                        "Degraded - {} voters can lose 0 more nodes; add another",
                        count.total
                    );
                    (Health::Degraded, sentence)
                }
                Quorum::Answers => {
                    let who: Vec<String> = missing
                        .iter()
                        .map(|(id, state)| missing_words(&name_of(status, *id), state))
                        .collect();
                    let who = who.join(", ");
                    let sentence =
                        format!("Degraded - {who}; {groups}{}", can_lose_words(can_lose));
                    (Health::Degraded, sentence)
                }
            },
        };
        Verdict { health, sentence, can_lose, voters: count }
    }
}

/// That the cluster is in two parts, of which this node is in the one that was left behind.
fn parted_words(epoch: Epoch, later: Epoch) -> String {
    format!(
        "others of this cluster go on in epoch {later} without this node, which is in epoch \
         {epoch}: decide which part is right and stop the other"
    )
}

/// Of the quota, in percent, from where on people are told that it will be reached.
const QUOTA_WARNING: u64 = 80;

/// What is wrong with how much there is; empty when nothing is.
fn quota_words(status: &NodeStatus) -> String {
    let quota = status.quota_bytes.max(1);
    match u128::from(status.state_bytes) * 100 / u128::from(quota) {
        100.. => format!(
            "Read-only: the keys take all of the {quota} bytes that they may: delete some, or \
             raise quota_bytes"
        ),
        percent if percent >= u128::from(QUOTA_WARNING) => {
            format!("Degraded - the keys take {percent} % of the {quota} bytes that they may")
        }
        _ => String::new(),
    }
}

/// What is wrong with disks and room, as far as this node knows; empty when nothing is.
fn disk_words(status: &NodeStatus) -> String {
    let names = |ids: &[NodeId]| {
        let names: Vec<String> = ids.iter().map(|id| name_of(status, *id)).collect();
        names.join(", ")
    };
    let rebuilding = rebuilding(status);
    if !status.full.is_empty() {
        // One full disk of a follower's stops nobody.
        let voters = &status.configuration.voters;
        let spare = voters.len().saturating_sub(voters.len() / 2 + 1);
        let leads = status.leader.is_some_and(|leader| status.full.contains(&leader));
        let mode = if leads || status.full.len() > spare { "Read-only:" } else { "Degraded -" };
        let (noun, verb) = match status.full.len() {
            1 => ("disk", "is"),
            _ => ("disks", "are"),
        };
        return format!("{mode} the {noun} of {} {verb} full", names(&status.full));
    }
    if rebuilding.is_empty() {
        return quota_words(status);
    }
    let (verb, whose) =
        if rebuilding.len() == 1 { ("is", "its log") } else { ("are", "their logs") };
    format!("Degraded - {} {verb} rebuilding: refetching {whose}", names(&rebuilding))
}

/// Who gives no votes since its disk has lost what it promised: by what the leader hears, and by
/// what nodes say of themselves.
fn rebuilding(status: &NodeStatus) -> Vec<NodeId> {
    let say_so = status.view.iter().filter(|entry| {
        entry.state == Liveness::Alive && entry.node != status.id && entry.metadata.is_rebuilding
    });
    let own = status.is_rebuilding.then_some(status.id);
    let said = say_so.map(|entry| entry.node).chain(own);
    let all: BTreeSet<NodeId> = status.rebuilding.iter().copied().chain(said).collect();
    all.into_iter().collect()
}

/// The worst that is wrong with the groups of this node, with what parts it from the words behind
/// it; empty when nothing is.
fn group_words(groups: &GroupCounts) -> String {
    let (count, one, many) = match *groups {
        GroupCounts { lost: lost @ 1.., .. } => (lost, "has lost its data", "have lost their data"),
        GroupCounts { leaderless: count @ 1.., .. } => (count, "has no leader", "have no leader"),
        GroupCounts { rebuilding: count @ 1.., .. } => {
            (count, "rebuilds a replica", "rebuild a replica")
        }
        _ => return String::new(),
    };
    let what = if count == 1 { one } else { many };
    format!("{count} of {} groups here {what}; ", groups.replicas)
}

/// Voters that are not alive in the view, or silent to the leader, and what they are.
fn missing_voters(status: &NodeStatus) -> BTreeMap<NodeId, &'static str> {
    let configuration = &status.configuration;
    configuration
        .voters
        .union(&configuration.outgoing)
        .filter(|id| **id != status.id)
        .filter_map(|id| {
            let entry = status.view.iter().find(|entry| entry.node == *id);
            match entry.map(|entry| entry.state) {
                Some(Liveness::Alive) if status.silent.contains(id) => Some((*id, "silent")),
                Some(Liveness::Alive) => None,
                Some(state) => Some((*id, liveness_name(state))),
                None => Some((*id, "unknown")),
            }
        })
        .collect()
}

/// Who helps no majority along: who is missing, has no room to write, or gives no votes.
fn useless_voters(
    status: &NodeStatus,
    missing: &BTreeMap<NodeId, &'static str>,
) -> BTreeSet<NodeId> {
    let full = status.full.iter().copied();
    missing.keys().copied().chain(full).chain(rebuilding(status)).collect()
}

/// How many more of these voters may go before those left are no majority.
fn spare(voters: &BTreeSet<NodeId>, useless: &BTreeSet<NodeId>) -> usize {
    voters.difference(useless).count().saturating_sub(voters.len() / 2 + 1)
}

fn missing_words(name: &str, state: &str) -> String {
    let verb = if state == liveness_name(Liveness::Left) { "has" } else { "is" };
    format!("{name} {verb} {state}")
}

fn can_lose_words(nodes: usize) -> String {
    format!("can lose {nodes} more {}", if nodes == 1 { "node" } else { "nodes" })
}

fn single(status: &NodeStatus) -> String {
    match status.configuration.learners.len() {
        0 => String::from("Healthy - single node, cannot lose any"),
        1 => String::from("Healthy - one voter, cannot lose any; 1 node is catching up"),
        learners => {
            format!("Healthy - one voter, cannot lose any; {learners} nodes are catching up")
        }
    }
}

fn unavailable(status: &NodeStatus, count: VoterCount) -> String {
    const LOCAL: &str = "reads with consistency=local still work";
    let VoterCount { answering, total } = count;
    let needed = total / 2 + 1;
    let missing = missing_voters(status);
    let mut lost = rebuilding(status);
    lost.retain(|id| status.configuration.is_voter(*id) && !missing.contains_key(id));
    let names: Vec<String> = lost.iter().map(|id| name_of(status, *id)).collect();
    let can_vote = answering.saturating_sub(lost.len());
    if total > 0 && !lost.is_empty() && can_vote < needed {
        let verb = if lost.len() == 1 { "is" } else { "are" };
        let names = names.join(", ");
        let are = if needed == 1 { "is" } else { "are" };
        format!(
            "Unavailable - {names} {verb} rebuilding and cannot vote: {can_vote} of {total} voters \
             can, {needed} {are} needed; {LOCAL}"
        )
    } else if total == 0 {
        format!("Unavailable - this node has not heard of any voter yet; {LOCAL}")
    } else if answering < needed {
        let verb = if answering == 1 { "answers" } else { "answer" };
        let are = if needed == 1 { "is" } else { "are" };
        format!(
            "Unavailable - {answering} of {total} voters {verb}, {needed} {are} needed; {LOCAL}"
        )
    } else if status.leader.is_none() && !status.full.is_empty() {
        let names: Vec<String> = status.full.iter().map(|id| name_of(status, *id)).collect();
        let names = names.join(", ");
        format!("Unavailable - the disk of {names} is full, and no leader is elected; {LOCAL}")
    } else if status.leader.is_none() {
        format!(
            "Unavailable - no leader is elected yet, {answering} of {total} voters answer; {LOCAL}"
        )
    } else {
        format!("Unavailable - the leader does not answer in time; {LOCAL}")
    }
}

#[cfg(test)]
pub(super) mod tests;
