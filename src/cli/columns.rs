//! What a row of a users file means: the columns that `import` and `bench` understand.
//!
//! ```text
//! user,realm,alias,groups,display_name,phone,email,class,kind,secret,algorithm,digits,period,counter,serial
//! user,password
//! ```
//!
//! Only `user` is needed. Invariant: a complaint names the column, never what stands in it: where a
//! separator is missing, any column may hold the secret.

use std::str::FromStr as _;

use crate::csv::Row;
use crate::model::user_key::{DEFAULT_REALM, UserKey};
use crate::otp::totp::Parameters;
use crate::otp::{Algorithm, Digits, Period, yubikey};
use crate::otpauth;
use crate::secret::{OtpKey, SecretString};

/// The names, in the order of the constants below.
pub(crate) const NAMES: [&str; 19] = [
    "user",
    "realm",
    "groups",
    "phone",
    "email",
    "class",
    "kind",
    "secret",
    "algorithm",
    "digits",
    "period",
    "counter",
    "serial",
    "password",
    "display_name",
    "name",
    "alias",
    "pin_hash",
    "password_hash",
];
pub(crate) const USER: usize = 0;
pub(crate) const REALM: usize = 1;
pub(crate) const GROUPS: usize = 2;
pub(crate) const PHONE: usize = 3;
pub(crate) const EMAIL: usize = 4;
pub(crate) const CLASS: usize = 5;
pub(crate) const KIND: usize = 6;
pub(crate) const SECRET: usize = 7;
pub(crate) const ALGORITHM: usize = 8;
pub(crate) const DIGITS: usize = 9;
pub(crate) const PERIOD: usize = 10;
pub(crate) const COUNTER: usize = 11;
pub(crate) const SERIAL: usize = 12;
pub(crate) const PASSWORD: usize = 13;
pub(crate) const DISPLAY_NAME: usize = 14;
/// The same, as other programs call it.
pub(crate) const NAME: usize = 15;
pub(crate) const ALIAS: usize = 16;
pub(crate) const PIN_HASH: usize = 17;
pub(crate) const PASSWORD_HASH: usize = 18;

/// The name as people write it.
pub(crate) fn display_name<'a>(row: &Row<'a>) -> Option<&'a str> {
    row.get(DISPLAY_NAME).or_else(|| row.get(NAME))
}

/// What proves a user. An import sends keys as they are written; the load generator computes codes.
#[derive(Debug)]
#[cfg_attr(not(feature = "bench"), allow(dead_code))]
pub(crate) enum Factor {
    /// Codes by counter, from this one on.
    Hotp {
        key: OtpKey,
        algorithm: Algorithm,
        digits: Digits,
        counter: u64,
    },
    /// The same every time.
    Password(SecretString),
    /// Codes by time.
    Totp { key: OtpKey, parameters: Parameters },
}

/// What a row of an import brings along.
#[derive(Debug)]
pub(crate) enum Brought {
    /// What a load generator can use too.
    Factor(Factor),
    /// A yubikey, whose OTPs are good from this step on.
    Yubikey { counter: u64 },
}

/// The user in canonical form, in the realm of the row.
pub(crate) fn user_key(row: &Row<'_>) -> Result<UserKey, String> {
    let name = row.get(USER).ok_or("user: empty")?;
    let key = UserKey::parse(name).map_err(|why| format!("user: {why}"))?;
    let Some(realm) = row.get(REALM) else {
        return Ok(key);
    };
    let joined = UserKey::with_realm(name, realm).map_err(|why| format!("realm: {why}"))?;
    let says_another = key.realm() != DEFAULT_REALM && key != joined;
    if says_another {
        return Err("realm: the name says another realm; give one of them".to_owned());
    }
    Ok(joined)
}

/// The factor of a row; `None` where it has neither a key nor a password. All that is wrong with it is
/// said at once.
pub(crate) fn factor(row: &Row<'_>) -> Result<Option<Factor>, Vec<String>> {
    let Some(secret) = row.get(SECRET) else {
        let password = row.get(PASSWORD).map(SecretString::from);
        return Ok(password.map(Factor::Password));
    };
    let mut faults = Vec::new();
    if row.get(PASSWORD).is_some() {
        faults.push("secret and password: a row has one of them".to_owned());
    }
    let key = key(secret).map_err(|why| faults.push(why)).ok();
    let parsed = match row.get(ALGORITHM) {
        Some(name) => Algorithm::from_str(&name.to_ascii_lowercase()).ok(),
        None => Some(Algorithm::default()),
    };
    let algorithm = or_fault(
        parsed,
        "algorithm: must be sha1, sha256 or sha512",
        &mut faults,
    );
    let parsed = match row.get(DIGITS) {
        Some(text) => text.parse().ok().and_then(Digits::new),
        None => Some(Digits::default()),
    };
    let digits = or_fault(parsed, "digits: must be 6 to 9", &mut faults);
    let kind = row.get(KIND).unwrap_or("totp");
    let [hotp, totp] = ["hotp", "totp"].map(|known| kind.eq_ignore_ascii_case(known));
    if !hotp && !totp {
        faults.push("kind: must be totp or hotp".to_owned());
    }
    if hotp && row.get(PERIOD).is_some() {
        faults.push("period: a hotp token has none".to_owned());
    }
    if totp && row.get(COUNTER).is_some() {
        faults.push("counter: a totp token has none".to_owned());
    }
    let parsed = row
        .get(COUNTER)
        .filter(|_| !totp)
        .unwrap_or("0")
        .parse()
        .ok();
    let counter = or_fault(parsed, "counter: must be a whole number", &mut faults);
    let parsed = match row.get(PERIOD).filter(|_| !hotp) {
        Some(text) => text.parse().ok().and_then(Period::new),
        None => Some(Period::default()),
    };
    let period = or_fault(parsed, "period: must be 15 to 300 seconds", &mut faults);
    let (Some(key), Some(algorithm), Some(digits), Some(counter), Some(period), true) =
        (key, algorithm, digits, counter, period, faults.is_empty())
    else {
        return Err(faults);
    };
    Ok(Some(if hotp {
        Factor::Hotp {
            key,
            algorithm,
            digits,
            counter,
        }
    } else {
        let parameters = Parameters {
            algorithm,
            digits,
            period,
        };
        Factor::Totp { key, parameters }
    }))
}

