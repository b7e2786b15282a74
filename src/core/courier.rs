//! Who carries messages to people: SMS, mail and voice gateways, seen from the decisions.
//!
//! The service knows this trait only; gateways, sockets and protocols are behind it. [`NoCourier`]
//! stands in where none is configured.
//!
//! Invariants: [`Courier::check`] needs no network and tells what the configuration cannot do at
//! all, so that no one is promised a message that will never leave. A message keeps its id over all
//! retries and gateways. Errors hold no text, no code and no secret.
//!
//! Threat: premium numbers abroad are called at our expense (toll fraud); `check` knows which
//! countries are served.

use std::future::Future;
use std::pin::Pin;

use crate::model::message::{AddressError, Medium, Message};

/// What a courier answers in its own time.
pub type Delivering<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Carries messages.
pub trait Courier: Send + Sync + 'static {
    /// Whether a message could be sent there: a gateway for the medium exists, the address is well
    /// formed, its country is served. Asks no one.
    fn check(&self, medium: Medium, to: &str) -> Result<(), Undeliverable>;

    /// Tries the gateways of the medium in order until one takes the message or the time for it
    /// ends. The address may be written as people write it.
    fn deliver(&self, message: Message) -> Delivering<'_, Result<Delivered, DeliveryError>>;

    /// Tries this one gateway once, for an administrator who wants to see what it answers.
    fn try_gateway(
        &self,
        name: &str,
        message: Message,
    ) -> Delivering<'_, Result<Trial, DeliveryError>> {
        let (name, _) = (name.to_owned(), message);
        Box::pin(async move { Err(DeliveryError::UnknownGateway(name)) })
    }

    /// Every gateway, in the order of preference.
    fn gateways(&self) -> Vec<GatewayStatus>;
}

/// A message was taken by a gateway. Whether it reached the person only the gateway knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivered {
    /// The gateway that took it.
    pub gateway: String,
    /// What the gateway calls it, if it says so.
    pub reference: Option<String>,
}

/// What one gateway answered to one message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trial {
    /// Where the message went, most of it hidden.
    pub to: String,
    /// What became of it.
    pub outcome: Result<Delivered, String>,
    /// The beginning of what the gateway said, without secrets.
    pub answer: Option<String>,
}

/// Why no message can be sent there, whatever the gateways do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Undeliverable {
    /// No gateway is configured for the medium.
    #[error("no gateway delivers {0} messages")]
    NoGateway(Medium),
    /// The address is none.
    #[error("the {medium} address is not well formed: {fault}")]
    Address {
        /// Of what.
        medium: Medium,
        /// What is wrong with it.
        fault: AddressError,
    },
    /// The number is in a country that is not served.
    #[error("numbers of that country are not served")]
    Country,
}

impl Undeliverable {
    /// What to do next.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NoGateway(_) => {
                "configure one as [delivery.NAME] in oncegate.toml with this medium under `media`"
            }
            Self::Address { .. } => {
                "correct it with `oncegate user set`; \
                 `limits.delivery_home` is the country of numbers without one"
            }
            Self::Country => "add its prefix, as \"+82\", to `limits.delivery_countries`",
        }
    }
}

/// Why a message was not delivered.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DeliveryError {
    /// It could not be sent at all.
    #[error(transparent)]
    Undeliverable(#[from] Undeliverable),
    /// Every gateway of the medium was tried, or is not to be tried now.
    #[error("no gateway took the message: {}", told(.0))]
    Failed(Vec<Failure>),
    /// The time for delivering ended. A gateway may have taken it without saying so.
    #[error("the time for delivering is over: {}", told(.0))]
    Late(Vec<Failure>),
    /// There is no gateway of that name.
    #[error("there is no gateway `{0}`")]
    UnknownGateway(String),
}

/// What one gateway did not do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The gateway.
    pub gateway: String,
    /// Why; without secrets.
    pub error: String,
}

fn told(failures: &[Failure]) -> String {
    let told: Vec<String> = failures
        .iter()
        .map(|failure| format!("{}: {}", failure.gateway, failure.error))
        .collect();
    if told.is_empty() {
        return "none was asked".to_owned();
    }
    told.join("; ")
}

/// How a gateway is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GatewayStatus {
    /// Its name.
    pub name: String,
    /// What it carries.
    pub media: Vec<Medium>,
    /// Whether it is asked.
    pub breaker: BreakerState,
    /// Messages it is being asked to take now.
    pub in_flight: usize,
    /// Messages it has taken since start.
    pub sent: u64,
    /// Attempts that failed since start.
    pub failed: u64,
    /// What the last failure was, without secrets; cleared by the next success.
    pub last_error: Option<String>,
}

words! {
    /// Whether a gateway is asked.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum BreakerState {
        /// It is.
        Closed = "closed",
        /// It failed too often: it is not, until a pause is over.
        Open = "open",
        /// The pause is over: one message tries it.
        HalfOpen = "half-open",
    }
}

/// No one: where no gateway is configured.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCourier;

impl Courier for NoCourier {
    fn check(&self, medium: Medium, _: &str) -> Result<(), Undeliverable> {
        Err(Undeliverable::NoGateway(medium))
    }

    fn deliver(&self, message: Message) -> Delivering<'_, Result<Delivered, DeliveryError>> {
        let error = Undeliverable::NoGateway(message.medium).into();
        Box::pin(async move { Err(error) })
    }

    fn gateways(&self) -> Vec<GatewayStatus> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_one_carries_messages_it_is_said_how_to_change_that() {
        let error = NoCourier.check(Medium::Sms, "+821012345678").unwrap_err();
        assert_eq!(error.to_string(), "no gateway delivers sms messages");
        assert!(error.remedy().contains("[delivery.NAME]"));
        assert!(NoCourier.gateways().is_empty());
    }

    #[test]
    fn a_failure_names_every_gateway() {
        let failure = |gateway: &str, error: &str| Failure {
            gateway: gateway.to_owned(),
            error: error.to_owned(),
        };
        let error = DeliveryError::Failed(vec![failure("a", "HTTP 500"), failure("b", "busy")]);
        let wanted = "no gateway took the message: a: HTTP 500; b: busy";
        assert_eq!(error.to_string(), wanted);
        let late = DeliveryError::Late(Vec::new()).to_string();
        assert!(late.ends_with("none was asked"), "{late}");
    }
}
