//! Users, tokens and rights, over every interface.

use super::etcd::{put, range};
use super::etcd_watch::{Stream, from};
use super::http::{client, refused};
use super::*;
use crate::api::auth::Floor;
use crate::api::proto::authpb;
use crate::api::proto::etcdserverpb as pb;
use crate::client::{Call, Client, ClientError};
use hyper::header::{AUTHORIZATION, HeaderValue};
use muslin_core::state::Needs;
use pb::auth_client::AuthClient;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use serde_json::{Value, json};
use tonic::{Code, Request, Status};

fn with<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("token", token.parse().unwrap());
    request
}

fn is<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, text: &str) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, text));
}

const USER_EMPTY: &str = "etcdserver: user name is empty";
const DENIED: &str = "etcdserver: permission denied";
const FORGED: &str = "etcdserver: invalid auth token";

fn user_add(name: &str, password: &str) -> pb::AuthUserAddRequest {
    pb::AuthUserAddRequest { name: name.into(), password: password.into(), ..Default::default() }
}

fn grant_role(user: &str, role: &str) -> pb::AuthUserGrantRoleRequest {
    pb::AuthUserGrantRoleRequest { user: user.into(), role: role.into() }
}

fn permission(key: &'static str, range_end: &'static str) -> authpb::Permission {
    let perm_type = authpb::permission::Type::Readwrite as i32;
    authpb::Permission { perm_type, key: key.into(), range_end: range_end.into() }
}

async fn token(auth: &mut AuthClient<Channel>, name: &str, password: &str) -> String {
    let (name, password) = (name.into(), password.into());
    let asked = pb::AuthenticateRequest { name, password };
    auth.authenticate(asked).await.unwrap().into_inner().token
}

/// With auth enabled, `root`, and `u` who may read and write from `a` to `c`.
async fn guarded(world: &World) -> AuthClient<Channel> {
    let mut auth = AuthClient::new(world.channel().await);
    auth.user_add(user_add("root", "secret")).await.unwrap();
    auth.user_grant_role(grant_role("root", "root")).await.unwrap();
    auth.user_add(user_add("u", "word")).await.unwrap();
    auth.role_add(pb::AuthRoleAddRequest { name: "r".into() }).await.unwrap();
    let perm = Some(permission("a", "c"));
    let grant = pb::AuthRoleGrantPermissionRequest { name: "r".into(), perm };
    auth.role_grant_permission(grant).await.unwrap();
    auth.user_grant_role(grant_role("u", "r")).await.unwrap();
    auth.auth_enable(pb::AuthEnableRequest {}).await.unwrap();
    auth
}

