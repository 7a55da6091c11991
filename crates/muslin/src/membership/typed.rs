//! Messages of one type.

use super::feed::{Feed, Lagged};
use super::handle::Membership;
use super::message::{Message, SendError};
use super::{NodeId, Stopped};
use crate::codec::{Codec, CodecError};
use std::marker::PhantomData;

/// Sends and receives values of one type, with one serializer. All members use the same.
pub struct Typed<T, C> {
    membership: Membership,
    codec: C,
    messages: Feed<Message>,
    values: PhantomData<fn(T) -> T>,
}

/// Why there is no value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TypedError {
    /// It is not one of the serializer's.
    #[error("cannot be read or written: {0}")]
    Codec(#[from] CodecError),
    /// It was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Some were not read in time.
    #[error(transparent)]
    Lagged(#[from] Lagged),
    /// This member has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl<T, C: Codec<T>> Typed<T, C> {
    pub(super) fn new(membership: Membership, codec: C) -> Typed<T, C> {
        let messages = membership.messages();
        Typed { membership, codec, messages, values: PhantomData }
    }

    /// Sends to one member, on a stream.
    pub async fn send(&self, to: NodeId, value: &T) -> Result<(), TypedError> {
        Ok(self.membership.send(to, self.codec.encode(value)?).await?)
    }

    /// Sends to one member, by one datagram.
    pub async fn send_datagram(&self, to: NodeId, value: &T) -> Result<(), TypedError> {
        Ok(self.membership.send_datagram(to, self.codec.encode(value)?).await?)
    }

    /// Sends to all others, by gossip.
    pub async fn broadcast(&self, value: &T) -> Result<(), TypedError> {
        Ok(self.membership.broadcast(self.codec.encode(value)?).await?)
    }

    /// The next value, and who sent it; `None` when this member has stopped.
    pub async fn next(&mut self) -> Option<Result<(NodeId, T), TypedError>> {
        let message = match self.messages.next().await? {
            Ok(message) => message,
            Err(lagged) => return Some(Err(lagged.into())),
        };
        let value = self.codec.decode(&message.bytes);
        Some(value.map(|value| (message.from, value)).map_err(TypedError::from))
    }

    /// Says this of the member to all.
    pub async fn describe(&self, value: &T) -> Result<bool, TypedError> {
        Ok(self.membership.set_metadata(self.codec.encode(value)?).await?)
    }

    /// What a member says of itself.
    pub fn said_by(&self, member: NodeId) -> Option<Result<T, TypedError>> {
        let member = self.membership.member(member)?;
        Some(self.codec.decode(&member.metadata).map_err(TypedError::from))
    }
}
