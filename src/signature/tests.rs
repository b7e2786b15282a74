#![allow(clippy::cast_possible_truncation)]

use std::fmt::Write as _;

use data_encoding::{BASE64, HEXLOWER};
use proptest::prelude::*;

use super::key::{KeyAlgorithm, KeyError, PublicKey, SigningKey};
use super::request::{Headers, RequestView, Scheme};
use super::verify::{Requirements, Verified};
use super::*;
use crate::secret::{Key256, SecretString};
use crate::time::UnixTime;

mod refusals;

const CREATED: u64 = 1_618_884_473;

fn secs(secs: u64) -> UnixTime {
    UnixTime::from_secs(secs)
}

/// The key of RFC 8032 s7.1 test 1, or the one of P-256 with the same octets.
fn key(algorithm: KeyAlgorithm) -> SigningKey {
    let hex = b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let octets = HEXLOWER.decode(hex).unwrap().try_into().unwrap();
    SigningKey::from_random(algorithm, &Key256::new(octets)).unwrap()
}

fn ed25519() -> SigningKey {
    key(KeyAlgorithm::Ed25519)
}

/// A request on its way: everything in it can be changed.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Sent {
    method: String,
    authority: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Sent {
    fn post() -> Self {
        Self {
            method: "POST".to_owned(),
            authority: "otp.example.com".to_owned(),
            target: "/v1/device/requests/42/approve?lang=ko".to_owned(),
            headers: vec![("Content-Type".to_owned(), b"application/json".to_vec())],
            body: b"{\"approve\":true}".to_vec(),
        }
    }

    fn with<T>(&self, then: impl FnOnce(&RequestView<'_>) -> T) -> T {
        let headers: Vec<(&str, &[u8])> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let (authority, target) = (&self.authority, &self.target);
        let (method, body) = (&self.method, &self.body);
        let scheme = Scheme::Https;
        then(&RequestView::new(
            method, scheme, authority, target, &headers, body,
        ))
    }

    fn put(&mut self, name: &str, value: &str) {
        let is = |(known, _): &(String, Vec<u8>)| known.eq_ignore_ascii_case(name);
        self.headers.retain(|header| !is(header));
        self.headers.push((name.to_owned(), value.into()));
    }

    fn get(&self, name: &str) -> String {
        let is = |(known, _): &&(String, Vec<u8>)| known.eq_ignore_ascii_case(name);
        String::from_utf8(self.headers.iter().find(is).unwrap().1.clone()).unwrap()
    }

    /// Signed as the reference device does it.
    fn signed(mut self, key: &SigningKey) -> Self {
        let nonce: [u8; 16] = std::array::from_fn(|index| index as u8);
        let also: &[&str] = if self.headers.is_empty() {
            &["@authority"]
        } else {
            &["@authority", "content-type"]
        };
        let fields = self.with(|request| sign::sign(request, key, secs(CREATED), &nonce, also));
        let fields = fields.unwrap();
        if let Some(digest) = fields.content_digest {
            self.put("Content-Digest", &digest);
        }
        self.put("Signature-Input", &fields.signature_input);
        self.put("Signature", &fields.signature);
        self
    }

    /// Signed over any base, with any Signature-Input.
    fn signed_by_hand(mut self, key: &SigningKey, input: &str, base: &str) -> Self {
        let signature = BASE64.encode(&key.sign(base.as_bytes()));
        self.put("Signature-Input", input);
        self.put("Signature", &format!("oncegate=:{signature}:"));
        self
    }

    fn verify_at(&self, key: &PublicKey, now: UnixTime) -> Result<Verified, SignatureError> {
        self.verify_as(key, now, &Requirements::DEVICE)
    }

    fn verify_as(
        &self,
        key: &PublicKey,
        now: UnixTime,
        requirements: &Requirements,
    ) -> Result<Verified, SignatureError> {
        self.with(|request| {
            verify::claimed(request.headers)?.verify(request, key, now, requirements)
        })
    }

    fn verify(&self, key: &SigningKey) -> Result<Verified, SignatureError> {
        self.verify_at(&key.public(), secs(CREATED))
    }
}

/// The module's documentation without its marks, lines that were broken joined again.
fn documentation() -> String {
    let lines = include_str!("mod.rs").lines();
    let text = lines.map_while(|line| line.strip_prefix("//!"));
    let text: Vec<&str> = text
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    text.join("\n").replace("\n  ", "")
}

#[test]
fn the_documented_request_is_made_byte_for_byte() {
    let sent = Sent::post().signed(&ed25519());
    let mut text = format!(
        "{} {} HTTP/1.1\nHost: {}\n",
        sent.method, sent.target, sent.authority
    );
    for (name, _) in &sent.headers {
        writeln!(text, "{name}: {}", sent.get(name)).unwrap();
    }
    let body = String::from_utf8(sent.body.clone()).unwrap();
    writeln!(text, "\n{body}").unwrap();
    let base = sent.with(|request| {
        let claimed = verify::claimed(request.headers).unwrap();
        claimed.signature_base(request).unwrap()
    });
    let documented = documentation();
    assert!(documented.contains(&text), "{text}");
    assert!(documented.contains(&base), "{base}");
    let verified = sent.verify(&ed25519()).unwrap();
    assert_eq!(
        verified.keyid,
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
    assert_eq!(verified.nonce, "AAECAwQFBgcICQoLDA0ODw");
    assert_eq!(verified.created, secs(CREATED));
    assert_eq!(verified.until, secs(CREATED + 60));
}

/// `(part, octets, put back)`: every part of a request that a bit can be flipped in.
fn parts(sent: &Sent) -> Vec<(String, Vec<u8>)> {
    let mut parts = vec![
        ("method".to_owned(), sent.method.clone().into_bytes()),
        ("authority".to_owned(), sent.authority.clone().into_bytes()),
        ("target".to_owned(), sent.target.clone().into_bytes()),
        ("body".to_owned(), sent.body.clone()),
    ];
    for (name, value) in &sent.headers {
        parts.push((format!("value of {name}"), value.clone()));
        parts.push((format!("name of {name}"), name.clone().into_bytes()));
    }
    parts
}

/// The same with one part replaced; `None` when it is no text any more, which HTTP refuses.
fn replaced(sent: &Sent, part: &str, octets: Vec<u8>) -> Option<Sent> {
    let mut sent = sent.clone();
    let of = |part: &str, name: &str| part.split_once(" of ").is_some_and(|(_, of)| of == name);
    match part {
        "method" => sent.method = String::from_utf8(octets).ok()?,
        "authority" => sent.authority = String::from_utf8(octets).ok()?,
        "target" => sent.target = String::from_utf8(octets).ok()?,
        "body" => sent.body = octets,
        _ => {
            let header = sent.headers.iter_mut().find(|(name, _)| of(part, name))?;
            if part.starts_with("name") {
                header.0 = String::from_utf8(octets).ok()?;
            } else {
                header.1 = octets;
            }
        }
    }
    Some(sent)
}

/// A changed bit that leaves the meaning: the case of a host and of a field's name.
fn is_case(part: &str, octet: u8, bit: usize) -> bool {
    bit == 5 && octet.is_ascii_alphabetic() && (part == "authority" || part.starts_with("name"))
}

#[test]
fn any_changed_bit_is_refused() {
    for algorithm in KeyAlgorithm::ALL {
        let key = key(algorithm);
        let sent = Sent::post().signed(&key);
        assert!(sent.verify(&key).is_ok());
        let mut tried = 0;
        for (part, octets) in parts(&sent) {
            for index in 0..octets.len() {
                for bit in 0..8 {
                    let mut changed = octets.clone();
                    changed[index] ^= 1 << bit;
                    let Some(changed) = replaced(&sent, &part, changed) else {
                        continue;
                    };
                    let verified = changed.verify(&key);
                    let expected = is_case(&part, octets[index], bit);
                    assert_eq!(
                        verified.is_ok(),
                        expected,
                        "{part} {index} {bit}: {verified:?}"
                    );
                    tried += 1;
                }
            }
        }
        assert!(tried > 3500, "{tried}");
    }
}

#[test]
fn any_changed_bit_of_the_key_is_refused() {
    for algorithm in KeyAlgorithm::ALL {
        let key = key(algorithm);
        let sent = Sent::post().signed(&key);
        let octets = key.public().encode();
        for index in 0..octets.len() * 8 {
            let mut changed = octets.clone();
            changed[index / 8] ^= 1 << (index % 8);
            if let Ok(other) = PublicKey::parse(algorithm, &changed) {
                let verified = sent.verify_at(&other, secs(CREATED));
                assert_eq!(verified, Err(SignatureError::WrongKey));
            }
        }
    }
}

/// Parts that are added, dropped, doubled or swapped.
#[test]
fn any_other_shape_is_refused() {
    let key = ed25519();
    let sent = Sent::post().signed(&key);
    let mut changed = vec![
        Sent {
            body: Vec::new(),
            ..sent.clone()
        },
        Sent {
            target: "/v1/device/requests/42/approve".to_owned(),
            ..sent.clone()
        },
        Sent {
            target: format!("{}?", sent.target),
            ..sent.clone()
        },
        Sent {
            target: format!("/{}", sent.target),
            ..sent.clone()
        },
        Sent {
            authority: "otp.example.com:8443".to_owned(),
            ..sent.clone()
        },
        Sent {
            authority: String::new(),
            ..sent.clone()
        },
    ];
    for (index, header) in sent.headers.iter().enumerate() {
        let mut doubled = sent.clone();
        doubled.headers.push(header.clone());
        changed.push(doubled);
        let mut dropped = sent.clone();
        dropped.headers.remove(index);
        changed.push(dropped);
    }
    for changed in changed {
        assert!(changed.verify(&key).is_err(), "{changed:?}");
    }
}

/// RFC 9421 s2.2.7: a signature over `@query` does not tell an empty query from none. It cannot be
/// added, since it must be covered then; it can be taken away.
#[test]
fn an_empty_query_is_a_query() {
    let key = ed25519();
    let with = |target: &str| Sent {
        target: target.to_owned(),
        ..Sent::post()
    };
    let without = with("/a").signed(&key);
    let added = Sent {
        target: "/a?".to_owned(),
        ..without
    };
    assert_eq!(added.verify(&key), Err(SignatureError::MissingComponent));
    let empty = with("/a?").signed(&key);
    assert!(
        Sent {
            target: "/a".to_owned(),
            ..empty
        }
        .verify(&key)
        .is_ok()
    );
}

#[test]
fn a_request_without_body_or_headers_is_signed() {
    let key = ed25519();
    let sent = Sent {
        target: "/v1/device/codes".to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        ..Sent::post()
    };
    let sent = sent.signed(&key);
    assert!(sent.verify(&key).is_ok());
    assert!(!sent.get("signature-input").contains("@query"));
    assert!(!sent.get("signature-input").contains("content-digest"));
    let changed = Sent {
        body: b"x".to_vec(),
        ..sent
    };
    assert_eq!(changed.verify(&key), Err(SignatureError::MissingComponent));
}

/// Any order of components and parameters, any spaces, several lines: one canonical form is
/// signed, and the order is part of it.
#[test]
fn order_and_spaces_may_vary() {
    let key = ed25519();
    let keyid = key.public().thumbprint();
    let sent = Sent {
        authority: "OTP.example.com:443".to_owned(),
        headers: vec![
            ("X-Many".to_owned(), b"  a ".to_vec()),
            ("x-many".to_owned(), b"b,\tc\t".to_vec()),
            ("X-Empty".to_owned(), Vec::new()),
        ],
        body: Vec::new(),
        ..Sent::post()
    };
    let input = format!(
        " oncegate=(  \"x-empty\" \"@target-uri\"  \"x-many\" \"@authority\" \"@method\" ); \
         nonce=\"0123456789abcdef\";   keyid=\"{keyid}\";\
         created=01618884473 , other=(\"@status\";req);x=?1"
    );
    let base = format!(
        "\"x-empty\": \n\
         \"@target-uri\": https://OTP.example.com:443/v1/device/requests/42/approve?lang=ko\n\
         \"x-many\": a, b,\tc\n\
         \"@authority\": otp.example.com\n\
         \"@method\": POST\n\
         \"@signature-params\": (\"x-empty\" \"@target-uri\" \"x-many\" \"@authority\" \
         \"@method\");\
         nonce=\"0123456789abcdef\";keyid=\"{keyid}\";created=1618884473"
    );
    let sent = sent.signed_by_hand(&key, &input, &base);
    assert_eq!(sent.verify(&key).unwrap().nonce, "0123456789abcdef");

    let mut lines = sent.clone();
    let (ours, others) = input.split_once(" , ").unwrap();
    lines.put("Signature-Input", others);
    lines
        .headers
        .push(("signature-input".to_owned(), ours.into()));
    assert!(lines.verify(&key).is_ok());

    let mut swapped = sent;
    let (method, authority) = ("\"@method\"", "\"@authority\"");
    let input = input.replace(
        &format!("{authority} {method}"),
        &format!("{method} {authority}"),
    );
    swapped.put("Signature-Input", &input);
    assert_eq!(swapped.verify(&key), Err(SignatureError::BadSignature));
}

#[test]
fn words_are_distinct_snake_case() {
    let mut words: Vec<&str> = SignatureError::ALL
        .iter()
        .map(|error| error.as_str())
        .collect();
    assert!(
        words
            .iter()
            .all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    );
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), SignatureError::ALL.len());
}

