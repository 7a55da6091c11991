//! Other implementations of Raft under the load of `muslin bench raft`.

fn main() {}
