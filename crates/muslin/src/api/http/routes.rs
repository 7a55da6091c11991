//! The table of routes, and the router made of it.

use super::lines::{EVENTS, LINES};
use super::params::{self, BodyLimit};
use super::{
    auth, collections, compact, document, elections, etcd_health, events, evidence, explain,
    groups, health, kv, kv_watch, leases, locks, nodes, operate, ops, settings, snapshot, tokens,
    txn, views, work,
};
use crate::api::auth::Floor;
use crate::api::desk::Desk;
use crate::api::problem::Problem;
use crate::api::server::BoxFuture;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use hyper::body::Body as _;
use hyper::{Request, StatusCode};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is read of a body that a route does not take: whether there is one.
const UNTAKEN_BYTES_MAX: usize = 1;

/// What answers a route.
type Handler = fn(Arc<Desk>, Request<Body>) -> BoxFuture<Result<Response, Problem>>;

/// One route: where, how, and what is said of it.
pub(super) struct Route {
    pub(super) method: Method,
    /// As in OpenAPI, except that `{*key}` takes what is left, slashes included.
    pub(super) path: &'static str,
    /// In a few words.
    pub(super) summary: &'static str,
    pub(super) parameters: &'static [Parameter],
    /// What the body asked for is, if there is one.
    pub(super) takes: Option<&'static str>,
    /// What the body answered is.
    pub(super) gives: &'static str,
    handler: Handler,
}

/// The methods in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub(super) enum Method {
    Get,
    Put,
    Patch,
    Post,
    Delete,
}

impl Method {
    /// As OpenAPI writes it.
    pub(super) fn lower(self) -> &'static str {
        match self {
            Method::Get => "get",
            Method::Put => "put",
            Method::Patch => "patch",
            Method::Post => "post",
            Method::Delete => "delete",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Method::Get => MethodFilter::GET,
            Method::Put => MethodFilter::PUT,
            Method::Patch => MethodFilter::PATCH,
            Method::Post => MethodFilter::POST,
            Method::Delete => MethodFilter::DELETE,
        }
    }
}

/// One parameter.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// `query`, `path` or `header`.
    pub(super) place: &'static str,
    /// `string`, `integer` or `boolean`.
    pub(super) kind: &'static str,
    pub(super) says: &'static str,
}

const fn query(name: &'static str, kind: &'static str, says: &'static str) -> Parameter {
    Parameter { name, place: "query", kind, says }
}

const fn path(name: &'static str, says: &'static str) -> Parameter {
    Parameter { name, place: "path", kind: "string", says }
}

const fn header(name: &'static str, says: &'static str) -> Parameter {
    Parameter { name, place: "header", kind: "string", says }
}

const CONSISTENCY: Parameter = query(
    "consistency",
    "string",
    "linearizable (default): sees every write acknowledged before; lease: the same where clocks \
     drift as little as nodes are told; local: what this node knows",
);
const KEY: Parameter = path("key", "any bytes, percent-encoded; slashes stand for themselves");
const PREFIX: Parameter =
    query("prefix", "string", "only keys that begin so; any bytes, percent-encoded");
const GROUP: Parameter = path("group", "its id, a number");
const IF_MATCH: Parameter = header("If-Match", "\"REVISION\": only if this changed the key last");
const WATCH: Parameter = query(
    "watch",
    "boolean",
    "1: go on with each change, as lines of JSON, or as server-sent events if `Accept` says so",
);
const FOLLOW: Parameter = query(
    "watch",
    "boolean",
    "1: go on with a line each time that somebody else leads or proclaims (`leader`), or nobody \
     does (`vacant`); as `watch` elsewhere",
);
const POLL: Parameter =
    query("wait", "string", "a time as 30s: answer when something is behind `index`, or then");
const BEHIND: Parameter =
    query("index", "string", "with wait: what the last answer said; without it the items come");

const NODE: Parameter = path("node", "its id or its name");
const FRESHNESS: Parameter =
    query("consistency", "string", "local (the default), lease or linearizable");
const MAX_STALENESS: Parameter =
    query("max_staleness", "string", "a time as 2s: refused when what is known here is older");
