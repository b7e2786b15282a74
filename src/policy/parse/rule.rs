//! `[[rule]]` tables, and what no set of rules may do.

use crate::diagnostic::Diagnostic;
use crate::diagnostic::document::{Table, Text, Value};
use crate::model::kind::Kind;
use crate::policy::factor::{Factor, kinds_of};
use crate::policy::parse::{Reader, check_name};
use crate::policy::{OtpWindows, Outage, Present, Rule, assurance};

impl Reader<'_, '_> {
    pub(super) fn rules(
        &mut self,
        root: &mut Table<'_>,
        kinds: &[Kind],
        has_home: bool,
    ) -> Vec<Rule> {
        let Some(value) = root.value("rule") else {
            let error = Diagnostic::error("the policy has no rule: it would reject every user");
            let help = "write a [[rule]] with `name` and `require = [\"otp\"]`";
            self.findings
                .push(error.at(root.place().clone()).help(help));
            return Vec::new();
        };
        let tables = value.tables(self.findings).unwrap_or_default();
        if tables.is_empty() {
            self.findings
                .push(value.error("the list of rules is empty: it would reject every user"));
        }
        if tables.len() > RULES_MAX {
            let message = format!("the policy has more than {RULES_MAX} rules");
            self.findings.push(value.error(message));
        }
        let mut rules: Vec<Rule> = Vec::new();
        let mut always: Option<(String, usize)> = None;
        for table in tables {
            let rule = self.rule(table, kinds, has_home);
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

    fn rule(&mut self, mut table: Table<'_>, kinds: &[Kind], has_home: bool) -> Rule {
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
        let require_value = table.required("require", self.findings);
        let require = require_value.as_ref().and_then(|value| self.require(value));
        let require = require.as_deref();
        let alternatives = self.optional(&mut table, "alternatives", |reader, value| {
            reader.alternatives(value, require)
        });
        let alternatives = alternatives.unwrap_or_default();
        let outage = self.optional(&mut table, "outage", |reader, value| {
            reader.outage(value, require)
        });
        let stand_ins = alternatives.iter().copied();
        let stand_ins: Vec<Factor> = stand_ins
            .chain(outage.map(|outage| outage.factor))
            .collect();
        let present = match table.value("present") {
            Some(value) => self.present(&value, require, &stand_ins),
            None => Some(Present::default()),
        };
        if let (Some(value), Some(require), Some(present)) = (&require_value, require, present) {
            self.two_codes(value, require, present);
        }
        let exempt = self.optional(&mut table, "exempt", |reader, value| {
            reader.exempt(value, require, has_home)
        });
        let exempt = exempt.unwrap_or_default();
        let min_assurance = self.optional(&mut table, "min_assurance", |reader, value| {
            let wanted = reader.min_assurance(value, require?, &exempt, kinds)?;
            reader.assured(value, wanted, require?, &stand_ins);
            Some(wanted)
        });
        let reply = table.value("reply").map(|value| self.reply(&value));
        table.finish(self.findings);
        Rule {
            name: name.map(|text| text.text.to_owned()).unwrap_or_default(),
            label: "".into(),
            when,
            require: require.unwrap_or_default().to_vec(),
            alternatives,
            exempt,
            present: present.unwrap_or_default(),
            min_assurance: min_assurance.unwrap_or(1),
            outage,
            reply,
            place,
        }
    }

    /// The factors of a list; `None` when one of them is at fault, so that nothing follows from it.
    pub(super) fn require(&mut self, value: &Value<'_>) -> Option<Vec<Factor>> {
        let texts = value.texts(self.findings)?;
        if texts.is_empty() {
            self.findings
                .push(value.error("`require` is empty: a login needs at least one factor"));
            return None;
        }
        let mut factors = Vec::new();
        for text in &texts {
            let Some(factor) = self.factor(text) else {
                continue;
            };
            if !Factor::SUPPORTED.contains(&factor) {
                let error = Diagnostic::error(format!(
                    "factor `{factor}` is not supported by this version"
                ));
                self.error_at(text, error.help(supported()));
            } else if factors.contains(&factor) {
                self.error_at(
                    text,
                    Diagnostic::error(format!("`{factor}` is required twice")),
                );
            } else {
                factors.push(factor);
            }
        }
        (factors.len() == texts.len()).then_some(factors)
    }

    fn factor(&mut self, text: &Text<'_>) -> Option<Factor> {
        let factor = text.text.parse::<Factor>().ok();
        if factor.is_none() {
            let error = Diagnostic::error(format!("unknown factor `{}`", text.text));
            let known = Factor::ALL.map(Factor::as_str);
            self.error_at(text, error.suggest(text.text, known));
        }
        factor
    }

    fn alternatives(
        &mut self,
        value: &Value<'_>,
        require: Option<&[Factor]>,
    ) -> Option<Vec<Factor>> {
        let texts = value.texts(self.findings)?;
        if texts.is_empty() {
            let error = value.error("`alternatives` is empty: nothing stands in for `otp`");
            self.findings.push(error.help("leave it out"));
            return None;
        }
        self.needs_otp(value, require)?;
        let mut alternatives = Vec::new();
        for text in &texts {
            let Some(factor) = self.stand_in(text, require) else {
                continue;
            };
            if alternatives.contains(&factor) {
                let message = format!("`{factor}` is an alternative twice");
                self.error_at(text, Diagnostic::error(message));
            } else {
                alternatives.push(factor);
            }
        }
        Some(alternatives)
    }

    fn outage(&mut self, value: &Value<'_>, require: Option<&[Factor]>) -> Option<Outage> {
        let mut table = value.table(self.findings)?;
        let factor = table.required("factor", self.findings);
        table.finish(self.findings);
        self.needs_otp(value, require)?;
        let text = factor?.text(self.findings)?;
        let factor = self.stand_in(&text, require)?;
        Some(Outage { factor })
    }

    /// Stand-ins stand in for `otp`; `None` where it is known not to be required.
    fn needs_otp(&mut self, value: &Value<'_>, require: Option<&[Factor]>) -> Option<()> {
        if require.is_none_or(|require| require.contains(&Factor::Otp)) {
            return Some(());
        }
        let key = value.path().rsplit('.').next().unwrap_or_default();
        let error = value.error(format!(
            "`{key}` stands in for `otp`, which is not required"
        ));
        let help = "add \"otp\" to `require`, or leave it out";
        self.findings.push(error.help(help));
        None
    }

    /// A factor that may stand in for `otp`.
    fn stand_in(&mut self, text: &Text<'_>, require: Option<&[Factor]>) -> Option<Factor> {
        let known = || Factor::STAND_INS.iter().copied().map(Factor::as_str);
        let Ok(factor) = text.text.parse::<Factor>() else {
            let error = Diagnostic::error(format!("unknown factor `{}`", text.text));
            self.error_at(text, error.suggest(text.text, known()));
            return None;
        };
        if !Factor::STAND_INS.contains(&factor) {
            let message = format!("`{factor}` cannot stand in for `otp`");
            let words: Vec<&str> = known().collect();
            let help = format!("these can: {}", words.join(", "));
            self.error_at(text, Diagnostic::error(message).help(help));
            return None;
        }
        if require.is_some_and(|require| require.contains(&factor)) {
            let message = format!("`{factor}` cannot stand in for `otp`: it is required itself");
            let help = "one proof must not count twice: take it out of one of the two";
            self.error_at(text, Diagnostic::error(message).help(help));
            return None;
        }
        Some(factor)
    }

    /// One box holds one code.
    fn two_codes(&mut self, value: &Value<'_>, require: &[Factor], present: Present) {
        let held = require.iter().filter(|factor| !factor.is_knowledge());
        let held: Vec<String> = held.map(|factor| format!("`{factor}`")).collect();
        if held.len() < 2 || present == Present::Challenge {
            return;
        }
        let message = format!("{} cannot be typed at once", held.join(" and "));
        let help = "write present = \"challenge\": one code is asked for after the other";
        self.findings.push(value.error(message).help(help));
    }

    fn present(
        &mut self,
        value: &Value<'_>,
        require: Option<&[Factor]>,
        stand_ins: &[Factor],
    ) -> Option<Present> {
        let text = value.text(self.findings)?;
        let all = [Present::Joined, Present::Challenge, Present::Either];
        let Some(present) = all.into_iter().find(|one| one.as_str() == text.text) else {
            let error = Diagnostic::error(format!("unknown value `{}` of `present`", text.text));
            let error = error.suggest(text.text, all.map(Present::as_str));
            self.error_at(&text, error);
            return None;
        };
        // What is asked for by keyword is answered in a second round.
        let asks = |only: &Factor| only.is_issued() || stand_ins.iter().any(|one| one.is_issued());
        if present != Present::Joined
            && let Some([only]) = require
            && !asks(only)
        {
            let message = format!(
                "`present = \"{}\"` asks for nothing in a second round: the rule requires only `{only}`",
                text.text
            );
            let help = "require a second factor, or leave `present` out";
            self.error_at(&text, Diagnostic::error(message).help(help));
        }
        Some(present)
    }

    fn exempt(
        &mut self,
        value: &Value<'_>,
        require: Option<&[Factor]>,
        has_home: bool,
    ) -> Option<Vec<Factor>> {
        let texts = value.texts(self.findings)?;
        if !has_home {
            let error =
                value.error("`exempt` needs `[exemption]`: no user would be known to be abroad");
            let help = "write [exemption] with home = [\"KR\"], your own country";
            self.findings.push(error.help(help));
        }
        if texts.is_empty() {
            let error = value.error("`exempt` is empty: it exempts from nothing");
            self.findings.push(error.help("leave it out"));
        }
        let mut exempt = Vec::new();
        for text in &texts {
            let factor = self.factor(text)?;
            if require.is_some_and(|require| !require.contains(&factor)) {
                let error = Diagnostic::error(format!("the rule does not require `{factor}`"));
                self.error_at(text, error.help("`exempt` is a part of `require`"));
            } else if exempt.contains(&factor) {
                let message = format!("`{factor}` is exempt twice");
                self.error_at(text, Diagnostic::error(message));
            }
            exempt.push(factor);
        }
        if let Some(require) = require
            && require.iter().all(|factor| exempt.contains(factor))
        {
            let error = value.error("`exempt` leaves nothing to present");
            let help = "a login needs at least one factor: keep one of `require`";
            self.findings.push(error.help(help));
        }
        Some(exempt)
    }

    fn min_assurance(
        &mut self,
        value: &Value<'_>,
        require: &[Factor],
        exempt: &[Factor],
        kinds: &[Kind],
    ) -> Option<u8> {
        let wanted: u8 = value.number(1..=3, self.findings)?;
        let best = |factors: &[Factor]| {
            let reached = kinds.iter().map(|kind| assurance(factors, Some(*kind)));
            reached.max().unwrap_or(1)
        };
        let left: Vec<Factor> = require
            .iter()
            .copied()
            .filter(|factor| !exempt.contains(factor))
            .collect();
        let (all, left) = (best(require), best(&left));
        if wanted > all {
            let message = format!("`min_assurance` {wanted} can never be reached");
            let help = format!("the factors of this rule reach {all}");
            self.findings.push(value.error(message).help(help));
        } else if wanted > left {
            let message = format!("`min_assurance` {wanted} contradicts `exempt`");
            let help = format!("an exempted user reaches {left}: drop one of the two");
            self.findings.push(value.error(message).help(help));
        }
        Some(wanted)
    }

    /// With every stand-in the wanted assurance must be reached: one that never could would only look
    /// like a way in.
    fn assured(&mut self, value: &Value<'_>, wanted: u8, require: &[Factor], stand_ins: &[Factor]) {
        let otp = OtpWindows::default();
        let low = stand_ins.iter().find_map(|factor| {
            let mut kinds = kinds_of(*factor, &otp).iter();
            let reached = kinds.next().map(|kind| assurance(require, Some(*kind)))?;
            (reached < wanted).then_some((factor, reached))
        });
        let possible = assurance(require, None) >= wanted;
        if let Some((factor, reached)) = low.filter(|_| possible) {
            let message =
                format!("`min_assurance` {wanted} contradicts `{factor}` instead of `otp`");
            let help = format!("with it {reached} is reached: drop one of the two");
            self.findings.push(value.error(message).help(help));
        }
    }
}

/// Most rules of a policy: a challenge names its rule by one octet.
const RULES_MAX: usize = 255;

fn supported() -> String {
    let words: Vec<String> = Factor::SUPPORTED
        .iter()
        .map(|factor| format!("`{factor}`"))
        .collect();
    format!("this version supports {}", words.join(", "))
}
