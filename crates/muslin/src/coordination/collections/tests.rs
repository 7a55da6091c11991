//! Against the collections of the standard library, and by many at once.

use super::*;
use crate::coordination::tests::{LONG, World, revoke, within};
use crate::coordination::{Error, Session};
use bytes::Bytes;
use muslin_core::base::Revision;
use muslin_core::state::{Op, OpKind, Put};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Runs a property over one node; each case has a number for a name of its own.
fn check<T: std::fmt::Debug, F: Future<Output = Result<(), TestCaseError>>>(
    cases: u32,
    strategy: impl Strategy<Value = T>,
    property: impl Fn(crate::driver::Handle, Vec<u8>, T) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::of(1));
    let number = AtomicU64::new(0);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let ran = TestRunner::new(config).run(&strategy, |input| {
        let name = format!("a/%{}", number.fetch_add(1, Ordering::Relaxed));
        let case = property(world.handle(0).clone(), name.into_bytes(), input);
        runtime.block_on(within(case))
    });
    if let Err(error) = ran {
        panic!("{error}");
    }
}

/// Short texts of few letters, so that they meet; slashes and percent signs among them.
fn word() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(b'a'), Just(b'/'), Just(b'%'), Just(b'2'), Just(0xff)], 0..3)
}

#[test]
fn a_map_is_a_map() {
    let steps = vec((0..6_u8, word(), word()), 1..12);
    check(24, steps, |handle, name, steps| async move {
        let map = Map::new(&handle, &name);
        let mut model: BTreeMap<Vec<u8>, Bytes> = BTreeMap::new();
        for (step, key, word) in steps {
            let value = Bytes::from(word.clone());
            match step {
                0 | 1 => {
                    let before = map.put(&key, value.clone()).await.unwrap();
                    prop_assert_eq!(before, model.insert(key, value));
                }
                2 => prop_assert_eq!(map.remove(&key).await.unwrap(), model.remove(&key)),
                3 => {
                    let before = map.put_if_absent(&key, value.clone()).await.unwrap();
                    prop_assert_eq!(&before, &model.get(&key).cloned());
                    model.entry(key).or_insert(value);
                }
                4 => {
                    let expected = model.get(&key).cloned().unwrap_or_default();
                    let is_there = model.contains_key(&key);
                    let done = map.replace(&key, &expected, value.clone()).await.unwrap();
                    prop_assert_eq!(done, is_there);
                    prop_assert!(!map.replace(&key, b"another", value.clone()).await.unwrap());
                    if is_there {
                        model.insert(key, value);
                    }
                }
                _ => {
                    let after = Some(&key[..]).filter(|key| !key.is_empty());
                    let page = map.page(after, 2).await.unwrap();
                    let behind = model.iter().filter(|(k, _)| after.is_none_or(|a| &k[..] > a));
                    let expected: Vec<_> = behind.take(2).collect();
                    let found: Vec<_> =
                        page.items.iter().map(|pair| (pair.key.to_vec(), &pair.value)).collect();
                    prop_assert_eq!(
                        found,
                        expected.into_iter().map(|(k, v)| (k.clone(), v)).collect::<Vec<_>>()
                    );
                }
            }
            prop_assert_eq!(map.get(b"a").await.unwrap(), model.get(&b"a"[..]).cloned());
        }
        prop_assert_eq!(map.len().await.unwrap(), model.len() as u64);
        let all = map.all().await.unwrap();
        let all: BTreeMap<_, _> = all.into_iter().map(|p| (p.key.to_vec(), p.value)).collect();
        prop_assert_eq!(&all, &model);
        prop_assert_eq!(map.clear().await.unwrap(), model.len() as u64);
        prop_assert!(map.is_empty().await.unwrap());
        Ok(())
    });
}

