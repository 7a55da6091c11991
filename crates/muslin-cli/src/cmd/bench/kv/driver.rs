//! One connection and who uses it.

use super::actor::{Actor, Next, Part, Phase};
use super::call::Values;
use super::wire::connection::{Sink, Slot, Wire};
use crate::failure::{Failure, Kind};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Longest wait for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// A call without an answer after this long counts as failed.
const CALL_WAIT: Duration = Duration::from_secs(5);

/// How often is looked for such calls.
const TICK: Duration = Duration::from_millis(250);

/// Between two attempts to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

/// An endpoint that is gone for so long is given up by everything but the load itself.
const GONE: Duration = Duration::from_secs(10);

/// Room for what a read of the socket brings.
const READ_BYTES: usize = 128 << 10;

/// A connection that is up.
pub(super) struct Link {
    socket: TcpStream,
    /// Its other half.
    pub(super) wire: Wire,
}

impl Link {
    /// Connects and hears the server's first words.
    pub(super) async fn new(endpoint: &str) -> Result<Link, String> {
        Link::of(endpoint, Wire::new).await
    }

    /// The same, for somebody who is told little before it reads.
    pub(super) async fn with_least_window(endpoint: &str) -> Result<Link, String> {
        Link::of(endpoint, Wire::with_least_window).await
    }

    async fn of(endpoint: &str, wire: fn(&str) -> Wire) -> Result<Link, String> {
        let authority = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
        let authority = authority.trim_end_matches('/');
        let connect = async {
            let socket = TcpStream::connect(authority).await.map_err(|e| e.to_string())?;
            socket.set_nodelay(true).map_err(|e| e.to_string())?;
            let mut link = Link { socket, wire: wire(authority) };
            while !link.wire.is_ready() {
                link.turn(&mut Nobody, None).await?;
            }
            Ok(link)
        };
        timeout(CONNECT_WAIT, connect).await.unwrap_or(Err("no answer in time".to_string()))
    }

    /// Sends and receives until something came, or it is time. Whether something came.
    pub(super) async fn turn(
        &mut self,
        sink: &mut impl Sink,
        until: Option<std::pin::Pin<&mut tokio::time::Sleep>>,
    ) -> Result<bool, String> {
        let (mut reader, mut writer) = self.socket.split();
        let (has_output, has_end) = (!self.wire.output.is_empty(), until.is_some());
        self.wire.input.reserve(READ_BYTES);
        let end = async {
            if let Some(until) = until {
                until.await;
            }
        };
        tokio::select! {
            biased;
            sent = writer.write(&self.wire.output), if has_output => {
                match sent.map_err(|e| e.to_string())? {
                    0 => Err("the server takes nothing any more".to_string()),
                    bytes => {
                        self.wire.output.drain(..bytes);
                        Ok(true)
                    }
                }
            }
            read = reader.read_buf(&mut self.wire.input) => {
                match read.map_err(|e| e.to_string())? {
                    0 => Err("the server closed the connection".to_string()),
                    _ => self.wire.receive(sink).map(|()| true),
                }
            }
            () = end, if has_end => Ok(false),
        }
    }
}

/// Who hears nothing.
struct Nobody;

impl Sink for Nobody {
    fn message(&mut self, _: Slot, _: &[u8]) {}
    fn end(&mut self, _: Slot, _: Result<(), String>) {}
}

/// A connection, and its clients or watchers.
pub(super) struct Driver<A> {
    endpoint: String,
    link: Option<Link>,
    values: Values,
    /// A message before it is sent.
    message: Vec<u8>,
    /// Who uses it.
    pub(super) actors: Vec<A>,
}

/// Gives what comes to whom it is for.
struct Deliver<'a, A> {
    actors: &'a mut [A],
    phase: &'a Phase,
    /// When the first of what came together was looked at.
    came: Option<Instant>,
}

impl<A: Actor> Sink for Deliver<'_, A> {
    fn message(&mut self, slot: Slot, message: &[u8]) {
        let now = *self.came.get_or_insert_with(Instant::now);
        self.actors[slot].message(message, self.phase, now);
    }

    fn end(&mut self, slot: Slot, end: Result<(), String>) {
        let now = *self.came.get_or_insert_with(Instant::now);
        self.actors[slot].end(end, self.phase, now);
    }
}

