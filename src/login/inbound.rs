//! What comes back by another channel than the login's: a text message from the person, keys pressed
//! in a call, and the word that freezes a token.
//!
//! ```text
//! login page shows 48 -> the person texts 48 from a verified number -> gateway -> here -> answered
//!                                                      the login is finished where it began
//! ```
//!
//! Invariants: only the verified address of a token in use answers for it; digits are ASCII digits,
//! exactly as many as were shown; a wrong answer is a failure of the user like any other, and three
//! void the digits (capabilities C7, D1, D3). An answer consumes nothing: the login that waits does.
//!
//! Limit: the sender of a text message can be forged. It is therefore never the only factor.

use std::time::{Duration, Instant};

use crate::core::CoreError;
use crate::core::issue::FREEZE_DIGITS;
use crate::login::{Login, settle};
use crate::model::attempt::{Attempt, Compared, Comparison, DriftRule, Evidence, Success};
use crate::model::audit::{Channel, Purpose};
use crate::model::id::RequestId;
use crate::model::issue::Way;
use crate::model::kind::Kind;
use crate::model::message::{Medium, address, mask};
use crate::model::reason::{Decision, Reason};
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::otp::Matches;
use crate::otp::issued::Mark;
use crate::secret::SecretString;
use crate::store::{By, Change, StoreError};
use crate::time::UnixTime;

/// What a gateway brought.
#[derive(Debug)]
pub struct Inbound<'a> {
    /// Names the request.
    pub id: RequestId,
    /// When it arrived.
    pub at: UnixTime,
    /// After this the answer is not awaited any more.
    pub deadline: UnixTime,
    /// How it came.
    pub medium: Medium,
    /// From which number.
    pub from: &'a str,
    /// What was written, or which keys were pressed.
    pub text: &'a SecretString,
}

/// What it did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// It was an answer, right or wrong, or no one waited for it: the audit says which.
    Answer(Reason),
    /// It froze tokens.
    Frozen(usize),
}

impl Login {
    /// Takes what a gateway brought.
    pub async fn inbound(&self, inbound: &Inbound<'_>) -> Result<Effect, CoreError> {
        let began = Instant::now();
        let taken = self.effect(inbound).await;
        let outcome = taken.as_ref().ok().map(|effect| match effect {
            Effect::Answer(reason) => reason.decision(),
            Effect::Frozen(_) => Decision::Accept,
        });
        self.core.latencies.took(Channel::Inbound, outcome, began);
        taken
    }

    /// Who it came from, in the one form of addresses.
    fn sender(&self, inbound: &Inbound<'_>) -> Option<String> {
        let from = inbound.from.trim();
        // Some gateways write numbers of their own country as these are dialled there.
        if from.starts_with('0') && !from.starts_with("00") {
            let home = self.core.home.load();
            return address(inbound.medium, from, home.as_deref()).ok();
        }
        // Others leave out the sign in front of the country.
        let with_sign = format!("+{}", from.trim_start_matches('+'));
        address(inbound.medium, &with_sign, None).ok()
    }

    async fn effect(&self, inbound: &Inbound<'_>) -> Result<Effect, CoreError> {
        let at = self.core.window_time(inbound.at)?;
        let from = self.sender(inbound);
        let tokens = match &from {
            Some(from) => self.core.store.tokens_at(from)?,
            None => Vec::new(),
        };
        let kind = match inbound.medium {
            Medium::Voice => Kind::Voice,
            _ => Kind::Sms,
        };
        let of_sender = |(token, _): &(Token, TokenState)| {
            token.kind == kind && token.state_at(at) == LifeCycle::Active
        };
        let tokens: Vec<_> = tokens.into_iter().filter(of_sender).collect();
        let text = inbound.text.expose().trim();
        if let Some(frozen) = self.freeze(inbound, &tokens, text, at).await? {
            return Ok(Effect::Frozen(frozen));
        }
        let waiting = tokens.iter().filter(|(_, state)| {
            let open = |issued: &crate::model::issue::Issued| {
                issued.way == Way::Inbound && issued.is_unused(state.moving.last)
            };
            state.issued.as_ref().is_some_and(open)
        });
        let waiting: Vec<_> = waiting.collect();
        let right = waiting
            .iter()
            .find(|(token, state)| is_answer(token, state, text));
        let reason = match right.or_else(|| waiting.first()) {
            Some((token, _)) => self.answer(inbound, token, text, at).await?,
            None => self.unexpected(inbound, at).await?,
        };
        Ok(Effect::Answer(reason))
    }

