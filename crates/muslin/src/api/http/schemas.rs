//! Bodies as OpenAPI describes them, by route. A route that is not named here takes or gives
//! anything of its media type.

mod access;

use super::routes::Method;
use serde_json::{Map, Value, json};

/// What the body asked for and the body answered look like.
pub(super) fn of(method: Method, path: &str) -> (Value, Value) {
    let named = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let any = || json!({});
    if let Some(schemas) = access::of(method, path) {
        return schemas;
    }
    match (method, path) {
        (Method::Get, "/v1/kv") => (any(), named("Keys")),
        (Method::Put, "/v1/kv/{*key}") => (any(), named("Written")),
        (Method::Delete, "/v1/kv/{*key}") => (any(), named("Deleted")),
        (Method::Post, "/v1/kv:compact") => (any(), named("Compacted")),
        (Method::Post, "/v1/txn") => (named("Txn"), named("TxnAnswer")),
        (Method::Get, "/v1/leases") => (any(), named("Leases")),
        (Method::Post | Method::Get, "/v1/leases/{lease}" | "/v1/leases/{lease}:keep-alive")
        | (Method::Post, "/v1/leases") => (any(), named("Lease")),
        (Method::Delete, "/v1/leases/{lease}") => (any(), named("Lease")),
        (Method::Get, "/v1/locks") => (any(), named("Locks")),
        (Method::Get, "/v1/locks/{lock}") => (any(), named("Lock")),
        (Method::Get, "/v1/elections") => (any(), named("Elections")),
        (Method::Get, "/v1/elections/{election}") => (any(), named("Election")),
        (Method::Post, "/v1/locks/{lock}:acquire" | "/v1/elections/{election}:campaign") => {
            (any(), named("Acquired"))
        }
        (
            Method::Post,
            "/v1/locks/{lock}:release"
            | "/v1/elections/{election}:proclaim"
            | "/v1/elections/{election}:resign",
        ) => (any(), named("Released")),
        (Method::Get, "/v1/counters/{name}")
        | (Method::Post, "/v1/counters/{name}:add" | "/v1/counters/{name}:set") => {
            (any(), named("Counter"))
        }
        (
            Method::Get,
            "/v1/maps/{name}"
            | "/v1/sets/{name}"
            | "/v1/multimaps/{name}"
            | "/v1/lists/{name}"
            | "/v1/queues/{name}",
        ) => (any(), named("CollectionPage")),
        (Method::Post, "/v1/queues/{name}:take") => (any(), named("Taken")),
        (Method::Get, "/v1/barriers/{name}") => (any(), named("Barrier")),
        (_, path) if COLLECTIONS.iter().any(|kind| path.starts_with(kind)) => {
            (any(), named("CollectionChanged"))
        }
        _ => (any(), any()),
    }
}

/// Where collections stand.
const COLLECTIONS: [&str; 7] = [
    "/v1/counters/",
    "/v1/maps/",
    "/v1/sets/",
    "/v1/multimaps/",
    "/v1/lists/",
    "/v1/queues/",
    "/v1/barriers/",
];

fn text(says: &str) -> Value {
    json!({ "type": "string", "description": says })
}

/// A number of 64 bits.
fn number(says: &str) -> Value {
    json!({
        "type": ["integer", "string"],
        "description": format!("{says}; as text when it is over 2^53"),
    })
}

fn flag(says: &str) -> Value {
    json!({ "type": "boolean", "description": says })
}

fn list(of: &str) -> Value {
    json!({ "type": "array", "items": { "$ref": format!("#/components/schemas/{of}") } })
}