#[tokio::test]
async fn auth_is_enabled_asked_for_and_disabled_as_etcds_clients_do() {
    let world = World::new().await;
    let mut auth = AuthClient::new(world.channel().await);
    let mut kv = KvClient::new(world.channel().await);
    let login = || pb::AuthenticateRequest { name: "u".into(), password: "word".into() };
    let not_enabled = "etcdserver: authentication is not enabled";
    is(auth.authenticate(login()).await, Code::FailedPrecondition, not_enabled);
    let enable = pb::AuthEnableRequest {};
    for hashed_password in ["x", "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"] {
        let hashed_password = hashed_password.into();
        let asked = pb::AuthUserAddRequest { hashed_password, ..user_add("h", "") };
        let refused = auth.user_add(asked).await.unwrap_err();
        let text = "muslin: the hash is not one of muslin's";
        assert!(refused.message().starts_with(text), "{refused}");
    }
    let missing = "etcdserver: root user does not exist";
    is(auth.auth_enable(enable).await, Code::FailedPrecondition, missing);
    let mut auth = guarded(&world).await;
    is(kv.put(put("a", "1")).await, Code::InvalidArgument, USER_EMPTY);
    is(kv.range(range("a", b"")).await, Code::InvalidArgument, USER_EMPTY);
    let u = token(&mut auth, "u", "word").await;
    kv.put(with(put("a", "1"), &u)).await.unwrap();
    kv.range(with(range("a", b"c"), &u)).await.unwrap();
    is(kv.range(with(range("a", b"d"), &u)).await, Code::PermissionDenied, DENIED);
    is(kv.put(with(put("c", "1"), &u)).await, Code::PermissionDenied, DENIED);
    let wrong = "etcdserver: authentication failed, invalid user ID or password";
    for (name, password) in [("u", "wort"), ("v", "word"), ("", "")] {
        let asked = pb::AuthenticateRequest { name: name.into(), password: password.into() };
        is(auth.authenticate(asked).await, Code::InvalidArgument, wrong);
    }
    is(kv.put(with(put("a", "1"), "forged")).await, Code::Unauthenticated, FORGED);
    let root = token(&mut auth, "root", "secret").await;
    is(
        auth.auth_disable(with(pb::AuthDisableRequest {}, &u)).await,
        Code::PermissionDenied,
        DENIED,
    );
    auth.auth_disable(with(pb::AuthDisableRequest {}, &root)).await.unwrap();
    kv.put(put("c", "1")).await.unwrap();
    // What it was before is worth nothing when auth is enabled again.
    auth.auth_enable(pb::AuthEnableRequest {}).await.unwrap();
    let old = kv.put(with(put("a", "1"), &u)).await.unwrap_err();
    assert_eq!(old.message(), FORGED);
}

#[tokio::test]
async fn a_changed_password_or_right_takes_the_token_and_the_watch_with_it() {
    let world = World::new().await;
    let mut auth = guarded(&world).await;
    let mut kv = KvClient::new(world.channel().await);
    let (u, root) = (token(&mut auth, "u", "word").await, token(&mut auth, "root", "secret").await);
    let mut stream = Stream::open_with(&world, Some(&u)).await;
    let wanted = |key: &'static str| pb::WatchCreateRequest {
        key: key.into(),
        range_end: Bytes::new(),
        ..from(0)
    };
    let mut forged = Stream::open_with(&world, Some("forged.7")).await;
    for _ in 0..2 {
        let denied = forged.create(wanted("a")).await;
        let reason = format!("rpc error: code = Unauthenticated desc = {FORGED}");
        assert_eq!((denied.canceled, denied.watch_id, denied.cancel_reason), (true, -1, reason));
    }
    let denied = stream.create(wanted("c")).await;
    let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    assert_eq!(
        (denied.canceled, denied.watch_id, denied.cancel_reason.as_str()),
        (true, -1, reason)
    );
    assert!(!stream.create(wanted("a")).await.canceled);
    kv.put(with(put("a", "1"), &u)).await.unwrap();
    assert_eq!(stream.next().await.events.len(), 1);
    // Something else changes: the watch goes on, and so does the token.
    auth.role_add(with(pb::AuthRoleAddRequest { name: "s".into() }, &root)).await.unwrap();
    kv.put(with(put("a", "2"), &u)).await.unwrap();
    assert_eq!(stream.next().await.events.len(), 1);
    let revoke = pb::AuthUserRevokeRoleRequest { name: "u".into(), role: "r".into() };
    auth.user_revoke_role(with(revoke, &root)).await.unwrap();
    let ended = stream.next().await;
    assert_eq!((ended.canceled, ended.cancel_reason.as_str()), (true, reason));
    let change = pb::AuthUserChangePasswordRequest {
        name: "u".into(),
        password: "other".into(),
        ..Default::default()
    };
    auth.user_change_password(with(change, &root)).await.unwrap();
    let asked = pb::AuthenticateRequest { name: "u".into(), password: "word".into() };
    assert_eq!(auth.authenticate(asked).await.unwrap_err().code(), Code::InvalidArgument);
    is(kv.put(with(put("a", "3"), &u)).await, Code::Unauthenticated, FORGED);
    token(&mut auth, "u", "other").await;
}

