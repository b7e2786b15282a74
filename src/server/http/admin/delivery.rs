//! `/v1/admin/delivery`: the gateways that carry messages.

use std::sync::Arc;

use crate::api::{self, ListGateways, TestGateway};
use crate::core::courier::{DeliveryError, GatewayStatus};
use crate::model::message::{Medium, Message};
use crate::notice::Text;
use crate::secret::SecretString;
use crate::server::http::App;
use crate::server::http::error::Failure;
use crate::server::http::read::word;
use crate::server::http::route::{Admin, Routes};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.on(list).on(test)
}

async fn list(app: Arc<App>, _: Admin<ListGateways>) -> Result<api::Gateways, Failure> {
    let gateways = app.core().courier().gateways();
    let gateways = gateways.into_iter().map(shown).collect();
    Ok(api::Gateways { gateways })
}

async fn test(app: Arc<App>, call: Admin<TestGateway>) -> Result<api::GatewayTried, Failure> {
    let name = call.place;
    let courier = app.core().courier();
    let status = courier.gateways();
    let gateway = status.iter().find(|gateway| gateway.name == name);
    let gateway = gateway.ok_or_else(|| Failure::missing("gateway"))?;
    let medium = match &call.body.medium {
        Some(text) => word("medium", text, "sms, email, voice")?,
        None => usual(gateway, &call.body.to),
    };
    let language = match &call.body.language {
        Some(text) => word("language", text, "en, ko")?,
        None => app.core().language(),
    };
    let (id, _) = app.core().arrival()?;
    let texts = app.core().texts();
    let message = Message {
        id: id.to_bytes(),
        medium,
        to: call.body.to,
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
        DeliveryError::UnknownGateway(_) => Failure::missing("gateway"),
        other => Failure::unavailable(other.to_string()),
    })?;
    let (reference, error) = match tried.outcome {
        Ok(delivered) => (delivered.reference, None),
        Err(error) => (None, Some(error)),
    };
    Ok(api::GatewayTried {
        gateway: name,
        medium: medium.to_string(),
        to: tried.to,
        taken: error.is_none(),
        reference,
        error,
        answer: tried.answer,
    })
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

/// The code in a test message: no code of any user.
const CODE: &str = "000000";
