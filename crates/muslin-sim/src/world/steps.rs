//! What is going to happen, and letting it happen.

use super::faults::Mend;
use crate::checkers::leaders::Leaders;
use crate::checkers::logs::{Fresh, Logs};
use crate::checkers::promises::Promises;
use crate::checkers::{Broken, Violation};
use crate::disk::Disk;
use crate::host::{Host, Standing, address_of, id_of};
use crate::net::{Net, Parcel};
use crate::profile::Profile;
use crate::queue::Queue;
use crate::subject::Subject;
use crate::time::Time;
use crate::trace::Trace;
use bytes::Bytes;
use muslin_core::base::{GroupId, Index, Outputs, PersistId, Prng};
use muslin_core::raft::{Configuration, Role};
use std::net::SocketAddr;
use std::time::Duration;

/// More than so many events of one node in a second of its time is a storm: messages beget
/// messages.
const STORM: u64 = 400_000;

/// What is going to happen.
pub(crate) enum Happening<M> {
    /// A peer's message comes to the end of its way.
    Parcel(Box<Parcel<M>>),
    /// A gossip datagram arrives.
    Datagram { from: SocketAddr, to: usize, bytes: Bytes },
    /// A sync is over.
    Synced { host: usize, life: u64 },
    /// A snapshot is saved.
    Saved { host: usize, life: u64, number: u64 },
    /// A node's deadline has come.
    Wake { host: usize, life: u64 },
    /// A process has done its last batch and looks for the next.
    Work { host: usize, life: u64 },
    /// A client does its next thing.
    Client { client: usize, turn: u64 },
    /// The next fault.
    Fault,
    /// A fault ends.
    Mend(Box<Mend>),
    /// A calm stretch is over, and a busy one begins.
    Busy,
    /// A look at everything.
    Look,
}

/// How often everything is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Streams of random numbers, one for each part, so that the draws of one do not disturb the
/// others.
pub(crate) struct Draws {
    pub(crate) disk: Prng,
    pub(crate) process: Prng,
    pub(crate) fault: Prng,
    pub(crate) client: Prng,
}

/// The checkers that look inside one group.
#[derive(Default)]
pub(crate) struct GroupChecks {
    pub(crate) leaders: Leaders,
    pub(crate) logs: Logs,
    pub(crate) promises: Promises,
}

/// What happened, in numbers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Inputs that machines were given.
    pub(crate) events: u64,
    pub(crate) crashes: u64,
    /// Faults of all kinds.
    pub(crate) faults: u64,
    /// Reads answered, and found to be right.
    pub(crate) reads: u64,
    /// Snapshots that machines installed from a leader.
    pub(crate) installs: u64,
}

/// A cluster in its world.
pub(crate) struct World<S: Subject> {
    pub(crate) seed: u64,
    pub(crate) profile: Profile,
    pub(crate) time: Time,
    pub(crate) queue: Queue<Happening<S::Message>>,
    pub(crate) hosts: Vec<Host<S>>,
    pub(crate) net: Net<S::Message>,
    pub(crate) draws: Draws,
    pub(crate) trace: Trace,
    /// By number of the group.
    pub(crate) checks: Vec<GroupChecks>,
    pub(crate) crowd: S::Crowd,
    /// The good phase has begun: faults are over.
    pub(crate) healed: Option<Time>,
    pub(crate) counts: Counts,
    events_at_look: u64,
    /// The calm between two busy stretches: from when until when.
    calm: (Time, Time),
    /// Kept for its allocation.
    pub(super) out: Outputs<S::Output>,
    pub(super) fresh: Vec<Fresh>,
    pub(super) durable: Vec<(GroupId, PersistId)>,
}

impl<S: Subject> World<S> {
    /// A world in which nothing has happened. The crowd may look at the profile.
    pub(crate) fn new(
        seed: u64,
        profile: Profile,
        trace: Trace,
        crowd: impl FnOnce(&Profile) -> S::Crowd,
    ) -> World<S> {
        let mut prng = Prng::seeded(seed);
        let voters = Configuration::of_voters((0..profile.first_voters()).map(id_of));
        let hosts = (0..profile.nodes).map(|place| Host {
            id: id_of(place),
            address: address_of(place),
            disk: Disk::empty(voters.clone()),
            boot: 0,
            life: 0,
            standing: match place < profile.founders {
                true => Standing::Member,
                false => Standing::Outside,
            },
            process: None,
            slow_disk: Duration::ZERO,
            starved: Duration::ZERO,
            is_full: false,
            sync_fails: false,
            was_damaged: false,
            lost_when: Index::ZERO,
            hindered: Time::START,
        });
        let hosts = hosts.collect();
        let net = Net::new(profile.nodes + profile.strangers(), prng.fork());
        let (disk, process) = (prng.fork(), prng.fork());
        let draws = Draws { disk, process, fault: prng.fork(), client: prng.fork() };
        let mut world = World {
            seed,
            time: Time::START,
            queue: Queue::new(),
            hosts,
            net,
            draws,
            trace,
            checks: vec![GroupChecks::default()],
            crowd: crowd(&profile),
            healed: None,
            counts: Counts::default(),
            events_at_look: 0,
            calm: (Time(u64::MAX), Time(u64::MAX)),
            out: Outputs::new(),
            fresh: Vec::new(),
            durable: Vec::new(),
            profile,
        };
        world.begin();
        world
    }

