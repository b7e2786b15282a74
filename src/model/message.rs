//! What is sent to a person: a text for a phone or a mailbox, and the addresses it goes to.
//!
//! Phone numbers are E.164 (ITU-T E.164 s6: `+`, country code, at most 15 digits) from here on:
//! what people write is turned into that once, by [`address`]. Mail addresses are the plain form of
//! RFC 5321 s4.1.2 (dot-string, no quotes, no literals), which is what people have.
//!
//! Threats: a text may hold a code, so nothing here prints one, and addresses are shown by
//! [`mask`] only. An address with a line end or a second recipient in it would be a header of its
//! own in a mail; none is well formed.

use std::fmt;

use crate::model::kind::Kind;
use crate::secret::SecretString;

words! {
    /// How a message travels.
    #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
    pub enum Medium {
        /// A short message to a phone.
        Sms = "sms",
        /// A mail.
        Email = "email",
        /// A call that speaks.
        Voice = "voice",
    }
}

impl Medium {
    /// How codes of a token of this kind are sent.
    pub const fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Sms => Some(Self::Sms),
            Kind::Email => Some(Self::Email),
            Kind::Voice => Some(Self::Voice),
            _ => None,
        }
    }
}

words! {
    /// The language of a text, for gateways that speak.
    #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
    pub enum Language {
        /// English.
        #[default]
        En = "en",
        /// Korean.
        Ko = "ko",
    }
}

/// Something to be delivered.
#[derive(Clone)]
pub struct Message {
    /// Names the message: the same on every retry and through every gateway, so that a gateway
    /// which knows ids can drop the second copy.
    pub id: [u8; 16],
    /// How it travels.
    pub medium: Medium,
    /// Phone number or mail address.
    pub to: String,
    /// Subject of a mail.
    pub subject: Option<String>,
    /// The text. It may hold a code.
    pub text: SecretString,
    /// The code alone, for gateways that speak digits themselves.
    pub code: Option<SecretString>,
    /// The language of the text.
    pub language: Language,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("medium", &self.medium)
            .field("to", &mask(self.medium, &self.to))
            .finish_non_exhaustive()
    }
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressError {
    /// A phone number with something else than digits and the signs people group them with.
    #[error("a phone number has digits, spaces, dots, dashes and brackets only")]
    Signs,
    /// Too few or too many digits (ITU-T E.164 s6.2.1).
    #[error("a phone number has 7 to 15 digits with its country")]
    Length,
    /// A national number, and no country is configured for those.
    #[error("the number has no country: it begins with + and the country code")]
    NoCountry,
    /// An international prefix, which means another thing in every country.
    #[error("the number begins with an international prefix: write + and the country code instead")]
    Prefix,
    /// A number of Korea that its numbering plan does not have.
    #[error(
        "there is no such number in Korea (+82): write it as 010-1234-5678 or +82 10-1234-5678"
    )]
    Plan,
    /// Not of the form `name@domain`.
    #[error("a mail address is name@domain in ASCII, without quotes and comments")]
    Mail,
}

/// The one form of an address: E.164 for phones, the trimmed text for mail. `home` is the country
/// of numbers that are written without one, as `+82`.
pub fn address(medium: Medium, text: &str, home: Option<&str>) -> Result<String, AddressError> {
    match medium {
        Medium::Sms | Medium::Voice => phone(text, home),
        Medium::Email => mail(text),
    }
}

fn phone(text: &str, home: Option<&str>) -> Result<String, AddressError> {
    let text = text.trim();
    let (sign, rest) = match text.strip_prefix('+') {
        // `+82 (0)10`: the zero is dialled inside the country only.
        Some(rest) => (true, rest.replacen("(0)", "", 1)),
        None => (false, text.to_owned()),
    };
    let mut digits = String::with_capacity(MAX_DIGITS);
    for sign in rest.chars() {
        match sign {
            '0'..='9' => digits.push(sign),
            ' ' | '-' | '.' | '(' | ')' => {}
            _ => return Err(AddressError::Signs),
        }
    }
    let number = if sign {
        digits
    } else {
        with_country(&digits, home)?
    };
    let number = match number.strip_prefix(KOREA) {
        // `+82 010-...`: no number of Korea begins with its trunk prefix.
        Some(national) => match national.strip_prefix('0') {
            Some(national) => format!("{KOREA}{national}"),
            None => number,
        },
        None => number,
    };
    if number.starts_with('0') {
        return Err(AddressError::Prefix);
    }
    if !(MIN_DIGITS..=MAX_DIGITS).contains(&number.len()) {
        return Err(AddressError::Length);
    }
    if let Some(national) = number.strip_prefix(KOREA)
        && !is_korean(national)
    {
        return Err(AddressError::Plan);
    }
    Ok(format!("+{number}"))
}

