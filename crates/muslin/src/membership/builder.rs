//! What a member is made of.

use super::broadcast::Spreading;
use super::handle::{MAIL_MAX, Membership, Shared};
use super::run::{Inboxes, Run};
use super::{NodeId, Options, Profile};
use crate::discovery::{self, Combined, Discovery, SeedError, Seeds};
use crate::identity::Keyring;
use crate::transport::net::{self, NetTransport, Sockets};
use crate::transport::{Incoming, Transport};
use bytes::Bytes;
use muslin_core::base::{ClusterId, Epoch, Now};
use muslin_core::swim::{Gate, METADATA_BYTES_MAX, Metadata, OpenGate, Swim, TICKET_BYTES_MAX};
use muslin_core::wire;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What may wait for the loop: a burst of all members at once, of a cluster of a few thousand.
const INBOX_MAX: usize = 16_384;

/// The one version of what members say to each other.
const PROTOCOL: (u32, u32) = (1, 1);

/// The only epoch of a cluster without a record.
const EPOCH: Epoch = Epoch(1);

/// The cluster of those who name none.
const CLUSTER: &str = "muslin";

/// Says what a member is to be; [`Builder::start`] makes it.
pub struct Builder {
    id: Option<NodeId>,
    name: String,
    roles: Vec<String>,
    cluster: String,
    profile: Profile,
    options: Option<Options>,
    metadata: Bytes,
    keyring: Option<Keyring>,
    carrier: Carrier,
    advertise: Option<SocketAddr>,
    discoveries: Vec<Box<dyn Discovery>>,
    gate: Box<dyn Gate>,
    ticket: Bytes,
}

enum Carrier {
    /// UDP and TCP, bound when the member starts.
    Net(Option<SocketAddr>),
    /// The user's.
    Own(Box<Own>),
}

struct Own {
    transport: Arc<dyn Transport>,
    address: SocketAddr,
    incoming: mpsc::Receiver<Incoming>,
}

