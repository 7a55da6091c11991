//! One connection, without its socket.

use super::frame::{self, Frame};
use super::hpack::{Decoder, Encoder, TABLE_BYTES};
use std::collections::{BTreeMap, VecDeque};

/// Bytes a stream, and a connection, may send before it is told to go on: where nobody agrees on
/// more.
const WINDOW: i64 = 65_535;

/// What we let the server send: all there is.
const OUR_WINDOW: u32 = (1 << 31) - 1;

/// After so many received bytes the server is given room again, at the latest.
const WINDOW_STEP: u32 = 1 << 29;

/// Largest message taken from a server.
const MESSAGE_MAX: usize = 64 << 20;

/// Bytes before each gRPC message: whether it is compressed, and its length.
pub(crate) const PREFIX: usize = 5;

/// The last number of a stream: nothing is left for another.
const STREAM_MAX: u32 = (1 << 31) - 1;

/// The code with which a call is given up.
const CANCEL: u32 = 8;

/// Who made a call: answers come back under this number.
pub(crate) type Slot = usize;

/// Takes what comes.
pub(crate) trait Sink {
    /// A message of a call.
    fn message(&mut self, slot: Slot, message: &[u8]);
    /// A call is over; why, if not with success.
    fn end(&mut self, slot: Slot, end: Result<(), String>);
}

/// Both directions of a connection. Bytes from the socket go into [`Wire::input`], and then to
/// [`Wire::receive`]; [`Wire::output`] is what the socket is to be given.
pub(crate) struct Wire {
    /// What has come and is not understood yet.
    pub(crate) input: Vec<u8>,
    /// What is to be sent.
    pub(crate) output: Vec<u8>,
    authority: String,
    encoder: Encoder,
    decoder: Decoder,
    streams: BTreeMap<u32, Stream>,
    /// The stream of each slot that has a call under way.
    slots: BTreeMap<Slot, u32>,
    /// Streams with bytes that found no room, in turn.
    blocked: VecDeque<u32>,
    next: u32,
    /// Headers whose end has not come.
    block: Vec<u8>,
    has_settings: bool,
    streams_max: usize,
    room: i64,
    stream_room: i64,
    unanswered: u32,
    /// After so many received bytes the server is given room again.
    window_step: u32,
}

/// A call under way.
struct Stream {
    slot: Slot,
    room: i64,
    /// Bytes that found no room, and what ends behind them.
    body: VecDeque<u8>,
    is_finished: bool,
    /// A message whose end has not come.
    partial: Vec<u8>,
    received: u32,
    /// Headers of an answer without success.
    http_status: Option<String>,
}

impl Wire {
    /// A connection to a server of that name.
    pub(crate) fn new(authority: &str) -> Wire {
        Wire::with_window(authority, OUR_WINDOW)
    }

    /// One that is sent no more than anybody may be sent before it has read.
    pub(crate) fn with_least_window(authority: &str) -> Wire {
        Wire::with_window(authority, WINDOW as u32)
    }

    fn with_window(authority: &str, window: u32) -> Wire {
        let mut output = frame::PREFACE.to_vec();
        frame::head(&mut output, 12, frame::SETTINGS, 0, 0);
        // No pushes, and streams with all the room there is.
        for (name, value) in [(2u16, 0), (4, window)] {
            output.extend(name.to_be_bytes());
            output.extend(value.to_be_bytes());
        }
        if window > WINDOW as u32 {
            frame::window(&mut output, 0, window - WINDOW as u32);
        }
        Wire {
            input: Vec::new(),
            output,
            authority: authority.to_string(),
            encoder: Encoder::default(),
            decoder: Decoder::default(),
            streams: BTreeMap::new(),
            slots: BTreeMap::new(),
            blocked: VecDeque::new(),
            next: 1,
            block: Vec::new(),
            has_settings: false,
            streams_max: usize::MAX,
            room: WINDOW,
            stream_room: WINDOW,
            unanswered: 0,
            window_step: WINDOW_STEP.min(window / 2),
        }
    }

    /// Gives the server no more room, as a client whose program does not read: the connection is
    /// kept, what fits is taken.
    pub(crate) fn hold(&mut self) {
        self.window_step = u32::MAX;
    }

    /// Gives room again for what has come meanwhile.
    pub(crate) fn let_go(&mut self) {
        self.window_step = 1;
        if self.unanswered > 0 {
            frame::window(&mut self.output, 0, std::mem::take(&mut self.unanswered));
        }
        for (id, stream) in &mut self.streams {
            if stream.received > 0 {
                frame::window(&mut self.output, *id, std::mem::take(&mut stream.received));
            }
        }
    }

    /// Whether the server has said how it wants to be spoken to.
    pub(crate) fn is_ready(&self) -> bool {
        self.has_settings
    }

    /// Whether one more call may be made.
    pub(crate) fn has_room(&self) -> bool {
        self.streams.len() < self.streams_max
    }

    /// Whether the slot has a call under way.
    pub(crate) fn is_open(&self, slot: Slot) -> bool {
        self.slots.contains_key(&slot)
    }

