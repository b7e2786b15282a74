//! The people of the console: users of the realm `console`, whose groups are their roles.
//!
//! They sign in by the same service, under the policy `console`, as everyone else who is asked for a code: with the
//! same limits, and on record as decisions of the client `console`.

use std::net::IpAddr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::core::CoreError;
use crate::login::{LoginAnswer, LoginRequest, Presented};
use crate::model::audit::Channel;
use crate::model::client::{Client, Scope};
use crate::model::token::LifeCycle;
use crate::model::user_key::{CONSOLE, UserKey};
use crate::secret::SecretString;
use crate::server::http::App;
use crate::store::{Store, StoreError, View};
use crate::web::Desk;

/// What a person may do, and what they have signed in with.
pub(crate) struct Standing {
    pub(crate) roles: Vec<Scope>,
    /// Changes with the record of the person, the password and the tokens.
    pub(crate) digest: [u8; 32],
}

/// How a person stands now; `None`: not a person of the console any more.
pub(crate) fn standing(app: &App, user: &UserKey) -> Result<Option<Standing>, StoreError> {
    let store = app.core().store();
    let Some(view) = store.view(user)? else {
        return Ok(None);
    };
    if user.realm() != CONSOLE || view.user.disabled {
        return Ok(None);
    }
    let roles: Vec<Scope> = ROLES
        .into_iter()
        .filter(|role| view.user.groups.iter().any(|group| group == role.as_str()))
        .collect();
    if roles.is_empty() {
        return Ok(None);
    }
    let digest = digest(store, &view)?;
    Ok(Some(Standing { roles, digest }))
}

/// Of what a person stands on: their record, what they know and their tokens.
pub(crate) fn digest(store: &Store, view: &View) -> Result<[u8; 32], StoreError> {
    let mut digest = Sha256::new();
    digest.update(view.user.created.as_millis().to_be_bytes());
    digest.update(view.user.revision.to_be_bytes());
    digest.update(store.credentials(&view.user.key)?.revision.to_be_bytes());
    for (token, _) in &view.tokens {
        digest.update(token.serial.as_str());
        digest.update([0]);
        digest.update(token.state.as_str());
        digest.update([0]);
    }
    Ok(digest.finalize().into())
}

/// Whether someone has the role `admin` and a way to sign in; what cannot be read counts as one.
pub(crate) fn has_administrator(app: &App) -> bool {
    let store = app.core().store();
    // Behind all names of the realms before it.
    let mut after = UserKey::with_realm("!", CONSOLE).ok();
    loop {
        let Ok(page) = store.users(after.as_ref(), PAGE) else {
            return true;
        };
        let of_console = page.iter().filter(|user| user.key.realm() == CONSOLE);
        let is_admin = |group: &String| group == Scope::Admin.as_str();
        let mut admins = of_console
            .clone()
            .filter(|user| user.groups.iter().any(is_admin));
        if admins.any(|user| may_sign_in(store, &user.key)) {
            return true;
        }
        if of_console.count() < PAGE {
            return false;
        }
        after = page.last().map(|user| user.key.clone());
    }
}

/// Whether a token of a person can be used or be put to use: an account whose set-up was broken off has none.
fn may_sign_in(store: &Store, user: &UserKey) -> bool {
    let begun = |state| matches!(state, LifeCycle::Active | LifeCycle::Suspended);
    match store.view(user) {
        Ok(Some(view)) => view.tokens.iter().any(|(token, _)| begun(token.state)),
        Ok(None) => false,
        Err(_) => true,
    }
}

/// What a person typed to prove who they are.
pub(crate) struct Proof {
    pub(crate) user: UserKey,
    pub(crate) password: Option<SecretString>,
    pub(crate) code: Option<SecretString>,
    /// Goes on with a round that was begun.
    pub(crate) challenge: Option<String>,
    /// Whether it is for a dangerous act of someone who has signed in.
    pub(crate) step_up: bool,
    pub(crate) source: Option<IpAddr>,
}

/// What came of it.
pub(crate) enum Proven {
    /// It is the person.
    Yes,
    /// Right so far; what is asked for next.
    More { challenge: String, prompt: String },
    /// It is not.
    No,
}

/// Decides; a refusal is answered when its time has come.
pub(crate) async fn prove(desk: &Desk, proof: Proof) -> Result<Proven, CoreError> {
    let app = Arc::clone(&desk.app);
    let asked = desk.app.finish(async move { decide(&app, proof).await });
    let Ok(decided) = asked.await else {
        return Err(CoreError::Contended);
    };
    let (proven, until) = decided?;
    tokio::time::sleep_until(until).await;
    Ok(proven)
}

async fn decide(app: &App, proof: Proof) -> Result<(Proven, Instant), CoreError> {
    let arrived = Instant::now();
    let (id, at) = app.core().arrival()?;
    let client = Client {
        policy: Some(CONSOLE.to_owned()),
        realm: Some(CONSOLE.to_owned()),
        ..Client::without_record(CONSOLE)
    };
    let context: &[(&str, &str)] = if proof.step_up {
        &[("console", "step-up")]
    } else {
        &[]
    };
    let request = LoginRequest {
        id,
        at,
        deadline: at.plus(app.limits().request_timeout),
        client: &client,
        channel: Channel::Http,
        method: "http",
        user: proof.user.name(),
        presented: Presented::Fields {
            password: proof.password.as_ref(),
            pin: None,
            otp: proof.code.as_ref(),
        },
        challenge: proof.challenge.as_deref(),
        rounds: true,
        source: proof.source,
        attributes: &[],
        context,
        origin: None,
        serial: None,
        carrier: None,
    };
    let outcome = app.login().authenticate(&request).await?;
    let proven = match outcome.answer {
        LoginAnswer::Accept(_) => Proven::Yes,
        LoginAnswer::Challenge(round) => Proven::More {
            challenge: round.id,
            prompt: round.prompt.into_owned(),
        },
        LoginAnswer::Reject => Proven::No,
    };
    Ok((proven, arrived + outcome.delay))
}

/// What people of the console can be.
pub(crate) const ROLES: [Scope; 4] = [
    Scope::Admin,
    Scope::Operator,
    Scope::Approver,
    Scope::Auditor,
];
/// Users that are read at a time.
const PAGE: usize = 500;
