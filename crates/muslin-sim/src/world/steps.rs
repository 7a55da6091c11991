//! What is going to happen, and letting it happen.

use super::asks::Asks;
use super::clients::Client;
use super::faults::Mend;
use crate::checkers::leaders::Leaders;
use crate::checkers::leases::Leases;
use crate::checkers::ledger::Ledger;
use crate::checkers::logs::{Fresh, Logs};
use crate::checkers::promises::Promises;
use crate::checkers::{Broken, Violation};
use crate::disk::Disk;
use crate::host::{Host, Standing, address_of, id_of};
use crate::net::{Net, Parcel};
use crate::profile::Profile;
use crate::queue::Queue;
use crate::time::Time;
use crate::trace::Trace;
use bytes::Bytes;
use muslin_core::base::{NodeId, Outputs, Prng};
use muslin_core::node::{CONTROL_ROLE, Output};
use muslin_core::raft::Configuration;
use muslin_core::state::{Founding, Member, Token};
use std::net::SocketAddr;
use std::time::Duration;

/// More than so many events of one node in a second of its time is a storm: messages beget
/// messages.
const STORM: u64 = 400_000;

/// What is going to happen.
pub(super) enum Happening {
    /// A peer's message comes to the end of its way.
    Parcel(Box<Parcel>),
    /// A gossip datagram arrives.
    Datagram { from: SocketAddr, to: usize, bytes: Bytes },
    /// A sync is over.
    Synced { host: usize, life: u64 },
    /// A node's deadline has come.
    Wake { host: usize, life: u64 },
    /// A process has done its last batch and looks for the next.
    Work { host: usize, life: u64 },
    /// A client does its next thing.
    Client { client: usize, turn: u64 },
    /// The next fault.
    Fault,
    /// A fault ends.
    Mend(Mend),
    /// A look at everything.
    Look,
}

/// How often everything is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Streams of random numbers, one for each part, so that the draws of one do not disturb the
/// others.
pub(super) struct Draws {
    pub(super) disk: Prng,
    pub(super) process: Prng,
    pub(super) fault: Prng,
    pub(super) client: Prng,
}

/// A cluster in its world.
pub(crate) struct World {
    pub(super) seed: u64,
    pub(crate) profile: Profile,
    pub(crate) time: Time,
    pub(super) queue: Queue<Happening>,
    pub(crate) hosts: Vec<Host>,
    pub(super) net: Net,
    pub(super) founding: Founding,
    pub(super) draws: Draws,
    pub(crate) trace: Trace,
    pub(super) leaders: Leaders,
    pub(super) logs: Logs,
    pub(super) promises: Promises,
    pub(crate) ledger: Ledger,
    pub(super) leases: Leases,
    pub(super) asks: Asks,
    pub(super) clients: Vec<Client>,
    /// The newest revision that anybody asked to compact to.
    pub(super) compact_asked: u64,
    pub(super) last_lease: u64,
    /// The good phase has begun: faults are over.
    pub(crate) healed: Option<Time>,
    pub(crate) events: u64,
    pub(super) events_at_look: u64,
    pub(crate) crashes: u64,
    /// Snapshots that nodes installed from a leader.
    pub(crate) installs: u64,
    /// Kept for its allocation.
    pub(super) out: Outputs<Output>,
    pub(super) fresh: Vec<Fresh>,
}

impl World {
    pub(crate) fn new(seed: u64, profile: Profile, trace: Trace) -> World {
        let mut prng = Prng::seeded(seed);
        let founding = founding_of(&profile);
        let voters = Configuration::of_voters((0..profile.founders).map(id_of));
        let hosts = (0..profile.nodes).map(|place| Host {
            id: id_of(place),
            disk: Disk::empty(voters.clone()),
            hard_state: Default::default(),
            boot: 0,
            life: 0,
            standing: match place < profile.founders {
                true => Standing::Member,
                false => Standing::Outside,
            },
            process: None,
            slow_disk: Duration::ZERO,
            hindered: Time::START,
        });
        let hosts = hosts.collect();
        let net = Net::new(profile.nodes, prng.fork());
        let (disk, process) = (prng.fork(), prng.fork());
        let draws = Draws { disk, process, fault: prng.fork(), client: prng.fork() };
        let leases = Leases::new(profile.machines.drift_ppm.unsigned_abs());
        let mut world = World {
            seed,
            time: Time::START,
            queue: Queue::new(),
            hosts,
            net,
            draws,
            trace,
            leaders: Leaders::default(),
            logs: Logs::default(),
            promises: Promises::default(),
            ledger: Ledger::new(&founding),
            founding,
            leases,
            asks: Asks::default(),
            clients: Vec::new(),
            compact_asked: 0,
            last_lease: 0,
            healed: None,
            events: 0,
            events_at_look: 0,
            crashes: 0,
            installs: 0,
            out: Outputs::new(),
            fresh: Vec::new(),
            profile,
        };
        world.begin();
        world
    }

