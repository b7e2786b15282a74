//! What the server can do, in the form of SCIM (RFC 7643 s5 to s7).

use serde_json::{Value, json};

use crate::server::http::scim::resource;

/// A list with all of it.
pub(super) fn list(all: &[Value]) -> Value {
    json!({
        "schemas": [LIST],
        "totalResults": all.len(),
        "startIndex": 1,
        "itemsPerPage": all.len(),
        "Resources": all,
    })
}

/// RFC 7643 s5, below this address of the server.
pub(super) fn abilities(base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": PAGE },
        "changePassword": { "supported": false },
        "sort": { "supported": false },
        "etag": { "supported": false },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer key",
            "description": "The key of an API client with the scope `scim`",
        }],
        "meta": { "resourceType": "ServiceProviderConfig", "location": format!("{base}/scim/v2/ServiceProviderConfig") },
    })
}

/// RFC 7643 s6.
pub(super) fn types(base: &str) -> [Value; 2] {
    [("User", "/Users", resource::USER), ("Group", "/Groups", resource::GROUP)].map(|(name, endpoint, schema)| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": name,
            "name": name,
            "endpoint": endpoint,
            "schema": schema,
            "meta": { "resourceType": "ResourceType", "location": format!("{base}/scim/v2/ResourceTypes/{name}") },
        })
    })
}

/// RFC 7643 s7, of what is kept.
pub(super) fn schemas(base: &str) -> [Value; 2] {
    let attribute = |name: &str, kind: &str, many: bool, required: bool| {
        json!({
            "name": name, "type": kind, "multiValued": many, "required": required, "caseExact": false,
            "mutability": "readWrite", "returned": "default", "uniqueness": "none",
        })
    };
    let schema = |id: &str, name: &str, attributes: Vec<Value>| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "id": id,
            "name": name,
            "attributes": attributes,
            "meta": { "resourceType": "Schema", "location": format!("{base}/scim/v2/Schemas/{id}") },
        })
    };
    let user = vec![
        attribute("userName", "string", false, true),
        attribute("externalId", "string", false, false),
        attribute("displayName", "string", false, false),
        attribute("active", "boolean", false, false),
        attribute("emails", "complex", true, false),
        attribute("phoneNumbers", "complex", true, false),
    ];
    let group = vec![
        attribute("displayName", "string", false, true),
        attribute("members", "complex", true, false),
    ];
    [
        schema(resource::USER, "User", user),
        schema(resource::GROUP, "Group", group),
    ]
}

pub(super) const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
/// Most resources of a page.
pub(super) const PAGE: i64 = 200;
