//! Keys and values.

use super::counter::unchanged;
use super::space::{Kind, Page, Pair, Space, get, made_by, pairs_at, set};
use crate::coordination::Error;
use crate::driver::Handle;
use bytes::Bytes;
use muslin_core::base::Revision;
use muslin_core::state::{KeyRange, Txn};

/// A map that all share, in the order of its keys.
#[derive(Clone)]
pub struct Map {
    space: Space,
}

impl Map {
    /// The map of this name; it is empty until somebody puts something in.
    pub fn new(handle: &Handle, name: &[u8]) -> Map {
        Map { space: Space::new(handle, Kind::Map, name) }
    }

    /// The value of a key.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.space.one(self.space.key(key)).await?.map(|kv| Bytes::from(&kv.value)))
    }

    /// Sets the value of a key; what it was.
    pub async fn put(&self, key: &[u8], value: impl Into<Bytes>) -> Result<Option<Bytes>, Error> {
        let before = self.space.put(self.space.key(key), value.into()).await?;
        Ok(before.map(|kv| Bytes::from(&kv.value)))
    }

    /// Sets the value of a key that is not there; otherwise the value that it has.
    pub async fn put_if_absent(
        &self,
        key: &[u8],
        value: impl Into<Bytes>,
    ) -> Result<Option<Bytes>, Error> {
        let key = self.space.key(key);
        let done = self
            .space
            .txn(Txn {
                compares: vec![made_by(key.clone(), Revision::ZERO)],
                success: vec![set(key.clone(), value.into())],
                failure: vec![get(key)],
            })
            .await?;
        match done.succeeded {
            true => Ok(None),
            false => Ok(pairs_at(&done.responses, 0)?.first().map(|kv| Bytes::from(&kv.value))),
        }
    }

    /// Sets the value of a key that has a certain value; whether it had it.
    pub async fn replace(
        &self,
        key: &[u8],
        expected: &[u8],
        value: impl Into<Bytes>,
    ) -> Result<bool, Error> {
        let key = self.space.key(key);
        let Some(found) = self.space.one(key.clone()).await? else { return Ok(false) };
        if found.value[..] != *expected {
            return Ok(false);
        }
        // Whoever changed it since has put something else there at that moment.
        let txn = Txn {
            compares: vec![unchanged(key.clone(), Some(&found))],
            success: vec![set(key, value.into())],
            failure: Vec::new(),
        };
        Ok(self.space.txn(txn).await?.succeeded)
    }

    /// Takes a key out; what its value was.
    pub async fn remove(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let range = KeyRange::of_key(self.space.key(key));
        Ok(self.space.delete(range, true).await?.1.map(|kv| Bytes::from(&kv.value)))
    }

    /// How many keys there are.
    pub async fn len(&self) -> Result<u64, Error> {
        self.space.count(self.space.below(b"")).await
    }

    /// Whether there is none.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }

    /// At most so many pairs, behind a key.
    pub async fn page(&self, after: Option<&[u8]>, limit: u64) -> Result<Page, Error> {
        self.space.page(b"", after, limit).await
    }

    /// All pairs of one moment.
    pub async fn all(&self) -> Result<Vec<Pair>, Error> {
        Ok(self.page(None, 0).await?.items)
    }

    /// Takes everything out; how many keys there were.
    pub async fn clear(&self) -> Result<u64, Error> {
        self.space.clear().await
    }
}
