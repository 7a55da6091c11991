//! What every codec must obey.
//!
//! ```
//! use bytes::Bytes;
//! use muslin::codec::{Codec, CodecError, contract};
//!
//! /// Text as it is.
//! struct Plain;
//!
//! impl Codec<String> for Plain {
//!     fn encode(&self, value: &String) -> Result<Bytes, CodecError> {
//!         Ok(Bytes::copy_from_slice(value.as_bytes()))
//!     }
//!     fn decode(&self, bytes: &[u8]) -> Result<String, CodecError> {
//!         String::from_utf8(bytes.to_vec()).map_err(|error| CodecError(error.to_string()))
//!     }
//! }
//!
//! contract::check(&Plain, &["".to_string(), "grüß dich".to_string()]);
//! ```

use super::Codec;
use muslin_core::base::Prng;
use std::fmt::Debug;

/// Rubbish decoded: enough to meet each kind of first bytes many times.
const RUBBISH: usize = 10_000;

/// Longest rubbish.
const RUBBISH_BYTES: u64 = 200;

/// Takes these values there and back, then decodes what nobody encoded: their bytes cut at every
/// length and with every bit turned, and rubbish from a seed.
///
/// # Panics
/// When a value comes back as another, or the codec itself panics.
pub fn check<T: PartialEq + Debug>(codec: &impl Codec<T>, values: &[T]) {
    for value in values {
        let bytes = codec.encode(value).expect("a value can be encoded");
        let again = codec.encode(value).expect("a value can be encoded again");
        assert_eq!(bytes, again, "one value has one encoding: {value:?}");
        let back = codec.decode(&bytes).expect("what was encoded can be decoded");
        assert_eq!(back, *value, "a value comes back as it was");
        let mut spoilt = bytes.to_vec();
        for at in 0..spoilt.len() {
            // Whatever it makes of these, it may not panic.
            let _ = codec.decode(spoilt.get(..at).unwrap_or_default());
            for bit in 0..8 {
                flip(&mut spoilt, at, bit);
                let _ = codec.decode(&spoilt);
                flip(&mut spoilt, at, bit);
            }
        }
    }
    let mut prng = Prng::seeded(1);
    for _ in 0..RUBBISH {
        let length = prng.below(RUBBISH_BYTES);
        let rubbish: Vec<u8> = (0..length).map(|_| prng.draw() as u8).collect();
        let _ = codec.decode(&rubbish);
    }
}

fn flip(bytes: &mut [u8], at: usize, bit: u32) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << bit;
    }
}
