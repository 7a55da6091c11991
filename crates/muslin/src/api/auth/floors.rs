//! What each call needs before it is looked at any further.
//!
//! What touches keys, leases and users is decided in the replicated state, by what exactly is
//! asked. All else is decided here, by the call alone, against this node's copy of the rights.

use muslin_core::state::Needs;

/// What a call needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::api) enum Floor {
    /// Nothing: it tells what anybody may know, or has a proof of its own.
    Open,
    /// What is decided where it is carried out.
    Within,
    /// To be somebody, or root.
    Needs(Needs),
}

const KNOWN: Floor = Floor::Needs(Needs::Known);
const ROOT: Floor = Floor::Needs(Needs::Root);

use Floor::{Open, Within};

/// Routes of the text interface. Their methods as OpenAPI writes them.
const ROUTES: &[(&str, &str, Floor)] = &[
    ("get", "/livez", Open),
    ("get", "/readyz", Open),
    ("get", "/health", Open),
    ("get", "/version", Open),
    ("get", "/metrics", Open),
    ("get", "/openapi.json", Open),
    ("get", "/v1/kv", Within),
    ("get", "/v1/kv/{*key}", Within),
    ("put", "/v1/kv/{*key}", Within),
    ("delete", "/v1/kv/{*key}", Within),
    ("post", "/v1/kv:compact", Within),
    ("post", "/v1/txn", Within),
    ("get", "/v1/leases", KNOWN),
    ("post", "/v1/leases", Within),
    ("get", "/v1/leases/{lease}", Within),
    ("post", "/v1/leases/{lease}:keep-alive", Within),
    ("delete", "/v1/leases/{lease}", Within),
    ("get", "/v1/locks", Within),
    ("get", "/v1/locks/{lock}", Within),
    ("post", "/v1/locks/{lock}:acquire", Within),
    ("post", "/v1/locks/{lock}:release", Within),
    ("get", "/v1/elections", Within),
    ("get", "/v1/elections/{election}", Within),
    ("post", "/v1/elections/{election}:campaign", Within),
    ("post", "/v1/elections/{election}:proclaim", Within),
    ("post", "/v1/elections/{election}:resign", Within),
    ("get", "/v1/counters/{name}", Within),
    ("post", "/v1/counters/{name}:add", Within),
    ("post", "/v1/counters/{name}:set", Within),
    ("delete", "/v1/counters/{name}", Within),
    ("get", "/v1/maps/{name}", Within),
    ("delete", "/v1/maps/{name}", Within),
    ("get", "/v1/maps/{name}/{*key}", Within),
    ("put", "/v1/maps/{name}/{*key}", Within),
    ("delete", "/v1/maps/{name}/{*key}", Within),
    ("get", "/v1/sets/{name}", Within),
    ("delete", "/v1/sets/{name}", Within),
    ("get", "/v1/sets/{name}/{*key}", Within),
    ("put", "/v1/sets/{name}/{*key}", Within),
    ("delete", "/v1/sets/{name}/{*key}", Within),
    ("get", "/v1/multimaps/{name}", Within),
    ("delete", "/v1/multimaps/{name}", Within),
    ("get", "/v1/multimaps/{name}/{*key}", Within),
    ("post", "/v1/multimaps/{name}/{*key}", Within),
    ("delete", "/v1/multimaps/{name}/{*key}", Within),
    ("get", "/v1/lists/{name}", Within),
    ("post", "/v1/lists/{name}", Within),
    ("delete", "/v1/lists/{name}", Within),
    ("get", "/v1/lists/{name}/{index}", Within),
    ("put", "/v1/lists/{name}/{index}", Within),
    ("delete", "/v1/lists/{name}/{index}", Within),
    ("get", "/v1/queues/{name}", Within),
    ("post", "/v1/queues/{name}", Within),
    ("delete", "/v1/queues/{name}", Within),
    ("post", "/v1/queues/{name}:take", Within),
    ("post", "/v1/queues/{name}:done", Within),
    ("post", "/v1/queues/{name}:put-back", Within),
    ("post", "/v1/queues/{name}:pop", Within),
    ("get", "/v1/barriers/{name}", Within),
    ("post", "/v1/barriers/{name}:enter", Within),
    ("post", "/v1/barriers/{name}:leave", Within),
    ("get", "/v1/auth", Open),
    ("post", "/v1/auth:enable", ROOT),
    ("post", "/v1/auth:disable", ROOT),
    ("post", "/v1/auth/token", Open),
    ("get", "/v1/auth/users", ROOT),
    ("post", "/v1/auth/users", ROOT),
    ("get", "/v1/auth/users/{user}", KNOWN),
    ("delete", "/v1/auth/users/{user}", ROOT),
    ("post", "/v1/auth/users/{user}:password", ROOT),
    ("post", "/v1/auth/users/{user}:grant", ROOT),
    ("post", "/v1/auth/users/{user}:revoke", ROOT),
    ("get", "/v1/auth/roles", ROOT),
    ("post", "/v1/auth/roles", ROOT),
    ("get", "/v1/auth/roles/{role}", KNOWN),
    ("delete", "/v1/auth/roles/{role}", ROOT),
    ("post", "/v1/auth/roles/{role}:grant", ROOT),
    ("post", "/v1/auth/roles/{role}:revoke", ROOT),
    ("get", "/v1/groups", KNOWN),
    ("get", "/v1/groups/{group}", KNOWN),
    ("post", "/v1/groups", ROOT),
    ("delete", "/v1/groups/{group}", ROOT),
    ("get", "/v1/status", KNOWN),
    ("get", "/v1/cluster", KNOWN),
    ("get", "/v1/cluster/health", KNOWN),
    ("get", "/v1/cluster/settings", KNOWN),
    ("get", "/v1/nodes", KNOWN),
    ("get", "/v1/nodes/{node}", KNOWN),
    ("get", "/v1/nodes/{node}/evidence", KNOWN),
    ("get", "/v1/explain", KNOWN),
    ("get", "/v1/events", KNOWN),
    ("get", "/v1/ops", KNOWN),
    ("get", "/v1/ops/{op}", KNOWN),
    ("post", "/v1/ops/{op}:cancel", ROOT),
    ("get", "/v1/joins", KNOWN),
    ("get", "/v1/tokens", ROOT),
    ("post", "/v1/tokens", ROOT),
    ("get", "/v1/tokens/{token}", ROOT),
    ("delete", "/v1/tokens/{token}", ROOT),
    ("post", "/v1/tokens/{token}:rotate", ROOT),
    ("get", "/v1/certificates", ROOT),
    ("post", "/v1/certificates:rotate", ROOT),
    ("post", "/v1/gossip-keys:rotate", ROOT),
    ("post", "/v1/nodes/{node}:drain", ROOT),
    ("post", "/v1/nodes/{node}:resume", ROOT),
    ("post", "/v1/nodes/{node}:promote", ROOT),
    ("post", "/v1/nodes/{node}:demote", ROOT),
    ("post", "/v1/nodes/{node}:remove", ROOT),
    ("post", "/v1/nodes/{node}:roles", ROOT),
    ("post", "/v1/nodes/{node}:labels", ROOT),
    ("post", "/v1/nodes/{node}:approve", ROOT),
    ("post", "/v1/nodes/{node}:deny", ROOT),
    ("get", "/v1/snapshot", ROOT),
    ("patch", "/v1/cluster/settings", ROOT),
    ("post", "/v1/cluster:transfer-leader", ROOT),
    ("post", "/v1/cluster:bump-epoch", ROOT),
    // A token of the cluster, or the certificate of a node, is what counts here.
    ("post", "/v1/join", Open),
    ("post", "/v1/certificates:renew", Open),
    ("post", "/v1/copies", Open),
];

