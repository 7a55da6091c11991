//! Who makes a request.

use super::caller::Caller;
use super::unread::Reader;
use hyper::Request;

/// All that is known of the one who makes a request. Found out once, in [`Front`], before any
/// handler of any protocol runs: handlers of gRPC and HTTP find it among the request's extensions.
///
/// [`Front`]: super::front::Front
#[derive(Clone)]
pub(super) struct Visitor {
    /// By the connection.
    pub(super) caller: Caller,
    /// The far end of the connection.
    pub(super) reader: Reader,
}

impl Visitor {
    /// Who makes this request.
    pub(super) fn caller<B>(request: &Request<B>) -> Caller {
        let visitor = request.extensions().get::<Visitor>();
        visitor.map_or(Caller::Anonymous, |visitor| visitor.caller)
    }
}
