//! `Idempotency-Key`: a client whose answer was lost asks again, at any node, and it counts once.
//!
//! What was answered is kept as a key of the store, written in the very transaction that does what
//! was asked: so it is there if and only if that was done, and it goes by itself after a day. It
//! stands under [`RECEIPT_PREFIX`], by a hash of who asked and the words of the header. While auth
//! is enabled the hash is sealed with the key of tokens: any user may write a receipt, and nobody
//! can tell what the receipt of another will be called.

use super::auth::turned;
use super::kv::{change, command, unexpected};
use super::leases;
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::coordination::Error;
use axum::body::Body;
use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use muslin_core::base::Revision;
use muslin_core::state::{
    self, Asker, Compare, CompareResult, CompareTarget, KeyValue, Op, OpKind, Put, RECEIPT_PREFIX,
    Txn,
};
use ring::digest::{Context, SHA256, digest};
use ring::hmac;

/// The header.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Says of an answer that it was given before.
const AGAIN: HeaderName = HeaderName::from_static("muslin-again");

/// Longest key: a UUID has 36.
const KEY_BYTES_MAX: usize = 255;

/// How long a receipt is kept: a day, as those do who take such keys for payments.
const KEPT_MS: u64 = 24 * 3_600 * 1_000;

/// Bytes of a hash that are kept: two never meet.
const HASH_BYTES: usize = 16;

/// What the seal of a receipt's name is for; a token begins with another byte.
const SEALED_FOR: &[u8] = b"receipt";

/// A receipt: what was asked, whether a comparison held, and a lease.
const RECEIPT_BYTES: usize = HASH_BYTES + 1 + 8;

/// What is to be done once.
pub(super) struct Once {
    /// Who asks, and the words of the header.
    name: Vec<u8>,
    asked: Context,
}

/// What was answered the first time.
pub(super) struct Told {
    pub(super) revision: Revision,
    /// Whether what was compared was so; of a deletion, whether there was something.
    pub(super) held: bool,
    /// Zero when there was none.
    pub(super) lease: u64,
}

/// What became of a write.
pub(super) enum Changed {
    /// It was done.
    Now(state::Response, Revision),
    /// It was done before.
    Before(Told),
}

impl Changed {
    /// For the answer.
    pub(super) fn headers(&self) -> Option<[(HeaderName, HeaderValue); 1]> {
        let is_again = matches!(self, Changed::Before(_));
        is_again.then(|| [(AGAIN, HeaderValue::from_static("1"))])
    }
}

impl Once {
    /// If the request has a key; what its body is comes later.
    pub(super) fn of(desk: &Desk, request: &Request<Body>) -> Result<Option<Once>, Problem> {
        let mut keys = request.headers().get_all(IDEMPOTENCY_KEY).iter();
        let Some(key) = keys.next() else { return Ok(None) };
        if keys.next().is_some() || key.is_empty() || key.len() > KEY_BYTES_MAX {
            let detail = format!("Idempotency-Key takes one key of 1 to {KEY_BYTES_MAX} bytes");
            return Err(Problem::bad_request(detail));
        }
        let who = match desk.handle.asker() {
            Asker::User(by) => by.user.clone(),
            Asker::Cluster | Asker::Nobody => String::new(),
        };
        // Its length says where the name of a user ends.
        let length = (who.len() as u64).to_le_bytes();
        let name = [&length[..], who.as_bytes(), key.as_bytes()].concat();
        let mut asked = Context::new(&SHA256);
        asked.update(request.method().as_str().as_bytes());
        let uri = request.uri().path_and_query().map_or("/", |uri| uri.as_str());
        asked.update(&(uri.len() as u64).to_le_bytes());
        asked.update(uri.as_bytes());
        Ok(Some(Once { name, asked }))
    }

    /// The key of its receipt.
    async fn receipt(&self, desk: &Desk) -> Result<Bytes, Problem> {
        let key = desk.doorman.receipt_key(desk.handle.asker()).await.map_err(turned)?;
        Ok(receipt_of(&self.name, key.as_deref()))
    }

    fn hash(&self, body: &[u8]) -> [u8; HASH_BYTES] {
        let mut asked = self.asked.clone();
        asked.update(body);
        asked.finish().as_ref()[..HASH_BYTES].try_into().expect("a hash is longer")
    }

    /// What writes the receipt.
    fn put(
        &self,
        (desk, key): (&Desk, &Bytes),
        hash: [u8; HASH_BYTES],
        held: bool,
        lease: u64,
    ) -> Result<Op, Problem> {
        let value = [&hash[..], &[u8::from(held)], &lease.to_le_bytes()].concat().into();
        let lease = leases::drawn(desk)?.0;
        let put = Put { key: key.clone(), value, lease, ttl_ms: KEPT_MS, ..Put::default() };
        Ok(Op { kind: Some(OpKind::Put(put)) })
    }

