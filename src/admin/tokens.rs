//! Tokens: making them, moving them through their life, and codes presented outside a login.

use crate::admin::Admin;
use crate::admin::{AdminError, Goal, check_state, check_synchronised, invalid, missing};
use crate::core::CoreError;
use crate::login::{match_otp, settle};
use crate::model::attempt::{Attempt, Comparison, DriftRule, Evidence, Note};
use crate::model::audit::{Channel, Purpose};
use crate::model::enrolment::Enrolment;
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::reason::{Decision, Reason};
use crate::model::token::{LifeCycle, Moving, Token, TokenState};
use crate::model::user_key::UserKey;
use crate::otp::throttle::Lockout;
use crate::otp::totp::TimeStep;
use crate::otp::{Algorithm, Code, Digits, Matches, Period, Typed, hotp, totp, yubikey};
use crate::secret::{SecretBytes, SecretString};
use crate::store::{ADMINISTRATORS_ONLY, By, Change, SHARED_WITH_CONSOLE};
use crate::time::UnixTime;
use std::time::Duration;

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Whose.
    pub user: UserKey,
    /// What makes its codes.
    pub kind: Kind,
    /// Hash function.
    pub algorithm: Algorithm,
    /// Length of its codes.
    pub digits: Digits,
    /// Seconds per code.
    pub period: Period,
    /// Its key; generated when none.
    pub key: Option<SecretBytes>,
    /// First counter (HOTP).
    pub counter: u64,
    /// Active at once, without a first right code.
    pub active: bool,
    /// Its name; generated when none.
    pub serial: Option<Serial>,
}

impl Admin {
    /// Makes a token by the rules of the policy `default`. The answer holds the key: the only time it is
    /// shown.
    pub async fn add_token(&self, new: NewToken, by: By) -> Result<Token, AdminError> {
        Ok(self.enrol_token(new.into(), by).await?.token)
    }

    /// The records of a token of the kinds that another system's users bring along.
    pub(super) fn new_token(
        &self,
        new: NewToken,
        by: &str,
        at: UnixTime,
    ) -> Result<(Token, TokenState), AdminError> {
        if !new.kind.is_keyed() {
            return invalid(
                "kind",
                "tokens of the kinds totp, hotp and yubikey are imported",
            );
        }
        let policies = self.core.policies();
        let first_use = policies
            .resolve(None)
            .and_then(|policy| policy.enrolment.first_use());
        let enrolment = Enrolment {
            requester: by.to_owned(),
            first_use_within: first_use.map(|within| within.as_secs()),
            ..Enrolment::default()
        };
        let (stock, came) = (new.user.is_stock(), new.key.is_some());
        let serial = match (new.kind, &new.serial) {
            (Kind::Totp | Kind::Hotp, None) => {
                let number = self.core.number().map_err(CoreError::from)?;
                Serial::new(new.kind.as_str(), number)
            }
            _ => self.serial(&new)?,
        };
        let token = Token {
            serial,
            user: new.user,
            kind: new.kind,
            state: if stock {
                LifeCycle::Unassigned
            } else if new.active {
                LifeCycle::Active
            } else {
                LifeCycle::Pending
            },
            algorithm: new.algorithm,
            digits: new.digits,
            period: new.period,
            key: self.key_of(new.kind, new.key)?,
            address: None,
            device: None,
            expires: None,
            enrolment: if new.active || stock {
                enrolment
            } else {
                enrolment.handed_out(at)
            },
            created: at,
            revision: self.core.first_revision().map_err(CoreError::from)?,
        };
        let moving = Moving {
            last: new.counter.checked_sub(1),
            ..Moving::default()
        };
        let state = TokenState {
            moving,
            ..TokenState::default()
        };
        self.begun((token, state), came, at)
    }

    /// A new token as it begins. A key that `came` from outside may have been in use in records that a restore has
    /// lost: its counter has to be found before the token comes into use.
    pub(super) fn begun(
        &self,
        (token, state): (Token, TokenState),
        came: bool,
        at: UnixTime,
    ) -> Result<(Token, TokenState), AdminError> {
        if !came {
            return Ok((token, state));
        }
        let state = self.core.store.begun(&token, &state)?;
        if state.needs_resync().is_none() || token.state != LifeCycle::Active {
            return Ok((token, state));
        }
        let waits = Token {
            state: LifeCycle::Pending,
            enrolment: token.enrolment.handed_out(at),
            ..token
        };
        Ok((waits, state))
    }

    /// Pauses a token in use. `expected` is the revision the caller saw; none takes the present one.
    pub async fn suspend_token(
        &self,
        serial: &Serial,
        expected: Option<u64>,
        by: By,
    ) -> Result<Token, AdminError> {
        let (mut token, _) = self.token(serial)?;
        let wanted = (Goal::End, "only an active one is suspended");
        check_state(&token, by.at, |state| state == LifeCycle::Active, wanted)?;
        token.revision = expected.unwrap_or(token.revision);
        self.moved(&token, LifeCycle::Suspended, None, by).await
    }

