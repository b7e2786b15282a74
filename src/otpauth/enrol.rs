//! `oncegate://enroll` URIs: how an enrolment code travels to a device, as a QR code or a link.
//!
//! ```text
//! oncegate://enroll?server=https%3A%2F%2Fotp.example.com&user=alice%40default&code=7F3K9Q2M44XZ
//! ```
//!
//! Invariants: parsing what was written gives the same value. Errors name the place, never the
//! content: the URI holds the code. Unknown parameters are ignored, so that later versions may add
//! some; a parameter given twice is refused.

use zeroize::Zeroizing;

use crate::otpauth::{MAX_URI, Query, escape};
use crate::secret::SecretString;

/// What a device needs to enrol itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EnrolUri {
    /// Where the device protocol is spoken: `https://HOST[:PORT]`.
    pub server: String,
    /// For whom.
    pub user: String,
    /// The enrolment code, or the transfer code of another device.
    pub code: SecretString,
}

/// The URI that a QR code shows to the device.
pub fn enrol_uri(server: &str, user: &str, code: &SecretString) -> SecretString {
    // Room for all of it: a buffer that grows leaves copies of the code behind.
    let room = 3 * (server.len() + user.len() + code.expose().len()) + 64;
    let mut uri = String::with_capacity(room);
    uri.push_str(PREFIX);
    for (name, value) in [("?server=", server), ("&user=", user)] {
        uri.push_str(name);
        uri.push_str(&escape(value));
    }
    uri.push_str("&code=");
    uri.push_str(&Zeroizing::new(escape(code.expose())));
    SecretString::new(uri)
}

impl EnrolUri {
    /// Reads a URI that [`enrol_uri`] wrote.
    ///
    /// # Errors
    /// `TooLong`, `Scheme`, `Malformed` for a broken encoding or a parameter given twice, `Missing`
    /// for one that is absent or empty.
    pub fn parse(uri: &str) -> Result<Self, InvalidEnrolUri> {
        if uri.len() > MAX_URI {
            return Err(InvalidEnrolUri::TooLong);
        }
        let (path, query) = uri.trim().split_once('?').ok_or(InvalidEnrolUri::Scheme)?;
        if !path.trim_end_matches('/').eq_ignore_ascii_case(PREFIX) {
            return Err(InvalidEnrolUri::Scheme);
        }
        let query = query.split_once('#').map_or(query, |(query, _)| query);
        let query = Query::parse(query).map_err(|_| InvalidEnrolUri::Malformed)?;
        let get = |name| {
            let value = query.get(name).map_err(|_| InvalidEnrolUri::Malformed)?;
            let value = value.filter(|value| !value.is_empty());
            value.ok_or(InvalidEnrolUri::Missing(name))
        };
        Ok(Self {
            server: get("server")?.as_str().to_owned(),
            user: get("user")?.as_str().to_owned(),
            code: SecretString::from(get("code")?.as_str()),
        })
    }
}

/// Why a text is no URI of an enrolment. Says where, never what.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidEnrolUri {
    /// A broken percent-encoding, or a parameter given twice.
    #[error("the URI is damaged; copy all of it once more")]
    Malformed,
    /// Without this parameter.
    #[error("{0}: missing")]
    Missing(&'static str),
    /// Something else.
    #[error("must start with oncegate://enroll?")]
    Scheme,
    /// Longer than any QR code.
    #[error("longer than 4096 octets")]
    TooLong,
}

const PREFIX: &str = "oncegate://enroll";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn has_the_documented_form() {
        let code = SecretString::from("7F3K9Q2M44XZ");
        let uri = enrol_uri("https://otp.example.com", "alice@default", &code);
        let line = format!("//! {}", uri.expose());
        assert!(include_str!("enrol.rs").lines().any(|known| known == line));
    }

    #[test]
    fn is_read_as_it_is_found() {
        let parsed = EnrolUri::parse(
            " ONCEGATE://Enroll/?CODE=7f3k-9q2m-44xz&user=a%2Bb&x=1&server=http://[::1]:1#top\n",
        );
        let wanted = EnrolUri {
            server: "http://[::1]:1".to_owned(),
            user: "a+b".to_owned(),
            code: SecretString::from("7f3k-9q2m-44xz"),
        };
        assert_eq!(parsed, Ok(wanted));
    }

    #[test]
    fn refuses_what_is_none() {
        for (uri, error) in [
            ("", InvalidEnrolUri::Scheme),
            (
                "otpauth://totp/a?server=a&user=b&code=c",
                InvalidEnrolUri::Scheme,
            ),
            (
                "oncegate://other?server=a&user=b&code=c",
                InvalidEnrolUri::Scheme,
            ),
            ("oncegate://enroll", InvalidEnrolUri::Scheme),
            (
                "oncegate://enroll?user=b&code=c",
                InvalidEnrolUri::Missing("server"),
            ),
            (
                "oncegate://enroll?server=a&user=b&code=",
                InvalidEnrolUri::Missing("code"),
            ),
            (
                "oncegate://enroll?server=a&user=b&code=c&code=d",
                InvalidEnrolUri::Malformed,
            ),
            (
                "oncegate://enroll?server=a&user=%zz&code=c",
                InvalidEnrolUri::Malformed,
            ),
        ] {
            assert_eq!(EnrolUri::parse(uri), Err(error), "{uri}");
        }
        let long = format!("oncegate://enroll?server={}", "x".repeat(5000));
        assert_eq!(EnrolUri::parse(&long), Err(InvalidEnrolUri::TooLong));
    }

    proptest! {
        #[test]
        fn parsing_what_was_written_gives_the_same(
            server in "\\PC{1,40}", user in "\\PC{1,40}", code in "\\PC{1,20}",
        ) {
            let code = SecretString::new(code);
            let uri = enrol_uri(&server, &user, &code);
            let parsed = EnrolUri::parse(uri.expose());
            prop_assert_eq!(parsed, Ok(EnrolUri { server, user, code }));
        }
    }
}
