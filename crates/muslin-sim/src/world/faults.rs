//! What goes wrong, and how it ends.

use super::World;
use super::steps::Happening;
use crate::checkers::Broken;
use crate::disk::Damage;
use crate::host::{Host, Standing, id_of};
use crate::net::Parcel;
use crate::subject::Subject;
use crate::time::{Clock, Time};
use muslin_core::base::{GroupId, Index, Prng};
use muslin_core::raft::{Configuration, DiskRoom, Role};
use std::time::Duration;

/// How a fault ends.
pub(crate) enum Mend {
    /// The node is started (again).
    Start(usize),
    /// The process goes on.
    Resume(usize),
    /// These links work again, if they were cut in this era.
    Links { era: u64, links: Vec<(usize, usize)> },
    /// These links are as fast as before.
    Speed(Vec<(usize, usize)>),
    /// The disk is as fast as before.
    Disk(usize),
    /// The process has its time again.
    Starved(usize),
    /// The disk has room again.
    Room(usize),
    /// These links come back, and go again so many times.
    Flap { era: u64, links: Vec<(usize, usize)>, left: u32, is_cut: bool },
    /// A node that was told to stop is gone.
    PowerOff { host: usize, life: u64 },
}

/// Kinds of fault.
#[derive(Clone, Copy)]
enum Kind {
    Crash,
    CrashAll,
    Stop,
    Pause,
    Partition,
    OneWay,
    Partial,
    SlowLink,
    SlowDisk,
    Starve,
    Flap,
    Layout,
    Drift,
    Leap,
    FullDisk,
    SyncError,
    Rot,
    Wipe,
    Transfer,
    Stranger,
}

/// Longer than any run.
const FOR_GOOD: Duration = Duration::from_secs(1_000_000_000);

/// Disks lose what they promised only where so many vote: one of them can be spared then, and two
/// are a quorum of what is left.
const VOTERS_FOR_DAMAGE: usize = 3;

/// A clock leaps by so much at most.
const LEAP_MOST: Duration = Duration::from_secs(6 * 3_600);

/// Leaps are halved up to so many times less one: those of the length of a time-out are as likely
/// as those of hours.
const LEAP_HALVINGS: u64 = 20;

/// A sync on a disk that stays slow takes up to this.
const SLOW_FOR_GOOD: Duration = Duration::from_millis(400);

/// A process told to stop is gone after this, at most.
const STOP_TAKES: Duration = Duration::from_millis(300);

impl<S: Subject> World<S> {
    /// Plans the next fault.
    pub(crate) fn plan_fault(&mut self) {
        let every = self.profile.faults.every;
        if every.is_zero() || self.healed.is_some() {
            return;
        }
        let after = self.draws.fault.duration(Duration::ZERO, every * 2);
        let at = self.next_busy(self.time + after, 0);
        self.queue.push(at, Happening::Fault);
    }

    pub(crate) fn on_fault(&mut self) {
        if self.healed.is_some() {
            return;
        }
        self.plan_fault();
        let kinds = self.enabled_kinds();
        let Some(kind) = self.draws.fault.pick(&kinds).copied() else { return };
        self.counts.faults += 1;
        let victim = self.victim();
        let lasts = self.fault_time();
        match kind {
            Kind::Crash => self.crash_soon(victim),
            Kind::CrashAll => {
                for host in 0..self.hosts.len() {
                    self.crash_for_a_while(host);
                }
            }
            Kind::Stop => self.stop(victim),
            Kind::Pause => self.pause(victim, lasts),
            Kind::Partition => {
                let links = split(&mut self.draws.fault, self.hosts.len(), victim);
                self.cut(links, lasts);
            }
            Kind::OneWay => {
                let links = one_way(&mut self.draws.fault, self.hosts.len(), victim);
                self.cut(links, lasts);
            }
            Kind::Partial => {
                let links = some_links(&mut self.draws.fault, self.hosts.len());
                self.cut(links, lasts);
            }
            Kind::SlowLink => self.slow_links(lasts),
            Kind::SlowDisk => self.slow_disk(victim, lasts),
            Kind::Starve => self.starve(victim, lasts),
            Kind::Flap => self.flap(victim),
            Kind::Layout => {
                let links = layout(&mut self.draws.fault, self.hosts.len());
                self.cut(links, lasts);
            }
            Kind::Drift => self.drift(victim),
            Kind::Leap => self.leap(victim),
            Kind::FullDisk => self.fill_disk(victim, lasts),
            Kind::SyncError => self.hosts[victim].sync_fails = true,
            Kind::Rot => self.damage(victim, Damage::Part),
            Kind::Wipe => self.damage(victim, Damage::All),
            Kind::Transfer => self.transfer(victim),
            Kind::Stranger => self.hear_stranger(victim),
        }
    }

