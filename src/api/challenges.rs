//! Rounds that an application begins itself, how these and challenges of logins stand, and what gateways bring.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::call::{Access, ChallengeName, InboundMedium, calls};
use crate::api::{Answered, entries, in_clear, unless_null};
use crate::secret::SecretString;

calls! {
    /// Begins a round: sends a code, draws the cells of a card, or shows digits that the person sends.
    ///
    /// The answer looks the same whether or not there is such a user or telephone. An earlier code that
    /// is still good stays good when no further message may leave, at the client that asked for it: a round that
    /// another client begins meanwhile cannot be finished. A retry with the same `Idempotency-Key` begins
    /// nothing: it gets the first answer.
    BeginChallenge = begin: POST "/v1/challenges" in "verify" for Access::Verify,
        body ChallengeRequest,
        201 "Begun": ChallengeBegun => idempotent();

    /// How a round stands, or a challenge of `POST /v1/verify`.
    ///
    /// `accepted` means of an inbound round that the person answered on the other channel in this round; that alone
    /// is no login. The login is finished by `POST /v1/verify` with this challenge, which consumes the answer once.
    /// Of other challenges it means that the right answer came by `POST /v1/verify`. With `Prefer: status`
    /// `accepted` is 200 and everything else 401. `POST /v1/challenges` decides nothing: for any name it is
    /// 201, or for any name a failure.
    ShowChallenge = standing: GET "/v1/challenges/{id}" in "verify" for Access::Verify,
        at ChallengeName, query Answered,
        200 "How it stands": ChallengeStanding, yes |answer| answer.status == "accepted"
        => by_status("every standing but `accepted`")
        => fails(&[(404, "This client has no such round")]);

    /// Takes a text message from a person, or the keys pressed in a call.
    TakeInbound = take: POST "/v1/inbound/{medium}" in "gateways" for Access::Gateway,
        at InboundMedium, body InboundMessage,
        200 "Taken": InboundTaken;
}

/// `POST /v1/challenges`: begins a round without a first factor.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChallengeRequest {
    /// `name`, `name@realm` or `DOMAIN\name`.
    pub user: String,
    /// `sms`, `email`, `voice` or `card`.
    pub factor: String,
    /// `code` (we send, the person types; the default) or `inbound` (we show, the person sends it by
    /// text message, or keys it in when called).
    pub way: Option<String>,
    /// Where the person is.
    #[schema(value_type = Option<String>)]
    pub client_ip: Option<IpAddr>,
    /// The application's own words, for policy rules.
    #[serde(default, deserialize_with = "entries")]
    #[schema(nullable)]
    pub context: BTreeMap<String, String>,
}

/// A round that was begun. It looks the same whether or not it can be finished.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ChallengeBegun {
    /// For `GET /v1/challenges/{id}`, and the field `challenge` of `POST /v1/verify`.
    pub id: String,
    /// The factor that is asked for.
    pub factor: String,
    /// How to ask the person.
    pub prompt: String,
    /// Digits to show, of an inbound round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    /// Seconds in which an answer is awaited.
    pub expires_in: u64,
    /// Names the request in the audit.
    pub request_id: String,
}

/// How a round stands.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ChallengeStanding {
    /// `pending`, `accepted`, `declined` or `expired`. A wrong answer leaves it `pending`, since whether it was
    /// compared depends on whether there is such a user: `declined` is not told by this version. An inbound
    /// round that is accepted is no login before `POST /v1/verify` with its id and the other factors. What was
    /// accepted may be `expired` some time after `expires_in`.
    pub status: String,
}

/// What a gateway brings to `POST /v1/inbound/{medium}`.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InboundMessage {
    /// The gateway's name of the message, the same when it is brought again. Without one a message that is
    /// signed anew is a new one.
    #[serde(default, deserialize_with = "unless_null")]
    #[schema(nullable)]
    pub id: String,
    /// The number it came from: with its country, or as it is dialled in that of `limits.delivery_home`.
    pub from: String,
    /// What was written, or which keys were pressed.
    #[schema(value_type = String)]
    #[serde(serialize_with = "in_clear")]
    pub text: SecretString,
}

/// That it was taken. What it did is in the audit.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct InboundTaken {
    /// Always true.
    pub taken: bool,
    /// Names the request in the audit.
    pub request_id: String,
}
