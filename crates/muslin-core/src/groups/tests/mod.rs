//! The parts by themselves; whole nodes with groups are in the node's tests.

mod counts;
mod parts;
mod receipts;
mod seeking;