#[test]
fn a_set_and_a_multimap_are_sets() {
    let steps = vec((0..3_u8, word(), word()), 1..14);
    check(24, steps, |handle, name, steps| async move {
        let (set, map) = (Set::new(&handle, &name), MultiMap::new(&handle, &name));
        let mut elements: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut pairs: BTreeSet<(Vec<u8>, Vec<u8>)> = BTreeSet::new();
        for (step, key, value) in steps {
            if step == 0 {
                prop_assert_eq!(set.remove(&key).await.unwrap(), elements.remove(&key));
                let had = pairs.remove(&(key.clone(), value.clone()));
                prop_assert_eq!(map.remove(&key, &value).await.unwrap(), had);
            } else {
                prop_assert_eq!(set.add(&key).await.unwrap(), elements.insert(key.clone()));
                let was_new = pairs.insert((key.clone(), value.clone()));
                prop_assert_eq!(map.put(&key, &value).await.unwrap(), was_new);
            }
            prop_assert_eq!(set.contains(&value).await.unwrap(), elements.contains(&value));
            let of_key = pairs.iter().filter(|(k, _)| *k == key).map(|(_, v)| v.clone());
            let found = map.get(&key).await.unwrap().iter().map(|v| v.to_vec()).collect::<Vec<_>>();
            prop_assert_eq!(found, of_key.collect::<Vec<_>>());
        }
        let all = set.all().await.unwrap().iter().map(|e| e.to_vec()).collect::<Vec<_>>();
        prop_assert_eq!(all, elements.iter().cloned().collect::<Vec<_>>());
        let all = map.all().await.unwrap();
        let all: BTreeSet<_> = all.iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
        prop_assert_eq!(&all, &pairs);
        prop_assert_eq!(map.len().await.unwrap(), pairs.len() as u64);
        let of_a = pairs.iter().filter(|(k, _)| k == b"a").count() as u64;
        prop_assert_eq!(map.remove_all(b"a").await.unwrap(), of_a);
        prop_assert_eq!(map.clear().await.unwrap(), pairs.len() as u64 - of_a);
        prop_assert_eq!(set.clear().await.unwrap(), elements.len() as u64);
        Ok(())
    });
}

#[test]
fn a_list_is_a_vector_and_a_queue_its_front() {
    let steps = vec((0..5_u8, 0..4_usize, word()), 1..14);
    check(24, steps, |handle, name, steps| async move {
        let (list, work) = (List::new(&handle, &name), WorkQueue::new(&handle, &name));
        let (mut row, mut items): (Vec<Bytes>, Vec<Bytes>) = Default::default();
        for (step, index, word) in steps {
            let (at, value) = (index as u64, Bytes::from(word));
            let none = row.get(index).is_none();
            match step {
                0 | 1 => {
                    list.push(value.clone(), None).await.unwrap();
                    work.push(value.clone(), None).await.unwrap();
                    row.push(value.clone());
                    items.push(value);
                }
                2 => match list.set(at, value.clone()).await {
                    Ok(_) => row[index] = value,
                    Err(error) => prop_assert!(none && error == Error::NotThere),
                },
                3 => match list.remove(at, None).await {
                    Ok(found) => prop_assert_eq!(found, row.remove(index)),
                    Err(error) => prop_assert!(none && error == Error::NotThere),
                },
                _ => {
                    let expected = if items.is_empty() { None } else { Some(items.remove(0)) };
                    prop_assert_eq!(work.pop(None).await.unwrap(), expected);
                }
            }
            prop_assert_eq!(&list.all().await.unwrap(), &row);
            let found = list.get(1).await.unwrap().map(|pair| pair.value);
            prop_assert_eq!(found, row.get(1).cloned());
            prop_assert_eq!(work.len().await.unwrap(), items.len() as u64);
        }
        prop_assert_eq!(list.len().await.unwrap(), row.len() as u64);
        prop_assert_eq!(list.clear().await.unwrap(), row.len() as u64);
        prop_assert_eq!(work.clear().await.unwrap(), items.len() as u64);
        prop_assert!(work.is_empty().await.unwrap() && list.is_empty().await.unwrap());
        Ok(())
    });
}

