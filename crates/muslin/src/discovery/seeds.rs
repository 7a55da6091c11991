//! Names that are resolved again at every try.

use super::{Discovery, tidy};
use std::net::{SocketAddr, ToSocketAddrs};

/// Addresses taken from one name.
const ADDRESSES_PER_SEED_MAX: usize = 64;

/// `host:port` each; a host is a name or an address.
pub struct Seeds {
    seeds: Vec<Seed>,
}

struct Seed {
    name: String,
    /// The last answer: a name server that fails does not make members unreachable.
    last: Vec<SocketAddr>,
    is_failing: bool,
}

/// Why a seed is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{seed}` is not a seed: write host:port, for example 10.0.0.1:7400 or db.example:7400")]
pub struct SeedError {
    seed: String,
}

impl Seeds {
    /// Refuses what can never be resolved. Resolves nothing yet.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Result<Seeds, SeedError> {
        let seeds = names.into_iter().map(|name| Seed::new(name.into()));
        Ok(Seeds { seeds: seeds.collect::<Result<_, _>>()? })
    }
}

impl Discovery for Seeds {
    fn contacts(&mut self) -> Vec<SocketAddr> {
        for seed in &mut self.seeds {
            seed.resolve();
        }
        tidy(self.seeds.iter().flat_map(|seed| seed.last.iter().copied()))
    }
}

impl Seed {
    fn new(name: String) -> Result<Seed, SeedError> {
        let is_well_formed = name.rsplit_once(':').is_some_and(|(host, port)| {
            let is_v6_without_port = host.contains(':') && !host.ends_with(']');
            !host.is_empty() && !is_v6_without_port && port.parse::<u16>().is_ok_and(|p| p != 0)
        });
        if is_well_formed {
            Ok(Seed { name, last: Vec::new(), is_failing: false })
        } else {
            Err(SeedError { seed: name })
        }
    }

    fn resolve(&mut self) {
        let answer = self.name.to_socket_addrs();
        let was_failing = std::mem::replace(&mut self.is_failing, answer.is_err());
        match answer {
            Ok(addresses) => self.last = addresses.take(ADDRESSES_PER_SEED_MAX).collect(),
            Err(error) if !was_failing => {
                tracing::warn!(seed = self.name, %error, "cannot resolve a seed; trying on");
            }
            Err(_) => {}
        }
    }
}
