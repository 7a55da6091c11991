//! Three nodes in memory, and programs at each that want the same thing.

use super::*;
use crate::driver::{Driver, Handle, start};
use crate::store::mem::{Disk, MemStore};
use crate::transport::mem::MemNetwork;
use bytes::Bytes;
use muslin_core::base::{ClusterId, LeaseId, NodeId, Revision};
use muslin_core::node::{Consistency, Options};
use muslin_core::state::{
    Command, CommandKind, DeleteRange, Founding, KeyRange, KeyValue, LeaseRevoke, Member, Op,
    OpKind, Put, Query, Range, Response,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long something that must happen may take: far more than it does, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A session that nobody is to lose.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// A session that is to be lost soon.
const SHORT: Duration = Duration::from_secs(1);

const CLUSTER: ClusterId = ClusterId(11);

pub(super) struct World {
    handles: Vec<Handle>,
    _contacts: Vec<mpsc::Sender<Vec<SocketAddr>>>,
}

fn address(id: u64) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7_400 + id as u16))
}

impl World {
    pub(super) async fn of(size: u64) -> World {
        let network = MemNetwork::seeded(5);
        let mut world = World { handles: Vec::new(), _contacts: Vec::new() };
        let member = |id: u64| Member {
            id,
            name: format!("n{id}"),
            address: address(id).to_string(),
            roles: vec!["control".into()],
            ..Member::default()
        };
        for id in 1..=size {
            let mut options = Options::new(NodeId(id), CLUSTER, address(id));
            let members = (1..=size).map(member).collect();
            options.founding = Founding { members, ..Founding::default() };
            options.metadata.name = format!("n{id}");
            options.request_timeout = PATIENCE;
            let (inbox, incoming) = mpsc::channel(1_024);
            let (sender, contacts) = mpsc::channel(1);
            let others = (1..=size).filter(|other| *other != id).map(address).collect();
            sender.send(others).await.unwrap();
            let transport = network.start((CLUSTER, NodeId(id)), Some(address(id)), inbox);
            let store = Box::new(MemStore::new(Disk::new()));
            let driver = Driver { options, store, transport, incoming, contacts, seed: id };
            let (handle, _task) = start(driver).unwrap();
            world.handles.push(handle);
            world._contacts.push(sender);
        }
        world
    }

    pub(super) fn handle(&self, number: usize) -> &Handle {
        &self.handles[number % self.handles.len()]
    }

