//! Delivery: messages leave through gateways that are configuration, not code.
//!
//! ```text
//! Message -> address (E.164, country) -> gateways of the medium, in order
//!   gateway:  breaker -> place (bulkhead) -> attempt, again on failure -> next gateway
//!   attempt:  resolve -> check address -> connect to that address -> TLS -> HTTP | SMTP
//! ```
//!
//! Invariants: a message keeps its id over all attempts and gateways. Gateways share nothing: one
//! that hangs fills its own places and then is passed over. Every attempt ends in its time, every
//! delivery in the budget. The report of a failure holds no text, code, address or secret
//! ([`answer::scrub`]).
//!
//! After a time-out it is not known whether the gateway took the message, and the next one is asked
//! all the same: two messages with one code are better than none.
//!
//! Threats T31: see [`crate::net::connect`]; redirects are never followed, answers are bounded.

use std::path::Path;
use std::sync::Arc;

use tokio::time::timeout;

use crate::config::delivery::{Delivery, Protocol};
use crate::core::courier::{
    Courier, Delivered, Delivering, DeliveryError, Failure, GatewayStatus, Trial, Undeliverable,
};
use crate::diagnostic::Diagnostic;
use crate::model::message::{Medium, Message, address};
use crate::net::connect::{Resolve, Way};
use crate::secret::SecretString;
use crate::time::Clock;

mod answer;
pub(crate) mod breaker;
mod gateway;
mod http;
mod smtp;

use gateway::{Gateway, Route};

/// The configured gateways.
pub struct Deliveries {
    plan: Delivery,
    gateways: Vec<Gateway>,
}

/// What gateways are given beside their configuration.
#[derive(Clone)]
pub struct Parts {
    /// For pauses of gateways that fail, and the dates of mails.
    pub clock: Arc<dyn Clock>,
    /// Finds the addresses of hosts.
    pub resolver: Arc<dyn Resolve>,
}

impl Deliveries {
    /// Reads the secrets and certificates that the configuration names. Every fault is reported.
    pub fn open(plan: &Delivery, parts: &Parts) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        let mut gateways = Vec::new();
        for gateway in &plan.gateways {
            match open(gateway, parts) {
                Ok(gateway) => gateways.push(gateway),
                Err((why, help)) => {
                    let message = format!("gateway `{}`: {why}", gateway.name);
                    faults.push(Diagnostic::error(message).help(help));
                }
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let plan = plan.clone();
        Ok(Self { plan, gateways })
    }

    /// The address in its one form, if a message can be sent there.
    fn address(&self, medium: Medium, to: &str) -> Result<String, Undeliverable> {
        let carries = |gateway: &Gateway| gateway.carries(medium);
        if !self.gateways.iter().any(carries) {
            return Err(Undeliverable::NoGateway(medium));
        }
        let to = address(medium, to, self.plan.home.as_deref())
            .map_err(|fault| Undeliverable::Address { medium, fault })?;
        let countries = &self.plan.countries;
        let served = || countries.iter().any(|prefix| to.starts_with(prefix));
        match medium {
            Medium::Sms | Medium::Voice if !served() => Err(Undeliverable::Country),
            _ => Ok(to),
        }
    }

    async fn carry(&self, mut message: Message) -> Result<Delivered, DeliveryError> {
        message.to = self.address(message.medium, &message.to)?;
        let mut failures = Vec::new();
        let attempts = async {
            for gateway in &self.gateways {
                if !gateway.carries(message.medium) {
                    continue;
                }
                match gateway.deliver(&message).await {
                    Ok(delivered) => return Some(delivered),
                    Err(error) => {
                        let gateway = gateway.name().to_owned();
                        tracing::warn!(gateway, error, "message not taken");
                        failures.push(Failure { gateway, error });
                    }
                }
            }
            None
        };
        match timeout(self.plan.budget, attempts).await {
            Ok(Some(delivered)) => Ok(delivered),
            Ok(None) => Err(DeliveryError::Failed(failures)),
            Err(_) => Err(DeliveryError::Late(failures)),
        }
    }

    async fn try_one(&self, name: &str, mut message: Message) -> Result<Trial, DeliveryError> {
        let gateway = self.gateways.iter().find(|gateway| gateway.name() == name);
        let gateway = gateway.ok_or_else(|| DeliveryError::UnknownGateway(name.to_owned()))?;
        if !gateway.carries(message.medium) {
            return Err(Undeliverable::NoGateway(message.medium).into());
        }
        message.to = self.address(message.medium, &message.to)?;
        Ok(gateway.try_once(&message).await)
    }
}

impl Courier for Deliveries {
    fn check(&self, medium: Medium, to: &str) -> Result<(), Undeliverable> {
        self.address(medium, to).map(|_| ())
    }

    fn deliver(&self, message: Message) -> Delivering<'_, Result<Delivered, DeliveryError>> {
        Box::pin(self.carry(message))
    }

    fn try_gateway(
        &self,
        name: &str,
        message: Message,
    ) -> Delivering<'_, Result<Trial, DeliveryError>> {
        let name = name.to_owned();
        Box::pin(async move { self.try_one(&name, message).await })
    }

    fn gateways(&self) -> Vec<GatewayStatus> {
        self.gateways.iter().map(Gateway::status).collect()
    }
}

fn open(
    gateway: &crate::config::delivery::Gateway,
    parts: &Parts,
) -> Result<Gateway, (String, &'static str)> {
    let secret = gateway.secret_file.as_deref().map(read_secret).transpose();
    let secret = secret.map_err(|why| {
        (
            why,
            "put the key or password into it, readable for the daemon",
        )
    })?;
    let way = Way::new(
        gateway.target.clone(),
        gateway.reach,
        gateway.ca_file.as_deref(),
        Arc::clone(&parts.resolver),
    )
    .map_err(|error| (error.to_string(), error.remedy()))?;
    let route = match &gateway.protocol {
        Protocol::Http(http) => Route::Http(Box::new(http::Route::new(http.clone(), way, secret))),
        Protocol::Smtp(smtp) => {
            let clock = Arc::clone(&parts.clock);
            let ca = gateway.ca_file.as_deref();
            let route = smtp::Route::new(smtp, way, ca, secret, clock);
            Route::Smtp(Box::new(
                route.map_err(|why| (why, "see `ca_file`, `host` and `from`"))?,
            ))
        }
    };
    Ok(Gateway::new(
        gateway.clone(),
        route,
        Arc::clone(&parts.clock),
    ))
}

/// The key or password in a file: one line.
pub(crate) fn read_secret(path: &Path) -> Result<SecretString, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map(SecretString::new);
    let text = text.map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let line = text.expose().trim_end_matches(['\r', '\n']);
    if line.trim().is_empty() {
        return Err(format!("{shown} is empty"));
    }
    if line.chars().any(char::is_control) {
        return Err(format!("{shown} does not hold one line"));
    }
    Ok(SecretString::from(line))
}
