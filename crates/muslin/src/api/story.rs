//! Events in words.

use super::desk::Desk;
use super::status::{liveness_name, name_of};
use crate::driver::EventRecord;
use muslin_core::base::NodeId;
use muslin_core::groups;
use muslin_core::node::{Event, MemberChange, NodeStatus};
use muslin_core::raft::{self, Configuration, Drive, Role};
use muslin_core::state::{HoldState, Member, Standing, TokenFault, UnheldFor};
use muslin_core::swim;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;

/// Most names kept by one reader of events; above, ids are told.
const NAMES_MAX: usize = 10_000;

/// Names of nodes, as far as they are known.
#[derive(Default)]
pub(super) struct Names {
    known: BTreeMap<NodeId, String>,
}

impl Names {
    /// Takes the names of all nodes.
    pub(super) fn learn(&mut self, status: &NodeStatus) {
        let members = status.members.iter().map(|member| NodeId(member.id));
        let seen = status.view.iter().map(|entry| entry.node);
        for id in members.chain(seen).take(NAMES_MAX) {
            self.known.insert(id, name_of(status, id));
        }
    }

    /// Whether the nodes of an event have names here.
    pub(super) fn knows(&self, event: &Event) -> bool {
        !self.known.is_empty() && about(event).is_none_or(|id| self.known.contains_key(&id))
    }

    fn of(&self, id: NodeId) -> String {
        self.known.get(&id).cloned().unwrap_or(id.to_string())
    }

    fn list<'a>(&self, ids: impl IntoIterator<Item = &'a NodeId>) -> String {
        let names: Vec<String> = ids.into_iter().map(|id| self.of(*id)).collect();
        if names.is_empty() { String::from("none") } else { names.join(", ") }
    }
}

/// An event as a person reads it.
pub(super) struct Story {
    /// For programs to match on.
    pub(super) kind: &'static str,
    pub(super) text: String,
    /// Whom it is about.
    pub(super) node: Option<NodeId>,
    pub(super) term: Option<u64>,
}

impl Story {
    fn new(kind: &'static str, text: impl Into<String>) -> Story {
        Story { kind, text: text.into(), node: None, term: None }
    }
}

/// Tells what `own` recorded.
pub(super) fn of_record(record: &EventRecord, own: NodeId, names: &Names) -> Story {
    let mut story = of(&record.event, own, names);
    if record.more > 0 {
        story.text += &format!(", and {} groups more", record.more);
    }
    story
}

/// Tells an event that `own` reported.
pub(super) fn of(event: &Event, own: NodeId, names: &Names) -> Story {
    let story = match event {
        Event::Raft { event, .. } => of_raft(event, own, names),
        Event::Groups(event) => of_groups(event, own, names),
        Event::Swim(event) => of_swim(event, names),
        Event::Members { change, .. } => of_member(change, names),
        Event::FeedBegun { by } => {
            let text = format!("is told the record by {}", names.of(*by));
            Story { node: Some(own), ..Story::new("feed-begun", text) }
        }
        Event::FeedRefused { by, why } => {
            let text = format!("is not told the record by {}: {}", names.of(*by), why.words());
            Story { node: Some(own), ..Story::new("feed-refused", text) }
        }
        Event::LeaseExpired { lease } => {
            Story::new("lease-expired", format!("lease {lease:016x} ran out"))
        }
        Event::SnapshotTaken { index, bytes } => {
            let text = format!("took a snapshot of the state at {index}, {bytes} bytes");
            Story::new("snapshot-taken", text)
        }
        Event::DiskDamaged { what } => Story::new("disk-damaged", what.clone()),
        Event::Copied { node, what } => {
            let text = format!("{} runs more than once: {what}", names.of(*node));
            Story { node: Some(*node), ..Story::new("node-copied", text) }
        }
        Event::BackedUp { revision, bytes, path } => {
            let text = format!("wrote a backup of revision {revision}, {bytes} bytes, to {path}");
            Story { node: Some(own), ..Story::new("backed-up", text) }
        }
        Event::BackupFailed { what } => {
            let text = format!("wrote no backup: {what}");
            Story { node: Some(own), ..Story::new("backup-failed", text) }
        }
        Event::BadMessage { why } => {
            Story::new("message-dropped", format!("dropped a peer's message: {why}"))
        }
    };
    Story { node: story.node.or(about(event)), ..story }
}

/// Writes every event to the log of the process, in words. Ends when the node's handle does.
pub(super) async fn log(desk: Arc<Desk>) {
    let mut events = desk.handle.events();
    let mut names = Names::default();
    loop {
        match events.recv().await {
            Ok(record) => {
                if !names.knows(&record.event)
                    && let Ok(status) = desk.handle.status().await
                {
                    names.learn(&status);
                }
                let story = of_record(&record, desk.id, &names);
                desk.chronicle.take(record.time, &story);
                tracing::info!(kind = story.kind, "{}", story.text);
            }
            Err(RecvError::Lagged(missed)) => tracing::info!(missed, "events came too fast to log"),
            Err(RecvError::Closed) => return,
        }
    }
}

