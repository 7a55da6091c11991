//! Keeps what guards the node like the record: who is let in, its own papers, the gossip keys.
//!
//! Papers are renewed when a third of their time is left, and at once when the epoch has risen. A
//! holder of the authority's key signs its own; others ask one, over TLS, with the papers they
//! have. A node that its peers refuse asks too: it may have slept through a rise of the epoch, and
//! is then admitted again, or it was removed, and ends.

use super::DaemonError;
use super::afresh;
use super::copies;
use super::errand::{self, Place};
use super::removed::RemovedNote;
use super::rotation::Rotation;
use super::wallet::Wallet;
use crate::data_dir::{DataDir, NodeConfig};
use crate::driver::Handle;
use crate::identity::{Identity, Keyring};
use crate::join::{RenewAnswer, RenewRequest};
use crate::transport::{Roster, Standing, TransportCounters};
use bytes::Bytes;
use muslin_core::base::{Epoch, Prng};
use muslin_core::node::{Consistency, Event, NodeStatus};
use muslin_core::state::{GossipKeys, Member, Outcome, Query, Response};
use muslin_core::swim;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep};

/// How often the record is looked at when no event says that it has changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The least time between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Between two tries to get other papers.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// All members renew after a rise of the epoch: each waits up to so long, by chance, for every
/// member there is, so that five thousand do not ask at once and all have asked in half their time.
const SPREAD_PER_MEMBER: Duration = Duration::from_millis(5);

/// How long a voter that was left out of a recovery looks for a quorum of the voters it knows
/// before it gives up what it holds: as long as a voter that is silent keeps its seat. They may be
/// starting as it is.
const QUORUM_PATIENCE: Duration = Duration::from_secs(30);

/// Keeps one node's guards.
pub(super) struct Keeper {
    pub(super) handle: Handle,
    pub(super) wallet: Arc<Wallet>,
    pub(super) roster: Arc<Roster>,
    pub(super) counters: Arc<TransportCounters>,
    /// Asked where the record names nobody: last known members.
    pub(super) known: Vec<Place>,
    retry: Retry,
    rotation: Rotation,
    /// The ticket that others are shown.
    shown: Vec<u8>,
    /// Dials that peers had refused when papers were last asked for.
    barred: u64,
    /// The latest epoch that others were heard to speak in.
    heard: Epoch,
    /// When this node was first told that it is left out, since it last had a quorum.
    left_out: Option<Instant>,
    /// Peers' refusals for another process of this node.
    refused: copies::Refused,
}

/// Why a node cannot go on as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// It was removed.
    Removed(Box<RemovedNote>),
    /// It was admitted again, under another id: the directory of that node is ready.
    Afresh,
    /// A later process is this node.
    Copied {
        /// Where, if it answers.
        at: Option<SocketAddr>,
    },
}

struct Retry {
    next: Instant,
    pause: Duration,
    prng: Prng,
    /// A wait by chance was begun for the present need.
    is_spread: bool,
}

impl Keeper {
    pub(super) fn new(
        handle: Handle,
        wallet: Arc<Wallet>,
        (roster, counters): (Arc<Roster>, Arc<TransportCounters>),
        known: Vec<Place>,
    ) -> Keeper {
        let prng = Prng::seeded(crate::identity::draw_node_id().0);
        let retry = Retry { next: Instant::now(), pause: RETRY_MIN, prng, is_spread: false };
        let shown = wallet.identity().ticket.clone();
        let rotation = Rotation::default();
        Keeper {
            handle,
            wallet,
            roster,
            counters,
            known,
            retry,
            rotation,
            shown,
            barred: 0,
            heard: Epoch(0),
            left_out: None,
            refused: copies::Refused::default(),
        }
    }

    /// Runs until the node stops; ends by itself only when the node cannot go on as it is.
    pub(super) async fn run(mut self, directory: &mut DataDir) -> End {
        let mut events = self.handle.events();
        // The first answer to this node may have come before anybody followed, and is told once.
        self.heard = later_epoch(&self.handle);
        loop {
            if let Ok(status) = self.handle.status().await {
                match self.look(&status, directory).await {
                    Ok(None) => {}
                    Ok(Some(end)) => return end,
                    Err(error) => tracing::warn!(%error, "cannot keep this node's papers"),
                }
            }
            sleep(LOOK_PAUSE).await;
            tokio::select! {
                later = wait_for_change(&mut events) => self.heard = self.heard.max(later),
                () = self.wallet.wanted() => self.retry.next = Instant::now(),
                () = sleep(self.rest()) => {}
            }
        }
    }

    /// How long to wait for something to happen before looking again.
    fn rest(&self) -> Duration {
        match self.retry.is_spread {
            true => self.retry.next.saturating_duration_since(Instant::now()).min(LOOK_EVERY),
            false => LOOK_EVERY,
        }
    }

