//! A digest of a set that changes one element at a time.

/// Mixes words into 64 bits. The same on every machine; not against an adversary.
///
/// FNV-1a with words in place of bytes, since it runs over every value written and a multiplication
/// per byte would cost more than the write itself. The shift lets high bits reach low ones, which
/// the multiplication alone never does; without it, sums of digests would be weak in their low
/// bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Digest(u64);

impl Digest {
    /// Of nothing.
    pub(crate) fn new() -> Digest {
        Digest(0xcbf2_9ce4_8422_2325)
    }

    /// Adds a number.
    pub(crate) fn number(mut self, number: u64) -> Digest {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 29);
        self
    }

    /// Adds bytes and their length, so that two neighbours cannot be cut elsewhere.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Digest {
        self = self.number(bytes.len() as u64);
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self = self.number(u64::from_le_bytes(word.try_into().expect("chunks of eight")));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self = self.number(u64::from_le_bytes(word));
        }
        self
    }

    /// The digest so far.
    pub(crate) fn finish(self) -> u64 {
        self.number(0).0
    }
}
