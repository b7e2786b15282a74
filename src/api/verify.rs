//! Asking: is this the person, this once?

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::call::{Access, calls};
use crate::api::{entries, in_clear};
use crate::secret::SecretString;

calls! {
    /// Is this the person, this once?
    ///
    /// 200 whenever a decision was made, accept, challenge or reject: read `decision`. Callers that look at
    /// the status only ask for it with `Prefer: status` or `?status=1`: 200 accept, 401 reject or challenge,
    /// 503 undecided. A code is accepted at most once, ever.
    Verify = verify: POST "/v1/verify" in "verify" for Access::Verify,
        query OnBehalf, body VerifyRequest,
        200 "The decision": VerifyAnswer, yes |answer| matches!(answer, VerifyAnswer::Accept { .. })
        => by_status("reject or challenge") => idempotent();

    /// A user proves what the policy asks for, and chooses another PIN or password.
    ///
    /// Also the way out of a PIN or password that must be changed. A proof that is not right is answered
    /// as a rejected verification.
    ReplaceCredentials = replace_credentials: POST "/v1/credentials" in "verify" for Access::Verify,
        query Answered, body CredentialsRequest,
        200 "Accepted and changed, or rejected": CredentialsAnswer,
        yes |answer| matches!(answer, CredentialsAnswer::Accept { .. })
        => by_status("rejected") => fails(&[(400, "Malformed, or too easy to guess")]);
}

/// `POST /v1/verify`: is this the person, this once?
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// `name`, `name@realm` or `DOMAIN\name`.
    pub user: String,
    /// The code, when the application asks for it in a field of its own.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear", skip_serializing_if = "Option::is_none")]
    pub otp: Option<SecretString>,
    /// What a person would type into a VPN's password box; instead of the separate fields.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear", skip_serializing_if = "Option::is_none")]
    pub passcode: Option<SecretString>,
    /// The PIN; looked at only where the policy requires one.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear", skip_serializing_if = "Option::is_none")]
    pub pin: Option<SecretString>,
    /// The password; looked at only where the policy requires one.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear", skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretString>,
    /// The challenge this answers: the `id` of an earlier answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
    /// Where the person is.
    #[serde(
        default,
        deserialize_with = "client_ip",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>)]
    pub client_ip: Option<IpAddr>,
    /// The application's own words, for policy rules.
    #[serde(
        default,
        deserialize_with = "entries",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    #[schema(nullable)]
    pub context: BTreeMap<String, String>,
}

/// On whose behalf an administrator asks `POST /v1/verify`.
#[derive(Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OnBehalf {
    /// With the scope `admin` beside `verify`: the API client whose policy applies, as if it had
    /// asked.
    pub client: Option<String>,
    /// `1`: the decision is in the status, as with the header `Prefer: status`.
    pub status: Option<String>,
}

/// For callers that look at the status only.
#[derive(Debug, Default, Deserialize, Serialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Answered {
    /// `1`, or the header `Prefer: status`: yes is 200, no is 401, `Preference-Applied: status` says so.
    pub status: Option<String>,
}

/// The answer to a verification.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "decision", rename_all = "lowercase")]
pub enum VerifyAnswer {
    /// It is.
    Accept {
        /// Canonical `name@realm`.
        user: String,
        /// The token that proved it; none where no code was asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        serial: Option<String>,
        /// Strength of the factors, 1 to 3.
        assurance: u8,
        /// Reply attributes of the policy; a list where one is repeated.
        attributes: BTreeMap<String, Values>,
        /// Names the request in the audit.
        request_id: String,
    },
    /// Right so far: the next factor is wanted.
    Challenge {
        /// What to answer.
        challenge: Challenge,
        /// Names the request in the audit.
        request_id: String,
    },
    /// It is not, or not this once. The cause is in the audit only.
    Reject {
        /// Names the request in the audit.
        request_id: String,
    },
}

/// The values of an attribute.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Values {
    /// It occurs once.
    One(String),
    /// It is repeated.
    Many(Vec<String>),
}

impl Values {
    /// Gathers attributes by name, in the order of their values.
    pub fn gather(attributes: Vec<(String, String)>) -> BTreeMap<String, Self> {
        let mut gathered: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in attributes {
            gathered.entry(name).or_default().push(value);
        }
        let gathered = gathered.into_iter();
        let values = gathered.map(|(name, mut values)| match values.len() {
            1 => (name, Self::One(values.remove(0))),
            _ => (name, Self::Many(values)),
        });
        values.collect()
    }

    /// All of them.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// The answer to a change of PIN or password.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "decision", rename_all = "lowercase")]
pub enum CredentialsAnswer {
    /// Changed.
    Accept {
        /// Names the request in the audit.
        request_id: String,
    },
    /// What was presented did not prove the user. The cause is in the audit only.
    Reject {
        /// Names the request in the audit.
        request_id: String,
    },
}

/// A second round: ask the person, then `POST /v1/verify` with `challenge` set to its id.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Challenge {
    /// For the field `challenge` of the answer, and `GET /v1/challenges/{id}`.
    pub id: String,
    /// `otp`, `pin` or `password`: the field that is wanted.
    pub factor: String,
    /// How to ask the person for it.
    pub prompt: String,
    /// Seconds in which an answer is awaited.
    pub expires_in: u64,
}

/// `POST /v1/credentials`: a user proves what the policy asks for, and chooses another PIN or
/// password.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialsRequest {
    /// As for `POST /v1/verify`.
    pub user: String,
    /// The code.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear")]
    pub otp: Option<SecretString>,
    /// The present PIN.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear")]
    pub pin: Option<SecretString>,
    /// The present password.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear")]
    pub password: Option<SecretString>,
    /// Where the person is.
    #[schema(value_type = Option<String>)]
    pub client_ip: Option<IpAddr>,
    /// The new password.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear")]
    pub new_password: Option<SecretString>,
    /// The new PIN.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear")]
    pub new_pin: Option<SecretString>,
}

pub(super) fn client_ip<'de, D>(deserializer: D) -> Result<Option<IpAddr>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    let address = text.map(|text| text.parse());
    address
        .transpose()
        .map_err(|_| serde::de::Error::custom(NO_CLIENT_IP))
}

/// What is wrong with a `client_ip` that is no address.
pub const NO_CLIENT_IP: &str = "client_ip: an IPv4 or IPv6 address, as 203.0.113.7 or 2001:db8::7";
