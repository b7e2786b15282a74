//! `/v1/admin/tokens/{serial}/...`: how a token comes into use, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use crate::admin::{AdminError, Assigned, Goal, Window};
use crate::api::{
    self, ApproveToken, AssignToken, ConfirmToken, DenyToken, LinkToken, OfferToken, RenewToken,
    ResumeToken, ResyncToken, RevokeToken, SuspendToken, UnassignToken, UnlinkToken,
};
use crate::model::enrolment::RevokeReason;
use crate::model::kind::Kind;
use crate::model::token::{LifeCycle, Token};
use crate::otpauth::enrol::app_link;
use crate::secret::SecretString;
use crate::server::http::App;
use crate::server::http::admin::tokens::{shown, shown_to};
use crate::server::http::caller::Caller;
use crate::server::http::error::Failure;
use crate::server::http::offered::{Ways, offered};
use crate::server::http::read::{code, user_named, word};
use crate::server::http::route::{Admin, Received, Routes};
use crate::server::http::tell;
use crate::store::{ADMINISTRATORS_ONLY, By, COUNTS_TWICE, SHARED_WITH_CONSOLE};

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
        .on(assign)
        .on(unassign)
        .on(link)
        .on(unlink)
}

async fn confirm(app: Arc<App>, call: Admin<ConfirmToken>) -> Result<api::Token, Failure> {
    let (token, _) = app.admin().token(&call.place)?;
    if token.kind.is_keyed() {
        code("otp", &call.body.otp)?;
    }
    let confirmed = app
        .admin()
        .prove_token(&call.place, &call.body.otp, call.from);
    confirmed.await.map_err(|error| match error {
        AdminError::Refused(reason) => tell::not_confirmed(&token, reason),
        other => state_refuses(other),
    })?;
    shown(&app, &call.place)
}

async fn resync(app: Arc<App>, call: Admin<ResyncToken>) -> Result<api::Token, Failure> {
    let (first, second) = (
        code("first", &call.body.first)?,
        code("second", &call.body.second)?,
    );
    let (token, _) = app.admin().token(&call.place)?;
    let found = app
        .admin()
        .resync_token(&call.place, &first, &second, call.from);
    found.await.map_err(|error| match error {
        AdminError::Refused(reason) => tell::not_found_again(&token, reason),
        other => state_refuses(other),
    })?;
    shown(&app, &call.place)
}

async fn suspend(app: Arc<App>, call: Admin<SuspendToken>) -> Result<api::Token, Failure> {
    let done = app
        .admin()
        .suspend_token(&call.place, call.expected, call.from);
    done.await.map_err(state_refuses)?;
    shown(&app, &call.place)
}

async fn resume(app: Arc<App>, call: Admin<ResumeToken>) -> Result<api::Token, Failure> {
    let done = app
        .admin()
        .resume_token(&call.place, call.expected, call.from);
    done.await.map_err(state_refuses)?;
    shown(&app, &call.place)
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
            "server_url: the QR code names this server; give it, or set http.public_url and restart the daemon",
        ));
    }
    let app_url = app.info().app_url.as_deref();
    let own = app_url.filter(|own| url.as_deref() == Some(*own));
    let opens = own.map(|own| {
        (
            own,
            app_link as fn(&str, &str, &SecretString) -> SecretString,
        )
    });
    let handed_out =
        app.admin()
            .offer_token(&call.place, &ways.media, opens, call.expected, call.from);
    let handed_out = handed_out.await;
    let handed_out = handed_out.map_err(|error| conflict(&app, &token, Goal::Use, error))?;
    Ok(offered(&app, &handed_out, &ways, url.as_deref()))
}

async fn approve(app: Arc<App>, call: Admin<ApproveToken>) -> Result<api::Token, Failure> {
    let on_behalf = call.body.on_behalf.as_deref();
    let approved = app
        .admin()
        .approve_token(&call.place, on_behalf, call.expected, call.from);
    match approved.await {
        Ok(_) => shown(&app, &call.place),
        Err(AdminError::Conflict(why)) => {
            let (token, _) = app.admin().token(&call.place)?;
            let error = AdminError::Conflict(why);
            Err(if token.state == LifeCycle::Requested {
                error.into()
            } else {
                conflict(&app, &token, Goal::Use, error)
            })
        }
        Err(other) => Err(other.into()),
    }
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
    let revoked = app
        .admin()
        .revoke_token(&call.place, reason, call.expected, call.from);
    ended(&app, &token, Goal::End, revoked.await)
}

