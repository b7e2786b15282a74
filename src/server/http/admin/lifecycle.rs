//! `/v1/admin/tokens/{serial}/...`: how a token comes into use, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use crate::admin::{AdminError, Window, may_resync};
use crate::api::{
    self, ApproveToken, ConfirmToken, DenyToken, LinkToken, OfferToken, RenewToken, ResumeToken,
    ResyncToken, RevokeToken, SuspendToken, UnlinkToken,
};
use crate::model::enrolment::RevokeReason;
use crate::model::kind::Kind;
use crate::model::token::{LifeCycle, Token};
use crate::server::http::App;
use crate::server::http::admin::tokens::shown;
use crate::server::http::caller::Caller;
use crate::server::http::error::Failure;
use crate::server::http::offered::{Ways, offered};
use crate::server::http::read::{code, user_key, word};
use crate::server::http::route::{Admin, Received, Routes};
use crate::server::http::tell::{self, Goal};
use crate::store::By;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .on(confirm)
        .on(resync)
        .on(suspend)
        .on(resume)
        .on(revoke)
        .on(offer)
        .on(approve)
        .on(deny)
        .on(renew)
        .on(link)
        .on(unlink)
}

async fn confirm(app: Arc<App>, call: Admin<ConfirmToken>) -> Result<api::Token, Failure> {
    let (token, state) = app.admin().token(&call.place)?;
    if matches!(token.kind, Kind::Totp | Kind::Hotp) {
        code("otp", &call.body.otp)?;
    }
    if token.state_at(app.core().now()) != LifeCycle::Pending {
        let why = "only a pending one is confirmed";
        return Err(wrong_state(&app, &token, Goal::Use, why));
    }
    tell::closed_by_repair(&token, &state)?;
    let confirmed = app
        .admin()
        .prove_token(&call.place, &call.body.otp, call.from);
    confirmed.await.map_err(|error| match error {
        AdminError::Refused(reason) => tell::not_confirmed(&token, reason),
        other => other.into(),
    })?;
    shown(&app, &call.place)
}

async fn resync(app: Arc<App>, call: Admin<ResyncToken>) -> Result<api::Token, Failure> {
    let (first, second) = (
        code("first", &call.body.first)?,
        code("second", &call.body.second)?,
    );
    let (token, state) = app.admin().token(&call.place)?;
    let life = token.state_at(app.core().now());
    if !may_resync(life, &state) || !matches!(token.kind, Kind::Totp | Kind::Hotp) {
        let why = "only an active or suspended totp or hotp token is resynchronised";
        return Err(wrong_state(&app, &token, Goal::Use, why));
    }
    let found = app
        .admin()
        .resync_token(&call.place, &first, &second, call.from);
    found.await.map_err(|error| match error {
        AdminError::Refused(reason) => tell::not_found_again(&token, reason),
        other => other.into(),
    })?;
    shown(&app, &call.place)
}

async fn suspend(app: Arc<App>, call: Admin<SuspendToken>) -> Result<api::Token, Failure> {
    let (token, _) = app.admin().token(&call.place)?;
    if token.state_at(app.core().now()) != LifeCycle::Active {
        let why = "only an active one is suspended";
        return Err(wrong_state(&app, &token, Goal::End, why));
    }
    moved(&app, &token, LifeCycle::Suspended, call.expected, call.from).await
}

async fn resume(app: Arc<App>, call: Admin<ResumeToken>) -> Result<api::Token, Failure> {
    let (token, state) = app.admin().token(&call.place)?;
    // A pending token becomes active by its first right code, not by this.
    if token.state_at(app.core().now()) != LifeCycle::Suspended {
        let why = "only a suspended one is resumed";
        return Err(wrong_state(&app, &token, Goal::Use, why));
    }
    tell::closed_by_repair(&token, &state)?;
    moved(&app, &token, LifeCycle::Active, call.expected, call.from).await
}

async fn moved(
    app: &App,
    token: &Token,
    to: LifeCycle,
    expected: Option<u64>,
    by: By,
) -> Result<api::Token, Failure> {
    let moved = app.admin().set_token_state(&token.serial, to, expected, by);
    moved.await?;
    shown(app, &token.serial)
}

async fn offer(app: Arc<App>, call: Admin<OfferToken>) -> Result<api::Offered, Failure> {
    let ways = Ways::read(&call.body.by)?;
    let (token, _) = app.admin().token(&call.place)?;
    let url = call
        .body
        .server_url
        .or_else(|| app.info().public_url.clone());
    if token.kind == Kind::Server && ways.qr && !call.body.by.is_empty() && url.is_none() {
        return Err(Failure::malformed(
            "server_url: the QR code names this server; give it, or set http.public_url",
        ));
    }
    let handed_out = app
        .admin()
        .offer_token(&call.place, &ways.media, call.expected, call.from);
    let handed_out = handed_out.await;
    let handed_out = handed_out.map_err(|error| state_refuses(&app, &token, Goal::Use, error))?;
    Ok(offered(&app, &handed_out, &ways, url.as_deref()))
}

