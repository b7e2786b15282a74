//! Formats of columns.

use crate::otp::yubikey;
use crate::secret::OtpKey;
use crate::token_file::{
    Fault, Format, Parts, Remedy, Said, Tokens, YUBIKEY_SECRET, base32_key, hex_key, key as key_of,
};

/// Fields of a line, trimmed, without the quotes around them. None of these formats has separators in quotes.
fn fields(line: &str) -> Vec<&str> {
    let separator = [',', ';', '\t'].into_iter().find(|one| line.contains(*one));
    let fields = line.split(separator.unwrap_or(','));
    fields.map(|field| field.trim().trim_matches('"')).collect()
}

fn is_hex(text: &str) -> bool {
    text.len() >= 20
        && text.len().is_multiple_of(2)
        && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit())
}

/// Lines that say something, with their numbers.
fn rows(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1..).zip(text.lines());
    lines.filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
}

pub(super) fn format(text: &str) -> Option<Format> {
    let first = rows(text).next()?.1;
    let columns = fields(first);
    match *columns.as_slice() {
        [start, ..] if start.eq_ignore_ascii_case("LOGGING START") => Some(Format::Yubico),
        _ if is_keyring(&columns) => Some(Format::Yubico),
        _ if is_multiotp(&columns) => Some(Format::MultiOtp),
        _ if Entra::of(&columns).is_some_and(Entra::is_whole) => Some(Format::Entra),
        [_, key] if is_hex(key) && first.contains('\t') => Some(Format::Feitian),
        [_, key, counter] if is_hex(key) && is_number(counter) => Some(Format::Duo),
        // A line without a counter may be of either; another line tells.
        [_, key] if is_hex(key) => {
            let kinds = rows(text).any(|(_, line)| fields(line).len() > 3);
            let counters = rows(text).any(|(_, line)| fields(line).len() == 3);
            let duo = counters && !kinds;
            Some(if duo { Format::Duo } else { Format::Oath })
        }
        [_, key, ..] if is_hex(key) => Some(Format::Oath),
        [_, _, key, ..] if is_hex(key) => Some(Format::PrivacyIdeaCsv),
        _ => None,
    }
}

pub(super) fn read(text: &str, format: Format, said: &Said) -> Result<Tokens, Fault> {
    let mut tokens = Tokens::default();
    let asked = said.period.filter(|_| format == Format::Feitian);
    let asked = asked.map(|period| period.as_secs().to_string());
    if format == Format::Feitian && asked.is_none() {
        let what = "the file does not say how long a code lasts: 30 or 60 seconds";
        return Err(Fault::new(1, Remedy::NamePeriod.of(what)));
    }
    let mut entra = Entra::USUAL;
    for (number, line) in rows(text) {
        let columns = fields(line);
        if format == Format::Entra
            && let Some(heading) = Entra::of(&columns)
        {
            entra = heading;
            continue;
        }
        if format == Format::MultiOtp && is_multiotp_heading(&columns) {
            continue;
        }
        let first = columns.first().copied().unwrap_or_default();
        if ["upn", "logging start"]
            .iter()
            .any(|heading| first.eq_ignore_ascii_case(heading))
        {
            continue;
        }
        let token = match format {
            Format::Yubico => yubico(&columns),
            Format::MultiOtp => multiotp(&columns),
            Format::Entra => Ok(entra.token(&columns)),
            _ => Ok(token(format, &columns, asked.as_deref())),
        };
        let token = token.map_err(|what| Fault::new(number, what));
        tokens.add(token.and_then(|(parts, key)| parts.found(number, key)));
    }
    Ok(tokens)
}

type Token<'t> = (Parts<'t>, Result<OtpKey, String>);

fn field<'t>(columns: &[&'t str], index: usize) -> Option<&'t str> {
    columns.get(index).copied().filter(|text| !text.is_empty())
}

/// The columns of each format.
fn token<'t>(format: Format, columns: &[&'t str], period: Option<&'t str>) -> Token<'t> {
    let at = |index| field(columns, index);
    let (key, parts) = if format == Format::PrivacyIdeaCsv {
        let parts = Parts {
            user: at(0),
            serial: at(1),
            kind: at(3).unwrap_or("hotp"),
            digits: at(4),
            period: at(5),
            ..Parts::default()
        };
        (2, parts)
    } else {
        let (kind, counter) = match format {
            Format::Feitian => ("totp", None),
            Format::Duo => ("hotp", at(2)),
            _ => (at(2).unwrap_or("hotp"), at(4)),
        };
        let parts = Parts {
            serial: at(0),
            kind,
            digits: at(3),
            period: period.or_else(|| at(4)),
            counter,
            ..Parts::default()
        };
        (1, parts)
    };
    (parts, hex_key(at(key).unwrap_or_default()))
}

/// Where the columns of an Entra file are.
#[derive(Clone, Copy)]
struct Entra {
    upn: Option<usize>,
    serial: Option<usize>,
    key: usize,
    period: Option<usize>,
    hash: Option<usize>,
}

