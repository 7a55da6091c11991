//! Whether bytes are a whole backup.

use super::Fault;
use super::format::{
    BLOCK_BYTES, FORMAT, FRAME_BYTES, HEAD_BYTES_MAX, Head, MAGIC, SUM_BYTES, sum_of,
};
use prost::Message as _;
use ring::digest::{Context, SHA256};

/// Takes the bytes of a backup in order, however they are cut, and gives out the state in it. It
/// holds no more than a block.
pub struct Checker {
    part: Part,
    /// Of the present part, as far as it has come.
    held: Vec<u8>,
    /// Bytes of the parts before.
    at: u64,
    head: Option<Head>,
    /// Length of the whole, as the head has it.
    total: Option<u64>,
    state_bytes: u64,
    sum: Context,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Magic,
    Frame,
    Block { length: u32, sum: u32 },
    Zeros { length: usize },
    Sum,
    Nothing,
}

impl Default for Checker {
    fn default() -> Checker {
        Checker {
            part: Part::Magic,
            held: Vec::new(),
            at: 0,
            head: None,
            total: None,
            state_bytes: 0,
            sum: Context::new(&SHA256),
        }
    }
}

impl Checker {
    /// Takes the next bytes; `state` is given what they hold of the state, each piece checked.
    pub fn take(&mut self, mut bytes: &[u8], mut state: impl FnMut(&[u8])) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let wanted = self.wanted()?;
            let (now, later) = bytes.split_at(bytes.len().min(wanted - self.held.len()));
            self.held.extend_from_slice(now);
            bytes = later;
            if self.held.len() == wanted {
                self.part_is_whole(&mut state)?;
            }
        }
        Ok(())
    }

    /// Says that no more comes. What the backup says of itself, if it is whole.
    pub fn finish(self) -> Result<Head, Fault> {
        let at = self.at + self.held.len() as u64;
        match (self.part, self.head) {
            (Part::Nothing, Some(head)) => Ok(head),
            (Part::Magic, _) if !MAGIC.starts_with(&self.held) => Err(Fault::NoBackup),
            _ => Err(Fault::CutShort { at, of: self.total }),
        }
    }

    /// What it says of itself, if that has come.
    pub(super) fn into_head(self) -> Option<Head> {
        self.head
    }

    /// Length of the present part.
    fn wanted(&self) -> Result<usize, Fault> {
        match self.part {
            Part::Magic => Ok(MAGIC.len()),
            Part::Frame => Ok(FRAME_BYTES),
            Part::Block { length, .. } => Ok(length as usize),
            Part::Zeros { length } => Ok(length),
            Part::Sum => Ok(SUM_BYTES as usize),
            Part::Nothing => Err(Fault::TooLong { of: self.at }),
        }
    }

    fn part_is_whole(&mut self, state: &mut impl FnMut(&[u8])) -> Result<(), Fault> {
        if self.part == Part::Sum {
            let is_right = self.sum.clone().finish().as_ref() == self.held;
            self.step(Part::Nothing);
            return if is_right { Ok(()) } else { Err(Fault::Altered) };
        }
        self.sum.update(&self.held);
        let next = match self.part {
            Part::Magic if self.held != MAGIC => return Err(Fault::NoBackup),
            Part::Magic => Part::Frame,
            Part::Frame => self.framed()?,
            Part::Block { length, sum } => {
                if sum_of(length, &self.held) != sum {
                    return Err(self.damaged());
                }
                match self.head {
                    None => self.take_head()?,
                    Some(_) => {
                        self.state_bytes += self.held.len() as u64;
                        state(&self.held);
                    }
                }
                Part::Frame
            }
            Part::Zeros { .. } if self.held.iter().any(|byte| *byte != 0) => {
                return Err(self.damaged());
            }
            Part::Zeros { .. } | Part::Sum | Part::Nothing => Part::Sum,
        };
        self.step(next);
        // A part without bytes is whole before any comes.
        if self.part == (Part::Zeros { length: 0 }) {
            self.step(Part::Sum);
        }
        Ok(())
    }

    fn step(&mut self, next: Part) {
        self.at += self.held.len() as u64;
        self.held.clear();
        self.part = next;
    }

    /// What a frame says comes next. Damaged, it must not have this wait for, or hold, what was
    /// never written.
    fn framed(&self) -> Result<Part, Fault> {
        let word = |at: usize| {
            let bytes = self.held[at..at + 4].try_into().expect("a frame has two words");
            u32::from_le_bytes(bytes)
        };
        let (length, sum) = (word(0), word(4));
        let (most, is_end_due) = match &self.head {
            None => (HEAD_BYTES_MAX, false),
            Some(head) => {
                let left = head.state_bytes - self.state_bytes;
                (BLOCK_BYTES.min(usize::try_from(left).unwrap_or(BLOCK_BYTES)), left == 0)
            }
        };
        match length {
            0 if is_end_due && sum == sum_of(0, &[]) => {
                let end = self.at + FRAME_BYTES as u64;
                let sum_at = self.total.unwrap_or_default().saturating_sub(SUM_BYTES);
                let length = sum_at.checked_sub(end).ok_or_else(|| self.damaged())?;
                Ok(Part::Zeros { length: length as usize })
            }
            // All blocks are as long as they can be: their length is known before.
            1.. if !is_end_due && (self.head.is_none() || length as usize == most) => {
                if length as usize > most {
                    Err(self.damaged())
                } else {
                    Ok(Part::Block { length, sum })
                }
            }
            _ => Err(self.damaged()),
        }
    }

    fn take_head(&mut self) -> Result<(), Fault> {
        let head = Head::decode(&self.held[..]).map_err(|_| self.damaged())?;
        if head.format != FORMAT {
            return Err(Fault::Format { found: head.format });
        }
        self.total = Some(head.file_bytes(self.held.len()));
        self.head = Some(head);
        Ok(())
    }

    /// Within the present part: of a block, its frame may be what is wrong.
    fn damaged(&self) -> Fault {
        let before = if matches!(self.part, Part::Block { .. }) { FRAME_BYTES as u64 } else { 0 };
        Fault::Damaged { offset: self.at - before, length: before + self.held.len() as u64 }
    }
}