/// Calls of etcd's services, by what stands behind `/` in their paths.
const CALLS: &[(&str, Floor)] = &[
    ("etcdserverpb.KV/Range", Within),
    ("etcdserverpb.KV/Put", Within),
    ("etcdserverpb.KV/DeleteRange", Within),
    ("etcdserverpb.KV/Txn", Within),
    ("etcdserverpb.KV/Compact", Within),
    ("etcdserverpb.Watch/Watch", Within),
    ("etcdserverpb.Lease/LeaseGrant", Within),
    ("etcdserverpb.Lease/LeaseRevoke", Within),
    ("etcdserverpb.Lease/LeaseKeepAlive", Within),
    ("etcdserverpb.Lease/LeaseTimeToLive", Within),
    ("etcdserverpb.Lease/LeaseLeases", Within),
    ("etcdserverpb.Cluster/MemberAdd", ROOT),
    ("etcdserverpb.Cluster/MemberRemove", ROOT),
    ("etcdserverpb.Cluster/MemberUpdate", ROOT),
    ("etcdserverpb.Cluster/MemberPromote", ROOT),
    ("etcdserverpb.Cluster/MemberList", KNOWN),
    // As etcd: `etcdctl endpoint health` asks for them. To raise or end one is for root, which is
    // found out where commands are applied.
    ("etcdserverpb.Maintenance/Alarm", KNOWN),
    // As etcd: what looks after nodes asks it, and its numbers are in the head of every answer.
    ("etcdserverpb.Maintenance/Status", Open),
    ("etcdserverpb.Maintenance/Defragment", ROOT),
    ("etcdserverpb.Maintenance/Hash", ROOT),
    ("etcdserverpb.Maintenance/HashKV", ROOT),
    ("etcdserverpb.Maintenance/Snapshot", ROOT),
    ("etcdserverpb.Maintenance/MoveLeader", ROOT),
    ("etcdserverpb.Maintenance/Downgrade", ROOT),
    ("etcdserverpb.Auth/AuthEnable", ROOT),
    ("etcdserverpb.Auth/AuthDisable", ROOT),
    ("etcdserverpb.Auth/AuthStatus", Open),
    ("etcdserverpb.Auth/Authenticate", Open),
    ("etcdserverpb.Auth/UserAdd", ROOT),
    ("etcdserverpb.Auth/UserGet", KNOWN),
    ("etcdserverpb.Auth/UserList", ROOT),
    ("etcdserverpb.Auth/UserDelete", ROOT),
    ("etcdserverpb.Auth/UserChangePassword", ROOT),
    ("etcdserverpb.Auth/UserGrantRole", ROOT),
    ("etcdserverpb.Auth/UserRevokeRole", ROOT),
    ("etcdserverpb.Auth/RoleAdd", ROOT),
    ("etcdserverpb.Auth/RoleGet", KNOWN),
    ("etcdserverpb.Auth/RoleList", ROOT),
    ("etcdserverpb.Auth/RoleDelete", ROOT),
    ("etcdserverpb.Auth/RoleGrantPermission", ROOT),
    ("etcdserverpb.Auth/RoleRevokePermission", ROOT),
    // Whether the node serves, as `/livez` and `/readyz`.
    ("grpc.health.v1.Health/Check", Open),
    ("grpc.health.v1.Health/Watch", Open),
    ("v3lockpb.Lock/Lock", Within),
    ("v3lockpb.Lock/Unlock", Within),
    ("v3electionpb.Election/Campaign", Within),
    ("v3electionpb.Election/Proclaim", Within),
    ("v3electionpb.Election/Leader", Within),
    ("v3electionpb.Election/Observe", Within),
    ("v3electionpb.Election/Resign", Within),
];

impl Floor {
    /// Of a route. One that is missing above is root's.
    pub(in crate::api) fn of_route(method: &str, path: &str) -> Floor {
        Floor::listed_route(method, path).unwrap_or(ROOT)
    }

    /// The same, if it is above.
    pub(in crate::api) fn listed_route(method: &str, path: &str) -> Option<Floor> {
        let is_it = |(its, place, _): &&(&str, &str, Floor)| *its == method && *place == path;
        ROUTES.iter().find(is_it).map(|(_, _, floor)| *floor)
    }

    /// Of a call, by its path. One that is missing above is root's.
    pub(in crate::api) fn of_call(path: &str) -> Floor {
        Floor::listed_call(path).unwrap_or(ROOT)
    }

    /// The same, if it is above.
    pub(in crate::api) fn listed_call(path: &str) -> Option<Floor> {
        let name = path.strip_prefix('/').unwrap_or(path);
        CALLS.iter().find(|(its, _)| *its == name).map(|(_, floor)| *floor)
    }
}
