//! Formats of lines: URIs, `users` files, `users.oath`, `~/.google_authenticator`.

use crate::otp::{Algorithm, Digits, Period};
use crate::otpauth::OtpAuth;
use crate::secret::SecretBytes;
use crate::token_file::{
    Caution, Fault, Format, Found, Knows, Moves, Parts, Remedy, Said, Tokens, base32_key, hex_key,
    is_some_drift, key,
};
use crate::wire::Reader;

pub(super) fn format(text: &str) -> Option<Format> {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let table = is_table(first) && text.contains("otpauth://");
    if table || scheme(first).is_some() {
        Some(Format::Otpauth)
    } else if first.starts_with("- ") && text.contains("otpkey:") {
        Some(Format::PrivacyIdeaYaml)
    } else if kind_of(first.split_whitespace().next()?).is_some()
        && first.split_whitespace().count() >= 4
    {
        Some(Format::UsersOath)
    } else if text.contains(SECRET) || text.contains(KEY) {
        Some(Format::FreeRadius)
    } else if base32_key(first).is_ok() && text.lines().any(|line| line.starts_with("\" ")) {
        Some(Format::GoogleAuthenticator)
    } else {
        None
    }
}

fn scheme(line: &str) -> Option<&str> {
    let (scheme, _) = line.split_once("://")?;
    let known = ["otpauth", "otpauth-migration"];
    known
        .into_iter()
        .find(|one| scheme.eq_ignore_ascii_case(one))
}

/// Whether this is the heading of what password managers export: entries with an URI in one of their fields.
fn is_table(line: &str) -> bool {
    let fields = line
        .split(',')
        .map(|field| field.trim_matches(['"', '\u{feff}']));
    let mut fields = fields.map(str::to_ascii_lowercase);
    fields.any(|field| ["totp", "login_totp", "otpauth"].contains(&&*field))
}

/// The URI in a field of a line.
fn in_field(line: &str) -> Option<&str> {
    let from = line.get(line.find("otpauth://")?..)?;
    from.split(['"', ',']).next()
}

/// Lines that say something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1..).zip(text.lines().map(str::trim_end));
    lines.filter(|(_, line)| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#')
    })
}

pub(super) fn otpauth(text: &str) -> Tokens {
    let mut tokens = Tokens::default();
    let table = lines(text).next().is_some_and(|(_, line)| is_table(line));
    for (number, line) in lines(text) {
        let line = if table {
            // Entries without one hold no token.
            let Some(uri) = in_field(line) else { continue };
            uri
        } else {
            line.trim()
        };
        match scheme(line) {
            Some("otpauth") => {
                let parsed = OtpAuth::parse(line);
                tokens.add(parsed.map_or_else(
                    |error| Err(Fault::new(number, error.to_string())),
                    |uri| {
                        Ok(Found {
                            line: number,
                            entry: 0,
                            user: Some(uri.label.account().to_owned()),
                            serial: None,
                            key: uri.key,
                            algorithm: uri.algorithm,
                            digits: uri.digits,
                            moving_factor: uri.moving_factor.into(),
                            knows: Knows::default(),
                        })
                    },
                ));
            }
            Some(_) => migration(line, number, &mut tokens),
            None => tokens.add(Err(Fault::new(number, "not an otpauth:// URI"))),
        }
    }
    tokens
}

/// `otpauth-migration://offline?data=` and base64 of a protocol buffer (Google Authenticator):
///
/// ```text
/// 1  token, repeated:  1 key  2 name  3 issuer  4 algorithm  5 digits  6 kind  7 counter
/// 2  version   3 number of parts   4 this part, from 0   5 batch
/// ```
fn migration(line: &str, number: usize, tokens: &mut Tokens) {
    let fault = |what: &str| Fault::new(number, what);
    let data = line.split_once("data=").map(|(_, data)| data);
    let data = data.map(|data| data.split('&').next().unwrap_or_default());
    let data = data.map(|data| percent_decoded(data).replace(' ', "+"));
    let octets = data.and_then(|data| {
        let data = data.trim_end_matches('=').as_bytes();
        let plain = data_encoding::BASE64_NOPAD.decode(data);
        plain
            .or_else(|_| data_encoding::BASE64URL_NOPAD.decode(data))
            .ok()
    });
    let Some(octets) = octets.map(SecretBytes::new) else {
        return tokens
            .faults
            .push(fault("the data of the migration is not base64"));
    };
    let mut reader = Reader::new(octets.expose());
    let mut some = false;
    while !reader.is_empty() {
        let Some((field, value)) = field(&mut reader) else {
            return tokens
                .faults
                .push(fault("the data of the migration is cut off or damaged"));
        };
        if let (1, Value::Octets(one)) = (field, value) {
            some = true;
            tokens.add(migrated(one, number));
        }
    }
    if !some {
        tokens.faults.push(fault("the migration holds no token"));
    }
}

enum Value<'v> {
    Number(u64),
    Octets(&'v [u8]),
}

