//! Changes as they happen. One stream carries many watches; each is followed by a task of its own,
//! so that one change wakes only those who want it.
//!
//! # Invariants
//! 1. Everything of one watch goes through its follower, in order: `created`, then events of rising
//!    revisions, then at most one `canceled`.
//! 2. A progress answer for the whole stream leaves after every event at or below its revision: the
//!    last follower to report sends it, after its own events (K2).
//! 3. A reader that does not read holds up its own stream only: all queues are bounded, and a watch
//!    that lags is told from history.

use super::outbox::{Gone, Outbox, Sender};
use super::server::{Etcd, Leader, header};
use super::{convert, refuse};
use crate::api::desk::Desk;
use crate::api::follow::Follow;
use crate::api::proto::etcdserverpb as pb;
use crate::api::unread::Reader;
use crate::driver::WatchItem;
use muslin_core::base::Revision;
use muslin_core::state::KvEvent;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tonic::{Request, Response, Status, Streaming};

/// Most watches on one stream: more than any client library opens, and a bound on what one
/// connection can make a node hold.
pub(super) const WATCHES_PER_STREAM_MAX: usize = 10_000;

/// Answers that may wait for the reader of one stream, each of about a mebibyte at most unless one
/// event is larger.
const ANSWERS_WAITING_MAX: usize = 8;

/// Wishes that may wait for one follower.
const WISHES_WAITING_MAX: usize = 16;

/// An answer is closed when its events have this size, so that no reader's limit is met by
/// gathering.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A watch that asks for it is told this often that nothing happened: etcd's period.
const PROGRESS_PERIOD: Duration = Duration::from_secs(600);

/// How often a stream that requires a leader looks for one; missing twice in a row ends it.
const LEADER_PERIOD: Duration = Duration::from_secs(1);

/// Answers about no watch in particular carry this id.
const NO_WATCH: i64 = -1;

type Answers = Sender<pb::WatchResponse>;

#[tonic::async_trait]
impl pb::watch_server::Watch for Etcd {
    type WatchStream = Outbox<pb::WatchResponse>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let leader = self.admit(request.metadata())?;
        let (answers, outbox) = Outbox::new(ANSWERS_WAITING_MAX);
        let stream = WatchStream {
            desk: self.desk.clone(),
            reader: request.extensions().get().cloned(),
            answers,
            wishes: BTreeMap::new(),
            followers: JoinSet::new(),
            next_id: 0,
        };
        tokio::spawn(stream.run(request.into_inner(), leader));
        Ok(Response::new(outbox))
    }
}

/// One client's stream of watches.
struct WatchStream {
    desk: Arc<Desk>,
    /// Counts what it does not read.
    reader: Option<Reader>,
    answers: Answers,
    /// By watch id. One whose follower has ended is closed, and its id free.
    wishes: BTreeMap<i64, mpsc::Sender<Wish>>,
    /// Ends with the stream: dropping it ends them all.
    followers: JoinSet<()>,
    next_id: i64,
}

/// What a stream asks of one of its followers.
enum Wish {
    /// End the watch.
    Cancel,
    /// Say when all that happened before has been told.
    Progress(Arc<Round>),
}

impl WatchStream {
    async fn run(mut self, mut requests: Streaming<pb::WatchRequest>, leader: Leader) {
        let answers = self.answers.clone();
        let desk = self.desk.clone();
        let end = tokio::select! {
            end = self.serve(&mut requests) => end,
            () = desk.stopping() => Err(refuse::stopped()),
            () = leader_lost(&desk), if leader == Leader::Required => Err(refuse::no_leader()),
            () = answers.closed() => Ok(()),
        };
        if let Err(status) = end {
            let _ = answers.send(Err(status)).await;
        }
    }

    async fn serve(&mut self, requests: &mut Streaming<pb::WatchRequest>) -> Result<(), Status> {
        use pb::watch_request::RequestUnion;
        loop {
            let request = tokio::select! {
                request = requests.message() => request?,
                Some(_) = self.followers.join_next() => continue,
            };
            let Some(request) = request else { return Ok(()) };
            match request.request_union {
                Some(RequestUnion::CreateRequest(request)) => self.create(request).await?,
                Some(RequestUnion::CancelRequest(request)) => self.cancel(request.watch_id).await,
                Some(RequestUnion::ProgressRequest(_)) => self.progress().await,
                // A request of a newer client; etcd ignores it too.
                None => {}
            }
        }
    }