#[tokio::test]
async fn users_and_roles_are_listed_as_etcd_lists_them() {
    let world = World::new().await;
    let mut auth = guarded(&world).await;
    let (u, root) = (token(&mut auth, "u", "word").await, token(&mut auth, "root", "secret").await);
    let users = auth.user_list(with(pb::AuthUserListRequest {}, &root)).await.unwrap();
    assert_eq!(users.into_inner().users, ["root", "u"]);
    let user = |name: &str| pb::AuthUserGetRequest { name: name.into() };
    let roles = auth.user_get(with(user("u"), &u)).await.unwrap().into_inner().roles;
    assert_eq!(roles, ["r"]);
    is(auth.user_get(with(user("root"), &u)).await, Code::PermissionDenied, DENIED);
    let role = pb::AuthRoleGetRequest { role: "r".into() };
    let perm = auth.role_get(with(role, &u)).await.unwrap().into_inner().perm;
    assert_eq!(perm, [permission("a", "c")]);
    let status = auth.auth_status(pb::AuthStatusRequest {}).await.unwrap().into_inner();
    assert!(status.enabled);
    assert_eq!(status.auth_revision, 7);
    let mut lease = LeaseClient::new(world.channel().await);
    let grant = pb::LeaseGrantRequest { ttl: 60, id: 0 };
    is(lease.lease_grant(grant).await, Code::InvalidArgument, USER_EMPTY);
    lease.lease_grant(with(grant, &u)).await.unwrap();
}

fn bearing(call: Call, token: &str) -> Call {
    call.header(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap())
}

async fn login(client: &Client, user: &str, password: &str) -> String {
    let asked = json!({ "user": user, "password": password }).to_string();
    let told: Value = client.json(Call::post("/v1/auth/token", asked)).await.unwrap();
    told["token"].as_str().unwrap().to_string()
}

#[tokio::test]
async fn http_knows_the_same_users() {
    let world = World::new().await;
    let client = client(&world);
    let post = |path: &str, body: Value| Call::post(path, body.to_string());
    for (path, body) in [
        ("/v1/auth/users", json!({ "name": "root", "password": "secret" })),
        ("/v1/auth/users/root:grant", json!({ "role": "root" })),
        ("/v1/auth/users", json!({ "name": "u", "password": "word" })),
        ("/v1/auth/roles", json!({ "name": "r" })),
        ("/v1/auth/roles/r:grant", json!({ "permission": "readwrite", "prefix": "a" })),
        ("/v1/auth/users/u:grant", json!({ "role": "r" })),
        ("/v1/auth/roles", json!({ "name": "bytes" })),
        ("/v1/auth/roles/bytes:grant", json!({ "permission": "read", "prefix_b64": "/wD/" })),
        ("/v1/auth/roles/bytes:grant", json!({ "permission": "read", "prefix_b64": "gA==" })),
        ("/v1/auth/roles/bytes:revoke", json!({ "prefix_b64": "gA==" })),
    ] {
        client.bytes(post(path, body)).await.unwrap();
    }
    for wrong in [
        json!({ "permission": "read", "prefix": "a", "prefix_b64": "YQ==" }),
        json!({ "permission": "read", "key": "a", "prefix_b64": "YQ==" }),
        json!({ "permission": "read", "prefix_b64": "?" }),
    ] {
        refused(&client, post("/v1/auth/roles/bytes:grant", wrong), 400, "bad-request").await;
    }
    client.bytes(Call::post("/v1/auth:enable", "")).await.unwrap();
    refused(&client, Call::put("/v1/kv/a", "1"), 401, "user-needed").await;
    let wrong = json!({ "user": "u", "password": "w" });
    refused(&client, post("/v1/auth/token", wrong), 401, "not-authenticated").await;
    let (u, root) = (login(&client, "u", "word").await, login(&client, "root", "secret").await);
    client.bytes(bearing(Call::put("/v1/kv/a", "1"), &u)).await.unwrap();
    refused(&client, bearing(Call::put("/v1/kv/b", "1"), &u), 403, "permission-denied").await;
    refused(&client, bearing(Call::get("/v1/kv"), &u), 403, "permission-denied").await;
    refused(&client, bearing(Call::get("/v1/tokens"), &u), 403, "permission-denied").await;
    client.bytes(bearing(Call::get("/v1/status"), &u)).await.unwrap();
    let role: Value = client.json(bearing(Call::get("/v1/auth/roles/r"), &root)).await.unwrap();
    let all = json!([{ "permission": "readwrite", "key": "a", "range_end": "b" }]);
    assert_eq!(role, json!({ "name": "r", "permissions": all }));
    let call = bearing(Call::get("/v1/auth/roles/bytes"), &root);
    let role: Value = client.json(call).await.unwrap();
    // From FF 00 FF on, up to what follows the last key that begins so: FF 01.
    let left = json!([{ "permission": "read", "key_b64": "/wD/", "range_end_b64": "/wE=" }]);
    assert_eq!(role["permissions"], left);
    // The same token over gRPC.
    let mut kv = KvClient::new(world.channel().await);
    kv.put(with(put("a", "2"), &u)).await.unwrap();
    client.bytes(bearing(Call::post("/v1/auth:disable", ""), &root)).await.unwrap();
    let told: Value = client.json(Call::get("/v1/auth")).await.unwrap();
    assert_eq!(told["enabled"], false);
    client.bytes(Call::put("/v1/kv/b", "1")).await.unwrap();
}

