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

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::admin::AdminError;
use crate::admin::devices::{Asking, DeviceCode, DeviceError, OpenCode, check_name};
use crate::api::forms;
use crate::api::{
    self, AskForCode, CarryTotp, EnrolDevice, ListOwnDevices, RenameOwnDevice, RenewOwnToken,
    RevokeOwnDevice, ShowPending, TransferDevice,
};
use crate::login::redeem::{Redeemed, Redemption};
use crate::model::id::Serial;
use crate::model::user_key::UserKey;
use crate::otpauth::encode_base32;
use crate::server::http::caller::Arrival;
use crate::server::http::device::signed::{Enrolling, Signed, refuse};
use crate::server::http::error::Failure;
use crate::server::http::route::{Credential as _, Received, Routes};
use crate::server::http::{App, body};
use crate::time::UnixTime;

mod signed;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .on(enrol)
        .on(otp)
        .on(totp)
        .on(pending)
        .on(list)
        .on(rename)
        .on(revoke)
        .on(transfer)
        .on(renew)
}

async fn enrol(
    app: Arc<App>,
    call: Received<EnrolDevice, Enrolling>,
) -> Result<api::DeviceEnrolled, Failure> {
    let Enrolling {
        arrival,
        address,
        id,
        algorithm,
        key,
    } = call.from;
    let wanted = call.body;
    check_name(&wanted.name)?;
    let redemption = Redemption {
        request: arrival.id,
        at: arrival.at,
        deadline: arrival.at.plus(app.limits().request_timeout),
        // Of this machine, a proxy that is not listed included, nothing is known.
        source: address.filter(|address| !address.is_loopback()),
        user: &wanted.user,
        code: &wanted.code,
        id,
        name: wanted.name,
        algorithm: algorithm.as_str(),
        public_key: key.encode(),
    };
    let turn = app.any_turn()?;
    match app.login().redeem(&redemption).await.map_err(undecided)? {
        Redeemed::Bound(bound) => {
            let (device, token) = *bound;
            Ok(api::DeviceEnrolled {
                device: device.id.to_string(),
                user: device.user.to_string(),
                name: device.name,
                token: forms::device_token(&token, arrival.at),
            })
        }
        Redeemed::Refused { delay, .. } => {
            turn.hold(arrival.instant, delay).await;
            Err(Failure::refused(REFUSED))
        }
        Redeemed::Hindered(why) => Err(Failure::conflict(why)),
    }
}

/// The user whose device signed this request of the pages, which is taken once and on record.
pub(crate) async fn signed_user(app: &Arc<App>, request: Request) -> Result<UserKey, Response> {
    let signed = async {
        let (mut parts, body) = request.into_parts();
        let octets = body::read(body, LONGEST_SIGN_IN, app).await?;
        let (id, at) = app.core().arrival().map_err(undecided)?;
        let instant = Instant::now();
        parts.extensions.insert(Arrival { id, at, instant });
        let asking = Asking::of(app, &parts, &octets).await?;
        let user = app.admin().sign_in_by_device(&asking).await;
        user.map_err(|error| told(app, error))
    };
    signed.await.map_err(IntoResponse::into_response)
}

async fn otp(app: Arc<App>, call: Signed<AskForCode>) -> Result<api::DeviceCode, Failure> {
    let wanted = call.body;
    let serial = serial(wanted.serial.as_deref())?;
    let (client, uv) = (wanted.client.as_deref(), wanted.uv.as_deref());
    if uv.is_some_and(|uv| !["bio", "pin", "none"].contains(&uv)) {
        return Err(Failure::malformed("uv: one of bio, pin, none"));
    }
    let code = app
        .admin()
        .device_code(&call.from, serial.as_ref(), client, uv);
    let code = code.await.map_err(|error| told(&app, error))?;
    Ok(given(&code))
}

