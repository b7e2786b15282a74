//! The description of the API, completed: what every route has in common is said here once.
//!
//! A field has one meaning wherever it occurs, so its bounds and its example stand in one table by name
//! ([`FIELDS`]) and not beside each of its occurrences. A request's example is made of those of its
//! fields; `tests/it/faults/d8_description.rs` sends each of them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};

/// Adds what the routes' own declarations leave out: title, credentials, failures that are common to
/// routes with a body or a name in their path, bounds and examples.
pub(super) fn complete(mut document: OpenApi) -> Value {
    "Oncegate".clone_into(&mut document.info.title);
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    document.info.description = Some(DESCRIPTION.to_owned());
    // The generator fills in the author of its own crate.
    document.info.contact = None;
    let components = document.components.get_or_insert_default();
    let key = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let signature = ApiKeyValue::with_description("Signature", SIGNATURE);
    let signature = SecurityScheme::ApiKey(ApiKey::Header(signature));
    for (name, scheme) in [("key", key), ("device", signature)] {
        components
            .security_schemes
            .insert(name.to_owned(), scheme.into());
    }
    document.security = Some(vec![SecurityRequirement::new("key", Vec::<String>::new())]);
    let mut tree = serde_json::to_value(document).expect("a description is JSON");
    bound(&mut tree);
    describe_requests(&mut tree);
    for (path, item) in members(&mut tree["paths"]) {
        for (_, operation) in members(item) {
            describe_failures(path, operation);
        }
    }
    tree
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
        if name == "scopes" && fields.contains_key("addresses") {
            // A client has the one or the other, by its kind.
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
        (true, "431", "The head of the request is longer than 32 KiB"),
    ];
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

/// What a field may be.
enum Bounds {
    /// Characters of a text, at least and at most.
    Text(u64, u64),
    /// A number, from and to.
    Number(u64, u64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// True or false.
    Flag,
}

/// A field of requests, by its name.
struct Field {
    name: &'static str,
    bounds: Bounds,
    /// As JSON, or as it is when that is none.
    example: &'static str,
}

const fn field(name: &'static str, bounds: Bounds, example: &'static str) -> Field {
    Field {
        name,
        bounds,
        example,
    }
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

const DESCRIPTION: &str = "Is this the person, this once? Failures are problem documents (RFC 9457). \
The head of a request has at most 32 KiB and 64 headers, its body 16 KiB (an import 1 MiB) and 16 levels.";
const SIGNATURE: &str = "HTTP Message Signature (RFC 9421) by the device's key over @method, @path, @query and \
content-digest (RFC 9530), with created, nonce and the key's thumbprint (RFC 7638) as keyid";

use Bounds::{Flag, Number, Text, Words};

/// A text of any length that a body allows.
const ANY: Bounds = Text(0, 16_384);
/// A line that is shown again: `check_text` of the administration.
const LINE: Bounds = Text(0, 256);

const STATES: &[&str] = &[
    "requested",
    "approved",
    "pending",
    "active",
    "suspended",
    "revoked",
    "expired",
];

/// Fields of requests and parameters of routes.
const FIELDS: &[Field] = &[
    field("active", Flag, "true"),
    field("action", Text(1, 32), "user_set"),
    field("address", LINE, "+82 10-1234-5678"),
    field("addresses", Text(1, 64), "203.0.113.7/32"),
    field("after", Text(1, 320), "alice@default"),
    field("algorithm", Text(1, 32), "sha1"),
    field("at", Text(20, 40), "2027-01-31T08:00:00Z"),
    field("before", Number(0, i64::MAX as u64), "4711"),
    field("before", Text(20, 40), "2027-01-31T08:00:00Z"),
    field(
        "attributes",
        Text(0, 1024),
        "{\"NAS-Port-Type\":[\"Virtual\"]}",
    ),
    field("birth_date", Text(0, 10), "1990-02-28"),
    field("branch_code", ANY, "7F3K9Q2M"),
    field("by", Words(&["text", "qr", "sms", "email"]), "qr"),
    field("challenge", Flag, "true"),
    field("challenge", Text(1, 128), "AAAAAAAAAAAAAAAA"),
    field("class", LINE, "staff"),
    field("client", Text(1, 64), "vpn"),
    field("client_ip", Text(2, 45), "203.0.113.7"),
    field("code", Text(12, 64), "7F3K-9Q2M-44XZ"),
    field("context", Text(0, 1024), "{\"app\":\"payroll\"}"),
    field("count", Number(1, 10), "10"),
    field("counter", Number(0, i64::MAX as u64), "0"),
    field(
        "decision",
        Words(&["accept", "challenge", "reject"]),
        "reject",
    ),
    field("digits", Number(6, 9), "6"),
    field("disabled", Flag, "false"),
    field("display_name", LINE, "Alice Kim"),
    field("dry_run", Flag, "true"),
    field("email", LINE, "alice@example.com"),
    field("expires", Text(20, 40), "2027-12-31T00:00:00Z"),
    field("factor", Words(&["sms", "email", "voice", "card"]), "sms"),
    field("first", Text(6, 9), "287082"),
    field("for_secs", Number(1, 86_400), "3600"),
    field("from", LINE, "uid 1000"),
    field("grace_secs", Number(0, 31_622_400), "86400"),
    field("group", LINE, "staff"),
    field("groups", Text(1, 256), "staff"),
    field("id", Text(0, 128), "m-4711"),
    field(
        "kind",
        Words(&[
            "totp", "hotp", "server", "sms", "email", "voice", "card", "recovery",
        ]),
        "totp",
    ),
    field("language", Words(&["en", "ko"]), "en"),
    field("limit", Number(1, 1000), "100"),
    field("make", Words(&["users", "tokens"]), "users"),
    field("medium", Words(&["sms", "email", "voice"]), "sms"),
    field("method", Text(1, 32), "pap"),
    field("name", LINE, "vpn"),
    field("nas", LINE, "vpn-1"),
    field("new_password", Text(1, 512), "correct horse battery"),
    field("new_pin", Text(6, 64), "805193"),
    field("on_conflict", Words(&["fail", "skip"]), "skip"),
    field("on_behalf", LINE, "uid 1001"),
    field("otp", ANY, "755224"),
    field("passcode", ANY, "755224"),
    field("password", ANY, "correct horse battery"),
    field("period", Number(15, 300), "30"),
    field("phone", LINE, "+82 10-1234-5678"),
    field("pin", ANY, "805193"),
    field("policy", Text(0, 64), "default"),
    field("profile", Text(1, 64), "generic"),
    field(
        "public_key",
        Text(1, 4096),
        "MCowBQYDK2VwAyEA11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    ),
    field("realm", Text(0, 253), "default"),
    field("force", Flag, "false"),
    field("request", Flag, "false"),
    field("request", Text(26, 26), "01M85HXTB4DGFEQJ4KE7067NRK"),
    field("request_id", Text(26, 26), "01M85HXTB4DGFEQJ4KE7067NRK"),
    field("reason", LINE, "the telephone was lost"),
    field("remote_issue", Flag, "true"),
    field("replaces", Text(1, 40), "TOTP-7F3K9Q2M"),
    field(
        "require_message_authenticator",
        Words(&["true", "false", "auto"]),
        "true",
    ),
    field(
        "scopes",
        Words(&["verify", "admin", "operator", "approver", "auditor"]),
        "verify",
    ),
    field("search", Text(1, 256), "kim"),
    field("second", Text(6, 9), "359152"),
    field("secret", Text(0, 512), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
    field("seq", Number(1, i64::MAX as u64), "4711"),
    field("serial", Text(1, 40), "TOTP-7F3K9Q2M"),
    field("server_url", Text(1, 512), "https://otp.example.com"),
    field("since", Text(20, 40), "2027-01-01T00:00:00Z"),
    field("sms", ANY, "755224"),
    field("state", Words(STATES), "active"),
    field("status", Words(&["1", "0"]), "1"),
    field("text", ANY, "48"),
    field("to", LINE, "uid 1001"),
    field("until", Text(20, 40), "2027-01-31T08:00:00Z"),
    field("user", Text(1, 253), "alice"),
    field("uv", Words(&["bio", "pin", "none"]), "pin"),
    field("valid_for_secs", Number(86_400, 315_360_000), "31536000"),
    field("voice", ANY, "755224"),
    field("way", Words(&["code", "inbound"]), "code"),
];