    async fn create(&mut self, request: pb::WatchCreateRequest) -> Result<(), Status> {
        self.wishes.retain(|_, wishes| !wishes.is_closed());
        if self.wishes.len() >= WATCHES_PER_STREAM_MAX {
            return Err(Status::resource_exhausted("muslin: too many watches on one stream"));
        }
        let Some(id) = self.free_id(request.watch_id) else {
            self.refuse("mvcc: duplicate watch ID provided on the WatchStream").await;
            return Ok(());
        };
        if is_empty(&request) {
            self.refuse("mvcc: watcher range is empty").await;
            return Ok(());
        }
        let watch = Follow::start(&self.desk.handle, convert::watch(&request)).await;
        let (sender, wishes) = mpsc::channel(WISHES_WAITING_MAX);
        let follower = Follower {
            desk: self.desk.clone(),
            reader: self.reader.clone(),
            id,
            watch: watch.map_err(refuse::failure)?,
            answers: self.answers.clone(),
            wishes,
            fragment: request.fragment,
            awaited: VecDeque::new(),
            told: Revision::ZERO,
        };
        self.wishes.insert(id, sender);
        self.followers.spawn(follower.run(request.progress_notify));
        Ok(())
    }

    /// The id asked for, or the next one that is free; `None` when the one asked for is taken.
    fn free_id(&mut self, asked: i64) -> Option<i64> {
        if asked != 0 {
            return (!self.wishes.contains_key(&asked)).then_some(asked);
        }
        while self.wishes.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        Some(self.next_id - 1)
    }

    async fn refuse(&self, reason: &str) {
        let answer = pb::WatchResponse {
            header: Some(header(&self.desk, self.desk.handle.glance().revision)),
            watch_id: NO_WATCH,
            created: true,
            canceled: true,
            cancel_reason: String::from(reason),
            ..pb::WatchResponse::default()
        };
        let _ = self.answers.send(Ok(answer)).await;
    }

    /// Ends a watch. One that is not there has ended already: nothing is answered.
    async fn cancel(&mut self, id: i64) {
        if let Some(wishes) = self.wishes.remove(&id) {
            // Kept until the follower is gone, so that its id stays taken while it may still
            // answer.
            let _ = wishes.send(Wish::Cancel).await;
            wishes.closed().await;
        }
    }

    /// Asks every follower; the last to report answers (invariant 2).
    async fn progress(&self) {
        let round = Arc::new(Round { revision: AtomicU64::new(u64::MAX) });
        for wishes in self.wishes.values() {
            let _ = wishes.send(Wish::Progress(round.clone())).await;
        }
        Round::finish(round, &self.desk, &self.answers).await;
    }
}

/// etcd's test for a range that no key can be in.
fn is_empty(request: &pb::WatchCreateRequest) -> bool {
    let end = &request.range_end;
    !end.is_empty() && end.as_ref() != [0] && request.key >= *end
}

/// Returns when no leader has been known for a while.
async fn leader_lost(desk: &Desk) {
    let mut ticks = interval_at(Instant::now() + LEADER_PERIOD, LEADER_PERIOD);
    let mut missing = 0;
    while missing < 2 {
        ticks.tick().await;
        missing = if desk.handle.glance().leader.is_none() { missing + 1 } else { 0 };
    }
}

/// One question to a whole stream: up to where has everything been told?
struct Round {
    /// The lowest of what the followers have reported.
    revision: AtomicU64,
}

impl Round {
    /// Gives up one hold. Whoever gives up the last one answers.
    async fn finish(round: Arc<Round>, desk: &Desk, answers: &Answers) {
        let Some(round) = Arc::into_inner(round) else { return };
        let revision = match round.revision.into_inner() {
            // Nobody reported: there is no watch to have missed anything.
            u64::MAX => desk.handle.glance().revision,
            revision => Revision(revision),
        };
        let answer = pb::WatchResponse {
            header: Some(header(desk, revision)),
            watch_id: NO_WATCH,
            ..pb::WatchResponse::default()
        };
        let _ = answers.send(Ok(answer)).await;
    }
}

/// What a [`WatchItem::Progress`] is awaited for, oldest first.
enum Awaited {
    /// A question to the whole stream.
    Round(Arc<Round>),
    /// The period of a watch that asks to be told.
    Period,
}

/// Whether a follower goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Go,
    Stop,
}

impl Next {
    fn of(sent: Result<(), Gone>) -> Next {
        if sent.is_ok() { Next::Go } else { Next::Stop }
    }
}

/// Follows one watch.
struct Follower {
    desk: Arc<Desk>,
    reader: Option<Reader>,
    id: i64,
    watch: Follow,
    answers: Answers,
    wishes: mpsc::Receiver<Wish>,
    fragment: bool,
    awaited: VecDeque<Awaited>,
    /// All changes up to here have been told.
    told: Revision,
}

