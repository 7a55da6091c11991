//! The driver of every machine: gathers inputs, hands them over, carries outputs out in order.

use super::World;
use super::steps::Happening;
use crate::checkers::Broken;
use crate::disk::Loss;
use crate::host::{Held, Process, Standing, id_of, place_of};
use crate::net::{Fate, Parcel};
use crate::subject::{Act, Subject};
use crate::time::{Clock, Time, nanos};
use muslin_core::base::mutant::{self, Mutant};
use muslin_core::base::{GroupId, Index, NodeId, Outputs, PersistId};
use muslin_core::raft::{DiskRoom, Snapshot};
use std::collections::VecDeque;

/// How often, in a million, each record under way survives a crash that is not the harshest.
const SURVIVES_PPM: [u64; 3] = [500_000, 900_000, 1_000_000];

impl<S: Subject> World<S> {
    /// Starts a machine from what its disk has.
    pub(crate) fn start(&mut self, place: usize) {
        let offset = self.draws.process.below(1 << 50);
        let drift = self.profile.machines.draw_drift(&mut self.draws.process);
        let host = &mut self.hosts[place];
        let may_run = matches!(host.standing, Standing::Member | Standing::Removed);
        if host.process.is_some() || !may_run {
            return;
        }
        self.net.on_start(&self.profile.network, place);
        host.life += 1;
        host.boot += 1;
        host.hindered = self.time;
        let clock = Clock::started(self.time, offset, drift);
        self.trace.tell(self.time, format_args!("{:?} starts, boot {}", host.id, host.boot));
        let (subject, local) = S::start(self, place, clock.now(self.time));
        let host = &mut self.hosts[place];
        let seen = vec![subject.view(GroupId::CONTROL)];
        host.process = Some(Process {
            subject,
            local,
            clock,
            inbox: VecDeque::new(),
            held: Vec::new(),
            busy_until: self.time,
            is_roused: true,
            due: None,
            wake_at: None,
            is_paused: false,
            is_stopping: false,
            cut_after: None,
            seen,
        });
        let life = host.life;
        let is_full = host.is_full;
        S::on_started(self, place);
        if is_full {
            self.arrive(place, S::disk(DiskRoom::Full));
        }
        self.queue.push(self.time, Happening::Work { host: place, life });
    }

    /// Power is gone, and with it all that no sync has saved.
    pub(crate) fn crash(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        if host.process.take().is_none() {
            return;
        }
        let prng = &mut self.draws.disk;
        let pending = host.disk.pending();
        // The harshest crash half the time.
        let loss = match prng.below(2) {
            0 => Loss::All,
            _ => Loss::Some(*prng.pick(&SURVIVES_PPM).expect("there are some")),
        };
        let whole = host.disk.crash(prng, loss);
        host.life += 1;
        self.counts.crashes += 1;
        self.net.on_crash(place);
        let text = format_args!(
            "{:?} loses power: {whole} of {pending} writes under way are there",
            host.id
        );
        self.trace.tell(self.time, text);
        S::on_lost(self, place);
    }

    /// Something comes for a node.
    pub(crate) fn arrive(&mut self, place: usize, input: S::Input) {
        let Some(process) = &mut self.hosts[place].process else { return };
        process.inbox.push_back(input);
    }

    /// Lets a node work if it can, at once or when it has time.
    pub(crate) fn rouse(&mut self, place: usize) -> Result<(), Broken> {
        let host = &mut self.hosts[place];
        let Some(process) = &mut host.process else { return Ok(()) };
        if process.is_paused || process.is_roused {
            return Ok(());
        }
        if process.busy_until > self.time {
            process.is_roused = true;
            let work = Happening::Work { host: place, life: host.life };
            self.queue.push(process.busy_until, work);
            return Ok(());
        }
        self.work(place)
    }

    /// As [`World::rouse`], never at once: whoever calls has more to do first.
    pub(crate) fn rouse_soon(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        let Some(process) = &mut host.process else { return };
        if process.is_paused || process.is_roused {
            return;
        }
        process.is_roused = true;
        let at = process.busy_until.max(self.time);
        self.queue.push(at, Happening::Work { host: place, life: host.life });
    }

    pub(crate) fn on_work(&mut self, place: usize, life: u64) -> Result<(), Broken> {
        let host = &mut self.hosts[place];
        if host.life != life {
            return Ok(());
        }
        let Some(process) = &mut host.process else { return Ok(()) };
        process.is_roused = false;
        if process.is_paused { Ok(()) } else { self.work(place) }
    }

    pub(crate) fn on_wake(&mut self, place: usize, life: u64) -> Result<(), Broken> {
        let host = &mut self.hosts[place];
        if host.life != life {
            return Ok(());
        }
        let Some(process) = &mut host.process else { return Ok(()) };
        if process.wake_at != Some(self.time) {
            return Ok(());
        }
        process.wake_at = None;
        let now = process.clock.now(self.time);
        if process.due.is_some_and(|due| due <= now) {
            self.rouse(place)
        } else {
            self.plan_wake(place);
            Ok(())
        }
    }

