//! Values that are numbers or levels: what is no such is refused with what is allowed.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// What is logged when nothing is said.
pub(super) const LEVEL_DEFAULT: &str = "info";

/// A number in a range, refused with the reason for its bounds.
pub(super) fn within<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
    why: &'static str,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("a number from {} to {}: {why}", range.start(), range.end()))
    }
}

/// A number that is not bounded but by its size.
fn number<T: FromStr + Display + PartialOrd + Clone>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("a number from {} to {}", range.start(), range.end()))
    }
}

/// Of 64 bits.
pub(super) fn whole() -> impl Fn(&str) -> Result<u64, String> + Clone {
    number(0..=u64::MAX)
}

/// Of 64 bits, one of them a sign.
pub(super) fn signed() -> impl Fn(&str) -> Result<i64, String> + Clone {
    number(i64::MIN..=i64::MAX)
}

/// How many are kept.
pub(super) fn count() -> impl Fn(&str) -> Result<u32, String> + Clone {
    number(0..=u32::MAX)
}

/// The id of a process: the system's are positive and have 32 bits.
pub(super) fn process() -> impl Fn(&str) -> Result<u32, String> + Clone {
    number(1..=i32::MAX.unsigned_abs())
}

/// A port of TCP or UDP.
pub(super) fn port() -> impl Fn(&str) -> Result<u16, String> + Clone {
    number(0..=u16::MAX)
}

/// What is said to whoever gives another level.
pub(crate) const LEVELS: &str =
    "error, warn, info, debug, trace or off, or TARGET=LEVEL, with commas between";

/// What is logged: one of the levels, or directives `TARGET=LEVEL` with commas between. A word that
/// is neither would be taken for a target of which all is logged, and nothing else. An environment
/// that says nothing is one in which it is not said.
pub(super) fn level(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(LEVEL_DEFAULT.into());
    }
    let is_level = |one: &str| {
        let level = one.rsplit_once('=').map_or(one, |(_, level)| level).trim();
        !level.is_empty() && LevelFilter::from_str(level).is_ok()
    };
    match text.split(',').all(is_level) && EnvFilter::try_new(text).is_ok() {
        true => Ok(text.to_string()),
        false => Err(LEVELS.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_one_of_six_or_said_for_a_target() {
        let known = ["error", "warn", "info", "debug", "trace", "off", "INFO", "info,muslin=debug"];
        for known in known {
            assert_eq!(level(known).as_deref(), Ok(known));
        }
        assert_eq!(level("").as_deref(), Ok("info"));
        for wrong in ["nonsense", "info,nonsense", "muslin=loud", "debug=", "info,,warn"] {
            assert_eq!(level(wrong), Err(LEVELS.into()), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_told_apart_from_what_is_none() {
        assert_eq!((signed()("-5"), whole()("0"), port()("65535")), (Ok(-5), Ok(0), Ok(65_535)));
        assert_eq!(port()("65536"), Err("a number from 0 to 65535".into()));
        assert_eq!(process()("0"), Err("a number from 1 to 2147483647".into()));
    }
}
