//! How many files the process may have open, and how many of them connections may take.

use crate::api::CONNECTIONS_MAX;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Kept for the node's own files: segments, snapshots, sockets, and what the runtime needs.
const OWN_FILES: u64 = 256;

/// So many files are always enough.
const FILES_ENOUGH: u64 = OWN_FILES + CONNECTIONS_MAX as u64;

/// With room for fewer connections a person is told: a few busy clients fill it.
const CONNECTIONS_FEW: usize = 256;

/// Asked of the system where it does not tell its limit: what the strictest ones allow.
const FILES_UNTOLD: u64 = 256;

/// Takes as many open files as the system allows and the node can use, and answers how many
/// connections that is room for: a connection more must never cost the store a file.
pub(super) fn raise() -> usize {
    let files = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < FILES_ENOUGH && soft < hard => {
            let wanted = hard.min(FILES_ENOUGH);
            match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
                Ok(()) => wanted,
                Err(_) => soft,
            }
        }
        Ok((soft, _)) => soft,
        Err(_) => FILES_UNTOLD,
    };
    let connections = connections(files);
    if connections < CONNECTIONS_FEW {
        tracing::warn!(
            "this process may have only {files} files open, which leaves {connections} \
             connections to clients: raise the limit (`ulimit -n`, or LimitNOFILE= of the \
             service) to {FILES_ENOUGH}"
        );
    }
    connections
}

/// What a limit leaves for connections: with little to share the node keeps three quarters.
fn connections(files: u64) -> usize {
    let left = files - OWN_FILES.min(files / 4 * 3);
    usize::try_from(left).unwrap_or(usize::MAX).min(CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_node_its_own_files() {
        assert_eq!(connections(200), 50);
        assert_eq!(connections(1_024), 768);
        assert_eq!(connections(FILES_ENOUGH), CONNECTIONS_MAX);
        assert_eq!(connections(u64::MAX), CONNECTIONS_MAX);
    }
}
