//! `PATCH` of a SCIM resource (RFC 7644 s3.5.2), as Entra and Okta write it too.
//!
//! Theirs: operations in any case; no path and an object whose keys are paths; `members` to be removed named by the
//! value; a filter that nothing fits makes the element.

use serde_json::{Map, Value};

use crate::server::http::scim::error::ScimError;
use crate::server::http::scim::listed::{Listed, get, key, mark};

/// Applies the operations of a request to a resource.
pub(super) fn apply(resource: &mut Map<String, Value>, request: &Value) -> Result<(), ScimError> {
    let operations = get(request, "Operations").and_then(Value::as_array);
    let operations = operations.ok_or_else(|| ScimError::syntax("`Operations` is missing"))?;
    if operations.len() > OPERATIONS {
        return Err(ScimError::syntax("more than 200 operations"));
    }
    let mut patch = Patch {
        resource,
        listed: None,
        budget: Budget::default(),
    };
    let done = patch.all(operations);
    patch.put_back();
    done
}

/// A resource that is changed.
struct Patch<'r> {
    resource: &'r mut Map<String, Value>,
    /// The list that the last operations added to or removed from; an empty one stands in its place.
    listed: Option<Listed>,
    budget: Budget,
}

impl Listed {
    /// Adds what is named, in the place of elements of the same mark; or removes it.
    fn change(&mut self, (action, path): (Action, &Path<'_>), value: &Value) {
        if let Some((field, wanted)) = &path.fits {
            let fits = |one: &Value| get(one, field).is_some_and(|found| same(found, wanted));
            self.remove(&key(wanted), fits);
            return;
        }
        let named = value
            .as_array()
            .map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
        for one in named {
            self.remove(&mark(one), |_| true);
        }
        if action == Action::Add {
            named.iter().for_each(|one| self.push(one.clone()));
        }
    }
}

impl Patch<'_> {
    /// The list at hand back into the resource.
    fn put_back(&mut self) {
        if let Some(listed) = self.listed.take() {
            let (name, elements) = listed.into_parts();
            self.resource.insert(name, Value::Array(elements));
        }
    }

    /// Has a list at hand; none where the attribute is no list.
    fn list(&mut self, name: &str) -> Result<Option<&mut Listed>, ScimError> {
        let at_hand = self.listed.as_ref().is_some_and(|one| one.name() == name);
        if at_hand {
            self.budget.spend(None)?;
            return Ok(self.listed.as_mut());
        }
        let list = self.resource.get(name);
        if !list.is_some_and(Value::is_array) {
            return Ok(None);
        }
        self.budget.spend(list)?;
        self.put_back();
        if let Some(Value::Array(elements)) = self.resource.get_mut(name) {
            let elements = std::mem::take(elements);
            self.listed = Some(Listed::new(name.to_owned(), elements));
        }
        Ok(self.listed.as_mut())
    }

    fn all(&mut self, operations: &[Value]) -> Result<(), ScimError> {
        for operation in operations {
            self.operation(operation)?;
        }
        Ok(())
    }

    fn operation(&mut self, operation: &Value) -> Result<(), ScimError> {
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
            (Some(path), value) => self.one((action, path), value)?,
            (None, _) if action == Action::Remove => {
                return Err(ScimError::of(400, "noTarget", "`remove` needs a path"));
            }
            (None, Value::Object(fields)) => {
                for (path, value) in fields {
                    self.one((action, path), value)?;
                }
            }
            (None, _) => return Err(ScimError::syntax("without a path `value` is an object")),
        }
        Ok(())
    }

    fn one(&mut self, (action, path): (Action, &str), value: &Value) -> Result<(), ScimError> {
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
        let mut known = self.resource.keys();
        let known = known.find(|key| key.eq_ignore_ascii_case(path.attribute));
        let name = known.cloned().unwrap_or_else(|| path.attribute.to_owned());
        if path.names_elements(action, value)
            && let Some(listed) = self.list(&name)?
        {
            listed.change((action, &path), value);
            return Ok(());
        }
        if self.listed.as_ref().is_some_and(|one| one.name() == name) {
            self.put_back();
        }
        self.budget.spend(self.resource.get(&name))?;
        one(self.resource, name, (action, &path), value)
    }
}

/// What a request may ask for yet.
///
/// Threat: a path is looked for in the whole of a list, and a value is copied to all that it finds there: paths times
/// elements would be what a request costs. Elements that are named by their values are found at once ([`Listed`]).
struct Budget {
    paths: usize,
    /// Elements of lists, and fields of them, that are looked at.
    looks: usize,
}

