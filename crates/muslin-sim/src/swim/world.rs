//! Thousands of machines that do nothing but watch each other, in virtual time.

use super::air::{Air, Lag, Weather};
use super::books::{Books, Clerk, Detection, HEADER_BYTES, Obituary, Standing};
use super::rules::{Broken, Rules};
use super::{Belief, Birth, Effect, Happening, Peer, Seat, Setup, Sight};
use crate::checkers::Violation;
use crate::queue::Queue;
use crate::time::{Clock, Time};
use crate::trace::WordHash;
use muslin_core::base::Prng;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// Clocks of machines differ in rate by up to so many millionths either way: quartz, not atoms.
const DRIFT_PPM: u64 = 100;

/// Datagrams that wait at a machine that stands still; more are dropped, as by its kernel.
const BACKLOG_MAX: usize = 1_024;

/// A connection that was not used this long is closed.
const STREAM_KEPT: Duration = Duration::from_secs(30);

/// One world.
pub struct World<P: Peer> {
    seed: u64,
    setup: Setup,
    now: Time,
    queue: Queue<Due<P>>,
    hosts: Vec<Host<P>>,
    air: Air,
    prng: Prng,
    rules: Rules,
    hash: WordHash,
    events: u64,
    /// More steps than this are a storm.
    events_most: u64,
    clerk: Clerk,
    /// When a connection between two was last used.
    streams: HashMap<(Seat, Seat), Time>,
    /// The death that is being watched.
    obituary: Option<Obituary>,
    /// Emptied after every step.
    effects: Vec<Effect<P>>,
}

/// One machine.
struct Host<P: Peer> {
    peer: Option<P>,
    clock: Clock,
    /// When it is going to be woken, by the earliest entry of the queue that is still good.
    wakes: Option<Time>,
    power: Power,
    /// What waits while it stands still.
    backlog: Vec<Happening<P>>,
    /// Bytes of datagrams, since the books were closed.
    sent: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Power {
    Off,
    Running,
    StandingStill,
}

/// What is going to happen.
enum Due<P: Peer> {
    Wake(Seat),
    Happens(Seat, Happening<P>),
}

impl<P: Peer> World<P> {
    /// A world without machines.
    pub fn new(seed: u64, setup: Setup, weather: Weather) -> World<P> {
        let mut prng = Prng::seeded(seed);
        let air = Air::new(weather, prng.fork());
        World {
            seed,
            setup,
            now: Time::START,
            queue: Queue::new(),
            hosts: Vec::new(),
            air,
            prng,
            rules: Rules::default(),
            hash: WordHash::new(),
            events: 0,
            events_most: u64::MAX,
            clerk: Clerk::default(),
            streams: HashMap::new(),
            obituary: None,
            effects: Vec::new(),
        }
    }

    /// The moment.
    pub fn now(&self) -> Time {
        self.now
    }

    /// More steps than so many in all are a violation of their own (`storm`).
    pub fn set_events_most(&mut self, most: u64) {
        self.events_most = most;
    }

    /// Steps of machines so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Closes the books: what was counted since the last time.
    pub fn close_books(&mut self) -> Books {
        let mut books = std::mem::take(&mut self.clerk.books);
        let sent = self.hosts.iter_mut().map(|host| std::mem::take(&mut host.sent));
        books.busiest_bytes = sent.max().unwrap_or(0);
        books
    }

    /// A number made of all that happened.
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// Random numbers for whoever directs the world.
    pub fn prng(&mut self) -> &mut Prng {
        &mut self.prng
    }

    /// Adds a machine, which does not run yet.
    pub fn add(&mut self) -> Seat {
        let seat = Seat(self.hosts.len() as u32);
        let offset = self.prng.below(1 << 40);
        let drift = self.prng.below(2 * DRIFT_PPM + 1) as i64 - DRIFT_PPM as i64;
        self.hosts.push(Host {
            peer: None,
            clock: Clock::started(Time::START, offset, drift),
            wakes: None,
            power: Power::Off,
            backlog: Vec::new(),
            sent: 0,
        });
        self.air.grow();
        seat
    }

