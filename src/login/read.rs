//! What was presented, read and compared. Pure.

use crate::login::candidates::Slot;
use crate::login::case::Case;
use crate::login::challenge::{Opened, Stage};
use crate::login::demand::Demand;
use crate::login::request::Fit;
use crate::login::round::{Reading, Round, round};
use crate::login::ticket::Ticket;
use crate::login::{Presented, attributes};
use crate::model::attempt::{Comparison, Waived};
use crate::model::credential::Credentials;
use crate::model::reason::Reason;
use crate::policy::Factor;
use crate::store::View;

/// What was presented, as it is read.
pub(crate) struct Read<'a> {
    pub(crate) round: Round<'a>,
    /// The code compared with every token that counts; `None`: no code is asked for.
    pub(crate) codes: Option<Vec<Comparison>>,
    /// Whether the held factor was answered on another channel.
    pub(crate) elsewhere: bool,
    /// What will be left out of the reply, and why.
    pub(crate) left_out: Option<String>,
}

/// Why nothing was compared, and the exception that was in force.
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) waived: Option<Waived>,
    pub(crate) detail: Option<String>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            waived: None,
            detail: None,
        }
    }
}

impl Refusal {
    pub(crate) const fn new(
        reason: Reason,
        waived: Option<Waived>,
        detail: Option<String>,
    ) -> Self {
        Self {
            reason,
            waived,
            detail,
        }
    }
}

impl<'r> Case<'r, '_> {
    /// Reads what was presented, and compares the codes in it. Refused before anything is consumed.
    pub(crate) fn read<'a>(
        &self,
        (view, credentials, demand): (&View, &Credentials, &Demand<'_>),
        (remaining, slot): (&'a [Factor], Option<&Slot<'_>>),
        opened: Option<&Opened>,
        ticket: Option<&Ticket>,
    ) -> Result<Read<'a>, Refusal>
    where
        'r: 'a,
    {
        let refusal = |reason, detail| Refusal::new(reason, demand.waived.clone(), detail);
        if remaining.is_empty() {
            // What was left was waived since: an answer that nothing looks at lets no one in.
            return Err(refusal(Reason::StaleChallenge, None));
        }
        let round = if self.request.opens(self.policy).is_some() {
            Some(Round::opening(remaining))
        } else {
            let pin = credentials.pin.as_ref().and_then(|pin| pin.length);
            let answering = opened.is_some_and(|one| one.inside.stage != Stage::Opening);
            round(
                remaining,
                self.request.presented,
                Reading {
                    form: self.form(answering),
                    elsewhere: ticket.is_some(),
                    pin_chars: pin.map(usize::from),
                    extra: slot.map(Slot::extra).unwrap_or_default(),
                },
                slot.into_iter().flat_map(Slot::lengths),
                |part| slot.and_then(|slot| self.compare(slot, part).ok()),
            )
        };
        let unread = |reason| {
            let lacking = self.lacking(reason, (view, demand), slot);
            lacking.unwrap_or_else(|| refusal(reason, None))
        };
        let mut round = round.ok_or_else(|| unread(Reason::MalformedCode))?;
        // Without a ticket a code that is not there is missing, and called malformed below.
        let elsewhere = ticket.is_some() && round.held().is_some() && round.parts.code.is_none();
        if elsewhere && (demand.factors.len() < 2 || self.least().unwrap_or(u8::MAX) > 1) {
            // Two digits, and a sender that can be forged, prove little (capabilities D1).
            return Err(refusal(Reason::LowAssurance, Some(LITTLE.to_owned())));
        }
        // Before anything is consumed: what is decided must be what can be sent.
        let left_out = self.carried(view, &round, slot);
        let left_out = left_out.map_err(|why| refusal(Reason::ReplyTooLong, Some(why)))?;
        let codes = self.codes(&mut round, slot, ticket);
        Ok(Read {
            codes: codes.map_err(unread)?,
            round,
            elsewhere,
            left_out,
        })
    }

    /// The refusal of what cannot be read because a word in it asks for a factor that the rule takes, and that no
    /// token in use of the user's proves.
    fn lacking(
        &self,
        reason: Reason,
        (view, demand): (&View, &Demand<'_>),
        slot: Option<&Slot<'_>>,
    ) -> Option<Refusal> {
        let held = slot.filter(|_| reason == Reason::MalformedCode)?.factor;
        let typed = match self.request.presented {
            Presented::Passcode(text) => text,
            Presented::Fields { otp, .. } => otp?,
            Presented::Response(_) => return None,
        };
        let asked = typed.expose().split(',').find_map(Factor::of_keyword)?;
        let mut accepted = self.rule.accepts(held, demand.outage);
        if !accepted.any(|factor| factor == asked) {
            return None;
        }
        let place = self.place(view, &demand.factors, self.least().ok()?, demand.outage);
        match Slot::of(asked, place) {
            Err(why @ (Reason::NoToken | Reason::NotActive)) => Some(Refusal::new(
                why,
                demand.waived.clone(),
                Some(asked_in_vain(asked)),
            )),
            _ => None,
        }
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

    /// The code of this round compared with every token that counts.
    pub(crate) fn codes(
        &self,
        round: &mut Round<'_>,
        slot: Option<&Slot<'_>>,
        ticket: Option<&Ticket>,
    ) -> Result<Option<Vec<Comparison>>, Reason> {
        let Some(held) = round.held() else {
            return Ok(None);
        };
        if let Some(compared) = round.compared.take() {
            return Ok(Some(compared));
        }
        let slot = slot.filter(|slot| slot.factor == held);
        let slot = slot.ok_or(Reason::NoToken)?;
        match round.parts.code {
            Some(part) => self.compare(slot, part).map(Some),
            None => {
                let ticket = ticket.ok_or(Reason::MalformedCode)?;
                slot.answered(ticket).map(Some)
            }
        }
    }
}

/// What the audit says where a word asks for a factor for which the user has no token in use.
pub(crate) fn asked_in_vain(factor: Factor) -> String {
    format!("what was typed asks for `{factor}`, for which the user has no token in use")
}

/// What the audit says of an answer on another channel that proves too little here.
const LITTLE: &str = "an answer on another channel counts only beside a second factor, and where no more \
                      than assurance 1 is demanded";
/// What the audit says where the Proxy-State leaves no room.
const NO_CHALLENGE: &str = "no room for a challenge beside the Proxy-State";
