//! What a node may say of itself: the one check of names and roles, wherever a node is made, is
//! admitted or starts.
//!
//! What passes fits into a gossip packet next to the rest of
//! [`swim::Metadata`](muslin_core::swim::Metadata): a node that nobody could be told of is never
//! made.

use muslin_core::base::NodeId;
use std::fmt;

/// Most roles of one node.
pub const ROLES_MAX: usize = 16;

/// Longest name of a node, a cluster or a role: a DNS label.
const NAME_BYTES_MAX: usize = 63;

/// Most bytes of all roles of a node together. With the longest name they leave a third of the room
/// in a packet to addresses and versions.
const ROLES_BYTES_MAX: usize = 256;

/// Letters of a refused word that are told again.
const TOLD_CHARS: usize = 80;

/// Why a name or roles are refused; `Display` says what would do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// A name that cannot be a label.
    Name(String),
    /// A name that would be taken for something else.
    Misleading(String),
    /// A role that cannot be a label.
    Role(String),
    /// More than [`ROLES_MAX`].
    ManyRoles(usize),
    /// Too many bytes of roles.
    LongRoles(usize),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |word: &str| word.chars().take(TOLD_CHARS).collect::<String>();
        match self {
            Unfit::Name(name) => write!(
                f,
                "{:?} cannot be a name: use 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`",
                told(name)
            ),
            Unfit::Misleading(name) => write!(
                f,
                "{:?} would be taken for an id, or for something else: a name begins and ends with \
                 a letter or a digit, and is not 16 hexadecimal digits",
                told(name)
            ),
            Unfit::Role(role) => write!(
                f,
                "{:?} cannot be a role: use 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`",
                told(role)
            ),
            Unfit::ManyRoles(count) => {
                write!(f, "{count} roles are too many: a node has at most {ROLES_MAX}")
            }
            Unfit::LongRoles(bytes) => write!(
                f,
                "the roles are too long: {bytes} bytes, and at most {ROLES_BYTES_MAX} fit into a \
                 packet to the other nodes"
            ),
        }
    }
}

impl std::error::Error for Unfit {}

/// Whether this can be the name of a node or a cluster.
pub fn check_name(name: &str) -> Result<(), Unfit> {
    if is_label(name) { Ok(()) } else { Err(Unfit::Name(name.to_string())) }
}

/// Whether a node that is made may have this name: one that no command takes for an id, and no
/// program for a part of a path.
pub fn check_new_name(name: &str) -> Result<(), Unfit> {
    check_name(name)?;
    let is_edged = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let is_clear = is_edged(bytes.first()) && is_edged(bytes.last());
    match is_clear && NodeId::parse(name).is_none() {
        true => Ok(()),
        false => Err(Unfit::Misleading(name.to_string())),
    }
}

/// Whether a node can have these roles.
pub fn check_roles(roles: &[String]) -> Result<(), Unfit> {
    if roles.len() > ROLES_MAX {
        return Err(Unfit::ManyRoles(roles.len()));
    }
    if let Some(odd) = roles.iter().find(|role| !is_label(role)) {
        return Err(Unfit::Role(odd.clone()));
    }
    match roles.iter().map(String::len).sum() {
        bytes if bytes > ROLES_BYTES_MAX => Err(Unfit::LongRoles(bytes)),
        _ => Ok(()),
    }
}

fn is_label(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muslin_core::swim::{METADATA_BYTES_MAX, Metadata};
    use muslin_core::wire;

    #[test]
    fn what_passes_fits_into_a_packet() {
        let roles = vec!["r".repeat(ROLES_BYTES_MAX / ROLES_MAX); ROLES_MAX];
        let name = "n".repeat(NAME_BYTES_MAX);
        assert_eq!((check_roles(&roles), check_name(&name)), (Ok(()), Ok(())));
        let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535";
        let metadata = Metadata {
            name,
            roles,
            etcd_address: longest.to_string(),
            protocol: (u32::MAX, u32::MAX),
            version: "65535.65535.65535-candidate.65535".to_string(),
            is_rebuilding: true,
            load: u32::MAX,
            ..Metadata::default()
        };
        assert!(wire::metadata_len(&metadata) <= METADATA_BYTES_MAX);
    }

    #[test]
    fn a_new_name_is_taken_for_nothing_else() {
        for name in ["n1", "web-1.rack_7", "fdbb1aeb646c5bf", "a"] {
            assert_eq!(check_new_name(name), Ok(()), "{name}");
        }
        for name in ["fdbb1aeb646c5bf3", "FDBB1AEB646C5BF3", ".", "..", "n1.", "-n1", "_", "a b"] {
            assert!(check_new_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_reason() {
        let roles = |count: usize, role: &str| vec![role.to_string(); count];
        assert_eq!(check_roles(&roles(17, "a")), Err(Unfit::ManyRoles(17)));
        assert_eq!(check_roles(&roles(5, &"r".repeat(63))), Err(Unfit::LongRoles(315)));
        let odd = check_roles(&roles(1, "a\x1b[31m")).unwrap_err();
        assert!(!odd.to_string().contains('\x1b'), "{odd}");
        assert!(check_name(&"x".repeat(70_000)).unwrap_err().to_string().len() < 200);
        assert!(check_name("").is_err() && check_name("a b").is_err());
    }
}