fn algorithm() -> impl Strategy<Value = KeyAlgorithm> {
    prop_oneof![Just(KeyAlgorithm::Ed25519), Just(KeyAlgorithm::EcdsaP256)]
}

prop_compose! {
    fn request()(
        method in "[A-Z]{1,8}",
        authority in "[a-z0-9.-]{1,20}(:[1-9][0-9]{3})?",
        target in "/[!-\"$-~]{0,30}",
        value in "[ -~]{0,20}",
        body in proptest::collection::vec(any::<u8>(), 0..50),
    ) -> Sent {
        let headers = vec![("content-type".to_owned(), value.into_bytes())];
        Sent { method, authority, target, headers, body }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_signed_verifies_and_one_changed_bit_does_not(
        sent in request(),
        algorithm in algorithm(),
        secret in any::<[u8; 32]>(),
        which in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        bit in 0_usize..8,
    ) {
        let Ok(key) = SigningKey::from_random(algorithm, &Key256::new(secret)) else {
            return Ok(());
        };
        let sent = sent.signed(&key);
        prop_assert!(sent.verify(&key).is_ok());
        let parts = parts(&sent);
        let (part, octets) = which.get(&parts);
        if octets.is_empty() {
            return Ok(());
        }
        let index = place.index(octets.len());
        let mut changed = octets.clone();
        changed[index] ^= 1 << bit;
        // Spaces around a value are not part of it.
        let trimmed = |octets: &[u8]| octets.trim_ascii().to_vec();
        let same = part.starts_with("value") && trimmed(&changed) == trimmed(octets);
        if let Some(changed) = replaced(&sent, part, changed) {
            let expected = same || is_case(part, octets[index], bit);
            prop_assert_eq!(changed.verify(&key).is_ok(), expected, "{} {}", part, index);
        }
    }

    #[test]
    fn no_input_panics(
        mut sent in request(),
        target in any::<String>(),
        values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 3),
        seed in "[\"@a-z():;=, ?*0-9\\\\/.-]{0,80}",
    ) {
        let names = ["Signature-Input", "Signature", "Content-Digest"];
        for (name, value) in names.into_iter().zip(values) {
            sent.headers.push((name.to_owned(), value));
        }
        sent.target = target;
        prop_assert!(sent.verify(&ed25519()).is_err());
        for name in names {
            sent.put(name, &seed);
        }
        prop_assert!(sent.verify(&ed25519()).is_err());
        let _ = PublicKey::parse_pem(&seed);
        let _ = PublicKey::parse_der(&sent.body);
        let _ = SigningKey::parse_pem(&SecretString::from(seed.as_str()));
    }

    #[test]
    fn keys_are_read_as_they_were_written(algorithm in algorithm(), secret in any::<[u8; 32]>()) {
        let Ok(key) = SigningKey::from_random(algorithm, &Key256::new(secret)) else {
            return Ok(());
        };
        let public = key.public();
        prop_assert_eq!(public.algorithm(), algorithm);
        prop_assert_eq!(PublicKey::parse(algorithm, &public.encode()), Ok(public.clone()));
        let text = public.base64url();
        prop_assert_eq!(PublicKey::parse_base64url(algorithm, &text), Ok(public.clone()));
        prop_assert_eq!(PublicKey::parse_der(&public.der().unwrap()), Ok(public.clone()));
        prop_assert_eq!(PublicKey::parse_pem(&public.pem().unwrap()), Ok(public.clone()));
        let again = SigningKey::parse_pem(&key.pem().unwrap()).unwrap();
        prop_assert_eq!(again.public(), public);
        prop_assert_eq!(again.sign(b"x"), key.sign(b"x"));
    }
}
