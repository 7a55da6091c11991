//! Keys with several values each.

use super::space::{Kind, Page, Space, escaped, made_by, set, unescaped};
use crate::coordination::Error;
use crate::driver::Handle;
use bytes::Bytes;
use muslin_core::base::Revision;
use muslin_core::state::{KeyRange, Txn};

/// A map in which a key has a set of values, all in order.
#[derive(Clone)]
pub struct MultiMap {
    space: Space,
}

impl MultiMap {
    /// The multimap of this name; it is empty until somebody puts something in.
    pub fn new(handle: &Handle, name: &[u8]) -> MultiMap {
        MultiMap { space: Space::new(handle, Kind::MultiMap, name) }
    }

    /// Gives a key one more value; whether it had it not.
    pub async fn put(&self, key: &[u8], value: &[u8]) -> Result<bool, Error> {
        let key = self.place(key, value);
        let txn = Txn {
            compares: vec![made_by(key.clone(), Revision::ZERO)],
            success: vec![set(key, Bytes::new())],
            failure: Vec::new(),
        };
        Ok(self.space.txn(txn).await?.succeeded)
    }

    /// The values of a key.
    pub async fn get(&self, key: &[u8]) -> Result<Vec<Bytes>, Error> {
        let page = self.space.page(&part(key), None, 0).await?;
        Ok(page.items.into_iter().map(|pair| pair.key).collect())
    }

    /// Takes a value of a key out; whether it had it.
    pub async fn remove(&self, key: &[u8], value: &[u8]) -> Result<bool, Error> {
        let range = KeyRange::of_key(self.place(key, value));
        Ok(self.space.delete(range, false).await?.0 > 0)
    }

    /// Takes a key out, with all its values; how many it had.
    pub async fn remove_all(&self, key: &[u8]) -> Result<u64, Error> {
        Ok(self.space.delete(self.space.below(&part(key)), false).await?.0)
    }

    /// How many values all keys have.
    pub async fn len(&self) -> Result<u64, Error> {
        self.space.count(self.space.below(b"")).await
    }

    /// Whether there is none.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }

    /// At most so many pairs of a key and a value, behind one of them.
    pub async fn page(&self, after: Option<(&[u8], &[u8])>, limit: u64) -> Result<Page, Error> {
        let after = after.map(|(key, value)| [&part(key), value].concat());
        let mut page = self.space.page(b"", after.as_deref(), limit).await?;
        for pair in &mut page.items {
            let slash = pair.key.iter().position(|byte| *byte == b'/').unwrap_or(pair.key.len());
            pair.value = pair.key.slice((slash + 1).min(pair.key.len())..);
            pair.key = unescaped(&pair.key[..slash]).into();
        }
        Ok(page)
    }

    /// All pairs of one moment.
    pub async fn all(&self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let page = self.page(None, 0).await?;
        Ok(page.items.into_iter().map(|pair| (pair.key, pair.value)).collect())
    }

    /// Takes everything out; how many values there were.
    pub async fn clear(&self) -> Result<u64, Error> {
        self.space.clear().await
    }

    fn place(&self, key: &[u8], value: &[u8]) -> Bytes {
        self.space.key(&[&part(key), value].concat())
    }
}

/// A key, and the slash in front of its values.
fn part(key: &[u8]) -> Vec<u8> {
    let mut part = escaped(key);
    part.push(b'/');
    part
}
