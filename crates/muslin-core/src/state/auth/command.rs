//! Changes of users, roles and rights, as they stand in the log.

use crate::state::KeyRange;
use alloc::string::String;
use bytes::Bytes;

/// A change of who may do what.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AuthCommand {
    /// Which one.
    #[prost(oneof = "AuthChange", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub change: Option<AuthChange>,
}

/// The kinds of change.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum AuthChange {
    /// Check everything from here on.
    #[prost(message, tag = "1")]
    Enable(AuthEnable),
    /// Check nothing.
    #[prost(message, tag = "2")]
    Disable(AuthDisable),
    /// Make a user.
    #[prost(message, tag = "3")]
    AddUser(UserChange),
    /// Take a user out.
    #[prost(string, tag = "4")]
    DeleteUser(String),
    /// Give a user another password.
    #[prost(message, tag = "5")]
    ChangePassword(UserChange),
    /// Give a user a role.
    #[prost(message, tag = "6")]
    GrantRole(RoleOfUser),
    /// Take a role from a user.
    #[prost(message, tag = "7")]
    RevokeRole(RoleOfUser),
    /// Make a role.
    #[prost(string, tag = "8")]
    AddRole(String),
    /// Take a role out, and from all who have it.
    #[prost(string, tag = "9")]
    DeleteRole(String),
    /// Let a role do more, or something else with a range it had.
    #[prost(message, tag = "10")]
    GrantPermission(PermissionOfRole),
    /// Let a role do less.
    #[prost(message, tag = "11")]
    RevokePermission(PermissionOfRole),
}

/// Check everything from here on.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AuthEnable {
    /// Seals tokens until auth is enabled again. Drawn by the proposer:
    /// [`TOKEN_KEY_BYTES`](super::TOKEN_KEY_BYTES).
    #[prost(bytes = "bytes", tag = "1")]
    pub token_key: Bytes,
}

/// Check nothing.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct AuthDisable {}

/// A user and its password.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UserChange {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its password, hashed by the proposer; empty: nobody authenticates with a password.
    #[prost(bytes = "bytes", tag = "2")]
    pub credential: Bytes,
    /// It is known by other means than a password.
    #[prost(bool, tag = "3")]
    pub no_password: bool,
}

/// A user and one role.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RoleOfUser {
    /// The user.
    #[prost(string, tag = "1")]
    pub user: String,
    /// The role.
    #[prost(string, tag = "2")]
    pub role: String,
}

/// A role and one permission.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PermissionOfRole {
    /// The role.
    #[prost(string, tag = "1")]
    pub role: String,
    /// The permission; of a revocation only the range counts.
    #[prost(message, optional, tag = "2")]
    pub permission: Option<Permission>,
}

/// What may be done with a range of keys.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Permission {
    /// What.
    #[prost(enumeration = "PermissionKind", tag = "1")]
    pub kind: i32,
    /// With which keys.
    #[prost(message, required, tag = "2")]
    pub range: KeyRange,
}

/// What a permission is to; etcd's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum PermissionKind {
    /// To read and to watch.
    Read = 0,
    /// To put and to delete.
    Write = 1,
    /// Both.
    ReadWrite = 2,
}

impl From<AuthChange> for AuthCommand {
    fn from(change: AuthChange) -> AuthCommand {
        AuthCommand { change: Some(change) }
    }
}
