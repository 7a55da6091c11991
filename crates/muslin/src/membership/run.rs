//! The loop that owns the detector.

use super::broadcast::{Name, Spreading};
use super::builder::check_metadata;
use super::event::{Event, Evidence, Member, Story};
use super::handle::{Mail, Myself, Shared, View};
use super::message::{self, Datagram, Message, OnStream, Way};
use super::{Liveness, NodeId};
use crate::looks::{GATHER_MAX, Looks, STOPPED};
use crate::transport::{Incoming, Transport};
use bytes::Bytes;
use muslin_core::base::{Machine, Now, Outputs};
use muslin_core::swim::{self, Detour, Input, Metadata, Output, Swim, Transition};
use muslin_core::wire;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

/// Without a deadline the loop looks around this often.
const IDLE: Duration = Duration::from_secs(60);

/// A member that does not know its address takes over what others see no more often than this: they
/// may differ.
const RESIDE_EVERY: Duration = Duration::from_secs(10);

/// So many more are remembered here than the detector does, before they are forgotten together.
const FORGOTTEN_MAX: usize = 1_024;

/// What waits for the loop.
pub(super) struct Inboxes {
    pub(super) mail: mpsc::Receiver<Mail>,
    pub(super) incoming: mpsc::Receiver<Incoming>,
    pub(super) contacts: mpsc::Receiver<Vec<SocketAddr>>,
}

/// One member at work.
pub(super) struct Run {
    id: NodeId,
    started: Instant,
    swim: Swim,
    spreading: Spreading,
    /// Which start of this member, and how many messages to all it has sent.
    boot: u64,
    broadcasts: u64,
    out: Outputs<Output>,
    transport: Arc<dyn Transport>,
    shared: Arc<Shared>,
    /// What was last told of each member.
    known: BTreeMap<NodeId, Liveness>,
    events: Vec<Event>,
    /// The view has changed since it was shown.
    is_stale: bool,
    /// It does not know where it is reached, and when it last thought so.
    seeks_address: bool,
    resided: Option<Instant>,
    leaving: Option<oneshot::Sender<()>>,
}

impl Run {
    pub(super) fn new(
        (id, swim, spreading): (NodeId, Swim, Spreading),
        transport: Arc<dyn Transport>,
        shared: Arc<Shared>,
        seeks_address: bool,
    ) -> Run {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut run = Run {
            id,
            started: Instant::now(),
            swim,
            spreading,
            boot: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
            broadcasts: 0,
            out: Outputs::new(),
            transport,
            shared,
            known: BTreeMap::new(),
            events: Vec::new(),
            is_stale: true,
            seeks_address,
            resided: None,
            leaving: None,
        };
        run.show();
        run
    }

