//! Clients with one call at a time, on keys that all of them share.

use super::call::{Caller, connect};
use super::{Draw, Recorder};
use crate::history::{Action, Consistency, Family, Key, Outcome};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// Keys that are put, deleted, swapped and read: few, so that clients meet.
const REGISTERS: u32 = 12;

/// Keys written by one transaction.
const GROUP: u32 = 6;

/// Between two calls of one worker.
const PAUSE: Duration = Duration::from_millis(8);

/// How often history is compacted, and how far it reaches back then, in turns of one worker.
const COMPACT_EVERY: u32 = 1_500;

/// Works on a node until told to stop. `number` tells workers apart.
pub(super) async fn run(
    node: u8,
    number: u64,
    recorder: Arc<Recorder>,
    stop: watch::Receiver<bool>,
) {
    let mut worker = Worker {
        node,
        draw: Draw::seeded(number),
        caller: Caller::new(connect(), recorder.clone()),
        recorder,
        seen: BTreeMap::new(),
    };
    let mut old = 0;
    for turn in 1_u32.. {
        if *stop.borrow() {
            break;
        }
        worker.turn().await;
        if turn % COMPACT_EVERY == 0 {
            if old > 0 {
                worker.caller.compact(old).await;
            }
            old = worker.recorder.newest();
        }
        sleep(PAUSE).await;
    }
}

struct Worker {
    node: u8,
    draw: Draw,
    caller: Caller,
    recorder: Arc<Recorder>,
    /// When each key was changed last, as far as this worker was told.
    seen: BTreeMap<Key, u64>,
}

impl Worker {
    async fn turn(&mut self) {
        let action = self.choose();
        let outcome = self.caller.perform(self.node, action.clone()).await;
        match (&action, outcome) {
            (_, Outcome::Read(_, items)) => {
                if let Action::Get(key, _) | Action::Swap((key, _), _) = action {
                    self.seen.insert(key, items.first().map_or(0, |item| item.mod_revision));
                }
            }
            (Action::Put((key, _)) | Action::Swap((key, _), _), Outcome::Written(revision)) => {
                self.seen.insert(*key, revision);
            }
            (Action::Delete(key), Outcome::Deleted(..)) => {
                self.seen.insert(*key, 0);
            }
            _ => {}
        }
    }

    fn choose(&mut self) -> Action {
        let key = Key::new(Family::Register, self.draw.below(u64::from(REGISTERS)) as u32);
        let family = self.draw.one_of(&[Family::Group, Family::Register]);
        match self.draw.below(100) {
            0..25 => Action::Put((key, self.recorder.fresh_value())),
            25..33 => Action::Delete(key),
            33..58 => Action::Get(key, Consistency::Linearizable),
            58..66 => Action::Get(key, Consistency::Local),
            66..80 => {
                let expected = self.seen.get(&key).copied().unwrap_or(0);
                Action::Swap((key, self.recorder.fresh_value()), expected)
            }
            80..88 => {
                let write = |number| (Key::new(Family::Group, number), self.recorder.fresh_value());
                Action::Multi((0..GROUP).map(write).collect())
            }
            88..97 => Action::List(family, Consistency::Linearizable),
            _ => Action::List(family, Consistency::Local),
        }
    }
}
