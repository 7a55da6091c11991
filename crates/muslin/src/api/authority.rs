//! Lets clients in that name a whole address where HTTP/2 wants an authority.
//!
//! The Go client of etcd 3.4 and earlier, and `etcdctl` with it, dials `http://127.0.0.1:2379` and
//! sends just that as `:authority` with every call that is made to one node: status, hashes,
//! defragmentation. gRPC in Go takes it; the library that speaks HTTP/2 here ends such a call with
//! PROTOCOL_ERROR, before anybody is asked. So what begins with a scheme is written over on its way
//! in, `http://` with `httpx--`, and so is a path behind it (`n1:2379/`, which clients of 3.5 send
//! too), `/` with `-`. What stands there means nothing to us, but it must be as long as
//! it was, as bytes and in the code of RFC 7541, Appendix B: both ends count what their tables of
//! headers hold. `x` is as long as `:` in that code, and `-` as `/`.
//!
//! The rest of the stream is passed on untouched, and unread but for the heads of frames and the
//! lengths of fields. What makes no sense is left to those who read it.

use super::between::Between;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes of an HTTP/2 preface (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24;

/// Bytes of the head of a frame (RFC 9113, 4.1), and the types and flags that matter.
const HEAD_BYTES: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// The place of `:authority` among the fields that all know (RFC 7541, Appendix A).
const AUTHORITY: usize = 1;

/// A number that goes on beyond so many bits is no length of anything here.
const NUMBER_BITS_MAX: u32 = 21;

/// Schemes as they come, and what is written over them: plain, and in the code.
const SCHEMES: [[&[u8]; 2]; 4] = [
    [b"http://", b"httpx--"],
    [b"https://", b"httpsx--"],
    [b"unix://", b"unixx--"],
    [b"unixs://", b"unixsx--"],
];

/// An authority that is no longer than this is looked at as a whole: a path behind it is written
/// over as well, `/` with `-`. Others are longer than any name and port.
const WHOLE_BYTES_MAX: usize = 280;

/// Room for such a one, and for what is read together with it.
const KEPT_BYTES: usize = 320;

/// How far apart `/` and `-` are in the code, in which both have six bits.
const SLASH_TO_DASH: u8 = 0b01_1000 ^ 0b01_0110;

/// The code of a letter: its bits, and how many they are.
fn code(letter: u8) -> (u64, u32) {
    match letter {
        b't' => (0b01001, 5),
        b's' => (0b01000, 5),
        b'i' => (0b00110, 5),
        b'h' => (0b10_0111, 6),
        b'p' => (0b10_1011, 6),
        b'n' => (0b10_1010, 6),
        b'u' => (0b10_1101, 6),
        b'/' => (0b01_1000, 6),
        b'-' => (0b01_0110, 6),
        b':' => (0b101_1100, 7),
        b'x' => (0b111_1001, 7),
        _ => unreachable!("no scheme has it"),
    }
}

/// A text in the code, from the highest bit on, and how many bits it has.
fn coded(text: &[u8]) -> (u64, u32) {
    let (mut bits, mut len) = (0, 0);
    for (letter, letter_len) in text.iter().map(|letter| code(*letter)) {
        bits = bits << letter_len | letter;
        len += letter_len;
    }
    (bits << (u64::BITS - len), len)
}

/// What a value begins with.
#[derive(PartialEq, Eq, Debug)]
enum Start {
    /// It has been written over if it had to be.
    Clear,
    /// More of it must be seen.
    Unclear,
}

/// Writes over the scheme that a value begins with. `left`: bytes of the value that are to come,
/// of which `seen` is the beginning.
fn write_over(seen: &mut [u8], left: usize, is_coded: bool) -> Start {
    let mut start = Start::Clear;
    for [from, to] in SCHEMES {
        let (from, to, bits) = if is_coded {
            let ((from, bits), (to, _)) = (coded(from), coded(to));
            (from, to, bits)
        } else {
            (plain(from), plain(to), u8::BITS * from.len() as u32)
        };
        let bytes = bits.div_ceil(u8::BITS) as usize;
        let known = seen.len().min(left).min(bytes);
        let mask = !0 << (u64::BITS - bits);
        let of_known = mask & !u64::MAX.checked_shr(u8::BITS * known as u32).unwrap_or(0);
        if plain(&seen[..known]) & of_known != from & of_known {
            continue;
        }
        if known == bytes {
            let written = plain(&seen[..known]) & !mask | to;
            seen[..known].copy_from_slice(&written.to_be_bytes()[..known]);
            return Start::Clear;
        }
        if known < left {
            start = Start::Unclear;
        }
    }
    start
}

/// Writes over what makes a path of the end of an authority.
fn without_slashes(value: &mut [u8], is_coded: bool) {
    if !is_coded {
        value.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = b'-');
        return;
    }
    let mut at = 0;
    while at < u8::BITS as usize * value.len() {
        let (byte, bit) = (at / 8, at % 8);
        let behind = value.get(byte + 1).copied().unwrap_or(u8::MAX);
        let two = u16::from_be_bytes([value[byte], behind]) << bit;
        let next = two.to_be_bytes()[0];
        // How long the code of a letter is, its beginning tells; those of more than eight bits are
        // of no letter that an authority has, and neither is what fills the last byte up.
        at += match next {
            ..0x50 => 5,
            0x50..0xb8 => 6,
            0xb8..0xf8 => 7,
            0xf8..0xfe => 8,
            0xfe.. => return,
        };
        if next >> 2 == 0b01_1000 {
            let change = u16::from(SLASH_TO_DASH) << 10 >> bit;
            let [high, low] = change.to_be_bytes();
            value[byte] ^= high;
            if let Some(behind) = value.get_mut(byte + 1) {
                *behind ^= low;
            }
        }
    }
}

