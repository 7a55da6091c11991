//! The Huffman code of HPACK (RFC 7541, appendix B). It is canonical: the lengths say it all.

use std::sync::LazyLock;

/// Bits of the code of each byte, and of the end of a text.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, //
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// Most bits of a code.
const LENGTH_MAX: usize = 30;

/// Bits of padding behind the last code: more would be a whole byte of nothing.
const PADDING_MAX: usize = 7;

static CODE: LazyLock<Code> = LazyLock::new(Code::new);

/// For each length, the codes of that length: they are consecutive.
struct Code {
    first: [u32; LENGTH_MAX + 1],
    symbols: Vec<Vec<u16>>,
}

impl Code {
    fn new() -> Code {
        let of_length = |length: usize| {
            let symbols = (0..).zip(LENGTHS).filter(|(_, bits)| usize::from(*bits) == length);
            symbols.map(|(symbol, _)| symbol).collect::<Vec<u16>>()
        };
        let symbols: Vec<Vec<u16>> = (0..=LENGTH_MAX).map(of_length).collect();
        let mut first = [0; LENGTH_MAX + 1];
        for length in 1..=LENGTH_MAX {
            first[length] = (first[length - 1] + symbols[length - 1].len() as u32) << 1;
        }
        Code { first, symbols }
    }

    fn symbol(&self, bits: u32, length: usize) -> Option<u16> {
        let at = bits.checked_sub(self.first[length])?;
        self.symbols[length].get(at as usize).copied()
    }
}

/// The text behind a coded one; nothing when it is no code.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(coded.len() * 2);
    let (mut bits, mut length) = (0u32, 0);
    for bit in coded.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        bits = bits << 1 | u32::from(bit);
        length += 1;
        if length > LENGTH_MAX {
            return None;
        }
        if let Some(symbol) = CODE.symbol(bits, length) {
            text.push(u8::try_from(symbol).ok()?);
            (bits, length) = (0, 0);
        }
    }
    let is_padding = length <= PADDING_MAX && bits == (1 << length) - 1;
    is_padding.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541, appendices C.4 and C.6.
    #[test]
    fn the_examples_of_the_standard_are_read() {
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decode(&coded).unwrap(), b"www.example.com");
        assert_eq!(decode(&[0x64, 0x02]).unwrap(), b"302");
        assert_eq!(decode(&[]).unwrap(), b"");
    }

    #[test]
    fn what_is_no_code_is_refused() {
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff]), None, "the end of a text inside of it");
        assert_eq!(decode(&[0x64, 0x02, 0xff]), None, "a byte of padding");
        assert_eq!(decode(&[0x00, 0x00]), None, "padding of zeroes");
    }
}
