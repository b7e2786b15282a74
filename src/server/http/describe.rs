//! The `OpenAPI` document: what the declarations of [`crate::api::call`] say, and what all calls have in common.
//!
//! A field has one meaning wherever it occurs, so its bounds and its example stand in one table by name
//! ([`fields`]) and not beside each of its occurrences. A request's example is made of those of its
//! fields; `tests/it/faults/d8_description.rs` sends each of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::schema::Schema;
use utoipa::{IntoParams, ToSchema};

use crate::api::Problem;
use crate::api::call::{Access, Call, Operation, Place, Takes};

mod fields;

use fields::Bounds::{Flag, Number, Text, Words};
use fields::{FIELDS, Field};

/// The calls that are served, and the schemas of their bodies and answers.
#[derive(Default)]
pub(crate) struct Description {
    operations: Vec<Operation>,
    paths: Map<String, Value>,
    schemas: BTreeMap<String, RefOr<Schema>>,
}

impl Description {
    /// Adds what a call's declaration says.
    pub(crate) fn add<C: Call>(&mut self) {
        let operation = C::OPERATION;
        let answer = match operation.status {
            204 => Value::Null,
            _ => self.schema::<C::Answer>(),
        };
        let doc = operation
            .doc
            .iter()
            .map(|line| line.strip_prefix(' ').unwrap_or(line));
        let doc: Vec<&str> = doc.collect();
        let mut paragraphs = doc.split(|line| line.is_empty());
        let summary = paragraphs.next().unwrap_or_default().join("\n");
        let description: Vec<String> = paragraphs.map(|lines| lines.join("\n")).collect();
        let mut described = json!({
            "tags": [operation.tag],
            "summary": summary,
            "operationId": operation.id,
            "responses": responses(&operation, &answer),
        });
        if !description.is_empty() {
            described["description"] = json!(description.join("\n\n"));
        }
        let parameters = parameters::<C>();
        if !parameters.is_empty() {
            described["parameters"] = json!(parameters);
        }
        if operation.takes != Takes::Nothing {
            let schema = self.schema::<C::Body>();
            described["requestBody"] = json!({
                "content": { "application/json": { "schema": schema } },
                "required": operation.takes == Takes::Body,
            });
        }
        match operation.access {
            Access::Open | Access::Gateway | Access::Link | Access::Network => {
                described["security"] = json!([{}]);
            }
            Access::Near => described["security"] = json!([{}, { "key": [] }]),
            Access::Device => described["security"] = json!([{ "device": [] }]),
            Access::Verify | Access::Scim | Access::Admin(_) => {}
        }
        let method = operation.method.as_str().to_ascii_lowercase();
        let item = self
            .paths
            .entry(operation.path)
            .or_insert_with(|| json!({}));
        item[method] = described;
        self.operations.push(operation);
    }

    /// What the declarations say beside their types.
    pub(crate) fn into_operations(self) -> Vec<Operation> {
        self.operations
    }

    /// A reference to the schema of a type; of text the schema itself.
    fn schema<T: ToSchema>(&mut self) -> Value {
        let name = T::name();
        if matches!(&*name, "String" | "Value") {
            return json!(T::schema());
        }
        let mut schemas = vec![(name.to_string(), T::schema())];
        T::schemas(&mut schemas);
        self.schemas.extend(schemas);
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// The whole document: what all calls have in common is added here.
    pub(crate) fn complete(mut self) -> Value {
        self.schema::<Problem>();
        let mut tree = json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Oncegate",
                "description": DESCRIPTION,
                "license": { "name": LICENSE, "identifier": LICENSE },
                "version": env!("CARGO_PKG_VERSION"),
            },
            "paths": self.paths,
            "components": {
                "schemas": self.schemas,
                "securitySchemes": {
                    "key": { "type": "http", "scheme": "bearer" },
                    "device": {
                        "type": "apiKey", "in": "header", "name": "Signature",
                        "description": SIGNATURE,
                    },
                },
            },
            "security": [{ "key": [] }],
        });
        bound(&mut tree);
        describe_requests(&mut tree);
        for (path, item) in members(&mut tree["paths"]) {
            for (_, operation) in members(item) {
                describe_failures(path, operation);
            }
        }
        tree
    }
}

/// What a call's path, query and headers may be.
fn parameters<C: Call>() -> Vec<Value> {
    let operation = C::OPERATION;
    let mut parameters = Vec::new();
    let said = [C::Place::WHAT, C::Place::WITHIN];
    for (name, said) in operation.places().zip(said) {
        parameters.push(json!({
            "name": name, "in": "path", "required": true,
            "description": said,
            "schema": if name == "seq" {
                json!({ "type": "integer", "format": "int64" })
            } else {
                json!({ "type": "string" })
            },
        }));
    }
    let query = C::Query::into_params(|| Some(ParameterIn::Query));
    parameters.extend(query.iter().map(|parameter| json!(parameter)));
    let by_status = operation.by_status.is_some();
    for (name, heeded, required, description) in [
        (
            "If-Match",
            operation.if_match,
            false,
            "The ETag that was seen",
        ),
        ("Idempotency-Key", operation.idempotent, false, IDEMPOTENCY),
        ("Prefer", by_status, false, PREFER),
        (
            "Oncegate-Signature",
            operation.access == Access::Gateway,
            true,
            "`t=UNIX,v2=HEX`; HEX is HMAC-SHA-256 of `UNIX.MEDIUM.BODY`",
        ),
    ] {
        if heeded {
            let kind = if required {
                json!("string")
            } else {
                json!(["string", "null"])
            };
            parameters.push(json!({
                "name": name, "in": "header", "required": required,
                "description": description,
                "schema": { "type": kind },
            }));
        }
    }
    parameters
}