    async fn look(
        &mut self,
        status: &NodeStatus,
        directory: &mut DataDir,
    ) -> Result<Option<End>, DaemonError> {
        self.follow(status);
        self.tell_copies().await;
        if self.refused.note(self.counters.dials_copied.value(), Instant::now()) {
            return Ok(Some(self.give_way(status, directory).await));
        }
        directory.set_epoch(status.epoch)?;
        self.follow_keys().await?;
        self.show_ticket().await;
        self.rotation.drive(&self.handle, status).await;
        if !self.is_due()? {
            self.retry.is_spread = false;
            return Ok(None);
        }
        if !self.retry.is_spread {
            self.retry.is_spread = true;
            let most = SPREAD_PER_MEMBER * u32::try_from(status.members.len()).unwrap_or(u32::MAX);
            let spread = self.retry.prng.duration(Duration::ZERO, most.max(LOOK_PAUSE));
            self.retry.next = Instant::now() + spread;
        }
        if Instant::now() < self.retry.next {
            return Ok(None);
        }
        let renewed = self.renew(status, directory).await;
        match &renewed {
            Ok(_) | Err(DaemonError::LeftOut) => self.retry.pause = RETRY_MIN,
            Err(_) => self.retry.pause = (self.retry.pause * 2).min(RETRY_MAX),
        }
        let pause = self.retry.prng.duration(self.retry.pause / 2, self.retry.pause);
        self.retry.next = Instant::now() + pause;
        renewed
    }

    /// Peers that were heard twice.
    async fn tell_copies(&self) {
        for (node, [heard, other]) in self.roster.take_copied() {
            let what = format!("at {heard}, which is listened to, and at {other}, which is not");
            tracing::error!(%node, "a node runs more than once: {what}");
            self.handle.report(Event::Copied { node, what }).await;
        }
    }

    /// Another process is this node, and was started later. It is told of this one, which ends.
    async fn give_way(&self, status: &NodeStatus, directory: &DataDir) -> End {
        let own = directory.config().addresses.advertise;
        let places = errand::holders(status).into_iter().chain(self.known.iter().cloned());
        let places: Vec<Place> = places.collect();
        let word = copies::Word { address: own, runs: true };
        let identity = self.wallet.identity();
        let at = copies::elsewhere(&identity, BTreeSet::new(), &places, word).await;
        End::Copied { at }
    }

    /// The door is kept like the record.
    fn follow(&self, status: &NodeStatus) {
        let standing = |member: &Member| {
            let is_current = member.epoch() >= status.epoch;
            Standing { is_current, votes: status.configuration.is_voter(member.node()) }
        };
        let members = status.members.iter().map(|one| (one.node(), standing(one))).collect();
        self.roster.set(status.epoch, members);
    }

    /// What the node says of itself by gossip goes with its latest ticket.
    async fn show_ticket(&mut self) {
        let identity = self.wallet.identity();
        if identity.ticket != self.shown {
            self.shown.clone_from(&identity.ticket);
            self.handle.set_ticket(Bytes::from(identity.ticket.clone())).await;
        }
    }

    /// Gossip is sealed and opened with the record's keys, as far as they are applied here.
    async fn follow_keys(&self) -> Result<(), DaemonError> {
        let read = self.handle.read(Query::GossipKeys, Consistency::Local).await;
        let Ok(Outcome { result: Ok(Response::GossipKeys(GossipKeys(keys))), .. }) = read else {
            return Ok(());
        };
        // A record that has yet to be applied may be older than what this node was given.
        let Some(keyring) = Keyring::of_record(&keys) else { return Ok(()) };
        self.wallet.change(|before| Ok(Identity { keyring, ..before.clone() }))
    }

    fn is_due(&self) -> Result<bool, DaemonError> {
        let identity = self.wallet.identity();
        Ok(identity.epoch()? < self.roster.epoch().max(self.heard)
            || identity.ticket.is_empty()
            || self.wallet.is_rotation_wanted()
            || identity.is_aging(SystemTime::now())?
            || self.counters.dials_barred.value() > self.barred)
    }

    async fn renew(
        &mut self,
        status: &NodeStatus,
        directory: &mut DataDir,
    ) -> Result<Option<End>, DaemonError> {
        let barred = self.counters.dials_barred.value();
        let identity = self.wallet.identity();
        let config = directory.config();
        // Whoever is refused cannot know the present epoch: it asks even if it could sign.
        let is_refused = barred != self.barred || self.heard > self.roster.epoch();
        if identity.ca_key.is_some() && !is_refused {
            let duties = (config.name.clone(), config.roles.clone());
            let (epoch, address) = (self.roster.epoch(), config.addresses.advertise.ip());
            let duties = (duties.0.as_str(), duties.1.as_slice());
            self.wallet.change(|before| Ok(before.reissued(duties, epoch, &[address])?))?;
            return Ok(None);
        }
        let mut places = errand::holders(status);
        for place in &self.known {
            if !places.contains(place) {
                places.push(place.clone());
            }
        }
        let asked = self.ask(&identity, &places, config).await;
        let answer = match asked {
            Err(DaemonError::Removed(_) | DaemonError::Outdated)
                if self.has_quorum(status).await =>
            {
                self.left_out = None;
                return Err(DaemonError::Divided);
            }
            Err(DaemonError::Removed(note)) => return Ok(Some(End::Removed(note))),
            Err(DaemonError::Outdated) if self.may_have_quorum(status) => {
                return Err(DaemonError::LeftOut);
            }
            Err(DaemonError::Outdated) => {
                afresh::begin(&identity, &places, directory).await?;
                return Ok(Some(End::Afresh));
            }
            answered => answered?,
        };
        self.barred = barred;
        self.roster.raise(answer.epoch());
        directory.set_epoch(answer.epoch())?;
        // Whoever was away over two epochs is heard by gossip only in the present one.
        self.handle.set_epoch(answer.epoch()).await;
        tracing::info!(epoch = answer.epoch, "this node's certificate was renewed");
        Ok(None)
    }

