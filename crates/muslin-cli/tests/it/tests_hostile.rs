//! Bytes that should not have come.

use crate::dev::Dev;
use crate::http;
use crate::process::{exists, resident};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::time::Duration;

/// What a node may gain in memory from all of it: connection buffers, not the bytes themselves.
const GROWTH_MAX: u64 = 64 << 20;

/// Sent on one connection; many times what any limit lets in.
const FLOOD: usize = 32 << 20;

/// Bytes without a pattern, the same at every run.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(step).collect()
}

/// Sends without caring how it is received.
fn send(address: &str, bytes: &[u8]) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_write_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
    let _ = stream.write_all(bytes);
    Some(stream)
}

/// Everything a careless or unfriendly program might send to a TCP port.
fn attack_tcp(address: &str) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for seed in 0..40 {
        held.extend(send(address, &noise(1 + (seed as usize * 61) % 4_000, seed)));
    }
    // The start of TLS with a length that never comes.
    held.extend(send(address, &[0x16, 0x03, 0x01, 0xff, 0xff]));
    held.extend(send(address, &[&[0x16, 0x03, 0x01][..], &noise(9_000, 5)].concat()));
    // Half requests that stay open.
    for _ in 0..100 {
        held.extend(send(address, b"PUT /v1/kv/half HTTP/1.1\r\nhost: x\r\ncontent-le"));
        held.extend(send(
            address,
            b"PUT /v1/kv/half HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\nha",
        ));
    }
    // Lengths that lie, headers without an end, bodies without an end.
    let lies =
        b"PUT /v1/kv/lie HTTP/1.1\r\nhost: x\r\ncontent-length: 18446744073709551615\r\n\r\n";
    held.extend(send(address, &[&lies[..], &vec![b'x'; FLOOD]].concat()));
    let endless = b"GET / HTTP/1.1\r\nx: ".to_vec();
    held.extend(send(address, &[endless, vec![b'y'; FLOOD]].concat()));
    let chunked =
        b"PUT /v1/kv/big HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffff\r\n";
    held.extend(send(address, &[&chunked[..], &vec![b'z'; FLOOD]].concat()));
    held.extend(attack_http2(address));
    held
}

/// HTTP/2 with frames no peer should send.
fn attack_http2(address: &str) -> Vec<TcpStream> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let huge_frame = [0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1];
    let mut held = Vec::new();
    let start = [&preface[..], &settings].concat();
    held.extend(send(address, preface));
    held.extend(send(address, &[&start[..], &huge_frame, &vec![0; FLOOD]].concat()));
    held.extend(send(address, &[&start[..], &noise(100_000, 3)].concat()));
    // Ten thousand resets of streams that were never opened.
    let reset = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8];
    held.extend(send(address, &[&start[..], &reset.repeat(10_000)].concat()));
    held
}

/// Datagrams of every first byte and many lengths.
fn attack_udp(address: &str) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for first in 0..=255_u8 {
        for length in [1, 2, 20, 64, 300, 1_200, 1_500, 9_000] {
            let mut bytes = noise(length, u64::from(first) + length as u64);
            bytes[0] = first;
            let _ = socket.send_to(&bytes, address);
        }
    }
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    // No answer may be larger than what was asked with: the port is no amplifier.
    let mut answer = [0; 65_536];
    while let Ok(length) = socket.recv(&mut answer) {
        assert!(length <= 9_000, "an answer of {length} bytes to a stranger");
    }
}

#[test]
fn bytes_that_should_not_have_come_leave_every_node_alive_and_small() {
    let dev = Dev::start(&[]);
    for node in &dev.nodes {
        http::write(&node.addr, "before", "1");
    }
    let before: Vec<u64> = dev.nodes.iter().map(|node| resident(node.pid)).collect();
    let mut held = Vec::new();
    for node in &dev.nodes {
        attack_udp(&node.addr);
        held.extend(attack_tcp(&node.addr));
        held.extend(attack_tcp(&node.etcd));
    }
    for (node, before) in dev.nodes.iter().zip(before) {
        assert!(exists(node.pid), "{node:?}");
        http::write(&node.addr, &node.name, "1");
        let growth = resident(node.pid).saturating_sub(before);
        assert!(growth < GROWTH_MAX, "{} gained {} MB", node.name, growth >> 20);
    }
    for mut stream in held {
        let _ = stream.shutdown(Shutdown::Both);
        let _ = stream.read(&mut [0; 16]);
    }
    let pids: Vec<u32> = dev.nodes.iter().map(|node| node.pid).collect();
    assert!(pids.into_iter().all(exists));
    dev.stop();
}

#[test]
fn a_value_that_is_too_large_is_refused_and_said_so() {
    let dev = Dev::start(&["--nodes", "1"]);
    let addr = &dev.nodes[0].addr;
    let answer = http::ask(addr, "PUT", "/v1/kv/large", &vec![b'x'; FLOOD]);
    // A node may also close on a sender that does not stop; it may not take the value.
    assert!(answer.is_none_or(|a| (400..500).contains(&a.status)), "taken");
    assert_eq!(http::read(addr, "large"), None);
    dev.stop();
}