    /// The write with its receipt, in one transaction.
    fn wrapped(
        &self,
        place: (&Desk, &Bytes),
        body: &[u8],
        write: OpKind,
    ) -> Result<Vec<Op>, Problem> {
        let hash = self.hash(body);
        let receipt = |held, lease| self.put(place, hash, held, lease);
        let op = |kind| Op { kind: Some(kind) };
        Ok(match write {
            OpKind::Put(put) => {
                let lease = put.lease;
                vec![op(OpKind::Put(put)), receipt(true, lease)?]
            }
            OpKind::Delete(delete) => {
                let there = Compare {
                    range: delete.range.clone(),
                    result: CompareResult::Greater as i32,
                    target: Some(CompareTarget::Create(0)),
                };
                let success = vec![op(OpKind::Delete(delete)), receipt(true, 0)?];
                let failure = vec![receipt(false, 0)?];
                vec![op(OpKind::Txn(Txn { compares: vec![there], success, failure }))]
            }
            OpKind::Txn(mut txn) => {
                let lease = txn.success.iter().find_map(|op| match &op.kind {
                    Some(OpKind::Put(put)) => Some(put.lease),
                    _ => None,
                });
                txn.success.push(receipt(true, lease.unwrap_or_default())?);
                // What did nothing may be tried again.
                if !txn.failure.iter().all(|op| matches!(op.kind, Some(OpKind::Range(_)))) {
                    txn.failure.push(receipt(false, 0)?);
                }
                vec![op(OpKind::Txn(txn))]
            }
            OpKind::Range(range) => vec![op(OpKind::Range(range))],
        })
    }

    fn told(&self, body: &[u8], kv: &KeyValue) -> Result<Told, Problem> {
        let value: &[u8; RECEIPT_BYTES] = kv.value[..].try_into().map_err(|_| unexpected())?;
        if value[..HASH_BYTES] != self.hash(body) {
            let detail = "this Idempotency-Key was used for another request; nothing happened";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "key-reused", detail)
                .hint("use another key for another request"));
        }
        let lease = value[HASH_BYTES + 1..].try_into().expect("eight bytes are left");
        Ok(Told {
            revision: Revision(kv.mod_revision),
            held: value[HASH_BYTES] == 1,
            lease: u64::from_le_bytes(lease),
        })
    }
}

fn receipt_of(name: &[u8], key: Option<&[u8]>) -> Bytes {
    let hash: [u8; HASH_BYTES] = match key {
        None => digest(&SHA256, name).as_ref()[..HASH_BYTES].try_into(),
        Some(key) => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key);
            hmac::sign(&key, &[SEALED_FOR, name].concat()).as_ref()[..HASH_BYTES].try_into()
        }
    }
    .expect("a hash is longer");
    let name = hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    [RECEIPT_PREFIX, name.as_bytes()].concat().into()
}

/// Carries a write out: if a fence is demanded, only while that holds; if it has a key, once. The
/// body is what the client sent.
pub(super) async fn change_once(
    desk: &Desk,
    once: Option<(Once, Bytes)>,
    demanded: Option<Vec<Compare>>,
    write: OpKind,
) -> Result<Changed, Problem> {
    let Some((once, body)) = once else {
        let (response, revision) = super::kv::change_fenced(desk, demanded, write).await?;
        return Ok(Changed::Now(response, revision));
    };
    let is_txn = matches!(write, OpKind::Txn(_));
    let is_delete = matches!(write, OpKind::Delete(_));
    let receipt = once.receipt(desk).await?;
    let write = once.wrapped((desk, &receipt), &body, write)?;
    let txn = state::once(&receipt, demanded.unwrap_or_default(), write);
    let (response, revision) = change(desk, command(OpKind::Txn(txn))).await?;
    let state::Response::Txn { succeeded, responses } = response else { return Err(unexpected()) };
    let first = responses.into_iter().next().ok_or_else(unexpected)?;
    match first {
        state::Response::Range { kvs, .. } if !succeeded => match kvs.first() {
            Some(kv) => Ok(Changed::Before(once.told(&body, kv)?)),
            // So it was the fence.
            None => Err(Problem::of_coordination(&Error::Fenced, true)),
        },
        state::Response::Txn { succeeded, mut responses } if is_txn => {
            // The receipt's, which nobody asked for, is the last.
            let is_receipt = matches!(responses.last(), Some(state::Response::Put { .. }));
            responses.truncate(responses.len() - usize::from(is_receipt));
            Ok(Changed::Now(state::Response::Txn { succeeded, responses }, revision))
        }
        // There was nothing to delete, and no condition that this would break.
        state::Response::Txn { succeeded: false, .. } if is_delete => {
            Ok(Changed::Now(state::Response::Delete { deleted: 0, prev: Vec::new() }, revision))
        }
        first => Ok(Changed::Now(first, revision)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_the_key_of_tokens_can_name_the_receipt_of_a_user() {
        let sealed = receipt_of(b"ann order-17", Some(&[1; 32]));
        assert_eq!(sealed, receipt_of(b"ann order-17", Some(&[1; 32])));
        for other in [
            receipt_of(b"ann order-17", None),
            receipt_of(b"ann order-17", Some(&[2; 32])),
            receipt_of(b"bob order-17", Some(&[1; 32])),
        ] {
            assert_ne!(sealed, other);
        }
        assert!(sealed.starts_with(RECEIPT_PREFIX));
    }
}
