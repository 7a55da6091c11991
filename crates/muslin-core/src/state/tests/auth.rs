//! Who may do what: every kind of operation against a plain model of rights, and what the log's
//! order decides.

use super::*;
use crate::base::Revision;
use proptest::prelude::*;
use std::boxed::Box;
use std::collections::BTreeSet;
use std::format;
use std::string::String;

/// Applies a command on behalf of somebody.
fn apply_by(state: &mut State, asker: &Asker, kind: CommandKind) -> Applied {
    let sequence = state.applied().0 + 1;
    let proposal = Proposal { asker: asker.proposed(), ..proposal(sequence, kind) };
    apply(state, &proposal)
}

fn auth(change: AuthChange) -> CommandKind {
    CommandKind::Auth(Box::new(change.into()))
}

fn must(state: &mut State, kind: CommandKind) {
    let applied = apply_by(state, &Asker::Cluster, kind);
    assert!(applied.outcome.result.is_ok(), "{applied:?}");
}

fn add_user(name: &str) -> CommandKind {
    let credential = Bytes::from_static(b"hash");
    auth(AuthChange::AddUser(UserChange { name: name.into(), credential, no_password: false }))
}

fn grant_role(user: &str, role: &str) -> CommandKind {
    auth(AuthChange::GrantRole(RoleOfUser { user: user.into(), role: role.into() }))
}

fn permission(role: &str, kind: PermissionKind, range: KeyRange) -> PermissionOfRole {
    let permission = Some(Permission { kind: kind as i32, range });
    PermissionOfRole { role: role.into(), permission }
}

fn grant(role: &str, kind: PermissionKind, range: KeyRange) -> CommandKind {
    auth(AuthChange::GrantPermission(permission(role, kind, range)))
}

pub(super) fn revoke(role: &str, range: KeyRange) -> CommandKind {
    auth(AuthChange::RevokePermission(permission(role, PermissionKind::Read, range)))
}

fn enable(key: u8) -> CommandKind {
    let token_key = vec![key; TOKEN_KEY_BYTES].into();
    auth(AuthChange::Enable(AuthEnable { token_key }))
}

fn disable() -> CommandKind {
    auth(AuthChange::Disable(AuthDisable {}))
}

fn denied(refusal: AuthRefusal) -> Result<Response, Refusal> {
    Err(Refusal::Auth(refusal))
}

