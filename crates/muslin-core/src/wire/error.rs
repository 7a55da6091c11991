//! Why bytes could not be read.

use core::fmt;

/// Why bytes were refused. Small and free of text from the bytes themselves, so that a flood of bad
/// input costs nothing to report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireError {
    /// They are not protobuf, or end in the middle.
    Malformed,
    /// A kind this version does not know: written by a newer one. To be counted and dropped.
    UnknownKind,
    /// A part every version writes is not there.
    Missing(&'static str),
    /// A part is there and makes no sense.
    Invalid(&'static str),
}

impl WireError {
    /// What is wrong, in a few words.
    pub fn why(self) -> &'static str {
        match self {
            WireError::Malformed => "not a message: malformed or cut short",
            WireError::UnknownKind => "a kind of message this version does not know",
            WireError::Missing(why) | WireError::Invalid(why) => why,
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why())
    }
}

impl core::error::Error for WireError {}

impl From<prost::DecodeError> for WireError {
    fn from(_: prost::DecodeError) -> Self {
        WireError::Malformed
    }
}