    /// Waits until so many are in a queue.
    async fn queued(&self, name: &str, count: u64) {
        let range = Queue::new(self.handle(0), name.as_bytes()).range();
        let range = Range { range, count_only: true, ..Range::default() };
        within(async {
            loop {
                let query = Query::Range(range.clone());
                let read = self.handle(0).read(query, Consistency::Linearizable).await.unwrap();
                let Ok(Response::Range { count: found, .. }) = read.result else { panic!() };
                if found == count {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

pub(super) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it happens")
}

fn put(key: &str, value: &str) -> Vec<Op> {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    vec![Op { kind: Some(OpKind::Put(Put { key, value, ..Put::default() })) }]
}

pub(super) async fn revoke(handle: &Handle, lease: LeaseId) {
    let revoke = LeaseRevoke { ids: vec![lease.0], expired: false };
    let done = handle.write(Command::of(CommandKind::LeaseRevoke(revoke))).await.unwrap();
    assert_eq!(done.result, Ok(Response::LeaseRevoke));
}

async fn value(handle: &Handle, key: &'static str) -> Bytes {
    let query = Query::Range(Range { range: KeyRange::of_key(key), ..Range::default() });
    let read = handle.read(query, Consistency::Linearizable).await.unwrap();
    let Ok(Response::Range { kvs, .. }) = read.result else { panic!() };
    kvs.first().map(|kv| Bytes::from(&kv.value)).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_has_one_holder_whichever_node_they_ask() {
    let world = World::of(3).await;
    let (inside, sum) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..6 {
        let (handle, inside, sum) = (world.handle(number).clone(), inside.clone(), sum.clone());
        tasks.spawn(async move {
            let session = Session::open(&handle, LONG).await.unwrap();
            let mut fences = Vec::new();
            for _ in 0..5 {
                let held = Lock::new(&handle, "one").acquire(&session).await.unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "one holder at a time");
                let before = sum.load(Ordering::SeqCst);
                tokio::task::yield_now().await;
                sum.store(before + 1, Ordering::SeqCst);
                inside.fetch_sub(1, Ordering::SeqCst);
                fences.push(held.fence().create_revision);
                held.release().await.unwrap();
            }
            session.close().await.unwrap();
            fences
        });
    }
    let mut fences = Vec::new();
    while let Some(done) = within(tasks.join_next()).await {
        fences.extend(done.unwrap());
    }
    assert_eq!(sum.load(Ordering::SeqCst), 30);
    fences.sort_unstable();
    fences.dedup();
    assert_eq!(fences.len(), 30, "each holder has a fence of its own");
    world.queued("one", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_came_first_is_served_first_and_fences_grow() {
    let world = World::of(3).await;
    let first = Session::open(world.handle(0), LONG).await.unwrap();
    let held = Lock::new(world.handle(0), "queue").acquire(&first).await.unwrap();
    let (sender, mut served) = mpsc::unbounded_channel();
    for number in 1..=5 {
        let (handle, sender) = (world.handle(number).clone(), sender.clone());
        tokio::spawn(async move {
            let session = Session::open(&handle, LONG).await.unwrap();
            let held = Lock::new(&handle, "queue").acquire(&session).await.unwrap();
            sender.send((number, held.fence().create_revision)).unwrap();
            held.release().await.unwrap();
            session.close().await.unwrap();
        });
        world.queued("queue", 1 + number as u64).await;
    }
    let mut last = held.fence().create_revision;
    held.release().await.unwrap();
    for number in 1..=5 {
        let (who, fence) = within(served.recv()).await.unwrap();
        assert_eq!(who, number);
        assert!(fence > last, "{fence} after {last}");
        last = fence;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_holders_write_is_refused() {
    let world = World::of(3).await;
    let (here, there) = (world.handle(0), world.handle(1));
    let paused = Session::open(here, SHORT).await.unwrap();
    let before = Lock::new(here, "paused").acquire(&paused).await.unwrap();
    before.fence().write(here, put("file", "first")).await.unwrap();
    paused.pause();
    let next = Session::open(there, LONG).await.unwrap();
    let after = within(Lock::new(there, "paused").acquire(&next)).await.unwrap();
    assert!(after.fence().create_revision > before.fence().create_revision);
    after.fence().write(there, put("file", "second")).await.unwrap();
    // It resumes, and believes to hold the lock.
    let late = before.fence().write(here, put("file", "late")).await;
    assert_eq!(late, Err(Error::Fenced));
    assert_eq!(value(here, "file").await, "second");
    assert!(!paused.is_alive(), "its own clock tells that it is over");
    within(before.lost()).await;
}

#[tokio::test]
async fn who_loses_its_lease_in_the_queue_is_told_at_once() {
    let world = World::of(1).await;
    let handle = world.handle(0);
    let (holder, waiter) =
        (Session::open(handle, LONG).await.unwrap(), Session::open(handle, LONG).await.unwrap());
    let lock = Lock::new(handle, "lease");
    let held = lock.acquire(&holder).await.unwrap();
    let lease = waiter.lease();
    let queued = tokio::spawn({
        let lock = lock.clone();
        async move { lock.acquire(&waiter).await.err() }
    });
    world.queued("lease", 2).await;
    revoke(handle, lease).await;
    assert_eq!(within(queued).await.unwrap(), Some(Error::SessionEnded));
    // The holder is none the worse, and is told when its own goes.
    held.fence().write(handle, put("a", "1")).await.unwrap();
    revoke(handle, holder.lease()).await;
    within(held.lost()).await;
    assert_eq!(held.fence().write(handle, put("a", "2")).await.err(), Some(Error::Fenced));
}

#[tokio::test]
async fn who_dies_in_the_queue_holds_up_nobody() {
    let world = World::of(1).await;
    let handle = world.handle(0);
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(Session::open(handle, LONG).await.unwrap());
    }
    let lock = Lock::new(handle, "dead");
    let held = lock.acquire(&sessions[0]).await.unwrap();
    let wait = |session: &Session| {
        let (lock, session) = (lock.clone(), session.clone());
        tokio::spawn(async move { lock.acquire(&session).await })
    };
    let second = wait(&sessions[1]);
    world.queued("dead", 2).await;
    let third = wait(&sessions[2]);
    world.queued("dead", 3).await;
    // One that is cancelled leaves the queue.
    second.abort();
    world.queued("dead", 2).await;
    assert!(!third.is_finished(), "the lock is held");
    held.release().await.unwrap();
    within(third).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_lock_that_is_held_is_tried_in_vain() {
    let world = World::of(1).await;
    let handle = world.handle(0);
    let (one, other) =
        (Session::open(handle, LONG).await.unwrap(), Session::open(handle, LONG).await.unwrap());
    let lock = Lock::new(handle, "try");
    let held = lock.try_acquire(&one).await.unwrap();
    assert_eq!(lock.try_acquire(&other).await.err(), Some(Error::Held));
    assert_eq!(lock.try_acquire(&one).await.err(), Some(Error::Held), "the same session too");
    let moment = Duration::from_millis(20);
    assert_eq!(lock.acquire_within(&other, moment).await.err(), Some(Error::WaitedInVain));
    world.queued("try", 1).await;
    drop(held);
    let held = within(lock.acquire(&one)).await.unwrap();
    held.release().await.unwrap();
    lock.try_acquire(&other).await.unwrap().release().await.unwrap();
    world.queued("try", 0).await;
}

#[tokio::test]
async fn a_lock_is_a_key_as_etcds_clients_make_it() {
    let world = World::of(1).await;
    let handle = world.handle(0);
    let session = Session::open(handle, LONG).await.unwrap();
    let held = Lock::new(handle, "name").acquire(&session).await.unwrap();
    let key = format!("name/{:x}", session.lease().0);
    assert_eq!(held.fence().key, key);
    // Whoever deletes it, as etcd's clients do to unlock, gives it to the next.
    let range = KeyRange::of_key(key);
    let delete = CommandKind::Delete(DeleteRange { range, prev_kv: false });
    handle.write(Command::of(delete)).await.unwrap().result.unwrap();
    within(held.lost()).await;
    assert!(session.is_alive());
}

/// Who leads, as the next that is observed says.
async fn seen(observer: &mut Observer) -> Option<KeyValue> {
    match within(observer.next()).await.unwrap() {
        Observed::Leader { kv, .. } => Some(kv),
        Observed::Vacant { .. } => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_election_has_one_leader_and_observers_see_each() {
    let world = World::of(3).await;
    let (here, there) = (world.handle(0), world.handle(1));
    let mut observer = Election::new(world.handle(2), "office").observe();
    assert_eq!(seen(&mut observer).await, None, "nobody leads yet");
    let election = Election::new(here, "office");
    assert_eq!(election.leader().await.unwrap().0, None);
    let one = Session::open(here, LONG).await.unwrap();
    let first = election.campaign(&one, "one").await.unwrap();
    assert_eq!(seen(&mut observer).await.unwrap().value, "one");
    let other = Session::open(there, LONG).await.unwrap();
    let candidate = tokio::spawn({
        let election = Election::new(there, "office");
        let other = other.clone();
        async move { election.campaign(&other, "other").await }
    });
    world.queued("office", 2).await;
    for value in ["a", "b", "c"] {
        first.proclaim(value).await.unwrap();
    }
    for value in ["a", "b", "c"] {
        assert_eq!(seen(&mut observer).await.unwrap().value, value);
    }
    let leader = election.leader().await.unwrap().0.unwrap();
    assert_eq!((leader.value, leader.key), ("c".into(), (&first.fence().key).into()));
    let fence = first.fence().clone();
    first.resign().await.unwrap();
    let second = within(candidate).await.unwrap().unwrap();
    let led = seen(&mut observer).await.unwrap();
    assert_eq!((led.value, led.key), ("other".into(), (&second.fence().key).into()));
    let late = election.proclaim(&fence, one.lease(), "late".into()).await;
    assert_eq!(late, Err(Error::NotLeader));
    election.resign(&fence).await.unwrap();
    second.fence().write(there, put("a", "led")).await.unwrap();
    second.resign().await.unwrap();
    assert_eq!(seen(&mut observer).await, None, "nobody leads any more");
    // Who comes and goes elsewhere is not told of here, nor is it told twice that nobody leads.
    Election::new(here, "elsewhere").campaign(&one, "one").await.unwrap().resign().await.unwrap();
    let _third = election.campaign(&one, "again").await.unwrap();
    assert_eq!(seen(&mut observer).await.unwrap().value, "again");
}

#[tokio::test]
async fn a_candidate_that_stands_twice_is_one_and_says_the_last() {
    let world = World::of(1).await;
    let handle = world.handle(0);
    let session = Session::open(handle, LONG).await.unwrap();
    let election = Election::new(handle, "twice");
    let entry = |value| Entry { lease: session.lease(), value: Bytes::from(value), ttl_ms: 0 };
    let first = election.stand(entry("one")).await.unwrap().keep();
    let again = election.stand(entry("two")).await.unwrap();
    assert!(again.place().is_first);
    assert_eq!(
        (&again.place().fence, again.place().found.as_deref()),
        (&first.fence, Some(&b"one"[..]))
    );
    // It found the place, so it does not take it away.
    drop(again);
    assert_eq!(election.leader().await.unwrap().0.unwrap().value, "two");
    world.queued("twice", 1).await;
}

#[tokio::test]
async fn a_place_with_a_lease_of_its_own_takes_it_along() {
    let world = World::of(1).await;
    let handle = world.handle(0);
    let queue = Queue::new(handle, b"own");
    let lease = drawn_lease().unwrap();
    let entry = Entry { lease, value: Bytes::new(), ttl_ms: 600_000 };
    let place = queue.enter(entry).await.unwrap().keep();
    assert!(place.is_first);
    let (ttl, _) = handle.keep_alive(lease).await.unwrap();
    assert_eq!(ttl.map(|(granted, _)| granted), Some(600_000));
    queue.leave(&place.fence).await.unwrap();
    assert_eq!(handle.keep_alive(lease).await.unwrap().0, None);
    // A place that is not that one any more is left alone.
    let other = queue.enter(Entry { lease, value: Bytes::new(), ttl_ms: 600_000 }).await.unwrap();
    assert_ne!(other.place().fence, place.fence);
    assert!(queue.leave(&place.fence).await.unwrap() > Revision::ZERO);
    world.queued("own", 1).await;
}

#[tokio::test]
async fn a_session_lives_as_long_as_it_is_kept_and_its_end_ends_all() {
    let world = World::of(1).await;
    let handle = world.handle(0);
    let session = Session::open(handle, SHORT).await.unwrap();
    let held = Lock::new(handle, "kept").acquire(&session).await.unwrap();
    // Longer than it would live by itself.
    tokio::time::sleep(SHORT * 3).await;
    assert!(session.is_alive());
    held.fence().write(handle, put("a", "1")).await.unwrap();
    let fence = held.fence().clone();
    drop(held);
    world.queued("kept", 0).await;
    let lease = session.lease();
    session.close().await.unwrap();
    assert_eq!(handle.time_to_live(lease).await.unwrap().0, None);
    assert_eq!(fence.write(handle, put("a", "2")).await, Err(Error::Fenced));
    let query = handle.read(Query::Leases, Consistency::Linearizable).await.unwrap();
    assert_eq!(query.result, Ok(Response::Leases { ids: Vec::new() }));
}
