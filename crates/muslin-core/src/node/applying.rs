//! What the parts of the node say to each other, and what is applied.

use super::machine::Node;
use super::{Event, Failure, Output, PeerMessage, Reply};
use crate::base::mutant::{self, Mutant};
use crate::base::{GroupId, Machine as _, Now, Outputs};
use crate::raft::{self, Entries, Payload, Role, Snapshot};
use crate::state::{KvEvent, LeaseNews, State};
use crate::swim::{self, Metadata};
use crate::wire;
use alloc::vec::Vec;
use core::time::Duration;

/// What the parts say.
impl Node {
    pub(super) fn handle_swim(&mut self, now: Now, input: swim::Input, out: &mut Outputs<Output>) {
        let is_about_self = matches!(input, swim::Input::Describe(_));
        if self.is_static() && !is_about_self {
            // There are no members to be told of, and nobody is told of this one.
            return;
        }
        let mut said = Outputs::new();
        self.swim.handle(now, input, &mut said);
        for output in said.drain() {
            match output {
                swim::Output::Send { to, packet } => {
                    out.push(Output::Datagram { to, bytes: wire::encode_packet(&packet) });
                }
                swim::Output::Stream { to, packet } => {
                    let message = PeerMessage::Gossip(wire::encode_packet(&packet));
                    out.push(Output::Send { to, after: None, message });
                }
                swim::Output::Report(event) => self.on_view_event(event, out),
            }
        }
    }

    pub(super) fn handle_raft(&mut self, now: Now, input: raft::Input, out: &mut Outputs<Output>) {
        let mut said = Outputs::new();
        self.raft.handle(now, input, &mut said);
        for output in said.drain() {
            self.on_raft_output(now, output, out);
        }
        self.follow_leadership(now);
        self.follow_control(now, out);
        self.take_snapshots(now, out);
        self.raft.shorten_log(self.snapshots.kept());
    }

    fn on_raft_output(&mut self, now: Now, output: raft::Output, out: &mut Outputs<Output>) {
        const GROUP: GroupId = GroupId::CONTROL;
        match output {
            raft::Output::Persist { id, write } => {
                out.push(Output::Persist { group: GROUP, id, write });
            }
            raft::Output::Send { to, after, message } => {
                let after = after.map(|id| (GROUP, id));
                let message = PeerMessage::Raft { group: GROUP, message };
                out.push(Output::Send { to, after, message });
            }
            raft::Output::Save { snapshot, keep_from } => {
                out.push(Output::Save { group: GROUP, snapshot, keep_from });
            }
            raft::Output::Commit(entries) => self.apply(now, entries, out),
            raft::Output::Install(snapshot) => self.install(now, snapshot, out),
            raft::Output::SnapshotNeeded => self.snapshots.needed(),
            raft::Output::ReadReady { id, index } => self.reads.confirm(id, index),
            raft::Output::ReadFailed { id } => self.reads.fail(id),
            raft::Output::Report(event) => {
                if let raft::Event::RoleChanged { leader: Some(_), .. } = &event {
                    self.proposals.requeue_all();
                }
                let tells = matches!(
                    &event,
                    raft::Event::RebuildBegun { .. } | raft::Event::Rebuilt { .. }
                );
                out.push(Output::Report(Event::Raft { group: GROUP, event }));
                if tells {
                    self.describe(now, out);
                }
            }
        }
    }

    /// The others are told how this node is, whether it votes among it: without a leader nobody
    /// else could.
    pub(super) fn describe(&mut self, now: Now, out: &mut Outputs<Output>) {
        let is_rebuilding = self.raft.is_rebuilding();
        let metadata = Metadata { is_rebuilding, ..self.options.metadata.clone() };
        self.handle_swim(now, swim::Input::Describe(metadata), out);
    }

    /// Lease time runs on a leader that knows everything committed before it.
    fn follow_leadership(&mut self, now: Now) {
        let leads = self.raft.role() == Role::Leader && self.raft.has_committed_in_term();
        if leads && !self.lease_clock.is_running() {
            let is_forgotten =
                |is_of_put| is_of_put && mutant::is_active(Mutant::PutLeaseOutlivesLeader);
            let leases = self.state.leases().filter(|(_, lease)| !is_forgotten(lease.is_of_put));
            let leases = leases.map(|(id, lease)| (id, Duration::from_millis(lease.ttl_ms)));
            self.lease_clock.start(now, leases);
        } else if !leads && self.lease_clock.is_running() {
            self.lease_clock.stop();
        }
    }

    fn apply(&mut self, now: Now, entries: Entries, out: &mut Outputs<Output>) {
        let mut events: Vec<KvEvent> = Vec::new();
        // Whoever hears that a change was made finds it told.
        let mut replies = Vec::new();
        let keep_events = self.watches.are_there();
        for entry in entries {
            // R6: entries take effect in the order of the log, each once.
            assert!(entry.id.index == self.applied.next(), "no entry is skipped or repeated");
            self.applied = entry.id.index;
            let bytes = match entry.payload {
                Payload::Command(bytes) => bytes,
                Payload::Configuration(configuration) => {
                    if !configuration.is_joint() {
                        self.state.configured(entry.id.index, &configuration.voters);
                    }
                    continue;
                }
                Payload::Empty => continue,
            };
            self.snapshots.applied(bytes.len() as u64);
            let applied = self.state.apply(entry.id.index, bytes);
            for news in applied.leases {
                self.on_lease_news(now, news, out);
            }
            for news in applied.groups {
                self.on_group_news(now, news, out);
            }
            for news in applied.members {
                self.on_member_news(now, entry.id.index, news, out);
            }
            if keep_events {
                events.extend(applied.events);
            }
            if applied.rights_changed && keep_events {
                let events = core::mem::take(&mut events);
                self.watches.on_rights_changed((self.applied, &self.state), events, out);
            }
            let Some((origin, boot, sequence)) = applied.origin else { continue };
            if origin != self.options.id {
                continue;
            }
            if let Some(id) = self.proposals.settle(boot, sequence) {
                // A repetition whose first copy came inside a snapshot: it happened, and its answer
                // is not known here.
                let reply = match applied.duplicate {
                    true => Reply::Failed(Failure::TimedOut),
                    false => Reply::Outcome(applied.outcome),
                };
                replies.push(Output::Reply { id, reply });
            }
        }
        self.watches.on_applied(&self.state, events, out);
        replies.into_iter().for_each(|reply| out.push(reply));
    }

    fn on_lease_news(&mut self, now: Now, news: LeaseNews, out: &mut Outputs<Output>) {
        match news {
            LeaseNews::Granted { id, ttl_ms } => {
                self.lease_clock.on_granted(now, id, Duration::from_millis(ttl_ms));
            }
            LeaseNews::Ended { id, expired } => {
                self.lease_clock.on_ended(id);
                if expired {
                    out.push(Output::Report(Event::LeaseExpired { lease: id.0 }));
                }
            }
        }
    }

    fn install(&mut self, now: Now, snapshot: Snapshot, out: &mut Outputs<Output>) {
        let state = State::restore(snapshot.data);
        // R6: a leader's snapshot, whole by its checksum, that cannot be read is a bug of one of
        // us.
        self.state = state.expect("a snapshot with a good checksum can be read");
        self.applied = snapshot.meta.last.index;
        self.snapshots.installed(self.applied);
        assert!(!self.lease_clock.is_running(), "a leader installs no snapshot");
        self.route_members(out);
        self.is_scope_stale = true;
        self.watches.on_installed((self.applied, &self.state), out);
        self.follow_record(now, out);
        self.next_chores = now;
    }
}
