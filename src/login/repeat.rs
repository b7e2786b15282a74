//! The first answer to a human attempt, given again: a NAS may send one attempt in several packets.
//!
//! Which packets are one attempt is the front end's to say, for it knows what the NAS sent. Here is what
//! holds whatever it says:
//!
//! - nothing is compared and nothing is consumed: the answer is that of the one consumption;
//! - an accept is given again only while all that it rested on is as it was ([`Rests`]: the user with groups and
//!   status, PIN and password, the tokens of all rounds, the client, the policy, a declared outage), the same rule applies, and
//!   neither user nor source is blocked; else the request is decided like any other;
//! - each answer given again has its own record in the audit before it leaves (contract s8.2, s8.8).
//!
//! An accept that leaves a packet after it was decided, because the peer confirms it first (EAP), is held to
//! those records too: [`Login::confirmed`]. The rule that decided is the one that counts, as in all rounds of a login.
//! Of blocks only a lock of the user ends it: its code is used up, and a pause that others bring about by guessing
//! meanwhile would keep the person out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::{CoreError, policy_of, shorten};
use crate::login::case::Case;
use crate::login::{Accepted, Fit, Login, LoginAnswer, LoginOutcome, LoginRequest, Rests};
use crate::login::{attributes, facts};
use crate::model::attempt::{Attempt, Evidence, Note, Proven, Repeated};
use crate::model::audit::Purpose;
use crate::model::id::{RequestId, Serial};
use crate::model::reason::{Decision, Reason};
use crate::model::source::Source;
use crate::model::token::LifeCycle;
use crate::model::user_key::UserKey;
use crate::otp::throttle::Blocked;
use crate::policy::{Policy, Rule};
use crate::secret::SecretString;
use crate::store::View;
use crate::time::UnixTime;

/// An answer that may be given again.
#[derive(Clone, Debug)]
pub struct Given {
    /// The request that was decided.
    first: RequestId,
    answer: Answer,
}

#[derive(Clone, Debug)]
enum Answer {
    /// A code was consumed.
    Accept {
        user: UserKey,
        serial: Option<Serial>,
        held: Vec<Proven>,
        assurance: u8,
        rule: Arc<str>,
        rests: Rests,
    },
    /// A guess was counted.
    Reject,
}

impl Given {
    /// The answer to this request, if it is one of those: an accept that consumed a code, or a reject that was
    /// counted. Any other request costs nothing when it is decided again.
    pub fn of(first: RequestId, decided: &LoginOutcome) -> Option<Self> {
        let answer = match &decided.answer {
            LoginAnswer::Accept(accepted) => Answer::Accept {
                user: accepted.user.clone(),
                serial: accepted.serial.clone(),
                held: accepted.held.clone(),
                assurance: accepted.assurance,
                rule: Arc::clone(&accepted.rule),
                rests: accepted.rests?,
            },
            LoginAnswer::Reject if is_counted(decided.reason) => Answer::Reject,
            LoginAnswer::Reject | LoginAnswer::Challenge(_) => return None,
        };
        Some(Self { first, answer })
    }

    /// A reject, counted or not, for an asker who says that the request is the same.
    pub const fn reject(first: RequestId) -> Self {
        Self {
            first,
            answer: Answer::Reject,
        }
    }

    /// The request that was decided.
    pub const fn first(&self) -> RequestId {
        self.first
    }

    /// Whether it lets in.
    pub const fn accepts(&self) -> bool {
        matches!(self.answer, Answer::Accept { .. })
    }
}

/// Whether such a reject was counted against someone.
const fn is_counted(reason: Reason) -> bool {
    let wrong = matches!(
        reason,
        Reason::WrongCode
            | Reason::WrongPin
            | Reason::WrongPassword
            | Reason::UsedCode
            | Reason::ExpiredCode
    );
    wrong || reason.is_guess()
}

impl Login {
    /// Gives an answer again to another packet or request of the same attempt, where `typed` made its response if it
    /// has one. Decides as [`Login::authenticate`] does where it cannot be given again.
    pub async fn again(
        &self,
        request: &LoginRequest<'_>,
        given: &Given,
        typed: Option<&SecretString>,
    ) -> Result<LoginOutcome, CoreError> {
        let began = Instant::now();
        match self.given_again(request, given, typed).await {
            Ok(None) => self.authenticate(request).await,
            Ok(Some(decided)) => {
                let decision = decided.answer.decision();
                let channel = request.channel;
                self.core.latencies.took(channel, Some(decision), began);
                self.core
                    .counters
                    .decided(channel, decided.reason, decision);
                Ok(decided)
            }
            Err(error) => {
                self.core.counters.undecided(request.channel);
                self.undecided.log(request, &error);
                Err(error)
            }
        }
    }

