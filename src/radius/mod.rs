//! RADIUS: octets to types and back, what is authentic, what was asked before.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! |     Code      |  Identifier   |       Length (20..4096)       |
//! +---------------+---------------+-------------------------------+
//! |                                                               |
//! |              Request or Response Authenticator                |
//! |                         (16 octets)                           |
//! |                                                               |
//! +---------------+---------------+-------------------------------+
//! |     Type      | Length (2..)  |  Value ...        0..253      |  attributes
//! +---------------+---------------+-------------------------------+
//! |  padding beyond Length: ignored, never hashed                 |
//! +---------------------------------------------------------------+
//! ```
//!
//! Sources: RFC 2865 (authentication), RFC 2866 (accounting), RFC 2868 and 2869 (more attributes),
//! RFC 3162 (IPv6), RFC 3579 (Message-Authenticator), RFC 5080 (duplicates), RFC 5997
//! (Status-Server), RFC 6158 and 6929 (what an undecodable attribute is), CVE-2024-3596.
//!
//! The way of a datagram; each step is a pure function of its arguments, and the order is the
//! point: nothing is looked up, cached or revealed before the packet is known to be authentic.
//!
//! ```text
//! client::PrefixTable::lookup      source address -> client        else UnknownClient
//! packet::Packet::parse            octets -> Packet                else TooShort, BadLength, ..
//! verify::request                  Message-Authenticator           else Bad.., Missing..
//! duplicate::Duplicates::begin     seen before?                    Resend, or DuplicateInFlight
//! password::reveal                 User-Password -> SecretBytes    else BadUserPasswordLength
//!        (the service decides)
//! reply::ReplyBuilder              Message-Authenticator first, Proxy-State copied
//! duplicate::Duplicates::finish    the answer is kept for retransmissions
//! ```
//!
//! Invariants: no input panics; no attribute is dropped for being unknown; every reason for
//! silence is a [`Discard`].
//!
//! Threats: malformed packets (threats T18), forged requests and replies (BlastRADIUS), replayed
//! datagrams, timing of comparisons.

// Octets <-> types
pub mod attribute;
pub mod packet;
pub mod stream;
pub mod v11;

// What is sent in place of a password
pub mod eap;
pub mod microsoft;
pub mod mschap;

// What the shared secret proves and hides
pub mod authenticator;
pub mod password;
pub mod verify;

// Packets we build
pub mod encode;
pub mod reply;
pub mod request;

// What a NAS reports, and how its sessions are ended
pub mod accounting;
pub mod disconnect;

// Who asks, and whether they asked before
pub mod client;
pub mod duplicate;

// Names of attributes
pub mod dictionary;

// What was captured on the way
pub mod capture;

use std::fmt;

/// One line per reason: variant, metric word, sentence.
macro_rules! discards {
    ($($name:ident $word:literal $sentence:literal;)*) => {
        /// Why a packet gets no answer. RADIUS has no error reply: RFC 2865 s3 says *silently
        /// discard*, so that a forger learns nothing; the counter and the log line are ours.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Discard {
            $(#[doc = $sentence] $name,)*
        }

        impl Discard {
            /// Every reason, in the order in which a packet meets them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Stable word for metric labels and vectors.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $sentence,)*
                }
            }
        }
    };
}

discards! {
    UnknownClient "unknown_client"
        "No client is configured for the source address.";
    TooShort "too_short"
        "The datagram is shorter than a RADIUS header.";
    BadLength "bad_length"
        "The Length field is out of range or larger than the datagram.";
    MalformedAttribute "malformed_attribute"
        "An attribute's Length is below 2 or reaches beyond the packet.";
    TooManyAttributes "too_many_attributes"
        "The packet has more attributes than we read.";
    UnexpectedCode "unexpected_code"
        "The packet is not of a kind that this port answers.";
    DuplicateMessageAuthenticator "duplicate_message_authenticator"
        "The packet has more than one Message-Authenticator.";
    BadMessageAuthenticator "bad_message_authenticator"
        "The Message-Authenticator is wrong: forged, or the shared secrets differ.";
    MissingMessageAuthenticator "missing_message_authenticator"
        "The packet must be signed with a Message-Authenticator and is not.";
    ProxyStateWithoutMessageAuthenticator "proxy_state_without_message_authenticator"
        "A proxied request is not signed, as in CVE-2024-3596.";
    BadRequestAuthenticator "bad_request_authenticator"
        "The Request Authenticator is wrong: forged, or the shared secrets differ.";
    StatusServerWithCredentials "status_server_with_credentials"
        "A Status-Server packet carries credentials or session state.";
    DuplicateInFlight "duplicate_in_flight"
        "A retransmission of a request that is being worked on.";
    Overload "overload"
        "Too many requests are being worked on.";
    BadUserPasswordLength "bad_user_password_length"
        "The User-Password is not 16 to 128 octets in blocks of 16.";
    IncompleteAccounting "incomplete_accounting"
        "An Accounting-Request lacks Acct-Status-Type or Acct-Session-Id.";
    UnexpectedIdentifier "unexpected_identifier"
        "A reply does not carry the Identifier of the request.";
    BadResponseAuthenticator "bad_response_authenticator"
        "The Response Authenticator is wrong: forged, or the shared secrets differ.";
}

/// The sentence, for people.
impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl std::error::Error for Discard {}

/// The reason with a given word, for vectors and tests.
impl std::str::FromStr for Discard {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL
            .iter()
            .copied()
            .find(|discard| discard.as_str() == word)
            .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_distinct_snake_case() {
        for discard in Discard::ALL {
            let word = discard.as_str();
            assert!(
                word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{word}"
            );
            assert_eq!(word.parse(), Ok(*discard));
        }
    }
}