    fn enabled_kinds(&self) -> Vec<Kind> {
        let faults = &self.profile.faults;
        let all = [
            (faults.crash, Kind::Crash),
            (faults.crash_all, Kind::CrashAll),
            (faults.stop, Kind::Stop),
            (faults.pause, Kind::Pause),
            (faults.partition, Kind::Partition),
            (faults.one_way, Kind::OneWay),
            (faults.partial, Kind::Partial),
            (faults.slow_link, Kind::SlowLink),
            (faults.slow_disk, Kind::SlowDisk),
            (faults.starve, Kind::Starve),
            (faults.flap, Kind::Flap),
            (faults.layout, Kind::Layout),
            (faults.drift, Kind::Drift),
            (faults.leap, Kind::Leap),
            (faults.full_disk, Kind::FullDisk),
            (faults.sync_error, Kind::SyncError),
            (faults.rot, Kind::Rot),
            (faults.wipe, Kind::Wipe),
            (faults.transfer, Kind::Transfer),
            (faults.stranger, Kind::Stranger),
        ];
        all.into_iter().filter(|(is_on, _)| *is_on).map(|(_, kind)| kind).collect()
    }

    fn victim(&mut self) -> usize {
        let any = self.draws.fault.below(self.hosts.len() as u64) as usize;
        let hits_leader = self.draws.fault.chance(self.profile.faults.leader_ppm);
        if hits_leader { self.leader().unwrap_or(any) } else { any }
    }

    fn fault_time(&mut self) -> Duration {
        let lasts = self.profile.faults.lasts.max(Duration::from_millis(20));
        self.draws.fault.duration(Duration::from_millis(10), lasts)
    }

    /// Power is gone, and comes back.
    pub(crate) fn crash_for_a_while(&mut self, host: usize) {
        if self.hosts[host].process.is_none() || self.healed.is_some() {
            return;
        }
        self.crash(host);
        let after = self.fault_time();
        self.plan_mend(after, Mend::Start(host));
    }

    /// At once, or between two outputs of the next batch.
    fn crash_soon(&mut self, host: usize) {
        let outputs = self.draws.fault.below(6) as usize;
        let in_batch = self.draws.fault.chance(500_000);
        match &mut self.hosts[host].process {
            Some(process) if in_batch => process.cut_after = Some(outputs),
            _ => self.crash_for_a_while(host),
        }
    }

    /// A write was acknowledged: the worst moment to lose power.
    pub(crate) fn crash_after_ack(&mut self, place: usize) {
        let often = self.profile.faults.crash_after_ack_ppm;
        if often == 0 || self.healed.is_some() || !self.draws.fault.chance(often) {
            return;
        }
        match self.draws.fault.below(4) {
            0 => (0..self.hosts.len()).for_each(|host| self.crash_for_a_while(host)),
            1 => self.crash_for_a_while(place),
            _ => {
                let leader = self.leader().unwrap_or(place);
                self.crash_for_a_while(leader);
            }
        }
    }