const FROM: Parameter = query("from", "string", "with watch: go on behind this `index`");
const UNDO: Parameter = query("undo", "boolean", "1: leave it to the planner again");

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";
const TEXT: &str = "text/plain";

macro_rules! handler {
    ($handler:path) => {
        |desk, request| Box::pin($handler(desk, request))
    };
}

macro_rules! route {
    (
        $method:ident $path:literal, $summary:literal, [$($parameter:expr),*],
        $takes:expr => $gives:expr, $handler:path
    ) => {
        Route {
            method: Method::$method,
            path: $path,
            summary: $summary,
            parameters: const { &[$($parameter),*] },
            takes: $takes,
            gives: $gives,
            handler: handler!($handler),
        }
    };
}

/// Every route there is.
pub(super) fn routes() -> Vec<Route> {
    let mut routes = kv_routes();
    routes.extend(coordination_routes());
    routes.extend(auth_routes());
    routes.extend(collection_routes());
    routes.extend(work_routes());
    routes.extend(view_routes());
    routes.extend(op_routes());
    routes.extend(operator_routes());
    routes.extend(node_routes());
    routes.extend(admission_routes());
    routes.extend(group_routes());
    routes
}

fn kv_routes() -> Vec<Route> {
    vec![
        route!(Get "/v1/kv", "Lists keys, or follows them",
            [PREFIX, CONSISTENCY, MAX_STALENESS, WATCH, POLL, BEHIND,
             query("limit", "integer", "most items of an answer; 1000 by default"),
             query("after", "string", "only keys after this one: the last one of the page before"),
             query("revision", "integer", "as of this revision"),
             query("from", "integer", "with watch: changes from this revision on, no items first"),
             query("all", "boolean", "1: what maps, queues and receipts are made of too")],
            None => JSON, kv_watch::list_or_watch),
        route!(Get "/v1/kv/{*key}", "Reads one value",
            [KEY, CONSISTENCY, MAX_STALENESS,
             query("history", "boolean", "1: its changes in place of its value, the last first"),
             query("limit", "integer", "with history: most changes told; 100 by default")],
            None => BYTES, kv::read),
        route!(Put "/v1/kv/{*key}", "Writes one value",
            [KEY, IF_MATCH, header("If-None-Match", "*: only if the key does not exist"),
             query("ttl", "string", "a time as 30s: the key goes by itself then"),
             query("lease", "string", "the key goes with this lease"),
             query("keep_lease", "boolean", "1: it stays on the lease that it hangs on"), FENCED,
             IDEMPOTENT],
            Some(BYTES) => JSON, kv::write),
        route!(Delete "/v1/kv/{*key}", "Deletes one key",
            [KEY, IF_MATCH, FENCED, IDEMPOTENT], None => JSON, kv::delete),
        route!(Post "/v1/txn", "Compares, then acts: many keys in one revision",
            [CONSISTENCY, FENCED, IDEMPOTENT], Some(JSON) => JSON, txn::run),
        route!(Post "/v1/kv:compact", "Drops history: what keys were before a revision",
            [query("revision", "integer", "reads as of it and of later ones go on"),
             query("physical", "boolean", "1: answer when this node has dropped all of it")],
            None => JSON, compact::run),
    ]
}

const IDEMPOTENT: Parameter =
    header("Idempotency-Key", "done once under this key, however often and wherever it is sent");
const FENCED: Parameter = query(
    "fence",
    "string",
    "NAME:REVISION: only while that holder of the lock or the election NAME has it",
);
const LEASE: Parameter = path("lease", "its id, up to 16 hexadecimal digits");
const LOCK: Parameter = path("lock", "its name; any bytes, percent-encoded, slashes too");
const ELECTION: Parameter = path("election", "its name; any bytes, percent-encoded, slashes too");
const TTL: Parameter = query(
    "ttl",
    "string",
    "life of a lease made for it, which ends with it; 30s when no lease is given",
);
const OWN_LEASE: Parameter = query("lease", "string", "a lease that is there: it is lost with it");
const WAIT: Parameter =
    query("wait", "string", "a time as 10s; 0s: do not; until the call is given up when not said");
