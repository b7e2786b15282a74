//! `/v1/device/*`: the protocol of enrolled devices. For authors of apps it is
//! [a page of the manual](crate::manual::device_protocol), byte for byte.
//!
//! Sources: RFC 9421 (HTTP Message Signatures), RFC 9530 (Content-Digest), RFC 7638 (thumbprint);
//! what of them is used, and how, is in [`crate::signature`].
//!
//! Invariants: every 401 is the same octets whatever the cause, and so is every refused code, which
//! leaves at the policy's reject delay after arrival; causes are in the log, the metrics and the
//! audit. A code shares its place with others of its token: `otp` voids a transfer code and the
//! other way round.
//!
//! Threats T12, T13, T20, T38 (capabilities A1, A2, C6): guessed codes, stolen and replayed
//! requests, keys of other users, devices of other users.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::AdminError;
use crate::admin::devices::{DeviceCode, DeviceError, check_name};
use crate::api;
use crate::api::Problem;
use crate::login::redeem::{Redeemed, Redemption};
use crate::model::device::DeviceId;
use crate::model::id::Serial;
use crate::model::source::Source;
use crate::server::http::caller::Arrival;
use crate::server::http::device::signed::{Arrived, Signed, refuse};
use crate::server::http::error::Failure;
use crate::server::http::origin::Origin;
use crate::server::http::{App, answer, forms};
use crate::signature::SignatureError;
use crate::signature::key::{KeyAlgorithm, PublicKey};

mod signed;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(enroll))
        .routes(routes!(otp))
        .routes(routes!(pending))
        .routes(routes!(show, rename))
        .routes(routes!(revoke))
        .routes(routes!(transfer))
        .routes(routes!(renew))
}