    /// Until it has left, or nobody holds it any more.
    pub(super) async fn run(mut self, mut inboxes: Inboxes) {
        let mut finds = true;
        loop {
            let wake = self.deadline();
            tokio::select! {
                biased;
                incoming = inboxes.incoming.recv() => match incoming {
                    Some(incoming) => self.on_incoming(incoming),
                    // The transport has ended: there is nobody to speak to any more.
                    None => break,
                },
                mail = inboxes.mail.recv() => match mail {
                    Some(mail) => self.on_mail(mail),
                    None => break,
                },
                contacts = inboxes.contacts.recv(), if finds => match contacts {
                    Some(contacts) => self.step(Input::Contacts(contacts)),
                    None => finds = false,
                },
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            let was_stopped = self.deadline() + STOPPED <= Instant::now();
            let taken = self.gather(&mut inboxes);
            // What came in is known before a timer may conclude that nothing came.
            if was_stopped || taken == GATHER_MAX {
                let mut looks = Looks::new(was_stopped);
                while looks.again(self.gather(&mut inboxes)).await {}
            }
            if self.deadline() <= Instant::now() {
                self.step(Input::Tick);
                self.spread();
            }
            self.show();
            if let Some(done) = self.leaving.take() {
                self.transport.close().await;
                self.shared.end();
                let _ = done.send(());
                return;
            }
        }
        self.shared.end();
    }

    /// Takes what else came in, without waiting; how much.
    fn gather(&mut self, inboxes: &mut Inboxes) -> usize {
        let mut taken = 0;
        while taken < GATHER_MAX
            && let Ok(incoming) = inboxes.incoming.try_recv()
        {
            self.on_incoming(incoming);
            taken += 1;
        }
        taken
    }

    fn on_incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Datagram { from, bytes } => match Datagram::read(bytes) {
                Some(Datagram::Packet(bytes)) => match wire::decode_packet(bytes) {
                    Ok(packet) => self.step(Input::Packet { from, packet }),
                    Err(error) => tracing::debug!(%from, %error, "dropped a packet"),
                },
                Some(Datagram::Direct { from, bytes }) => {
                    self.shared.hand_up(Message { from, way: Way::Datagram, bytes });
                }
                Some(Datagram::Spread { name, bytes }) => self.on_broadcast(name, bytes),
                None => tracing::debug!(%from, "dropped a message that was cut short"),
            },
            Incoming::Message { from, bytes } => {
                match OnStream::read(bytes) {
                    Some(OnStream::Packet(bytes)) => match wire::decode_packet(bytes) {
                        Ok(packet) => self.step(Input::Stream { from, packet }),
                        Err(error) => tracing::debug!(%from, %error, "dropped a packet"),
                    },
                    Some(OnStream::Direct(bytes)) => {
                        // It is alive, at no cost. Packets say that themselves, and more.
                        self.step(Input::Heard(from));
                        self.shared.hand_up(Message { from, way: Way::Stream, bytes });
                    }
                    None => tracing::debug!(%from, "dropped a message of no known kind"),
                }
            }
        }
    }

    fn on_broadcast(&mut self, name: Name, bytes: Bytes) {
        let is_own = name.origin == self.id;
        if !is_own && self.spreading.take(self.now(), name, &bytes) {
            let from = name.origin;
            self.shared.hand_up(Message { from, way: Way::Broadcast, bytes });
        }
    }

    fn on_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Describe(application, reply) => {
                let present = self.own().metadata;
                let metadata = Metadata { application, ..present };
                let fits = check_metadata(&metadata).is_ok();
                if fits {
                    self.step(Input::Describe(metadata));
                    self.is_stale = true;
                }
                // The view shows it before the caller goes on.
                self.show();
                let _ = reply.send(fits);
            }
            Mail::Send { to, way: Way::Stream, bytes } => {
                self.transport.send(to, message::on_stream(&bytes));
            }
            Mail::Send { to, bytes, .. } => {
                if let Some(address) = self.swim.address_of(to) {
                    self.transport.datagram(address, message::direct(self.id, &bytes));
                }
            }
            Mail::Broadcast(bytes) => {
                self.broadcasts += 1;
                let name = Name { origin: self.id, boot: self.boot, number: self.broadcasts };
                self.spreading.take(self.now(), name, &bytes);
            }
            Mail::Explain(node, reply) => {
                let _ = reply.send(self.story(node));
            }
            Mail::Leave(done) => {
                self.step(Input::Leave);
                self.is_stale = true;
                self.leaving = Some(done);
            }
        }
    }

    /// Tells others what is to be told to all.
    fn spread(&mut self) {
        let now = self.now();
        if self.spreading.deadline().is_none_or(|at| at > now) {
            return;
        }
        let others = self.swim.alive().filter(|node| *node != self.id);
        let others: Vec<(NodeId, SocketAddr)> =
            others.filter_map(|node| Some((node, self.swim.address_of(node)?))).collect();
        for (to, bytes) in self.spreading.round(now, &others) {
            self.transport.datagram(to, bytes);
        }
    }

    fn step(&mut self, input: Input) {
        let mut out = std::mem::take(&mut self.out);
        self.swim.handle(self.now(), input, &mut out);
        for output in out.drain() {
            match output {
                Output::Send { to, packet } => {
                    self.transport.datagram(to, wire::encode_packet(&packet));
                }
                Output::Stream { to, packet } => {
                    let packet = wire::encode_packet(&packet);
                    self.transport.send(to, message::packet_on_stream(&packet));
                }
                Output::Report(event) => self.on_event(event),
            }
        }
        self.out = out;
    }

    fn on_event(&mut self, event: swim::Event) {
        tracing::debug!(?event);
        self.is_stale = true;
        match event {
            swim::Event::Alive { node, address, .. } => {
                self.transport.route(node, address);
                let was = self.known.insert(node, Liveness::Alive);
                self.forget();
                self.tell(node, |member| match was {
                    None | Some(Liveness::Left) => Event::Joined(member),
                    Some(Liveness::Alive) => Event::Changed(member),
                    Some(was) => Event::Returned { member, was },
                });
            }
            swim::Event::Changed { node, address } => {
                self.transport.route(node, address);
                self.tell(node, Event::Changed);
            }
            swim::Event::Suspected { node, evidence, .. } => {
                self.known.insert(node, Liveness::Suspect);
                let evidence = self.evidence(&evidence);
                self.tell(node, |member| Event::Suspected { member, evidence });
            }
            swim::Event::Down { node, evidence, .. } => {
                self.known.insert(node, Liveness::Down);
                let evidence = self.evidence(&evidence);
                self.tell(node, |member| Event::Down { member, evidence });
            }
            swim::Event::Left { node } => {
                self.known.insert(node, Liveness::Left);
                self.tell(node, Event::Left);
            }
            swim::Event::RefutedSelf { by, .. } => self.events.push(Event::Accused { by }),
            swim::Event::ObservedAddress { address, by } => self.on_observed(address, by),
            swim::Event::Reached { node, detour } => {
                let through = match detour {
                    Detour::Through(other) => Some(other),
                    Detour::Stream => None,
                };
                self.tell(node, |member| Event::Reached { member, through });
            }
            swim::Event::Witnessed(_)
            | swim::Event::Outpaced { .. }
            | swim::Event::Dropped { .. } => {}
        }
    }

    fn on_observed(&mut self, address: SocketAddr, by: NodeId) {
        self.events.push(Event::Observed { address, by });
        let is_due = self.resided.is_none_or(|at| at.elapsed() >= RESIDE_EVERY);
        if self.seeks_address && is_due {
            self.resided = Some(Instant::now());
            // An input that this one makes: its outputs come after those of the present one.
            let mut out = Outputs::new();
            self.swim.handle(self.now(), Input::Reside(address), &mut out);
            debug_assert!(out.is_empty(), "a new address is told by gossip, later");
        }
    }

    /// Whom the detector has forgotten is forgotten here.
    fn forget(&mut self) {
        if self.known.len() > self.swim.known() + FORGOTTEN_MAX {
            self.known.retain(|node, _| self.swim.entry(*node).is_some());
        }
    }

    fn tell(&mut self, node: NodeId, event: impl FnOnce(Member) -> Event) {
        if let Some(entry) = self.swim.entry(node) {
            self.events.push(event(Member::of(entry)));
        }
    }

    fn evidence(&self, transition: &Transition) -> Evidence {
        Evidence::of(transition, self.now().since(transition.at))
    }

    fn story(&self, node: NodeId) -> Option<Story> {
        let entry = self.swim.entry(node)?;
        let heard_ago = self.now().since(entry.heard);
        let history = self.swim.evidence(node).map(|one| self.evidence(one)).collect();
        Some(Story { member: Member::of(entry), heard_ago, history })
    }

    /// Shows the view, then tells what changed in it.
    fn show(&mut self) {
        if std::mem::take(&mut self.is_stale) {
            let members: Vec<Member> =
                self.swim.view(self.now()).into_iter().map(Member::of).collect();
            let own = members.iter().find(|member| member.id == self.id).cloned();
            let myself = Myself {
                member: own.expect("a view has the member itself"),
                observed: self.swim.observed(),
                health: self.swim.health(),
            };
            self.shared.show(View { members, myself });
        }
        for event in std::mem::take(&mut self.events) {
            self.shared.tell(event);
        }
    }

    fn own(&self) -> swim::ViewEntry {
        let view = self.swim.view(self.now());
        let own = view.into_iter().find(|entry| entry.node == self.id);
        own.expect("a view has the member itself")
    }

    fn deadline(&self) -> Instant {
        let swim = self.swim.deadline().map(|(at, _)| at);
        let next = swim.into_iter().chain(self.spreading.deadline()).min();
        let next = next.map(|at| self.started + Duration::from_nanos(at.0));
        next.unwrap_or_else(|| Instant::now() + IDLE)
    }

    fn now(&self) -> Now {
        Now(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}