/// The digits, written without `+`, with their country code in front. They may have it already: where
/// no national number of `home` begins that way, or behind `00` where that can only mean it.
fn with_country(digits: &str, home: Option<&str>) -> Result<String, AddressError> {
    if let Some(rest) = digits.strip_prefix("00") {
        // In Korea `00` begins the prefixes of several carriers (001, 002, 00700), so that only its own
        // code behind it is certain.
        let code = home.map_or(KOREA, |home| home.trim_start_matches('+'));
        let national = rest.strip_prefix(code).ok_or(AddressError::Prefix)?;
        let own = code != KOREA || is_korean(national.strip_prefix('0').unwrap_or(national));
        return own.then(|| rest.to_owned()).ok_or(AddressError::Prefix);
    }
    let home = home.ok_or(AddressError::NoCountry)?;
    let code = home.trim_start_matches('+');
    if code == KOREA
        && let Some(national) = digits.strip_prefix(KOREA)
        && is_korean(national.strip_prefix('0').unwrap_or(national))
    {
        return Ok(digits.to_owned());
    }
    let national = trunk_prefix(home).and_then(|trunk| digits.strip_prefix(trunk));
    Ok(format!("{code}{}", national.unwrap_or(digits)))
}

/// Whether digits without country code and trunk prefix are a number of Korea's numbering plan: mobile
/// (10, 11, 16 to 19), Seoul (2), provinces (31 to 64), services (50, 60, 70, 80), and the eight digits
/// of representative numbers (15xx, 16xx, 18xx).
fn is_korean(national: &str) -> bool {
    let length = national.len();
    let (first, second) = (national.get(..1), national.get(..2));
    match (first, second) {
        (_, Some("10")) => length == 10,
        (_, Some("15" | "16" | "18")) if length == 8 => true,
        (_, Some("11" | "16" | "17" | "18" | "19")) => matches!(length, 9 | 10),
        (_, Some("50")) => matches!(length, 9..=11),
        (_, Some("60" | "70" | "80")) => matches!(length, 9 | 10),
        (Some("3" | "4" | "5" | "6"), Some(area)) => {
            KOREAN_AREAS.contains(&area) && matches!(length, 9 | 10)
        }
        (Some("2"), _) => matches!(length, 8 | 9),
        _ => false,
    }
}

fn mail(text: &str) -> Result<String, AddressError> {
    let text = text.trim();
    let (local, domain) = text.rsplit_once('@').ok_or(AddressError::Mail)?;
    // RFC 5321 s4.5.3.1.1 and s4.5.3.1.2; RFC 5322 s3.2.3 for the atoms.
    let atom = |atom: &str| {
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || ATOM.contains(&octet);
        !atom.is_empty() && atom.bytes().all(plain)
    };
    let label = |label: &str| {
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let good = local.len() <= 64
        && domain.len() <= 253
        && local.split('.').all(atom)
        && domain.split('.').all(label);
    good.then(|| text.to_owned()).ok_or(AddressError::Mail)
}

/// Whether a text is a prefix of E.164 numbers: `+` and 1 to 7 digits, the first not 0.
pub fn is_country(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (1..=7).contains(&digits.len())
            && digits.bytes().all(|octet| octet.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

/// The address for prompts and audit: enough for its owner to know it, too little for anybody else
/// to use it. `+82*******1234`, `a***@example.com`.
pub fn mask(medium: Medium, address: &str) -> String {
    match medium {
        Medium::Sms | Medium::Voice => mask_phone(address),
        Medium::Email => mask_mail(address),
    }
}

fn mask_phone(number: &str) -> String {
    let digits = number.strip_prefix('+').unwrap_or_default();
    if digits.len() < MIN_DIGITS || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return HIDDEN.to_owned();
    }
    let (country, subscriber) = digits.split_at(country_length(digits));
    // Of a short number half is shown.
    let shown = 4.min(subscriber.len() / 2);
    let (hidden, last) = subscriber.split_at(subscriber.len() - shown);
    format!("+{country}{}{last}", "*".repeat(hidden.len()))
}

fn mask_mail(address: &str) -> String {
    let Some((local, domain)) = address.rsplit_once('@') else {
        return HIDDEN.to_owned();
    };
    let mut letters = local.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(_)) => format!("{first}{HIDDEN}@{domain}"),
        _ => format!("{HIDDEN}@{domain}"),
    }
}

