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
use crate::time::UnixTime;
use crate::web::Desk;

/// What a person may do, and what they have signed in with.
pub(crate) struct Standing {
    pub(crate) roles: Vec<Scope>,
    pub(crate) ground: Ground,
}

/// What a session stands on: it ends when any of it changes, but for what is changed in the session itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ground {
    /// When the person's record was made: a later one of the same name is another.
    created: UnixTime,
    /// Revision of that record.
    revision: u64,
    /// Revision of what they know.
    known: u64,
    /// Digest of their tokens and how far those are.
    tokens: [u8; 32],
}

/// What an act of the person changes of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    Nothing,
    /// Their record, once.
    Record,
    Tokens,
    /// Anything: the person has proven again who they are, as at a sign-in.
    Proven,
}

impl Ground {
    pub(crate) fn of(store: &Store, view: &View) -> Result<Self, StoreError> {
        let mut tokens = Sha256::new();
        for (token, _) in &view.tokens {
            tokens.update(token.serial.as_str());
            tokens.update([0]);
            tokens.update(token.state.as_str());
            tokens.update([0]);
        }
        Ok(Self {
            created: view.user.created,
            revision: view.user.revision,
            known: store.credentials(&view.user.key)?.revision,
            tokens: tokens.finalize().into(),
        })
    }

    /// Whether this is what it was before but for what an act changed. What others change at the same time is not
    /// taken for the act's: who holds a stolen session could act in it again and again until they do.
    pub(crate) fn is_but_for(self, changed: Part, before: Self) -> bool {
        let expected = match changed {
            Part::Nothing => before,
            Part::Record => Self {
                revision: before.revision + 1,
                ..before
            },
            Part::Tokens => Self {
                tokens: self.tokens,
                ..before
            },
            Part::Proven => Self {
                created: before.created,
                ..self
            },
        };
        self == expected
    }
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
    let ground = Ground::of(store, &view)?;
    Ok(Some(Standing { roles, ground }))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A session that is used again and again outlives nothing that others change at the same time.
    #[test]
    fn only_what_an_act_changed_is_taken_for_its_own() {
        let before = Ground {
            revision: 7,
            known: 3,
            ..Ground::default()
        };
        let record = Ground {
            revision: 8,
            ..before
        };
        let tokens = Ground {
            tokens: [1; 32],
            ..before
        };
        for (changed, own) in [
            (Part::Nothing, before),
            (Part::Record, record),
            (Part::Tokens, tokens),
            (Part::Tokens, before),
        ] {
            assert!(own.is_but_for(changed, before), "{changed:?}");
            // A new password, another change of the record, another person of the same name.
            let known = Ground { known: 4, ..own };
            let revision = own.revision + 1;
            let twice = Ground { revision, ..own };
            let created = UnixTime::from_secs(1);
            let other = Ground { created, ..own };
            for others in [known, twice, other] {
                assert!(!others.is_but_for(changed, before), "{changed:?}");
            }
        }
        assert!(!tokens.is_but_for(Part::Record, before));
        assert!(!record.is_but_for(Part::Tokens, before));
        let all = Ground {
            revision: 9,
            known: 4,
            ..tokens
        };
        assert!(all.is_but_for(Part::Proven, before));
    }
}