    pub(crate) fn on_parcel(&mut self, parcel: Box<Parcel<S::Message>>) -> Result<(), Broken> {
        let Some(parcel) = self.net.arrive(parcel) else { return Ok(()) };
        let Parcel { from, to, message, .. } = *parcel;
        let from = id_of(from);
        let Some(process) = &mut self.hosts[to].process else { return Ok(()) };
        if !S::hears(&process.local, from) {
            return Ok(());
        }
        process.inbox.push_back(S::received(from, message));
        self.rouse(to)
    }

    pub(crate) fn on_synced(&mut self, place: usize, life: u64) -> Result<(), Broken> {
        let host = &mut self.hosts[place];
        if host.life != life {
            return Ok(());
        }
        let has_failed = std::mem::take(&mut host.sync_fails);
        if has_failed && !mutant::is_active(Mutant::SyncErrorIgnored) {
            // What the disk has is not known any more: only a start from it can tell.
            self.trace.tell(self.time, format_args!("{:?} fails to sync, and stops", host.id));
            self.crash_for_a_while(place);
            return Ok(());
        }
        if has_failed {
            host.disk.finish_sync_in_vain(&mut self.durable);
        } else {
            host.disk.finish_sync(&mut self.durable);
        }
        // Writes of a group become durable in order: its last one speaks for all of a sync.
        if let Some(process) = &mut host.process {
            let mut newest = self.durable.drain(..).peekable();
            while let Some((group, id)) = newest.next() {
                if newest.peek().is_none_or(|(next, _)| *next != group) {
                    process.inbox.push_back(S::persisted(group, id));
                }
            }
        }
        self.sync(place, self.time);
        self.rouse(place)
    }

    pub(super) fn on_saved(&mut self, place: usize, life: u64, number: u64) -> Result<(), Broken> {
        let host = &mut self.hosts[place];
        if host.life != life {
            return Ok(());
        }
        if !host.disk.can_finish_save(number) {
            let again = self.time + self.profile.disks.sync.draw(&mut self.draws.disk);
            self.queue.push(again, Happening::Saved { host: place, life, number });
            return Ok(());
        }
        let Some((group, index)) = host.disk.finish_save(number) else { return Ok(()) };
        self.arrive(place, S::saved(group, index));
        self.rouse(place)
    }

    /// A snapshot is written beside the log, for as long as some syncs take.
    fn save(&mut self, place: usize, (group, snapshot, keep_from): (GroupId, Snapshot, Index)) {
        let host = &mut self.hosts[place];
        let number = host.disk.start_save(group, snapshot, keep_from);
        let prng = &mut self.draws.disk;
        let delay = self.profile.disks.sync.draw(prng) * (1 + prng.below(8)) as u32;
        let saved = Happening::Saved { host: place, life: host.life, number };
        self.queue.push(self.time + delay + host.slow_disk, saved);
    }

    /// Starts the next sync, if something waits for one.
    fn sync(&mut self, place: usize, at: Time) {
        let host = &mut self.hosts[place];
        if host.disk.start_sync(self.profile.disks.batch).is_none() {
            return;
        }
        let delay = self.profile.disks.sync.draw(&mut self.draws.disk) + host.slow_disk;
        self.queue.push(at + delay, Happening::Synced { host: place, life: host.life });
    }

    /// One batch of a node: everything that waits, then a flush, then what it wants done.
    fn work(&mut self, place: usize) -> Result<(), Broken> {
        let mut out = std::mem::take(&mut self.out);
        let mut leaving = Vec::new();
        let handled = self.hand_over(place, &mut out, &mut leaving);
        self.counts.events += handled;
        let cost = self.profile.machines.batch_cost
            + self.profile.machines.input_cost * u32::try_from(handled).unwrap_or(u32::MAX);
        let done = self.time + cost + self.hosts[place].starved;
        let process = self.hosts[place].process.as_mut().expect("it has just worked");
        process.busy_until = done;
        let result = self
            .observe(place, &out)
            .and_then(|()| self.carry_out(place, (&mut out, leaving), done));
        for _ in out.drain() {}
        self.out = out;
        result?;
        let Some(process) = &mut self.hosts[place].process else { return Ok(()) };
        if !process.inbox.is_empty() && !process.is_roused {
            process.is_roused = true;
            let life = self.hosts[place].life;
            self.queue.push(done, Happening::Work { host: place, life });
        }
        self.sync(place, done);
        self.note_deadline(place);
        Ok(())
    }