/// A device redeems an enrolment code, or the transfer code of another device, with its key.
///
/// Signed by the key that is enrolled. A refusal looks the same whatever the cause.
#[utoipa::path(
    post,
    path = "/v1/device/enroll",
    tag = "device",
    security(("device" = [])),
    request_body = api::DeviceEnrol,
    responses(
        (status = 201, description = "Enrolled", body = api::DeviceEnrolled),
        (status = 400, description = "Malformed", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "Not signed by the key that is sent, or not now",
         body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The code was refused, or something is in the way",
         body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many enrolments, from one address or in all", body = Problem,
         content_type = "application/problem+json"),
        (status = 503, description = "No decision can be made; nothing was counted", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn enroll(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    Extension(origin): Extension<Origin>,
    arrived: Arrived,
) -> Result<Response, Failure> {
    let from = origin.address;
    if !app
        .enrolments()
        .take(from.map(Source::from), Instant::now())
    {
        return Err(Failure::TooManyEnrolments);
    }
    let refused = |error: SignatureError| refuse(&app, error.as_str());
    let claimed = arrived.claimed().map_err(refused)?;
    let wanted: api::DeviceEnrol = arrived.json()?;
    check_name(&wanted.name)?;
    let algorithm: KeyAlgorithm = wanted
        .algorithm
        .parse()
        .map_err(|_| Failure::malformed("algorithm: one of ed25519, ecdsa-p256-sha256"))?;
    let key = PublicKey::parse_base64url(algorithm, &wanted.public_key)
        .map_err(|error| Failure::malformed(format!("public_key: {error}")))?;
    // Proof of possession: nobody enrols somebody else's key.
    let verified = arrived.verify(&claimed, &key, arrival.at);
    let verified = verified.map_err(refused)?;
    let redemption = Redemption {
        request: arrival.id,
        at: arrival.at,
        deadline: arrival.at.plus(app.limits().request_timeout),
        // Of this machine, a proxy that is not listed included, nothing is known.
        source: from.filter(|from| !from.is_loopback()),
        user: &wanted.user,
        code: &wanted.code,
        id: signed::id(&verified.keyid).ok_or(Failure::Internal)?,
        name: wanted.name,
        algorithm: algorithm.as_str(),
        public_key: key.encode(),
    };
    let turn = app.any_turn()?;
    match app
        .service()
        .login
        .redeem(&redemption)
        .await
        .map_err(undecided)?
    {
        Redeemed::Bound(bound) => {
            let (device, token) = *bound;
            let enrolled = api::DeviceEnrolled {
                device: device.id.to_string(),
                user: device.user.to_string(),
                name: device.name,
                token: forms::device_token(&token, arrival.at),
            };
            Ok(answer::json(StatusCode::CREATED, &enrolled))
        }
        Redeemed::Refused { delay, .. } => {
            turn.hold(arrival.instant, delay).await;
            Err(Failure::Refused(REFUSED.to_owned()))
        }
        Redeemed::Hindered(why) => Err(Failure::Conflict(why.into())),
    }
}

/// A new code, for the person's eyes. It voids the one before.
#[utoipa::path(
    post,
    path = "/v1/device/otp",
    tag = "device",
    security(("device" = [])),
    request_body(content = Option<api::DeviceCodeWanted>),
    responses(
        (status = 200, description = "The code", body = api::DeviceCode),
        (status = 401, description = "Not taken", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn otp(State(app): State<Arc<App>>, signed: Signed) -> Result<Response, Failure> {
    let wanted: api::DeviceCodeWanted = signed.arrived.optional_json()?;
    let serial = serial(wanted.serial.as_deref())?;
    let (client, uv) = (wanted.client.as_deref(), wanted.uv.as_deref());
    if uv.is_some_and(|uv| !["bio", "pin", "none"].contains(&uv)) {
        return Err(Failure::malformed("uv: one of bio, pin, none"));
    }
    let code = app
        .service()
        .admin
        .device_code(&signed.asking, serial.as_ref(), client, uv)
        .await;
    let code = code.map_err(|error| tell(&app, error))?;
    Ok(answer::json(StatusCode::OK, &given(&code)))
}

/// A code of 12 digits by which another device takes over.
///
/// It takes the place of a live code of the token. When it is redeemed this device is revoked.
#[utoipa::path(
    post,
    path = "/v1/device/transfer",
    tag = "device",
    security(("device" = [])),
    request_body(content = Option<api::DeviceTokenWanted>),
    responses(
        (status = 200, description = "The code", body = api::DeviceCode),
        (status = 401, description = "Not taken", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn transfer(
    State(app): State<Arc<App>>,
    signed: Signed,
) -> Result<Response, Failure> {
    let wanted: api::DeviceTokenWanted = signed.arrived.optional_json()?;
    let serial = serial(wanted.serial.as_deref())?;
    let code = app
        .service()
        .admin
        .transfer_code(&signed.asking, serial.as_ref())
        .await;
    let code = code.map_err(|error| tell(&app, error))?;
    Ok(answer::json(StatusCode::OK, &given(&code)))
}

/// Gives the device's token a new end, within the policy's window before the present one.
#[utoipa::path(
    post,
    path = "/v1/device/renew",
    tag = "device",
    security(("device" = [])),
    request_body(content = Option<api::DeviceTokenWanted>),
    responses(
        (status = 200, description = "The token", body = api::DeviceToken),
        (status = 401, description = "Not taken", body = Problem,
         content_type = "application/problem+json"),
        (status = 409, description = "Not now", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn renew(
    State(app): State<Arc<App>>,
    signed: Signed,
) -> Result<Response, Failure> {
    let wanted: api::DeviceTokenWanted = signed.arrived.optional_json()?;
    let serial = serial(wanted.serial.as_deref())?;
    let token = app
        .service()
        .admin
        .renew_carried(&signed.asking, serial.as_ref())
        .await;
    let token = token.map_err(|error| tell(&app, error))?;
    let token = forms::device_token(&token, signed.asking.at);
    Ok(answer::json(StatusCode::OK, &token))
}

/// What waits for the user: the device's tokens, and live codes of the user's others.
#[utoipa::path(
    get,
    path = "/v1/device/pending",
    tag = "device",
    security(("device" = [])),
    responses(
        (status = 200, description = "What waits", body = api::DevicePending),
        (status = 401, description = "Not taken", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn pending(
    State(app): State<Arc<App>>,
    Signed { asking, .. }: Signed,
) -> Result<Response, Failure> {
    let waiting = app.service().admin.waiting(&asking).await;
    let waiting = waiting.map_err(|error| tell(&app, error))?;
    let tokens = waiting.tokens.iter();
    let pending = api::DevicePending {
        user: asking.device.user.to_string(),
        tokens: tokens
            .map(|token| forms::device_token(token, asking.at))
            .collect(),
        codes: waiting.codes.iter().map(forms::open_code).collect(),
    };
    Ok(answer::json(StatusCode::OK, &pending))
}

/// The device itself and the others of its user.
#[utoipa::path(
    get,
    path = "/v1/device",
    tag = "device",
    security(("device" = [])),
    responses(
        (status = 200, description = "All of them", body = api::Devices),
        (status = 401, description = "Not taken", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Signed { asking, .. }: Signed,
) -> Result<Response, Failure> {
    let all = app.service().admin.siblings(&asking).await;
    let all = all.map_err(|error| tell(&app, error))?;
    let devices = all.iter().map(|(device, state)| api::Device {
        this: Some(device.id == asking.device.id),
        ..forms::device(device, state)
    });
    let devices = devices.collect();
    Ok(answer::json(StatusCode::OK, &api::Devices { devices }))
}

/// The device gives itself another name.
#[utoipa::path(
    patch,
    path = "/v1/device",
    tag = "device",
    security(("device" = [])),
    request_body = api::DeviceRename,
    responses(
        (status = 204, description = "Done"),
        (status = 401, description = "Not taken", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn rename(
    State(app): State<Arc<App>>,
    signed: Signed,
) -> Result<StatusCode, Failure> {
    let wanted: api::DeviceRename = signed.arrived.json()?;
    let renamed = app
        .service()
        .admin
        .rename_itself(&signed.asking, wanted.name)
        .await;
    renamed.map_err(|error| tell(&app, error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the device itself or another one of its user, with all tokens that it carries.
#[utoipa::path(
    delete,
    path = "/v1/device/{id}",
    tag = "device",
    security(("device" = [])),
    params(("id" = String, Path, description = "Which device")),
    responses(
        (status = 204, description = "Revoked"),
        (status = 401, description = "Not taken", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Signed { asking, .. }: Signed,
) -> Result<StatusCode, Failure> {
    let id: DeviceId = id.parse().map_err(|_| Failure::missing("device"))?;
    let revoked = app.service().admin.revoke_by_device(&asking, &id).await;
    revoked.map_err(|error| tell(&app, error))?;
    Ok(StatusCode::NO_CONTENT)
}

fn given(code: &DeviceCode) -> api::DeviceCode {
    api::DeviceCode {
        code: code.text.expose().to_owned(),
        serial: code.serial.to_string(),
        expires: code.expires.rfc3339(),
        expires_in: code.life.as_secs(),
    }
}

fn serial(text: Option<&str>) -> Result<Option<Serial>, Failure> {
    let serial = text.map(str::parse).transpose();
    serial.map_err(|_| Failure::missing("token"))
}

/// A failed request of a device.
fn tell(app: &App, error: DeviceError) -> Failure {
    match error {
        DeviceError::NotTaken => refuse(app, "taken_before"),
        DeviceError::Refused(AdminError::Core(error)) => undecided(error),
        DeviceError::Refused(error) => error.into(),
        DeviceError::State { what, next } => Failure::Conflict(what).advise(next),
    }
}

/// A device hears no cause.
#[allow(clippy::needless_pass_by_value)] // for `map_err`
fn undecided(error: crate::core::CoreError) -> Failure {
    tracing::warn!(%error, "a device's request is not decided");
    Failure::Unavailable("try again, or ask another server".into())
}

const REFUSED: &str = "the code is wrong, used up or too old, or there were too many wrong ones; \
                       ask for a new code";
