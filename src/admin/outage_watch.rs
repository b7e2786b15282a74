//! The health rule (capabilities A11): many users type a right PIN or password and a wrong code, and none of
//! them comes in. Then codes cannot be had, and an outage is declared; a policy says what that allows.
//!
//! ```text
//! audit records as they become durable -> Sign of a user -> Watch::hear -> declare, as the daemon
//! ```
//!
//! Threats: anyone who knows the passwords of as many users can bring it about. It is off unless
//! configured, counts distinct users only, opens no more than the policies' `outage` alternatives, and
//! stands in the audit.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::admin::Admin;
use crate::admin::AdminError;
use crate::model::audit::{AuditRecord, Event, Purpose};
use crate::model::reason::{Decision, Reason};
use crate::model::user_key::UserKey;
use crate::store::By;
use crate::time::UnixTime;

/// When an outage is declared, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Users whose codes fail.
    pub users: usize,
    /// Time in which they fail.
    pub window: Duration,
    /// How long the outage is declared.
    pub length: Duration,
}

/// What a record says about whether codes can be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sign {
    /// The code was wrong, what the user knows was right.
    Failed,
    /// The user came in.
    Succeeded,
}

/// The users whose codes failed lately.
///
/// Invariant: never more than the rule's users.
#[derive(Clone, Debug)]
pub struct Watch {
    rule: Rule,
    failed: BTreeMap<String, UnixTime>,
}

impl Watch {
    /// No one has failed yet.
    pub const fn new(rule: Rule) -> Self {
        Self {
            rule,
            failed: BTreeMap::new(),
        }
    }

    /// By the same rule, as if no one had failed.
    #[must_use]
    pub const fn anew(&self) -> Self {
        Self::new(self.rule)
    }

    /// Receives a sign at `at`; whether an outage is to be declared. Then it begins anew.
    pub fn hear(&mut self, user: &str, sign: Sign, at: UnixTime) -> bool {
        let window = self.rule.window;
        self.failed.retain(|_, failed| at.since(*failed) < window);
        match sign {
            // Codes can be had by one of them: what the others type is wrong for another cause.
            Sign::Succeeded => {
                if self.failed.contains_key(user) {
                    self.failed.clear();
                }
                false
            }
            Sign::Failed => {
                self.failed.insert(user.to_owned(), at);
                let many = self.failed.len() >= self.rule.users;
                if many {
                    self.failed.clear();
                }
                many
            }
        }
    }
}

impl Admin {
    /// Receives a record, and declares an outage when it is the last sign that was missing.
    pub async fn watch_outage(
        &self,
        watch: &mut Watch,
        record: &AuditRecord,
    ) -> Result<(), AdminError> {
        let Some((user, sign)) = self.sign(record) else {
            return Ok(());
        };
        if !watch.hear(user, sign, record.at) {
            return Ok(());
        }
        let (request, at) = self.core.arrival()?;
        if self.outage()?.is_some_and(|outage| outage.holds(at)) {
            return Ok(());
        }
        let rule = watch.rule;
        let reason = format!(
            "codes of {} users failed after a right PIN or password within {} s",
            rule.users,
            rule.window.as_secs()
        );
        tracing::warn!(reason, "an outage is declared");
        let by = By::daemon((request, at));
        self.declare_outage(rule.length, &reason, by).await?;
        Ok(())
    }

    fn sign<'r>(&self, record: &'r AuditRecord) -> Option<(&'r str, Sign)> {
        let Event::Decision(event) = &record.event else {
            return None;
        };
        if event.purpose != Purpose::Login {
            return None;
        }
        let user = event.user.as_str();
        if event.decision == Decision::Accept {
            return Some((user, Sign::Succeeded));
        }
        // Of these rules a code is wrong only after what the user knows was right: that is told first.
        let (policy, rule) = event.rule.as_deref()?.split_once(':')?;
        let policies = self.core.policies();
        let mut rules = policies.get(policy)?.rules.iter();
        let known = rules
            .any(|one| one.name == rule && one.require.iter().any(|factor| factor.is_knowledge()));
        if !known || event.reason != Reason::WrongCode {
            return None;
        }
        // Where a directory checks the password, a wrong code is told first.
        let key = UserKey::parse(user).ok()?;
        let on_record = self.user(&key).ok()?;
        let elsewhere = self.core.directories.checking(&on_record).is_some();
        (!elsewhere).then_some((user, Sign::Failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixTime = UnixTime::from_secs(1_795_000_000);

    fn watch() -> Watch {
        Watch::new(Rule {
            users: 3,
            window: Duration::from_mins(5),
            length: Duration::from_mins(30),
        })
    }

    fn after(secs: u64) -> UnixTime {
        START.plus(Duration::from_secs(secs))
    }

    #[test]
    fn row_a11_many_users_fail_and_none_succeeds() {
        let mut watch = watch();
        assert!(!watch.hear("a", Sign::Failed, after(0)));
        assert!(!watch.hear("a", Sign::Failed, after(1)), "distinct users");
        assert!(!watch.hear("b", Sign::Failed, after(2)));
        assert!(!watch.hear("x", Sign::Succeeded, after(3)), "not of them");
        assert!(watch.hear("c", Sign::Failed, after(4)));
        assert!(!watch.hear("c", Sign::Failed, after(5)), "it begins anew");
    }

    #[test]
    fn one_who_succeeds_proves_that_codes_can_be_had() {
        let mut watch = watch();
        watch.hear("a", Sign::Failed, after(0));
        watch.hear("b", Sign::Failed, after(1));
        assert!(!watch.hear("a", Sign::Succeeded, after(2)));
        assert!(!watch.hear("c", Sign::Failed, after(3)));
    }

    #[test]
    fn failures_go_out_of_the_window() {
        let mut watch = watch();
        watch.hear("a", Sign::Failed, after(0));
        watch.hear("b", Sign::Failed, after(299));
        assert!(!watch.hear("c", Sign::Failed, after(300)));
        assert!(watch.hear("a", Sign::Failed, after(301)));
    }
}