    fn stop(&mut self, host: usize) {
        let after = self.draws.fault.duration(Duration::from_millis(1), STOP_TAKES);
        let life = self.hosts[host].life;
        let Some(process) = &mut self.hosts[host].process else { return };
        process.is_stopping = true;
        self.plan_mend(after, Mend::PowerOff { host, life });
        self.arrive(host, S::shutdown());
        self.rouse_soon(host);
    }

    fn pause(&mut self, host: usize, lasts: Duration) {
        let Some(process) = &mut self.hosts[host].process else { return };
        if process.is_paused {
            return;
        }
        process.is_paused = true;
        self.trace.tell(self.time, format_args!("{:?} pauses", self.hosts[host].id));
        self.plan_mend(lasts, Mend::Resume(host));
    }

    fn cut(&mut self, links: Vec<(usize, usize)>, lasts: Duration) {
        let is_stalling = self.draws.fault.chance(400_000);
        for (from, to) in &links {
            self.net.cut(*from, *to, is_stalling);
        }
        self.trace.tell(self.time, format_args!("links are cut: {links:?} stalling={is_stalling}"));
        self.plan_mend(lasts, Mend::Links { era: self.net.era(), links });
    }

    fn slow_links(&mut self, lasts: Duration) {
        let links = some_links(&mut self.draws.fault, self.hosts.len());
        let by = self.fault_time() / 2;
        for (from, to) in &links {
            self.net.slow(*from, *to, by);
        }
        self.trace.tell(self.time, format_args!("links are slow by {by:?}: {links:?}"));
        self.plan_mend(lasts, Mend::Speed(links));
    }

    fn slow_disk(&mut self, host: usize, lasts: Duration) {
        let by = self.fault_time() / 4;
        self.hosts[host].slow_disk = by;
        self.trace
            .tell(self.time, format_args!("disk of {:?} is slow by {by:?}", self.hosts[host].id));
        self.plan_mend(lasts, Mend::Disk(host));
    }

    fn starve(&mut self, host: usize, lasts: Duration) {
        let by = self.fault_time() / 16;
        self.hosts[host].starved = by;
        let id = self.hosts[host].id;
        self.trace.tell(self.time, format_args!("{id:?} starves: {by:?} for every batch"));
        self.plan_mend(lasts, Mend::Starved(host));
    }

    fn flap(&mut self, victim: usize) {
        let links: Vec<(usize, usize)> = if self.draws.fault.chance(500_000) {
            pairs(self.hosts.len()).filter(|(from, to)| *from == victim || *to == victim).collect()
        } else {
            some_links(&mut self.draws.fault, self.hosts.len())
        };
        let left = 2 + self.draws.fault.below(8) as u32 * 2;
        self.trace.tell(self.time, format_args!("links flap: {links:?}"));
        self.flap_on(links, left, false);
    }

    fn flap_on(&mut self, links: Vec<(usize, usize)>, left: u32, was_cut: bool) {
        for (from, to) in &links {
            if was_cut {
                let released = self.net.mend(*from, *to, self.time);
                self.queue_parcels(released);
            } else {
                self.net.cut(*from, *to, false);
            }
        }
        if left > 0 {
            let after = self.fault_time() / 4;
            let era = self.net.era();
            self.plan_mend(after, Mend::Flap { era, links, left: left - 1, is_cut: !was_cut });
        }
    }

    /// Another rate, within what clocks may do.
    fn drift(&mut self, host: usize) {
        let drift = self.profile.machines.draw_drift(&mut self.draws.fault);
        let Some(process) = &mut self.hosts[host].process else { return };
        let shown = process.clock.now(self.time);
        process.clock = Clock::started(self.time, shown.0, drift);
        let id = self.hosts[host].id;
        self.trace.tell(self.time, format_args!("the clock of {id:?} drifts by {drift} ppm"));
    }