fn of_groups(event: &groups::Event, own: NodeId, names: &Names) -> Story {
    match event {
        groups::Event::Raft { group, event: raft::Event::RoleChanged { leader, term, .. } } => {
            let leader = leader.map_or(String::from("nobody"), |leader| names.of(leader));
            let text = format!("{leader} leads group {group} in term {term}");
            Story { term: Some(term.0), ..Story::new("group-leader-changed", text) }
        }
        groups::Event::Raft { group, event: raft::Event::RebuildImpossible } => {
            let text = format!(
                "group {group}: the disk has lost what was acknowledged, and no other node has a \
                 replica: restore the data directory from a backup, or take the group out"
            );
            Story::new("rebuild-impossible", text)
        }
        groups::Event::Raft { group, event } => {
            let story = of_raft(event, own, names);
            Story { text: format!("group {group}: {}", story.text), ..story }
        }
        groups::Event::PeerAlive { node, is_alive } => {
            let (kind, said) = match is_alive {
                true => ("peer-heard", "is heard again"),
                false => ("peer-silent", "is silent: groups do without it"),
            };
            Story { node: Some(*node), ..Story::new(kind, format!("{} {said}", names.of(*node))) }
        }
        groups::Event::Driven { drive: Drive::Ticking } => {
            let text = "the control group has had no leader for long: groups elect for themselves";
            Story::new("groups-on-their-own", text)
        }
        groups::Event::Driven { drive: Drive::Passive } => {
            Story::new("groups-assigned", "leaders of groups are named by the record again")
        }
        groups::Event::CannotRebuild { group, other } => {
            let text = format!(
                "group {group}: the disk has lost what was acknowledged, and {} alone is no \
                 majority that could do without this replica: the group waits; restore the data \
                 directory from a backup, or take the group out",
                names.of(*other)
            );
            Story::new("rebuild-impossible", text)
        }
        groups::Event::UnknownKind { group } => {
            let text = format!("group {group} is of a kind this node does not know: it keeps none");
            Story::new("group-unknown-kind", text)
        }
    }
}

fn of_raft(event: &raft::Event, own: NodeId, names: &Names) -> Story {
    match event {
        raft::Event::RoleChanged { role, term, leader, why } => {
            let (kind, text) = match (leader, role) {
                (Some(leader), _) => {
                    ("leader-changed", format!("{} leads in term {term}", names.of(*leader)))
                }
                (None, Role::Candidate | Role::PreCandidate) => {
                    ("election", format!("{} asks for votes in term {term}: {why}", names.of(own)))
                }
                (None, _) => ("leader-lost", format!("no leader is known in term {term}: {why}")),
            };
            Story {
                node: Some(leader.unwrap_or(own)),
                term: Some(term.0),
                ..Story::new(kind, text)
            }
        }
        raft::Event::ConfigurationChanged { configuration, .. } => {
            Story::new("configuration-changed", configuration_text(configuration, names))
        }
        raft::Event::ChangeRefused { why } => {
            Story::new("change-refused", format!("a change of voters was refused: {why}"))
        }
        raft::Event::Truncated { from } => {
            let text = format!("dropped uncommitted entries from {from} on, the leader has others");
            Story::new("log-truncated", text)
        }
        raft::Event::SnapshotInstalled { last } => {
            Story::new("snapshot-installed", format!("took the leader's state up to {last}"))
        }
        raft::Event::SnapshotSent { to, last } => {
            let text = format!("sends the state up to {last} to {}", names.of(*to));
            Story::new("snapshot-sent", text)
        }
        raft::Event::SnapshotRefused { from, why } => {
            Story::new("snapshot-refused", format!("the state {} sent: {why}", names.of(*from)))
        }
        raft::Event::Compacted { upto } => {
            Story::new("log-compacted", format!("dropped the log up to {upto}"))
        }
        raft::Event::DataLost { .. }
        | raft::Event::RebuildBegun { .. }
        | raft::Event::Rebuilt { .. }
        | raft::Event::RebuildImpossible
        | raft::Event::Diverged { .. }
        | raft::Event::PeerRebuilds { .. }
        | raft::Event::DiskRoomChanged { .. }
        | raft::Event::LeadershipShed { .. } => of_disks(event, names),
    }
}

