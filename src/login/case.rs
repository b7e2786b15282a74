//! One request by one rule at one time. Pure.

use crate::login::candidates::{Slot, Where};
use crate::login::challenge;
use crate::login::challenge::{Binding, Inside, Opened, Reached};
use crate::login::round::Form;
use crate::login::ticket::{Ticket, end};
use crate::login::{LoginRequest, MIN_ASSURANCE};
use crate::model::attempt::Comparison;
use crate::model::credential::Credentials;
use crate::model::reason::Reason;
use crate::model::source::Source;
use crate::model::user_state::{Answered, UserState};
use crate::policy::split::CodePart;
use crate::policy::{Factor, Policy, Present, Rule};
use crate::secret::Key256;
use crate::store::View;
use crate::time::UnixTime;

/// One request by one rule at one time.
#[derive(Clone, Copy)]
pub(crate) struct Case<'r, 'p> {
    pub(crate) request: &'r LoginRequest<'r>,
    pub(crate) policy: &'p Policy,
    pub(crate) rule: &'p Rule,
    pub(crate) at: UnixTime,
    /// Assurance that was asked for when the login began.
    pub(crate) least: u8,
}

impl Case<'_, '_> {
    /// A challenge of this login, which has come so far.
    pub(crate) fn sealed(
        &self,
        key: &Key256,
        view: &View,
        credentials: &Credentials,
        reached: Reached<'_>,
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
            held: reached.held,
        };
        let inside = Inside {
            passed: reached.passed,
            adds: reached.adds,
            least: self.least().unwrap_or_default(),
            stage: reached.stage,
            issued: self.at,
            rule: u8::try_from(rule).ok()?,
            source: known.map(challenge::mark_of).unwrap_or_default(),
        };
        challenge::seal(key, binding, inside, nonce)
    }

    /// What is remembered of an answer, as long as the challenge could be answered again.
    pub(crate) fn answer(&self, opened: &Opened, ticket: Option<&Ticket>) -> Answered {
        let longest = || opened.inside.issued.plus(UserState::ROUND);
        Answered {
            challenge: opened.id,
            expires: end(self.policy, opened.inside, ticket).unwrap_or_else(longest),
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
            only: self.request.serial,
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

    /// Compares a code with every token of the slot that can make it.
    pub(crate) fn compare(
        &self,
        slot: &Slot<'_>,
        part: CodePart<'_>,
    ) -> Result<Vec<Comparison>, Reason> {
        slot.compare(part, &self.policy.otp, &self.request.client.name, self.at)
    }
}
