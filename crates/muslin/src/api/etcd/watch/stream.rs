//! One client's stream of watches.

use super::WATCHES_PER_STREAM_MAX;
use super::answer::Answer;
use super::rounds::Rounds;
use crate::api::desk::Desk;
use crate::api::etcd::outbox::{Gone, Place, Sender};
use crate::api::etcd::server::{Leader, header};
use crate::api::etcd::{convert, refuse};
use crate::api::proto::etcdserverpb as pb;
use crate::api::unread::{COUNTED_BYTES_MIN, Charge, Reader};
use crate::driver::{Begun, Inbox, Lookout, Read};
use bytes::Bytes;
use muslin_core::base::Revision;
use muslin_core::state::{AuthRefusal, Passage, Room, WatchSpec};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tonic::{Status, Streaming};

/// Answers that may wait for the reader of one stream, each of about a mebibyte at most unless one
/// event is larger.
pub(super) const ANSWERS_WAITING_MAX: usize = 8;

/// Answers that are owed for what the client asked; it is heard again when it has taken them.
const DUE_MAX: usize = 256;

/// An answer is closed when its events have this size, so that no reader's limit is met by
/// gathering.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Largest copy of what the last watch was told that stays for the next that begins: one that is
/// not counted.
const COPY_KEPT_MAX: usize = COUNTED_BYTES_MIN - 1;

/// A watch that asks for it is told this often that nothing happened: etcd's period.
const PROGRESS_PERIOD: Duration = Duration::from_secs(600);

/// How often it is looked for those.
const PROGRESS_LOOK: Duration = Duration::from_secs(5);

/// Answers about no watch in particular carry this id.
const NO_WATCH: i64 = -1;

pub(super) struct WatchStream {
    desk: Arc<Desk>,
    /// Counts what it does not read.
    reader: Option<Reader>,
    /// Where it finds which of its watches have something to read.
    inbox: Arc<Inbox>,
    /// By watch id.
    watches: BTreeMap<i64, Watched>,
    /// Watch ids by the number that is in the inbox. A number is used once, an id again.
    ids: HashMap<u64, i64>,
    next_number: u64,
    next_id: i64,
    /// Those that may have something to read, each once; some may be gone.
    unread: VecDeque<i64>,
    /// Those of them that have not had their turn since marks were taken last.
    turns_left: usize,
    /// Up to here they read, so that all read the same.
    upto: Revision,
    /// The pump has called: once all have had their turn, marks are taken. Not before, or those who
    /// stand at the same place would part.
    is_called: bool,
    /// Answers that go before any further event.
    due: VecDeque<pb::WatchResponse>,
    rounds: Rounds,
    /// The events that the last watch was told.
    told: Option<Copied>,
    /// When something was taken, or there was nothing to take.
    read_at: Instant,
}

/// What a stream begins with.
pub(super) struct First {
    /// What came at once.
    pub(super) request: Option<pb::WatchRequest>,
    /// Let go of when that has been carried out.
    pub(super) begun: oneshot::Sender<()>,
}

/// One watch.
struct Watched {
    number: u64,
    lookout: Box<Lookout>,
    fragment: bool,
    progress_notify: bool,
    /// All changes up to here have been told.
    told: Revision,
    /// When it was told something last.
    told_at: Instant,
    /// It is among the unread.
    is_queued: bool,
}

/// Events as they were told to one watch: others that stand where it stood are told the same.
struct Copied {
    spec: WatchSpec,
    from: Revision,
    upto: Revision,
    events: Bytes,
    through: Revision,
    /// Counts it, beside the answers that are on their way.
    charge: Option<Charge>,
}

impl Copied {
    /// What stays of it while nobody is to be told anything: every stream may have one, and who
    /// has read everything is not to be cut for it.
    fn at_rest(self) -> Option<Copied> {
        (self.events.len() <= COPY_KEPT_MAX).then_some(Copied { charge: None, ..self })
    }

    /// Its reader has taken something: the time of what it has not taken begins anew.
    fn renew(&mut self) {
        drop(self.charge.as_mut().map(|charge| charge.part(0)));
    }

