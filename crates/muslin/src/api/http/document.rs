//! `GET /openapi.json`: the table of routes as OpenAPI 3.1.

use super::ops;
use super::routes::{Parameter, Route, routes, streams};
use super::schemas;
use crate::api::desk::Desk;
use crate::api::problem::{PROBLEM_JSON, Problem};
use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) async fn answer(desk: Arc<Desk>, _: Request<Body>) -> Result<Response, Problem> {
    Ok(Json(document(&desk.facts.version)).into_response())
}

/// The whole description.
pub(super) fn document(version: &str) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes() {
        let path = route.path.replace("{*", "{");
        let operations = paths.entry(path).or_insert_with(|| json!({}));
        operations[route.method.lower()] = operation(&route);
    }
    let mut components = schemas::named();
    components.insert(String::from("Problem"), problem_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Muslin",
            "version": version,
            "description": "One node of a Muslin cluster; the same port serves etcd's v3 API.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        // Asked for once rights are enabled, of callers without a certificate.
        "security": [{}, { "token": [] }],
    })
}

fn operation(route: &Route) -> Value {
    let (takes_schema, gives_schema) = schemas::of(route.method, route.path);
    let mut content = json!({ route.gives: { "schema": gives_schema } });
    for shape in streams(route) {
        content[*shape] = json!({});
    }
    let problem = json!({ PROBLEM_JSON: { "schema": { "$ref": "#/components/schemas/Problem" } } });
    let mut operation = json!({
        "summary": route.summary,
        "parameters": route.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "responses": {
            "200": { "description": "Done", "content": content },
            "default": { "description": "Not done", "content": problem },
        },
    });
    if ops::BEGIN.contains(&route.path) {
        operation["responses"]["202"] = json!({
            "description": "Begun: `op` and `Location` say where to look",
            "headers": { "Location": { "schema": { "type": "string" } } },
            "content": operation["responses"]["200"]["content"],
        });
    }
    if let Some(takes) = route.takes {
        operation["requestBody"] =
            json!({ "required": true, "content": { takes: { "schema": takes_schema } } });
    }
    operation
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.says,
        "schema": { "type": parameter.kind },
    })
}

fn problem_schema() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "description": "RFC 9457",
        "required": ["type", "title", "status", "code", "detail", "hint", "retryable"],
        "properties": {
            "type": text,
            "title": text,
            "status": { "type": "integer" },
            "code": { "type": "string", "description": "for programs to match on" },
            "detail": text,
            "hint": { "type": "string", "description": "what to do" },
            "retryable": {
                "type": "boolean",
                "description": "the same request may succeed later",
            },
            "retry_after_ms": {
                "type": "integer",
                "description": "when to ask again; `Retry-After` says it in whole seconds",
            },
        },
    })
}