    /// Whether this node is one of a quorum that lives. Nobody is told to go by such a cluster but
    /// by itself: whoever says so was recovered from another voter although this quorum was there,
    /// and what it holds must not be given up for that.
    async fn has_quorum(&self, status: &NodeStatus) -> bool {
        let read = self.handle.read(Query::Record, Consistency::Linearizable);
        status.voter && matches!(read.await, Ok(Outcome { result: Ok(_), .. }))
    }

    /// Whether it is too early to say that the other voters this node knows are gone.
    fn may_have_quorum(&mut self, status: &NodeStatus) -> bool {
        let since = *self.left_out.get_or_insert_with(Instant::now);
        status.voter && since.elapsed() < QUORUM_PATIENCE
    }

    /// Has a holder of the authority's key sign, and takes up what it gave.
    async fn ask(
        &self,
        identity: &Identity,
        places: &[Place],
        config: &NodeConfig,
    ) -> Result<RenewAnswer, DaemonError> {
        let request = identity.request()?;
        let body = RenewRequest { csr_pem: request.csr_pem };
        let body = Bytes::from(serde_json::to_vec(&body).expect("text is always JSON"));
        // Others may be left behind as this node is: whoever is ahead is asked as well.
        let is_behind = |floor: Epoch, said: Result<&Bytes, &str>| match said {
            Ok(answer) => serde_json::from_slice::<RenewAnswer>(answer)
                .is_ok_and(|answer| answer.epoch() < floor),
            Err(code) => code == "no-quorum",
        };
        let asked = ("/v1/certificates:renew", &body);
        // Whoever is barred by somebody looks for the one who did, past those that give papers as
        // good as these: it may be of another part of the cluster, that goes on without them.
        let is_barred = self.counters.dials_barred.value() != self.barred;
        let beyond = identity.epoch()?.next().max(self.heard);
        let mut answer = match is_barred {
            true => errand::ask_past(identity, places, asked, |said| is_behind(beyond, said)).await,
            false => Err(errand::nobody()),
        };
        if answer.as_ref().is_err_and(|problem| problem.code == errand::NOBODY) {
            let floor = self.heard;
            answer = errand::ask_past(identity, places, asked, |said| is_behind(floor, said)).await;
        }
        let answer = answer.map_err(|problem| match problem.code {
            "removed" => {
                let member = places.first().map(|place| place.address.as_str());
                Box::new(RemovedNote::new(config, member, problem.detail)).into()
            }
            "outdated" => DaemonError::Outdated,
            _ => DaemonError::Renewal(problem.detail),
        })?;
        // The parser's message could quote a key.
        let unfit = |_| DaemonError::Renewal("the answer is not as expected".into());
        let answer: RenewAnswer = serde_json::from_slice(&answer).map_err(unfit)?;
        let papers = answer.papers().map_err(DaemonError::Renewal)?;
        let keyring = Keyring::from_json(&answer.gossip_keys)
            .map_err(|error| DaemonError::Renewal(error.to_string()))?;
        self.wallet.change(|before| {
            let renewed = before.renewed(request.key_pem, papers)?;
            Ok(Identity { keyring, ..renewed })
        })?;
        Ok(answer)
    }
}

/// The latest epoch in which others were heard, if this node has been told of one.
fn later_epoch(handle: &Handle) -> Epoch {
    let told = handle.recent_events();
    let epochs = told.iter().filter_map(|record| match record.event {
        Event::Swim(swim::Event::Outpaced { epoch }) => Some(epoch),
        _ => None,
    });
    epochs.max().unwrap_or_default()
}

/// Until the members or the epoch may have changed; the epoch, if others were heard in a later one.
async fn wait_for_change(
    events: &mut broadcast::Receiver<Arc<crate::driver::EventRecord>>,
) -> Epoch {
    loop {
        match events.recv().await.map(|record| record.event.clone()) {
            Ok(Event::Swim(swim::Event::Outpaced { epoch })) => return epoch,
            Ok(Event::Members { .. }) | Err(broadcast::error::RecvError::Lagged(_)) => {
                return Epoch::default();
            }
            Ok(_) => {}
            Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
        }
    }
}
