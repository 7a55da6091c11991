//! Seeded random numbers: xoshiro256** seeded by SplitMix64 (Blackman and Vigna).

use core::time::Duration;

/// A seeded generator. Not for secrets.
#[derive(Clone, Debug)]
pub struct Prng {
    state: [u64; 4],
}

impl Prng {
    /// The same seed gives the same numbers, on every machine.
    pub fn seeded(seed: u64) -> Prng {
        let mut mix = seed;
        let mut draw = || {
            mix = mix.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = mix;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Prng { state: [draw(), draw(), draw(), draw()] }
    }

    /// A generator of its own for a part, so that its draws do not disturb the others'.
    #[must_use]
    pub fn fork(&mut self) -> Prng {
        Prng::seeded(self.draw())
    }

    /// The next 64 random bits.
    pub fn draw(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s1.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= t;
        *s3 = s3.rotate_left(45);
        result
    }

    /// A number in `0..bound`. `bound` must be positive.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a draw needs at least one outcome");
        // The high part of the product: the bias is below 2^-32 for every bound used here.
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// True `per_million` times in a million.
    pub fn chance(&mut self, per_million: u64) -> bool {
        self.below(1_000_000) < per_million
    }

    /// A duration in `low..high`; `low` when the range is empty.
    pub fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        let low_nanos = low.as_nanos() as u64;
        let span = (high.as_nanos() as u64).saturating_sub(low_nanos);
        if span == 0 { low } else { Duration::from_nanos(low_nanos + self.below(span)) }
    }

    /// One element, or `None` of an empty slice.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.below(items.len() as u64) as usize) }
    }

    /// Puts the items in random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}
