//! HTTP for people and programs: key-value, nodes, groups, events, health, metrics.
//!
//! One table, [`routes`], makes the router and `GET /openapi.json`, so that neither can know a
//! route that the other does not. Errors are problems (RFC 9457), also those of unknown routes and
//! methods.

mod document;
mod events;
mod evidence;
mod explain;
mod groups;
mod health;
mod kv;
mod kv_watch;
mod lines;
mod nodes;
mod nodes_watch;
mod operate;
mod params;
mod routes;
mod settings;
mod tokens;
mod views;
mod voters;

pub(super) use nodes_watch::NodeBoard;
pub(super) use routes::router;
