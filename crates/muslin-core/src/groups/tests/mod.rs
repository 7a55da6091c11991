//! The parts by themselves; whole nodes with groups are in the node's tests.

mod parts;
mod seeking;
