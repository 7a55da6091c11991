//! Nodes with real replicas of some groups, between which a message is delivered at once, never, or
//! (one of them) late.
//!
//! A step gives one node something to do and lets messages run between it and some others until
//! nobody has more to say; all else is lost. Every node has a clock of its own, which stands still
//! but in its own steps. Writes are done at once, and a node that starts again finds them.

use crate::fingerprint::Fingerprint;
use bytes::Bytes;
use muslin_core::base::{
    GroupId, Index, LogId, Machine as _, NodeId, Now, Outputs, RequestId, Term,
};
use muslin_core::groups::{
    Ask, Claim, Group, Groups, Input, Message, Options, Output, Recovered, Start,
};
use muslin_core::raft::{self, Bound, Drive, Role, Unbound};
use muslin_core::state::GroupRecord;
use std::collections::{BTreeMap, VecDeque};
use std::hash::DefaultHasher;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A look at what is under way comes this long after what gave reason to look: longer than any
/// pause between two tries.
const LOOK: Duration = Duration::from_millis(520);

/// So long nobody waits for another to hand over.
const PATIENCE: Duration = Duration::from_secs(3);

/// Nobody falls silent of its own accord: what nodes believe of each other is said by the model.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// More messages than any step can need: beyond it they beget each other.
const MESSAGES_MAX: usize = 10_000;

/// Of a client that asks for the state as it is.
const QUESTION: RequestId = RequestId(1);

/// Which messages run in a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    All,
    /// A leader that is elected cannot tell anybody.
    Votes,
}

/// A message that was sent and has not arrived.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Letter {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) message: Message,
}

/// Which of the messages that are lost in a step comes late after all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    Vote,
    VoteReply,
    TimeoutNow,
    Append,
}

impl Class {
    pub(crate) const ALL: [Class; 4] =
        [Class::Vote, Class::VoteReply, Class::TimeoutNow, Class::Append];

    pub(crate) fn has(self, letter: &Letter) -> bool {
        let Message::Raft { message, .. } = &letter.message else { return false };
        match self {
            Class::Vote => matches!(message, raft::Message::Bound(Bound::Vote { .. })),
            Class::VoteReply => {
                matches!(message, raft::Message::Bound(Bound::VoteReply { granted: true, .. }))
            }
            Class::TimeoutNow => {
                matches!(message, raft::Message::Unbound(Unbound::TimeoutNow { .. }))
            }
            Class::Append => matches!(message, raft::Message::Unbound(Unbound::Append { .. })),
        }
    }
}

/// What a step leaves behind.
#[derive(Default)]
pub(crate) struct Said {
    /// For the leader of the control group.
    pub(crate) claims: Vec<(NodeId, Claim)>,
    pub(crate) lost: Vec<Letter>,
    /// Questions that were answered.
    pub(crate) answers: usize,
}

/// One node.
#[derive(Clone, Debug)]
struct Host {
    /// Nobody locks it twice: a machine may be sent to another thread, and not be shared.
    groups: Arc<Mutex<Groups>>,
    disk: Arc<BTreeMap<GroupId, Recovered>>,
    clock: Now,
    boot: u64,
    fingerprint: u64,
}

/// All nodes, and what must hold of their groups.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    hosts: Vec<Host>,
    /// Who led each group in each term.
    leaders: BTreeMap<(GroupId, Term), NodeId>,
    /// The term of each committed entry of each group, from index 1.
    committed: BTreeMap<GroupId, Vec<Term>>,
    /// Nobody compares these with others any more: they need no fingerprints.
    is_last: bool,
    /// What was broken first.
    pub(crate) broken: Option<&'static str>,
}

pub(crate) fn id(place: usize) -> NodeId {
    NodeId(place as u64 + 1)
}

pub(crate) fn place(id: NodeId) -> usize {
    id.0 as usize - 1
}

fn options() -> Options {
    Options {
        raft: raft::Options {
            heartbeat_interval: Duration::from_millis(100),
            election_timeout_min: Duration::from_millis(200),
            election_timeout_max: Duration::from_millis(210),
            // What leaves at a flush is what clients asked for; the rest leaves at once.
            appends_gather_bytes: 0,
            ..Options::default().raft
        },
        alive_every: FOR_EVER,
        alive_timeout: FOR_EVER,
        fallback_after: Duration::ZERO,
        ..Options::default()
    }
}

impl Host {
    fn started(at: usize, boot: u64, disk: Arc<BTreeMap<GroupId, Recovered>>, now: Now) -> Host {
        let start =
            Start { id: id(at), boot, request_timeout: FOR_EVER, recovered: (*disk).clone() };
        let groups = Groups::new(options(), start, id(at).0 * 1_000 + boot, now);
        let groups = Arc::new(Mutex::new(groups));
        Host { groups, disk, clock: now, boot, fingerprint: 0 }
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().expect("nobody panics with it")
    }