impl<A: Actor> Driver<A> {
    /// Connects.
    pub(super) async fn new(
        endpoint: &str,
        values: Values,
        actors: Vec<A>,
    ) -> Result<Driver<A>, Failure> {
        let link = Link::new(endpoint).await.map_err(|why| {
            let failure =
                Failure::new(Kind::Unreachable, format!("cannot connect to {endpoint}: {why}"));
            failure.hint("name the etcd addresses with --endpoints; `muslin node ls` lists them")
        })?;
        let (endpoint, message) = (endpoint.to_string(), Vec::new());
        Ok(Driver { endpoint, link: Some(link), values, message, actors })
    }

    /// Goes on until everybody is through with the phase.
    pub(super) async fn run(mut self, phase: Phase) -> Driver<A> {
        self.actors.iter_mut().for_each(A::begin);
        let mut seen = Instant::now();
        loop {
            let link = match self.link.take() {
                Some(link) => Ok(link),
                None => Link::new(&self.endpoint).await,
            };
            let Ok(mut link) = link else {
                let is_gone = phase.part != Part::Load && seen.elapsed() > GONE;
                if Instant::now() >= phase.until || is_gone {
                    return self;
                }
                sleep(RECONNECT_PAUSE).await;
                continue;
            };
            let Err(why) = self.drive(&mut link, &phase).await else {
                self.link = (!link.wire.is_spent()).then_some(link);
                return self;
            };
            let actors = &mut self.actors;
            link.wire.fail(&why, &mut Deliver { actors, phase: &phase, came: None });
            seen = Instant::now();
            sleep(RECONNECT_PAUSE).await;
        }
    }

    async fn drive(&mut self, link: &mut Link, phase: &Phase) -> Result<(), String> {
        let tick = sleep(TICK);
        tokio::pin!(tick);
        loop {
            let now = Instant::now();
            let (is_over, wake) = self.begin_calls(&mut link.wire, phase, now);
            if is_over && link.wire.output.is_empty() {
                return Ok(());
            }
            if wake.is_some_and(|wake| wake < tick.deadline().into_std()) {
                tick.as_mut().reset(wake.unwrap_or(now).into());
            }
            let mut deliver = Deliver { actors: &mut self.actors, phase, came: None };
            if !link.turn(&mut deliver, Some(tick.as_mut())).await? {
                tick.as_mut().reset((Instant::now() + TICK).into());
                self.give_up_late_calls(&mut link.wire, phase);
            }
        }
    }

    /// Whether nobody has anything left to do, and when somebody has again.
    fn begin_calls(
        &mut self,
        wire: &mut Wire,
        phase: &Phase,
        now: Instant,
    ) -> (bool, Option<Instant>) {
        let (mut is_over, mut wake) = (true, None::<Instant>);
        for (slot, actor) in self.actors.iter_mut().enumerate() {
            if actor.since().is_some() {
                is_over = false;
                continue;
            }
            if !wire.has_room() && !wire.is_open(slot) {
                is_over &= now >= phase.until;
                continue;
            }
            match actor.next(phase, now) {
                Next::Done => {}
                Next::At(time) => {
                    is_over = false;
                    wake = Some(wake.map_or(time, |wake| wake.min(time)));
                }
                Next::Call(op) => {
                    is_over = false;
                    op.encode(&mut self.message, self.values);
                    if !op.is_streamed() {
                        // A stream that stayed for calls of another kind.
                        wire.cancel(slot);
                    }
                    match wire.is_open(slot) {
                        true => wire.send(slot, &self.message),
                        false => wire.open(slot, op.path(), &self.message, !op.is_streamed()),
                    }
                }
            }
        }
        (is_over, wake)
    }

    fn give_up_late_calls(&mut self, wire: &mut Wire, phase: &Phase) {
        let now = Instant::now();
        for (slot, actor) in self.actors.iter_mut().enumerate() {
            if actor.since().is_some_and(|since| now >= since + CALL_WAIT) {
                wire.cancel(slot);
                actor.end(Err(format!("no answer in {} s", CALL_WAIT.as_secs())), phase, now);
            }
        }
    }
}