/// A field of a protocol buffer; fixed numbers are read past.
fn field<'v>(reader: &mut Reader<'v>) -> Option<(u64, Value<'v>)> {
    let tag = varint(reader)?;
    let value = match tag & 7 {
        0 => Value::Number(varint(reader)?),
        1 => Value::Octets(reader.take(8)?),
        2 => {
            let length = usize::try_from(varint(reader)?).ok()?;
            Value::Octets(reader.take(length)?)
        }
        5 => Value::Octets(reader.take(4)?),
        _ => return None,
    };
    Some((tag >> 3, value))
}

fn varint(reader: &mut Reader<'_>) -> Option<u64> {
    let mut value = 0_u64;
    for place in 0..10 {
        let octet = reader.u8()?;
        value |= u64::from(octet & 0x7f).checked_shl(7 * place)?;
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn migrated(octets: &[u8], line: usize) -> Result<Found, Fault> {
    let mut name = String::new();
    let found = migrated_as(&mut name, octets, line);
    found.map_err(|fault| fault.named(None, Some(account(&name))))
}

/// `Issuer:name`, as in the label of a URI.
fn account(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, name)| name).trim()
}

/// Reads a token, and its name, which is told also where another field is wrong.
fn migrated_as(name: &mut String, octets: &[u8], line: usize) -> Result<Found, Fault> {
    let fault = |what: &str| Fault::new(line, what);
    let mut reader = Reader::new(octets);
    let mut secret = None;
    let (mut algorithm, mut digits) = (Algorithm::Sha1, Digits::SIX);
    let (mut is_time, mut counter) = (true, 0);
    while !reader.is_empty() {
        let field = field(&mut reader);
        match field.ok_or_else(|| fault("a token of the migration is damaged"))? {
            (1, Value::Octets(octets)) => secret = Some(SecretBytes::from(octets)),
            (2, Value::Octets(octets)) => *name = String::from_utf8_lossy(octets).into_owned(),
            (4, Value::Number(number)) => {
                algorithm = match number {
                    0 | 1 => Algorithm::Sha1,
                    2 => Algorithm::Sha256,
                    3 => Algorithm::Sha512,
                    _ => return Err(fault("algorithm: sha1, sha256 or sha512")),
                }
            }
            (5, Value::Number(number)) => {
                digits = match number {
                    0 | 1 => Digits::SIX,
                    2 => Digits::EIGHT,
                    _ => return Err(fault("digits: 6 or 8")),
                }
            }
            (6, Value::Number(number)) => {
                is_time = match number {
                    1 => false,
                    0 | 2 => true,
                    _ => return Err(fault("kind: totp or hotp")),
                }
            }
            (7, Value::Number(number)) => counter = number,
            _ => {}
        }
    }
    let secret = secret.ok_or_else(|| fault("a token of the migration has no key"))?;
    Ok(Found {
        line,
        entry: 0,
        user: Some(account(name).to_owned()).filter(|user| !user.is_empty()),
        serial: None,
        key: key(secret).map_err(|what| fault(&what))?,
        algorithm,
        digits,
        moving_factor: if is_time {
            Moves::Time(Period::THIRTY)
        } else {
            Moves::Counter(counter)
        },
        knows: Knows::default(),
    })
}

fn percent_decoded(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let pair = behind.get(..2).filter(|_| *first == b'%');
        let octet = pair.and_then(|pair| data_encoding::HEXUPPER_PERMISSIVE.decode(pair).ok());
        match octet.as_deref() {
            Some(&[octet]) => {
                octets.push(octet);
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                octets.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// `HOTP`, `HOTP/6`, `HOTP/T30`, `HOTP/T60/8`, `HOTP/E/6`: kind, digits and period.
fn kind_of(text: &str) -> Option<(&'static str, Option<&str>, Option<&str>)> {
    let mut parts = text.split('/');
    if parts.next() != Some("HOTP") {
        return None;
    }
    let (mut kind, mut digits, mut period) = ("hotp", None, None);
    for part in parts {
        match part.strip_prefix('T') {
            Some(seconds) => (kind, period) = ("totp", Some(seconds).filter(|s| !s.is_empty())),
            None if part == "E" => {}
            None => digits = Some(part),
        }
    }
    Some((kind, digits, period))
}

/// `type user pin key [last counter [last code [time]]]`. The PIN stands in clear, or is `-` (none) or `+` (another
/// module asks for it); it is not taken over.
pub(super) fn users_oath(text: &str) -> Tokens {
    let mut tokens = Tokens::default();
    for (number, line) in lines(text) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kind, user, pin, secret, rest @ ..] = words.as_slice() else {
            tokens.add(Err(Fault::new(number, "expected type, user, PIN and key")));
            continue;
        };
        let Some((kind, digits, period)) = kind_of(kind) else {
            tokens.add(Err(Fault::new(number, "the type is not HOTP or HOTP/T30")));
            continue;
        };
        // The file has the counter that was used last.
        let next = rest.first().filter(|_| kind == "hotp");
        let next = next.map(|last| {
            last.parse().map_or_else(
                |_| "?".to_owned(),
                |last: u64| last.saturating_add(1).to_string(),
            )
        });
        let parts = Parts {
            user: Some(user),
            kind,
            digits,
            period,
            counter: next.as_deref(),
            ..Parts::default()
        };
        let has_pin = !["-", "+"].contains(pin);
        let cautions = [has_pin.then_some(Caution::Pin), None];
        tokens.add_with(parts.found(number, hex_key(secret)), cautions);
    }
    tokens
}

/// Whether an item of a line is a password that FreeRADIUS compares: `Cleartext-Password`, `Crypt-Password` ...
fn has_password(line: &str) -> bool {
    let mut names = line.split(|one: char| !one.is_ascii_alphanumeric() && one != '-');
    names.any(|name| {
        let sent = name == "Tunnel-Password";
        name == "Password-With-Header" || name.ends_with("-Password") && !sent
    })
}

/// The value of an attribute in a line of a `users` file.
fn value_of<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    // Not the end of a longer name: `Post-Auth-Type`.
    let goes_on = |one: char| one.is_ascii_alphanumeric() || one == '-';
    let mut places = line.match_indices(name);
    let place = places.find(|(at, _)| {
        !line
            .get(..*at)
            .is_some_and(|before| before.ends_with(goes_on))
    });
    let rest = line.get(place?.0 + name.len()..)?;
    let rest = rest
        .trim_start()
        .trim_start_matches([':', '+', '='])
        .trim_start();
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split([',', ' ', '\t']).next(),
    }
}

