//! What is read while commands are applied.

use super::auth::Auth;
use super::kv::Kv;
use super::lease::Leases;
use super::txn::Chosen;
use super::{Asker, Compacted, History, KeyRange, Outcome, Query, Refusal, Response, State, Txn};
use crate::base::{LeaseId, Revision};
use alloc::sync::Arc;
use bytes::Bytes;

/// Keys, their history and the leases as they were at one moment.
///
/// Taking one costs next to nothing, and so does keeping it: it shares with the state what has not
/// changed since. It can be asked anywhere, by any number of readers, and answers as the state
/// would have at that moment.
#[derive(Clone, Debug)]
pub struct View {
    kv: Kv,
    leases: Leases,
    /// Who might ask what.
    pub(super) auth: Arc<Auth>,
    is_corrupt: bool,
}

impl State {
    /// The keys, their history and the leases as they are at this moment.
    pub fn view(&self) -> View {
        View {
            kv: self.kv.clone(),
            leases: self.leases.clone(),
            auth: self.auth.clone(),
            is_corrupt: self.is_corrupt(),
        }
    }

    /// Answers what is asked of keys and leases; `None` if the question is about something else.
    pub(super) fn query_kept(&self, query: &Query) -> Option<Outcome> {
        answer((&self.kv, self.is_corrupt()), &self.leases, query)
    }
}

impl View {
    /// Answers a question of the cluster's own about keys and leases; `None` if it is about
    /// something else.
    pub fn query(&self, query: &Query) -> Option<Outcome> {
        self.query_by(&Asker::Cluster, query)
    }

    /// As [`View::query`], somebody's question, if they may be answered.
    pub fn query_by(&self, asker: &Asker, query: &Query) -> Option<Outcome> {
        if !is_answered(query) {
            return None;
        }
        // Whoever may not have the answer costs nothing but that.
        match self.auth.check_query(asker, query, (&self.kv, &self.leases)) {
            Ok(()) => answer((&self.kv, self.is_corrupt), &self.leases, query),
            Err(refusal) => Some(Outcome { revision: self.kv.revision, result: Err(refusal) }),
        }
    }

    /// How many keys or leases are looked at for an answer, at most. To tell costs next to nothing.
    pub fn looks_at(&self, query: &Query) -> usize {
        match query {
            Query::Range(range) => range.looks_at(&self.kv),
            Query::Txn(txn) => txn.looks_at(&self.kv),
            Query::Leases => self.leases.table.counts().all,
            Query::Lease(id) => {
                let found = self.leases.table.get(&LeaseId(*id));
                found.map_or(0, |(_, lease)| lease.keys().len())
            }
            _ => 0,
        }
    }

    /// As [`State::events_since`].
    pub fn events_since(
        &self,
        start: Revision,
        range: &KeyRange,
        limit: usize,
    ) -> Result<History, Compacted> {
        self.kv.events_since(start, range, limit)
    }

    /// The revision it is of.
    pub fn revision(&self) -> Revision {
        self.kv.revision
    }

    /// The earliest revision that can be read; zero when nothing was ever compacted.
    pub fn compacted(&self) -> Revision {
        self.kv.compacted
    }
}

/// Whether a question is about keys and leases.
fn is_answered(query: &Query) -> bool {
    matches!(
        query,
        Query::Range(_) | Query::Txn(_) | Query::Leases | Query::Lease(_) | Query::Revision
    )
}

fn answer((kv, is_corrupt): (&Kv, bool), leases: &Leases, query: &Query) -> Option<Outcome> {
    let result = match query {
        Query::Range(_) | Query::Txn(_) if is_corrupt => Err(Refusal::Corrupt),
        Query::Range(range) => {
            range.check_form().and_then(|()| kv.check_range(range)).map(|()| kv.range(range))
        }
        Query::Txn(txn) => read_txn(kv, leases, txn),
        Query::Leases => {
            let listed = leases.table.iter().filter(|(_, lease)| !lease.is_of_put);
            Ok(Response::Leases { ids: listed.map(|(id, _)| id.0).collect() })
        }
        Query::Lease(id) => read_lease(leases, LeaseId(*id)),
        Query::Revision => Ok(Response::Done),
        _ => return None,
    };
    Some(Outcome { revision: kv.revision, result })
}

fn read_txn(kv: &Kv, leases: &Leases, txn: &Txn) -> Result<Response, Refusal> {
    // Asking with writes is a bug of the asker; there is no answer to it.
    if !txn.is_read_only() {
        return Err(Refusal::Unknown);
    }
    txn.check_form()?;
    txn.check_cost(kv)?;
    let chosen = Chosen::of(txn, kv);
    chosen.check(kv, leases)?;
    Ok(chosen.read(kv))
}

fn read_lease(leases: &Leases, id: LeaseId) -> Result<Response, Refusal> {
    let (_, lease) = leases.table.get(&id).ok_or(Refusal::LeaseNotFound)?;
    Ok(Response::Lease { ttl_ms: lease.ttl_ms, keys: lease.keys().map(Bytes::from).collect() })
}
