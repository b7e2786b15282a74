//! Under which clients' policies an act has effect: what is granted or handed out must not look as if
//! it held where no policy knows it.
//!
//! Conditions that only a request decides (network, time, attributes, context, method) are taken to
//! hold: what may have effect is named.

use std::collections::BTreeMap;

use crate::admin::Admin;
use crate::model::client::{Access, Client, Scope};
use crate::model::kind::Kind;
use crate::model::user::User;
use crate::policy::{Condition, Factor, Policy, Rule, Subject, Wanted, assurance, kinds_of};

/// What is granted, handed out or declared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Means {
    /// A bypass of what the user holds.
    Bypass,
    /// An overseas exemption.
    Exemption,
    /// A token of this kind.
    Token(Kind),
    /// An outage.
    Outage,
    /// The right to approve.
    Approval,
}

impl Admin {
    /// Where it has effect, as `policy:rule (client, client)`, for one user or for any; empty: nowhere
    /// today. Where there is no client yet, by the policy `default`.
    pub fn effect_of(&self, user: Option<&User>, means: Means) -> Vec<String> {
        let policies = self.core.policies();
        let clients = self.core.clients.all();
        let asks = |client: &&Client| match &client.access {
            Access::Radius(_) => true,
            Access::Api(api) => api.scopes.contains(&Scope::Verify),
        };
        let asking: Vec<&Client> = clients.iter().map(AsRef::as_ref).filter(asks).collect();
        let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        if asking.is_empty()
            && let Some(policy) = policies.resolve(None)
        {
            for label in labels(policy, None, user, means) {
                found.entry(label).or_default();
            }
        }
        for client in asking {
            let elsewhere = |realm| user.is_some_and(|user| user.key.realm() != realm);
            if client.realm.as_deref().is_some_and(elsewhere) {
                continue;
            }
            let Some(policy) = policies.resolve(client.policy.as_deref()) else {
                continue;
            };
            for label in labels(policy, Some(client), user, means) {
                found.entry(label).or_default().push(&client.name);
            }
        }
        let shown = found
            .into_iter()
            .map(|(label, clients)| match clients.as_slice() {
                [] => label,
                clients => format!("{label} ({})", clients.join(", ")),
            });
        shown.collect()
    }
}

/// The rules of a policy, as `policy:rule`, under which it has effect.
fn labels(
    policy: &Policy,
    client: Option<&Client>,
    user: Option<&User>,
    means: Means,
) -> Vec<String> {
    if means == Means::Approval {
        let asked = Kind::ALL
            .iter()
            .any(|kind| policy.enrolment.approvers.of(*kind) > 0);
        return asked.then(|| policy.name.clone()).into_iter().collect();
    }
    let mut labels = Vec::new();
    for rule in &policy.rules {
        let held = rule
            .when
            .iter()
            .map(|condition| holds(condition, client, user));
        let held: Vec<Option<bool>> = held.collect();
        if held.contains(&Some(false)) {
            continue;
        }
        if has_effect(policy, rule, means) {
            labels.push(rule.label.to_string());
        }
        if !held.contains(&None) {
            // It decides: no rule below it is read.
            break;
        }
    }
    labels
}

/// Whether a condition holds; `None`: a request decides.
fn holds(condition: &Condition, client: Option<&Client>, user: Option<&User>) -> Option<bool> {
    let Wanted::Words(subject, words) = &condition.wanted else {
        return None;
    };
    let any = |found: &str| words.iter().any(|word| **word == *found);
    match subject {
        Subject::Group => user.map(|user| user.groups.iter().any(|group| any(group))),
        Subject::Realm => user.map(|user| any(user.key.realm())),
        Subject::UserClass => user.map(|user| user.class.as_deref().is_some_and(any)),
        Subject::Client => client.map(|client| any(&client.name)),
        Subject::Attribute(_) | Subject::Context(_) | Subject::Method => None,
    }
}

/// As the decision path reads a rule (`crate::login::Login::demand`, `Slot::of`).
fn has_effect(policy: &Policy, rule: &Rule, means: Means) -> bool {
    let leaves = |left: Vec<Factor>| {
        let held = left.iter().any(|factor| !factor.is_knowledge());
        let reached = held || assurance(&left, None) >= rule.min_assurance;
        !left.is_empty() && left.len() < rule.require.len() && reached
    };
    let require = rule.require.iter().copied();
    match means {
        Means::Bypass => {
            policy.bypass && leaves(require.filter(|one| one.is_knowledge()).collect())
        }
        Means::Exemption => leaves(require.filter(|one| !rule.exempt.contains(one)).collect()),
        Means::Token(kind) => {
            let mut held = require.filter(|factor| !factor.is_knowledge());
            held.any(|factor| {
                let mut accepted = rule.accepts(factor, true);
                accepted.any(|one| kinds_of(one, &policy.otp).contains(&kind))
            })
        }
        Means::Outage => rule.outage.is_some(),
        Means::Approval => false,
    }
}
