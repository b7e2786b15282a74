//! Users and groups in the form of SCIM (RFC 7643).

use serde_json::{Map, Value, json};

use crate::core::directory::Person;
use crate::model::group::SourceGroup;
use crate::model::user::User;
use crate::model::user_key::UserKey;
use crate::server::http::scim::error::ScimError;
use crate::server::http::scim::listed::get;

pub(super) const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(super) const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// A user as a resource, below this address of the server.
pub(super) fn user(
    user: &User,
    groups: &[SourceGroup],
    (realm, base): (&str, &str),
) -> Map<String, Value> {
    let follows = user.directory.as_ref();
    let id = follows.map(|one| one.id.as_str()).unwrap_or_default();
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| {
        if !value.is_null() {
            fields.insert(name.to_owned(), value);
        }
    };
    set("schemas", json!([USER]));
    set("id", json!(id));
    set(
        "externalId",
        json!(follows.and_then(|one| one.external.as_ref())),
    );
    set("userName", json!(user_name(&user.key, realm)));
    set("displayName", json!(user.display_name));
    set("active", json!(!user.disabled));
    if let Some(name) = &user.display_name {
        set("name", json!({ "formatted": name }));
    }
    if let Some(mail) = &user.email {
        set(
            "emails",
            json!([{ "value": mail, "type": "work", "primary": true }]),
        );
    }
    if let Some(phone) = &user.phone {
        set(
            "phoneNumbers",
            json!([{ "value": phone, "type": "mobile" }]),
        );
    }
    let of = groups
        .iter()
        .filter(|group| user.groups.contains(&group.name));
    let of: Vec<Value> = of
        .map(|group| json!({ "value": group.id, "display": group.name }))
        .collect();
    set("groups", json!(of));
    set(
        "meta",
        json!({
            "resourceType": "User",
            "created": user.created.rfc3339(),
            "lastModified": user.modified.rfc3339(),
            "location": format!("{base}/scim/v2/Users/{id}"),
        }),
    );
    fields
}

/// The name as the provider has it: with its domain, or without the realm of the source where that is no domain.
fn user_name(user: &UserKey, realm: &str) -> String {
    if user.realm() == realm && !realm.contains('.') {
        user.name().to_owned()
    } else {
        user.joined()
    }
}

/// A group as a resource, below this address of the server, with these members if any are asked for: names and
/// identities.
pub(super) fn group(
    group: &SourceGroup,
    members: Option<&[(UserKey, String)]>,
    (realm, base): (&str, &str),
) -> Map<String, Value> {
    let member = |(user, id): &(UserKey, String)| json!({ "value": id, "display": user_name(user, realm), "type": "User" });
    let members = members.map(|all| all.iter().map(member).collect::<Vec<Value>>());
    let mut fields = Map::new();
    for (name, value) in [
        ("schemas", json!([GROUP])),
        ("id", json!(group.id)),
        ("externalId", json!(group.external)),
        ("displayName", json!(group.name)),
        ("members", json!(members)),
        (
            "meta",
            json!({
                "resourceType": "Group",
                "created": group.created.rfc3339(),
                "lastModified": group.modified.rfc3339(),
                "location": format!("{base}/scim/v2/Groups/{}", group.id),
            }),
        ),
    ] {
        if !value.is_null() {
            fields.insert(name.to_owned(), value);
        }
    }
    fields
}

fn text(resource: &Value, name: &str) -> Result<Option<String>, ScimError> {
    match get(resource, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim().to_owned())),
        Some(_) => Err(ScimError::of(
            400,
            "invalidValue",
            format!("`{name}` is a text"),
        )),
    }
}

/// What a resource says of a person.
pub(super) fn person(resource: &Value, id: &str) -> Result<Person, ScimError> {
    let login = text(resource, "userName")?;
    let login = login.ok_or_else(|| ScimError::of(400, "invalidValue", "`userName` is missing"))?;
    let mut display_name = text(resource, "displayName")?;
    if let Some(name) = get(resource, "name").filter(|_| display_name.is_none()) {
        display_name = text(name, "formatted")?;
        if display_name.is_none() {
            let parts = [text(name, "givenName")?, text(name, "familyName")?];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            display_name = Some(parts.join(" ")).filter(|name| !name.is_empty());
        }
    }
    Ok(Person {
        id: id.to_owned(),
        login,
        external: text(resource, "externalId")?,
        display_name,
        phone: of_kind(resource, "phoneNumbers", &["mobile", "work"]),
        email: of_kind(resource, "emails", &["work"]),
        groups: Vec::new(),
        aliases: Vec::new(),
        disabled: !flag(resource, "active")?.unwrap_or(true),
    })
}

/// A flag; Entra writes them as texts, too.
fn flag(resource: &Value, name: &str) -> Result<Option<bool>, ScimError> {
    match get(resource, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(_) => Err(ScimError::of(
            400,
            "invalidValue",
            format!("`{name}` is true or false"),
        )),
    }
}

/// The address of the first of these kinds, else the primary one, else the first without a kind.
fn of_kind(resource: &Value, name: &str, kinds: &[&str]) -> Option<String> {
    let all = get(resource, name)?.as_array()?;
    let value = |one: &Value| get(one, "value").and_then(Value::as_str).map(str::to_owned);
    let kind = |one: &Value| {
        get(one, "type")
            .and_then(Value::as_str)
            .map(str::to_lowercase)
    };
    let mut wanted = kinds.iter().filter_map(|wanted| {
        let mut fits = all
            .iter()
            .filter(|one| kind(one).as_deref() == Some(*wanted));
        fits.find_map(value)
    });
    let primary = || {
        let primary = |one: &&Value| get(one, "primary") == Some(&Value::Bool(true));
        all.iter().find(primary).and_then(value)
    };
    let plain = || all.iter().filter(|one| kind(one).is_none()).find_map(value);
    let found = wanted.next().or_else(primary).or_else(plain);
    found.filter(|text| !text.trim().is_empty())
}

/// Most members of a request that names all of them.
const MEMBERS: usize = 10_000;

/// Refuses a group with too many members.
pub(super) fn few_members(resource: &Value) -> Result<(), ScimError> {
    let listed = get(resource, "members").and_then(Value::as_array);
    if listed.is_some_and(|listed| listed.len() > MEMBERS) {
        let detail = "a group is sent with at most 10000 members: add more by PATCH";
        return Err(ScimError::of(400, "invalidValue", detail));
    }
    Ok(())
}

/// What a resource says of a group: name, the provider's id, and the members' ids.
pub(super) fn group_of(
    resource: &Value,
) -> Result<(String, Option<String>, Vec<String>), ScimError> {
    let name = text(resource, "displayName")?;
    let name =
        name.ok_or_else(|| ScimError::of(400, "invalidValue", "`displayName` is missing"))?;
    let mut members = Vec::new();
    let listed = match get(resource, "members") {
        None | Some(Value::Null) => [].as_slice(),
        Some(Value::Array(listed)) => listed,
        Some(_) => {
            return Err(ScimError::of(400, "invalidValue", "`members` is a list"));
        }
    };
    for member in listed {
        let id = get(member, "value").and_then(Value::as_str);
        let id = id.ok_or_else(|| ScimError::of(400, "invalidValue", "a member has no `value`"))?;
        members.push(id.to_owned());
    }
    Ok((name, text(resource, "externalId")?, members))
}
