//! Files of tokens as other systems and vendors write them.
//!
//! ```text
//! text - Format::of -> format - read -> tokens and faults, each with its line and the token's name
//! ```
//!
//! | format | what it is |
//! |---|---|
//! | otpauth | `otpauth://` and `otpauth-migration://` URIs, one a line (Ente, `WinAuth`, `KeePassXC`, Google Authenticator) |
//! | aegis, 2fas, freeotp | exports of these authenticators, not encrypted |
//! | pskc | RFC 6030: plain, with a pre-shared key, with a password; names of elements in any case |
//! | safenet | `SafeNet` XML |
//! | entra | CSV with a heading: upn, serial number, secret key, time interval, manufacturer, model |
//! | oath | CSV: serial, key in hex, kind, digits, period or counter |
//! | duo | CSV: serial, key in hex, counter |
//! | privacyidea | its CSV and YAML exports; its PSKC is pskc |
//! | feitian | serial and key in hex, separated by a tab |
//! | multiotp | CSV: serial, manufacturer, kind, key in hex, digits, period or counter |
//! | yubico | CSV of the `YubiKey` personalisation tool (traditional and Yubico format), and of `ykksm` |
//! | freeradius | `users` file of `rlm_totp` |
//! | users-oath | `users.oath` of `pam_oath` |
//! | google-authenticator | `~/.google_authenticator` of the PAM module |
//! | keycloak | realm export |
//!
//! Invariants: a fault names the line and the token, never the rest of the content, which is a secret; a value out of
//! range is a fault and not a default; what is no token of ours (Steam, a static password) is a fault, so that it is
//! not missed, and so is a file without any; a token that its own system takes no codes of (disabled, revoked,
//! expired, for another use) is a fault, so that an import opens no way in that was closed.

use crate::credential::Hash;
use crate::model::id::Serial;
use crate::otp::{Algorithm, Digits, Period, yubikey};
use crate::otpauth::{MovingFactor, decode_base32};
use crate::secret::{OtpKey, SecretBytes, SecretString};
use crate::time::UnixTime;

mod fault;
mod json;
mod lines;
mod pskc;
mod tables;
mod xml;
mod yaml;

pub use fault::{Caution, Fault, Remedy};
pub use xml::root as xml_root;

use fault::{Wrong, named, which};

#[cfg(test)]
mod tests;

/// A token as a file describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// Where it is described.
    pub line: usize,
    /// Which one of the file it is, from 1.
    pub entry: usize,
    /// Whose it is, where the file says so.
    pub user: Option<String>,
    /// Its serial number, where it has one.
    pub serial: Option<String>,
    /// The key.
    pub key: OtpKey,
    /// The hash function.
    pub algorithm: Algorithm,
    /// The length of the codes.
    pub digits: Digits,
    /// Time or counter.
    pub moving_factor: Moves,
    /// What its owner knows.
    pub knows: Knows,
}

impl Found {
    /// Which token it is, for people: a line may hold several.
    pub fn which(&self) -> String {
        let name = named(self.serial.as_deref(), self.user.as_deref());
        which(self.entry, name.as_deref())
    }
}

/// What the owner of a token knows, as hashes of the other system: `bcrypt`, argon2id, PBKDF2, salted SHA, sha512-crypt.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Knows {
    /// The PIN.
    pub pin: Option<SecretString>,
    /// The password.
    pub password: Option<SecretString>,
}

/// What the codes of a token follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moves {
    /// The time (totp): seconds per code.
    Time(Period),
    /// A counter (hotp): the next one.
    Counter(u64),
    /// A yubikey's own counters. The key has the private id behind the AES key; hash function and length have
    /// no meaning.
    Presses,
}

impl From<MovingFactor> for Moves {
    fn from(factor: MovingFactor) -> Self {
        match factor {
            MovingFactor::Time(period) => Self::Time(period),
            MovingFactor::Counter(counter) => Self::Counter(counter),
        }
    }
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct Tokens {
    /// In the order of the file.
    pub found: Vec<Found>,
    /// What was passed over, in the order of the file.
    pub faults: Vec<Fault>,
    /// Hashes of PINs and passwords in a form that cannot be verified.
    pub unknown_hashes: u64,
    /// What is not taken over of those that were found, by their place among them.
    pub cautions: Vec<(usize, Caution)>,
    /// Tokens so far, those that cannot be read among them.
    entries: usize,
}

impl Tokens {
    /// A hash that can be verified.
    fn hash(&mut self, text: Option<&str>) -> Option<SecretString> {
        let text = text.map(str::trim).filter(|text| !text.is_empty())?;
        if Hash::import(text).is_err() {
            self.unknown_hashes += 1;
            return None;
        }
        Some(SecretString::from(text))
    }

