//! privacyIDEA's export in YAML.

use serde::Deserialize;

use crate::secret::SecretString;
use crate::token_file::{Fault, Found, Knows, Lines, Parts, Remedy, Tokens, hex_key};

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
    #[serde(default)]
    info_list: Info,
}

#[derive(Default, Deserialize)]
struct Info {
    hashlib: Option<String>,
    #[serde(rename = "timeStep")]
    time_step: Option<String>,
}

pub(super) fn privacyidea(text: &str) -> Result<Tokens, Fault> {
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
        tokens.add(found.map(|found| Found {
            knows: Knows {
                pin,
                ..Knows::default()
            },
            ..found
        }));
    }
    Ok(tokens)
}
