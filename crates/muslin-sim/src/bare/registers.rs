//! The state machine of a bare group: a row of registers, and a hash of all that happened.

use crate::trace::WordHash;
use bytes::Bytes;
use muslin_core::base::Index;
use muslin_core::raft::{Entry, Payload};

/// How many there are: a read sees them all, so that writes to different ones cannot be seen out of
/// order.
pub(super) const REGISTERS: usize = 8;

/// The registers as of one place of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Registers {
    pub(super) applied: Index,
    values: [u64; REGISTERS],
    /// Of every command in order (R6).
    digest: u64,
}

/// A write: a value that is written once, to a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Put {
    pub(super) register: usize,
    pub(super) value: u64,
}

impl Put {
    pub(super) fn encoded(self) -> Bytes {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(self.register as u64).to_le_bytes());
        bytes[8..].copy_from_slice(&self.value.to_le_bytes());
        Bytes::copy_from_slice(&bytes)
    }

    pub(super) fn decoded(bytes: &[u8]) -> Option<Put> {
        if bytes.len() != 16 {
            return None;
        }
        let register = word(bytes, 0) as usize;
        (register < REGISTERS).then_some(Put { register, value: word(bytes, 1) })
    }
}

impl Registers {
    /// Applies what stands next in the log: the write, if it is one.
    pub(super) fn apply(&mut self, entry: &Entry) -> Option<Put> {
        assert!(entry.id.index == self.applied.next(), "R6: no entry is skipped or repeated");
        self.applied = entry.id.index;
        let put = match &entry.payload {
            Payload::Command(bytes) => Put::decoded(bytes)?,
            _ => return None,
        };
        self.values[put.register] = put.value;
        let mut hash = WordHash::new();
        hash.word(self.digest);
        hash.word(put.register as u64);
        hash.word(put.value);
        self.digest = hash.finish();
        Some(put)
    }

    /// Of all that was applied.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn snapshot(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(8 * (REGISTERS + 2));
        for word in [self.applied.0, self.digest].into_iter().chain(self.values) {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        Bytes::from(bytes)
    }

    pub(super) fn restored(bytes: &[u8]) -> Registers {
        let mut registers = Registers::default();
        if bytes.len() == 8 * (REGISTERS + 2) {
            registers.applied = Index(word(bytes, 0));
            registers.digest = word(bytes, 1);
            for (place, value) in registers.values.iter_mut().enumerate() {
                *value = word(bytes, place + 2);
            }
        }
        registers
    }
}

fn word(bytes: &[u8], place: usize) -> u64 {
    let bytes = &bytes[8 * place..8 * place + 8];
    u64::from_le_bytes(bytes.try_into().expect("eight bytes are a word"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use muslin_core::base::{LogId, Term};

    #[test]
    fn a_snapshot_gives_the_registers_back() {
        let mut registers = Registers::default();
        for index in 1..20 {
            let put = Put { register: index as usize % REGISTERS, value: index * 7 };
            let payload = Payload::Command(put.encoded());
            let entry = Entry { id: LogId::new(Term(1), Index(index)), payload };
            assert_eq!(registers.apply(&entry), Some(put));
        }
        assert_eq!(Registers::restored(&registers.snapshot()), registers);
    }
}
