//! The key-value calls: one message in, one message out.
//!
//! They are nearly all that clients ask for, so they have a way of their own beside the generated
//! services: the message is decoded from the bytes as they came, and the answer encoded once, see
//! [`Reply`]. On the wire they are gRPC calls as all others.

use super::framing::{check_encoding, message, patience_of_caller};
use super::kv::Settled;
use super::refuse;
use super::reply::Reply;
use super::server::{Etcd, MESSAGE_BYTES_MAX};
use crate::api::bodies::Held;
use crate::api::unread::Full;
use crate::api::visitor::Visitor;
use bytes::Bytes;
use hyper::Request;
use hyper::body::Body;
use muslin_core::state::Response;
use prost::Message;
use std::pin::pin;
use tokio::time::timeout;
use tonic::Status;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    Range,
    Put,
    DeleteRange,
    Txn,
    Compact,
}

impl Method {
    /// The one with this name in the service `etcdserverpb.KV`.
    pub(crate) fn of(name: &str) -> Option<Method> {
        match name {
            "Range" => Some(Method::Range),
            "Put" => Some(Method::Put),
            "DeleteRange" => Some(Method::DeleteRange),
            "Txn" => Some(Method::Txn),
            "Compact" => Some(Method::Compact),
            _ => None,
        }
    }

    /// Whether an answer is one of this call.
    fn is_answered_by(self, response: &Response) -> bool {
        match self {
            Method::Range => matches!(response, Response::Range { .. }),
            Method::Put => matches!(response, Response::Put { .. }),
            Method::DeleteRange => matches!(response, Response::Delete { .. }),
            Method::Txn => matches!(response, Response::Txn { .. }),
            Method::Compact => matches!(response, Response::Compact),
        }
    }
}

impl Etcd {
    /// Answers a call. What came of it is counted in `held`, by the one who calls.
    pub(crate) async fn unary<B>(
        &self,
        method: Method,
        visitor: &Visitor,
        request: Request<B>,
        held: &Held,
    ) -> Result<Reply, Status>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    {
        let patience = patience_of_caller(request.headers())?;
        let mut call = pin!(self.settle(method, visitor, request, held));
        match patience {
            None => call.await,
            Some(patience) => {
                let settled = timeout(patience, call.as_mut()).await;
                settled.unwrap_or_else(|_| Err(refuse::deadline_exceeded()))
            }
        }
    }

    async fn settle<B>(
        &self,
        method: Method,
        visitor: &Visitor,
        request: Request<B>,
        held: &Held,
    ) -> Result<Reply, Status>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    {
        let (head, body) = request.into_parts();
        check_encoding(&head.headers)?;
        let message = message(body, held, MESSAGE_BYTES_MAX, self.desk.patience.body).await?;
        self.admit_with(&head.headers)?;
        drop(head);
        let Settled { response, header, is_write } = match method {
            Method::Range => self.range(decoded(message)?).await?,
            Method::Put => self.put(decoded(message)?).await?,
            Method::DeleteRange => self.delete_range(decoded(message)?).await?,
            Method::Txn => self.txn(decoded(message)?).await?,
            Method::Compact => self.compact(decoded(message)?).await?,
        };
        if !method.is_answered_by(&response) {
            return Err(refuse::unexpected());
        }
        let bytes = usize::try_from(response.approximate_bytes()).unwrap_or(usize::MAX);
        match visitor.reader.admit(bytes) {
            Ok(charge) => Reply::new(response, &header, charge),
            Err(Full) if is_write => Err(refuse::no_room_for_result()),
            Err(Full) => Err(refuse::no_room_for_answer()),
        }
    }
}

fn decoded<M: Message + Default>(message: Bytes) -> Result<M, Status> {
    M::decode(message).map_err(|error| refuse::unreadable(&error.to_string()))
}
