//! Deciding: facts of one request against the rules of one policy.

use crate::policy::condition::{Subject, Wanted};
use crate::policy::factor::Factor;
use crate::policy::facts::Facts;
use crate::policy::hours::WallClocks;
use crate::policy::{Policy, Rule};

/// The outcome of reading the rules.
#[derive(Clone, Copy, Debug)]
pub enum Ruling<'p> {
    /// No rule holds: reject.
    NoRule,
    /// This rule holds and decides.
    Rule {
        /// Its position in [`Policy::rules`].
        index: usize,
        /// The rule.
        rule: &'p Rule,
    },
}

impl<'p> Ruling<'p> {
    /// The deciding rule.
    pub const fn rule(self) -> Option<&'p Rule> {
        match self {
            Self::NoRule => None,
            Self::Rule { rule, .. } => Some(rule),
        }
    }
}

impl Policy {
    /// The first rule whose conditions all hold. Allocates nothing.
    pub fn decide(&self, facts: &Facts<'_>) -> Ruling<'_> {
        let mut clocks = WallClocks::new(facts.now);
        let mut rules = self.rules.iter().enumerate();
        let first = rules.find(|(_, rule)| {
            let mut conditions = rule.when.iter();
            conditions.all(|condition| condition.holds_by(facts, &mut clocks))
        });
        first.map_or(Ruling::NoRule, |(index, rule)| Ruling::Rule { index, rule })
    }

    /// Every rule with every condition, in words; asks the same conditions as [`Policy::decide`].
    pub fn trace(&self, facts: &Facts<'_>) -> Trace {
        let words = |factors: &[Factor]| factors.iter().map(|factor| factor.as_str()).collect();
        let mut decided = false;
        let rules = self.rules.iter().map(|rule| {
            let conditions: Vec<ConditionTrace> = rule
                .when
                .iter()
                .map(|condition| {
                    let (wanted, found) = (condition.wanted_text(), condition.found_text(facts));
                    let held = condition.holds(facts);
                    let key = condition.key();
                    let why = match (&found, held) {
                        (Some(found), true) => format!("{key} is {found}"),
                        (Some(found), false) => format!("{key} is {found}, not {wanted}"),
                        (None, _) => format!("the request has no {key}"),
                    };
                    let place = condition.place.file_line();
                    ConditionTrace {
                        key,
                        wanted,
                        found,
                        held,
                        why,
                        place,
                    }
                })
                .collect();
            let holds = conditions.iter().all(|condition| condition.held);
            let first = holds && !decided;
            decided |= holds;
            RuleTrace {
                name: rule.name.clone(),
                place: rule.file_line(),
                holds,
                decides: first,
                require: words(&rule.require),
                alternatives: words(&rule.alternatives),
                outage: rule.outage.map(|outage| outage.factor.as_str()),
                conditions,
            }
        });
        let rules = rules.collect();
        Trace {
            policy: self.name.clone(),
            rules,
            decided,
        }
    }
}

impl Rule {
    /// The group that `{group}` stands for: the user's first group that satisfies the rule's group
    /// condition, or, without such a condition, the user's first group; of those that `sent` gives a name,
    /// and by that name.
    pub fn group_of<'a>(
        &self,
        facts: &Facts<'a>,
        sent: impl Fn(&'a str) -> Option<&'a str>,
    ) -> Option<&'a str> {
        let wanted = self
            .when
            .iter()
            .find_map(|condition| match &condition.wanted {
                Wanted::Words(Subject::Group, words) => Some(words),
                _ => None,
            });
        let fits = |group: &&String| {
            wanted.is_none_or(|words| words.iter().any(|word| **word == ***group))
        };
        let mut groups = facts.groups.iter().filter(fits);
        groups.find_map(|group| sent(group))
    }
}

/// How a policy was read for a request: every rule, every condition, in words.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Trace {
    /// Name of the policy.
    pub policy: String,
    /// The rules in order.
    pub rules: Vec<RuleTrace>,
    /// Whether one of them decides; otherwise the answer is reject.
    pub decided: bool,
}

/// One rule of a trace.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct RuleTrace {
    /// Name of the rule.
    pub name: String,
    /// `file:line`.
    pub place: String,
    /// Whether all its conditions hold.
    pub holds: bool,
    /// Whether it is the first that holds.
    pub decides: bool,
    /// The factors it asks for.
    pub require: Vec<&'static str>,
    /// What it takes instead of `otp`.
    pub alternatives: Vec<&'static str>,
    /// What it takes instead of `otp` as well while outage mode is declared.
    pub outage: Option<&'static str>,
    /// Its conditions.
    pub conditions: Vec<ConditionTrace>,
}

/// One condition of a trace.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct ConditionTrace {
    /// The key under `when`.
    pub key: String,
    /// What the policy wants.
    pub wanted: String,
    /// What the request has.
    pub found: Option<String>,
    /// Whether it holds.
    pub held: bool,
    /// Why, one sentence.
    pub why: String,
    /// `file:line`.
    pub place: String,
}
