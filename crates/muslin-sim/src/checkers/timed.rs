//! K3 of keys with a time to live: none is gone before its time. That each goes is seen when the
//! cluster comes to rest, which it does when no lease lives.

use super::Broken;
use crate::time::Time;
use bytes::Bytes;
use muslin_core::base::NodeId;
use muslin_core::state::{KvEvent, KvEventKind};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Copy)]
struct Life {
    /// Whoever put it was told that it lives at least until here.
    promised: Time,
    /// When its end in time was committed.
    gone: Option<Time>,
}

/// Keys with a time to live, by the values they were put with, of which each is put once.
pub(crate) struct Timed {
    /// How fast the fastest clock is, in parts per million.
    drift_ppm: u64,
    lives: BTreeMap<Bytes, Life>,
}

impl Timed {
    pub(crate) fn new(drift_ppm: u64) -> Timed {
        Timed { drift_ppm, lives: BTreeMap::new() }
    }

    /// A client is about to put this value for a while.
    pub(crate) fn on_asked(&mut self, value: &Bytes) {
        self.lives.insert(value.clone(), Life { promised: Time::START, gone: None });
    }

    /// Its put was done.
    pub(crate) fn on_put(
        &mut self,
        node: NodeId,
        value: &Bytes,
        (asked, ttl): (Time, Duration),
    ) -> Result<(), Broken> {
        let Some(life) = self.lives.get_mut(value) else { return Ok(()) };
        // On the fastest clock that much passes sooner.
        life.promised = asked + ttl * 1_000_000 / (1_000_000 + self.drift_ppm as u32);
        let Life { promised, gone } = *life;
        match gone {
            Some(gone) if gone < promised => {
                let facts = format!(
                    "{node:?} says to a put of {asked} that {value:?} lives for {ttl:?}; it was \
                     gone at {gone}"
                );
                Err(Broken::new("K3", facts))
            }
            _ => Ok(()),
        }
    }

    /// A change was committed.
    pub(crate) fn on_event(&mut self, at: Time, event: &KvEvent) -> Result<(), Broken> {
        let ended = event.prev.as_ref().filter(|_| event.kind == KvEventKind::Expired);
        let Some(ended) = ended else { return Ok(()) };
        let Some(life) = self.lives.get_mut(&ended.value[..]) else { return Ok(()) };
        life.gone = Some(at);
        if at < life.promised {
            let facts = format!(
                "{:?} goes at {at}; whoever put it was told that it lives until {}",
                ended.value, life.promised
            );
            return Err(Broken::new("K3", facts));
        }
        Ok(())
    }
}
