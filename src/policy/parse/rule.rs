//! `[[rule]]` tables, and what no set of rules may do.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::diagnostic::Diagnostic;
use crate::diagnostic::document::Table;
use crate::diagnostic::document::Text;
use crate::diagnostic::document::Value;
use crate::policy::Present;
use crate::policy::Rule;
use crate::policy::assurance;
use crate::policy::condition::Condition;
use crate::policy::condition::METHODS;
use crate::policy::condition::Subject;
use crate::policy::condition::Wanted;
use crate::policy::factor::Factor;
use crate::policy::hours::Hours;
use crate::policy::parse::Reader;
use crate::policy::parse::check_name;

impl Reader<'_, '_> {
    pub(super) fn rules(&mut self, root: &mut Table<'_>) -> Vec<Rule> {
        let Some(value) = root.value("rule") else {
            let error = Diagnostic::error("the policy has no rule: it would reject everybody");
            let help = "write a [[rule]] with `name` and `require = [\"otp\"]`";
            self.findings
                .push(error.at(root.place().clone()).help(help));
            return Vec::new();
        };
        let tables = value.tables(self.findings).unwrap_or_default();
        if tables.is_empty() {
            self.findings
                .push(value.error("the list of rules is empty: it would reject everybody"));
        }
        let mut rules: Vec<Rule> = Vec::new();
        let mut always: Option<(String, usize)> = None;
        for table in tables {
            let rule = self.rule(table);
            if let Some(first) = rules.iter().find(|other| other.name == rule.name) {
                let message = format!(
                    "rule `{}` is already at line {}",
                    rule.name,
                    first.place.line()
                );
                self.findings
                    .push(Diagnostic::error(message).at(rule.place.clone()));
            }
            if let Some((name, line)) = &always {
                let message = format!("rule `{}` can never decide", rule.name);
                let help = format!(
                    "rule `{name}` at line {line} has no `when` and decides first: move it to the end"
                );
                self.findings
                    .push(Diagnostic::error(message).at(rule.place.clone()).help(help));
            } else if rule.when.is_empty() {
                always = Some((rule.name.clone(), rule.place.line()));
            }
            rules.push(rule);
        }
        rules
    }

    fn rule(&mut self, mut table: Table<'_>) -> Rule {
        let place = table.place().clone();
        let name = table
            .required("name", self.findings)
            .and_then(|value| value.text(self.findings));
        if let Some(text) = &name
            && let Err(message) = check_name(text.text)
        {
            self.error_at(text, Diagnostic::error(message));
        }
        let when = table
            .value("when")
            .map(|value| self.when(&value))
            .unwrap_or_default();
        let require = table.required("require", self.findings);
        let require = require
            .map(|value| self.require(&value))
            .unwrap_or_default();
        let present = self.optional(&mut table, "present", Self::present);
        let min_assurance = self.optional(&mut table, "min_assurance", |reader, value| {
            let wanted: u8 = value.number(1..=3, reader.findings)?;
            let reached = assurance(&require);
            if wanted > reached {
                let message = format!("`min_assurance` {wanted} can never be reached");
                let help = format!("the factors of this rule reach {reached}");
                reader.findings.push(value.error(message).help(help));
            }
            Some(wanted)
        });
        if let Some(value) = table.refused("outage") {
            let error = value.error("`outage` is not supported by this version");
            self.findings.push(error.help(supported()));
        }
        table.finish(self.findings);
        Rule {
            name: name.map(|text| text.text.to_owned()).unwrap_or_default(),
            when,
            require,
            present: present.unwrap_or_default(),
            min_assurance: min_assurance.unwrap_or(1),
            outage: None,
            place,
        }
    }

    pub(super) fn require(&mut self, value: &Value<'_>) -> Vec<Factor> {
        let Some(texts) = value.texts(self.findings) else {
            return Vec::new();
        };
        if texts.is_empty() {
            self.findings
                .push(value.error("`require` is empty: nobody may pass without a factor"));
        }
        let mut factors = Vec::new();
        for text in texts {
            let Ok(factor) = text.text.parse::<Factor>() else {
                let error = Diagnostic::error(format!("unknown factor `{}`", text.text));
                self.error_at(
                    &text,
                    error.suggest(text.text, Factor::ALL.map(Factor::as_str)),
                );
                continue;
            };
            if !Factor::SUPPORTED.contains(&factor) {
                let error = Diagnostic::error(format!(
                    "factor `{factor}` is not supported by this version"
                ));
                self.error_at(&text, error.help(supported()));
            } else if factors.contains(&factor) {
                self.error_at(
                    &text,
                    Diagnostic::error(format!("`{factor}` is required twice")),
                );
            }
            factors.push(factor);
        }
        factors
    }

    fn present(&mut self, value: &Value<'_>) -> Option<Present> {
        let text = value.text(self.findings)?;
        let error = match text.text {
            "joined" => return Some(Present::Joined),
            word @ ("challenge" | "either") => {
                let message = format!("`present = \"{word}\"` is not supported by this version");
                Diagnostic::error(message).help("leave it out, or write `present = \"joined\"`")
            }
            word => Diagnostic::error(format!("unknown value `{word}` of `present`"))
                .suggest(word, ["joined", "challenge", "either"]),
        };
        self.error_at(&text, error);
        None
    }

    fn when(&mut self, value: &Value<'_>) -> Vec<Condition> {
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
            let networks = self.parsed(&value, parse_network)?;
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

/// A CIDR, or one address. Host bits must be zero: `10.1.2.3/8` may mean either end.
fn parse_network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    let network: IpNet = text.parse().map_err(|_| {
        format!("`{text}` is not a network: write 192.0.2.0/24, 2001:db8::/32 or one address")
    })?;
    if network.trunc() == network {
        return Ok(network);
    }
    Err(format!(
        "`{text}` has bits behind its prefix: write {}",
        network.trunc()
    ))
}

fn supported() -> String {
    let words: Vec<String> = Factor::SUPPORTED
        .iter()
        .map(|factor| format!("`{factor}`"))
        .collect();
    format!("this version only supports {}", words.join(", "))
}
