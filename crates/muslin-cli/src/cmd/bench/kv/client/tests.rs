//! A client whose server is written by hand.

use super::super::wire::connection::PREFIX;
use super::super::wire::fields::{self, Fields};
use super::*;

fn plan(workload: Workload, clients: u64, keys: u64) -> Plan {
    let values = Values { mark: 7, bytes: 40 };
    Plan { workload, values, clients, keys, period: None, base: Instant::now() }
}

fn phase(part: Part, base: Instant) -> Phase {
    Phase { part, is_measured: part == Part::Load, until: base + Duration::from_secs(60) }
}

/// The next call, which must be one.
fn call(client: &mut Client, part: Part, base: Instant) -> Op {
    // Late enough for a client that pauses.
    match client.next(&phase(part, base), base + Duration::from_secs(30)) {
        Next::Call(op) => op,
        other => panic!("{other:?}"),
    }
}

fn answer(client: &mut Client, part: Part, message: &[u8]) {
    let base = client.plan.base;
    client.message(message, &phase(part, base), base);
    client.end(Ok(()), &phase(part, base), base);
}

fn fail(client: &mut Client, part: Part) {
    let base = client.plan.base;
    client.end(Err("no leader".to_string()), &phase(part, base), base);
}

fn acknowledged(revision: u64) -> Vec<u8> {
    let (mut header, mut answer) = (Vec::new(), Vec::new());
    fields::number(&mut header, 3, revision);
    fields::bytes(&mut answer, 1, &header);
    answer
}

/// What a read finds behind a put.
fn found(client: &Client, put: Op) -> Vec<u8> {
    let (mut message, mut kv, mut answer) = (Vec::new(), Vec::new(), Vec::new());
    put.encode(&mut message, client.plan.values);
    for (tag, content) in Fields::of(&message[PREFIX..]) {
        fields::bytes(&mut kv, if tag == 1 { 1 } else { 5 }, content.bytes());
    }
    fields::bytes(&mut answer, 2, &kv);
    answer
}

fn put(key: u64, count: u32) -> Op {
    Op::Put { key, count, sent: 0 }
}

#[test]
fn keys_are_dealt_out_so_that_nobody_writes_another_s() {
    let mut keys = Vec::new();
    for number in 0..3 {
        let mut client = Client::new(plan(Workload::Linearizable, 3, 10), number);
        let base = client.plan.base;
        while let Next::Call(Op::Put { key, .. }) = client.next(&phase(Part::Fill, base), base) {
            keys.push(key);
            let revision = client.revision + 1;
            answer(&mut client, Part::Fill, &acknowledged(revision));
        }
    }
    keys.sort_unstable();
    assert_eq!(keys, (0..10).collect::<Vec<u64>>());
}

#[test]
fn a_client_comes_to_every_key_of_its_own() {
    let mut client = Client::new(plan(Workload::Put, 2, 20), 1);
    let base = client.plan.base;
    let mut keys = std::collections::BTreeSet::new();
    for revision in 1..=10 {
        let Op::Put { key, .. } = call(&mut client, Part::Load, base) else { panic!() };
        keys.insert(key);
        answer(&mut client, Part::Load, &acknowledged(revision));
    }
    assert_eq!(keys.len(), 10);
    assert!(keys.iter().all(|key| key % 2 == 1));
}

#[test]
fn what_was_written_last_is_read_back() {
    let mut client = Client::new(plan(Workload::Put, 1, 1), 0);
    let base = client.plan.base;
    for (count, revision) in [(0, 5), (1, 6)] {
        let Op::Put { key: 0, count: told, .. } = call(&mut client, Part::Load, base) else {
            panic!()
        };
        assert_eq!(told, count);
        answer(&mut client, Part::Load, &acknowledged(revision));
    }
    client.begin();
    assert_eq!(call(&mut client, Part::Close, base), Op::Read { key: 0, is_serializable: false });
    let stale = found(&client, put(0, 0));
    answer(&mut client, Part::Close, &stale);
    assert_eq!((client.seen.wrong, client.seen.answered()), (1, 2));
    let later = base + Duration::from_secs(1);
    assert_eq!(client.next(&phase(Part::Close, base), later), Next::Done, "it is tried once");
}