/// Calls of the generated services, by what their clients call.
fn generated_calls() -> Vec<&'static str> {
    let sources = [
        include_str!("../proto/etcdserverpb.rs"),
        include_str!("../proto/v3lockpb.rs"),
        include_str!("../proto/v3electionpb.rs"),
    ];
    let pieces = sources.into_iter().flat_map(|source| source.split("PathAndQuery::from_static("));
    let quoted = pieces.filter_map(|piece| piece.trim_start().strip_prefix("\"/"));
    let mut calls: Vec<&str> = quoted.filter_map(|rest| rest.split('"').next()).collect();
    calls.retain(|call| call.contains('/'));
    calls.sort_unstable();
    calls.dedup();
    calls
}

#[test]
fn every_route_and_call_says_what_it_needs() {
    for (method, path) in crate::api::http::named_routes() {
        assert!(Floor::listed_route(method, path).is_some(), "floors.rs lacks {method} {path}");
    }
    let calls = generated_calls();
    assert!(calls.len() > 40, "{calls:?}");
    for call in calls {
        assert!(Floor::listed_call(call).is_some(), "floors.rs lacks {call}");
    }
}

/// The route with names in place of its parameters, under which nothing is.
fn filled(path: &str) -> String {
    let names = ["node", "token", "group", "user", "role", "lease", "lock", "election", "*key"];
    names.iter().fold(path.to_string(), |path, name| path.replace(&format!("{{{name}}}"), "77"))
}