async fn approve(
    app: Arc<App>,
    call: Received<ApproveToken, (Caller, By)>,
) -> Result<api::Token, Failure> {
    let (caller, by) = call.from;
    let on_behalf = call.body.on_behalf.as_deref();
    if on_behalf.is_none() && !caller.may_approve() {
        return Err(Failure::forbidden(
            "this needs a key with the scope `approver` or `admin`, or a right that was lent: \
             say whose (`on_behalf`)",
        ));
    }
    let (token, _) = app.admin().token(&call.place)?;
    let approved = app
        .admin()
        .approve_token(&call.place, on_behalf, call.expected, by);
    approved.await.map_err(|error| {
        if token.state == LifeCycle::Requested {
            return error.into();
        }
        state_refuses(&app, &token, Goal::Use, error)
    })?;
    shown(&app, &call.place)
}

async fn deny(app: Arc<App>, call: Admin<DenyToken>) -> Result<api::Token, Failure> {
    let (token, _) = app.admin().token(&call.place)?;
    let denied = app
        .admin()
        .deny_token(&call.place, &call.body.reason, call.expected, call.from);
    ended(&app, &token, Goal::End, denied.await)
}

async fn revoke(app: Arc<App>, call: Admin<RevokeToken>) -> Result<api::Token, Failure> {
    let words = "lost, stolen, replaced, moved, left, compromised, other";
    let reason = call.body.reason.as_deref();
    let reason = reason.map(|text| word("reason", text, words)).transpose()?;
    let reason = reason.unwrap_or(RevokeReason::Other);
    let (token, _) = app.admin().token(&call.place)?;
    let present = token.state_at(app.core().now());
    if !present.may_become(LifeCycle::Revoked) {
        let why = "there is nothing to revoke";
        return Err(wrong_state(&app, &token, Goal::End, why));
    }
    let revoked = app
        .admin()
        .revoke_token(&call.place, reason, call.expected, call.from);
    ended(&app, &token, Goal::End, revoked.await)
}

async fn renew(
    app: Arc<App>,
    call: Received<RenewToken, (Caller, By)>,
) -> Result<api::Token, Failure> {
    let ((caller, by), body) = (call.from, call.body);
    if !caller.may_administer() && (body.force || body.valid_for_secs.is_some()) {
        return Err(Failure::forbidden(
            "only the scope `admin` renews before its time, or for another time",
        ));
    }
    let window = if body.force {
        Window::Ignored
    } else {
        Window::Kept
    };
    let length = body.valid_for_secs.map(Duration::from_secs);
    let (token, _) = app.admin().token(&call.place)?;
    let renewed = app
        .admin()
        .renew_token(&call.place, length, window, call.expected, by);
    ended(&app, &token, Goal::Renew, renewed.await)
}

async fn link(app: Arc<App>, call: Admin<LinkToken>) -> Result<api::Token, Failure> {
    let (first, second) = (
        code("first", &call.body.first)?,
        code("second", &call.body.second)?,
    );
    let user = user_key(&call.body.user)?;
    let (token, _) = app.admin().token(&call.place)?;
    let in_use = token.state_at(app.core().now()) == LifeCycle::Active;
    if !in_use || !matches!(token.kind, Kind::Totp | Kind::Hotp) {
        let why = "only an active totp or hotp token is linked";
        return Err(wrong_state(&app, &token, Goal::Use, why));
    }
    let linked = app
        .admin()
        .link_token(&call.place, &user, (&first, &second), call.from);
    match linked.await {
        Ok(_) => shown(&app, &call.place),
        Err(AdminError::Refused(reason)) => Err(tell::not_found_again(&token, reason)),
        Err(AdminError::NotFound("user")) => Err(tell::no_user(&app, &user)),
        Err(other) => Err(other.into()),
    }
}

async fn unlink(app: Arc<App>, call: Admin<UnlinkToken>) -> Result<api::Token, Failure> {
    let user = user_key(&call.body.user)?;
    app.admin()
        .unlink_token(&call.place, &user, call.from)
        .await?;
    shown(&app, &call.place)
}

/// The token after a change that its state may not allow.
fn ended(
    app: &App,
    token: &Token,
    goal: Goal,
    done: Result<Token, AdminError>,
) -> Result<api::Token, Failure> {
    done.map_err(|error| state_refuses(app, token, goal, error))?;
    shown(app, &token.serial)
}

fn state_refuses(app: &App, token: &Token, goal: Goal, error: AdminError) -> Failure {
    match error {
        AdminError::Conflict(why) => wrong_state(app, token, goal, why),
        other => other.into(),
    }
}

/// A token whose state at present does not allow what was asked.
fn wrong_state(app: &App, token: &Token, goal: Goal, wanted: &str) -> Failure {
    tell::wrong_state(token, app.core().now(), goal, wanted)
}
