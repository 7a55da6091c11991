//! Large allocations, let go of where nobody waits.

use bytes::Bytes;
use std::collections::VecDeque;

/// Most that are held: more are not in use at a time, since snapshots are made one after the other
/// and the last one sent replaces the one before. Beyond it the oldest is let go of by whoever
/// needs it last.
const HELD_MAX: usize = 8;

/// Bytes that others use too; when they do not any more, they go here.
#[derive(Default)]
pub(super) struct Heavy {
    held: VecDeque<Bytes>,
}

impl Heavy {
    pub(super) fn hold(&mut self, bytes: Bytes) {
        if self.held.len() == HELD_MAX {
            self.held.pop_front();
        }
        self.held.push_back(bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Gives back what nobody else holds.
    pub(super) fn let_go(&mut self) {
        self.held.retain(|bytes| !bytes.is_unique());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_held_as_long_as_anybody_else_holds_them() {
        let mut heavy = Heavy::default();
        let bytes = Bytes::from(vec![0; 1 << 20]);
        heavy.hold(bytes.clone());
        heavy.let_go();
        assert!(!heavy.is_empty());
        let part = bytes.slice(10..20);
        drop(bytes);
        heavy.let_go();
        assert!(!heavy.is_empty(), "a part is of the whole");
        drop(part);
        heavy.let_go();
        assert!(heavy.is_empty());
    }

    #[test]
    fn no_more_are_held_than_can_be_in_use() {
        let mut heavy = Heavy::default();
        let used: Vec<Bytes> = (0..20).map(|byte| Bytes::from(vec![byte; 100])).collect();
        used.iter().for_each(|bytes| heavy.hold(bytes.clone()));
        assert_eq!(heavy.held.len(), HELD_MAX);
    }
}
