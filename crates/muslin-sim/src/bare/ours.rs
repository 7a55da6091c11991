//! This project's own Raft as a replica.

use crate::nodes::{foreign_snapshot, promise_of, view_of};
use crate::replica::{Input, Output, Promise, Replica, Seat, View};
use crate::trace::WordHash;
use muslin_core::base::{GroupId, Machine, NodeId, Now, Outputs, Sum64};
use muslin_core::node::PeerMessage;
use muslin_core::raft::{self, Configuration, Message, Raft, Recovered, SnapshotMeta};
use muslin_core::wire;

impl Replica for Raft {
    type Message = Message;

    fn start(seat: Seat, found: Recovered, now: Now) -> Raft {
        Raft::new(seat.id, seat.options, found, seat.seed, now)
    }

    fn handle(&mut self, now: Now, input: Input<Message>, out: &mut Outputs<Output<Message>>) {
        let mut said = Outputs::new();
        Machine::handle(self, now, input_of(input), &mut said);
        Machine::handle(self, now, raft::Input::Flush, &mut said);
        for output in said.drain() {
            out.push(output_of(output));
        }
    }

    fn deadline(&self) -> Option<Now> {
        Machine::deadline(self).map(|(due, _)| due)
    }

    fn view(&self) -> View {
        view_of(self)
    }

    fn accepts_proposals(&self) -> bool {
        Raft::accepts_proposals(self)
    }

    fn snapshot_meta(&self) -> SnapshotMeta {
        Raft::snapshot_meta(self)
    }

    fn configurations(&self) -> [Configuration; 2] {
        [self.configuration().clone(), self.committed_configuration().clone()]
    }

    fn rebuilding(&self) -> Vec<NodeId> {
        Raft::rebuilding(self)
    }

    fn survives_damage() -> bool {
        true
    }

    fn promise(message: &Message) -> Option<Promise> {
        match message {
            Message::Bound(bound) => Some(promise_of(bound)),
            Message::Unbound(_) => None,
        }
    }

    fn of_another_cluster(view: &View, voters: Configuration) -> Option<Message> {
        Some(foreign_snapshot(view, voters))
    }

    fn fold(message: &Message, fold: &mut dyn FnMut(u64)) {
        let mut hash = WordHash::new();
        crate::nodes::fold_raft(&mut hash, message);
        fold(hash.finish());
    }

    fn encoded(message: Message) -> Result<Message, String> {
        let sent = PeerMessage::Raft { group: GroupId::CONTROL, message };
        match wire::decode_peer(wire::encode_peer(&sent)) {
            Ok(read) if read == sent => match read {
                PeerMessage::Raft { message, .. } => Ok(message),
                _ => unreachable!("it equals what was sent"),
            },
            other => Err(format!("{sent:?} is read as {other:?}")),
        }
    }
}

fn input_of(input: Input<Message>) -> raft::Input {
    match input {
        Input::Tick => raft::Input::Tick,
        Input::Message { from, message } => raft::Input::Message { from, message },
        Input::Persisted(id) => raft::Input::Persisted(id),
        Input::Propose(proposals) => raft::Input::Propose(proposals),
        Input::Read(id) => raft::Input::Read(id),
        Input::LeaseRead(id) => raft::Input::LeaseRead(id),
        Input::Saved(index) => raft::Input::Saved(index),
        Input::Disk(room) => raft::Input::Disk(room),
        Input::Change(changes) => raft::Input::Change(changes),
        Input::Transfer(to) => raft::Input::Transfer(to),
        Input::Snapshot { snapshot, save } => {
            let checksum = Sum64::of(&snapshot.data);
            raft::Input::Snapshot { snapshot, checksum, save }
        }
        Input::Shutdown => raft::Input::Shutdown,
    }
}

fn output_of(output: raft::Output) -> Output<Message> {
    match output {
        raft::Output::Persist { id, write } => Output::Persist { id, write },
        raft::Output::Send { to, after, message } => Output::Send { to, after, message },
        raft::Output::Save { snapshot, keep_from } => Output::Save { snapshot, keep_from },
        raft::Output::Commit(entries) => Output::Commit(entries),
        raft::Output::Install(snapshot) => Output::Install(snapshot),
        raft::Output::SnapshotNeeded => Output::SnapshotNeeded,
        raft::Output::ReadReady { id, index } => Output::ReadReady { id, index },
        raft::Output::ReadFailed { id } => Output::ReadFailed { id },
        raft::Output::Report(event) => Output::Report(Box::new(event)),
    }
}
