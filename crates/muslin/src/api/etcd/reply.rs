//! Answers of the key-value calls, from the core's shape straight to etcd's bytes.
//!
//! A small answer is one buffer. A large one is encoded a piece at a time, when the socket has room
//! for it: no connection waits for the answer of another, and large values are not copied.

use super::framing::{PREFIX_BYTES, prefix};
use super::refuse;
use crate::api::proto::etcdserverpb as pb;
use crate::api::unread::Charge;
use bytes::Bytes;
use hyper::body::Frame;
use hyper::header::{HeaderMap, HeaderValue};
use muslin_core::state::{KeyValue, Response};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use std::collections::VecDeque;
use tonic::Status;

/// An answer is handed out in pieces of about this size: a few of them fill what a connection
/// buffers, and one is encoded in the time of a small call.
const PIECE_BYTES: usize = 64 << 10;

/// A value of a large answer from this size on is not copied but shared with the state.
const SHARED_BYTES_MIN: usize = 16 << 10;

/// The body of an answer that is a message and says that all went well.
pub(crate) enum Reply {
    /// In one buffer.
    Whole(Bytes),
    /// In pieces.
    Pieces(Box<Pieces>),
    /// The message is out.
    Trailers,
    /// All is out.
    Ended,
}

impl Reply {
    /// Encodes what a call is answered. `charge` counts what it holds until the socket has it.
    pub(super) fn new(
        response: Response,
        header: &pb::ResponseHeader,
        charge: Charge,
    ) -> Result<Reply, Status> {
        let len = message_len(&response, header)?;
        if len <= PIECE_BYTES {
            let mut bytes = Vec::with_capacity(PREFIX_BYTES + len);
            bytes.extend_from_slice(&prefix(len));
            encode(response, header, &mut bytes)?;
            debug_assert_eq!(bytes.len(), PREFIX_BYTES + len, "the length was told before");
            return Ok(Reply::Whole(charge.hold(Bytes::from(bytes))));
        }
        let mut parts = Parts { last: prefix(len).to_vec(), done: VecDeque::new() };
        encode(response, header, &mut parts)?;
        parts.done.push_back(Part::Bytes(parts.last));
        let begun = Vec::new();
        Ok(Reply::Pieces(Box::new(Pieces { parts: parts.done, begun, value: None, charge })))
    }

    /// What goes out next.
    pub(crate) fn next(&mut self) -> Option<Frame<Bytes>> {
        match std::mem::replace(self, Reply::Ended) {
            Reply::Whole(bytes) => {
                *self = Reply::Trailers;
                Some(Frame::data(bytes))
            }
            Reply::Pieces(mut pieces) => match pieces.next() {
                Some(piece) => {
                    *self = Reply::Pieces(pieces);
                    Some(Frame::data(piece))
                }
                None => Some(Frame::trailers(well())),
            },
            Reply::Trailers => Some(Frame::trailers(well())),
            Reply::Ended => None,
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self, Reply::Ended)
    }
}

/// The trailers of a call that went well.
fn well() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers
}

/// An answer that is not encoded yet, or in part.
pub(crate) struct Pieces {
    parts: VecDeque<Part>,
    /// The beginning of the next piece.
    begun: Vec<u8>,
    /// Goes out before it, as it is.
    value: Option<Bytes>,
    charge: Charge,
}

enum Part {
    Bytes(Vec<u8>),
    Pairs { field: u32, pairs: std::vec::IntoIter<KeyValue> },
}

impl Pieces {
    fn next(&mut self) -> Option<Bytes> {
        let piece = match self.value.take() {
            Some(value) => value,
            None => Bytes::from(self.encoded()),
        };
        (!piece.is_empty()).then(|| self.charge.part(piece.len()).hold(piece))
    }

    /// Encodes until a piece is full, or a value is met that is not copied.
    fn encoded(&mut self) -> Vec<u8> {
        let mut piece = std::mem::take(&mut self.begun);
        while piece.len() < PIECE_BYTES
            && let Some(part) = self.parts.front_mut()
        {
            match part {
                Part::Bytes(bytes) => {
                    piece.append(bytes);
                    self.parts.pop_front();
                }
                Part::Pairs { field, pairs } => match pairs.next() {
                    None => {
                        self.parts.pop_front();
                    }
                    Some(pair) if pair.value.len() >= SHARED_BYTES_MIN => {
                        put_pair_before_value(*field, &pair, &mut piece);
                        put_number(6, signed(pair.lease), &mut self.begun);
                        self.value = Some(Bytes::from(pair.value));
                        return piece;
                    }
                    Some(pair) => {
                        piece.reserve(PIECE_BYTES.saturating_sub(piece.len()));
                        put_pair(*field, &pair, &mut piece);
                    }
                },
            }
        }
        piece
    }
}

/// Where an encoded answer goes.
trait Sink {
    fn bytes(&mut self) -> &mut Vec<u8>;
    fn pairs(&mut self, field: u32, pairs: Vec<KeyValue>);
}

/// All in one.
impl Sink for Vec<u8> {
    fn bytes(&mut self) -> &mut Vec<u8> {
        self
    }

    fn pairs(&mut self, field: u32, pairs: Vec<KeyValue>) {
        pairs.iter().for_each(|pair| put_pair(field, pair, self));
    }
}

