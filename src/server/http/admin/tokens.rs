//! `/v1/admin/tokens`: how tokens are listed, made, shown and removed. Their life is in
//! [`super::lifecycle`].

use std::sync::Arc;
use std::time::Duration;

use crate::admin::effect::Means;
use crate::admin::{Enrol, NewToken, Validity};
use crate::api::forms;
use crate::api::{self, AddToken, ListTokens, RemoveToken, ShowToken};
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user_key::UserKey;
use crate::otp::{Algorithm, Digits, Period, yubikey};
use crate::otpauth;
use crate::secret::{OtpKey, SecretString};
use crate::server::http::caller::Caller;
use crate::server::http::error::Failure;
use crate::server::http::offered::otpauth_uri;
use crate::server::http::read::{KINDS, STATES, limit, page, time, user_key, user_named, word};
use crate::server::http::route::{Admin, Received, Routes};
use crate::server::http::{App, tell};
use crate::store::{By, Store};
use crate::time::UnixTime;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.on(list).on(add).on(show).on(remove)
}

async fn list(
    app: Arc<App>,
    call: Received<ListTokens, (Caller, By)>,
) -> Result<api::Tokens, Failure> {
    let ((caller, _), query) = (call.from, call.query);
    let limit = limit(query.limit)?;
    let after = query.after.as_deref().map(position).transpose()?;
    let now = app.core().now();
    let fits = filter(&query, now)?;
    let fits = |token: &Token| caller.sees(&token.user) && fits(token);
    let store = app.core().store();
    let found = match &query.user {
        None if waiting(&query) => {
            let known = app.admin().requested(now)?;
            if known.is_none() {
                // The first such list looks at all tokens; from then on it costs what it holds.
                app.admin().find_requests().await?;
            }
            let known = known.map_or_else(|| app.admin().requested(now), |one| Ok(Some(one)));
            let mut tokens = known?.unwrap_or_default();
            tokens.retain(|(token, _)| is_behind(token, after.as_ref()) && fits(token));
            tokens
        }
        None => matching(store, after, limit + 1, fits, in_stock(&query)).await?,
        Some(user) => {
            let user = user_named(&app, user)?;
            let view = store.view(&user)?.filter(|_| caller.sees(&user));
            let Some(view) = view else {
                return Err(tell::no_user(&app, &caller, &user));
            };
            let after = after.map(|(_, serial)| serial);
            let mut tokens = view.tokens;
            tokens.retain(|(token, _)| {
                after.as_ref().is_none_or(|after| token.serial > *after) && fits(token)
            });
            tokens
        }
    };
    let (found, next) = page(found, limit, |(token, _)| {
        format!("{}/{}", token.user, token.serial)
    });
    let shown = |(token, state): &(_, _)| seen(&app, &caller, (token, state));
    Ok(api::Tokens {
        tokens: found.iter().map(shown).collect(),
        next,
        damaged: app.damaged(&["tokens", "token_states"]),
    })
}

/// Whether a token is asked for.
fn filter(page: &api::TokenPage, now: UnixTime) -> Result<impl Fn(&Token) -> bool, Failure> {
    let state = page.state.as_deref();
    let state = state
        .map(|text| word::<LifeCycle>("state", text, STATES))
        .transpose()?;
    let kind = page.kind.as_deref();
    let kind = kind
        .map(|text| word::<Kind>("kind", text, KINDS))
        .transpose()?;
    Ok(move |token: &Token| {
        state.is_none_or(|state| token.state_at(now) == state)
            && kind.is_none_or(|kind| token.kind == kind)
    })
}

/// Whether only tokens are asked for that wait for an approval.
fn waiting(page: &api::TokenPage) -> bool {
    page.state.as_deref() == Some(LifeCycle::Requested.as_str())
}

fn is_behind(token: &Token, after: Option<&(UserKey, Serial)>) -> bool {
    after.is_none_or(|(user, serial)| {
        let place = (token.user.realm(), token.user.name(), &token.serial);
        place > (user.realm(), user.name(), serial)
    })
}

/// Whether only tokens are asked for that are no user's.
fn in_stock(page: &api::TokenPage) -> bool {
    page.state.as_deref() == Some(LifeCycle::Unassigned.as_str())
}

/// The next `wanted` matching tokens after the cursor.
async fn matching(
    store: &Store,
    mut after: Option<(UserKey, Serial)>,
    wanted: usize,
    fits: impl Fn(&Token) -> bool,
    stock: bool,
) -> Result<Vec<(Token, TokenState)>, Failure> {
    let mut found = Vec::new();
    loop {
        let position = after.as_ref().map(|(user, serial)| (user, serial));
        let batch = store.tokens(position, BATCH.max(wanted))?;
        // What is no user's stands before all that is: behind it there is none.
        let past = |(token, _): &(Token, TokenState)| !token.user.is_stock();
        let ended = batch.len() < BATCH.max(wanted) || stock && batch.last().is_some_and(past);
        after = batch
            .last()
            .map(|(token, _)| (token.user.clone(), token.serial.clone()));
        found.extend(batch.into_iter().filter(|(token, _)| fits(token)));
        if ended || found.len() >= wanted {
            found.truncate(wanted);
            return Ok(found);
        }
        // Without a point to wait at, other tasks would starve and the call could not be cancelled.
        tokio::task::yield_now().await;
    }
}

