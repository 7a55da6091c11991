//! Protobuf fields, read in place and written in order.

/// A field's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content<'a> {
    /// A number.
    Number(u64),
    /// Bytes, a text or a message.
    Bytes(&'a [u8]),
}

impl<'a> Content<'a> {
    /// As a number; zero for anything else.
    pub(crate) fn number(self) -> u64 {
        match self {
            Content::Number(number) => number,
            Content::Bytes(_) => 0,
        }
    }

    /// As bytes; none for anything else.
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Content::Number(_) => &[],
            Content::Bytes(bytes) => bytes,
        }
    }
}

/// The fields of a message, in the order in which they come. Ends at what is none.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Of a message.
    pub(crate) fn of(message: &'a [u8]) -> Fields<'a> {
        Fields(message)
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(first & 0x7f).checked_shl(shift)?;
            if *first < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Content<'a>);

    fn next(&mut self) -> Option<(u64, Content<'a>)> {
        let key = self.varint()?;
        let content = match key & 7 {
            0 => Content::Number(self.varint()?),
            1 => Content::Bytes(self.take(8)?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Content::Bytes(self.take(length)?)
            }
            5 => Content::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((key >> 3, content))
    }
}

/// Appends a number; zero is left out, as everywhere in proto3.
pub(crate) fn number(out: &mut Vec<u8>, tag: u8, number: u64) {
    if number != 0 {
        out.push(tag << 3);
        varint(out, number);
    }
}

/// Appends the head of bytes of a length.
pub(crate) fn length(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag << 3 | 2);
    varint(out, length as u64);
}

/// Appends bytes.
pub(crate) fn bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    length(out, tag, bytes.len());
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut out = Vec::new();
        number(&mut out, 1, 300);
        number(&mut out, 2, 0);
        bytes(&mut out, 5, b"value");
        number(&mut out, 6, u64::MAX);
        let fields: Vec<_> = Fields::of(&out).collect();
        let expected = [
            (1, Content::Number(300)),
            (5, Content::Bytes(b"value")),
            (6, Content::Number(u64::MAX)),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn the_end_of_sense_is_the_end() {
        for wrong in [&[0x0a, 0x05, 1][..], &[0x08], &[0x0b], &[0xff; 12], &[0x0d, 0, 0, 0]] {
            assert_eq!(Fields::of(wrong).next(), None, "{wrong:x?}");
        }
    }
}
