//! A place in the queue for a lock or an office.

use crate::args::Global;
use crate::client::{self, Call, Client};
use crate::failure::{self, Failure};
use crate::output::{self, cell};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Who cannot be asked is asked again after this time.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// For so long nobody is told that there is a queue.
const QUIET: Duration = Duration::from_secs(1);

/// A wait without an end, as far as a clock goes: a hundred years.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(36_500 * 86_400);

/// An answer comes so much later than a wait ends, at most.
const ANSWER: Duration = Duration::from_secs(10);

/// What is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Lock,
    Election,
}

impl Kind {
    /// Names what is held to the command.
    pub(super) fn variable(self) -> &'static str {
        match self {
            Kind::Lock => "MUSLIN_LOCK",
            Kind::Election => "MUSLIN_ELECTION",
        }
    }
}

/// What is wanted.
pub(super) struct Want {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// What an election proclaims.
    pub(super) value: Vec<u8>,
}

/// A place at the head of the queue.
pub(super) struct Place {
    key: String,
    /// The revision that made it.
    pub(super) fence: String,
    /// As it was told.
    pub(super) fence_number: Value,
}

impl Want {
    /// In words.
    pub(super) fn told(&self) -> String {
        match self.kind {
            Kind::Lock => format!("the lock `{}`", self.name),
            Kind::Election => format!("the lead of `{}`", self.name),
        }
    }

    /// Waits until it is had. The place hangs on the lease, so whoever asks again, after an answer
    /// was lost or at another node, finds it where it was.
    pub(super) async fn reached(
        &self,
        global: &Global,
        lease: &str,
        wait: Option<Duration>,
    ) -> Result<Place, Failure> {
        let until = Instant::now() + wait.unwrap_or(FOR_EVER);
        let mut asking = std::pin::pin!(async {
            loop {
                match self.asked(global, lease, wait.map(|_| until)).await {
                    Err(failure) if is_passing(&failure) && Instant::now() < until => {
                        sleep(PAUSE).await;
                    }
                    answer => return answer,
                }
            }
        });
        tokio::select! {
            answer = &mut asking => return answer,
            () = sleep(QUIET) => output::hint(&format!("waiting for {}", self.told())),
        }
        asking.await
    }

    async fn asked(
        &self,
        global: &Global,
        lease: &str,
        until: Option<Instant>,
    ) -> Result<Place, Failure> {
        let (place, word) = match self.kind {
            Kind::Lock => ("locks", "acquire"),
            Kind::Election => ("elections", "campaign"),
        };
        let name = client::escape(&self.name);
        let mut path = format!("/v1/{place}/{name}:{word}?lease={lease}");
        let left = until.map(|until| until - Instant::now());
        if let Some(left) = left {
            path += &format!("&wait={}ms", left.as_millis());
        }
        let client = Client::patient(global, left.unwrap_or(FOR_EVER) + ANSWER).await?;
        let body = client.json(Call::post(path, self.value.clone())).await?;
        let (key, fence) = (cell(&body, "key"), cell(&body, "fence"));
        Ok(Place { key, fence, fence_number: body["fence"].clone() })
    }
}

/// Whether another try may fare better.
pub(crate) fn is_passing(failure: &Failure) -> bool {
    matches!(failure.kind, failure::Kind::Unreachable | failure::Kind::TimedOut)
}

impl Place {
    /// Waits until it is known to be gone. Whether it is there cannot always be asked: then the
    /// lease tells.
    pub(super) async fn gone(&self, global: &Global) {
        loop {
            if self.is_gone(global).await.unwrap_or(false) {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Follows the key for as long as a node tells what becomes of it.
    async fn is_gone(&self, global: &Global) -> Result<bool, Failure> {
        let path = format!("/v1/kv?prefix={}&watch=1", client::escape(&self.key));
        let mut lines = Client::new(global).await?.lines(Call::get(path)).await?;
        let mut is_there = false;
        while let Some(line) = lines.next().await? {
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            let is_own = line["key"] == self.key.as_str();
            match line["type"].as_str() {
                Some("item") if is_own => {
                    is_there = cell(&line, "create_revision") == self.fence;
                }
                Some("sync") if !is_there => return Ok(true),
                Some("delete") if is_own => return Ok(true),
                Some("resync") => is_there = false,
                _ => {}
            }
        }
        Ok(false)
    }
}