const FENCE: Parameter = query("fence", "integer", "the revision that was told as `fence`");
const NAMES: Parameter = query("prefix", "string", "only names that begin so");

fn coordination_routes() -> Vec<Route> {
    vec![
        route!(Get "/v1/leases", "Lists leases; those made with a key are not among them",
            [CONSISTENCY,
             query("limit", "integer", "most leases of an answer; 1000 by default"),
             query("after", "string", "only leases after this one")],
            None => JSON, leases::list),
        route!(Post "/v1/leases", "Makes a lease",
            [query("ttl", "string", "how long it lives unless it is kept alive: 1s or more"),
             query("id", "string", "its id; one is drawn when not said")],
            None => JSON, leases::grant),
        route!(Get "/v1/leases/{lease}", "One lease: what it has left, and its keys",
            [LEASE], None => JSON, leases::show),
        route!(Post "/v1/leases/{lease}:keep-alive", "Has a lease live its whole time from here",
            [LEASE], None => JSON, leases::keep_alive),
        route!(Delete "/v1/leases/{lease}", "Ends a lease, with its keys",
            [LEASE], None => JSON, leases::revoke),
        route!(Get "/v1/locks", "Lists the locks that are held",
            [NAMES, CONSISTENCY], None => JSON, locks::list),
        route!(Get "/v1/locks/{lock}", "Who holds a lock, and who waits for it",
            [LOCK, CONSISTENCY], None => JSON, locks::show),
        route!(Post "/v1/locks/{lock}:acquire", "Waits for a lock: first come, first served",
            [LOCK, TTL, OWN_LEASE, WAIT], None => JSON, locks::acquire),
        route!(Post "/v1/locks/{lock}:release", "Gives a lock back, or a place in its queue",
            [LOCK, FENCE], None => JSON, locks::release),
        route!(Get "/v1/elections", "Lists the elections that somebody leads",
            [NAMES, CONSISTENCY], None => JSON, elections::list),
        route!(Get "/v1/elections/{election}", "Who leads, and who would; or followed",
            [ELECTION, CONSISTENCY, FOLLOW], None => JSON, elections::show_or_watch),
        route!(Post "/v1/elections/{election}:campaign", "Waits to lead; the body is proclaimed",
            [ELECTION, TTL, OWN_LEASE, WAIT], Some(BYTES) => JSON, elections::campaign),
        route!(Post "/v1/elections/{election}:proclaim", "Proclaims something else: the body",
            [ELECTION, FENCE], Some(BYTES) => JSON, elections::proclaim),
        route!(Post "/v1/elections/{election}:resign", "Gives up leading, or being a candidate",
            [ELECTION, FENCE], None => JSON, elections::resign),
    ]
}

const USER: Parameter = path("user", "its name, percent-encoded");
const ROLE: Parameter = path("role", "its name, percent-encoded");

