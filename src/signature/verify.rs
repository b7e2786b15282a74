//! Whether a request was signed, unchanged, lately, by the key it names.
//!
//! Source: RFC 9421 s2.3 (parameters), s3.2 (verifying), s7.2.1 and s7.2.2 (coverage, replay).
//!
//! Two steps, since the key is looked up by what the signature claims: [`claimed`] reads the
//! fields only, so that a body need not be read for an unknown key; [`Claimed::verify`]
//! decides. Until then a claim proves nothing.

use std::fmt::Write as _;
use std::time::Duration;

use crate::signature::fields::{Bare, Dictionary, Item, Member, Parameters};
use crate::signature::key::{KeyAlgorithm, PublicKey};
use crate::signature::request::{Component, Headers, RequestView};
use crate::signature::{LABEL, SignatureError, TAG, digest, fields, request};
use crate::time::UnixTime;

/// What a signature must cover and how old it may be. Always covered: `@method`; `@path`, and
/// `@query` when there is one, or `@target-uri` in their place; `content-digest` when there is a
/// body. Always given: `created`, `keyid` and `nonce`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Requirements {
    /// How far `created` may be from our clock, in both directions.
    pub max_skew: Duration,
    /// Components that must be covered besides, by name: `@authority`, or a field in lower case.
    pub also: &'static [&'static str],
}

impl Requirements {
    /// Those of the device protocol: 60 s, and nothing besides.
    pub const DEVICE: Self = Self {
        max_skew: Duration::from_mins(1),
        also: &[],
    };
}

/// What a signature says of itself; nothing of it is proved yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claimed {
    components: Vec<Component>,
    /// The value of `@signature-params`.
    params: String,
    keyid: String,
    created: Option<UnixTime>,
    expires: Option<UnixTime>,
    nonce: Option<String>,
    algorithm: Option<KeyAlgorithm>,
    signature: Vec<u8>,
}

/// What a verified signature says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    /// The thumbprint of the key.
    pub keyid: String,
    /// When the sender says it signed, in whole seconds.
    pub created: UnixTime,
    /// 16 to 64 printable ASCII characters; the caller accepts each once per `keyid`.
    pub nonce: String,
    /// The last moment at which the same signature would be verified again: the caller remembers
    /// the nonce until this is past.
    pub until: UnixTime,
}

/// Reads which key is said to have signed.
///
/// # Errors
/// `Missing`, `Malformed`, `Unsupported`, `WrongTag`; `WrongAlgorithm` for an `alg` that is none
/// of ours; `MissingParameter` without a `keyid`.
pub fn claimed(headers: &Headers<'_>) -> Result<Claimed, SignatureError> {
    let (label, components, parameters) = input(dictionary(headers, INPUT)?)?;
    let signature = dictionary(headers, SIGNATURE)?
        .into_iter()
        .find(|(of, _)| *of == label)
        .ok_or(SignatureError::Missing)?;
    let (
        _,
        Member::Item(Item {
            value,
            parameters: none,
        }),
    ) = signature
    else {
        return Err(SignatureError::Malformed);
    };
    let Bare::Octets(signature) = value else {
        return Err(SignatureError::Malformed);
    };
    if !none.is_empty() {
        return Err(SignatureError::Malformed);
    }
    claim(components, parameters, signature)
}

/// A field that is a dictionary.
fn dictionary(headers: &Headers<'_>, name: &str) -> Result<Dictionary, SignatureError> {
    let text = request::field(headers, name)?.ok_or(SignatureError::Missing)?;
    fields::dictionary(text.as_bytes()).ok_or(SignatureError::Malformed)
}

/// The signature that is ours, or the only one: its label, its components, its parameters.
fn input(mut inputs: Dictionary) -> Result<(String, Vec<Component>, Parameters), SignatureError> {
    let ours = inputs.iter().position(|(label, _)| label == LABEL);
    let (label, member) = match (ours, inputs.len()) {
        (Some(index), _) => inputs.swap_remove(index),
        (None, 1) => inputs.pop().ok_or(SignatureError::Malformed)?,
        (None, _) => return Err(SignatureError::Malformed),
    };
    let Member::List(items, parameters) = member else {
        return Err(SignatureError::Malformed);
    };
    let mut components = Vec::with_capacity(items.len());
    for item in items {
        let Bare::String(name) = item.value else {
            return Err(SignatureError::Malformed);
        };
        if !item.parameters.is_empty() {
            return Err(SignatureError::Unsupported);
        }
        let component = Component::parse(&name)?;
        // RFC 9421 s2: each component occurs once.
        if components.contains(&component) {
            return Err(SignatureError::Malformed);
        }
        components.push(component);
    }
    Ok((label, components, parameters))
}

