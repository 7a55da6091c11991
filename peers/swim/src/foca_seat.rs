//! foca in a seat of the simulator.

use foca::{Config, Foca, Identity, Member, NoCustomBroadcast, Notification, PostcardCodec};
use foca::{Runtime, State, Timer};
use muslin_core::base::{Now, Prng};
use muslin_sim::swim::{Belief, Birth, Effect, Happening, Peer, Seat, Setup, Sight};
use rand_core::TryRng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::num::{NonZeroU8, NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// The same limit as ours with its seal, which foca's datagrams have none of.
const PACKET_BYTES_MAX: usize = 1_200;

/// How foca is set up.
pub(crate) trait Tuning: Send {
    const NAME: &'static str;
    fn tune(config: &mut Config, nodes: u32);
}

/// As its own settings for a LAN are.
pub(crate) struct AsPublished;

impl Tuning for AsPublished {
    const NAME: &'static str = "foca 2.0.0";
    fn tune(_: &mut Config, _: u32) {}
}

/// Live nodes that have refuted a suspicion are not told that they are dead, and updates are sent
/// as often as by memberlist, whose settings it takes after.
pub(crate) struct Tuned;

impl Tuning for Tuned {
    const NAME: &'static str = "foca 2.0.0, tuned";
    fn tune(config: &mut Config, nodes: u32) {
        config.notify_down_members = false;
        // 4 * ceil(log10(N + 1)).
        let times = 4 * (nodes.ilog10() + 1) as u8;
        config.max_transmissions = NonZeroU8::new(times).expect("a positive number");
    }
}

/// Address, and how often it had to join anew: 14 bytes, as an IPv4 address with a port and a
/// timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Name {
    address: [u8; 4],
    port: [u8; 2],
    life: [u8; 8],
}

impl Name {
    fn of(seat: Seat) -> Name {
        let address = (seat.0 + 1).to_be_bytes();
        Name { address, port: 7400_u16.to_be_bytes(), life: [0; 8] }
    }

    fn seat(&self) -> Seat {
        Seat(u32::from_be_bytes(self.address) - 1)
    }

    fn life(&self) -> u64 {
        u64::from_be_bytes(self.life)
    }
}

impl Identity for Name {
    type Addr = ([u8; 4], [u8; 2]);

    fn renew(&self) -> Option<Name> {
        Some(Name { life: (self.life() + 1).to_be_bytes(), ..*self })
    }

    fn addr(&self) -> Self::Addr {
        (self.address, self.port)
    }

    fn win_addr_conflict(&self, adversary: &Name) -> bool {
        self.life() > adversary.life()
    }
}

/// The simulator's random numbers, by the trait that foca draws them by.
struct Draws(Prng);

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.0.draw() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.draw())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.0.draw().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// One node.
pub(crate) struct FocaSeat<T> {
    seat: Seat,
    foca: Foca<Name, PostcardCodec, Draws, NoCustomBroadcast>,
    /// What it was told of the others.
    beliefs: BTreeMap<Seat, Belief>,
    live: usize,
    tuning: PhantomData<T>,
}

/// Takes down what foca asks for.
struct Clerk<'a, T: Tuning> {
    seat: Seat,
    out: &'a mut Vec<Effect<FocaSeat<T>>>,
}

impl<T: Tuning> Clerk<'_, T> {
    fn saw(&mut self, of: Seat, sight: Sight) {
        self.out.push(Effect::Saw { of, sight });
    }
}

impl<T: Tuning> Runtime<Name> for Clerk<'_, T> {
    fn notify(&mut self, notification: Notification<'_, Name>) {
        match notification {
            Notification::MemberUp(name) => {
                self.saw(name.seat(), Sight::Alive { life: name.life() });
            }
            Notification::MemberDown(name) => {
                self.saw(name.seat(), Sight::Down { life: name.life() });
            }
            Notification::Rejoin(_) => self.saw(self.seat, Sight::Renewed),
            _ => {}
        }
    }

    fn send_to(&mut self, to: Name, data: &[u8]) {
        self.out.push(Effect::Send { to: to.seat(), packet: data.to_vec(), bytes: data.len() });
    }

    fn submit_after(&mut self, timer: Timer<Name>, after: Duration) {
        // Set at nobody but the one whose own probe has failed.
        if let Timer::ChangeSuspectToDown { member_id, .. } = &timer {
            let sight = Sight::Suspect { life: member_id.life(), by: self.seat };
            self.saw(member_id.seat(), sight);
        }
        self.out.push(Effect::Wake { after, timer });
    }
}

