//! Values in a row.

use super::counter::unchanged;
use super::once::{Deed, Once, Tried};
use super::space::{Kind, Page, Pair, Space, made_by, removed, set};
use crate::coordination::Error;
use crate::driver::Handle;
use bytes::Bytes;
use muslin_core::base::Revision;
use muslin_core::state::Txn;

/// Everything in a list stands below this.
const ITEMS: &[u8] = b"i/";

/// Highest index that is looked for: whoever wants more reads pages.
pub(in crate::coordination) const INDEX_MAX: u64 = 100_000;

/// A list that all share. What is pushed after another push was answered stands behind that;
/// pushes at the same moment stand in either order. The key of a [`Pair`] is its place, which it
/// keeps.
#[derive(Clone)]
pub struct List {
    space: Space,
}

impl List {
    /// The list of this name; it is empty until somebody puts something in.
    pub fn new(handle: &Handle, name: &[u8]) -> List {
        List { space: Space::new(handle, Kind::List, name) }
    }

    /// Puts a value at the end; its place.
    pub async fn push(&self, value: impl Into<Bytes>, once: Option<&Once>) -> Result<Bytes, Error> {
        let value = value.into();
        let deed = Deed::of(once, "push", &[&value]);
        let place = self.space.place().await?;
        let key = self.key(&place);
        let txn = Txn {
            compares: vec![made_by(key.clone(), Revision::ZERO)],
            success: vec![set(key, value)],
            failure: Vec::new(),
        };
        match self.space.try_once(deed.as_ref(), txn, place.clone()).await? {
            Tried::Done => Ok(place),
            Tried::Before(place) => Ok(place),
            Tried::Not(_) => Err(Error::Differs),
        }
    }

    /// What stands there, counted from 0.
    pub async fn get(&self, index: u64) -> Result<Option<Pair>, Error> {
        if index > INDEX_MAX {
            return Err(Error::OutOfRange);
        }
        let page = self.page(None, index + 1).await?;
        Ok(page.items.into_iter().nth(index as usize))
    }

    /// Puts a value in the place of what stands there; [`Error::NotThere`] if nothing does.
    pub async fn set(&self, index: u64, value: impl Into<Bytes>) -> Result<Pair, Error> {
        let value = value.into();
        loop {
            let found = self.get(index).await?.ok_or(Error::NotThere)?;
            let key = self.key(&found.key);
            let txn = Txn {
                compares: vec![made_by(key.clone(), found.create_revision)],
                success: vec![set(key, value.clone())],
                failure: Vec::new(),
            };
            if self.space.txn(txn).await?.succeeded {
                return Ok(found);
            }
        }
    }

    /// Takes out what stands there: [`Error::NotThere`] if nothing does; what it was.
    pub async fn remove(&self, index: u64, once: Option<&Once>) -> Result<Bytes, Error> {
        let deed = Deed::of(once, "remove", &[&index.to_le_bytes()]);
        if let Some(result) = self.space.result_of(deed.as_ref()).await? {
            return Ok(result);
        }
        loop {
            let found = self.get(index).await?.ok_or(Error::NotThere)?;
            let key = self.key(&found.key);
            let kv = self.space.one(key.clone()).await?;
            let Some(kv) = kv else { continue };
            let value = Bytes::from(&kv.value);
            let txn = Txn {
                compares: vec![unchanged(key.clone(), Some(&kv))],
                success: vec![removed(key)],
                failure: Vec::new(),
            };
            match self.space.try_once(deed.as_ref(), txn, value.clone()).await? {
                Tried::Done => return Ok(value),
                Tried::Before(value) => return Ok(value),
                Tried::Not(_) => {}
            }
        }
    }

    /// How many there are.
    pub async fn len(&self) -> Result<u64, Error> {
        self.space.count(self.space.below(ITEMS)).await
    }

    /// Whether there is none.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }

    /// At most so many, behind a place.
    pub async fn page(&self, after: Option<&[u8]>, limit: u64) -> Result<Page, Error> {
        self.space.page(ITEMS, after, limit).await
    }

    /// All values of one moment.
    pub async fn all(&self) -> Result<Vec<Bytes>, Error> {
        let page = self.page(None, 0).await?;
        Ok(page.items.into_iter().map(|pair| pair.value).collect())
    }

    /// Takes everything out; how many there were.
    pub async fn clear(&self) -> Result<u64, Error> {
        self.space.clear().await
    }

    fn key(&self, place: &[u8]) -> Bytes {
        self.space.key(&[ITEMS, place].concat())
    }
}
