//! etcd's gateway: every call as `POST /v3/..` with JSON, for whoever speaks no gRPC.
//!
//! The JSON becomes the messages of a gRPC call, which is answered as any other, and the answer
//! becomes JSON again: a call does the same either way, and so do rights and limits. A call that
//! streams takes one JSON object after another, and answers one line for each message.

mod carrying;
mod lines;
mod messages;
mod routes;
mod shapes;

pub(super) use routes::called;
