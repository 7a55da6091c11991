//! What goes wrong, and how it ends.

use super::World;
use super::steps::Happening;
use crate::host::Standing;
use crate::net::Parcel;
use crate::subject::Subject;
use crate::time::Time;
use muslin_core::base::Prng;
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
    Transfer,
}

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
        self.queue.push(self.time + after, Happening::Fault);
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
            Kind::Transfer => self.transfer(victim),
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
            (faults.transfer, Kind::Transfer),
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

    fn transfer(&mut self, victim: usize) {
        let Some(leader) = self.leader() else { return };
        let to = self.hosts[victim].id;
        S::on_transfer(self, leader, to);
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

    /// One node is lost to the others until all is mended: dead, still, alone, deaf or mute.
    pub(crate) fn hit_for_good(&mut self, victim: usize) {
        let nodes = self.hosts.len();
        let (to, from) = match self.draws.fault.below(5) {
            0 => {
                self.hosts[victim].standing = Standing::Gone;
                return self.crash(victim);
            }
            1 => return self.pause(victim, Duration::from_secs(1_000_000)),
            2 => (true, true),
            3 => (true, false),
            _ => (false, true),
        };
        let is_hit = |link: &(usize, usize)| to && link.1 == victim || from && link.0 == victim;
        let links: Vec<(usize, usize)> = pairs(nodes).filter(is_hit).collect();
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
            self.hosts[place].hindered = self.time;
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

fn some_links(prng: &mut Prng, nodes: usize) -> Vec<(usize, usize)> {
    let often = 100_000 + prng.below(500_000);
    pairs(nodes).filter(|_| prng.chance(often)).collect()
}

fn pairs(nodes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..nodes)
        .flat_map(move |from| (0..nodes).map(move |to| (from, to)))
        .filter(|(from, to)| from != to)
}
