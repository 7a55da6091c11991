//! What is told of users and roles, and what snapshots keep of them.

use super::table::{Auth, Role, User, check_name, owned};
use super::{
    AUTH_ROLES_MAX, CREDENTIAL_BYTES_MAX, PERMISSION_BYTES_MAX, Permission, PermissionKind,
    ROLE_PERMISSIONS_MAX, ROOT, TOKEN_KEY_BYTES, USER_ROLES_MAX, USERS_MAX,
};
use crate::state::digest::Digest;
use crate::state::snapshot::{NUMBER_MAX, require};
use crate::state::{AuthRefusal, KeyRange, Needs, RestoreError};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// What may be asked about users and rights.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthQuery {
    /// Whether auth is enabled, and its revision. For anybody.
    Status,
    /// The roles of one user. For root, and the user itself.
    User(String),
    /// All users. For root.
    Users,
    /// The permissions of one role. For root, and whoever has the role.
    Role(String),
    /// All roles. For root.
    Roles,
    /// Whether the asker may do what needs this.
    May(Needs),
    /// By what a user is known. For the node itself.
    Credential(String),
    /// The key that seals tokens, while auth is enabled. For the node itself.
    TokenKey,
}

/// What is answered to an [`AuthQuery`].
#[derive(Clone, PartialEq, Eq)]
pub enum AuthAnswer {
    /// To [`AuthQuery::Status`].
    Status {
        /// Whether everything is checked.
        enabled: bool,
        /// The revision of auth.
        revision: u64,
    },
    /// To [`AuthQuery::User`], [`AuthQuery::Users`] and [`AuthQuery::Roles`], in order.
    Names(Vec<String>),
    /// To [`AuthQuery::Role`]; those of the role `root` are all there can be.
    Permissions(Vec<RolePermission>),
    /// To [`AuthQuery::May`].
    Yes,
    /// To [`AuthQuery::Credential`].
    Credential {
        /// The hash of its password; empty if it has none.
        credential: Bytes,
        /// It is known by other means.
        no_password: bool,
        /// The revision of auth of this answer.
        revision: u64,
    },
    /// To [`AuthQuery::TokenKey`].
    TokenKey(Option<Bytes>),
}

/// What a role may do with a range of keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RolePermission {
    /// What.
    pub kind: PermissionKind,
    /// The first key.
    pub key: Bytes,
    /// As in a [`KeyRange`].
    pub range_end: Bytes,
}

/// Without hashes and keys.
impl fmt::Debug for AuthAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthAnswer::Status { enabled, revision } => {
                write!(f, "Status {{ enabled: {enabled}, revision: {revision} }}")
            }
            AuthAnswer::Names(names) => f.debug_tuple("Names").field(names).finish(),
            AuthAnswer::Permissions(all) => f.debug_tuple("Permissions").field(all).finish(),
            AuthAnswer::Yes => f.write_str("Yes"),
            AuthAnswer::Credential { .. } => f.write_str("Credential"),
            AuthAnswer::TokenKey(_) => f.write_str("TokenKey"),
        }
    }
}

impl Auth {
    /// Answers a question whose asker may ask it.
    pub(in crate::state) fn answer(&self, query: &AuthQuery) -> Result<AuthAnswer, AuthRefusal> {
        let revision = self.revision;
        Ok(match query {
            AuthQuery::Status => AuthAnswer::Status { enabled: self.is_enabled, revision },
            AuthQuery::User(name) => {
                let user = self.users.get(name).ok_or(AuthRefusal::UserNotFound)?;
                AuthAnswer::Names(user.roles.iter().cloned().collect())
            }
            AuthQuery::Users => AuthAnswer::Names(self.users.keys().cloned().collect()),
            AuthQuery::Role(name) => {
                let role = self.roles.get(name).ok_or(AuthRefusal::RoleNotFound)?;
                AuthAnswer::Permissions(told(name, role))
            }
            AuthQuery::Roles => AuthAnswer::Names(self.roles.keys().cloned().collect()),
            AuthQuery::May(_) => AuthAnswer::Yes,
            AuthQuery::Credential(name) => {
                let user = self.users.get(name).ok_or(AuthRefusal::Failed)?;
                let (credential, no_password) = (user.credential.clone(), user.no_password);
                AuthAnswer::Credential { credential, no_password, revision }
            }
            AuthQuery::TokenKey => {
                AuthAnswer::TokenKey(self.is_enabled.then(|| self.token_key.clone()))
            }
        })
    }
}

fn told(name: &str, role: &Role) -> Vec<RolePermission> {
    if name == ROOT {
        let range_end = Bytes::from_static(&[0]);
        let all = RolePermission { kind: PermissionKind::ReadWrite, key: Bytes::new(), range_end };
        return alloc::vec![all];
    }
    let told = |permission: Permission| RolePermission {
        kind: permission.kind(),
        key: permission.range.key,
        range_end: permission.range.range_end,
    };
    role.listed().map(told).collect()
}

/// In front of users and roles, if anything about them ever changed.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::state) struct AuthHead {
    #[prost(bool, tag = "1")]
    is_enabled: bool,
    #[prost(uint64, tag = "2")]
    revision: u64,
    #[prost(bytes = "bytes", tag = "3")]
    token_key: Bytes,
    #[prost(uint64, tag = "4")]
    enabled_since: u64,
}

/// One user.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::state) struct UserRecord {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "bytes", tag = "2")]
    credential: Bytes,
    #[prost(bool, tag = "3")]
    no_password: bool,
    #[prost(string, repeated, tag = "4")]
    roles: Vec<String>,
    #[prost(uint64, tag = "5")]
    known_since: u64,
}

