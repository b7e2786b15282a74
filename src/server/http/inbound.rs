//! `POST /v1/inbound/{medium}`: what gateways bring, signed.
//!
//! ```text
//! Oncegate-Signature: t=1795000000,v2=HEX
//! HEX = HMAC-SHA-256(secret of `http.inbound_secret_file`, "1795000000.sms." + body)
//! ```
//!
//! The signature covers time, medium and the whole body, and so every field of the message.
//!
//! Threats: an attacker who could post here would answer for any telephone. Without a secret the routes do
//! not exist. A signature is good for five minutes and is taken once; a message with an `id` is taken once
//! under it, so that what a gateway sends again, signed anew, counts once. Both are remembered in
//! memory, longer than any signature is good; when there are too many nothing is taken. What was signed
//! before the start of the process, or too soon after it to be told from that, is refused: an earlier
//! process may have taken it.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::request::Parts;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::api::{InboundTaken, TakeInbound};
use crate::login::inbound::Inbound;
use crate::model::id::RequestId;
use crate::model::message::Medium;
use crate::secret::SecretString;
use crate::server::http::App;
use crate::server::http::error::Failure;
use crate::server::http::route::{Credential, Received};
use crate::time::UnixTime;

pub(crate) async fn take(
    app: Arc<App>,
    call: Received<TakeInbound, Brought>,
) -> Result<InboundTaken, Failure> {
    let Brought {
        id,
        at,
        gateways,
        signed,
    } = call.from;
    let (medium, message) = (call.place, call.body);
    let marks = Marks::of(&signed, medium, &message.id);
    if gateways.take(&marks, at)? {
        let inbound = Inbound {
            id,
            at,
            deadline: at.plus(app.limits().request_timeout),
            medium,
            from: &message.from,
            text: &message.text,
        };
        let effect = app.login().inbound(&inbound).await;
        if effect.is_err() {
            // What could not be decided may be brought again.
            gateways.forget(&marks);
        }
        let effect = effect?;
        tracing::info!(%id, ?effect, "taken from a gateway");
    } else {
        tracing::info!(%id, "a message that a gateway brought before");
    }
    Ok(InboundTaken {
        taken: true,
        request_id: id.to_string(),
    })
}

/// A message as a gateway signed it.
pub(crate) struct Brought {
    id: RequestId,
    at: UnixTime,
    gateways: Arc<Gateways>,
    signed: Signed,
}

impl Credential for Brought {
    const NEEDS_BODY: bool = true;

    async fn of(app: &Arc<App>, parts: &Parts, octets: &[u8]) -> Result<Self, Failure> {
        let (id, at) = app.core().arrival()?;
        let gateways = app.inbound().ok_or_else(|| Failure::missing("route"))?;
        // The signature covers the last part of the path, whatever it is.
        let medium = parts.uri.path().rsplit('/').next().unwrap_or_default();
        let signed = gateways.signed(&parts.headers, medium, octets, at);
        let signed = signed.ok_or(Failure::NO_KEY)?;
        if signed.at <= gateways.since {
            return Err(Failure::unavailable(STARTED));
        }
        Ok(Self {
            id,
            at,
            gateways,
            signed,
        })
    }
}

/// What is known of the gateways: their secret, and what they brought.
pub(crate) struct Gateways {
    secret: SecretString,
    since: UnixTime,
    taken: Mutex<Taken>,
}

/// Messages that were taken, by mark; oldest first in `order`.
#[derive(Default)]
struct Taken {
    marks: HashSet<u128>,
    order: VecDeque<(UnixTime, u128)>,
}

/// What a signature says: when it was made, and its value.
struct Signed {
    at: UnixTime,
    mac: [u8; 32],
}

/// By what a message is known again: its signature, and its id if it has one.
struct Marks([Option<u128>; 2]);

impl Marks {
    fn of(signed: &Signed, medium: Medium, id: &str) -> Self {
        let mark = |kind: &str, octets: &[u8]| {
            let digest = Sha256::new()
                .chain_update(kind)
                .chain_update([0])
                .chain_update(octets);
            let digest: [u8; 32] = digest.finalize().into();
            digest
                .first_chunk()
                .map(|octets| u128::from_be_bytes(*octets))
        };
        let named = (!id.is_empty()).then(|| mark(medium.as_str(), id.as_bytes()));
        Self([mark("signature", &signed.mac), named.flatten()])
    }

    fn each(&self) -> impl Iterator<Item = u128> {
        self.0.into_iter().flatten()
    }
}

impl Gateways {
    /// Whether this is the secret in use.
    pub(crate) fn is(&self, secret: &SecretString) -> bool {
        self.secret == *secret
    }

    /// Nothing was brought yet; what was signed up to `since` will not be taken.
    pub(crate) fn new(secret: SecretString, since: UnixTime) -> Self {
        Self {
            secret,
            since,
            taken: Mutex::default(),
        }
    }

    /// Whether this was not brought before; from now on it was.
    fn take(&self, marks: &Marks, now: UnixTime) -> Result<bool, Failure> {
        let mut taken = self.taken.lock().expect(UNPOISONED);
        while let Some((since, mark)) = taken.order.front().copied()
            && now.since(since) > REMEMBERED
        {
            taken.order.pop_front();
            taken.marks.remove(&mark);
        }
        if marks.each().any(|mark| taken.marks.contains(&mark)) {
            return Ok(false);
        }
        if taken.order.len() >= MOST {
            return Err(Failure::unavailable(FULL));
        }
        for mark in marks.each() {
            taken.marks.insert(mark);
            taken.order.push_back((now, mark));
        }
        Ok(true)
    }