    /// Written at once.
    fn write(&mut self, group: GroupId, write: raft::Write) {
        let disk = Arc::make_mut(&mut self.disk).entry(group).or_default();
        match write {
            raft::Write::Log { hard_state, entries } => {
                if let Some(hard_state) = hard_state {
                    disk.raft.hard_state = hard_state;
                }
                let kept = &mut disk.raft.entries;
                if let Some(first) = entries.as_slice().first() {
                    kept.retain(|entry| entry.id.index < first.id.index);
                }
                kept.extend(entries);
            }
            raft::Write::Snapshot { .. } => unreachable!("nobody lags behind the log's beginning"),
        }
    }
}

impl Nodes {
    /// `count` nodes without groups, which know that the control group is led.
    pub(crate) fn started(count: usize) -> Nodes {
        let start = |at| Host::started(at, 1, Arc::default(), Now::START);
        let mut nodes = Nodes {
            hosts: (0..count).map(start).collect(),
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            is_last: false,
            broken: None,
        };
        for at in 0..count {
            nodes.step(at, Input::ControlLed(true), 0, Kind::All);
        }
        nodes
    }

    pub(crate) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// All but one.
    pub(crate) fn others(&self, but: usize) -> u32 {
        ((1 << self.len()) - 1) & !(1 << but)
    }

    pub(crate) fn groups(&self, at: usize) -> MutexGuard<'_, Groups> {
        self.hosts[at].groups()
    }

    /// Looks at one replica, if it is open.
    pub(crate) fn group<T>(
        &self,
        at: usize,
        group: GroupId,
        look: impl FnOnce(&Group) -> T,
    ) -> Option<T> {
        self.groups(at).group(group).map(look)
    }

    pub(crate) fn is_leader(&self, at: usize, group: GroupId) -> bool {
        self.group(at, group, |group| group.raft().role() == Role::Leader) == Some(true)
    }

    pub(crate) fn is_ticking(&self, at: usize) -> bool {
        self.groups(at).drive() == Drive::Ticking
    }

    pub(crate) fn boot(&self, at: usize) -> u64 {
        self.hosts[at].boot
    }

    pub(crate) fn highest_term(&self) -> Term {
        let terms = |at| self.groups(at).iter().map(|group| group.raft().term()).max();
        (0..self.len()).filter_map(terms).max().unwrap_or_default()
    }

    /// Of all that matters.
    pub(crate) fn fingerprints(&self) -> impl Iterator<Item = u64> + '_ {
        self.hosts.iter().map(|host| host.fingerprint)
    }

    pub(crate) fn committed(&self) -> &BTreeMap<GroupId, Vec<Term>> {
        &self.committed
    }

    /// Something is under way at a node: a dispute, a campaign, entries that others lack.
    pub(crate) fn is_busy(&self, at: usize) -> bool {
        let quiet = ["say alive", "fall back"];
        let deadline = self.groups(at).deadline();
        deadline.is_some_and(|(_, wake)| !quiet.contains(&wake.0))
    }
}

/// What can happen.
impl Nodes {
    /// Time passes at one node, and it looks at what is under way.
    pub(crate) fn look(&mut self, at: usize, is_patient: bool, with: u32, kind: Kind) -> Said {
        let mut said = Said::default();
        if !self.is_ticking(at) {
            let time = if is_patient { LOOK } else { PATIENCE };
            self.hosts[at].clock = self.hosts[at].clock + time;
            self.run(at, Input::Tick, (with, kind), &mut said);
            return said;
        }
        self.let_leaders_be_forgotten(at);
        let end = self.hosts[at].clock + LOOK;
        loop {
            let deadline = self.groups(at).deadline();
            let Some((due, _)) = deadline.filter(|(due, _)| *due < end) else { break };
            self.hosts[at].clock = due.max(self.hosts[at].clock);
            self.run(at, Input::Tick, (with, kind), &mut said);
        }
        self.hosts[at].clock = end;
        self.seal(1 << at);
        said
    }

    /// Whoever follows has not heard its leader for long.
    fn let_leaders_be_forgotten(&mut self, but: usize) {
        for at in (0..self.len()).filter(|at| *at != but) {
            let leads = self.groups(at).iter().any(|group| group.raft().role() == Role::Leader);
            if !leads {
                self.hosts[at].clock = self.hosts[at].clock + LOOK;
            }
        }
    }

