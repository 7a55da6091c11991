//! Messages as JSON and back, by the mapping of Protocol Buffers ("ProtoJSON Format").
//!
//! As etcd's gateway writes it: names as in the `.proto` files, 64-bit numbers as strings, bytes in
//! base64, enumerations by name, and nothing where a field has its default. Numbers, camel case and
//! numbers of enumerations are taken too, and fields that do not exist are passed over; a name of
//! an enumeration's value that does not exist is refused.

use bytes::Bytes;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, Kind, MessageDescriptor, MethodDescriptor,
    SerializeOptions,
};
use serde::Deserializer;
use serde_json::Value;
use std::sync::LazyLock;
use tonic::Status;

/// The interface, as `cargo run -p codegen` describes it.
static INTERFACE: &[u8] = include_bytes!("../proto/interface.bin");

/// The same, to be asked: made when somebody first calls.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(INTERFACE).expect("codegen describes what it compiled")
});

/// The call of this name, `/package.Service/Call`.
pub(super) fn method(name: &str) -> Option<MethodDescriptor> {
    let (service, call) = name.strip_prefix('/')?.split_once('/')?;
    POOL.get_service_by_name(service)?.methods().find(|method| method.name() == call)
}

/// A message from its JSON, of which nothing is left over.
///
/// # Errors
///
/// The text is not the JSON of such a message; says where.
pub(super) fn from_json(shape: &MessageDescriptor, json: &[u8]) -> Result<Bytes, Status> {
    let refused = |error: serde_json::Error| {
        let shape = shape.full_name();
        Status::invalid_argument(format!("muslin: the body is not the JSON of {shape}: {error}"))
    };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let first = strictly(shape, &mut deserializer)
        .and_then(|message| deserializer.end().map(|()| message))
        .or_else(|error| without_unknown(shape, json).unwrap_or(Err(error)));
    let message = first.map_err(refused)?;
    Ok(Bytes::from(message.encode_to_vec()))
}

/// Reads a message, and takes no field and no name of an enumeration's value that does not exist.
fn strictly<'a, D: Deserializer<'a>>(
    shape: &MessageDescriptor,
    deserializer: D,
) -> Result<DynamicMessage, D::Error> {
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(shape.clone(), deserializer, &options)
}

/// The same of what is left without fields that do not exist; `None` where all do. (The library
/// passes over them only together with names of values, for which it then takes the default: what
/// asks for `NOT_EQUALS` would be answered whether it is equal.)
fn without_unknown(
    shape: &MessageDescriptor,
    json: &[u8],
) -> Option<Result<DynamicMessage, serde_json::Error>> {
    let mut value = serde_json::from_slice(json).ok()?;
    prune(shape, &mut value).then(|| strictly(shape, value))
}

/// Takes out of an object, and of those within it, what its shape does not have; whether there was
/// any.
fn prune(shape: &MessageDescriptor, value: &mut Value) -> bool {
    let Value::Object(object) = value else { return false };
    let mut is_pruned = false;
    object.retain(|name, value| {
        let named = shape.get_field_by_name(name);
        let Some(field) = named.or_else(|| shape.get_field_by_json_name(name)) else {
            is_pruned = true;
            return false;
        };
        if let Kind::Message(inner) = field.kind() {
            let one = std::slice::from_mut(value);
            let several = match one {
                [Value::Array(values)] => values,
                one => one,
            };
            for value in several {
                is_pruned |= prune(&inner, value);
            }
        }
        true
    });
    is_pruned
}

/// The JSON of a message.
///
/// # Errors
///
/// These bytes are no such message: this node wrote them, so that is a flaw.
pub(super) fn to_json(shape: &MessageDescriptor, message: Bytes) -> Result<Vec<u8>, Status> {
    let flaw = |error: &dyn std::error::Error| {
        Status::internal(format!("muslin: {} cannot be told as JSON: {error}", shape.full_name()))
    };
    let message = DynamicMessage::decode(shape.clone(), message).map_err(|error| flaw(&error))?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    let mut json = serde_json::Serializer::new(Vec::new());
    message.serialize_with_options(&mut json, &options).map_err(|error| flaw(&error))?;
    Ok(json.into_inner())
}

