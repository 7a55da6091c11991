//! The queue: each item is done once, or there in the end.

use super::Findings;
use crate::history::{Family, History, Value, Work};
use std::collections::BTreeMap;

/// What the names of items begin with.
const ITEMS: &[u8] = b"\0m/queue/jobs/i/";

/// What became of one item.
#[derive(Default)]
struct Fate {
    is_pushed: bool,
    is_perhaps_pushed: bool,
    taken: usize,
    done: usize,
    perhaps_done: usize,
    /// How often it is there in the end.
    left: usize,
}

/// Checks all items; how many are known to be done.
pub(super) fn check(history: &History, findings: &mut Findings) -> usize {
    let mut fates: BTreeMap<u64, Fate> = BTreeMap::new();
    for work in &history.work {
        let (Work::Pushed(item)
        | Work::PerhapsPushed(item)
        | Work::Taken(item)
        | Work::Done(item)
        | Work::PerhapsDone(item)
        | Work::Late(item)) = *work;
        let fate = fates.entry(item).or_default();
        match work {
            Work::Pushed(_) => fate.is_pushed = true,
            Work::PerhapsPushed(_) => fate.is_perhaps_pushed = true,
            Work::Taken(_) => fate.taken += 1,
            Work::Done(_) => fate.done += 1,
            Work::PerhapsDone(_) => fate.perhaps_done += 1,
            Work::Late(_) => {}
        }
    }
    let last = history.dumps.first();
    let is_item = |number: u32| {
        history.names.get(number as usize).is_some_and(|name| name.starts_with(ITEMS))
    };
    let left = last.into_iter().flat_map(|dump| &dump.items);
    let left = left.filter(|item| item.key.family == Family::Foreign && is_item(item.key.number));
    let mut values: BTreeMap<Value, usize> = BTreeMap::new();
    left.for_each(|item| *values.entry(item.value).or_default() += 1);
    for (item, fate) in &mut fates {
        fate.left = values.remove(&Value::foreign(item.to_string().as_bytes())).unwrap_or(0);
    }
    let strangers: usize = values.values().sum();
    if strangers > 0 {
        findings.add("item-of-nobody", format!("{strangers} items are there that nobody pushed"));
    }
    for (item, fate) in &fates {
        fate.check(*item, last.is_some(), findings);
    }
    fates.values().map(|fate| fate.done).sum()
}

impl Fate {
    fn check(&self, item: u64, is_end_known: bool, findings: &mut Findings) {
        if !self.is_pushed && !self.is_perhaps_pushed {
            findings.add("item-of-nobody", format!("item {item} was taken, and nobody pushed it"));
        }
        if self.done > 1 || self.left > 1 || self.done > 0 && self.left > 0 {
            let (done, left) = (self.done, self.left);
            let sentence = format!("item {item} was done {done} times and is there {left} times");
            findings.add("item-twice", sentence);
        }
        let is_accounted_for = self.done + self.perhaps_done + self.left > 0;
        if is_end_known && self.is_pushed && !is_accounted_for {
            let sentence = format!("item {item} was taken {} times, and is gone", self.taken);
            findings.add("item-lost", sentence);
        }
    }
}
