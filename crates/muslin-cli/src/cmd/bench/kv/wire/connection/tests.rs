//! A connection whose server is written by hand.

use super::super::frame::{self, Frame};
use super::{PREFIX, Sink, Slot, WINDOW, Wire};

/// Writes down what comes.
#[derive(Default)]
struct Heard(Vec<String>);

impl Sink for Heard {
    fn message(&mut self, slot: Slot, message: &[u8]) {
        self.0.push(format!("{slot}: {}", String::from_utf8_lossy(message)));
    }

    fn end(&mut self, slot: Slot, end: Result<(), String>) {
        self.0.push(format!("{slot} {end:?}"));
    }
}

/// A connection past its first words, with what it says from then on.
fn ready() -> Wire {
    let mut wire = Wire::new("localhost:1");
    hear(&mut wire, &[(frame::SETTINGS, 0, 0, b"")]);
    assert!(wire.is_ready());
    wire.output.clear();
    wire
}

fn bytes_of(frames: &[(u8, u8, u32, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, flags, stream, payload) in frames {
        frame::head(&mut bytes, payload.len(), *kind, *flags, *stream);
        bytes.extend(*payload);
    }
    bytes
}

fn hear(wire: &mut Wire, frames: &[(u8, u8, u32, &[u8])]) -> Vec<String> {
    let mut heard = Heard::default();
    wire.input.extend(bytes_of(frames));
    wire.receive(&mut heard).unwrap();
    heard.0
}

/// What was sent: kind, flags, stream, length.
fn said(wire: &mut Wire) -> Vec<(u8, u8, u32, usize)> {
    let (mut frames, mut at) = (Vec::new(), 0);
    while let Some(frame) = Frame::first(&wire.output[at..]).unwrap() {
        at += frame::HEAD + frame.payload.len();
        frames.push((frame.kind, frame.flags, frame.stream, frame.payload.len()));
    }
    wire.output.clear();
    frames
}

fn message(text: &str) -> Vec<u8> {
    let mut message = vec![0; PREFIX];
    message[1..].copy_from_slice(&(text.len() as u32).to_be_bytes());
    message.extend(text.as_bytes());
    message
}

/// `grpc-status`, written out.
fn status(code: &str) -> Vec<u8> {
    let mut block = vec![0x00, 11];
    block.extend(b"grpc-status");
    block.push(code.len() as u8);
    block.extend(code.as_bytes());
    block
}

const LAST: u8 = frame::END_HEADERS | frame::END_STREAM;

#[test]
fn a_call_is_a_message_each_way_and_a_status() {
    let mut wire = ready();
    wire.open(7, "/a/B", &message("hello"), true);
    let sent = said(&mut wire);
    assert_eq!(sent[1], (frame::CONTENT, frame::END_STREAM, 1, PREFIX + 5));
    let answer = message("there");
    let frames: [(u8, u8, u32, &[u8]); 3] = [
        (frame::HEADERS, frame::END_HEADERS, 1, &[0x88]),
        (frame::CONTENT, 0, 1, &answer),
        (frame::HEADERS, LAST, 1, &status("0")),
    ];
    assert_eq!(hear(&mut wire, &frames), ["7: there", "7 Ok(())"]);
    assert!(!wire.is_open(7));
}

#[test]
fn bytes_may_come_one_at_a_time() {
    let mut wire = ready();
    wire.open(1, "/a/B", &message("x"), true);
    let (head, tail) = (message("there"), status("5"));
    let bytes = bytes_of(&[
        (frame::HEADERS, frame::END_HEADERS, 1, &[0x88]),
        (frame::CONTENT, 0, 1, &head[..4]),
        (frame::CONTENT, 0, 1, &head[4..]),
        (frame::HEADERS, frame::END_STREAM, 1, &tail[..6]),
        (frame::CONTINUATION, frame::END_HEADERS, 1, &tail[6..]),
    ]);
    let mut heard = Heard::default();
    for byte in bytes {
        wire.input.push(byte);
        wire.receive(&mut heard).unwrap();
    }
    assert_eq!(heard.0, ["1: there", "1 Err(\"gRPC status 5\")"]);
}

#[test]
fn nothing_is_sent_that_the_server_has_no_room_for() {
    let mut wire = ready();
    let large = vec![0; WINDOW as usize + 20_000];
    wire.open(0, "/a/B", &large, true);
    let sum = |sent: Vec<(u8, u8, u32, usize)>| {
        let data = sent.iter().filter(|(kind, ..)| *kind == frame::CONTENT);
        let is_over = sent.last().is_some_and(|(_, flags, ..)| flags & frame::END_STREAM != 0);
        (data.map(|(.., length)| length).sum::<usize>(), is_over)
    };
    assert_eq!(sum(said(&mut wire)), (WINDOW as usize, false));
    let more = 30_000u32.to_be_bytes();
    hear(&mut wire, &[(frame::WINDOW_UPDATE, 0, 1, &more)]);
    assert_eq!(sum(said(&mut wire)), (0, false), "the connection has no room");
    hear(&mut wire, &[(frame::WINDOW_UPDATE, 0, 0, &more)]);
    assert_eq!(sum(said(&mut wire)), (20_000, true));
}

#[test]
fn a_server_says_how_many_calls_it_takes() {
    let mut wire = ready();
    hear(&mut wire, &[(frame::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1])]);
    assert_eq!(said(&mut wire), [(frame::SETTINGS, frame::ACK, 0, 0)]);
    assert!(wire.has_room());
    wire.open(0, "/a/B", &message("x"), true);
    assert!(!wire.has_room());
    wire.cancel(0);
    assert!(wire.has_room() && !wire.is_open(0));
    assert_eq!(said(&mut wire).last(), Some(&(frame::RESET, 0, 1, 4)));
}

