//! What a replica is, less what only time and chance made of it.
//!
//! Two replicas that differ in nothing but their clocks, their random numbers and the numbers of
//! their writes go on alike, since the model lets far more time pass between two steps than any
//! time-out and nothing outlives a step. The text of `Debug` has every field of a replica; the
//! names below are left out of it, and so is every moment, wherever it stands.

use std::fmt::{self, Write};
use std::hash::Hasher;

/// Fields that are no part of what a replica is.
const LEFT_OUT: [&str; 22] = [
    "timers",
    "next_chores",
    "unsaved",
    "unsaved_since",
    "now",
    "options",
    "prng",
    "heard",
    "election_due",
    "heartbeat_due",
    "moved",
    "sent",
    "until",
    "retry",
    "round",
    "rounds",
    "session",
    "asking",
    "disk",
    "commit_sent",
    "silences",
    "spoken",
];

/// What the text of a moment ends with.
const MOMENT: &str = "ms";

/// Feeds the text of a value to a hash, but for some fields and all moments.
pub(crate) struct Fingerprint<H> {
    hasher: H,
    depth: u32,
    /// Digits that may turn out to be a moment's.
    held: String,
    /// A field is left out until the depth at which it stands goes on.
    skipping: Option<u32>,
}

impl<H: Hasher> Fingerprint<H> {
    pub(crate) fn of(value: &impl fmt::Debug, hasher: H) -> u64 {
        let mut sink = Fingerprint { hasher, depth: 0, held: String::new(), skipping: None };
        write!(sink, "{value:?}").expect("a hash takes any text");
        sink.hasher.write(sink.held.as_bytes());
        sink.hasher.finish()
    }

    fn take(&mut self, piece: &str) {
        if self.skipping.is_some() {
            return;
        }
        if piece.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return self.held.push_str(piece);
        }
        if piece != MOMENT {
            self.hasher.write(self.held.as_bytes());
            self.hasher.write(piece.as_bytes());
        }
        self.held.clear();
    }
}

impl<H: Hasher> Write for Fingerprint<H> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.skipping.is_none() && LEFT_OUT.contains(&piece) {
            self.skipping = Some(self.depth);
            return Ok(());
        }
        for byte in piece.bytes() {
            match byte {
                b'{' | b'(' | b'[' => self.depth += 1,
                b'}' | b')' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.skipping.is_some_and(|at| self.depth < at) {
                        self.skipping = None;
                    }
                }
                b',' if self.skipping == Some(self.depth) => self.skipping = None,
                _ => {}
            }
        }
        self.take(piece);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muslin_core::base::Now;
    use std::hash::DefaultHasher;

    #[derive(Debug)]
    struct Clocked {
        kept: u64,
        moment: Now,
        now: Vec<(u64, Option<u64>)>,
        last: Option<u64>,
    }

    fn of(kept: u64, now: u64, last: u64) -> u64 {
        let moment = Now(now * 1_000_000);
        let value = Clocked { kept, moment, now: vec![(now, Some(now)); 2], last: Some(last) };
        assert!(value.kept + value.moment.0 + value.now.len() as u64 + value.last.unwrap_or(0) > 0);
        Fingerprint::of(&value, DefaultHasher::new())
    }

    #[test]
    fn what_is_left_out_makes_no_difference_and_the_rest_does() {
        assert_eq!(of(1, 2, 3), of(1, 9, 3));
        assert_ne!(of(1, 2, 3), of(2, 2, 3));
        assert_ne!(of(1, 2, 3), of(1, 2, 4));
    }
}