fn auth_routes() -> Vec<Route> {
    vec![
        route!(Get "/v1/auth", "Whether auth is enabled, and its revision",
            [], None => JSON, auth::status),
        route!(Post "/v1/auth:enable", "Has everything checked from here on",
            [], None => JSON, auth::enable),
        route!(Post "/v1/auth:disable", "Has nothing checked from here on",
            [], None => JSON, auth::disable),
        route!(Post "/v1/auth/token", "Gives a token to whoever knows a password: {user, password}",
            [], Some(JSON) => JSON, auth::token),
        route!(Get "/v1/auth/users", "All users", [], None => JSON, auth::users),
        route!(Post "/v1/auth/users", "Makes a user: {name, password} or {name, no_password}",
            [], Some(JSON) => JSON, auth::add_user),
        route!(Get "/v1/auth/users/{user}", "The roles of a user",
            [USER], None => JSON, auth::user),
        route!(Delete "/v1/auth/users/{user}", "Takes a user out",
            [USER], None => JSON, auth::delete_user),
        route!(Post "/v1/auth/users/{user}:password", "Gives a user another password: {password}",
            [USER], Some(JSON) => JSON, auth::password),
        route!(Post "/v1/auth/users/{user}:grant", "Gives a user a role: {role}",
            [USER], Some(JSON) => JSON, auth::grant_role),
        route!(Post "/v1/auth/users/{user}:revoke", "Takes a role from a user: {role}",
            [USER], Some(JSON) => JSON, auth::revoke_role),
        route!(Get "/v1/auth/roles", "All roles", [], None => JSON, auth::roles),
        route!(Post "/v1/auth/roles", "Makes a role: {name}",
            [], Some(JSON) => JSON, auth::add_role),
        route!(Get "/v1/auth/roles/{role}", "What a role may do", [ROLE], None => JSON, auth::role),
        route!(Delete "/v1/auth/roles/{role}", "Takes a role out, and from all who have it",
            [ROLE], None => JSON, auth::delete_role),
        route!(Post "/v1/auth/roles/{role}:grant",
            "Lets a role do more: {permission, key and range_end, or prefix}",
            [ROLE], Some(JSON) => JSON, auth::grant),
        route!(Post "/v1/auth/roles/{role}:revoke",
            "Lets a role do less: {key and range_end, or prefix}",
            [ROLE], Some(JSON) => JSON, auth::revoke),
    ]
}

const NAME: Parameter = path("name", "its name; any bytes, percent-encoded, slashes too");
const ENTRY: Parameter = path("key", "any bytes, percent-encoded; slashes stand for themselves");
const INDEX: Parameter = path("index", "a number, from 0 on");
const LIMIT: Parameter = query("limit", "integer", "most items of an answer; 1000 by default");
const AFTER: Parameter =
    query("after", "string", "only what is behind this one: the last one of the page before");
const ID: Parameter = query(
    "id",
    "string",
    "what the caller calls this operation: done once, however often it is asked for in 10 minutes; \
     another operation under it is refused",
);

const TAKE: Parameter =
    query("id", "string", "what the caller calls itself: the same again answers the item it has");

fn collection_routes() -> Vec<Route> {
    vec![
        route!(Get "/v1/counters/{name}", "What a counter is",
            [NAME], None => JSON, collections::count),
        route!(Post "/v1/counters/{name}:add", "Adds to a counter, and tells what came of it",
            [NAME, query("by", "integer", "how much, 1 by default"), ID],
            None => JSON, collections::add),
        route!(Post "/v1/counters/{name}:set", "Sets a counter",
            [NAME, query("to", "integer", "what it is to be"),
             query("if", "integer", "only if it is this"), ID], None => JSON, collections::set),
        route!(Delete "/v1/counters/{name}", "Takes a counter away: it is 0",
            [NAME], None => JSON, collections::forget),
        route!(Get "/v1/maps/{name}", "Lists a map", [NAME, LIMIT, AFTER],
            None => JSON, collections::entries),
        route!(Delete "/v1/maps/{name}", "Empties a map",
            [NAME], None => JSON, collections::map_clear),
        route!(Get "/v1/maps/{name}/{*key}", "The value of a key of a map",
            [NAME, ENTRY], None => BYTES, collections::map_get),
        route!(Put "/v1/maps/{name}/{*key}", "Sets the value of a key of a map",
            [NAME, ENTRY, header("If-None-Match", "*: only if the key does not exist")],
            Some(BYTES) => JSON, collections::map_put),
        route!(Delete "/v1/maps/{name}/{*key}", "Takes a key out of a map",
            [NAME, ENTRY], None => JSON, collections::map_rm),
        route!(Get "/v1/sets/{name}", "Lists a set", [NAME, LIMIT, AFTER],
            None => JSON, collections::elements),
        route!(Delete "/v1/sets/{name}", "Empties a set",
            [NAME], None => JSON, collections::set_clear),
        route!(Get "/v1/sets/{name}/{*key}", "Whether an element is in a set: 404 if not",
            [NAME, ENTRY], None => JSON, collections::set_has),
        route!(Put "/v1/sets/{name}/{*key}", "Puts an element into a set",
            [NAME, ENTRY], None => JSON, collections::set_add),
        route!(Delete "/v1/sets/{name}/{*key}", "Takes an element out of a set",
            [NAME, ENTRY], None => JSON, collections::set_rm),
        route!(Get "/v1/multimaps/{name}", "Lists a multimap",
            [NAME, LIMIT, AFTER, query("after_value", "string", "with after: behind this value")],
            None => JSON, collections::multi_all),
        route!(Delete "/v1/multimaps/{name}", "Empties a multimap",
            [NAME], None => JSON, collections::multi_clear),
        route!(Get "/v1/multimaps/{name}/{*key}", "The values of a key of a multimap",
            [NAME, ENTRY], None => JSON, collections::multi_get),
        route!(Post "/v1/multimaps/{name}/{*key}", "Gives a key of a multimap one more value",
            [NAME, ENTRY], Some(BYTES) => JSON, collections::multi_put),
        route!(Delete "/v1/multimaps/{name}/{*key}", "Takes a value of a key out, or all of them",
            [NAME, ENTRY, query("value", "string", "this one only; any bytes, percent-encoded")],
            None => JSON, collections::multi_rm),
        route!(Get "/v1/lists/{name}", "Lists a list", [NAME, LIMIT, AFTER],
            None => JSON, collections::list_all),
        route!(Post "/v1/lists/{name}", "Puts a value at the end of a list",
            [NAME, ID], Some(BYTES) => JSON, collections::list_push),
        route!(Delete "/v1/lists/{name}", "Empties a list",
            [NAME], None => JSON, collections::list_clear),
        route!(Get "/v1/lists/{name}/{index}", "What stands somewhere in a list",
            [NAME, INDEX], None => BYTES, collections::list_get),
        route!(Put "/v1/lists/{name}/{index}", "Puts a value in the place of another in a list",
            [NAME, INDEX], Some(BYTES) => JSON, collections::list_set),
        route!(Delete "/v1/lists/{name}/{index}", "Takes out what stands somewhere in a list",
            [NAME, INDEX, ID], None => JSON, collections::list_rm),
    ]
}

