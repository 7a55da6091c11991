//! A join that was begun and not yet answered, kept in the directory that it is for: begun again,
//! it is the same node that asks, and it is admitted once.

use super::joiner::{JoinError, Joiner, Trust};
use super::message::JoinRequest;
use crate::identity::{Secret, write_private};
use muslin_core::base::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Beside the keys, of which it holds one.
const FILE: &str = "identity/joining.json";

const DIRECTORY_MODE: u32 = 0o700;

#[derive(Serialize, Deserialize)]
struct Text {
    cluster: String,
    ca_hash: [u8; 32],
    node: String,
    key_pem: String,
    request: JoinRequest,
}

impl Joiner {
    /// Whether a join was begun for this directory and is not over.
    pub fn is_pending(data_dir: &Path) -> bool {
        data_dir.join(FILE).exists()
    }

    /// The join that was begun for this directory.
    pub fn pending(data_dir: &Path) -> Result<Option<Joiner>, JoinError> {
        let path = data_dir.join(FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| unusable(&path, error))?,
        };
        // The parser's message could quote the key.
        let text: Text =
            serde_json::from_slice(&text).map_err(|_| unusable(&path, "it is not as written"))?;
        let cluster = ClusterId::parse(&text.cluster).zip(NodeId::parse(&text.node));
        let (cluster, node) = cluster.ok_or_else(|| unusable(&path, "an id cannot be read"))?;
        let trust = Trust { cluster, ca_hash: text.ca_hash };
        Ok(Some(Joiner { trust, node, key: Secret::new(text.key_pem), request: text.request }))
    }

    /// Writes it down, before anyone is asked. The token's proof is of no use to others.
    pub fn begin(&self, data_dir: &Path) -> Result<(), JoinError> {
        let path = data_dir.join(FILE);
        let directory = path.parent().unwrap_or(data_dir);
        let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
        made.map_err(|error| unusable(&path, error))?;
        let text = Text {
            cluster: self.trust.cluster.to_string(),
            ca_hash: self.trust.ca_hash,
            node: self.node.to_string(),
            key_pem: self.key.expose().to_string(),
            request: self.request.clone(),
        };
        let text = serde_json::to_string(&text).expect("text and numbers are always JSON");
        Ok(write_private(&path, &text)?)
    }

    /// The join is over: the node was made, or was refused for good.
    pub fn end(data_dir: &Path) {
        // What is left of it is found and gone on with, which finds the same end.
        let _ = fs::remove_file(data_dir.join(FILE));
        for directory in [data_dir.join("identity"), PathBuf::from(data_dir)] {
            // Only where nothing else is in it.
            let _ = fs::remove_dir(directory);
        }
    }
}

fn unusable(path: &Path, what: impl ToString) -> JoinError {
    JoinError::Pending { path: path.display().to_string(), what: what.to_string() }
}
