//! The first answer to a human attempt, given again: a NAS may send one attempt in several packets.
//!
//! Which packets are one attempt is the front end's to say, for it knows what the NAS sent. Here is what
//! holds whatever it says:
//!
//! - nothing is compared and nothing is consumed: the answer is that of the one consumption;
//! - an accept is given again only while all that it rested on is as it was ([`Rests`]: the user with groups and
//!   status, PIN and password, the token, the client, the policy, a declared outage), the same rule applies, and
//!   neither user nor source is blocked; else the request is decided like any other;
//! - each answer given again has its own record in the audit before it leaves (contract s8.2, s8.8).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::{CoreError, policy_of, shorten};
use crate::login::case::Case;
use crate::login::{Accepted, Fit, Login, LoginAnswer, LoginOutcome, LoginRequest, Rests};
use crate::login::{attributes, facts};
use crate::model::attempt::{Attempt, Evidence, Note, Repeated};
use crate::model::audit::Purpose;
use crate::model::id::{RequestId, Serial};
use crate::model::reason::{Decision, Reason};
use crate::model::token::LifeCycle;
use crate::model::user_key::UserKey;
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
        serial: Serial,
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
                serial: accepted.serial.clone()?,
                assurance: accepted.assurance,
                rule: Arc::clone(&accepted.rule),
                rests: accepted.rests?,
            },
            LoginAnswer::Reject if is_counted(decided.reason) => Answer::Reject,
            LoginAnswer::Reject | LoginAnswer::Challenge(_) => return None,
        };
        Some(Self { first, answer })
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
    /// Gives an answer again to another packet of the same attempt, where `typed` made its response if it has
    /// one. Decides as [`Login::authenticate`] does where it cannot be given again.
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
                let decision = Some(decided.answer.decision());
                self.core.latencies.took(request.channel, decision, began);
                self.core.counters.decided(request.channel, decided.reason);
                Ok(decided)
            }
            Err(error) => {
                self.core.counters.undecided(request.channel);
                tracing::warn!(id = %request.id, client = request.client.name, %error, "no decision");
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
            assurance,
            rule: label,
            rests,
        } = &given.answer
        else {
            return Ok(None);
        };
        let standing = self.standing_for((request, policy, at), user, (serial, label, rests));
        let Some((view, rule)) = standing? else {
            return Ok(None);
        };
        let knows = rule.require.iter().any(|factor| factor.is_knowledge());
        let attributes = attributes(request, policy, rule, &view, Some(serial.as_str()));
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
        });
        let mut attempt = attempt(
            request,
            given.first,
            (user.to_string(), policy),
            evidence,
            at,
        );
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
            serial: Some(serial.clone()),
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

    /// The user and the rule, where all that an accept rested on is as it was.
    fn standing_for<'p>(
        &self,
        (request, policy, at): (&LoginRequest<'_>, &'p Policy, UnixTime),
        user: &UserKey,
        (serial, label, rests): (&Serial, &Arc<str>, &Rests),
    ) -> Result<Option<(View, &'p Rule)>, CoreError> {
        let view = self.core.store.view(user)?;
        let Some(view) = view.filter(|view| !view.user.disabled) else {
            return Ok(None);
        };
        let rule = policy.decide(&facts(request, &view, at)).rule();
        let rule = rule.filter(|rule| rule.label == *label && request.client.takes(request.method));
        let (Some(rule), Some(token)) = (rule, usable(&view, serial, at)) else {
            return Ok(None);
        };
        let credentials = self.bound_to(rule, &view)?.revision;
        let outage = self.relief(rule, at)?.is_some();
        let now = Rests::of(
            (request.client, policy),
            &view,
            (credentials, token, outage),
        );
        if now != *rests {
            return Ok(None);
        }
        let case = Case {
            request,
            policy,
            rule,
            at,
            least: 0,
        };
        let open = self.unblocked(case, &view)?.is_ok();
        Ok(open.then_some((view, rule)))
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
        deadline: request.deadline,
        user,
        client: request.client.name.as_str().into(),
        method: request.method.into(),
        source: request.source,
        origin: request.origin.cloned(),
        note: Note {
            always: Some(format!("the answer to {first} again")),
            ..Note::default()
        },
        lockout: policy.lockout,
        ..Attempt::outside_login((request.id, at), request.channel, Purpose::Login, evidence)
    }
}
