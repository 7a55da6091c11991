//! Hashes by which copies of the keys are compared.

use super::snapshot::Frozen;
use super::{Refusal, State};
use crate::base::Revision;

/// A hash of all keys at one revision, and of their history since the compaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KvHash {
    /// The hash. Of two copies with equal numbers below it is equal.
    pub hash: u32,
    /// The revision that it is of.
    pub revision: Revision,
    /// The revision from which on there is history; zero when nothing was ever compacted.
    pub compacted: Revision,
}

impl Frozen {
    /// The hash of the keys as of a revision, the present one if zero: of what reads and watches
    /// can still see, so that it is the same however far each copy has got with dropping what a
    /// compaction made invisible. Goes through all keys.
    pub fn hash_kv(&self, at: Revision) -> Result<KvHash, Refusal> {
        let State { kv, .. } = self.state();
        let revision = if at == Revision::ZERO { kv.revision } else { at };
        kv.check_revision(revision)?;
        let compacted = kv.compacted;
        let mut sum = 0_u64;
        for (key, history) in kv.keys.iter() {
            let seen = history.at(compacted);
            let seen = seen.filter(|seen| seen.is_set() || seen.revision == compacted);
            let later = history.iter().filter(|version| version.revision > compacted);
            let visible = seen.into_iter().chain(later);
            let visible = visible.filter(|version| version.revision <= revision);
            // A sum: each version stands for itself, and none is told twice.
            sum = visible.fold(sum, |sum, version| sum.wrapping_add(version.digest(key)));
        }
        Ok(KvHash { hash: folded(sum), revision, compacted })
    }

    /// The hash of the whole state: equal on all nodes that have applied as much.
    pub fn hash(&self) -> u32 {
        folded(self.state().digest())
    }
}

/// 64 bits as 32.
fn folded(digest: u64) -> u32 {
    (digest ^ digest >> 32) as u32
}
