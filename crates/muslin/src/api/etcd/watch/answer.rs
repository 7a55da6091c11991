//! Answers to watches, and how they are encoded.

use crate::api::proto::etcdserverpb as pb;
use bytes::{BufMut as _, Bytes};
use prost::Message as _;
use tonic::Status;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic_prost::ProstCodec;

/// A `WatchResponse`: its events are encoded already.
pub(crate) struct Answer {
    /// All but the events.
    pub(super) head: pb::WatchResponse,
    /// Shared with the answers to other watches that tell the same.
    pub(super) events: Bytes,
}

impl From<pb::WatchResponse> for Answer {
    fn from(head: pb::WatchResponse) -> Answer {
        Answer { head, events: Bytes::new() }
    }
}

/// As the generated services encode and decode, but for the events.
pub(super) struct WatchCodec;

/// As the generated services do it.
type Generated = ProstCodec<pb::WatchResponse, pb::WatchRequest>;

impl Codec for WatchCodec {
    type Encode = Answer;
    type Decode = pb::WatchRequest;
    type Encoder = AnswerEncoder;
    type Decoder = <Generated as Codec>::Decoder;

    fn encoder(&mut self) -> AnswerEncoder {
        AnswerEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        Generated::default().decoder()
    }
}

pub(super) struct AnswerEncoder;

impl Encoder for AnswerEncoder {
    type Item = Answer;
    type Error = Status;

    fn encode(&mut self, answer: Answer, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let Answer { head, events } = answer;
        to.reserve(head.encoded_len() + events.len());
        // The events are the last field: what is behind the head is part of the same message.
        head.encode(to).map_err(|error| Status::internal(format!("muslin: {error}")))?;
        to.put_slice(&events);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::etcd::convert::pair;
    use crate::api::proto::mvccpb;
    use muslin_core::base::{Index, Revision};
    use muslin_core::state::{
        Asker, Changes, Cursor, KeyRange, KeyValue, KvEvent, KvEventKind, Ring, RingRoom, Room,
        Told, WatchSpec,
    };

    fn as_client_reads(event: KvEvent) -> mvccpb::Event {
        let kind = match event.kind {
            KvEventKind::Put => mvccpb::event::EventType::Put,
            KvEventKind::Delete | KvEventKind::Expired => mvccpb::event::EventType::Delete,
        };
        let (kv, prev_kv) = (Some(pair(event.kv)), event.prev.map(pair));
        mvccpb::Event { r#type: kind as i32, kv, prev_kv }
    }

    /// The whole road: encoded by the core, answered, read by a client.
    #[test]
    fn clients_read_what_is_encoded_once() {
        let kv = KeyValue {
            key: "key".into(),
            value: "value".into(),
            create_revision: 7,
            mod_revision: 300,
            version: 4,
            lease: 9,
        };
        let prev = Some(KeyValue { mod_revision: 299, version: 3, ..kv.clone() });
        let gone = KeyValue { key: "key".into(), mod_revision: 301, ..KeyValue::default() };
        let events = vec![
            KvEvent { kind: KvEventKind::Put, kv: kv.clone(), prev },
            KvEvent { kind: KvEventKind::Expired, kv: gone, prev: Some(kv) },
        ];
        let mut ring = Ring::new(RingRoom { bytes: 1 << 20, events: 9 });
        let (after, through) = (Revision(299), Revision(301));
        ring.push(Changes { after, events: events.clone(), through, rights: None });
        for prev_kv in [false, true] {
            let spec =
                WatchSpec { range: KeyRange::of_key("key"), prev_kv, ..WatchSpec::default() };
            let mut cursor = Cursor::new(&Asker::Cluster, spec, (Revision(300), Index(1)));
            let Told::Passage(passage) = cursor.read(&ring, Room::WHOLE) else { panic!("told") };
            let head = pb::WatchResponse { watch_id: 5, fragment: true, ..Default::default() };
            let mut bytes = head.encode_to_vec();
            passage.write(&mut bytes);
            let read = pb::WatchResponse::decode(&bytes[..]).unwrap();
            let told = |event: &KvEvent| {
                let prev = event.prev.clone().filter(|_| prev_kv);
                as_client_reads(KvEvent { prev, ..event.clone() })
            };
            let expected = pb::WatchResponse { events: events.iter().map(told).collect(), ..head };
            assert_eq!(read, expected);
        }
    }
}
