//! Accounting: what NASes report of sessions goes on record (RFC 2866).

use std::time::Duration;

use crate::core::endings::Ending;
use crate::core::{CoreError, policy_of};
use crate::login::{Login, LoginRequest, Presented, attributes, facts};
use crate::model::audit::Channel;
use crate::model::client::Client;
use crate::model::id::RequestId;
use crate::model::session;
use crate::model::session::{Accounting, Class, Session, SessionKey};
use crate::model::user_key::UserKey;
use crate::secret::SecretString;
use crate::store::{By, Change, StoreError};
use crate::time::UnixTime;

impl Login {
    /// The reply attributes that a session would begin with now: by the policy of its client, of its user as the
    /// records are. `Err`: why there are none.
    pub fn reply_of(
        &self,
        session: &Session,
    ) -> Result<Result<Vec<(String, String)>, String>, CoreError> {
        let name = &session.key.client;
        let Some(client) = self.core.client(name) else {
            return Ok(Err(format!("there is no client {name} any more")));
        };
        let view = match session.user.parse::<UserKey>() {
            Ok(user) => self.core.store.view(&user)?,
            Err(_) => None,
        };
        let Some(view) = view.filter(|view| !view.user.disabled) else {
            let user = &session.user;
            return Ok(Err(format!("{user} is no user who may log in")));
        };
        let policies = self.core.policies.load_full();
        let policy = policy_of(&client, &policies)?;
        let (id, at) = self.core.arrival()?;
        let station = session.calling_station.as_deref();
        let nothing = SecretString::default();
        let request = LoginRequest {
            id,
            at,
            deadline: at,
            client: &client,
            channel: Channel::Radius,
            method: "pap",
            user: view.user.key.name(),
            presented: Presented::Passcode(&nothing),
            challenge: None,
            serial: None,
            rounds: false,
            source: station.and_then(|station| station.trim().parse().ok()),
            attributes: &[],
            context: &[],
            origin: None,
            carrier: None,
        };
        let rule = policy.decide(&facts(&request, &view, at)).rule();
        Ok(match rule {
            Some(rule) => Ok(attributes(&request, policy, rule, &view, None)),
            None => Err(format!(
                "no rule of policy {} holds for {}",
                policy.name, session.user
            )),
        })
    }

    /// Puts what a client reports on record. Durable when it answers; what was known before needs no
    /// other record.
    pub async fn account(
        &self,
        said: &Accounting,
        client: &Client,
        (request, at): (RequestId, UnixTime),
    ) -> Result<(), CoreError> {
        let by = By::new(format!("radius:{}", client.name), (request, at));
        let note = |action, target: &str, user: &str, detail| Change::Note {
            action,
            target: target.to_owned(),
            user: (!user.is_empty()).then(|| user.to_owned()),
            detail,
        };
        match said {
            Accounting::Session(report) => {
                let mut report = (**report).clone();
                let session = &mut report.session;
                if let Some(owner) = self.of_alias(&session.user, client)? {
                    let name = std::mem::replace(&mut session.user, owner.to_string());
                    session.user_name.get_or_insert(name);
                }
                self.some(Change::ReportSession(report), &by).await?;
            }
            Accounting::Nas { nas, on, at } => {
                let action = if *on {
                    "accounting_on"
                } else {
                    "accounting_off"
                };
                self.some(note(action, nas, "", at.rfc3339()), &by).await?;
                self.end_sessions((&client.name, nas), *at, &by).await?;
            }
            Accounting::Other {
                nas,
                status,
                session,
                user,
            } => {
                let target = session.as_deref().unwrap_or(nas);
                let detail = format!("NAS {nas}, Acct-Status-Type {status}");
                let owner = self.of_alias(user, client)?.map(|owner| owner.to_string());
                let user = owner.as_deref().unwrap_or(user);
                self.some(note("accounting_other", target, user, detail), &by)
                    .await?;
            }
        }
        Ok(())
    }

