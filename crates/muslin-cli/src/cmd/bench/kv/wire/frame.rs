//! Frames (RFC 9113, section 4).

/// What a connection begins with.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes before a frame's payload.
pub(super) const HEAD: usize = 9;

/// Most bytes of a payload, where nobody agrees on more.
pub(super) const PAYLOAD_MAX: usize = 16_384;

/// What the standard calls DATA.
pub(super) const CONTENT: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RESET: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GO_AWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// Of data and headers: nothing follows in this stream.
pub(super) const END_STREAM: u8 = 0x1;
/// Of settings and pings: the answer to one.
pub(super) const ACK: u8 = 0x1;
/// Of headers: the block is whole.
pub(super) const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// One frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first frame of what has come; `Ok(None)` when more must come.
    pub(super) fn first(bytes: &'a [u8]) -> Result<Option<Frame<'a>>, String> {
        let Some((head, rest)) = bytes.split_at_checked(HEAD) else { return Ok(None) };
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        if length > PAYLOAD_MAX {
            return Err(format!("the server sent a frame of {length} bytes"));
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let stream = number(&head[5..]) & 0x7fff_ffff;
        Ok(Some(Frame { kind: head[3], flags: head[4], stream, payload }))
    }

    /// Whether a flag is set.
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload of data or headers, without padding and priority.
    pub(super) fn content(&self) -> Result<&'a [u8], String> {
        let mut content = self.payload;
        let mut padding = 0;
        if self.has(PADDED) {
            let (first, rest) = content.split_first().ok_or("a frame without its padding")?;
            (padding, content) = (usize::from(*first), rest);
        }
        if self.kind == HEADERS && self.has(PRIORITY) {
            content = content.get(5..).ok_or("a frame without its priority")?;
        }
        let length = content.len().checked_sub(padding);
        length.map(|length| &content[..length]).ok_or("a frame of padding".to_string())
    }
}

/// Appends a frame's head.
pub(super) fn head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    debug_assert!(length <= PAYLOAD_MAX, "frames are cut before they are written");
    let length = (length as u32).to_be_bytes();
    out.extend([length[1], length[2], length[3], kind, flags]);
    out.extend(stream.to_be_bytes());
}

/// Appends a frame that gives the other side more room.
pub(super) fn window(out: &mut Vec<u8>, stream: u32, bytes: u32) {
    head(out, 4, WINDOW_UPDATE, 0, stream);
    out.extend(bytes.to_be_bytes());
}

/// Four bytes as a number; what is not there is zero.
pub(super) fn number(bytes: &[u8]) -> u32 {
    let mut four = [0; 4];
    four.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    u32::from_be_bytes(four)
}
