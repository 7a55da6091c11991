//! What the clients did and what they were told: all a checker knows.
//!
//! Times are nanoseconds of one monotonic clock, which every client shares. Every value is written
//! once, so that a value names the write it came from.

use std::fmt;

/// Nanoseconds since the run began.
pub type Nanos = u64;

/// What a key is used for; each use has its own range of keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Family {
    /// Holds large values, to fill logs.
    Bulk,
    /// Written by who holds a lock only, with its fence.
    Fenced,
    /// Written together, by transactions only.
    Group,
    /// Lives as long as a lease; nobody deletes it.
    Leased,
    /// Written all the time, to see when writes stop.
    Probe,
    /// Put, deleted, swapped and read by everyone.
    Register,
    /// What the cluster makes of its own accord, for locks and queues; its names are in
    /// [`History::names`], by number.
    Foreign,
}

impl Family {
    /// All that clients name.
    pub const ALL: [Family; 6] = [
        Family::Bulk,
        Family::Fenced,
        Family::Group,
        Family::Leased,
        Family::Probe,
        Family::Register,
    ];

    /// What its keys begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Family::Bulk => "bulk/",
            Family::Fenced => "fenced/",
            Family::Foreign => "foreign/",
            Family::Group => "group/",
            Family::Leased => "leased/",
            Family::Probe => "probe/",
            Family::Register => "register/",
        }
    }
}

/// A key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key {
    /// Its use.
    pub family: Family,
    /// Its number.
    pub number: u32,
}

impl Key {
    /// A key of a family.
    pub fn new(family: Family, number: u32) -> Key {
        Key { family, number }
    }

    /// The key that has this name.
    pub fn named(name: &[u8]) -> Option<Key> {
        let name = std::str::from_utf8(name).ok()?;
        let family = Family::ALL.into_iter().find(|family| name.starts_with(family.prefix()))?;
        let number = name.strip_prefix(family.prefix())?.parse().ok()?;
        let key = Key { family, number };
        (key.to_string() == name).then_some(key)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:06}", self.family.prefix(), self.number)
    }
}

/// Names a value; no two writes have the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Value(pub u64);

/// Longest padding of a value: long enough that one write spans disk sectors now and then.
const PADDING_MAX: u64 = 300;

/// Padding of a large value: near the most that a command may have.
const LARGE: u64 = 1_000_000;

/// Numbers from here on are of large values.
const LARGE_FROM: u64 = 1 << 60;

/// Numbers from here on are of foreign values: what their bytes come to.
const FOREIGN_FROM: u64 = 1 << 63;

impl Value {
    /// A large one.
    pub fn large(number: u64) -> Value {
        Value(LARGE_FROM + number)
    }

    /// Its bytes: the number and padding that follows from the number, so that a value put together
    /// from two is recognized.
    pub fn bytes(self) -> Vec<u8> {
        let length = match self.0 < LARGE_FROM {
            true => (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % PADDING_MAX,
            false => LARGE,
        };
        let letter = b'a' + (self.0 % 26) as u8;
        let mut bytes = format!("{}:", self.0).into_bytes();
        bytes.resize(bytes.len() + length as usize, letter);
        bytes
    }

    /// What stands for foreign bytes (FNV-1a, of which one bit says what it is).
    pub fn foreign(bytes: &[u8]) -> Value {
        let mixed = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |mixed, byte| {
            (mixed ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Value(FOREIGN_FROM | mixed)
    }

    /// The value with these bytes.
    pub fn parse(bytes: &[u8]) -> Option<Value> {
        let end = bytes.iter().position(|byte| *byte == b':')?;
        let value = Value(std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()?);
        (value.bytes() == bytes).then_some(value)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// A key-value pair as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    /// Which key.
    pub key: Key,
    /// What it holds.
    pub value: Value,
    /// When it was created.
    pub create_revision: u64,
    /// When it was changed last.
    pub mod_revision: u64,
    /// Changes since it was created.
    pub version: u64,
}

/// What a read promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consistency {
    /// Sees every write acknowledged before.
    Linearizable,
    /// What the node asked has.
    Local,
}

/// What was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Write a key.
    Put((Key, Value)),
    /// Delete a key.
    Delete(Key),
    /// Read a key.
    Get(Key, Consistency),
    /// Read all keys of a family.
    List(Family, Consistency),
    /// Write a key if it was changed last at this revision (0: if it is absent), else read it.
    Swap((Key, Value), u64),
    /// Write several keys in one transaction.
    Multi(Box<[(Key, Value)]>),
    /// Write a key while a place in a lock's queue is there that this revision made.
    Guarded((Key, Value), Fence),
}

/// A place in a lock's queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fence {
    /// Its key.
    pub place: Key,
    /// What made it.
    pub revision: u64,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nobody knows.
    Unknown,
    /// The node said that nothing happened.
    Refused,
    /// It was written, at this revision.
    Written(u64),
    /// The key was deleted at this revision, or was absent at it.
    Deleted(u64, bool),
    /// It was read as of this revision.
    Read(u64, Box<[Item]>),
    /// The fence did not hold, as of this revision: nothing was written.
    Fenced(u64),
}

/// One call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Op {
    /// Which node was asked.
    pub node: u8,
    /// Which life of that node's process answered; `None` when it ended meanwhile.
    pub life: Option<u32>,
    /// When it was asked.
    pub start: Nanos,
    /// When the answer was there, or was given up.
    pub end: Nanos,
    /// What was asked.
    pub action: Action,
    /// What came of it.
    pub outcome: Outcome,
}

