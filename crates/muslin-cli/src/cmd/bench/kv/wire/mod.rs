//! HTTP/2 and gRPC of a load generator: as little per call as it takes.
//!
//! The generator shares the processor with what it measures, so what a call costs here is missing
//! there. A connection is a plain value ([`connection::Wire`]): bytes in, bytes out, no task, no
//! lock and no allocation per call. [`hpack`] packs and unpacks headers as clients in use do, with
//! the dynamic table, so that the server has no other work with us than with them. [`fields`] reads
//! and writes the protobuf fields that the load needs.

pub(super) mod connection;
pub(super) mod fields;
mod frame;
mod hpack;
mod huffman;
