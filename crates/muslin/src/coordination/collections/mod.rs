//! Counters, maps, sets, lists, work queues and barriers that a cluster has.
//!
//! Each is made of keys below `\0m/KIND/NAME/`, which listings leave out unless they are asked for;
//! whoever has rights on those keys has them on the thing. Names, elements, keys and values are any
//! bytes; a name's `/` and `%` stand escaped in keys. Every operation is one transaction: it has
//! happened, for all to see and for good, when it is answered.
//!
//! # Once
//! An operation whose answer is lost may or may not have happened. Putting the same into a map or a
//! set again changes nothing; counting, appending and taking out again does. So these take an
//! identity ([`Once`]) that whoever asks chooses: the same operation with the same identity happens
//! once, and is answered as it was, for ten minutes at least.
mod barrier;
mod counter;
mod list;
mod map;
mod multimap;
mod once;
mod sequence;
mod set;
mod space;
#[cfg(test)]
mod tests;
mod work;

pub use barrier::Barrier;
pub(super) use barrier::PARTIES_MAX;
pub use counter::Counter;
pub(super) use list::INDEX_MAX;
pub use list::List;
pub use map::Map;
pub use multimap::MultiMap;
pub use once::{ONCE_BYTES_MAX, Once};
pub use set::Set;
pub use space::{HIDDEN, Kind, Page, Pair};
pub use work::{Taken, Tenure, WorkQueue};