    fn is_for(&self, lookout: &Lookout, upto: Revision) -> bool {
        let (cursor, told) = (lookout.cursor(), &self.spec);
        let spec = cursor.spec();
        self.upto == upto
            && self.from == cursor.next()
            && !cursor.is_within_revision()
            && (told.no_put, told.no_delete, told.prev_kv)
                == (spec.no_put, spec.no_delete, spec.prev_kv)
            && told.range == spec.range
    }
}

impl WatchStream {
    pub(super) fn new(desk: Arc<Desk>, reader: Option<Reader>) -> WatchStream {
        WatchStream {
            desk,
            reader,
            inbox: Arc::default(),
            watches: BTreeMap::new(),
            ids: HashMap::new(),
            next_number: 0,
            next_id: 0,
            unread: VecDeque::new(),
            turns_left: 0,
            upto: Revision::ZERO,
            is_called: false,
            due: VecDeque::new(),
            rounds: Rounds::default(),
            told: None,
            read_at: Instant::now(),
        }
    }

    pub(super) async fn run(
        mut self,
        first: First,
        mut requests: Streaming<pb::WatchRequest>,
        answers: Sender<Answer>,
        leader: Leader,
    ) {
        let desk = self.desk.clone();
        let end = tokio::select! {
            end = self.serve(first, &mut requests, &answers) => end,
            () = desk.stopping() => Err(refuse::stopped()),
            () = leader.lost(&desk) => Err(refuse::no_leader()),
            () = answers.closed() => Ok(()),
        };
        if let Err(status) = end {
            let _ = answers.send(Err(status)).await;
        }
    }

    async fn serve(
        &mut self,
        First { request, begun }: First,
        requests: &mut Streaming<pb::WatchRequest>,
        answers: &Sender<Answer>,
    ) -> Result<(), Status> {
        let mut looks = interval_at(Instant::now() + PROGRESS_LOOK, PROGRESS_LOOK);
        let patience = self.desk.patience.unread;
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // As etcd: who has said all they want to watch may close their side, and read on.
        let mut is_open = true;
        if let Some(request) = request {
            self.on_request(request).await?;
        }
        drop(begun);
        loop {
            if self.is_called && (self.turns_left == 0 || self.unread.is_empty()) {
                self.take_marks();
            }
            self.answer_rounds();
            let has_any = !self.due.is_empty() || !self.unread.is_empty();
            if !has_any {
                self.read_at = Instant::now();
                self.told = self.told.take().and_then(Copied::at_rest);
            }
            if !is_open && !has_any && self.watches.is_empty() {
                return Ok(());
            }
            let is_heard = is_open && self.due.len() < DUE_MAX && !self.rounds.is_full();
            tokio::select! {
                request = requests.message(), if is_heard => match request? {
                    Some(request) => self.on_request(request).await?,
                    None => is_open = false,
                },
                place = answers.room(), if has_any => match place {
                    Ok(place) => self.tell(place).await?,
                    Err(Gone) => return Ok(()),
                },
                () = self.inbox.wait() => {
                    if self.desk.handle.hub().is_closed() {
                        return Err(refuse::stopped());
                    }
                    self.is_called = true;
                }
                _ = looks.tick() => self.tell_progress(),
                () = sleep_until(self.read_at + patience), if !self.unread.is_empty() => {
                    self.cancel_unread();
                }
            }
        }
    }

    async fn on_request(&mut self, request: pb::WatchRequest) -> Result<(), Status> {
        use pb::watch_request::RequestUnion;
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => self.create(request).await?,
            Some(RequestUnion::CancelRequest(request)) => self.cancel(request.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => self.open_round(),
            // A request of a newer client; etcd ignores it too.
            None => {}
        }
        Ok(())
    }

