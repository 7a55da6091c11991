//! A request, from this node to the leader and back.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// What became of a request that was passed on.
pub(super) enum Passed {
    /// The node that was asked answered.
    Answered(Response),
    /// It was not reached: nothing happened.
    Unsent(String),
    /// It was reached, and may have done it.
    Lost(String),
}

/// What is between two neighbours, and not for the one behind.
const OF_ONE_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Sends a request to whoever listens there. The body of the answer is passed on as it comes.
pub(super) async fn on(place: &str, head: &Parts, body: &Bytes, patience: Duration) -> Passed {
    let until = Instant::now() + patience;
    let late = || String::from("it took too long");
    let connected = match timeout_at(until, TcpStream::connect(place)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Passed::Unsent(error.to_string()),
        Err(_) => return Passed::Unsent(late()),
    };
    // A request is one small write: waiting to fill a packet only delays it.
    let _ = connected.set_nodelay(true);
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(connected)).await;
    let (mut sender, connection) = match handshake {
        Ok(both) => both,
        Err(error) => return Passed::Unsent(error.to_string()),
    };
    // Ends with the answer, or when the answer is dropped.
    tokio::spawn(connection);
    let request = match copied(place, head, body) {
        Ok(request) => request,
        Err(error) => return Passed::Unsent(error.to_string()),
    };
    match timeout_at(until, sender.send_request(request)).await {
        Ok(Ok(answer)) => {
            let (mut head, body) = answer.into_parts();
            end_to_end(&mut head.headers);
            Passed::Answered(Response::from_parts(head, Body::new(body)))
        }
        // One that was not sent comes back.
        Ok(Err(error)) if error.is_canceled() => Passed::Unsent(error.to_string()),
        Ok(Err(error)) => Passed::Lost(error.to_string()),
        Err(_) => Passed::Lost(late()),
    }
}

/// The same request, over another connection: `host` stays as the client said it.
fn copied(place: &str, head: &Parts, body: &Bytes) -> hyper::http::Result<Request<Full<Bytes>>> {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request =
        Request::builder().method(head.method.clone()).uri(path).body(Full::new(body.clone()))?;
    let mut headers = head.headers.clone();
    end_to_end(&mut headers);
    // The length is that of the body, whatever way it came.
    headers.remove(CONTENT_LENGTH);
    if !headers.contains_key(hyper::header::HOST) {
        // HTTP/2 says it elsewhere.
        let host = head.uri.authority().map_or(place, |authority| authority.as_str());
        headers.insert(hyper::header::HOST, host.parse()?);
    }
    *request.headers_mut() = headers;
    Ok(request)
}

/// Takes out what is not for the one behind, and what `connection` names.
fn end_to_end(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = (headers.get_all(CONNECTION).iter())
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in OF_ONE_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}
