//! `/enrol`: the page on which users take the key of their token over by a link.
//!
//! ```text
//! https://HOST/enrol#SERIAL.CODE   the part behind # stays in the browser: no log, proxy or Referer has it
//!   GET  /enrol, /enrol.js, /enrol.css
//!   POST /enrol/redeem    on a button, since programs that look into mails open links    once
//!   POST /enrol/device    the same, for the authenticator of the browser
//!   POST /enrol/confirm   the first code
//! ```
//!
//! Threats T12, T38: guessed and forwarded links. A code has 125 bits and is for one use; a refusal says nothing
//! of its cause. The page loads nothing from elsewhere, and is in no frame.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::admin::AdminError;
use crate::admin::links;
use crate::api::{self, ConfirmLink, EnrolByLink, RedeemLink, RedeemLinkByDevice};
use crate::model::id::Serial;
use crate::model::message::Medium;
use crate::model::source::Source;
use crate::model::token::LifeCycle;
use crate::model::user_key::UserKey;
use crate::otp::issued::grouped;
use crate::otpauth;
use crate::qr;
use crate::server::http::caller::{Arrival, Caller};
use crate::server::http::error::Failure;
use crate::server::http::offered::{camera_uri, label, otpauth_uri};
use crate::server::http::origin::Origin;
use crate::server::http::read::word;
use crate::server::http::route::{Credential, Received};
use crate::server::http::{App, tell};
use crate::store::By;
use crate::time::UnixTime;

/// A person with a link; its code is in the body.
pub(crate) struct Visitor {
    arrival: Arrival,
}

impl Credential for Visitor {
    async fn of(app: &Arc<App>, parts: &Parts, _: &[u8]) -> Result<Self, Failure> {
        let origin: Option<&Origin> = parts.extensions.get();
        let source = origin.and_then(|origin| origin.address).map(Source::from);
        if !app.links().take(source, Instant::now()) {
            return Err(Failure::TOO_MANY_ENROLMENTS);
        }
        let arrival = parts.extensions.get().copied().ok_or(Failure::INTERNAL)?;
        Ok(Self { arrival })
    }
}

impl Visitor {
    fn by(&self) -> By {
        By {
            request: self.arrival.id,
            actor: "link".to_owned(),
            person: None,
            at: self.arrival.at,
            limited: false,
        }
    }
}

pub(crate) async fn page(State(app): State<Arc<App>>) -> Response {
    let page = include_str!("enrol/page.html");
    if app.info().app_url.is_some() {
        let page = page.replacen("<body>", "<body data-browser>", 1);
        return file("text/html; charset=utf-8", page);
    }
    file("text/html; charset=utf-8", page)
}

pub(crate) async fn script() -> Response {
    file(
        "text/javascript; charset=utf-8",
        include_str!("enrol/page.js"),
    )
}

pub(crate) async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("enrol/page.css"))
}

fn file(kind: &'static str, text: impl Into<Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, text.into()).into_response()
}

pub(crate) async fn redeem(
    app: Arc<App>,
    call: Received<RedeemLink, Visitor>,
) -> Result<api::LinkRedeemed, Failure> {
    let serial = serial(&call.body.serial)?;
    let by = call.from.by();
    let redeemed = app.admin().redeem_link(&serial, &call.body.code, by).await;
    let Some((token, _)) = redeemed? else {
        return Err(Failure::refused(REFUSED));
    };
    let uri = otpauth_uri(&app, &token, None);
    let drawn = qr::Matrix::of(uri.expose()).map_err(|_| Failure::INTERNAL)?;
    let label = label(&app, &token);
    let first_use = token.enrolment.first_use_until;
    let pending = token.state == LifeCycle::Pending;
    let first_use = first_use.filter(|_| pending);
    Ok(api::LinkRedeemed {
        serial: token.serial.to_string(),
        issuer: label.issuer().unwrap_or_default().to_owned(),
        account: label.account().to_owned(),
        state: token.state.to_string(),
        must_confirm: pending && first_use.is_none(),
        first_use_until: first_use.map(UnixTime::rfc3339),
        secret: otpauth::encode_base32(token.key.expose())
            .expose()
            .to_owned(),
        otpauth_uri: uri.expose().to_owned(),
        qr_side: drawn.drawn_side(),
        qr_path: drawn.path(),
    })
}

