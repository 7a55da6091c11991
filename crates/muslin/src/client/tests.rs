//! How the client takes refusals.

use super::{Call, Client, ClientError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A node that answers its first calls with a problem of this code; how often it was called.
async fn refusing(code: &'static str, times: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (status, body) = match counted.fetch_add(1, Ordering::SeqCst) < times {
                true => (
                    "429 Too Many Requests",
                    format!(r#"{{"code":"{code}","detail":"no","retry_after_ms":1}}"#),
                ),
                false => ("200 OK", String::from("{}")),
            };
            let _ = stream.read(&mut [0; 4_096]).await;
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    });
    (address, calls)
}

#[tokio::test]
async fn a_busy_node_is_asked_again_when_it_said() {
    for code in ["busy", "starting"] {
        let (address, calls) = refusing(code, 3).await;
        let answer = Client::new(address, None).bytes(Call::put("/v1/kv/a", "1")).await;
        assert_eq!(&answer.unwrap().body[..], b"{}");
        assert_eq!(calls.load(Ordering::SeqCst), 4, "{code}");
    }
}

#[tokio::test]
async fn a_write_that_may_have_happened_is_not_asked_again() {
    let (address, calls) = refusing("timed-out", 3).await;
    let answer = Client::new(address, None).bytes(Call::put("/v1/kv/a", "1")).await;
    let Err(ClientError::Problem { code, retry_after, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!((&code[..], retry_after), ("timed-out", Some(Duration::from_millis(1))));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_node_that_stays_busy_is_told_of_as_busy_when_time_is_up() {
    let (address, _) = refusing("busy", usize::MAX).await;
    let client = Client::new(address, None).timeout(Duration::from_millis(100));
    let answer = client.bytes(Call::get("/v1/status")).await;
    let Err(error) = answer else { panic!("{answer:?}") };
    // A slow machine may not get an answer in time at all.
    if let ClientError::Problem { code, .. } = &error {
        assert_eq!(code, "busy");
    } else {
        assert!(matches!(error, ClientError::Timeout { .. }), "{error:?}");
    }
}
