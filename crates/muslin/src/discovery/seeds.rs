//! Names that are resolved again at every try.

use super::patient::{PATIENCE, Patient};
use super::{Discovery, tidy};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Instant;

/// Addresses taken from one name.
const ADDRESSES_PER_SEED_MAX: usize = 64;

/// Most seeds: each name has a thread, and one that answers is enough.
pub const SEEDS_MAX: usize = 64;

/// `host:port` each; a host is a name or an address. Names are asked for side by side, each on a
/// thread of its own: one that fails or hangs harms no other.
pub struct Seeds {
    seeds: Vec<Seed>,
}

/// One of them.
pub(super) enum Seed {
    /// An address needs nobody to ask.
    Address(SocketAddr),
    /// A name.
    Name(Patient),
}

/// Gives the addresses of `host:port`.
pub type Resolve = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// Why a seed is refused. `Display` says what to write.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SeedError {
    /// It can never be resolved.
    #[error(
        "`{seed}` is not a seed: {why}; write host:port, for example 10.0.0.1:7400 or \
         db.example:7400"
    )]
    Malformed {
        /// As it was written.
        seed: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// More than [`SEEDS_MAX`].
    #[error("{0} seeds are more than {SEEDS_MAX}; a few that answer are enough")]
    TooMany(usize),
}

impl Seeds {
    /// Refuses what can never be resolved. Resolves nothing yet.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Result<Seeds, SeedError> {
        Seeds::resolved_by(names, system_resolver())
    }

    /// The same with another resolver than the system's.
    pub fn resolved_by<S: Into<String>>(
        names: impl IntoIterator<Item = S>,
        resolve: Resolve,
    ) -> Result<Seeds, SeedError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        if names.len() > SEEDS_MAX {
            return Err(SeedError::TooMany(names.len()));
        }
        let seeds = names.into_iter().map(|name| Seed::new(name, resolve.clone()));
        Ok(Seeds { seeds: seeds.collect::<Result<_, _>>()? })
    }
}

impl Discovery for Seeds {
    fn contacts(&mut self) -> Vec<SocketAddr> {
        tidy(resolve_all(self.seeds.iter_mut()).into_iter().flatten())
    }
}

/// The addresses of each, in order.
pub(super) fn resolve_all<'a>(seeds: impl Iterator<Item = &'a mut Seed>) -> Vec<Vec<SocketAddr>> {
    let mut seeds: Vec<&mut Seed> = seeds.collect();
    for seed in &mut seeds {
        if let Seed::Name(name) = seed {
            name.begin();
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let known = |seed: &mut &mut Seed| match seed {
        Seed::Address(address) => vec![*address],
        Seed::Name(name) => name.known_by(deadline).to_vec(),
    };
    seeds.iter_mut().map(known).collect()
}

/// As programs of this system resolve names.
pub(super) fn system_resolver() -> Resolve {
    Arc::new(|name| name.to_socket_addrs().map(Iterator::collect))
}

impl Seed {
    pub(super) fn new(name: String, resolve: Resolve) -> Result<Seed, SeedError> {
        if let Some(why) = fault(&name) {
            return Err(SeedError::Malformed { seed: name, why });
        }
        Ok(match name.parse() {
            Ok(address) => Seed::Address(address),
            Err(_) => Seed::Name(Patient::new(Named::new(name, resolve))),
        })
    }
}

/// What keeps a text from being a seed.
pub(super) fn fault(text: &str) -> Option<&'static str> {
    if text.contains("://") {
        return Some("it begins like the address of a web page");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == ',') {
        return Some("there is a space or a comma in it");
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Some("it has no port");
    };
    if host.is_empty() {
        return Some("it has no host");
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Some("an IPv6 address stands in brackets, [::1]:7400");
    }
    match port.parse::<u16>() {
        Ok(0) => Some("nobody can be reached at port 0"),
        Ok(_) => None,
        Err(_) if port.is_empty() => Some("it has no port"),
        Err(_) => Some("its port is no number from 1 to 65535"),
    }
}

/// A name, and what it last stood for: a name server that fails does not make members unreachable.
struct Named {
    name: String,
    resolve: Resolve,
    last: Vec<SocketAddr>,
    is_failing: bool,
}

impl Named {
    fn new(name: String, resolve: Resolve) -> Named {
        Named { name, resolve, last: Vec::new(), is_failing: false }
    }
}

impl Discovery for Named {
    fn contacts(&mut self) -> Vec<SocketAddr> {
        let answer = (self.resolve)(&self.name);
        let was_failing = std::mem::replace(&mut self.is_failing, answer.is_err());
        match answer {
            Ok(addresses) => {
                if was_failing {
                    tracing::info!(seed = self.name, "a seed resolves again");
                }
                self.last = tidy(addresses.into_iter().take(ADDRESSES_PER_SEED_MAX));
            }
            Err(error) if !was_failing => {
                let last = self.last.len();
                tracing::warn!(
                    seed = self.name, %error, last, "cannot resolve a seed; using what it last was"
                );
            }
            Err(_) => {}
        }
        self.last.clone()
    }
}
