//! A device redeems an enrolment or transfer code with its key.
//!
//! Threats T38, capabilities A1 and C6: guessing codes, over many users, devices and restarts.
//! Every wrong code counts against the user, the source and the tries of the live codes it was a
//! guess at, in one transaction; a refusal looks and lasts alike, whatever its cause. What is no guess at a
//! live code is put on record up to a bound, and counted beyond it ([`super::refusals`]).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::core::{CoreError, default_policy, shorten};
use crate::login::{Login, settle};
use crate::model::attempt::{Attempt, Comparison, DriftRule, Evidence};
use crate::model::audit::{Channel, Purpose};
use crate::model::device::{Device, DeviceId};
use crate::model::id::{RequestId, Serial};
use crate::model::issue::Way;
use crate::model::kind::Kind;
use crate::model::reason::{Decision, Reason};
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user_key::UserKey;
use crate::otp::Matches;
use crate::otp::issued::{Mark, canonical};
use crate::policy::Policy;
use crate::secret::{OtpKey, SecretBytes, SecretString};
use crate::store::StoreError;
use crate::time::UnixTime;

/// A code and a key. The caller has verified that the device holds the secret half of the key.
#[derive(Clone, Debug)]
pub struct Redemption<'a> {
    /// Names the request.
    pub request: RequestId,
    /// When it arrived.
    pub at: UnixTime,
    /// After this the answer is not awaited any more.
    pub deadline: UnixTime,
    /// Where the device is, if known.
    pub source: Option<IpAddr>,
    /// The user as it was sent.
    pub user: &'a str,
    /// What the person typed or scanned.
    pub code: &'a SecretString,
    /// The device's name, from its key.
    pub id: DeviceId,
    /// What the user calls it: 1 to 256 octets without control characters.
    pub name: String,
    /// How its key signs, by the name of RFC 9421.
    pub algorithm: &'static str,
    /// Its public key.
    pub public_key: Vec<u8>,
}

/// What became of it. Durable.
#[derive(Debug)]
pub enum Redeemed {
    /// The device is bound, and so is this token of its user.
    Bound(Box<(Device, Token)>),
    /// Refused; the cause is for the audit only.
    Refused {
        /// Why.
        reason: Reason,
        /// How long after arrival the answer may leave.
        delay: Duration,
    },
    /// The code was right, and is not used up: something else is in the way.
    Hindered(&'static str),
}

impl Login {
    /// Binds a device to the token whose enrolment or transfer code was presented.
    pub async fn redeem(&self, redemption: &Redemption<'_>) -> Result<Redeemed, CoreError> {
        let began = Instant::now();
        let policies = self.core.policies();
        let policy = default_policy(&policies)?;
        let redeemed = self.redeemed(redemption, policy).await;
        let outcome = redeemed.as_ref().ok().map(|redeemed| match redeemed {
            Redeemed::Bound(..) => Decision::Accept,
            Redeemed::Refused { .. } | Redeemed::Hindered(_) => Decision::Reject,
        });
        self.core.latencies.took(Channel::Device, outcome, began);
        match &redeemed {
            Ok(Redeemed::Hindered(why)) => {
                tracing::info!(id = %redemption.request, why, "a device is not enrolled");
            }
            Ok(_) => {}
            Err(error) => {
                self.core.counters.undecided(Channel::Device);
                let (id, at) = (redemption.request, redemption.at);
                self.undecided.log_of((id, at), DEVICES, error);
            }
        }
        redeemed
    }

    async fn redeemed(
        &self,
        redemption: &Redemption<'_>,
        policy: &Policy,
    ) -> Result<Redeemed, CoreError> {
        let at = self.core.window_time(redemption.at)?;
        let user = UserKey::parse(redemption.user).ok();
        let user = user.map(|name| self.core.store.named(name)).transpose()?;
        let user = user.as_ref();
        let gather = || async move {
            let evidence = self.presented(user, redemption.code, at)?;
            if let Evidence::Refused(reason) = evidence
                && !self.refusals.is_recorded(reason, redemption.source, at)
            {
                return Err(Stop::NotRecorded(reason));
            }
            let attempt = redemption.attempt(user, policy, evidence, at);
            let device = attempt.enrols.clone();
            Ok((attempt, device))
        };
        let (verdict, device) = match self.settle_with(user, true, gather).await {
            Ok(settled) => settled,
            Err(Stop::NotRecorded(reason)) => {
                self.core
                    .counters
                    .decided(Channel::Device, reason, reason.decision());
                return Ok(self.refused(reason, policy));
            }
            Err(Stop::Undecided(CoreError::Store(StoreError::Conflict(why)))) => {
                return Ok(Redeemed::Hindered(why));
            }
            Err(Stop::Undecided(error)) => return Err(error),
        };
        match (verdict.decision, device, verdict.serial) {
            (Decision::Accept, Some(device), Some(serial)) => {
                let token = self.bound(&serial)?;
                Ok(Redeemed::Bound(Box::new((*device, token))))
            }
            _ => Ok(self.refused(verdict.reason, policy)),
        }
    }