    /// Hands a batch over. Inputs come before timers, as in a process that was asleep. How many
    /// inputs.
    fn hand_over(
        &mut self,
        place: usize,
        out: &mut Outputs<S::Output>,
        leaving: &mut Vec<Held<S::Message>>,
    ) -> u64 {
        let (at, most) = (self.time, self.profile.machines.batch);
        let host = &mut self.hosts[place];
        let id = host.id;
        let process = host.process.as_mut().expect("only a running node works");
        let now = process.clock.now(at);
        let mut handled = 0;
        while handled < most
            && let Some(input) = process.inbox.pop_front()
        {
            handled += 1;
            if let Some((group, durable)) = S::durable(&input)
                && !process.held.is_empty()
            {
                let is_due =
                    |held: &mut Held<S::Message>| held.after.0 == group && held.after.1 <= durable;
                leaving.extend(process.held.extract_if(.., is_due));
            }
            self.trace.input::<S>(at, id, &input);
            process.subject.handle(now, input, out);
        }
        // The inputs may have put it off.
        if process.due.is_some_and(|due| due <= now)
            && process.subject.deadline().is_some_and(|due| due <= now)
        {
            handled += 1;
            self.trace.input::<S>(at, id, &S::tick());
            process.subject.handle(now, S::tick(), out);
        }
        process.subject.flush(now, out);
        handled
    }

    /// Carries outputs out, in order; they leave when the batch is done.
    fn carry_out(
        &mut self,
        place: usize,
        (out, leaving): (&mut Outputs<S::Output>, Vec<Held<S::Message>>),
        done: Time,
    ) -> Result<(), Broken> {
        for Held { to, message, .. } in leaving {
            self.transmit(place, to, message, done)?;
        }
        let cut_after =
            self.hosts[place].process.as_mut().and_then(|process| process.cut_after.take());
        for (number, output) in out.drain().enumerate() {
            if cut_after == Some(number) {
                self.crash_for_a_while(place);
                return Ok(());
            }
            // An answer may have been the occasion for a crash.
            if self.hosts[place].process.is_none() {
                return Ok(());
            }
            self.trace.output::<S>(self.time, self.hosts[place].id, &output);
            self.carry(place, output, done)?;
        }
        Ok(())
    }

    fn carry(&mut self, place: usize, output: S::Output, done: Time) -> Result<(), Broken> {
        let host = &mut self.hosts[place];
        match S::act(output) {
            Act::Persist { group, id, write } => host.disk.issue(group, id, write),
            Act::Send { to, after, message } => {
                let after = after.unwrap_or((GroupId::CONTROL, PersistId::ZERO));
                if after.1 > host.disk.shelf(after.0).durable_id() {
                    let process = host.process.as_mut().expect("outputs of a running machine");
                    process.held.push(Held { after, to, message });
                } else {
                    self.transmit(place, to, message, done)?;
                }
            }
            Act::Save { group, snapshot, keep_from } => {
                self.save(place, (group, snapshot, keep_from));
            }
            Act::Other(output) => S::on_other(self, place, output, done)?,
        }
        Ok(())
    }

    /// Sends on the stream to a peer.
    fn transmit(
        &mut self,
        place: usize,
        to: NodeId,
        message: S::Message,
        at: Time,
    ) -> Result<(), Broken> {
        let host = &self.hosts[place];
        if let Some((group, promise)) = S::promise(&message) {
            let durable = host.disk.shelf(group).durable();
            let promises = &mut self.checks[group.0 as usize].promises;
            promises.on_send((host.id, to), durable, promise)?;
        }
        let other = place_of(to);
        // A member may be no machine at all.
        let there = self.hosts.get(other).map(|host| host.address);
        let reaches = |it: &Process<S>| there.is_some_and(|there| S::reaches(&it.local, to, there));
        if !host.process.as_ref().is_some_and(reaches) {
            return Ok(());
        }
        let message = if self.profile.network.encoded { S::encoded(message)? } else { message };
        let parcel = self.net.pack(place, other, message);
        match self.net.send(&self.profile.network, at, &parcel) {
            Fate::Lost => {}
            Fate::Arrives(arrival) => self.queue.push(arrival, Happening::Parcel(parcel)),
            Fate::Twice(first, second) => {
                let again = self.net.pack(place, other, parcel.message.clone());
                self.queue.push(first, Happening::Parcel(parcel));
                self.queue.push(second, Happening::Parcel(again));
            }
        }
        Ok(())
    }

    /// The node's deadline may be another after a batch. One that was put off is looked at again
    /// when the old one comes: most are put off many times before they come.
    fn note_deadline(&mut self, place: usize) {
        let Some(process) = &mut self.hosts[place].process else { return };
        let before = process.due;
        process.due = process.subject.deadline();
        if process.wake_at.is_none() || process.due < before {
            self.plan_wake(place);
        }
    }

    /// Sees to it that the node is woken for its deadline, a little late as timers are.
    fn plan_wake(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        let Some(process) = &mut host.process else { return };
        let Some(deadline) = process.due else { return };
        let due = process.clock.when(deadline).max(process.busy_until);
        if process.wake_at.is_some_and(|at| at <= due) {
            return;
        }
        let late = self.draws.process.below(nanos(self.profile.machines.timer_late).max(1));
        let at = Time(due.0 + late);
        process.wake_at = Some(at);
        self.queue.push(at, Happening::Wake { host: place, life: host.life });
    }
}