/// What a row of an import brings along; `None` and `Err` as for [`factor`].
pub(crate) fn brought(row: &Row<'_>) -> Result<Option<Brought>, Vec<String>> {
    let yubikey = |kind: &str| kind.eq_ignore_ascii_case("yubikey");
    match row.get(SECRET) {
        Some(secret) if row.get(KIND).is_some_and(yubikey) => of_yubikey(row, secret).map(Some),
        _ => Ok(factor(row)?.map(Brought::Factor)),
    }
}

/// A yubikey: its AES key with the private id as `secret`, its public id as `serial`.
fn of_yubikey(row: &Row<'_>, secret: &str) -> Result<Brought, Vec<String>> {
    let mut faults = Vec::new();
    if row.get(PASSWORD).is_some() {
        faults.push("secret and password: a row has one of them".to_owned());
    }
    if let Err(why) = yubikey::secret(secret, None) {
        faults.push(why.to_owned());
    }
    if !row.get(SERIAL).is_some_and(yubikey::is_public_id) {
        faults.push("serial: of a yubikey the public id, 1 to 16 letters of modhex".to_owned());
    }
    for (column, name) in [
        (ALGORITHM, "algorithm"),
        (DIGITS, "digits"),
        (PERIOD, "period"),
    ] {
        if row.get(column).is_some() {
            faults.push(format!("{name}: a yubikey has none"));
        }
    }
    let counter = row.get(COUNTER).unwrap_or("0").parse().ok();
    let counter = or_fault(counter, "counter: must be a whole number", &mut faults);
    match counter.filter(|_| faults.is_empty()) {
        Some(counter) => Ok(Brought::Yubikey { counter }),
        None => Err(faults),
    }
}

fn key(secret: &str) -> Result<OtpKey, String> {
    let key = otpauth::decode_base32(secret).map_err(|why| format!("secret: {why}"))?;
    let key = OtpKey::new(key);
    key.ok_or_else(|| "secret: must be 10 to 128 octets (80 to 1024 bits) long".to_owned())
}

fn or_fault<T>(value: Option<T>, fault: &str, faults: &mut Vec<String>) -> Option<T> {
    if value.is_none() {
        faults.push(fault.to_owned());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csv::{Ignore, Reader};

    fn read(text: &str) -> Result<Option<Factor>, Vec<String>> {
        let mut reader = Reader::open(text.as_bytes(), &NAMES, &[], &Ignore::Nothing).unwrap();
        let row = reader.next().unwrap().unwrap();
        factor(&row)
    }

    #[test]
    fn the_rest_of_a_token_has_defaults() {
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let totp = read(&format!("user,secret\na,{secret}\n")).unwrap();
        let Some(Factor::Totp { parameters, .. }) = totp else {
            panic!("{totp:?}");
        };
        assert_eq!(parameters, Parameters::default());
        let hotp = read(&format!("secret,kind,counter,digits\n{secret},HOTP,7,8\n")).unwrap();
        let Some(Factor::Hotp { counter: 7, .. }) = hotp else {
            panic!("{hotp:?}");
        };
        let password = read("user,password\na,x\n").unwrap();
        assert!(matches!(password, Some(Factor::Password(_))));
        assert!(read("user\na\n").unwrap().is_none());
    }

    #[test]
    fn complaints_name_the_column_and_no_content() {
        for (heading, row, column) in [
            ("secret", "GEZDGNBV1", "secret"),
            ("secret", "GEZDGNBV", "secret"),
            ("secret,algorithm", "GEZDGNBVGY3TQOJQ,GEZDGNBV", "algorithm"),
            ("secret,digits", "GEZDGNBVGY3TQOJQ,GEZDGNBV", "digits"),
            ("secret,period", "GEZDGNBVGY3TQOJQ,GEZDGNBV", "period"),
            ("secret,kind", "GEZDGNBVGY3TQOJQ,GEZDGNBV", "kind"),
            ("secret,counter", "GEZDGNBVGY3TQOJQ,1", "counter"),
            (
                "secret,kind,counter",
                "GEZDGNBVGY3TQOJQ,hotp,GEZDGNBV",
                "counter",
            ),
            ("secret,kind,period", "GEZDGNBVGY3TQOJQ,hotp,30", "period"),
            (
                "secret,password",
                "GEZDGNBVGY3TQOJQ,GEZDGNBV",
                "secret and password",
            ),
        ] {
            let why = read(&format!("{heading}\n{row}\n")).unwrap_err().join("; ");
            assert!(why.contains(column), "{why}");
            assert!(!why.contains("GEZDGNBV"), "{why}");
        }
    }
}
