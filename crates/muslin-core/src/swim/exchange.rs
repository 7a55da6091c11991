//! Anti-entropy: two nodes compare digests of their views, and tell each other the members of the
//! buckets that differ.
//!
//! A node that knows nobody differs in every bucket that is not empty, so that this is also how a
//! newcomer learns of everybody.

use super::machine::Swim;
use super::planted::Bug;
use super::{Buckets, Digest, Output, PACKET_BYTES_MAX, PacketKind, Rumor};
use crate::base::{NodeId, Now, Outputs};
use crate::wire;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

/// Once in so many probe periods somebody is asked, against rumors that were lost everywhere. A
/// digest takes 300 bytes: at one a second that is 10 bytes a second.
const SYNC_PERIODS: u32 = 30;

/// Whoever has learned something by comparing looks so many periods later whether that was all.
const SYNC_AGAIN_PERIODS: u32 = 4;

/// Packets of transfers sent in one gossip round: a thousand members a second at a period of one,
/// and less than a tenth of what a slow link carries.
const PACKETS_PER_ROUND: usize = 8;

/// Transfers that wait their turn; further askers ask again by themselves.
const TRANSFERS_MAX: usize = 32;

/// Members on their way to another node.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    waiting: VecDeque<Transfer>,
    /// Not before then does the next round of packets go.
    next_round: Now,
}

#[derive(Debug)]
struct Transfer {
    to: SocketAddr,
    /// Which members.
    buckets: Buckets,
    /// What the first packet asks for in return.
    wanted: Buckets,
    /// Whom the first packet speaks of first.
    first: Vec<NodeId>,
    /// Where it goes on.
    from: NodeId,
}

impl Transfers {
    pub(super) fn deadline(&self) -> Option<Now> {
        (!self.waiting.is_empty()).then_some(self.next_round)
    }

    fn push(&mut self, transfer: Transfer) {
        if let Some(waiting) = self.waiting.iter_mut().find(|one| one.to == transfer.to) {
            // Whoever asks again while it is being told has lost packets: it is told from the
            // beginning.
            let buckets = waiting.buckets.or(transfer.buckets);
            *waiting = Transfer { buckets, ..transfer };
        } else if self.waiting.len() < TRANSFERS_MAX {
            self.waiting.push_back(transfer);
        }
    }
}

impl Swim {
    /// What this node would like compared.
    pub(super) fn digest(&self) -> Digest {
        let mut digest = self.members.digest().clone();
        if !self.is_gone() {
            digest.toggle(self.id, self.own.incarnation);
        }
        digest
    }

    /// Asks for all that is known there and not here; at most once a gossip round.
    pub(super) fn ask_for_all(&mut self, now: Now, address: SocketAddr, out: &mut Outputs<Output>) {
        if self.sync_again_at <= now {
            self.sync_again_at = now + self.gossip_period();
            let kind = PacketKind::Sync { digest: self.digest() };
            self.send(address, kind, &[self.id], out);
        }
    }

    /// Asks somebody, once in a while.
    pub(super) fn compare(&mut self, now: Now, out: &mut Outputs<Output>) {
        self.next_sync = now + self.options.probe_period * SYNC_PERIODS;
        // Two slices differ by their nature.
        if self.scope.is_slice() {
            return;
        }
        let partners = self.members.sample(1, &mut self.rng, |_, _| true);
        self.send_to_all(&partners, PacketKind::Sync { digest: self.digest() }, out);
    }

    /// A comparison taught this node something: packets of it may have been lost.
    pub(super) fn compare_again(&mut self, now: Now) {
        let soon = now + self.options.probe_period * SYNC_AGAIN_PERIODS;
        self.next_sync = self.next_sync.min(soon);
    }