const ITEM: Parameter = query("item", "string", "which, as taking told");

fn work_routes() -> Vec<Route> {
    vec![
        route!(Get "/v1/queues/{name}", "Lists what is to be done; whoever has an item, its fence",
            [NAME, LIMIT, AFTER], None => JSON, work::items),
        route!(Post "/v1/queues/{name}", "Puts an item at the end of a queue",
            [NAME, ID], Some(BYTES) => JSON, work::push),
        route!(Delete "/v1/queues/{name}", "Empties a queue", [NAME], None => JSON, work::clear),
        route!(Post "/v1/queues/{name}:take", "Takes the first item that nobody has, by a lease",
            [NAME, TTL, OWN_LEASE, WAIT, TAKE], None => JSON, work::take),
        route!(Post "/v1/queues/{name}:done", "Says that an item is done: it goes for good",
            [NAME, ITEM, FENCE], None => JSON, work::done),
        route!(Post "/v1/queues/{name}:put-back", "Leaves an item to the next",
            [NAME, ITEM, FENCE], None => JSON, work::put_back),
        route!(Post "/v1/queues/{name}:pop", "Takes the first item that nobody has, for good",
            [NAME, ID], None => JSON, work::pop),
        route!(Get "/v1/barriers/{name}", "Who is at a barrier, and whether it is open",
            [NAME], None => JSON, work::gate),
        route!(Post "/v1/barriers/{name}:enter", "Waits until so many are at a barrier",
            [NAME, query("parties", "integer", "how many, this one among them"), TTL, OWN_LEASE,
             WAIT], None => JSON, work::enter),
        route!(Post "/v1/barriers/{name}:leave", "Leaves a barrier",
            [NAME, FENCE], None => JSON, work::leave),
    ]
}

