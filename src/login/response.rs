//! Which text a response was made of (CHAP, MS-CHAP): found by trying every text that is right now. Pure.
//!
//! ```text
//! factors that are asked for      texts that are tried
//! otp                             the codes of the window, of the look-ahead, and the last one used
//! card, recovery                  the answer to the cells that were drawn; every code of the sheet
//! pin, otp                        the PIN with each of these behind it, with a comma between or without
//! server, sms, email, voice       none: of a code that was sent only a mark is kept
//! yubikey                         none: only the key itself makes the next one
//! password, or a PIN kept hashed  none: it is not known here
//! ```
//!
//! The login then goes on as if the text had been typed, so that use, counters, audit and limits are the
//! same. Where no text made the response, it goes on with a code that no token makes.
//!
//! Limits: it cannot be told whether the PIN or the code was wrong, so a right code with a wrong PIN is
//! not used up; a keyword or a code with blanks in it makes another response. At most
//! [`MOST`] texts are tried, those of the first tokens first.

use crate::login::candidates::Slot;
use crate::login::case::Case;
use crate::login::match_otp::{MOST, Usable, codes};
use crate::login::read::Refusal;
use crate::login::round::{Form, Response, is_match};
use crate::model::credential::Credentials;
use crate::model::kind::Kind;
use crate::model::reason::Reason;
use crate::otp::{Code, Digits, recovery};
use crate::policy::Factor;
use crate::policy::split::CodePart;
use crate::secret::SecretString;

/// What stands for what was typed.
pub(crate) struct Told {
    pub(crate) text: SecretString,
    /// Whether the text made the response.
    pub(crate) made: bool,
}

impl Told {
    /// For a user who has nothing that could be tried: refused before it is compared.
    pub(crate) fn nothing() -> Self {
        Self {
            text: SecretString::from("000000"),
            made: false,
        }
    }
}

impl Case<'_, '_> {
    /// The text that made the response, of all that are right for the `remaining` factors of this round.
    /// Refused without a guess where none can be tried.
    pub(crate) fn told(
        &self,
        response: &dyn Response,
        credentials: &Credentials,
        (remaining, form): (&[Factor], Form),
        slot: Option<&Slot<'_>>,
    ) -> Result<Told, Refusal> {
        let pin = credentials.pin_text.as_ref();
        let pin = pin.filter(|_| self.policy.pin.recoverable);
        let refusal = |why: &str| {
            let detail = format!("{}: {why}", self.request.method);
            Refusal::new(Reason::MethodNotAllowed, None, Some(detail))
        };
        let first = remaining.get(..1).unwrap_or_default();
        let shapes: &[&[Factor]] = match form {
            Form::One => &[first],
            Form::Joined => &[remaining],
            Form::Either => &[remaining, first],
        };
        let unknown = |asked: &[Factor]| {
            asked.iter().find_map(|factor| match factor {
                Factor::Password => Some(HASHED_PASSWORD),
                Factor::Pin if pin.is_none() => Some(HASHED_PIN),
                _ => None,
            })
        };
        let known = shapes.iter().copied().filter(|one| unknown(one).is_none());
        let known: Vec<&[Factor]> = known.collect();
        let Some(whole) = known.first() else {
            return Err(refusal(unknown(remaining).unwrap_or(SENT)));
        };
        let codes = slot.map(|slot| codes(&slot.tokens, &self.policy.otp, self.at));
        let codes = codes.unwrap_or_default();
        if codes.is_empty() && known.iter().all(|asked| asks_for_code(asked)) {
            return Err(refusal(SENT));
        }
        let mut found = None;
        let texts = known.iter().flat_map(|asked| texts(asked, pin, &codes));
        // All of them, whichever is right: the time tells nothing.
        for text in texts.take(MOST) {
            if response.is_of(text.expose()) && found.is_none() {
                found = Some(text);
            }
        }
        Ok(match found {
            Some(text) => Told { text, made: true },
            None => Told {
                text: self.wrong(whole, pin, slot),
                made: false,
            },
        })
    }

    /// A text that is wrong: the PIN with a code that no token makes now, or another PIN.
    fn wrong(
        &self,
        asked: &[Factor],
        pin: Option<&SecretString>,
        slot: Option<&Slot<'_>>,
    ) -> SecretString {
        if !asks_for_code(asked) {
            let pin = pin.map(SecretString::expose).unwrap_or_default();
            return SecretString::new(format!("{pin}x"));
        }
        let is_wrong = |part: CodePart<'_>| {
            let compared = slot.and_then(|slot| self.compare(slot, part).ok());
            !compared.is_some_and(|all| is_match(&all))
        };
        // A guess at a card that was drawn uses up one of its tries: its answers were among the texts.
        let drawn =
            |(token, state): &Usable<'_>| token.kind == Kind::Card && state.issued.is_some();
        let is_drawn = slot.is_some_and(|slot| slot.tokens.iter().any(drawn));
        let digits = if is_drawn {
            Some(Digits::SEVEN)
        } else {
            slot.and_then(|slot| slot.lengths().next())
        };
        let wrong = if let Some(digits) = digits {
            let codes = (0..digits.modulus())
                .filter_map(|value| Code::from_value(value, digits))
                .map(|code| code.expose());
            let mut wrong = codes.filter(|text| is_wrong(CodePart::Digits(text.expose())));
            wrong.next()
        } else {
            // Only a sheet is left: digits would be no code at all there, and no guess.
            ('0'..='9').find_map(|sign| {
                let half = sign.to_string().repeat(recovery::LENGTH / 2);
                let text = SecretString::new(format!("{half}-{half}"));
                is_wrong(CodePart::Recovery(text.expose())).then_some(text)
            })
        };
        let wrong = wrong.unwrap_or_default();
        joined(asked, pin, &wrong, "")
    }
}

fn asks_for_code(asked: &[Factor]) -> bool {
    asked.iter().any(|factor| !factor.is_knowledge())
}

/// What may have been typed for these factors, in their order.
fn texts<'a>(
    asked: &'a [Factor],
    pin: Option<&'a SecretString>,
    codes: &'a [SecretString],
) -> impl Iterator<Item = SecretString> + 'a {
    let codes = if asks_for_code(asked) {
        codes.to_vec()
    } else {
        vec![SecretString::default()]
    };
    codes.into_iter().flat_map(move |code| {
        let separators = ["", ","].into_iter().take(asked.len());
        separators.map(move |between| joined(asked, pin, &code, between))
    })
}

fn joined(
    asked: &[Factor],
    pin: Option<&SecretString>,
    code: &SecretString,
    between: &str,
) -> SecretString {
    let parts: Vec<&str> = asked
        .iter()
        .map(|factor| match factor {
            Factor::Pin => pin.map(SecretString::expose).unwrap_or_default(),
            _ => code.expose(),
        })
        .collect();
    SecretString::new(parts.join(between))
}

const HASHED_PASSWORD: &str = "a password is kept hashed and cannot be tried; let the NAS send PAP, or \
                               EAP-TTLS with PAP inside";
const HASHED_PIN: &str = "the PIN is kept hashed and cannot be tried; let the NAS send PAP, or set \
                          `recoverable = true` under `[pin]` of the policy and the PIN again";
const SENT: &str = "codes that were sent or fetched, and those of yubikeys, cannot be tried; let the NAS \
                    send PAP";
