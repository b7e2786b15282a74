//! Identifiers that we make: request ids and token serials.
//!
//! Both use Crockford's base 32 (no I, L, O, U), so that they survive a phone call.

use std::fmt;
use std::str::FromStr;

use crate::time::UnixTime;

/// One request, from its first octet to its audit record: 48 bits of time, 80 random bits, shown
/// as 26 Crockford characters. Sorts by time, so that an audit record is found from its id without
/// an index.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestId([u8; 16]);

/// The first revision of a record, of unpredictable octets. A record that is made under a name that another had before
/// must not have a revision that the other one had: what was read of that one, compared with it or approved of it
/// would hold for this one.
pub fn first_revision(octets: [u8; 6]) -> u64 {
    let number = (octets.iter()).fold(0, |number, octet| (number << 8) | u64::from(*octet));
    number.max(1)
}

impl RequestId {
    /// Characters of its text.
    pub const LENGTH: usize = 26;

    /// Builds an id from the time of arrival and ten unpredictable octets.
    pub fn new(at: UnixTime, random: [u8; 10]) -> Self {
        let bits = (u128::from(at.as_millis()) << 80)
            | random
                .iter()
                .fold(0_u128, |bits, octet| (bits << 8) | u128::from(*octet));
        Self(bits.to_be_bytes())
    }

    /// From its stored octets.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its octets, big-endian.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// As text, in octets of ASCII.
    pub fn text(self) -> [u8; Self::LENGTH] {
        let mut bits = u128::from_be_bytes(self.0);
        let mut text = [b'0'; Self::LENGTH];
        for octet in text.iter_mut().rev() {
            let digit = ALPHABET.get((bits & 31) as usize);
            *octet = digit.copied().unwrap_or(b'0');
            bits >>= 5;
        }
        text
    }

    /// The time of arrival, in milliseconds.
    pub fn at(self) -> UnixTime {
        let millis = u128::from_be_bytes(self.0) >> 80;
        UnixTime::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for RequestId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() != Self::LENGTH {
            return Err(InvalidId);
        }
        let mut bits = 0_u128;
        for character in text.chars() {
            let value = crockford_value(character).ok_or(InvalidId)?;
            bits = bits.checked_mul(32).ok_or(InvalidId)? | u128::from(value);
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

/// The name of a token: upper-case kind, a dash, eight Crockford characters (`TOTP-7F3K9Q2M`).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Serial(String);

impl Serial {
    /// Longest serial; imported ones may be the vendor's.
    pub const MAX: usize = 40;

    /// A fresh serial from a kind's prefix and five unpredictable octets.
    pub fn new(prefix: &str, random: [u8; 5]) -> Self {
        let bits = random
            .iter()
            .fold(0_u64, |bits, octet| (bits << 8) | u64::from(*octet));
        let mut serial = prefix.to_ascii_uppercase();
        serial.push('-');
        for digit in (0..8_u32).rev() {
            serial.push(crockford(u128::from((bits >> (digit * 5)) & 31)));
        }
        Self(serial)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Serial {
    type Err = InvalidId;

    /// Letters, digits, dash and underscore; letters become upper-case.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
        if text.is_empty() || text.len() > Self::MAX || !text.bytes().all(plain) {
            return Err(InvalidId);
        }
        Ok(Self(text.to_ascii_uppercase()))
    }
}

/// The text is not an identifier of this kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a valid identifier")]
pub struct InvalidId;

fn crockford(value: u128) -> char {
    let index = usize::try_from(value).unwrap_or_default();
    ALPHABET.get(index).map_or('0', |octet| char::from(*octet))
}

fn crockford_value(character: char) -> Option<u8> {
    let upper = u8::try_from(character).ok()?.to_ascii_uppercase();
    let position = ALPHABET.iter().position(|octet| *octet == upper)?;
    u8::try_from(position).ok()
}

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_id_survives_text_and_keeps_its_time() {
        let at = UnixTime::from_millis(1_795_000_000_123);
        let id = RequestId::new(at, [0xff, 1, 2, 3, 4, 5, 6, 7, 8, 0xee]);
        let text = id.to_string();
        assert_eq!(text.len(), 26);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_lowercase().parse(), Ok(id));
        assert_eq!(id.at(), at);
    }

    #[test]
    fn later_ids_sort_later_as_text() {
        let early = RequestId::new(UnixTime::from_millis(999), [255; 10]).to_string();
        let late = RequestId::new(UnixTime::from_millis(1000), [0; 10]).to_string();
        assert!(early < late);
    }

    #[test]
    fn refuses_what_is_not_an_id() {
        assert!("0".repeat(25).parse::<RequestId>().is_err());
        assert!(
            "Z".repeat(26).parse::<RequestId>().is_err(),
            "more than 128 bits"
        );
        assert!("U".repeat(26).parse::<RequestId>().is_err());
        assert!("TOTP 1".parse::<Serial>().is_err());
        assert_eq!(
            "totp-1".parse::<Serial>().map(|s| s.to_string()),
            Ok("TOTP-1".to_owned())
        );
    }

    #[test]
    fn serials_have_the_contract_shape() {
        assert_eq!(Serial::new("totp", [0; 5]).as_str(), "TOTP-00000000");
        assert_eq!(Serial::new("hotp", [255; 5]).as_str(), "HOTP-ZZZZZZZZ");
    }
}
