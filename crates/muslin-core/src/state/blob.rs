//! Bytes that are kept: keys and values.

use alloc::sync::Arc;
use bytes::Bytes;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;
use core::ops::Deref;

/// Up to this size bytes are copied out of a blob, which costs less than to share them.
const COPIED_MAX: usize = 4 << 10;

/// Up to this size bytes stand in the blob itself: as many as fit in three words beside their
/// number. Most keys are that short, and those of a search are then looked at where they stand.
const INLINE_MAX: usize = 22;

/// Bytes that never change, shared by whoever holds them.
///
/// Of a key or a value there are millions: one takes three words and, if it is longer than most
/// keys, what is allocated for it, and nothing more when it is shared. ([`Bytes`] takes four words,
/// and a second allocation as soon as it is shared.)
#[derive(Clone)]
pub struct Blob(Held);

#[derive(Clone)]
enum Held {
    /// So many of these.
    Inline(u8, [u8; INLINE_MAX]),
    Shared(Arc<[u8]>),
}

const _: () = assert!(size_of::<Blob>() == 24, "three words");

impl Default for Blob {
    fn default() -> Blob {
        Blob(Held::Inline(0, [0; INLINE_MAX]))
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Inline(length, bytes) => &bytes[..usize::from(*length).min(INLINE_MAX)],
            Held::Shared(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Blob {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Blob {
        if bytes.len() > INLINE_MAX {
            return Blob(Held::Shared(Arc::from(bytes)));
        }
        let mut inline = [0; INLINE_MAX];
        inline[..bytes.len()].copy_from_slice(bytes);
        Blob(Held::Inline(bytes.len() as u8, inline))
    }
}

impl From<&str> for Blob {
    fn from(text: &str) -> Blob {
        Blob::from(text.as_bytes())
    }
}

impl From<&Bytes> for Blob {
    fn from(bytes: &Bytes) -> Blob {
        Blob::from(&bytes[..])
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Blob {
        Blob::from(&bytes[..])
    }
}

impl From<Blob> for Bytes {
    fn from(blob: Blob) -> Bytes {
        if blob.len() <= COPIED_MAX {
            Bytes::copy_from_slice(&blob)
        } else {
            Bytes::from_owner(blob)
        }
    }
}

impl From<&Blob> for Bytes {
    fn from(blob: &Blob) -> Bytes {
        Bytes::from(blob.clone())
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Blob) -> bool {
        **self == **other
    }
}

impl Eq for Blob {}

impl PartialOrd for Blob {
    fn partial_cmp(&self, other: &Blob) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Blob {
    fn cmp(&self, other: &Blob) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl PartialEq<[u8]> for Blob {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl PartialEq<&[u8]> for Blob {
    fn eq(&self, other: &&[u8]) -> bool {
        **self == **other
    }
}

impl PartialEq<Bytes> for Blob {
    fn eq(&self, other: &Bytes) -> bool {
        **self == **other
    }
}

impl PartialEq<Blob> for Bytes {
    fn eq(&self, other: &Blob) -> bool {
        **self == **other
    }
}

impl PartialEq<str> for Blob {
    fn eq(&self, other: &str) -> bool {
        **self == *other.as_bytes()
    }
}

impl PartialEq<&str> for Blob {
    fn eq(&self, other: &&str) -> bool {
        **self == *other.as_bytes()
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}
