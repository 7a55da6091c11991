//! What is known of one peer, and which connection to it counts.

use super::hello::{Hello, REPLACED, Refusal};
use super::link::{Candidate, Link, canonical};
use super::registry::Registry;
use crate::transport::outbox::Outbox;
use bytes::Bytes;
use muslin_core::base::NodeId;
use quinn::SendStream;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A dial this old begins anew when the peer is heard otherwise: its next repetition may be far
/// off.
const DIAL_STALE: Duration = Duration::from_millis(100);

/// One peer.
pub(super) struct Peer {
    pub(super) id: NodeId,
    pub(super) outbox: Outbox,
    /// Wakes the peer's task: something changed here or in the outbox.
    pub(super) wake: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    phase: Phase,
    route: Option<SocketAddr>,
    dialing: Option<Dialing>,
    /// The peer was heard while no connection counts: dial at once.
    is_hurried: bool,
    link: Option<Link>,
    /// Connections taken into use so far.
    links: u64,
    /// The stream of `link`, until the peer's task has taken it.
    fresh: Option<Fresh>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Open,
    /// Write what waits, then end.
    Finishing,
    Gone,
}

struct Dialing {
    address: SocketAddr,
    since: Instant,
    /// The peer has answered: giving up could lose what it says.
    is_connected: bool,
}

/// A stream to write to.
pub(super) struct Fresh {
    pub(super) stream: SendStream,
    /// Of its link.
    pub(super) number: usize,
    /// What must be written first.
    pub(super) greeting: Option<Bytes>,
}

/// What the peer's task does next.
pub(super) enum Step {
    /// Nothing more, ever.
    End,
    /// Write to this stream from now on.
    Begin(Fresh),
    /// Write what waits.
    Write,
    /// All is written and the node stops: end the stream.
    Finish,
    /// Wait to be woken.
    Wait,
    /// Connect.
    Dial(SocketAddr),
    /// There is no way to the peer: drop what waits.
    Discard,
}

