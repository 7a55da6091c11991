//! A node that its cluster has removed: its person is told, at this start and at each later one.
//!
//! What was said is kept beside the node's data, so that a supervisor that starts it again and
//! again finds the reason in the log each time, and nobody is asked in vain. Only the node's own
//! cluster can have said it: over TLS, by a node with a certificate of its authority.

use super::DaemonError;
use crate::data_dir::NodeConfig;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::path::Path;

/// In the data directory.
const FILE: &str = "removed.json";

/// What a removed node's person has to know. `Display` says all of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RemovedNote {
    /// Its name.
    pub name: String,
    /// What the cluster said: when it was removed, and why.
    pub what: String,
    /// The line that brings the machine back as another node.
    pub join: String,
}

impl RemovedNote {
    /// What to tell of a node to which a member said this.
    pub(super) fn new(config: &NodeConfig, member: Option<&str>, what: String) -> RemovedNote {
        let addresses = config.addresses;
        let (name, listen) = (config.name.clone(), addresses.listen);
        let advertise = match addresses.advertise == listen {
            true => String::new(),
            false => format!(" --advertise {}", addresses.advertise),
        };
        let join = format!(
            "muslin join {} --token TOKEN --data-dir NEW --name {name} \
             --listen {listen}{advertise} --roles {}",
            member.unwrap_or("HOST:PORT"),
            config.roles.join(","),
        );
        RemovedNote { name, what, join }
    }

    /// What was noted in a data directory, if its node was removed.
    pub fn read(data_dir: &Path) -> Option<RemovedNote> {
        let bytes = fs::read(data_dir.join(FILE)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Notes it. Where it cannot be written the cluster will say it again.
    pub(super) fn write(&self, data_dir: &Path) {
        let text = serde_json::to_vec_pretty(self).expect("text is always JSON");
        if let Err(error) = fs::write(data_dir.join(FILE), text) {
            tracing::warn!(%error, "cannot note that this node was removed");
        }
    }
}

impl fmt::Display for RemovedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is no member of its cluster any more: {}; its data is left as it is. To bring the \
             machine back as another node, whose name may be the same, make a token where a node \
             runs (`muslin token create`), then: {}",
            self.name, self.what, self.join
        )
    }
}

impl std::error::Error for RemovedNote {}

/// Refuses to start a node that was removed.
pub(super) fn check(data_dir: &Path) -> Result<(), DaemonError> {
    match RemovedNote::read(data_dir) {
        Some(note) => Err(Box::new(note).into()),
        None => Ok(()),
    }
}
