//! Reading again what was written, to find out in time what has gone bad.

/// Where a look through the disk stands.
#[derive(Default)]
pub(super) struct Scrubber {}