impl Peer {
    pub(super) fn new(id: NodeId) -> Peer {
        Peer { id, outbox: Outbox::default(), wake: Notify::new(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Sets where the peer is reached. A connection elsewhere is closed.
    pub(super) fn set_route(&self, address: SocketAddr) {
        let mut state = self.state();
        if state.route == Some(address) {
            return;
        }
        state.route = Some(address);
        if state.link.as_ref().is_some_and(|link| link.address() != address) {
            state.drop_link();
        }
        state.is_hurried = true;
        drop(state);
        self.wake.notify_one();
    }

    /// Whether a message to it could get anywhere.
    pub(super) fn is_reachable(&self) -> bool {
        let state = self.state();
        state.route.is_some() || state.is_linked()
    }

    /// The peer was heard by other means, in this start of its process.
    pub(super) fn heard(&self, boot: u64) {
        let mut state = self.state();
        if state.link.as_ref().is_some_and(|link| link.boot() < boot) {
            // The process at the other end is gone.
            state.drop_link();
        }
        if !state.is_linked() && !state.is_hurried {
            state.is_hurried = true;
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Ends the peer: after writing what waits, if `flush`.
    pub(super) fn end(&self, flush: bool, code: u32) {
        let mut state = self.state();
        if flush && state.phase == Phase::Open {
            state.phase = Phase::Finishing;
        } else {
            state.phase = Phase::Gone;
            if let Some(link) = state.link.take() {
                link.close(code);
            }
            state.fresh = None;
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Whether it has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.state().phase == Phase::Gone
    }

    /// The link of that number has ended.
    pub(super) fn unlink(&self, number: usize) {
        let mut state = self.state();
        if state.link.as_ref().is_some_and(|link| link.number() == number) {
            state.drop_link();
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Decides whether a connection counts; if so, it is the link from now on.
    pub(super) fn adopt(
        self: &Arc<Peer>,
        registry: &Arc<Registry>,
        candidate: Candidate,
    ) -> Result<(), Refusal> {
        let mut state = self.state();
        if let Err(refusal) = state.weigh(self.id, registry.node, &candidate) {
            if let (Refusal::Copied, Some(link)) = (refusal, &state.link) {
                let from = canonical(candidate.connection.remote_address());
                registry.roster.note_copied(self.id, link.address(), from);
            }
            drop(state);
            self.wake.notify_one();
            return Err(refusal);
        }
        let Candidate { connection, stream, reader, hello, is_dialled } = candidate;
        state.links += 1;
        let answer = || Hello::of(registry.greeter(), state.links).framed();
        let greeting = (!is_dialled).then(answer);
        let number = connection.stable_id();
        let previous = state.link.take();
        let read = (connection, reader, hello);
        state.link = Some(Link::begin(self.clone(), registry.clone(), read, previous));
        state.fresh = Some(Fresh { stream, number, greeting });
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// What to do next. `writing` is the link that the task's stream belongs to, if it has one.
    pub(super) fn step(&self, writing: Option<usize>) -> Step {
        let mut state = self.state();
        if state.phase == Phase::Gone {
            return Step::End;
        }
        if let Some(fresh) = state.fresh.take() {
            return Step::Begin(fresh);
        }
        let link = state.link.as_ref().filter(|link| link.is_alive()).map(Link::number);
        let can_write = link.is_some() && link == writing;
        if self.outbox.is_empty() {
            return match state.phase {
                Phase::Finishing if can_write => Step::Finish,
                Phase::Finishing => Step::End,
                _ => Step::Wait,
            };
        }
        if can_write {
            return Step::Write;
        }
        state.drop_link();
        match (state.route, state.phase) {
            (Some(address), Phase::Open) => {
                state.dialing =
                    Some(Dialing { address, since: Instant::now(), is_connected: false });
                state.is_hurried = false;
                Step::Dial(address)
            }
            _ => Step::Discard,
        }
    }

    /// How many connections were taken into use.
    pub(super) fn links(&self) -> u64 {
        self.state().links
    }

    /// The peer has answered a dial.
    pub(super) fn dial_connected(&self) {
        if let Some(dialing) = &mut self.state().dialing {
            dialing.is_connected = true;
        }
    }

    /// Whether a dial under way has become pointless.
    pub(super) fn abandons_dial(&self) -> bool {
        let mut state = self.state();
        let is_hurried = std::mem::take(&mut state.is_hurried);
        let Some(dialing) = &state.dialing else { return true };
        let is_old = dialing.since.elapsed() > DIAL_STALE && !dialing.is_connected;
        (is_old && is_hurried)
            || state.phase != Phase::Open
            || state.is_linked()
            || state.route != Some(dialing.address)
    }

    pub(super) fn end_dial(&self) {
        self.state().dialing = None;
    }

    /// Whether to wait no longer before the next dial.
    pub(super) fn ends_wait(&self) -> bool {
        let mut state = self.state();
        let is_hurried = std::mem::take(&mut state.is_hurried);
        is_hurried || state.phase != Phase::Open || state.is_linked()
    }
}

impl State {
    fn is_linked(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_alive)
    }

    fn drop_link(&mut self) {
        if let Some(link) = self.link.take() {
            link.close(REPLACED);
        }
        self.fresh = None;
    }

    /// The rules of which connection counts; see the module's page.
    fn weigh(&mut self, peer: NodeId, own: NodeId, candidate: &Candidate) -> Result<(), Refusal> {
        if self.phase != Phase::Open {
            return Err(Refusal::Removed);
        }
        let Hello { boot, links, session, .. } = candidate.hello;
        if let Some(link) = self.link.as_ref().filter(|link| link.is_alive()) {
            let is_told = session != 0 && link.session() != 0;
            let is_other = is_told && session != link.session();
            if is_told && boot < link.boot() || is_other && boot == link.boot() {
                return Err(Refusal::Copied);
            }
            let least = link.links() + u64::from(candidate.is_dialled);
            if boot < link.boot() || (boot == link.boot() && links < least) {
                return Err(Refusal::Duplicate);
            }
        }
        let from = canonical(candidate.connection.remote_address());
        match &self.dialing {
            Some(dialing) if !candidate.is_dialled && own < peer && dialing.address == from => {
                // The peer is there: if this end's dial waits for a repetition, it begins anew.
                self.is_hurried = true;
                Err(Refusal::Duplicate)
            }
            _ => Ok(()),
        }
    }
}
