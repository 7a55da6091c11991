//! A state machine by its name, and how its values are bytes.

use super::bound::Bound;
use super::{Machine, StateMachine};
use crate::codec::{Codec, Json};
use crate::driver::Handle;
use muslin_core::base::GroupId;
use muslin_core::groups::{Machines, Receipted};
use std::marker::PhantomData;
use std::sync::Arc;

/// Turns all values of a state machine into bytes and back.
pub trait Codes<S: StateMachine>:
    Codec<S::Command> + Codec<S::Answer> + Codec<S::Query> + Codec<S::Reply> + Codec<S::Snapshot>
{
}

impl<S, C> Codes<S> for C
where
    S: StateMachine,
    C: Codec<S::Command>
        + Codec<S::Answer>
        + Codec<S::Query>
        + Codec<S::Reply>
        + Codec<S::Snapshot>,
{
}

/// A state machine, bound to the name that its groups are made with, and to a codec: the same on
/// all nodes.
pub struct Kind<S, C = Json> {
    name: &'static str,
    codec: Arc<C>,
    machine: PhantomData<fn() -> S>,
}

impl<S, C> Clone for Kind<S, C> {
    fn clone(&self) -> Kind<S, C> {
        Kind { name: self.name, codec: self.codec.clone(), machine: PhantomData }
    }
}

impl<S: StateMachine> Kind<S>
where
    Json: Codes<S>,
{
    /// With values in JSON.
    pub fn new(name: &'static str) -> Kind<S> {
        Kind::with_codec(name, Json)
    }
}

impl<S: StateMachine, C: Codes<S>> Kind<S, C> {
    /// With values in bytes of this form.
    pub fn with_codec(name: &'static str, codec: C) -> Kind<S, C> {
        Kind { name, codec: Arc::new(codec), machine: PhantomData }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Adds it to what a node can run.
    #[must_use]
    pub fn register(&self, machines: Machines) -> Machines {
        let codec = self.codec.clone();
        machines.with(self.name, move |_| {
            Box::new(Receipted::new(Bound::new(S::default(), codec.clone())))
        })
    }

    /// Asks a group of this kind, through this node.
    pub fn of_group(&self, handle: &Handle, group: GroupId) -> Machine<S, C> {
        Machine::new(handle.clone(), group, self.codec.clone())
    }
}