    async fn given_again(
        &self,
        request: &LoginRequest<'_>,
        given: &Given,
        typed: Option<&SecretString>,
    ) -> Result<Option<LoginOutcome>, CoreError> {
        let policies = self.core.policies.load_full();
        let policy = policy_of(request.client, &policies)?;
        let at = self.core.window_time(request.at)?;
        match &given.answer {
            Answer::Reject => {
                let user = self.core.whose(request.client, request.user)?;
                let user = user.map_or_else(|| shorten(request.user), |user| user.to_string());
                let evidence = Evidence::Refused(Reason::RepeatedReject);
                let attempt = attempt(request, given.first, (user, policy), evidence, at);
                let settled = self.core.store.attempt(attempt).await?;
                let reason = settled.map_or(Reason::RepeatedReject, |verdict| verdict.reason);
                Ok(Some(self.rejected(request, policy, reason)))
            }
            Answer::Accept { .. } => {
                self.accepted_again(request, policy, given, (typed, at))
                    .await
            }
        }
    }

    async fn accepted_again(
        &self,
        request: &LoginRequest<'_>,
        policy: &Policy,
        given: &Given,
        (typed, at): (Option<&SecretString>, UnixTime),
    ) -> Result<Option<LoginOutcome>, CoreError> {
        let Answer::Accept {
            user,
            serial,
            held,
            assurance,
            rule: label,
            rests,
        } = &given.answer
        else {
            return Ok(None);
        };
        let rested = (serial.as_ref(), held.as_slice(), label, Some(rests));
        let asked = (request, policy, at);
        let Ok((view, rule)) = self.standing_for(asked, user, rested, When::Again)? else {
            return Ok(None);
        };
        let knows = rule.require.iter().any(|factor| factor.is_knowledge());
        let token = serial.as_ref().map(Serial::as_str);
        let attributes = attributes(request, policy, rule, &view, token);
        let fit = request.carrier.map(|carrier| carrier.accept(&attributes));
        if matches!(fit, Some(Fit::Not(_))) {
            return Ok(None);
        }
        let evidence = Evidence::Repeated(Repeated {
            user: user.clone(),
            generation: view.generation,
            revision: rests.user,
            credentials: knows.then_some(rests.credentials),
            serial: serial.clone(),
            token: rests.token,
            held: held.clone(),
        });
        let whose = (user.to_string(), policy);
        let mut attempt = attempt(request, given.first, whose, evidence, at);
        attempt.rule = Some(Arc::clone(label));
        let Ok(verdict) = self.core.store.attempt(attempt).await? else {
            return Ok(None);
        };
        if verdict.decision != Decision::Accept {
            return Ok(Some(self.rejected(request, policy, verdict.reason)));
        }
        let accepted = Accepted {
            login: given.first,
            user: user.clone(),
            serial: serial.clone(),
            held: held.clone(),
            assurance: *assurance,
            rule: Arc::clone(label),
            typed: typed.cloned(),
            attributes,
            rests: None,
        };
        Ok(Some(LoginOutcome {
            answer: LoginAnswer::Accept(accepted),
            reason: verdict.reason,
            proven: Vec::new(),
            delay: Duration::ZERO,
        }))
    }

    /// An accept that waited for the peer's confirmation: it is told while all that it rested on is as it
    /// was. Otherwise the refusal that is told in its place, on record.
    pub async fn confirmed(
        &self,
        request: &LoginRequest<'_>,
        accepted: &Accepted,
    ) -> Result<LoginOutcome, CoreError> {
        let began = Instant::now();
        let outcome = self.confirmed_now(request, accepted).await;
        match &outcome {
            Ok(outcome) if matches!(outcome.answer, LoginAnswer::Reject) => {
                let (channel, decision) = (request.channel, Decision::Reject);
                self.core.latencies.took(channel, Some(decision), began);
                self.core
                    .counters
                    .decided(channel, outcome.reason, decision);
            }
            // It was counted when it was decided.
            Ok(_) => {}
            Err(error) => {
                self.core.counters.undecided(request.channel);
                self.undecided.log(request, error);
            }
        }
        outcome
    }

    async fn confirmed_now(
        &self,
        request: &LoginRequest<'_>,
        accepted: &Accepted,
    ) -> Result<LoginOutcome, CoreError> {
        let policies = self.core.policies.load_full();
        let policy = policy_of(request.client, &policies)?;
        let at = self.core.window_time(request.at)?;
        let Accepted {
            user,
            serial,
            held,
            rule,
            ..
        } = accepted;
        let rests = accepted.rests.as_ref();
        let rested = (serial.as_ref(), held.as_slice(), rule, rests);
        let standing = self.standing_for((request, policy, at), user, rested, When::Confirmed)?;
        let Err(reason) = standing.map(drop) else {
            return Ok(LoginOutcome {
                answer: LoginAnswer::Accept(accepted.clone()),
                reason: Reason::RepeatedOk,
                proven: Vec::new(),
                delay: Duration::ZERO,
            });
        };
        let evidence = Evidence::Refused(reason);
        let mut attempt = attempt(
            request,
            accepted.login,
            (user.to_string(), policy),
            evidence,
            at,
        );
        attempt.rule = Some(Arc::clone(rule));
        attempt.note = Note {
            always: Some(format!("the accept of {} {NOT_TOLD}", accepted.login)),
            ..Note::default()
        };
        let settled = self.core.store.attempt(attempt).await?;
        let reason = settled.map_or(reason, |verdict| verdict.reason);
        Ok(self.rejected(request, policy, reason))
    }