async fn add(
    app: Arc<App>,
    call: Received<AddToken, (Caller, By)>,
) -> Result<api::TokenCreated, Failure> {
    let (caller, by) = call.from;
    let counter = call.body.counter;
    let mut new = enrol(call.body)?;
    new.token.user = app.core().store().named(new.token.user)?;
    tell::may_change(&by, &new.token.user)?;
    // What others must approve first, an operator can only ask for.
    new.request |= !caller.may_administer();
    new.strict = !caller.may_administer();
    let (user, serial) = (new.token.user.clone(), new.token.serial.clone());
    let made = match app.admin().enrol_token(new, by).await {
        Ok(made) => made,
        Err(error) => {
            let wanted = (&user, serial.as_ref());
            return Err(tell::token_exists(&app, &caller, wanted, error));
        }
    };
    let token = &made.token;
    let shown = token.kind.is_keyed() && token.state != LifeCycle::Requested;
    let yubikey = token.kind == Kind::Yubikey;
    let text = |secret: &SecretString| secret.expose().to_owned();
    let owner = app.admin().user(&token.user)?;
    let accepted_by = app
        .admin()
        .effect_of(Some(&owner), Means::Token(token.kind));
    let now = app.core().now();
    let mut warnings = warnings(token);
    warnings.extend(closed(token, &made.state, now));
    if accepted_by.is_empty() {
        warnings.push(format!(
            "no effect under any client's policy today: no rule for this user accepts {} tokens",
            token.kind
        ));
    }
    Ok(api::TokenCreated {
        token: forms::token(token, &made.state, now),
        secret: shown.then(|| key_text(token)),
        private_id: (shown && yubikey).then(|| hex(token.key.expose().get(yubikey::AES..))),
        otpauth_uri: (shown && !yubikey).then(|| text(&otpauth_uri(&app, token, counter))),
        cells: made.cells.iter().map(text).collect(),
        codes: made.codes.iter().map(text).collect(),
        warnings,
        accepted_by,
    })
}

/// The key as it is written: in hexadecimal digits without the private id where it is a yubikey's.
fn key_text(token: &Token) -> String {
    let key = token.key.expose();
    match token.kind {
        Kind::Yubikey => hex(key.get(..yubikey::AES)),
        _ => otpauth::encode_base32(key).expose().to_owned(),
    }
}

fn hex(octets: Option<&[u8]>) -> String {
    data_encoding::HEXLOWER.encode(octets.unwrap_or_default())
}

async fn show(
    app: Arc<App>,
    call: Received<ShowToken, (Caller, By)>,
) -> Result<api::Token, Failure> {
    shown_to(&app, &call.from.0, &call.place)
}

async fn remove(app: Arc<App>, call: Admin<RemoveToken>) -> Result<(), Failure> {
    let removed = app
        .admin()
        .remove_token(&call.place, call.expected, call.from);
    Ok(removed.await?)
}

pub(super) fn shown(app: &App, serial: &Serial) -> Result<api::Token, Failure> {
    let (token, state) = app.admin().token(serial)?;
    Ok(forms::token(&token, &state, app.core().now()))
}

/// The token as the caller sees it: with those for whom it counts.
pub(super) fn shown_to(app: &App, caller: &Caller, serial: &Serial) -> Result<api::Token, Failure> {
    let (token, state) = app.admin().token(serial)?;
    Ok(seen(app, caller, (&token, &state)))
}

/// A token, and the users beside its owner for whom it counts, of those whom the caller sees. Where these cannot be
/// read, all else is shown.
pub(super) fn seen(
    app: &App,
    caller: &Caller,
    (token, state): (&Token, &TokenState),
) -> api::Token {
    let sharers = app.core().store().sharers(&token.serial);
    let mut sharers = sharers.unwrap_or_default();
    sharers.retain(|user| caller.sees(user));
    api::Token {
        linked: sharers.iter().map(ToString::to_string).collect(),
        ..forms::token(token, state, app.core().now())
    }
}

/// `USER/SERIAL`, as `next` of a page gives it.
/// The owner in a position: as it is displayed, which for the stock is `@`.
fn owner(text: &str) -> Option<UserKey> {
    if text == "@" {
        return Some(UserKey::stock());
    }
    UserKey::parse(text).ok()
}

