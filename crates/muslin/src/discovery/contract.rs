//! What every discovery must obey, for those outside this crate, too.

use super::{CONTACTS_MAX, Discovery};
use std::collections::BTreeSet;

/// Asks several times and checks each answer.
///
/// # Panics
/// When an answer breaks the contract; the message says how.
pub fn check(discovery: &mut dyn Discovery) {
    for _ in 0..3 {
        let contacts = discovery.contacts();
        assert!(contacts.len() <= CONTACTS_MAX, "{} contacts are too many", contacts.len());
        let distinct: BTreeSet<_> = contacts.iter().collect();
        assert_eq!(distinct.len(), contacts.len(), "named twice: {contacts:?}");
        for address in &contacts {
            assert!(super::is_reachable(address), "{address} is no address of a node");
        }
    }
}