    /// Begins a call with its first message, which stands behind its prefix already.
    pub(crate) fn open(&mut self, slot: Slot, path: &str, message: &[u8], is_last: bool) {
        assert!(!self.is_open(slot), "a slot has one call at a time");
        let (id, start) = (self.next, self.output.len());
        self.next += 2;
        frame::head(&mut self.output, 0, frame::HEADERS, frame::END_HEADERS, id);
        self.encoder.request(&mut self.output, &self.authority, path);
        let length = (self.output.len() - start - frame::HEAD) as u32;
        self.output[start..start + 3].copy_from_slice(&length.to_be_bytes()[1..]);
        let stream = Stream {
            slot,
            room: self.stream_room,
            body: VecDeque::new(),
            is_finished: false,
            partial: Vec::new(),
            received: 0,
            http_status: None,
        };
        self.streams.insert(id, stream);
        self.slots.insert(slot, id);
        self.append(id, message, is_last);
    }

    /// Sends one more message of a call that goes on.
    pub(crate) fn send(&mut self, slot: Slot, message: &[u8]) {
        let id = *self.slots.get(&slot).expect("the caller has looked whether it is open");
        self.append(id, message, false);
    }

    /// Gives a call up: nothing more comes of it.
    pub(crate) fn cancel(&mut self, slot: Slot) {
        let Some(id) = self.slots.remove(&slot) else { return };
        self.streams.remove(&id);
        frame::head(&mut self.output, 4, frame::RESET, 0, id);
        self.output.extend(CANCEL.to_be_bytes());
    }

    /// Whether so many calls were made that the next needs another connection.
    pub(crate) fn is_spent(&self) -> bool {
        self.next >= STREAM_MAX
    }

