//! `muslin lock`, `muslin elect` and `muslin queue work`: a command that runs while something is
//! held.
//!
//! What is held hangs on a lease of this process ([`tenure`]), so that a call whose answer was lost
//! is repeated and finds its place, at whichever node. When nobody has confirmed the lease for two
//! thirds of its time, or the place is gone ([`place`]), the command is asked to end, and killed by
//! the time at which the next one may hold it ([`child`]). That is as good as this machine's
//! scheduler: who writes shows the fence.

mod child;
mod holder;
mod place;
mod tenure;
mod work;

pub(crate) use holder::{elect, lock};
pub(crate) use place::{FOR_EVER, is_passing};
pub(crate) use work::work;
