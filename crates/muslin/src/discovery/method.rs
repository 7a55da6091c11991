//! Ways to find members, as people write them.

use super::{Group, GroupError, SrvError, SrvName, StaticError, StaticList};
use std::fmt;
use std::str::FromStr;

/// What stands behind `--discover`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Method {
    /// `srv:NAME[@SERVER]`
    Srv(SrvName),
    /// `multicast[:GROUP:PORT][@INTERFACE]`
    Multicast(Group),
    /// `static:NAME=HOST:PORT,..`
    Static(StaticList),
}

/// Why a text is no way to find members. `Display` says what to write.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MethodError {
    /// It begins like none.
    #[error(
        "`{0}` is no way to find members; write srv:_muslin._udp.example.org, multicast, \
         multicast:239.1.1.1:7399 or static:n1=10.0.0.1:7400,n2=10.0.0.2:7400 (host:port alone \
         is a seed: --seeds)"
    )]
    Unknown(String),
    /// An SRV name.
    #[error(transparent)]
    Srv(#[from] SrvError),
    /// A multicast group.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A static list.
    #[error(transparent)]
    Static(#[from] StaticError),
}

impl FromStr for Method {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Method, MethodError> {
        if let Some(name) = text.strip_prefix("srv:") {
            return Ok(Method::Srv(name.parse()?));
        }
        if let Some(list) = text.strip_prefix("static:") {
            return Ok(Method::Static(list.parse()?));
        }
        match text.strip_prefix("multicast") {
            Some("") => Ok(Method::Multicast(Group::default())),
            Some(rest) if rest.starts_with('@') => Ok(Method::Multicast(rest.parse()?)),
            Some(rest) if rest.starts_with(':') => Ok(Method::Multicast(rest[1..].parse()?)),
            Some(_) | None => Err(MethodError::Unknown(text.to_string())),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Method::Srv(name) => write!(f, "srv:{name}"),
            Method::Multicast(group) => write!(f, "multicast:{group}"),
            Method::Static(list) => write!(f, "static:{list}"),
        }
    }
}