/// Finds where the first object of a text ends that comes in pieces. What was looked at is not
/// looked at again, so a body costs as much however small its pieces are.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Seeker {
    /// So much was looked at.
    at: usize,
    /// Brackets of either kind that are open. Which close which, the reader of the object finds
    /// out.
    depth: usize,
    place: Place,
}

/// Where in a text a byte stands.
#[derive(Clone, Copy, Default, Debug)]
enum Place {
    #[default]
    Outside,
    /// Within a string.
    Within,
    /// Within a string, behind a backslash.
    Escaped,
}

/// Something stands where an object is to begin: this byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NoObject(pub(super) u8);

impl Seeker {
    /// Looks on, at a text of which it has seen the beginning: how many bytes the object takes;
    /// `None` when it has not all come.
    ///
    /// # Errors
    ///
    /// The text does not begin with an object.
    pub(super) fn look(&mut self, text: &[u8]) -> Result<Option<usize>, NoObject> {
        for byte in &text[self.at..] {
            self.at += 1;
            match (self.place, byte) {
                (Place::Escaped, _) | (Place::Outside, b'"') if self.depth > 0 => {
                    self.place = Place::Within;
                }
                (Place::Within, b'\\') => self.place = Place::Escaped,
                (Place::Within, b'"') => self.place = Place::Outside,
                (Place::Outside, b'{') => self.depth += 1,
                (Place::Outside, b'[') if self.depth > 0 => self.depth += 1,
                (Place::Outside, b'}' | b']') if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Ok(Some(self.at));
                    }
                }
                (Place::Outside, byte) if self.depth == 0 && !byte.is_ascii_whitespace() => {
                    return Err(NoObject(*byte));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::routes::ROUTES;
    use super::*;
    use crate::api::proto::etcdserverpb as pb;
    use std::collections::BTreeSet;

    fn asked(call: &str) -> MessageDescriptor {
        method(call).expect("it is a call").input()
    }

    #[test]
    fn every_call_has_a_path_and_every_path_a_call() {
        let calls: BTreeSet<String> = POOL
            .services()
            .flat_map(|service| {
                let name = service.full_name().to_owned();
                let called = move |m: MethodDescriptor| format!("/{name}/{}", m.name());
                service.methods().map(called).collect::<Vec<_>>()
            })
            .collect();
        let routed: BTreeSet<String> = ROUTES.iter().map(|(_, call)| call.to_string()).collect();
        let without: Vec<&String> = calls.difference(&routed).collect();
        assert!(without.is_empty(), "{without:?}");
        assert!(routed.is_subset(&calls));
        assert!(ROUTES.iter().all(|(_, call)| method(call).is_some()));
    }

    #[test]
    fn what_clients_write_is_read_however_they_write_it() {
        let shape = asked("/etcdserverpb.KV/Range");
        let expected = pb::RangeRequest {
            key: Bytes::from_static(b"foo"),
            limit: 3,
            sort_order: 2,
            range_end: Bytes::from_static(b"fop"),
            ..pb::RangeRequest::default()
        };
        for json in [
            r#"{"key":"Zm9v","range_end":"Zm9w","limit":"3","sort_order":"DESCEND"}"#,
            r#" {"limit":3, "rangeEnd":"Zm9w", "sortOrder":2, "key":"Zm9v", "no_field":[{}]} "#,
        ] {
            let message = from_json(&shape, json.as_bytes()).expect("it is its JSON");
            assert_eq!(pb::RangeRequest::decode(message).unwrap(), expected, "{json}");
        }
        let empty = from_json(&shape, b"{}").expect("all may be left out");
        assert!(empty.is_empty());
    }

    #[test]
    fn what_is_not_the_json_of_a_message_is_refused() {
        let shape = asked("/etcdserverpb.KV/Put");
        for json in
            ["", "[]", "null", "{", r#"{"key":"!"}"#, r#"{"key":7}"#, r#"{"lease":"x"}"#, "{} {}"]
        {
            let refusal = from_json(&shape, json.as_bytes()).expect_err(json);
            assert_eq!(refusal.code(), tonic::Code::InvalidArgument);
            assert!(refusal.message().contains("etcdserverpb.PutRequest"), "{refusal}");
        }
    }

    #[test]
    fn a_value_that_does_not_exist_is_refused_and_a_field_is_not() {
        let range = asked("/etcdserverpb.KV/Range");
        let txn = asked("/etcdserverpb.KV/Txn");
        for (shape, json, whole) in [
            (&range, r#"{"sort_order":"DESC"}"#, false),
            (&range, r#"{"no_field":1,"sortOrder":"DESC"}"#, false),
            (&range, r#"{"no_field":{"sort_order":"DESC"},"sortOrder":"DESCEND"}"#, true),
            (&txn, r#"{"compare":[{"result":"NOT_EQUALS"}]}"#, false),
            (&txn, r#"{"compare":[{},{"no_field":[],"result":"NOT_EQUALS"}]}"#, false),
            (&txn, r#"{"compare":[{"no_field":[],"result":"NOT_EQUAL"}],"success":null}"#, true),
            (&txn, r#"{"success":[{"requestTxn":{"compare":[{"target":"KEY"}],"x":0}}]}"#, false),
        ] {
            assert_eq!(from_json(shape, json.as_bytes()).is_ok(), whole, "{json}");
        }
        let json = br#"{"compare":[{"x":0,"result":"NOT_EQUAL"}],"y":[]}"#;
        let read = pb::TxnRequest::decode(from_json(&txn, json).unwrap()).unwrap();
        assert_eq!(read.compare[0].result(), pb::compare::CompareResult::NotEqual);
        let error = from_json(&range, br#"{"sort_order":"DESC"}"#).unwrap_err();
        assert!(error.message().contains("DESC"), "{error}");
    }

    #[test]
    fn answers_are_written_as_etcd_writes_them() {
        let answer = pb::RangeResponse {
            header: Some(pb::ResponseHeader {
                cluster_id: u64::MAX,
                member_id: 5,
                revision: 7,
                raft_term: 2,
            }),
            kvs: vec![crate::api::proto::mvccpb::KeyValue {
                key: Bytes::from_static(b"foo"),
                create_revision: 2,
                mod_revision: 7,
                version: 3,
                value: Bytes::from_static(b"\xff\x00"),
                lease: 0,
            }],
            more: true,
            count: 9_007_199_254_740_993,
        };
        let shape = method("/etcdserverpb.KV/Range").expect("it is a call").output();
        let json = to_json(&shape, Bytes::from(answer.encode_to_vec())).expect("it is one");
        assert_eq!(
            String::from_utf8(json).unwrap(),
            r#"{"header":{"cluster_id":"18446744073709551615","member_id":"5","revision":"7","#
                .to_owned()
                + r#""raft_term":"2"},"kvs":[{"key":"Zm9v","create_revision":"2","#
                + r#""mod_revision":"7","version":"3","value":"/wA="}],"more":true,"#
                + r#""count":"9007199254740993"}"#
        );
    }

    #[test]
    fn an_object_is_found_once_it_has_all_come_and_nothing_is_looked_at_twice() {
        let whole = |text: &[u8]| Seeker::default().look(text);
        for text in ["", " \n", "{\"a\":", "{\"a\":[{}", "{\"}\\\"}"] {
            assert_eq!(whole(text.as_bytes()), Ok(None), "{text}");
        }
        for text in ["}", "[]", " 7", "\"{}\"", ",{}"] {
            assert!(whole(text.as_bytes()).is_err(), "{text}");
        }
        let object = b" {\"a\":\"}\\\\\",\"b\":[{\"\\\"]\":{}}]}";
        let text = [&object[..], b" {\"next\":"].concat();
        assert_eq!(whole(&text), Ok(Some(object.len())));
        // However it is cut, and whatever has become of what was seen.
        for cut in 0..object.len() {
            let mut seeker = Seeker::default();
            let mut text = text.clone();
            assert_eq!(seeker.look(&text[..cut]), Ok(None), "{cut}");
            text[..cut].fill(b'}');
            assert_eq!(seeker.look(&text), Ok(Some(object.len())), "{cut}");
        }
    }
}
