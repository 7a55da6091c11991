//! Running a node that was made.

use super::admission::{Gatekeeper, JOINS_MAX};
use super::afresh;
use super::backups;
use super::copies;
use super::errand::Place;
use super::found::reachable;
use super::keeper::{End, Keeper};
use super::wallet::Wallet;
use super::{DaemonError, Profile, UpOptions, contacts, files, load, removed, ways};
use crate::api::{self, ApiOptions, NodeFacts, Patience};
use crate::backup::Origin;
use crate::data_dir::{Addresses, DataDir, NodeConfig, finish_rewrite};
use crate::discovery::{Announcement, Listed, Told};
use crate::driver::{self, Driver, DriverError, Handle};
use crate::identity::Identity;
use crate::join::{check_name, check_roles};
use crate::transport::TicketGate;
use crate::transport::quic::{QuicTransport, Start};
use bytes::Bytes;
use muslin_core::base::NodeId;
use muslin_core::groups::{self, Machines};
use muslin_core::node::{Membership, Options};
use muslin_core::raft;
use muslin_core::swim;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

/// Messages and datagrams that wait for the driver. Streams wait beyond it, datagrams are dropped.
const INCOMING_MAX: usize = 4_096;

/// How long a node that begins afresh waits for the ports it had itself: its connections end behind
/// it, and hold them until then.
const PORTS_PATIENCE: Duration = Duration::from_secs(10);

/// How often it looks.
const PORTS_EVERY: Duration = Duration::from_millis(20);

/// Where backups are put, in the data directory, unless said otherwise.
const BACKUPS: &str = "backups";

/// The protocol version this program speaks, oldest and newest.
const PROTOCOL: (u32, u32) = (1, 1);

/// Runs a node until `shutdown` resolves, then says good-bye and stops cleanly.
///
/// # Errors
/// Whatever keeps it from starting, and whatever makes going on unsafe: the caller ends the
/// process.
pub async fn run(
    options: UpOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    run_with(options, Embedding::default(), shutdown).await
}

/// What an application adds to the node that it runs.
#[derive(Clone)]
pub struct Embedding {
    /// The state machines that it can run.
    pub machines: Machines,
    /// Is told the node's handle when it has started: again when the node begins anew, which it
    /// does when the epoch rose while it was away.
    pub started: watch::Sender<Option<Handle>>,
}

impl Default for Embedding {
    /// Nothing.
    fn default() -> Embedding {
        Embedding { machines: Machines::default(), started: watch::channel(None).0 }
    }
}

/// As [`run`], within an application that asks the node itself.
pub async fn run_with(
    options: UpOptions,
    embedding: Embedding,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    ways::check(&options.seeds, &options.discover)?;
    let mut shutdown = std::pin::pin!(shutdown);
    let mut patience = Duration::ZERO;
    removed::check(&options.data_dir)?;
    loop {
        finish_rewrite(&options.data_dir)?;
        afresh::finish(&options.data_dir)?;
        let (mut directory, identity) = open(&options.data_dir)?;
        check_words(directory.config())?;
        directory.check_first_room()?;
        alone(&options, &directory, &identity).await?;
        let sockets = Sockets::bind_within(patience, &options, &directory).await?;
        directory.set_addresses(sockets.addresses)?;
        if let Some(profile) = options.profile {
            directory.set_profile(profile.name())?;
        }
        let identity = certified_for(identity, &directory, sockets.addresses.advertise)?;
        let embedded = (&options, &embedding.machines);
        let running = Running::start(embedded, &directory, identity, sockets)?;
        embedding.started.send_replace(Some(running.handle.clone()));
        match running.until(shutdown.as_mut(), &mut directory).await? {
            None => return Ok(()),
            Some(End::Removed(note)) => {
                note.write(&options.data_dir);
                return Err(note.into());
            }
            Some(End::Copied { at }) => return Err(DaemonError::Copied { at }),
            Some(End::Afresh) => {
                tracing::warn!(
                    "the epoch rose while this node was away: it was admitted again, and fetches \
                     what the cluster holds"
                );
                patience = PORTS_PATIENCE;
            }
        }
    }
}

