//! What auth promises, each in one short run, and that a bug planted there breaks it.
//!
//! A planted bug is on for the whole process: `cargo xtask mutants` runs the second test alone.

use super::*;
use crate::state::{
    AuthAnswer, AuthChange, AuthDisable, AuthEnable, AuthQuery, Compare, CompareResult,
    CompareTarget, DeleteRange, Op, OpKind, Permission, PermissionKind, PermissionOfRole, Refusal,
    RoleOfUser, TOKEN_KEY_BYTES, Txn, UserChange,
};
use std::boxed::Box;

type Done = Result<Response, Refusal>;

fn by(world: &mut World, asker: &Asker, request: Request) -> (u64, RequestId) {
    world.last_request += 1;
    let id = RequestId(world.last_request);
    world.step(1, Input::Request { id, asker: asker.clone(), request });
    (1, id)
}

fn settled(world: &mut World, asked: (u64, RequestId)) -> Done {
    world.run(100);
    match world.replies.remove(&asked).map(|mut replies| replies.remove(0)) {
        Some(Reply::Outcome(outcome)) => outcome.result,
        other => panic!("not answered: {other:?}"),
    }
}

fn done(world: &mut World, asker: &Asker, request: Request) -> Done {
    let asked = by(world, asker, request);
    settled(world, asked)
}

fn auth(change: AuthChange) -> Request {
    Request::Write(Command::of(CommandKind::Auth(Box::new(change.into()))))
}

fn enable(key: u8) -> Request {
    let token_key = std::vec![key; TOKEN_KEY_BYTES].into();
    auth(AuthChange::Enable(AuthEnable { token_key }))
}

fn role_of(user: &str, role: &str) -> RoleOfUser {
    RoleOfUser { user: user.into(), role: role.into() }
}

/// One node, auth enabled, and `u` who may do this with `a`: who asks as `u`.
fn guarded(kind: PermissionKind) -> (World, Asker) {
    let mut world = World::of(1);
    let user = |name: &str| UserChange { name: name.into(), ..UserChange::default() };
    let permission = Permission { kind: kind.into(), range: KeyRange::of_key("a") };
    let grant = PermissionOfRole { role: "r".into(), permission: Some(permission) };
    for change in [
        AuthChange::AddUser(user("root")),
        AuthChange::GrantRole(role_of("root", "root")),
        AuthChange::AddUser(user("u")),
        AuthChange::AddRole("r".into()),
        AuthChange::GrantPermission(grant),
        AuthChange::GrantRole(role_of("u", "r")),
    ] {
        done(&mut world, &Asker::Cluster, auth(change)).unwrap();
    }
    done(&mut world, &Asker::Cluster, enable(1)).unwrap();
    done(&mut world, &Asker::Cluster, put("a", "1", 0)).unwrap();
    let query = Query::Auth(AuthQuery::Status);
    let status = Request::Read { query, consistency: Consistency::Local };
    let Ok(Response::Auth(told)) = done(&mut world, &Asker::Cluster, status) else {
        panic!("not told")
    };
    let AuthAnswer::Status { revision, .. } = *told else { panic!("{told:?}") };
    (world, Asker::user("u", revision))
}

fn what_will_not_run_is_checked_too() -> bool {
    let (mut world, u) = guarded(PermissionKind::Read);
    let range = |key| Op {
        kind: Some(OpKind::Range(Range { range: KeyRange::of_key(key), ..Range::default() })),
    };
    let compare = Compare {
        range: KeyRange::of_key("a"),
        result: CompareResult::Greater as i32,
        target: Some(CompareTarget::Version(0)),
    };
    let txn = Txn {
        compares: std::vec![compare],
        success: std::vec![range("a")],
        failure: std::vec![range("b")],
    };
    let read = Request::Read { query: Query::Txn(txn), consistency: Consistency::Local };
    done(&mut world, &u, read).is_err()
}

fn a_right_revoked_before_it_in_the_log_is_missing_to_a_command() -> bool {
    let (mut world, u) = guarded(PermissionKind::Write);
    // Both are taken before either is applied.
    let revoked = by(&mut world, &Asker::Cluster, auth(AuthChange::RevokeRole(role_of("u", "r"))));
    let written = by(&mut world, &u, put("a", "2", 0));
    settled(&mut world, revoked).unwrap();
    settled(&mut world, written).is_err()
}

fn a_token_ends_when_auth_is_disabled() -> bool {
    let (mut world, u) = guarded(PermissionKind::Write);
    done(&mut world, &Asker::Cluster, auth(AuthChange::Disable(AuthDisable {}))).unwrap();
    done(&mut world, &Asker::Cluster, enable(2)).unwrap();
    done(&mut world, &u, put("a", "2", 0)).is_err()
}

fn what_a_deletion_tells_is_for_those_who_may_read_it() -> bool {
    let (mut world, u) = guarded(PermissionKind::Write);
    let delete = DeleteRange { range: KeyRange::of_key("a"), prev_kv: true };
    done(&mut world, &u, Request::Write(Command::of(CommandKind::Delete(delete)))).is_err()
}

fn a_watch_ends_with_the_right_to_it() -> bool {
    let (mut world, u) = guarded(PermissionKind::Read);
    let spec = WatchSpec { range: KeyRange::of_key("a"), ..WatchSpec::default() };
    let watch = by(&mut world, &u, Request::Watch(spec.clone()));
    world.run(100);
    let begun = world.replies.remove(&watch).unwrap_or_default();
    let Some(Reply::WatchStarted { from, applied, .. }) = begun.first() else { return false };
    let mut cursor = Cursor::new(&u, spec, (*from, *applied));
    let revoke = auth(AuthChange::RevokeRole(role_of("u", "r")));
    done(&mut world, &Asker::Cluster, revoke).unwrap();
    done(&mut world, &Asker::Cluster, put("a", "2", 0)).unwrap();
    let told = cursor.read(&world.rings[&1], Room::WHOLE);
    matches!(told, Told::Denied(_))
}

#[test]
fn auth_keeps_what_it_promises() {
    assert!(what_will_not_run_is_checked_too());
    assert!(a_right_revoked_before_it_in_the_log_is_missing_to_a_command());
    assert!(a_token_ends_when_auth_is_disabled());
    assert!(what_a_deletion_tells_is_for_those_who_may_read_it());
    assert!(a_watch_ends_with_the_right_to_it());
}

#[cfg(feature = "mutants")]
#[test]
#[ignore = "plants bugs in the whole process: `cargo xtask mutants`"]
fn bugs_planted_in_auth_break_its_promises() {
    use crate::base::mutant::{self, Mutant};
    let promises: [(Mutant, fn() -> bool); 5] = [
        (Mutant::AuthChecksTakenBranchOnly, what_will_not_run_is_checked_too),
        (
            Mutant::AuthCheckedBeforeLog,
            a_right_revoked_before_it_in_the_log_is_missing_to_a_command,
        ),
        (Mutant::TokenSurvivesDisable, a_token_ends_when_auth_is_disabled),
        (Mutant::PrevKvUnchecked, what_a_deletion_tells_is_for_those_who_may_read_it),
        (Mutant::WatchOutlivesRight, a_watch_ends_with_the_right_to_it),
    ];
    for (planted, is_kept) in promises {
        assert!(is_kept(), "{}: without the bug", planted.name());
        mutant::activate(planted);
        let is_seen = !is_kept();
        mutant::activate(Mutant::None);
        assert!(is_seen, "{} is not seen", planted.name());
    }
}
