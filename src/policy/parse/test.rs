//! `[[test]]` tables.

use crate::diagnostic::Diagnostic;
use crate::diagnostic::document::{Table, Value};
use crate::model::name_rule::NameRule;
use crate::policy::Rule;
use crate::policy::case::{Case, Expect, Given};
use crate::policy::condition::Wanted;
use crate::policy::factor::Factor;
use crate::policy::parse::Reader;
use crate::time::UnixTime;

impl Reader<'_, '_> {
    pub(super) fn tests(
        &mut self,
        root: &mut Table<'_>,
        rules: &[Rule],
        names: &[NameRule],
    ) -> Vec<Case> {
        let tables = root
            .value("test")
            .and_then(|value| value.tables(self.findings));
        tables
            .unwrap_or_default()
            .into_iter()
            .map(|table| self.test(table, rules, names))
            .collect()
    }

    fn test(&mut self, mut table: Table<'_>, rules: &[Rule], names: &[NameRule]) -> Case {
        let place = table.place().clone();
        let name = table
            .required("name", self.findings)
            .and_then(|value| value.text(self.findings));
        let given = table.required("given", self.findings);
        let given = given
            .map(|value| {
                let mut given = self.given(&value, rules);
                self.named(&mut given, &value, names);
                given
            })
            .unwrap_or_default();
        let expect = table.required("expect", self.findings);
        let expect = expect.and_then(|value| self.expect(&value, rules));
        table.finish(self.findings);
        Case {
            name: name.map(|text| text.text.to_owned()).unwrap_or_default(),
            given,
            expect: expect.unwrap_or(Expect::Reject),
            place,
        }
    }

    fn given(&mut self, value: &Value<'_>, rules: &[Rule]) -> Given {
        let Some(mut table) = value.table(self.findings) else {
            return Given::default();
        };
        let mut text = |key| {
            let text = table.value(key).and_then(|value| value.text(self.findings));
            text.map(|text| text.text.to_owned())
        };
        let (user, realm, client) = (text("user"), text("realm"), text("client"));
        let (method, user_class) = (text("method"), text("user_class"));
        let groups = table
            .value("groups")
            .and_then(|value| value.texts(self.findings));
        let source = table.value("source").and_then(|value| {
            let text = value.text(self.findings)?;
            let source = text.text.parse();
            let wrong = |_| value.error(format!("`{}` is not an IP address", text.text));
            self.findings.take(source.map_err(wrong))
        });
        let at = table.value("at");
        let asks_time = |rule: &Rule| {
            rule.when
                .iter()
                .any(|one| matches!(one.wanted, Wanted::Time(_)))
        };
        if at.is_none() && rules.iter().any(asks_time) {
            let error = Diagnostic::error("`at` is missing: rules of this policy ask for the time");
            let help = "write at = \"2026-03-02T09:00:00+09:00\"";
            self.findings
                .push(error.at(table.place().clone()).help(help));
        }
        let at = at.and_then(|value| {
            let text = value.moment(self.findings)?;
            let wrong = || {
                let error = value.error(format!("`{text}` is not a point in time"));
                error.help("write date, time and offset: 2026-03-02T09:00:00+09:00")
            };
            self.findings.take(parse_moment(&text).ok_or_else(wrong))
        });
        let attributes = self.pairs(&mut table, "attributes");
        let context = self.pairs(&mut table, "context");
        let outage = self.optional(&mut table, "outage", |reader, value| {
            value.flag(reader.findings)
        });
        table.finish(self.findings);
        let groups = groups.unwrap_or_default();
        Given {
            user: user.unwrap_or_default(),
            realm: realm.unwrap_or_else(|| "default".to_owned()),
            groups: groups.iter().map(|text| text.text.to_owned()).collect(),
            user_class,
            client: client.unwrap_or_default(),
            source,
            at: at.unwrap_or_default(),
            method: method.unwrap_or_else(|| "pap".to_owned()),
            attributes,
            context,
            outage: outage.unwrap_or_default(),
        }
    }

    fn pairs(&mut self, table: &mut Table<'_>, key: &'static str) -> Vec<(String, String)> {
        let free = table
            .value(key)
            .and_then(|value| value.table(self.findings));
        let mut pairs = Vec::new();
        for (name, _, value) in free.map(|table| table.free()).unwrap_or_default() {
            let values = value.scalars(self.findings).unwrap_or_default();
            pairs.extend(
                values
                    .into_iter()
                    .map(|(value, _)| (name.to_owned(), value)),
            );
        }
        pairs
    }

    fn expect(&mut self, value: &Value<'_>, rules: &[Rule]) -> Option<Expect> {
        let mut table = value.table(self.findings)?;
        let decision = table
            .value("decision")
            .and_then(|value| value.text(self.findings));
        let rule = table
            .value("rule")
            .and_then(|value| value.text(self.findings));
        let require = table
            .value("require")
            .map(|value| self.require(&value).unwrap_or_default());
        let accepts = table.value("accepts").map(|value| {
            let known = Factor::SUPPORTED;
            let accepts = self.choices(&value, "factor", known, Factor::as_str);
            accepts.unwrap_or_default()
        });
        table.finish(self.findings);
        if let Some(text) = &rule
            && !rules.iter().any(|rule| rule.name == text.text)
        {
            let error = Diagnostic::error(format!("there is no rule `{}`", text.text));
            let known = rules.iter().map(|rule| rule.name.as_str());
            self.error_at(text, error.suggest(text.text, known));
        }
        let says = rule.is_some() || require.is_some() || accepts.is_some();
        match decision {
            Some(text) if text.text == "reject" && !says => Some(Expect::Reject),
            None if says => Some(Expect::Rule {
                name: rule.map(|text| text.text.to_owned()),
                require,
                accepts,
            }),
            _ => {
                let error = value.error("`expect` must say which rule decides, or that none does");
                let help = "write { rule = \"...\", require = [...], accepts = [...] } or { decision = \"reject\" }";
                self.findings.push(error.help(help));
                None
            }
        }
    }
}

/// RFC 3339, with or without a zone in brackets; not before 1970.
fn parse_moment(text: &str) -> Option<UnixTime> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(moment.as_millisecond())
        .ok()
        .map(UnixTime::from_millis)
}
