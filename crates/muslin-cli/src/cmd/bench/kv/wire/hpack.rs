//! Headers, packed (RFC 7541).

use super::huffman;
use std::collections::VecDeque;

/// Bytes of a dynamic table, both ways: what is agreed on where nobody says anything else.
pub(super) const TABLE_BYTES: usize = 4_096;

/// What an entry of the dynamic table costs beside its bytes.
const ENTRY_BYTES: usize = 32;

/// Entries of the static table.
const STATIC: usize = 61;

/// The first of the static entries that hold a status, and which.
const FIRST_STATUS: usize = 8;
const STATUSES: [&str; 7] = ["200", "204", "206", "304", "400", "404", "500"];

/// Packs requests. Each field is written once and named by its number from then on.
#[derive(Default)]
pub(super) struct Encoder {
    /// What the other side keeps, oldest first; it never fills.
    table: Vec<(&'static str, String)>,
    is_table_refused: bool,
    is_refusal_told: bool,
}

impl Encoder {
    /// The other side keeps less than the table we count on: everything is written out.
    pub(super) fn refuse_table(&mut self) {
        self.is_table_refused = true;
    }

    /// Appends a request's headers.
    pub(super) fn request(&mut self, out: &mut Vec<u8>, authority: &str, path: &str) {
        if self.is_table_refused && !self.is_refusal_told {
            out.push(0x20);
            self.is_refusal_told = true;
        }
        // `:method: POST` and `:scheme: http` are in the static table.
        out.extend([0x83, 0x86]);
        let own = [("te", "trailers"), ("content-type", "application/grpc")];
        let fields = [(":path", path), (":authority", authority)].into_iter().chain(own);
        for (name, value) in fields {
            self.field(out, name, value);
        }
    }

