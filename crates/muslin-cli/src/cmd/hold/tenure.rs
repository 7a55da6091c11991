//! The lease on which everything hangs that this process holds.

use crate::args::Global;
use crate::client::{Call, Client};
use crate::cmd::lease::{KEPT_ALIVE_PER_TTL, TRIED_AGAIN_PER_TTL, kept_alive, revoked};
use crate::failure::{Failure, Kind};
use crate::output::cell;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// One part of so many of the time to live is kept to end a command in.
const LEFT_PER_TTL: u32 = 3;

/// A lease of this process.
pub(super) struct Tenure<'a> {
    global: &'a Global,
    lease: String,
    ttl: Duration,
    asked: Instant,
}

/// It is over, or has to be soon.
pub(super) struct Loss {
    /// By then whatever relies on it has to have ended.
    pub(super) over: Instant,
    pub(super) why: String,
}

impl<'a> Tenure<'a> {
    /// Has a lease made.
    pub(super) async fn begin(global: &'a Global, ttl: Duration) -> Result<Tenure<'a>, Failure> {
        let asked = Instant::now();
        let call = Call::post(format!("/v1/leases?ttl={}ms", ttl.as_millis()), "");
        let granted = Client::new(global).await?.json(call).await?;
        Ok(Tenure { global, lease: cell(&granted, "id"), ttl, asked })
    }

    pub(super) fn lease(&self) -> &str {
        &self.lease
    }

    /// Ends it, and with it all that hangs on it.
    pub(super) async fn end(&self) -> Result<(), Failure> {
        revoked(self.global, &self.lease).await
    }

    /// What hung on it was taken away by somebody.
    pub(super) fn taken_away(&self) -> Loss {
        let why = String::from("somebody took it away");
        Loss { over: Instant::now() + self.left(), why }
    }

    fn left(&self) -> Duration {
        self.ttl / LEFT_PER_TTL
    }

    /// Keeps it alive for as long as that can be done. A promise counts from before it was asked
    /// for: it cannot have been given earlier.
    pub(super) async fn lost(&self) -> Loss {
        let mut promised = self.asked;
        let mut due = promised + self.ttl / KEPT_ALIVE_PER_TTL;
        let mut why = String::from("no node answered in time");
        loop {
            let over = promised + self.ttl;
            let late = over - self.left();
            sleep_until(due.min(late)).await;
            let asked = Instant::now();
            match timeout_at(late, kept_alive(self.global, &self.lease)).await {
                Ok(Ok(_)) => {
                    promised = asked;
                    due = asked + self.ttl / KEPT_ALIVE_PER_TTL;
                }
                Ok(Err(failure)) if failure.kind == Kind::NotFound => {
                    return Loss { over: Instant::now() + self.left(), why: failure.sentence };
                }
                Ok(Err(failure)) => {
                    why = failure.sentence;
                    due = Instant::now() + self.ttl / TRIED_AGAIN_PER_TTL;
                }
                Err(_) => {}
            }
            if Instant::now() >= promised + self.ttl - self.left() {
                return Loss { over: promised + self.ttl, why };
            }
        }
    }
}