fn call(method: &str, path: &str) -> Call {
    match method {
        "get" => Call::get(path),
        "put" => Call::put(path, "x"),
        "patch" => Call::patch(path, "{}"),
        "delete" => Call::delete(path),
        _ if path == "/v1/txn" => Call::post(path, r#"{"success":[{"get":{"key":"77"}}]}"#),
        _ => Call::post(path, ""),
    }
}

/// Status of what comes of it; 401 only for want of a user.
async fn status(client: &Client, call: Call) -> u16 {
    match client.bytes(call).await {
        Ok(_) => 200,
        Err(ClientError::Problem { status: 401, code, .. }) if code != "user-needed" => 402,
        Err(ClientError::Problem { status, .. }) => status,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn each_route_is_for_those_it_is_for() {
    let world = World::new().await;
    guarded(&world).await;
    let client = client(&world);
    let (u, root) = (login(&client, "u", "word").await, login(&client, "root", "secret").await);
    for (method, path) in crate::api::http::named_routes() {
        let place = filled(path);
        let told = format!("{method} {path}");
        let nobody = status(&client, call(method, &place)).await;
        let of_u = status(&client, bearing(call(method, &place), &u)).await;
        match Floor::of_route(method, path) {
            // Joining and renewing have proofs of their own.
            Floor::Open => assert_ne!(nobody, 401, "{told}"),
            Floor::Within => {
                assert!([400, 401].contains(&nobody), "{told}: {nobody}");
                assert!([400, 403, 404].contains(&of_u), "{told}: {of_u}");
            }
            Floor::Needs(Needs::Known) => {
                assert_eq!(nobody, 401, "{told}");
                assert_ne!(of_u, 401, "{told}");
            }
            Floor::Needs(Needs::Root) => {
                assert_eq!((nobody, of_u), (401, 403), "{told}");
            }
        }
        // Begins another epoch, or ends what is tested.
        let is_final = ["/v1/auth:disable", "/v1/cluster:bump-epoch"].contains(&path);
        let waits = [":acquire", ":campaign", ":take"].iter().any(|word| path.ends_with(word));
        if !is_final && !waits {
            let of_root = status(&client, bearing(call(method, &place), &root)).await;
            let is_turned =
                [401, 403].contains(&of_root) && Floor::of_route(method, path) != Floor::Open;
            assert!(!is_turned, "{told}: {of_root}");
        }
    }
}

#[tokio::test]
async fn users_list_alarms_and_only_root_raises_and_ends_them() {
    let world = World::new().await;
    let mut auth = guarded(&world).await;
    let (u, root) = (token(&mut auth, "u", "word").await, token(&mut auth, "root", "secret").await);
    let mut maintenance = MaintenanceClient::new(world.channel().await);
    let (get, raise, end) = (0, 1, 2);
    let asked = |action| pb::AlarmRequest { action, member_id: 1, alarm: 1 };
    for action in [raise, end] {
        is(maintenance.alarm(with(asked(action), &u)).await, Code::PermissionDenied, DENIED);
    }
    maintenance.alarm(with(asked(raise), &root)).await.unwrap();
    is(maintenance.alarm(with(asked(end), &u)).await, Code::PermissionDenied, DENIED);
    let listed = maintenance.alarm(with(asked(get), &u)).await.unwrap().into_inner().alarms;
    assert_eq!(listed.len(), 1);
    is(maintenance.alarm(asked(get)).await, Code::InvalidArgument, USER_EMPTY);
}

#[tokio::test]
async fn each_call_that_names_no_key_is_for_those_it_is_for() {
    let world = World::new().await;
    let mut auth = guarded(&world).await;
    let u = token(&mut auth, "u", "word").await;
    for call in generated_calls() {
        let Floor::Needs(needs) = Floor::of_call(call) else { continue };
        let ask = async |token: Option<&str>| {
            let mut grpc = tonic::client::Grpc::new(world.channel().await);
            grpc.ready().await.unwrap();
            let mut request = Request::new(());
            if let Some(token) = token {
                request.metadata_mut().insert("token", token.parse().unwrap());
            }
            let path = format!("/{call}").parse().unwrap();
            let codec = tonic_prost::ProstCodec::<(), ()>::default();
            grpc.unary(request, path, codec).await.map(drop)
        };
        is(ask(None).await, Code::InvalidArgument, USER_EMPTY);
        match needs {
            Needs::Root => is(ask(Some(&u)).await, Code::PermissionDenied, DENIED),
            Needs::Known => {
                let known = ask(Some(&u)).await;
                assert_ne!(known.map_err(|status| status.code()), Err(Code::InvalidArgument));
            }
        }
    }
}
