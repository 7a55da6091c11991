//! The task of one peer: connects when there is something to say, and writes it.

use super::dial::{Engine, HANDSHAKE_TIMEOUT, is_barred, is_copied, is_duplicate};
use super::peer::{Fresh, Peer, Step};
use super::stream::StreamError;
use muslin_core::base::Prng;
use quinn::SendStream;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Shortest and longest wait between two dials. A peer that is heard otherwise ends the wait.
const BACK_OFF_MIN: Duration = Duration::from_millis(20);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// A dial without an answer ends after this: the peer may have come up anew at the same address
/// since, and a dial that begins anew is answered at once.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

const _: () = assert!(DIAL_TIMEOUT.as_millis() <= HANDSHAKE_TIMEOUT.as_millis());

struct Writing {
    stream: SendStream,
    /// Of the link it belongs to.
    number: usize,
}

struct BackOff {
    next: Duration,
    prng: Prng,
}

/// Serves a peer until it is removed or the transport ends.
pub(super) async fn run(peer: Arc<Peer>, engine: Arc<Engine>) {
    let mut writing: Option<Writing> = None;
    let seed = peer.id.0 ^ engine.registry.boot.rotate_left(32);
    let mut back_off = BackOff { next: BACK_OFF_MIN, prng: Prng::seeded(seed) };
    let counters = &engine.registry.counters;
    loop {
        match peer.step(writing.as_ref().map(|writing| writing.number)) {
            Step::End => break,
            Step::Wait => peer.wake.notified().await,
            Step::Begin(fresh) => {
                back_off.next = BACK_OFF_MIN;
                writing = begin(&peer, fresh).await;
            }
            Step::Write => write(&peer, &engine, &mut writing).await,
            Step::Discard => counters.frames_no_route.add(peer.outbox.clear()),
            Step::Dial(address) => {
                if let Err(error) = dial(&peer, &engine, address).await {
                    give_up(&peer, &engine, error, &mut back_off).await;
                }
            }
            Step::Finish => {
                if let Some(mut writing) = writing.take() {
                    let _ = writing.stream.finish();
                    // Ends when the peer has all of it; whoever closes does not wait for ever.
                    let _ = writing.stream.stopped().await;
                }
                break;
            }
        }
    }
    counters.frames_lost.add(peer.outbox.clear());
    peer.end(false, super::hello::CLOSING);
}

async fn begin(peer: &Peer, fresh: Fresh) -> Option<Writing> {
    let Fresh { mut stream, number, greeting } = fresh;
    if let Some(greeting) = greeting
        && stream.write_chunk(greeting).await.is_err()
    {
        peer.unlink(number);
        return None;
    }
    Some(Writing { stream, number })
}

/// Writes all that waits, as one.
async fn write(peer: &Peer, engine: &Engine, writing: &mut Option<Writing>) {
    let Some(Writing { stream, number }) = writing else { return };
    let counters = &engine.registry.counters;
    let mut batch = peer.outbox.take();
    match stream.write_all_chunks(&mut batch.chunks).await {
        Ok(()) => {
            counters.frames_out.add(batch.frames);
            counters.frame_bytes_out.add(batch.bytes);
        }
        Err(_) => {
            counters.frames_lost.add(batch.frames);
            peer.unlink(*number);
            *writing = None;
        }
    }
}

async fn dial(
    peer: &Arc<Peer>,
    engine: &Arc<Engine>,
    address: SocketAddr,
) -> Result<(), StreamError> {
    let mut dialling = pin!(engine.dial(peer, address));
    let mut late = pin!(tokio::time::sleep(DIAL_TIMEOUT));
    let dialled = loop {
        tokio::select! {
            dialled = &mut dialling => break dialled,
            () = &mut late => break Err(StreamError::TimedOut),
            () = peer.wake.notified() => {
                if peer.abandons_dial() {
                    break Err(StreamError::Abandoned);
                }
            }
        }
    };
    peer.end_dial();
    let candidate = dialled?;
    let connection = candidate.connection.clone();
    peer.adopt(&engine.registry, candidate).map_err(|refusal| {
        connection.close(quinn::VarInt::from_u32(refusal as u32), b"");
        StreamError::Refused(refusal)
    })
}

/// After a dial that failed: drops what waited for it, and waits before the next.
async fn give_up(peer: &Peer, engine: &Engine, error: StreamError, back_off: &mut BackOff) {
    if matches!(error, StreamError::Abandoned) {
        return;
    }
    if !is_duplicate(&error) {
        tracing::debug!(peer = %peer.id, %error, "dial failed");
        engine.registry.counters.dials_failed.raise();
        if is_barred(&error) {
            engine.registry.counters.dials_barred.raise();
        }
        if is_copied(&error) {
            engine.registry.counters.dials_copied.raise();
        }
        // The peers' protocols repeat what still matters; what is older only delays that.
        engine.registry.counters.frames_lost.add(peer.outbox.clear());
    }
    let until = Instant::now() + back_off.draw();
    while tokio::time::timeout_at(until, peer.wake.notified()).await.is_ok() {
        if peer.ends_wait() {
            break;
        }
    }
}

impl BackOff {
    /// Between half and all of the present wait, which doubles.
    fn draw(&mut self) -> Duration {
        let drawn = self.prng.duration(self.next / 2, self.next);
        self.next = (self.next * 2).min(BACK_OFF_MAX);
        drawn
    }
}