/// Digits of the country code at the beginning of an E.164 number.
fn country_length(digits: &str) -> usize {
    let starts = |codes: &[&str]| codes.iter().any(|code| digits.starts_with(code));
    if starts(&["1", "7"]) {
        1
    } else if starts(&TWO_DIGIT_COUNTRIES) {
        2
    } else {
        3
    }
}

/// The digit that is dialled before a national number inside the country, and not from abroad.
fn trunk_prefix(country: &str) -> Option<char> {
    match country {
        "+1" => Some('1'),
        "+7" => Some('8'),
        _ if KEEP_ZERO.contains(&country) => None,
        _ => Some('0'),
    }
}

const HIDDEN: &str = "***";
/// The country code of Korea, whose numbering plan is known here.
const KOREA: &str = "82";
/// Its area codes beside Seoul's, without the trunk prefix.
const KOREAN_AREAS: [&str; 16] = [
    "31", "32", "33", "41", "42", "43", "44", "51", "52", "53", "54", "55", "61", "62", "63", "64",
];
const MIN_DIGITS: usize = 7;
const MAX_DIGITS: usize = 15;
/// What an atom of a mail address may hold beside letters and digits (RFC 5322 s3.2.3).
const ATOM: &[u8] = b"!#$%&'*+-/=?^_`{|}~";
/// Country codes of two digits (ITU-T E.164, list of assigned codes); 1 and 7 have one digit, all
/// others three.
const TWO_DIGIT_COUNTRIES: [&str; 44] = [
    "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47",
    "48", "49", "51", "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65",
    "66", "81", "82", "84", "86", "90", "91", "92", "93", "94", "95", "98",
];
/// Countries whose numbers keep their first zero when dialled from abroad: Italy, Ivory Coast,
/// Gabon, Congo.
const KEEP_ZERO: [&str; 4] = ["+39", "+225", "+241", "+242"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_e164() {
        let korea = Some("+82");
        for (text, wanted) in [
            ("+82-10-1234-5678", "+821012345678"),
            ("010-1234-5678", "+821012345678"),
            ("010 1234 5678", "+821012345678"),
            (" (02) 123.4567 ", "+8221234567"),
            ("+82 (0)10-1234-5678", "+821012345678"),
            ("+1 (212) 555-0100", "+12125550100"),
            ("1588-1234", "+8215881234"),
            ("+82 010-1234-5678", "+821012345678"),
            ("+82-010.1234.5678", "+821012345678"),
            ("82-10-1234-5678", "+821012345678"),
            ("82 010 1234 5678", "+821012345678"),
            ("010.1234.5678", "+821012345678"),
            ("0082-10-1234-5678", "+821012345678"),
            ("0082 010-1234-5678", "+821012345678"),
            ("016-123-4567", "+82161234567"),
            ("02-123-4567", "+8221234567"),
            ("031-123-4567", "+82311234567"),
            ("+82 64 123 4567", "+82641234567"),
            ("070-1234-5678", "+827012345678"),
            ("0505-123-4567", "+825051234567"),
            ("+821012345678\r\n", "+821012345678"),
        ] {
            assert_eq!(phone(text, korea).as_deref(), Ok(wanted), "{text}");
        }
        for (text, home, wanted) in [
            ("0082-10-1234-5678", None, "+821012345678"),
            ("0044 20 7946 0000", Some("+44"), "+442079460000"),
            ("020 7946 0000", Some("+44"), "+442079460000"),
            ("1-212-555-0100", Some("+1"), "+12125550100"),
            ("212-555-0100", Some("+1"), "+12125550100"),
            ("8 (912) 345-67-89", Some("+7"), "+79123456789"),
        ] {
            assert_eq!(phone(text, home).as_deref(), Ok(wanted), "{text}");
        }
        let italy = phone("06 1234 5678", Some("+39"));
        assert_eq!(italy.as_deref(), Ok("+390612345678"));
        for (text, home, wanted) in [
            ("010-1234-5678", None, AddressError::NoCountry),
            ("0011212555010", korea, AddressError::Prefix),
            ("001-82-10-1234-5678", korea, AddressError::Prefix),
            ("0044 20 7946 0000", korea, AddressError::Prefix),
            ("0082 99", korea, AddressError::Prefix),
            ("010-1234-567", korea, AddressError::Plan),
            ("010-1234-56789", korea, AddressError::Plan),
            ("+82 12 345 6789", korea, AddressError::Plan),
            ("82-10-1234-567", korea, AddressError::Plan),
            ("+82 099-123-4567", korea, AddressError::Plan),
            ("82-10-1234-5678", None, AddressError::NoCountry),
            ("+0821012345678", korea, AddressError::Prefix),
            ("+82", korea, AddressError::Length),
            ("+1234567890123456", korea, AddressError::Length),
            ("", korea, AddressError::Length),
            ("010-1234-567x", korea, AddressError::Signs),
            ("+82+1012345678", korea, AddressError::Signs),
            ("+8210\r\n12345678", None, AddressError::Signs),
            ("+82\u{ff11}012345678", korea, AddressError::Signs),
        ] {
            assert_eq!(phone(text, home), Err(wanted), "{text:?}");
        }
    }

    #[test]
    fn mail_addresses_are_plain() {
        for good in [
            "alice@example.com",
            "a.b+c_d@xn--9t4b11yi5a.example",
            "root@localhost",
            "o'neil@a-b.example",
        ] {
            assert_eq!(mail(good).as_deref(), Ok(good));
        }
        assert_eq!(mail(" a@b.c\n").as_deref(), Ok("a@b.c"));
        let long = format!("{}@example.com", "a".repeat(65));
        for bad in [
            "",
            "@",
            "a",
            "a@",
            "@b",
            "a@b@c",
            "a..b@c",
            ".a@c",
            "a@-b.c",
            "a@b..c",
            "a@[127.0.0.1]",
            "\"a b\"@c",
            "a b@c",
            "a,b@c",
            "<a@c>",
            "a@c>\r\nBcc: d@e",
            "a\nb@c",
            "a(x)@c",
            "\u{ac00}@c",
            "a@\u{ac00}",
            &long,
        ] {
            assert_eq!(mail(bad), Err(AddressError::Mail), "{bad:?}");
        }
    }

    #[test]
    fn masks_show_little() {
        for (medium, address, wanted) in [
            (Medium::Sms, "+821012345678", "+82******5678"),
            (Medium::Voice, "+12125550100", "+1******0100"),
            (Medium::Sms, "+372501234", "+372***234"),
            (Medium::Sms, "+8212345", "+82***45"),
            (Medium::Sms, "010-1234-5678", "***"),
            (Medium::Sms, "+", "***"),
            (Medium::Email, "alice@example.com", "a***@example.com"),
            (Medium::Email, "a@example.com", "***@example.com"),
            (
                Medium::Email,
                "\u{ac00}\u{b098}@example.com",
                "\u{ac00}***@example.com",
            ),
            (Medium::Email, "alice", "***"),
        ] {
            assert_eq!(mask(medium, address), wanted, "{address}");
        }
    }

    #[test]
    fn debug_shows_no_text_and_no_address() {
        let message = Message {
            id: [1; 16],
            medium: Medium::Sms,
            to: "+821012345678".to_owned(),
            subject: Some("755224".to_owned()),
            text: SecretString::from("your code is 755224"),
            code: Some(SecretString::from("755224")),
            language: Language::Ko,
        };
        let shown = format!("{message:?}");
        assert_eq!(shown, "Message { medium: Sms, to: \"+82******5678\", .. }");
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for medium in Medium::ALL {
            assert_eq!(medium.to_string().parse(), Ok(medium));
        }
        for language in [Language::En, Language::Ko] {
            assert_eq!(language.as_str().parse(), Ok(language));
        }
        assert!("mms".parse::<Medium>().is_err() && "KO".parse::<Language>().is_err());
    }

    #[test]
    fn countries_are_prefixes() {
        assert!(["+82", "+1", "+1212"].into_iter().all(is_country));
        let bad = ["82", "+", "+0", "+8a", "+12345678", ""];
        assert!(!bad.into_iter().any(is_country));
    }
}