fn config<T: Tuning>(setup: &Setup) -> Config {
    let nodes = setup.nodes as u32;
    let mut config = Config::new_lan(NonZeroU32::new(nodes).expect("a cluster has nodes"));
    config.max_packet_size = NonZeroUsize::new(PACKET_BYTES_MAX).expect("not zero");
    T::tune(&mut config, nodes);
    config
}

impl<T: Tuning> FocaSeat<T> {
    /// What has changed since `before` effects, for the questions that are asked of a seat.
    fn remember(&mut self, changes: &[Effect<FocaSeat<T>>]) {
        for change in changes {
            let Effect::Saw { of, sight } = change else { continue };
            let belief = match sight {
                Sight::Alive { .. } => Belief::Live,
                Sight::Down { .. } => Belief::Gone,
                Sight::Suspect { .. } | Sight::Left | Sight::Renewed => continue,
            };
            let before = self.beliefs.insert(*of, belief);
            self.live += usize::from(belief == Belief::Live);
            self.live -= usize::from(before == Some(Belief::Live));
        }
    }
}

impl<T: Tuning> Peer for FocaSeat<T> {
    type Packet = Vec<u8>;
    type Timer = Timer<Name>;

    const NAME: &'static str = T::NAME;
    const PACKET_BYTES_MAX: usize = PACKET_BYTES_MAX;
    const SEAL_BYTES: usize = 0;
    // It has other notions of a life: a node that was taken for dead begins another.
    const IS_JUDGED: bool = false;

    fn begin(birth: Birth<'_>, out: &mut Vec<Effect<Self>>) -> Self {
        let Birth { seat, setup, known, contacts, seed, .. } = birth;
        let draws = Draws(Prng::seeded(seed));
        let mut foca = Foca::new(Name::of(seat), config::<T>(setup), draws, PostcardCodec);
        let before = out.len();
        let mut clerk = Clerk { seat, out };
        let others = known.iter().filter(|other| **other != seat);
        let others = others.map(|other| Member::new(Name::of(*other), 0, State::Alive));
        let applied = foca.apply_many(others, false, &mut clerk);
        applied.expect("what is known from before is well formed");
        for contact in contacts.iter().filter(|contact| **contact != seat) {
            let announced = foca.announce(Name::of(*contact), &mut clerk);
            announced.expect("an announcement is encoded");
        }
        let beliefs = BTreeMap::new();
        let mut node = FocaSeat { seat, foca, beliefs, live: 0, tuning: PhantomData };
        node.remember(&out[before..]);
        node
    }

    fn handle(&mut self, _: Now, what: Happening<Self>, out: &mut Vec<Effect<Self>>) {
        let before = out.len();
        let clerk = Clerk { seat: self.seat, out };
        // What cannot be used is dropped, as its documentation asks for: answers to probes that are
        // over, packets in the name of one that is dead.
        let _ = match what {
            Happening::Timer(timer) => self.foca.handle_timer(timer, clerk),
            Happening::Packet { packet, .. } => self.foca.handle_data(&packet, clerk),
            Happening::Tick | Happening::Stream { .. } => Ok(()),
        };
        self.remember(&out[before..]);
    }

    fn ring(seats: &[Seat]) -> Vec<Seat> {
        seats.to_vec()
    }

    fn deadline(&self) -> Option<Now> {
        None
    }

    fn life(&self) -> u64 {
        0
    }

    fn belief(&self, of: Seat) -> Option<Belief> {
        self.beliefs.get(&of).copied()
    }

    fn live(&self) -> usize {
        self.live
    }

    fn view_len(&self) -> usize {
        self.foca.iter_membership_state().len()
    }
}
