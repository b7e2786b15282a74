//! A list of a SCIM resource by what its elements are known by.

use std::collections::HashMap;

use serde_json::Value;

/// A list whose elements are found by what they are known by: many operations that name one member each look at what
/// they name, and not at the whole of a large group each.
pub(super) struct Listed {
    name: String,
    /// `None`: removed.
    elements: Vec<Option<Value>>,
    /// Where the elements are, by their marks.
    places: HashMap<String, Vec<usize>>,
}

impl Listed {
    pub(super) fn new(name: String, elements: Vec<Value>) -> Self {
        let mut listed = Self {
            name,
            elements: Vec::new(),
            places: HashMap::new(),
        };
        elements.into_iter().for_each(|one| listed.push(one));
        listed
    }

    pub(super) fn push(&mut self, element: Value) {
        let place = self.elements.len();
        self.places.entry(mark(&element)).or_default().push(place);
        self.elements.push(Some(element));
    }

    /// Removes the elements with this mark that fit.
    pub(super) fn remove(&mut self, mark: &str, fits: impl Fn(&Value) -> bool) {
        let Some(places) = self.places.get_mut(mark) else {
            return;
        };
        let elements = &mut self.elements;
        places.retain(|place| {
            let Some(element) = elements.get_mut(*place) else {
                return false;
            };
            if element.as_ref().is_some_and(&fits) {
                *element = None;
            }
            element.is_some()
        });
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The name, and what is left.
    pub(super) fn into_parts(self) -> (String, Vec<Value>) {
        (self.name, self.elements.into_iter().flatten().collect())
    }
}

/// What an element of a list is known by: its value, without case, or all of it.
pub(super) fn mark(element: &Value) -> String {
    get(element, "value").map_or_else(|| element.to_string(), key)
}

/// The same for values that are the same in any case.
pub(super) fn key(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_lowercase(),
        other => other.to_string(),
    }
}

/// A member of an object, whose names have no case (RFC 7643 s2.1).
pub(super) fn get<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    let mut fields = object.as_object()?.iter();
    let found = fields.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}
