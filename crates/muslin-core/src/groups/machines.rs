//! State machines that come with Muslin: small, and enough to try groups out.

use super::{GroupMachine, NotASnapshot};
use crate::base::Index;
use crate::state::Digest;
use alloc::vec::Vec;
use bytes::{Buf as _, BufMut as _, Bytes};

/// One value. A command sets it and is answered with the value before it; any query reads it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Register {
    value: Bytes,
}

impl GroupMachine for Register {
    fn apply(&mut self, _: Index, command: Bytes) -> Bytes {
        // A copy of its own: the slice would hold the whole append it came in.
        core::mem::replace(&mut self.value, Bytes::copy_from_slice(&command))
    }

    fn query(&self, _: &[u8]) -> Bytes {
        self.value.clone()
    }

    fn snapshot(&self) -> Bytes {
        self.value.clone()
    }

    fn restore(&mut self, snapshot: Bytes) -> Result<(), NotASnapshot> {
        self.value = Bytes::copy_from_slice(&snapshot);
        Ok(())
    }
}

/// Every command, in order. A command is answered with its place, from 1, as eight bytes (big
/// end first); a query of eight bytes with the command at that place, any other with the number of
/// commands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Journal {
    commands: Vec<Bytes>,
    digest: Digest,
}

impl Default for Journal {
    fn default() -> Journal {
        Journal { commands: Vec::new(), digest: Digest::new() }
    }
}

impl Journal {
    /// Every command so far.
    pub fn commands(&self) -> &[Bytes] {
        &self.commands
    }

    fn push(&mut self, command: &[u8]) {
        self.digest = self.digest.bytes(command);
        self.commands.push(Bytes::copy_from_slice(command));
    }

    fn count(&self) -> Bytes {
        Bytes::copy_from_slice(&(self.commands.len() as u64).to_be_bytes())
    }
}

impl GroupMachine for Journal {
    fn apply(&mut self, _: Index, command: Bytes) -> Bytes {
        self.push(&command);
        self.count()
    }

    fn query(&self, query: &[u8]) -> Bytes {
        let Ok(place) = <[u8; 8]>::try_from(query) else { return self.count() };
        let place = u64::from_be_bytes(place).checked_sub(1);
        let place = place.and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| self.commands.get(place)).cloned().unwrap_or_default()
    }

    fn snapshot(&self) -> Bytes {
        let size = self.commands.iter().map(|command| command.len() + 4).sum();
        let mut out = Vec::with_capacity(size);
        for command in &self.commands {
            out.put_u32(command.len() as u32);
            out.put_slice(command);
        }
        Bytes::from(out)
    }

    fn restore(&mut self, mut snapshot: Bytes) -> Result<(), NotASnapshot> {
        let mut restored = Journal::default();
        while !snapshot.is_empty() {
            let length = snapshot.try_get_u32().map_err(|_| NotASnapshot)? as usize;
            if snapshot.len() < length {
                return Err(NotASnapshot);
            }
            restored.push(&snapshot.split_to(length));
        }
        *self = restored;
        Ok(())
    }

    fn digest(&self) -> u64 {
        self.digest.finish()
    }
}