/// Bytes as a number, from the highest on.
fn plain(bytes: &[u8]) -> u64 {
    let mut filled = [0; 8];
    filled[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(filled)
}

/// Where in a block of fields the next byte stands (RFC 7541, 6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    /// A field begins.
    Begin,
    /// In the number that a field begins with. `texts`: how many follow if it is 0, and otherwise.
    Index { so_far: usize, shift: u32, texts: (u8, u8) },
    /// A text begins: the first of so many. With the name's number, if the last one is a value.
    Text { texts: u8, name: usize },
    /// In the number of a text's bytes.
    Length { so_far: usize, shift: u32, texts: u8, name: usize, is_coded: bool },
    /// The value of `:authority` begins, of so many bytes.
    Authority { left: usize, is_coded: bool },
    /// In a text, with so many behind it.
    Within { left: usize, texts: u8 },
    /// What came makes no sense.
    Lost,
}

impl Field {
    /// After a number that a field begins with.
    fn indexed(index: usize, texts: (u8, u8)) -> Field {
        match if index == 0 { texts.0 } else { texts.1 } {
            0 => Field::Begin,
            texts => Field::Text { texts, name: index },
        }
    }

    /// After the length of a text.
    fn measured(left: usize, texts: u8, name: usize, is_coded: bool) -> Field {
        match (left, texts) {
            (0, 1) => Field::Begin,
            (0, _) => Field::Text { texts: texts - 1, name },
            (_, 1) if name == AUTHORITY => Field::Authority { left, is_coded },
            _ => Field::Within { left, texts: texts - 1 },
        }
    }

    /// Goes on by one byte that is not within a text.
    fn step(self, byte: u8) -> Field {
        let seven = usize::from(byte & 0x7f);
        match self {
            Field::Begin => {
                let (bits, texts) = match byte {
                    0x80.. => (7, (0, 0)),
                    0x40.. => (6, (2, 1)),
                    0x20.. => (5, (0, 0)),
                    _ => (4, (2, 1)),
                };
                let full = (1 << bits) - 1;
                match usize::from(byte) & full {
                    so_far if so_far == full => Field::Index { so_far, shift: 0, texts },
                    index => Field::indexed(index, texts),
                }
            }
            Field::Index { shift, .. } | Field::Length { shift, .. } if shift > NUMBER_BITS_MAX => {
                Field::Lost
            }
            Field::Index { so_far, shift, texts } => match so_far + (seven << shift) {
                index if byte < 0x80 => Field::indexed(index, texts),
                so_far => Field::Index { so_far, shift: shift + 7, texts },
            },
            Field::Text { texts, name } => {
                let is_coded = byte >= 0x80;
                match seven {
                    0x7f => Field::Length { so_far: seven, shift: 0, texts, name, is_coded },
                    left => Field::measured(left, texts, name, is_coded),
                }
            }
            Field::Length { so_far, shift, texts, name, is_coded } => {
                match so_far + (seven << shift) {
                    left if byte < 0x80 => Field::measured(left, texts, name, is_coded),
                    so_far => Field::Length { so_far, shift: shift + 7, texts, name, is_coded },
                }
            }
            Field::Authority { .. } | Field::Within { .. } | Field::Lost => self,
        }
    }

