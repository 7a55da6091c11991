//! Beginning afresh, in the place of a node that slept through a rise of the epoch.
//!
//! The node asks to be admitted under another id, showing the certificate that it has; the cluster
//! knows it, and that it does not vote, so nothing that only it holds is lost. What it becomes is
//! made in a directory inside its own, whole, and then put in the place of what was there. A crash
//! at any point leaves the old node or the new one: until `node.json` of the new one is written the
//! old one is there; from then on the next start finishes what was begun.

use super::DaemonError;
use super::errand::{self, Place};
use super::found::settle;
use crate::data_dir::{DataDir, NodeConfig};
use crate::identity::Identity;
use crate::join::{JoinError, JoinReply, Joiner, Trust, Wish};
use bytes::Bytes;
use std::fs;
use std::io;
use std::path::Path;

/// Where the new node is made.
const PLACE: &str = "afresh";

/// What is put in the place of the old node's. The last one is what makes it a node.
const PARTS: [&str; 5] = ["log", "snapshot", "identity", "peers.json", "node.json"];

/// Is admitted, and makes the new node.
pub(super) async fn begin(
    identity: &Identity,
    places: &[Place],
    directory: &DataDir,
) -> Result<(), DaemonError> {
    let config = directory.config();
    let trust = Trust { cluster: identity.cluster, ca_hash: identity.ca_fingerprint()? };
    let wish = Wish {
        name: config.name.clone(),
        address: config.addresses.advertise,
        etcd_address: config.addresses.etcd_listen,
        roles: config.roles.clone(),
        requires: Vec::new(),
        requires_for_bootstrap: Vec::new(),
        zone: String::new(),
    };
    let place = directory.path().join(PLACE);
    // What an earlier try has asked with, if there was one: it may have been admitted.
    let begun = Joiner::pending(&place)?.filter(|joiner| joiner.wants(wish.clone()));
    let joiner = match begun {
        Some(joiner) => joiner,
        None => Joiner::without_token(trust, wish)?,
    };
    joiner.begin(&place)?;
    let body = serde_json::to_vec(joiner.request()).expect("text is always JSON");
    // Others may be left behind as this node is, with no quorum to admit anybody.
    let is_behind = |said: Result<&Bytes, &str>| said == Err("no-quorum");
    let asked = ("/v1/join", &Bytes::from(body));
    let answer = errand::ask_past(identity, places, asked, is_behind).await;
    let answer = answer.map_err(|problem| DaemonError::Renewal(problem.detail))?;
    let unfit = || DaemonError::Renewal("the answer is not as expected".into());
    // The parser's message could quote a key.
    let JoinReply::Admitted(answer) = serde_json::from_slice(&answer).map_err(|_| unfit())? else {
        return Err(unfit());
    };
    let joined = joiner.accept(*answer).map_err(|what| {
        let address = config.addresses.advertise;
        DaemonError::Join(JoinError::Answer { address, what })
    })?;
    let config = NodeConfig { node: joiner.node(), epoch: joined.epoch, ..config.clone() };
    settle(&place, config, joined)?;
    Joiner::end(&place);
    Ok(())
}

/// Puts a node that was made afresh in the place of the old one; nothing is done where none was.
/// Nobody may have the directory.
pub(super) fn finish(data_dir: &Path) -> Result<(), DaemonError> {
    let place = data_dir.join(PLACE);
    if !place.join("node.json").exists() {
        return Ok(());
    }
    let moved = PARTS.iter().try_for_each(|part| {
        let (from, to) = (place.join(part), data_dir.join(part));
        if !from.exists() {
            return Ok(());
        }
        if to.is_dir() {
            fs::remove_dir_all(&to)?;
        }
        fs::rename(&from, &to)
    });
    let done = moved.and_then(|()| fs::remove_dir_all(&place));
    done.map_err(|error: io::Error| DaemonError::Afresh { path: data_dir.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn old_and_new(place: &Path) {
        for (root, text) in [(place.to_owned(), "old"), (place.join(PLACE), "new")] {
            for part in ["log/1.log", "identity/node.pem", "node.json"] {
                write(&root.join(part), text);
            }
        }
        write(&place.join("snapshot/1"), "old");
        write(&place.join(PLACE).join("snapshot/2"), "new");
    }

    #[test]
    fn what_is_whole_takes_the_place_of_what_was_there_whenever_it_was_cut_short() {
        // Cut short after so many parts, then done again.
        for cut in 0..=PARTS.len() {
            let directory = tempfile::tempdir().unwrap();
            let place = directory.path();
            old_and_new(place);
            for part in PARTS.iter().take(cut).filter(|part| **part != "node.json") {
                let (from, to) = (place.join(PLACE).join(part), place.join(part));
                if from.exists() {
                    if to.is_dir() {
                        fs::remove_dir_all(&to).unwrap();
                    }
                    fs::rename(from, to).unwrap();
                }
            }
            finish(place).unwrap();
            for part in ["log/1.log", "identity/node.pem", "node.json", "snapshot/2"] {
                assert_eq!(fs::read_to_string(place.join(part)).unwrap(), "new", "{part}, {cut}");
            }
            assert!(!place.join("snapshot/1").exists() && !place.join(PLACE).exists());
            finish(place).unwrap();
        }
    }

    #[test]
    fn what_was_not_finished_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        old_and_new(directory.path());
        fs::remove_file(directory.path().join(PLACE).join("node.json")).unwrap();
        finish(directory.path()).unwrap();
        assert_eq!(fs::read_to_string(directory.path().join("node.json")).unwrap(), "old");
    }
}
