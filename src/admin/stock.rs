//! Tokens in stock: given to users, and taken back.
//!
//! Invariants: the moving factor goes with the token, so that a code that one holder used is not good for the next.
//! Where codes are to prove who holds a token, it becomes a user's with these codes used up, or not at all: they
//! were read out.

use crate::admin::tokens::resync;
use crate::admin::{Admin, AdminError, Goal, check_state, missing};
use crate::model::audit::Purpose;
use crate::model::enrolment::Enrolment;
use crate::model::id::Serial;
use crate::model::reason::Reason;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user::Touched;
use crate::model::user_key::UserKey;
use crate::otp::Typed;
use crate::otp::throttle::Blocked;
use crate::store::{ADMINISTRATORS_ONLY, By, Change};

/// How a token comes to its user.
#[derive(Clone, Copy, Debug)]
pub enum Assigned<'a> {
    /// The owner's first right code activates it.
    Pending,
    /// In use at once.
    Active,
    /// Two consecutive codes prove that the user holds it; they are used up, and it is in use.
    Proven(&'a Typed, &'a Typed),
}

impl Admin {
    /// Gives a token in stock to a user, by the rules of the policy `default`. `expected` is the revision that
    /// the caller saw; none takes the present one.
    pub async fn assign_token(
        &self,
        serial: &Serial,
        user: &UserKey,
        how: Assigned<'_>,
        expected: Option<u64>,
        by: By,
    ) -> Result<Token, AdminError> {
        self.assign_by(None, (serial, user), how, expected, by)
            .await
    }

    /// The same by the rules of the policy of this name.
    pub(super) async fn assign_by(
        &self,
        policy: Option<&str>,
        (serial, user): (&Serial, &UserKey),
        how: Assigned<'_>,
        expected: Option<u64>,
        by: By,
    ) -> Result<Token, AdminError> {
        let (token, state) = self.token(serial)?;
        let wanted = (Goal::Use, "only a token in stock is assigned");
        let in_stock = |state| state == LifeCycle::Unassigned;
        check_state(&token, by.at, in_stock, wanted)?;
        let owner = self.user(user)?;
        if let Assigned::Proven(first, second) = how {
            // Before it is anyone's: what is refused changes nothing.
            let refused = self.unproven((&token, &state), user, (first, second), &by)?;
            if let Some(reason) = refused {
                let why = (Purpose::Confirm, reason);
                return Err(self.refuse_code((user, serial), why, &by).await?);
            }
        }
        self.claim_now(owner, &[Touched::Token], &by).await?;
        let policies = self.core.policies();
        let rules = policies.resolve(policy).map(|policy| &policy.enrolment);
        let rules = rules.cloned().unwrap_or_default();
        // After a restore it comes into use when two codes have found its counter, and not before.
        let closed = state.needs_resync().is_some();
        let active = matches!(how, Assigned::Active) || !(rules.verify || closed);
        let change = Change::AssignToken {
            serial: serial.clone(),
            user: user.clone(),
            state: if active {
                LifeCycle::Active
            } else {
                LifeCycle::Pending
            },
            enrolment: Box::new(Enrolment {
                requester: by.actor.clone(),
                max_active: rules.max_active.of(token.kind),
                verify: rules.verify,
                valid_for: rules.valid_for.map(|length| length.as_secs()),
                first_use_within: rules.first_use().map(|within| within.as_secs()),
                ..Enrolment::default()
            }),
            expected: expected.unwrap_or(token.revision),
        };
        let assigned = self.core.store.change(change, by.clone()).await;
        assigned.map_err(|error| missing(error, "user"))?;
        if let Assigned::Proven(first, second) = how {
            let purpose = if active || closed {
                Purpose::Resync
            } else {
                Purpose::Confirm
            };
            let codes = (first, second);
            let proven = self.proven_or_back(serial, codes, purpose, by.clone());
            let token = proven.await?;
            if closed {
                return self.moved(&token, LifeCycle::Active, None, by).await;
            }
        }
        Ok(self.token(serial)?.0)
    }

    /// Why two codes of a token in stock will not prove that this user holds it, if so.
    fn unproven(
        &self,
        (token, state): (&Token, &TokenState),
        user: &UserKey,
        (first, second): (&Typed, &Typed),
        by: &By,
    ) -> Result<Option<Reason>, AdminError> {
        if !by.may_change(user) {
            return Err(AdminError::Conflict(ADMINISTRATORS_ONLY));
        }
        let at = self.core.window_time(by.at)?;
        let view = self.core.store.view(user)?;
        let view = view.ok_or(AdminError::NotFound("user"))?;
        if view.user.disabled {
            return Ok(Some(Reason::UserDisabled));
        }
        let blocked = view.state.check(None, &self.strictest_lockout(), at);
        Ok(match blocked.and_then(|()| state.throttle.check(at)) {
            Err(Blocked::Throttled { .. }) => Some(Reason::Throttled),
            Err(Blocked::Locked { .. }) => Some(Reason::Locked),
            Ok(()) => {
                let found = resync(token, state, first, second, at).matches;
                found.is_empty().then_some(Reason::WrongCode)
            }
        })
    }

    /// Proves a token that was assigned a moment ago. Where its codes are not used up it goes back into stock, unless
    /// its record was changed meanwhile.
    async fn proven_or_back(
        &self,
        serial: &Serial,
        (first, second): (&Typed, &Typed),
        purpose: Purpose,
        by: By,
    ) -> Result<Token, AdminError> {
        let expected = self.token(serial)?.0.revision;
        let proven = self.present(serial, purpose, by.clone(), |token, state, at| {
            Ok(resync(token, state, first, second, at))
        });
        match proven.await {
            Ok((token, _)) => Ok(token),
            Err(refused) => {
                let change = Change::UnassignToken {
                    serial: serial.clone(),
                    expected,
                };
                if let Err(error) = self.core.store.change(change, by).await {
                    tracing::warn!(%serial, %error, "a token stays assigned although its codes were refused");
                }
                Err(refused)
            }
        }
    }

    /// Takes a token back into stock; its owner is left without it. `expected` as for
    /// [`Admin::assign_token`].
    pub async fn unassign_token(
        &self,
        serial: &Serial,
        expected: Option<u64>,
        by: By,
    ) -> Result<Token, AdminError> {
        let (token, _) = self.token(serial)?;
        let wanted = (Goal::End, "only a token of a user goes back into stock");
        check_state(&token, by.at, |_| !token.user.is_stock(), wanted)?;
        let change = Change::UnassignToken {
            serial: serial.clone(),
            expected: expected.unwrap_or(token.revision),
        };
        self.core.store.change(change, by).await?;
        Ok(self.token(serial)?.0)
    }
}