    /// The node has been told nothing by the control group for long, or again.
    pub(crate) fn control_led(&mut self, at: usize, is_led: bool) {
        self.step(at, Input::ControlLed(is_led), 0, Kind::All);
        if !is_led {
            self.step(at, Input::Tick, 0, Kind::All);
        }
    }

    /// A node comes to believe that another lives, or not.
    pub(crate) fn believe(&mut self, at: usize, of: usize, is_alive: bool, with: u32) -> Said {
        let message = Message::Alive { boot: self.boot(of), is_deaf: !is_alive };
        self.step(at, Input::Message { from: id(of), message }, with, Kind::All)
    }

    pub(crate) fn deliver(&mut self, letter: Letter, with: u32) -> Said {
        let Letter { from, to, message } = letter;
        self.step(to, Input::Message { from: id(from), message }, with, Kind::All)
    }

    /// A client's command, for a leader.
    pub(crate) fn propose(&mut self, at: usize, group: GroupId, with: u32) -> Said {
        let command = id(at).0.to_be_bytes().to_vec().into();
        let input = Input::Ask { id: RequestId(0), group, ask: Ask::Propose(command) };
        self.step(at, input, 0, Kind::All);
        self.step(at, Input::Flush, with, Kind::All)
    }

    /// A client asks for the state as it is; nothing leaves before the next flush.
    pub(crate) fn ask(&mut self, at: usize, group: GroupId) {
        let ask = Ask::Query(Bytes::new());
        self.step(at, Input::Ask { id: QUESTION, group, ask }, 0, Kind::All);
    }

    /// A node starts again with what its disk has, or with an empty one, and the record as it knows
    /// it.
    pub(crate) fn restart(&mut self, at: usize, records: &[GroupRecord], is_disk_lost: bool) {
        let Host { disk, clock, boot, .. } = &self.hosts[at];
        let disk = if is_disk_lost { Arc::default() } else { Arc::clone(disk) };
        self.hosts[at] = Host::started(at, boot + 1, disk, *clock);
        self.step(at, Input::ControlLed(true), 0, Kind::All);
        self.open(at, records, is_disk_lost);
    }

    /// The record has these groups.
    pub(crate) fn open(&mut self, at: usize, records: &[GroupRecord], rebuilding: bool) {
        for record in records {
            let input = Input::Open { record: record.clone(), rebuilding };
            self.step(at, input, 0, Kind::All);
        }
        // It says that it is alive: not again in any run of the model.
        self.step(at, Input::Tick, 0, Kind::All);
    }

    /// Gives one node something to do; messages run among it and others, a bit for each place.
    pub(crate) fn step(&mut self, at: usize, input: Input, with: u32, kind: Kind) -> Said {
        let mut said = Said::default();
        self.run(at, input, (with, kind), &mut said);
        said
    }

    fn run(&mut self, at: usize, input: Input, (with, kind): (u32, Kind), said: &mut Said) {
        let present = with | 1 << at;
        let mut waiting = VecDeque::from([(at, input)]);
        let mut touched = 0;
        let mut handled = 0;
        while let Some((at, input)) = waiting.pop_front() {
            handled += 1;
            assert!(handled < MESSAGES_MAX, "messages beget messages");
            touched |= 1 << at;
            for letter in self.handle(at, input, said) {
                if present & 1 << letter.to != 0 && kind.has(&letter.message) {
                    let Letter { from, to, message } = letter;
                    waiting.push_back((to, Input::Message { from: id(from), message }));
                } else {
                    said.lost.push(letter);
                }
            }
            if self.broken.is_some() {
                return;
            }
        }
        self.seal(touched);
    }

    /// What follows is a run, and no search.
    pub(crate) fn search_ends(&mut self) {
        self.is_last = true;
    }

    /// Fingerprints of what was touched.
    pub(crate) fn seal(&mut self, touched: u32) {
        if self.is_last {
            return;
        }
        for at in (0..self.len()).filter(|at| touched & 1 << at != 0) {
            let host = &self.hosts[at];
            let hard_states: Vec<_> =
                host.disk.values().map(|found| found.raft.hard_state).collect();
            let of = Fingerprint::of(&(&*host.groups(), hard_states), DefaultHasher::new());
            self.hosts[at].fingerprint = of;
        }
    }

