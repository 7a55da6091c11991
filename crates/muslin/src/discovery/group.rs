//! A multicast group as people write it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::str::FromStr;

/// The group that nodes call to when none is named.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 1, 1);

/// The port of the group: the same for all clusters, and none that a node listens on by default.
pub const GROUP_PORT: u16 = 7_399;

/// `GROUP:PORT@INTERFACE`: where to call, and on which of this host's networks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Group {
    at: SocketAddrV4,
    interface: Option<Ipv4Addr>,
}

/// Why a group is refused. `Display` says what to write.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GroupError {
    /// Not `GROUP:PORT`.
    #[error(
        "`{0}` is no multicast group: write multicast, or multicast:GROUP:PORT with a group from \
         224.0.1.0 to 239.255.255.255, for example multicast:239.1.1.1:7399"
    )]
    Group(String),
    /// What is behind the `@`.
    #[error(
        "`{0}` is no interface: write the IPv4 address that this host has on it, for example \
         multicast:239.1.1.1:7399@10.0.0.1"
    )]
    Interface(String),
}

impl Default for Group {
    fn default() -> Group {
        Group { at: SocketAddrV4::new(GROUP, GROUP_PORT), interface: None }
    }
}

impl FromStr for Group {
    type Err = GroupError;

    fn from_str(text: &str) -> Result<Group, GroupError> {
        let (group, interface) = match text.split_once('@') {
            None => (text, None),
            Some((group, interface)) => {
                let refused = || GroupError::Interface(interface.to_string());
                let address: Ipv4Addr = interface.parse().map_err(|_| refused())?;
                let is_one = !address.is_unspecified() && !address.is_multicast();
                (group, Some(Some(address).filter(|_| is_one).ok_or_else(refused)?))
            }
        };
        let refused = || GroupError::Group(group.to_string());
        let at = match group {
            "" if interface.is_some() => Group::default().at,
            named => named.parse().map_err(|_| refused())?,
        };
        // What begins with 224.0.0 belongs to the network's own protocols.
        let is_ours = at.ip().is_multicast() && at.ip().octets()[..3] != [224, 0, 0];
        if !is_ours || at.port() == 0 {
            return Err(refused());
        }
        Ok(Group { at, interface })
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.interface {
            None => write!(f, "{}", self.at),
            Some(interface) => write!(f, "{}@{interface}", self.at),
        }
    }
}

impl Group {
    /// The same on the network that this address is of, unless one was named.
    #[must_use]
    pub fn near(self, address: IpAddr) -> Group {
        let near = match address {
            IpAddr::V4(v4) if !v4.is_unspecified() => Some(v4),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        };
        Group { interface: self.interface.or(near), ..self }
    }

    pub(super) fn address(&self) -> Ipv4Addr {
        *self.at.ip()
    }

    pub(super) fn port(&self) -> u16 {
        self.at.port()
    }

    pub(super) fn to(&self) -> SocketAddr {
        self.at.into()
    }

    /// Unspecified: the system chooses by its routes.
    pub(super) fn interface(&self) -> Ipv4Addr {
        self.interface.unwrap_or(Ipv4Addr::UNSPECIFIED)
    }
}
