//! The shape of every machine.

use super::Now;
use alloc::vec::Vec;

/// A value that decides. Same state, same input, same time: same outputs.
pub trait Machine {
    /// What can happen to it.
    type Input;
    /// What it wants done.
    type Output;

    /// Takes one input and appends what must be done to `out`, in the order it must be done.
    ///
    /// `now` never goes back between calls.
    fn handle(&mut self, now: Now, input: Self::Input, out: &mut Outputs<Self::Output>);

    /// When it wants to be woken (with its own kind of time-out input) if nothing else happens
    /// first.
    ///
    /// Whoever drives it hands over all that has arrived before it wakes it: a timer concludes from
    /// silence, and a process that was stopped has only not read yet.
    fn deadline(&self) -> Option<(Now, Wake)>;
}

/// Why a machine wants to be woken; for logs and scripts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub struct Wake(pub &'static str);

/// An ordered list of effects, carried out in order.
#[derive(Debug)]
pub struct Outputs<T> {
    list: Vec<T>,
}

impl<T> Default for Outputs<T> {
    fn default() -> Self {
        Outputs { list: Vec::new() }
    }
}

impl<T> Outputs<T> {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one effect.
    pub fn push(&mut self, output: T) {
        self.list.push(output);
    }

    /// Takes every effect out, in order, keeping the allocation.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.list.drain(..)
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many effects wait.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The effects, in order.
    pub fn as_slice(&self) -> &[T] {
        &self.list
    }
}