    /// Threat: a name with a line break in it would be a row of its own where tokens are written by lines.
    fn add(&mut self, one: Result<Found, Fault>) {
        self.entries += 1;
        let entry = self.entries;
        let one = one.and_then(|found| {
            let user = found.user.as_deref();
            if user.is_some_and(|user| user.contains(char::is_control)) {
                let fault = Fault::new(found.line, "user: control characters");
                return Err(fault.named(found.serial.as_deref(), None));
            }
            Ok(found)
        });
        match one {
            Ok(found) => self.found.push(Found { entry, ..found }),
            Err(fault) => self.faults.push(Fault { entry, ..fault }),
        }
    }

    /// The same with what is not taken over of it.
    fn add_with(&mut self, one: Result<Found, Fault>, cautions: [Option<Caution>; 2]) {
        let place = self.found.len();
        self.add(one);
        if self.found.len() > place {
            let cautions = cautions.into_iter().flatten();
            self.cautions
                .extend(cautions.map(|caution| (place, caution)));
        }
    }
}

/// Whether a token of these dates ends some day; or why it is not for use.
fn ends(start: Option<&str>, end: Option<&str>, now: UnixTime) -> Result<bool, Wrong> {
    // Without an offset the time is UTC, as RFC 6030 has it.
    let instant = |text: &str| {
        let time = UnixTime::parse_rfc3339(text);
        let time = time.or_else(|| UnixTime::parse_rfc3339(&format!("{text}Z")));
        time.ok_or_else(|| Wrong::from("dates of validity: as 2030-12-31T00:00:00Z"))
    };
    let date = |text: Option<&str>| {
        let text = text.map(str::trim).filter(|text| !text.is_empty());
        text.map(instant).transpose()
    };
    let (start, end) = (date(start)?, date(end)?);
    if start.is_some_and(|start| start > now) {
        return Err(Remedy::LeaveOut.of("the token is not valid yet"));
    }
    if end.is_some_and(|end| end <= now) {
        return Err(Remedy::LeaveOut.of("the token has expired"));
    }
    Ok(end.is_some())
}

/// Whether a clock is off by this many seconds, as privacyIDEA measures them: to the start of the step that a code
/// was of, so that a clock that is right is less than a step behind.
fn is_off(found: &Found, seconds: &str) -> bool {
    let Moves::Time(period) = found.moving_factor else {
        return false;
    };
    let whole = seconds.trim().split('.').next().unwrap_or_default();
    let right = 1 - i64::from(period.as_secs())..=0;
    !whole
        .parse::<i64>()
        .is_ok_and(|whole| right.contains(&whole))
}

/// Whether a number of seconds or steps is another than 0. What is no number may be one.
fn is_some_drift(number: &str) -> bool {
    number.trim().parse::<i64>() != Ok(0)
}

/// What a file does not say of itself.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Whose token it is, of formats with one token and no name.
    pub user: Option<String>,
    /// How long a code lasts, of formats that do not say it.
    pub period: Option<Period>,
    /// The pre-shared key (hex or base64) or the password of a PSKC file.
    pub key: Option<SecretString>,
    /// The present time, for tokens that begin or end.
    pub now: UnixTime,
}

/// A format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// `otpauth://` and `otpauth-migration://` URIs.
    Otpauth,
    /// Aegis.
    Aegis,
    /// 2FAS.
    TwoFas,
    /// `FreeOTP+`.
    FreeOtp,
    /// Keycloak.
    Keycloak,
    /// RFC 6030.
    Pskc,
    /// `SafeNet`.
    SafeNet,
    /// Entra, Token2, Feitian.
    Entra,
    /// OATH CSV.
    Oath,
    /// Duo.
    Duo,
    /// privacyIDEA CSV.
    PrivacyIdeaCsv,
    /// privacyIDEA YAML.
    PrivacyIdeaYaml,
    /// Feitian seeds.
    Feitian,
    /// multiOTP CSV.
    MultiOtp,
    /// Yubico.
    Yubico,
    /// FreeRADIUS `rlm_totp`.
    FreeRadius,
    /// `pam_oath`.
    UsersOath,
    /// `pam_google_authenticator`.
    GoogleAuthenticator,
}

