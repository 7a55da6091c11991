//! The table of routes, and the router made of it.

use super::params::{self, BodyLimit};
use super::{
    document, events, evidence, explain, groups, health, kv, kv_watch, nodes, operate, settings,
    tokens, views,
};
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
    "linearizable (default): sees every write acknowledged before; local: what this node knows",
);
const KEY: Parameter = path("key", "any bytes, percent-encoded; slashes stand for themselves");
const PREFIX: Parameter =
    query("prefix", "string", "only keys that begin so; any bytes, percent-encoded");
const GROUP: Parameter = path("group", "its id, a number");
const IF_MATCH: Parameter = header("If-Match", "\"REVISION\": only if this changed the key last");
const WATCH: Parameter = query("watch", "boolean", "1: go on with each change, as lines of JSON");

const NODE: Parameter = path("node", "its id or its name");
const FRESHNESS: Parameter =
    query("consistency", "string", "local (the default), lease or linearizable");
const MAX_STALENESS: Parameter =
    query("max_staleness", "string", "a time as 2s: refused when what is known here is older");
const FROM: Parameter = query("from", "string", "with watch: go on behind this `index`");
const UNDO: Parameter = query("undo", "boolean", "1: leave it to the planner again");

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
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
    routes.extend(view_routes());
    routes.extend(operator_routes());
    routes.extend(node_routes());
    routes.extend(admission_routes());
    routes.extend(group_routes());
    routes
}

fn kv_routes() -> Vec<Route> {
    vec![
        route!(Get "/v1/kv", "Lists keys, or follows them",
            [PREFIX, CONSISTENCY, WATCH,
             query("limit", "integer", "most items of an answer; 1000 by default"),
             query("after", "string", "only keys after this one: the last one of the page before"),
             query("revision", "integer", "as of this revision"),
             query("from", "integer", "with watch: changes from this revision on, no items first")],
            None => JSON, kv_watch::list_or_watch),
        route!(Get "/v1/kv/{*key}", "Reads one value",
            [KEY, CONSISTENCY], None => BYTES, kv::read),
        route!(Put "/v1/kv/{*key}", "Writes one value",
            [KEY, IF_MATCH, header("If-None-Match", "*: only if the key does not exist")],
            Some(BYTES) => JSON, kv::write),
        route!(Delete "/v1/kv/{*key}", "Deletes one key",
            [KEY, IF_MATCH], None => JSON, kv::delete),
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
        route!(Post "/v1/tokens/{token}/rotate", "Puts another join token in the place of one",
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
            [FRESHNESS, MAX_STALENESS, WATCH, FROM], None => JSON, views::list),
        route!(Get "/v1/nodes/{node}", "One node",
            [NODE, FRESHNESS, MAX_STALENESS], None => JSON, views::one),
        route!(Get "/v1/nodes/{node}/evidence", "Who probed it, who suspected it, who confirmed it",
            [NODE, FRESHNESS, MAX_STALENESS], None => JSON, evidence::answer),
        route!(Get "/v1/explain", "What happened, since when, because of what, what to do",
            [query("subject", "string", "node/NAME, leader, voters or join/NAME"),
             FRESHNESS, MAX_STALENESS], None => JSON, explain::answer),
        route!(Get "/v1/events", "What happened lately, on this node and in its view",
            [WATCH, FROM, query("node", "string", "only what is about it: its id or its name")],
            None => JSON, events::list_or_watch),
    ]
}

fn operator_routes() -> Vec<Route> {
    vec![
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
        route!(Get "/readyz", "Answers ok when the node serves", [], None => TEXT, health::ready),
        route!(Get "/metrics", "Numbers for Prometheus", [], None => TEXT, health::metrics),
        route!(Get "/openapi.json", "This description", [], None => JSON, document::answer),
    ]
}

/// Whether an answer of the route may go on as lines.
pub(super) fn streams(route: &Route) -> Option<&'static str> {
    route.parameters.iter().any(|parameter| parameter.name == "watch").then_some(LINES)
}

/// Everything over HTTP that is not gRPC.
pub(in crate::api) fn router(desk: Arc<Desk>) -> Router {
    let mut places: BTreeMap<(&str, Method), Words> = BTreeMap::new();
    for route in routes() {
        let (place, word) = placed(route.path);
        places.entry((place, route.method)).or_default().insert(word, Arc::new(route));
    }
    let mut router: Router = Router::new();
    for ((place, method), words) in places {
        let desk = desk.clone();
        let words = Arc::new(words);
        let answer = move |request: Request<Body>| {
            let (desk, route) = (desk.clone(), chosen(&words, request.uri().path()));
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
    Problem::not_found(format!("there is no route {path}")).hint("see /openapi.json")
}

async fn unknown_method(request: Request<Body>) -> Problem {
    let detail = format!("{} does not take {}", request.uri().path(), request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
        .hint("see /openapi.json")
}