/// The directory and the identity in it, which must be the same node's: a directory put together of
/// two nodes' would answer for one with the promises of the other.
fn open(path: &Path) -> Result<(DataDir, Identity), DaemonError> {
    match Identity::load(path) {
        Ok(identity) => Ok((DataDir::open_as(path, identity.cluster, identity.node)?, identity)),
        // A directory that is no node's is the better reason, if it is one.
        Err(error) => DataDir::open(path).map_err(DaemonError::from).and(Err(error.into())),
    }
}

/// Refuses to be a node that runs already. Its ports are not taken yet: whoever answers is another.
async fn alone(
    options: &UpOptions,
    directory: &DataDir,
    identity: &Identity,
) -> Result<(), DaemonError> {
    let before = directory.config().addresses;
    let places = copies::own_places(before.advertise, options.listen, options.advertise);
    let kept = options.listen.is_none().then_some(before.advertise);
    let address = options.advertise.or(kept).or(options.listen).unwrap_or(before.advertise);
    let word = copies::Word { address, runs: false };
    match copies::elsewhere(identity, places, &last_known(directory), word).await {
        None => Ok(()),
        Some(at) => Err(DaemonError::RunsElsewhere { at }),
    }
}

/// The file may have been edited: what others are told must fit into a packet.
fn check_words(config: &NodeConfig) -> Result<(), DaemonError> {
    let named = check_name(&config.name).and_then(|()| check_roles(&config.roles));
    named.map_err(DaemonError::Edited)
}

/// The ports of a node, taken.
struct Sockets {
    addresses: Addresses,
    udp: UdpSocket,
    tcp: TcpListener,
    etcd: Option<TcpListener>,
    /// What the limit of open files leaves for connections.
    connections_max: usize,
}

impl Sockets {
    /// Takes the ports as soon as they are free.
    async fn bind_within(
        patience: Duration,
        options: &UpOptions,
        directory: &DataDir,
    ) -> Result<Sockets, DaemonError> {
        let end = Instant::now() + patience;
        loop {
            match Sockets::bind(options, directory).await {
                Err(DaemonError::Listen { source, .. })
                    if source.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {}
                bound => return bound,
            }
            tokio::time::sleep(PORTS_EVERY).await;
        }
    }

    async fn bind(options: &UpOptions, directory: &DataDir) -> Result<Sockets, DaemonError> {
        let connections_max = files::raise();
        let before = directory.config().addresses;
        let wanted = options.listen.unwrap_or(before.listen);
        let refuse =
            |address, side, option, source| DaemonError::Listen { address, side, option, source };
        let udp =
            UdpSocket::bind(wanted).map_err(|error| refuse(wanted, "UDP", "--listen", error))?;
        // Port 0 asks for any: TCP takes the same number.
        let listen = udp.local_addr().map_err(|error| refuse(wanted, "UDP", "--listen", error))?;
        let tcp = TcpListener::bind(listen)
            .await
            .map_err(|error| refuse(listen, "TCP", "--listen", error))?;
        let mut etcd_listen = options.etcd_listen.or(before.etcd_listen);
        let etcd = match etcd_listen {
            None => None,
            Some(address) => {
                let bound = TcpListener::bind(address)
                    .await
                    .map_err(|error| refuse(address, "TCP", "--etcd-listen", error))?;
                etcd_listen = bound.local_addr().ok();
                Some(bound)
            }
        };
        // An address that was advertised before holds unless the node listens elsewhere now.
        let kept = (options.listen.is_none()).then_some(before.advertise);
        let advertise = reachable(listen, options.advertise.or(kept))?;
        let addresses = Addresses { listen, advertise, etcd_listen };
        Ok(Sockets { addresses, udp, tcp, etcd, connections_max })
    }
}

/// A node that can signs itself a certificate that names its address, for callers who check it
/// (peers check the node's id, whatever the address), and a ticket, where it has none yet, or those
/// that it has are of an epoch that is over.
fn certified_for(
    identity: Identity,
    directory: &DataDir,
    advertise: SocketAddr,
) -> Result<Identity, DaemonError> {
    let is_present = identity.epoch()? >= directory.config().epoch;
    let is_complete =
        is_present && !identity.ticket.is_empty() && identity.names(advertise.ip())?;
    if identity.ca_key.is_none() || is_complete {
        return Ok(identity);
    }
    let config = directory.config();
    let epoch = identity.epoch()?.max(config.epoch);
    let duties = (config.name.as_str(), config.roles.as_slice());
    let identity = identity.reissued(duties, epoch, &[advertise.ip()])?;
    identity.save(directory.path())?;
    Ok(identity)
}

