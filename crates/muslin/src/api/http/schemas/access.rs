//! Bodies about who may do what, who belongs to the cluster, and what it is about.

use super::super::ops;
use super::super::routes::Method;
use super::super::settings;
use super::{Named, flag, key_fields, list, named_ref, number, shape, text};
use serde_json::{Map, Value, json};

/// What a route takes and gives; `None` if it is about something else.
pub(super) fn of(method: Method, path: &str) -> Option<(Value, Value)> {
    let (takes, gives) = match (method, path) {
        (_, "/v1/auth" | "/v1/auth:enable" | "/v1/auth:disable") => ("", "AuthStatus"),
        (_, "/v1/auth/token") => ("Login", "UserToken"),
        (Method::Post, "/v1/auth/users") => ("NewUser", "User"),
        (_, "/v1/auth/users/{user}:password") => ("Password", "User"),
        (_, "/v1/auth/users/{user}:grant" | "/v1/auth/users/{user}:revoke") => ("RoleName", "User"),
        (_, "/v1/auth/users/{user}") => ("", "User"),
        (Method::Post, "/v1/auth/roles") => ("NewRole", "Role"),
        (_, "/v1/auth/roles/{role}:grant") => ("Grant", "Role"),
        (_, "/v1/auth/roles/{role}:revoke") => ("GrantKeys", "Role"),
        (_, "/v1/auth/roles/{role}") => ("", "Role"),
        (_, "/v1/auth/users" | "/v1/auth/roles") => ("", "Names"),
        (Method::Get, "/v1/ops") => ("", "Ops"),
        (_, "/v1/ops/{op}" | "/v1/ops/{op}:cancel") => ("", "Op"),
        (Method::Post, "/v1/tokens") => ("NewToken", "NewTokenMade"),
        (_, "/v1/nodes/{node}:roles") => ("MemberRoles", "MemberChanged"),
        (_, "/v1/nodes/{node}:labels") => ("MemberLabels", "MemberChanged"),
        (_, "/v1/gossip-keys:rotate") => ("", "GossipKey"),
        (Method::Post, path) if ops::BEGIN.contains(&path) => ("", "MemberChanged"),
        (_, "/v1/nodes/{node}:resume") => ("", "MemberChanged"),
        (Method::Patch, "/v1/cluster/settings") => ("Settings", "SettingsShown"),
        (_, "/v1/cluster/settings") => ("", "SettingsShown"),
        (_, "/v1/join") => ("JoinRequest", ""),
        (_, "/v1/certificates:renew") => ("RenewRequest", ""),
        (_, "/v1/copies") => ("Copy", ""),
        _ => return None,
    };
    let named = |name: &str| match name {
        "" => json!({}),
        name => named_ref(name),
    };
    Some((named(takes), named(gives)))
}

fn texts(says: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": says })
}

fn of_texts(says: &str) -> Value {
    json!({
        "type": "object", "additionalProperties": { "type": "string" }, "description": says,
    })
}

pub(super) fn named() -> Named {
    let mut all = auth();
    all.extend(operations());
    all.extend(members());
    all.extend(joining());
    all
}

fn auth() -> Named {
    let name = || ("name", text("what it is called"));
    let password = || ("password", text("as it is typed"));
    let mut keys = key_fields().to_vec();
    keys.extend([
        ("range_end", text("the first key outside; one zero byte is the end of all")),
        ("range_end_b64", text("the same in base64")),
        ("prefix", text("in place of a key: all that begin so; empty is all keys")),
        ("prefix_b64", text("the same in base64")),
    ]);
    let kind = json!({ "enum": ["read", "write", "readwrite"] });
    let mut grant = vec![("permission", kind)];
    grant.extend(keys.clone());
    let user = [
        name(),
        ("roles", texts("the roles it has")),
        ("granted", text("the role it was given")),
        ("revoked", text("the role that was taken")),
    ];
    vec![
        (
            "AuthStatus",
            shape(
                1,
                &[
                    ("enabled", flag("everything is checked")),
                    ("revision", number("raised by each change of users and roles")),
                ],
            ),
        ),
        ("Login", shape(2, &[("user", text("who")), password()])),
        ("UserToken", shape(1, &[("token", text("for `Authorization: Bearer`, for a day"))])),
        (
            "NewUser",
            shape(1, &[name(), password(), ("no_password", flag("known by other means than one"))]),
        ),
        ("Password", shape(1, &[password()])),
        ("RoleName", shape(1, &[("role", text("which role"))])),
        ("NewRole", shape(1, &[name()])),
        ("User", shape(1, &user)),
        ("Grant", shape(1, &grant)),
        ("GrantKeys", shape(0, &keys)),
        ("Role", shape(1, &[name(), ("permissions", list("Grant"))])),
        ("Names", shape(1, &[("items", texts("in order"))])),
    ]
}