    /// What a node wants sent; its writes are done at once.
    fn handle(&mut self, at: usize, input: Input, said: &mut Said) -> Vec<Letter> {
        let mut sent = Vec::new();
        let mut inputs = VecDeque::from([input]);
        self.part(at);
        while let Some(input) = inputs.pop_front() {
            let before = self.roles(at);
            let mut out = Outputs::new();
            let clock = self.hosts[at].clock;
            self.groups(at).handle(clock, input.clone(), &mut out);
            self.check(at, &input, &before);
            for output in out.drain() {
                match output {
                    Output::Persist { group, id, write } => {
                        self.hosts[at].write(group, write);
                        inputs.push_back(Input::Persisted { group, id });
                    }
                    Output::Send { to, message, .. } => {
                        sent.push(Letter { from: at, to: place(to), message });
                    }
                    Output::Claim(claims) => {
                        said.claims.extend(claims.into_iter().map(|claim| (id(at), claim)));
                    }
                    Output::Reply { id, result } => {
                        said.answers += usize::from(id == QUESTION && result.is_ok());
                    }
                    Output::Save { .. } | Output::Report(_) => {}
                }
            }
        }
        sent
    }

    /// Other states of the model keep the groups as they were.
    fn part(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        if Arc::strong_count(&host.groups) > 1 {
            let twin = host.groups().clone();
            host.groups = Arc::new(Mutex::new(twin));
        }
    }
}

/// What must hold.
impl Nodes {
    fn roles(&self, at: usize) -> BTreeMap<GroupId, (Role, Term, LogId)> {
        let role = |group: &Group| {
            let raft = group.raft();
            (group.id(), (raft.role(), raft.term(), raft.last()))
        };
        self.groups(at).iter().map(role).collect()
    }

    fn fail(&mut self, invariant: &'static str) {
        self.broken.get_or_insert(invariant);
    }

    fn check(&mut self, at: usize, input: &Input, before: &BTreeMap<GroupId, (Role, Term, LogId)>) {
        let groups = Arc::clone(&self.hosts[at].groups);
        let groups = groups.lock().expect("nobody panics with it");
        for group in groups.iter() {
            let raft = group.raft();
            let was = before.get(&group.id());
            if raft.role() == Role::Leader
                && was.is_none_or(|was| (was.0, was.1) != (Role::Leader, raft.term()))
            {
                self.check_leader(group);
            }
            let is_candidate = |role| matches!(role, Role::PreCandidate | Role::Candidate);
            if is_candidate(raft.role()) && was.is_none_or(|was| !is_candidate(was.0)) {
                let last = was.map_or(LogId::ZERO, |was| was.2);
                if groups.drive() == Drive::Passive && !may_campaign(group, input, last) {
                    self.fail("a replica campaigns that is not named");
                }
            }
            self.check_committed(group);
        }
    }

    /// R1, and R3: a leader has all that was committed.
    fn check_leader(&mut self, group: &Group) {
        let raft = group.raft();
        let committed = self.committed.entry(group.id()).or_default();
        let last = Index(committed.len() as u64);
        if committed.last().is_some_and(|term| raft.term_at(last) != Some(*term)) {
            self.fail("R3: a leader lacks what was committed");
        }
        let key = (group.id(), raft.term());
        if *self.leaders.entry(key).or_insert(raft.id()) != raft.id() {
            self.fail("R1: two leaders in one term");
        }
    }

    /// R3: what is committed at an index stays what it is, and a leader that was deposed commits
    /// nothing after its successor did.
    fn check_committed(&mut self, group: &Group) {
        let raft = group.raft();
        let committed = self.committed.entry(group.id()).or_default();
        let mut broken = None;
        for index in 1..=raft.commit().0 {
            let term = raft.term_at(Index(index)).unwrap_or_default();
            match committed.get(index as usize - 1) {
                Some(known) if *known != term => {
                    broken = Some("R3: two entries are committed at one index");
                }
                Some(_) => {}
                None if committed.last().is_some_and(|last| *last > term) => {
                    broken = Some("R3: a deposed leader commits");
                }
                None => committed.push(term),
            }
        }
        if let Some(broken) = broken {
            self.fail(broken);
        }
    }
}

/// A passive replica asks for votes when the record names it, when the leader hands over to it, and
/// when whoever asks for its vote has less than it.
fn may_campaign(group: &Group, input: &Input, had: LogId) -> bool {
    let is_named = group.record().leader == Some(group.raft().id().0);
    let is_told = match input {
        Input::Message { message: Message::Raft { message, .. }, .. } => match message {
            raft::Message::Unbound(Unbound::TimeoutNow { .. }) => true,
            raft::Message::Unbound(Unbound::PreVote { last, .. }) => *last < had,
            _ => false,
        },
        _ => false,
    };
    is_named || is_told
}

impl Kind {
    fn has(self, message: &Message) -> bool {
        let Message::Raft { message, .. } = message else { return true };
        let is_election = matches!(
            message,
            raft::Message::Unbound(Unbound::PreVote { .. } | Unbound::PreVoteReply { .. })
                | raft::Message::Bound(Bound::Vote { .. } | Bound::VoteReply { .. })
        );
        is_election || self == Kind::All
    }
}
