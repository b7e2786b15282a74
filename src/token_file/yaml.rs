//! privacyIDEA's export in YAML.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::secret::SecretString;
use crate::time::UnixTime;
use crate::token_file::{
    Caution, Fault, Found, Knows, Lines, Parts, Remedy, Said, Tokens, Wrong, ends, hex_key, is_off,
};

#[derive(Deserialize)]
struct Token {
    r#type: String,
    serial: Option<String>,
    owner: Option<String>,
    otpkey: SecretString,
    otplen: Option<u8>,
    counter: Option<u64>,
    #[serde(rename = "_hashed_pin")]
    hashed_pin: Option<String>,
    active: Option<bool>,
    revoked: Option<bool>,
    locked: Option<bool>,
    rollout_state: Option<String>,
    #[serde(default)]
    info_list: Info,
}

impl Token {
    /// Whether it ends some day; or why privacyIDEA takes no codes of it.
    fn ends(&self, now: UnixTime) -> Result<bool, Wrong> {
        let state = self.rollout_state.as_deref().map_or("", str::trim);
        let enrolled = state.is_empty() || state.eq_ignore_ascii_case("enrolled");
        for (is_so, what) in [
            (self.revoked == Some(true), "the token is revoked there"),
            (self.locked == Some(true), "the token is locked there"),
            (self.active == Some(false), "the token is disabled there"),
            (!enrolled, "the token is not enrolled there to the end"),
        ] {
            if is_so {
                return Err(Remedy::LeaveOut.of(what));
            }
        }
        let info = &self.info_list;
        if info.most_logins.is_some() || info.most_successes.is_some() {
            return Err(Remedy::LeaveOut.of("the token is for a number of logins only"));
        }
        ends(info.valid_from.as_deref(), info.valid_to.as_deref(), now)
    }
}

#[derive(Default, Deserialize)]
struct Info {
    hashlib: Option<String>,
    #[serde(rename = "timeStep")]
    time_step: Option<String>,
    /// How far off its clock is, in seconds.
    #[serde(rename = "timeShift")]
    time_shift: Option<String>,
    #[serde(rename = "count_auth_max")]
    most_logins: Option<IgnoredAny>,
    #[serde(rename = "count_auth_success_max")]
    most_successes: Option<IgnoredAny>,
    #[serde(rename = "validity_period_start")]
    valid_from: Option<String>,
    #[serde(rename = "validity_period_end")]
    valid_to: Option<String>,
}

pub(super) fn privacyidea(text: &str, said: &Said) -> Result<Tokens, Fault> {
    let all: Vec<Token> = serde_saphyr::from_str(text).map_err(|error| {
        // The error of the library may quote a value.
        let line = error.location().map_or(1, |place| place.line());
        let line = usize::try_from(line).unwrap_or_default();
        Fault::new(line, Remedy::NameFormat.of("not an export of privacyIDEA"))
    })?;
    let mut tokens = Tokens::default();
    let lines = Lines::of(text);
    let places = text.match_indices("otpkey:").map(|(at, _)| lines.at(at));
    for (token, line) in all.iter().zip(places.chain(std::iter::repeat(1))) {
        let ends = match token.ends(said.now) {
            Ok(ends) => ends,
            Err(wrong) => {
                let (serial, user) = (token.serial.as_deref(), token.owner.as_deref());
                tokens.add(Err(Fault::new(line, wrong).named(serial, user)));
                continue;
            }
        };
        let digits = token.otplen.map(|digits| digits.to_string());
        let counter = token.counter.map(|counter| counter.to_string());
        let parts = Parts {
            user: token.owner.as_deref(),
            serial: token.serial.as_deref(),
            kind: &token.r#type,
            algorithm: token.info_list.hashlib.as_deref(),
            digits: digits.as_deref(),
            period: token.info_list.time_step.as_deref(),
            counter: counter.as_deref(),
        };
        let pin = tokens.hash(token.hashed_pin.as_deref());
        let found = parts.found(line, hex_key(token.otpkey.expose()));
        let found = found.map(|found| Found {
            knows: Knows {
                pin,
                ..Knows::default()
            },
            ..found
        });
        let shift = token.info_list.time_shift.as_deref();
        let drifts = matches!((&found, shift), (Ok(found), Some(shift)) if is_off(found, shift));
        let cautions = [
            ends.then_some(Caution::Ends),
            drifts.then_some(Caution::Drift),
        ];
        tokens.add_with(found, cautions);
    }
    Ok(tokens)
}
