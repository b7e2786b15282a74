//! `/v1/admin/tokens`.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::effect::Means;
use crate::admin::{AdminError, Enrol, NewToken, Validity, may_resync};
use crate::api;
use crate::api::Problem;
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user_key::UserKey;
use crate::otp::{Algorithm, Code, Digits, Period};
use crate::otpauth;
use crate::otpauth::{Label, MovingFactor, OtpAuth};
use crate::secret::{OtpKey, SecretString};
use crate::server::http::admin::tell::Goal;
use crate::server::http::admin::{
    IfMatch, SerialPath, conditional, damaged, limit, tell, time, user_key, word,
};
use crate::server::http::body::{Json, Query};
use crate::server::http::caller::Caller;
use crate::server::http::error::Failure;
use crate::server::http::{App, answer, forms};
use crate::store::{By, Store};
use crate::time::UnixTime;

/// Tokens, a page at a time.
#[utoipa::path(
    get,
    path = "/v1/admin/tokens",
    tag = "tokens",
    params(api::TokenPage),
    responses(
        (status = 200, description = "A page", body = api::Tokens),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_tokens(
    State(app): State<Arc<App>>,
    Query(page): Query<api::TokenPage>,
) -> Result<Response, Failure> {
    let limit = limit(page.limit)?;
    let after = page.after.as_deref().map(position).transpose()?;
    let now = app.service().core.now();
    let fits = filter(&page, now)?;
    let store = app.service().core.store();
    let mut tokens = match &page.user {
        None => matching(store, after, limit + 1, fits).await?,
        Some(user) => {
            let user = user_key(user)?;
            let view = store.view(&user)?;
            let Some(view) = view else {
                return Err(tell::no_user(&app, &user));
            };
            let mut tokens = view.tokens;
            if let Some((_, after)) = &after {
                tokens.retain(|(token, _)| token.serial > *after);
            }
            tokens.retain(|(token, _)| fits(token));
            tokens
        }
    };
    let more = tokens.len() > limit;
    tokens.truncate(limit);
    let last = tokens.last().filter(|_| more);
    let next = last.map(|(token, _)| format!("{}/{}", token.user, token.serial));
    let tokens = tokens
        .iter()
        .map(|(token, state)| forms::token(token, state, now))
        .collect();
    Ok(answer::json(
        StatusCode::OK,
        &api::Tokens {
            tokens,
            next,
            damaged: damaged(&app, &["tokens", "token_states"]),
        },
    ))
}

/// Whether a token is asked for.
fn filter(page: &api::TokenPage, now: UnixTime) -> Result<impl Fn(&Token) -> bool, Failure> {
    let state = page.state.as_deref().map(|text| {
        let words = "requested, approved, pending, active, suspended, revoked, expired";
        word::<LifeCycle>("state", text, words)
    });
    let kind = page.kind.as_deref().map(|text| {
        let words = "totp, hotp, server, sms, email, voice, card, recovery";
        word::<Kind>("kind", text, words)
    });
    let (state, kind) = (state.transpose()?, kind.transpose()?);
    Ok(move |token: &Token| {
        state.is_none_or(|state| token.state_at(now) == state)
            && kind.is_none_or(|kind| token.kind == kind)
    })
}

/// So many tokens of all users that are asked for, behind a position.
async fn matching(
    store: &Store,
    mut after: Option<(UserKey, Serial)>,
    wanted: usize,
    fits: impl Fn(&Token) -> bool,
) -> Result<Vec<(Token, TokenState)>, Failure> {
    let mut found = Vec::new();
    loop {
        let position = after.as_ref().map(|(user, serial)| (user, serial));
        let batch = store.tokens(position, BATCH.max(wanted))?;
        let ended = batch.len() < BATCH.max(wanted);
        after = batch
            .last()
            .map(|(token, _)| (token.user.clone(), token.serial.clone()));
        found.extend(batch.into_iter().filter(|(token, _)| fits(token)));
        if ended || found.len() >= wanted {
            found.truncate(wanted);
            return Ok(found);
        }
        // Where nothing waits nothing else would be done meanwhile, and nobody could give it up.
        tokio::task::yield_now().await;
    }
}

/// Makes a token. The answer holds its key, cells or codes: the only time they are shown. Of what
/// others must approve first they are shown when it is handed out.
#[utoipa::path(
    post,
    path = "/v1/admin/tokens",
    tag = "tokens",
    request_body = api::TokenCreate,
    responses(
        (status = 201, description = "Made", body = api::TokenCreated),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create_token(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Extension(by): Extension<By>,
    Json { value: new, .. }: Json<api::TokenCreate>,
) -> Result<Response, Failure> {
    let counter = new.counter;
    let mut new = enrol(new)?;
    // What others must approve of, an operator can only ask for.
    new.request |= !caller.may_administer();
    new.strict = !caller.may_administer();
    let (user, serial) = (new.token.user.clone(), new.token.serial.clone());
    let made = app.service().admin.enrol_token(new, by).await;
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            return Err(tell::token_exists(&app, &user, serial.as_ref(), error));
        }
    };
    let token = &made.token;
    let keyed = matches!(token.kind, Kind::Totp | Kind::Hotp);
    let shown = keyed && token.state != LifeCycle::Requested;
    let text = |secret: &SecretString| secret.expose().to_owned();
    let owner = app.service().admin.user(&token.user)?;
    let accepted_by = app
        .service()
        .admin
        .effect_of(Some(&owner), Means::Token(token.kind));
    let mut warnings = warnings(token);
    if accepted_by.is_empty() {
        warnings.push(format!(
            "no effect under any client's policy today: no rule for this user accepts {} tokens",
            token.kind
        ));
    }
    let created = api::TokenCreated {
        token: forms::token(token, &made.state, app.service().core.now()),
        secret: shown.then(|| text(&otpauth::encode_base32(token.key.expose()))),
        otpauth_uri: shown.then(|| text(&otpauth_uri(token, counter))),
        cells: made.cells.iter().map(text).collect(),
        codes: made.codes.iter().map(text).collect(),
        warnings,
        accepted_by,
    };
    Ok(answer::record(
        StatusCode::CREATED,
        &created,
        token.revision,
    ))
}