/// Pairs are left for later.
struct Parts {
    done: VecDeque<Part>,
    last: Vec<u8>,
}

impl Sink for Parts {
    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.last
    }

    fn pairs(&mut self, field: u32, pairs: Vec<KeyValue>) {
        self.done.push_back(Part::Bytes(std::mem::take(&mut self.last)));
        self.done.push_back(Part::Pairs { field, pairs: pairs.into_iter() });
    }
}

/// Inside a transaction, etcd tells the revision alone.
fn inner(header: &pb::ResponseHeader) -> pb::ResponseHeader {
    pb::ResponseHeader { revision: header.revision, ..pb::ResponseHeader::default() }
}

/// Which of `ResponseOp` an answer is.
fn op_field(response: &Response) -> Result<u32, Status> {
    match response {
        Response::Range { .. } => Ok(1),
        Response::Put { .. } => Ok(2),
        Response::Delete { .. } => Ok(3),
        Response::Txn { .. } => Ok(4),
        _ => Err(refuse::unexpected()),
    }
}

/// Length of `RangeResponse`, `PutResponse`, `DeleteRangeResponse`, `TxnResponse` or
/// `CompactionResponse`.
fn message_len(response: &Response, header: &pb::ResponseHeader) -> Result<usize, Status> {
    let pairs_len = |kvs: &[KeyValue]| kvs.iter().map(|kv| nested_len(pair_len(kv))).sum::<usize>();
    let rest = match response {
        Response::Range { kvs, more, count } => {
            pairs_len(kvs) + number_len(u64::from(*more)) + number_len(signed(*count))
        }
        Response::Put { prev } => prev.as_ref().map_or(0, |kv| nested_len(pair_len(kv))),
        Response::Delete { deleted, prev } => number_len(signed(*deleted)) + pairs_len(prev),
        Response::Txn { succeeded, responses } => {
            let mut sum = number_len(u64::from(*succeeded));
            let header = inner(header);
            for response in responses {
                op_field(response)?;
                sum += nested_len(nested_len(message_len(response, &header)?));
            }
            sum
        }
        Response::Compact => 0,
        _ => return Err(refuse::unexpected()),
    };
    Ok(nested_len(header.encoded_len()) + rest)
}

fn encode(
    response: Response,
    header: &pb::ResponseHeader,
    sink: &mut impl Sink,
) -> Result<(), Status> {
    put_nested(1, header.encoded_len(), sink.bytes());
    header.encode_raw(sink.bytes());
    match response {
        Response::Range { kvs, more, count } => {
            sink.pairs(2, kvs);
            put_number(3, u64::from(more), sink.bytes());
            put_number(4, signed(count), sink.bytes());
        }
        Response::Put { prev } => {
            if let Some(pair) = prev {
                sink.pairs(2, vec![pair]);
            }
        }
        Response::Delete { deleted, prev } => {
            put_number(2, signed(deleted), sink.bytes());
            sink.pairs(3, prev);
        }
        Response::Txn { succeeded, responses } => {
            put_number(2, u64::from(succeeded), sink.bytes());
            let header = inner(header);
            for response in responses {
                let len = message_len(&response, &header)?;
                put_nested(3, nested_len(len), sink.bytes());
                put_nested(op_field(&response)?, len, sink.bytes());
                encode(response, &header, sink)?;
            }
        }
        Response::Compact => {}
        _ => return Err(refuse::unexpected()),
    }
    Ok(())
}

/// The core's numbers as the wire's, which are below 2^63.
fn signed(number: u64) -> u64 {
    number.min(i64::MAX as u64)
}

/// Zero is not written. No field here has a number above 15, so that its key is one byte.
fn number_len(number: u64) -> usize {
    if number == 0 { 0 } else { 1 + encoded_len_varint(number) }
}

fn nested_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

fn pair_len(pair: &KeyValue) -> usize {
    let KeyValue { key, value, create_revision, mod_revision, version, lease } = pair;
    let bytes_len = |bytes: &[u8]| if bytes.is_empty() { 0 } else { nested_len(bytes.len()) };
    let numbers = [create_revision, mod_revision, version, lease];
    bytes_len(key)
        + bytes_len(value)
        + numbers.into_iter().map(|number| number_len(signed(*number))).sum::<usize>()
}

fn put_number(field: u32, number: u64, out: &mut Vec<u8>) {
    if number != 0 {
        encode_key(field, WireType::Varint, out);
        encode_varint(number, out);
    }
}

/// The head of a message, or of bytes.
fn put_nested(field: u32, len: usize, out: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(len as u64, out);
}

fn put_pair(field: u32, pair: &KeyValue, out: &mut Vec<u8>) {
    put_pair_before_value(field, pair, out);
    out.extend_from_slice(&pair.value);
    put_number(6, signed(pair.lease), out);
}

fn put_pair_before_value(field: u32, pair: &KeyValue, out: &mut Vec<u8>) {
    put_nested(field, pair_len(pair), out);
    if !pair.key.is_empty() {
        put_nested(1, pair.key.len(), out);
        out.extend_from_slice(&pair.key);
    }
    put_number(2, signed(pair.create_revision), out);
    put_number(3, signed(pair.mod_revision), out);
    put_number(4, signed(pair.version), out);
    if !pair.value.is_empty() {
        put_nested(5, pair.value.len(), out);
    }
}

#[cfg(test)]
mod tests;