fn named_ref(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// An object with these fields, of which the first so many are always there.
fn shape(always: usize, fields: &[(&str, Value)]) -> Value {
    let required: Vec<&str> = fields[..always].iter().map(|(name, _)| *name).collect();
    let properties: Map<String, Value> =
        fields.iter().map(|(name, value)| (String::from(*name), value.clone())).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

/// Fields of a key, of which one is there.
fn key_fields() -> [(&'static str, Value); 2] {
    [("key", text("the key, if it is text (UTF-8)")), ("key_b64", text("otherwise, in base64"))]
}

fn value_fields() -> [(&'static str, Value); 2] {
    [("value", text("the value, if it is text")), ("value_b64", text("otherwise, in base64"))]
}

fn revision() -> (&'static str, Value) {
    ("revision", number("the revision of the answer"))
}

fn lease() -> (&'static str, Value) {
    ("lease", text("16 hexadecimal digits"))
}

/// Every schema that has a name.
pub(super) fn named() -> Map<String, Value> {
    let mut all = kv_schemas();
    all.extend(txn_schemas());
    all.extend(lease_schemas());
    all.extend(queue_schemas());
    all.extend(collection_schemas());
    all.extend(access::named());
    all.into_iter().map(|(name, schema)| (String::from(name), schema)).collect()
}

type Named = Vec<(&'static str, Value)>;

fn kv_schemas() -> Named {
    let mut item = vec![
        ("create_revision", number("what made the key")),
        ("mod_revision", number("what changed it last")),
        ("version", number("how often it was set since it was made")),
    ];
    item.extend(key_fields());
    item.extend(value_fields());
    item.push(lease());
    let mut written = vec![revision()];
    written.extend(key_fields());
    written.push(lease());
    let deleted = ("deleted", number("how many keys"));
    let compacted = ("compacted", number("reads as of it and of later ones go on"));
    vec![
        ("Item", shape(3, &item)),
        (
            "Keys",
            shape(
                4,
                &[
                    revision(),
                    ("count", number("how many there are")),
                    ("more", flag("ask again, after the last one")),
                    ("items", list("Item")),
                ],
            ),
        ),
        ("Written", shape(1, &written)),
        ("Deleted", shape(2, &[deleted, revision()])),
        ("Compacted", shape(2, &[compacted, revision()])),
    ]
}

fn txn_schemas() -> Named {
    let mut keys = key_fields().to_vec();
    keys.extend([
        ("prefix", flag("all keys that begin so")),
        ("range_end", text("all keys up to this one, which is not among them")),
        ("range_end_b64", text("the same in base64")),
    ]);
    let mut compare = keys.clone();
    compare.push(("result", json!({ "enum": ["=", "!=", ">", "<"], "default": "=" })));
    let numbers = ["version", "create_revision", "mod_revision"];
    compare.extend(numbers.map(|name| (name, number("of a key that is not there: 0"))));
    compare.extend(value_fields());
    compare.push(lease());
    let lists =
        [("compare", list("TxnCompare")), ("success", list("TxnOp")), ("failure", list("TxnOp"))];
    let answer = [
        ("succeeded", flag("all comparisons held")),
        ("responses", list("TxnOpAnswer")),
        revision(),
    ];
    vec![
        ("TxnCompare", shape(0, &compare)),
        ("TxnOp", txn_op(keys)),
        ("Txn", shape(0, &lists)),
        ("TxnOpAnswer", txn_op_answer()),
        ("TxnAnswer", shape(2, &answer)),
    ]
}

/// One of its fields is there.
fn txn_op(keys: Named) -> Value {
    let mut get = keys.clone();
    get.extend([
        ("limit", number("most pairs; 1000 by default, 0 is all")),
        ("revision", number("as of this one")),
        ("keys_only", flag("without values")),
        ("count_only", flag("nothing but the count")),
    ]);
    let mut put = key_fields().to_vec();
    put.extend(value_fields());
    put.push(lease());
    put.extend([
        ("ttl", text("a time as 30s, in place of a lease")),
        ("keep_lease", flag("it stays on the lease that it hangs on")),
        ("prev", flag("answer the pair before it")),
    ]);
    let mut delete = keys;
    delete.push(("prev", flag("answer the pairs deleted")));
    let kinds = [
        ("get", shape(0, &get)),
        ("put", shape(0, &put)),
        ("delete", shape(0, &delete)),
        ("txn", named_ref("Txn")),
    ];
    shape(0, &kinds)
}

/// The field of the operation is there.
fn txn_op_answer() -> Value {
    let pairs = [("items", list("Item")), ("more", flag("not all")), ("count", number("how many"))];
    let kinds = [
        ("get", shape(3, &pairs)),
        ("put", shape(0, &[("prev", named_ref("Item"))])),
        ("delete", shape(2, &[("deleted", number("how many")), ("prev", list("Item"))])),
        ("txn", named_ref("TxnAnswer")),
    ];
    shape(0, &kinds)
}

fn lease_schemas() -> Named {
    let id = || ("id", text("16 hexadecimal digits"));
    vec![
        (
            "Lease",
            shape(
                1,
                &[
                    id(),
                    ("ttl_ms", number("how long it lives unless it is kept alive")),
                    ("left_ms", number("how long from here")),
                    ("keys", json!({ "type": "array", "items": shape(0, &key_fields()) })),
                    revision(),
                ],
            ),
        ),
        (
            "Leases",
            shape(
                4,
                &[
                    revision(),
                    ("count", number("how many there are")),
                    ("more", flag("ask again, after the last one")),
                    ("leases", list("Lease")),
                ],
            ),
        ),
    ]
}

fn queue_schemas() -> Named {
    let name = || ("name", text("the name; what is no text stands percent-encoded"));
    let fence = || ("fence", number("the revision that made its place: fences grow"));
    let mut place = vec![fence(), lease()];
    place.extend(key_fields());
    place.extend(value_fields());
    let mut acquired = vec![name(), fence(), lease()];
    acquired.extend(key_fields());
    acquired.push(("ttl_ms", number("keep the lease alive within this time")));
    let waiting = ("waiting", json!({ "description": "those behind it, or how many" }));
    let candidates = ("candidates", json!({ "description": "those behind it, or how many" }));
    let more = || ("more", flag("there are more keys than are looked at: name a longer prefix"));
    vec![
        ("Place", shape(2, &place)),
        ("Acquired", shape(3, &acquired)),
        ("Released", shape(2, &[name(), revision()])),
        ("Lock", shape(3, &[name(), ("holder", named_ref("Place")), waiting, revision()])),
        ("Locks", shape(3, &[revision(), more(), ("locks", list("Lock"))])),
        ("Election", shape(3, &[name(), ("leader", named_ref("Place")), candidates, revision()])),
        ("Elections", shape(3, &[revision(), more(), ("elections", list("Election"))])),
    ]
}

/// Of bytes there are two fields each, of which one is there: `NAME` if they are text, and
/// `NAME_b64` otherwise.
fn collection_schemas() -> Named {
    let name = || ("name", text("the name; what is no text stands percent-encoded"));
    let value = json!({ "type": ["integer", "string"], "description": "text when over 2^53" });
    let mut item = key_fields().to_vec();
    item.extend(value_fields());
    item.extend([
        ("element", text("of a set, if it is text; element_b64 otherwise")),
        ("place", text("of a list: where it stands, for `after`")),
        ("item", text("of a queue: where it stands")),
        ("mod_revision", number("of a map: what changed it last")),
        ("fence", number("of a queue: what marked it as taken")),
    ]);
    let page = [
        name(),
        revision(),
        ("count", number("how many there are, here and behind")),
        ("more", flag("ask again, after the last one")),
        ("items", list("CollectionItem")),
    ];
    let mut changed = vec![name()];
    changed.extend(item.clone());
    changed.extend([
        ("added", flag("it was not there")),
        ("removed", number("how many there were")),
        ("before", text("what was there before, if it is text; before_b64 otherwise")),
        ("values", list("CollectionItem")),
        lease(),
    ]);
    let mut taken = vec![
        name(),
        ("item", text("where it stands")),
        ("fence", number("what says that it is taken: fences grow")),
        lease(),
        ("ttl_ms", number("keep the lease alive within this time")),
    ];
    taken.extend(value_fields());
    let party = shape(2, &[("fence", number("what made its place")), lease()]);
    let parties = json!({ "type": "array", "items": party });
    vec![
        ("Counter", shape(2, &[name(), ("value", value)])),
        ("CollectionItem", shape(0, &item)),
        ("CollectionPage", shape(5, &page)),
        ("CollectionChanged", shape(1, &changed)),
        ("Taken", shape(5, &taken)),
        ("Barrier", shape(3, &[name(), ("open", flag("all have come")), ("parties", parties)])),
    ]
}
