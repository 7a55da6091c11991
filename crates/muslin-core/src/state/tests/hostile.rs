//! Bytes from anywhere, and limits.

use super::*;
use proptest::prelude::*;
use std::boxed::Box;
use std::format;

/// A state with something of everything.
fn busy() -> State {
    let mut state = founded();
    let token = |id: &str| Token {
        id: id.into(),
        secret_hash: Bytes::from_static(b"secret"),
        expires_unix_ms: 1_000,
        uses_left: 9,
        ..Token::default()
    };
    let admit = |id: u64| {
        let member = Member {
            id,
            name: format!("n{id}"),
            roles: vec!["control".into()],
            key_hash: Bytes::from_static(b"key"),
            ..Member::default()
        };
        let secret_hash = Bytes::from_static(b"secret");
        let token_id = "t".into();
        CommandKind::Admit(
            Admit { member, token_id, secret_hash, unix_ms: 1, ..Admit::default() }.into(),
        )
    };
    let leased = |key: &'static str| {
        let key = Bytes::from_static(key.as_bytes());
        CommandKind::Put(Put { key, lease: 7, ..Put::default() })
    };
    let all = [
        put("a", "1"),
        put("b", "1"),
        put("a", "2"),
        CommandKind::LeaseGrant(LeaseGrant { id: 7, ttl_ms: 9 }),
        leased("c"),
        leased("d"),
        CommandKind::Delete(DeleteRange { range: KeyRange::of_key("b"), prev_kv: false }),
        put("e", "1"),
        CommandKind::Compact(Compact { revision: 3 }),
        CommandKind::PutToken(token("t")),
        CommandKind::PutToken(token("u")),
        admit(2),
        admit(3),
        admit(4),
        admit(6),
        CommandKind::Remove(Remove { id: 3, force: true, unix_ms: 0 }),
    ];
    for (place, kind) in all.into_iter().chain(changes(admit)).chain(rights()).enumerate() {
        let command = Proposal { settled_below: 1, ..proposal(place as u64 + 1, kind) };
        let applied = apply(&mut state, &command);
        assert!(applied.outcome.result.is_ok(), "{applied:?}");
    }
    state
}

/// Users, roles and permissions.
fn rights() -> Vec<CommandKind> {
    let names = |user: &str, role: &str| RoleOfUser { user: user.into(), role: role.into() };
    let user = |name: &str| UserChange {
        name: name.into(),
        credential: Bytes::from_static(b"hash"),
        no_password: false,
    };
    let permission = Permission { kind: 2, range: KeyRange::of_prefix("a") };
    let grant = PermissionOfRole { role: "r".into(), permission: Some(permission) };
    let all = [
        AuthChange::AddUser(user("root")),
        AuthChange::GrantRole(names("root", "root")),
        AuthChange::AddRole("r".into()),
        AuthChange::GrantPermission(grant),
        AuthChange::AddUser(user("u")),
        AuthChange::GrantRole(names("u", "r")),
        AuthChange::Enable(AuthEnable { token_key: vec![1; TOKEN_KEY_BYTES].into() }),
    ];
    all.map(|change| CommandKind::Auth(Box::new(change.into()))).into()
}

/// Something of everything that may happen to members.
fn changes(admit: impl Fn(u64) -> CommandKind) -> [CommandKind; 9] {
    let waiting = |id: u64, token: &str| {
        let CommandKind::Admit(admit) = admit(id) else { unreachable!("it admits") };
        let member = Member { requires_for_bootstrap: vec!["dns".into()], ..admit.member };
        CommandKind::Admit(
            Admit { member, token_id: token.into(), may_wait: true, ..*admit }.into(),
        )
    };
    let membership = |change| CommandKind::Membership(Membership::at(9, change).into());
    let declared = DeclaredDown {
        incarnation: 3,
        witnesses: vec![Witness { node: 1, probed_by: 2, silent_ms: 8 }],
        watchers: 1,
        confirmed: 1,
        unix_ms: 0,
    };
    let settings = Settings { min_members: 2, ..Settings::default() };
    [
        waiting(5, ""),
        waiting(7, "t"),
        membership(MembershipChange::AddGossipKey(AddGossipKey {
            generation: 1,
            key: vec![7; GOSSIP_KEY_BYTES].into(),
        })),
        membership(MembershipChange::SetSettings(settings)),
        membership(MembershipChange::Down(Down { id: 4, declared })),
        membership(MembershipChange::Leave(Life { id: 6, incarnation: 1 })),
        membership(MembershipChange::RaiseEpoch(RaiseEpoch {
            from: 1,
            why: 0,
            survivor: 0,
            to: 0,
        })),
        CommandKind::Remove(Remove { id: 6, force: false, unix_ms: 9 }),
        membership(MembershipChange::Promote(Whom { id: 2 })),
    ]
}

