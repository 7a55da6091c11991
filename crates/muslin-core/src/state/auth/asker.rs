//! Who asks.

use alloc::string::String;
use alloc::sync::Arc;

/// Who asks, as far as rights go. Travels with every request and every proposal.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Asker {
    /// The cluster itself: its nodes, and whoever has an administrator's certificate. May all.
    #[default]
    Cluster,
    /// Somebody of whom nothing is known.
    Nobody,
    /// Whoever authenticated as this user. Shared, since it goes with each request of a client.
    User(Arc<AskedBy>),
}

/// A user, as one of its tokens says.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AskedBy {
    /// Its name; empty stands for nobody.
    #[prost(string, tag = "1")]
    pub user: String,
    /// The revision of auth at which it authenticated.
    #[prost(uint64, tag = "2")]
    pub auth_revision: u64,
}

impl Asker {
    /// A user that authenticated at this revision of auth.
    pub fn user(name: impl Into<String>, auth_revision: u64) -> Asker {
        Asker::User(Arc::new(AskedBy { user: name.into(), auth_revision }))
    }

    /// As a proposal carries it.
    pub fn proposed(&self) -> Option<AskedBy> {
        match self {
            Asker::Cluster => None,
            Asker::Nobody => Some(AskedBy::default()),
            Asker::User(by) => Some(AskedBy::clone(by)),
        }
    }

    /// The same, whatever changes about rights: for what goes on after it was let begin, and is
    /// checked by its rights at each change of them.
    pub fn lasting(&self) -> Asker {
        match self {
            Asker::User(by) => Asker::user(by.user.clone(), u64::MAX),
            other => other.clone(),
        }
    }
}

impl From<Option<AskedBy>> for Asker {
    fn from(by: Option<AskedBy>) -> Asker {
        match by {
            None => Asker::Cluster,
            Some(by) if by.user.is_empty() => Asker::Nobody,
            Some(by) => Asker::User(Arc::new(by)),
        }
    }
}
