//! The calls of etcd's interface that the load makes, and what an answer to each must say.

use super::wire::connection::PREFIX;
use super::wire::fields::{self, Fields};

/// What each run's values begin with: its mark, the key's number, how often the key was written.
const HEAD_BYTES: usize = 20;

/// Behind it, when the put was sent: nanoseconds of the run's own clock.
const SENT_BYTES: usize = 8;

/// The shortest value that holds all of that.
pub(crate) const VALUE_BYTES_MIN: usize = HEAD_BYTES + SENT_BYTES;

/// What fills the rest of a value.
const FILLER: u8 = b'x';

/// What keys begin with.
pub(crate) const KEY_PREFIX: &[u8] = b"bench/";

/// The end of the range of all keys that begin so.
pub(crate) const KEYS_END: &[u8] = b"bench0";

/// Time to live of leases: longer than any pause of a busy machine.
pub(crate) const LEASE_SECONDS: u64 = 60;

/// A call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    /// Writes a key; the count says how often it was written before.
    Put { key: u64, count: u32, sent: u64 },
    /// Reads a key.
    Read { key: u64, is_serializable: bool },
    /// Makes a lease.
    Grant,
    /// Ends it.
    Revoke { lease: u64 },
    /// Prolongs it, on a stream that stays.
    KeepAlive { lease: u64 },
    /// Follows all keys, on a stream that stays.
    Watch,
}

impl Op {
    /// The method that is called.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Op::Put { .. } => "/etcdserverpb.KV/Put",
            Op::Read { .. } => "/etcdserverpb.KV/Range",
            Op::Grant => "/etcdserverpb.Lease/LeaseGrant",
            Op::Revoke { .. } => "/etcdserverpb.Lease/LeaseRevoke",
            Op::KeepAlive { .. } => "/etcdserverpb.Lease/LeaseKeepAlive",
            Op::Watch => "/etcdserverpb.Watch/Watch",
        }
    }

    /// Whether its stream stays for others.
    pub(crate) fn is_streamed(self) -> bool {
        matches!(self, Op::KeepAlive { .. } | Op::Watch)
    }

    /// Writes the message, behind its prefix, into what is emptied first.
    pub(crate) fn encode(self, out: &mut Vec<u8>, values: Values) {
        out.clear();
        out.extend([0; PREFIX]);
        match self {
            Op::Put { key, count, sent } => {
                key_field(out, key);
                fields::length(out, 2, values.bytes);
                values.write(out, Written { key, count, sent });
            }
            Op::Read { key, is_serializable } => {
                key_field(out, key);
                fields::number(out, 7, u64::from(is_serializable));
            }
            Op::Grant => fields::number(out, 1, LEASE_SECONDS),
            Op::Revoke { lease } | Op::KeepAlive { lease } => fields::number(out, 1, lease),
            Op::Watch => {
                let mut create = Vec::new();
                fields::bytes(&mut create, 1, KEY_PREFIX);
                fields::bytes(&mut create, 2, KEYS_END);
                fields::bytes(out, 1, &create);
            }
        }
        let length = (out.len() - PREFIX) as u32;
        out[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    }
}

fn key_field(out: &mut Vec<u8>, key: u64) {
    fields::bytes(out, 1, &key_name(key));
}

/// Nine digits hold every key there may be.
const DIGITS: usize = 9;

fn key_name(key: u64) -> [u8; KEY_PREFIX.len() + DIGITS] {
    let mut name = [b'0'; KEY_PREFIX.len() + DIGITS];
    name[..KEY_PREFIX.len()].copy_from_slice(KEY_PREFIX);
    let mut rest = key;
    for digit in name[KEY_PREFIX.len()..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    name
}

/// How values of a run are made, so that a reader knows what it must find.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values {
    /// Different for each run: what an earlier one left is wrong.
    pub(crate) mark: u64,
    /// Their length. Short ones are cut.
    pub(crate) bytes: usize,
}

/// What a value says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Written {
    pub(crate) key: u64,
    pub(crate) count: u32,
    pub(crate) sent: u64,
}

impl Values {
    pub(super) fn write(self, out: &mut Vec<u8>, written: Written) {
        let end = out.len() + self.bytes;
        out.extend(self.mark.to_be_bytes());
        out.extend(written.key.to_be_bytes());
        out.extend(written.count.to_be_bytes());
        out.extend(written.sent.to_be_bytes());
        out.resize(end, FILLER);
    }

