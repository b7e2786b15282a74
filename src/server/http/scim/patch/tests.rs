//! Operations of providers, and how much they may ask for.

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
    let mobile =
        json!({"phoneNumbers": [{"type": "mobile", "value": "1"}, {"type": "work", "value": "2"}]});
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

/// What paths cost does not grow with the square of a request.
#[test]
fn few_paths_into_long_lists_are_followed() {
    let refusal = |resource: &Value, operations: &Value| {
        let mut resource = resource.as_object().unwrap().clone();
        let request = json!({ "Operations": operations });
        match apply(&mut resource, &request) {
            Ok(()) => Ok(resource),
            Err(ScimError::Own { status, kind, .. }) => Err((status, kind)),
            Err(other) => panic!("{other:?}"),
        }
    };
    let too_many = Err((400, "tooMany"));
    let paths = |count: usize| {
        let path = |number: usize| (format!("emails[type eq \"a{number}\"].value"), json!("x"));
        let fields: Map<String, Value> = (0..count).map(path).collect();
        json!([{"op": "add", "value": fields}])
    };
    let made = refusal(&json!({}), &paths(400)).unwrap();
    assert_eq!(made["emails"].as_array().map(Vec::len), Some(400));
    assert_eq!(refusal(&json!({}), &paths(401)), too_many);
    // A long value in each of many elements.
    let list = |count: usize| json!({"emails": vec![json!({"type": "a"}); count]});
    for path in [
        "emails.value",
        "emails[type eq \"a\"].value",
        "emails[type eq \"A\"]",
    ] {
        let set = json!([{"op": "replace", "path": path, "value": {"value": "x"}}]);
        assert!(refusal(&list(50), &set).is_ok(), "{path}");
        assert_eq!(refusal(&list(51), &set), too_many, "{path}");
    }
    let remove = json!([{"op": "remove", "path": "emails[type eq \"A\"]"}]);
    let left = refusal(&list(1000), &remove).unwrap();
    assert_eq!(left["emails"], json!([]));
    // Members go one by one, from a group that is larger than any list of a user.
    let member = |number: usize| {
        let field = |field: usize| (format!("f{field}"), json!(1));
        let mut fields: Map<String, Value> = (0..100).map(field).collect();
        fields.insert("value".to_owned(), json!(number.to_string()));
        Value::Object(fields)
    };
    let group = json!({ "members": (0..3000).map(member).collect::<Vec<_>>() });
    let go = |count: usize| {
        let one = |number: usize| {
            let path = format!("members[value eq \"{number}\"]");
            json!({"op": "remove", "path": path})
        };
        Value::Array((0..count).map(one).collect())
    };
    let left = refusal(&group, &go(200)).unwrap();
    assert_eq!(left["members"].as_array().map(Vec::len), Some(2800));
    // What they are not known by is looked for in all of them each time.
    let other = json!({"op": "remove", "path": "members[f7 eq 2]"});
    assert_eq!(refusal(&group, &json!(vec![other; 200])), too_many);
}

/// A provider that changes a large group sends its members one by one, and no fewer after a refusal.
#[test]
fn members_go_and_come_one_by_one_in_a_large_group() {
    const MEMBERS: usize = 100_000;
    let members =
        (0..MEMBERS).map(|number| json!({"value": format!("ID{number}"), "display": "x"}));
    let mut group = Map::new();
    group.insert("members".to_owned(), members.collect());
    let operations = (0..200).map(|number| match number % 4 {
        0 => json!({"op": "remove", "path": format!("members[value eq \"id{number}\"]")}),
        1 => {
            json!({"op": "remove", "path": "members", "value": [{"value": format!("id{number}")}]})
        }
        2 => json!({"op": "add", "path": "members", "value": [{"value": format!("new{number}")}]}),
        _ => json!({"op": "replace", "path": "displayName", "value": format!("{number}")}),
    });
    let request = json!({ "Operations": operations.collect::<Vec<_>>() });
    apply(&mut group, &request).unwrap();
    let members = group["members"].as_array().unwrap();
    assert_eq!(members.len(), MEMBERS - 100 + 50);
    assert_eq!(members[0]["value"], "ID2");
    assert_eq!(members[members.len() - 1]["value"], "new198");
    assert_eq!(group["displayName"], "199");
}

/// Operations on one list see what those before them did, however each finds its elements.
#[test]
fn operations_follow_each_other() {
    let resource = json!({"members": [{"value": "1"}, {"value": 1}, {"value": "A", "type": "x"}]});
    let mut resource = resource.as_object().unwrap().clone();
    let request = json!({"Operations": [
        {"op": "add", "path": "members", "value": [{"value": "2"}, {"value": "2"}]},
        {"op": "remove", "path": "members[value eq 1]"},
        {"op": "replace", "path": "members[value eq \"2\"].type", "value": "y"},
        {"op": "remove", "path": "Members[VALUE eq \"a\"].value"},
        {"op": "add", "path": "members", "value": {"value": "3"}},
        {"op": "remove", "path": "members[type eq \"y\"]"},
        {"op": "add", "path": "members", "value": [{"value": "1", "type": "z"}]},
    ]});
    apply(&mut resource, &request).unwrap();
    let left = json!([{"value": "3"}, {"value": "1", "type": "z"}]);
    assert_eq!(resource["members"], left);
    // Nothing is lost where one of them is refused.
    let request = json!({"Operations": [
        {"op": "remove", "path": "members[value eq \"3\"]"},
        {"op": "add", "path": "", "value": "x"},
    ]});
    assert!(apply(&mut resource, &request).is_err());
    assert_eq!(resource["members"].as_array().map(Vec::len), Some(1));
}

#[test]
fn texts_are_compared_without_case() {
    let same = |one: &str, other: &str| same(&json!(one), &json!(other));
    assert!(same("Work", "wORK") && same("", "") && same("\u{c4}", "\u{e4}"));
    // The sign of Kelvin has three octets, its small letter one.
    assert!(same("\u{212a}", "k") && same("k", "\u{212a}"));
    assert!(!same("a", "b") && !same("\u{c4}", "a") && !same("a", "aaaaaaaaaa"));
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
