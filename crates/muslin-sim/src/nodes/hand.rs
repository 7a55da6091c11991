//! What scripts do by hand: ask a node, cut it off, kill it, let time pass.

use super::Nodes;
use super::asks::Answer;
use super::clients::Duty;
use super::{SECRET_HASH, TOKEN, member_at};
use crate::checkers::Violation;
use crate::checkers::watches::Following;
use crate::host::Standing;
use crate::time::Time;
use bytes::Bytes;
use muslin_core::node::Request;
use muslin_core::state::{Admit, Command, CommandKind, WatchSpec};
use std::time::Duration;

/// A script waits this long for an answer: longer than any request timeout.
const ANSWER_BOUND: Duration = Duration::from_secs(10);

impl Nodes {
    /// Asks a node and waits for the answer.
    pub(crate) fn ask_by_hand(
        &mut self,
        place: usize,
        request: Request,
    ) -> Result<Option<Answer>, Violation> {
        self.hire(Duty::Hand { answer: None });
        let client = self.crowd.clients.len() - 1;
        self.ask(client, place, request);
        let bound = self.time + ANSWER_BOUND;
        while self.time < bound {
            self.run_until(self.time + Duration::from_millis(1))?;
            if let Duty::Hand { answer } = &mut self.crowd.clients[client].duty
                && let Some(answer) = answer.take()
            {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// The record admits a node, which then starts.
    pub(crate) fn admit_by_hand(
        &mut self,
        by: usize,
        place: usize,
    ) -> Result<Option<Answer>, Violation> {
        let admit = Admit {
            member: member_at(place, &self.profile),
            token_id: TOKEN.into(),
            secret_hash: Bytes::from_static(SECRET_HASH),
            unix_ms: 1,
            ..Admit::default()
        };
        let command = Command::of(CommandKind::Admit(admit.into()));
        let answer = self.ask_by_hand(by, Request::Write(command))?;
        if let Some(Answer::Outcome(outcome)) = &answer
            && outcome.result.is_ok()
        {
            self.hosts[place].standing = Standing::Member;
            self.start(place);
        }
        Ok(answer)
    }

    /// A watcher begins; it goes on by itself wherever it can. Which one it is.
    pub(crate) fn watch_by_hand(&mut self, spec: WatchSpec) -> usize {
        let following = Some(Following::new(spec));
        self.hire(Duty::Watch { following, running: None, cursor: None, until: Time(u64::MAX) });
        self.crowd.clients.len() - 1
    }

    /// How many of the changes that ever happened a watcher has behind it.
    pub(crate) fn told(&self, watcher: usize) -> Option<usize> {
        match &self.crowd.clients[watcher].duty {
            Duty::Watch { following: Some(following), .. } => Some(following.told()),
            _ => None,
        }
    }

    /// Nothing passes between one node and the others.
    pub(crate) fn isolate(&mut self, place: usize) {
        for other in (0..self.hosts.len()).filter(|other| *other != place) {
            self.net.cut(place, other, false);
            self.net.cut(other, place, false);
        }
    }

    /// Every link works.
    pub(crate) fn mend_links(&mut self) {
        self.net.mend_all();
    }
}
