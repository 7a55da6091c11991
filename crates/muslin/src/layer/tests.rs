//! Requests through applications of which one leads.

use super::*;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::any;
use http_body_util::BodyExt;
use hyper::header::CONTENT_LENGTH;
use hyper::{Request, StatusCode};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tower::ServiceExt;

/// Says what it is told to.
#[derive(Clone)]
struct Told {
    leader: Arc<Mutex<Leader>>,
    name: &'static str,
}

impl Leaders for Told {
    fn leader(&self) -> Pin<Box<dyn Future<Output = Leader> + Send + '_>> {
        let leader = self.leader.lock().unwrap().clone();
        Box::pin(async move { leader })
    }

    fn own_name(&self) -> &str {
        self.name
    }
}

/// Answers with what it was asked.
fn application(
    name: &'static str,
    leader: Leader,
) -> (Router, Arc<Mutex<Leader>>, Arc<AtomicUsize>) {
    let (leader, count) = (Arc::new(Mutex::new(leader)), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    let answer = move |request: Request<Body>| {
        let counted = counted.clone();
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let told = format!("{name} {} {} {} bytes", head.method, head.uri, body.len());
            let mut response = Response::new(Body::from(told));
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            for (name, value) in head.headers.iter().filter(|(name, _)| *name != CONTENT_LENGTH) {
                response.headers_mut().append(name.clone(), value.clone());
            }
            response.headers_mut().insert("x-answer", "yes".parse().unwrap());
            response
        }
    };
    let told = Told { leader: leader.clone(), name };
    let patience = Duration::from_secs(2);
    let limits = Limits { body_bytes: 10_000, patience, answer: Duration::from_secs(60) };
    let router = Router::new().fallback(any(answer));
    (router.layer(ThroughLeader::new(told).limits(limits)), leader, count)
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    place
}

fn request(method: &str, bytes: usize) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri("/counter/increment?by=2&x=%2F")
        .header("host", "counter.example")
        .header("x-many", "one")
        .header("x-many", "two")
        .header("connection", "close, x-mine")
        .header("x-mine", "for the neighbour")
        .body(Body::from(vec![7; bytes]))
        .unwrap()
}

async fn text(response: Response) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn the_leader_answers_with_method_path_headers_and_body_as_they_came() {
    let (leading, _, _) = application("leader", Leader::Here);
    let place = serve(leading).await;
    let (following, _, own) = application("follower", Leader::At(place));
    let answer = following.oneshot(request("POST", 9_000)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::IM_A_TEAPOT);
    let headers = answer.headers().clone();
    let many: Vec<_> = headers.get_all("x-many").iter().collect();
    assert_eq!(many, ["one", "two"]);
    assert_eq!(
        (&headers["host"], &headers["x-answer"]),
        (&"counter.example".parse().unwrap(), &"yes".parse().unwrap())
    );
    assert_eq!(headers[&PASSED_BY], "follower");
    assert!(!headers.contains_key("x-mine"), "what is for one neighbour is not for the next");
    let told = text(answer).await;
    assert_eq!(told, "leader POST /counter/increment?by=2&x=%2F 9000 bytes");
    assert_eq!(own.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_is_passed_round_and_round_is_refused_and_nothing_is_done() {
    let (one, of_one, count_one) = application("one", Leader::Nobody);
    let (two, of_two, count_two) = application("two", Leader::Nobody);
    let (place_one, place_two) = (serve(one.clone()).await, serve(two).await);
    *of_one.lock().unwrap() = Leader::At(place_two);
    *of_two.lock().unwrap() = Leader::At(place_one);
    let answer = one.oneshot(request("POST", 10)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key(&NOT_LEADER));
    assert_eq!((count_one.load(Ordering::SeqCst), count_two.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test]
async fn a_leader_that_moves_is_found_again_while_nothing_was_done() {
    let (leading, leads, _) = application("old", Leader::Nobody);
    let old = serve(leading).await;
    let (following, knows, own) = application("follower", Leader::At(old));
    let moving = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        *knows.lock().unwrap() = Leader::Here;
    });
    let answer = following.oneshot(request("POST", 10)).await.unwrap();
    moving.await.unwrap();
    assert!(text(answer).await.starts_with("follower POST"));
    assert_eq!(own.load(Ordering::SeqCst), 1);
    drop(leads);
}

/// Takes requests and hangs up.
async fn mute() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (place, count) =
        (listener.local_addr().unwrap().to_string(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut bytes = [0; 64];
            let _ = stream.readable().await;
            let _ = stream.try_read(&mut bytes);
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (place, count)
}

#[tokio::test]
async fn what_may_have_been_done_is_sent_again_only_if_that_is_harmless() {
    let (place, count) = mute().await;
    let (following, _, _) = application("follower", Leader::At(place));
    let answer = following.clone().oneshot(request("POST", 10)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!(text(answer).await.contains("it may have happened"));
    assert_eq!(count.load(Ordering::SeqCst), 1, "sent once");
    let mut keyed = request("POST", 10);
    keyed.headers_mut().insert(IDEMPOTENCY_KEY, "k".parse().unwrap());
    let answer = following.oneshot(keyed).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(count.load(Ordering::SeqCst) > 2, "sent again and again");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_held() {
    let (place, count) = mute().await;
    let (following, _, _) = application("follower", Leader::At(place));
    let answer = following.oneshot(request("POST", 10_001)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(count.load(Ordering::SeqCst), 0);
}