    /// Starts a process on a machine that has none.
    pub fn start(
        &mut self,
        seat: Seat,
        known: &[Seat],
        contacts: &[Seat],
    ) -> Result<(), Violation> {
        let seed = self.prng.draw();
        let host = &mut self.hosts[seat.index()];
        assert!(host.power == Power::Off, "a machine runs one process");
        let now = host.clock.now(self.now);
        let birth = Birth { seat, setup: &self.setup, known, contacts, seed, now };
        host.peer = Some(P::begin(birth, &mut self.effects));
        host.power = Power::Running;
        host.wakes = None;
        self.rules.begin(seat);
        self.finish_step(seat)
    }

    /// A machine loses power.
    pub fn kill(&mut self, seat: Seat) {
        let host = &mut self.hosts[seat.index()];
        host.peer = None;
        host.power = Power::Off;
        host.backlog.clear();
        host.wakes = None;
    }

    /// A machine loses power, and who learns of it is noted.
    pub fn kill_watched(&mut self, seat: Seat) {
        let follow = |other: &Seat| {
            let host = &self.hosts[other.index()];
            let is_judge = host.power == Power::Running && self.air.lag(*other).is_none();
            let belief = host.peer.as_ref().and_then(|peer| peer.belief(seat));
            *other != seat && is_judge && belief == Some(Belief::Live)
        };
        let watchers: BTreeSet<Seat> = self.seats().filter(follow).collect();
        self.obituary = Some(Obituary::new(seat, self.now, watchers));
        self.kill(seat);
    }

    /// Who has learned of the last death that was watched.
    pub fn detection(&self) -> Option<Detection> {
        self.obituary.as_ref().map(Obituary::detection)
    }

    /// Whether all have.
    pub fn is_known_to_all(&self) -> bool {
        self.obituary.as_ref().is_none_or(Obituary::is_known_to_all)
    }

    /// A process stands still.
    pub fn pause(&mut self, seat: Seat) {
        let host = &mut self.hosts[seat.index()];
        if host.power == Power::Running {
            host.power = Power::StandingStill;
        }
    }

    /// It goes on: first with what came meanwhile, then with its timers.
    pub fn resume(&mut self, seat: Seat) -> Result<(), Violation> {
        let host = &mut self.hosts[seat.index()];
        if host.power != Power::StandingStill {
            return Ok(());
        }
        host.power = Power::Running;
        let mut backlog = std::mem::take(&mut host.backlog);
        backlog.sort_by_key(|what| matches!(what, Happening::Timer(_)));
        for what in backlog {
            self.step(seat, what)?;
        }
        self.step(seat, Happening::Tick)
    }

    /// From here on a machine reads and sends late.
    pub fn set_lag(&mut self, seat: Seat, lag: Lag) {
        self.air.set_lag(seat, lag);
    }

    /// Those on different sides do not hear each other.
    pub fn set_side(&mut self, seat: Seat, side: u8) {
        self.air.set_side(seat, side);
    }

    /// Nothing passes from one to another.
    pub fn cut(&mut self, from: Seat, to: Seat) {
        self.air.cut(from, to);
    }

    /// Everybody hears everybody.
    pub fn mend(&mut self) {
        self.air.mend();
    }

    /// From here on so many datagrams in a million are lost.
    pub fn set_loss(&mut self, ppm: u64) {
        self.air.weather.loss_ppm = ppm;
    }

    /// Whether a machine has a process, be it that it stands still.
    pub fn is_on(&self, seat: Seat) -> bool {
        self.hosts[seat.index()].power != Power::Off
    }

    /// An expectation of whoever directs this world that was not met.
    pub fn broken(&self, invariant: &'static str, facts: String) -> Violation {
        self.violation((invariant, facts))
    }

