//! One node, one process: a data directory that was copied is found out.
//!
//! Two processes with one identity would answer for each other's promises: what one has voted for
//! or written, the other has not. So a node that starts asks first, at the addresses that its
//! directory names and where members see it, whether it runs already, and does not start if it
//! does; the one that runs is told. Where nobody could be asked, both run until a peer hears both:
//! it listens to the later start alone, and the earlier one ends ([`Refused`]).
//!
//! # Not here
//! A directory that was set back to an earlier time, while no other process runs: what is lost with
//! that, no one can see.

use super::errand::{Place, as_node};
use crate::client::{Call, ClientError};
use crate::identity::Identity;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long a connection is waited for: a machine that is away must not delay a start for long.
const REACH_PATIENCE: Duration = Duration::from_secs(1);

/// How long an answer is waited for. Where a connection was taken somebody runs, however busy, and
/// a second process of one node is worse than a late one.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// Members that are asked where they see this node.
const ASKED_MAX: usize = 3;

/// A node whose own past connections are on their way out is refused once or twice: one that is
/// refused for longer is not the only one.
const REFUSED_FOR: Duration = Duration::from_secs(3);

/// Between two refusals of the same trouble.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);

/// What a process says to another one of its own identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Word {
    /// Where it is, or would be.
    pub(super) address: SocketAddr,
    /// It runs.
    pub(super) runs: bool,
}

/// Where another process of this identity runs, which is told of this one.
pub(super) async fn elsewhere(
    identity: &Identity,
    own: BTreeSet<SocketAddr>,
    members: &[Place],
    word: Word,
) -> Option<SocketAddr> {
    let mut asked = JoinSet::new();
    for at in &own {
        asked.spawn(answers(identity.clone(), *at, word));
    }
    let mut seen = JoinSet::new();
    for place in members.iter().take(ASKED_MAX) {
        seen.spawn(seen_at(identity.clone(), place.clone()));
    }
    let seen = seen.join_all().await.into_iter().flatten();
    // Some may see it yet where this process is, which would answer itself.
    let is_other = |at: &SocketAddr| !own.contains(at) && *at != word.address;
    for at in seen.filter(is_other).collect::<BTreeSet<_>>() {
        asked.spawn(answers(identity.clone(), at, word));
    }
    asked.join_all().await.into_iter().flatten().next()
}

/// Whether a process of this identity answers there: nobody else can show its certificate.
async fn answers(identity: Identity, at: SocketAddr, word: Word) -> Option<SocketAddr> {
    let place = Place { node: identity.node, address: at.to_string() };
    reach(&place).await?;
    let body = json!({ "address": word.address, "runs": word.runs });
    let call = Call::post("/v1/copies", Bytes::from(body.to_string()));
    let client = as_node(&identity, &place).ok()?.timeout(ANSWER_PATIENCE);
    match client.bytes(call).await {
        Ok(_) | Err(ClientError::Problem { .. }) => Some(at),
        Err(_) => None,
    }
}

/// Whether anybody listens there.
async fn reach(place: &Place) -> Option<()> {
    let connecting = TcpStream::connect(&place.address);
    tokio::time::timeout(REACH_PATIENCE, connecting).await.ok()?.ok().map(drop)
}

/// Where a member sees this node alive.
async fn seen_at(identity: Identity, member: Place) -> Option<SocketAddr> {
    reach(&member).await?;
    let call = Call::get(format!("/v1/nodes/{}", identity.node));
    let client = as_node(&identity, &member).ok()?.timeout(ANSWER_PATIENCE);
    let row = client.json::<Value>(call).await.ok()?;
    let is_seen = matches!(row["state"].as_str(), Some("alive" | "suspect"));
    row["addr"].as_str().filter(|_| is_seen)?.parse().ok()
}

/// How peers refuse this process for another one of its node.
#[derive(Debug, Default)]
pub(super) struct Refused {
    count: u64,
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Refused {
    /// Takes how often it was refused since it started; whether that is no accident.
    pub(super) fn note(&mut self, count: u64, now: Instant) -> bool {
        if count <= self.count {
            return false;
        }
        self.count = count;
        if self.last.is_some_and(|last| last + REFUSED_AGAIN < now) {
            self.since = None;
        }
        self.last = Some(now);
        now >= *self.since.get_or_insert(now) + REFUSED_FOR
    }
}

/// All the addresses that a directory and its options name.
pub(super) fn own_places(
    before: SocketAddr,
    listen: Option<SocketAddr>,
    advertise: Option<SocketAddr>,
) -> BTreeSet<SocketAddr> {
    let named = [Some(before), listen, advertise].into_iter().flatten();
    named.filter(|at| !at.ip().is_unspecified() && at.port() != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refusal_is_an_accident_and_refusals_that_go_on_are_not() {
        let mut refused = Refused::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert!(!refused.note(0, at(0)) && !refused.note(1, at(1)));
        assert!(!refused.note(1, at(10)), "no more of them");
        assert!(!refused.note(2, at(71)), "another one, long after");
        assert!(!refused.note(3, at(73)) && refused.note(4, at(74)));
    }
}
