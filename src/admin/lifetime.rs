//! The end of tokens: renewed, revoked, expired; and tokens that count for a second user.

use std::time::Duration;

use crate::admin::Admin;
use crate::admin::enrolment::{LONGEST, SHORTEST};
use crate::admin::{AdminError, Goal, check_state, invalid, missing};
use crate::model::enrolment::RevokeReason;
use crate::model::id::Serial;
use crate::model::message::Medium;
use crate::model::token::{LifeCycle, Token};
use crate::model::user_key::UserKey;
use crate::otp::Typed;
use crate::store::{By, Change, LINKED, OWN_TOKEN, StoreError};
use crate::time::UnixTime;

/// Whether a renewal keeps to the time before the end that the policy names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Window {
    /// It does.
    Kept,
    /// An administrator renews it all the same.
    Ignored,
}

impl Admin {
    /// Gives a token in use a new end: as long again as it lasts, from now (capabilities C12).
    pub async fn renew_token(
        &self,
        serial: &Serial,
        length: Option<Duration>,
        window: Window,
        expected: Option<u64>,
        by: By,
    ) -> Result<Token, AdminError> {
        let own_choice = length.is_some() || window == Window::Ignored;
        if own_choice && !self.is_administrator(&by) {
            return Err(AdminError::Forbidden(
                "only the scope `admin` renews before its time, or for another time",
            ));
        }
        let (token, _) = self.token(serial)?;
        let policies = self.core.policies();
        let rules = policies.resolve(None).map(|policy| &policy.enrolment);
        let Some(end) = token.expires else {
            return Err(AdminError::Conflict("the token does not expire"));
        };
        let from = rules.and_then(|rules| rules.renew_from);
        let open = from.is_some_and(|before| by.at.plus(before) >= end);
        if window == Window::Kept && !open {
            return Err(match from {
                Some(before) => {
                    let begins = UnixTime::from_millis(
                        end.as_millis().saturating_sub(crate::time::millis(before)),
                    );
                    AdminError::TooEarly { begins }
                }
                None => AdminError::Conflict(
                    "the policy `default` names no time for renewals (`renew_from`)",
                ),
            });
        }
        let own = token.enrolment.valid_for.map(Duration::from_secs);
        let usual = own.or_else(|| rules.and_then(|rules| rules.valid_for));
        let Some(length) = length.or(usual) else {
            return invalid(
                "valid_for",
                "neither the token nor the policy `default` says how long: give it",
            );
        };
        if !(SHORTEST..=LONGEST).contains(&length) {
            return invalid("valid_for", "a token lasts 1 minute to 3650 days");
        }
        let change = Change::RenewToken {
            serial: serial.clone(),
            expires: by.at.plus(length),
            expected: expected.unwrap_or(token.revision),
            call: None,
        };
        self.core.store.change(change, by).await?;
        Ok(self.token(serial)?.0)
    }

    /// Ends a token for good; the audit says why.
    pub async fn revoke_token(
        &self,
        serial: &Serial,
        reason: RevokeReason,
        expected: Option<u64>,
        by: By,
    ) -> Result<Token, AdminError> {
        let (mut token, _) = self.token(serial)?;
        let allowed = |state: LifeCycle| state.may_become(LifeCycle::Revoked);
        let wanted = (Goal::End, "there is nothing to revoke");
        check_state(&token, by.at, allowed, wanted)?;
        self.remember_address(&token, &by).await?;
        token.revision = expected.unwrap_or(token.revision);
        let reason = reason.as_str().to_owned();
        self.moved(&token, LifeCycle::Revoked, Some(reason), by)
            .await
    }

    /// Before a token goes: its user is told at its address for a while longer.
    pub(super) async fn remember_address(&self, token: &Token, by: &By) -> Result<(), AdminError> {
        let medium = token.kind.as_str().parse::<Medium>().ok();
        let proven = matches!(token.state, LifeCycle::Active | LifeCycle::Suspended);
        let (Some(medium), Some(address), true) = (medium, &token.address, proven) else {
            return Ok(());
        };
        let mut user = self.user(&token.user)?;
        user.leaves(medium, address.clone(), by.at);
        let change = Change::UpdateUser(user);
        Ok(self.core.store.change(change, by.clone()).await?)
    }

    /// Makes a token count for a second user too, after two consecutive codes of it, which are
    /// thereby used up (capabilities C13). There is one key and one counter.
    pub async fn link_token(
        &self,
        serial: &Serial,
        user: &UserKey,
        codes: (&Typed, &Typed),
        by: By,
    ) -> Result<Token, AdminError> {
        // What will be refused anyway costs no one a code.
        let view = self.core.store.view(user)?;
        let view = view.ok_or(AdminError::NotFound("user"))?;
        let (token, _) = self.token(serial)?;
        let allowed = |state| token.kind.is_keyed() && state == LifeCycle::Active;
        let wanted = (
            Goal::Use,
            "only an active totp, hotp or yubikey token is linked",
        );
        check_state(&token, by.at, allowed, wanted)?;
        if token.user == *user {
            return Err(AdminError::Conflict(OWN_TOKEN));
        }
        if view.tokens.iter().any(|(other, _)| other.serial == *serial) {
            return Err(AdminError::Conflict(LINKED));
        }
        self.resync_token(serial, codes.0, codes.1, by.clone())
            .await?;
        let change = Change::LinkToken(serial.clone(), user.clone());
        self.core.store.change(change, by).await?;
        Ok(token)
    }

    /// Ends that; the owner keeps the token.
    pub async fn unlink_token(
        &self,
        serial: &Serial,
        user: &UserKey,
        by: By,
    ) -> Result<Token, AdminError> {
        let (token, _) = self.token(serial)?;
        let change = Change::UnlinkToken(serial.clone(), user.clone());
        let done = self.core.store.change(change, by).await;
        done.map_err(|error| missing(error, "link of this token"))?;
        Ok(token)
    }

    /// Ends the tokens whose time has come. They are good for nothing before this too; it only puts
    /// it on record.
    pub async fn expire_tokens(&self) -> Result<(), AdminError> {
        loop {
            let by = By::daemon(self.core.arrival()?);
            match self.core.store.change(Change::ExpireTokens, by).await {
                Ok(()) => {}
                Err(StoreError::NotFound) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The token after it was moved from the state and revision that were seen.
    pub(super) async fn moved(
        &self,
        token: &Token,
        state: LifeCycle,
        reason: Option<String>,
        by: By,
    ) -> Result<Token, AdminError> {
        let change = Change::SetTokenState {
            serial: token.serial.clone(),
            state,
            expected: token.revision,
            reason,
        };
        self.core.store.change(change, by).await?;
        Ok(self.token(&token.serial)?.0)
    }
}