/// Whatever a state was read from, commands must find it in order.
fn exercise(mut state: State) {
    let span = KeyRange::of_prefix("");
    let ids: Vec<u64> = state.leases().map(|(id, _)| id.0).collect();
    let mut all = vec![
        put("a", "3"),
        put("zz", "3"),
        CommandKind::Compact(Compact { revision: state.revision().0 }),
        CommandKind::Membership(
            Membership::at(
                u64::MAX,
                MembershipChange::ChangeRoles(ChangeRoles {
                    id: 1,
                    add: vec!["dns".into()],
                    remove: Vec::new(),
                }),
            )
            .into(),
        ),
        CommandKind::Membership(
            Membership::at(
                u64::MAX,
                MembershipChange::RaiseEpoch(RaiseEpoch {
                    from: state.epoch().0,
                    why: 1,
                    survivor: 0,
                    to: u64::MAX,
                }),
            )
            .into(),
        ),
        CommandKind::LeaseGrant(LeaseGrant { id: 99, ttl_ms: 9 }),
        CommandKind::LeaseRevoke(LeaseRevoke { ids, expired: true }),
        CommandKind::Delete(DeleteRange { range: span.clone(), prev_kv: true }),
        put("a", "4"),
    ];
    all.push(CommandKind::Compact(Compact { revision: state.revision().0 + 2 }));
    for (place, kind) in all.into_iter().enumerate() {
        let origin = 1_000 + place as u64;
        apply(&mut state, &Proposal { origin, ..proposal(1, kind) });
    }
    state.events_since(state.compacted(), &span, usize::MAX).expect("not compacted");
    let again = State::restore(state.snapshot()).expect("its own snapshot");
    assert_eq!(again.digest(), state.digest());
}

#[test]
fn a_snapshot_holds_everything() {
    let state = busy();
    let restored = State::restore(state.snapshot()).expect("its own snapshot");
    assert_eq!(restored.snapshot(), state.snapshot());
    assert_eq!(restored.members(), state.members());
    assert!(restored.leases().eq(state.leases()));
    assert_eq!(restored.record(), state.record());
    assert_eq!(restored.gossip_keys(), state.gossip_keys());
    assert!(restored.is_removed(crate::base::NodeId(3)));
    exercise(restored);
}

#[test]
fn a_snapshot_that_is_cut_anywhere_is_refused() {
    let snapshot = busy().snapshot();
    for len in 0..snapshot.len() {
        assert!(State::restore(snapshot.slice(..len)).is_err(), "cut at {len}");
    }
    let longer = [&snapshot[..], &[0]].concat();
    assert_eq!(State::restore(longer.into()).err(), Some(RestoreError::Undecodable));
}

#[test]
fn a_snapshot_of_another_format_is_named_as_such() {
    // Record of 2 bytes, head of 2 bytes... the first field of the head is the format.
    let mut bytes = busy().snapshot().to_vec();
    assert_eq!((bytes[1], bytes[3], bytes[4]), (0x0a, 0x08, 2));
    bytes[4] = 3;
    let error = State::restore(bytes.into()).expect_err("another format");
    assert_eq!(error, RestoreError::Format { found: 3 });
    assert_eq!(error.to_string(), "the snapshot has format 3, this version reads 2");
}

#[test]
fn a_damaged_value_is_found_by_the_digest() {
    let mut state = founded();
    apply(&mut state, &proposal(1, put("key", "needle")));
    let mut bytes = state.snapshot().to_vec();
    let place = bytes.windows(6).position(|window| window == b"needle").expect("it is there");
    bytes[place] ^= 1;
    assert_eq!(State::restore(bytes.into()).err(), Some(RestoreError::Damaged));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_make_restore_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = State::restore(bytes.into());
    }

    #[test]
    fn a_changed_snapshot_is_refused_and_what_passes_without_its_digest_still_works(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let original = busy().snapshot();
        let mut bytes = original.to_vec();
        for (place, byte) in changes {
            bytes[place.index(original.len())] = byte;
        }
        let bytes = Bytes::from(bytes);
        if bytes != original {
            if let Ok((state, _)) = State::decode(bytes.clone()) {
                exercise(state);
            }
            if let Ok(state) = State::restore(bytes) {
                // The same state in other words, such as a number written longer.
                prop_assert_eq!(state.digest(), busy().digest());
            }
        }
    }

    #[test]
    fn no_bytes_make_apply_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        kind in super::model::any_command(),
    ) {
        let mut state = busy();
        state.apply(state.applied().next(), bytes.into());
        let mut bytes = Proposal { origin: 5, ..proposal(1, kind) }.encode_to_vec();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        state.apply(state.applied().next(), bytes.into());
        exercise(state);
    }
}

