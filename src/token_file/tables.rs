//! Formats of columns.

use crate::token_file::{Fault, Format, Parts, Said, Tokens, base32_key, hex_key};

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
        [upn, serial, key, ..]
            if upn.eq_ignore_ascii_case("upn")
                && serial.eq_ignore_ascii_case("serial number")
                && key.eq_ignore_ascii_case("secret key") =>
        {
            Some(Format::Entra)
        }
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
    let asked = said.period.map(|period| period.as_secs().to_string());
    if format == Format::Feitian && asked.is_none() {
        return Err(Fault::new(
            1,
            "the file does not say how long a code lasts: 30 or 60 seconds",
        ));
    }
    for (number, line) in rows(text) {
        let columns = fields(line);
        let at = |index: usize| columns.get(index).copied().filter(|text| !text.is_empty());
        let (parts, key) = match format {
            Format::Entra if at(0).is_some_and(|upn| upn.eq_ignore_ascii_case("upn")) => continue,
            Format::Entra => {
                let parts = Parts {
                    user: at(0),
                    serial: at(1),
                    kind: "totp",
                    period: at(3),
                    ..Parts::default()
                };
                (parts, base32_key(at(2).unwrap_or_default()))
            }
            Format::Feitian => {
                let parts = Parts {
                    serial: at(0),
                    kind: "totp",
                    period: asked.as_deref(),
                    ..Parts::default()
                };
                (parts, hex_key(at(1).unwrap_or_default()))
            }
            Format::Duo => {
                let parts = Parts {
                    serial: at(0),
                    kind: "hotp",
                    counter: at(2),
                    ..Parts::default()
                };
                (parts, hex_key(at(1).unwrap_or_default()))
            }
            Format::Oath => {
                let kind = at(2).unwrap_or("hotp");
                let parts = Parts {
                    serial: at(0),
                    kind,
                    digits: at(3),
                    period: at(4),
                    counter: at(4),
                    ..Parts::default()
                };
                (parts, hex_key(at(1).unwrap_or_default()))
            }
            Format::PrivacyIdeaCsv => {
                let parts = Parts {
                    user: at(0),
                    serial: at(1),
                    kind: at(3).unwrap_or("hotp"),
                    digits: at(4),
                    period: at(5),
                    ..Parts::default()
                };
                (parts, hex_key(at(2).unwrap_or_default()))
            }
            _ => match at(0).unwrap_or_default().to_ascii_lowercase().as_str() {
                "logging start" => continue,
                "oath-hotp" => {
                    let parts = Parts {
                        kind: "hotp",
                        digits: at(11).filter(|digits| *digits != "0"),
                        ..Parts::default()
                    };
                    (parts, hex_key(at(5).unwrap_or_default()))
                }
                "yubico otp" => {
                    let what = "tokens of kind `yubikey` cannot be imported";
                    tokens.add(Err(Fault::new(number, what)));
                    continue;
                }
                _ => {
                    tokens.add(Err(Fault::new(
                        number,
                        "the slot holds no one-time password",
                    )));
                    continue;
                }
            },
        };
        tokens.add(parts.found(number, key));
    }
    Ok(tokens)
}
