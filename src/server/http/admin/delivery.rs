//! `/v1/admin/delivery`: the gateways that carry messages.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::api;
use crate::api::Problem;
use crate::core::courier::{DeliveryError, GatewayStatus};
use crate::model::message::{Medium, Message};
use crate::notice::Text;
use crate::secret::SecretString;
use crate::server::http::admin::{NamePath, word};
use crate::server::http::body::Json;
use crate::server::http::error::Failure;
use crate::server::http::{App, answer};

/// Gateways and how they are.
#[utoipa::path(
    get,
    path = "/v1/admin/delivery",
    tag = "delivery",
    responses(
        (status = 200, description = "All of them, in the order in which they are asked",
         body = api::Gateways),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_gateways(State(app): State<Arc<App>>) -> Response {
    let gateways = app.service().core.courier().gateways();
    let gateways = gateways.into_iter().map(shown).collect();
    answer::json(StatusCode::OK, &api::Gateways { gateways })
}

/// Sends a test message through one gateway, whatever its breaker says, and shows what it answers.
#[utoipa::path(
    post,
    path = "/v1/admin/delivery/{name}/test",
    tag = "delivery",
    params(("name" = String, Path, description = "Name of the gateway")),
    request_body = api::TryGateway,
    responses(
        (status = 200, description = "What it answered", body = api::GatewayTried),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn try_gateway(
    State(app): State<Arc<App>>,
    NamePath(name): NamePath,
    Json { value, .. }: Json<api::TryGateway>,
) -> Result<Response, Failure> {
    let courier = app.service().core.courier();
    let status = courier.gateways();
    let gateway = status.iter().find(|gateway| gateway.name == name);
    let gateway = gateway.ok_or_else(|| unknown(&name))?;
    let medium = match &value.medium {
        Some(text) => word("medium", text, "sms, email, voice")?,
        None => usual(gateway, &value.to),
    };
    let language = match &value.language {
        Some(text) => word("language", text, "en, ko")?,
        None => app.service().core.language(),
    };
    let (id, _) = app.service().core.arrival()?;
    let texts = app.service().core.texts();
    let message = Message {
        id: id.to_bytes(),
        medium,
        to: value.to,
        subject: texts.subject(language, medium, Text::TestMessage, &[]),
        text: texts.message(language, medium, &[Text::TestMessage], &[]),
        code: Some(SecretString::from(CODE)),
        language,
    };
    let tried = courier.try_gateway(&name, message).await;
    let tried = tried.map_err(|error| match error {
        DeliveryError::Undeliverable(error) => {
            Failure::malformed(format!("to: {error}")).advise(error.remedy())
        }
        DeliveryError::UnknownGateway(name) => unknown(&name),
        other => Failure::Unavailable(other.to_string().into()),
    })?;
    let (reference, error) = match tried.outcome {
        Ok(delivered) => (delivered.reference, None),
        Err(error) => (None, Some(error)),
    };
    let tried = api::GatewayTried {
        gateway: name,
        medium: medium.to_string(),
        to: tried.to,
        taken: error.is_none(),
        reference,
        error,
        answer: tried.answer,
    };
    Ok(answer::json(StatusCode::OK, &tried))
}

fn shown(gateway: GatewayStatus) -> api::Gateway {
    api::Gateway {
        name: gateway.name,
        media: gateway.media.iter().map(ToString::to_string).collect(),
        breaker: gateway.breaker.as_str().to_owned(),
        in_flight: gateway.in_flight,
        sent: gateway.sent,
        failed: gateway.failed,
        last_error: gateway.last_error,
    }
}

/// What the gateway carries to such an address.
fn usual(gateway: &GatewayStatus, to: &str) -> Medium {
    let is_mail = to.contains('@');
    let mut media = gateway.media.iter().copied();
    let fits = media.find(|medium| (*medium == Medium::Email) == is_mail);
    fits.unwrap_or(if is_mail { Medium::Email } else { Medium::Sms })
}

fn unknown(name: &str) -> Failure {
    Failure::missing("gateway").advise(format!(
        "`oncegate delivery list` shows them; `[delivery.{name}]` in oncegate.toml makes one"
    ))
}

/// What a gateway that speaks digits says: no code of anybody.
const CODE: &str = "000000";