    /// What a value of this run says; nothing when it is not one. Needs whole values.
    pub(crate) fn read(self, value: &[u8]) -> Option<Written> {
        let (mark, rest) = value.split_first_chunk()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (sent, filler) = rest.split_first_chunk()?;
        let is_ours = u64::from_be_bytes(*mark) == self.mark && value.len() == self.bytes;
        let key = u64::from_be_bytes(*key);
        let (count, sent) = (u32::from_be_bytes(*count), u64::from_be_bytes(*sent));
        let is_whole = is_ours && filler.iter().all(|byte| *byte == FILLER);
        is_whole.then_some(Written { key, count, sent })
    }

    /// Whether it is the value that a key was given at the write of that number; without one, at
    /// any.
    fn is(self, value: &[u8], key: u64, count: Option<u32>) -> bool {
        if self.bytes >= VALUE_BYTES_MIN {
            let read = self.read(value).filter(|read| read.key == key);
            return read.is_some_and(|read| count.is_none_or(|count| read.count == count));
        }
        // Of a value that was cut, what is left of its head is compared.
        let mut whole = Vec::new();
        self.write(&mut whole, Written { key, count: count.unwrap_or_default(), sent: 0 });
        whole.truncate(self.bytes);
        let known = match count {
            Some(_) => HEAD_BYTES,
            None => HEAD_BYTES - 4,
        };
        let known = known.min(self.bytes);
        value.len() == self.bytes && value[..known] == whole[..known]
    }
}

/// What a client must find, and what it remembers of its answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// How often the key read was written; nothing when nobody can say.
    pub(crate) count: Option<u32>,
    /// The revision of this client's last write.
    pub(crate) revision: u64,
}

/// What an answer told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// Nothing more than that it was done.
    Done,
    /// Done at this revision.
    Revision(u64),
    /// A lease of this number.
    Lease(u64),
}

/// Looks at an answer; why it is wrong, if it is.
pub(crate) fn check(
    op: Op,
    answer: &[u8],
    values: Values,
    expected: Expected,
) -> Result<Told, String> {
    match op {
        Op::Put { .. } => {
            let revision = revision(answer);
            match revision > expected.revision {
                true => Ok(Told::Revision(revision)),
                false => Err(format!(
                    "a put was acknowledged behind a later one (revision {revision} behind {})",
                    expected.revision
                )),
            }
        }
        Op::Read { key, .. } => check_read(key, answer, values, expected.count),
        Op::Grant => match (number(answer, 2), number(answer, 3)) {
            (1.., LEASE_SECONDS..) => Ok(Told::Lease(number(answer, 2))),
            (lease, ttl) => {
                Err(format!("a lease was not granted as asked (lease {lease}, {ttl} s)"))
            }
        },
        Op::Revoke { .. } => Ok(Told::Done),
        Op::KeepAlive { lease } => match (number(answer, 2), number(answer, 3)) {
            (named, 1..) if named == lease => Ok(Told::Done),
            (named, ttl) => {
                Err(format!("a keep-alive did not hold (lease {lease}: told {named}, {ttl} s)"))
            }
        },
        Op::Watch => Ok(Told::Done),
    }
}

fn check_read(key: u64, answer: &[u8], values: Values, count: Option<u32>) -> Result<Told, String> {
    let name = String::from_utf8_lossy(&key_name(key)).into_owned();
    let mut found = Fields::of(answer).filter(|(tag, _)| *tag == 2).map(|(_, kv)| kv.bytes());
    let (first, second) = (found.next(), found.next());
    let Some(kv) = first.filter(|_| second.is_none()) else {
        return Err(format!("a key was not found, or more than once ({name})"));
    };
    let (mut is_key, mut value) = (false, &[][..]);
    for (tag, content) in Fields::of(kv) {
        match tag {
            1 => is_key = content.bytes() == key_name(key),
            5 => value = content.bytes(),
            _ => {}
        }
    }
    if !is_key {
        return Err(format!("another key was told than was read ({name})"));
    }
    match values.is(value, key, count) {
        true => Ok(Told::Done),
        false => Err(format!("a read is not what was written ({name})")),
    }
}

/// The revision in an answer's header.
fn revision(answer: &[u8]) -> u64 {
    let header = Fields::of(answer).find(|(tag, _)| *tag == 1);
    header.map_or(0, |(_, header)| number(header.bytes(), 3))
}

