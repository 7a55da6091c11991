//! Why somebody may not, or cannot be let.

use core::fmt;

/// Why somebody may not, or why a change of rights is refused. The words are those that etcd's
/// clients know, without what they begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthRefusal {
    /// Auth cannot be enabled without the user `root`.
    RootUserMissing,
    /// Auth cannot be enabled while the user `root` has not the role `root`.
    RootRoleMissing,
    /// There is such a user.
    UserExists,
    /// Nobody is named: of a request, that it came without a token.
    UserEmpty,
    /// There is no such user.
    UserNotFound,
    /// There is such a role.
    RoleExists,
    /// There is no such role.
    RoleNotFound,
    /// No role is named.
    RoleEmpty,
    /// User or password are wrong; which of them is not said.
    Failed,
    /// A permission is to be granted, and none is said.
    PermissionNotGiven,
    /// The user has not the right.
    Denied,
    /// The user has not that role.
    RoleNotGranted,
    /// The role has not that permission.
    PermissionNotGranted,
    /// Auth is not enabled.
    NotEnabled,
    /// The token is none of this cluster, too old, or of before its user's password was set.
    InvalidToken,
    /// What keeps `root` what it is, cannot be taken away while auth is enabled.
    InvalidManagement,
    /// The user is known by other means than a password.
    NoPasswordUser,
    /// There are as many of these as are kept.
    TooMany,
    /// A name, a key or a hash is too long, or a name has control characters.
    BadForm,
}

impl AuthRefusal {
    /// In etcd's words, where etcd has some.
    pub fn words(self) -> &'static str {
        match self {
            AuthRefusal::RootUserMissing => "root user does not exist",
            AuthRefusal::RootRoleMissing => "root user does not have root role",
            AuthRefusal::UserExists => "user name already exists",
            AuthRefusal::UserEmpty => "user name is empty",
            AuthRefusal::UserNotFound => "user name not found",
            AuthRefusal::RoleExists => "role name already exists",
            AuthRefusal::RoleNotFound => "role name not found",
            AuthRefusal::RoleEmpty => "role name is empty",
            AuthRefusal::Failed => "authentication failed, invalid user ID or password",
            AuthRefusal::PermissionNotGiven => "permission not given",
            AuthRefusal::Denied => "permission denied",
            AuthRefusal::RoleNotGranted => "role is not granted to the user",
            AuthRefusal::PermissionNotGranted => "permission is not granted to the role",
            AuthRefusal::NotEnabled => "authentication is not enabled",
            AuthRefusal::InvalidToken => "invalid auth token",
            AuthRefusal::InvalidManagement => "invalid auth management",
            AuthRefusal::NoPasswordUser => {
                "authentication failed, password was given for no password user"
            }
            AuthRefusal::TooMany => "there are too many users, roles or permissions",
            AuthRefusal::BadForm => {
                "a name has 1 to 256 bytes, none of them control; a key of a permission at most \
                 4096"
            }
        }
    }
}

impl fmt::Display for AuthRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl core::error::Error for AuthRefusal {}