impl Follower {
    async fn run(mut self, progress_notify: bool) {
        let mut period = interval_at(Instant::now() + PROGRESS_PERIOD, PROGRESS_PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next = Next::Go;
        while next == Next::Go {
            next = tokio::select! {
                item = self.watch.next() => {
                    if matches!(item, WatchItem::Events { .. }) {
                        period.reset();
                    }
                    self.on_item(item).await
                }
                wish = self.wishes.recv() => self.on_wish(wish).await,
                _ = period.tick(), if progress_notify => {
                    self.awaited.push_back(Awaited::Period);
                    self.watch.request_progress();
                    Next::Go
                }
            };
        }
        self.give_up_rounds().await;
    }

    async fn on_wish(&mut self, wish: Option<Wish>) -> Next {
        match wish {
            Some(Wish::Progress(round)) => {
                self.awaited.push_back(Awaited::Round(round));
                self.watch.request_progress();
                Next::Go
            }
            Some(Wish::Cancel) => {
                self.answer(pb::WatchResponse { canceled: true, ..self.blank() }).await;
                Next::Stop
            }
            None => Next::Stop,
        }
    }

    async fn on_item(&mut self, item: WatchItem) -> Next {
        match item {
            WatchItem::Started { revision, .. } => {
                self.told = revision;
                self.answer(pb::WatchResponse { created: true, ..self.blank() }).await
            }
            WatchItem::Compacted { compacted } => {
                // etcd's clients wait for `created` before they look for anything else.
                self.told = self.desk.handle.glance().revision;
                self.answer(pb::WatchResponse { created: true, ..self.blank() }).await;
                let canceled = pb::WatchResponse {
                    canceled: true,
                    compact_revision: convert::signed(compacted.0),
                    ..self.blank()
                };
                self.answer(canceled).await;
                Next::Stop
            }
            WatchItem::Events { events, revision } => self.tell(events, revision).await,
            WatchItem::Progress { revision } => {
                self.told = self.told.max(revision);
                self.on_progress(revision).await
            }
            WatchItem::Cancelled { .. } => {
                let cancel_reason = String::from(refuse::stopped().message());
                self.answer(pb::WatchResponse { canceled: true, cancel_reason, ..self.blank() })
                    .await;
                Next::Stop
            }
        }
    }

    async fn on_progress(&mut self, revision: Revision) -> Next {
        match self.awaited.pop_front() {
            Some(Awaited::Round(round)) => {
                round.revision.fetch_min(revision.0, Ordering::AcqRel);
                Round::finish(round, &self.desk, &self.answers).await;
                Next::Go
            }
            Some(Awaited::Period) => self.answer(self.blank()).await,
            None => Next::Go,
        }
    }

    /// Sends events in answers of bearable size. A revision stays in one answer unless the client
    /// takes fragments.
    async fn tell(&mut self, events: Vec<KvEvent>, revision: Revision) -> Next {
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() {
            let mut bytes = 0;
            let mut answer = self.blank();
            while let Some(event) = events.next() {
                bytes += weight(&event);
                let at = event.kv.mod_revision;
                answer.events.push(convert::event(event));
                let Some(following) = events.peek() else { break };
                let splits = following.kv.mod_revision == at;
                if bytes >= ANSWER_BYTES_MAX && (self.fragment || !splits) {
                    answer.fragment = splits;
                    self.told = Revision(at);
                    break;
                }
            }
            if events.peek().is_none() {
                self.told = revision;
            }
            answer.header = Some(header(&self.desk, self.told));
            if self.answer_counted(answer, bytes).await == Next::Stop {
                return Next::Stop;
            }
        }
        Next::Go
    }

    async fn answer(&self, answer: pb::WatchResponse) -> Next {
        Next::of(self.answers.send(Ok(answer)).await)
    }

    async fn answer_counted(&self, answer: pb::WatchResponse, bytes: usize) -> Next {
        match &self.reader {
            Some(reader) => Next::of(self.answers.send_counted(answer, reader.charge(bytes)).await),
            None => self.answer(answer).await,
        }
    }

    fn blank(&self) -> pb::WatchResponse {
        pb::WatchResponse {
            header: Some(header(&self.desk, self.told)),
            watch_id: self.id,
            ..pb::WatchResponse::default()
        }
    }

    /// A watch that has ended holds up nobody's question.
    async fn give_up_rounds(&mut self) {
        self.wishes.close();
        while let Some(wish) = self.wishes.recv().await {
            if let Wish::Progress(round) = wish {
                self.awaited.push_back(Awaited::Round(round));
            }
        }
        for awaited in std::mem::take(&mut self.awaited) {
            if let Awaited::Round(round) = awaited {
                Round::finish(round, &self.desk, &self.answers).await;
            }
        }
    }
}

/// About the size of an event on the wire.
fn weight(event: &KvEvent) -> usize {
    /// Numbers and tags around the bytes of a pair.
    const NUMBERS: usize = 32;
    let pair = |kv: &muslin_core::state::KeyValue| kv.key.len() + kv.value.len() + NUMBERS;
    pair(&event.kv) + event.prev.as_ref().map_or(0, pair)
}