    /// Puts a suspended token into use again. A pending one comes into use by its first right code only.
    /// `expected` as for [`Admin::suspend_token`].
    pub async fn resume_token(
        &self,
        serial: &Serial,
        expected: Option<u64>,
        by: By,
    ) -> Result<Token, AdminError> {
        let (mut token, state) = self.token(serial)?;
        check_synchronised(&token, &state)?;
        let wanted = (Goal::Use, "only a suspended one is resumed");
        check_state(&token, by.at, |state| state == LifeCycle::Suspended, wanted)?;
        self.claim_token(&token.user, &by).await?;
        token.revision = expected.unwrap_or(token.revision);
        self.moved(&token, LifeCycle::Active, None, by).await
    }

    /// Removes a token. `expected` as for [`Admin::suspend_token`].
    pub async fn remove_token(
        &self,
        serial: &Serial,
        expected: Option<u64>,
        by: By,
    ) -> Result<(), AdminError> {
        if let Some((token, _)) = self.core.store.token(serial)?
            && expected.is_none_or(|seen| seen == token.revision)
        {
            self.remember_address(&token, &by).await?;
        }
        let change = Change::RemoveToken(serial.clone(), expected);
        self.core
            .store
            .change(change, by)
            .await
            .map_err(|error| missing(error, "token"))
    }

    /// Finds a token's counter or clock again by two consecutive codes, which are thereby used up.
    pub async fn resync_token(
        &self,
        serial: &Serial,
        first: &Typed,
        second: &Typed,
        by: By,
    ) -> Result<(Token, TokenState), AdminError> {
        self.present(serial, Purpose::Resync, by, |token, state, at| {
            let allowed = |life| token.kind.is_keyed() && may_resync(life, state);
            let wanted =
                "only an active or suspended totp, hotp or yubikey token is resynchronised";
            check_state(token, at, allowed, (Goal::Use, wanted))?;
            Ok(resync(token, state, first, second, at))
        })
        .await
    }

    /// A token by its serial.
    pub fn token(&self, serial: &Serial) -> Result<(Token, TokenState), AdminError> {
        self.core
            .store
            .token(serial)?
            .ok_or(AdminError::NotFound("token"))
    }

    /// The limits of codes that are presented outside a login, where no client's policy applies: the
    /// strictest of those that clients name, or this would be a way round them.
    pub(super) fn strictest_lockout(&self) -> Lockout {
        let (policies, clients) = (self.core.policies(), self.core.clients.all());
        let own = policies.resolve(None).map(|policy| policy.lockout);
        let named = clients.iter().map(|client| client.policy.as_deref());
        named.filter_map(|name| policies.resolve(name)).fold(
            own.unwrap_or_default(),
            |all, policy| {
                let one = &policy.lockout;
                Lockout {
                    hard_lock_after: all.hard_lock_after.min(one.hard_lock_after),
                    year_lock_after: all.year_lock_after.min(one.year_lock_after),
                    ..all
                }
            },
        )
    }

    /// Consumes a code outside a login, through the same transition as a login. None of a disabled
    /// user is looked at, also from an administrator.
    pub(super) async fn present(
        &self,
        serial: &Serial,
        purpose: Purpose,
        by: By,
        compare: impl Fn(&Token, &TokenState, UnixTime) -> Result<Comparison, AdminError> + Sync,
    ) -> Result<(Token, TokenState), AdminError> {
        let at = self.core.window_time(by.at)?;
        let (token, _) = self.token(serial)?;
        let (user, compare, by) = (&token.user, &compare, &by);
        // A wrong code counts: who may not change the people of the console does not lock them either.
        if !by.may_change(user) {
            return Err(AdminError::Conflict(ADMINISTRATORS_ONLY));
        }
        if by.limited {
            let mut sharers = self.core.store.sharers(serial)?.into_iter();
            if sharers.any(|user| !by.may_change(&user)) {
                return Err(AdminError::Conflict(SHARED_WITH_CONSOLE));
            }
        }
        let gather = || async move {
            let view = self.core.store.view(user)?;
            let view = view.ok_or(AdminError::NotFound("user"))?;
            let mut tokens = view.tokens.iter();
            let found = tokens.find(|(token, _)| token.serial == *serial);
            let (token, state) = found.ok_or(CoreError::Contended)?;
            let evidence = if view.user.disabled {
                Evidence::Refused(Reason::UserDisabled)
            } else {
                let comparison = compare(token, state, at)?;
                Evidence::Compared(settle::compared(&view, vec![comparison]))
            };
            let attempt = self.presented((user, serial), (purpose, evidence), (by, at));
            Ok::<_, AdminError>((attempt, token.clone()))
        };
        let (verdict, token) = self.login.settle_with(Some(user), true, gather).await?;
        let changed = verdict.tokens.into_iter().next();
        match (verdict.decision, changed) {
            (Decision::Accept, Some((_, state))) => Ok((token, state)),
            _ => Err(AdminError::Refused(verdict.reason)),
        }
    }

