//! What was decided lately, read again by other policies: which rule would decide otherwise, and for whom.
//!
//! Both readings, by the policies in force and by the others, are of the same facts, so that what the audit does not
//! keep (attributes, `context`) does not show as a difference. Groups and classes are those of today.
//!
//! Invariant: a bounded number of records is read, in pages, and logins go first.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::admin::{Admin, AdminError};
use crate::core::policy_of;
use crate::model::audit::{DecisionEvent, Event, Purpose};
use crate::model::client::Client;
use crate::model::reason::Decision;
use crate::model::user_key::UserKey;
use crate::policy::{Facts, Policies, Policy, Rule, Subject, Wanted};
use crate::store::AuditQuery;
use crate::time::UnixTime;

/// What came of it.
#[derive(Debug, Default)]
pub struct Replay {
    /// Decisions that were read again.
    pub decisions: usize,
    /// Those among them that are this policy's.
    pub concerned: usize,
    /// Those that would come out otherwise.
    pub otherwise: usize,
    /// When the oldest of them was made.
    pub since: Option<UnixTime>,
    /// The differences, the most frequent first.
    pub changes: Vec<Difference>,
    /// Whether a rule looks at attributes or `context`, which are not on record.
    pub blind: bool,
}

/// Decisions that another rule would make, or the same one with other demands.
#[derive(Clone, Debug)]
pub struct Difference {
    /// What decides by the policy in force; `None`: no rule.
    pub before: Option<Asked>,
    /// What would decide.
    pub after: Option<Asked>,
    /// How many decisions.
    pub decisions: usize,
    /// How many of them were accepts.
    pub accepted: usize,
    /// Of whom, the latest first; not more than some.
    pub users: Vec<String>,
}

/// A rule and what it asks for.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Asked {
    /// Its name.
    pub rule: String,
    /// What must be presented, and what counts instead.
    pub asks: String,
}

impl Asked {
    fn of(rule: &Rule) -> Self {
        let words = |factors: &[crate::policy::Factor], with: &str| {
            let words: Vec<&str> = factors.iter().map(|factor| factor.as_str()).collect();
            words.join(with)
        };
        let mut asks = words(&rule.require, " + ");
        if !rule.alternatives.is_empty() {
            push!(asks, ", for otp also {}", words(&rule.alternatives, " or "));
        }
        if !rule.exempt.is_empty() {
            push!(asks, ", abroad without {}", words(&rule.exempt, " + "));
        }
        if rule.present != crate::policy::Present::Joined {
            push!(asks, ", {}", rule.present.as_str());
        }
        if rule.min_assurance > 1 {
            push!(asks, ", assurance {}", rule.min_assurance);
        }
        Self {
            rule: rule.name.clone(),
            asks,
        }
    }
}

/// What a user is today.
type Person = (Vec<String>, Option<String>);

impl Admin {
    /// Reads the last decisions again by these policies, as far as they are of the one of this name.
    pub async fn replay(&self, name: &str, policies: &Policies) -> Result<Replay, AdminError> {
        let present = self.core.policies();
        let after = policies.get(name).ok_or(AdminError::NotFound("policy"))?;
        let before = present.get(name);
        let mut replay = Replay {
            blind: is_blind(after) || before.is_some_and(is_blind),
            ..Replay::default()
        };
        let mut people: HashMap<String, Person> = HashMap::new();
        let mut differences: BTreeMap<(Option<Asked>, Option<Asked>), Difference> = BTreeMap::new();
        let (mut position, mut records) = (None, 0);
        while replay.decisions < DECISIONS && records < RECORDS {
            let query = AuditQuery {
                before: position,
                limit: PAGE,
                ..AuditQuery::default()
            };
            let page = self.core.store.audit(query).await?;
            let Some(last) = page.last() else { break };
            position = Some(last.seq);
            records += page.len();
            for record in &page {
                let Event::Decision(event) = &record.event else {
                    continue;
                };
                if event.purpose != Purpose::Login || replay.decisions == DECISIONS {
                    continue;
                }
                replay.decisions += 1;
                replay.since = Some(record.at);
                if self.policy_name(event, &present).as_deref() != Some(name) {
                    continue;
                }
                replay.concerned += 1;
                let person = people
                    .entry(event.user.clone())
                    .or_insert_with(|| self.person_today(&event.user));
                let outcome = |policy: &Policy| decided(policy, (event, record.at), person);
                let pair = (before.and_then(outcome), outcome(after));
                if pair.0 == pair.1 {
                    continue;
                }
                replay.otherwise += 1;
                let difference = differences.entry(pair.clone()).or_insert(Difference {
                    before: pair.0,
                    after: pair.1,
                    decisions: 0,
                    accepted: 0,
                    users: Vec::new(),
                });
                difference.decisions += 1;
                difference.accepted += usize::from(event.decision == Decision::Accept);
                if difference.users.len() < USERS && !difference.users.contains(&event.user) {
                    difference.users.push(event.user.clone());
                }
            }
            tokio::task::yield_now().await;
        }
        replay.changes = differences.into_values().collect();
        let rarity = |one: &Difference| std::cmp::Reverse(one.decisions);
        replay.changes.sort_by_key(rarity);
        Ok(replay)
    }

    /// The policy of the client that asked.
    fn policy_name(&self, event: &DecisionEvent, present: &Policies) -> Option<String> {
        let name = &*event.client;
        let client = Client::own(name).or_else(|| self.core.client(name));
        let client = client.unwrap_or_else(|| Client::without_record(name));
        let policy = policy_of(&client, present).ok()?;
        Some(policy.name.clone())
    }

    fn person_today(&self, name: &str) -> Person {
        let key = UserKey::parse(name).ok();
        let user = key.and_then(|key| self.user(&key).ok());
        user.map_or_else(Person::default, |user| (user.groups, user.class))
    }
}

/// What a policy asks of the one who logged in then.
fn decided(
    policy: &Policy,
    (event, at): (&DecisionEvent, UnixTime),
    (groups, class): &Person,
) -> Option<Asked> {
    let (name, realm) = event.user.rsplit_once('@').unwrap_or((&event.user, ""));
    let source: Option<IpAddr> = event.source;
    let facts = Facts {
        now: at,
        client: &event.client,
        user: name,
        realm,
        groups,
        user_class: class.as_deref(),
        source,
        method: &event.method,
        attributes: &[],
        context: &[],
    };
    policy.decide(&facts).rule().map(Asked::of)
}

/// Whether a rule looks at what is not on record.
fn is_blind(policy: &Policy) -> bool {
    let mut conditions = policy.rules.iter().flat_map(|rule| &rule.when);
    conditions.any(|condition| {
        matches!(
            condition.wanted,
            Wanted::Words(Subject::Attribute(_) | Subject::Context(_), _)
        )
    })
}

/// Decisions that are read again.
pub const DECISIONS: usize = 10_000;
/// Records that are looked at for them: changes and house-keeping lie between.
const RECORDS: usize = 50_000;
/// Records that are read at a time.
const PAGE: usize = 1000;
/// Users who are named for a difference.
const USERS: usize = 10;