/// `alice TOTP-Secret := "BASE32"` or `TOTP-Key := 0xHEX`; other lines belong to users without a token. Passwords are
/// not taken over.
pub(super) fn freeradius(text: &str) -> Tokens {
    let mut tokens = Tokens::default();
    let (mut user, mut knows) = ("", false);
    for (number, line) in lines(text) {
        if !line.starts_with(char::is_whitespace) {
            user = line.split_whitespace().next().unwrap_or_default();
            user = user.trim_matches('"');
            knows = false;
        }
        knows |= has_password(line);
        let key = match (value_of(line, SECRET), value_of(line, KEY)) {
            (Some(secret), _) => base32_key(secret),
            (None, Some(hex)) => match hex.strip_prefix("0x").or_else(|| hex.strip_prefix("0X")) {
                Some(digits) => hex_key(digits),
                None => Err("secret: a TOTP-Key is 0x and hexadecimal digits".to_owned()),
            },
            (None, None) => continue,
        };
        let is_rejected = |kind: &str| kind.eq_ignore_ascii_case("Reject");
        if value_of(line, "Auth-Type").is_some_and(is_rejected) {
            let what = "the user of the token is always rejected there (Auth-Type)";
            let fault = Fault::new(number, Remedy::LeaveOut.of(what));
            tokens.add(Err(fault.named(None, Some(user))));
            continue;
        }
        if value_of(line, "Expiration").is_some() {
            let what = "the user of the token ends there (Expiration)";
            let fault = Fault::new(number, Remedy::LeaveOut.of(what));
            tokens.add(Err(fault.named(None, Some(user))));
            continue;
        }
        let parts = Parts {
            user: Some(user),
            kind: "totp",
            ..Parts::default()
        };
        let drifts = value_of(line, "TOTP-Time-Offset").is_some_and(is_some_drift);
        let cautions = [
            drifts.then_some(Caution::Drift),
            knows.then_some(Caution::Password),
        ];
        tokens.add_with(parts.found(number, key), cautions);
    }
    tokens
}

/// The key, lines with `" OPTION`, then scratch codes, which are not taken over.
pub(super) fn google_authenticator(text: &str, said: &Said) -> Result<Tokens, Fault> {
    let mut tokens = Tokens::default();
    let user = said.user.as_deref();
    let whose = "the file does not say whose token it is";
    let user = user.ok_or_else(|| Fault::new(1, Remedy::NameOwner.of(whose)))?;
    let (number, secret) = lines(text).next().ok_or_else(|| Fault::new(1, "no key"))?;
    let option = |name: &str| {
        let mut options = text.lines().filter_map(|line| line.strip_prefix("\" "));
        options.find_map(|line| line.strip_prefix(name).map(str::trim))
    };
    let counter = option("HOTP_COUNTER");
    let parts = Parts {
        user: Some(user),
        kind: if counter.is_some() { "hotp" } else { "totp" },
        period: option("STEP_SIZE"),
        counter,
        ..Parts::default()
    };
    // Steps of time.
    let drifts = counter.is_none() && option("TIME_SKEW").is_some_and(is_some_drift);
    let cautions = [drifts.then_some(Caution::Drift), None];
    tokens.add_with(parts.found(number, base32_key(secret)), cautions);
    Ok(tokens)
}

/// Attributes of `rlm_totp` that hold a key.
const SECRET: &str = "TOTP-Secret";
const KEY: &str = "TOTP-Key";
