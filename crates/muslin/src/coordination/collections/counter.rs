//! A number.

use super::once::{Deed, Once, Tried};
use super::space::{Kind, Space, get, pairs_at, set};
use crate::coordination::Error;
use crate::driver::Handle;
use bytes::Bytes;
use muslin_core::state::{Compare, CompareResult, CompareTarget, KeyRange, KeyValue, Txn};

/// A number that all count on.
#[derive(Clone)]
pub struct Counter {
    space: Space,
}

impl Counter {
    /// The counter of this name; it is 0 until somebody counts.
    pub fn new(handle: &Handle, name: &[u8]) -> Counter {
        Counter { space: Space::new(handle, Kind::Counter, name) }
    }

    /// What it is.
    pub async fn value(&self) -> Result<i64, Error> {
        Ok(number(self.space.one(self.key()).await?.as_ref()))
    }

    /// Adds, and answers what came of it: [`Error::OutOfRange`] if no number of 64 bits holds it.
    pub async fn add(&self, by: i64, once: Option<&Once>) -> Result<i64, Error> {
        let deed = Deed::of(once, "add", &[&by.to_le_bytes()]);
        self.change(deed, |number| number.checked_add(by).ok_or(Error::OutOfRange)).await
    }

    /// Sets it, whatever it was; what it was.
    pub async fn set(&self, to: i64) -> Result<i64, Error> {
        let before = self.space.put(self.key(), to.to_string().into()).await?;
        Ok(number(before.as_ref()))
    }

    /// Sets it if it is what is expected; whether it was.
    pub async fn set_if(&self, expected: i64, to: i64, once: Option<&Once>) -> Result<bool, Error> {
        let deed = Deed::of(once, "set", &[&expected.to_le_bytes(), &to.to_le_bytes()]);
        let swap = |number| if number == expected { Ok(to) } else { Err(Error::Differs) };
        match self.change(deed, swap).await {
            Ok(_) => Ok(true),
            Err(Error::Differs) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Takes it away: it is 0 then.
    pub async fn remove(&self) -> Result<bool, Error> {
        Ok(self.space.clear().await? > 0)
    }

    fn key(&self) -> Bytes {
        self.space.key(b"")
    }

    async fn change(
        &self,
        deed: Option<Deed<'_>>,
        change: impl Fn(i64) -> Result<i64, Error>,
    ) -> Result<i64, Error> {
        if let Some(result) = self.space.result_of(deed.as_ref()).await? {
            return parsed(&result);
        }
        let mut found = self.space.one(self.key()).await?;
        loop {
            let after = change(number(found.as_ref()))?;
            let value = Bytes::from(after.to_string());
            let txn = Txn {
                compares: vec![unchanged(self.key(), found.as_ref())],
                success: vec![set(self.key(), value.clone())],
                failure: vec![get(self.key())],
            };
            match self.space.try_once(deed.as_ref(), txn, value).await? {
                Tried::Done => return Ok(after),
                Tried::Before(result) => return parsed(&result),
                Tried::Not(done) => found = pairs_at(&done.responses, 0)?.first().cloned(),
            }
        }
    }
}

/// Holds while a key is as it was found.
pub(super) fn unchanged(key: Bytes, found: Option<&KeyValue>) -> Compare {
    Compare {
        range: KeyRange::of_key(key),
        result: CompareResult::Equal as i32,
        target: Some(CompareTarget::Mod(found.map_or(0, |kv| kv.mod_revision))),
    }
}

fn number(kv: Option<&KeyValue>) -> i64 {
    // Whoever writes something else below the hidden prefix has a counter that begins anew.
    kv.and_then(|kv| parsed(&Bytes::from(&kv.value)).ok()).unwrap_or(0)
}

fn parsed(text: &Bytes) -> Result<i64, Error> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or(Error::OutOfRange)
}
