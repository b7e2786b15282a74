//! What people do in the console: each act is one call of the API, with the fields that its form asks for.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::api::call::{Operation, Takes};
use crate::model::user_key::{CONSOLE, UserKey};
use crate::time::UnixTime;
use crate::web::fields::Fields;
use crate::web::view::{Field, Form, Input, Tone};
use crate::web::visit::Signed;

/// One act.
pub(super) struct Act {
    /// Its word: in addresses, and in texts as `act.WORD`.
    pub(super) id: &'static str,
    pub(super) operation: fn() -> Operation,
    pub(super) wanted: &'static [Wanted],
    /// Whether a code is asked for again.
    pub(super) is_dangerous: bool,
    pub(super) tone: Tone,
    /// Whether its answer is what it is for.
    pub(super) reports: bool,
}

/// A field of its form.
pub(super) struct Wanted {
    /// As the body calls it.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
}

/// How a field is asked for, and what it is in the body.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Text; left out when empty.
    Text,
    /// Text; `null` when empty.
    Clearing,
    /// The same, to be seen by no one.
    Secret,
    /// A code of a token.
    Code,
    /// Lines, as they are; without the CR that browsers put at their ends.
    Lines,
    /// Words with blanks, commas or lines between them.
    List,
    /// Yes or no.
    Check,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words, in a list.
    OneOf(&'static [&'static str]),
    /// Hours from now; in the body a time.
    Hours,
    /// Days from now; in the body a time.
    Days,
    /// Minutes; in the body seconds.
    Minutes,
    /// Seconds.
    Seconds,
    /// Yes or no; what is not sent stays.
    Switch,
    /// Not asked for: the page has filled it in.
    Given,
    /// Not asked for.
    Yes,
    /// Not asked for.
    No,
    /// Not asked for.
    Word(&'static str),
}

impl Act {
    /// Its form, filled in; `None` for who may not do it.
    pub(super) fn form(
        &self,
        signed: &Signed,
        place: &str,
        given: &[(&str, &str)],
    ) -> Option<Form> {
        if !signed.person.may((self.operation)().access) {
            return None;
        }
        let t = signed.visit.t;
        let label = label(signed, self.id);
        let back = given.iter().find(|(name, _)| *name == "back");
        let back = back.map_or(signed.visit.target.as_str(), |(_, back)| back);
        let mut form = Form::new(format!("/console/act/{}", self.id), label)
            .hidden("place", place)
            .hidden("back", back);
        let value = |name: &str| {
            let found = given.iter().find(|(one, _)| *one == name);
            found.map_or("", |(_, value)| value)
        };
        if !value("revision").is_empty() {
            form = form.hidden("revision", value("revision"));
        }
        for wanted in self.wanted {
            if let Some(field) = wanted.field(signed, value(wanted.name)) {
                form = form.field(field);
            } else if matches!(wanted.kind, Kind::Given) {
                form = form.hidden(wanted.name, value(wanted.name));
            }
        }
        if self.is_dangerous && !signed.session.is_proven(signed.now) {
            let code = Field::new("step_up", t.get("act.step_up"), Input::Code);
            form = form.field(code.required().hint(t.get("act.step_up_hint")));
        }
        form.tone = self.tone;
        let hint = format!("hint.{}", self.id);
        t.find(&hint).unwrap_or_default().clone_into(&mut form.hint);
        // What cannot be taken back is not one click away.
        let is_final = self.is_dangerous && self.tone == Tone::Bad;
        form.folded = is_final || !form.fields.is_empty() || !form.hint.is_empty();
        Some(form)
    }

    /// The query of a call without a body: what its form holds.
    pub(super) fn query(&self, fields: &Fields) -> String {
        if (self.operation)().takes != Takes::Nothing {
            return String::new();
        }
        let given = self.wanted.iter();
        let given = given.filter_map(|wanted| Some((wanted.name, fields.get(wanted.name)?)));
        serde_urlencoded::to_string(given.collect::<Vec<_>>()).unwrap_or_default()
    }

    /// The body of its call; the error names a field that holds no number.
    pub(super) fn body(
        &self,
        fields: &Fields,
        now: UnixTime,
    ) -> Result<Option<Value>, &'static str> {
        if (self.operation)().takes == Takes::Nothing {
            return Ok(None);
        }
        let mut body = Map::new();
        for wanted in self.wanted {
            if let Some(value) = wanted.value(fields, now)? {
                body.insert(wanted.name.to_owned(), value);
            }
        }
        Ok(Some(Value::Object(body)))
    }
}