async fn transfer(app: Arc<App>, call: Signed<TransferDevice>) -> Result<api::DeviceCode, Failure> {
    let serial = serial(call.body.serial.as_deref())?;
    let code = app.admin().transfer_code(&call.from, serial.as_ref());
    let code = code.await.map_err(|error| told(&app, error))?;
    Ok(given(&code))
}

async fn totp(app: Arc<App>, call: Signed<CarryTotp>) -> Result<api::DeviceTotp, Failure> {
    let replaces = serial(call.body.replaces.as_deref())?;
    let token = app.admin().carried_totp(&call.from, replaces).await;
    let token = token.map_err(|error| told(&app, error))?;
    Ok(api::DeviceTotp {
        secret: encode_base32(token.key.expose()),
        algorithm: token.algorithm.to_string(),
        digits: token.digits.get(),
        period: token.period.as_secs().into(),
        token: forms::device_token(&token, call.from.at),
    })
}

async fn renew(app: Arc<App>, call: Signed<RenewOwnToken>) -> Result<api::DeviceToken, Failure> {
    let serial = serial(call.body.serial.as_deref())?;
    let token = app.admin().renew_carried(&call.from, serial.as_ref());
    let token = token.await.map_err(|error| told(&app, error))?;
    Ok(forms::device_token(&token, call.from.at))
}

async fn pending(app: Arc<App>, call: Signed<ShowPending>) -> Result<api::DevicePending, Failure> {
    let asking = call.from;
    let waiting = app.admin().waiting(&asking).await;
    let waiting = waiting.map_err(|error| told(&app, error))?;
    let tokens = waiting.tokens.iter();
    Ok(api::DevicePending {
        user: asking.device.user.to_string(),
        tokens: tokens
            .map(|token| forms::device_token(token, asking.at))
            .collect(),
        codes: waiting.codes.iter().map(open_code).collect(),
    })
}

async fn list(app: Arc<App>, call: Signed<ListOwnDevices>) -> Result<api::Devices, Failure> {
    let all = app.admin().siblings(&call.from).await;
    let all = all.map_err(|error| told(&app, error))?;
    let devices = all.iter().map(|(device, state)| api::Device {
        this: Some(device.id == call.from.device.id),
        ..forms::device(device, state)
    });
    Ok(api::Devices {
        devices: devices.collect(),
    })
}

async fn rename(app: Arc<App>, call: Signed<RenameOwnDevice>) -> Result<(), Failure> {
    let renamed = app.admin().rename_itself(&call.from, call.body.name);
    renamed.await.map_err(|error| told(&app, error))?;
    Ok(())
}

async fn revoke(app: Arc<App>, call: Signed<RevokeOwnDevice>) -> Result<(), Failure> {
    let revoked = app.admin().revoke_by_device(&call.from, &call.place);
    revoked.await.map_err(|error| told(&app, error))?;
    Ok(())
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
fn told(app: &App, error: DeviceError) -> Failure {
    match error {
        DeviceError::NotTaken => refuse(app, "taken_before"),
        DeviceError::Refused(AdminError::Core(error)) => undecided(error),
        DeviceError::Refused(error) => error.into(),
        DeviceError::State { what, next } => Failure::conflict(what).advise(next),
    }
}

/// A device is told no cause.
#[allow(clippy::needless_pass_by_value)] // for `map_err`
fn undecided(error: crate::core::CoreError) -> Failure {
    tracing::warn!(%error, "a device's request is not decided");
    Failure::unavailable("try again, or ask another server")
}

/// The body of a request by which a device's user signs in: `{}`.
const LONGEST_SIGN_IN: usize = 256;
const REFUSED: &str = "the code is wrong, used up or too old, or there were too many wrong ones; \
                       ask for a new code";

fn open_code(code: &OpenCode) -> api::DeviceOpenCode {
    api::DeviceOpenCode {
        serial: code.serial.to_string(),
        kind: code.kind.to_string(),
        way: code.way.as_str().to_owned(),
        to: code.to.clone(),
        expires: code.expires.map(UnixTime::rfc3339),
    }
}
