//! K4: a lock has one holder after the other, whose fences grow, and no write that shows a fence
//! lands after one that shows a newer.

use super::Broken;
use muslin_core::base::NodeId;
use muslin_core::state::{KvEvent, KvEventKind};

/// What holders of the lock write to. A value begins with the fence it was written under.
pub(crate) const GUARDED: &str = "guarded";

/// One lock, as its clients and what they guard by it have seen it.
#[derive(Default)]
pub(crate) struct Locks {
    /// The newest fence whose holder was told that it is first, and who that is.
    holder: (u64, usize),
    /// The newest fence that was written under.
    written: u64,
}

impl Locks {
    /// A client is about to ask whether it is first: whoever is told so is not before this fence.
    pub(crate) fn floor(&self) -> u64 {
        self.holder.0
    }

    /// A client was told that it is first, to a question asked when `floor` was the newest fence.
    pub(crate) fn on_first(
        &mut self,
        node: NodeId,
        (client, fence): (usize, u64),
        floor: u64,
    ) -> Result<(), Broken> {
        if fence < floor {
            let facts = format!(
                "{node:?} says to client {client} that it holds the lock by fence {fence}; before \
                 it asked, fence {floor} held it"
            );
            return Err(Broken::new("K4", facts));
        }
        let (newest, by) = self.holder;
        if fence == newest && client != by {
            let facts = format!("clients {by} and {client} hold the lock by one fence, {fence}");
            return Err(Broken::new("K4", facts));
        }
        self.holder = self.holder.max((fence, client));
        Ok(())
    }

    /// A change was committed.
    pub(crate) fn on_event(&mut self, event: &KvEvent) -> Result<(), Broken> {
        if event.kind != KvEventKind::Put || event.kv.key[..] != *GUARDED.as_bytes() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&event.kv.value);
        let fence = words.split(' ').next().and_then(|fence| fence.parse().ok()).unwrap_or(0);
        if fence < self.written {
            let facts =
                format!("{words:?} is written under fence {fence}, after {} wrote", self.written);
            return Err(Broken::new("K4", facts));
        }
        self.written = fence;
        Ok(())
    }
}