    /// A clock shows hours that have not passed, as that of a machine that was moved may. Two
    /// promises rest on clocks that drift only: that leases of keys last, on the leader's; and
    /// reads by lease, on those of all others. Who leads is known at this moment alone, which is
    /// enough: a node that comes to lead gives leases their whole time, and one that leads has
    /// outlived the lease of whoever led before it.
    fn leap(&mut self, host: usize) {
        let by = self.draws.fault.duration(Duration::from_millis(1), LEAP_MOST);
        let by = by / (1 << self.draws.fault.below(LEAP_HALVINGS));
        let leads = self.leader() == Some(host);
        let is_harmless = match leads {
            true => self.profile.load.holders == 0 && self.profile.load.careful == 0,
            false => !self.profile.raft.lease_reads,
        };
        let Some(process) = &mut self.hosts[host].process else { return };
        if !is_harmless || (!leads && process.seen[0].role == Role::Leader) {
            return;
        }
        process.clock.leap(self.time, by);
        let id = self.hosts[host].id;
        self.trace.tell(self.time, format_args!("the clock of {id:?} leaps by {by:?}"));
        self.rouse_soon(host);
    }

    fn fill_disk(&mut self, host: usize, lasts: Duration) {
        self.hosts[host].is_full = true;
        self.trace.tell(self.time, format_args!("disk of {:?} is full", self.hosts[host].id));
        self.arrive(host, S::disk(DiskRoom::Full));
        self.rouse_soon(host);
        self.plan_mend(lasts, Mend::Room(host));
    }

    fn make_room(&mut self, host: usize) {
        if std::mem::take(&mut self.hosts[host].is_full) {
            self.arrive(host, S::disk(DiskRoom::Room));
            self.rouse_soon(host);
        }
    }

    /// A disk has lost what it promised. Only where the others still have it all: no group
    /// survives more, and none promises to.
    fn damage(&mut self, host: usize, damage: Damage) {
        if !S::survives_damage() || !self.can_spare(host) {
            return;
        }
        self.crash_for_a_while(host);
        if self.hosts[host].process.is_some() {
            return;
        }
        self.hosts[host].was_damaged = true;
        self.hosts[host].lost_when = self.committed();
        self.hosts[host].disk.damage(&mut self.draws.fault, damage);
        let id = self.hosts[host].id;
        self.trace.tell(self.time, format_args!("disk of {id:?} has lost: {damage:?}"));
    }

    /// R11: a replica takes part again only once it has all that was committed when its disk lost
    /// what it had promised.
    pub(crate) fn check_rebuilt(&self, place: usize, commit: Index) -> Result<(), Broken> {
        let Host { id, lost_when, .. } = &self.hosts[place];
        if commit >= *lost_when {
            return Ok(());
        }
        let facts = format!(
            "{id:?} ends its rebuilding at {commit}; {lost_when} was committed when its disk lost \
             what it had promised"
        );
        Err(Broken::new("R11", facts))
    }

    /// Whether a quorum has everything without this one, and every voter of it is whole.
    fn can_spare(&self, host: usize) -> bool {
        let Some(leader) = self.leader().and_then(|place| self.hosts[place].process.as_ref())
        else {
            return false;
        };
        let [in_force, committed] = leader.subject.configurations();
        let whole = |host: &crate::host::Host<S>| !host.disk.is_rebuilding();
        in_force == committed
            && !in_force.is_joint()
            && in_force.voters.len() >= VOTERS_FOR_DAMAGE
            && self.hosts[host].process.is_some()
            && self.hosts.iter().all(whole)
            && self.do_vote_as_founded(1)
            && !S::is_shrinking(self)
    }

