//! A command for each item of a queue.

use super::child::{Child, Signals};
use super::place::{FOR_EVER, PAUSE, is_passing};
use super::tenure::{Loss, Tenure};
use crate::args::{Global, Work};
use crate::client::{Call, Client, escape};
use crate::cmd::kv::bytes_of;
use crate::failure::{Failure, Kind};
use crate::output::cell;
use muslin::coordination::collections::Once;
use serde_json::Value;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// An answer comes so much later than a wait ends, at most.
const ANSWER: Duration = Duration::from_secs(10);

/// Takes items, one after the other, and runs the command for each.
pub(crate) async fn work(global: &Global, work: Work) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let tenure = Tenure::begin(global, work.ttl).await?;
    let worker = Worker { global, work, lease: tenure.lease() };
    let ended = worker.all(&tenure, &mut signals).await;
    // What it had goes back with the lease, also if this fails.
    let _ = tenure.end().await;
    ended
}

struct Worker<'a> {
    global: &'a Global,
    work: Work,
    lease: &'a str,
}

impl Worker<'_> {
    async fn all(&self, tenure: &Tenure<'_>, signals: &mut Signals) -> Result<(), Failure> {
        let mut lost = pin!(tenure.lost());
        let mut done = 0;
        while self.work.count.is_none_or(|count| done < count) {
            let item = tokio::select! {
                item = self.next() => item?,
                loss = &mut lost => return Err(gone(&loss)),
                () = signals.stop() => return Err(Failure::silent(Kind::Interrupted)),
            };
            let Some(item) = item else { return Ok(()) };
            self.one(&item, lost.as_mut(), signals).await?;
            done += 1;
        }
        Ok(())
    }

    async fn one(
        &self,
        item: &Value,
        lost: Pin<&mut impl Future<Output = Loss>>,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        let variables = [("MUSLIN_ITEM", cell(item, "item"))];
        let input = bytes_of(item, "value")?;
        let mut child = Child::start(&self.work.command, &variables, Some(input))?;
        let code = tokio::select! {
            code = child.ended(signals) => code?,
            loss = lost => {
                child.end_by(loss.over).await?;
                return Err(gone(&loss));
            }
        };
        match code {
            0 => self.settled(item, "done").await,
            code => {
                self.settled(item, "put-back").await?;
                Err(Failure::passed_on(code))
            }
        }
    }

    /// Waits for an item; `None` when none came for as long as is waited.
    async fn next(&self) -> Result<Option<Value>, Failure> {
        let drawn = Once::drawn().map_err(|error| Failure::new(Kind::Failed, error.to_string()))?;
        let id = String::from_utf8_lossy(drawn.name()).into_owned();
        let until = Instant::now() + self.work.idle.unwrap_or(FOR_EVER);
        loop {
            let mut path = format!("{}:take?lease={}&id={id}", self.queue(), self.lease);
            let left = until - Instant::now();
            if self.work.idle.is_some() {
                path += &format!("&wait={}ms", left.as_millis());
            }
            let asked = async {
                let client = Client::patient(self.global, left + ANSWER).await?;
                client.json(Call::post(path, "")).await
            };
            match asked.await {
                Ok(item) => return Ok(Some(item)),
                Err(failure) if failure.kind == Kind::NotFound && Instant::now() >= until => {
                    return Ok(None);
                }
                // It has what it asked for, if it got it.
                Err(failure) if is_passing(&failure) => sleep(PAUSE).await,
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Says what became of an item, until somebody hears it; or the lease says it.
    async fn settled(&self, item: &Value, word: &str) -> Result<(), Failure> {
        let (place, fence) = (escape(cell(item, "item")), cell(item, "fence"));
        let path = format!("{}:{word}?item={place}&fence={fence}", self.queue());
        let until = Instant::now() + self.work.ttl;
        let mut is_doubtful = false;
        loop {
            let said = match Client::new(self.global).await {
                Ok(client) => client.json(Call::post(&path, "")).await,
                Err(failure) => Err(failure),
            };
            match said {
                Ok(_) => return Ok(()),
                Err(failure) if is_passing(&failure) && Instant::now() < until => {
                    is_doubtful = true;
                    sleep(PAUSE).await;
                }
                // An answer was lost, and this is not its item any more: it was heard.
                Err(failure) if is_doubtful && failure.kind == Kind::Conflict => return Ok(()),
                Err(failure) => return Err(failure),
            }
        }
    }

    fn queue(&self) -> String {
        format!("/v1/queues/{}", escape(&self.work.name))
    }
}

fn gone(loss: &Loss) -> Failure {
    let sentence = format!("the lease is lost, and the item with it: {}", loss.why);
    Failure::new(Kind::Conflict, sentence)
}