    /// All machines.
    pub fn seats(&self) -> impl Iterator<Item = Seat> + use<P> {
        (0..self.hosts.len() as u32).map(Seat)
    }

    /// Those that run, and how each sees the others.
    pub fn running(&self) -> impl Iterator<Item = (Seat, &P)> {
        self.seats().zip(&self.hosts).filter_map(|(seat, host)| {
            let peer = host.peer.as_ref().filter(|_| host.power == Power::Running)?;
            Some((seat, peer))
        })
    }

    /// Whether a machine reads and sends at once.
    pub fn is_quick(&self, seat: Seat) -> bool {
        self.air.lag(seat).is_none()
    }

    /// Whether each that runs believes in exactly so many others.
    pub fn all_see(&self, others: usize) -> bool {
        self.running().all(|(_, peer)| peer.live() == others)
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) -> Result<(), Violation> {
        let end = self.now + time;
        while let Some((at, due)) = self.queue.pop_until(end) {
            self.now = at;
            if self.events > self.events_most {
                return Err(self.broken("storm", format!("{} steps so far", self.events)));
            }
            match due {
                Due::Wake(seat) => self.wake(seat)?,
                Due::Happens(seat, what) => self.happen(seat, what)?,
            }
        }
        self.now = end;
        Ok(())
    }

    /// Lets time pass until something holds, asked every `every`, at most `most`; how long it took.
    pub fn run_until(
        &mut self,
        (every, most): (Duration, Duration),
        holds: impl Fn(&World<P>) -> bool,
    ) -> Result<Option<Duration>, Violation> {
        let began = self.now;
        while !holds(self) {
            if self.now.since(began) >= most {
                return Ok(None);
            }
            self.run_for(every)?;
        }
        Ok(Some(self.now.since(began)))
    }

    fn wake(&mut self, seat: Seat) -> Result<(), Violation> {
        let host = &mut self.hosts[seat.index()];
        // An entry that an earlier one has overtaken, or of a process that is gone.
        if host.wakes != Some(self.now) {
            return Ok(());
        }
        host.wakes = None;
        let Some(peer) = host.peer.as_ref().filter(|_| host.power == Power::Running) else {
            return Ok(());
        };
        if peer.deadline().is_some_and(|at| at <= host.clock.now(self.now)) {
            return self.step(seat, Happening::Tick);
        }
        self.plan_wake(seat);
        Ok(())
    }

    fn happen(&mut self, seat: Seat, what: Happening<P>) -> Result<(), Violation> {
        let host = &mut self.hosts[seat.index()];
        match host.power {
            Power::Off => Ok(()),
            Power::Running => self.step(seat, what),
            Power::StandingStill => {
                let is_timer = matches!(what, Happening::Timer(_));
                if is_timer || host.backlog.len() < BACKLOG_MAX {
                    host.backlog.push(what);
                }
                Ok(())
            }
        }
    }

    fn step(&mut self, seat: Seat, what: Happening<P>) -> Result<(), Violation> {
        self.events += 1;
        self.hash.word(self.now.0);
        self.hash.word(u64::from(seat.0) << 3 | kind(&what));
        let host = &mut self.hosts[seat.index()];
        let now = host.clock.now(self.now);
        let Some(peer) = host.peer.as_mut() else { return Ok(()) };
        peer.handle(now, what, &mut self.effects);
        self.finish_step(seat)
    }

    /// Does what a step asked for, looks at what it came to, and plans the next.
    fn finish_step(&mut self, seat: Seat) -> Result<(), Violation> {
        let mut effects = std::mem::take(&mut self.effects);
        let done = effects.drain(..).try_for_each(|effect| self.carry_out(seat, effect));
        self.effects = effects;
        let host = &self.hosts[seat.index()];
        let life = host.peer.as_ref().map_or(0, Peer::life);
        let checked = done.and_then(|()| match P::IS_JUDGED {
            true => self.rules.check_life(seat, life),
            false => Ok(()),
        });
        checked.map_err(|broken| self.violation(broken))?;
        self.plan_wake(seat);
        Ok(())
    }