/// A token.
#[utoipa::path(
    get,
    path = "/v1/admin/tokens/{serial}",
    tag = "tokens",
    params(("serial" = String, Path, description = "The token's serial")),
    responses(
        (status = 200, description = "The token", body = api::Token),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn show_token(
    State(app): State<Arc<App>>,
    SerialPath(serial): SerialPath,
) -> Result<Response, Failure> {
    shown(&app, &serial).await
}

/// Removes a token.
#[utoipa::path(
    delete,
    path = "/v1/admin/tokens/{serial}",
    tag = "tokens",
    params(
        ("serial" = String, Path, description = "The token's serial"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen"),
    ),
    responses(
        (status = 204, description = "Removed"),
        (status = 412, description = "Changed meanwhile by somebody else", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn remove_token(
    State(app): State<Arc<App>>,
    SerialPath(serial): SerialPath,
    IfMatch(expected): IfMatch,
    Extension(by): Extension<By>,
) -> Result<StatusCode, Failure> {
    let service = app.service();
    let removed = service.admin.remove_token(&serial, expected, by).await;
    let present = async || revision(&app, &serial).await;
    let tell = async |error| tell::token(&serial, error);
    conditional(removed, expected, present, tell).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Activates a pending token by its first right code, which is thereby used up.
#[utoipa::path(
    post,
    path = "/v1/admin/tokens/{serial}/confirm",
    tag = "tokens",
    params(
        ("serial" = String, Path, description = "The token's serial"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen"),
    ),
    request_body = api::Confirm,
    responses(
        (status = 200, description = "Active", body = api::Token),
        (status = 412, description = "Changed meanwhile by somebody else", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn confirm_token(
    State(app): State<Arc<App>>,
    SerialPath(serial): SerialPath,
    IfMatch(expected): IfMatch,
    Extension(by): Extension<By>,
    Json { value: body, .. }: Json<api::Confirm>,
) -> Result<Response, Failure> {
    let (token, state) = seen_with_state(&app, &serial, expected)?;
    if matches!(token.kind, Kind::Totp | Kind::Hotp) {
        code("otp", &body.otp)?;
    }
    if token.state_at(app.service().core.now()) != LifeCycle::Pending {
        return Err(wrong_state(
            &app,
            &token,
            Goal::Use,
            "only a pending one is confirmed",
        ));
    }
    tell::closed_by_repair(&token, &state)?;
    let confirmed = app
        .service()
        .admin
        .prove_token(&serial, &body.otp, by)
        .await;
    confirmed.map_err(|error| match error {
        AdminError::Refused(reason) => tell::not_confirmed(&token, reason),
        other => tell::token(&serial, other),
    })?;
    shown(&app, &serial).await
}

/// Finds a token's clock or counter again by two consecutive codes, which are thereby used up.
#[utoipa::path(
    post,
    path = "/v1/admin/tokens/{serial}/resync",
    tag = "tokens",
    params(
        ("serial" = String, Path, description = "The token's serial"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen"),
    ),
    request_body = api::Resync,
    responses(
        (status = 200, description = "Found", body = api::Token),
        (status = 412, description = "Changed meanwhile by somebody else", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn resync_token(
    State(app): State<Arc<App>>,
    SerialPath(serial): SerialPath,
    IfMatch(expected): IfMatch,
    Extension(by): Extension<By>,
    Json { value: body, .. }: Json<api::Resync>,
) -> Result<Response, Failure> {
    let (first, second) = (code("first", &body.first)?, code("second", &body.second)?);
    let (token, state) = seen_with_state(&app, &serial, expected)?;
    let life = token.state_at(app.service().core.now());
    if !may_resync(life, &state) || !matches!(token.kind, Kind::Totp | Kind::Hotp) {
        return Err(wrong_state(
            &app,
            &token,
            Goal::Use,
            "only an active or suspended totp or hotp token is resynchronised",
        ));
    }
    let found = app
        .service()
        .admin
        .resync_token(&serial, &first, &second, by)
        .await;
    found.map_err(|error| match error {
        AdminError::Refused(reason) => tell::not_found_again(&token, reason),
        other => tell::token(&serial, other),
    })?;
    shown(&app, &serial).await
}

/// Pauses a token.
#[utoipa::path(
    post,
    path = "/v1/admin/tokens/{serial}/suspend",
    tag = "tokens",
    params(
        ("serial" = String, Path, description = "The token's serial"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen"),
    ),
    responses(
        (status = 200, description = "Suspended", body = api::Token),
        (status = 412, description = "Changed meanwhile by somebody else", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn suspend_token(
    State(app): State<Arc<App>>,
    SerialPath(serial): SerialPath,
    IfMatch(expected): IfMatch,
    Extension(by): Extension<By>,
) -> Result<Response, Failure> {
    let token = seen(&app, &serial, expected).await?;
    if token.state_at(app.service().core.now()) != LifeCycle::Active {
        return Err(wrong_state(
            &app,
            &token,
            Goal::End,
            "only an active one is suspended",
        ));
    }
    moved(&app, &token, LifeCycle::Suspended, expected, by).await
}

/// Ends a pause.
#[utoipa::path(
    post,
    path = "/v1/admin/tokens/{serial}/resume",
    tag = "tokens",
    params(
        ("serial" = String, Path, description = "The token's serial"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen"),
    ),
    responses(
        (status = 200, description = "Active", body = api::Token),
        (status = 412, description = "Changed meanwhile by somebody else", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn resume_token(
    State(app): State<Arc<App>>,
    SerialPath(serial): SerialPath,
    IfMatch(expected): IfMatch,
    Extension(by): Extension<By>,
) -> Result<Response, Failure> {
    let (token, state) = seen_with_state(&app, &serial, expected)?;
    // A pending token becomes active by its first right code, not by this.
    if token.state_at(app.service().core.now()) != LifeCycle::Suspended {
        return Err(wrong_state(
            &app,
            &token,
            Goal::Use,
            "only a suspended one is resumed",
        ));
    }
    tell::closed_by_repair(&token, &state)?;
    moved(&app, &token, LifeCycle::Active, expected, by).await
}

/// A token whose state at present does not allow what was asked.
pub(super) fn wrong_state(app: &App, token: &Token, goal: Goal, wanted: &str) -> Failure {
    tell::wrong_state(token, app.service().core.now(), goal, wanted)
}

/// A token under the revision that the caller saw, if it saw one.
pub(super) async fn seen(
    app: &App,
    serial: &Serial,
    expected: Option<u64>,
) -> Result<Token, Failure> {
    let (token, _) = seen_with_state(app, serial, expected)?;
    Ok(token)
}

fn seen_with_state(
    app: &App,
    serial: &Serial,
    expected: Option<u64>,
) -> Result<(Token, TokenState), Failure> {
    let found = app.service().admin.token(serial);
    let (token, state) = found.map_err(|error| tell::token(serial, error))?;
    if expected.is_some_and(|seen| seen != token.revision) {
        return Err(Failure::Changed);
    }
    Ok((token, state))
}

pub(super) async fn revision(app: &App, serial: &Serial) -> Option<u64> {
    let found = app.service().admin.token(serial).ok();
    found.map(|(token, _)| token.revision)
}

async fn moved(
    app: &App,
    token: &Token,
    to: LifeCycle,
    expected: Option<u64>,
    by: By,
) -> Result<Response, Failure> {
    let (service, serial) = (app.service(), &token.serial);
    let moved = service
        .admin
        .set_token_state(serial, to, expected, by)
        .await;
    let present = async || revision(app, serial).await;
    conditional(moved, expected, present, async |error| {
        tell::token(serial, error)
    })
    .await?;
    shown(app, serial).await
}

pub(super) async fn shown(app: &App, serial: &Serial) -> Result<Response, Failure> {
    let found = app.service().admin.token(serial);
    let (token, state) = found.map_err(|error| tell::token(serial, error))?;
    let shown = forms::token(&token, &state, app.service().core.now());
    Ok(answer::record(StatusCode::OK, &shown, token.revision))
}

/// `USER/SERIAL`, as `next` of a page gives it.
fn position(text: &str) -> Result<(UserKey, Serial), Failure> {
    let split = text.rsplit_once('/');
    let read =
        split.and_then(|(user, serial)| Some((UserKey::parse(user).ok()?, serial.parse().ok()?)));
    read.ok_or_else(|| Failure::malformed("after: give `next` of the page before"))
}

pub(super) fn code(field: &str, text: &SecretString) -> Result<Code, Failure> {
    let tidy = text.without_blanks();
    Code::parse(tidy.as_ref().unwrap_or(text).expose())
        .map_err(|_| Failure::malformed(format!("{field}: a code has 6 to 9 ASCII digits")))
}

fn enrol(new: api::TokenCreate) -> Result<Enrol, Failure> {
    let validity = match (&new.expires, new.valid_for_secs) {
        (None, None) => None,
        (Some(text), None) => Some(Validity::Until(time("expires", text)?)),
        (None, Some(secs)) => Some(Validity::For(Duration::from_secs(secs))),
        (Some(_), Some(_)) => {
            return Err(Failure::malformed(
                "expires: give either this or `valid_for_secs`",
            ));
        }
    };
    let replaces = new.replaces.as_deref().map(|text| {
        text.parse()
            .map_err(|_| Failure::malformed("replaces: the serial of a token"))
    });
    Ok(Enrol {
        token: wanted(&new)?,
        address: new.address,
        replaces: replaces.transpose()?,
        validity,
        request: new.request,
        strict: false,
        policy: new.policy,
        count: new.count,
        by_knowledge: false,
    })
}

pub(super) fn wanted(new: &api::TokenCreate) -> Result<NewToken, Failure> {
    let words = "totp, hotp, server, sms, email, voice, card, recovery";
    let kind: Kind = word("kind", &new.kind, words)?;
    let moving = [
        ("algorithm", new.algorithm.is_some()),
        ("digits", new.digits.is_some()),
        ("period", new.period.is_some()),
        ("counter", new.counter.is_some()),
    ];
    if let Some((field, _)) = moving.iter().find(|(_, given)| *given)
        && !matches!(kind, Kind::Totp | Kind::Hotp)
    {
        return Err(Failure::malformed(format!(
            "{field}: only totp and hotp tokens have one"
        )));
    }
    if kind == Kind::Hotp && new.period.is_some() {
        return Err(Failure::malformed(
            "period: only time-based tokens have one",
        ));
    }
    if kind == Kind::Totp && new.counter.is_some() {
        return Err(Failure::malformed(
            "counter: only counter-based tokens have one",
        ));
    }
    let algorithm = new.algorithm.as_deref();
    let algorithm = algorithm
        .map(|text| word("algorithm", text, "sha1, sha256, sha512"))
        .transpose()?;
    let digits = match new.digits {
        None => Digits::SIX,
        Some(digits) => Digits::new(digits).ok_or_else(|| Failure::malformed("digits: 6 to 9"))?,
    };
    let period = match new.period {
        None => Period::THIRTY,
        Some(secs) => {
            Period::new(secs).ok_or_else(|| Failure::malformed("period: 15 to 300 seconds"))?
        }
    };
    let key = match &new.secret {
        None => None,
        Some(text) => Some(
            otpauth::decode_base32(text.expose())
                .map_err(|error| Failure::malformed(format!("secret: {error}")))?,
        ),
    };
    let serial = new.serial.as_deref().map(|text| {
        text.parse()
            .map_err(|_| Failure::malformed("serial: 1 to 40 letters, digits, dashes, underscores"))
    });
    Ok(NewToken {
        user: user_key(&new.user)?,
        kind,
        algorithm: algorithm.unwrap_or(Algorithm::Sha1),
        digits,
        period,
        key,
        counter: new.counter.unwrap_or(0),
        active: new.active,
        serial: serial.transpose()?,
    })
}

/// For authenticator apps; `counter` is the next one of a counter-based token.
pub(super) fn otpauth_uri(token: &Token, counter: Option<u64>) -> SecretString {
    let moving_factor = if token.kind == Kind::Hotp {
        MovingFactor::Counter(counter.unwrap_or(0))
    } else {
        MovingFactor::Time(token.period)
    };
    let uri = OtpAuth {
        label: Label::new(Some(ISSUER), &token.user.to_string()),
        key: token.key.clone(),
        algorithm: token.algorithm,
        digits: token.digits,
        moving_factor,
    };
    uri.to_uri()
}

fn warnings(token: &Token) -> Vec<String> {
    let mut warnings = Vec::new();
    let octets = token.key.expose().len();
    if octets < OtpKey::ADVISED {
        warnings.push(format!(
            "the key has {} bits; use at least 112, or leave `secret` out to get 160 random ones",
            octets * 8
        ));
    }
    warnings
}

/// What authenticator apps show above the code.
const ISSUER: &str = "Oncegate";
/// Tokens looked at at a time for those that are asked for.
const BATCH: usize = 1000;