    /// Whether nobody's vote is taken away in any of the groups from this one on; the control group
    /// is the first. The newest configuration is on the disk of somebody.
    pub(crate) fn do_vote_as_founded(&self, first: usize) -> bool {
        let groups = (first..S::groups(&self.crowd)).map(|group| GroupId(group as u64));
        let mut all = groups.flat_map(|group| self.hosts.iter().map(move |host| (host, group)));
        all.all(|(host, group)| {
            // What is on the disk about commits is older than what a running machine knows.
            let seen = host.process.as_ref().and_then(|it| it.seen.get(group.0 as usize));
            host.disk.votes_as_founded(group, seen.map_or(Index::ZERO, |seen| seen.commit))
        })
    }

    fn transfer(&mut self, victim: usize) {
        let Some(leader) = self.leader() else { return };
        let to = self.hosts[victim].id;
        S::on_transfer(self, leader, to);
    }

    /// A leader of another cluster, which has the address, the identity and the term of the one
    /// that the victim follows, sends it a snapshot.
    fn hear_stranger(&mut self, victim: usize) {
        let founders = (0..self.profile.first_voters()).map(id_of);
        let Some(process) = &self.hosts[victim].process else { return };
        let Some(leader) = process.seen[0].leader.filter(|id| *id != self.hosts[victim].id) else {
            return;
        };
        let voters = Configuration::of_voters(founders);
        let Some(message) = S::of_another_cluster(&process.seen[0], voters) else { return };
        let id = self.hosts[victim].id;
        self.trace.tell(self.time, format_args!("{id:?} hears {leader:?} of another cluster"));
        self.arrive(victim, S::received(leader, message));
        self.rouse_soon(victim);
    }

    pub(crate) fn on_mend(&mut self, mend: Mend) {
        match mend {
            Mend::Start(host) => self.start(host),
            Mend::Resume(host) => self.resume(host),
            Mend::Links { era, .. } if era != self.net.era() => {}
            Mend::Links { links, .. } => {
                for (from, to) in links {
                    let released = self.net.mend(from, to, self.time);
                    self.queue_parcels(released);
                }
            }
            Mend::Speed(links) => {
                for (from, to) in links {
                    self.net.slow(from, to, Duration::ZERO);
                }
            }
            Mend::Disk(host) => self.hosts[host].slow_disk = Duration::ZERO,
            Mend::Starved(place) => self.feed(place),
            Mend::Room(host) => self.make_room(host),
            Mend::Flap { era, .. } if era != self.net.era() => {}
            Mend::Flap { links, left, is_cut, .. } => self.flap_on(links, left, is_cut),
            Mend::PowerOff { host, life } => {
                if self.hosts[host].life == life {
                    self.crash_for_a_while(host);
                }
            }
        }
    }

    fn queue_parcels(&mut self, parcels: Vec<(Time, Box<Parcel<S::Message>>)>) {
        for (at, parcel) in parcels {
            self.queue.push(at, Happening::Parcel(parcel));
        }
    }

    fn feed(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        host.starved = Duration::ZERO;
        host.hindered = self.time;
        self.trace.tell(self.time, format_args!("{:?} starves no more", host.id));
    }

    fn resume(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        let Some(process) = &mut host.process else { return };
        if !process.is_paused {
            return;
        }
        process.is_paused = false;
        host.hindered = self.time;
        self.trace.tell(self.time, format_args!("{:?} goes on", host.id));
        self.rouse_soon(place);
    }

    /// One node is hindered until all is mended: dead, still, alone, deaf, mute, with a full or a
    /// slow disk, or with one link that is cut one way or both.
    pub(crate) fn hit_for_good(&mut self, victim: usize) {
        let (to, from) = match self.draws.fault.below(9) {
            0 => {
                self.hosts[victim].standing = Standing::Gone;
                return self.crash(victim);
            }
            1 => return self.pause(victim, FOR_GOOD),
            2 => return self.fill_disk(victim, FOR_GOOD),
            3 => {
                let by = self.draws.fault.duration(Duration::from_millis(5), SLOW_FOR_GOOD);
                self.hosts[victim].slow_disk = by;
                let text = format_args!("disk of {:?} stays slow", self.hosts[victim].id);
                return self.trace.tell(self.time, text);
            }
            4 => return self.cut_for_good(victim),
            5 | 6 => (true, true),
            7 => (true, false),
            _ => (false, true),
        };
        let is_hit = |link: &(usize, usize)| to && link.1 == victim || from && link.0 == victim;
        let links = pairs(self.hosts.len()).filter(is_hit).collect();
        self.cut_links_for_good(links);
    }