    async fn create(&mut self, request: pb::WatchCreateRequest) -> Result<(), Status> {
        if self.watches.len() >= WATCHES_PER_STREAM_MAX {
            return Err(Status::resource_exhausted("muslin: too many watches on one stream"));
        }
        let Some(id) = self.free_id(request.watch_id) else {
            self.refuse("mvcc: duplicate watch ID provided on the WatchStream".into());
            return Ok(());
        };
        if is_empty(&request) {
            self.refuse("mvcc: watcher range is empty".into());
            return Ok(());
        }
        let number = self.next_number;
        self.next_number += 1;
        let spec = convert::watch(&request);
        let begun = Lookout::begin(&self.desk.handle, spec, (&self.inbox, number)).await;
        let here = self.desk.handle.glance().revision;
        match begun.map_err(refuse::failure)? {
            Begun::Started { lookout, revision, .. } => {
                let created = pb::WatchResponse { created: true, ..self.blank(id, revision) };
                self.due.push_back(created);
                let watched = Watched {
                    number,
                    lookout,
                    fragment: request.fragment,
                    progress_notify: request.progress_notify,
                    told: revision,
                    told_at: Instant::now(),
                    is_queued: true,
                };
                self.watches.insert(id, watched);
                self.ids.insert(number, id);
                self.unread.push_back(id);
                // It reads what has happened since it began.
                self.upto = self.desk.handle.hub().seen();
            }
            Begun::Compacted(compacted) => {
                // etcd's clients wait for `created` before they look for anything else.
                let created = pb::WatchResponse { created: true, ..self.blank(id, here) };
                self.due.push_back(created);
                self.due.push_back(self.compacted(id, here, compacted));
            }
            // Never begun: etcd says so in one answer, of no watch.
            Begun::Denied(why) => self.refuse(as_go_prints(&refuse::auth(why))),
        }
        Ok(())
    }

    /// The id asked for, or the next one that is free; `None` when the one asked for is taken.
    fn free_id(&mut self, asked: i64) -> Option<i64> {
        if asked != 0 {
            return (!self.watches.contains_key(&asked)).then_some(asked);
        }
        while self.watches.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        Some(self.next_id - 1)
    }

    fn refuse(&mut self, cancel_reason: String) {
        let here = self.desk.handle.glance().revision;
        let (created, canceled) = (true, true);
        let blank = self.blank(NO_WATCH, here);
        self.due.push_back(pb::WatchResponse { created, canceled, cancel_reason, ..blank });
    }

    /// Ends a watch. One that is not there has ended already: nothing is answered.
    fn cancel(&mut self, id: i64) {
        if let Some(watched) = self.remove(id) {
            let blank = self.blank(id, watched.told);
            self.due.push_back(pb::WatchResponse { canceled: true, ..blank });
        }
    }

    fn remove(&mut self, id: i64) -> Option<Watched> {
        let watched = self.watches.remove(&id)?;
        self.ids.remove(&watched.number);
        if watched.is_queued {
            // The id may be given to another, which is queued by itself.
            self.unread.retain(|queued| *queued != id);
        }
        self.rounds.on_told(id, None);
        Some(watched)
    }

    /// Whom has the pump marked?
    fn take_marks(&mut self) {
        self.is_called = false;
        let marks = self.inbox.take();
        if marks.is_empty() {
            return;
        }
        for mark in marks {
            let id = self.ids.get(&mark.number);
            let watched = id.and_then(|id| self.watches.get_mut(id).map(|watched| (*id, watched)));
            let Some((id, watched)) = watched else { continue };
            watched.lookout.note(mark);
            if !std::mem::replace(&mut watched.is_queued, true) {
                self.unread.push_back(id);
            }
        }
        self.turns_left = self.unread.len();
        self.upto = self.desk.handle.hub().seen();
    }

    /// The client asks up to where all has been told.
    fn open_round(&mut self) {
        let revision = match self.watches.is_empty() {
            true => self.desk.handle.glance().revision,
            false => self.desk.handle.hub().look(),
        };
        self.take_marks();
        self.rounds.open(revision, self.unread.iter().copied().collect());
    }

    fn answer_rounds(&mut self) {
        while let Some(revision) = self.rounds.answered() {
            self.due.push_back(self.blank(NO_WATCH, revision));
        }
    }

