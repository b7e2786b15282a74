//! The Yubico validation protocol 2.0: what is asked, how it is signed, what is answered.
//!
//! ```text
//! GET /wsapi/2.0/verify?id=&otp=&nonce=[&h=][&timestamp=1][&sl=][&timeout=]
//!
//! h=BASE64
//! t=2008-11-21T06:11:55Z0711
//! otp=, nonce=, sl=100, timestamp=, sessioncounter=, sessionuse=      as far as they are known and asked for
//! status=OK
//! ```
//!
//! `h` is HMAC-SHA-1 with the client's key over the other parameters, sorted, as `k=v` joined by `&`.
//! Source: yubikey-val, "Validation Protocol Version 2.0".
//!
//! Threat: a parameter with a line break in it would be a line of the answer. What is echoed has letters and
//! digits only.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

use crate::otp::yubikey::{self, Press};
use crate::secret::SecretBytes;
use crate::time::UnixTime;

words! {
    /// What is answered.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum Status {
        /// Right, and not used before.
        Ok = "OK",
        /// No OTP, or no key's.
        BadOtp = "BAD_OTP",
        /// The press, or a later one, was used.
        ReplayedOtp = "REPLAYED_OTP",
        /// The very request was answered before.
        ReplayedRequest = "REPLAYED_REQUEST",
        /// `h` is not of this client's key.
        BadSignature = "BAD_SIGNATURE",
        /// A parameter is missing or cannot be read.
        MissingParameter = "MISSING_PARAMETER",
        /// No client has this id.
        NoSuchClient = "NO_SUCH_CLIENT",
        /// The client may not ask this.
        OperationNotAllowed = "OPERATION_NOT_ALLOWED",
        /// It cannot be decided at present.
        BackendError = "BACKEND_ERROR",
    }
}

/// A question, read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Question<'q> {
    /// The client's number.
    pub id: u32,
    /// What the key typed.
    pub otp: &'q str,
    /// Made up for this question.
    pub nonce: &'q str,
    /// Whether the counters are asked for.
    pub counters: bool,
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'q> {
    /// What is answered.
    pub status: Status,
    /// When.
    pub at: UnixTime,
    /// The question, as far as it could be read.
    pub question: Option<Question<'q>>,
    /// The press that was right.
    pub press: Option<Press>,
}

impl<'q> Question<'q> {
    /// Reads the parameters.
    ///
    /// # Errors
    /// What is answered to others.
    pub fn parse(parameters: &[(&'q str, &'q str)]) -> Result<Self, Status> {
        let given = |name: &str| {
            let found = parameters.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| *value)
        };
        let [Some(id), Some(otp), Some(nonce)] = ["id", "otp", "nonce"].map(given) else {
            return Err(Status::MissingParameter);
        };
        if !yubikey::is_otp(otp) {
            return Err(Status::BadOtp);
        }
        let id = number(id).ok_or(Status::MissingParameter)?;
        let plain = nonce.bytes().all(|octet| octet.is_ascii_alphanumeric());
        let level = |text: &str| {
            matches!(text, "fast" | "secure") || number(text).is_some_and(|level| level <= 100)
        };
        let sound = plain
            && (16..=40).contains(&nonce.len())
            && given("sl").is_none_or(|sl| sl.is_empty() || level(sl))
            && given("timeout").is_none_or(|time| time.is_empty() || number(time).is_some());
        if !sound {
            return Err(Status::MissingParameter);
        }
        Ok(Self {
            id,
            otp,
            nonce,
            counters: given("timestamp") == Some("1"),
        })
    }
}

/// Whether the parameters are signed with this key, or not signed at all.
pub fn is_signed(parameters: &[(&str, &str)], key: &SecretBytes) -> bool {
    let mut signed = parameters.iter().filter(|(name, _)| *name == "h");
    let Some((_, given)) = signed.next() else {
        return true;
    };
    let others = parameters.iter().copied().filter(|(name, _)| *name != "h");
    // A plus that was not percent-encoded arrives as a blank.
    let given = given.replace(' ', "+");
    let wanted = signature(others.collect(), key.expose());
    given.as_bytes().ct_eq(wanted.as_bytes()).into()
}

impl Reply<'_> {
    /// As octets, signed with the client's key; an empty one where no client is known.
    pub fn text(&self, key: Option<&SecretBytes>) -> String {
        let mut lines: Vec<(&str, String)> = vec![("t", timestamp(self.at))];
        if let Some(question) = &self.question {
            lines.push(("otp", question.otp.to_owned()));
            lines.push(("nonce", question.nonce.to_owned()));
        }
        if self.status == Status::Ok {
            // There is one server: all of them have it.
            lines.push(("sl", "100".to_owned()));
        }
        let asked = self.question.is_some_and(|question| question.counters);
        if let Some(press) = self.press.filter(|_| asked && self.status == Status::Ok) {
            lines.push(("timestamp", press.timestamp.to_string()));
            lines.push(("sessioncounter", press.usage.to_string()));
            lines.push(("sessionuse", press.session.to_string()));
        }
        lines.push(("status", self.status.as_str().to_owned()));
        let pairs = lines.iter().map(|(name, value)| (*name, value.as_str()));
        let key = key.map(SecretBytes::expose).unwrap_or_default();
        let mut text = format!("h={}\r\n", signature(pairs.collect(), key));
        for (name, value) in &lines {
            push!(text, "{name}={value}\r\n");
        }
        text.push_str("\r\n");
        text
    }
}