    /// Clients come, and faults.
    pub(crate) fn let_loose(&mut self) {
        self.hire_clients();
        self.plan_fault();
    }

    /// Founders start within a moment of each other.
    fn begin(&mut self) {
        for host in 0..self.profile.founders {
            let after =
                self.draws.process.duration(Duration::from_millis(1), Duration::from_millis(50));
            self.queue.push(self.time + after, Happening::Mend(Mend::Start(host)));
        }
        self.queue.push(self.time + LOOK_EVERY, Happening::Look);
    }

    /// Lets everything happen up to a moment.
    pub(crate) fn run_until(&mut self, end: Time) -> Result<(), Violation> {
        while self.queue.next_at().is_some_and(|at| at <= end) {
            self.step()?;
        }
        self.time = self.time.max(end);
        Ok(())
    }

    /// Lets the next thing happen.
    fn step(&mut self) -> Result<(), Violation> {
        let Some((at, happening)) = self.queue.pop() else { return Ok(()) };
        assert!(at >= self.time, "time does not go back");
        self.time = at;
        self.happen(happening).map_err(|broken| self.violation(broken))
    }

    pub(crate) fn violation(&self, broken: Broken) -> Violation {
        let Broken { invariant, facts } = broken;
        Violation { seed: self.seed, at: self.time, invariant, facts }
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Broken> {
        match happening {
            Happening::Parcel(parcel) => self.on_parcel(parcel),
            Happening::Datagram { from, to, bytes } => self.on_datagram(from, to, bytes),
            Happening::Synced { host, life } => self.on_synced(host, life),
            Happening::Wake { host, life } => self.on_wake(host, life),
            Happening::Work { host, life } => self.on_work(host, life),
            Happening::Look => self.on_look(),
            Happening::Client { client, turn } => {
                self.on_turn(client, turn);
                Ok(())
            }
            Happening::Fault => {
                self.on_fault();
                Ok(())
            }
            Happening::Mend(mend) => {
                self.on_mend(mend);
                Ok(())
            }
        }
    }

    /// What is too dear to look at in every step.
    fn on_look(&mut self) -> Result<(), Broken> {
        let since = self.events - self.events_at_look;
        self.events_at_look = self.events;
        let most = STORM * self.profile.nodes as u64 * LOOK_EVERY.as_millis() as u64 / 1_000;
        if since > most {
            let facts = format!("{since} events in {LOOK_EVERY:?}; {most} would be many");
            return Err(Broken::new("storm", facts));
        }
        self.check_patience()?;
        self.switch_off_removed();
        self.queue.push(self.time + LOOK_EVERY, Happening::Look);
        Ok(())
    }

    /// The node that leads in the highest term, as it believes itself.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leads = |place: &usize| {
            self.hosts[*place]
                .process
                .as_ref()
                .is_some_and(|process| process.seen.role == muslin_core::raft::Role::Leader)
        };
        let term = |place: &usize| self.hosts[*place].process.as_ref().map(|it| it.seen.term);
        (0..self.hosts.len()).filter(leads).max_by_key(term)
    }

    /// How many terms had a leader.
    pub(crate) fn terms(&self) -> u64 {
        self.leaders.count()
    }
}

/// The token of clusters that admit.
pub(super) const TOKEN: &str = "sim";

/// What stands in for the hash of the token's secret.
pub(super) const SECRET_HASH: &[u8] = b"0123456789abcdef0123456789abcdef";

fn founding_of(profile: &Profile) -> Founding {
    let members = (0..profile.founders).map(|place| member_of(id_of(place), address_of(place)));
    let token = Token {
        id: TOKEN.into(),
        secret_hash: Bytes::from_static(SECRET_HASH),
        expires_unix_ms: u64::MAX,
        uses_left: 0,
    };
    Founding { members: members.collect(), tokens: vec![token] }
}

pub(super) fn member_of(id: NodeId, address: SocketAddr) -> Member {
    Member {
        id: id.0,
        name: format!("{id:?}"),
        address: address.to_string(),
        etcd_address: String::new(),
        roles: vec![CONTROL_ROLE.into()],
        admitted_at: 0,
        key_hash: Bytes::new(),
    }
}