fn standing(state: &State) -> (bool, u64) {
    match state.query(&Query::Auth(AuthQuery::Status)).result {
        Ok(Response::Auth(answer)) => match *answer {
            AuthAnswer::Status { enabled, revision } => (enabled, revision),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Whoever authenticates now as this user.
pub(super) fn user(state: &State, name: &str) -> Asker {
    Asker::user(name, standing(state).1)
}

/// With users `root` and `u`, who has the roles `r0` and `r1`; auth is enabled.
pub(super) fn guarded(permissions: &[(&str, PermissionKind, KeyRange)]) -> State {
    let mut state = founded();
    for kind in [
        add_user("root"),
        grant_role("root", "root"),
        add_user("u"),
        auth(AuthChange::AddRole("r0".into())),
        auth(AuthChange::AddRole("r1".into())),
        grant_role("u", "r0"),
        grant_role("u", "r1"),
    ] {
        must(&mut state, kind);
    }
    for (role, kind, range) in permissions {
        must(&mut state, grant(role, *kind, range.clone()));
    }
    must(&mut state, enable(1));
    state
}

#[test]
fn what_is_revoked_before_a_command_in_the_log_is_missing_to_it() {
    let mut state = guarded(&[("r0", PermissionKind::Write, KeyRange::of_key("a"))]);
    let asker = user(&state, "u").lasting();
    assert!(apply_by(&mut state, &asker, put("a", "1")).outcome.result.is_ok());
    let revoke = permission("r0", PermissionKind::Write, KeyRange::of_key("a"));
    must(&mut state, auth(AuthChange::RevokePermission(revoke)));
    // The node that took it knew nothing of that.
    let refused = apply_by(&mut state, &asker, put("a", "2"));
    assert_eq!(refused.outcome.result, denied(AuthRefusal::Denied));
    assert!(refused.events.is_empty());
}

#[test]
fn a_token_is_good_until_its_user_is_another_or_has_another_password() {
    let mut state = guarded(&[("r0", PermissionKind::ReadWrite, KeyRange::of_prefix(""))]);
    let (asker, root) = (user(&state, "u"), user(&state, "root"));
    must(&mut state, auth(AuthChange::AddRole("r2".into())));
    for asker in [&asker, &root] {
        assert!(apply_by(&mut state, asker, put("a", "1")).outcome.result.is_ok());
    }
    assert!(apply_by(&mut state, &root, grant_role("u", "r2")).outcome.result.is_ok());
    let change = UserChange { name: "root".into(), ..UserChange::default() };
    must(&mut state, auth(AuthChange::ChangePassword(change)));
    must(&mut state, auth(AuthChange::DeleteUser("u".into())));
    for (asker, kind) in [(&root, grant_role("root", "r2")), (&root, put("a", "2"))] {
        let refused = apply_by(&mut state, asker, kind).outcome.result;
        assert_eq!(refused, denied(AuthRefusal::InvalidToken), "the password is another");
    }
    must(&mut state, add_user("u"));
    must(&mut state, grant_role("u", "r0"));
    let refused = apply_by(&mut state, &asker, put("a", "2")).outcome.result;
    assert_eq!(refused, denied(AuthRefusal::InvalidToken), "it is somebody else");
    let again = user(&state, "u");
    assert!(apply_by(&mut state, &again, put("a", "2")).outcome.result.is_ok());
}

#[test]
fn a_token_of_before_auth_was_disabled_is_worth_nothing_when_it_is_enabled_again() {
    let mut state = guarded(&[("r0", PermissionKind::Write, KeyRange::of_key("a"))]);
    let asker = user(&state, "u");
    let key = |state: &State| match state.query(&Query::Auth(AuthQuery::TokenKey)).result {
        Ok(Response::Auth(answer)) => match *answer {
            AuthAnswer::TokenKey(key) => key,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let before = key(&state);
    must(&mut state, disable());
    assert_eq!(key(&state), None);
    assert!(apply_by(&mut state, &Asker::Nobody, put("b", "1")).outcome.result.is_ok());
    must(&mut state, enable(2));
    let refused = apply_by(&mut state, &asker, put("a", "1")).outcome.result;
    assert_eq!(refused, denied(AuthRefusal::InvalidToken));
    assert_ne!(key(&state), before);
}

#[test]
fn root_stays_root_while_auth_is_enabled() {
    let mut state = founded();
    let apply = |state: &mut State, kind| apply_by(state, &Asker::Cluster, kind).outcome.result;
    assert_eq!(apply(&mut state, enable(1)), denied(AuthRefusal::RootUserMissing));
    must(&mut state, add_user("root"));
    assert_eq!(apply(&mut state, enable(1)), denied(AuthRefusal::RootRoleMissing));
    must(&mut state, auth(AuthChange::AddRole("root".into())));
    must(&mut state, grant_role("root", "root"));
    must(&mut state, enable(1));
    let names = RoleOfUser { user: "root".into(), role: "root".into() };
    for change in [
        AuthChange::DeleteUser("root".into()),
        AuthChange::DeleteRole("root".into()),
        AuthChange::RevokeRole(names),
    ] {
        assert_eq!(apply(&mut state, auth(change)), denied(AuthRefusal::InvalidManagement));
    }
    assert_eq!(standing(&state), (true, 4), "etcd's count: what is refused is none");
}

#[test]
fn changes_are_refused_in_etcds_words() {
    let mut state = guarded(&[]);
    let range = || KeyRange::of_key("k");
    let backwards = KeyRange { key: "b".into(), range_end: "a".into() };
    let names = |user: &str, role: &str| RoleOfUser { user: user.into(), role: role.into() };
    let none = PermissionOfRole { role: "r0".into(), permission: None };
    let of = |role| permission(role, PermissionKind::Read, range());
    let wrong = permission("r0", PermissionKind::Read, backwards);
    let anew = |name: &str| UserChange { name: name.into(), ..UserChange::default() };
    for (change, words) in [
        (AuthChange::AddUser(anew("u")), "user name already exists"),
        (AuthChange::AddUser(anew("")), "user name is empty"),
        (AuthChange::DeleteUser("v".into()), "user name not found"),
        (AuthChange::ChangePassword(anew("v")), "user name not found"),
        (AuthChange::GrantRole(names("v", "r0")), "user name not found"),
        (AuthChange::GrantRole(names("u", "r9")), "role name not found"),
        (AuthChange::RevokeRole(names("u", "r9")), "role is not granted to the user"),
        (AuthChange::AddRole("r0".into()), "role name already exists"),
        (AuthChange::AddRole("".into()), "role name is empty"),
        (AuthChange::DeleteRole("r9".into()), "role name not found"),
        (AuthChange::GrantPermission(of("r9")), "role name not found"),
        (AuthChange::GrantPermission(none), "permission not given"),
        (AuthChange::GrantPermission(wrong), "invalid auth management"),
        (AuthChange::RevokePermission(of("r0")), "permission is not granted to the role"),
    ] {
        let before = standing(&state);
        let told = format!("{change:?}");
        let refused = apply_by(&mut state, &Asker::Cluster, auth(change)).outcome.result;
        assert_eq!(refused.unwrap_err().to_string(), words, "{told}");
        assert_eq!(standing(&state), before);
    }
}

#[test]
fn a_role_that_goes_goes_from_all_and_says_so() {
    let mut state = guarded(&[("r0", PermissionKind::Read, KeyRange::of_key("a"))]);
    let asker = user(&state, "u").lasting();
    assert_eq!(state.check_watch(&asker, &KeyRange::of_key("a")), Ok(()));
    let applied = apply_by(&mut state, &Asker::Cluster, auth(AuthChange::DeleteRole("r0".into())));
    assert!(applied.rights_changed);
    let refused = state.check_watch(&asker, &KeyRange::of_key("a"));
    assert_eq!(refused, Err(Refusal::Auth(AuthRefusal::Denied)));
    let names = state.query(&Query::Auth(AuthQuery::User("u".into()))).result;
    assert_eq!(names, Ok(Response::Auth(Box::new(AuthAnswer::Names(vec!["r1".into()])))));
}

/// Every kind of command that is not about keys, for whom it is.
#[test]
fn what_is_about_no_keys_is_for_those_it_is_for() {
    let commands = [
        (CommandKind::Compact(Compact { revision: 1 }), Needs::Root),
        (CommandKind::LeaseGrant(LeaseGrant { id: 7, ttl_ms: 9 }), Needs::Known),
        (auth(AuthChange::AddRole("x".into())), Needs::Root),
        (disable(), Needs::Root),
        (CommandKind::Admit(Box::default()), Needs::Root),
        (CommandKind::Remove(Remove::default()), Needs::Root),
        (CommandKind::UpdateMember(UpdateMember::default()), Needs::Root),
        (CommandKind::PutToken(Token::default()), Needs::Root),
        (CommandKind::Membership(Box::default()), Needs::Root),
        (CommandKind::GroupCreate(GroupCreate::default()), Needs::Root),
        (CommandKind::GroupAssign(GroupAssign::default()), Needs::Root),
        (CommandKind::GroupRemove(GroupRemove::default()), Needs::Root),
    ];
    let all = PermissionKind::ReadWrite;
    let state = guarded(&[("r0", all, KeyRange::of_prefix(""))]);
    let refused =
        |asker: &Asker, kind: &CommandKind| match apply_by(&mut state.clone(), asker, kind.clone())
            .outcome
            .result
        {
            Err(Refusal::Auth(refusal)) => Some(refusal),
            _ => None,
        };
    for (kind, needs) in commands {
        assert_eq!(refused(&Asker::Nobody, &kind), Some(AuthRefusal::UserEmpty), "{kind:?}");
        let stranger = Asker::user("v", u64::MAX);
        assert_eq!(refused(&stranger, &kind), Some(AuthRefusal::InvalidToken), "{kind:?}");
        let of_user = (needs == Needs::Root).then_some(AuthRefusal::Denied);
        assert_eq!(refused(&user(&state, "u"), &kind), of_user, "{kind:?}");
        assert_eq!(refused(&user(&state, "root"), &kind), None, "{kind:?}");
        assert_eq!(refused(&Asker::Cluster, &kind), None, "{kind:?}");
    }
}

#[test]
fn users_and_roles_are_told_to_root_and_to_those_they_are() {
    let state = guarded(&[]);
    let may =
        |asker: &Asker, query: AuthQuery| state.query_by(asker, &Query::Auth(query)).result.is_ok();
    let (nobody, u, root) = (Asker::Nobody, user(&state, "u"), user(&state, "root"));
    let name = |name: &str| String::from(name);
    for (query, of_nobody, of_u, of_root, of_cluster) in [
        (AuthQuery::Status, true, true, true, true),
        (AuthQuery::User(name("u")), false, true, true, true),
        (AuthQuery::User(name("root")), false, false, true, true),
        (AuthQuery::Role(name("r0")), false, true, true, true),
        (AuthQuery::Users, false, false, true, true),
        (AuthQuery::Roles, false, false, true, true),
        (AuthQuery::May(Needs::Known), false, true, true, true),
        (AuthQuery::May(Needs::Root), false, false, true, true),
        (AuthQuery::Credential(name("u")), false, false, false, true),
        (AuthQuery::TokenKey, false, false, false, true),
    ] {
        let asked = |asker| may(asker, query.clone());
        let found = (asked(&nobody), asked(&u), asked(&root), asked(&Asker::Cluster));
        assert_eq!(found, (of_nobody, of_u, of_root, of_cluster), "{query:?}");
    }
}

/// Keys `a` to `f`, and what lies between: a place for each key, and one for all that follow it.
const LETTERS: usize = 6;

fn letter(place: usize) -> Bytes {
    Bytes::from(vec![b'a' + place as u8])
}

/// A range by the letters at its ends; without an end a point, with 9 to the end of all.
#[derive(Clone, Copy, Debug)]
struct Stretch(usize, Option<usize>);

impl Stretch {
    fn range(self) -> KeyRange {
        let range_end = match self.1 {
            None => Bytes::new(),
            Some(9) => Bytes::from_static(&[0]),
            Some(end) => letter(end),
        };
        KeyRange { key: letter(self.0), range_end }
    }

    fn places(self) -> BTreeSet<usize> {
        match self.1 {
            None => [2 * self.0].into(),
            Some(9) => (2 * self.0..2 * LETTERS).collect(),
            Some(end) => (2 * self.0..2 * end).collect(),
        }
    }
}

fn stretch() -> impl Strategy<Value = Stretch> {
    (0..LETTERS, prop_oneof![Just(0), Just(9), 1..LETTERS]).prop_map(|(start, len)| match len {
        0 => Stretch(start, None),
        9 => Stretch(start, Some(9)),
        // One that reaches behind the last letter is not known here.
        len if start + len < LETTERS => Stretch(start, Some(start + len)),
        _ => Stretch(start, None),
    })
}

/// One operation, and what it needs.
#[derive(Clone, Debug)]
enum Deed {
    Put { key: usize, lease: bool, prev: bool },
    Delete { what: Stretch, prev: bool },
    Range(Stretch),
    Txn { compares: Vec<Stretch>, success: Vec<Deed>, failure: Vec<Deed> },
    Revoke,
    Lease,
    Watch(Stretch),
}

fn deed() -> impl Strategy<Value = Deed> {
    let leaf = prop_oneof![
        (0..LETTERS, any::<bool>(), any::<bool>()).prop_map(|(key, lease, prev)| Deed::Put {
            key,
            lease,
            prev
        }),
        (stretch(), any::<bool>()).prop_map(|(what, prev)| Deed::Delete { what, prev }),
        stretch().prop_map(Deed::Range),
    ];
    let ops = leaf.clone().prop_recursive(2, 6, 2, |inner| {
        let list = || prop::collection::vec(inner.clone(), 0..3);
        (prop::collection::vec(stretch(), 0..2), list(), list())
            .prop_map(|(compares, success, failure)| Deed::Txn { compares, success, failure })
    });
    prop_oneof![leaf, ops, Just(Deed::Revoke), Just(Deed::Lease), stretch().prop_map(Deed::Watch),]
}

const LEASE: u64 = 7;

impl Deed {
    fn op(&self) -> OpKind {
        match self {
            Deed::Put { key, lease, prev } => OpKind::Put(Put {
                key: letter(*key),
                lease: u64::from(*lease) * LEASE,
                prev_kv: *prev,
                ..Put::default()
            }),
            Deed::Delete { what, prev } => {
                OpKind::Delete(DeleteRange { range: what.range(), prev_kv: *prev })
            }
            Deed::Range(what) => OpKind::Range(Range { range: what.range(), ..Range::default() }),
            Deed::Txn { compares, success, failure } => {
                let compare = |what: &Stretch| Compare {
                    range: what.range(),
                    result: CompareResult::Greater as i32,
                    target: Some(CompareTarget::Version(0)),
                };
                let ops = |deeds: &[Deed]| {
                    deeds.iter().map(|deed| Op { kind: Some(deed.op()) }).collect()
                };
                OpKind::Txn(Txn {
                    compares: compares.iter().map(compare).collect(),
                    success: ops(success),
                    failure: ops(failure),
                })
            }
            Deed::Revoke | Deed::Lease | Deed::Watch(_) => unreachable!("stands by itself"),
        }
    }

    /// Places it reads, and places it writes.
    fn needs(&self, leased: &BTreeSet<usize>) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let none = BTreeSet::new;
        match self {
            Deed::Put { key, lease, prev } => {
                let key: BTreeSet<usize> = [2 * key].into();
                let joined = if *lease { leased.clone() } else { none() };
                (if *prev { key.clone() } else { none() }, &key | &joined)
            }
            Deed::Delete { what, prev } => {
                (if *prev { what.places() } else { none() }, what.places())
            }
            Deed::Range(what) | Deed::Watch(what) => (what.places(), none()),
            Deed::Txn { compares, success, failure } => {
                let mut all: (BTreeSet<usize>, _) =
                    (compares.iter().flat_map(|what| what.places()).collect(), none());
                for deed in success.iter().chain(failure) {
                    let (reads, writes) = deed.needs(leased);
                    all = (&all.0 | &reads, &all.1 | &writes);
                }
                all
            }
            Deed::Revoke => (none(), leased.clone()),
            Deed::Lease => (leased.clone(), none()),
        }
    }

    /// What comes of it.
    fn done(&self, state: &mut State, asker: &Asker) -> Result<Response, Refusal> {
        let write = |state: &mut State, kind| apply_by(state, asker, kind).outcome.result;
        match self {
            Deed::Watch(what) => state.check_watch(asker, &what.range()).map(|()| Response::Done),
            Deed::Lease => state.query_by(asker, &Query::Lease(LEASE)).result,
            Deed::Revoke => {
                let revoke = LeaseRevoke { ids: vec![LEASE], expired: false };
                write(state, CommandKind::LeaseRevoke(revoke))
            }
            other => match other.op() {
                OpKind::Range(range) => state.query_by(asker, &Query::Range(range)).result,
                OpKind::Put(put) => write(state, CommandKind::Put(put)),
                OpKind::Delete(delete) => write(state, CommandKind::Delete(delete)),
                OpKind::Txn(txn) if txn.is_read_only() => {
                    state.query_by(asker, &Query::Txn(txn)).result
                }
                OpKind::Txn(txn) => write(state, CommandKind::Txn(txn)),
            },
        }
    }
}

fn kind() -> impl Strategy<Value = PermissionKind> {
    prop_oneof![
        Just(PermissionKind::Read),
        Just(PermissionKind::Write),
        Just(PermissionKind::ReadWrite),
    ]
}

proptest! {
    #[test]
    fn a_deed_is_done_if_and_only_if_all_of_it_may_be(
        permissions in prop::collection::vec((0..2usize, kind(), stretch()), 0..6),
        keys in prop::collection::vec((0..LETTERS, any::<bool>()), 0..5),
        deeds in prop::collection::vec(deed(), 1..6),
    ) {
        let roles = ["r0", "r1"];
        let granted: Vec<_> = permissions
            .iter()
            .map(|(role, kind, what)| (roles[*role], *kind, what.range()))
            .collect();
        let mut state = guarded(&granted);
        must(&mut state, CommandKind::LeaseGrant(LeaseGrant { id: LEASE, ttl_ms: 9 }));
        let mut leased = BTreeSet::new();
        for (key, lease) in keys {
            must(&mut state, CommandKind::Put(Put {
                key: letter(key),
                lease: u64::from(lease) * LEASE,
                ..Put::default()
            }));
            if lease { leased.insert(2 * key) } else { leased.remove(&(2 * key)) };
        }
        // The last word counts, of two about the same range of one role.
        let may = |wanted: PermissionKind| {
            let is_last = |place: usize| {
                let (role, _, what) = &permissions[place];
                let mut later = permissions[place + 1..].iter();
                !later.any(|(r, _, w)| r == role && w.range() == what.range())
            };
            let fits = |kind: PermissionKind| kind == wanted || kind == PermissionKind::ReadWrite;
            let all = permissions.iter().enumerate();
            let all = all.filter(|(place, (_, kind, _))| is_last(*place) && fits(*kind));
            all.flat_map(|(_, (_, _, what))| what.places()).collect::<BTreeSet<usize>>()
        };
        let (may_read, may_write) = (may(PermissionKind::Read), may(PermissionKind::Write));
        let asker = user(&state, "u");
        for deed in deeds {
            // Each from the same start: what a lease has is known of it alone.
            let (reads, writes) = deed.needs(&leased);
            let is_let = reads.is_subset(&may_read) && writes.is_subset(&may_write);
            let (mut free, mut tried) = (state.clone(), state.clone());
            let unhindered = deed.done(&mut free, &Asker::Cluster);
            let found = deed.done(&mut tried, &asker);
            if is_let {
                prop_assert_eq!(found, unhindered, "{:?}", deed);
                prop_assert_eq!(tried.revision(), free.revision());
            } else {
                prop_assert_eq!(found, denied(AuthRefusal::Denied), "{:?}", deed);
                prop_assert_eq!(tried.revision(), state.revision(), "nothing was done");
            }
            let nobody = deed.done(&mut state.clone(), &Asker::Nobody);
            prop_assert_eq!(nobody, denied(AuthRefusal::UserEmpty));
            let root = deed.done(&mut state.clone(), &user(&state, "root"));
            prop_assert_eq!(root, deed.done(&mut state.clone(), &Asker::Cluster));
        }
    }
}

#[test]
fn a_snapshot_keeps_who_may_do_what() {
    let mut state = guarded(&[
        ("r0", PermissionKind::Read, KeyRange::of_prefix("a")),
        ("r1", PermissionKind::Write, KeyRange::of_key("b")),
    ]);
    must(&mut state, put("a1", "1"));
    let asker = user(&state, "u");
    let restored = State::restore(state.snapshot()).unwrap();
    assert_eq!(restored.digest(), state.digest());
    assert_eq!(restored.snapshot(), state.snapshot());
    for state in [state, restored] {
        let range = Range { range: KeyRange::of_prefix("a"), ..Range::default() };
        assert!(state.query_by(&asker, &Query::Range(range)).result.is_ok());
        assert!(apply_by(&mut state.clone(), &asker, put("b", "1")).outcome.result.is_ok());
        let refused = apply_by(&mut state.clone(), &asker, put("a1", "1")).outcome;
        assert_eq!(refused.result, denied(AuthRefusal::Denied));
        assert_eq!(refused.revision, Revision(2));
    }
}