fn group_routes() -> Vec<Route> {
    vec![
        route!(Get "/v1/groups", "All groups besides the control group",
            [CONSISTENCY], None => JSON, groups::list),
        route!(Post "/v1/groups", "Makes a group",
            [query("kind", "string", "name of its state machine, which the replicas must know"),
             query("replicas", "string", "ids or names of members, with commas between")],
            None => JSON, groups::create),
        route!(Get "/v1/groups/{group}", "One group",
            [GROUP, CONSISTENCY], None => JSON, groups::one),
        route!(Delete "/v1/groups/{group}", "Takes a group out, with all that it holds",
            [GROUP], None => JSON, groups::remove),
    ]
}

const TOKEN: Parameter = path("token", "its id, the beginning of it, or its name");
fn admission_routes() -> Vec<Route> {
    vec![
        route!(Get "/v1/tokens", "Join tokens, without their secrets",
            [], None => JSON, tokens::list),
        route!(Post "/v1/tokens", "Makes a join token; its secret is told this once",
            [], Some(JSON) => JSON, tokens::create),
        route!(Get "/v1/tokens/{token}", "One join token", [TOKEN], None => JSON, tokens::show),
        route!(Delete "/v1/tokens/{token}", "Takes a join token back",
            [TOKEN], None => JSON, tokens::revoke),
        route!(Post "/v1/tokens/{token}:rotate", "Puts another join token in the place of one",
            [TOKEN], None => JSON, tokens::rotate),
        route!(Get "/v1/joins", "Joins that wait, and those that were denied lately",
            [], None => JSON, tokens::joins),
        route!(Get "/v1/certificates", "This node's papers and the keys of gossip, without secrets",
            [], None => JSON, tokens::certificates),
        route!(Post "/v1/certificates:rotate", "Has this node get other papers at once",
            [], None => JSON, tokens::rotate_certificate),
        route!(Post "/v1/gossip-keys:rotate", "Begins to replace the gossip key",
            [], None => JSON, tokens::rotate_gossip),
    ]
}

fn view_routes() -> Vec<Route> {
    vec![
        route!(Get "/v1/status", "How the cluster is, answer first",
            [FRESHNESS, MAX_STALENESS], None => JSON, views::status),
        route!(Get "/v1/cluster", "What the cluster is: voters, epoch, settings",
            [FRESHNESS, MAX_STALENESS], None => JSON, views::cluster),
        route!(Get "/v1/cluster/health", "What was looked at, and whether it is as it should be",
            [FRESHNESS, MAX_STALENESS], None => JSON, views::health),
        route!(Get "/v1/cluster/settings", "What operators may set of the cluster, and what for",
            [FRESHNESS, MAX_STALENESS], None => JSON, settings::show),
        route!(Get "/v1/nodes", "All nodes, by the record and as this one sees them; or followed",
            [FRESHNESS, MAX_STALENESS, WATCH, FROM, POLL, BEHIND], None => JSON, views::list),
        route!(Get "/v1/nodes/{node}", "One node",
            [NODE, FRESHNESS, MAX_STALENESS], None => JSON, views::one),
        route!(Get "/v1/nodes/{node}/evidence", "Who probed it, who suspected it, who confirmed it",
            [NODE, FRESHNESS, MAX_STALENESS], None => JSON, evidence::answer),
        route!(Get "/v1/explain", "What happened, since when, because of what, what to do",
            [query("subject", "string", "node/NAME, leader, voters or join/NAME"),
             FRESHNESS, MAX_STALENESS], None => JSON, explain::answer),
        route!(Get "/v1/events", "What happened lately, on this node and in its view",
            [WATCH, FROM, POLL, BEHIND,
             query("node", "string", "only what is about it: its id or its name")],
            None => JSON, events::list_or_watch),
    ]
}

const OP: Parameter = path("op", "its id, as the answer that told of it says");

fn op_routes() -> Vec<Route> {
    vec![
        route!(Get "/v1/ops", "What the cluster is about, and what ended lately; or followed",
            [WATCH, FROM, POLL, BEHIND], None => JSON, ops::list_or_watch),
        route!(Get "/v1/ops/{op}", "One operation", [OP], None => JSON, ops::one),
        route!(Post "/v1/ops/{op}:cancel", "Takes a drain, or a wish for votes, back",
            [OP], None => JSON, ops::cancel),
    ]
}