/// A field that is a number; zero when it is not there.
pub(crate) fn number(message: &[u8], tag: u64) -> u64 {
    let found = Fields::of(message).find(|(found, _)| *found == tag);
    found.map_or(0, |(_, content)| content.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values = Values { mark: 7, bytes: 40 };

    fn expecting(count: Option<u32>) -> Expected {
        Expected { count, revision: 10 }
    }

    /// A RangeResponse with one pair.
    fn range(key: &[u8], value: &[u8]) -> Vec<u8> {
        let (mut kv, mut answer) = (Vec::new(), Vec::new());
        fields::bytes(&mut kv, 1, key);
        fields::bytes(&mut kv, 5, value);
        fields::bytes(&mut answer, 2, &kv);
        answer
    }

    fn value(values: Values, key: u64, count: u32) -> Vec<u8> {
        let mut value = Vec::new();
        values.write(&mut value, Written { key, count, sent: 99 });
        value.truncate(values.bytes);
        value
    }

    fn read(values: Values, answer: &[u8], count: Option<u32>) -> Result<Told, String> {
        check(Op::Read { key: 3, is_serializable: false }, answer, values, expecting(count))
    }

    #[test]
    fn a_put_says_key_and_value() {
        let mut out = Vec::new();
        Op::Put { key: 3, count: 1, sent: 99 }.encode(&mut out, VALUES);
        assert_eq!(out[..PREFIX], [0, 0, 0, 0, (out.len() - PREFIX) as u8]);
        let fields: Vec<_> = Fields::of(&out[PREFIX..]).map(|(t, c)| (t, c.bytes())).collect();
        assert_eq!(fields, [(1, &b"bench/000000003"[..]), (2, &value(VALUES, 3, 1))]);
        assert_eq!(VALUES.read(fields[1].1).unwrap(), Written { key: 3, count: 1, sent: 99 });
    }

    #[test]
    fn a_read_must_find_what_was_written() {
        let name = key_name(3);
        for bytes in [40, VALUE_BYTES_MIN, 17, 3] {
            let values = Values { bytes, ..VALUES };
            let right = range(&name, &value(values, 3, 5));
            assert_eq!(read(values, &right, Some(5)), Ok(Told::Done), "{bytes}");
            assert_eq!(read(values, &right, None), Ok(Told::Done), "{bytes}");
        }
        let other_run = Values { mark: 8, ..VALUES };
        let mut spoilt = value(VALUES, 3, 5);
        spoilt[39] = b'y';
        for (answer, what) in [
            (range(&name, &value(VALUES, 3, 4)), "a read is not what was written"),
            (range(&name, &value(VALUES, 4, 5)), "a read is not what was written"),
            (range(&name, &value(other_run, 3, 5)), "a read is not what was written"),
            (range(&name, &spoilt), "a read is not what was written"),
            (range(&name, b""), "a read is not what was written"),
            (range(&key_name(4), &value(VALUES, 3, 5)), "another key"),
            (Vec::new(), "not found"),
            ([range(&name, b"1"), range(&name, b"2")].concat(), "more than once"),
        ] {
            let refused = read(VALUES, &answer, Some(5)).unwrap_err();
            assert!(refused.contains(what), "{refused}");
        }
    }

    #[test]
    fn a_put_is_acknowledged_behind_the_one_before() {
        let put = Op::Put { key: 3, count: 1, sent: 0 };
        let answer = |revision| {
            let (mut header, mut answer) = (Vec::new(), Vec::new());
            fields::number(&mut header, 3, revision);
            fields::bytes(&mut answer, 1, &header);
            answer
        };
        let check = |answer: &[u8]| check(put, answer, VALUES, expecting(None));
        assert_eq!(check(&answer(11)), Ok(Told::Revision(11)));
        assert!(check(&answer(10)).unwrap_err().contains("revision 10"));
        assert!(check(b"").unwrap_err().contains("revision 0"));
    }

    #[test]
    fn leases_are_what_was_asked_for() {
        let lease = |id, ttl| {
            let mut answer = Vec::new();
            fields::number(&mut answer, 2, id);
            fields::number(&mut answer, 3, ttl);
            answer
        };
        let check = |op, answer: &[u8]| check(op, answer, VALUES, expecting(None));
        assert_eq!(check(Op::Grant, &lease(5, 60)), Ok(Told::Lease(5)));
        assert!(check(Op::Grant, &lease(5, 59)).is_err());
        assert!(check(Op::Grant, &lease(0, 60)).is_err());
        let keep = Op::KeepAlive { lease: 5 };
        assert_eq!(check(keep, &lease(5, 60)), Ok(Told::Done));
        assert!(check(keep, &lease(6, 60)).is_err());
        assert!(check(keep, &lease(5, 0)).is_err(), "it has ended");
    }
}
