//! `muslin bench kv`: a load on anything that speaks etcd v3, `muslin bench outage`: how long
//! nobody can write, and `muslin bench watchers`: a crowd of watches beside those who write.
//!
//! A closed loop: each client has one request at a time, so the rate is what the cluster can do for
//! that many clients, and a latency is what one of them waits. Every answer is looked at: each
//! client has keys of its own, so it knows what a read of them must find ([`client`]), revisions of
//! its writes must grow, watchers must see every event once and in order ([`watcher`]), and at the
//! end each client reads back what it wrote last. [`call`] is the interface used, [`wire`] the
//! protocol, [`driver`] a connection with its clients, [`mod@run`] a whole run in its phases,
//! [`processes`] reads what the servers cost, and [`figures`] turns it all into numbers.

mod actor;
mod call;
mod client;
mod crowd;
mod driver;
mod figures;
mod outage;
mod processes;
mod run;
mod seen;
mod sleeper;
mod watcher;
mod watchers;
mod wire;

pub(crate) use outage::run as outage;
pub(crate) use run::run;
pub(crate) use watchers::run as watchers;