    /// Clients come, and faults.
    pub(crate) fn let_loose(&mut self) {
        self.plan_rhythm();
        S::on_let_loose(self);
        self.plan_fault();
    }

    fn plan_rhythm(&mut self) {
        let Some(rhythm) = &self.profile.rhythm else { return };
        let from = self.time + rhythm.busy.draw(&mut self.draws.fault);
        let until = from + rhythm.calm.draw(&mut self.draws.fault);
        self.calm = (from, until);
        self.queue.push(until, Happening::Busy);
    }

    /// When something planned for a moment may happen: what falls into a calm stretch waits for its
    /// end, but for some.
    pub(crate) fn next_busy(&mut self, at: Time, even_if_calm_ppm: u64) -> Time {
        let (from, until) = self.calm;
        let is_calm = self.profile.rhythm.is_some() && at >= from && at < until;
        if !is_calm || self.draws.client.chance(even_if_calm_ppm) {
            return at;
        }
        until + self.draws.client.duration(Duration::ZERO, Duration::from_millis(50))
    }

    /// Founders start within a moment of each other.
    fn begin(&mut self) {
        for host in 0..self.profile.founders {
            let after =
                self.draws.process.duration(Duration::from_millis(1), Duration::from_millis(50));
            self.plan_mend(after, Mend::Start(host));
        }
        self.queue.push(self.time + LOOK_EVERY, Happening::Look);
    }

    pub(crate) fn plan_mend(&mut self, after: Duration, mend: Mend) {
        self.queue.push(self.time + after, Happening::Mend(Box::new(mend)));
    }

    /// Lets everything happen up to a moment.
    pub(crate) fn run_until(&mut self, end: Time) -> Result<(), Violation> {
        while let Some((at, happening)) = self.queue.pop_until(end) {
            debug_assert!(at >= self.time, "time does not go back");
            self.time = at;
            self.happen(happening).map_err(|broken| self.violation(broken))?;
        }
        self.time = self.time.max(end);
        Ok(())
    }

    pub(crate) fn violation(&self, broken: Broken) -> Violation {
        let Broken { invariant, facts } = broken;
        Violation { seed: self.seed, at: self.time, invariant, facts }
    }

    fn happen(&mut self, happening: Happening<S::Message>) -> Result<(), Broken> {
        match happening {
            Happening::Parcel(parcel) => return self.on_parcel(parcel),
            Happening::Datagram { from, to, bytes } => {
                return S::on_datagram(self, from, to, bytes);
            }
            Happening::Synced { host, life } => return self.on_synced(host, life),
            Happening::Saved { host, life, number } => return self.on_saved(host, life, number),
            Happening::Wake { host, life } => return self.on_wake(host, life),
            Happening::Work { host, life } => return self.on_work(host, life),
            Happening::Look => return self.on_look(),
            Happening::Client { client, turn } => return S::on_turn(self, client, turn),
            Happening::Fault => self.on_fault(),
            Happening::Busy => self.plan_rhythm(),
            Happening::Mend(mend) => self.on_mend(*mend),
        }
        Ok(())
    }

    /// What is too dear to look at in every step.
    fn on_look(&mut self) -> Result<(), Broken> {
        let since = self.counts.events - self.events_at_look;
        self.events_at_look = self.counts.events;
        let most = STORM * self.profile.nodes as u64 * LOOK_EVERY.as_millis() as u64 / 1_000;
        if since > most {
            let facts = format!("{since} events in {LOOK_EVERY:?}; {most} would be many");
            return Err(Broken::new("storm", facts));
        }
        S::on_look(self)?;
        self.queue.push(self.time + LOOK_EVERY, Happening::Look);
        Ok(())
    }

    /// The node that leads the control group in the highest term, as it believes itself.
    pub(crate) fn leader(&self) -> Option<usize> {
        let seen = |place: &usize| self.hosts[*place].process.as_ref().map(|it| it.seen[0]);
        let leads = |place: &usize| seen(place).is_some_and(|seen| seen.role == Role::Leader);
        (0..self.hosts.len()).filter(leads).max_by_key(|place| seen(place).map(|it| it.term))
    }

    /// How many terms had a leader.
    pub(crate) fn terms(&self) -> u64 {
        self.checks.iter().map(|checks| checks.leaders.count()).sum()
    }

    /// The last committed entry of the control group.
    pub(crate) fn committed(&self) -> Index {
        self.checks[0].logs.last()
    }

    /// The places of those who are members and are to stay so.
    pub(crate) fn members(&self) -> Vec<usize> {
        let is_member = |place: &usize| self.hosts[*place].standing == Standing::Member;
        (0..self.hosts.len()).filter(is_member).collect()
    }
}