/// Why a member did not start. `Display` says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No socket.
    #[error("cannot listen on {address}: {source}; choose another address, or port 0 for any")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody could be told of it.
    #[error(
        "name, roles and metadata take {0} bytes, more than the {METADATA_BYTES_MAX} that fit into \
         a packet"
    )]
    Metadata(usize),
    /// No packet has room for it.
    #[error("a ticket of {0} bytes is larger than the {TICKET_BYTES_MAX} that fit into a packet")]
    Ticket(usize),
    /// The detector could not work.
    #[error("a probe must end within its period: probe_timeout must be less than probe_period")]
    Options,
    /// The system gave no thread.
    #[error("cannot start the discovery: {0}")]
    Thread(io::Error),
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder {
            id: None,
            name: String::new(),
            roles: Vec::new(),
            cluster: CLUSTER.to_string(),
            profile: Profile::default(),
            options: None,
            metadata: Bytes::new(),
            keyring: None,
            carrier: Carrier::Net(None),
            advertise: None,
            discoveries: Vec::new(),
            gate: Box::new(OpenGate),
            ticket: Bytes::new(),
        }
    }

    /// A label for people. Two members may have the same; they have different ids.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = name.into();
        self
    }

    /// The identity. Drawn at random if it is not said: then a member that starts again is another
    /// one, and its earlier self is found down. Whoever keeps its id comes back as itself.
    #[must_use]
    pub fn id(mut self, id: NodeId) -> Builder {
        self.id = Some(id);
        self
    }

    /// Duties to tell the others of.
    #[must_use]
    pub fn roles<S: Into<String>>(mut self, roles: impl IntoIterator<Item = S>) -> Builder {
        self.roles = roles.into_iter().map(Into::into).collect();
        self
    }

    /// Members of clusters of different names never hear each other (M4). `muslin` if not said.
    #[must_use]
    pub fn cluster(mut self, name: impl Into<String>) -> Builder {
        self.cluster = name.into();
        self
    }

    /// How far apart members are, in one word. `Lan` if not said.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Builder {
        self.profile = profile;
        self
    }

    /// Settings of the detector in place of a profile's.
    #[must_use]
    pub fn options(mut self, options: Options) -> Builder {
        self.options = Some(options);
        self
    }

    /// What the application says of this member to all, to begin with.
    #[must_use]
    pub fn metadata(mut self, metadata: impl Into<Bytes>) -> Builder {
        self.metadata = metadata.into();
        self
    }

    /// Seals all that members say: only who has a key of the ring is heard. Without this the
    /// cluster is open to everybody who can send it a packet.
    #[must_use]
    pub fn keyring(mut self, keyring: Keyring) -> Builder {
        self.keyring = Some(keyring);
        self
    }

    /// Decides who is believed to be a member, by the ticket that each shows (M3). Without it,
    /// whoever has the key is one.
    #[must_use]
    pub fn gate(mut self, gate: impl Gate + 'static) -> Builder {
        self.gate = Box::new(gate);
        self
    }

    /// What this member shows to the gates of the others.
    #[must_use]
    pub fn ticket(mut self, ticket: impl Into<Bytes>) -> Builder {
        self.ticket = ticket.into();
        self
    }

    /// Where to listen, with UDP and TCP. Any port of all interfaces if not said, or the port that
    /// belongs to the profile.
    #[must_use]
    pub fn bind(mut self, address: SocketAddr) -> Builder {
        self.carrier = Carrier::Net(Some(address));
        self
    }

    /// Where the others reach this member, if that is not where it listens.
    #[must_use]
    pub fn advertise(mut self, address: SocketAddr) -> Builder {
        self.advertise = Some(address);
        self
    }

    /// A transport of yours, started with the identity given to [`Builder::id`], with its address
    /// and what it hands up. Keyring and cluster are its own affair then.
    #[must_use]
    pub fn transport(
        mut self,
        transport: Arc<dyn Transport>,
        address: SocketAddr,
        incoming: mpsc::Receiver<Incoming>,
    ) -> Builder {
        self.carrier = Carrier::Own(Box::new(Own { transport, address, incoming }));
        self
    }

    /// Where members may be, `host:port` each; names are resolved again at every try.
    pub fn seeds<S: Into<String>>(
        self,
        seeds: impl IntoIterator<Item = S>,
    ) -> Result<Builder, SeedError> {
        Ok(self.discovery(Seeds::new(seeds)?))
    }

    /// Another way to find members, beside those said before.
    #[must_use]
    pub fn discovery(mut self, discovery: impl Discovery + 'static) -> Builder {
        self.discoveries.push(Box::new(discovery));
        self
    }

    /// Starts the member, on the tokio runtime that this is called in. It is there at once; who
    /// else is there becomes known by and by.
    pub async fn start(self) -> Result<Membership, StartError> {
        let id = self.id.unwrap_or_else(|| NodeId(draw().max(1)));
        let options = self.options.clone().unwrap_or_else(|| self.profile.options());
        if options.probe_timeout >= options.probe_period {
            return Err(StartError::Options);
        }
        if self.ticket.len() > TICKET_BYTES_MAX {
            return Err(StartError::Ticket(self.ticket.len()));
        }
        let metadata = Metadata {
            name: self.name.clone(),
            roles: self.roles.clone(),
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_string(),
            application: self.metadata.clone(),
            ..Metadata::default()
        };
        check_metadata(&metadata)?;
        let Builder { carrier, cluster, keyring, profile, advertise, discoveries, .. } = self;
        let carried = match carrier {
            Carrier::Own(own) => Carried::own(*own),
            Carrier::Net(address) => Carried::net((id, &cluster), address, keyring, profile)?,
        };
        let (address, seeks_address) = match advertise {
            Some(address) => (address, false),
            None => (guessed(carried.address), carried.address.ip().is_unspecified()),
        };
        let contacts = find(address, discoveries)?;
        let (mail_sender, mail) = mpsc::channel(MAIL_MAX);
        let shared = Arc::new(Shared::new(id, carried.net));
        let (period, multiplier) = (options.probe_period / 5, options.retransmit_multiplier);
        let swim = Swim::new(id, EPOCH, address, metadata, options, draw(), Now::START);
        let swim = swim.behind(self.gate).with_ticket(self.ticket);
        let spreading = Spreading::new(period, multiplier, draw());
        let run = Run::new((id, swim, spreading), carried.transport, shared.clone(), seeks_address);
        tokio::spawn(run.run(Inboxes { mail, incoming: carried.incoming, contacts }));
        Ok(Membership::new(mail_sender, shared))
    }
}