/// Has backups written while the node runs, if the cluster wants some.
fn write_backups(options: &UpOptions, directory: &DataDir, handle: Handle) {
    let config = directory.config();
    let origin = Origin {
        cluster: config.cluster,
        cluster_name: config.cluster_name.clone(),
        node: config.node,
    };
    let backup_dir = options.backup_dir.clone();
    let backup_dir = backup_dir.unwrap_or_else(|| directory.path().join(BACKUPS));
    tokio::spawn(backups::write(handle, origin, backup_dir));
}

/// A node at work.
struct Running {
    handle: Handle,
    driver: JoinHandle<Result<(), DriverError>>,
    api: JoinHandle<()>,
    stop_api: watch::Sender<bool>,
    keeper: Keeper,
    /// Members that nobody has heard here yet are looked for at these.
    unheard: Told,
    /// Other nodes of this host find the node by it, until it is dropped.
    _announcement: Option<Announcement>,
}

impl Running {
    fn start(
        (options, machines): (&UpOptions, &Machines),
        directory: &DataDir,
        identity: Identity,
        sockets: Sockets,
    ) -> Result<Running, DaemonError> {
        let config = directory.config();
        let Addresses { advertise, etcd_listen, .. } = sockets.addresses;
        let etcd = etcd_listen.map(|address| address.to_string()).unwrap_or_default();
        let (incoming_sender, incoming) = mpsc::channel(INCOMING_MAX);
        let start = Start { epoch: config.epoch, boot: directory.boot() };
        let transport = QuicTransport::start(&identity, start, sockets.udp, incoming_sender)?;
        let (roster, counters) = (transport.roster(), transport.counters());
        let wallet = Arc::new(Wallet::new(directory.path(), identity.clone(), transport.clone())?);
        let unheard = Told::default();
        let (discovery, announcement) =
            ways::of_member(options, directory, &wallet, unheard.clone())?;
        let contacts = crate::discovery::ask(discovery).map_err(DaemonError::Thread)?;
        let (handle, driver) = driver::start(Driver {
            options: Options {
                ticket: Bytes::from(identity.ticket.clone()),
                gate: Box::new(TicketGate::new(identity.ticket_key()?, roster.clone())),
                ..node_options((options, machines), directory, advertise, &etcd)?
            },
            store: Box::new(directory.store()),
            transport,
            incoming,
            contacts,
            seed: crate::identity::draw_node_id().0,
        })?;
        tokio::spawn(load::tell(handle.clone()));
        write_backups(options, directory, handle.clone());
        if let Some(list) = ways::static_list(&options.discover) {
            contacts::start_static(Listed::new(list), handle.clone())?;
        }
        let (stop_api, shutdown) = watch::channel(false);
        let api = tokio::spawn(api::serve(ApiOptions {
            handle: handle.clone(),
            id: config.node,
            cluster: config.cluster,
            facts: NodeFacts {
                name: config.name.clone(),
                cluster_name: config.cluster_name.clone(),
                addr: advertise.to_string(),
                etcd,
                version: env!("CARGO_PKG_VERSION").to_string(),
            },
            listener: sockets.tcp,
            etcd_listener: sockets.etcd,
            tls: Some(wallet.tls()),
            roster: Some(roster.clone()),
            is_strict: options.is_strict,
            join: Some(Arc::new(Gatekeeper {
                handle: handle.clone(),
                wallet: wallet.clone(),
                founding: Arc::new(directory.founding().clone()),
                places: Arc::new(Semaphore::new(JOINS_MAX)),
            })),
            transport: Some(counters.clone()),
            connections_max: sockets.connections_max,
            patience: Patience::default(),
            shutdown,
        }));
        let known = last_known(directory);
        let keeper = Keeper::new(handle.clone(), wallet, (roster, counters), known);
        Ok(Running { handle, driver, api, stop_api, keeper, unheard, _announcement: announcement })
    }