impl Entra {
    /// `upn,serial number,secret key,time interval,...`.
    const USUAL: Self = Self {
        upn: Some(0),
        serial: Some(1),
        key: 2,
        period: Some(3),
        hash: None,
    };

    /// By the heading, which names them in any order; `None`: the line is no heading.
    fn of(columns: &[&str]) -> Option<Self> {
        // Nothing is copied: a row that is no heading holds a key.
        let is = |column: &str, name: &str| {
            let letters = column.chars().filter(char::is_ascii_alphanumeric);
            let letters = letters.map(|letter| letter.to_ascii_lowercase());
            letters.eq(name.chars())
        };
        let place = |name: &str| columns.iter().position(|column| is(column, name));
        let found = Self {
            upn: place("upn"),
            serial: place("serialnumber"),
            key: place("secretkey")?,
            period: place("timeinterval"),
            hash: place("hashfunction"),
        };
        (found.upn.is_some() || found.serial.is_some()).then_some(found)
    }

    /// Whether the heading is that of Entra and of no other file.
    const fn is_whole(self) -> bool {
        self.upn.is_some() && self.serial.is_some()
    }

    fn token<'t>(self, columns: &[&'t str]) -> Token<'t> {
        let at = |place: Option<usize>| place.and_then(|index| field(columns, index));
        let parts = Parts {
            user: at(self.upn),
            serial: at(self.serial),
            kind: "totp",
            algorithm: at(self.hash),
            period: at(self.period),
            ..Parts::default()
        };
        let key = at(Some(self.key)).unwrap_or_default();
        (parts, base32_key(key))
    }
}

/// `serial,public identity,private identity,AES key,...`: Yubico's own format, and that of `ykksm`.
fn is_keyring(columns: &[&str]) -> bool {
    let [serial, id, private, key, ..] = *columns else {
        return false;
    };
    let hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    is_number(serial)
        && yubikey::is_public_id(id)
        && hex(private, 2 * yubikey::PRIVATE)
        && hex(key, 2 * yubikey::AES)
}

/// A yubikey by its public identity, private identity and AES key.
fn press<'t>(columns: &[&'t str], [id, private, key]: [usize; 3]) -> Token<'t> {
    let at = |index| field(columns, index).unwrap_or_default();
    let parts = Parts {
        serial: Some(at(id)),
        kind: "yubikey",
        ..Parts::default()
    };
    let secret = yubikey::secret(at(key), Some(at(private)));
    let secret = secret.map_err(|_| YUBIKEY_SECRET.to_owned());
    (parts, secret.and_then(key_of))
}

/// A slot of a key: what it is, when, which slot, public identity, private identity, secret ...
fn yubico<'t>(columns: &[&'t str]) -> Result<Token<'t>, &'static str> {
    if is_keyring(columns) {
        return Ok(press(columns, [1, 2, 3]));
    }
    let kind = field(columns, 0).unwrap_or_default();
    if kind.eq_ignore_ascii_case("yubico otp") {
        return Ok(press(columns, [3, 4, 5]));
    }
    if !kind.eq_ignore_ascii_case("oath-hotp") {
        return Err("the slot holds no one-time password");
    }
    let parts = Parts {
        kind: "hotp",
        digits: field(columns, 11).filter(|digits| *digits != "0"),
        ..Parts::default()
    };
    Ok((parts, hex_key(field(columns, 5).unwrap_or_default())))
}

/// `serial;manufacturer;kind;seed;digits;period or next counter`, separated by semicolons, commas or tabs: what
/// `multiotp -import-csv` reads (multiOTP 5.1 to 5.9). What stands behind it is not read there either.
fn multiotp<'t>(columns: &[&'t str]) -> Result<Token<'t>, &'static str> {
    let [serial, _, kind, seed, digits, moves, ..] = *columns else {
        return Err(MULTIOTP);
    };
    if digits.is_empty() || moves.is_empty() {
        return Err(MULTIOTP);
    }
    let parts = Parts {
        serial: Some(serial),
        kind,
        digits: Some(digits),
        period: Some(moves),
        counter: Some(moves),
        ..Parts::default()
    };
    Ok((parts, hex_key(seed)))
}

fn is_multiotp(columns: &[&str]) -> bool {
    let [_, _, kind, seed, digits, moves, ..] = *columns else {
        return false;
    };
    let kinds = ["totp", "hotp", "motp", "yubicootp"];
    let is_kind = kinds.iter().any(|one| kind.eq_ignore_ascii_case(one));
    // The key of a token of another kind may be short.
    let is_seed = seed.len() >= 16 && seed.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_kind && is_seed && is_number(digits) && is_number(moves) || is_multiotp_heading(columns)
}

fn is_multiotp_heading(columns: &[&str]) -> bool {
    let [_, _, kind, seed, ..] = *columns else {
        return false;
    };
    kind.eq_ignore_ascii_case("algorithm") && seed.eq_ignore_ascii_case("seed")
}

const MULTIOTP: &str =
    "expected serial, manufacturer, algorithm, seed, digits and interval or counter";
