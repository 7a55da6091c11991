//! Keeps what guards the node like the record: who is let in, its own papers, the gossip keys.
//!
//! Papers are renewed when a third of their time is left, and at once when the epoch has risen. A
//! holder of the authority's key signs its own; others ask one, over TLS, with the papers they
//! have. A node that its peers refuse asks too: it may have slept through a rise of the epoch, and
//! is then admitted again, or it was removed, and ends.

use super::DaemonError;
use super::errand::{self, Place};
use super::wallet::Wallet;
use crate::data_dir::DataDir;
use crate::driver::Handle;
use crate::identity::{Identity, Keyring};
use crate::join::{RenewAnswer, RenewRequest};
use crate::transport::{Roster, Standing, TransportCounters};
use bytes::Bytes;
use muslin_core::base::{NodeId, Prng};
use muslin_core::node::{Event, NodeStatus};
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

/// Keeps one node's guards.
pub(super) struct Keeper {
    pub(super) handle: Handle,
    pub(super) wallet: Arc<Wallet>,
    pub(super) roster: Arc<Roster>,
    pub(super) counters: Arc<TransportCounters>,
    /// Asked where the record names nobody: last known members.
    pub(super) known: Vec<Place>,
    retry: Retry,
    /// Dials that peers had refused when papers were last asked for.
    barred: u64,
}

/// Why a node cannot go on as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// It was removed.
    Removed,
    /// It was admitted again: what its log holds is of an earlier epoch.
    Afresh,
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
        Keeper { handle, wallet, roster, counters, known, retry, barred: 0 }
    }

    /// Runs until the node stops; ends by itself only when the node cannot go on as it is.
    pub(super) async fn run(mut self, directory: &mut DataDir) -> End {
        let mut events = self.handle.events();
        loop {
            if let Ok(status) = self.handle.status().await {
                match self.look(&status, directory).await {
                    Ok(None) => {}
                    Ok(Some(end)) => return end,
                    Err(error) => tracing::warn!(%error, "cannot keep this node's papers"),
                }
            }
            sleep(LOOK_PAUSE).await;
            let changed = wait_for_change(&mut events);
            let _ = tokio::time::timeout(LOOK_EVERY, changed).await;
        }
    }

    async fn look(
        &mut self,
        status: &NodeStatus,
        directory: &mut DataDir,
    ) -> Result<Option<End>, DaemonError> {
        self.follow(status);
        directory.set_epoch(status.epoch)?;
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
            Ok(_) => self.retry.pause = RETRY_MIN,
            Err(_) => self.retry.pause = (self.retry.pause * 2).min(RETRY_MAX),
        }
        let pause = self.retry.prng.duration(self.retry.pause / 2, self.retry.pause);
        self.retry.next = Instant::now() + pause;
        renewed
    }

    /// The door is kept like the record.
    fn follow(&self, status: &NodeStatus) {
        let votes = |node: &NodeId| status.configuration.is_voter(*node);
        let members = status.members.iter().map(|member| NodeId(member.id));
        self.roster
            .set_members(members.map(|node| (node, Standing { votes: votes(&node) })).collect());
        self.roster.raise(status.epoch);
    }

    fn is_due(&self) -> Result<bool, DaemonError> {
        let identity = self.wallet.identity();
        Ok(identity.epoch()? < self.roster.epoch()
            || identity.ticket.is_empty()
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
        if identity.ca_key.is_some() && barred == self.barred {
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
        let answer = match self.ask(&identity, &places).await {
            Err(DaemonError::Removed) => return Ok(Some(End::Removed)),
            asked => asked?,
        };
        self.barred = barred;
        self.roster.raise(answer.epoch());
        directory.set_epoch(answer.epoch())?;
        tracing::info!(epoch = answer.epoch, "this node's certificate was renewed");
        Ok(answer.begins_afresh.then_some(End::Afresh))
    }

    /// Has a holder of the authority's key sign, and takes up what it gave.
    async fn ask(&self, identity: &Identity, places: &[Place]) -> Result<RenewAnswer, DaemonError> {
        let request = identity.request()?;
        let body = RenewRequest { csr_pem: request.csr_pem };
        let body = Bytes::from(serde_json::to_vec(&body).expect("text is always JSON"));
        let asked = errand::ask(identity, places, "/v1/certificates:renew", &body);
        let answer = asked.await.map_err(|problem| match problem.code {
            "removed" => DaemonError::Removed,
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

/// Until the members or the epoch may have changed, or peers may have refused this node.
async fn wait_for_change(events: &mut broadcast::Receiver<Arc<crate::driver::EventRecord>>) {
    loop {
        match events.recv().await {
            Ok(record) if !matches!(record.event, Event::Members { .. }) => {}
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
        }
    }
}
