//! A client asks again, and it counts once.

use crate::base::Index;
use crate::groups::{
    Envelope, GroupMachine, Journal, RECEIPT_ANSWER_BYTES_MAX, RECEIPT_KEY_BYTES_MAX,
    RECEIPTS_BYTES_MAX, Receipt, ReceiptKind, Receipted, Register,
};
use bytes::Bytes;
use prost::Message as _;

struct World<M> {
    machine: Receipted<M>,
    next: u64,
}

impl<M: GroupMachine + Default> World<M> {
    fn new() -> World<M> {
        World { machine: Receipted::new(M::default()), next: 1 }
    }

    fn ask(&mut self, key: &str, since: u64, command: &[u8]) -> Receipt {
        let key = Bytes::copy_from_slice(key.as_bytes());
        let command = Some(Bytes::copy_from_slice(command));
        self.give(Envelope { key, since, command }.encode_to_vec().into())
    }

    fn give(&mut self, bytes: Bytes) -> Receipt {
        let answer = self.machine.apply(Index(self.next), bytes);
        self.next += 1;
        Receipt::decode(answer).unwrap()
    }
}

#[test]
fn what_is_asked_again_is_answered_again_and_done_once_also_after_a_snapshot() {
    let mut world = World::<Journal>::new();
    let first = world.ask("k", 0, b"one");
    assert_eq!((first.kind(), first.again), (ReceiptKind::Done, false));
    world.ask("l", 0, b"two");
    let mut other = World::<Journal>::new();
    other.machine.restore(world.machine.snapshot()).unwrap();
    other.next = world.next;
    assert_eq!(other.machine.digest(), world.machine.digest());
    for world in [&mut world, &mut other] {
        let again = world.ask("k", 0, b"one");
        assert_eq!((again.kind(), again.again, again.index), (ReceiptKind::Done, true, 1));
        assert_eq!(again.answer, first.answer);
        assert_eq!(world.ask("k", 0, b"another").kind(), ReceiptKind::OtherCommand);
        assert_eq!(world.machine.machine().commands().len(), 2);
        // Without a key it is done each time.
        world.ask("", 0, b"each");
        world.ask("", 0, b"each");
        assert_eq!(world.machine.machine().commands().len(), 4);
    }
}

#[test]
fn what_may_have_been_done_and_forgotten_is_refused_to_whoever_can_know() {
    let mut world = World::<Register>::new();
    // A register answers with what was there before.
    let large = std::vec![7; RECEIPT_ANSWER_BYTES_MAX];
    let since = world.give(Envelope::default().encode_to_vec().into()).index;
    world.ask("first", since, &large);
    for number in 0..RECEIPTS_BYTES_MAX / RECEIPT_ANSWER_BYTES_MAX + 1 {
        world.ask(&std::format!("k{number}"), 0, &large);
    }
    assert_eq!(world.ask("first", since, &large).kind(), ReceiptKind::Forgotten);
    assert_eq!(world.ask("late", world.next - 1, &large).kind(), ReceiptKind::Done);
    let longer = std::vec![8; RECEIPT_ANSWER_BYTES_MAX + 1];
    world.ask("put", 0, &longer);
    let long = world.ask("long", 0, b"x");
    assert_eq!((long.kind(), long.answer.len()), (ReceiptKind::Done, longer.len()));
    assert_eq!(world.ask("long", 0, b"x").kind(), ReceiptKind::AnswerGone);
}

#[test]
fn no_bytes_make_it_panic() {
    let mut world = World::<Journal>::new();
    world.ask("k", 0, b"one");
    let snapshot = world.machine.snapshot();
    for length in 0..snapshot.len() {
        let _ = Receipted::new(Journal::default()).restore(snapshot.slice(..length));
    }
    assert_eq!(world.give(Bytes::from_static(&[0xff; 9])).kind(), ReceiptKind::Unreadable);
    let long = "k".repeat(RECEIPT_KEY_BYTES_MAX + 1);
    assert_eq!(world.ask(&long, 0, b"x").kind(), ReceiptKind::Unreadable);
    assert_eq!(world.machine.machine().commands().len(), 1);
}