#[test]
fn a_transaction_has_at_most_128_operations_over_all_its_levels() {
    let ops = |count: usize| -> Vec<Op> {
        let put = |place| OpKind::Put(Put { key: format!("{place}").into(), ..Put::default() });
        (0..count).map(|place| Op { kind: Some(put(place)) }).collect()
    };
    let nested = |around: usize, inside: usize| {
        let range =
            |place| Range { range: KeyRange::of_key(format!("{place}")), ..Range::default() };
        let range = |place| Op { kind: Some(OpKind::Range(range(place))) };
        let mut success: Vec<Op> = (1..around).map(range).collect();
        let inner = Txn { success: ops(inside), ..Txn::default() };
        success.push(Op { kind: Some(OpKind::Txn(inner)) });
        Txn { success, ..Txn::default() }
    };
    let result = |txn: Txn| {
        let proposal = proposal(1, CommandKind::Txn(txn));
        apply(&mut founded(), &proposal).outcome.result.map(drop)
    };
    assert_eq!(result(Txn { success: ops(TXN_OPS_MAX), ..Txn::default() }), Ok(()));
    let more = Txn { failure: ops(TXN_OPS_MAX + 1), ..Txn::default() };
    assert_eq!(result(more), Err(Refusal::TooManyOps));
    assert_eq!(result(nested(100, 28)), Ok(()));
    assert_eq!(result(nested(100, 29)), Err(Refusal::TooManyOps));
}

#[test]
fn a_transaction_that_covers_too_many_keys_is_refused_before_it_writes() {
    const KEYS: u64 = 1_000;
    let mut state = founded();
    for place in 1..=KEYS {
        let key = format!("m/{place:04}").into();
        apply(&mut state, &proposal(place, CommandKind::Put(Put { key, ..Put::default() })));
    }
    let covering = |ranges: usize| {
        let range = Range { range: KeyRange::of_prefix("m/"), limit: 1, ..Range::default() };
        let put = OpKind::Put(Put { key: "z".into(), ..Put::default() });
        let ranges = (0..ranges).map(|_| OpKind::Range(range.clone()));
        let success = core::iter::once(put).chain(ranges).map(|kind| Op { kind: Some(kind) });
        CommandKind::Txn(Txn { success: success.collect(), ..Txn::default() })
    };
    let before = state.revision();
    let most = TXN_KEYS_MAX / KEYS as usize;
    let outcome = apply(&mut state, &proposal(KEYS + 1, covering(most + 1))).outcome;
    assert_eq!((outcome.result, state.revision()), (Err(Refusal::TooManyKeys), before));
    let outcome = apply(&mut state, &proposal(KEYS + 2, covering(most))).outcome;
    assert!(outcome.result.is_ok() && state.revision() == before.next());
}

#[test]
fn a_lease_takes_no_more_keys_than_may_go_at_once() {
    let mut state = founded();
    let grant = LeaseGrant { id: 7, ttl_ms: 1_000 };
    apply(&mut state, &proposal(1, CommandKind::LeaseGrant(grant)));
    let on_lease = |key: std::string::String| Put { key: key.into(), lease: 7, ..Put::default() };
    let mut sequence = 1;
    let mut run = |state: &mut State, kind: CommandKind| {
        sequence += 1;
        apply(state, &proposal(sequence, kind)).outcome.result.map(drop)
    };
    for first in (0..LEASE_KEYS_MAX).step_by(100) {
        let op = |key: usize| Op { kind: Some(OpKind::Put(on_lease(format!("{key:06}")))) };
        let success = (first..first + 100).map(op).collect();
        let txn = Txn { success, ..Txn::default() };
        assert_eq!(run(&mut state, CommandKind::Txn(txn)), Ok(()));
    }
    let put = |key: &str| CommandKind::Put(on_lease(key.into()));
    assert_eq!(run(&mut state, put("one more")), Err(Refusal::LeaseFull));
    assert_eq!(run(&mut state, put("000007")), Ok(()), "it hangs there already");
    let gone = DeleteRange { range: KeyRange::of_key("000007"), ..DeleteRange::default() };
    assert_eq!(run(&mut state, CommandKind::Delete(gone)), Ok(()));
    assert_eq!(run(&mut state, put("one more")), Ok(()));
    assert_eq!(run(&mut state, put("another")), Err(Refusal::LeaseFull));
}

#[test]
fn the_token_that_expires_first_makes_room() {
    let mut state = founded();
    for place in 0..=TOKENS_MAX as u64 {
        let expires_unix_ms = if place == 9 { 1 } else { 1_000 };
        let token = Token { id: format!("{place:04}"), expires_unix_ms, ..Token::default() };
        apply(&mut state, &proposal(place + 1, CommandKind::PutToken(token)));
    }
    assert_eq!(state.members.tokens.len(), TOKENS_MAX);
    assert!(!state.members.tokens.contains_key("0009"));
    let oldest = Token { id: "last".into(), expires_unix_ms: 0, ..Token::default() };
    apply(&mut state, &proposal(1_000, CommandKind::PutToken(oldest)));
    assert!(state.members.tokens.contains_key("last"), "what is stored is stored");
}

#[test]
fn a_small_value_does_not_hold_the_buffer_it_came_in() {
    let mut state = founded();
    let bytes = Bytes::from(proposal(1, put("key", "value")).encode_to_vec());
    let applied = state.apply(state.applied().next(), bytes.clone());
    assert_eq!(applied.events.len(), 1);
    assert!(bytes.is_unique(), "nothing shares it");
}

#[test]
#[should_panic(expected = "R6: an entry is applied once")]
fn an_entry_is_applied_once() {
    let mut state = founded();
    for _ in 0..2 {
        state.apply(crate::base::Index(1), Bytes::new());
    }
}