#[tokio::test]
async fn names_are_told_apart_whatever_bytes_they_have() {
    let world = World::of(1).await;
    let handle = world.handle(0);
    let names: [&[u8]; 6] = [b"", b"a", b"a/", b"a%2F", b"a/b", b"\xff"];
    for (number, name) in names.iter().enumerate() {
        let map = Map::new(handle, name);
        map.put(b"b/c", vec![number as u8]).await.unwrap();
        map.put(b"", "").await.unwrap();
    }
    for (number, name) in names.iter().enumerate() {
        let all = Map::new(handle, name).all().await.unwrap();
        assert_eq!(all.len(), 2, "{name:?}");
        assert_eq!(all[1].value, vec![number as u8]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_counts_count_at_whichever_node() {
    let world = World::of(3).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..6 {
        let counter = Counter::new(world.handle(number), b"hits");
        tasks.spawn(async move {
            let mut told = Vec::new();
            for step in 0..5 {
                let once = Once::named(format!("{number}.{step}")).unwrap();
                let first = counter.add(2, Some(&once)).await.unwrap();
                // The same again, as if the answer had been lost.
                assert_eq!(counter.add(2, Some(&once)).await.unwrap(), first);
                told.push(first);
            }
            told
        });
    }
    let mut told = BTreeSet::new();
    while let Some(done) = within(tasks.join_next()).await {
        told.extend(done.unwrap());
    }
    assert_eq!(told, (1..=30).map(|number| number * 2).collect());
    let counter = Counter::new(world.handle(0), b"hits");
    assert_eq!(counter.value().await.unwrap(), 60);
    assert_eq!(counter.set(i64::MAX).await.unwrap(), 60);
    assert_eq!(counter.add(1, None).await, Err(Error::OutOfRange));
    assert!(!counter.set_if(1, 2, None).await.unwrap());
    assert!(counter.set_if(i64::MAX, -2, None).await.unwrap());
    assert!(counter.remove().await.unwrap());
    assert_eq!(counter.add(-1, None).await.unwrap(), -1);
    assert_eq!(Once::named("").err(), Some(Error::BadIdentity));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_item_is_taken_once_and_in_order_of_each_who_pushed() {
    const PUSHED: usize = 12;
    let world = World::of(3).await;
    let mut pushing = tokio::task::JoinSet::new();
    for pusher in 0..3_usize {
        let work = WorkQueue::new(world.handle(pusher), b"jobs");
        pushing.spawn(async move {
            for number in 0..PUSHED {
                let once = Once::named(format!("{pusher}.{number}")).unwrap();
                let push = || work.push(format!("{pusher}.{number:02}"), Some(&once));
                let place = push().await.unwrap();
                assert_eq!(push().await.unwrap(), place, "as if the answer had been lost");
            }
        });
    }
    let taken = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut taking = tokio::task::JoinSet::new();
    for taker in 0..4_usize {
        let (handle, taken) = (world.handle(taker).clone(), taken.clone());
        taking.spawn(async move {
            let session = Session::open(&handle, LONG).await.unwrap();
            let work = WorkQueue::new(&handle, b"jobs");
            for number in 0..PUSHED * 3 / 4 {
                let once = Once::named(format!("take {taker}.{number}")).unwrap();
                let one = work.next(session.lease(), &once).await.unwrap();
                assert_eq!(work.next(session.lease(), &once).await.unwrap(), one, "asked again");
                taken.lock().unwrap().push(one.value.clone());
                work.done(&one).await.unwrap();
                assert_eq!(work.done(&one).await, Err(Error::Fenced));
            }
        });
    }
    while let Some(done) = within(pushing.join_next()).await {
        done.unwrap();
    }
    while let Some(done) = within(taking.join_next()).await {
        done.unwrap();
    }
    let mut all = taken.lock().unwrap().clone();
    all.sort();
    let expected = (0..3).flat_map(|p| (0..PUSHED).map(move |n| format!("{p}.{n:02}")));
    assert_eq!(all, expected.map(Bytes::from).collect::<Vec<_>>());
    let work = WorkQueue::new(world.handle(0), b"jobs");
    assert!(work.is_empty().await.unwrap() && work.marks().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_identity_is_that_of_one_operation() {
    let world = World::of(1).await;
    let handle = world.handle(0);
    let once = Once::named("a").unwrap();
    let reused = Error::IdentityReused;

    let counter = Counter::new(handle, b"reused");
    assert_eq!(counter.add(2, Some(&once)).await, Ok(2));
    assert_eq!(counter.add(2, Some(&once)).await, Ok(2), "asked again");
    assert_eq!(counter.add(3, Some(&once)).await, Err(reused.clone()));
    assert_eq!(counter.set_if(2, 2, Some(&once)).await, Err(reused.clone()));
    assert_eq!(counter.value().await, Ok(2));

    let list = List::new(handle, b"reused");
    let place = list.push("x", Some(&once)).await.unwrap();
    assert_eq!(list.push("x", Some(&once)).await, Ok(place), "asked again");
    assert_eq!(list.push("y", Some(&once)).await, Err(reused.clone()));
    assert_eq!(list.remove(0, Some(&once)).await, Err(reused.clone()));
    assert_eq!(list.all().await.unwrap(), ["x"]);

    let work = WorkQueue::new(handle, b"reused");
    let place = work.push("x", Some(&once)).await.unwrap();
    assert_eq!(work.push("x", Some(&once)).await, Ok(place), "asked again");
    assert_eq!(work.push("y", Some(&once)).await, Err(reused.clone()));
    assert_eq!(work.pop(Some(&once)).await, Err(reused));
    assert_eq!(work.len().await, Ok(1));
}

#[tokio::test]
async fn an_item_of_one_that_died_is_back_where_it_was() {
    let world = World::of(1).await;
    let handle = world.handle(0);
    let work = WorkQueue::new(handle, b"back");
    for value in ["1", "2", "3"] {
        work.push(value, None).await.unwrap();
    }
    let (one, other) =
        (Session::open(handle, LONG).await.unwrap(), Session::open(handle, LONG).await.unwrap());
    let once = |name: &'static str| Once::named(name).unwrap();
    let first = work.take(one.lease(), &once("a")).await.unwrap().unwrap();
    let second = work.take(other.lease(), &once("b")).await.unwrap().unwrap();
    assert_eq!((&first.value[..], &second.value[..]), (&b"1"[..], &b"2"[..]));
    revoke(handle, one.lease()).await;
    // What it does late is not done, and nothing goes with it.
    let put = Put { key: "late".into(), value: "1".into(), ..Put::default() };
    let late = work.done_with(&first, vec![Op { kind: Some(OpKind::Put(put)) }]).await;
    assert_eq!(late, Err(Error::Fenced));
    let again = work.take(other.lease(), &once("c")).await.unwrap().unwrap();
    assert_eq!(again.value, "1");
    assert_ne!(again.fence, first.fence);
    assert_eq!(work.done(&first).await, Err(Error::Fenced));
    work.put_back(&second).await.unwrap();
    let second = work.take(other.lease(), &once("d")).await.unwrap().unwrap();
    assert_eq!(second.value, "2", "it is where it was, in front of 3");
    let by_place = work.taken(&again.place, again.fence.create_revision).await.unwrap();
    assert_eq!(by_place, again);
    assert_eq!(work.taken(&again.place, Revision(1)).await, Err(Error::Fenced));
    work.done(&by_place).await.unwrap();
    work.done(&second).await.unwrap();
    assert_eq!(work.pop(Some(&once("e"))).await.unwrap().unwrap(), "3");
    assert_eq!(work.pop(Some(&once("e"))).await.unwrap().unwrap(), "3", "asked again");
    assert_eq!(work.pop(None).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_passes_a_barrier_before_all_are_there() {
    let world = World::of(3).await;
    let there = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..4 {
        let (handle, there) = (world.handle(number).clone(), there.clone());
        tasks.spawn(async move {
            let session = Session::open(&handle, LONG).await.unwrap();
            let barrier = Barrier::new(&handle, b"start");
            for round in 1..=3 {
                there.fetch_add(1, Ordering::SeqCst);
                let fence = barrier.enter(session.lease(), 4).await.unwrap();
                assert!(there.load(Ordering::SeqCst) >= round * 4, "all are there");
                barrier.leave(&fence).await.unwrap();
            }
        });
    }
    while let Some(done) = within(tasks.join_next()).await {
        done.unwrap();
    }
    let barrier = Barrier::new(world.handle(0), b"start");
    assert_eq!(barrier.parties().await.unwrap(), (Vec::new(), false));
    // Whoever gives up, or dies, is not counted.
    let session = Session::open(world.handle(0), LONG).await.unwrap();
    let moment = Duration::from_millis(20);
    assert!(tokio::time::timeout(moment, barrier.enter(session.lease(), 2)).await.is_err());
    within(async {
        while !barrier.parties().await.unwrap().0.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(barrier.enter(session.lease(), 0).await, Err(Error::OutOfRange));
    barrier.enter(session.lease(), 1).await.unwrap();
}