    /// Tells those who asked for it that nothing has happened for a while.
    fn tell_progress(&mut self) {
        let asks = |watched: &Watched| {
            watched.progress_notify && watched.told_at.elapsed() >= PROGRESS_PERIOD
        };
        if !self.watches.values().any(asks) {
            return;
        }
        let revision = self.desk.handle.hub().look();
        self.take_marks();
        let mut idle = Vec::new();
        for (id, watched) in &mut self.watches {
            if asks(watched) && !watched.is_queued && self.due.len() + idle.len() < DUE_MAX {
                watched.told = watched.told.max(revision);
                watched.told_at = Instant::now();
                idle.push((*id, watched.told));
            }
        }
        for (id, told) in idle {
            self.due.push_back(self.blank(id, told));
        }
    }

    /// Nobody reads: whatever has not been told ends, and may be watched again.
    fn cancel_unread(&mut self) {
        self.turns_left = 0;
        for id in std::mem::take(&mut self.unread) {
            let Some(watched) = self.remove(id) else { continue };
            let from = watched.lookout.cursor().next();
            let cancel_reason = format!(
                "muslin: nothing was read for {} s; watch again from revision {from}",
                self.desk.patience.unread.as_secs(),
            );
            let blank = self.blank(id, watched.told);
            self.due.push_back(pb::WatchResponse { canceled: true, cancel_reason, ..blank });
            self.desk.metrics.cancelled_watches.increment(1);
        }
        self.told = None;
        tracing::info!("watches were cancelled: their reader has read nothing for a while");
    }

    /// Fills one place with what is due, or with events of the next watch that has any.
    async fn tell(&mut self, place: Place<'_, Answer>) -> Result<(), Status> {
        self.read_at = Instant::now();
        // There is a place: its reader reads, whichever watch it is told of.
        self.told.iter_mut().for_each(Copied::renew);
        if let Some(due) = self.due.pop_front() {
            place.fill(due.into(), None);
            return Ok(());
        }
        self.turns_left = self.turns_left.saturating_sub(1);
        let Some(id) = self.unread.pop_front() else { return Ok(()) };
        let has_others = self.watches.len() > 1;
        let Some(watched) = self.watches.get_mut(&id) else { return Ok(()) };
        watched.is_queued = false;
        if let Some(told) = self.told.as_ref().filter(|it| it.is_for(&watched.lookout, self.upto)) {
            watched.lookout.go_to(told.through.next());
            let (events, through) = (told.events.clone(), told.through);
            self.told_through(id, through);
            if !events.is_empty() {
                self.fill(place, (id, through), events, false);
            }
            return Ok(());
        }
        let from = watched.lookout.cursor().next();
        let is_whole = !watched.lookout.cursor().is_within_revision();
        let room = Room { bytes: ANSWER_BYTES_MAX, splits: watched.fragment, upto: self.upto };
        let read = watched.lookout.read(&self.desk.handle, room).await;
        match read.map_err(|_| refuse::stopped())? {
            Read::Passage(passage) => {
                let events = encoded(&passage);
                let through = passage.through;
                if is_whole && !passage.has_more && has_others {
                    let (spec, upto) = (watched.lookout.cursor().spec().clone(), self.upto);
                    let events = events.clone();
                    let charge = self.reader.as_ref().map(|reader| reader.charge(events.len()));
                    self.told = Some(Copied { spec, from, upto, events, through, charge });
                }
                self.told_through(id, through);
                if !events.is_empty() {
                    self.fill(place, (id, through), events, passage.is_part);
                }
            }
            Read::Compacted(compacted) => {
                self.end(id, |stream, told| stream.compacted(id, told, compacted))
            }
            Read::Denied(why) => self.end(id, |stream, told| stream.denied(id, told, why)),
        }
        Ok(())
    }