    fn append(&mut self, id: u32, message: &[u8], is_last: bool) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let length = message.len() as i64;
        let fits = message.len() <= frame::PAYLOAD_MAX && stream.body.is_empty();
        if fits && length <= self.room && length <= stream.room {
            self.room -= length;
            stream.room -= length;
            let flags = if is_last { frame::END_STREAM } else { 0 };
            frame::head(&mut self.output, message.len(), frame::CONTENT, flags, id);
            return self.output.extend(message);
        }
        stream.body.extend(message);
        stream.is_finished = is_last;
        if !self.blocked.contains(&id) {
            self.blocked.push_back(id);
        }
        self.unblock();
    }

    /// Sends of what waits as much as there is room for.
    fn unblock(&mut self) {
        for _ in 0..self.blocked.len() {
            let Some(id) = self.blocked.pop_front() else { return };
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            while !stream.body.is_empty() {
                let room = self.room.min(stream.room).clamp(0, frame::PAYLOAD_MAX as i64);
                let length = stream.body.len().min(room as usize);
                if length == 0 {
                    break;
                }
                self.room -= length as i64;
                stream.room -= length as i64;
                let is_end = length == stream.body.len() && stream.is_finished;
                let flags = if is_end { frame::END_STREAM } else { 0 };
                frame::head(&mut self.output, length, frame::CONTENT, flags, id);
                self.output.extend(stream.body.drain(..length));
            }
            if !stream.body.is_empty() {
                self.blocked.push_back(id);
            }
        }
    }

    /// Takes what has come. An error ends the connection.
    pub(crate) fn receive(&mut self, sink: &mut impl Sink) -> Result<(), String> {
        let mut input = std::mem::take(&mut self.input);
        let mut at = 0;
        while let Some(frame) = Frame::first(&input[at..])? {
            at += frame::HEAD + frame.payload.len();
            self.on_frame(frame, sink)?;
        }
        input.drain(..at);
        self.input = input;
        Ok(())
    }

    fn on_frame(&mut self, frame: Frame<'_>, sink: &mut impl Sink) -> Result<(), String> {
        match frame.kind {
            frame::CONTENT => self.on_content(frame, sink),
            frame::HEADERS | frame::CONTINUATION => self.on_headers(frame, sink),
            frame::RESET => {
                let why = format!("the server reset the call ({})", frame::number(frame.payload));
                self.end(frame.stream, Err(why), sink);
                Ok(())
            }
            frame::SETTINGS if !frame.has(frame::ACK) => {
                self.on_settings(frame.payload);
                Ok(())
            }
            frame::PING if !frame.has(frame::ACK) => {
                frame::head(&mut self.output, frame.payload.len(), frame::PING, frame::ACK, 0);
                self.output.extend(frame.payload);
                Ok(())
            }
            frame::GO_AWAY => Err("the server ends the connection".to_string()),
            frame::WINDOW_UPDATE => {
                let bytes = i64::from(frame::number(frame.payload) & 0x7fff_ffff);
                match (frame.stream, self.streams.get_mut(&frame.stream)) {
                    (0, _) => self.room += bytes,
                    (_, Some(stream)) => stream.room += bytes,
                    (_, None) => {}
                }
                self.unblock();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn on_settings(&mut self, payload: &[u8]) {
        for setting in payload.chunks_exact(6) {
            let value = frame::number(&setting[2..]);
            match u16::from_be_bytes([setting[0], setting[1]]) {
                1 if (value as usize) < TABLE_BYTES => self.encoder.refuse_table(),
                3 => self.streams_max = value as usize,
                4 => {
                    let change = i64::from(value) - self.stream_room;
                    self.stream_room += change;
                    self.streams.values_mut().for_each(|stream| stream.room += change);
                }
                _ => {}
            }
        }
        self.has_settings = true;
        frame::head(&mut self.output, 0, frame::SETTINGS, frame::ACK, 0);
        self.unblock();
    }

    fn on_content(&mut self, frame: Frame<'_>, sink: &mut impl Sink) -> Result<(), String> {
        let length = frame.payload.len() as u32;
        let mut content = frame.content()?;
        self.unanswered += length;
        let step = self.window_step;
        if self.unanswered >= step {
            frame::window(&mut self.output, 0, std::mem::take(&mut self.unanswered));
        }
        if let Some(stream) = self.streams.get_mut(&frame.stream) {
            stream.received += length;
            if stream.received >= step {
                frame::window(&mut self.output, frame.stream, std::mem::take(&mut stream.received));
            }
            // Most messages come whole and alone, and are read where they lie.
            if stream.partial.is_empty() {
                content = messages(content, stream.slot, sink)?;
                stream.partial.extend(content);
            } else {
                stream.partial.extend(content);
                let rest = messages(&stream.partial, stream.slot, sink)?.len();
                let read = stream.partial.len() - rest;
                stream.partial.drain(..read);
            }
        }
        if frame.has(frame::END_STREAM) {
            self.end(frame.stream, Err("the server ended a call without a status".into()), sink);
        }
        Ok(())
    }

    fn on_headers(&mut self, frame: Frame<'_>, sink: &mut impl Sink) -> Result<(), String> {
        let content = frame.content()?;
        let is_whole = frame.has(frame::END_HEADERS);
        // Continuations come right behind, so one block is under way at any time. Their end of
        // stream is that of the first frame, which no server in use splits.
        let held: Vec<u8>;
        let block: &[u8] = match (self.block.is_empty(), is_whole) {
            (true, true) => content,
            (_, false) => {
                self.block.extend(content);
                return Ok(());
            }
            (false, true) => {
                self.block.extend(content);
                held = std::mem::take(&mut self.block);
                &held
            }
        };
        let mut head = Head::default();
        let read = self.decoder.decode(block, |name, value| head.take(name, value));
        read.map_err(|_| "the server sent headers that are none".to_string())?;
        let Some(stream) = self.streams.get_mut(&frame.stream) else { return Ok(()) };
        stream.http_status = head.http_status.take().or(stream.http_status.take());
        let is_over = frame.has(frame::END_STREAM) || head.grpc_status.is_some();
        if is_over {
            let end = head.end(stream.http_status.as_deref());
            self.end(frame.stream, end, sink);
        }
        Ok(())
    }

    fn end(&mut self, id: u32, end: Result<(), String>, sink: &mut impl Sink) {
        let Some(stream) = self.streams.remove(&id) else { return };
        self.slots.remove(&stream.slot);
        sink.end(stream.slot, end);
    }

    /// The connection is gone, and all calls with it.
    pub(crate) fn fail(self, why: &str, sink: &mut impl Sink) {
        for slot in self.slots.into_keys() {
            sink.end(slot, Err(why.to_string()));
        }
    }
}

/// Tells all whole messages; what is left of the next.
fn messages<'a>(mut bytes: &'a [u8], slot: Slot, sink: &mut impl Sink) -> Result<&'a [u8], String> {
    while let Some((prefix, rest)) = bytes.split_at_checked(PREFIX) {
        let length = frame::number(&prefix[1..]) as usize;
        if prefix[0] != 0 || length > MESSAGE_MAX {
            return Err(format!("the server sent a message of {length} bytes, or a packed one"));
        }
        let Some((message, rest)) = rest.split_at_checked(length) else { break };
        sink.message(slot, message);
        bytes = rest;
    }
    Ok(bytes)
}

/// What an answer's headers say.
#[derive(Default)]
struct Head {
    http_status: Option<String>,
    grpc_status: Option<String>,
    message: String,
}

impl Head {
    fn take(&mut self, name: &[u8], value: &[u8]) {
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b":status" if value != b"200" => self.http_status = Some(text()),
            b"grpc-status" => self.grpc_status = Some(text()),
            b"grpc-message" => self.message = text(),
            _ => {}
        }
    }

    fn end(self, http_status: Option<&str>) -> Result<(), String> {
        match (self.grpc_status.as_deref(), http_status) {
            (Some("0"), _) => Ok(()),
            (Some(code), _) if self.message.is_empty() => Err(format!("gRPC status {code}")),
            (Some(_), _) => Err(self.message),
            (None, Some(status)) => Err(format!("HTTP status {status}")),
            (None, None) => Err("the server ended a call without a status".to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
