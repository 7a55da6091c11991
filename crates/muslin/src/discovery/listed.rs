//! Members by name, fixed by configuration.

use super::seeds::{Seed, fault, resolve_all, system_resolver};
use super::{CONTACTS_MAX, Discovery, SEEDS_MAX, tidy};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// `n1=10.0.0.1:7400,n2=db2.example:7400`: where each member is, by the name it was admitted under.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaticList {
    entries: BTreeMap<String, String>,
}

/// Why a list is refused. `Display` says what to write.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StaticError {
    /// Nobody is in it.
    #[error("the static list is empty; write static:n1=10.0.0.1:7400,n2=10.0.0.2:7400")]
    Empty,
    /// An entry is not `name=host:port`.
    #[error(
        "`{entry}` in the static list: {why}; write each member as name=host:port, for example \
         n1=10.0.0.1:7400"
    )]
    Entry {
        /// As it was written.
        entry: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A name stands there twice.
    #[error("the static list names {0} twice; give each member one address")]
    Twice(String),
    /// More than a list is for.
    #[error(
        "{0} members are too many for a static list ({CONTACTS_MAX} at most, {SEEDS_MAX} of them \
         by host name); let them find each other by srv: or multicast"
    )]
    TooMany(usize),
}

impl FromStr for StaticList {
    type Err = StaticError;

    fn from_str(text: &str) -> Result<StaticList, StaticError> {
        let mut entries = BTreeMap::new();
        let mut names = 0;
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let refuse = |why| StaticError::Entry { entry: entry.to_string(), why };
            let (name, place) = entry.split_once('=').ok_or_else(|| refuse("it has no name"))?;
            if name.is_empty() || name.chars().any(char::is_whitespace) {
                return Err(refuse("its name is empty or has a space in it"));
            }
            fault(place).map_or(Ok(()), |why| Err(refuse(why)))?;
            names += usize::from(place.parse::<SocketAddr>().is_err());
            if entries.insert(name.to_string(), place.to_string()).is_some() {
                return Err(StaticError::Twice(name.to_string()));
            }
        }
        match entries.len() {
            0 => Err(StaticError::Empty),
            all if all > CONTACTS_MAX || names > SEEDS_MAX => Err(StaticError::TooMany(all)),
            _ => Ok(StaticList { entries }),
        }
    }
}

impl fmt::Display for StaticList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<String> =
            self.entries.iter().map(|(name, place)| format!("{name}={place}")).collect();
        f.write_str(&entries.join(","))
    }
}

/// A [`StaticList`] in use: host names in it are resolved at every try.
pub struct Listed {
    names: Vec<String>,
    seeds: Vec<Seed>,
}

impl Listed {
    /// Resolves nothing yet.
    pub fn new(list: &StaticList) -> Listed {
        let names = list.entries.keys().cloned().collect();
        let seed = |place: &String| Seed::new(place.clone(), system_resolver());
        let seeds = list.entries.values().map(seed).collect::<Result<_, _>>();
        Listed { names, seeds: seeds.expect("every place was looked at when the list was read") }
    }

    /// Where each member is, as far as known at this moment.
    pub fn places(&mut self) -> BTreeMap<String, SocketAddr> {
        let known = resolve_all(self.seeds.iter_mut()).into_iter();
        let first = known.map(|addresses| tidy(addresses).first().copied());
        let named = self.names.iter().zip(first);
        named.filter_map(|(name, address)| Some((name.clone(), address?))).collect()
    }
}

impl Discovery for Listed {
    fn contacts(&mut self) -> Vec<SocketAddr> {
        tidy(resolve_all(self.seeds.iter_mut()).into_iter().flatten())
    }
}