    /// A watch was told all up to here, and goes on if there is more.
    fn told_through(&mut self, id: i64, through: Revision) {
        let Some(watched) = self.watches.get_mut(&id) else { return };
        watched.told = watched.told.max(through);
        let has_more = watched.lookout.has_more();
        if has_more && !std::mem::replace(&mut watched.is_queued, true) {
            self.unread.push_back(id);
        }
        self.rounds.on_told(id, has_more.then(|| watched.lookout.cursor().next()));
    }

    fn fill(
        &mut self,
        place: Place<'_, Answer>,
        (id, through): (i64, Revision),
        events: Bytes,
        fragment: bool,
    ) {
        if let Some(watched) = self.watches.get_mut(&id) {
            watched.told_at = Instant::now();
        }
        let head = pb::WatchResponse { fragment, ..self.blank(id, through) };
        let charge = self.reader.as_ref().map(|reader| reader.charge(events.len()));
        place.fill(Answer { head, events }, charge);
    }

    fn end(&mut self, id: i64, answer: impl FnOnce(&Self, Revision) -> pb::WatchResponse) {
        if let Some(watched) = self.remove(id) {
            let answer = answer(self, watched.told);
            self.due.push_back(answer);
        }
    }

    fn compacted(&self, id: i64, told: Revision, compacted: Revision) -> pb::WatchResponse {
        let compact_revision = convert::signed(compacted.0);
        pb::WatchResponse { canceled: true, compact_revision, ..self.blank(id, told) }
    }

    /// Of a watch whose user may not see it any more.
    fn denied(&self, id: i64, told: Revision, why: AuthRefusal) -> pb::WatchResponse {
        let cancel_reason = as_go_prints(&refuse::auth(why));
        pb::WatchResponse { canceled: true, cancel_reason, ..self.blank(id, told) }
    }

    fn blank(&self, watch_id: i64, told: Revision) -> pb::WatchResponse {
        let header = Some(header(&self.desk, told));
        pb::WatchResponse { header, watch_id, ..pb::WatchResponse::default() }
    }
}

fn encoded(passage: &Passage) -> Bytes {
    let mut events = Vec::with_capacity(passage.bytes());
    passage.write(&mut events);
    Bytes::from(events)
}

/// etcd's test for a range that no key can be in.
fn is_empty(request: &pb::WatchCreateRequest) -> bool {
    let end = &request.range_end;
    !end.is_empty() && end.as_ref() != [0] && request.key >= *end
}

/// A status as etcd puts it into a reason: clients look for the whole of it.
fn as_go_prints(status: &Status) -> String {
    format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::etcd::outbox::Outbox;
    use crate::api::tests::World;
    use crate::api::tests::hostile::desk;
    use crate::api::unread::Unread;

    fn copied(unread: &Unread, bytes: usize) -> Copied {
        Copied {
            spec: WatchSpec::default(),
            from: Revision(1),
            upto: Revision(2),
            events: Bytes::from(vec![7; bytes]),
            through: Revision(2),
            charge: Some(unread.reader().charge(bytes)),
        }
    }

    #[test]
    fn a_stream_at_rest_keeps_little_and_is_charged_for_nothing() {
        let unread = Unread::default();
        let large = copied(&unread, COPY_KEPT_MAX + 1);
        let small = copied(&unread, COPY_KEPT_MAX);
        assert_eq!(unread.streams_bytes(), large.events.len() as u64);
        assert!(large.at_rest().is_none());
        assert_eq!(unread.streams_bytes(), 0);
        assert_eq!(small.at_rest().unwrap().events.len(), COPY_KEPT_MAX);
    }

    #[tokio::test]
    async fn to_take_anything_renews_the_time_of_what_waits_for_others_of_the_stream() {
        let world = World::new().await;
        let unread = Unread::default();
        let mut stream = WatchStream::new(desk(&world, None), Some(unread.reader()));
        stream.told = Some(copied(&unread, COPY_KEPT_MAX + 1));
        let before = unread.streams_since();
        assert!(before.is_some());
        let (answers, _outbox) = Outbox::new(1);
        let Ok(place) = answers.room().await else { panic!("somebody reads") };
        stream.tell(place).await.unwrap();
        assert!(unread.streams_since() > before);
    }
}
