//! `PATCH` of a SCIM resource (RFC 7644 s3.5.2), as Entra and Okta write it too.
//!
//! Theirs: operations in any case; no path and an object whose keys are paths; `members` to be removed named by the
//! value; a filter that nothing fits makes the element.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::server::http::scim::error::ScimError;

/// Applies the operations of a request to a resource.
pub(super) fn apply(resource: &mut Map<String, Value>, request: &Value) -> Result<(), ScimError> {
    let operations = get(request, "Operations").and_then(Value::as_array);
    let operations = operations.ok_or_else(|| ScimError::syntax("`Operations` is missing"))?;
    if operations.len() > OPERATIONS {
        return Err(ScimError::syntax("more than 200 operations"));
    }
    for operation in operations {
        let word = get(operation, "op")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let action = match word.to_ascii_lowercase().as_str() {
            "add" => Action::Add,
            "replace" => Action::Replace,
            "remove" => Action::Remove,
            _ => return Err(ScimError::syntax("`op` is add, replace or remove")),
        };
        let path = get(operation, "path").and_then(Value::as_str);
        let value = get(operation, "value").unwrap_or(&Value::Null);
        match (path, value) {
            (Some(path), value) => one(resource, action, path, value)?,
            (None, _) if action == Action::Remove => {
                return Err(ScimError::of(400, "noTarget", "`remove` needs a path"));
            }
            (None, Value::Object(fields)) => {
                for (path, value) in fields {
                    one(resource, action, path, value)?;
                }
            }
            (None, _) => return Err(ScimError::syntax("without a path `value` is an object")),
        }
    }
    Ok(())
}

/// A member of an object, whose names have no case (RFC 7643 s2.1).
pub(super) fn get<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    let mut fields = object.as_object()?.iter();
    let found = fields.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Action {
    Add,
    Replace,
    Remove,
}

/// `attribute`, `attribute.sub`, `attribute[name eq value]`, `attribute[name eq value].sub`.
struct Path<'p> {
    attribute: &'p str,
    fits: Option<(&'p str, Value)>,
    sub: Option<&'p str>,
}

impl<'p> Path<'p> {
    fn parse(text: &'p str) -> Result<Self, ScimError> {
        let bad = || ScimError::of(400, "invalidPath", "the path names no attribute");
        let end = text.find(['[', '.']).unwrap_or(text.len());
        let (attribute, mut rest) = text.split_at_checked(end).ok_or_else(bad)?;
        let mut fits = None;
        if let Some(inner) = rest.strip_prefix('[') {
            let (filter, after) = inner.split_once(']').ok_or_else(bad)?;
            fits = Some(equals(filter)?);
            rest = after;
        }
        let sub = match rest.strip_prefix('.') {
            Some(sub) if !sub.is_empty() => Some(sub),
            None if rest.is_empty() => None,
            Some(_) | None => return Err(bad()),
        };
        if attribute.is_empty() {
            return Err(bad());
        }
        Ok(Self {
            attribute,
            fits,
            sub,
        })
    }
}

/// `name eq value`: the one comparison that is understood.
pub(super) fn equals(filter: &str) -> Result<(&str, Value), ScimError> {
    let bad = || ScimError::of(400, "invalidFilter", "write `attribute eq \"value\"`");
    let (name, rest) = filter.trim().split_once(' ').ok_or_else(bad)?;
    let (word, value) = rest.trim_start().split_once(' ').ok_or_else(bad)?;
    if !word.eq_ignore_ascii_case("eq") {
        return Err(bad());
    }
    let value: Value = serde_json::from_str(value.trim()).map_err(|_| bad())?;
    if value.is_array() || value.is_object() {
        return Err(bad());
    }
    Ok((name, value))
}

/// Whether two values are the same; texts without case, for no attribute here has one.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => one.to_lowercase() == other.to_lowercase(),
        _ => one == other,
    }
}

