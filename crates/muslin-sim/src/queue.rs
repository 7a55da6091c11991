//! What is going to happen, by time.

use crate::time::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Things to come, the earliest first; of one moment, in the order they were put in.
///
/// The heap moves small keys only; the things themselves stay in their slots.
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<(Time, u64, u32)>>,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    pushed: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Queue<T> {
        Queue { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), pushed: 0 }
    }

    pub(crate) fn push(&mut self, at: Time, thing: T) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(thing);
                slot
            }
            None => {
                self.slots.push(Some(thing));
                (self.slots.len() - 1) as u32
            }
        };
        self.pushed += 1;
        self.heap.push(Reverse((at, self.pushed, slot)));
    }

    fn pop(&mut self) -> Option<(Time, T)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        let thing = self.slots[slot as usize].take();
        Some((at, thing.expect("a slot named by the heap is full")))
    }

    /// The next thing, if it happens by then.
    pub(crate) fn pop_until(&mut self, end: Time) -> Option<(Time, T)> {
        self.heap.peek().filter(|Reverse((at, _, _))| *at <= end)?;
        self.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_comes_first_and_equals_keep_their_order() {
        let mut queue = Queue::new();
        for (at, thing) in [(3, 'a'), (1, 'b'), (3, 'c'), (2, 'd'), (1, 'e')] {
            queue.push(Time(at), thing);
        }
        assert!(queue.pop_until(Time(0)).is_none(), "nothing happens that early");
        let order: String = std::iter::from_fn(|| queue.pop()).map(|(_, thing)| thing).collect();
        assert_eq!(order, "bedac");
    }
}