struct Carried {
    transport: Arc<dyn Transport>,
    /// The same, if it is ours.
    net: Option<Arc<NetTransport>>,
    address: SocketAddr,
    incoming: mpsc::Receiver<Incoming>,
}

impl Carried {
    fn own(own: Own) -> Carried {
        let Own { transport, address, incoming } = own;
        Carried { transport, net: None, address, incoming }
    }

    fn net(
        (id, cluster): (NodeId, &str),
        address: Option<SocketAddr>,
        keyring: Option<Keyring>,
        profile: Profile,
    ) -> Result<Carried, StartError> {
        let keyring = keyring.unwrap_or_else(Keyring::public);
        if keyring.is_open() {
            tracing::warn!(
                cluster,
                "this cluster is open: whoever can send it a packet can join it, read it and speak \
                 for its members; give all of them one keyring"
            );
        }
        let port = profile.port().unwrap_or_default();
        let address = address.unwrap_or((Ipv4Addr::UNSPECIFIED, port).into());
        let failed = |source| StartError::Bind { address, source };
        let sockets = Sockets::bind(address).map_err(failed)?;
        let address = sockets.address().map_err(failed)?;
        let (sender, incoming) = mpsc::channel(INBOX_MAX);
        let start = net::Start::new(cluster_id(cluster), id, keyring);
        let transport = NetTransport::start(start, sockets, sender).map_err(failed)?;
        Ok(Carried { transport: transport.clone(), net: Some(transport), address, incoming })
    }
}

/// A member's own limit on what it says of itself.
pub(super) fn check_metadata(metadata: &Metadata) -> Result<(), StartError> {
    match wire::metadata_len(metadata) {
        length if length > METADATA_BYTES_MAX => Err(StartError::Metadata(length)),
        _ => Ok(()),
    }
}

fn find(
    own: SocketAddr,
    discoveries: Vec<Box<dyn Discovery>>,
) -> Result<mpsc::Receiver<Vec<SocketAddr>>, StartError> {
    if discoveries.is_empty() {
        // Nobody to ask: the receiver is closed, and the loop listens to the rest.
        return Ok(mpsc::channel(1).1);
    }
    let parts = discoveries.into_iter();
    let combined = parts.fold(Combined::new(own), |combined, part| combined.with(Boxed(part)));
    discovery::ask(combined).map_err(StartError::Thread)
}

struct Boxed(Box<dyn Discovery>);

impl Discovery for Boxed {
    fn contacts(&mut self) -> Vec<SocketAddr> {
        self.0.contacts()
    }
}

/// Where the others may reach a socket that listens everywhere: on the interface that leads out of
/// this machine. The first that answers tells better.
fn guessed(bound: SocketAddr) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    // Addresses of documentation (RFC 5737, 3849): connecting a datagram socket sends nothing.
    let (any, far, loopback): (IpAddr, IpAddr, IpAddr) = match bound {
        SocketAddr::V4(_) => (
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(192, 0, 2, 1).into(),
            Ipv4Addr::LOCALHOST.into(),
        ),
        SocketAddr::V6(_) => (
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
            Ipv6Addr::LOCALHOST.into(),
        ),
    };
    let routed = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((far, 9))?;
        socket.local_addr()
    });
    let ip = routed.map_or(loopback, |routed| routed.ip());
    SocketAddr::new(ip, bound.port())
}

/// The first half of the name's SHA-256.
fn cluster_id(name: &str) -> ClusterId {
    let hash = digest(&SHA256, name.as_bytes());
    let head = hash.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
    ClusterId(u128::from_be_bytes(*head))
}

fn draw() -> u64 {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes");
    u64::from_be_bytes(bytes)
}
