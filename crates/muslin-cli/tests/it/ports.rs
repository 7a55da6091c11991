//! Ports for tests that run at the same time, in one process or several.

use std::net::{TcpListener, UdpSocket};
use std::sync::Mutex;

/// Below the range from which the kernel takes ports for outgoing connections.
const FIRST: u16 = 18_000;

/// Ports are taken in blocks: whoever holds the first port of one has the whole of it.
const BLOCK: u16 = 500;
const BLOCKS: u16 = 28;

/// What this process has.
struct Taken {
    /// The first ports of its blocks, held until it ends. Ports are given from the last one.
    blocks: Vec<TcpListener>,
    /// The next port to give, and the end of its block.
    next: u16,
    end: u16,
}

static TAKEN: Mutex<Taken> = Mutex::new(Taken { blocks: Vec::new(), next: 0, end: 0 });

/// The first of `count` ports in a row, not handed out before by this process or another one of
/// these tests that runs, that nobody uses.
pub(crate) fn row(count: u16) -> u16 {
    let mut taken = TAKEN.lock().unwrap();
    loop {
        let first = taken.next;
        if first + count > taken.end {
            take_block(&mut taken);
            continue;
        }
        taken.next += count;
        if (first..taken.next).all(is_free) {
            return first;
        }
    }
}

/// Takes a block that no other process has.
fn take_block(taken: &mut Taken) {
    // Two processes begin at different ones.
    let begin = (std::process::id() % u32::from(BLOCKS)) as u16;
    let blocks = (0..BLOCKS).map(|number| FIRST + (begin + number) % BLOCKS * BLOCK);
    let mut held = blocks.filter_map(|first| {
        let listener = TcpListener::bind(("127.0.0.1", first)).ok()?;
        Some((first, listener))
    });
    let (first, listener) = held.next().expect("not all ports are taken by other tests");
    taken.blocks.push(listener);
    (taken.next, taken.end) = (first + 1, first + BLOCK);
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok()
}
