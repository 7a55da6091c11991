//! The network, and how late machines read and send.

use super::Seat;
use crate::profile::Delay;
use muslin_core::base::Prng;
use std::collections::BTreeSet;
use std::time::Duration;

/// What becomes of what is sent.
#[derive(Clone, Debug)]
pub struct Weather {
    /// From sending to arrival.
    pub delay: Delay,
    /// Datagrams lost, in a million, each for itself.
    pub loss_ppm: u64,
    /// Datagrams that arrive twice, in a million.
    pub twice_ppm: u64,
}

impl Weather {
    /// One data centre, with so many datagrams lost in a million.
    pub fn lan(loss_ppm: u64) -> Weather {
        let delay = Delay::between(Duration::from_micros(200), Duration::from_millis(1));
        Weather { delay, loss_ppm, twice_ppm: 0 }
    }
}

/// How late a machine reads what has arrived, and how late what it sends leaves it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lag {
    /// Reads so late.
    pub reads: Duration,
    /// Sends so late.
    pub sends: Duration,
}

impl Lag {
    /// Whether it is as fast as the others.
    pub fn is_none(self) -> bool {
        self == Lag::default()
    }
}

/// Nodes that have not spoken wait so long for the first answer of a handshake: three times the
/// round trip that the transport of the product assumes at first (RFC 9002, section 6.2.2).
const FIRST_RETRY: Duration = Duration::from_millis(30);

/// Afterwards: the round trip, and what the other may wait before it acknowledges (25 ms).
const LATER_RETRY: Duration = Duration::from_millis(30);

/// After so many doublings a connection is given up.
const RETRIES_MAX: u32 = 6;

/// All ways between all machines.
pub(crate) struct Air {
    pub(crate) weather: Weather,
    prng: Prng,
    lags: Vec<Lag>,
    /// Machines on different sides do not hear each other.
    sides: Vec<u8>,
    /// Nothing passes from the first to the second.
    cuts: BTreeSet<(Seat, Seat)>,
}

impl Air {
    pub(crate) fn new(weather: Weather, prng: Prng) -> Air {
        Air { weather, prng, lags: Vec::new(), sides: Vec::new(), cuts: BTreeSet::new() }
    }

    /// One more machine.
    pub(crate) fn grow(&mut self) {
        self.lags.push(Lag::default());
        self.sides.push(0);
    }

    pub(crate) fn lag(&self, seat: Seat) -> Lag {
        self.lags[seat.index()]
    }

    pub(crate) fn set_lag(&mut self, seat: Seat, lag: Lag) {
        self.lags[seat.index()] = lag;
    }

    pub(crate) fn set_side(&mut self, seat: Seat, side: u8) {
        self.sides[seat.index()] = side;
    }

    pub(crate) fn cut(&mut self, from: Seat, to: Seat) {
        self.cuts.insert((from, to));
    }

    /// Ends all cuts.
    pub(crate) fn mend(&mut self) {
        self.cuts.clear();
        self.sides.fill(0);
    }

    fn is_cut(&self, from: Seat, to: Seat) -> bool {
        self.sides[from.index()] != self.sides[to.index()]
            || (!self.cuts.is_empty() && self.cuts.contains(&(from, to)))
    }

    /// After how long a datagram is read; `None` when it is lost.
    pub(crate) fn datagram(&mut self, from: Seat, to: Seat) -> Option<Duration> {
        if self.is_cut(from, to) || self.prng.chance(self.weather.loss_ppm) {
            return None;
        }
        Some(self.way(from, to))
    }

    /// Whether a datagram comes a second time, and after how long.
    pub(crate) fn again(&mut self, from: Seat, to: Seat) -> Option<Duration> {
        let is_doubled = self.weather.twice_ppm > 0 && self.prng.chance(self.weather.twice_ppm);
        is_doubled.then(|| self.way(from, to) * 2)
    }

    /// After how long what is sent on a stream is read. A fresh one takes a handshake first: there
    /// and back.
    pub(crate) fn stream(&mut self, (from, to): (Seat, Seat), is_fresh: bool) -> Option<Duration> {
        let mut after = Duration::ZERO;
        if is_fresh {
            after += self.insisted(from, to, FIRST_RETRY)?;
            after += self.insisted(to, from, FIRST_RETRY)?;
        }
        Some(after + self.insisted(from, to, LATER_RETRY)?)
    }

    /// What a stream does about loss: it sends again, each time after twice the time.
    fn insisted(&mut self, from: Seat, to: Seat, retry: Duration) -> Option<Duration> {
        let mut waited = Duration::ZERO;
        for times in 0..RETRIES_MAX {
            if let Some(way) = self.datagram(from, to) {
                return Some(waited + way);
            }
            waited += retry * (1 << times);
        }
        None
    }

    fn way(&mut self, from: Seat, to: Seat) -> Duration {
        let delay = self.weather.delay.draw(&mut self.prng);
        delay + self.lags[from.index()].sends + self.lags[to.index()].reads
    }
}
