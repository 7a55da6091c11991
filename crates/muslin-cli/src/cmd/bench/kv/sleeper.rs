//! A watch whose reader stops reading: what becomes of it, and whether it can go on from there.

use super::call::{KEY_PREFIX, KEYS_END};
use super::crowd::{Answer, pair};
use super::driver::Link;
use super::wire::connection::{PREFIX, Sink, Slot};
use super::wire::fields::{self, Fields};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// Longest wait for an answer of a watch that is read.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// How often is looked whether it is over.
const LOOK: Duration = Duration::from_millis(200);

/// A watch that is created and then not read.
pub(super) struct Sleeper {
    link: Link,
    heard: Heard,
}

/// What became of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Woken {
    /// Events that were on their way when it fell asleep, and were read when it woke.
    pub(super) before: u64,
    /// The reason with which it was canceled.
    pub(super) reason: Option<String>,
    /// From where it was told to go on.
    pub(super) from: Option<u64>,
    /// Events of the watch that went on from there.
    pub(super) after: u64,
    /// All events of both are there, once and in order.
    pub(super) is_complete: bool,
}

#[derive(Default)]
struct Heard {
    created: u64,
    /// The last revision told.
    last: u64,
    events: u64,
    has_flaws: bool,
    canceled: Option<String>,
    ended: Option<String>,
}

impl Sink for Heard {
    fn message(&mut self, _: Slot, message: &[u8]) {
        let answer = Answer::of(message);
        if answer.is_canceled {
            self.canceled = Some(String::from_utf8_lossy(answer.reason).into_owned());
        } else if answer.is_created {
            self.created += 1;
            if self.created == 1 {
                self.last = answer.revision;
            }
        }
        for (_, event) in Fields::of(answer.events) {
            let (revision, _) = pair(event.bytes());
            self.has_flaws |= revision != self.last + 1;
            self.last = revision;
            self.events += 1;
        }
    }

    fn end(&mut self, _: Slot, end: Result<(), String>) {
        self.ended = Some(end.err().unwrap_or_default());
    }
}

impl Sleeper {
    /// A watch that exists. Its window is the smallest there is, as of many clients.
    pub(super) async fn new(endpoint: &str) -> Result<Sleeper, String> {
        let link = Link::with_least_window(endpoint).await?;
        let mut sleeper = Sleeper { link, heard: Heard::default() };
        sleeper.link.wire.open(0, "/etcdserverpb.Watch/Watch", &create(0), false);
        sleeper.hear(|heard| heard.created > 0).await?;
        Ok(sleeper)
    }

    /// Hears until then, or in vain.
    async fn hear(&mut self, until: impl Fn(&Heard) -> bool) -> Result<(), String> {
        let hear = async {
            while !until(&self.heard) {
                if let Some(why) = &self.heard.ended {
                    return Err(format!("the stream has ended: {why}"));
                }
                self.link.turn(&mut self.heard, None).await?;
            }
            Ok(())
        };
        timeout(ANSWER_WAIT, hear).await.unwrap_or(Err("no answer in time".to_string()))
    }

    /// Sleeps until then, reads what is there, and goes on from where it is told to.
    pub(super) async fn wake(mut self, at: Instant, last: u64) -> Result<Woken, String> {
        self.link.wire.hold();
        // The connection lives, as that of a program that does not read.
        while Instant::now() < at {
            let look = std::pin::pin!(sleep(LOOK));
            self.link.turn(&mut self.heard, Some(look)).await?;
        }
        self.link.wire.let_go();
        self.hear(|heard| heard.canceled.is_some() || heard.last >= last).await?;
        let mut woken = Woken { before: self.heard.events, ..Woken::default() };
        woken.reason = self.heard.canceled.take();
        let from = woken.reason.as_deref().and_then(|reason| reason.rsplit(' ').next());
        woken.from = from.and_then(|number| number.parse().ok());
        if let Some(from) = woken.from {
            self.link.wire.send(0, &create(from));
            self.hear(|heard| heard.last >= last).await?;
        }
        woken.after = self.heard.events - woken.before;
        woken.is_complete = !self.heard.has_flaws && self.heard.last >= last;
        Ok(woken)
    }
}

/// A request for a watch of all keys, behind its prefix; zero is from here on.
fn create(from: u64) -> Vec<u8> {
    let (mut create, mut message) = (Vec::new(), vec![0; PREFIX]);
    fields::bytes(&mut create, 1, KEY_PREFIX);
    fields::bytes(&mut create, 2, KEYS_END);
    fields::number(&mut create, 3, from);
    fields::bytes(&mut message, 1, &create);
    let length = (message.len() - PREFIX) as u32;
    message[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    message
}