    fn field(&mut self, out: &mut Vec<u8>, name: &'static str, value: &str) {
        let known = self.table.iter().rposition(|(n, v)| *n == name && v == value);
        let first = match (self.is_table_refused, known) {
            (true, _) => 0x00,
            (false, Some(at)) => {
                let index = STATIC + self.table.len() - at;
                return integer(out, 0x80, 7, index);
            }
            (false, None) => {
                self.table.push((name, value.to_string()));
                0x40
            }
        };
        out.push(first);
        for text in [name, value] {
            integer(out, 0x00, 7, text.len());
            out.extend(text.as_bytes());
        }
    }
}

/// A number behind some flags (section 5.1).
fn integer(out: &mut Vec<u8>, flags: u8, bits: u32, number: usize) {
    let full = (1usize << bits) - 1;
    if number < full {
        return out.push(flags | number as u8);
    }
    out.push(flags | full as u8);
    let mut rest = number - full;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes that are no headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

/// Unpacks answers.
#[derive(Default)]
pub(super) struct Decoder {
    /// Newest first.
    table: VecDeque<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

impl Decoder {
    /// Tells every field of a block that is not one of the static table without a status.
    pub(super) fn decode(
        &mut self,
        block: &[u8],
        mut found: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Malformed> {
        let mut rest = Reader(block);
        while let Some(&first) = rest.0.first() {
            match first {
                0x80.. => {
                    let (name, value) = self.entry(rest.integer(7)?)?;
                    found(name, value);
                }
                0x40..0x80 => {
                    let (name, value) = self.literal(&mut rest, 6)?;
                    found(&name, &value);
                    self.insert(name, value);
                }
                // What size the table shall have: at most ours, and small enough to be none.
                0x20..0x40 => self.shrink(rest.integer(5)?),
                _ => {
                    let (name, value) = self.literal(&mut rest, 4)?;
                    found(&name, &value);
                }
            }
        }
        Ok(())
    }

    fn literal(
        &mut self,
        rest: &mut Reader<'_>,
        bits: u32,
    ) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
        let name = match rest.integer(bits)? {
            0 => rest.text()?,
            index => self.entry(index)?.0.to_vec(),
        };
        Ok((name, rest.text()?))
    }

    /// A field by its number. Those of the static table that nobody here asks for are empty.
    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), Malformed> {
        match index {
            0 => Err(Malformed),
            FIRST_STATUS..15 => Ok((b":status", STATUSES[index - FIRST_STATUS].as_bytes())),
            1..=STATIC => Ok((b"", b"")),
            _ => {
                let entry = self.table.get(index - STATIC - 1).ok_or(Malformed)?;
                Ok((&entry.0, &entry.1))
            }
        }
    }

    fn insert(&mut self, name: Vec<u8>, value: Vec<u8>) {
        self.bytes += name.len() + value.len() + ENTRY_BYTES;
        self.table.push_front((name, value));
        self.shrink(TABLE_BYTES);
    }

    fn shrink(&mut self, bytes: usize) {
        while self.bytes > bytes {
            let Some((name, value)) = self.table.pop_back() else { return };
            self.bytes -= name.len() + value.len() + ENTRY_BYTES;
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn integer(&mut self, bits: u32) -> Result<usize, Malformed> {
        let full = (1usize << bits) - 1;
        let mut number = usize::from(self.byte()?) & full;
        if number < full {
            return Ok(number);
        }
        // Four bytes more name any size that a frame can have.
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            number += usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    fn text(&mut self) -> Result<Vec<u8>, Malformed> {
        let is_coded = self.0.first().is_some_and(|byte| byte & 0x80 != 0);
        let length = self.integer(7)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        match is_coded {
            true => huffman::decode(text).ok_or(Malformed),
            false => Ok(text.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, Malformed> {
        let mut fields = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        decoder.decode(block, |name, value| {
            fields.push(format!("{}={}", text(name), text(value)));
        })?;
        Ok(fields)
    }

    #[test]
    fn a_field_is_written_once_and_named_afterwards() {
        let mut encoder = Encoder::default();
        let mut request = |path| {
            let mut out = Vec::new();
            encoder.request(&mut out, "localhost:2379", path);
            out
        };
        let (first, second) = (request("/a"), request("/a"));
        let (other, third) = (request("/b"), request("/a"));
        assert!(first.len() > 50 && other.len() > second.len());
        assert_eq!(second, [0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe]);
        assert_eq!(third, [0x83, 0x86, 0xc2, 0xc1, 0xc0, 0xbf], "one entry came behind");
        let mut decoder = Decoder::default();
        let all = [":path=/a", ":authority=localhost:2379", "te=trailers"];
        for block in [&first, &second] {
            let fields = read(&mut decoder, block).unwrap();
            assert_eq!(&fields[2..5], all);
            assert_eq!(fields[5], "content-type=application/grpc");
        }
        assert!(read(&mut decoder, &other).unwrap().contains(&":path=/b".to_string()));
        assert!(read(&mut decoder, &third).unwrap().contains(&":path=/a".to_string()));
    }

    #[test]
    fn without_a_table_everything_is_written_out() {
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());
        encoder.refuse_table();
        encoder.request(&mut out, "h", "/a");
        let mut again = Vec::new();
        encoder.request(&mut again, "h", "/a");
        assert_eq!(out[0], 0x20);
        assert_eq!(out[1..], again);
        assert_eq!(read(&mut Decoder::default(), &again).unwrap().len(), 6);
    }

    #[test]
    fn answers_of_servers_are_read() {
        let mut decoder = Decoder::default();
        // grpc-status: 0 as the h2 crate writes it: new name, both texts coded.
        let status = [0x40, 0x88, 0x9a, 0xca, 0xc8, 0xb2, 0x12, 0x34, 0xda, 0x8f, 0x01, b'0'];
        assert_eq!(read(&mut decoder, &[0x88]).unwrap(), [":status=200"]);
        assert_eq!(read(&mut decoder, &status).unwrap(), ["grpc-status=0"]);
        assert_eq!(read(&mut decoder, &[0xbe]).unwrap(), ["grpc-status=0"]);
        assert_eq!(read(&mut decoder, &[0x20]).unwrap(), [""; 0]);
        assert_eq!(read(&mut decoder, &[0xbe]), Err(Malformed), "the table was emptied");
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for wrong in [&[0x80][..], &[0xff], &[0x40, 0x05, b'a'], &[0x7f, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(read(&mut Decoder::default(), wrong), Err(Malformed), "{wrong:x?}");
        }
    }
}
