//! Compares a code with a view of a user's tokens. Pure: everything is an argument.

use crate::model::attempt::{Comparison, DriftRule};
use crate::model::kind::Kind;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::otp::totp::{Drift, Parameters, TimeStep, Window};
use crate::otp::{Algorithm, Code, Digits, Matches, Period, card, hotp, recovery, totp, yubikey};
use crate::policy::OtpWindows;
use crate::secret::{OtpKey, SecretBytes, SecretString};
use crate::time::UnixTime;

/// A token that counts, and its state as it was read.
pub(crate) type Usable<'v> = (&'v Token, &'v TokenState);

/// Compares the code with one token's window, and with the last accepted step wherever it is: a
/// cached password that comes back an hour later is a replay, not a guess.
pub(crate) fn compare_token(
    token: &Token,
    state: &TokenState,
    windows: &OtpWindows,
    code: &Code,
    at: UnixTime,
) -> Comparison {
    let moving = state.moving;
    let parameters = parameters(token);
    let Parameters {
        algorithm,
        digits,
        period,
    } = parameters;
    let (mut matches, drift) = if token.kind == Kind::Hotp {
        let ahead = windows.look_ahead;
        let found = hotp::find(&token.key, algorithm, digits, code, moving.next(), ahead);
        (found, DriftRule::None)
    } else {
        let window = Window {
            back: windows.back,
            ahead: windows.ahead,
        };
        let found = totp::find(&token.key, parameters, code, at, moving.drift, window);
        (found, DriftRule::Learn(TimeStep::at(at, period)))
    };
    if let Some(last) = moving.last
        && hotp::generate(&token.key, algorithm, digits, last) == *code
    {
        matches.insert(last);
    }
    Comparison {
        serial: token.serial.clone(),
        kind: token.kind,
        issued: None,
        revision: token.revision,
        seen: moving,
        matches,
        drift,
        first: token.state == LifeCycle::Pending,
    }
}

/// Compares an OTP with a yubikey; `text` that is none of its matches nothing.
pub(crate) fn compare_yubikey(token: &Token, state: &TokenState, text: &str) -> Comparison {
    let mut matches = Matches::default();
    let press = yubikey::open(&token.key, token.serial.as_str(), text);
    press
        .into_iter()
        .for_each(|press| matches.insert(press.step()));
    Comparison {
        serial: token.serial.clone(),
        kind: token.kind,
        issued: None,
        revision: token.revision,
        seen: state.moving,
        matches,
        drift: DriftRule::None,
        first: token.state == LifeCycle::Pending,
    }
}

/// Spends the time of one token on no one's key, so that a miss costs what a hit costs.
pub(crate) fn compare_with_nothing(at: UnixTime) {
    let key = OtpKey::new(SecretBytes::from(&[0x5a_u8; 20][..]));
    let (Some(key), Some(code)) = (key, Code::from_value(0, Digits::SIX)) else {
        return;
    };
    let parameters = Parameters {
        algorithm: Algorithm::Sha1,
        digits: Digits::SIX,
        period: Period::THIRTY,
    };
    let found = totp::find(
        &key,
        parameters,
        &code,
        at,
        Drift::default(),
        Window::default(),
    );
    std::hint::black_box(found.is_empty());
}

/// Every code that is right now, or was used last, of tokens whose codes can be made again here.
pub(crate) fn codes(
    tokens: &[Usable<'_>],
    windows: &OtpWindows,
    at: UnixTime,
) -> Vec<SecretString> {
    let mut texts = Vec::new();
    for (token, state) in tokens {
        let (key, moving) = (&token.key, state.moving);
        let made: Vec<Code> = match token.kind {
            Kind::Totp => {
                let window = Window {
                    back: windows.back,
                    ahead: windows.ahead,
                };
                totp::codes(key, parameters(token), at, moving.drift, window).collect()
            }
            Kind::Hotp => {
                let (from, ahead) = (moving.next(), windows.look_ahead);
                hotp::codes(key, token.algorithm, token.digits, from, ahead).collect()
            }
            Kind::Card => {
                let pair = state.issued.and_then(|drawn| drawn.pair);
                let answer = pair.and_then(|pair| card::answer(key, token.tail(), pair));
                answer.into_iter().collect()
            }
            Kind::Recovery => {
                for code in recovery::sheet(key, recovery::MAX) {
                    let text = code.expose();
                    let plain = text.replace('-', "");
                    for form in [
                        text.to_owned(),
                        text.to_lowercase(),
                        plain.to_lowercase(),
                        plain,
                    ] {
                        texts.push(SecretString::new(form));
                    }
                }
                continue;
            }
            _ => continue,
        };
        texts.extend(made.iter().map(Code::expose));
        if let Some(last) = moving
            .last
            .filter(|_| !made.is_empty() && token.kind != Kind::Card)
        {
            let code = hotp::generate(key, token.algorithm, token.digits, last);
            texts.push(code.expose());
        }
    }
    texts
}

/// The RFC 6238 parameters of a token.
pub(crate) const fn parameters(token: &Token) -> Parameters {
    Parameters {
        algorithm: token.algorithm,
        digits: token.digits,
        period: token.period,
    }
}

/// Most texts that are tried for one response: about a millisecond of MS-CHAPv2.
pub(crate) const MOST: usize = 1024;
