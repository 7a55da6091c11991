//! Who wants something, and what for: gets it, runs the command, gives it back.

use super::child::{self, Child, Signals};
use super::place::{self, Place, Want};
use super::tenure::{Loss, Tenure};
use crate::args::{Elect, Format, Global, Hold, Lock};
use crate::failure::{Failure, Kind};
use crate::output;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::pin::pin;
use std::time::Duration;

/// Whoever has lost the lead lets others come first.
const STANDS_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Runs a command while a lock is held.
pub(crate) async fn lock(global: &Global, lock: Lock) -> Result<(), Failure> {
    if let Some(parent) = lock.exec_with_parent {
        return Err(child::become_command(parent, &lock.command));
    }
    let want = Want { kind: place::Kind::Lock, name: lock.name, value: Vec::new() };
    let holder = Holder { global, want, hold: lock.hold, command: lock.command };
    holder.once(&mut Signals::new()?).await
}

/// Runs a command while this process leads.
pub(crate) async fn elect(global: &Global, elect: Elect) -> Result<(), Failure> {
    let value = elect.value.unwrap_or_else(own_name).into_bytes();
    let want = Want { kind: place::Kind::Election, name: elect.name, value };
    let holder = Holder { global, want, hold: elect.hold, command: elect.command };
    let mut signals = Signals::new()?;
    let mut has_led = false;
    loop {
        let ended = holder.once(&mut signals).await;
        let Err(failure) = ended else { return Ok(()) };
        has_led |= failure.is_loss;
        // Whoever has led stands again as soon as somebody can be asked.
        let is_passing = failure.is_loss || has_led && place::is_passing(&failure);
        if elect.once || !is_passing {
            return Err(failure);
        }
        failure.report();
        tokio::select! {
            () = tokio::time::sleep(STANDS_AGAIN_AFTER) => {}
            () = signals.stop() => return Err(Failure::silent(Kind::Interrupted)),
        }
    }
}

/// What others see of who leads, if nothing else is said.
fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = Some(host.trim()).filter(|host| !host.is_empty()).unwrap_or("host");
    format!("{host}:{}", std::process::id())
}

/// Who wants what, and what for.
struct Holder<'a> {
    global: &'a Global,
    want: Want,
    hold: Hold,
    command: Vec<OsString>,
}

impl Holder<'_> {
    /// Gets it, runs the command, gives it back.
    async fn once(&self, signals: &mut Signals) -> Result<(), Failure> {
        let tenure = tokio::select! {
            tenure = Tenure::begin(self.global, self.hold.ttl) => tenure?,
            () = signals.stop() => return Err(Failure::silent(Kind::Interrupted)),
        };
        let ended = self.under(&tenure, signals).await;
        let is_lost = ended.as_ref().is_err_and(|failure| failure.is_loss);
        if let Err(failure) = tenure.end().await
            && !is_lost
        {
            let ttl = self.hold.ttl.as_secs();
            output::hint(&format!("could not give {} back: {failure}", self.want.told()));
            output::hint(&format!("it goes by itself within {ttl} s"));
        }
        ended
    }

    async fn under(&self, tenure: &Tenure<'_>, signals: &mut Signals) -> Result<(), Failure> {
        let mut lost = pin!(tenure.lost());
        let place = tokio::select! {
            place = self.want.reached(self.global, tenure.lease(), self.hold.wait) => place?,
            loss = &mut lost => return Err(self.lost(&loss)),
            () = signals.stop() => return Err(Failure::silent(Kind::Interrupted)),
        };
        let mut gone = pin!(place.gone(self.global));
        let mut lost = pin!(async {
            tokio::select! {
                loss = &mut lost => loss,
                () = &mut gone => tenure.taken_away(),
            }
        });
        if self.command.is_empty() {
            self.say("leading", &place)?;
            tokio::select! {
                loss = &mut lost => {
                    self.say("lost", &place)?;
                    return Err(self.lost(&loss));
                }
                () = signals.stop() => return Err(Failure::silent(Kind::Interrupted)),
            }
        }
        let mut child = Child::start(&self.command, &self.variables(&place, tenure), None)?;
        tokio::select! {
            code = child.ended(signals) => match code? {
                0 => Ok(()),
                code => Err(Failure::passed_on(code)),
            },
            loss = &mut lost => {
                child.end_by(loss.over).await?;
                Err(self.lost(&loss))
            }
        }
    }

    fn variables(&self, place: &Place, tenure: &Tenure<'_>) -> [(&'static str, String); 3] {
        [
            (self.want.kind.variable(), self.want.name.clone()),
            ("MUSLIN_FENCE", place.fence.clone()),
            ("MUSLIN_LEASE", String::from(tenure.lease())),
        ]
    }

    fn lost(&self, loss: &Loss) -> Failure {
        let sentence = format!("{} is lost: {}", self.want.told(), loss.why);
        Failure { is_loss: true, ..Failure::new(Kind::Conflict, sentence) }
    }

    /// For who runs no command: one line at each turn.
    fn say(&self, word: &str, place: &Place) -> Result<(), Failure> {
        let name = &self.want.name;
        let body: Value = json!({ "type": word, "name": name, "fence": place.fence_number });
        match self.global.output {
            Format::Json => output::json(&body),
            Format::Table => {
                let cells = [word.to_string(), name.clone(), place.fence.clone()];
                output::text(&output::separated(&cells))
            }
        }
    }
}
