//! Places of things that stand in a row.
//!
//! A place is the revision that its maker saw, and something drawn. So whatever is put after
//! another was answered stands behind it; what is put at the same moment, in either order. Nobody
//! waits for anybody.

use super::space::Space;
use crate::coordination::{Error, drawn_lease};
use bytes::Bytes;
use muslin_core::state::Query;

/// Letters of a place: two numbers in hexadecimal, and a sign between them.
pub(super) const PLACE_BYTES: usize = 33;

impl Space {
    /// A place behind all that were answered.
    pub(super) async fn place(&self) -> Result<Bytes, Error> {
        let (_, revision) = self.read(Query::Revision).await?;
        Ok(format!("{:016x}-{:016x}", revision.0, drawn_lease()?.0).into())
    }
}
