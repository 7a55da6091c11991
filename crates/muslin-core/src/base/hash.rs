//! A hash that is the same on every machine and in every version.

/// FNV-1a, 64 bits. For digests and placement, never against an adversary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fnv64(u64);

impl Default for Fnv64 {
    fn default() -> Self {
        Fnv64(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv64 {
    /// The hash of nothing.
    pub fn new() -> Fnv64 {
        Fnv64::default()
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Adds a number, little end first.
    pub fn write_u64(&mut self, number: u64) {
        self.write(&number.to_le_bytes());
    }

    /// The hash so far.
    pub fn finish(self) -> u64 {
        self.0
    }
}

/// A checksum of a long run of bytes that comes in pieces of any length: however it is cut, the sum
/// is the same.
///
/// FNV-1a with words in place of bytes, since it runs over whole states. Each step is reversible,
/// so bytes that differ within one word never have the same sum. Not against an adversary.
#[derive(Clone, Debug)]
pub struct Sum64 {
    mixed: u64,
    /// What came since the last whole word.
    rest: [u8; 8],
    length: u64,
}

impl Default for Sum64 {
    fn default() -> Sum64 {
        Sum64 { mixed: Fnv64::new().finish(), rest: [0; 8], length: 0 }
    }
}

impl Sum64 {
    /// The checksum of some bytes.
    pub fn of(bytes: &[u8]) -> u64 {
        let mut sum = Sum64::default();
        sum.write(bytes);
        sum.finish()
    }

    /// Adds bytes.
    pub fn write(&mut self, mut bytes: &[u8]) {
        let filled = (self.length % 8) as usize;
        self.length += bytes.len() as u64;
        if filled > 0 {
            let taken = bytes.len().min(8 - filled);
            self.rest[filled..filled + taken].copy_from_slice(&bytes[..taken]);
            if filled + taken < 8 {
                return;
            }
            self.mix(u64::from_le_bytes(self.rest));
            bytes = &bytes[taken..];
        }
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        self.rest = [0; 8];
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    /// The sum so far.
    pub fn finish(mut self) -> u64 {
        // Zeros at the end of the last word are told apart by the length.
        self.mix(u64::from_le_bytes(self.rest));
        self.mix(self.length);
        self.mixed
    }

    fn mix(&mut self, word: u64) {
        let mixed = (self.mixed ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.mixed = mixed ^ (mixed >> 29);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_sum_does_not_depend_on_where_the_bytes_were_cut() {
        let bytes: Vec<u8> = (0..61_u8).map(|byte| byte.wrapping_mul(37)).collect();
        let whole = Sum64::of(&bytes);
        for one in 0..bytes.len() {
            for two in one..bytes.len() {
                let mut sum = Sum64::default();
                for piece in [&bytes[..one], &bytes[one..two], &bytes[two..]] {
                    sum.write(piece);
                }
                assert_eq!(sum.finish(), whole, "cut at {one} and {two}");
            }
        }
    }

    #[test]
    fn every_flipped_bit_and_every_missing_byte_changes_a_sum() {
        let mut bytes = alloc::vec![0_u8; 27];
        let whole = Sum64::of(&bytes);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Sum64::of(&bytes), whole, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        (0..bytes.len()).for_each(|length| assert_ne!(Sum64::of(&bytes[..length]), whole));
    }
}
