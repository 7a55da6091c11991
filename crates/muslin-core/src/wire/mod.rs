//! Bytes on the network and on disk, and back. Protobuf by derive on structs of this module alone, so
//! that a change of a machine's type cannot silently change the wire.
//!
//! PLACEHOLDER-DOC
