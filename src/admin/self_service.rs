//! Users who enrol tokens themselves, through an application that a policy trusts with it.
//!
//! ```text
//! policy allows the kind -> the user is proven -> consent, step-up, address -> requested | handed out
//!                              | by the rule's factors and a token; who never had one, by `proof`
//! ```
//!
//! Invariants: anyone who has a token is proven by what the rule asks for, a code among it, never by less,
//! and not by what an exception leaves out. A token that is suspended, or went within `factor_memory`,
//! counts: then only a code that an operator gave (`branch_code`) stands in its place. A proof is looked at as a
//! login's is, where it is: a user who is disabled, or for whom no rule holds, proves nothing. A wrong proof is
//! counted like a wrong login and looks like one, and every refusal is on record. An
//! address that no operator put on record is taken only from who proves another token (capabilities C2).
//!
//! Threats: anyone who knows a password makes it the key to a token of their own. So `proof` is for users
//! who had no token so far, and a policy can ask for approvals, for consent (capabilities C10) and for a code that
//! an operator or the user's telephone gives (capabilities C1).

use std::time::Duration;

use crate::admin::Admin;
use crate::admin::{AdminError, Enrol, Handed, NewToken, Offered};
use crate::core::{CoreError, policy_of};
use crate::login::case::Case;
use crate::login::demand::success;
use crate::login::hashing::Place;
use crate::login::match_issued::compare_issued;
use crate::login::round::Round;
use crate::login::{LoginAnswer, LoginRequest, Presented, facts, settle};
use crate::model::attempt::{Attempt, Compared, Comparison, Evidence, Note};
use crate::model::audit::Purpose;
use crate::model::credential::Knowledge;
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::message::Medium;
use crate::model::reason::{Decision, Reason};
use crate::model::source::Source;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user::{Touched, User};
use crate::model::user_key::UserKey;
use crate::otp::{Algorithm, Digits, Period, recovery};
use crate::policy::split::Split;
use crate::policy::{Factor, Policy, Rule, StepUp};
use crate::secret::SecretString;
use crate::store::{By, View};
use crate::time::UnixTime;

mod stock;

pub(crate) use stock::lets_take;

/// A token that a user asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What it is.
    pub kind: Kind,
    /// Where its codes are sent; what is on record when none.
    pub address: Option<String>,
    /// The user's token that ends when this one is proven.
    pub replaces: Option<Serial>,
    /// What is presented in addition.
    pub step_up: Option<Step>,
}

/// A code that is presented in addition.
#[derive(Clone, Debug)]
pub struct Step {
    /// Of which way.
    pub way: StepUp,
    /// The code.
    pub code: SecretString,
}

/// What came of it.
#[derive(Debug)]
pub enum SelfService {
    /// It is made; what is left is in its state.
    Made(Box<Offered>),
    /// A code was right.
    Proven(Box<Token>),
    /// The user is not proven; when the answer may leave.
    Refused(Duration),
}

/// What is known of a proven user.
struct Proven {
    /// The token whose code was right, when one was asked for.
    serial: Option<Serial>,
}

