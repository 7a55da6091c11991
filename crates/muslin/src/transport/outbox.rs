//! Messages that wait for one peer.

use bytes::{BufMut, Bytes, BytesMut};
use std::collections::VecDeque;
use std::sync::Mutex;

/// Messages that may wait for one peer: consensus has at most 64 appends under way, so thousands
/// mean that the peer does not read, and what is older than they is not worth keeping.
pub const OUTBOX_FRAMES_MAX: usize = 8_192;

/// Bytes that may wait for one peer: twice what consensus has under way to one follower.
pub const OUTBOX_BYTES_MAX: usize = 32 << 20;

/// Largest message: ten of the largest commands (1.5 MiB), sixteen of the largest appends (1 MiB).
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// Bytes in front of each message on a stream: its length, most significant first.
pub(super) const LENGTH_BYTES: usize = 4;

/// Messages up to this size are copied together into one buffer; a larger one is passed on as it
/// is.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// Messages for one peer, in order, bounded in number and bytes.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

/// Why a message was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Full {
    /// Too much waits.
    Queue,
    /// It is larger than [`FRAME_BYTES_MAX`].
    Frame,
}

/// Messages as they are written to a stream.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) chunks: Vec<Bytes>,
    pub(super) frames: u64,
    pub(super) bytes: u64,
}

impl Outbox {
    /// Takes a message in; true when it is the first that waits.
    pub(super) fn push(&self, frame: Bytes) -> Result<bool, Full> {
        if frame.len() > FRAME_BYTES_MAX {
            return Err(Full::Frame);
        }
        let mut waiting = self.waiting.lock().expect("no holder of this lock panics");
        let is_full = waiting.frames.len() == OUTBOX_FRAMES_MAX;
        if is_full || waiting.bytes + frame.len() > OUTBOX_BYTES_MAX {
            return Err(Full::Queue);
        }
        waiting.bytes += frame.len();
        waiting.frames.push_back(frame);
        Ok(waiting.frames.len() == 1)
    }

    /// Takes one message out.
    pub(super) fn pop(&self) -> Option<Bytes> {
        let mut waiting = self.waiting.lock().expect("no holder of this lock panics");
        let frame = waiting.frames.pop_front()?;
        waiting.bytes -= frame.len();
        Some(frame)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.lock().expect("no holder of this lock panics").frames.is_empty()
    }

    /// Drops what waits; how many messages that were.
    pub(super) fn clear(&self) -> u64 {
        let waiting = std::mem::take(&mut *self.waiting.lock().expect("no holder panics"));
        waiting.frames.len() as u64
    }

    /// Takes everything out, framed.
    pub(super) fn take(&self) -> Batch {
        let waiting = std::mem::take(&mut *self.waiting.lock().expect("no holder panics"));
        let mut batch = Batch::default();
        let mut small = BytesMut::new();
        for frame in waiting.frames {
            batch.frames += 1;
            batch.bytes += frame.len() as u64;
            small.put_u32(frame.len() as u32);
            if frame.len() <= COPIED_BYTES_MAX {
                small.extend_from_slice(&frame);
            } else {
                batch.chunks.push(small.split().freeze());
                batch.chunks.push(frame);
            }
        }
        if !small.is_empty() {
            batch.chunks.push(small.freeze());
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed_in_order_and_only_large_ones_stay_apart() {
        let outbox = Outbox::default();
        let large = Bytes::from(vec![7; COPIED_BYTES_MAX + 1]);
        for frame in
            [Bytes::from_static(b"ab"), Bytes::new(), large.clone(), Bytes::from_static(b"c")]
        {
            outbox.push(frame).unwrap();
        }
        let batch = outbox.take();
        assert_eq!((batch.frames, batch.bytes), (4, COPIED_BYTES_MAX as u64 + 4));
        assert_eq!(batch.chunks.len(), 3);
        assert_eq!(batch.chunks[1].as_ptr(), large.as_ptr(), "a large message is not copied");
        let written: Vec<u8> = batch.chunks.concat();
        let mut expected = vec![0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0, 0, 0, 16, 1];
        expected.extend_from_slice(&large);
        expected.extend_from_slice(&[0, 0, 0, 1, b'c']);
        assert_eq!(written, expected);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_full_outbox_refuses_by_number_by_bytes_and_by_size() {
        let outbox = Outbox::default();
        for at in 0..OUTBOX_FRAMES_MAX {
            assert_eq!(outbox.push(Bytes::new()), Ok(at == 0));
        }
        assert_eq!(outbox.push(Bytes::new()), Err(Full::Queue));
        assert_eq!(outbox.clear(), OUTBOX_FRAMES_MAX as u64);
        let half = Bytes::from(vec![0; FRAME_BYTES_MAX]);
        assert_eq!(outbox.push(half.clone()), Ok(true));
        assert_eq!(outbox.push(half), Ok(false));
        assert_eq!(outbox.push(Bytes::from_static(b"x")), Err(Full::Queue));
        assert_eq!(outbox.pop().unwrap().len(), FRAME_BYTES_MAX);
        assert_eq!(outbox.push(Bytes::from_static(b"x")), Ok(false));
        assert_eq!(outbox.push(Bytes::from(vec![0; FRAME_BYTES_MAX + 1])), Err(Full::Frame));
    }
}
