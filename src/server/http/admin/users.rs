//! `/v1/admin/users`.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::admin::effect::Means;
use crate::admin::{
    Aliases, Counts, CredentialsPatch, Grant, NewVerifier, Noted, UserFilter, UserPatch,
};
use crate::api::forms;
use crate::api::{
    self, AddUser, CountUsers, EndBypass, EndExemption, EraseUser, GrantBypass, GrantExemption,
    ListUsers, NoteUser, RemoveUser, SetUser, ShowDemoCode, ShowUser, UnlockUser,
};
use crate::diagnostic::shell;
use crate::model::kind::Kind;
use crate::model::message::Language;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user::User;
use crate::model::user_key::UserKey;
use crate::otp::totp::TimeStep;
use crate::otp::{Algorithm, hotp};
use crate::secret::SecretString;
use crate::server::http::admin::tokens::seen;
use crate::server::http::caller::Caller;
use crate::server::http::error::Failure;
use crate::server::http::read::{limit, page, time, user_key, word};
use crate::server::http::route::{Admin, Received, Routes};
use crate::server::http::{App, tell};
use crate::store::{By, WaiverKind};
use crate::time::UnixTime;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .on(list)
        .on(count)
        .on(add)
        .on(show)
        .on(set)
        .on(remove)
        .on(unlock)
        .on(erase)
        .on(note)
        .on(demo_code)
        .on(grant_bypass)
        .on(end_bypass)
        .on(grant_exemption)
        .on(end_exemption)
}

async fn list(
    app: Arc<App>,
    call: Received<ListUsers, (Caller, By)>,
) -> Result<api::Users, Failure> {
    let limit = limit(call.query.limit)?;
    let after = call.query.after.as_deref().map(user_key).transpose()?;
    let filter = UserFilter {
        without_console: !call.from.0.sees_console(),
        ..filter(call.query)?
    };
    let now = app.core().now();
    let (users, next) = if filter.is_empty() {
        let users = app.core().store().users(after.as_ref(), limit + 1);
        let (users, next) = page(users?, limit, |user| user.key.to_string());
        let users = users.iter().map(|user| forms::user(user, now)).collect();
        (users, next)
    } else {
        let found = app.admin().find_users(&filter, after, limit).await?;
        let shown = |(user, throttle): &(_, Option<_>)| api::User {
            lock: throttle
                .as_ref()
                .filter(|_| filter.locked)
                .map(|throttle| forms::lock(throttle, now)),
            ..forms::user(user, now)
        };
        let users = found.users.iter().map(shown).collect();
        (users, found.next.map(|key| key.to_string()))
    };
    Ok(api::Users {
        users,
        next,
        damaged: app.damaged(&["users"]),
    })
}

async fn count(
    app: Arc<App>,
    call: Received<CountUsers, (Caller, By)>,
) -> Result<api::Summary, Failure> {
    let (last, begins) = app.admin().counts()?;
    if begins {
        let counting = Arc::clone(&app);
        app.tasks().spawn(async move {
            let stopping = counting.stopping().clone();
            tokio::select! {
                () = stopping.cancelled() => {}
                counted = counting.admin().count_all() => {
                    if let Err(error) = counted {
                        tracing::warn!(%error, "the users cannot be counted");
                    }
                }
            }
        });
    }
    let console = call.from.0.sees_console();
    let shown = last.map(|last| {
        let sum =
            |of: fn(&Counts) -> u64| of(&last.users) + if console { of(&last.console) } else { 0 };
        api::UserCounts {
            all: sum(|counts| counts.all),
            without_token: sum(|counts| counts.without_token),
            pending: sum(|counts| counts.pending),
            locked: sum(|counts| counts.locked),
            suspended: sum(|counts| counts.suspended),
            exempt: sum(|counts| counts.exempt),
        }
    });
    Ok(api::Summary {
        users: shown,
        counted: last.map(|last| last.at.rfc3339()),
    })
}