/// The answer, and the failures that follow from whom the call is for, and what it heeds.
fn responses(operation: &Operation, answer: &Value) -> Value {
    let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    let failure = |why: &str| json!({ "description": why, "content": { "application/problem+json": problem } });
    let mut responses = json!({});
    let mut fails = |status: &str, why: &str| responses[status] = failure(why);
    match operation.access {
        Access::Open | Access::Near => {}
        Access::Scim | Access::Admin(_) => fails("default", "Failure"),
        Access::Device => {
            fails("401", "Not taken");
            fails("default", "Failure");
        }
        Access::Link | Access::Network => {
            fails("429", "Too many from one address");
            fails("default", "Failure");
        }
        Access::Gateway => {
            fails("401", "Not signed, or too old");
            fails("default", "Failure");
        }
        Access::Verify => {
            fails("400", "Malformed");
            fails("401", "No or unknown key");
            fails("403", "Key without the scope, or for another realm");
            fails("429", "More requests a second than the client may send");
            fails("503", "No decision can be made; nothing was counted");
        }
    }
    if operation.if_match {
        fails("412", "Changed meanwhile by another");
    }
    if operation.idempotent {
        fails("422", "Idempotency key of another request");
    }
    for (status, why) in operation.failures {
        fails(&status.to_string(), why);
    }
    if let Some(otherwise) = operation.by_status {
        fails(
            "401",
            &format!("No or unknown key; with `Prefer: status` also {otherwise}"),
        );
        responses["401"]["content"]["application/json"] = json!({ "schema": answer });
    }
    let done = &mut responses[operation.status.to_string()];
    *done = json!({ "description": operation.answer });
    if operation.status != 204 {
        for media in operation.media {
            done["content"][media] = json!({ "schema": answer });
        }
    }
    responses
}

/// Bounds of every field and parameter that the table names.
fn bound(tree: &mut Value) {
    for name in sent(tree) {
        let schema = &mut tree["components"]["schemas"][name];
        visit(schema, &mut |name, field| constrain(name, field));
    }
    for (_, item) in members(&mut tree["paths"]) {
        for (_, operation) in members(item) {
            let parameters = operation
                .get_mut("parameters")
                .and_then(Value::as_array_mut);
            for parameter in parameters.into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap_or_default().to_owned();
                constrain(&name, &mut parameter["schema"]);
            }
        }
    }
}

/// The schemas that bodies of requests are made of.
fn sent(tree: &Value) -> BTreeSet<String> {
    let mut wanted = Vec::new();
    for item in tree["paths"].as_object().into_iter().flatten() {
        for operation in item.1.as_object().into_iter().flatten() {
            references(&operation.1["requestBody"], &mut wanted);
        }
    }
    let mut found = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        if found.insert(name.clone()) {
            references(&tree["components"]["schemas"][&name], &mut wanted);
        }
    }
    found
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            let name = object.get("$ref").and_then(Value::as_str);
            found.extend(
                name.and_then(|name| name.rsplit('/').next())
                    .map(str::to_owned),
            );
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// Calls `each` for every property below `schema`, with its name.
fn visit(schema: &mut Value, each: &mut impl FnMut(&str, &mut Value)) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                if key == "properties" {
                    for (name, field) in members(value) {
                        each(name, field);
                    }
                }
                visit(value, each);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| visit(item, each)),
        _ => {}
    }
}

/// A text is bounded in its characters, a number in its value, a list and a map in what it holds.
fn constrain(name: &str, field: &mut Value) {
    let Some(known) = known(name, field) else {
        return;
    };
    let mut target = field;
    while let Some(below) = below(target) {
        target = &mut target[below];
    }
    let (lower, upper) = match known.bounds {
        Words(_) if target["enum"].is_array() => return,
        Words(words) => {
            let null = is(target, "null").then_some(Value::Null);
            let words = words.iter().map(|word| json!(word));
            target["enum"] = words.chain(null).collect();
            return;
        }
        Flag => return,
        Text(least, most) => (("minLength", least), ("maxLength", most)),
        Number(least, most) => (("minimum", least), ("maximum", most)),
    };
    for (name, value) in [lower, upper] {
        target[name] = json!(value);
    }
}

/// What the table says about a field of this name and type.
fn known(name: &str, field: &Value) -> Option<&'static Field> {
    let mut target = field;
    while let Some(below) = below(target) {
        target = &target[below];
    }
    let kind = |known: &Field| match known.bounds {
        Text(..) | Words(_) => "string",
        Number(..) => "integer",
        Flag => "boolean",
    };
    let mut fields = FIELDS.iter().filter(|known| known.name == name);
    fields.find(|known| is(target, kind(known)))
}