    /// After so many bytes of a text.
    fn passed(self, bytes: usize) -> Field {
        match self {
            Field::Within { left, texts: 0 } if left == bytes => Field::Begin,
            Field::Within { left, texts } if left == bytes => Field::Text { texts, name: 0 },
            Field::Within { left, texts } => Field::Within { left: left - bytes, texts },
            other => other,
        }
    }
}

/// Where in the stream the next byte stands.
#[derive(Clone, Copy, Debug)]
enum At {
    /// In what is of no interest, with so many bytes of it to come.
    Skip(usize),
    /// In the head of a frame, of which so many bytes are known.
    Head { seen: usize, bytes: [u8; HEAD_BYTES] },
    /// In the fields of a frame: behind `ahead` bytes that are none, `left` bytes to the end.
    Fields { ahead: usize, left: usize },
}

/// Follows a stream from its first byte.
struct Lane {
    at: At,
    field: Field,
}

impl Lane {
    fn new() -> Lane {
        Lane { at: At::Skip(PREFACE_BYTES), field: Field::Begin }
    }

    /// Goes over what came. Of the bytes it returns the first so many may be passed on; the rest
    /// must come again, with more behind it.
    fn pass(&mut self, bytes: &mut [u8]) -> usize {
        let mut from = 0;
        while from < bytes.len() {
            let rest = &mut bytes[from..];
            let Some(passed) = self.advance(rest) else { return from };
            from += passed;
        }
        from
    }

    /// Goes over some of them, at least one; none must be gone over before more have come.
    fn advance(&mut self, bytes: &mut [u8]) -> Option<usize> {
        match &mut self.at {
            At::Skip(left) => {
                let passed = bytes.len().min(*left);
                *left -= passed;
                if *left == 0 {
                    self.at = At::Head { seen: 0, bytes: [0; HEAD_BYTES] };
                }
                Some(passed)
            }
            At::Head { seen, bytes: head } => {
                head[*seen] = bytes[0];
                *seen += 1;
                if *seen == HEAD_BYTES {
                    let head = *head;
                    self.begin(head);
                }
                Some(1)
            }
            At::Fields { ahead, left } => {
                let within = bytes.len().min(*left);
                let passed = if *ahead > 0 {
                    let passed = within.min(*ahead);
                    *ahead -= passed;
                    passed
                } else {
                    look(&mut self.field, &mut bytes[..within], *left)?
                };
                *left -= passed;
                if *left == 0 {
                    self.at = At::Head { seen: 0, bytes: [0; HEAD_BYTES] };
                }
                Some(passed)
            }
        }
    }

    /// A frame begins.
    fn begin(&mut self, head: [u8; HEAD_BYTES]) {
        let [a, b, c, kind, flags, ..] = head;
        let left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let padded = if flags & PADDED == 0 { 0 } else { 1 };
        let ordered = if flags & PRIORITY == 0 { 0 } else { 5 };
        let ahead = match kind {
            HEADERS => {
                self.field = Field::Begin;
                padded + ordered
            }
            _ => 0,
        };
        self.at = match kind {
            _ if left == 0 => At::Head { seen: 0, bytes: [0; HEAD_BYTES] },
            HEADERS | CONTINUATION => At::Fields { ahead, left },
            _ => At::Skip(left),
        };
    }
}

/// Goes over some of a frame's fields, of which `left` bytes are to come.
fn look(field: &mut Field, bytes: &mut [u8], left: usize) -> Option<usize> {
    let passed = match *field {
        Field::Lost => bytes.len(),
        Field::Within { left, .. } => bytes.len().min(left),
        Field::Authority { left: of_value, is_coded } => {
            if write_over(bytes, of_value.min(left), is_coded) == Start::Unclear {
                return None;
            }
            if of_value <= left.min(WHOLE_BYTES_MAX) {
                let whole = bytes.get_mut(..of_value)?;
                without_slashes(whole, is_coded);
            }
            *field = Field::Within { left: of_value, texts: 0 };
            bytes.len().min(of_value)
        }
        _ => {
            *field = field.step(bytes[0]);
            return Some(1);
        }
    };
    *field = field.passed(passed);
    Some(passed)
}

