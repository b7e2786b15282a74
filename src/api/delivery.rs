//! Gateways that carry messages.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::call::{ADMIN, AUDITOR, GatewayName, calls};

calls! {
    /// Gateways and how they are.
    ListGateways = list_gateways: GET "/v1/admin/delivery" in "delivery" for AUDITOR,
        200 "All of them, in the order in which they are asked": Gateways;

    /// Sends a test message through one gateway, whatever its breaker says, and shows what it answers.
    TestGateway = try_gateway: POST "/v1/admin/delivery/{name}/test" in "delivery" for ADMIN,
        at GatewayName, body TryGateway,
        200 "What it answered": GatewayTried;
}

/// The configured gateways.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Gateways {
    /// In the order in which they are asked.
    pub gateways: Vec<Gateway>,
}

/// How a gateway is.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Gateway {
    /// Its name.
    pub name: String,
    /// What it carries: `sms`, `email`, `voice`.
    pub media: Vec<String>,
    /// Whether it is asked: `closed` (it is), `open` (not after too many failures), `half-open`
    /// (one message tries it).
    pub breaker: String,
    /// Messages being handed over now.
    pub in_flight: usize,
    /// Messages it has taken since start.
    pub sent: u64,
    /// Attempts that failed since start.
    pub failed: u64,
    /// What the last failure was; absent after a success.
    pub last_error: Option<String>,
}

/// A message that tries a gateway.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TryGateway {
    /// Phone number or mail address.
    pub to: String,
    /// `sms`, `email` or `voice`; without: what the address and the gateway allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<String>,
    /// `en` or `ko`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// What a gateway answered.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct GatewayTried {
    /// The gateway.
    pub gateway: String,
    /// How it went: `sms`, `email` or `voice`.
    pub medium: String,
    /// Where it went, most of it hidden.
    pub to: String,
    /// Whether the gateway took the message.
    pub taken: bool,
    /// What the gateway calls it.
    pub reference: Option<String>,
    /// Why it was not taken.
    pub error: Option<String>,
    /// The beginning of the gateway's answer.
    pub answer: Option<String>,
}