    async fn freeze(
        &self,
        inbound: &Inbound<'_>,
        tokens: &[(Token, TokenState)],
        text: &str,
        at: UnixTime,
    ) -> Result<Option<usize>, CoreError> {
        let word = text.rsplit(' ').next().unwrap_or_default();
        if word.len() != FREEZE_DIGITS || !word.bytes().all(|octet| octet.is_ascii_digit()) {
            return Ok(None);
        }
        let word = SecretString::from(word);
        let mut frozen = None;
        for (sender, _) in tokens {
            let Some(view) = self.core.store.view(&sender.user)? else {
                continue;
            };
            for (token, _) in &view.tokens {
                if self.core.freeze_word(token.serial.as_str()) != word {
                    continue;
                }
                let state = match token.state_at(at) {
                    LifeCycle::Active => LifeCycle::Suspended,
                    LifeCycle::Requested | LifeCycle::Approved | LifeCycle::Pending => {
                        LifeCycle::Revoked
                    }
                    _ => {
                        frozen = Some(frozen.unwrap_or(0));
                        continue;
                    }
                };
                let by = By::new(
                    format!("{} {}", inbound.medium, mask(inbound.medium, inbound.from)),
                    (inbound.id, at),
                );
                let change = Change::SetTokenState {
                    serial: token.serial.clone(),
                    state,
                    expected: token.revision,
                    reason: Some(crate::store::FROZEN.to_owned()),
                };
                match self.core.store.change(change, by).await {
                    Ok(()) => frozen = Some(frozen.unwrap_or(0) + 1),
                    // Changed meanwhile: the gateway is told to try again.
                    Err(StoreError::Conflict(_)) => return Err(CoreError::Contended),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(frozen)
    }

    async fn answer(
        &self,
        inbound: &Inbound<'_>,
        token: &Token,
        text: &str,
        at: UnixTime,
    ) -> Result<Reason, CoreError> {
        let serial = &token.serial;
        let gather = || async move {
            let view = self.core.store.view(&token.user)?;
            let found = view.as_ref().and_then(|view| {
                let mut tokens = view.tokens.iter();
                let found = tokens.find(|(one, _)| one.serial == *serial)?;
                Some((view, found))
            });
            let Some((view, (token, state))) = found else {
                return Err(CoreError::Contended);
            };
            let mut matches = Matches::default();
            if let Some(issued) = state.issued.filter(|_| is_answer(token, state, text)) {
                matches.insert(issued.number);
            }
            let comparison = Comparison {
                serial: token.serial.clone(),
                kind: token.kind,
                revision: token.revision,
                seen: state.moving,
                issued: state.issued.map(|issued| issued.number),
                matches,
                drift: DriftRule::None,
                first: false,
            };
            let evidence = Evidence::Compared(Compared {
                success: Success::Answered,
                ..settle::compared(view, vec![comparison])
            });
            let user = token.user.to_string();
            Ok((self.inbound_attempt(inbound, user, evidence, at), ()))
        };
        let (verdict, ()) = self.settle_with(Some(&token.user), true, gather).await?;
        Ok(verdict.reason)
    }

    async fn unexpected(&self, inbound: &Inbound<'_>, at: UnixTime) -> Result<Reason, CoreError> {
        let gather = || async move {
            let sender = mask(inbound.medium, inbound.from);
            let evidence = Evidence::Refused(Reason::WrongSender);
            Ok::<_, CoreError>((self.inbound_attempt(inbound, sender, evidence, at), ()))
        };
        let (verdict, ()) = self.settle_with(None, true, gather).await?;
        Ok(verdict.reason)
    }

    fn inbound_attempt(
        &self,
        inbound: &Inbound<'_>,
        user: String,
        evidence: Evidence,
        at: UnixTime,
    ) -> Attempt {
        let policies = self.core.policies.load();
        let lockout = policies.resolve(None).map(|policy| policy.lockout);
        Attempt {
            deadline: inbound.deadline.max(at.plus(PATIENCE)),
            user,
            client: "gateway".into(),
            method: inbound.medium.as_str().into(),
            lockout: lockout.unwrap_or_default(),
            ..Attempt::outside_login(
                (inbound.id, at),
                Channel::Inbound,
                Purpose::Inbound,
                evidence,
            )
        }
    }
}

fn is_answer(token: &Token, state: &TokenState, text: &str) -> bool {
    let digits = text.len() == DIGITS && text.bytes().all(|octet| octet.is_ascii_digit());
    let mark = Mark::of(&token.key, Way::Inbound.as_str(), None, text);
    let shown = state.issued.filter(|issued| issued.way == Way::Inbound);
    shown.is_some_and(|issued| issued.mark == mark) && digits
}

/// Digits that were shown.
const DIGITS: usize = 2;
/// Least time that an answer waits for its turn at the store.
const PATIENCE: Duration = Duration::from_secs(2);
