//! Numbers of 64 bits in JSON: as numbers as far as every reader of JSON counts exactly, as strings
//! beyond. They are taken as either.

use serde::{Deserialize, Deserializer, Serializer, de};
use serde_json::Value;

/// Readers that count in floats of 64 bits are exact up to here.
const EXACT_MAX: u64 = 1 << 53;

/// For values that are put together by hand.
pub(super) fn json(number: u64) -> Value {
    if number > EXACT_MAX { Value::from(number.to_string()) } else { Value::from(number) }
}

/// A place behind which a reader goes on: a revision is a number where others are, too.
pub(super) fn index(place: &str) -> Value {
    place.parse::<u64>().map_or_else(|_| Value::from(place), json)
}

/// For `serialize_with`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
pub(super) fn tell<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
    if *number > EXACT_MAX {
        to.serialize_str(&number.to_string())
    } else {
        to.serialize_u64(*number)
    }
}

/// For `deserialize_with`.
pub(super) fn take<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    match Either::deserialize(from)? {
        Either::Number(number) => Ok(Some(number)),
        Either::Text(text) => text.parse().map(Some).map_err(de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Told(#[serde(serialize_with = "told", deserialize_with = "take")] Option<u64>);

    fn told<S: Serializer>(number: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        tell(&number.unwrap_or_default(), to)
    }

    #[test]
    fn a_number_no_float_holds_is_told_as_text_and_taken_back() {
        for (number, text) in [
            (0, "0"),
            (EXACT_MAX, "9007199254740992"),
            (EXACT_MAX + 1, "\"9007199254740993\""),
            (u64::MAX, "\"18446744073709551615\""),
        ] {
            assert_eq!(serde_json::to_string(&Told(Some(number))).unwrap(), text);
            assert_eq!(json(number).to_string(), text);
            assert_eq!(serde_json::from_str::<Told>(text).unwrap(), Told(Some(number)));
        }
        assert!(serde_json::from_str::<Told>("\"-1\"").is_err());
        assert!(serde_json::from_str::<Told>("1.5").is_err());
    }
}
