//! JSON Web Tokens (RFC 7519) as privacyIDEA's clients read them: HS256 (RFC 7515), and a payload whose base64url
//! is base64 too.
//!
//! Those clients decode the payload with the alphabet of RFC 4648 s4, so it must never hold `-` or `_`. It does not
//! where the text is ASCII without `>`, `?`, `~` and DEL: only these have six bits of value 62 or 63 at a place of
//! base64.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::secret::{Key256, SecretString};
use crate::time::UnixTime;

/// What a token says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The service account: an API client.
    pub username: String,
    /// None: service accounts have no realm.
    pub realm: String,
    /// What stands for the account's key: another key, another nonce.
    pub nonce: String,
    /// `admin`.
    pub role: String,
    /// `password`.
    pub authtype: String,
    /// The client whose routes it is for.
    pub aud: String,
    /// When it ends, in seconds.
    pub exp: u64,
    /// What it may.
    pub rights: Vec<String>,
}

/// A token with these claims; `None` where they hold a character that the payload must not.
pub fn seal(claims: &Claims, key: &Key256) -> Option<SecretString> {
    let payload = serde_json::to_vec(claims).ok()?;
    let plain = |octet: &u8| matches!(octet, b' '..=b'}') && !matches!(octet, b'>' | b'?');
    if !payload.iter().all(plain) {
        return None;
    }
    let mut token = BASE64URL_NOPAD.encode(HEADER);
    token.push('.');
    BASE64URL_NOPAD.encode_append(&payload, &mut token);
    let mac = mac(token.as_bytes(), key).finalize().into_bytes();
    token.push('.');
    BASE64URL_NOPAD.encode_append(&mac, &mut token);
    Some(SecretString::new(token))
}

/// What a token of this key says that has not ended.
pub fn open(token: &str, key: &Key256, now: UnixTime) -> Option<Claims> {
    if token.len() > LONGEST {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
    mac(signed.as_bytes(), key).verify_slice(&signature).ok()?;
    // Only what was sealed here comes so far: the header is known.
    let (_, payload) = signed.split_once('.')?;
    let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    (now.as_secs() < claims.exp).then_some(claims)
}

fn mac(text: &[u8], key: &Key256) -> Hmac<Sha256> {
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(key.expose()) else {
        unreachable!("HMAC takes keys of any length")
    };
    mac.chain_update(text)
}

const HEADER: &[u8] = br#"{"alg":"HS256","typ":"JWT"}"#;
/// Octets of the longest token that is looked at.
const LONGEST: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claims(username: &str, exp: u64) -> Claims {
        Claims {
            username: username.to_owned(),
            realm: String::new(),
            nonce: "0123456789abcdef".to_owned(),
            role: "admin".to_owned(),
            authtype: "password".to_owned(),
            aud: "keycloak".to_owned(),
            exp,
            rights: vec!["triggerchallenge".to_owned()],
        }
    }

    #[test]
    fn a_token_is_opened_by_its_key_until_its_end() {
        let key = Key256::new([7; 32]);
        let claims = claims("service", 1000);
        let token = seal(&claims, &key).unwrap();
        let token = token.expose();
        let open = |token: &str, key: u8, now| {
            open(token, &Key256::new([key; 32]), UnixTime::from_secs(now))
        };
        assert_eq!(open(token, 7, 999), Some(claims));
        assert_eq!(open(token, 7, 1000), None);
        assert_eq!(open(token, 8, 999), None);
        let (head, signature) = token.rsplit_once('.').unwrap();
        let (header, payload) = head.split_once('.').unwrap();
        let none = BASE64URL_NOPAD.encode(br#"{"alg":"none","typ":"JWT"}"#);
        for other in [
            String::new(),
            head.to_owned(),
            format!("{head}."),
            format!("{none}.{payload}."),
            format!("{none}.{payload}.{signature}"),
            format!("{header}.{payload}A.{signature}"),
            format!("{token}="),
            format!("{token}{}", "A".repeat(5000)),
        ] {
            assert_eq!(open(&other, 7, 999), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_payload_holds_a_dash(username in "[ -~]{0,40}", exp in any::<u64>()) {
            let token = seal(&claims(&username, exp), &Key256::new([7; 32]));
            prop_assert_eq!(token.is_none(), username.contains(['>', '?', '~']));
            if let Some(token) = token {
                let payload = token.expose().split('.').nth(1).unwrap();
                prop_assert!(!payload.contains(['-', '_']));
            }
        }
    }
}