/// What disks did to a group, and the group about it.
fn of_disks(event: &raft::Event, names: &Names) -> Story {
    match event {
        raft::Event::DataLost { acknowledged, lost_after } => {
            let text = format!(
                "the disk has lost entries {} to {acknowledged}, which were acknowledged",
                lost_after.next()
            );
            Story::new("data-lost", text)
        }
        raft::Event::RebuildBegun { why } => {
            let text = format!("gives no votes until the others do without it and rebuilds: {why}");
            Story::new("rebuild-begun", text)
        }
        raft::Event::Rebuilt { commit } => {
            Story::new("rebuilt", format!("has everything up to {commit} again and takes part"))
        }
        raft::Event::RebuildImpossible => {
            let text = "the disk has lost what was acknowledged, and nobody else has it: stops";
            Story::new("rebuild-impossible", text.to_string())
        }
        raft::Event::Diverged { at } => {
            let text =
                format!("what is committed here differs from the leader's from {at} on: stops");
            Story::new("diverged", text)
        }
        raft::Event::PeerRebuilds { peer } => {
            let text = format!("{} lost data and rebuilds: its vote is taken", names.of(*peer));
            Story { node: Some(*peer), ..Story::new("peer-rebuilds", text) }
        }
        raft::Event::DiskRoomChanged { of, room } => {
            let text = match room {
                raft::DiskRoom::Full => format!("the disk of {} is full", names.of(*of)),
                raft::DiskRoom::Room => format!("the disk of {} has room again", names.of(*of)),
            };
            Story { node: Some(*of), ..Story::new("disk-room-changed", text) }
        }
        raft::Event::LeadershipShed { to, why } => {
            let text = format!("hands leadership to {}: {why}", names.of(*to));
            Story { node: Some(*to), ..Story::new("leadership-shed", text) }
        }
        other => Story::new("consensus", format!("{other:?}")),
    }
}

fn configuration_text(configuration: &Configuration, names: &Names) -> String {
    let Configuration { voters, outgoing, learners } = configuration;
    let mut text = format!("voters: {}", names.list(voters));
    if !outgoing.is_empty() {
        text += &format!("; until the change is done also: {}", names.list(outgoing));
    }
    if !learners.is_empty() {
        text += &format!("; learners: {}", names.list(learners));
    }
    text
}

fn of_swim(event: &swim::Event, names: &Names) -> Story {
    let name = |id: &NodeId| names.of(*id);
    match event {
        swim::Event::Alive { node, refuted: true, .. } => {
            Story::new("node-alive", format!("{} is alive after all", name(node)))
        }
        swim::Event::Alive { node, address, .. } => {
            Story::new("node-alive", format!("{} is alive at {address}", name(node)))
        }
        swim::Event::Suspected { node, by, .. } => {
            let text = format!("{} is suspect: it did not answer {}", name(node), name(by));
            Story::new("node-suspect", text)
        }
        swim::Event::Down { node, by, .. } => {
            let text =
                format!("{} is down: it did not answer {} for too long", name(node), name(by));
            Story::new("node-down", text)
        }
        swim::Event::Left { node } => Story::new("node-left", format!("{} left", name(node))),
        swim::Event::Changed { node, address } => {
            Story::new("node-changed", format!("{} tells of itself anew, at {address}", name(node)))
        }
        swim::Event::RefutedSelf { by, incarnation } => {
            let text = format!("refuted a suspicion of {} (incarnation {incarnation})", name(by));
            Story::new("self-refuted", text)
        }
        swim::Event::ObservedAddress { address, by } => {
            Story::new("address-observed", format!("{} sees this node at {address}", name(by)))
        }
        swim::Event::Reached { node, detour: swim::Detour::Through(by) } => {
            let text = format!("{} did not answer here, and answered {}", name(node), name(by));
            Story::new("node-reached", text)
        }
        swim::Event::Reached { node, detour: swim::Detour::Stream } => {
            let text = format!("{} answered no datagram, and answered on a stream", name(node));
            Story::new("node-reached", text)
        }
        swim::Event::Witnessed(testimony) => {
            let state = liveness_name(testimony.transition.state);
            let text = format!("this node bears witness that {} is {state}", name(&testimony.node));
            Story::new("node-witnessed", text)
        }
        swim::Event::Outpaced { epoch } => {
            let text = format!("others are in epoch {} already", epoch.0);
            Story::new("epoch-missed", text)
        }
        swim::Event::Dropped { why } => {
            Story::new("packet-dropped", format!("dropped a gossip packet: {why}"))
        }
    }
}

