//! `/v1/admin/users`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::{CredentialsPatch, NewVerifier, UserFilter, UserPatch};
use crate::api;
use crate::api::Problem;
use crate::model::kind::Kind;
use crate::model::message::Language;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user_key::UserKey;
use crate::otp::totp::TimeStep;
use crate::otp::{Algorithm, hotp};
use crate::secret::SecretString;
use crate::server::http::admin::{
    IfMatch, UserPath, conditional, damaged, limit, tell, user_key, waivers, word,
};
use crate::server::http::body::{Json, Query};
use crate::server::http::error::Failure;
use crate::server::http::{App, answer, forms};
use crate::store::By;
use crate::time::UnixTime;

/// Users, a page at a time.
#[utoipa::path(
    get,
    path = "/v1/admin/users",
    tag = "users",
    params(api::UserPage),
    responses(
        (status = 200, description = "A page", body = api::Users),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_users(
    State(app): State<Arc<App>>,
    Query(page): Query<api::UserPage>,
) -> Result<Response, Failure> {
    let limit = limit(page.limit)?;
    let after = page.after.as_deref().map(user_key).transpose()?;
    let filter = filter(page)?;
    if !filter.is_empty() {
        return found(&app, &filter, after, limit).await;
    }
    let mut users = app
        .service()
        .core
        .store()
        .users(after.as_ref(), limit + 1)?;
    let more = users.len() > limit;
    users.truncate(limit);
    let next = users
        .last()
        .filter(|_| more)
        .map(|user| user.key.to_string());
    let now = app.service().core.now();
    let users = users.iter().map(|user| forms::user(user, now)).collect();
    Ok(answer::json(
        StatusCode::OK,
        &api::Users {
            users,
            next,
            damaged: damaged(&app, &["users"]),
        },
    ))
}

fn filter(page: api::UserPage) -> Result<UserFilter, Failure> {
    let bounded = |field: &str, text: Option<String>| match text {
        Some(text) if text.trim().is_empty() || text.len() > 256 => {
            Err(Failure::malformed(format!("{field}: 1 to 256 octets")))
        }
        text => Ok(text),
    };
    Ok(UserFilter {
        group: bounded("group", page.group)?,
        without_token: page.without_token.unwrap_or(false),
        locked: page.locked.unwrap_or(false),
        text: bounded("search", page.search)?,
    })
}

async fn found(
    app: &App,
    filter: &UserFilter,
    after: Option<UserKey>,
    limit: usize,
) -> Result<Response, Failure> {
    let now = app.service().core.now();
    let found = app.service().admin.find_users(filter, after, limit).await?;
    let shown = |(user, throttle): &(_, Option<_>)| api::User {
        lock: throttle
            .as_ref()
            .filter(|_| filter.locked)
            .map(|throttle| forms::lock(throttle, now)),
        ..forms::user(user, now)
    };
    let users = found.users.iter().map(shown).collect();
    let next = found.next.map(|key| key.to_string());
    let damaged = damaged(app, &["users"]);
    let page = api::Users {
        users,
        next,
        damaged,
    };
    Ok(answer::json(StatusCode::OK, &page))
}

/// Makes a user.
#[utoipa::path(
    post,
    path = "/v1/admin/users",
    tag = "users",
    request_body = api::UserCreate,
    responses(
        (status = 201, description = "Made", body = api::User),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create_user(
    State(app): State<Arc<App>>,
    Extension(by): Extension<By>,
    Json { value: new, .. }: Json<api::UserCreate>,
) -> Result<Response, Failure> {
    let key = match &new.realm {
        None => user_key(&new.user)?,
        Some(realm) => in_realm(&new.user, realm)?,
    };
    let patch = UserPatch {
        groups: Some(new.groups),
        display_name: new.display_name.map(Some),
        phone: new.phone.map(Some),
        email: new.email.map(Some),
        birth_date: new.birth_date.map(Some),
        class: new.class.map(Some),
        disabled: None,
        language: new.language.as_deref().map(language).transpose()?,
        remote_issue: new.remote_issue,
        credentials: CredentialsPatch {
            password: one_of(new.password, new.password_hash)?,
            pin: new.pin.map(NewVerifier::Text),
            must_change: new.must_change,
        },
    };
    let added = app.service().admin.add_user(key.clone(), patch, by).await;
    let user = added.map_err(|error| tell::user_exists(&key, error))?;
    Ok(answer::record(
        StatusCode::CREATED,
        &forms::user(&user, app.service().core.now()),
        user.revision,
    ))
}

/// The user of a name and a realm. A name that holds a realm itself must hold the same one:
/// whichever of two were taken, the administrator may have meant the other.
fn in_realm(name: &str, realm: &str) -> Result<UserKey, Failure> {
    let key = user_key(name)?;
    let joined = UserKey::with_realm(key.name(), realm)
        .map_err(|error| Failure::malformed(format!("realm: {error}")))?;
    let bare = UserKey::with_realm(name, realm).is_ok_and(|whole| whole == joined);
    if bare || key == joined {
        return Ok(joined);
    }
    Err(Failure::malformed(
        "realm: the name says another realm; give one of them",
    ))
}

/// A user with failures, lock and tokens.
#[utoipa::path(
    get,
    path = "/v1/admin/users/{user}",
    tag = "users",
    params(("user" = String, Path, description = "`name`, `name@realm` or `DOMAIN\\name`")),
    responses(
        (status = 200, description = "The user", body = api::User),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn show_user(
    State(app): State<Arc<App>>,
    UserPath(key): UserPath,
) -> Result<Response, Failure> {
    shown(&app, &key)
}

/// Changes a user: what is absent stays, `null` clears.
#[utoipa::path(
    patch,
    path = "/v1/admin/users/{user}",
    tag = "users",
    params(
        ("user" = String, Path, description = "`name`, `name@realm` or `DOMAIN\\name`"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was seen"),
    ),
    request_body = api::UserChange,
    responses(
        (status = 200, description = "Changed", body = api::User),
        (status = 412, description = "Changed meanwhile by somebody else", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn change_user(
    State(app): State<Arc<App>>,
    UserPath(key): UserPath,
    IfMatch(expected): IfMatch,
    Extension(by): Extension<By>,
    Json { value: change, .. }: Json<api::UserChange>,
) -> Result<Response, Failure> {
    let patch = UserPatch {
        groups: change.groups,
        display_name: change.display_name,
        phone: change.phone,
        email: change.email,
        birth_date: change.birth_date,
        class: change.class,
        disabled: change.disabled,
        language: change.language.as_deref().map(language).transpose()?,
        remote_issue: change.remote_issue,
        credentials: CredentialsPatch {
            password: match change.password {
                Some(None) if change.password_hash.is_none() => Some(NewVerifier::Remove),
                password => one_of(password.flatten(), change.password_hash)?,
            },
            pin: change
                .pin
                .map(|pin| pin.map_or(NewVerifier::Remove, NewVerifier::Text)),
            must_change: change.must_change,
        },
    };
    let service = app.service();
    let changed = service.admin.set_user(&key, patch, expected, by).await;
    let present = async || service.admin.user(&key).ok().map(|user| user.revision);
    let user = conditional(changed, expected, present, async |error| {
        tell::user(&app, &key, error)
    })
    .await?;
    Ok(answer::record(
        StatusCode::OK,
        &forms::user(&user, app.service().core.now()),
        user.revision,
    ))
}

fn language(text: &str) -> Result<Language, Failure> {
    word("language", text, "en, ko")
}

fn one_of(
    text: Option<SecretString>,
    hash: Option<SecretString>,
) -> Result<Option<NewVerifier>, Failure> {
    match (text, hash) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(NewVerifier::Text(text))),
        (None, Some(hash)) => Ok(Some(NewVerifier::Hash(hash))),
        (Some(_), Some(_)) => Err(Failure::malformed(
            "give either `password` or `password_hash`",
        )),
    }
}

/// Removes a user with all tokens.
#[utoipa::path(
    delete,
    path = "/v1/admin/users/{user}",
    tag = "users",
    params(
        ("user" = String, Path, description = "`name`, `name@realm` or `DOMAIN\\name`"),
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
pub(crate) async fn remove_user(
    State(app): State<Arc<App>>,
    UserPath(key): UserPath,
    IfMatch(expected): IfMatch,
    Extension(by): Extension<By>,
) -> Result<StatusCode, Failure> {
    let service = app.service();
    let removed = service.admin.remove_user(&key, expected, by).await;
    let present = async || service.admin.user(&key).ok().map(|user| user.revision);
    conditional(removed, expected, present, async |error| {
        tell::user(&app, &key, error)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Destroys the keys of the personal data of all who had this name, and removes the user if there is one.
///
/// What the audit says of their display name, phone number, e-mail address and birth date can never be read
/// again; its chain stays as it is. A user who was removed before is erased by their name, too.
#[utoipa::path(
    post,
    path = "/v1/admin/users/{user}/erase",
    tag = "users",
    params(("user" = String, Path, description = "`name`, `name@realm` or `DOMAIN\\name`")),
    responses(
        (status = 204, description = "Destroyed"),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn erase_user(
    State(app): State<Arc<App>>,
    UserPath(key): UserPath,
    Extension(by): Extension<By>,
) -> Result<StatusCode, Failure> {
    let erased = app.service().admin.erase_user(&key, by).await;
    if let Err(error) = erased {
        return Err(tell::user(&app, &key, error));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets failures and locks of a user and its tokens; for an operator, ends waits and timed locks only.
#[utoipa::path(
    post,
    path = "/v1/admin/users/{user}/unlock",
    tag = "users",
    params(("user" = String, Path, description = "`name`, `name@realm` or `DOMAIN\\name`")),
    responses(
        (status = 200, description = "Unlocked", body = api::User),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn unlock_user(
    State(app): State<Arc<App>>,
    UserPath(key): UserPath,
    Extension(by): Extension<By>,
) -> Result<Response, Failure> {
    let unlocked = app.service().admin.unlock_user(&key, by).await;
    if let Err(error) = unlocked {
        return Err(tell::user(&app, &key, error));
    }
    shown(&app, &key)
}

/// The present code of a demonstration token. There is no such route outside `quickstart`.
#[utoipa::path(
    get,
    path = "/v1/admin/users/{user}/code",
    tag = "users",
    params(("user" = String, Path, description = "`name`, `name@realm` or `DOMAIN\\name`")),
    responses(
        (status = 200, description = "The code", body = api::DemoCode),
        (status = "default", description = "Failure", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn demo_code(
    State(app): State<Arc<App>>,
    UserPath(key): UserPath,
) -> Result<Response, Failure> {
    if !app.info().demo {
        return Err(Failure::NotFound(
            "codes are shown in `quickstart` directories only; real ones stay with their owners"
                .into(),
        ));
    }
    let view = app.service().core.store().view(&key)?;
    let Some(view) = view else {
        return Err(tell::no_user(&app, &key));
    };
    let usable = |token: &Token| {
        token.state == LifeCycle::Active && matches!(token.kind, Kind::Totp | Kind::Hotp)
    };
    let found = view.tokens.iter().find(|(token, _)| usable(token));
    let none = || Failure::NotFound(format!("user {key} has no active totp or hotp token").into());
    let (token, state) = found.ok_or_else(none)?;
    Ok(answer::json(
        StatusCode::OK,
        &present_code(token, state, app.service().core.now()),
    ))
}

fn present_code(token: &Token, state: &TokenState, now: UnixTime) -> api::DemoCode {
    let serial = token.serial.to_string();
    if token.kind == Kind::Hotp {
        let counter = state.moving.next();
        let code = hotp::generate(&token.key, token.algorithm, token.digits, counter);
        let code = code.expose().expose().to_owned();
        return api::DemoCode {
            serial,
            code,
            used: false,
            next_in: 0,
        };
    }
    // Another implementation than the verifier's: what it accepts is what apps show.
    let authenticator = totp_rs::Builder::new()
        .with_algorithm(match token.algorithm {
            Algorithm::Sha1 => totp_rs::Algorithm::SHA1,
            Algorithm::Sha256 => totp_rs::Algorithm::SHA256,
            Algorithm::Sha512 => totp_rs::Algorithm::SHA512,
        })
        .with_digits(token.digits.get())
        .with_step_duration(u64::from(token.period.as_secs()))
        .with_secret(token.key.expose().to_vec())
        .build_noncompliant();
    let step = TimeStep::at(now, token.period).get();
    let period = u64::from(token.period.as_secs());
    api::DemoCode {
        serial,
        code: authenticator.generate(now.as_secs()).to_string(),
        used: state.moving.last.is_some_and(|last| step <= last),
        next_in: period - now.as_secs() % period,
    }
}

fn shown(app: &App, key: &UserKey) -> Result<Response, Failure> {
    let view = app.service().core.store().view(key)?;
    let Some(view) = view else {
        return Err(tell::no_user(app, key));
    };
    let now = app.service().core.now();
    let credentials = app.service().core.store().credentials(key)?;
    let mut user = forms::user(&view.user, now);
    user.pin = credentials.pin.as_ref().map(forms::verifier);
    user.password = credentials.password.as_ref().map(forms::verifier);
    user.lock = Some(forms::lock(&view.state.summary(now), now));
    waivers::effects(app, &view.user, &mut user);
    let tokens = view
        .tokens
        .iter()
        .map(|(token, state)| forms::token(token, state, now));
    user.tokens = Some(tokens.collect());
    Ok(answer::record(StatusCode::OK, &user, view.user.revision))
}
