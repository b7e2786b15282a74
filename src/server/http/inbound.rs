//! `POST /v1/inbound/{medium}`: what gateways bring, signed.
//!
//! ```text
//! Oncegate-Signature: t=1795000000,v1=HEX
//! HEX = HMAC-SHA-256(secret of `http.inbound_secret_file`, "1795000000." + body)
//! ```
//!
//! Threats: whoever could post here would answer for any telephone. Without a secret the routes do
//! not exist; a signature is good for five minutes. A message brought again under its `id` does nothing
//! new: the last thousand are remembered, so that a wrong answer counts once.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Path;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::response::Response;
use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use sha2::Sha256;

use crate::api;
use crate::api::Problem;
use crate::config::HTTP_BODY;
use crate::model::message::Medium;
use crate::secret::SecretString;
use crate::server::http::App;
use crate::server::http::answer;
use crate::server::http::body;
use crate::server::http::error::Failure;
use crate::service::inbound::Inbound;
use crate::time::UnixTime;

/// Takes a text message from a person, or the keys pressed in a call.
#[utoipa::path(
    post,
    path = "/v1/inbound/{medium}",
    tag = "gateways",
    params(
        ("medium" = String, Path, description = "`sms` or `voice`"),
        ("Oncegate-Signature" = String, Header, description = "`t=UNIX,v1=HEX`"),
    ),
    request_body = api::InboundMessage,
    responses(
        (status = 200, description = "Taken", body = api::InboundTaken),
        (status = 401, description = "Not signed, or too old", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn take(
    State(app): State<Arc<App>>,
    Path(medium): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let medium = match medium.as_str() {
        "sms" => Medium::Sms,
        "voice" => Medium::Voice,
        _ => return Err(Failure::missing("medium; `sms` or `voice`")),
    };
    let (id, at) = app.service().arrival()?;
    let secret = app
        .inbound_secret()
        .ok_or_else(|| Failure::missing("route"))?;
    let (parts, body) = request.into_parts();
    let headers = parts.headers;
    if !headers.contains_key(HEADER) {
        return Err(Failure::NoKey);
    }
    let octets = body::read(body, HTTP_BODY, &app).await?;
    let signed = signed(&headers, &octets, &secret, at);
    if !signed {
        return Err(Failure::NoKey);
    }
    let message: api::InboundMessage = body::parse(&octets)?;
    let inbound = Inbound {
        id,
        at,
        deadline: at.plus(app.limits().request_timeout),
        medium,
        from: &message.from,
        text: &message.text,
    };
    if app.brought(&message.id) {
        tracing::info!(%id, "a message that a gateway brought before");
    } else {
        let effect = app.service().inbound(&inbound).await;
        if effect.is_err() {
            app.forget_brought(&message.id);
        }
        let effect = effect?;
        tracing::info!(%id, ?effect, "taken from a gateway");
    }
    let taken = api::InboundTaken {
        taken: true,
        request_id: id.to_string(),
    };
    Ok(answer::json(StatusCode::OK, &taken))
}

fn signed(headers: &HeaderMap, body: &[u8], secret: &SecretString, now: UnixTime) -> bool {
    let mut values = headers.get_all(HEADER).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    let (Some(value), None) = (value, values.next()) else {
        return false;
    };
    let Some((time, mac)) = value.split_once(',') else {
        return false;
    };
    let time = time.trim().strip_prefix("t=");
    let mac = mac.trim().strip_prefix("v1=");
    let mac = mac.and_then(|hex| {
        data_encoding::HEXLOWER_PERMISSIVE
            .decode(hex.as_bytes())
            .ok()
    });
    let (Some(time), Some(mac)) = (time, mac) else {
        return false;
    };
    let Some(at) = time.parse().ok().map(UnixTime::from_secs) else {
        return false;
    };
    let Ok(mut expected) = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.expose().as_bytes())
    else {
        return false;
    };
    expected.update(time.as_bytes());
    expected.update(b".");
    expected.update(body);
    let fresh = now.since(at).max(at.since(now)) <= SKEW;
    expected.verify_slice(&mac).is_ok() && fresh
}

const HEADER: &str = "oncegate-signature";
/// How old a signature may be: a gateway that tries again signs again.
const SKEW: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);
    const BODY: &[u8] = br#"{"from":"+821012345678","text":"48"}"#;

    fn header(secret: &str, time: &str, body: &[u8]) -> String {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{time}.").as_bytes());
        mac.update(body);
        let hex = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
        format!("t={time},v1={hex}")
    }

    fn is_signed(value: &str, now: UnixTime) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, value.parse().unwrap());
        signed(&headers, BODY, &SecretString::from("secret"), now)
    }

    #[test]
    fn only_the_gateway_signs() {
        let good = header("secret", "1795000000", BODY);
        assert!(is_signed(&good, NOW));
        assert!(is_signed(
            &good
                .to_uppercase()
                .replace("T=", "t=")
                .replace("V1=", "v1="),
            NOW
        ));
        for bad in [
            header("other", "1795000000", BODY),
            header("secret", "1795000000", b"{}"),
            good.replace("t=1795000000", "t=1795000001"),
            good.replace("v1=", "v2="),
            "t=1795000000".to_owned(),
            "t=1795000000,v1=".to_owned(),
            String::new(),
        ] {
            assert!(!is_signed(&bad, NOW), "{bad}");
        }
    }

    #[test]
    fn a_signature_is_good_for_five_minutes() {
        let good = header("secret", "1795000000", BODY);
        for (secs, fresh) in [(300, true), (301, false)] {
            let later = NOW.plus(Duration::from_secs(secs));
            assert_eq!(is_signed(&good, later), fresh);
        }
        let ahead = header("secret", "1795000301", BODY);
        assert!(!is_signed(&ahead, NOW));
    }
}
