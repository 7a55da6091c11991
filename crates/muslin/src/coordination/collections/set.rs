//! Elements.

use super::space::{Kind, Page, Space, made_by, set};
use crate::coordination::Error;
use crate::driver::Handle;
use bytes::Bytes;
use muslin_core::base::Revision;
use muslin_core::state::{KeyRange, Txn};

/// A set that all share, in the order of its elements.
#[derive(Clone)]
pub struct Set {
    space: Space,
}

impl Set {
    /// The set of this name; it is empty until somebody puts something in.
    pub fn new(handle: &Handle, name: &[u8]) -> Set {
        Set { space: Space::new(handle, Kind::Set, name) }
    }

    /// Puts an element in; whether it was not there.
    pub async fn add(&self, element: &[u8]) -> Result<bool, Error> {
        let key = self.space.key(element);
        let txn = Txn {
            compares: vec![made_by(key.clone(), Revision::ZERO)],
            success: vec![set(key, Bytes::new())],
            failure: Vec::new(),
        };
        Ok(self.space.txn(txn).await?.succeeded)
    }

    /// Takes an element out; whether it was there.
    pub async fn remove(&self, element: &[u8]) -> Result<bool, Error> {
        let range = KeyRange::of_key(self.space.key(element));
        Ok(self.space.delete(range, false).await?.0 > 0)
    }

    /// Whether it is there.
    pub async fn contains(&self, element: &[u8]) -> Result<bool, Error> {
        Ok(self.space.one(self.space.key(element)).await?.is_some())
    }

    /// How many there are.
    pub async fn len(&self) -> Result<u64, Error> {
        self.space.count(self.space.below(b"")).await
    }

    /// Whether there is none.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }

    /// At most so many, behind one: the keys of the pairs.
    pub async fn page(&self, after: Option<&[u8]>, limit: u64) -> Result<Page, Error> {
        self.space.page(b"", after, limit).await
    }

    /// All elements of one moment.
    pub async fn all(&self) -> Result<Vec<Bytes>, Error> {
        let page = self.page(None, 0).await?;
        Ok(page.items.into_iter().map(|pair| pair.key).collect())
    }

    /// Takes everything out; how many there were.
    pub async fn clear(&self) -> Result<u64, Error> {
        self.space.clear().await
    }
}