fn operations() -> Named {
    let state = json!({ "enum": ["running", "done", "undone", "failed"] });
    let op = [
        ("id", text("what is done to what; another one of the same is under the same id")),
        ("kind", text("drain, promote, demote, voters, rebuild, gossip-key or backup")),
        ("state", state),
        ("text", text("for a person")),
        ("node", json!({ "type": ["string", "null"], "description": "whom it is done to, or by" })),
        (
            "began",
            json!({ "type": ["string", "null"], "description": "RFC 3339: first seen then" }),
        ),
        ("ended", json!({ "type": ["string", "null"], "description": "RFC 3339" })),
    ];
    let index = ("index", text("a watch goes on behind it, at this node"));
    vec![
        ("Op", shape(op.len(), &op)),
        ("Ops", shape(2, &[index, ("items", list("Op"))])),
        (
            "GossipKey",
            shape(
                1,
                &[
                    ("generation", number("of the key that comes")),
                    ("op", text("the operation that has begun")),
                ],
            ),
        ),
    ]
}

fn members() -> Named {
    let changed = [
        ("id", text("16 hexadecimal digits")),
        ("name", text("its name")),
        ("changed", flag("it was not so before")),
        ("standing", text("admitted, draining, down or left")),
        ("vote", text("auto, votes or never")),
        ("roles", texts("what it performs")),
        ("labels", of_texts("words of the operator's own")),
        ("zone", text("what it shares its fate with")),
        ("op", text("the operation that has begun, if one has")),
    ];
    let roles = [("add", texts("roles it gets")), ("remove", texts("roles it loses"))];
    let labels = [
        ("set", of_texts("labels it gets")),
        ("remove", texts("labels it loses, by their keys")),
        ("zone", text("what it shares its fate with")),
    ];
    let fields: Map<String, Value> = settings::described()
        .map(|(key, what)| (String::from(key), json!({ "description": what })))
        .collect();
    let settings = json!({
        "type": "object",
        "properties": fields,
        "description": "what is not named stays; null is the default; times in milliseconds",
    });
    let shown = [
        ("settings", named_ref("Settings")),
        ("items", json!({ "type": "array", "description": "key, value, default, what" })),
        ("warnings", texts("what may surprise")),
    ];
    vec![
        ("MemberChanged", shape(changed.len() - 1, &changed)),
        ("MemberRoles", shape(0, &roles)),
        ("MemberLabels", shape(0, &labels)),
        ("Settings", settings),
        ("SettingsShown", shape(3, &shown)),
    ]
}

fn joining() -> Named {
    let token = [
        ("name", text("a label for people")),
        ("roles", texts("what a joiner with it may perform")),
        ("ttl_seconds", number("how long it admits; an hour when not said")),
        ("uses", number("how often it admits: once unless said; 0 is any number")),
    ];
    let made = [
        ("id", text("its public part")),
        ("token", text("with its secret, told this once")),
        ("join", text("the line for the next machine")),
    ];
    let join = [
        ("node", text("the joiner's id, 16 hexadecimal digits, drawn by itself")),
        ("name", text("the name it wants")),
        ("address", text("where peers will reach it, ip:port")),
        ("csr_pem", text("PKCS #10, PEM")),
        ("etcd_address", text("where it serves plain etcd clients")),
        ("roles", texts("what it wants to perform")),
        ("requires", texts("roles that somebody must perform for it to operate")),
        ("requires_for_bootstrap", texts("roles that somebody must perform before it is let in")),
        ("zone", text("what it shares its fate with")),
    ];
    let copy =
        [("address", text("where it would be, or was, ip:port")), ("runs", flag("it has run"))];
    vec![
        ("NewToken", shape(0, &token)),
        ("NewTokenMade", shape(3, &made)),
        ("JoinRequest", shape(4, &join)),
        ("RenewRequest", shape(1, &[("csr_pem", text("PKCS #10, PEM, for the node that asks"))])),
        ("Copy", shape(1, &copy)),
    ]
}