fn position(text: &str) -> Result<(UserKey, Serial), Failure> {
    let split = text.rsplit_once('/');
    let read = split.and_then(|(user, serial)| Some((owner(user)?, serial.parse().ok()?)));
    read.ok_or_else(|| Failure::malformed("after: give `next` of the page before"))
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
        by_link: false,
        carrier: None,
    })
}

/// The token that is asked for.
pub(super) fn wanted(new: &api::TokenCreate) -> Result<NewToken, Failure> {
    let kind: Kind = word("kind", &new.kind, KINDS)?;
    moving_factor(kind, new)?;
    let algorithm = new.algorithm.as_deref();
    let algorithm = algorithm.map(|text| word("algorithm", text, "sha1, sha256, sha512"));
    let digits = new
        .digits
        .map(|digits| Digits::new(digits).ok_or_else(|| Failure::malformed("digits: 6 to 9")));
    let period = new.period.map(|secs| {
        Period::new(secs).ok_or_else(|| Failure::malformed("period: 15 to 300 seconds"))
    });
    let private_id = new.private_id.as_ref().map(SecretString::expose);
    if private_id.is_some() && new.secret.is_none() {
        return Err(Failure::malformed(
            "secret: missing; a private id comes with its key",
        ));
    }
    let key = new.secret.as_ref().map(|text| match kind {
        Kind::Yubikey => yubikey::secret(text.expose(), private_id).map_err(Failure::malformed),
        _ => otpauth::decode_base32(text.expose())
            .map_err(|error| Failure::malformed(format!("secret: {error}"))),
    });
    Ok(NewToken {
        user: user_key(&new.user)?,
        kind,
        algorithm: algorithm.transpose()?.unwrap_or(Algorithm::Sha1),
        digits: digits.transpose()?.unwrap_or(Digits::SIX),
        period: period.transpose()?.unwrap_or(Period::THIRTY),
        key: key.transpose()?,
        counter: new.counter.unwrap_or(0),
        active: new.active,
        serial: serial(kind, new)?,
    })
}

/// The name of a token that is asked for: of a yubikey its public id.
fn serial(kind: Kind, new: &api::TokenCreate) -> Result<Option<Serial>, Failure> {
    let wanted = "serial: 1 to 40 letters, digits, dashes, underscores";
    let serial = new.serial.as_deref();
    let serial: Option<Serial> = serial
        .map(|text| text.parse().map_err(|_| Failure::malformed(wanted)))
        .transpose()?;
    let Some(id) = new.public_id.as_deref().filter(|_| kind == Kind::Yubikey) else {
        return Ok(serial);
    };
    let modhex = "public_id: 1 to 16 of the letters cbdefghijklnrtuv";
    let id: Serial = Some(id)
        .filter(|id| yubikey::is_public_id(id))
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| Failure::malformed(modhex))?;
    if serial.is_some_and(|serial| serial != id) {
        return Err(Failure::malformed(
            "serial: of a yubikey it is the public id",
        ));
    }
    Ok(Some(id))
}

/// Refuses what tokens of this kind do not have.
fn moving_factor(kind: Kind, new: &api::TokenCreate) -> Result<(), Failure> {
    let moving = matches!(kind, Kind::Totp | Kind::Hotp);
    for (field, given, applies, only) in [
        (
            "algorithm",
            new.algorithm.is_some(),
            moving,
            "totp and hotp",
        ),
        ("digits", new.digits.is_some(), moving, "totp and hotp"),
        ("period", new.period.is_some(), moving, "totp and hotp"),
        (
            "public_id",
            new.public_id.is_some(),
            kind == Kind::Yubikey,
            "yubikey",
        ),
        (
            "private_id",
            new.private_id.is_some(),
            kind == Kind::Yubikey,
            "yubikey",
        ),
        (
            "period",
            new.period.is_some(),
            kind != Kind::Hotp,
            "time-based",
        ),
        (
            "counter",
            new.counter.is_some(),
            matches!(kind, Kind::Hotp | Kind::Yubikey),
            "counter-based",
        ),
    ] {
        if given && !applies {
            return Err(Failure::malformed(format!(
                "{field}: only {only} tokens have one"
            )));
        }
    }
    Ok(())
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

/// What a repair or restore of the store keeps of a key that came from outside.
fn closed(token: &Token, state: &TokenState, now: UnixTime) -> Option<String> {
    let serial = &token.serial;
    if let Some(at) = state.needs_resync() {
        return Some(format!(
            "the store was repaired or restored on {at}, and which codes of this key were used before is not known: it \
             comes into use by `oncegate token resync {serial}`, then `oncegate token confirm {serial}`"
        ));
    }
    let (at, until) = state.refused_until(now)?;
    Some(format!(
        "codes are refused until {until}: the store was repaired or restored on {at}, and codes of this key may have been \
         used before"
    ))
}

/// Tokens looked at at a time for those that are asked for.
const BATCH: usize = 1000;