    fn forget(&self, marks: &Marks) {
        let mut taken = self.taken.lock().expect(UNPOISONED);
        for mark in marks.each() {
            taken.marks.remove(&mark);
        }
        taken
            .order
            .retain(|(_, known)| marks.each().all(|mark| mark != *known));
    }

    /// The signature, if it is a gateway's and made about now.
    fn signed(
        &self,
        headers: &HeaderMap,
        medium: &str,
        body: &[u8],
        now: UnixTime,
    ) -> Option<Signed> {
        let mut values = headers.get_all(HEADER).iter();
        let value = values.next()?.to_str().ok()?;
        if values.next().is_some() {
            return None;
        }
        let (time, mac) = value.split_once(',')?;
        let time = time.trim().strip_prefix("t=")?;
        let mac = mac.trim().strip_prefix("v2=")?;
        let mac = data_encoding::HEXLOWER_PERMISSIVE
            .decode(mac.as_bytes())
            .ok()?;
        let at = UnixTime::from_secs(time.parse().ok()?);
        let key = self.secret.expose().as_bytes();
        let mut expected = <Hmac<Sha256> as KeyInit>::new_from_slice(key).ok()?;
        for part in [time, ".", medium, "."] {
            expected.update(part.as_bytes());
        }
        expected.update(body);
        expected.verify_slice(&mac).ok()?;
        let fresh = now.since(at) <= BEHIND && at.since(now) <= AHEAD;
        let mac = mac.try_into().ok()?;
        fresh.then_some(Signed { at, mac })
    }
}

const HEADER: &str = "oncegate-signature";
/// How old a signature may be: a gateway that tries again signs again.
const BEHIND: Duration = Duration::from_mins(5);
/// How far a gateway's clock may be ahead. After a start so much time must pass before anything is taken:
/// then no signature that an earlier process took is good any more.
pub const AHEAD: Duration = Duration::from_secs(10);
/// How long a message is known again; longer than its signature is good.
const REMEMBERED: Duration = Duration::from_mins(15);
/// Marks remembered; some 60 messages a second.
const MOST: usize = 1 << 17;
const FULL: &str = "too many messages at present; bring it again later, signed anew";
const STARTED: &str = "the server has just started; bring it again, signed anew, in ten seconds";
const UNPOISONED: &str = "no panic while the lock is held";

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);
    const BODY: &[u8] = br#"{"from":"+821012345678","text":"48"}"#;

    fn header(secret: &str, time: &str, medium: &str, body: &[u8]) -> String {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{time}.{medium}.").as_bytes());
        mac.update(body);
        let hex = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
        format!("t={time},v2={hex}")
    }

    fn gateways() -> Gateways {
        Gateways::new(SecretString::from("secret"), UnixTime::from_secs(0))
    }

    fn signed(value: &str, now: UnixTime) -> Option<Signed> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, value.parse().unwrap());
        gateways().signed(&headers, "sms", BODY, now)
    }

    #[test]
    fn only_the_gateway_signs_and_every_part_counts() {
        let good = header("secret", "1795000000", "sms", BODY);
        assert!(signed(&good, NOW).is_some());
        let upper = good.to_uppercase();
        let upper = upper.replace("T=", "t=").replace("V2=", "v2=");
        assert!(signed(&upper, NOW).is_some());
        for bad in [
            header("other", "1795000000", "sms", BODY),
            header("secret", "1795000000", "voice", BODY),
            header("secret", "1795000000", "sms", b"{}"),
            good.replace("t=1795000000", "t=1795000001"),
            good.replace("v2=", "v1="),
            "t=1795000000".to_owned(),
            "t=1795000000,v2=".to_owned(),
            String::new(),
        ] {
            assert!(signed(&bad, NOW).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_signature_is_good_for_five_minutes() {
        let good = header("secret", "1795000000", "sms", BODY);
        for (secs, fresh) in [(300, true), (301, false)] {
            let later = NOW.plus(Duration::from_secs(secs));
            assert_eq!(signed(&good, later).is_some(), fresh);
        }
        for (time, fresh) in [("1795000010", true), ("1795000011", false)] {
            let ahead = header("secret", time, "sms", BODY);
            assert_eq!(signed(&ahead, NOW).is_some(), fresh, "{time}");
        }
    }

    #[test]
    fn a_message_is_known_again_by_signature_and_by_id() {
        let known = gateways();
        let one = Signed {
            at: NOW,
            mac: [1; 32],
        };
        let other = Signed {
            at: NOW,
            mac: [2; 32],
        };
        let take = |signed: &Signed, medium, id: &str, now| {
            known.take(&Marks::of(signed, medium, id), now).unwrap()
        };
        assert!(take(&one, Medium::Sms, "", NOW));
        assert!(!take(&one, Medium::Sms, "", NOW));
        assert!(!take(&one, Medium::Sms, "named", NOW), "the same octets");
        assert!(take(&other, Medium::Sms, "7", NOW));
        let third = Signed {
            at: NOW,
            mac: [3; 32],
        };
        assert!(
            !take(&third, Medium::Sms, "7", NOW),
            "sent again, signed anew"
        );
        assert!(take(&third, Medium::Voice, "7", NOW), "ids are a medium's");
        known.forget(&Marks::of(&one, Medium::Sms, ""));
        assert!(take(&one, Medium::Sms, "", NOW));
        let later = NOW.plus(REMEMBERED + Duration::from_secs(1));
        assert!(take(&other, Medium::Sms, "7", later));
        assert_eq!(
            known.taken.lock().unwrap().order.len(),
            2,
            "the rest is forgotten"
        );
    }
}