fn of_member(change: &MemberChange, names: &Names) -> Story {
    match change {
        MemberChange::Admitted(member) => {
            Story::new("member-admitted", format!("{} is a member now", member.name))
        }
        MemberChange::Removed(id) => {
            Story::new("member-removed", format!("{} is no member any more", names.of(*id)))
        }
        MemberChange::Updated(member) => {
            let text = format!("{} is at {}", member.name, member.address);
            Story::new("member-updated", text)
        }
        MemberChange::Gone(member) => of_gone(member, names),
        MemberChange::Back(member) => {
            Story::new("member-back", format!("{} takes part again", member.name))
        }
        MemberChange::Held(held) => {
            let text = match held.state() {
                HoldState::Roles => "until somebody performs what it requires",
                HoldState::Approval | HoldState::Denied => "until somebody approves it",
            };
            Story::new("join-held", format!("the join of {} waits {text}", held.member.name))
        }
        MemberChange::Unheld { node, why } => {
            let why = match why {
                UnheldFor::Expired => "nothing released it in time",
                UnheldFor::Conflict => "a living member has its name or address",
                UnheldFor::Forgotten => "it had been denied",
            };
            Story::new("join-dropped", format!("the join of {} is dropped: {why}", names.of(*node)))
        }
        MemberChange::TokenRefused { token, fault } => {
            let why = match fault {
                TokenFault::Unknown => "there is none of that id",
                TokenFault::Secret => "its secret is another",
                TokenFault::Expired => "it has expired",
                TokenFault::Spent => "it has admitted as many as it may",
                TokenFault::Revoked => "it was revoked",
            };
            Story::new("token-refused", format!("a join with token {token:?} was refused: {why}"))
        }
        MemberChange::EpochRaised { epoch, collected } => {
            let text = format!("the cluster is in epoch {epoch}; {collected} tombstones went");
            Story::new("epoch-raised", text)
        }
        MemberChange::Settings { is_risky: true, .. } => {
            let text = "the cluster's settings allow assignments with fewer than half the members";
            Story::new("settings-risky", text.to_string())
        }
        MemberChange::Settings { .. } => {
            Story::new("settings-changed", "the cluster's settings changed".to_string())
        }
        MemberChange::GossipKeys => {
            Story::new("gossip-keys-changed", "the gossip keys changed".to_string())
        }
    }
}

fn of_gone(member: &Member, names: &Names) -> Story {
    let Some(Standing::Down(down)) = &member.standing else {
        return Story::new("member-left", format!("{} has left", member.name));
    };
    let witnesses: Vec<String> =
        down.witnesses.iter().map(|witness| names.of(NodeId(witness.node))).collect();
    let name = &member.name;
    let (confirmed, watchers) = (down.confirmed, down.watchers);
    let text = match (witnesses.len(), witnesses.join(", ")) {
        (0, _) if watchers == 0 => format!("{name} is down: it had no living watcher to hear it"),
        (0, _) => format!("{name} is down: {confirmed} of {watchers} watchers say so"),
        (told, names) if told < confirmed as usize => {
            format!("{name} is down: {confirmed} of {watchers} watchers say so, {names} among them")
        }
        (_, names) => {
            format!("{name} is down: {confirmed} of {watchers} watchers say so: {names}")
        }
    };
    Story::new("member-down", text)
}

/// Whom an event is about.
fn about(event: &Event) -> Option<NodeId> {
    match event {
        Event::Raft { event: raft::Event::RoleChanged { leader, .. }, .. } => *leader,
        Event::Raft { event: raft::Event::SnapshotSent { to: node, .. }, .. }
        | Event::Swim(
            swim::Event::Alive { node, .. }
            | swim::Event::Suspected { node, .. }
            | swim::Event::Down { node, .. }
            | swim::Event::Left { node }
            | swim::Event::Reached { node, .. }
            | swim::Event::Changed { node, .. },
        )
        | Event::Members { change: MemberChange::Removed(node), .. } => Some(*node),
        Event::Members {
            change:
                MemberChange::Admitted(member)
                | MemberChange::Updated(member)
                | MemberChange::Gone(member)
                | MemberChange::Back(member),
            ..
        } => Some(NodeId(member.id)),
        Event::Members { change: MemberChange::Unheld { node, .. }, .. } => Some(*node),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muslin_core::state::{DeclaredDown, Witness};

    #[test]
    fn who_is_down_is_told_with_those_who_say_so() {
        let told = |confirmed, watchers, named: u64| {
            let witnesses = (1..=named).map(|node| Witness { node, ..Witness::default() });
            let down = DeclaredDown {
                witnesses: witnesses.collect(),
                watchers,
                confirmed,
                ..DeclaredDown::default()
            };
            let standing = Some(Standing::Down(down));
            let member = Member { name: "n9".into(), standing, ..Member::default() };
            let known = (1..=3).map(|id| (NodeId(id), format!("n{id}"))).collect();
            of_gone(&member, &Names { known }).text
        };
        assert_eq!(told(0, 0, 0), "n9 is down: it had no living watcher to hear it");
        assert_eq!(told(2, 2, 2), "n9 is down: 2 of 2 watchers say so: n1, n2");
        assert_eq!(told(3, 5, 2), "n9 is down: 3 of 5 watchers say so, n1, n2 among them");
    }
}
