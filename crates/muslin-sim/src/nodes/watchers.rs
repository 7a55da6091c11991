//! Clients that follow changes: what they are told is read where and when they like.

use super::Nodes;
use super::clients::Duty;
use crate::checkers::Broken;
use crate::checkers::watches::Following;
use muslin_core::base::{RequestId, Revision};
use muslin_core::node::{Reply, Request};
use muslin_core::state::{Asker, Changes, Compacted, Cursor, KeyRange, Room, Told, WatchSpec};
use std::time::Duration;

/// How often a watcher reads what its node tells as it tells it, in a million. Otherwise it reads
/// when its turn comes.
const READS_AT_ONCE_PPM: u64 = 700_000;

impl Nodes {
    pub(super) fn watch_turn(&mut self, client: usize) -> Result<(), Broken> {
        let home = self.crowd.clients[client].home;
        let time = self.time;
        let lifetime =
            self.draws.client.duration(Duration::from_millis(20), Duration::from_secs(4));
        let (is_new, is_fresh_end) = (self.draws.client.chance(400_000), self.healed.is_none());
        let Duty::Watch { following, running, cursor, until } =
            &mut self.crowd.clients[client].duty
        else {
            return Ok(());
        };
        if let Some((place, id)) = *running {
            if time < *until || !is_fresh_end {
                self.plan_turn(client, lifetime / 4);
                return self.read_watch(client, place);
            }
            // It goes elsewhere, and continues or begins another.
            (*running, *cursor) = (None, None);
            if is_new {
                *following = None;
            }
            self.cancel(id);
            if self.watchers_at(place).next().is_none() {
                self.unwatch(place);
            }
            self.move_sometimes(client);
            self.plan_turn(client, Duration::ZERO);
            return Ok(());
        }
        *until = time + lifetime;
        if following.is_none() {
            let spec = self.watch_spec();
            if let Duty::Watch { following, .. } = &mut self.crowd.clients[client].duty {
                *following = Some(Following::new(spec));
            }
        }
        let Duty::Watch { following: Some(following), .. } = &self.crowd.clients[client].duty
        else {
            return Ok(());
        };
        let request = Request::Watch(following.request());
        let id = self.ask(client, home, request);
        if let Duty::Watch { running, .. } = &mut self.crowd.clients[client].duty {
            *running = Some((home, id));
        }
        self.plan_turn(client, lifetime / 4);
        Ok(())
    }

    fn watch_spec(&mut self) -> WatchSpec {
        let model = self.crowd.ledger.model();
        let (last, compacted) = (model.revision().0, model.compacted().0);
        let key = self.draws.client.below(self.profile.load.keys);
        let range = match self.draws.client.below(3) {
            0 => KeyRange::of_key(format!("k{key}")),
            1 => KeyRange::of_prefix("k"),
            _ => KeyRange::of_prefix(""),
        };
        let start_revision = match self.draws.client.below(10) {
            0..2 => 0,
            2..4 => last + 1,
            4 => compacted.max(1),
            _ => last.saturating_sub(self.draws.client.below(40)).max(compacted + 1),
        };
        let prev_kv = self.draws.client.chance(300_000);
        WatchSpec { range, start_revision, prev_kv, ..WatchSpec::default() }
    }

    /// Clients that watch at a node, or have asked it to.
    fn watchers_at(&self, place: usize) -> impl Iterator<Item = usize> {
        let clients = self.crowd.clients.iter().enumerate();
        clients.filter_map(move |(client, state)| match &state.duty {
            Duty::Watch { running: Some((at, _)), .. } if *at == place => Some(client),
            _ => None,
        })
    }

    /// A node says where a watch begins.
    pub(super) fn on_watch_reply(
        &mut self,
        client: usize,
        (place, id): (usize, RequestId),
        reply: &Reply,
    ) -> Result<(), Broken> {
        let node = self.hosts[place].id;
        let model = self.crowd.ledger.model();
        let Duty::Watch { following: Some(following), cursor, .. } =
            &mut self.crowd.clients[client].duty
        else {
            return Ok(());
        };
        match reply {
            Reply::WatchStarted { from, revision, applied } => {
                let spec = following.spec.clone();
                let begun = Cursor::new(&Asker::Cluster, spec, (*from, *applied));
                *cursor = Some(Box::new(begun));
                following.on_started(node, model, (*from, *revision))
            }
            Reply::WatchRefused { compacted } => self.on_gone(client, (place, id), *compacted),
            other => {
                let facts = format!("{node:?} answers a watch with {other:?}");
                Err(Broken::new("answers", facts))
            }
        }
    }

    /// What a watch is to be told next is compacted away.
    fn on_gone(
        &mut self,
        client: usize,
        (place, id): (usize, RequestId),
        compacted: Revision,
    ) -> Result<(), Broken> {
        let node = self.hosts[place].id;
        let model = self.crowd.ledger.model();
        if let Duty::Watch { following, running, cursor, .. } = &mut self.crowd.clients[client].duty
        {
            if let Some(following) = following {
                following.on_refused(node, model, compacted)?;
            }
            (*following, *running, *cursor) = (None, None, None);
        }
        self.asks_forget(id);
        self.plan_turn(client, Duration::ZERO);
        Ok(())
    }

    /// A node tells what has changed. Some read it at once, others later, or from history.
    pub(super) fn on_changes(&mut self, place: usize, changes: Changes) -> Result<(), Broken> {
        let Some(process) = &mut self.hosts[place].process else { return Ok(()) };
        process.local.ring.push(changes);
        for client in self.watchers_at(place).collect::<Vec<_>>() {
            if self.healed.is_some() || self.draws.client.chance(READS_AT_ONCE_PPM) {
                self.read_watch(client, place)?;
            }
        }
        Ok(())
    }

    /// A client reads all that there is for it.
    fn read_watch(&mut self, client: usize, place: usize) -> Result<(), Broken> {
        let bytes = 1 + self.draws.client.below(500) as usize;
        let room = Room { bytes, ..Room::WHOLE };
        loop {
            let node = self.hosts[place].id;
            let Some(process) = &self.hosts[place].process else { return Ok(()) };
            let Duty::Watch { cursor: Some(cursor), following: Some(following), running, .. } =
                &mut self.crowd.clients[client].duty
            else {
                return Ok(());
            };
            let told = match cursor.read(&process.local.ring, room) {
                Told::Behind => {
                    let (at, view) = process.subject.state_view();
                    match cursor.read_history((at, &view), room) {
                        Ok(told) => told,
                        Err(Compacted(compacted)) => {
                            let running = running.expect("it has a cursor as it runs");
                            return self.on_gone(client, running, compacted);
                        }
                    }
                }
                told => told,
            };
            let Told::Passage(passage) = told else {
                let facts = format!("{node:?} tells a watch of the cluster's own {told:?}");
                return Err(Broken::new("answers", facts));
            };
            let model = self.crowd.ledger.model();
            following.on_events(node, model, (&passage.events(), passage.through))?;
            if !passage.has_more {
                return Ok(());
            }
        }
    }

    /// Whether every watcher was told all there is.
    pub(super) fn are_watchers_complete(&mut self) -> bool {
        let model = self.crowd.ledger.model();
        self.crowd.clients.iter_mut().all(|client| match &mut client.duty {
            Duty::Watch { following: Some(following), running: Some(_), .. } => {
                following.is_complete(model)
            }
            Duty::Watch { .. } => false,
            _ => true,
        })
    }
}
