//! How an enrolment code travels to a device, as a QR code or a link.
//!
//! ```text
//! oncegate://enroll?server=https%3A%2F%2Fotp.example.com&user=alice%40default&code=7F3K9Q2M44XZ
//! https://otp.example.com/app/#user=alice%40default&code=7F3K9Q2M44XZ
//! ```
//!
//! The second one opens the authenticator of the browser: any telephone's camera reads it, and what stands
//! behind `#` is sent to no server, proxy or log.
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

/// The link that opens the authenticator of the browser at this server.
pub fn app_link(server: &str, user: &str, code: &SecretString) -> SecretString {
    let server = server.trim_end_matches('/');
    let room = server.len() + 3 * (user.len() + code.expose().len()) + 64;
    let mut link = String::with_capacity(room);
    link.push_str(server);
    link.push_str(APP);
    link.push_str("user=");
    link.push_str(&escape(user));
    link.push_str("&code=");
    link.push_str(&Zeroizing::new(escape(code.expose())));
    SecretString::new(link)
}

impl EnrolUri {
    /// Reads a URI that [`enrol_uri`] or [`app_link`] wrote.
    ///
    /// # Errors
    /// `TooLong`, `Scheme`, `Malformed` for a broken encoding or a parameter given twice, `Missing`
    /// for one that is absent or empty.
    pub fn parse(uri: &str) -> Result<Self, InvalidEnrolUri> {
        if uri.len() > MAX_URI {
            return Err(InvalidEnrolUri::TooLong);
        }
        if let Some((server, query)) = uri.trim().split_once(APP) {
            let web = ["https://", "http://"].iter().any(|scheme| {
                let start = server.get(..scheme.len()).unwrap_or_default();
                start.eq_ignore_ascii_case(scheme) && server.len() > scheme.len()
            });
            return if web {
                Self::read(query, Some(server))
            } else {
                Err(InvalidEnrolUri::Scheme)
            };
        }
        let (path, query) = uri.trim().split_once('?').ok_or(InvalidEnrolUri::Scheme)?;
        if !path.trim_end_matches('/').eq_ignore_ascii_case(PREFIX) {
            return Err(InvalidEnrolUri::Scheme);
        }
        let query = query.split_once('#').map_or(query, |(query, _)| query);
        Self::read(query, None)
    }

    fn read(query: &str, server: Option<&str>) -> Result<Self, InvalidEnrolUri> {
        let query = Query::parse(query).map_err(|_| InvalidEnrolUri::Malformed)?;
        let get = |name| {
            let value = query.get(name).map_err(|_| InvalidEnrolUri::Malformed)?;
            let value = value.filter(|value| !value.is_empty());
            value.ok_or(InvalidEnrolUri::Missing(name))
        };
        Ok(Self {
            server: match server {
                Some(server) => server.to_owned(),
                None => get("server")?.as_str().to_owned(),
            },
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
    #[error("must start with oncegate://enroll? or be https://HOST/app/#...")]
    Scheme,
    /// Longer than any QR code.
    #[error("longer than 4096 octets")]
    TooLong,
}

const PREFIX: &str = "oncegate://enroll";
const APP: &str = "/app/#";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn has_the_documented_form() {
        let code = SecretString::from("7F3K9Q2M44XZ");
        let uri = enrol_uri("https://otp.example.com", "alice@default", &code);
        let link = app_link("https://otp.example.com/", "alice@default", &code);
        for text in [uri, link] {
            let line = format!("//! {}", text.expose());
            assert!(include_str!("enrol.rs").lines().any(|known| known == line));
        }
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
            ("https:///app/#", InvalidEnrolUri::Scheme),
            ("https://a/app/#user=b", InvalidEnrolUri::Missing("code")),
            (
                "https://a/app/#user=b&code=c&code=d",
                InvalidEnrolUri::Malformed,
            ),
            ("ftp://a/app/#user=b&code=c", InvalidEnrolUri::Scheme),
            ("/app/#user=b&code=c", InvalidEnrolUri::Scheme),
            ("https://a/enrol#b.c", InvalidEnrolUri::Scheme),
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

        #[test]
        fn so_does_a_link_of_the_app(
            host in "[a-z0-9.:-]{1,40}", user in "\\PC{1,40}", code in "\\PC{1,20}",
        ) {
            let (server, code) = (format!("https://{host}"), SecretString::new(code));
            let link = app_link(&server, &user, &code);
            let parsed = EnrolUri::parse(link.expose());
            prop_assert_eq!(parsed, Ok(EnrolUri { server, user, code }));
        }
    }
}