fn operator_routes() -> Vec<Route> {
    vec![
        route!(Get "/v1/snapshot", "A backup of all keys, leases, users and settings, as one file",
            [CONSISTENCY], None => BYTES, snapshot::answer),
        route!(Post "/v1/nodes/{node}:drain", "Has everything moved off a member",
            [NODE], None => JSON, operate::drain),
        route!(Post "/v1/nodes/{node}:resume", "Undoes a drain",
            [NODE], None => JSON, operate::resume),
        route!(Post "/v1/nodes/{node}:promote", "Has a member vote", [NODE, UNDO],
            None => JSON, operate::promote),
        route!(Post "/v1/nodes/{node}:demote", "Has a member not vote", [NODE, UNDO],
            None => JSON, operate::demote),
        route!(Post "/v1/nodes/{node}:remove", "Takes a member out for good",
            [NODE, query("force", "boolean", "1: although it takes part")],
            None => JSON, operate::remove),
        route!(Post "/v1/nodes/{node}:roles", "Gives a member roles, and takes some: {add, remove}",
            [NODE], Some(JSON) => JSON, operate::roles),
        route!(Post "/v1/nodes/{node}:labels", "Labels a member: {set, remove, zone}",
            [NODE], Some(JSON) => JSON, operate::labels),
        route!(Post "/v1/nodes/{node}:approve", "Lets a join in that waits",
            [NODE, query("force", "boolean", "1: although nobody performs what it requires")],
            None => JSON, operate::approve),
        route!(Post "/v1/nodes/{node}:deny", "Refuses a join that waits",
            [NODE], None => JSON, operate::deny),
        route!(Patch "/v1/cluster/settings", "Changes settings: {KEY: VALUE}; null is the default",
            [], Some(JSON) => JSON, settings::change),
        route!(Post "/v1/cluster:transfer-leader", "Hands leadership to another voter",
            [query("to", "string", "its id or its name; the next that answers when not said")],
            None => JSON, operate::transfer),
        route!(Post "/v1/cluster:bump-epoch", "Begins another epoch: who is gone has to join anew",
            [], None => JSON, operate::bump_epoch),
    ]
}

fn node_routes() -> Vec<Route> {
    vec![
        route!(Post "/v1/join", "Asks to be admitted to the cluster, with a token",
            [], Some(JSON) => JSON, nodes::join),
        route!(Post "/v1/certificates:renew", "Gives the node that calls other papers",
            [], Some(JSON) => JSON, nodes::renew),
        route!(Post "/v1/copies", "For a node: says that another process has its identity, \
            {\"address\"}; asked with that identity", [], Some(JSON) => JSON, nodes::copied),
        route!(Get "/livez", "Answers while the process lives", [], None => TEXT, health::live),
        route!(Get "/health", "As etcd's: whether calls are worth making, and why not",
            [query("exclude", "string", "an alarm that does not count: NOSPACE or CORRUPT"),
             query("serializable", "boolean", "true: whether this node answers, alone")],
            None => JSON, etcd_health::health),
        route!(Get "/version", "As etcd's: the version whose interface this is",
            [], None => JSON, etcd_health::version),
        route!(Get "/readyz", "Answers ok when the node serves", [], None => TEXT, health::ready),
        route!(Get "/metrics", "Numbers for Prometheus", [], None => TEXT, health::metrics),
        route!(Get "/openapi.json", "This description", [], None => JSON, document::answer),
    ]
}

/// In what shapes an answer of the route may go on.
pub(super) fn streams(route: &Route) -> &'static [&'static str] {
    let takes = |name| route.parameters.iter().any(|parameter| parameter.name == name);
    match (takes("watch"), takes("wait")) {
        (false, _) => &[],
        (true, false) => &[LINES],
        (true, true) => &[LINES, EVENTS],
    }
}

/// Paths that have another name now, and go on under the one they had.
const FORMER: [(Method, &str, &str); 1] =
    [(Method::Post, "/v1/tokens/{token}/rotate", "/v1/tokens/{token}:rotate")];