/// What is compared of a user.
#[derive(Clone, Copy)]
enum Asked<'a> {
    /// What they know; no factor that is held is among these.
    Known(&'a [Factor]),
    /// A code in addition; it is used up when it is right.
    Code(&'a Step),
}

/// What a client asks, by which policy and at which time.
type AskedAt<'r, 'p> = (&'r LoginRequest<'r>, &'p Policy, UnixTime);

impl Admin {
    /// Makes a token for the user who is proven by what the request presents.
    pub async fn self_enrol(
        &self,
        request: &LoginRequest<'_>,
        wish: Wish,
    ) -> Result<SelfService, AdminError> {
        let policies = self.core.policies();
        let policy = policy_of(request.client, &policies)?;
        let rules = &policy.enrolment;
        if !rules.self_service.contains(&wish.kind) {
            return Err(AdminError::Forbidden(
                "the policy of this client does not let users enrol tokens of this kind",
            ));
        }
        let refused = || {
            let delay = self.login.schedule(request, policy.reject_delay);
            Ok(SelfService::Refused(delay))
        };
        let Some(proven) = self.proven(request, policy, wish.step_up.as_ref()).await? else {
            return refused();
        };
        let Some(key) = self.core.whose(request.client, request.user)? else {
            return refused();
        };
        let user = self.user(&key)?;
        if !rules.remote && !user.remote_issue {
            return Err(AdminError::Forbidden(
                "this user has not consented to enrolment from afar: an operator enrols the token",
            ));
        }
        self.own_address(&wish, &user, &proven)?;
        if !rules.step_up.is_empty() {
            let Some(step) = &wish.step_up else {
                return Err(AdminError::Invalid {
                    field: "step_up",
                    message: format!("the policy asks for one of {}", words(&rules.step_up)),
                });
            };
            if !rules.step_up.contains(&step.way)
                || !self.settled(request, policy, Asked::Code(step)).await?
            {
                return refused();
            }
        }
        let by = By::new(format!("user {key}"), (request.id, request.at));
        self.made(wish, (key, &proven), policy, by).await
    }

    /// Proves a token of the user by its first right code.
    pub async fn self_confirm(
        &self,
        request: &LoginRequest<'_>,
        serial: &Serial,
        typed: &SecretString,
    ) -> Result<SelfService, AdminError> {
        let policies = self.core.policies();
        let policy = policy_of(request.client, &policies)?;
        let asked = (request, policy, self.core.window_time(request.at)?);
        match self.awaited(asked, serial)? {
            Ok(key) => {
                let by = By::new(format!("user {key}"), (request.id, request.at));
                match self.prove_own(serial, typed, by).await {
                    Ok(token) => return Ok(SelfService::Proven(Box::new(token))),
                    // It is on record.
                    Err(AdminError::Refused(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(reason) => {
                let note = Note {
                    always: Some(format!("the first code of token {serial}")),
                    ..Note::default()
                };
                let evidence = Evidence::Refused(reason);
                let typed = self.core.called(asked.0.client, asked.0.user);
                let attempt =
                    asked
                        .0
                        .attempt((asked.1, asked.2), typed, (Purpose::Confirm, evidence));
                self.refuse(None, Attempt { note, ..attempt }).await?;
            }
        }
        let delay = self.login.schedule(request, policy.reject_delay);
        Ok(SelfService::Refused(delay))
    }

    /// The user who asks, if a first code of this token is looked at; else why it is not.
    fn awaited(
        &self,
        asked: AskedAt<'_, '_>,
        serial: &Serial,
    ) -> Result<Result<UserKey, Reason>, AdminError> {
        let (request, _, at) = asked;
        let key = self.core.whose(request.client, request.user)?;
        let view = match &key {
            Some(key) => self.core.store.view(key)?,
            None => None,
        };
        let Some(view) = view else {
            return Ok(Err(Reason::UnknownUser));
        };
        if let Err(reason) = rule_of(asked, &view) {
            return Ok(Err(reason));
        }
        let mut tokens = view.tokens.iter().map(|(token, _)| token);
        let named = tokens.find(|token| token.serial == *serial && token.user == view.user.key);
        Ok(match named.map(|token| token.state_at(at)) {
            Some(LifeCycle::Pending) => Ok(view.user.key),
            Some(_) => Err(Reason::NotActive),
            None => Err(Reason::NoToken),
        })
    }

    async fn made(
        &self,
        wish: Wish,
        (user, proven): (UserKey, &Proven),
        policy: &Policy,
        by: By,
    ) -> Result<SelfService, AdminError> {
        // A code of any kind was asked for beside it.
        let stepped_up = wish.step_up.is_some() && !policy.enrolment.step_up.is_empty();
        let token = NewToken {
            user,
            kind: wish.kind,
            algorithm: Algorithm::Sha1,
            digits: Digits::SIX,
            period: Period::THIRTY,
            key: None,
            counter: 0,
            active: false,
            serial: None,
        };
        let enrol = Enrol {
            address: wish.address,
            replaces: wish.replaces,
            request: true,
            by_knowledge: proven.serial.is_none() && !stepped_up,
            strict: false,
            policy: Some(policy.name.clone()),
            ..token.into()
        };
        let handed = self.enrol_token(enrol, by.clone()).await?;
        let serial = handed.token.serial.clone();
        let pending = handed.token.state == LifeCycle::Pending;
        if !pending || matches!(handed.token.kind, Kind::Totp | Kind::Hotp) {
            return Ok(SelfService::Made(Box::new(Offered::from(handed))));
        }
        let offered = self.offer_token(&serial, &[], None, None, by).await?;
        let handed = Handed {
            token: offered.handed.token.clone(),
            state: offered.handed.state,
            // Paper is in the answer that made it.
            ..handed
        };
        Ok(SelfService::Made(Box::new(Offered { handed, ..offered })))
    }

    /// Whether the request proves the user; by the rule, or by `proof` where there is no token, and
    /// was none lately, that the rule could ask for.
    async fn proven(
        &self,
        request: &LoginRequest<'_>,
        policy: &Policy,
        step_up: Option<&Step>,
    ) -> Result<Option<Proven>, AdminError> {
        let key = self.core.whose(request.client, request.user)?;
        let view = match &key {
            Some(key) => self.core.store.view(key)?,
            None => None,
        };
        let rules = &policy.enrolment;
        let held = view.map_or(Held::Never, |view| held(&view, policy, request.at));
        // It is compared, and used up, after this.
        let vouched = step_up.is_some_and(|step| {
            step.way == StepUp::BranchCode && rules.step_up.contains(&StepUp::BranchCode)
        });
        let known_is_enough = match held {
            Held::Never => true,
            Held::Before => vouched,
            Held::InUse => false,
        };
        if let Some(factors) = rules.proof.as_ref().filter(|_| known_is_enough) {
            let known = self.settled(request, policy, Asked::Known(factors)).await?;
            return Ok(known.then_some(Proven { serial: None }));
        }
        let decided = self.login.authenticate(request).await?;
        let excepted = matches!(decided.reason, Reason::BypassOk | Reason::ExemptOk);
        Ok(match decided.answer {
            // A rule may ask less of who asks from elsewhere: a token is replaced by a token.
            LoginAnswer::Accept(accepted)
                if !excepted && (known_is_enough || accepted.serial.is_some()) =>
            {
                Some(Proven {
                    serial: accepted.serial,
                })
            }
            _ => None,
        })
    }

    /// Whether what is asked for is right, counted like a login.
    async fn settled(
        &self,
        request: &LoginRequest<'_>,
        policy: &Policy,
        asked: Asked<'_>,
    ) -> Result<bool, AdminError> {
        let mut room = Default::default();
        let request = &LoginRequest {
            presented: request.presented.tidied(&mut room),
            ..*request
        };
        let asked_at = (request, policy, self.core.window_time(request.at)?);
        // Before anything is known of the user, as for a login.
        let place = self.login.hasher.place(false, Some(request.holder()))?;
        let key = self.core.whose(request.client, request.user)?;
        let (key, place) = (key.as_ref(), &place);
        let gather = || async move {
            let found = self.evidence(asked_at, key, asked, place).await?;
            let typed = || self.core.called(asked_at.0.client, asked_at.0.user);
            let name = key.map_or_else(typed, UserKey::joined);
            let attempt = request.attempt((policy, asked_at.2), name, (Purpose::Enrol, found));
            Ok::<_, CoreError>((attempt, ()))
        };
        let (verdict, ()) = self.login.settle_with(key, true, gather).await?;
        Ok(verdict.decision == Decision::Accept)
    }

    /// What is found of what is asked for.
    async fn evidence(
        &self,
        asked_at: AskedAt<'_, '_>,
        key: Option<&UserKey>,
        asked: Asked<'_>,
        place: &Place,
    ) -> Result<Evidence, CoreError> {
        let (request, policy, at) = asked_at;
        let view = match key {
            Some(key) => self.core.store.view(key)?,
            None => None,
        };
        let found = match &view {
            Some(view) => rule_of(asked_at, view).map(|rule| (view, rule)),
            None => Err(Reason::UnknownUser),
        };
        match (found, asked) {
            (Ok((view, rule)), Asked::Known(factors)) => {
                let case = Case {
                    request,
                    policy,
                    rule,
                    at,
                    least: 0,
                };
                self.known((case, view), factors, place).await
            }
            (Ok((view, _)), Asked::Code(step)) => Ok(code(asked_at, view, step)),
            (Err(reason), Asked::Known(factors)) => {
                self.miss(asked_at, (reason, factors.len()), place).await
            }
            (Err(reason), Asked::Code(_)) => Ok(Evidence::Refused(reason)),
        }
    }

    /// Compares what the user knows.
    async fn known(
        &self,
        (case, view): (Case<'_, '_>, &View),
        factors: &[Factor],
        place: &Place,
    ) -> Result<Evidence, CoreError> {
        let asked_at = (case.request, case.policy, case.at);
        let mut credentials = self.core.store.credentials(&view.user.key)?;
        let elsewhere = self.core.directories.checking(&view.user).is_some();
        if elsewhere {
            // One that was set here, before the user followed the directory, opens nothing.
            credentials.password = None;
        }
        let missing = factors.iter().find_map(|factor| match factor {
            Factor::Pin if credentials.pin.is_none() => Some(Reason::NoPin),
            Factor::Password if credentials.password.is_none() && !elsewhere => {
                Some(Reason::NoPassword)
            }
            _ => None,
        });
        if let Some(reason) = missing {
            return self.miss(asked_at, (reason, factors.len()), place).await;
        }
        let typed = |which| presented(case.request.presented, which);
        let parts = Split {
            password: typed(Knowledge::Password),
            pin: typed(Knowledge::Pin),
            code: None,
        };
        let round = Round::new(factors, factors.len(), parts);
        let mut outdated = Vec::new();
        let known = self.login.proves(
            (case, view),
            &credentials,
            &round,
            &mut outdated,
            (None, Some(place)),
        );
        let knowledge = match known.await? {
            Ok(knowledge) => knowledge,
            Err(reason) => return self.miss(asked_at, (reason, factors.len()), place).await,
        };
        Ok(Evidence::Compared(Compared {
            credentials: Some(credentials.revision),
            knowledge,
            tokens: None,
            // One that an operator set is changed before it opens anything.
            success: success(factors, None, &credentials),
            ..settle::compared(view, Vec::new())
        }))
    }

    /// A refusal, after about the work of so many comparisons. Anyone who is blocked gets no hashing done, but waits
    /// as long.
    async fn miss(
        &self,
        (request, policy, at): AskedAt<'_, '_>,
        (reason, comparisons): (Reason, usize),
        place: &Place,
    ) -> Result<Evidence, CoreError> {
        let source = request.source.map(Source::from);
        let blocked = match reason {
            Reason::Locked | Reason::Throttled | Reason::SourceBlocked => true,
            reason if reason.is_guess() => self.login.source_blocked(policy, source, at)?,
            _ => false,
        };
        for _ in 0..comparisons {
            self.login.spend(Some(place), blocked).await?;
        }
        Ok(Evidence::Refused(reason))
    }

    /// Refuses an address that no one but the asker vouches for.
    fn own_address(&self, wish: &Wish, user: &User, proven: &Proven) -> Result<(), AdminError> {
        let (Some(medium), Some(given)) = (Medium::of(wish.kind), &wish.address) else {
            return Ok(());
        };
        let own = match wish.kind {
            Kind::Email => &user.email,
            _ => &user.phone,
        };
        let given = self.normal("address", medium, given)?;
        let own = own
            .as_ref()
            .and_then(|own| self.normal("address", medium, own).ok());
        if own.is_some_and(|own| own == given) || proven.serial.is_some() {
            return Ok(());
        }
        Err(AdminError::Forbidden(
            "another address than the one on record needs a code of another token of the user, or an \
             operator",
        ))
    }
}

/// Whether a user has something that a code can be asked of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Held {
    /// A token is in use.
    InUse,
    /// One is suspended, or went lately.
    Before,
    /// There was none.
    Never,
}

/// What the user has, or had within the policy's `factor_memory`. Recovery codes count where a rule
/// takes them, but for one that an operator gave for an enrolment.
fn held(view: &View, policy: &Policy, at: UnixTime) -> Held {
    let memory = policy.enrolment.factor_memory;
    let lately = |end: UnixTime| at.since(end) < memory;
    let takes_recovery = policy.rules.iter().any(|rule| {
        let mut held = rule.require.iter().filter(|factor| !factor.is_knowledge());
        held.any(|factor| {
            rule.accepts(*factor, false)
                .any(|one| one == Factor::Recovery)
        })
    });
    // A password that an operator set lately may be known to the operator.
    let mut secrets = view.user.did(Touched::Secret, at);
    let told = secrets.any(|act| !view.user.is_set_up_by(&act.actor, at));
    let mut standing = match view.state.held {
        Some(end) if lately(end) => Held::Before,
        _ if told => Held::Before,
        _ => Held::Never,
    };
    for (token, state) in &view.tokens {
        let counted = token.kind != Kind::Recovery
            || (takes_recovery && !counts(token, state, StepUp::BranchCode, at));
        match token.state {
            LifeCycle::Active if counted && token.state_at(at) == LifeCycle::Active => {
                return Held::InUse;
            }
            LifeCycle::Active | LifeCycle::Suspended if counted => {
                let expired = token.expires.filter(|end| at >= *end);
                if expired.is_none_or(lately) {
                    standing = Held::Before;
                }
            }
            _ => {}
        }
    }
    standing
}

/// Whether a token gives codes of this way: for a branch code a sheet of one code with an end, which
/// an operator made.
fn counts(token: &Token, state: &TokenState, way: StepUp, at: UnixTime) -> bool {
    let kind = match way {
        StepUp::Sms => Kind::Sms,
        StepUp::Voice => Kind::Voice,
        StepUp::BranchCode => Kind::Recovery,
    };
    let fits = match way {
        StepUp::Sms | StepUp::Voice => true,
        StepUp::BranchCode => {
            let left = u32::from(recovery::MAX).saturating_sub(state.used.count());
            let own = token.enrolment.requester.starts_with("user ");
            token.expires.is_some() && left <= 1 && state.used.contains(1) && !own
        }
    };
    token.kind == kind && token.state_at(at) == LifeCycle::Active && fits
}

/// The rule that holds for a user: one who is disabled, or for whom none does, proves nothing.
fn rule_of<'p>((request, policy, at): AskedAt<'_, 'p>, view: &View) -> Result<&'p Rule, Reason> {
    if view.user.disabled {
        return Err(Reason::UserDisabled);
    }
    let rule = policy.decide(&facts(request, view, at)).rule();
    rule.ok_or(Reason::NoRule)
}

/// Compares the code in addition with all tokens that give such codes.
fn code((request, _, at): AskedAt<'_, '_>, view: &View, step: &Step) -> Evidence {
    let client = Some(request.client.name.as_str());
    let usable = view
        .tokens
        .iter()
        .filter(|(token, state)| counts(token, state, step.way, at));
    let tidy = step.code.without_blanks();
    let typed = tidy.as_ref().unwrap_or(&step.code).expose();
    let compare =
        |(token, state): &(Token, TokenState)| compare_issued(token, state, client, typed);
    let tokens: Vec<Comparison> = usable.map(compare).collect();
    if tokens.is_empty() {
        return Evidence::Refused(Reason::NoToken);
    }
    Evidence::Compared(settle::compared(view, tokens))
}

/// What was typed into a field of its own; an empty one is none.
fn presented(presented: Presented<'_>, which: Knowledge) -> Option<&str> {
    let typed = match (presented, which) {
        (Presented::Fields { pin, .. }, Knowledge::Pin) => pin,
        (Presented::Fields { password, .. }, Knowledge::Password) => password,
        (Presented::Passcode(_) | Presented::Response(_), _) => None,
    };
    let typed = typed.map(SecretString::expose);
    typed.filter(|typed| !typed.is_empty())
}

fn words(ways: &[StepUp]) -> String {
    let words: Vec<&str> = ways.iter().map(|way| way.as_str()).collect();
    words.join(", ")
}
