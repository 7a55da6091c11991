//! What a world is made of: the machine that is stepped, and the crowd around it.
//!
//! The world plays network, disks, clocks, processes and faults, and looks at every log, every disk
//! and every promise. What is inside a process it knows only through this trait, so that whole
//! nodes, bare groups and foreign implementations live under the very same conditions.

use crate::checkers::Broken;
use crate::checkers::logs::Fresh;
use crate::replica::{Promise, View};
use crate::time::Time;
use crate::trace::WordHash;
use crate::world::World;
use bytes::Bytes;
use muslin_core::base::{GroupId, Index, NodeId, Now, Outputs, PersistId};
use muslin_core::raft::{Configuration, DiskRoom, Snapshot, Write};
use std::fmt;
use std::net::SocketAddr;

/// What an output asks of the world.
pub(crate) enum Act<S: Subject> {
    /// Write, in order, and say when it is durable.
    Persist { group: GroupId, id: PersistId, write: Write },
    /// Send on the stream to a peer, not before a write of a group is durable.
    Send { to: NodeId, after: Option<(GroupId, PersistId)>, message: S::Message },
    /// Save off the path of the writes, and say when it is done.
    Save { group: GroupId, snapshot: Snapshot, keep_from: Index },
    /// Something only the subject's own part of the world knows.
    Other(S::Output),
}

/// A kind of machine, and what only worlds of that kind do.
///
/// The functions that take a world are its hooks into the machine's surroundings: clients,
/// operators, and checkers of what clients see.
pub(crate) trait Subject: Sized {
    type Input;
    type Output;
    type Message: Clone + fmt::Debug;
    /// Clients, operators, and what they are held against.
    type Crowd;
    /// What a driver keeps beside a running machine.
    type Local;

    /// A machine starts from what its disk has.
    fn start(world: &mut World<Self>, place: usize, now: Now) -> (Self, Self::Local);

    fn handle(&mut self, now: Now, input: Self::Input, out: &mut Outputs<Self::Output>);
    /// All that waited was handed over.
    fn flush(&mut self, now: Now, out: &mut Outputs<Self::Output>);
    fn deadline(&self) -> Option<Now>;

    /// Whether disks may lose what they promised.
    fn survives_damage() -> bool;
    /// Whether a configuration is in force once it is applied, rather than once it is in the log.
    fn configures_when_applied() -> bool {
        false
    }
    fn tick() -> Self::Input;
    fn shutdown() -> Self::Input;
    fn persisted(group: GroupId, id: PersistId) -> Self::Input;
    fn saved(group: GroupId, index: Index) -> Self::Input;
    fn disk(room: DiskRoom) -> Self::Input;
    fn received(from: NodeId, message: Self::Message) -> Self::Input;
    /// The write that an input says is durable.
    fn durable(input: &Self::Input) -> Option<(GroupId, PersistId)>;

    /// The write that an output asks for.
    fn write(output: &Self::Output) -> Option<(GroupId, &Write)>;
    fn act(output: Self::Output) -> Act<Self>;
    /// What a message promises about its sender's disk.
    fn promise(message: &Self::Message) -> Option<(GroupId, Promise)>;
    /// What a leader of another cluster would say to a replica that looks like this, where that is
    /// played.
    fn of_another_cluster(_: &View, _voters: Configuration) -> Option<Self::Message> {
        None
    }
    /// Through its encoding and back.
    fn encoded(message: Self::Message) -> Result<Self::Message, Broken>;

    /// How many groups the world has, the control group included.
    fn groups(_: &Self::Crowd) -> usize {
        1
    }
    /// How one group of it looks from outside.
    fn view(&self, group: GroupId) -> View;
    /// Who votes: the last configuration in the log of the control group, and the committed one.
    fn configurations(&self) -> [Configuration; 2];

    fn fold_input(hash: &mut WordHash, input: &Self::Input);
    fn fold_output(hash: &mut WordHash, output: &Self::Output);
    /// For a reader; `None` is not worth a line.
    fn tell_input(input: &Self::Input) -> Option<String>;
    fn tell_output(output: &Self::Output) -> Option<String>;

    /// Whether what is sent to a peer, which is reached there, has a way.
    fn reaches(_: &Self::Local, _: NodeId, _: SocketAddr) -> bool {
        true
    }
    /// Whether a peer is listened to.
    fn hears(_: &Self::Local, _: NodeId) -> bool {
        true
    }

    /// Clients come.
    fn on_let_loose(world: &mut World<Self>);
    fn on_turn(world: &mut World<Self>, client: usize, turn: u64) -> Result<(), Broken>;
    /// A machine has just started: what it is told first.
    fn on_started(world: &mut World<Self>, place: usize);
    fn on_datagram(
        _: &mut World<Self>,
        _from: SocketAddr,
        _to: usize,
        _bytes: Bytes,
    ) -> Result<(), Broken> {
        Ok(())
    }
    /// An output that is the subject's own affair; what it sends leaves at `done`.
    fn on_other(
        world: &mut World<Self>,
        place: usize,
        output: Self::Output,
        done: Time,
    ) -> Result<(), Broken>;
    /// A process is gone, with all it was asked.
    fn on_lost(world: &mut World<Self>, place: usize);
    /// An entry was committed for the first time.
    fn on_committed(world: &mut World<Self>, group: GroupId, entry: &Fresh) -> Result<(), Broken>;
    /// A machine has applied more.
    fn on_applied(
        world: &mut World<Self>,
        place: usize,
        group: GroupId,
        applied: Index,
    ) -> Result<(), Broken>;
    /// A machine has done a batch, and nothing of it has left.
    fn on_batch(_: &mut World<Self>, _place: usize) -> Result<(), Broken> {
        Ok(())
    }
    /// What is too dear to look at in every step.
    fn on_look(world: &mut World<Self>) -> Result<(), Broken>;
    /// Whether somebody takes a member away at present: then no other may be lost.
    fn is_shrinking(_: &World<Self>) -> bool {
        false
    }
    fn on_transfer(world: &mut World<Self>, leader: usize, to: NodeId);
    /// The faults are over: most clients go, and each of `places` is put to the test.
    fn on_healed(world: &mut World<Self>);
    /// The world gives up on a place: nobody expects an answer from it.
    fn on_given_up(world: &mut World<Self>, place: usize);
    /// The place of a node that has not answered its test.
    fn unanswered(world: &World<Self>) -> Option<usize>;
    /// What has not come to rest, in words.
    fn unsettled(world: &mut World<Self>) -> Option<Unsettled>;
    /// Whether a place that was lost may come back.
    fn may_return(world: &World<Self>, place: usize) -> bool;
    /// How the machines stand, for a reader of a violation.
    fn describe(world: &World<Self>) -> String;
    /// Writes acknowledged to clients.
    fn acked(world: &World<Self>) -> u64;
}

/// What has not come to rest.
#[derive(Clone, Debug)]
pub(crate) struct Unsettled {
    pub(crate) what: String,
    /// It is about answers, which are due sooner than the rest.
    pub(crate) is_answer: bool,
}
