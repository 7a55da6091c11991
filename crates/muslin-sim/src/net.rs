//! The network between the machines: which links work, how fast, and what becomes of each message.

use crate::profile::Network;
use crate::time::Time;
use muslin_core::base::Prng;
use std::time::Duration;

/// One message of a stream on its way.
#[derive(Debug)]
pub(crate) struct Parcel<M> {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// The connection it was sent on; it is lost with it.
    connection: u64,
    pub(crate) message: M,
}

/// One direction between two machines.
struct Link<M> {
    /// How many faults cut it at present.
    cuts: u32,
    /// While cut, what arrives waits for the end of the cut; else it is lost.
    is_stalling: bool,
    stalled: Vec<Box<Parcel<M>>>,
    connection: u64,
    last_arrival: Time,
    /// Added to every delay.
    slow: Duration,
}

impl<M> Link<M> {
    fn new() -> Link<M> {
        Link {
            cuts: 0,
            is_stalling: false,
            stalled: Vec::new(),
            connection: 0,
            last_arrival: Time::START,
            slow: Duration::ZERO,
        }
    }
}

/// When a message arrives.
pub(crate) enum Fate {
    Lost,
    Arrives(Time),
    /// And once more.
    Twice(Time, Time),
}

/// All links.
pub(crate) struct Net<M> {
    links: Vec<Link<M>>,
    nodes: usize,
    prng: Prng,
    /// Raised when all links are mended: what was to be mended before is.
    era: u64,
}

impl<M> Net<M> {
    pub(crate) fn new(nodes: usize, prng: Prng) -> Net<M> {
        let links = std::iter::repeat_with(Link::new).take(nodes * nodes).collect();
        Net { links, nodes, prng, era: 0 }
    }

    /// How many machines it connects.
    pub(crate) fn places(&self) -> usize {
        self.nodes
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Link<M> {
        &mut self.links[from * self.nodes + to]
    }

    /// Puts a message into its parcel.
    pub(crate) fn pack(&mut self, from: usize, to: usize, message: M) -> Box<Parcel<M>> {
        let connection = self.link(from, to).connection;
        Box::new(Parcel { from, to, connection, message })
    }

    /// A parcel leaves at `at`.
    pub(crate) fn send(&mut self, profile: &Network, at: Time, parcel: &Parcel<M>) -> Fate {
        let delay = profile.delay.draw(&mut self.prng);
        if profile.disconnect_ppm > 0 && self.prng.chance(profile.disconnect_ppm) {
            self.disconnect(parcel.from, parcel.to);
        }
        if profile.ordered {
            let link = self.link(parcel.from, parcel.to);
            let arrival = (at + delay + link.slow).max(link.last_arrival);
            link.last_arrival = arrival;
            return Fate::Arrives(arrival);
        }
        if self.prng.chance(profile.loss_ppm) {
            return Fate::Lost;
        }
        let arrival = at + delay + self.link(parcel.from, parcel.to).slow;
        if self.prng.chance(profile.twice_ppm) {
            let again = profile.delay.draw(&mut self.prng) * (1 + self.prng.below(20)) as u32;
            return Fate::Twice(arrival, at + again);
        }
        Fate::Arrives(arrival)
    }

    /// A parcel comes to the end of its way: handed over, unless its link is cut or its connection
    /// gone.
    pub(crate) fn arrive(&mut self, parcel: Box<Parcel<M>>) -> Option<Box<Parcel<M>>> {
        let link = self.link(parcel.from, parcel.to);
        if parcel.connection != link.connection {
            return None;
        }
        if link.cuts == 0 {
            return Some(parcel);
        }
        if link.is_stalling {
            link.stalled.push(parcel);
        }
        None
    }

    /// When a datagram sent at `at` arrives; `None` when it is lost.
    pub(crate) fn send_datagram(
        &mut self,
        profile: &Network,
        at: Time,
        (from, to): (usize, usize),
    ) -> Fate {
        if self.prng.chance(profile.datagram_loss_ppm) {
            return Fate::Lost;
        }
        let arrival = at + profile.delay.draw(&mut self.prng) + self.link(from, to).slow;
        if self.prng.chance(profile.datagram_twice_ppm) {
            return Fate::Twice(arrival, arrival + profile.delay.draw(&mut self.prng));
        }
        Fate::Arrives(arrival)
    }

    /// Whether what is sent from one to the other is stopped at present.
    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.links[from * self.nodes + to].cuts > 0
    }