#[test]
fn a_ping_is_answered() {
    let mut wire = ready();
    hear(&mut wire, &[(frame::PING, 0, 0, b"12345678")]);
    assert_eq!(said(&mut wire), [(frame::PING, frame::ACK, 0, 8)]);
}

#[test]
fn calls_end_with_a_reason_whatever_ends_them() {
    let mut wire = ready();
    for slot in 0..4 {
        wire.open(slot, "/a/B", &message("x"), true);
    }
    let frames: [(u8, u8, u32, &[u8]); 3] = [
        (frame::RESET, 0, 1, &[0, 0, 0, 7]),
        (frame::HEADERS, LAST, 3, &[0x8c]),
        (frame::CONTENT, frame::END_STREAM, 5, b""),
    ];
    let heard = hear(&mut wire, &frames);
    assert_eq!(heard[0], "0 Err(\"the server reset the call (7)\")");
    assert_eq!(heard[1], "1 Err(\"HTTP status 400\")");
    assert_eq!(heard[2], "2 Err(\"the server ended a call without a status\")");
    let mut rest = Heard::default();
    wire.input.extend(bytes_of(&[(frame::GO_AWAY, 0, 0, &[0; 8])]));
    let why = wire.receive(&mut rest).unwrap_err();
    wire.fail(&why, &mut rest);
    assert_eq!(rest.0, ["3 Err(\"the server ends the connection\")"]);
}

#[test]
fn no_server_makes_us_hold_what_it_claims() {
    for (frames, why) in [
        (vec![0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1], "a frame of 16777215"),
        (bytes_of(&[(frame::CONTENT, 0, 1, &[0, 0xff, 0, 0, 0])]), "a message of 4278190080"),
        (bytes_of(&[(frame::CONTENT, 0x8, 1, &[9, 0])]), "padding"),
        (bytes_of(&[(frame::HEADERS, LAST, 1, &[0xff])]), "headers that are none"),
    ] {
        let mut wire = ready();
        wire.open(0, "/a/B", &message("x"), true);
        wire.input.extend(frames);
        let refused = wire.receive(&mut Heard::default()).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}
