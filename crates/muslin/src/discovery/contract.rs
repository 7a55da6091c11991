//! What every discovery must obey, for those outside this crate, too.
//!
//! ```
//! use muslin::discovery::{Discovery, contract};
//! use std::net::SocketAddr;
//!
//! /// Asks a scheduler of its own where the members run.
//! struct Scheduler(Vec<SocketAddr>);
//!
//! impl Discovery for Scheduler {
//!     fn contacts(&mut self) -> Vec<SocketAddr> {
//!         self.0.clone()
//!     }
//! }
//!
//! contract::check(&mut Scheduler(vec!["10.0.0.1:7400".parse()?]));
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

use super::{CONTACTS_MAX, Discovery};
use std::collections::BTreeSet;

/// Asked so often in a row: nothing may rest on how often that is.
const TIMES: usize = 3;

/// Asks several times and checks each answer.
///
/// # Panics
/// When an answer breaks the contract; the message says how.
pub fn check(discovery: &mut dyn Discovery) {
    for _ in 0..TIMES {
        let contacts = discovery.contacts();
        assert!(contacts.len() <= CONTACTS_MAX, "{} contacts are too many", contacts.len());
        let distinct: BTreeSet<_> = contacts.iter().collect();
        assert_eq!(distinct.len(), contacts.len(), "named twice: {contacts:?}");
        for address in &contacts {
            assert!(super::is_reachable(address), "{address} is no address of a node");
        }
    }
}

/// Checks that what was known lasts while its source fails. Call it when the source has answered.
///
/// # Panics
/// When something is forgotten, or an answer breaks the contract.
pub fn check_lasting(discovery: &mut dyn Discovery, make_fail: impl FnOnce()) {
    let known = discovery.contacts();
    assert!(!known.is_empty(), "nothing is known yet that could last");
    make_fail();
    check(discovery);
    assert_eq!(discovery.contacts(), known, "what was known is to last while its source fails");
}