#[test]
fn a_mix_writes_one_of_ten_and_knows_what_it_reads() {
    let mut client = Client::new(plan(Workload::Mix, 1, 3), 0);
    let base = client.plan.base;
    let (mut counts, mut puts, mut revision) = ([0; 3], 0, 0);
    for _ in 0..3 {
        call(&mut client, Part::Fill, base);
        revision += 1;
        answer(&mut client, Part::Fill, &acknowledged(revision));
    }
    for _ in 0..100 {
        let message = match call(&mut client, Part::Load, base) {
            Op::Put { key, count, .. } => {
                counts[key as usize] = count;
                (puts, revision) = (puts + 1, revision + 1);
                acknowledged(revision)
            }
            Op::Read { key, .. } => found(&client, put(key, counts[key as usize])),
            other => panic!("{other:?}"),
        };
        answer(&mut client, Part::Load, &message);
    }
    assert_eq!((puts, client.seen.wrong, client.seen.answered()), (10, 0, 100));
}

#[test]
fn nobody_can_say_what_a_write_without_an_answer_did() {
    let mut client = Client::new(plan(Workload::Mix, 1, 1), 0);
    let base = client.plan.base;
    call(&mut client, Part::Fill, base);
    answer(&mut client, Part::Fill, &acknowledged(1));
    while !matches!(call(&mut client, Part::Load, base), Op::Put { .. }) {
        let right = found(&client, put(0, 0));
        answer(&mut client, Part::Load, &right);
    }
    fail(&mut client, Part::Load);
    for count in [0, 1] {
        assert!(matches!(call(&mut client, Part::Load, base), Op::Read { .. }));
        let either = found(&client, put(0, count));
        answer(&mut client, Part::Load, &either);
    }
    assert_eq!((client.seen.wrong, client.seen.failed), (0, 1));
    assert!(matches!(call(&mut client, Part::Load, base), Op::Read { .. }));
    let foreign = found(&client, put(9, 0));
    answer(&mut client, Part::Load, &foreign);
    assert_eq!(client.seen.wrong, 1);
}

#[test]
fn an_acknowledgement_without_a_later_revision_is_none() {
    let mut client = Client::new(plan(Workload::Put, 1, 5), 0);
    let base = client.plan.base;
    for revision in [4, 4] {
        call(&mut client, Part::Load, base);
        answer(&mut client, Part::Load, &acknowledged(revision));
    }
    assert_eq!((client.seen.answered(), client.seen.wrong), (1, 1));
}

#[test]
fn leases_are_granted_and_revoked_and_none_is_left() {
    let mut client = Client::new(plan(Workload::Lease, 1, 1), 0);
    let base = client.plan.base;
    let mut granted = Vec::new();
    fields::number(&mut granted, 2, 33);
    fields::number(&mut granted, 3, call::LEASE_SECONDS);
    assert_eq!(call(&mut client, Part::Load, base), Op::Grant);
    answer(&mut client, Part::Load, &granted);
    client.begin();
    assert_eq!(call(&mut client, Part::Close, base), Op::Revoke { lease: 33 });
    answer(&mut client, Part::Close, b"");
    assert_eq!(client.next(&phase(Part::Close, base), base), Next::Done);
    assert_eq!((client.seen.answered(), client.seen.wrong), (1, 0));
}

#[test]
fn a_node_that_is_behind_is_waited_for() {
    let mut client = Client::new(plan(Workload::Serializable, 1, 1), 0);
    let base = client.plan.base;
    call(&mut client, Part::Fill, base);
    answer(&mut client, Part::Fill, &acknowledged(1));
    client.begin();
    let read = Op::Read { key: 0, is_serializable: true };
    assert_eq!(call(&mut client, Part::Ready, base), read);
    answer(&mut client, Part::Ready, b"");
    assert_eq!(call(&mut client, Part::Ready, base), read);
    let right = found(&client, put(0, 0));
    answer(&mut client, Part::Ready, &right);
    assert_eq!(client.next(&phase(Part::Ready, base), base), Next::Done);
    assert_eq!(client.seen.wrong, 0);
}

#[test]
fn paced_clients_take_turns() {
    let plan = Plan { period: Some(Duration::from_millis(100)), ..plan(Workload::Put, 4, 4) };
    let mut client = Client::new(plan, 1);
    let base = plan.base;
    assert!(matches!(client.next(&phase(Part::Load, base), base), Next::Call(_)));
    answer(&mut client, Part::Load, &acknowledged(1));
    let second = base + Duration::from_millis(50);
    assert_eq!(client.next(&phase(Part::Load, base), base), Next::At(second));
    assert!(matches!(client.next(&phase(Part::Load, base), second), Next::Call(_)));
    answer(&mut client, Part::Load, &acknowledged(2));
    let third = second + Duration::from_millis(100);
    assert_eq!(client.next(&phase(Part::Load, base), second), Next::At(third));
}
