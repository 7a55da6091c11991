//! CRC-32C (Castagnoli), by the processor's own instruction where it has one.
//!
//! Reflected polynomial 0x82f63b78, initial value and final exclusive-or all ones: what iSCSI, ext4
//! and btrfs use. It finds every burst of up to 32 bits, hence every flipped byte.

/// A checksum in the making.
#[derive(Clone, Copy)]
pub(super) struct Crc(u32);

impl Crc {
    pub(super) fn new() -> Crc {
        Crc(0)
    }

    /// Adds bytes.
    pub(super) fn with(self, bytes: &[u8]) -> Crc {
        Crc(crc32c::crc32c_append(self.0, bytes))
    }

    pub(super) fn finish(self) -> u32 {
        self.0
    }
}

/// The checksum of some bytes.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    Crc::new().with(bytes).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_check_values_come_out() {
        // RFC 3720, B.4, and the customary check string.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&rising), 0x46dd_794e);
    }

    #[test]
    fn pieces_give_the_same_as_the_whole() {
        let bytes: Vec<u8> = (0..100u8).map(|byte| byte.wrapping_mul(37)).collect();
        for cut in 0..bytes.len() {
            let parts = Crc::new().with(&bytes[..cut]).with(&bytes[cut..]).finish();
            assert_eq!(parts, crc32c(&bytes), "cut at {cut}");
        }
    }
}