    /// A node asks; what it said of itself in the same packet is known already.
    pub(super) fn answer_sync(
        &mut self,
        now: Now,
        asker: (SocketAddr, Vec<NodeId>),
        digest: &Digest,
        out: &mut Outputs<Output>,
    ) {
        let mut buckets = self.digest().difference(digest);
        if self.has(Bug::BucketIgnored) {
            buckets.0 &= !Buckets::of(NodeId(7)).0;
        }
        let (to, mut first) = asker;
        if buckets.is_empty() {
            if !first.is_empty() {
                self.send(to, PacketKind::Gossip, &first, out);
            }
            return;
        }
        if !first.contains(&self.id) {
            first.push(self.id);
        }
        let wanted = buckets;
        self.transfers.push(Transfer { to, buckets, wanted, first, from: NodeId(0) });
        self.transfer(now, out);
    }

    /// The answer came, and asks in return.
    pub(super) fn on_wanted(
        &mut self,
        now: Now,
        to: SocketAddr,
        buckets: Buckets,
        out: &mut Outputs<Output>,
    ) {
        if !buckets.is_empty() {
            let (wanted, first) = (Buckets::default(), Vec::new());
            self.transfers.push(Transfer { to, buckets, wanted, first, from: NodeId(0) });
            self.transfer(now, out);
        }
    }

    /// Sends one round of packets, one of each transfer in turn.
    pub(super) fn transfer(&mut self, now: Now, out: &mut Outputs<Output>) {
        if self.transfers.next_round > now {
            return;
        }
        for _ in 0..PACKETS_PER_ROUND {
            let Some(transfer) = self.transfers.waiting.pop_front() else { break };
            if let Some(rest) = self.send_part(now, transfer, out) {
                self.transfers.waiting.push_back(rest);
            }
        }
        self.transfers.next_round = now + self.gossip_period();
    }

    /// Sends one packet of a transfer; what is left of it.
    fn send_part(
        &mut self,
        now: Now,
        transfer: Transfer,
        out: &mut Outputs<Output>,
    ) -> Option<Transfer> {
        let Transfer { to, buckets, wanted, first, from } = transfer;
        let mut part =
            Part::of(wire::packet_len(&self.packet(PacketKind::SyncReply { wanted }, Vec::new())));
        for node in &first {
            if let Some(rumor) = self.told_rumor(now, *node) {
                part.take(rumor);
            }
        }
        let members = self.members.iter_up_from(from);
        let in_buckets = members.filter(|node| buckets.has(*node) && !first.contains(node));
        let mut rest = None;
        for node in in_buckets {
            let rumor = self.told_rumor(now, node).expect("a member can be told of");
            if !part.take(rumor) {
                rest = Some(node);
                break;
            }
        }
        let packet = self.packet(PacketKind::SyncReply { wanted }, part.rumors);
        out.push(Output::Send { to, packet });
        let wanted = Buckets::default();
        rest.map(|from| Transfer { to, buckets, wanted, first: Vec::new(), from })
    }

    /// All that is known of a node, with how long it has been gone: so that it is not remembered
    /// for ever by those that tell each other.
    fn told_rumor(&self, now: Now, node: NodeId) -> Option<Rumor> {
        let mut rumor = self.full_rumor(node)?;
        if let Some(member) = self.members.find(node)
            && let Some(left) = member.standing.remembered(now)
        {
            let gone = self.options.forget_after.saturating_sub(left);
            rumor.gone_s = u32::try_from(gone.as_secs()).unwrap_or(u32::MAX);
        }
        Some(rumor)
    }

    /// How long a member that has been gone for so long is still to be remembered.
    pub(super) fn remember_for(&self, gone_s: u32) -> Duration {
        self.options.forget_after.saturating_sub(Duration::from_secs(gone_s.into()))
    }
}

/// A packet being filled.
struct Part {
    rumors: Vec<Rumor>,
    bytes: usize,
}

impl Part {
    fn of(bytes: usize) -> Part {
        Part { rumors: Vec::new(), bytes }
    }

    /// Whether there was room.
    fn take(&mut self, rumor: Rumor) -> bool {
        let more = wire::rumor_len(&rumor);
        let has_room = self.bytes + more <= PACKET_BYTES_MAX;
        if has_room {
            self.bytes += more;
            self.rumors.push(rumor);
        }
        has_room
    }
}