/// Where it is said what a list or a map holds.
fn below(field: &Value) -> Option<&'static str> {
    let places = ["items", "additionalProperties"];
    places.into_iter().find(|place| field[place].is_object())
}

fn is(field: &Value, kind: &str) -> bool {
    match &field["type"] {
        Value::String(one) => one == kind,
        Value::Array(kinds) => kinds.iter().any(|one| one == kind),
        _ => false,
    }
}

/// An example for every body that a request may have.
fn describe_requests(tree: &mut Value) {
    let schemas = tree["components"]["schemas"].clone();
    for (_, item) in members(&mut tree["paths"]) {
        for (_, operation) in members(item) {
            let media = operation.pointer_mut("/requestBody/content/application~1json");
            if let Some(media) = media {
                media["example"] = example(&media["schema"], &schemas);
            }
        }
    }
}

/// An object of the required fields, or of all with an example where none is required; the first of several forms.
fn example(schema: &Value, schemas: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap_or_default();
        let mut made = example(&schemas[name], schemas);
        for (schema, field, value) in OTHERWISE {
            if schema == name {
                made[field] = json!(value);
            }
        }
        return made;
    }
    if let Some(first) = schema["oneOf"].get(0) {
        return example(first, schemas);
    }
    let empty = Map::new();
    let fields = schema["properties"].as_object().unwrap_or(&empty);
    let required = schema["required"].as_array();
    let wanted = |name: &&String| match required {
        Some(required) if !required.is_empty() => {
            required.iter().any(|one| one == *name) || ALSO.contains(&name.as_str())
        }
        _ => true,
    };
    let of = |name: &String| {
        let field = &fields[name];
        // A client has the one or the other, by its kind; so does a user.
        if name == "scopes" && fields.contains_key("addresses") || name == "password_hash" {
            return None;
        }
        if let Some(word) = field["enum"].get(0).filter(|_| name == "kind") {
            return Some(word.clone());
        }
        if name == "rows" {
            return Some(json!([example(&field["items"], schemas)]));
        }
        let known = known(name, field)?;
        let text = json!(known.example);
        Some(match below(field) {
            Some("items") => json!([text]),
            None if is(field, "string") => text,
            _ => serde_json::from_str(known.example).unwrap_or(text),
        })
    };
    let fields = fields.keys().filter(wanted);
    let fields = fields.filter_map(|name| Some((name.clone(), of(name)?)));
    Value::Object(fields.collect())
}

/// What every route that reads a body, or names a record in its path, may answer about that.
fn describe_failures(path: &str, operation: &mut Value) {
    let most = if path == "/v1/admin/import" {
        "The body is longer than 1 MiB"
    } else {
        "The body is longer than 16 KiB"
    };
    let body = operation["requestBody"].is_object();
    let names = path.contains('{');
    let failures = [
        (body, "408", "The body did not arrive in time"),
        (body, "413", most),
        (body, "415", "The body is not JSON by its own account"),
        (names, "404", "There is no such record"),
    ];
    operation["responses"]["431"] = json!({ "description": LONG_HEAD });
    for (applies, status, description) in failures {
        let responses = &mut operation["responses"];
        if applies && responses[status].is_null() {
            responses[status] = json!({
                "description": description,
                "content": { "application/problem+json": {
                    "schema": { "$ref": "#/components/schemas/Problem" },
                } },
            });
        }
    }
}

fn members(value: &mut Value) -> impl Iterator<Item = (&str, &mut Value)> {
    let members = value.as_object_mut().into_iter().flatten();
    members.map(|(name, value)| (name.as_str(), value))
}

/// Fields of examples that are not required, but show what a request is for.
const ALSO: [&str; 7] = [
    "new_pin",
    "otp",
    "kind",
    "groups",
    "addresses",
    "scopes",
    "factor",
];

/// Fields whose example differs in one schema.
const OTHERWISE: [(&str, &str, &str); 3] = [
    ("InboundMessage", "from", "+821012345678"),
    ("Revoke", "reason", "lost"),
    ("TryGateway", "to", "+82 10-1234-5678"),
];

const IDEMPOTENCY: &str = "Makes a retry return the first answer without consuming again; an accept \
only while all that it rested on is as it was";
const PREFER: &str =
    "`status`: the decision is in the status, and `Preference-Applied: status` says so";
const LICENSE: &str = "MIT OR Apache-2.0";
const DESCRIPTION: &str = "Is this the person, this once? Failures are problem documents (RFC 9457); a head that \
HTTP does not allow, or that is too long, is 400 or 431 without one. \
The head of a request has at most 32 KiB and 100 headers, its body 16 KiB (an import 1 MiB) and 16 levels.";
const LONG_HEAD: &str =
    "The head is longer than 32 KiB, or has more than 100 headers; mostly without a document";
const SIGNATURE: &str = "HTTP Message Signature (RFC 9421) by the device's key over @method, @path, @query and \
content-digest (RFC 9530), with created, nonce and the key's thumbprint (RFC 7638) as keyid";
