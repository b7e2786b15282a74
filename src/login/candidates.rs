//! The held factor of a rule: which of the user's tokens prove it, and what was typed for it. Pure.
//!
//! ```text
//! otp    tokens of `[otp] kinds`, and of whatever the rule takes instead: sms, card, recovery, ...
//! sms    text message tokens alone; likewise email, voice, card, recovery
//! typed  digits       compared with every token of the slot
//!        recovery     compared with the sheets alone
//!        yubikey      compared with the yubikeys alone
//!        a keyword    compares nothing: a code is asked for
//! ```

use crate::login::match_issued::compare_issued;
use crate::login::match_otp::{Usable, compare_token, compare_yubikey};
use crate::login::ticket::Ticket;
use crate::model::attempt::Comparison;
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::reason::Reason;
use crate::model::token::LifeCycle;
use crate::model::user_key::UserKey;
use crate::otp::{Code, Digits};
use crate::policy::split::{CodePart, Extra};
use crate::policy::{Factor, OtpWindows, Policy, Rule, assurance, kinds_of};
use crate::store::View;
use crate::time::UnixTime;

/// One held factor, with all that proves it.
#[derive(Clone, Debug)]
pub(crate) struct Slot<'v> {
    /// The factor that the rule requires.
    pub(crate) factor: Factor,
    /// Tokens in use that prove it.
    pub(crate) tokens: Vec<Usable<'v>>,
    /// What is asked for in its place while the declared outage lasts.
    relief: Option<Factor>,
    keywords: Vec<&'static str>,
}

/// What a slot is looked for in.
#[derive(Clone, Copy)]
pub(crate) struct Where<'a, 'v> {
    /// The user and the tokens.
    pub(crate) view: &'v View,
    /// The policy in force.
    pub(crate) policy: &'a Policy,
    /// The rule that decides.
    pub(crate) rule: &'a Rule,
    /// All that must be presented.
    pub(crate) factors: &'a [Factor],
    /// Assurance that must be reached.
    pub(crate) least: u8,
    /// Whether an outage is declared.
    pub(crate) outage: bool,
    /// The only token that counts, where the client names one.
    pub(crate) only: Option<&'a Serial>,
    /// The time of the request.
    pub(crate) at: UnixTime,
}

impl<'v> Slot<'v> {
    /// The slot of a held factor; refused when the user could never prove it.
    pub(crate) fn of(factor: Factor, place: Where<'_, 'v>) -> Result<Self, Reason> {
        let Where {
            view, policy, rule, ..
        } = place;
        let accepts = |kind: Kind| {
            rule.accepts(factor, place.outage)
                .any(|one| kinds_of(one, &policy.otp).contains(&kind))
        };
        let mut reason = Reason::NoToken;
        let mut tokens = Vec::new();
        for (token, state) in &view.tokens {
            if place.only.is_some_and(|only| *only != token.serial) {
                continue;
            }
            let empty = token.kind == Kind::Recovery && state.used.count() == 32;
            if !accepts(token.kind) || token.kind == Kind::Push || empty {
                continue;
            }
            if !is_usable((token, state), &view.user.key, place.at) {
                reason = Reason::NotActive;
            } else if assurance(place.factors, Some(token.kind)) < place.least {
                reason = Reason::LowAssurance;
            } else {
                tokens.push((token, state));
            }
        }
        if tokens.is_empty() {
            return Err(reason);
        }
        let has = |one: &Factor| {
            let kinds = kinds_of(*one, &policy.otp);
            tokens.iter().any(|(token, _)| kinds.contains(&token.kind))
        };
        let relief = rule
            .outage
            .filter(|_| place.outage && factor == Factor::Otp);
        let relief = relief.map(|outage| outage.factor).filter(has);
        let asked = rule.accepts(factor, place.outage).filter(has);
        let keywords = asked.flat_map(Factor::keywords).copied().collect();
        Ok(Self {
            factor,
            tokens,
            relief,
            keywords,
        })
    }