/// One role.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::state) struct RoleRecord {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    permissions: Vec<Permission>,
}

/// As records, and back.
impl Auth {
    fn is_blank(&self) -> bool {
        self.revision == 1
    }

    /// What stands in front; nothing where nothing ever changed.
    pub(in crate::state) fn head(&self) -> Option<AuthHead> {
        (!self.is_blank()).then(|| AuthHead {
            is_enabled: self.is_enabled,
            revision: self.revision,
            token_key: self.token_key.clone(),
            enabled_since: self.enabled_since,
        })
    }

    pub(in crate::state) fn user_records(&self) -> impl Iterator<Item = UserRecord> {
        self.users.iter().map(|(name, user)| UserRecord {
            name: name.clone(),
            credential: user.credential.clone(),
            no_password: user.no_password,
            roles: user.roles.iter().cloned().collect(),
            known_since: user.known_since,
        })
    }

    pub(in crate::state) fn role_records(&self) -> impl Iterator<Item = RoleRecord> {
        self.roles.iter().map(|(name, role)| RoleRecord {
            name: name.clone(),
            permissions: role.listed().collect(),
        })
    }

    pub(in crate::state) fn take_head(&mut self, head: AuthHead) -> Result<(), RestoreError> {
        require(self.is_blank(), "the head of auth twice")?;
        require((2..=NUMBER_MAX).contains(&head.revision), "a revision of auth out of range")?;
        let length = head.token_key.len();
        let is_key = length == TOKEN_KEY_BYTES || length == 0 && !head.is_enabled;
        require(is_key, "auth without a key")?;
        require(head.enabled_since <= head.revision, "auth enabled in the future")?;
        self.is_enabled = head.is_enabled;
        self.revision = head.revision;
        self.enabled_since = head.enabled_since;
        self.token_key = owned(&head.token_key);
        Ok(())
    }

    pub(in crate::state) fn take_user(&mut self, record: UserRecord) -> Result<(), RestoreError> {
        let UserRecord { name, credential, no_password, roles, known_since } = record;
        require(!self.is_blank(), "a user before the head")?;
        require(self.users.len() < USERS_MAX, "too many users")?;
        require(check_name(&name).is_ok(), "a user without a good name")?;
        require(credential.len() <= CREDENTIAL_BYTES_MAX, "too long a hash")?;
        require(roles.len() <= USER_ROLES_MAX, "too many roles of a user")?;
        require(roles.iter().all(|role| check_name(role).is_ok()), "a role without a name")?;
        require(known_since <= self.revision, "a user of the future")?;
        let roles = roles.into_iter().collect();
        let user = User { credential: owned(&credential), no_password, roles, known_since };
        require(self.users.insert(name, user).is_none(), "a user twice")
    }

    pub(in crate::state) fn take_role(&mut self, record: RoleRecord) -> Result<(), RestoreError> {
        require(!self.is_blank(), "a role before the head")?;
        require(self.roles.len() < AUTH_ROLES_MAX, "too many roles")?;
        require(check_name(&record.name).is_ok(), "a role without a name")?;
        require(record.permissions.len() <= ROLE_PERMISSIONS_MAX, "too many permissions")?;
        let mut role = Role::default();
        for permission in &record.permissions {
            let KeyRange { key, range_end } = &permission.range;
            let is_short = key.len().max(range_end.len()) <= PERMISSION_BYTES_MAX;
            let is_known = PermissionKind::is_valid(permission.kind);
            require(is_short && is_known && !key.is_empty(), "a permission out of form")?;
            role.permissions.insert((owned(key), owned(range_end)), permission.kind());
        }
        role.settle();
        require(self.roles.insert(record.name, role).is_none(), "a role twice")
    }

    /// All records are taken.
    pub(in crate::state) fn check_restored(&mut self) -> Result<(), RestoreError> {
        let root = self.users.get(ROOT);
        let is_rooted = root.is_some_and(|root| root.roles.contains(ROOT));
        require(!self.is_enabled || is_rooted, "auth without root")?;
        self.seal();
        Ok(())
    }

    /// Adds everything to a digest. Where nothing ever changed it adds nothing, so that snapshots
    /// of before there was auth keep their digest.
    pub(in crate::state) fn digest(&self, digest: Digest) -> Digest {
        if self.is_blank() { digest } else { digest.number(self.digest) }
    }

    /// Something has changed: the digest is of what it is now.
    pub(super) fn seal(&mut self) {
        if self.is_blank() {
            return;
        }
        let mut digest = Digest::new()
            .number(u64::from(self.is_enabled))
            .number(self.revision)
            .number(self.enabled_since)
            .bytes(&self.token_key)
            .number(self.users.len() as u64)
            .number(self.roles.len() as u64);
        for (name, user) in &self.users {
            digest = digest
                .bytes(name.as_bytes())
                .bytes(&user.credential)
                .number(u64::from(user.no_password))
                .number(user.known_since)
                .number(user.roles.len() as u64);
            digest = user.roles.iter().fold(digest, |digest, role| digest.bytes(role.as_bytes()));
        }
        for (name, role) in &self.roles {
            digest = digest.bytes(name.as_bytes()).number(role.permissions.len() as u64);
            for ((key, range_end), kind) in &role.permissions {
                digest = digest.bytes(key).bytes(range_end).number(*kind as u64);
            }
        }
        self.digest = digest.finish();
    }
}
