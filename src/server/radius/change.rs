//! What a session is changed to: attributes by name, as a CoA-Request may hold them (RFC 5176 s3.6).

use crate::radius::attribute::Type;
use crate::radius::dictionary::Dictionary;

/// Attributes that a session is changed to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Encoded.
    pub(super) octets: Vec<u8>,
    /// For the audit: `Session-Timeout = 600, Filter-Id = inside`.
    pub(super) shown: String,
}

impl Change {
    /// Attributes that an administrator named.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub(super) fn new(
        dictionary: &Dictionary,
        attributes: &[(String, String)],
    ) -> Result<Self, String> {
        let mut change = Self {
            octets: Vec::new(),
            shown: String::new(),
        };
        for (name, value) in attributes {
            if let Some(why) = refused(dictionary, name) {
                return Err(why);
            }
            dictionary.check(name, Some(value))?;
            change.add(dictionary, name, value)?;
        }
        Ok(change)
    }

    /// Those of a policy's reply that may be changed; the others mean something at the beginning only.
    pub(super) fn of_reply(
        dictionary: &Dictionary,
        attributes: &[(String, String)],
    ) -> Result<Self, String> {
        let fit = attributes
            .iter()
            .filter(|(name, _)| refused(dictionary, name).is_none());
        let fit: Vec<_> = fit.cloned().collect();
        if fit.is_empty() {
            return Err(
                "the policy's [reply] has no attribute that a session can be changed to".to_owned(),
            );
        }
        Self::new(dictionary, &fit)
    }

    fn add(&mut self, dictionary: &Dictionary, name: &str, value: &str) -> Result<(), String> {
        let encoded = dictionary.encode(name, value, None);
        self.octets
            .extend(encoded.map_err(|error| error.to_string())?);
        let comma = if self.shown.is_empty() { "" } else { ", " };
        push!(self.shown, "{comma}{name} = {value}");
        Ok(())
    }
}

/// Why an attribute is not sent: it names the session, belongs to the answer or to logins, or would be hidden
/// with what a CoA-Request does not have.
fn refused(dictionary: &Dictionary, written: &str) -> Option<String> {
    let name = written.split_once(':').map_or(written, |(name, _)| name);
    // One that is unknown is refused by its check, which knows the name that was meant.
    let attribute = dictionary.attribute(name)?;
    if attribute.encryption.is_some() {
        return Some(format!(
            "{name} is hidden with the shared secret, and is not sent in a CoA-Request"
        ));
    }
    let other = OTHERS.iter().any(|one| attribute.is(*one));
    other.then(|| format!("{name} names the session or belongs to logins: it is nothing to change"))
}

const OTHERS: [Type; 9] = [
    Type::UserName,
    Type::AcctSessionId,
    Type::NasIdentifier,
    Type::NasIpAddress,
    Type::NasIpv6Address,
    Type::EventTimestamp,
    Type::ErrorCause,
    Type::Class,
    Type::ReplyMessage,
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn change(attributes: &[(&str, &str)]) -> Result<Change, String> {
        let owned = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let owned: Vec<_> = owned.collect();
        Change::new(&Dictionary::builtin().unwrap(), &owned)
    }

    #[test]
    fn attributes_are_encoded_and_shown_in_order() {
        let made = change(&[
            ("Session-Timeout", "600"),
            ("Filter-Id", "inside"),
            ("Filter-Id", "print"),
        ]);
        let made = made.unwrap();
        assert_eq!(made.octets.get(..6), Some(&[27, 6, 0, 0, 2, 88][..]));
        assert_eq!(made.octets.len(), 6 + 8 + 7);
        assert_eq!(
            made.shown,
            "Session-Timeout = 600, Filter-Id = inside, Filter-Id = print"
        );
    }

    #[test]
    fn what_is_no_change_is_refused_with_its_name() {
        for (name, value, part) in [
            ("User-Name", "bob", "names the session"),
            ("Acct-Session-Id", "1", "names the session"),
            ("Class", "x", "belongs to logins"),
            ("Tunnel-Password", "x", "hidden"),
            ("State", "x", "State"),
            ("Message-Authenticator", "0x00", "Message-Authenticator"),
            ("Proxy-State", "0x00", "Proxy-State"),
            ("Session-Timeout", "soon", "Session-Timeout"),
            ("Sesion-Timeout", "600", "Session-Timeout"),
            ("session-timeout", "600", "Session-Timeout"),
        ] {
            let why = change(&[(name, value)]).unwrap_err();
            assert!(why.contains(part), "{name}: {why}");
        }
    }

    #[test]
    fn of_a_reply_what_may_change_is_taken() {
        let dictionary = Dictionary::builtin().unwrap();
        let reply = [
            ("Class", "OU=x"),
            ("Filter-Id", "inside"),
            ("Reply-Message", "hello"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let made = Change::of_reply(&dictionary, &reply).unwrap();
        assert_eq!(made.shown, "Filter-Id = inside");
        assert!(Change::of_reply(&dictionary, reply.get(..1).unwrap()).is_err());
    }
}
