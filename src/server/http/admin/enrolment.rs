//! `/v1/admin/tokens/{serial}/...`: how a token comes into use, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::{AdminError, Offered, Window};
use crate::api;
use crate::api::Problem;
use crate::model::enrolment::RevokeReason;
use crate::model::kind::Kind;
use crate::model::message::Medium;
use crate::model::token::{LifeCycle, Token};
use crate::otp::issued::grouped;
use crate::secret::SecretString;
use crate::server::http::admin::tell::Goal;
use crate::server::http::admin::tokens::{code, otpauth_uri, revision, seen, shown, wrong_state};
use crate::server::http::admin::{IfMatch, SerialPath, conditional, tell, user_key, word};
use crate::server::http::body::{Json, OptionalJson};
use crate::server::http::caller::Caller;
use crate::server::http::error::Failure;
use crate::server::http::{App, answer, forms};
use crate::store::By;
use crate::wire::percent_encode;

/// Hands a token out: a code for its device, a code to its address, the cells of a card, the key.
#[utoipa::path(
    post,
    path = "/v1/admin/tokens/{serial}/offer",
    tag = "tokens",
    params(
        ("serial" = String, Path, description = "The token's serial"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen"),
    ),
    request_body = api::Offer,
    responses(
        (status = 200, description = "Handed out", body = api::Offered),
        (status = 412, description = "Changed meanwhile by somebody else", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn offer_token(
    State(app): State<Arc<App>>,
    SerialPath(serial): SerialPath,
    IfMatch(expected): IfMatch,
    Extension(by): Extension<By>,
    OptionalJson(wanted): OptionalJson<api::Offer>,
) -> Result<Response, Failure> {
    let ways = Ways::read(&wanted.by)?;
    let token = seen(&app, &serial, expected).await?;
    let url = wanted.server_url.or_else(|| app.info().public_url.clone());
    if token.kind == Kind::Server && ways.qr && !wanted.by.is_empty() && url.is_none() {
        return Err(Failure::malformed(
            "server_url: the QR code names this server; give it, or set http.public_url",
        ));
    }
    let offered = app
        .service()
        .admin
        .offer_token(&serial, &ways.media, expected, by)
        .await;
    let present = async || revision(&app, &serial).await;
    let tell = async |error| match error {
        AdminError::Conflict(why) => wrong_state(&app, &token, Goal::Use, why),
        other => tell::token(&serial, other),
    };
    let offered = conditional(offered, expected, present, tell).await?;
    let revision = offered.handed.token.revision;
    let shown = form(&app, &offered, &ways, url.as_deref());
    Ok(answer::record(StatusCode::OK, &shown, revision))
}

/// How a code reaches whoever is to have it.
pub(in crate::server::http) struct Ways {
    text: bool,
    qr: bool,
    /// Messages beside what is shown.
    pub(in crate::server::http) media: Vec<Medium>,
}

impl Ways {
    pub(in crate::server::http) fn read(words: &[String]) -> Result<Self, Failure> {
        let mut ways = Self {
            text: words.is_empty(),
            qr: words.is_empty(),
            media: Vec::new(),
        };
        for text in words {
            match text.as_str() {
                "text" => ways.text = true,
                "qr" => ways.qr = true,
                other => {
                    let medium: Medium = word("by", other, "text, qr, sms, email")?;
                    if medium == Medium::Voice {
                        return Err(Failure::malformed("by: one of text, qr, sms, email"));
                    }
                    if !ways.media.contains(&medium) {
                        ways.media.push(medium);
                    }
                }
            }
        }
        Ok(ways)
    }
}

/// What is shown of a token that was handed out.
pub(in crate::server::http) fn form(
    app: &App,
    offered: &Offered,
    ways: &Ways,
    url: Option<&str>,
) -> api::Offered {
    let (token, state) = (&offered.handed.token, &offered.handed.state);
    let code = offered.code.as_ref();
    let shown = |text: &SecretString| text.expose().to_owned();
    let keyed = matches!(token.kind, Kind::Totp | Kind::Hotp);
    let next = state.moving.next();
    api::Offered {
        token: forms::token(token, state, app.service().core.now()),
        code: code
            .filter(|_| ways.text)
            .map(|code| shown(&grouped(code.expose(), 4))),
        enrol_uri: code
            .filter(|_| ways.qr)
            .zip(url)
            .map(|(code, url)| shown(&enrol_uri(url, &token.user.to_string(), code))),
        otpauth_uri: (keyed && offered.first && token.state != LifeCycle::Requested)
            .then(|| shown(&otpauth_uri(token, Some(next)))),
        until: offered.until.map(crate::time::UnixTime::rfc3339),
        sent: offered
            .sent
            .iter()
            .map(|(medium, to)| api::Recipient {
                medium: medium.to_string(),
                to: to.clone(),
            })
            .collect(),
        cells: offered.handed.cells.iter().map(shown).collect(),
        codes: offered.handed.codes.iter().map(shown).collect(),
        asked: offered.asked.map(|pair| api::Cells {
            first: pair.first,
            second: pair.second,
        }),
    }
}

/// What a device's camera reads: where to redeem which code, and for whom.
fn enrol_uri(server: &str, user: &str, code: &SecretString) -> SecretString {
    // Room for all of it: a buffer that grows leaves copies of the code behind.
    let mut uri = String::with_capacity(3 * (server.len() + user.len()) + 64);
    uri.push_str("oncegate://enroll?server=");
    percent_encode(server, &mut uri);
    uri.push_str("&user=");
    percent_encode(user, &mut uri);
    uri.push_str("&code=");
    uri.push_str(code.expose());
    SecretString::new(uri)
}

/// Approves of a requested token.
#[utoipa::path(
    post,
    path = "/v1/admin/tokens/{serial}/approve",
    tag = "tokens",
    params(
        ("serial" = String, Path, description = "The token's serial"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen"),
    ),
    request_body = api::Approve,
    responses(
        (status = 200, description = "Counted", body = api::Token),
        (status = 412, description = "Changed meanwhile by somebody else", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn approve_token(
    State(app): State<Arc<App>>,
    SerialPath(serial): SerialPath,
    IfMatch(expected): IfMatch,
    Extension(caller): Extension<Caller>,
    Extension(by): Extension<By>,
    OptionalJson(wanted): OptionalJson<api::Approve>,
) -> Result<Response, Failure> {
    if wanted.on_behalf.is_none() && !caller.may_approve() {
        return Err(Failure::Forbidden(
            "this needs a key with the scope `approver` or `admin`, or a right that was lent: \
             say whose (`on_behalf`)",
        ));
    }
    let token = seen(&app, &serial, expected).await?;
    let on_behalf = wanted.on_behalf.as_deref();
    let approved = app
        .service()
        .admin
        .approve_token(&serial, on_behalf, expected, by)
        .await;
    let present = async || revision(&app, &serial).await;
    let tell = async |error| match error {
        AdminError::Conflict(why) if token.state != LifeCycle::Requested => {
            wrong_state(&app, &token, Goal::Use, why)
        }
        other => tell::token(&serial, other),
    };
    conditional(approved, expected, present, tell).await?;
    shown(&app, &serial).await
}

/// Ends a request that was not handed out.
#[utoipa::path(
    post,
    path = "/v1/admin/tokens/{serial}/deny",
    tag = "tokens",
    params(
        ("serial" = String, Path, description = "The token's serial"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen"),
    ),
    request_body = api::Deny,
    responses(
        (status = 200, description = "Revoked", body = api::Token),
        (status = 412, description = "Changed meanwhile by somebody else", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn deny_token(
    State(app): State<Arc<App>>,
    SerialPath(serial): SerialPath,
    IfMatch(expected): IfMatch,
    Extension(by): Extension<By>,
    Json { value: body, .. }: Json<api::Deny>,
) -> Result<Response, Failure> {
    let token = seen(&app, &serial, expected).await?;
    let denied = app
        .service()
        .admin
        .deny_token(&serial, &body.reason, expected, by)
        .await;
    ended(&app, &token, Goal::End, denied, expected).await
}

/// Ends a token for good.
#[utoipa::path(
    post,
    path = "/v1/admin/tokens/{serial}/revoke",
    tag = "tokens",
    params(
        ("serial" = String, Path, description = "The token's serial"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen"),
    ),
    request_body = api::Revoke,
    responses(
        (status = 200, description = "Revoked", body = api::Token),
        (status = 412, description = "Changed meanwhile by somebody else", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn revoke_token(
    State(app): State<Arc<App>>,
    SerialPath(serial): SerialPath,
    IfMatch(expected): IfMatch,
    Extension(by): Extension<By>,
    OptionalJson(body): OptionalJson<api::Revoke>,
) -> Result<Response, Failure> {
    let reason = match body.reason.as_deref() {
        None => RevokeReason::Other,
        Some(text) => {
            let words = "lost, stolen, replaced, moved, left, compromised, other";
            word("reason", text, words)?
        }
    };
    let token = seen(&app, &serial, expected).await?;
    let present = token.state_at(app.service().core.now());
    if !present.may_become(LifeCycle::Revoked) {
        return Err(wrong_state(
            &app,
            &token,
            Goal::End,
            "there is nothing to revoke",
        ));
    }
    let revoked = app
        .service()
        .admin
        .revoke_token(&serial, reason, expected, by)
        .await;
    ended(&app, &token, Goal::End, revoked, expected).await
}

/// Gives a token in use a new end.
#[utoipa::path(
    post,
    path = "/v1/admin/tokens/{serial}/renew",
    tag = "tokens",
    params(
        ("serial" = String, Path, description = "The token's serial"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen"),
    ),
    request_body = api::Renew,
    responses(
        (status = 200, description = "Renewed", body = api::Token),
        (status = 412, description = "Changed meanwhile by somebody else", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn renew_token(
    State(app): State<Arc<App>>,
    SerialPath(serial): SerialPath,
    IfMatch(expected): IfMatch,
    Extension(caller): Extension<Caller>,
    Extension(by): Extension<By>,
    OptionalJson(body): OptionalJson<api::Renew>,
) -> Result<Response, Failure> {
    if !caller.may_administer() && (body.force || body.valid_for_secs.is_some()) {
        return Err(Failure::Forbidden(
            "only the scope `admin` renews before its time, or for another time",
        ));
    }
    let window = if body.force {
        Window::Ignored
    } else {
        Window::Kept
    };
    let length = body.valid_for_secs.map(Duration::from_secs);
    let token = seen(&app, &serial, expected).await?;
    let renewed = app
        .service()
        .admin
        .renew_token(&serial, length, window, expected, by)
        .await;
    ended(&app, &token, Goal::Renew, renewed, expected).await
}

/// Makes a token count for a second user too, after two consecutive codes of it.
#[utoipa::path(
    post,
    path = "/v1/admin/tokens/{serial}/link",
    tag = "tokens",
    params(("serial" = String, Path, description = "The token's serial")),
    request_body = api::Link,
    responses(
        (status = 200, description = "Linked", body = api::Token),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn link_token(
    State(app): State<Arc<App>>,
    SerialPath(serial): SerialPath,
    Extension(by): Extension<By>,
    Json { value: body, .. }: Json<api::Link>,
) -> Result<Response, Failure> {
    let (first, second) = (code("first", &body.first)?, code("second", &body.second)?);
    let user = user_key(&body.user)?;
    let token = seen(&app, &serial, None).await?;
    let in_use = token.state_at(app.service().core.now()) == LifeCycle::Active;
    if !in_use || !matches!(token.kind, Kind::Totp | Kind::Hotp) {
        return Err(wrong_state(
            &app,
            &token,
            Goal::Use,
            "only an active totp or hotp token is linked",
        ));
    }
    let linked = app
        .service()
        .admin
        .link_token(&serial, &user, (&first, &second), by)
        .await;
    if let Err(error) = linked {
        return Err(match error {
            AdminError::Refused(reason) => tell::not_found_again(&token, reason),
            AdminError::NotFound("user") => tell::no_user(&app, &user),
            other => tell::token(&serial, other),
        });
    }
    shown(&app, &serial).await
}

/// Makes a token count for its owner only again.
#[utoipa::path(
    post,
    path = "/v1/admin/tokens/{serial}/unlink",
    tag = "tokens",
    params(("serial" = String, Path, description = "The token's serial")),
    request_body = api::Unlink,
    responses(
        (status = 200, description = "Unlinked", body = api::Token),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn unlink_token(
    State(app): State<Arc<App>>,
    SerialPath(serial): SerialPath,
    Extension(by): Extension<By>,
    Json { value: body, .. }: Json<api::Unlink>,
) -> Result<Response, Failure> {
    let user = user_key(&body.user)?;
    let unlinked = app.service().admin.unlink_token(&serial, &user, by).await;
    unlinked.map_err(|error| tell::token(&serial, error))?;
    shown(&app, &serial).await
}

/// The token after a change that its state may not allow.
async fn ended(
    app: &App,
    token: &Token,
    goal: Goal,
    done: Result<Token, AdminError>,
    expected: Option<u64>,
) -> Result<Response, Failure> {
    let present = async || revision(app, &token.serial).await;
    let tell = async |error| match error {
        AdminError::Conflict(why) => wrong_state(app, token, goal, why),
        other => tell::token(&token.serial, other),
    };
    conditional(done, expected, present, tell).await?;
    shown(app, &token.serial).await
}
