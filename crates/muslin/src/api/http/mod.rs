//! HTTP for people and programs: key-value, nodes, groups, events, health, metrics.
//!
//! One table, [`routes`], makes the router and `GET /openapi.json`, so that neither can know a
//! route that the other does not. Errors are problems (RFC 9457), also those of unknown routes and
//! methods.

mod auth;
mod board;
mod collections;
mod compact;
mod document;
mod elections;
mod etcd_health;
mod events;
mod evidence;
mod explain;
mod groups;
mod health;
mod history;
mod idempotency;
mod kv;
mod kv_watch;
mod leases;
mod lines;
mod locks;
mod nodes;
mod nodes_watch;
mod numbers;
mod operate;
mod ops;
mod params;
mod poll;
mod queues;
mod routes;
mod schemas;
mod settings;
mod snapshot;
mod tokens;
mod txn;
mod views;
mod voters;
mod work;

pub(super) use auth::turned;
pub(super) use nodes_watch::NodeBoard;
pub(super) use ops::{Leaves, OpBoard, keep_up as keep_ops};
pub(super) use routes::router;

/// Every route: its method as OpenAPI writes it, and its path.
#[cfg(test)]
pub(super) fn named_routes() -> Vec<(&'static str, &'static str)> {
    routes::routes().iter().map(|route| (route.method.lower(), route.path)).collect()
}
