//! `muslin user ..`, `muslin role ..` and `muslin auth ..`

use clap::{Args, Subcommand, ValueEnum};

#[derive(Subcommand, Debug)]
pub(crate) enum User {
    /// Make a user; the password is a line of stdin
    #[command(after_help = examples::USER_ADD)]
    Add {
        /// What it is called
        name: String,
        /// It is known by other means than a password
        #[arg(long)]
        no_password: bool,
    },
    /// Take a user out
    #[command(visible_alias = "delete", after_help = examples::USER_RM)]
    Rm {
        /// Which user
        name: String,
    },
    /// All users
    #[command(visible_alias = "list", after_help = examples::USER_LS)]
    Ls,
    /// The roles of a user
    #[command(after_help = examples::USER_SHOW)]
    Show {
        /// Which user
        name: String,
    },
    /// Give a user another password, a line of stdin: tokens it has end
    #[command(after_help = examples::USER_PASSWD)]
    Passwd {
        /// Which user
        name: String,
    },
    /// Give a user a role; the role `root` may all
    #[command(after_help = examples::USER_GRANT)]
    Grant {
        /// Which user
        name: String,
        /// Which role
        role: String,
    },
    /// Take a role from a user
    #[command(after_help = examples::USER_REVOKE)]
    Revoke {
        /// Which user
        name: String,
        /// Which role
        role: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum RoleOf {
    /// Make a role that may do nothing yet
    #[command(after_help = examples::ROLE_ADD)]
    Add {
        /// What it is called
        name: String,
    },
    /// Take a role out, and from all who have it
    #[command(visible_alias = "delete", after_help = examples::ROLE_RM)]
    Rm {
        /// Which role
        name: String,
    },
    /// All roles
    #[command(visible_alias = "list", after_help = examples::ROLE_LS)]
    Ls,
    /// What a role may do
    #[command(after_help = examples::ROLE_SHOW)]
    Show {
        /// Which role
        name: String,
    },
    /// Let a role do more
    #[command(after_help = examples::ROLE_GRANT)]
    Grant {
        /// Which role
        name: String,
        /// What it may do with the keys
        #[arg(value_enum)]
        may: May,
        #[command(flatten)]
        keys: Keys,
    },
    /// Let a role do less: nothing any more with this range, as it was granted
    #[command(after_help = examples::ROLE_REVOKE)]
    Revoke {
        /// Which role
        name: String,
        #[command(flatten)]
        keys: Keys,
    },
}

/// Keys that a permission is about.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub(crate) struct Keys {
    /// One key, or the first of a range
    #[arg(conflicts_with = "prefix")]
    pub(crate) key: Option<String>,
    /// The first key that is outside of the range
    #[arg(requires = "key")]
    pub(crate) range_end: Option<String>,
    /// All keys that begin so; an empty one, `--prefix ''`, is all keys
    #[arg(long)]
    pub(crate) prefix: Option<String>,
}

/// What may be done with keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum May {
    /// To read and to watch.
    Read,
    /// To put and to delete.
    Write,
    /// Both.
    Readwrite,
}

impl May {
    pub(crate) fn name(self) -> &'static str {
        match self {
            May::Read => "read",
            May::Write => "write",
            May::Readwrite => "readwrite",
        }
    }
}

#[derive(Subcommand, Debug)]
pub(crate) enum Auth {
    /// Have everything checked; there must be a user `root` with the role `root`
    #[command(after_help = examples::AUTH_ENABLE)]
    Enable,
    /// Have nothing checked
    #[command(after_help = examples::AUTH_DISABLE)]
    Disable,
    /// Whether everything is checked
    #[command(after_help = examples::AUTH_STATUS)]
    Status,
}

pub(super) mod examples {
    pub(in crate::args) const USER: &str = "\
Examples:
  muslin user ls --user root
  echo secret | muslin user add ann --user root:word";
    pub(super) const USER_ADD: &str = "\
Examples:
  echo secret | muslin user add ann
  muslin user add backup --no-password";
    pub(super) const USER_RM: &str = "\
Examples:
  muslin user rm ann";
    pub(super) const USER_LS: &str = "\
Examples:
  muslin user ls
  muslin user ls -o json";
    pub(super) const USER_SHOW: &str = "\
Examples:
  muslin user show ann";
    pub(super) const USER_PASSWD: &str = "\
Examples:
  echo another | muslin user passwd ann";
    pub(super) const USER_GRANT: &str = "\
Examples:
  muslin user grant ann app
  muslin user grant root root";
    pub(super) const USER_REVOKE: &str = "\
Examples:
  muslin user revoke ann app";
    pub(in crate::args) const ROLE: &str = "\
Examples:
  muslin role add app
  muslin role grant app readwrite --prefix app/";
    pub(super) const ROLE_ADD: &str = "\
Examples:
  muslin role add app";
    pub(super) const ROLE_RM: &str = "\
Examples:
  muslin role rm app";
    pub(super) const ROLE_LS: &str = "\
Examples:
  muslin role ls";
    pub(super) const ROLE_SHOW: &str = "\
Examples:
  muslin role show app -o json";
    pub(super) const ROLE_GRANT: &str = "\
Examples:
  muslin role grant app read config
  muslin role grant app write a c
  muslin role grant app readwrite --prefix app/";
    pub(super) const ROLE_REVOKE: &str = "\
Examples:
  muslin role revoke app config
  muslin role revoke app --prefix app/";
    pub(in crate::args) const AUTH: &str = "\
Examples:
  muslin auth enable
  muslin auth status";
    pub(super) const AUTH_ENABLE: &str = "\
Examples:
  muslin auth enable";
    pub(super) const AUTH_DISABLE: &str = "\
Examples:
  muslin auth disable --user root";
    pub(super) const AUTH_STATUS: &str = "\
Examples:
  muslin auth status -o json";
}
