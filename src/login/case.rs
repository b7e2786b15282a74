//! One request by one rule: how what was typed is read, what is sealed, what can be sent back. Pure.

use crate::login::MIN_ASSURANCE;
use crate::login::Presented;
use crate::login::assess::{Answering, Case, remaining};
use crate::login::candidates::{Slot, Where};
use crate::login::challenge::{Binding, Factors, Inside, Opened, Stage, Ticket};
use crate::login::opened::life;
use crate::login::round::{Form, Round, round};
use crate::login::{Fit, attributes, challenge};
use crate::model::attempt::Comparison;
use crate::model::credential::Credentials;
use crate::model::reason::Reason;
use crate::model::source::Source;
use crate::model::user::Answered;
use crate::policy::split::{CodePart, split};
use crate::policy::{Factor, Present};
use crate::secret::Key256;
use crate::store::View;

impl<'r> Case<'r, '_> {
    /// A challenge of this login in which so much was proven.
    pub(crate) fn sealed(
        &self,
        key: &Key256,
        view: &View,
        credentials: &Credentials,
        (passed, stage): (Factors, Stage),
        nonce: [u8; challenge::NONCE],
    ) -> Option<String> {
        let user = view.user.key.to_string();
        let mut rules = self.policy.rules.iter();
        let rule = rules.position(|rule| rule.name == self.rule.name)?;
        let source = self.request.source.map(Source::from);
        let known = source.filter(|_| view.state.knows(source));
        let binding = Binding {
            client: &self.request.client.name,
            user: &user,
            policy: &self.policy.name,
            text: self.policy.text,
            since: view.user.created,
            credentials: credentials.revision,
        };
        let inside = Inside {
            passed,
            least: self.least().unwrap_or_default(),
            stage,
            issued: self.at,
            rule: u8::try_from(rule).ok()?,
            source: known.map(challenge::mark_of).unwrap_or_default(),
        };
        challenge::seal(key, binding, inside, nonce)
    }

    pub(crate) fn answer(&self, opened: Opened) -> Answered {
        let life = life(self.policy, opened.inside.stage);
        Answered {
            challenge: opened.id,
            expires: opened.inside.issued.plus(life),
        }
    }

    /// Whether a token of the slot makes this code now.
    pub(crate) fn is_right(&self, slot: &Slot<'_>, part: CodePart<'_>) -> bool {
        slot.is_right(part, &self.policy.otp, &self.request.client.name, self.at)
    }

    pub(crate) fn presents_right_code(
        &self,
        view: &View,
        passed: Factors,
        credentials: &Credentials,
    ) -> bool {
        let place = self.place(view, &self.rule.require, 1, false);
        let slot = self.rule.slot().map(|held| Slot::of(held, place));
        let Some(Ok(slot)) = slot else {
            return false;
        };
        let extra = slot.extra();
        let right = |part: CodePart<'_>| self.is_right(&slot, part);
        match self.request.presented {
            Presented::Fields { otp, .. } => {
                otp.is_some_and(|otp| right(CodePart::alone(otp.expose(), extra)))
            }
            Presented::Passcode(text) => {
                let text = text.expose();
                let left = remaining(&self.rule.require, passed);
                let pin = credentials.pin.as_ref().and_then(|pin| pin.length);
                let pin = pin.map(usize::from);
                let splits = split(&left, text, slot.lengths(), pin, extra);
                right(CodePart::alone(text, extra))
                    || splits.iter().any(|parts| parts.code.is_some_and(right))
            }
        }
    }

    /// Assurance that rule and request ask for.
    pub(crate) fn least(&self) -> Result<u8, Reason> {
        let asked = self.request.context.iter();
        let asked = asked.filter(|(name, _)| *name == MIN_ASSURANCE);
        let mut least = self.rule.min_assurance.max(self.least);
        for (_, text) in asked {
            least = least.max(text.parse().map_err(|_| Reason::LowAssurance)?);
        }
        Ok(least)
    }

    pub(crate) fn place<'s, 'v>(
        &'s self,
        view: &'v View,
        factors: &'s [Factor],
        least: u8,
        outage: bool,
    ) -> Where<'s, 'v> {
        Where {
            view,
            policy: self.policy,
            rule: self.rule,
            factors,
            least,
            outage,
            at: self.at,
        }
    }

    /// How one box is read.
    pub(crate) const fn form(&self, answering: bool) -> Form {
        match self.rule.present {
            _ if answering => Form::One,
            _ if !self.request.rounds => Form::Joined,
            Present::Joined => Form::Joined,
            Present::Challenge => Form::One,
            Present::Either => Form::Either,
        }
    }

    pub(crate) fn round<'a>(
        &self,
        remaining: &'a [Factor],
        answering: Answering,
        credentials: &Credentials,
        slot: Option<&Slot<'_>>,
    ) -> Option<Round<'a>>
    where
        'r: 'a,
    {
        let pin = credentials.pin.as_ref().and_then(|pin| pin.length);
        round(
            remaining,
            self.request.presented,
            self.form(answering.challenge),
            answering.elsewhere,
            slot.into_iter().flat_map(Slot::lengths),
            pin.map(usize::from),
            slot.map(Slot::extra).unwrap_or_default(),
            |part| slot.is_some_and(|slot| self.is_right(slot, part)),
        )
    }

    /// What will be left out of the reply to this round when it is right; `Err`: why there is none.
    /// The same whatever was typed, so that nothing can be learned by it.
    pub(crate) fn carried(
        &self,
        view: &View,
        round: &Round<'_>,
        slot: Option<&Slot<'_>>,
    ) -> Result<Option<String>, String> {
        let Some(carrier) = self.request.carrier else {
            return Ok(None);
        };
        if round.next.is_some() {
            let fits = !self.request.rounds || carrier.challenge();
            return fits.then_some(None).ok_or_else(|| NO_CHALLENGE.to_owned());
        }
        // The longest name stands for whichever decides.
        let held = round.held();
        let slot = slot.filter(|slot| Some(slot.factor) == held);
        let tokens = slot.into_iter().flat_map(|slot| &slot.tokens);
        let serials = tokens.map(|(token, _)| token.serial.as_str());
        let longest = serials.max_by_key(|serial| serial.len());
        let attributes = attributes(self.request, self.policy, self.rule, view, longest);
        match carrier.accept(&attributes) {
            Fit::Whole => Ok(None),
            Fit::Without(what) => Ok(Some(what)),
            Fit::Not(why) => Err(why),
        }
    }

    /// Compares the code of this round with every token that counts.
    pub(crate) fn codes(
        &self,
        round: &Round<'_>,
        slot: Option<&Slot<'_>>,
        ticket: Option<&Ticket>,
    ) -> Result<Option<Vec<Comparison>>, Reason> {
        let Some(held) = round.held() else {
            return Ok(None);
        };
        let slot = slot.filter(|slot| slot.factor == held);
        let slot = slot.ok_or(Reason::NoToken)?;
        let Some(part) = round.parts.code else {
            let ticket = ticket.ok_or(Reason::MalformedCode)?;
            return slot.answered(ticket).map(Some);
        };
        let client = &self.request.client.name;
        slot.compare(part, &self.policy.otp, client, self.at)
            .map(Some)
    }
}

/// What the audit says where the Proxy-State leaves no room.
const NO_CHALLENGE: &str = "no room for a challenge beside the Proxy-State";