    /// What is presented of a token outside a login.
    fn presented(
        &self,
        (user, serial): (&UserKey, &Serial),
        (purpose, evidence): (Purpose, Evidence),
        (by, at): (&By, UnixTime),
    ) -> Attempt {
        let refused = matches!(evidence, Evidence::Refused(_));
        Attempt {
            deadline: at.plus(ADMIN_DEADLINE),
            user: user.to_string(),
            client: by.actor.as_str().into(),
            method: "admin".into(),
            note: Note {
                // A refusal names no token by itself.
                always: refused.then(|| format!("token {serial}")),
                ..Note::default()
            },
            lockout: self.strictest_lockout(),
            ..Attempt::outside_login((by.request, at), Channel::Admin, purpose, evidence)
        }
    }

    /// Refuses, on record, what is presented of a token outside a login. Nothing of it is used up.
    pub(super) async fn refuse_code(
        &self,
        (user, serial): (&UserKey, &Serial),
        (purpose, reason): (Purpose, Reason),
        by: &By,
    ) -> Result<AdminError, AdminError> {
        let at = self.core.window_time(by.at)?;
        let evidence = Evidence::Refused(reason);
        let attempt = self.presented((user, serial), (purpose, evidence), (by, at));
        let reason = self.refuse(Some(user), attempt).await?;
        Ok(AdminError::Refused(reason))
    }

    /// Puts a refusal on record; returns its reason.
    pub(super) async fn refuse(
        &self,
        user: Option<&UserKey>,
        attempt: Attempt,
    ) -> Result<Reason, AdminError> {
        let attempt = &attempt;
        let gather = || async move { Ok::<_, CoreError>((attempt.clone(), ())) };
        let (verdict, ()) = self.login.settle_with(user, true, gather).await?;
        Ok(verdict.reason)
    }
}

/// Whether two codes may find the token again: one in use, a suspended one before it is resumed, and one
/// that waits for its first code where a repair of the store closed it.
pub fn may_resync(life: LifeCycle, state: &TokenState) -> bool {
    match life {
        LifeCycle::Active | LifeCycle::Suspended => true,
        LifeCycle::Pending => state.needs_resync().is_some(),
        _ => false,
    }
}

pub(super) fn resync(
    token: &Token,
    state: &TokenState,
    first: &Typed,
    second: &Typed,
    at: UnixTime,
) -> Comparison {
    let (matches, drift) = match (token.kind, first, second) {
        (Kind::Hotp, Typed::Digits(first), Typed::Digits(second)) => {
            (counter_of(token, state, first, second), DriftRule::None)
        }
        (Kind::Totp, Typed::Digits(first), Typed::Digits(second)) => {
            time_of(token, state, first, second, at)
        }
        (Kind::Yubikey, Typed::Yubikey(first), Typed::Yubikey(second)) => {
            (press_of(token, state, first, second), DriftRule::None)
        }
        _ => (Matches::default(), DriftRule::None),
    };
    Comparison {
        serial: token.serial.clone(),
        kind: token.kind,
        issued: None,
        revision: token.revision,
        seen: state.moving,
        matches,
        drift,
        first: false,
    }
}

fn counter_of(token: &Token, state: &TokenState, first: &Code, second: &Code) -> Matches {
    let from = state.moving.next();
    // One that a restore closed may have been used often since; two codes in a row are still not guessed.
    let within = match state.needs_resync() {
        Some(_) => hotp::MAX_REACH,
        None => HOTP_RESYNC,
    };
    let found = hotp::resync(
        &token.key,
        token.algorithm,
        token.digits,
        first,
        second,
        from,
        within,
    );
    let mut matches = Matches::default();
    found
        .into_iter()
        .for_each(|counter| matches.insert(counter));
    matches
}

fn time_of(
    token: &Token,
    state: &TokenState,
    first: &Code,
    second: &Code,
    at: UnixTime,
) -> (Matches, DriftRule) {
    let parameters = match_otp::parameters(token);
    let after = state.moving.last.map(TimeStep::new);
    let found = totp::resync(&token.key, parameters, first, second, at, after, u32::MAX);
    // A pair whose first code is consumed is no pair.
    let fresh = |step: u64| {
        let first = step.saturating_sub(1);
        !state.moving.ahead.contains(first) && !state.moving.ahead.contains(step)
    };
    let mut matches = Matches::default();
    match found.filter(|(step, _)| fresh(step.get())) {
        Some((step, found)) => {
            matches.insert(step.get());
            (matches, DriftRule::Fixed(found))
        }
        None => (matches, DriftRule::None),
    }
}

/// Two presses of a key, one after the other, neither used.
fn press_of(
    token: &Token,
    state: &TokenState,
    first: &SecretString,
    second: &SecretString,
) -> Matches {
    let step = |typed: &SecretString| {
        let press = yubikey::open(&token.key, token.serial.as_str(), typed.expose())?;
        Some(press.step()).filter(|step| state.moving.is_unused(*step))
    };
    let mut matches = Matches::default();
    if let (Some(first), Some(second)) = (step(first), step(second))
        && first < second
    {
        matches.insert(second);
    }
    matches
}

/// HOTP counters searched by a resynchronisation (contract s7).
const HOTP_RESYNC: u32 = 50;
/// How long an administrator's code may wait in the store's queue.
const ADMIN_DEADLINE: Duration = Duration::from_secs(10);
