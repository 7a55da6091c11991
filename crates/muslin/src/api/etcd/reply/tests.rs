//! Against the conversion to generated types, which is obviously right and copies everything.

use super::*;
use crate::api::proto::mvccpb;
use crate::api::unread::{Reader, Unread};
use muslin_core::state::Blob;
use proptest::prelude::*;

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn pair(kv: &KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: Bytes::from(&kv.key),
        create_revision: int(kv.create_revision),
        mod_revision: int(kv.mod_revision),
        version: int(kv.version),
        value: Bytes::from(&kv.value),
        lease: int(kv.lease),
    }
}

fn op(response: &Response, outer: pb::ResponseHeader) -> pb::response_op::Response {
    use pb::response_op::Response as Op;
    let header = Some(outer);
    let pairs = |kvs: &[KeyValue]| kvs.iter().map(pair).collect();
    match response {
        Response::Range { kvs, more, count } => Op::ResponseRange(pb::RangeResponse {
            header,
            kvs: pairs(kvs),
            more: *more,
            count: int(*count),
        }),
        Response::Put { prev } => {
            Op::ResponsePut(pb::PutResponse { header, prev_kv: prev.as_ref().map(pair) })
        }
        Response::Delete { deleted, prev } => Op::ResponseDeleteRange(pb::DeleteRangeResponse {
            header,
            deleted: int(*deleted),
            prev_kvs: pairs(prev),
        }),
        Response::Txn { succeeded, responses } => {
            let revision = outer.revision;
            let inner = pb::ResponseHeader { revision, ..pb::ResponseHeader::default() };
            let responses = responses
                .iter()
                .map(|response| pb::ResponseOp { response: Some(op(response, inner)) })
                .collect();
            Op::ResponseTxn(pb::TxnResponse { header, succeeded: *succeeded, responses })
        }
        other => panic!("{other:?}"),
    }
}

fn by_generated_types(response: &Response, header: pb::ResponseHeader) -> Vec<u8> {
    use pb::response_op::Response as Op;
    match op(response, header) {
        Op::ResponseRange(message) => message.encode_to_vec(),
        Op::ResponsePut(message) => message.encode_to_vec(),
        Op::ResponseDeleteRange(message) => message.encode_to_vec(),
        Op::ResponseTxn(message) => message.encode_to_vec(),
    }
}

fn reader() -> Reader {
    Unread::default().reader()
}

/// The message, and how many frames it came in.
fn written(response: Response, header: &pb::ResponseHeader) -> (Vec<u8>, usize) {
    let charge = reader().admit(response.approximate_bytes() as usize).unwrap();
    let mut reply = Reply::new(response, header, charge).unwrap();
    let (mut bytes, mut frames) = (Vec::new(), 0);
    while let Some(frame) = reply.next() {
        match frame.into_data() {
            Ok(piece) => {
                bytes.extend_from_slice(&piece);
                frames += 1;
            }
            Err(frame) => assert_eq!(frame.trailers_ref().unwrap()["grpc-status"], "0"),
        }
    }
    assert!(reply.is_ended());
    assert_eq!(bytes[..PREFIX_BYTES], prefix(bytes.len() - PREFIX_BYTES));
    (bytes.split_off(PREFIX_BYTES), frames)
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1..300_u64, any::<u64>()]
}

fn pairs() -> impl Strategy<Value = KeyValue> {
    let value = prop_oneof![0..40_usize, Just(SHARED_BYTES_MIN), Just(PIECE_BYTES + 1)];
    (0..20_usize, value, [numbers(), numbers(), numbers(), numbers()]).prop_map(
        |(key, value, [create_revision, mod_revision, version, lease])| KeyValue {
            key: Blob::from(&vec![b'k'; key][..]),
            value: Blob::from(&vec![b'v'; value][..]),
            create_revision,
            mod_revision,
            version,
            lease,
        },
    )
}

fn responses() -> impl Strategy<Value = Response> {
    let many = || prop::collection::vec(pairs(), 0..6);
    let leaf = prop_oneof![
        (many(), any::<bool>(), numbers()).prop_map(|(kvs, more, count)| Response::Range {
            kvs,
            more,
            count
        }),
        prop::option::of(pairs()).prop_map(|prev| Response::Put { prev }),
        (numbers(), many()).prop_map(|(deleted, prev)| Response::Delete { deleted, prev }),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        (any::<bool>(), prop::collection::vec(inner, 0..4))
            .prop_map(|(succeeded, responses)| Response::Txn { succeeded, responses })
    })
}

proptest! {
    #[test]
    fn answers_are_those_of_the_generated_types_to_the_byte(
        response in responses(),
        [cluster_id, member_id, revision, raft_term] in [(); 4].map(|()| numbers()),
    ) {
        let revision = int(revision);
        let header = pb::ResponseHeader { cluster_id, member_id, revision, raft_term };
        let expected = by_generated_types(&response, header);
        let (bytes, _) = written(response, &header);
        prop_assert!(bytes == expected, "{} bytes, not {}", bytes.len(), expected.len());
    }
}

#[test]
fn a_large_answer_leaves_in_pieces_and_large_values_are_not_copied() {
    let value = Blob::from(&vec![7; 1 << 20][..]);
    let large = KeyValue {
        key: "k".into(),
        value: value.clone(),
        create_revision: 1,
        mod_revision: 2,
        version: 3,
        lease: 4,
    };
    let small = KeyValue { value: "v".into(), ..large.clone() };
    let mut kvs = vec![small; 10_000];
    kvs.push(large);
    let response = Response::Range { kvs, more: false, count: 10_001 };
    let header = pb::ResponseHeader::default();
    let charge = reader().admit(response.approximate_bytes() as usize).unwrap();
    let Ok(Reply::Pieces(mut pieces)) = Reply::new(response, &header, charge) else {
        panic!("it is large");
    };
    let mut shared = 0;
    while pieces.value.is_some() || !pieces.begun.is_empty() || !pieces.parts.is_empty() {
        shared += usize::from(pieces.value.as_ref().is_some_and(|v| v.as_ptr() == value.as_ptr()));
        let Some(piece) = pieces.next() else { break };
        assert!(piece.len() <= 2 * PIECE_BYTES || piece.len() == value.len());
    }
    assert_eq!(shared, 1);
}

#[test]
fn an_answer_of_another_kind_is_an_error_and_no_panic() {
    let header = pb::ResponseHeader::default();
    let inside = Response::Txn { succeeded: true, responses: vec![Response::Compact] };
    for response in [Response::LeaseRevoke, inside] {
        let charge = reader().admit(0).unwrap();
        assert!(Reply::new(response, &header, charge).is_err());
    }
}