    fn refused(&self, reason: Reason, policy: &Policy) -> Redeemed {
        Redeemed::Refused {
            reason,
            delay: policy.reject_delay.max(self.refusals.wait()),
        }
    }

    fn bound(&self, serial: &Serial) -> Result<Token, CoreError> {
        let found = self.core.store.token(serial)?;
        let (token, _) = found.ok_or(StoreError::NotFound)?;
        Ok(token)
    }

    /// Compares what was presented with every live code that a device may redeem.
    fn presented(
        &self,
        user: Option<&UserKey>,
        code: &SecretString,
        at: UnixTime,
    ) -> Result<Evidence, CoreError> {
        let Some(code) = canonical(code.expose(), usize::from(LENGTH)) else {
            return Ok(Evidence::Refused(Reason::MalformedCode));
        };
        let view = match user {
            Some(user) => self.core.store.view(user)?,
            None => None,
        };
        let refused = |reason| {
            compare_with_nothing(&code);
            Ok(Evidence::Refused(reason))
        };
        let Some(view) = view else {
            return refused(Reason::UnknownUser);
        };
        if view.user.disabled {
            return refused(Reason::UserDisabled);
        }
        let own = view.tokens.iter();
        let own = own.filter(|(token, _)| token.user == view.user.key);
        let compared: Vec<_> = own
            .filter_map(|(token, state)| compare(token, state, &code, at))
            .collect();
        if compared.is_empty() {
            return refused(Reason::NoToken);
        }
        Ok(Evidence::Compared(settle::compared(&view, compared)))
    }
}

/// Why the store is not asked.
enum Stop {
    /// The refusal is one of too many to be put on record by itself.
    NotRecorded(Reason),
    Undecided(CoreError),
}

impl From<CoreError> for Stop {
    fn from(error: CoreError) -> Self {
        Self::Undecided(error)
    }
}

impl Redemption<'_> {
    fn attempt(
        &self,
        user: Option<&UserKey>,
        policy: &Policy,
        evidence: Evidence,
        at: UnixTime,
    ) -> Attempt {
        let device = user.map(|user| {
            Box::new(Device {
                id: self.id.clone(),
                user: user.clone(),
                name: self.name.clone(),
                algorithm: self.algorithm.to_owned(),
                public_key: self.public_key.clone(),
                revoked: false,
                created: at,
                revision: 1,
            })
        });
        Attempt {
            deadline: self.deadline,
            user: user.map_or_else(|| shorten(self.user), ToString::to_string),
            client: self.id.as_str().into(),
            method: "device".into(),
            source: self.source,
            lockout: policy.lockout,
            enrols: device,
            ..Attempt::outside_login(
                (self.request, at),
                Channel::Device,
                Purpose::Enrol,
                evidence,
            )
        }
    }
}

/// The comparison with a token's live code, when it has one that such a text may answer.
fn compare(
    token: &Token,
    state: &TokenState,
    code: &SecretString,
    at: UnixTime,
) -> Option<Comparison> {
    let digits = code.expose().bytes().all(|octet| octet.is_ascii_digit());
    let way = match token.state_at(at) {
        LifeCycle::Pending => Way::Enrol,
        LifeCycle::Active if digits => Way::Transfer,
        _ => return None,
    };
    let issued = state.issued.filter(|issued| issued.way == way)?;
    if token.kind != Kind::Server {
        return None;
    }
    let mut matches = Matches::default();
    if Mark::of(&token.key, way.as_str(), None, code.expose()) == issued.mark {
        matches.insert(issued.number);
    }
    Some(Comparison {
        serial: token.serial.clone(),
        kind: token.kind,
        revision: token.revision,
        seen: state.moving,
        issued: Some(issued.number),
        matches,
        drift: DriftRule::None,
        first: false,
    })
}

/// Spends the time of one comparison on no one's key.
fn compare_with_nothing(code: &SecretString) {
    if let Some(key) = OtpKey::new(SecretBytes::from(&[0x5a_u8; OtpKey::GENERATED][..])) {
        let mark = Mark::of(&key, Way::Enrol.as_str(), None, code.expose());
        std::hint::black_box(mark.to_bytes());
    }
}

/// As the log calls those who ask.
const DEVICES: &str = "devices";
/// Characters of an enrolment code and digits of a transfer code (contract s7, capabilities C6).
pub(crate) const LENGTH: u8 = 12;