fn filter(page: api::UserPage) -> Result<UserFilter, Failure> {
    let bounded = |field: &str, text: Option<String>| match text {
        Some(text) if text.trim().is_empty() || text.len() > 256 => {
            Err(Failure::malformed(format!("{field}: 1 to 256 octets")))
        }
        text => Ok(text),
    };
    Ok(UserFilter {
        realm: page.realm.as_deref().map(realm).transpose()?,
        group: bounded("group", page.group)?,
        without_token: page.without_token.unwrap_or(false),
        locked: page.locked.unwrap_or(false),
        state: match page.state {
            None => None,
            Some(text) => Some(word("state", &text, "pending, suspended, exempt")?),
        },
        text: bounded("search", page.search)?,
        without_console: false,
    })
}

/// A realm in its canonical form.
fn realm(text: &str) -> Result<String, Failure> {
    let key = UserKey::with_realm("any", text);
    let key = key.map_err(|error| Failure::malformed(format!("realm: {error}")))?;
    Ok(key.realm().to_owned())
}

async fn add(app: Arc<App>, call: Admin<AddUser>) -> Result<api::User, Failure> {
    let new = call.body;
    let key = match &new.realm {
        None => user_key(&new.user)?,
        Some(realm) => in_realm(&new.user, realm)?,
    };
    tell::may_change(&call.from, &key)?;
    let aliases = new.aliases.clone();
    let patch = UserPatch {
        aliases: Aliases {
            add: new.aliases,
            ..Aliases::default()
        },
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
    let added = app.admin().add_user(key.clone(), patch, call.from).await;
    let user = added.map_err(|error| tell::user_exists(&app, &key, &aliases, error))?;
    Ok(forms::user(&user, app.core().now()))
}

/// The user of a name and a realm. A name that holds a realm itself must hold the same one:
/// if they differ, either may be what the administrator meant.
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

async fn show(app: Arc<App>, call: Received<ShowUser, (Caller, By)>) -> Result<api::User, Failure> {
    shown(&app, &call.from.0, &call.place)
}

async fn set(app: Arc<App>, call: Admin<SetUser>) -> Result<api::User, Failure> {
    let change = call.body;
    let wanted = change.aliases.iter().flatten().chain(&change.add_aliases);
    let wanted: Vec<String> = wanted.cloned().collect();
    let patch = UserPatch {
        aliases: Aliases {
            all: change.aliases,
            add: change.add_aliases,
            remove: change.remove_aliases,
        },
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
    let changed = app
        .admin()
        .set_user(&call.place, patch, call.expected, call.from);
    let changed = changed.await;
    let user = changed.map_err(|error| tell::alias_taken(&app, &call.place, &wanted, error))?;
    Ok(forms::user(&user, app.core().now()))
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

async fn remove(app: Arc<App>, call: Admin<RemoveUser>) -> Result<(), Failure> {
    let by = call.from.clone();
    let removed = app
        .admin()
        .remove_user(&call.place, call.expected, call.from);
    let removed = removed.await;
    removed.map_err(|error| tell::user_shares(&app, &by, &call.place, error))
}

async fn erase(app: Arc<App>, call: Admin<EraseUser>) -> Result<(), Failure> {
    let by = call.from.clone();
    let erased = app.admin().erase_user(&call.place, call.from).await;
    erased.map_err(|error| tell::user_shares(&app, &by, &call.place, error))
}

async fn unlock(
    app: Arc<App>,
    call: Received<UnlockUser, (Caller, By)>,
) -> Result<api::User, Failure> {
    let (caller, by) = call.from;
    app.admin().unlock_user(&call.place, by).await?;
    shown(&app, &caller, &call.place)
}

async fn note(app: Arc<App>, call: Admin<NoteUser>) -> Result<(), Failure> {
    let about = Noted::User(&call.place);
    let noted = app
        .admin()
        .note("user_note", about, call.body.text.trim(), call.from);
    Ok(noted.await?)
}

async fn grant_bypass(app: Arc<App>, call: Admin<GrantBypass>) -> Result<api::User, Failure> {
    grant(&app, &call.place, WaiverKind::Bypass, call.body, call.from).await
}

async fn end_bypass(app: Arc<App>, call: Admin<EndBypass>) -> Result<api::User, Failure> {
    end(&app, &call.place, WaiverKind::Bypass, call.from).await
}

async fn grant_exemption(app: Arc<App>, call: Admin<GrantExemption>) -> Result<api::User, Failure> {
    grant(
        &app,
        &call.place,
        WaiverKind::Exemption,
        call.body,
        call.from,
    )
    .await
}

async fn end_exemption(app: Arc<App>, call: Admin<EndExemption>) -> Result<api::User, Failure> {
    end(&app, &call.place, WaiverKind::Exemption, call.from).await
}

async fn grant(
    app: &App,
    key: &UserKey,
    which: WaiverKind,
    wanted: api::WaiverGrant,
    by: By,
) -> Result<api::User, Failure> {
    let grant = Grant {
        reason: wanted.reason,
        from: match wanted.from {
            Some(from) => time("from", &from)?,
            None => by.at,
        },
        until: time("until", &wanted.until)?,
    };
    let user = app.admin().grant(key, which, grant, by).await?;
    let mut shown = forms::user(&user, app.core().now());
    effects(app, &user, &mut shown);
    Ok(shown)
}

async fn end(app: &App, key: &UserKey, which: WaiverKind, by: By) -> Result<api::User, Failure> {
    let user = app.admin().end_waiver(key, which, by).await?;
    Ok(forms::user(&user, app.core().now()))
}

/// Where the user's exceptions have effect.
fn effects(app: &App, user: &User, shown: &mut api::User) {
    for (waiver, means) in [
        (&mut shown.bypass, Means::Bypass),
        (&mut shown.exemption, Means::Exemption),
    ] {
        if let Some(waiver) = waiver {
            waiver.effect = Some(app.admin().effect_of(Some(user), means));
        }
    }
}

/// Threat: a directory that once was a demonstration may be in use by now. Only the tokens that its file names show codes.
async fn demo_code(app: Arc<App>, call: Admin<ShowDemoCode>) -> Result<api::DemoCode, Failure> {
    let Some(demo) = app.info().demo.as_deref().map(demo_tokens) else {
        return Err(Failure::not_found(
            "codes are shown in `quickstart` directories only; real ones stay with their owners",
        )
        .advise("look at the app or device of the owner; `oncegate quickstart` makes a directory for looking"));
    };
    let key = call.place;
    let view = app.core().store().view(&key)?;
    let view = view.ok_or_else(|| Failure::missing("user"))?;
    let now = app.core().now();
    let usable = |token: &Token| {
        token.state_at(now) == LifeCycle::Active
            && matches!(token.kind, Kind::Totp | Kind::Hotp)
            && demo.iter().any(|serial| serial == token.serial.as_str())
    };
    let found = view.tokens.iter().find(|(token, _)| usable(token));
    let none = || {
        let what = format!("user {key} has no token of the demonstration that is active");
        Failure::not_found(what).advise(format!(
            "codes are shown of the tokens that `oncegate quickstart` made; see `oncegate token list {}`",
            shell::word(&key.to_string())
        ))
    };
    let (token, state) = found.ok_or_else(none)?;
    Ok(present_code(token, state, now))
}

/// The serials that the file of a `quickstart` directory names; none where it cannot be read.
fn demo_tokens(file: &Path) -> Vec<String> {
    let text = std::fs::read(file).unwrap_or_default();
    let read: Value = serde_json::from_slice(&text).unwrap_or_default();
    let serials = ["serial", "counter_serial"].map(|name| read.get(name).and_then(Value::as_str));
    serials.into_iter().flatten().map(str::to_owned).collect()
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

/// The user as the caller sees them: without tokens of others whom they do not see.
fn shown(app: &App, caller: &Caller, key: &UserKey) -> Result<api::User, Failure> {
    let view = app.core().store().view(key)?;
    let view = view.ok_or_else(|| Failure::missing("user"))?;
    let now = app.core().now();
    let credentials = app.core().store().credentials(key)?;
    let mut user = forms::user(&view.user, now);
    user.pin = credentials.pin.as_ref().map(forms::verifier);
    user.password = credentials.password.as_ref().map(forms::verifier);
    user.lock = Some(forms::lock(&view.state.summary(now), now));
    effects(app, &view.user, &mut user);
    let tokens = view.tokens.iter();
    let tokens = tokens.filter(|(token, _)| caller.sees(&token.user));
    let tokens = tokens.map(|(token, state)| seen(app, caller, (token, state)));
    user.tokens = Some(tokens.collect());
    Ok(user)
}
