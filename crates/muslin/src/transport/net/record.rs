//! Messages on a connection: length in front, cut into sealed records.

use crate::transport::FRAME_BYTES_MAX;
use crate::transport::outbox::LENGTH_BYTES;
use bytes::{Buf, Bytes, BytesMut};
use ring::aead::{Aad, LessSafeKey, Nonce};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Most bytes in a record: few enough to wait for, enough that the tag does not matter.
pub const RECORD_BYTES_MAX: usize = 64 << 10;

const TAG_BYTES: usize = 16;

/// Bytes in front of a record: the length of what is sealed, with its tag.
const HEADER_BYTES: usize = 4;

/// One end's key, and how many records it has seen. A record out of its order does not open.
struct Cipher {
    key: LessSafeKey,
    records: u64,
}

impl Cipher {
    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.records.to_be_bytes());
        self.records += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Seals what is written.
pub(super) struct Seals {
    cipher: Cipher,
}

impl Seals {
    pub(super) fn new(key: LessSafeKey) -> Seals {
        Seals { cipher: Cipher { key, records: 0 } }
    }

    /// The records for these bytes, behind those in `out`; one, for none.
    pub(super) fn seal(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        loop {
            let (head, tail) = rest.split_at(rest.len().min(RECORD_BYTES_MAX));
            let length = (head.len() + TAG_BYTES) as u32;
            out.extend_from_slice(&length.to_be_bytes());
            let start = out.len();
            out.extend_from_slice(head);
            let nonce = self.cipher.nonce();
            let aad = Aad::from(length.to_be_bytes());
            let sealed = out.get_mut(start..).expect("the record was just written");
            let tag = self.cipher.key.seal_in_place_separate_tag(nonce, aad, sealed);
            out.extend_from_slice(tag.expect("a record is far below AES-GCM's limit").as_ref());
            rest = tail;
            if rest.is_empty() {
                return;
            }
        }
    }
}

/// Opens what is read.
pub(super) struct Opens<R> {
    stream: R,
    cipher: Cipher,
    /// Opened, not yet a whole message.
    open: BytesMut,
}

impl<R: AsyncRead + Unpin> Opens<R> {
    pub(super) fn new(stream: R, key: LessSafeKey) -> Opens<R> {
        Opens { stream, cipher: Cipher { key, records: 0 }, open: BytesMut::new() }
    }

    /// Reads one record.
    pub(super) async fn record(&mut self) -> io::Result<()> {
        let mut header = [0; HEADER_BYTES];
        self.stream.read_exact(&mut header).await?;
        let length = u32::from_be_bytes(header) as usize;
        if !(TAG_BYTES..=RECORD_BYTES_MAX + TAG_BYTES).contains(&length) {
            return Err(broken("a record of a wrong length"));
        }
        let mut sealed = vec![0; length];
        self.stream.read_exact(&mut sealed).await?;
        let nonce = self.cipher.nonce();
        let opened = self.cipher.key.open_in_place(nonce, Aad::from(header), &mut sealed);
        self.open.extend_from_slice(opened.map_err(|_| broken("a record that does not open"))?);
        Ok(())
    }

    /// Reads one message.
    pub(super) async fn message(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(head) = self.open.first_chunk::<LENGTH_BYTES>() {
                let length = u32::from_be_bytes(*head) as usize;
                if length > FRAME_BYTES_MAX {
                    return Err(broken("a message longer than allowed"));
                }
                if self.open.len() >= LENGTH_BYTES + length {
                    self.open.advance(LENGTH_BYTES);
                    return Ok(self.open.split_to(length).freeze());
                }
            }
            self.record().await?;
        }
    }
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::aead::{AES_256_GCM, UnboundKey};

    fn key() -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap())
    }

    fn framed(length: usize) -> Vec<u8> {
        let mut bytes = (length as u32).to_be_bytes().to_vec();
        bytes.resize(LENGTH_BYTES + length, 3);
        bytes
    }

    #[tokio::test]
    async fn messages_come_out_whole_whatever_records_they_went_in() {
        let (mut seals, mut sent) = (Seals::new(key()), Vec::new());
        seals.seal(&[], &mut sent);
        let lengths = [0, 1, RECORD_BYTES_MAX, 3 * RECORD_BYTES_MAX + 5];
        let all: Vec<u8> = lengths.into_iter().flat_map(framed).collect();
        all.chunks(70_000).for_each(|chunk| seals.seal(chunk, &mut sent));
        let mut opens = Opens::new(sent.as_slice(), key());
        for length in lengths {
            assert_eq!(opens.message().await.unwrap(), vec![3; length]);
        }
        assert_eq!(opens.message().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_changed_swapped_or_cut_record_opens_nothing() {
        let (mut seals, mut one, mut two) = (Seals::new(key()), Vec::new(), Vec::new());
        seals.seal(&framed(1), &mut one);
        seals.seal(&framed(2), &mut two);
        for at in 0..one.len() {
            let mut changed = one.clone();
            changed[at] ^= 1;
            assert!(Opens::new(changed.as_slice(), key()).message().await.is_err(), "byte {at}");
            assert!(Opens::new(&one[..at], key()).message().await.is_err(), "cut at {at}");
        }
        let swapped = [two, one].concat();
        assert!(Opens::new(swapped.as_slice(), key()).message().await.is_err());
    }
}
