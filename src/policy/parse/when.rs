//! `when` tables: the conditions of a rule.

use crate::diagnostic::document::{Text, Value};
use crate::diagnostic::{Diagnostic, units};
use crate::model::method::METHODS;
use crate::policy::condition::{Condition, Subject, Wanted};
use crate::policy::hours::Hours;
use crate::policy::parse::Reader;

impl Reader<'_, '_> {
    pub(super) fn when(&mut self, value: &Value<'_>) -> Vec<Condition> {
        let Some(mut table) = value.table(self.findings) else {
            return Vec::new();
        };
        let mut conditions = Vec::new();
        let words = [
            ("client", Subject::Client),
            ("group", Subject::Group),
            ("realm", Subject::Realm),
            ("user_class", Subject::UserClass),
            ("method", Subject::Method),
        ];
        for (key, subject) in words {
            let value = table.value(key);
            conditions.extend(value.and_then(|value| self.words(subject, &value)));
        }
        let network = table.value("network");
        conditions.extend(network.and_then(|value| {
            let networks = self.parsed(&value, units::network)?;
            Some(Condition {
                place: value.place(),
                wanted: Wanted::Network(networks),
            })
        }));
        let time = table.value("time");
        conditions.extend(time.and_then(|value| {
            let ranges = self.parsed(&value, Hours::parse)?;
            Some(Condition {
                place: value.place(),
                wanted: Wanted::Time(ranges),
            })
        }));
        for key in ["attribute", "context"] {
            let free = table
                .value(key)
                .and_then(|value| value.table(self.findings));
            for (name, place, value) in free.map(|table| table.free()).unwrap_or_default() {
                let subject = if key == "context" {
                    Subject::Context(name.into())
                } else {
                    for text in value.texts(self.findings).unwrap_or_default() {
                        if let Err(message) = (self.known_attribute)(name, Some(text.text)) {
                            self.findings
                                .push(Diagnostic::error(message).at(place.clone()));
                        }
                    }
                    Subject::Attribute(name.into())
                };
                conditions.extend(self.words(subject, &value));
            }
        }
        table.finish(self.findings);
        // Explanations follow the file, not the order of the questions above.
        conditions.sort_by_key(|condition| (condition.place.line(), condition.place.column()));
        conditions
    }

    fn words(&mut self, subject: Subject, value: &Value<'_>) -> Option<Condition> {
        let words = self.parsed(value, |text| {
            if text.is_empty() {
                return Err(format!("`{subject}` can never be empty"));
            }
            let is_method = || {
                METHODS
                    .iter()
                    .any(|method| method.eq_ignore_ascii_case(text))
            };
            if subject == Subject::Method && !is_method() {
                return Err(format!(
                    "unknown method `{text}`: there are {}",
                    METHODS.join(", ")
                ));
            }
            Ok(text.into())
        })?;
        Some(Condition {
            place: value.place(),
            wanted: Wanted::Words(subject, words),
        })
    }

    /// Every string of a value parsed; an empty list would never hold and is refused.
    fn parsed<T>(
        &mut self,
        value: &Value<'_>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let texts = value.texts(self.findings)?;
        if texts.is_empty() {
            let message = format!(
                "`{}` is an empty list: the rule could never hold",
                value.path()
            );
            self.findings.push(value.error(message));
            return None;
        }
        let parsed: Vec<Option<T>> = texts.iter().map(|text| self.one(text, &parse)).collect();
        parsed.into_iter().collect()
    }

    fn one<T>(&mut self, text: &Text<'_>, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let place = || text.place.clone();
        let parsed = parse(text.text).map_err(|message| Diagnostic::error(message).at(place()));
        self.findings.take(parsed)
    }
}