impl Op {
    /// What it writes if it takes effect.
    pub fn writes(&self) -> &[(Key, Value)] {
        match &self.action {
            Action::Put(write) | Action::Swap(write, _) | Action::Guarded(write, _) => {
                std::slice::from_ref(write)
            }
            Action::Multi(writes) => writes,
            Action::Delete(_) | Action::Get(..) | Action::List(..) => &[],
        }
    }
}

/// One change of one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// At which revision.
    pub revision: u64,
    /// Which key.
    pub key: Key,
    /// What it holds since; `None` when it was deleted.
    pub value: Option<Value>,
    /// When a watcher was told.
    pub seen: Nanos,
}

/// What one watch of all keys told, from its creation to its end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Watch {
    /// Who watched; the watches of one watcher follow on one another.
    pub watcher: u32,
    /// At which node.
    pub node: u8,
    /// The first revision asked for.
    pub from: u64,
    /// What was told, in the order told.
    pub changes: Vec<Change>,
    /// All of history up to here had been compacted away.
    pub compacted: Option<u64>,
}

/// The life of a lease and of the key that hangs on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The key.
    pub key: Key,
    /// How long it lives without being kept alive.
    pub ttl: Nanos,
    /// When the last grant or keeping alive that was acknowledged had been asked for.
    pub kept: Nanos,
    /// When a client was told that it has ended.
    pub ended: Option<Nanos>,
}

/// A lock was had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hold {
    /// By this place.
    pub fence: Fence,
    /// As of this revision.
    pub revision: u64,
}

/// What became of an item of the queue, as far as somebody knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// It was pushed.
    Pushed(u64),
    /// Perhaps it was.
    PerhapsPushed(u64),
    /// Somebody took it.
    Taken(u64),
    /// Somebody said that it is done, and was heard.
    Done(u64),
    /// Perhaps somebody was.
    PerhapsDone(u64),
    /// Somebody said so who had it no more, and was refused.
    Late(u64),
}

/// All that a node holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dump {
    /// Which node.
    pub node: u8,
    /// As of this revision.
    pub revision: u64,
    /// Everything, in key order.
    pub items: Vec<Item>,
}

/// All that is known of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// Every call.
    pub ops: Vec<Op>,
    /// Every watch; those of one watcher in order.
    pub watches: Vec<Watch>,
    /// Every lease.
    pub leases: Vec<Lease>,
    /// Every lock that was had.
    pub holds: Vec<Hold>,
    /// What became of the items of the queue.
    pub work: Vec<Work>,
    /// The names of foreign keys, by number.
    pub names: Vec<Vec<u8>>,
    /// Every node at the end.
    pub dumps: Vec<Dump>,
    /// Share of time by which a node's clock was made to run fast, in thousandths.
    pub clock_fast_permille: u64,
    /// What a client saw that can be judged at once: a value nobody wrote, a key of nobody.
    pub nonsense: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_read_back() {
        for family in Family::ALL {
            let key = Key::new(family, 17);
            assert_eq!(Key::named(key.to_string().as_bytes()), Some(key));
        }
        assert_eq!(Key::named(b"register/17"), None);
        for number in [0, 1, 77, LARGE_FROM + 1] {
            assert_eq!(Value::parse(&Value(number).bytes()), Some(Value(number)));
        }
        let mut torn = Value(12_345).bytes();
        torn.push(b'!');
        assert_eq!(Value::parse(&torn), None);
    }
}