    async fn until(
        mut self,
        shutdown: impl Future<Output = ()>,
        directory: &mut DataDir,
    ) -> Result<Option<End>, DaemonError> {
        let peers = directory.peers_file();
        let mut end = None;
        let ended = tokio::select! {
            ended = &mut self.driver => Some(ended),
            () = shutdown => None,
            () = contacts::remember(self.handle.clone(), &peers, &self.unheard) => None,
            found = self.keeper.run(directory) => {
                end = Some(found);
                None
            }
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                self.handle.shutdown().await;
                // Nobody listens when the API has gone already.
                let _ = self.stop_api.send(true);
                let _ = self.api.await;
                self.driver.await
            }
        };
        ended.map_err(|error| DaemonError::Bug(error.to_string()))??;
        Ok(end)
    }
}

/// Whom a node asks that knows no record yet, or an old one: founders and members last seen.
fn last_known(directory: &DataDir) -> Vec<Place> {
    let founders = directory.founding().members.iter();
    let founders = founders.map(|one| Place { node: NodeId(one.id), address: one.address.clone() });
    let seen = directory.peers().unwrap_or_default().into_iter();
    let seen = seen.map(|(node, address)| Place { node, address: address.to_string() });
    let own = directory.config().node;
    seen.chain(founders).filter(|place| place.node != own).collect()
}

/// A slice is never larger than the cluster that is small enough to do without.
fn swim_options(profile: Profile, slice_above: Option<usize>) -> swim::Options {
    let options = profile.options();
    let slice_above = slice_above.unwrap_or(options.slice_above);
    swim::Options { slice_above, slice: options.slice.min(slice_above), ..options }
}

fn node_options(
    (up, machines): (&UpOptions, &Machines),
    directory: &DataDir,
    advertise: SocketAddr,
    etcd: &str,
) -> Result<Options, DaemonError> {
    let config = directory.config();
    let profile: Profile = (config.profile.parse())
        .map_err(|problem| DaemonError::Profile(config.profile.clone(), problem))?;
    let options = Options::new(config.node, config.cluster, advertise);
    Ok(Options {
        epoch: config.epoch,
        boot: directory.boot(),
        metadata: swim::Metadata {
            name: config.name.clone(),
            roles: config.roles.clone(),
            etcd_address: etcd.to_string(),
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_string(),
            ..swim::Metadata::default()
        },
        founding: directory.founding().clone(),
        swim: swim_options(profile, up.slice_above),
        membership: match ways::static_list(&up.discover) {
            Some(_) => Membership::Static,
            None => Membership::Gossip,
        },
        raft: raft::Options {
            lease_reads: up.lease_reads,
            // Whatever this node was told: the next leader may have been told otherwise.
            keeps_leases: true,
            ..paced(profile, options.raft)
        },
        groups: match profile {
            Profile::Wan => groups::Options {
                machines: machines.clone(),
                alive_every: Duration::from_secs(1),
                alive_timeout: Duration::from_secs(5),
                fallback_after: Duration::from_secs(60),
                raft: paced(profile, options.groups.raft),
                ..options.groups
            },
            Profile::Fast | Profile::Lan | Profile::Slimcluster => {
                groups::Options { machines: machines.clone(), ..options.groups }
            }
        },
        ..options
    })
}

/// Elections take the ways between the nodes into account: a time-out is many round trips, or
/// leaders fall for nothing.
fn paced(profile: Profile, before: raft::Options) -> raft::Options {
    match profile {
        Profile::Wan => raft::Options {
            election_timeout_min: Duration::from_secs(3),
            election_timeout_max: Duration::from_secs(6),
            heartbeat_interval: Duration::from_millis(500),
            // A write that waited for the one before it would take the way twice.
            appends_gather_bytes: 0,
            ..before
        },
        // Whoever is first to miss a leader does so in 0.31 s, half of the time, and in 0.45 s at
        // the latest; four heartbeats in a row must be lost for that, and votes of two meet as
        // seldom as with any spread of 200 round trips.
        Profile::Fast | Profile::Lan | Profile::Slimcluster => raft::Options {
            election_timeout_min: Duration::from_millis(250),
            election_timeout_max: Duration::from_millis(450),
            heartbeat_interval: Duration::from_millis(50),
            ..before
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_every_profile_elections_and_the_groups_can_work() {
        for profile in Profile::ALL {
            let raft = paced(profile, raft::Options::default());
            assert_eq!(raft.validate(), Ok(()), "{profile}");
        }
    }
}
