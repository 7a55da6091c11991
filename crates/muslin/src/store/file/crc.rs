//! CRC-32C (Castagnoli), eight bytes at a time from tables.
//!
//! Reflected polynomial 0x82f63b78, initial value and final exclusive-or all ones: what iSCSI, ext4
//! and btrfs use. It finds every burst of up to 32 bits, hence every flipped byte.

/// The polynomial, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        tables[0][byte] = value;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// A checksum in the making.
#[derive(Clone, Copy)]
pub(super) struct Crc(u32);

impl Crc {
    pub(super) fn new() -> Crc {
        Crc(!0)
    }

    /// Adds bytes.
    pub(super) fn with(self, bytes: &[u8]) -> Crc {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut crc = self.0;
        for word in words {
            let [a, b, c, d, e, f, g, h] = *word;
            let low = (crc ^ u32::from_le_bytes([a, b, c, d])).to_le_bytes();
            crc = at(7, low[0]) ^ at(6, low[1]) ^ at(5, low[2]) ^ at(4, low[3]);
            crc ^= at(3, e) ^ at(2, f) ^ at(1, g) ^ at(0, h);
        }
        for byte in rest {
            crc = crc >> 8 ^ at(0, (crc as u8) ^ byte);
        }
        Crc(crc)
    }

    pub(super) fn finish(self) -> u32 {
        !self.0
    }
}

fn at(table: usize, byte: u8) -> u32 {
    TABLES[table][usize::from(byte)]
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