    /// Forgets sessions that no NAS has reported for so long.
    pub async fn forget_sessions(&self, quiet: Duration) -> Result<(), CoreError> {
        let (request, at) = self.core.arrival()?;
        let by = By::daemon((request, at));
        // A clock that was set ahead by mistake forgets nothing that is new.
        let newest = at.min(self.core.store.high_water()).as_millis();
        let quiet = u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX);
        let before = UnixTime::from_millis(newest.saturating_sub(quiet));
        let old = |session: &Session| session.updated < before;
        self.forget_those(&old, before, None, &by).await
    }

    /// Forgets all sessions of a user who was erased. The NASes are asked to end the open ones.
    pub(crate) async fn forget_sessions_of(
        &self,
        user: &UserKey,
        by: &By,
    ) -> Result<(), CoreError> {
        let name = user.to_string();
        let theirs = |session: &Session| session.user == name;
        let open = self.core.store.open_sessions_of(None, AT_A_TIME, &theirs);
        for session in open.await? {
            let why = "the user is erased".to_owned();
            if !self.core.endings.ask(Ending { session, why }) {
                tracing::warn!(
                    "too many sessions wait for their end: those of an erased user go on"
                );
                break;
            }
        }
        let ever = UnixTime::from_millis(u64::MAX);
        self.forget_those(&theirs, ever, Some(user), by).await
    }

    /// They are looked for beside the writer: it is given a few names at a time, and logins go on.
    async fn forget_those(
        &self,
        which: &(dyn Fn(&Session) -> bool + Sync),
        before: UnixTime,
        user: Option<&UserKey>,
        by: &By,
    ) -> Result<(), CoreError> {
        let mut after = None;
        loop {
            let found = self.core.store.sessions(after, AT_A_TIME, which).await?;
            let sessions: Vec<SessionKey> = found.into_iter().map(|one| one.key).collect();
            after = sessions.last().cloned();
            if after.is_none() {
                return Ok(());
            }
            let forget = Change::ForgetSessions {
                sessions,
                before,
                user: user.cloned(),
            };
            self.some(forget, by).await?;
        }
    }

    /// Ends the sessions of a NAS that began before it restarted.
    async fn end_sessions(&self, of: (&str, &str), at: UnixTime, by: &By) -> Result<(), CoreError> {
        let _turn = self.restarts.lock().await;
        let mut after = None;
        loop {
            let open = self.core.store.open_sessions(of, after.as_ref(), AT_A_TIME);
            let sessions = open?;
            after = sessions.last().cloned();
            if after.is_none() {
                return Ok(());
            }
            self.some(Change::EndSessions { sessions, at }, by).await?;
        }
    }

    /// The Class of an accept, by which the accounting of the session is linked with this login.
    pub fn class(&self, login: RequestId, client: &Client, user: &UserKey) -> Class {
        session::class(&self.class_key, login, &client.name, &user.to_string())
    }

    /// The login that a Class names, if this client was sent it for this user, or the user of this alias.
    pub fn login_of(&self, class: &[u8], client: &Client, user: &str) -> Option<RequestId> {
        let login = |user: &str| session::login_of(&self.class_key, class, &client.name, user);
        login(user).or_else(|| {
            // Where the store has no answer the session is on record without its login.
            let owner = self.of_alias(user, client).ok().flatten()?;
            login(&owner.to_string())
        })
    }

    /// The user of an alias in canonical form.
    fn of_alias(&self, name: &str, client: &Client) -> Result<Option<UserKey>, StoreError> {
        let Ok(name) = UserKey::parse(name) else {
            return Ok(None);
        };
        let owner = self.core.store.of_alias(&name)?;
        Ok(owner.filter(|owner| client.is_of_realm(owner)))
    }

    /// Whether there was something to change.
    async fn some(&self, change: Change, by: &By) -> Result<bool, CoreError> {
        match self.core.store.change(change, by.clone()).await {
            Err(StoreError::NotFound) => Ok(false),
            done => Ok(done.map(|()| true)?),
        }
    }
}

/// Sessions that one change ends or forgets: logins wait for its commit.
const AT_A_TIME: usize = 200;