/// Names of formats.
pub const FORMATS: &[(Format, &str)] = &[
    (Format::Otpauth, "otpauth"),
    (Format::Aegis, "aegis"),
    (Format::TwoFas, "2fas"),
    (Format::FreeOtp, "freeotp"),
    (Format::Keycloak, "keycloak"),
    (Format::Pskc, "pskc"),
    (Format::SafeNet, "safenet"),
    (Format::Entra, "entra"),
    (Format::Oath, "oath"),
    (Format::Duo, "duo"),
    (Format::PrivacyIdeaCsv, "privacyidea"),
    (Format::PrivacyIdeaYaml, "privacyidea-yaml"),
    (Format::Feitian, "feitian"),
    (Format::MultiOtp, "multiotp"),
    (Format::Yubico, "yubico"),
    (Format::FreeRadius, "freeradius"),
    (Format::UsersOath, "users-oath"),
    (Format::GoogleAuthenticator, "google-authenticator"),
];

impl Format {
    /// The format of a text, by what stands in it; `None`: none of these.
    pub fn of(text: &str) -> Option<Self> {
        let text = text.trim_start_matches('\u{feff}');
        match text.trim_start().chars().next()? {
            '{' | '[' => json::format(text),
            '<' => xml::format(text),
            _ => lines::format(text).or_else(|| tables::format(text)),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let mut formats = FORMATS.iter();
        let found = formats.find(|(format, _)| *format == self);
        found.map_or("", |(_, name)| name)
    }
}

/// Reads a text as a format.
///
/// # Errors
/// What makes the whole of it unreadable; a text without a token is not what was meant.
pub fn read(text: &str, format: Format, said: &Said) -> Result<Tokens, Fault> {
    let text = text.trim_start_matches('\u{feff}');
    let tokens = tokens(text, format, said)?;
    if tokens.found.is_empty() && tokens.faults.is_empty() {
        return Err(Fault::new(
            1,
            Remedy::OtherFile.of("the file holds no token"),
        ));
    }
    Ok(tokens)
}

fn tokens(text: &str, format: Format, said: &Said) -> Result<Tokens, Fault> {
    match format {
        Format::Otpauth => Ok(lines::otpauth(text)),
        Format::FreeRadius => Ok(lines::freeradius(text)),
        Format::UsersOath => Ok(lines::users_oath(text)),
        Format::GoogleAuthenticator => lines::google_authenticator(text, said),
        Format::Aegis => json::aegis(text),
        Format::TwoFas => json::two_fas(text),
        Format::FreeOtp => json::free_otp(text),
        Format::Keycloak => json::keycloak(text),
        Format::Pskc => pskc::read(text, said),
        Format::SafeNet => xml::safenet(text),
        Format::PrivacyIdeaYaml => yaml::privacyidea(text, said),
        Format::Entra
        | Format::Oath
        | Format::Duo
        | Format::PrivacyIdeaCsv
        | Format::Feitian
        | Format::MultiOtp
        | Format::Yubico => tables::read(text, format, said),
    }
}

/// The parts of a token as texts, to be read.
#[derive(Clone, Copy, Debug, Default)]
struct Parts<'t> {
    user: Option<&'t str>,
    serial: Option<&'t str>,
    /// `totp` or `hotp`, any case.
    kind: &'t str,
    algorithm: Option<&'t str>,
    digits: Option<&'t str>,
    period: Option<&'t str>,
    counter: Option<&'t str>,
}