/// Takes the scheme from the authorities of a stream of HTTP/2, from its preface on.
pub(super) struct Schemeless {
    lane: Lane,
    /// What was read and must wait for more, or for room.
    kept: [u8; KEPT_BYTES],
    len: usize,
    /// So many of them may be passed on.
    free: usize,
}

impl Schemeless {
    pub(super) fn new() -> Schemeless {
        Schemeless { lane: Lane::new(), kept: [0; KEPT_BYTES], len: 0, free: 0 }
    }

    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let given = self.free.min(buf.remaining());
        buf.put_slice(&self.kept[..given]);
        self.kept.copy_within(given..self.len, 0);
        self.len -= given;
        self.free -= given;
    }
}

impl Between for Schemeless {
    fn read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        while self.free == 0 {
            if self.len > 0 {
                let mut more = ReadBuf::new(&mut self.kept[self.len..]);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut more))?;
                let read = more.filled().len();
                self.len += read;
                // At the end there is nothing more to wait for.
                self.free =
                    if read == 0 { self.len } else { self.lane.pass(&mut self.kept[..self.len]) };
                continue;
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut *stream).poll_read(cx, buf))?;
            let read = &mut buf.filled_mut()[before..];
            let passed = self.lane.pass(read);
            let rest = &read[passed..];
            self.len = rest.len();
            self.kept[..self.len].copy_from_slice(rest);
            let is_end = read.is_empty();
            buf.set_filled(before + passed);
            if is_end || passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
        self.give(buf);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::between::Through;
    use super::*;
    use std::collections::VecDeque;
    use tokio::io::AsyncReadExt;

    /// `http://127.0.0.1:2379` in the code, and what becomes of it, as gRPC's library in Go has
    /// them.
    const CODED: [&[u8]; 2] = [
        b"\x9d\x29\xae\xe3\x0c\x04\x4e\xae\x05\xc0\xb8\x6e\x09\x97\x5f",
        b"\x9d\x29\xaf\xca\xcb\x04\x4e\xae\x05\xc0\xb8\x6e\x09\x97\x5f",
    ];

    const END_HEADERS: u8 = 0x04;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let len = u8::try_from(payload.len()).unwrap();
        [&[0, 0, len, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// A field of the name `:authority`.
    fn authority(value: &[u8], is_coded: bool) -> Vec<u8> {
        let len = u8::try_from(value.len()).unwrap();
        [&[0x41, if is_coded { 0x80 | len } else { len }], value].concat()
    }

    /// A method that all know, a new name with a value, and a path.
    const BEFORE: &[u8] = b"\x83\x40\x02te\x08trailers\x44\x0chttp://a/b/c";

    /// A header of a number that takes two bytes, and one more value.
    const BEHIND: &[u8] = b"\x3f\xe1\x1f\x0f\x2b\x07http://\x7f\x00\x03abc\xff\x01";

    fn stream(value: &[u8], is_coded: bool, flags: u8, ahead: &[u8]) -> Vec<u8> {
        let block = [ahead, BEFORE, &authority(value, is_coded), BEHIND].concat();
        [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, b""),
            frame(8, 0, b"\x00\x01\x00\x00"),
            frame(HEADERS, END_HEADERS | flags, &block),
            frame(0, 0, b"\x41\x07http://"),
            frame(HEADERS, END_HEADERS, &authority(value, is_coded)),
        ]
        .concat()
    }

    /// A connection on which these come, one with each read.
    struct Pieces(VecDeque<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some(mut piece) = self.0.pop_front() {
                let rest = piece.split_off(piece.len().min(buf.remaining()));
                buf.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    /// Reads all of it, in pieces of `piece` bytes with room for `room`.
    async fn read(sent: &[u8], piece: usize, room: usize) -> Vec<u8> {
        let pieces = Pieces(sent.chunks(piece).map(<[u8]>::to_vec).collect());
        let mut stream = Through::new(pieces, Schemeless::new());
        let (mut all, mut some) = (Vec::new(), vec![0; room]);
        loop {
            match stream.read(&mut some).await.unwrap() {
                0 => return all,
                read => all.extend_from_slice(&some[..read]),
            }
        }
    }

    async fn check(value: [&[u8]; 2], is_coded: bool, flags: u8, ahead: &[u8]) {
        let [sent, wanted] = value.map(|value| stream(value, is_coded, flags, ahead));
        for piece in [1, 2, 3, 5, 7, 11, 31, 64, sent.len()] {
            for room in [1, 3, 16, 1_000] {
                assert_eq!(read(&sent, piece, room).await, wanted, "{piece} {room}");
            }
        }
    }

    #[tokio::test]
    async fn a_scheme_is_written_over() {
        check(CODED, true, 0, b"").await;
        check([b"http://127.0.0.1:1", b"httpx--127.0.0.1:1"], false, 0, b"").await;
        check([b"https://n1:2379", b"httpsx--n1:2379"], false, 0, b"").await;
        check([b"unixs://a", b"unixsx--a"], false, 0, b"").await;
        check([b"\xb6\xa3\x79\xb8\xc3\x03", b"\xb6\xa3\x79\xf2\xb2\xc3"], true, 0, b"").await;
    }

    #[tokio::test]
    async fn a_path_is_written_over() {
        check([b"http://n1:2379/", b"httpx--n1:2379-"], false, 0, b"").await;
        check([b"svc/foo/", b"svc-foo-"], false, 0, b"").await;
        // `127.0.0.1:18579/`, `svc/foo/` and `a/b` in the code.
        let coded: [[&[u8]; 2]; 3] = [
            [
                b"\x08\x9d\x5c\x0b\x81\x70\xdc\x0b\xcd\xba\xfb\x1f",
                b"\x08\x9d\x5c\x0b\x81\x70\xdc\x0b\xcd\xba\xfa\xdf",
            ],
            [b"\x47\x72\x31\x29\xce\xc7", b"\x47\x72\x2d\x29\xce\xb7"],
            [b"\x1b\x11\xff", b"\x1a\xd1\xff"],
        ];
        for value in coded {
            check(value, true, 0, b"").await;
        }
        let long = |end: &[u8]| [&[b'a'; 99], end].concat();
        check([&long(b"/"), &long(b"-")], false, 0, b"").await;
    }

    #[tokio::test]
    async fn what_stands_ahead_of_the_fields_is_passed_over() {
        check(CODED, true, PRIORITY, b"\x41\x07\x00\x00\xff").await;
        check(CODED, true, PADDED | PRIORITY, b"\x00\x41\x07\x00\x00\xff").await;
    }

    #[tokio::test]
    async fn what_has_no_scheme_stays() {
        let values: [&[u8]; 5] = [b"127.0.0.1:2379", b"http", b"http:80", b"unix", b"x"];
        for value in values {
            check([value, value], false, 0, b"").await;
        }
        let coded = [CODED[1], &CODED[0][..4], b"\x08\x4e\xae\x05"];
        for value in coded {
            check([value, value], true, 0, b"").await;
        }
    }

    #[tokio::test]
    async fn fields_go_on_in_another_frame() {
        let block = [BEFORE, &authority(b"http://127.0.0.1:1", false)].concat();
        let (first, second) = block.split_at(BEFORE.len() + 1);
        let sent = [
            vec![0; PREFACE_BYTES],
            frame(HEADERS, 0, first),
            frame(CONTINUATION, END_HEADERS, second),
        ]
        .concat();
        let at = sent.len() - b"://127.0.0.1:1".len();
        let mut wanted = sent.clone();
        wanted[at..at + 3].copy_from_slice(b"x--");
        assert_eq!(read(&sent, 4, 100).await, wanted);
    }

    #[tokio::test]
    async fn nonsense_is_passed_on() {
        let endless = [0x7f; 40];
        for block in [&endless[..], b"\x7f\xff\xff\xff\xff\xff\xff\xff\x41\x07http://", b"\x41\xff"]
        {
            let sent = [vec![0; PREFACE_BYTES], frame(HEADERS, 0, block)].concat();
            for piece in [1, 9, 100] {
                assert_eq!(read(&sent, piece, 7).await, sent);
            }
        }
        let cut =
            [vec![0; PREFACE_BYTES], frame(HEADERS, 0, &authority(b"http://", false))].concat();
        let cut = &cut[..cut.len() - 3];
        assert_eq!(read(cut, 100, 100).await, cut, "what it ends in is passed on");
    }
}