    fn violation(&self, (invariant, facts): Broken) -> Violation {
        Violation { seed: self.seed, at: self.now, invariant, facts }
    }

    fn plan_wake(&mut self, seat: Seat) {
        let host = &mut self.hosts[seat.index()];
        let Some(deadline) = host.peer.as_ref().and_then(Peer::deadline) else { return };
        let at = host.clock.when(deadline).max(self.now);
        if host.wakes.is_none_or(|planned| at < planned) {
            host.wakes = Some(at);
            self.queue.push(at, Due::Wake(seat));
        }
    }

    fn carry_out(&mut self, seat: Seat, effect: Effect<P>) -> Result<(), Broken> {
        match effect {
            Effect::Send { to, packet, bytes } => {
                Rules::check_bytes(seat, bytes, P::PACKET_BYTES_MAX)?;
                self.send(seat, to, packet, bytes);
            }
            Effect::Wake { after, timer } => {
                let what = Happening::Timer(timer);
                self.queue.push(self.now + after, Due::Happens(seat, what));
            }
            Effect::Stream { to, packet, is_question } => {
                self.clerk.books.questions += u64::from(is_question);
                self.send_on_stream(seat, to, packet);
            }
            Effect::Saw { of, sight } => {
                if P::IS_JUDGED {
                    self.rules.check(seat, of, sight)?;
                }
                self.note(seat, of, sight);
            }
        }
        Ok(())
    }

    fn send(&mut self, from: Seat, to: Seat, packet: P::Packet, bytes: usize) {
        self.clerk.books.packets += 1;
        self.clerk.books.bytes += bytes as u64 + HEADER_BYTES;
        self.hash.word(u64::from(to.0) << 16 | bytes as u64);
        self.hosts[from.index()].sent += bytes as u64 + HEADER_BYTES;
        if to.index() >= self.hosts.len() {
            return;
        }
        if let Some(after) = self.air.again(from, to) {
            let what = Happening::Packet { from, packet: packet.clone() };
            self.queue.push(self.now + after, Due::Happens(to, what));
        }
        if let Some(after) = self.air.datagram(from, to) {
            let what = Happening::Packet { from, packet };
            self.queue.push(self.now + after, Due::Happens(to, what));
        }
    }

    /// Something goes out on a stream. A connection is kept for a while.
    fn send_on_stream(&mut self, from: Seat, to: Seat, packet: P::Packet) {
        self.hash.word(u64::from(to.0) << 16 | 1);
        if to.index() >= self.hosts.len() {
            return;
        }
        let pair = (from.min(to), from.max(to));
        let last = self.streams.insert(pair, self.now);
        let is_fresh = last.is_none_or(|last| self.now.since(last) > STREAM_KEPT);
        self.clerk.books.dials += u64::from(is_fresh);
        if let Some(after) = self.air.stream((from, to), is_fresh) {
            let what = Happening::Stream { from, packet };
            self.queue.push(self.now + after, Due::Happens(to, what));
        }
    }

    fn note(&mut self, by: Seat, of: Seat, sight: Sight) {
        let standing = Standing {
            is_running: self.hosts[of.index()].power != Power::Off,
            is_quick: self.is_quick(of),
            speaks_quickly: self.is_quick(by),
        };
        self.clerk.note(by, of, sight, standing);
        if let (Sight::Down { .. } | Sight::Left, Some(obituary)) = (sight, &mut self.obituary) {
            obituary.note(by, of, self.now);
        }
    }
}

/// A number for each kind of happening, for the hash.
fn kind<P: Peer>(what: &Happening<P>) -> u64 {
    match what {
        Happening::Tick => 0,
        Happening::Timer(_) => 1,
        Happening::Packet { .. } => 2,
        Happening::Stream { .. } => 3,
    }
}