impl Default for Budget {
    fn default() -> Self {
        let (paths, looks) = (PATHS, LOOKS);
        Self { paths, looks }
    }
}

impl Budget {
    /// One path into a value.
    fn spend(&mut self, into: Option<&Value>) -> Result<(), ScimError> {
        let fields = |value: &Value| 1 + value.as_object().map_or(0, Map::len);
        let looks = match into {
            Some(Value::Array(elements)) => elements.iter().map(fields).sum(),
            Some(value) => fields(value),
            None => 1,
        };
        let paths = self.paths.checked_sub(1);
        let left = paths.zip(self.looks.checked_sub(looks));
        let (paths, looks) = left.ok_or_else(|| {
            too_many("too many paths, for the lists that they lead into: send fewer at a time")
        })?;
        *self = Self { paths, looks };
        Ok(())
    }
}

fn too_many(detail: &'static str) -> ScimError {
    ScimError::of(400, "tooMany", detail)
}

/// Refuses to set a value in so many elements of a list.
fn few(elements: usize, action: Action) -> Result<(), ScimError> {
    if elements > COPIES && action != Action::Remove {
        return Err(too_many(
            "the path leads to more than 50 elements: name them one by one",
        ));
    }
    Ok(())
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

    /// Whether, in a list, it names elements by what they are known by, to be added or removed whole.
    fn names_elements(&self, action: Action, value: &Value) -> bool {
        let whole = self.sub.is_none_or(|sub| sub.eq_ignore_ascii_case("value"));
        match (&self.fits, action) {
            (None, Action::Add) => self.sub.is_none(),
            (None, Action::Remove) => self.sub.is_none() && value.is_array(),
            (Some((field, _)), Action::Remove) => whole && field.eq_ignore_ascii_case("value"),
            _ => false,
        }
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
        (Value::String(one), Value::String(other)) => {
            // Lists are long, and nearly all texts in them short and ASCII. By its case a text does not grow fivefold.
            let ascii = one.is_ascii() && other.is_ascii();
            let near = one.len() / 5 <= other.len() && other.len() / 5 <= one.len();
            one.eq_ignore_ascii_case(other)
                || (!ascii && near && one.to_lowercase() == other.to_lowercase())
        }
        _ => one == other,
    }
}

fn one(
    resource: &mut Map<String, Value>,
    name: String,
    (action, path): (Action, &Path<'_>),
    value: &Value,
) -> Result<(), ScimError> {
    match (&path.fits, path.sub) {
        (None, None) => whole(resource, name, action, value),
        (None, Some(sub)) => {
            let place = resource
                .entry(name)
                .or_insert_with(|| Value::Object(Map::new()));
            match place {
                Value::Array(elements) => {
                    few(elements.len(), action)?;
                    elements
                        .iter_mut()
                        .for_each(|one| set(one, sub, action, value));
                }
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
                element(elements, fits, (sub, action), value)?;
            }
        }
    }
    Ok(())
}

/// A whole attribute; elements of a list are named in [`Listed::change`].
fn whole(resource: &mut Map<String, Value>, name: String, action: Action, value: &Value) {
    match (action, resource.get_mut(&name), value) {
        (Action::Remove, ..) => {
            resource.remove(&name);
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
) -> Result<(), ScimError> {
    let fits = |one: &Value| get(one, name).is_some_and(|found| same(found, wanted));
    // An address without its value is none.
    if action == Action::Remove && sub.is_none_or(|sub| sub.eq_ignore_ascii_case("value")) {
        elements.retain(|one| !fits(one));
        return Ok(());
    }
    let count = elements.iter().filter(|one| fits(one)).count();
    few(count, action)?;
    if count == 0 {
        if action == Action::Remove {
            return Ok(());
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
    Ok(())
}

/// Before attributes of the resource itself.
const CORE: [&str; 2] = [
    "urn:ietf:params:scim:schemas:core:2.0:User:",
    "urn:ietf:params:scim:schemas:core:2.0:Group:",
];
/// Most operations of a request.
const OPERATIONS: usize = 200;
/// Most paths of a request: an operation without one of its own has them in its value.
const PATHS: usize = 400;
/// Most elements, and fields of them, that the paths of a request look at: about a second.
const LOOKS: usize = 20_000_000;
/// Most elements of a list in which one path sets a value.
const COPIES: usize = 50;

#[cfg(test)]
mod tests;