async fn renew(app: Arc<App>, call: Admin<RenewToken>) -> Result<api::Token, Failure> {
    let (by, body) = (call.from, call.body);
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

async fn link(
    app: Arc<App>,
    call: Received<LinkToken, (Caller, By)>,
) -> Result<api::Token, Failure> {
    let (caller, by) = call.from;
    let (first, second) = (
        code("first", &call.body.first)?,
        code("second", &call.body.second)?,
    );
    let user = user_named(&app, &call.body.user)?;
    let (token, _) = app.admin().token(&call.place)?;
    let linked = app
        .admin()
        .link_token(&call.place, &user, (&first, &second), by);
    match linked.await {
        Ok(_) => shown_to(&app, &caller, &call.place),
        Err(AdminError::Refused(reason)) => Err(tell::not_found_again(&token, reason)),
        Err(AdminError::NotFound("user")) => Err(tell::no_user(&app, &caller, &user)),
        Err(other) => Err(state_refuses(other)),
    }
}

async fn assign(
    app: Arc<App>,
    call: Received<AssignToken, (Caller, By)>,
) -> Result<api::Token, Failure> {
    let (caller, by) = call.from;
    let body = call.body;
    if body.active && !caller.may_administer() {
        return Err(Failure::forbidden(
            "only an administrator assigns a token without its codes or its owner's first one",
        ));
    }
    let codes = match (&body.first, &body.second) {
        (Some(first), Some(second)) => Some((code("first", first)?, code("second", second)?)),
        (None, None) => None,
        _ => return Err(Failure::malformed("second: two consecutive codes, or none")),
    };
    let how = match &codes {
        Some((first, second)) => Assigned::Proven(first, second),
        None if body.active => Assigned::Active,
        None => Assigned::Pending,
    };
    let user = user_named(&app, &body.user)?;
    tell::may_change(&by, &user)?;
    let (token, _) = app.admin().token(&call.place)?;
    let assigned = app
        .admin()
        .assign_token(&call.place, &user, how, call.expected, by);
    match assigned.await {
        Ok(_) => shown(&app, &call.place),
        Err(AdminError::Refused(reason)) => {
            // What is in the way is the owner's.
            Err(tell::not_found_again(&Token { user, ..token }, reason))
        }
        Err(AdminError::NotFound("user")) => Err(tell::no_user(&app, &caller, &user)),
        Err(other) => Err(state_refuses(other)),
    }
}

async fn unassign(app: Arc<App>, call: Admin<UnassignToken>) -> Result<api::Token, Failure> {
    let by = call.from.clone();
    let done = app
        .admin()
        .unassign_token(&call.place, call.expected, call.from);
    done.await.map_err(|error| match error {
        AdminError::Conflict(COUNTS_TWICE) => tell::token_shared(&app, &by, &call.place),
        other => state_refuses(other),
    })?;
    shown(&app, &call.place)
}

async fn unlink(
    app: Arc<App>,
    call: Received<UnlinkToken, (Caller, By)>,
) -> Result<api::Token, Failure> {
    let (caller, by) = call.from;
    let user = user_named(&app, &call.body.user)?;
    tell::may_change(&by, &user)?;
    app.admin().unlink_token(&call.place, &user, by).await?;
    shown_to(&app, &caller, &call.place)
}

/// The token after a change that its state may not allow.
fn ended(
    app: &App,
    token: &Token,
    goal: Goal,
    done: Result<Token, AdminError>,
) -> Result<api::Token, Failure> {
    done.map_err(|error| conflict(app, token, goal, error))?;
    shown(app, &token.serial)
}

fn conflict(app: &App, token: &Token, goal: Goal, error: AdminError) -> Failure {
    match error {
        AdminError::Conflict(why) if ![ADMINISTRATORS_ONLY, SHARED_WITH_CONSOLE].contains(&why) => {
            tell::wrong_state(token, token.state_at(app.core().now()), goal, why)
        }
        other => state_refuses(other),
    }
}

/// What was refused for the token's state, with advice.
fn state_refuses(error: AdminError) -> Failure {
    let what = error.to_string();
    match error {
        AdminError::WrongState {
            token,
            state,
            goal,
            wanted,
        } => tell::wrong_state(&token, state, goal, wanted),
        AdminError::ClosedByRepair { token, .. } => tell::closed_by_repair(&token, what),
        other => other.into(),
    }
}