    /// One more fault cuts a link.
    pub(crate) fn cut(&mut self, from: usize, to: usize, is_stalling: bool) {
        let link = self.link(from, to);
        link.cuts += 1;
        link.is_stalling = is_stalling;
    }

    /// One fault less. What was stalled goes on, unless the connection gave up meanwhile.
    pub(crate) fn mend(
        &mut self,
        from: usize,
        to: usize,
        now: Time,
    ) -> Vec<(Time, Box<Parcel<M>>)> {
        let link = self.link(from, to);
        link.cuts = link.cuts.saturating_sub(1);
        if link.cuts > 0 {
            return Vec::new();
        }
        let stalled = std::mem::take(&mut self.link(from, to).stalled);
        if !stalled.is_empty() && self.prng.chance(300_000) {
            self.disconnect(from, to);
            return Vec::new();
        }
        let mut at = now;
        let mut released = Vec::with_capacity(stalled.len());
        for parcel in stalled {
            at = at + self.prng.duration(Duration::from_micros(10), Duration::from_millis(2));
            released.push((at, parcel));
        }
        let link = self.link(from, to);
        link.last_arrival = link.last_arrival.max(at);
        released
    }

    /// The number of the present era.
    pub(crate) fn era(&self) -> u64 {
        self.era
    }

    /// Ends every fault of every link, and the era.
    pub(crate) fn mend_all(&mut self) {
        self.era += 1;
        for link in &mut self.links {
            link.cuts = 0;
            link.stalled.clear();
            link.slow = Duration::ZERO;
        }
    }

    /// How much slower a link is from here on.
    pub(crate) fn slow(&mut self, from: usize, to: usize, by: Duration) {
        self.link(from, to).slow = by;
    }

    /// The connection of two machines is lost, with all that is under way on it.
    pub(crate) fn disconnect(&mut self, one: usize, other: usize) {
        for (from, to) in [(one, other), (other, one)] {
            self.drop_outgoing(from, to);
        }
    }

    fn drop_outgoing(&mut self, from: usize, to: usize) {
        let link = self.link(from, to);
        link.connection += 1;
        link.stalled.clear();
        link.last_arrival = Time::START;
    }

    /// A machine lost power: what is under way to it is lost. What it sent before still travels.
    pub(crate) fn on_crash(&mut self, host: usize) {
        for other in 0..self.nodes {
            self.drop_outgoing(other, host);
        }
    }

    /// A machine starts: nothing of its former life arrives any more on streams.
    pub(crate) fn on_start(&mut self, profile: &Network, host: usize) {
        if !profile.ordered {
            return;
        }
        for other in 0..self.nodes {
            self.drop_outgoing(host, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Preset, Profile};

    fn net() -> (Net<()>, Network) {
        let mut network = Profile::drawn(1, 3, Preset::Calm).network;
        network.delay.most = Duration::from_secs(1);
        (Net::new(3, Prng::seeded(1)), network)
    }

    #[test]
    fn a_stream_keeps_its_order() {
        let (mut net, network) = net();
        let mut last = Time::START;
        for number in 0..100 {
            let parcel = net.pack(0, 1, ());
            let Fate::Arrives(at) = net.send(&network, Time(number), &parcel) else {
                panic!("nothing is lost or doubled");
            };
            assert!(at >= last, "message {number} overtakes another");
            last = at;
        }
    }

    #[test]
    fn what_is_under_way_is_lost_with_its_connection() {
        let (mut net, _) = net();
        let before = net.pack(0, 1, ());
        net.disconnect(0, 1);
        let after = net.pack(0, 1, ());
        assert!(net.arrive(before).is_none());
        assert!(net.arrive(after).is_some());
    }

    #[test]
    fn a_cut_link_stalls_or_loses_what_arrives() {
        let (mut net, _) = net();
        for (is_stalling, released) in [(false, 0), (true, 1)] {
            net.cut(0, 1, is_stalling);
            net.cut(0, 1, is_stalling);
            let parcel = net.pack(0, 1, ());
            assert!(net.arrive(parcel).is_none());
            assert!(net.mend(0, 1, Time::START).is_empty(), "it is cut by another fault still");
            assert_eq!(net.mend(0, 1, Time::START).len(), released);
        }
    }
}
