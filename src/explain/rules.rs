//! The rules of a policy, each condition held or not, and why.

use crate::api::explain::{Condition, Held, Rule};
use crate::core::shorten;
use crate::login::{LoginRequest, MIN_ASSURANCE};
use crate::model::audit::{Channel, DecisionEvent};
use crate::model::name_rule::NameRule;
use crate::model::reason::Reason;
use crate::policy::{ConditionTrace, Facts, Policy, Subject, Wanted};

/// How rules are read.
#[derive(Clone, Copy)]
pub(super) enum Reading<'a> {
    /// All facts are known.
    Present,
    /// What the audit does not keep of such requests is unknown; the rule on record decides, if one
    /// is.
    Past(Channel, Option<&'a str>),
}

/// Reads the rules by the same conditions as [`Policy::decide`].
pub(super) fn read(policy: &Policy, facts: &Facts<'_>, reading: Reading<'_>) -> Vec<Rule> {
    let trace = policy.trace(facts);
    let mut below = false;
    let rules = policy.rules.iter().zip(trace.rules);
    let rules = rules.map(|(rule, traced)| {
        let conditions = rule.when.iter().zip(traced.conditions);
        let conditions: Vec<Condition> = conditions
            .map(|(condition, traced)| shown(&condition.wanted, traced, reading))
            .collect();
        let holds = all(&conditions);
        let decides = match reading {
            Reading::Past(_, Some(recorded)) => rule.name == recorded,
            Reading::Present | Reading::Past(_, None) => holds == Held::Yes && !below,
        };
        let shown = Rule {
            name: traced.name,
            place: traced.place,
            holds,
            decides,
            read: !below,
            require: traced.require.into_iter().map(str::to_owned).collect(),
            conditions,
        };
        below |= decides;
        shown
    });
    rules.collect()
}

fn shown(wanted: &Wanted, traced: ConditionTrace, reading: Reading<'_>) -> Condition {
    let subject = match wanted {
        Wanted::Words(subject, _) => Some(subject),
        Wanted::Network(_) | Wanted::Time(_) => None,
    };
    // RADIUS has no context, and HTTP no attributes.
    let lost = matches!(
        (reading, subject),
        (
            Reading::Past(Channel::Radius, _),
            Some(Subject::Attribute(_))
        ) | (Reading::Past(Channel::Http, _), Some(Subject::Context(_)))
    );
    let (held, why) = match (lost, traced.held, &traced.found) {
        (true, ..) => (
            Held::Unknown,
            format!("the audit does not keep it; wanted is {}", traced.wanted),
        ),
        (false, true, _) => (Held::Yes, traced.why),
        (false, false, Some(_)) => (Held::No, traced.why),
        (false, false, None) => (
            Held::No,
            format!("{}; wanted is {}", lacks(subject), traced.wanted),
        ),
    };
    Condition {
        key: traced.key,
        wanted: traced.wanted,
        found: traced.found,
        held,
        why,
        place: traced.place,
    }
}

const fn lacks(subject: Option<&Subject>) -> &'static str {
    match subject {
        None => "no one said where the person is",
        Some(Subject::Group) => "the user has no group",
        Some(Subject::UserClass) => "the user has no class",
        Some(Subject::Attribute(_)) => "the request has no such attribute",
        Some(Subject::Context(_)) => "the request has no such context",
        Some(Subject::Client | Subject::Method | Subject::Realm) => "the request has none",
    }
}

fn all(conditions: &[Condition]) -> Held {
    let any = |wanted| conditions.iter().any(|one| one.held == wanted);
    if any(Held::No) {
        Held::No
    } else if any(Held::Unknown) {
        Held::Unknown
    } else {
        Held::Yes
    }
}

/// Sentences about attributes and context that no rule of the policy looks at: misspelt, likely.
pub(super) fn unread(policy: &Policy, request: &LoginRequest<'_>) -> Vec<String> {
    let reads = |wanted: &Subject| {
        let conditions = policy.rules.iter().flat_map(|rule| &rule.when);
        let mut subjects = conditions.filter_map(|condition| match &condition.wanted {
            Wanted::Words(subject, _) => Some(subject),
            Wanted::Network(_) | Wanted::Time(_) => None,
        });
        subjects.any(|subject| subject == wanted)
    };
    let name = |(name, _): &(&str, &str)| Box::<str>::from(*name);
    let attributes = request.attributes.iter().map(name).map(Subject::Attribute);
    let context = request.context.iter().map(name).map(Subject::Context);
    let given = attributes
        .chain(context)
        .filter(|subject| *subject != Subject::Context(MIN_ASSURANCE.into()));
    given
        .filter(|subject| !reads(subject))
        .map(|subject| format!("No rule of policy {} looks at {subject}.", policy.name))
        .collect()
}

/// A sentence about a user name that the policy reads otherwise than it is sent.
pub(super) fn renamed(policy: &Policy, request: &LoginRequest<'_>) -> Option<String> {
    let key = |rules: &[NameRule]| request.client.key(request.user, rules).ok();
    let after = key(&policy.name_rules)?;
    let same = key(&[]).is_some_and(|before| before == after);
    (!same).then(|| {
        let (name, sent) = (&policy.name, shorten(request.user));
        format!("Policy {name} reads the user name {sent} as {after} (`name_rules`).")
    })
}

/// Sentences about how the rules as they are now differ from what is on record.
pub(super) fn differences(rules: &[Rule], event: &DecisionEvent) -> Vec<String> {
    let mut notes = Vec::new();
    let recorded = event.rule.as_deref().and_then(|rule| rule.split_once(':'));
    let deciding = rules.iter().find(|rule| rule.decides);
    if let (Some((policy, name)), None) = (recorded, deciding) {
        notes.push(format!(
            "The rule on record, {policy}:{name}, is not in the policy any more."
        ));
    }
    if let (Some(_), Some(rule)) = (recorded, deciding) {
        let above = rules.iter().take_while(|above| !above.decides);
        let sooner = above.clone().find(|above| above.holds == Held::Yes);
        if rule.holds == Held::No {
            notes.push(format!(
                "Rule {} decided then, but would not hold now: the policy, or the user's groups or \
                 class, were changed since.",
                rule.name
            ));
        } else if let Some(sooner) = sooner {
            notes.push(format!(
                "Now rule {} ({}) would decide before it: the policy, or the user's groups or \
                 class, were changed since.",
                sooner.name, sooner.place
            ));
        }
    }
    if recorded.is_none() {
        notes.push(
            "The record names no rule: what stands here was read again, by the rules of today."
                .to_owned(),
        );
    }
    let uncertain = |rule: &&Rule| rule.holds == Held::Unknown && rule.read;
    let known = recorded.is_some() || event.reason == Reason::NoRule;
    if !known && rules.iter().any(|rule| uncertain(&rule)) {
        notes.push(
            "Which rule decides depends on attributes or context, which the audit does not keep; \
             give them to `oncegate explain --user` with --attribute and --context."
                .to_owned(),
        );
    }
    notes
}
