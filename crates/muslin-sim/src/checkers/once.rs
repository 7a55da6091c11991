//! K1 of requests with a key: asked for again and again, at any node, they are done once, and
//! answered as the first time.

use super::Broken;
use bytes::Bytes;
use muslin_core::base::NodeId;
use muslin_core::state::{KeyValue, KvEvent, KvEventKind, Response};
use std::collections::BTreeMap;

/// Values that are each to be written once, and the revisions that did.
#[derive(Default)]
pub(crate) struct Once {
    written: BTreeMap<Bytes, Option<u64>>,
}

impl Once {
    /// A client begins to ask for this value to be written.
    pub(crate) fn on_begun(&mut self, value: &Bytes) {
        self.written.insert(value.clone(), None);
    }

    /// A change was committed.
    pub(crate) fn on_event(&mut self, event: &KvEvent) -> Result<(), Broken> {
        if event.kind != KvEventKind::Put {
            return Ok(());
        }
        let Some(written) = self.written.get_mut(&event.kv.value[..]) else { return Ok(()) };
        let revision = event.kv.mod_revision;
        if let Some(first) = written.replace(revision) {
            let facts = format!(
                "{:?} was asked for under one key, and is written at {first} and at {revision}",
                event.kv.value
            );
            return Err(Broken::new("K1", facts));
        }
        Ok(())
    }

    /// A client was answered: it was done now, or before, when the receipt was written.
    pub(crate) fn on_answer(
        &self,
        node: NodeId,
        value: &Bytes,
        (is_now, found): (bool, Option<&Response>),
    ) -> Result<(), Broken> {
        let written = self.written.get(value).copied().flatten();
        let receipt: Option<&KeyValue> = match found {
            Some(Response::Range { kvs, .. }) if !is_now => kvs.first(),
            _ => None,
        };
        let is_so = match (is_now, receipt) {
            (true, _) => written.is_some(),
            (false, Some(receipt)) => written == Some(receipt.mod_revision),
            (false, None) => false,
        };
        if is_so {
            return Ok(());
        }
        let facts = format!(
            "{node:?} says of {value:?} that it was done now: {is_now}, or before: {receipt:?}; \
             it was written at {written:?}"
        );
        Err(Broken::new("K1", facts))
    }
}
