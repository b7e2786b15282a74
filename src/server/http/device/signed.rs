//! A request that a device signed: read whole, verified, and told apart from nobody's.
//!
//! Invariants: what is verified is what arrived. The signature is verified under the key on record
//! of the device that its `keyid` names; whether the request is taken is decided by the store, once.
//!
//! Threats T38 (capabilities A2): requests of unknown and revoked devices, stolen, changed and old
//! ones get the same answer. The cause is counted and logged, and told to nobody. Whether a device
//! exists cannot be measured either: nobody names it who does not know its public key.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, Method, Uri, header};
use data_encoding::BASE64URL_NOPAD;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::admin::devices::Asking;
use crate::config::HTTP_BODY;
use crate::model::device::{Device, DeviceCall, DeviceId};
use crate::server::http::caller::Arrival;
use crate::server::http::error::Failure;
use crate::server::http::{App, body};
use crate::signature::key::{KeyAlgorithm, PublicKey};
use crate::signature::request::{RequestView, Scheme};
use crate::signature::verify::{Claimed, Requirements, Verified};
use crate::signature::{SignatureError, verify};
use crate::time::UnixTime;

/// A request as it arrived, its body read.
pub(crate) struct Arrived {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

impl FromRequest<Arc<App>> for Arrived {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let body = body::read(body, HTTP_BODY, app).await?;
        if !body.is_empty() && !body::is_json(&parts.headers) {
            return Err(Failure::MediaType);
        }
        Ok(Self {
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body,
        })
    }
}

impl Arrived {
    /// The body.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        body::parse(&self.body)
    }

    /// The body, when there is one.
    pub(super) fn optional_json<T: DeserializeOwned + Default>(&self) -> Result<T, Failure> {
        if self.body.is_empty() {
            return Ok(T::default());
        }
        self.json()
    }

    /// Whether this key signed it.
    pub(super) fn verify(
        &self,
        claimed: &Claimed,
        key: &PublicKey,
        at: UnixTime,
    ) -> Result<Verified, SignatureError> {
        let headers = self.headers();
        let host = self.headers.get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok());
        let target = self.uri.path_and_query();
        let target = target.map_or("/", axum::http::uri::PathAndQuery::as_str);
        let view = RequestView::new(
            self.method.as_str(),
            Scheme::Https,
            host.unwrap_or_default(),
            target,
            &headers,
            &self.body,
        );
        claimed.verify(&view, key, at, &Requirements::DEVICE)
    }

    /// What its signature says of itself.
    pub(super) fn claimed(&self) -> Result<Claimed, SignatureError> {
        verify::claimed(&self.headers())
    }

    fn headers(&self) -> Vec<(&str, &[u8])> {
        let headers = self.headers.iter();
        headers
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect()
    }
}

/// A request of a device on record.
pub(crate) struct Signed {
    /// The request.
    pub(super) arrived: Arrived,
    /// Who asks, and what the store takes once.
    pub(super) asking: Asking,
}

impl FromRequest<Arc<App>> for Signed {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Failure> {
        let arrival = request.extensions().get::<Arrival>().copied();
        let arrival = arrival.ok_or(Failure::Internal)?;
        let arrived = Arrived::from_request(request, app).await?;
        let not_taken = |error: SignatureError| refuse(app, error.as_str());
        let claimed = arrived.claimed().map_err(not_taken)?;
        let found = match id(claimed.keyid()) {
            Some(id) => app.service().admin.device(&id)?.map(|(device, _)| device),
            None => None,
        };
        let device = found.ok_or_else(|| refuse(app, "unknown_device"))?;
        let key = key(&device).ok_or(Failure::Internal)?;
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
            arrived,
            asking: Asking {
                request: arrival.id,
                at: arrival.at,
                device,
                call,
            },
        })
    }
}

/// The answer to every request that is not a device's own, lately and for the first time.
pub(super) fn refuse(app: &App, cause: &'static str) -> Failure {
    app.device_refusals()
        .get_or_create(&[("cause", cause)])
        .inc();
    tracing::info!(cause, "a device's request is not taken");
    Failure::NotTaken
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
