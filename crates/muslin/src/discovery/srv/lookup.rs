//! Looking a name up, and remembering what it was.

use super::ask::{AskError, ask};
use super::message::{Content, Kind, Record, Target};
use super::name::{Name, SrvName};
use super::{order, system};
use crate::discovery::{Discovery, tidy};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Targets asked about one by one.
pub(super) const LOOKUPS_MAX: usize = 32;

/// An answer is asked for again after at most this long, whatever it says of itself, and after at
/// least [`AGE_MIN`].
const AGE_MAX: Duration = Duration::from_secs(30);
const AGE_MIN: Duration = Duration::from_secs(1);

/// Looks an SRV name up at every try that its last answer is too old for. Blocks while it asks: put
/// it into a [`Patient`](crate::discovery::Patient).
pub struct Srv {
    name: SrvName,
    last: Vec<SocketAddr>,
    pub(super) again_at: Option<Instant>,
    is_failing: bool,
}

/// What was found, and for how long.
struct Found {
    addresses: Vec<SocketAddr>,
    age: Duration,
}

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("{0}; put a name server behind an @, as in srv:_muslin._udp.example.org@10.0.0.53")]
    System(std::io::Error),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("there is no SRV record of that name")]
    Empty,
    #[error("no address is known of any of its {0} targets")]
    NoAddress(usize),
}

impl Srv {
    /// Asks nobody yet.
    pub fn new(name: SrvName) -> Srv {
        Srv { name, last: Vec::new(), again_at: None, is_failing: false }
    }

    fn look(&self) -> Result<Found, LookError> {
        let servers = match self.name.server {
            Some(server) => vec![server],
            None => system::servers().map_err(LookError::System)?,
        };
        let mut failure = LookError::Empty;
        for server in servers {
            match look_at(server, &self.name.name) {
                Ok(found) => return Ok(found),
                // Another server may know more; what the first one said is told.
                Err(error) if matches!(failure, LookError::Empty) => failure = error,
                Err(_) => {}
            }
        }
        Err(failure)
    }
}

impl Discovery for Srv {
    fn contacts(&mut self) -> Vec<SocketAddr> {
        if self.again_at.is_some_and(|at| Instant::now() < at) {
            return self.last.clone();
        }
        let found = self.look();
        let age = found.as_ref().map_or(AGE_MIN, |found| found.age);
        self.again_at = Some(Instant::now() + age);
        let was_failing = std::mem::replace(&mut self.is_failing, found.is_err());
        let name = &self.name;
        match found {
            Ok(found) => {
                if was_failing {
                    tracing::info!(%name, "an SRV name is answered again");
                }
                self.last = found.addresses;
            }
            Err(error) if !was_failing => {
                let last = self.last.len();
                tracing::warn!(%name, %error, last, "cannot look up an SRV name; trying on");
            }
            Err(_) => {}
        }
        self.last.clone()
    }
}

/// One server's word.
fn look_at(server: SocketAddr, name: &Name) -> Result<Found, LookError> {
    let answer = ask(server, name, Kind::Srv)?;
    let ttl = answer.records.iter().map(|record| record.ttl).min().unwrap_or(0);
    let targets = order::ordered(targets_of(name, &answer.records), &mut order::drawn);
    if targets.is_empty() {
        return Err(LookError::Empty);
    }
    let (mut addresses, mut lookups) = (Vec::new(), 0);
    for target in &targets {
        let mut ips = addresses_of(&target.host, &answer.additional);
        if ips.is_empty() && lookups < LOOKUPS_MAX {
            lookups += 1;
            ips = look_up(server, &target.host);
        }
        addresses.extend(ips.into_iter().map(|ip| SocketAddr::new(ip, target.port)));
    }
    let addresses = tidy(addresses);
    if addresses.is_empty() {
        return Err(LookError::NoAddress(targets.len()));
    }
    let age = Duration::from_secs(ttl.into()).clamp(AGE_MIN, AGE_MAX);
    Ok(Found { addresses, age })
}

/// The records of the name, or of what it is another name for. A target of `.` says that there is
/// none.
fn targets_of(name: &Name, records: &[Record]) -> Vec<Target> {
    let names = all_names(name, records);
    let of_name = records.iter().filter(|record| names.contains(&&record.owner));
    let targets = of_name.filter_map(|record| match &record.content {
        Content::Target(target) if !target.host.is_root() => Some(target.clone()),
        _ => None,
    });
    targets.collect()
}

fn addresses_of(name: &Name, records: &[Record]) -> Vec<IpAddr> {
    let names = all_names(name, records);
    let of_name = records.iter().filter(|record| names.contains(&&record.owner));
    let addresses = of_name.filter_map(|record| match record.content {
        Content::Address(ip) => Some(ip),
        _ => None,
    });
    addresses.collect()
}

/// A name and those it is another name for. Each record is followed once at most.
pub(super) fn all_names<'a>(name: &'a Name, records: &'a [Record]) -> Vec<&'a Name> {
    let mut names = vec![name];
    let mut at = 0;
    while let Some(name) = names.get(at).copied() {
        for record in records.iter().filter(|record| record.owner == *name) {
            if let Content::Alias(alias) = &record.content
                && !names.contains(&alias)
            {
                names.push(alias);
            }
        }
        at += 1;
    }
    names
}

/// What a target that came without addresses has. One that has none harms no other.
fn look_up(server: SocketAddr, target: &Name) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for kind in [Kind::A, Kind::Aaaa] {
        match ask(server, target, kind) {
            Ok(answer) => found.extend(addresses_of(target, &answer.records)),
            Err(error) => tracing::debug!(%target, %error, "a target has no address of a kind"),
        }
    }
    found
}