impl Parts<'_> {
    /// What is absent has the default of RFC 6238 and RFC 4226.
    fn found(self, line: usize, key: Result<OtpKey, impl Into<Wrong>>) -> Result<Found, Fault> {
        let (serial, user) = (self.serial, self.user);
        let read = self.read(line, key);
        read.map_err(|fault| fault.named(serial, user))
    }

    fn read(self, line: usize, key: Result<OtpKey, impl Into<Wrong>>) -> Result<Found, Fault> {
        let fault = |what: String| Fault::new(line, what);
        let given = |text: Option<&str>| text.map(|text| text.trim().to_owned());
        let moving_factor = match self.kind.trim().to_ascii_lowercase().as_str() {
            "totp" => {
                let seconds = given(self.period).filter(|text| !text.is_empty());
                let period = seconds.map_or(Ok(Period::THIRTY), |text| {
                    let period = text.parse().ok().and_then(Period::new);
                    period.ok_or_else(|| fault("period: 15 to 300 seconds".to_owned()))
                });
                Moves::Time(period?)
            }
            "hotp" => {
                let counter = given(self.counter).filter(|text| !text.is_empty());
                let counter = counter.map_or(Ok(0), |text| text.parse());
                Moves::Counter(counter.map_err(|_| fault("counter: a number".to_owned()))?)
            }
            "yubikey" => {
                let id = self
                    .serial
                    .is_some_and(|id| yubikey::is_public_id(id.trim()));
                if !id {
                    return Err(fault(PUBLIC_ID.to_owned()));
                }
                if key
                    .as_ref()
                    .is_ok_and(|key| key.expose().len() != yubikey::SECRET)
                {
                    return Err(fault(YUBIKEY_SECRET.to_owned()));
                }
                Moves::Presses
            }
            other => {
                let known = other.chars().all(|c| c.is_ascii_alphanumeric()) && other.len() < 16;
                let other = if known { other } else { "this kind" };
                return Err(fault(format!(
                    "tokens of kind `{other}` cannot be imported"
                )));
            }
        };
        let digits = given(self.digits).filter(|text| !text.is_empty());
        let digits = digits.map_or(Ok(Digits::SIX), |text| {
            let digits = text.parse().ok().and_then(Digits::new);
            digits.ok_or_else(|| fault("digits: 6 to 9".to_owned()))
        })?;
        let algorithm = self.algorithm.map_or(Ok(Algorithm::Sha1), |text| {
            algorithm(text).ok_or_else(|| fault("algorithm: sha1, sha256 or sha512".to_owned()))
        })?;
        let named = |text: &&str| !text.trim().is_empty();
        let serial = self.serial.filter(named).map(|text| text.trim().to_owned());
        if serial
            .as_ref()
            .is_some_and(|serial| serial.parse::<Serial>().is_err())
        {
            return Err(fault(
                "serial: 1 to 40 letters, digits, dashes, underscores".to_owned(),
            ));
        }
        Ok(Found {
            line,
            entry: 0,
            user: self.user.filter(named).map(|text| text.trim().to_owned()),
            serial,
            key: key.map_err(|wrong| Fault::new(line, wrong))?,
            algorithm,
            digits,
            moving_factor,
            knows: Knows::default(),
        })
    }
}

const PUBLIC_ID: &str = "public identity: 1 to 16 letters of modhex (cbdefghijklnrtuv)";
const YUBIKEY_SECRET: &str =
    "secret: the AES key has 32 hexadecimal digits, the private identity 12";

/// `SHA1`, `HmacSHA256`, `HMAC-SHA512`, ...
fn algorithm(text: &str) -> Option<Algorithm> {
    let text: String = text.trim().to_ascii_lowercase();
    let text: String = text.chars().filter(|c| *c != '-' && *c != '_').collect();
    let text = text.strip_prefix("hmac").unwrap_or(&text);
    text.parse().ok()
}

fn key(octets: SecretBytes) -> Result<OtpKey, String> {
    OtpKey::new(octets).ok_or_else(|| "secret: 10 to 128 octets".to_owned())
}

fn hex_key(text: &str) -> Result<OtpKey, String> {
    let octets = data_encoding::HEXUPPER_PERMISSIVE.decode(text.trim().as_bytes());
    let octets = octets.map_err(|_| "secret: hexadecimal digits, two for each octet".to_owned())?;
    key(SecretBytes::new(octets))
}

fn base32_key(text: &str) -> Result<OtpKey, String> {
    key(decode_base32(text).map_err(|error| format!("secret: {error}"))?)
}

/// Where the lines of a text end: found once, for a file has many tokens and each its line.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The number of the line at an offset.
    fn at(&self, offset: usize) -> usize {
        1 + self.0.partition_point(|end| *end < offset)
    }
}
