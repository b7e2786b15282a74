//! A request that a device signed: read whole and verified.
//!
//! Invariants: what is verified is what arrived. The signature is verified under the key on record
//! of the device that its `keyid` names; whether the request is taken is decided by the store, once.
//!
//! Threats T38 (capabilities A2): requests of unknown and revoked devices, stolen, changed and old
//! ones get the same answer. The cause is counted and never told. Whether a device exists cannot be measured
//! either: naming it takes its public key. A stranger can cause any number of them (T20): each is a line of the log at
//! the level debug only.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::header;
use axum::http::request::Parts;
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::admin::devices::Asking;
use crate::api::DeviceEnrol;
use crate::model::device::{Device, DeviceCall, DeviceId};
use crate::model::source::Source;
use crate::server::http::caller::Arrival;
use crate::server::http::error::Failure;
use crate::server::http::origin::Origin;
use crate::server::http::read::word;
use crate::server::http::route::{Credential, Received};
use crate::server::http::{App, body};
use crate::signature::key::{KeyAlgorithm, PublicKey};
use crate::signature::request::{RequestView, Scheme};
use crate::signature::verify::{Claimed, Requirements, Verified};
use crate::signature::{SignatureError, verify};
use crate::time::UnixTime;

/// A request as it arrived, its body read.
struct Arrived<'a> {
    parts: &'a Parts,
    body: &'a [u8],
}

impl Arrived<'_> {
    /// Whether this key signed it.
    fn verify(
        &self,
        claimed: &Claimed,
        key: &PublicKey,
        at: UnixTime,
    ) -> Result<Verified, SignatureError> {
        let headers = self.headers();
        let host = self.parts.headers.get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok());
        let target = self.parts.uri.path_and_query();
        let target = target.map_or("/", axum::http::uri::PathAndQuery::as_str);
        let view = RequestView::new(
            self.parts.method.as_str(),
            Scheme::Https,
            host.unwrap_or_default(),
            target,
            &headers,
            self.body,
        );
        claimed.verify(&view, key, at, &Requirements::DEVICE)
    }

    /// What its signature says of itself.
    fn claimed(&self) -> Result<Claimed, SignatureError> {
        verify::claimed(&self.headers())
    }

    fn headers(&self) -> Vec<(&str, &[u8])> {
        let headers = self.parts.headers.iter();
        headers
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect()
    }
}

/// A call of a device on record: who asks, and what the store takes once.
pub(super) type Signed<C> = Received<C, Asking>;

impl Credential for Asking {
    const NEEDS_BODY: bool = true;

    async fn of(app: &Arc<App>, parts: &Parts, octets: &[u8]) -> Result<Self, Failure> {
        let arrival = arrival(parts)?;
        let arrived = Arrived {
            parts,
            body: octets,
        };
        let not_taken = |error: SignatureError| refuse(app, error.as_str());
        let claimed = arrived.claimed().map_err(not_taken)?;
        let found = match id(claimed.keyid()) {
            Some(id) => app.admin().device(&id)?.map(|(device, _)| device),
            None => None,
        };
        let device = found.ok_or_else(|| refuse(app, "unknown_device"))?;
        let key = key(&device).ok_or(Failure::INTERNAL)?;
        let verified = arrived.verify(&claimed, &key, arrival.at);
        let verified = verified.map_err(not_taken)?;
        if device.revoked {
            return Err(refuse(app, "revoked_device"));
        }
        let call = DeviceCall {
            device: device.id.clone(),
            revision: device.revision,
            nonce: mark(&verified.nonce),
            created: verified.created,
        };
        Ok(Self {
            request: arrival.id,
            at: arrival.at,
            device,
            call,
        })
    }
}

/// A device that is on no record yet: the key that it sends has signed the request. No device enrols the key
/// of another.
pub(super) struct Enrolling {
    pub(super) arrival: Arrival,
    /// Where it asks from.
    pub(super) address: Option<IpAddr>,
    /// The id that follows from its key.
    pub(super) id: DeviceId,
    pub(super) algorithm: KeyAlgorithm,
    pub(super) key: PublicKey,
}

impl Credential for Enrolling {
    const NEEDS_BODY: bool = true;

    async fn of(app: &Arc<App>, parts: &Parts, octets: &[u8]) -> Result<Self, Failure> {
        let origin: Option<&Origin> = parts.extensions.get();
        let address = origin.and_then(|origin| origin.address);
        let source = address.map(Source::from);
        if !app.enrolments().take(source, Instant::now()) {
            return Err(Failure::TOO_MANY_ENROLMENTS);
        }
        let arrival = arrival(parts)?;
        let arrived = Arrived {
            parts,
            body: octets,
        };
        let not_taken = |error: SignatureError| refuse(app, error.as_str());
        let claimed = arrived.claimed().map_err(not_taken)?;
        let wanted: DeviceEnrol = body::parse(octets)?;
        let words = "ed25519, ecdsa-p256-sha256";
        let algorithm: KeyAlgorithm = word("algorithm", &wanted.algorithm, words)?;
        let key = PublicKey::parse_base64url(algorithm, &wanted.public_key)
            .map_err(|error| Failure::malformed(format!("public_key: {error}")))?;
        let verified = arrived.verify(&claimed, &key, arrival.at);
        let verified = verified.map_err(not_taken)?;
        Ok(Self {
            arrival,
            address,
            id: id(&verified.keyid).ok_or(Failure::INTERNAL)?,
            algorithm,
            key,
        })
    }
}

fn arrival(parts: &Parts) -> Result<Arrival, Failure> {
    parts.extensions.get().copied().ok_or(Failure::INTERNAL)
}

/// The answer to every request that is not a device's own, lately and for the first time.
pub(super) fn refuse(app: &App, cause: &'static str) -> Failure {
    app.device_refusals()
        .get_or_create(&[("cause", cause)])
        .inc();
    tracing::debug!(cause, "a device's request is not taken");
    Failure::NOT_TAKEN
}

/// The id of the device whose key has this thumbprint.
pub(super) fn id(thumbprint: &str) -> Option<DeviceId> {
    let octets = BASE64URL_NOPAD.decode(thumbprint.as_bytes()).ok()?;
    octets.first_chunk().copied().map(DeviceId::new)
}

fn key(device: &Device) -> Option<PublicKey> {
    let algorithm: KeyAlgorithm = device.algorithm.parse().ok()?;
    PublicKey::parse(algorithm, &device.public_key).ok()
}

/// What is remembered of a nonce.
fn mark(nonce: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(nonce.as_bytes()).into();
    digest
        .first_chunk()
        .map_or(0, |octets| u64::from_be_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_beginning_of_a_thumbprint() {
        let wanted = DeviceId::new([0x90, 0xfa, 0xca, 0xfe, 0xa9]);
        let thumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
        assert_eq!(id(thumbprint), Some(wanted));
        assert_eq!(id("kPrK"), None);
        assert_eq!(id("kPrK/qmx"), None);
    }
}
