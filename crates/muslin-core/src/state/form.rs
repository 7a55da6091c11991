//! The form of what the record takes in: everything in it has a length.

use super::{Member, Refusal, Token};
use alloc::string::String;

/// Longest name, role, zone or key of a label, in bytes: a DNS label, and one to spare.
pub const NAME_BYTES_MAX: usize = 64;

/// Most roles in one list of a member or a token.
pub const ROLES_MAX: usize = 16;

/// Most labels of a member.
pub const LABELS_MAX: usize = 32;

/// Longest value of a label, in bytes.
pub const LABEL_BYTES_MAX: usize = 256;

/// Longest address, in bytes: the longest IPv6 address with its port, and room for a scope.
pub const ADDRESS_BYTES_MAX: usize = 80;

/// Longest hash, in bytes: SHA-512.
pub const HASH_BYTES_MAX: usize = 64;

/// What is not as it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadForm {
    /// A name, role, zone or label is too long, or has control characters.
    Name,
    /// Too many roles, or an empty one.
    Roles,
    /// Too many labels, or a value that is too long.
    Labels,
    /// An address is too long.
    Address,
    /// A hash is too long.
    Hash,
    /// Not 32 bytes.
    Key,
    /// The number of voters is not 1, 3, 5 or 7.
    VotersTarget,
    /// With so many members to be, nothing would ever be assigned.
    MinMembers,
    /// A time is too short or too long.
    Time,
    /// The quota is too small.
    Quota,
    /// Too little of history would be kept.
    KeepRevisions,
    /// Too many backups would be kept.
    BackupKeep,
    /// The witnesses are not more than half of the watchers, or no members.
    Witnesses,
}

impl BadForm {
    /// In words, with what to do.
    pub(super) fn words(self) -> &'static str {
        match self {
            BadForm::Name => "a name, role, zone or label has 1 to 64 bytes, none of them control",
            BadForm::Roles => "a node has at most 16 roles of each kind, none of them empty",
            BadForm::Labels => "a node has at most 32 labels of at most 256 bytes",
            BadForm::Address => "an address has at most 80 bytes",
            BadForm::Hash => "a hash has at most 64 bytes",
            BadForm::Key => "a gossip key has 32 bytes",
            BadForm::Quota => "the quota is at least 16 MiB; 0 is the default",
            BadForm::KeepRevisions => "at least 1,000 revisions are kept; 0 is the default",
            BadForm::BackupKeep => "at most 10,000 backups are kept; 0 is the default",
            BadForm::VotersTarget => "1, 3, 5 or 7 nodes may vote; 0 leaves it to the cluster",
            BadForm::MinMembers => "min_members is at most 65536; 0 is more than half of all",
            BadForm::Time => {
                "a time is from 1 s (less, and every hiccup would count as a death) to 366 days \
                 (more is a mistaken unit); 0 is the default"
            }
            BadForm::Witnesses => {
                "more than half of its living watchers must say that a node is down"
            }
        }
    }
}

/// Whether a member is within all limits.
pub(super) fn check_member(member: &Member) -> Result<(), BadForm> {
    check_word(&member.name)?;
    check_word(&member.zone)?;
    check_word(&member.admitted_by)?;
    check_roles(&member.roles)?;
    check_roles(&member.requires)?;
    check_roles(&member.requires_for_bootstrap)?;
    check_addresses(&member.address, &member.etcd_address)?;
    check_labels(member)?;
    if member.key_hash.len() > HASH_BYTES_MAX { Err(BadForm::Hash) } else { Ok(()) }
}

/// Whether a token is within all limits.
pub(super) fn check_token(token: &Token) -> Result<(), BadForm> {
    check_word(&token.id)?;
    check_word(&token.name)?;
    check_roles(&token.roles)?;
    if token.secret_hash.len() > HASH_BYTES_MAX { Err(BadForm::Hash) } else { Ok(()) }
}

pub(super) fn check_addresses(address: &str, etcd_address: &str) -> Result<(), BadForm> {
    let is_long = address.len().max(etcd_address.len()) > ADDRESS_BYTES_MAX;
    if is_long { Err(BadForm::Address) } else { Ok(()) }
}

pub(super) fn check_roles(roles: &[String]) -> Result<(), BadForm> {
    roles.iter().try_for_each(|role| check_word(role))?;
    let is_bad = roles.len() > ROLES_MAX || roles.iter().any(String::is_empty);
    if is_bad { Err(BadForm::Roles) } else { Ok(()) }
}

pub(super) fn check_labels(member: &Member) -> Result<(), BadForm> {
    member.labels.keys().try_for_each(|key| check_word(key))?;
    let is_long = |value: &String| value.len() > LABEL_BYTES_MAX;
    let is_bad = member.labels.len() > LABELS_MAX || member.labels.values().any(is_long);
    if is_bad { Err(BadForm::Labels) } else { Ok(()) }
}

/// Whether a word is short and can be printed. An empty one is no word, and passes.
pub(super) fn check_word(word: &str) -> Result<(), BadForm> {
    let is_bad = word.len() > NAME_BYTES_MAX || word.chars().any(char::is_control);
    if is_bad { Err(BadForm::Name) } else { Ok(()) }
}

impl core::fmt::Display for BadForm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.words())
    }
}

impl From<BadForm> for Refusal {
    fn from(form: BadForm) -> Refusal {
        Refusal::BadForm(form)
    }
}