    /// The user and the rule, where all that an accept rested on is as it was; else what is not.
    fn standing_for<'p>(
        &self,
        (request, policy, at): (&LoginRequest<'_>, &'p Policy, UnixTime),
        user: &UserKey,
        (serial, held, label, rests): Rested<'_>,
        when: When,
    ) -> Result<Result<(View, &'p Rule), Reason>, CoreError> {
        let Some(view) = self.core.store.view(user)? else {
            return Ok(Err(Reason::UnknownUser));
        };
        if view.user.disabled {
            return Ok(Err(Reason::UserDisabled));
        }
        // What the conditions of the rule looked at need not come with the answer to a challenge.
        let began_before = matches!(when, When::Confirmed) || request.challenge.is_some();
        let rule = match rests {
            // The policy is the same text, see below: a rule that held when the login began is not asked again.
            Some(_) if began_before => policy.rules.iter().find(|rule| rule.label == *label),
            _ => {
                let rule = policy.decide(&facts(request, &view, at)).rule();
                rule.filter(|rule| rule.label == *label)
            }
        };
        let Some(rule) = rule.filter(|_| request.client.takes(request.method)) else {
            return Ok(Err(Reason::NoRule));
        };
        let token = serial.map_or(Some(0), |serial| usable(&view, serial, at));
        let stands = |one: &Proven| usable(&view, &one.serial, at) == Some(one.revision);
        let Some(token) = token.filter(|_| held.iter().all(stands)) else {
            return Ok(Err(Reason::NotActive));
        };
        if let Some(rests) = rests {
            let credentials = self.bound_to(rule, &view)?.revision;
            let outage = self.relief(rule, at)?.is_some();
            let now = Rests::of(
                (request.client, policy),
                &view,
                (credentials, token, outage),
            );
            if now != *rests {
                return Ok(Err(Reason::StaleChallenge));
            }
        }
        let case = Case {
            request,
            policy,
            rule,
            at,
            least: 0,
        };
        let open = match when {
            When::Again => self.unblocked(case, &view)?,
            When::Confirmed => unlocked(case, &view),
        };
        Ok(open.map(|()| (view, rule)))
    }

    fn rejected(
        &self,
        request: &LoginRequest<'_>,
        policy: &Policy,
        reason: Reason,
    ) -> LoginOutcome {
        LoginOutcome {
            answer: LoginAnswer::Reject,
            reason,
            proven: Vec::new(),
            delay: self.schedule(request, policy.reject_delay),
        }
    }
}

/// What an accept rested on: the token that decided, those of earlier rounds, the rule, and the records.
type Rested<'r> = (
    Option<&'r Serial>,
    &'r [Proven],
    &'r Arc<str>,
    Option<&'r Rests>,
);

/// Why an accept is looked at once more.
#[derive(Clone, Copy)]
enum When {
    /// Another packet or request of the attempt is answered.
    Again,
    /// The peer has confirmed it.
    Confirmed,
}

/// Whether the user is not locked. A pause is none, but may hide a lock that goes on behind it.
fn unlocked(case: Case<'_, '_>, view: &View) -> Result<(), Reason> {
    let source = case.request.source.map(Source::from);
    let check = |at: UnixTime| view.state.check(source, &case.policy.lockout, at);
    let blocked = match check(case.at) {
        Err(Blocked::Throttled { until }) => check(until),
        other => other,
    };
    match blocked {
        Err(Blocked::Locked { .. }) => Err(Reason::Locked),
        Ok(()) | Err(Blocked::Throttled { .. }) => Ok(()),
    }
}

/// What the audit says of an accept that something overtook.
const NOT_TOLD: &str = "waited for the peer's confirmation and was not sent: the user, the token or what else it \
                        rested on was changed meanwhile";

/// The revision of a user's token that is in use.
fn usable(view: &View, serial: &Serial, at: UnixTime) -> Option<u64> {
    let mut tokens = view.tokens.iter();
    let (token, _) = tokens.find(|(token, _)| token.serial == *serial)?;
    (token.state_at(at) == LifeCycle::Active).then_some(token.revision)
}

fn attempt(
    request: &LoginRequest<'_>,
    first: RequestId,
    (user, policy): (String, &Policy),
    evidence: Evidence,
    at: UnixTime,
) -> Attempt {
    Attempt {
        note: Note {
            always: Some(format!("the answer to {first} again")),
            ..Note::default()
        },
        ..request.attempt((policy, at), user, (Purpose::Login, evidence))
    }
}
