//! Findings as scripts, laws as properties.

mod auth;
mod hostile;
mod model;
mod places;
mod ring;
mod roster;
mod script;
mod sessions;
mod taking;

use super::*;
use bytes::Bytes;
use prost::Message as _;
use std::string::ToString as _;
use std::vec;
use std::vec::Vec;

/// The state of a cluster founded by node 1.
fn founded() -> State {
    let member = Member { id: 1, name: "n1".into(), ..Member::default() };
    State::founded(&Founding { members: vec![member], ..Founding::default() })
}

/// A proposal of node 1, by its sequence.
fn proposal(sequence: u64, kind: CommandKind) -> Proposal {
    let command = Some(Command::of(kind));
    Proposal { origin: 1, boot: 1, sequence, settled_below: sequence, command, asker: None }
}

/// A put without options.
fn put(key: &str, value: &str) -> CommandKind {
    let (key, value) = (Bytes::from(key.to_string()), Bytes::from(value.to_string()));
    CommandKind::Put(Put { key, value, ..Put::default() })
}

fn apply(state: &mut State, proposal: &Proposal) -> Applied {
    let index = state.applied().next();
    state.apply(index, proposal.encode_to_vec().into())
}