fn claim(
    components: Vec<Component>,
    parameters: Parameters,
    signature: Vec<u8>,
) -> Result<Claimed, SignatureError> {
    let (mut keyid, mut nonce, mut algorithm) = (None, None, None);
    let (mut created, mut expires) = (None, None);
    let mut written = String::new();
    for (name, value) in parameters {
        match &value {
            Bare::Integer(integer) => {
                // Writing to a string does not fail.
                let _ = write!(written, ";{name}={integer}");
            }
            Bare::String(text) => {
                let _ = write!(written, ";{name}=");
                fields::write_string(&mut written, text);
            }
            Bare::Octets(_) | Bare::Other => return Err(SignatureError::Malformed),
        }
        match (name.as_str(), value) {
            ("created", Bare::Integer(secs)) => created = Some(seconds(secs)?),
            ("expires", Bare::Integer(secs)) => expires = Some(seconds(secs)?),
            ("keyid", Bare::String(text)) => keyid = Some(word(text, 1)?),
            ("nonce", Bare::String(text)) => nonce = Some(word(text, 16)?),
            ("alg", Bare::String(name)) => {
                let named = name.parse().map_err(|_| SignatureError::WrongAlgorithm)?;
                algorithm = Some(named);
            }
            ("tag", Bare::String(tag)) if tag == TAG => {}
            ("tag", Bare::String(_)) => return Err(SignatureError::WrongTag),
            ("created" | "expires" | "keyid" | "nonce" | "alg" | "tag", _) => {
                return Err(SignatureError::Malformed);
            }
            _ => return Err(SignatureError::Unsupported),
        }
    }
    let params = request::signature_params(&components, &written);
    Ok(Claimed {
        components,
        params,
        keyid: keyid.ok_or(SignatureError::MissingParameter)?,
        created,
        expires,
        nonce,
        algorithm,
        signature,
    })
}

fn seconds(secs: i64) -> Result<UnixTime, SignatureError> {
    let secs = u64::try_from(secs).map_err(|_| SignatureError::Malformed)?;
    Ok(UnixTime::from_secs(secs))
}

/// Text that is stored and logged as it is: visible ASCII without quotes, not too long.
fn word(text: String, least: usize) -> Result<String, SignatureError> {
    let visible = |octet: u8| octet.is_ascii_graphic() && !matches!(octet, b'"' | b'\\');
    ((least..=MAX_WORD).contains(&text.len()) && text.bytes().all(visible))
        .then_some(text)
        .ok_or(SignatureError::Malformed)
}

impl Claimed {
    /// The key that is said to have signed: the [`PublicKey::thumbprint`] to look for. 1 to 64
    /// visible ASCII characters.
    pub fn keyid(&self) -> &str {
        &self.keyid
    }

    /// What must have been signed, as this request has it (RFC 9421 s2.5).
    ///
    /// # Errors
    /// `MissingComponent` when the request lacks what is covered, `Malformed` when a part of it
    /// cannot be signed.
    pub fn signature_base(&self, request: &RequestView<'_>) -> Result<String, SignatureError> {
        request::signature_base(request, &self.components, &self.params)
    }

    /// Verifies the request that carries this claim. The caller still has to refuse a nonce that
    /// it has seen before.
    ///
    /// # Errors
    /// `MissingParameter`, `MissingComponent`, `TooOld`, `TooNew`, `Malformed`, `DigestMismatch`,
    /// `WrongKey`, `WrongAlgorithm`, `BadSignature`, in this order.
    pub fn verify(
        &self,
        request: &RequestView<'_>,
        key: &PublicKey,
        now: UnixTime,
        requirements: &Requirements,
    ) -> Result<Verified, SignatureError> {
        let created = self.created.ok_or(SignatureError::MissingParameter)?;
        let nonce = self.nonce.clone().ok_or(SignatureError::MissingParameter)?;
        self.covers(request, requirements)?;
        let until = self.lifetime(created, now, requirements.max_skew)?;
        if let Some(value) = request::field(request.headers, digest::FIELD)? {
            digest::check(&value, request.body)?;
        }
        if self.keyid != key.thumbprint() {
            return Err(SignatureError::WrongKey);
        }
        if self.algorithm.is_some_and(|named| named != key.algorithm()) {
            return Err(SignatureError::WrongAlgorithm);
        }
        let base = self.signature_base(request)?;
        key.verify(base.as_bytes(), &self.signature)?;
        Ok(Verified {
            keyid: self.keyid.clone(),
            created,
            nonce,
            until,
        })
    }

    /// RFC 9421 s7.2.1: what is not covered can be changed on the way.
    fn covers(
        &self,
        request: &RequestView<'_>,
        requirements: &Requirements,
    ) -> Result<(), SignatureError> {
        let has = |name: &str| self.components.iter().any(|known| known.name() == name);
        let target = has("@target-uri");
        let covered = has("@method")
            && (target || has("@path"))
            && (target || !request.has_query() || has("@query"))
            && (request.body.is_empty() || has(digest::FIELD))
            && requirements.also.iter().all(|name| has(name));
        covered
            .then_some(())
            .ok_or(SignatureError::MissingComponent)
    }

    /// The last moment of the signature, when that is not past and its first one has come.
    fn lifetime(
        &self,
        created: UnixTime,
        now: UnixTime,
        max_skew: Duration,
    ) -> Result<UnixTime, SignatureError> {
        let latest = created.plus(max_skew);
        let until = self.expires.map_or(latest, |expires| expires.min(latest));
        if now > until {
            Err(SignatureError::TooOld)
        } else if created.since(now) > max_skew {
            Err(SignatureError::TooNew)
        } else {
            Ok(until)
        }
    }
}

/// The names of the two fields of RFC 9421 s4.
pub(super) const INPUT: &str = "signature-input";
pub(super) const SIGNATURE: &str = "signature";

/// Longest `keyid` or `nonce`; ours have 43 and 22 characters. Nonces are stored.
const MAX_WORD: usize = 64;
