//! Views, operators' commands and explanations over a real node.

use super::http::{client, line, refused};
use super::*;
use crate::client::Call;
use muslin_core::node::Consistency;
use muslin_core::state::{Admit, Command, CommandKind, HeldJoin, Query, Response};
use serde_json::{Value, json};

async fn get(world: &World, path: &str) -> Value {
    client(world).json(Call::get(path)).await.unwrap_or_else(|error| panic!("{path}: {error}"))
}

async fn post(world: &World, path: &str, body: &'static str) -> Value {
    let answer = client(world).json(Call::post(path, body)).await;
    answer.unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Another member, which nobody runs, admitted by approval.
pub(super) async fn add(world: &World, id: u64) {
    let member = Member { address: format!("127.0.0.1:75{id:02}"), ..super::member(id) };
    let wanted = Member { roles: vec!["worker".into()], ..member };
    hold(world, wanted).await;
    post(world, &format!("/v1/nodes/n{id}:approve"), "").await;
}

/// Another member, which nobody runs, and which is to vote all the same.
pub(super) async fn add_promoted(world: &World, id: u64) {
    let member = Member { address: format!("127.0.0.1:76{id:02}"), ..super::member(id) };
    hold(world, member).await;
    post(world, &format!("/v1/nodes/n{id}:approve"), "").await;
    post(world, &format!("/v1/nodes/n{id}:promote"), "").await;
}

/// Asks to be admitted without a token.
async fn hold(world: &World, member: Member) {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let unix_ms = since.as_millis() as u64;
    let admit = Admit { member, may_wait: true, unix_ms, ..Admit::default() };
    let outcome = world.handle.write(Command::of(CommandKind::Admit(admit.into()))).await.unwrap();
    outcome.result.unwrap();
}

/// The joins that wait.
async fn held(world: &World) -> Vec<HeldJoin> {
    let read = world.handle.read(Query::Record, Consistency::Local).await.unwrap();
    match read.result.unwrap() {
        Response::Record(record) => record.held,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_view_says_how_fresh_it_is() {
    let world = World::new().await;
    // From the first commit of its term on a leader knows how far the others are.
    get(&world, "/v1/nodes?consistency=linearizable").await;
    for path in ["/v1/nodes", "/v1/nodes/n1", "/v1/cluster", "/v1/cluster/health", "/v1/status"] {
        for (asked, consistency) in [
            ("", "local"),
            ("?consistency=lease", "lease"),
            ("?consistency=linearizable", "linearizable"),
        ] {
            let answer = client(&world).bytes(Call::get(format!("{path}{asked}"))).await.unwrap();
            assert_eq!(answer.headers["muslin-consistency"], consistency, "{path}");
            assert_eq!(answer.headers["muslin-index"], "1.1", "{path}");
            assert_eq!(answer.headers["muslin-leader"], "0000000000000001", "{path}");
            let age = answer.headers["muslin-staleness-ms"].to_str().unwrap();
            assert!(age.parse::<u64>().is_ok(), "{path}: {age}");
        }
    }
    let nodes = get(&world, "/v1/nodes?max_staleness=1m").await;
    assert_eq!((&nodes["degraded"], &nodes["answered_by"]["name"]), (&json!(null), &json!("n1")));
    refused(&client(&world), Call::get("/v1/nodes?max_staleness=soon"), 400, "bad-request").await;
}

#[tokio::test]
async fn without_a_quorum_views_answer_and_say_that_nobody_is_admitted() {
    let world = World::of(Wishes { absent_voters: 2, ..Wishes::default() }).await;
    let nodes = get(&world, "/v1/nodes").await;
    assert_eq!(nodes["items"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&nodes["items"][2]["standing"], &nodes["staleness_ms"]),
        (&json!("admitted"), &json!(null))
    );
    assert!(
        nodes["degraded"].as_str().unwrap().contains("nobody is admitted or removed"),
        "{nodes}"
    );
    let health = get(&world, "/v1/cluster/health").await;
    assert_eq!(health["voters"], json!({ "answering": 1, "total": 3, "needed": 2 }));
    assert!(health["degraded"].is_string(), "{health}");
    let client = client(&world);
    refused(&client, Call::get("/v1/nodes?max_staleness=2s"), 503, "too-stale").await;
    refused(&client, Call::get("/v1/nodes?consistency=linearizable"), 503, "no-quorum").await;
    refused(&client, Call::post("/v1/nodes/n2:remove?force=1", ""), 503, "no-quorum").await;
    let why = get(&world, "/v1/explain?subject=leader").await;
    assert_eq!(why["answer"], "nobody is known to lead");
    assert!(why["because"].to_string().contains("1 of 3 voters answers, 2 are needed"), "{why}");
}

#[tokio::test]
async fn a_member_is_drained_labelled_given_roles_and_taken_out() {
    let world = World::new().await;
    add(&world, 2).await;
    let drained = post(&world, "/v1/nodes/n2:drain", "").await;
    assert_eq!((&drained["standing"], &drained["changed"]), (&json!("draining"), &json!(true)));
    let again = post(&world, "/v1/nodes/0000000000000002:drain", "").await;
    assert_eq!(again["changed"], false);
    assert_eq!(post(&world, "/v1/nodes/n2:resume", "").await["standing"], "admitted");
    let roles = post(&world, "/v1/nodes/n2:roles", r#"{"add":["dns"],"remove":["worker"]}"#).await;
    assert_eq!(roles["roles"], json!(["dns"]));
    let labels = r#"{"set":{"rack":"7"},"zone":"north"}"#;
    let labels = post(&world, "/v1/nodes/n2:labels", labels).await;
    assert_eq!((&labels["labels"]["rack"], &labels["zone"]), (&json!("7"), &json!("north")));
    let row = get(&world, "/v1/nodes/n2").await;
    assert_eq!(
        (&row["roles"], &row["zone"], &row["state"]),
        (&json!(["dns"]), &json!("north"), &json!("unknown"))
    );
    let client = client(&world);
    refused(&client, Call::post("/v1/nodes/n2:remove", ""), 409, "conflict").await;
    let gone = post(&world, "/v1/nodes/n2:remove?force=1", "").await;
    assert_eq!(gone["removed"]["name"], "n2");
    let why = get(&world, "/v1/explain?subject=node/n2").await;
    assert_eq!(why["answer"], "n2 is no member any more");
    refused(&client, Call::get("/v1/nodes/n2"), 404, "not-found").await;
    refused(&client, Call::post("/v1/nodes/n2:drain", ""), 404, "not-found").await;
    refused(&client, Call::post("/v1/nodes/n1:roles", r#"{"ad":[]}"#), 400, "bad-request").await;
    refused(&client, Call::post("/v1/nodes/n1:dance", ""), 404, "not-found").await;
    let nameless = Call::post("/v1/nodes/n1:labels", r#"{"set":{"":"x"}}"#);
    refused(&client, nameless, 400, "bad-request").await;
}

#[tokio::test]
async fn the_last_voter_is_kept_with_the_arithmetic() {
    let world = World::new().await;
    for path in ["/v1/nodes/n1:drain", "/v1/nodes/n1:demote", "/v1/nodes/n1:remove?force=1"] {
        refused(&client(&world), Call::post(path, ""), 409, "quorum-needed").await;
    }
    let promoted = post(&world, "/v1/nodes/n1:promote", "").await;
    assert_eq!((&promoted["changed"], &promoted["vote"]), (&json!(true), &json!("votes")));
    assert_eq!(get(&world, "/v1/nodes/n1").await["vote"], "votes");
    post(&world, "/v1/nodes/n1:promote?undo=1", "").await;
    assert_eq!(get(&world, "/v1/nodes/n1").await["vote"], "auto");
}

#[tokio::test]
async fn a_join_that_waits_is_listed_explained_approved_or_denied() {
    let world = World::new().await;
    for id in [2, 3] {
        hold(&world, Member { roles: vec!["worker".into()], ..super::member(id) }).await;
    }
    assert_eq!(held(&world).await.len(), 2);
    let why = get(&world, "/v1/explain?subject=join/n2").await;
    assert_eq!(why["answer"], "n2 waits for approval");
    assert!(why["do"][0].as_str().unwrap().contains("muslin node approve n2"), "{why}");
    refused(&client(&world), Call::post("/v1/nodes/n9:approve", ""), 404, "not-found").await;
    assert_eq!(post(&world, "/v1/nodes/n2:approve", "").await["admitted"], true);
    assert_eq!(get(&world, "/v1/explain?subject=join/n2").await["answer"], "n2 was admitted");
    assert_eq!(get(&world, "/v1/cluster").await["joins_waiting"], 1);
    post(&world, "/v1/nodes/n3:deny", "").await;
    assert_eq!(held(&world).await.len(), 1, "it is kept, so that it hears that");
    assert_eq!(get(&world, "/v1/cluster").await["joins_waiting"], 0);
    let health = get(&world, "/v1/cluster/health").await;
    assert!(health["checks"].to_string().contains("no join waits"), "{health}");
    assert_eq!(get(&world, "/v1/explain?subject=join/n3").await["answer"], "n3 was denied");
    let unknown = get(&world, "/v1/explain?subject=join/n7").await;
    assert_eq!(unknown["answer"], "nothing is known of a join of n7");
}

#[tokio::test]
async fn a_refused_join_is_remembered_with_its_reason() {
    let join = Some(Arc::new(super::http::Polite) as Arc<dyn Admission>);
    let world = World::of(Wishes { join, ..Wishes::default() }).await;
    let rude = Call::post("/v1/join", r#"{"name":"n5"}"#);
    refused(&client(&world), rude, 400, "bad-request").await;
    let why = get(&world, "/v1/explain?subject=join/n5").await;
    assert_eq!(
        (&why["answer"], &why["because"][0]),
        (&json!("n5 was refused: bad-request"), &json!("rude"))
    );
}

#[tokio::test]
async fn the_epoch_is_raised_once_for_each_time_it_is_asked() {
    let world = World::new().await;
    let bumped = post(&world, "/v1/cluster:bump-epoch", "").await;
    assert_eq!(bumped, json!({ "before": 1, "epoch": 2, "collected": 0 }));
    assert_eq!(get(&world, "/v1/cluster").await["epoch"], 2);
}

#[tokio::test]
async fn who_leads_is_explained_with_what_led_to_it() {
    let world = World::new().await;
    let why = get(&world, "/v1/explain?subject=leader").await;
    let answer = why["answer"].as_str().unwrap();
    assert!(answer.starts_with("n1 leads in term "), "{why}");
    assert!(why["because"].to_string().contains("1 of 1 voter answers, 1 are needed"), "{why}");
    for subject in ["", "?subject=weather", "?subject=pod/a"] {
        let call = Call::get(format!("/v1/explain{subject}"));
        refused(&client(&world), call, 400, "bad-request").await;
    }
    refused(&client(&world), Call::get("/v1/explain?subject=node/n9"), 404, "not-found").await;
}

#[tokio::test]
async fn who_votes_is_explained_with_what_the_planner_makes_of_it() {
    let world = World::new().await;
    // A leader plans once it has committed something.
    let why = loop {
        let why = get(&world, "/v1/explain?subject=voters").await;
        if why["because"].to_string().contains("next: ") {
            break why;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert_eq!(why["answer"], "n1 votes");
    let because = why["because"].to_string();
    assert!(because.contains("3 are to vote"), "{why}");
    assert!(because.contains("next: nothing"), "{why}");
    let world = World::of(Wishes { absent_voters: 2, ..Wishes::default() }).await;
    let why = get(&world, "/v1/explain?subject=voters").await;
    assert_eq!(why["answer"], "n1, n2, n3 vote");
    assert!(why["because"].to_string().contains("nothing is planned"), "{why}");
}

#[tokio::test]
async fn settings_are_read_changed_in_part_and_refused_whole() {
    let world = World::new().await;
    let before = get(&world, "/v1/cluster/settings").await;
    assert_eq!(before["settings"], get(&world, "/v1/cluster").await["settings"]);
    let patch = |body: &'static str| Call::patch("/v1/cluster/settings", body);
    let body = r#"{"hold_for_ms": 60000, "voters_target": 1}"#;
    let changed: Value = client(&world).json(patch(body)).await.unwrap();
    assert_eq!(changed["settings"]["hold_for_ms"], 60_000);
    assert!(changed["warnings"].to_string().contains("one node votes"), "{changed}");
    let both = r#"{"hold_for_ms": 70000, "voters_target": 2}"#;
    refused(&client(&world), patch(both), 400, "bad-request").await;
    let after = get(&world, "/v1/cluster/settings?consistency=linearizable").await;
    assert_eq!(after["settings"], changed["settings"], "nothing of it was taken");
    let default: Value = client(&world).json(patch(r#"{"voters_target": null}"#)).await.unwrap();
    assert_eq!(default["settings"]["voters_target"], 0);
    assert_eq!(default["settings"]["hold_for_ms"], 60_000, "what is not named stays");
}

#[tokio::test]
async fn evidence_stands_beside_what_the_record_says() {
    let world = World::of(Wishes { absent_voters: 1, ..Wishes::default() }).await;
    let evidence = get(&world, "/v1/nodes/n2/evidence").await;
    assert_eq!(evidence["node"]["name"], "n2");
    assert_eq!(
        (&evidence["record"]["standing"], &evidence["view"]),
        (&json!("admitted"), &json!(null))
    );
    assert_eq!(evidence["transitions"], json!([]));
    refused(&client(&world), Call::get("/v1/nodes/n9/evidence"), 404, "not-found").await;
}

#[tokio::test]
async fn nodes_are_followed_each_change_once_and_resumed() {
    let world = World::new().await;
    let client = client(&world);
    let mut lines = client.lines(Call::get("/v1/nodes?watch=1")).await.unwrap();
    let item = line(&mut lines).await;
    assert_eq!((&item["type"], &item["name"]), (&json!("item"), &json!("n1")));
    let sync = line(&mut lines).await;
    assert_eq!(sync["type"], "sync");
    add(&world, 2).await;
    let put = line(&mut lines).await;
    assert_eq!((&put["type"], &put["name"]), (&json!("put"), &json!("n2")), "{put}");
    assert!(put["cause"].as_str().unwrap().contains("n2"), "{put}");
    post(&world, "/v1/nodes/n2:remove?force=1", "").await;
    let gone = loop {
        let told = line(&mut lines).await;
        if told["type"] == "delete" {
            break told;
        }
        assert_eq!((&told["type"], &told["name"]), (&json!("put"), &json!("n2")), "{told}");
    };
    assert_eq!(gone["id"], "0000000000000002");
    let from =
        |index: &Value| Call::get(format!("/v1/nodes?watch=1&from={}", index.as_str().unwrap()));
    let mut later = client.lines(from(&sync["index"])).await.unwrap();
    assert_eq!(line(&mut later).await, json!({ "type": "sync", "index": sync["index"] }));
    assert_eq!(line(&mut later).await, put);
    let mut elsewhere = client.lines(from(&json!("0000000000000009-1-4"))).await.unwrap();
    assert_eq!(line(&mut elsewhere).await["type"], "resync");
    assert_eq!(line(&mut elsewhere).await["name"], "n1");
}

#[tokio::test]
async fn events_are_gone_on_with_and_told_of_one_node() {
    let world = World::new().await;
    let client = client(&world);
    add(&world, 2).await;
    let all = get(&world, "/v1/events").await;
    let items = all["items"].as_array().unwrap();
    let about: Value = get(&world, "/v1/events?node=n2").await;
    assert!(!about["items"].as_array().unwrap().is_empty());
    for item in about["items"].as_array().unwrap() {
        assert_eq!(item["node"], "0000000000000002", "{item}");
    }
    let last = &items[items.len() - 2]["index"];
    let path = format!("/v1/events?watch=1&from={}", last.as_str().unwrap());
    let mut lines = client.lines(Call::get(path)).await.unwrap();
    assert_eq!(line(&mut lines).await["type"], "sync");
    assert_eq!(line(&mut lines).await["number"], items.last().unwrap()["number"]);
    let mut lost = client.lines(Call::get("/v1/events?watch=1&from=x-1")).await.unwrap();
    assert_eq!(line(&mut lost).await["type"], "resync");
}

#[tokio::test]
async fn what_outlasts_its_call_is_an_operation_until_it_is_done_or_cancelled() {
    let world = World::new().await;
    let client = client(&world);
    assert_eq!(get(&world, "/v1/ops").await["items"], json!([]));
    add_promoted(&world, 2).await;
    let promoted = client.bytes(Call::post("/v1/nodes/n2:promote", "")).await.unwrap();
    let path = promoted.headers["location"].to_str().unwrap();
    assert_eq!(path, "/v1/ops/promote-0000000000000002");
    let told: Value = serde_json::from_slice(&promoted.body).unwrap();
    assert_eq!(told["op"], "promote-0000000000000002");
    let op = get(&world, path).await;
    assert_eq!((&op["kind"], &op["state"]), (&json!("promote"), &json!("running")), "{op}");
    assert_eq!((&op["node"], &op["ended"]), (&json!("0000000000000002"), &json!(null)), "{op}");
    let mut lines = client.lines(Call::get("/v1/ops?watch=1")).await.unwrap();
    assert_eq!(line(&mut lines).await["id"], op["id"]);
    assert_eq!(line(&mut lines).await["type"], "sync");
    let ended = post(&world, &format!("{path}:cancel"), "").await;
    assert_eq!(ended["state"], "undone", "{ended}");
    assert!(ended["ended"].is_string() && ended["began"] == op["began"], "{ended}");
    assert_eq!(get(&world, "/v1/nodes/n2").await["vote"], "auto");
    let put = line(&mut lines).await;
    assert_eq!((&put["type"], &put["state"]), (&json!("put"), &json!("undone")), "{put}");
    assert_eq!(get(&world, "/v1/ops").await["items"], json!([ended]), "it is kept");
    refused(&client, Call::post(format!("{path}:cancel"), ""), 409, "conflict").await;
    refused(&client, Call::get("/v1/ops/drain-7"), 404, "not-found").await;
    // The sole voter votes: there is nothing that would go on.
    let at_once = client.bytes(Call::post("/v1/nodes/n1:promote", "")).await.unwrap();
    assert!(!at_once.headers.contains_key("location"));
}

#[tokio::test]
async fn a_change_of_the_gossip_key_and_a_backup_are_operations() {
    let world = World::new().await;
    let client = client(&world);
    for (generation, count) in [(1, 0), (2, 1)] {
        let told = post(&world, "/v1/gossip-keys:rotate", "").await;
        assert_eq!(told["generation"], generation, "{told}");
        let ops = get(&world, "/v1/ops").await;
        assert_eq!(ops["items"].as_array().unwrap().len(), count, "{ops}");
    }
    let op = get(&world, "/v1/ops/gossip-key-2").await;
    assert_eq!((&op["kind"], &op["state"]), (&json!("gossip-key"), &json!("running")), "{op}");
    refused(&client, Call::post("/v1/ops/gossip-key-2:cancel", ""), 409, "conflict").await;
    client.bytes(Call::get("/v1/snapshot")).await.unwrap();
    let is_backup = |op: &&Value| op["kind"] == "backup";
    let backup = loop {
        let ops = get(&world, "/v1/ops").await;
        let found = ops["items"].as_array().unwrap().iter().find(is_backup).cloned();
        if let Some(op) = found.filter(|op| op["state"] != "running") {
            break op;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((&backup["state"], &backup["node"]), (&json!("done"), &json!("0000000000000001")));
    assert_eq!(get(&world, &format!("/v1/ops/{}", backup["id"].as_str().unwrap())).await, backup);
}

#[tokio::test]
async fn a_change_says_who_asked() {
    let world = World::new().await;
    hold(&world, super::member(2)).await;
    post(&world, "/v1/nodes/n2:deny", "").await;
    assert_eq!(held(&world).await[0].decided_by, "someone on the machine of n1");
}