fn signature(mut parameters: Vec<(&str, &str)>, key: &[u8]) -> String {
    parameters.sort_unstable();
    let joined = parameters
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let joined = joined.collect::<Vec<_>>().join("&");
    let Ok(mac) = Hmac::<Sha1>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length")
    };
    let mac = mac.chain_update(joined.as_bytes()).finalize();
    data_encoding::BASE64.encode(&mac.into_bytes())
}

/// `2008-11-21T06:11:55Z0711`: UTC, and four digits of the second's thousandths.
fn timestamp(at: UnixTime) -> String {
    let text = at.rfc3339();
    let (second, thousandths) = text.split_once('.').unwrap_or((&text, "000Z"));
    format!("{second}Z0{}", thousandths.trim_end_matches('Z'))
}

fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTP: &str = "vvungrrdhvtklknvrtvuvbbkeidikkvgglrvdgrfcdft";

    fn key(base64: &str) -> SecretBytes {
        SecretBytes::new(data_encoding::BASE64.decode(base64.as_bytes()).unwrap())
    }

    /// The example of "Generating signatures" of the protocol's page.
    #[test]
    fn the_signature_of_the_published_example() {
        let pairs = [
            ("id", "1"),
            ("otp", OTP),
            ("nonce", "jrFwbaYFhn0HoxZIsd9LQ6w2ceU"),
        ];
        let mac = signature(pairs.to_vec(), key("mG5be6ZJU1qBGz24yPh/ESM3UdU=").expose());
        assert_eq!(mac, "+ja8S3IjbX593/LAgTBixwPNGX4=");
        let signed = |h: &str| {
            let pairs = [pairs[0], pairs[1], pairs[2], ("h", h)];
            is_signed(&pairs, &key("mG5be6ZJU1qBGz24yPh/ESM3UdU="))
        };
        assert!(signed(&mac) && signed(&mac.replace('+', " ")));
        assert!(!signed("") && !signed(&mac[1..]) && !signed("+ja8S3IjbX593/LAgTBixwPNGX5="));
        assert!(
            is_signed(&pairs, &key("mG5be6ZJU1qBGz24yPh/ESM3UdU=")),
            "without h"
        );
    }

    #[test]
    fn questions_are_read_in_the_order_of_the_protocol() {
        let nonce = "askjdnkajsndjkasndkjsnad";
        let ask =
            |pairs: &[(&'static str, &'static str)]| Question::parse(pairs).map(|one| one.counters);
        let all = [("id", "1"), ("otp", OTP), ("nonce", nonce)];
        assert_eq!(ask(&all), Ok(false));
        for left_out in 0..3 {
            let rest = all.iter().enumerate().filter(|(at, _)| *at != left_out);
            let rest: Vec<_> = rest.map(|(_, one)| *one).collect();
            assert_eq!(ask(&rest), Err(Status::MissingParameter));
        }
        for (with, wanted) in [
            (("otp", "x"), Status::BadOtp),
            (("otp", "c\r\nstatus=OK"), Status::BadOtp),
            (("id", "+1"), Status::MissingParameter),
            (("id", "99999999999"), Status::MissingParameter),
            (("nonce", "short"), Status::MissingParameter),
            (
                ("nonce", "askjdnkajsndjkasndkj\r\nx=1"),
                Status::MissingParameter,
            ),
            (
                ("nonce", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
                Status::MissingParameter,
            ),
        ] {
            let changed = all.map(|one| if one.0 == with.0 { with } else { one });
            assert_eq!(ask(&changed), Err(wanted), "{with:?}");
        }
        for (more, good) in [
            (("sl", "100"), true),
            (("sl", "secure"), true),
            (("sl", "101"), false),
            (("sl", "-1"), false),
            (("timeout", "8"), true),
            (("timeout", "x"), false),
            (("timestamp", "1"), true),
        ] {
            let pairs = [all[0], all[1], all[2], more];
            assert_eq!(ask(&pairs).is_ok(), good, "{more:?}");
        }
        assert_eq!(ask(&[all[0], all[1], all[2], ("timestamp", "1")]), Ok(true));
    }

    #[test]
    fn a_reply_has_its_lines_in_order_and_a_signature_over_them() {
        let question = Question {
            id: 1,
            otp: OTP,
            nonce: "askjdnkajsndjkasndkjsnad",
            counters: true,
        };
        let press = Press {
            usage: 19,
            session: 17,
            timestamp: 49712,
        };
        let reply = Reply {
            status: Status::Ok,
            at: UnixTime::from_millis(1_227_247_915_711),
            question: Some(question),
            press: Some(press),
        };
        let key = key("mG5be6ZJU1qBGz24yPh/ESM3UdU=");
        let text = reply.text(Some(&key));
        let (h, rest) = text.split_once("\r\n").unwrap();
        assert_eq!(
            rest,
            format!(
                "t=2008-11-21T06:11:55Z0711\r\notp={OTP}\r\nnonce=askjdnkajsndjkasndkjsnad\r\nsl=100\r\n\
                 timestamp=49712\r\nsessioncounter=19\r\nsessionuse=17\r\nstatus=OK\r\n\r\n"
            )
        );
        let pairs = rest.lines().filter(|line| !line.is_empty());
        let pairs: Vec<(&str, &str)> = pairs.map(|line| line.split_once('=').unwrap()).collect();
        assert_eq!(h, format!("h={}", signature(pairs, key.expose())));
        let refused = Reply {
            status: Status::ReplayedOtp,
            ..reply
        };
        let text = refused.text(Some(&key));
        assert!(!text.contains("sl=") && !text.contains("session"), "{text}");
        let unknown = Reply {
            status: Status::NoSuchClient,
            question: None,
            ..reply
        };
        assert!(
            unknown
                .text(None)
                .ends_with("Z0711\r\nstatus=NO_SUCH_CLIENT\r\n\r\n")
        );
    }
}