fn one(
    resource: &mut Map<String, Value>,
    action: Action,
    path: &str,
    value: &Value,
) -> Result<(), ScimError> {
    let own = CORE.iter().find_map(|urn| {
        let start = path.get(..urn.len())?;
        start
            .eq_ignore_ascii_case(urn)
            .then(|| path.get(urn.len()..))?
    });
    let path = own.unwrap_or(path);
    if path
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("urn:"))
    {
        // An extension: nothing of it is kept.
        return Ok(());
    }
    let path = Path::parse(path)?;
    let known = resource
        .keys()
        .find(|key| key.eq_ignore_ascii_case(path.attribute));
    let name = known.cloned().unwrap_or_else(|| path.attribute.to_owned());
    match (&path.fits, path.sub) {
        (None, None) => whole(resource, name, action, value),
        (None, Some(sub)) => {
            let place = resource
                .entry(name)
                .or_insert_with(|| Value::Object(Map::new()));
            match place {
                Value::Array(elements) => elements
                    .iter_mut()
                    .for_each(|one| set(one, sub, action, value)),
                place => {
                    if !place.is_object() {
                        *place = Value::Object(Map::new());
                    }
                    set(place, sub, action, value);
                }
            }
        }
        (Some(fits), sub) => {
            let place = resource
                .entry(name)
                .or_insert_with(|| Value::Array(Vec::new()));
            if !place.is_array() {
                *place = Value::Array(Vec::new());
            }
            if let Value::Array(elements) = place {
                element(elements, fits, (sub, action), value);
            }
        }
    }
    Ok(())
}

/// What an element of a list is known by: its value, without case, or all of it.
fn mark(element: &Value) -> String {
    match get(element, "value") {
        Some(Value::String(text)) => text.to_lowercase(),
        Some(other) => other.to_string(),
        None => element.to_string(),
    }
}

