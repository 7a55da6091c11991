//! Ports for tests that run at the same time, in one process or several.

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel takes ports for outgoing connections.
const FIRST: u16 = 18_000;
const LAST: u16 = 32_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// The first of `count` ports in a row, not handed out before by this process, that nobody uses.
pub(crate) fn row(count: u16) -> u16 {
    let span = LAST - FIRST;
    // Two test processes begin far apart.
    let begin = (std::process::id() as u16).wrapping_mul(97) % span;
    for _ in 0..span {
        let offset = NEXT.fetch_add(count, Ordering::Relaxed);
        let first = FIRST + begin.wrapping_add(offset) % span;
        let is_free = |port: u16| {
            TcpListener::bind(("127.0.0.1", port)).is_ok()
                && UdpSocket::bind(("127.0.0.1", port)).is_ok()
        };
        if first + count < LAST && (first..first + count).all(is_free) {
            return first;
        }
    }
    panic!("no {count} free ports in a row");
}
