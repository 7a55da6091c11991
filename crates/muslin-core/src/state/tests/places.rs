//! Places kept for nodes that are to come, and alarms.

use super::*;
use std::boxed::Box;

fn change(change: MembershipChange) -> CommandKind {
    CommandKind::Membership(Box::new(Membership::at(1_000, change)))
}

fn invite(id: u64, url: &str, is_learner: bool) -> CommandKind {
    change(MembershipChange::Invite(Invite { id, peer_urls: vec![url.into()], is_learner }))
}

fn done(state: &mut State, kind: CommandKind) -> Result<Response, Refusal> {
    let sequence = state.applied().0 + 1;
    apply(state, &proposal(sequence, kind)).outcome.result
}

fn join(id: u64, address: &str) -> Admit {
    let name = std::format!("n{id}");
    let roles = vec![CONTROL_ROLE.into()];
    let member = Member { id, name, address: address.into(), roles, ..Member::default() };
    Admit { member, unix_ms: 2_000, may_wait: true, ..Admit::default() }
}

fn asks(id: u64, address: &str) -> CommandKind {
    CommandKind::Admit(Box::new(join(id, address)))
}

fn places(state: &State) -> Vec<u64> {
    match state.query(&Query::Invites).result {
        Ok(Response::Invites { invites }) => invites.iter().map(|one| one.id).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn whoever_comes_to_a_place_is_let_in_without_a_token_and_takes_it() {
    let mut state = founded();
    done(&mut state, invite(70, "http://10.0.0.2:7400", false)).unwrap();
    done(&mut state, invite(71, "http://10.0.0.3:7400", true)).unwrap();
    assert_eq!(places(&state), [70, 71]);
    let held = done(&mut state, asks(4, "10.0.0.4:7400"));
    assert!(matches!(held, Ok(Response::Admission(Admission::Held { .. }))), "{held:?}");
    for (id, address) in [(2, "10.0.0.2:7400"), (3, "10.0.0.3:7400")] {
        let foreseen = state.query(&Query::Admission(Box::new(join(id, address)))).result;
        assert_eq!(foreseen, Ok(Response::Done), "it is looked for where it says it is");
        let let_in = done(&mut state, asks(id, address));
        let is_new =
            |admission: &Admission| matches!(admission, Admission::Admitted { known: false, .. });
        assert!(matches!(&let_in, Ok(Response::Admission(it)) if is_new(it)), "{let_in:?}");
    }
    assert_eq!(places(&state), Vec::<u64>::new());
    let wish = |id: u64| state.members()[&crate::base::NodeId(id)].vote_wish();
    assert_eq!((wish(2), wish(3)), (VoteWish::Auto, VoteWish::Never));
    // The place is taken once.
    let late = done(&mut state, asks(5, "10.0.0.2:7400"));
    assert!(!matches!(late, Ok(Response::Admission(Admission::Admitted { .. }))), "{late:?}");
}

#[test]
fn a_join_that_waited_is_let_in_when_a_place_is_kept_for_it() {
    let mut state = founded();
    done(&mut state, asks(2, "10.0.0.2:7400")).unwrap();
    done(&mut state, invite(70, "http://10.0.0.2:7400", false)).unwrap();
    let again = done(&mut state, asks(2, "10.0.0.2:7400"));
    assert!(matches!(again, Ok(Response::Admission(Admission::Admitted { .. }))), "{again:?}");
    assert!(state.held().is_empty());
}

#[test]
fn a_place_is_refused_where_somebody_is_and_is_changed_and_given_up() {
    let mut state = founded();
    done(&mut state, invite(70, "http://10.0.0.2:7400", false)).unwrap();
    let taken = done(&mut state, invite(71, "https://10.0.0.2:7400", false));
    assert!(matches!(taken, Err(Refusal::AddressTaken(_))), "{taken:?}");
    assert_eq!(done(&mut state, invite(1, "http://a:1", false)), Err(Refusal::MemberExists));
    assert_eq!(done(&mut state, invite(0, "http://a:1", false)), Err(Refusal::MemberExists));
    let shapeless = done(&mut state, invite(72, "10.0.0.2:7400", false));
    assert!(matches!(shapeless, Err(Refusal::BadForm(_))), "{shapeless:?}");
    done(&mut state, invite(70, "http://10.0.0.3:7400", false)).unwrap();
    done(&mut state, invite(71, "http://10.0.0.2:7400", false)).unwrap();
    let restored = State::restore(state.snapshot()).unwrap();
    assert_eq!((restored.digest(), places(&restored)), (state.digest(), vec![70, 71]));
    let give_up = |id| change(MembershipChange::Uninvite(Whom { id }));
    done(&mut state, give_up(70)).unwrap();
    assert_eq!(done(&mut state, give_up(70)), Err(Refusal::MemberNotFound));
    assert_eq!(places(&state), [71]);
    for id in 100..100 + INVITES_MAX as u64 - 1 {
        done(&mut state, invite(id, &std::format!("http://10.0.1.{id}:1"), false)).unwrap();
    }
    assert_eq!(done(&mut state, invite(99, "http://b:1", false)), Err(Refusal::TooManyHeld));
}

fn alarm(member: u64, kind: AlarmKind, is_raised: bool) -> CommandKind {
    CommandKind::Alarm(SetAlarm { alarm: Alarm { member, kind: kind.into() }, is_raised })
}

#[test]
fn an_alarm_stops_what_it_is_about_until_it_is_ended() {
    let mut state = founded();
    let grant = |id| CommandKind::LeaseGrant(LeaseGrant { id, ttl_ms: 5 });
    let delete = || {
        let range = KeyRange::of_key("a");
        CommandKind::Delete(DeleteRange { range, prev_kv: false })
    };
    let range = Query::Range(Range { range: KeyRange::of_key("a"), ..Range::default() });
    done(&mut state, put("a", "1")).unwrap();
    done(&mut state, grant(7)).unwrap();
    let changed = |changed| Ok(Response::Alarm { changed });
    assert_eq!(done(&mut state, alarm(1, AlarmKind::NoSpace, true)), changed(true));
    assert_eq!(done(&mut state, alarm(1, AlarmKind::NoSpace, true)), changed(false));
    assert_eq!(done(&mut state, put("a", "2")), Err(Refusal::NoSpace));
    assert_eq!(done(&mut state, grant(8)), Err(Refusal::NoSpace));
    assert!(done(&mut state, delete()).is_ok(), "what takes away goes on");
    assert_eq!(done(&mut state, alarm(0, AlarmKind::NoSpace, false)), changed(false));
    assert_eq!(done(&mut state, alarm(1, AlarmKind::NoSpace, false)), changed(true));
    done(&mut state, put("a", "2")).unwrap();
    assert_eq!(done(&mut state, alarm(0, AlarmKind::Corrupt, true)), changed(true));
    for kind in [put("a", "3"), delete(), grant(8)] {
        assert_eq!(done(&mut state, kind), Err(Refusal::Corrupt));
    }
    assert_eq!(state.query(&range).result, Err(Refusal::Corrupt));
    assert_eq!(state.view().query(&range).unwrap().result, Err(Refusal::Corrupt));
    let end = LeaseRevoke { ids: vec![7], expired: true };
    assert!(done(&mut state, CommandKind::LeaseRevoke(end)).is_ok(), "leases end as ever");
    let restored = State::restore(state.snapshot()).unwrap();
    assert_eq!(restored.digest(), state.digest());
    assert_eq!(restored.query(&range).result, Err(Refusal::Corrupt));
    assert_eq!(done(&mut state, alarm(0, AlarmKind::Corrupt, false)), changed(true));
    assert!(state.query(&range).result.is_ok());
    assert_eq!(done(&mut state, alarm(9, AlarmKind::NoSpace, true)), Err(Refusal::MemberNotFound));
    assert_eq!(done(&mut state, alarm(1, AlarmKind::None, true)), Err(Refusal::AlarmUnknown));
}