    /// One link of a node is cut: the node at its other end is a victim, too.
    fn cut_for_good(&mut self, victim: usize) {
        let nodes = self.hosts.len();
        let other = (victim + 1 + self.draws.fault.below(nodes as u64 - 1) as usize) % nodes;
        let mut links = vec![(victim, other)];
        if self.draws.fault.chance(500_000) {
            links.push((other, victim));
        }
        S::on_given_up(self, other);
        self.cut_links_for_good(links);
    }

    fn cut_links_for_good(&mut self, links: Vec<(usize, usize)>) {
        for (from, to) in &links {
            self.net.cut(*from, *to, false);
        }
        self.trace.tell(self.time, format_args!("links are cut to stay so: {links:?}"));
    }

    /// Every fault ends, and no more come.
    pub(crate) fn mend_all(&mut self) {
        self.net.mend_all();
        for place in 0..self.hosts.len() {
            self.hosts[place].slow_disk = Duration::ZERO;
            self.hosts[place].starved = Duration::ZERO;
            self.hosts[place].sync_fails = false;
            self.hosts[place].hindered = self.time;
            self.make_room(place);
            if let Some(process) = &mut self.hosts[place].process {
                process.cut_after = None;
                if process.is_stopping {
                    self.crash(place);
                }
            }
            self.resume(place);
            self.start(place);
        }
    }
}

/// All links between two sides, both ways: the victim alone, or a random half; with more than three
/// nodes sometimes one node still sees both sides.
fn split(prng: &mut Prng, nodes: usize, victim: usize) -> Vec<(usize, usize)> {
    let alone = prng.chance(500_000);
    let side: Vec<bool> =
        (0..nodes).map(|node| if alone { node == victim } else { prng.chance(500_000) }).collect();
    let bridge = (nodes > 3 && prng.chance(250_000)).then(|| prng.below(nodes as u64) as usize);
    pairs(nodes)
        .filter(|(from, to)| side[*from] != side[*to])
        .filter(|(from, to)| bridge != Some(*from) && bridge != Some(*to))
        .collect()
}

/// The victim is deaf, or mute.
fn one_way(prng: &mut Prng, nodes: usize, victim: usize) -> Vec<(usize, usize)> {
    let is_deaf = prng.chance(500_000);
    pairs(nodes)
        .filter(|(from, to)| if is_deaf { *to == victim } else { *from == victim })
        .collect()
}

/// The nodes in some order, of which only neighbours reach each other: a chain, or a ring.
fn layout(prng: &mut Prng, nodes: usize) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..nodes).collect();
    prng.shuffle(&mut order);
    let is_ring = nodes > 3 && prng.chance(500_000);
    let place = |node: usize| order.iter().position(|it| *it == node).expect("each has a place");
    pairs(nodes)
        .filter(|(from, to)| {
            let apart = place(*from).abs_diff(place(*to));
            apart > 1 && !(is_ring && apart == nodes - 1)
        })
        .collect()
}

fn some_links(prng: &mut Prng, nodes: usize) -> Vec<(usize, usize)> {
    let often = 100_000 + prng.below(500_000);
    pairs(nodes).filter(|_| prng.chance(often)).collect()
}

fn pairs(nodes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..nodes)
        .flat_map(move |from| (0..nodes).map(move |to| (from, to)))
        .filter(|(from, to)| from != to)
}
