//! A whole cluster and all that can happen to it, one thing after another, whatever the cluster is
//! made of ([`Subject`](crate::subject::Subject)).
//!
//! | file | what |
//! | --- | --- |
//! | `steps` | the [`World`]: what is going to happen, and letting it |
//! | `process` | the driver of every machine |
//! | `look` | the look inside after each batch |
//! | `faults` | what goes wrong |
//! | `settle` | what must hold once it no longer does |

mod faults;
mod look;
mod process;
mod settle;
mod steps;

pub(crate) use steps::{Happening, World};

/// Of what clients would ask in a calm stretch, so much is asked, in a million.
pub(crate) const ASKED_IN_CALM_PPM: u64 = 20_000;