/// Everything over HTTP that is not gRPC.
pub(in crate::api) fn router(desk: Arc<Desk>) -> Router {
    let mut places: BTreeMap<(&str, Method), Words> = BTreeMap::new();
    for route in routes() {
        let (place, word) = placed(route.path);
        let route = Arc::new(route);
        let is_former = |(method, _, path): &&(Method, &str, &str)| {
            (*method, *path) == (route.method, route.path)
        };
        for (method, former, _) in FORMER.iter().filter(is_former) {
            places.entry((former, *method)).or_default().insert(None, route.clone());
        }
        places.entry((place, route.method)).or_default().insert(word, route);
    }
    let mut router: Router = Router::new();
    for ((place, method), words) in places {
        let desk = desk.clone();
        let words = Arc::new(words);
        let answer = move |request: Request<Body>| {
            // On whose behalf it asks was found out at the front.
            let asking = request.extensions().get::<Arc<Desk>>();
            let desk = asking.unwrap_or(&desk).clone();
            let route = chosen(&words, request.uri().path());
            async move {
                match route {
                    Some(route) => answer_on(&route, desk, request).await,
                    None => Err(unknown_route(request).await),
                }
            }
        };
        let method: MethodRouter = on(method.filter(), answer);
        router = router.route(place, method);
    }
    router.fallback(unknown_route).method_not_allowed_fallback(unknown_method)
}

/// A body that a change does not take is refused: what it asks for would not be done.
async fn answer_on(
    route: &Route,
    desk: Arc<Desk>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let floor = Floor::of_route(route.method.lower(), route.path);
    desk.doorman.check(desk.handle.asker(), floor).await.map_err(auth::turned)?;
    let is_change = route.method != Method::Get;
    if !is_change || route.takes.is_some() || request.body().is_end_stream() {
        return (route.handler)(desk, request).await;
    }
    let (parts, body) = request.into_parts();
    let limit = BodyLimit { bytes: UNTAKEN_BYTES_MAX, time: desk.patience.body };
    let body = params::body(Request::from_parts(parts.clone(), body), limit).await;
    match body {
        Ok(body) if body.is_empty() => {}
        Err(problem) if problem.status != StatusCode::PAYLOAD_TOO_LARGE => return Err(problem),
        _ => return Err(untaken(route)),
    }
    (route.handler)(desk, Request::from_parts(parts, Body::empty())).await
}

fn untaken(route: &Route) -> Problem {
    let queries = route.parameters.iter().filter(|parameter| parameter.place == "query");
    let queries: Vec<&str> = queries.map(|parameter| parameter.name).collect();
    let hint = match queries.is_empty() {
        true => String::from("send none; it takes no query parameters either"),
        false => format!("send none; it takes the query parameters {}", queries.join(", ")),
    };
    let method = route.method.lower().to_uppercase();
    let detail = format!("{method} {} takes no body; nothing happened", route.path);
    Problem::bad_request(detail).hint(hint)
}

/// The routes of one place, by the word behind a colon at its end.
type Words = BTreeMap<Option<&'static str>, Arc<Route>>;

/// Where the router puts a path: it takes no words behind a parameter, so they are told apart here.
fn placed(path: &'static str) -> (&'static str, Option<&'static str>) {
    match path.find("}:") {
        Some(end) => (&path[..=end], Some(&path[end + 2..])),
        None => (path, None),
    }
}

fn chosen(words: &Words, path: &str) -> Option<Arc<Route>> {
    let word = path.rsplit_once(':').map(|(_, word)| word);
    words.get(&word).or_else(|| words.get(&None)).cloned()
}

async fn unknown_route(request: Request<Body>) -> Problem {
    let path = request.uri().path();
    let problem = Problem::not_found(format!("there is no route {path}"));
    match path.ends_with('/') && path != "/" {
        true => problem.hint("a name or an id of at least one character belongs behind it"),
        false => problem.hint("see /openapi.json"),
    }
}

async fn unknown_method(request: Request<Body>) -> Problem {
    let detail = format!("{} does not take {}", request.uri().path(), request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
        .hint("see /openapi.json")
}
