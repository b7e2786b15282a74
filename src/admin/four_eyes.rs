//! The second person: one operator does not do alone, within a day, what together lets them log in as
//! a user (policy `[admin] four_eyes`).
//!
//! It guards two acts that complete each other. Where a rule asks for a code only, one act does: an operator
//! who adds a token can log in with it, which is what operators are for, on record and told to the user.
//!
//! Threat: an operator who changes the telephone number of a user, and then the password or a token,
//! holds the account, and every later message goes to them. So does who sets a password and makes a
//! token, or grants a bypass; who moves the user to a group with a weaker rule; who removes the user
//! and makes another of that name. Which two acts these are: [`Touched::completes`]. Administrators
//! may: they could read the store itself, and a site may have only one.
//!
//! What an operator did is on the user's record, under its revision: of two changes at the same time
//! one is refused. The operator who made a user sets it up, within a day; who removed a user does not
//! make another of the name within a day (on record with the removed name).

use crate::admin::Admin;
use crate::admin::AdminError;
use crate::model::client::Scope;
use crate::model::user::{OperatorAct, Touched, User};
use crate::model::user_key::UserKey;
use crate::policy::{Subject, Wanted};
use crate::store::{By, Change};

impl Admin {
    /// Notes on the record, which the caller writes, what an operator is about to change; refused when
    /// the same operator changed what completes it. Returns whether the record is another.
    pub(super) fn claim(
        &self,
        user: &mut User,
        touched: &[Touched],
        by: &By,
    ) -> Result<bool, AdminError> {
        if !self.is_guarded(by) {
            return Ok(false);
        }
        // What one act touches together does not complete itself.
        let completed = touched.iter().find_map(|touched| {
            let first = user.completed_by(*touched, &by.actor, by.at)?;
            Some((first, *touched))
        });
        if let Some((first, then)) = completed
            && !user.is_set_up_by(&by.actor, by.at)
        {
            let first = Box::new(first);
            return Err(AdminError::SecondPerson { first, then });
        }
        for touched in touched {
            user.remember(OperatorAct {
                touched: *touched,
                actor: by.actor.clone(),
                at: by.at,
            });
        }
        Ok(true)
    }

    /// Notes on a new record which operator sets it up.
    pub(super) fn sets_up(&self, user: &mut User, by: &By) {
        if self.is_guarded(by) {
            user.remember(OperatorAct {
                touched: Touched::Made,
                actor: by.actor.clone(),
                at: by.at,
            });
        }
    }

    /// Whether a rule of a policy names what differs: the groups or the class of a user.
    pub(super) fn selects(&self, before: &User, after: &User) -> bool {
        let mut groups = before.groups.iter().chain(&after.groups);
        let group = |word: &str| {
            let has = |user: &User| user.groups.iter().any(|group| group == word);
            has(before) != has(after)
        };
        let class = |word: &str| {
            let has = |user: &User| user.class.as_deref() == Some(word);
            has(before) != has(after)
        };
        if before.class == after.class && !groups.any(|one| group(one)) {
            return false;
        }
        let policies = self.core.policies();
        let rules = policies.iter().flat_map(|policy| &policy.rules);
        let mut conditions = rules.flat_map(|rule| &rule.when);
        conditions.any(|condition| match &condition.wanted {
            Wanted::Words(Subject::Group, words) => words.iter().any(|word| group(word)),
            Wanted::Words(Subject::UserClass, words) => words.iter().any(|word| class(word)),
            _ => false,
        })
    }

    /// The same as [`Admin::claim_now`] for the owner of a token.
    pub(super) async fn claim_token(&self, owner: &UserKey, by: &By) -> Result<(), AdminError> {
        if !self.is_guarded(by) {
            return Ok(());
        }
        self.claim_now(self.user(owner)?, &[Touched::Token], by)
            .await
    }

    /// The same for all that one act touches, and writes the record.
    pub(super) async fn claim_now(
        &self,
        mut user: User,
        touched: &[Touched],
        by: &By,
    ) -> Result<(), AdminError> {
        if self.claim(&mut user, touched, by)? {
            let change = Change::UpdateUser(user);
            self.core.store.change(change, by.clone()).await?;
        }
        Ok(())
    }

    /// Whether it is an operator, and no administrator, who acts, where two persons are asked for.
    fn is_guarded(&self, by: &By) -> bool {
        let policies = self.core.policies();
        if !policies
            .resolve(None)
            .is_none_or(|policy| policy.admin.four_eyes)
        {
            return false;
        }
        self.has_scope(&by.actor, &[Scope::Operator]) && !self.is_administrator(by)
    }

    /// Whether it is an administrator who acts: by a key with that scope, or on this machine.
    pub(super) fn is_administrator(&self, by: &By) -> bool {
        let named = by.actor.starts_with("api:");
        !by.limited && (!named || self.has_scope(&by.actor, &[Scope::Admin]))
    }
}