/// A whole attribute.
fn whole(resource: &mut Map<String, Value>, name: String, action: Action, value: &Value) {
    match (action, resource.get_mut(&name), value) {
        (Action::Remove, Some(Value::Array(elements)), Value::Array(named)) => {
            let named: HashSet<String> = named.iter().map(mark).collect();
            elements.retain(|one| !named.contains(&mark(one)));
        }
        (Action::Remove, ..) => {
            resource.remove(&name);
        }
        (Action::Add, Some(Value::Array(elements)), value) => {
            let added = value
                .as_array()
                .map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
            let marks: HashSet<String> = added.iter().map(mark).collect();
            elements.retain(|one| !marks.contains(&mark(one)));
            elements.extend(added.iter().cloned());
        }
        (_, Some(Value::Object(fields)), Value::Object(new)) => {
            fields.extend(new.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        _ => {
            resource.insert(name, value.clone());
        }
    }
}

/// A part of an attribute.
fn set(place: &mut Value, sub: &str, action: Action, value: &Value) {
    let Some(fields) = place.as_object_mut() else {
        return;
    };
    let known = fields.keys().find(|key| key.eq_ignore_ascii_case(sub));
    let name = known.cloned().unwrap_or_else(|| sub.to_owned());
    if action == Action::Remove {
        fields.remove(&name);
    } else {
        fields.insert(name, value.clone());
    }
}

/// The elements of a list that fit; where none does, a new one.
fn element(
    elements: &mut Vec<Value>,
    (name, wanted): &(&str, Value),
    (sub, action): (Option<&str>, Action),
    value: &Value,
) {
    let fits = |one: &Value| get(one, name).is_some_and(|found| same(found, wanted));
    // An address without its value is none.
    if action == Action::Remove && sub.is_none_or(|sub| sub.eq_ignore_ascii_case("value")) {
        elements.retain(|one| !fits(one));
        return;
    }
    if !elements.iter().any(fits) {
        if action == Action::Remove {
            return;
        }
        let mut new = Map::new();
        new.insert((*name).to_owned(), wanted.clone());
        elements.push(Value::Object(new));
    }
    for one in elements.iter_mut().filter(|one| fits(one)) {
        match (sub, value, one.as_object_mut()) {
            (Some(sub), ..) => set(one, sub, action, value),
            (None, Value::Object(new), Some(fields)) => {
                fields.extend(new.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            _ => {}
        }
    }
}

/// Before attributes of the resource itself.
const CORE: [&str; 2] = [
    "urn:ietf:params:scim:schemas:core:2.0:User:",
    "urn:ietf:params:scim:schemas:core:2.0:Group:",
];
/// Most operations of a request.
const OPERATIONS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(resource: &Value, operation: &Value) -> Value {
        let mut resource = resource.as_object().unwrap().clone();
        let request = json!({ "Operations": [operation] });
        apply(&mut resource, &request).unwrap();
        Value::Object(resource)
    }

    #[test]
    fn operations_of_entra_and_okta_are_understood() {
        let mobile = json!({"phoneNumbers": [{"type": "mobile", "value": "1"}, {"type": "work", "value": "2"}]});
        for (before, operation, after) in [
            (
                json!({"active": true}),
                json!({"op": "Replace", "path": "active", "value": "False"}),
                json!({"active": "False"}),
            ),
            (
                json!({"active": true}),
                json!({"op": "replace", "value": {"active": false}}),
                json!({"active": false}),
            ),
            (
                json!({}),
                json!({"op": "Add", "value": {"name.givenName": "Anna"}}),
                json!({"name": {"givenName": "Anna"}}),
            ),
            (
                json!({}),
                json!({"op": "Add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", "value": "Dev"}),
                json!({}),
            ),
            (
                json!({}),
                json!({"op": "Add", "path": "urn:ietf:params:scim:schemas:core:2.0:User:displayName", "value": "A"}),
                json!({"displayName": "A"}),
            ),
            (
                mobile.clone(),
                json!({"op": "Add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "3"}),
                json!({"phoneNumbers": [{"type": "mobile", "value": "3"}, {"type": "work", "value": "2"}]}),
            ),
            (
                mobile.clone(),
                json!({"op": "remove", "path": "phoneNumbers[type eq \"mobile\"].value"}),
                json!({"phoneNumbers": [{"type": "work", "value": "2"}]}),
            ),
            (
                json!({}),
                json!({"op": "Replace", "path": "emails[type eq \"work\"].value", "value": "a@b"}),
                json!({"emails": [{"type": "work", "value": "a@b"}]}),
            ),
            (
                json!({"members": [{"value": "1"}]}),
                json!({"op": "Add", "path": "members", "value": [{"value": "2"}, {"value": "1"}]}),
                json!({"members": [{"value": "2"}, {"value": "1"}]}),
            ),
            (
                json!({"members": [{"value": "1"}, {"value": "2"}]}),
                json!({"op": "Remove", "path": "members", "value": [{"value": "2"}]}),
                json!({"members": [{"value": "1"}]}),
            ),
            (
                json!({"members": [{"value": "1"}, {"value": "2"}]}),
                json!({"op": "remove", "path": "members[value eq \"1\"]"}),
                json!({"members": [{"value": "2"}]}),
            ),
            (
                json!({"DisplayName": "x"}),
                json!({"op": "replace", "path": "displayname", "value": "y"}),
                json!({"DisplayName": "y"}),
            ),
        ] {
            assert_eq!(patched(&before, &operation), after, "{operation}");
        }
    }

    #[test]
    fn what_is_no_operation_is_refused() {
        for operation in [
            json!({"op": "move", "path": "active"}),
            json!({"op": "remove"}),
            json!({"op": "add", "value": "x"}),
            json!({"op": "add", "path": "", "value": "x"}),
            json!({"op": "add", "path": "emails[type eq", "value": "x"}),
            json!({"op": "add", "path": "emails[type pr]", "value": "x"}),
            json!({"op": "add", "path": "emails[type eq \"work\"]value", "value": "x"}),
            json!({"op": "add", "path": "name.", "value": "x"}),
            json!(7),
        ] {
            let request = json!({ "Operations": [operation] });
            assert!(apply(&mut Map::new(), &request).is_err(), "{request}");
        }
        assert!(apply(&mut Map::new(), &json!({})).is_err());
    }
}