pub(crate) async fn redeem_by_device(
    app: Arc<App>,
    call: Received<RedeemLinkByDevice, Visitor>,
) -> Result<api::LinkForDevice, Failure> {
    let serial = serial(&call.body.serial)?;
    let by = call.from.by();
    let at = by.at;
    let Some(url) = app.info().app_url.clone() else {
        return Err(Failure::forbidden(
            "there is no authenticator in the browser here: use an authenticator app",
        ));
    };
    let redeemed = app
        .admin()
        .redeem_link_by_device(&serial, &call.body.code, by)
        .await;
    let Some(offered) = redeemed? else {
        return Err(Failure::refused(REFUSED));
    };
    let code = offered.code.ok_or(Failure::INTERNAL)?;
    let token = &offered.handed.token;
    let uri = camera_uri(&app, &url, &token.user, &code);
    let drawn = qr::Matrix::of(uri.expose()).map_err(|_| Failure::INTERNAL)?;
    Ok(api::LinkForDevice {
        serial: token.serial.to_string(),
        user: token.user.to_string(),
        code: grouped(code.expose(), 4).expose().to_owned(),
        expires_in: offered.until.map_or(0, |until| until.since(at).as_secs()),
        must_confirm: links::must_confirm(token),
        enrol_uri: uri.expose().to_owned(),
        qr_side: drawn.drawn_side(),
        qr_path: drawn.path(),
    })
}

pub(crate) async fn confirm(
    app: Arc<App>,
    call: Received<ConfirmLink, Visitor>,
) -> Result<api::LinkConfirmed, Failure> {
    let serial = serial(&call.body.serial)?;
    let (by, body) = (call.from.by(), call.body);
    let proven = app
        .admin()
        .confirm_link(&serial, &body.code, &body.otp, by)
        .await;
    match proven {
        Ok(Some(token)) => Ok(api::LinkConfirmed {
            serial: token.serial.to_string(),
            state: token.state.to_string(),
        }),
        Ok(None) => Err(Failure::refused(REFUSED)),
        Err(AdminError::Refused(_) | AdminError::Invalid { .. }) => Err(Failure::refused(WRONG)),
        // It came into use by a login meanwhile.
        Err(AdminError::WrongState { state, .. }) if state == LifeCycle::Active => {
            Ok(api::LinkConfirmed {
                serial: serial.to_string(),
                state: state.to_string(),
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /v1/admin/users/{user}/enrol-link`.
pub(crate) async fn make(
    app: Arc<App>,
    call: Received<EnrolByLink, (Caller, By)>,
) -> Result<api::EnrolLinked, Failure> {
    let (caller, by) = call.from;
    let (mut shown, mut media) = (call.body.deliver.is_empty(), Vec::new());
    for text in &call.body.deliver {
        if text == "link" {
            shown = true;
            continue;
        }
        let medium: Medium = word("deliver", text, "link, email, sms")?;
        if medium == Medium::Voice {
            return Err(Failure::malformed("deliver: one of link, email, sms"));
        }
        if !media.contains(&medium) {
            media.push(medium);
        }
    }
    let own = app.info().public_url.clone();
    let Some(public_url) = call.body.server_url.or(own) else {
        return Err(Failure::malformed(
            "server_url: the link names this server; set http.public_url in oncegate.toml and restart the daemon, or \
             give it here",
        ));
    };
    if !public_url.starts_with("https://") && !public_url.starts_with("http://") {
        return Err(Failure::malformed(
            "server_url: https://HOST or http://HOST",
        ));
    }
    let wanted = links::LinkWanted {
        user: call.place.clone(),
        policy: call.body.policy,
        media,
        shown,
        valid_for: call.body.valid_for_secs.map(std::time::Duration::from_secs),
        strict: !caller.may_administer(),
        public_url,
    };
    if call.body.dry_run {
        let until = app.admin().could_enrol_by_link(&wanted);
        let of = (&call.place, None);
        let until = until.map_err(|error| tell::token_exists(&app, &caller, of, error))?;
        return Ok(planned(&call.place, until));
    }
    let (made, of) = (app.admin().enrol_by_link(wanted, by).await, &call.place);
    let made = made.map_err(|error| tell::token_exists(&app, &caller, (of, None), error))?;
    let sent = made.sent.iter().map(|(medium, to)| api::Recipient {
        medium: medium.to_string(),
        to: to.clone(),
    });
    Ok(api::EnrolLinked {
        serial: made.serial.to_string(),
        user: call.place.to_string(),
        link: shown.then(|| made.link.expose().to_owned()),
        until: made.until.rfc3339(),
        sent: sent.collect(),
        failed: made.failed,
    })
}

/// What is said where nothing was to be made.
fn planned(user: &UserKey, until: UnixTime) -> api::EnrolLinked {
    api::EnrolLinked {
        serial: String::new(),
        user: user.to_string(),
        link: None,
        until: until.rfc3339(),
        sent: Vec::new(),
        failed: Vec::new(),
    }
}

fn serial(text: &str) -> Result<Serial, Failure> {
    // As a code that is no one's.
    text.parse().map_err(|_| Failure::refused(REFUSED))
}

/// Everything from here, no scripts in the page itself, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
const REFUSED: &str =
    "the link is not good: it was used, is too old, or another took its place; ask for a new one";
const WRONG: &str = "the code is not right: type the next one that the app shows";