/// What the button of an act says.
pub(super) fn label(signed: &Signed, id: &str) -> String {
    let key = format!("act.{id}");
    signed.visit.t.find(&key).unwrap_or_default().to_owned()
}

impl Wanted {
    fn field(&self, signed: &Signed, value: &str) -> Option<Field> {
        let input = match self.kind {
            Kind::Text | Kind::Clearing | Kind::List => Input::Text,
            Kind::Secret => Input::NewPassword,
            Kind::Code => Input::Code,
            Kind::Lines => Input::Lines,
            Kind::Hours | Kind::Days | Kind::Minutes | Kind::Seconds => Input::Number,
            Kind::Check => Input::Check,
            Kind::Choice(_) | Kind::OneOf(_) | Kind::Switch => Input::Select,
            Kind::Given | Kind::Yes | Kind::No | Kind::Word(_) => return None,
        };
        let t = signed.visit.t;
        let text = |before: &str| t.find(&format!("{before}.{}", self.name));
        let label = match self.kind {
            Kind::Hours => text("field_hours"),
            Kind::Days => text("field_days"),
            Kind::Minutes => text("field_minutes"),
            _ => None,
        };
        let label = label.or_else(|| text("field")).unwrap_or(self.name);
        let mut field = Field::new(self.name, label, input).value(value);
        text("field_hint")
            .unwrap_or_default()
            .clone_into(&mut field.hint);
        field.required = self.required;
        let words = match self.kind {
            Kind::Choice(words) | Kind::OneOf(words) => Some(words),
            Kind::Switch => Some(SWITCH),
            _ => None,
        };
        if let Some(words) = words {
            let shown = |word: &&str| {
                let key = format!("word.{word}");
                let shown = t.find(&key).unwrap_or_default();
                let shown = if shown.is_empty() { word } else { shown };
                ((*word).to_owned(), shown.to_owned())
            };
            field.options = words.iter().map(shown).collect();
        }
        Some(field)
    }

    fn value(&self, fields: &Fields, now: UnixTime) -> Result<Option<Value>, &'static str> {
        let text = fields.get(self.name);
        let number = || {
            text.map(|text| text.parse::<u32>().map(u64::from))
                .transpose()
        };
        let ahead = |unit: u64| {
            let count = number().map_err(|_| self.name)?;
            let until = count.map(|count| Duration::from_secs(count * unit));
            Ok(until.map(|until| json!(now.plus(until).rfc3339())))
        };
        match self.kind {
            Kind::Text | Kind::Code | Kind::Choice(_) | Kind::Given => {
                Ok(text.map(|text| json!(text)))
            }
            Kind::Clearing => Ok(Some(text.map_or(Value::Null, |text| json!(text)))),
            Kind::Lines => Ok(fields
                .raw(self.name)
                .filter(|text| !text.is_empty())
                .map(|text| json!(text.replace("\r\n", "\n")))),
            Kind::Secret => Ok(fields
                .raw(self.name)
                .filter(|text| !text.is_empty())
                .map(|text| json!(text))),
            Kind::List => {
                // A list that was not asked for is not emptied.
                let Some(words) = fields.raw(self.name) else {
                    return Ok(None);
                };
                let words = words.split([' ', ',', '\n', '\r', '\t']);
                let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
                Ok(Some(json!(words)))
            }
            Kind::OneOf(_) => Ok(text.map(|text| json!([text]))),
            Kind::Check => Ok(Some(json!(text == Some("yes")))),
            Kind::Hours => ahead(3600),
            Kind::Days => ahead(86400),
            Kind::Minutes => {
                let minutes = number().map_err(|_| self.name)?;
                Ok(minutes.map(|minutes| json!(minutes * 60)))
            }
            Kind::Seconds => {
                let seconds = number().map_err(|_| self.name)?;
                Ok(seconds.map(|seconds| json!(seconds)))
            }
            Kind::Switch => Ok(text.map(|text| json!(text == "yes"))),
            Kind::Yes => Ok(Some(json!(true))),
            Kind::No => Ok(Some(json!(false))),
            Kind::Word(word) => Ok(Some(json!(word))),
        }
    }
}

/// The words of [`Kind::Switch`].
const SWITCH: &[&str] = &["yes", "no"];

/// Whether this names someone of the console, however it is written.
pub(super) fn is_of_console(user: &str) -> bool {
    UserKey::parse(user).is_ok_and(|key| key.realm() == CONSOLE)
}
