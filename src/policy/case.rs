//! The `[[test]]` cases inside policy files: what is given, what must be decided.
//!
//! A case runs the same [`Policy::decide`] as a request does. A failing case blocks a reload, so a
//! change that breaks what the file promises never goes live.

use std::net::IpAddr;

use crate::diagnostic::{Diagnostic, Place};
use crate::policy::Policy;
use crate::policy::factor::Factor;
use crate::policy::facts::Facts;
use crate::time::UnixTime;

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The request.
    pub given: Given,
    /// What must come out.
    pub expect: Expect,
    /// The case's header.
    pub place: Place,
}

/// The request of a case; what is not written is empty.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Name of the user, after the `name_rules` of the policy.
    pub user: String,
    /// Realm of the user; `default` when not written.
    pub realm: String,
    /// Groups of the user.
    pub groups: Vec<String>,
    /// Class of the user.
    pub user_class: Option<String>,
    /// Name of the client.
    pub client: String,
    /// Address of the person.
    pub source: Option<IpAddr>,
    /// Time of the request; 1970 when not written, which only policies without `time` allow.
    pub at: UnixTime,
    /// Method; `pap` when not written.
    pub method: String,
    /// RADIUS attributes of the request.
    pub attributes: Vec<(String, String)>,
    /// `context` of the HTTP request.
    pub context: Vec<(String, String)>,
    /// Whether outage mode is declared.
    pub outage: bool,
}

/// What must come out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expect {
    /// No rule holds.
    Reject,
    /// A rule decides.
    Rule {
        /// Its name, when the case names it.
        name: Option<String>,
        /// What it asks for, in any order, when the case says so.
        require: Option<Vec<Factor>>,
        /// What its held factor accepts ([`crate::policy::Rule::slot`]), in any order, when the case
        /// says so.
        accepts: Option<Vec<Factor>>,
    },
}

/// How a case went.
#[derive(Clone, Debug)]
pub struct TestOutcome {
    /// Name of the policy.
    pub policy: String,
    /// Name of the case.
    pub name: String,
    /// `file:line` of the case.
    pub place: String,
    /// Why it failed; `None` when it passed.
    pub failure: Option<Diagnostic>,
}

impl TestOutcome {
    /// Whether the case passed.
    pub const fn passed(&self) -> bool {
        self.failure.is_none()
    }
}

impl Policy {
    /// Runs the file's own cases.
    pub fn run_tests(&self) -> Vec<TestOutcome> {
        self.tests.iter().map(|case| self.run(case)).collect()
    }

    fn run(&self, case: &Case) -> TestOutcome {
        let (attributes, context) = (borrow(&case.given.attributes), borrow(&case.given.context));
        let facts = case.given.facts(&attributes, &context);
        let failure = self.mismatch(case, &facts).map(|(message, help)| {
            let message = format!("test `{}` failed: {message}", case.name);
            Diagnostic::error(message).at(case.place.clone()).help(help)
        });
        TestOutcome {
            policy: self.name.clone(),
            name: case.name.clone(),
            place: case.place.file_line(),
            failure,
        }
    }

    /// What came out instead of what was expected, and why.
    fn mismatch(&self, case: &Case, facts: &Facts<'_>) -> Option<(String, String)> {
        let found = self.decide(facts).rule();
        let (wanted, require, accepts) = match (&case.expect, found) {
            (Expect::Reject, None) => return None,
            (Expect::Reject, Some(rule)) => {
                let message = format!("expected reject, but rule `{}` decides", rule.name);
                return Some((message, format!("it is at {}", rule.file_line())));
            }
            (
                Expect::Rule {
                    name,
                    require,
                    accepts,
                },
                _,
            ) => (name.as_deref(), require.as_deref(), accepts.as_deref()),
        };
        let Some(rule) = found else {
            let wanted =
                wanted.map_or_else(|| "a rule".to_owned(), |name| format!("rule `{name}`"));
            let message = format!("expected {wanted}, but no rule holds: reject");
            return Some((message, self.why_not(case, facts)));
        };
        if wanted.is_some_and(|name| name != rule.name) {
            let wanted = wanted.unwrap_or_default();
            let message = format!("expected rule `{wanted}`, but rule `{}` decides", rule.name);
            return Some((message, self.why_not(case, facts)));
        }
        let place = || format!("it is at {}", rule.file_line());
        if require.is_some_and(|require| sorted(require) != sorted(&rule.require)) {
            let message = format!("rule `{}` requires {}", rule.name, listed(&rule.require));
            return Some((message, place()));
        }
        let accepts = accepts?;
        let Some(slot) = rule.slot() else {
            let message = format!("rule `{}` accepts no code: it requires none", rule.name);
            return Some((message, place()));
        };
        let accepted: Vec<Factor> = rule.accepts(slot, case.given.outage).collect();
        (sorted(accepts) != sorted(&accepted)).then(|| {
            let during = if case.given.outage {
                " in an outage"
            } else {
                ""
            };
            let message = format!(
                "rule `{}` accepts {} for `{slot}`{during}",
                rule.name,
                listed(&accepted)
            );
            (message, place())
        })
    }

    /// Which conditions kept the expected rule (or else every rule) from holding.
    fn why_not(&self, case: &Case, facts: &Facts<'_>) -> String {
        let wanted = match &case.expect {
            Expect::Rule { name, .. } => name.as_deref(),
            Expect::Reject => None,
        };
        let trace = self.trace(facts);
        let rules = trace
            .rules
            .iter()
            .filter(|rule| wanted.is_none_or(|name| name == rule.name));
        let reasons: Vec<String> = rules
            .map(|rule| {
                let failed = rule.conditions.iter().filter(|condition| !condition.held);
                let failed: Vec<&str> = failed.map(|condition| condition.why.as_str()).collect();
                if failed.is_empty() {
                    format!("rule `{}` holds too, but stands lower", rule.name)
                } else {
                    format!("rule `{}` does not hold: {}", rule.name, failed.join("; "))
                }
            })
            .collect();
        reasons.join("; ")
    }
}

impl Given {
    fn facts<'a>(
        &'a self,
        attributes: &'a [(&'a str, &'a str)],
        context: &'a [(&'a str, &'a str)],
    ) -> Facts<'a> {
        Facts {
            now: self.at,
            client: &self.client,
            user: &self.user,
            realm: &self.realm,
            groups: &self.groups,
            user_class: self.user_class.as_deref(),
            source: self.source,
            method: &self.method,
            attributes,
            context,
        }
    }
}

fn borrow(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

fn sorted(factors: &[Factor]) -> Vec<Factor> {
    let mut factors = factors.to_vec();
    factors.sort_unstable();
    factors
}

fn listed(factors: &[Factor]) -> String {
    let words: Vec<&str> = factors.iter().map(|factor| factor.as_str()).collect();
    words.join(", ")
}
