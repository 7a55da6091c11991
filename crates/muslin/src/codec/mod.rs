//! Values of an application as bytes: what members say to each other and of themselves.
//!
//! [`Json`] takes whatever serde does, [`Protobuf`] whatever prost does. Another format is one
//! implementation of [`Codec`] away; [`contract`] is what it must obey.

pub mod contract;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Turns values into bytes and back.
pub trait Codec<T>: Send + Sync + 'static {
    /// The bytes of a value.
    fn encode(&self, value: &T) -> Result<Bytes, CodecError>;

    /// The value of bytes. Of bytes that [`Codec::encode`] never made it is an error, or some
    /// value; never a panic.
    fn decode(&self, bytes: &[u8]) -> Result<T, CodecError>;
}

/// Why a value is no bytes, or bytes are no value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(pub String);

/// JSON, by serde.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encode(&self, value: &T) -> Result<Bytes, CodecError> {
        let bytes = serde_json::to_vec(value);
        bytes.map(Bytes::from).map_err(|error| CodecError(error.to_string()))
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, CodecError> {
        serde_json::from_slice(bytes).map_err(|error| CodecError(error.to_string()))
    }
}

/// Protobuf, by prost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Protobuf;

impl<T: prost::Message + Default> Codec<T> for Protobuf {
    fn encode(&self, value: &T) -> Result<Bytes, CodecError> {
        Ok(Bytes::from(value.encode_to_vec()))
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, CodecError> {
        T::decode(bytes).map_err(|error| CodecError(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[derive(Clone, PartialEq, ::prost::Message, serde::Serialize, serde::Deserialize)]
    struct Greeting {
        #[prost(string, tag = "1")]
        words: String,
        #[prost(uint64, repeated, tag = "2")]
        numbers: Vec<u64>,
    }

    fn values() -> Vec<Greeting> {
        let numbers = |count: u64| (0..count).map(|at| at * 12_345).collect();
        [0, 1, 40].map(|count| Greeting { words: "ø".repeat(9), numbers: numbers(count) }).to_vec()
    }

    #[test]
    fn json_and_protobuf_obey_the_contract() {
        contract::check(&Json, &values());
        contract::check(&Protobuf, &values());
    }

    /// Believes the length that the bytes claim.
    struct Trusting;

    impl Codec<Vec<u8>> for Trusting {
        fn encode(&self, value: &Vec<u8>) -> Result<Bytes, CodecError> {
            Ok(Bytes::from([&[value.len() as u8], value.as_slice()].concat()))
        }

        fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
            Ok(bytes[1..=usize::from(bytes[0])].to_vec())
        }
    }

    /// Forgets the last byte.
    struct Forgetful;

    impl Codec<Vec<u8>> for Forgetful {
        fn encode(&self, value: &Vec<u8>) -> Result<Bytes, CodecError> {
            Ok(Bytes::copy_from_slice(value))
        }

        fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
            Ok(bytes.split_last().map(|(_, rest)| rest.to_vec()).unwrap_or_default())
        }
    }

    #[test]
    fn the_contract_sees_a_codec_that_trusts_its_bytes_and_one_that_forgets() {
        let values = [vec![1, 2, 3]];
        let catches = |codec: &dyn Fn()| catch_unwind(AssertUnwindSafe(codec)).is_err();
        assert!(catches(&|| contract::check(&Trusting, &values)));
        assert!(catches(&|| contract::check(&Forgetful, &values)));
    }
}
