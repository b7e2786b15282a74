//! Users who take a token in stock into use themselves: one that was handed to them.
//!
//! Invariants: the user is proven as for any other token of self-service before anything is told of the token that
//! is named. One that is not in stock, one of a kind that the policy does not name, and two wrong codes get the same
//! answer, and each is on record. Two wrong codes count like a wrong first code.
//!
//! Threat: anyone at a session that was left open makes a token of their own a way into the account, for good. So the
//! session alone is not enough.

use crate::admin::self_service::{AskedAt, SelfService};
use crate::admin::tokens::resync;
use crate::admin::{Admin, AdminError, Assigned};
use crate::core::policy_of;
use crate::login::{LoginRequest, settle};
use crate::model::attempt::{Attempt, Comparison, Evidence, Note};
use crate::model::audit::Purpose;
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::reason::Reason;
use crate::model::token::LifeCycle;
use crate::model::user_key::UserKey;
use crate::otp::{Matches, Typed};
use crate::policy::Enrolment;
use crate::store::By;

/// Whether users may take tokens in stock into use by these rules: of some kind without an approval, and without a
/// further code, for which there is no field.
pub(crate) fn lets_take(rules: &Enrolment) -> bool {
    let mut kinds = [Kind::Totp, Kind::Hotp, Kind::Yubikey].into_iter();
    rules.step_up.is_empty() && kinds.any(|kind| takes(rules, kind))
}

fn takes(rules: &Enrolment, kind: Kind) -> bool {
    rules.self_service.contains(&kind) && rules.approvers.of(kind) == 0
}

impl Admin {
    /// Takes a token in stock into use for the user who is proven by what the request presents, by two consecutive
    /// codes of it.
    pub async fn self_assign(
        &self,
        request: &LoginRequest<'_>,
        serial: &Serial,
        (first, second): (&Typed, &Typed),
    ) -> Result<SelfService, AdminError> {
        let policies = self.core.policies();
        let policy = policy_of(request.client, &policies)?;
        let rules = &policy.enrolment;
        if !lets_take(rules) {
            return Err(AdminError::Forbidden(NOT_BY_USERS));
        }
        let refused = || {
            let delay = self.login.schedule(request, policy.reject_delay);
            Ok(SelfService::Refused(delay))
        };
        if self.proven(request, policy, None).await?.is_none() {
            return refused();
        }
        let Some(key) = self.core.whose(request.client, request.user)? else {
            return refused();
        };
        if !rules.remote && !self.user(&key)?.remote_issue {
            return Err(AdminError::Forbidden(NO_CONSENT));
        }
        let at = self.core.window_time(request.at)?;
        let asked = (request, policy, at);
        let found = self.core.store.token(serial)?.filter(|(token, _)| {
            token.state_at(at) == LifeCycle::Unassigned && takes(rules, token.kind)
        });
        let Some((token, state)) = found else {
            let missing = Evidence::Refused(Reason::NoToken);
            let missing = asked.0.attempt(
                (asked.1, asked.2),
                key.joined(),
                (Purpose::Confirm, missing),
            );
            self.refuse(Some(&key), noted(missing, serial)).await?;
            return refused();
        };
        let compared = resync(&token, &state, first, second, at);
        if compared.matches.is_empty() {
            self.two_wrong(asked, &key, &compared).await?;
            return refused();
        }
        let by = By::new(format!("user {key}"), (request.id, request.at));
        let how = Assigned::Proven(first, second);
        let rules_of = Some(policy.name.as_str());
        let assigned = self.assign_by(rules_of, (serial, &key), how, Some(token.revision), by);
        match assigned.await {
            Ok(token) => Ok(SelfService::Proven(Box::new(token))),
            // It is on record.
            Err(AdminError::Refused(_)) => refused(),
            Err(error) => Err(error),
        }
    }

    /// Counts two codes that are none of the token.
    async fn two_wrong(
        &self,
        asked: AskedAt<'_, '_>,
        user: &UserKey,
        compared: &Comparison,
    ) -> Result<(), AdminError> {
        let gather = || async move {
            let view = self.core.store.view(user)?;
            let view = view.ok_or(AdminError::NotFound("user"))?;
            // What was wrong stays wrong, whatever the token has come to meanwhile.
            let wrong = Comparison {
                matches: Matches::default(),
                ..compared.clone()
            };
            let evidence = Evidence::Compared(settle::compared(&view, vec![wrong]));
            let wrong = asked.0.attempt(
                (asked.1, asked.2),
                user.joined(),
                (Purpose::Confirm, evidence),
            );
            Ok::<_, AdminError>((noted(wrong, &compared.serial), ()))
        };
        self.login.settle_with(Some(user), true, gather).await?;
        Ok(())
    }
}

/// A refusal names no token by itself.
fn noted(attempt: Attempt, serial: &Serial) -> Attempt {
    let note = Note {
        always: Some(format!("token {serial} in stock")),
        ..Note::default()
    };
    Attempt { note, ..attempt }
}

const NOT_BY_USERS: &str =
    "the policy does not let users take tokens in stock into use: an operator assigns them";
const NO_CONSENT: &str =
    "this user has not consented to enrolment from afar: an operator enrols the token";