    /// Lengths of the codes that may be typed.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = Digits> {
        let length = |(token, _): &Usable<'_>| match token.kind {
            Kind::Recovery | Kind::Yubikey => None,
            Kind::Card => Some(Digits::SEVEN),
            _ => Some(token.digits),
        };
        self.tokens.iter().filter_map(length)
    }

    /// What besides digits may be typed.
    pub(crate) fn extra(&self) -> Extra<'_> {
        let yubikeys = self.tokens.iter();
        let yubikeys = yubikeys.filter(|(token, _)| token.kind == Kind::Yubikey);
        Extra {
            keywords: &self.keywords,
            yubikeys: yubikeys
                .map(|(token, _)| token.serial.as_str().len())
                .collect(),
            recovery: self
                .tokens
                .iter()
                .any(|(token, _)| token.kind == Kind::Recovery),
        }
    }

    /// The factor that is asked for when the slot's turn comes: what must be sent or drawn first,
    /// `None` when the person makes the code.
    pub(crate) fn asks(&self) -> Option<Factor> {
        if self.factor != Factor::Otp {
            return Some(self.factor).filter(|factor| factor.is_issued());
        }
        let makes = |kind: Kind| kind.is_keyed() || kind == Kind::Server;
        let none = !self.tokens.iter().any(|(token, _)| makes(token.kind));
        let first = self.keywords.first().filter(|_| none);
        self.relief
            .filter(|relief| relief.is_issued())
            .or_else(|| first.and_then(|word| Factor::of_keyword(word)))
    }

    /// Compares what was typed, for `client`, with every token that it can be of.
    pub(crate) fn compare(
        &self,
        part: CodePart<'_>,
        windows: &OtpWindows,
        client: &str,
        at: UnixTime,
    ) -> Result<Vec<Comparison>, Reason> {
        match part {
            CodePart::Digits(text) => {
                let code = Code::parse(text).map_err(|_| Reason::MalformedCode)?;
                let compared = self.tokens.iter().map(|(token, state)| match token.kind {
                    Kind::Totp | Kind::Hotp => compare_token(token, state, windows, &code, at),
                    Kind::Yubikey => compare_yubikey(token, state, text),
                    _ => compare_issued(token, state, Some(client), text),
                });
                Ok(compared.collect())
            }
            CodePart::Yubikey(text) => {
                let yubikeys = self.tokens.iter();
                let yubikeys = yubikeys.filter(|(token, _)| token.kind == Kind::Yubikey);
                let compared = yubikeys.map(|(token, state)| compare_yubikey(token, state, text));
                Ok(compared.collect())
            }
            CodePart::Recovery(text) => {
                let sheets = self.tokens.iter();
                let sheets = sheets.filter(|(token, _)| token.kind == Kind::Recovery);
                let compare =
                    |(token, state): &Usable<'_>| compare_issued(token, state, Some(client), text);
                Ok(sheets.map(compare).collect())
            }
            CodePart::Keyword(_) => Err(Reason::MalformedCode),
        }
    }

    /// The comparison of the code that `ticket` names, once it was answered on the other channel.
    pub(crate) fn answered(&self, ticket: &Ticket) -> Result<Vec<Comparison>, Reason> {
        let mut named = self.tokens.iter();
        let named = named.find(|(token, _)| token.serial.as_str() == ticket.serial);
        let (token, state) = named.ok_or(Reason::NotAnswered)?;
        let live = state.issued.filter(|issued| issued.number == ticket.number);
        let consumed = state.moving.last >= Some(ticket.number);
        if !consumed && !live.is_some_and(|issued| issued.answered) {
            return Err(Reason::NotAnswered);
        }
        let mut comparison = compare_issued(token, state, None, "");
        comparison.matches.insert(ticket.number);
        comparison.issued = live.map(|issued| issued.number);
        Ok(vec![comparison])
    }
}

/// Whether codes of the token count: it is in use, or waits for the first right code of `user`, its owner.
pub(crate) fn is_usable((token, state): Usable<'_>, user: &UserKey, at: UnixTime) -> bool {
    let first = || token.awaits_first_code(at) && token.user == *user;
    token.state_at(at) == LifeCycle::Active || (first() && state.needs_resync().is_none())
}

/// Whether a text could be something else than digits in the place of a code.
pub(crate) fn is_other(text: &str) -> bool {
    let known = Factor::of_keyword(text).is_some();
    let extra = Extra {
        recovery: true,
        ..Extra::default()
    };
    known || CodePart::alone(text, extra).digits().is_none()
}
