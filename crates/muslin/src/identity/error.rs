use std::path::PathBuf;

/// Why there is no usable identity. `Display` says what happened and what to do.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk refused.
    #[error(
        "cannot {action} {}: {source}; check the directory's owner, mode and free space",
        path.display()
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no identity there.
    #[error(
        "{} has no identity; make a cluster with `muslin init` or join one with `muslin \
         join`",
        path.display()
    )]
    Missing {
        /// The data directory.
        path: PathBuf,
    },
    /// A file is not what it should be.
    #[error(
        "{} cannot be used: {what}; restore it from a backup of this directory, or \
         join as another node, with an empty directory and a --name of its own",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The files are of a format this version does not read.
    #[error(
        "{} has format {found}, this version reads {known}; start it with the version \
         that wrote it",
        path.display()
    )]
    Format {
        /// Which file.
        path: PathBuf,
        /// Its number.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Only holders of the authority's key can issue certificates.
    #[error(
        "this node does not hold the cluster's CA key, so it cannot issue certificates; ask a \
         node with role control"
    )]
    NoCaKey,
    /// A request for a certificate cannot be read, or its signature is wrong.
    #[error(
        "the certificate request is not valid ({0}); make the request again with this version's \
         `muslin join`"
    )]
    Request(String),
    /// A certificate or a TLS configuration could not be made.
    #[error(
        "cannot {action}: {what}; this is a bug or a damaged identity, please report it with the \
         output of `muslin version` and the log of the node"
    )]
    Crypto {
        /// What was tried.
        action: &'static str,
        /// What went wrong.
        what: String,
    },
}

impl IdentityError {
    pub(crate) fn crypto(action: &'static str, what: impl ToString) -> IdentityError {
        IdentityError::Crypto { action, what: what.to_string() }
    }
}
