//! What the audit trail says of users and tokens that may log in no more: their sessions end too.
//!
//! The trail is the outbox, as for notices ([`crate::notify`]): whatever front end, import or device made the
//! change, it is in the trail. At start the last [`RECENT`] of it is read again, since a request may have been
//! cut short by the end of the daemon; a NAS that ended the session has reported so, or says that there is
//! none.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::core::CoreError;
use crate::core::endings::Ending;
use crate::model::audit::{AuditRecord, ChangeEvent, Changed, Event, FieldChange};
use crate::model::id::Serial;
use crate::model::session::Session;
use crate::model::user_key::UserKey;
use crate::server::radius::disconnect::{Disconnects, RECENT, began_before};
use crate::store::AuditQuery;
use crate::time::{UnixTime, millis};

/// Follows the trail until `shutdown`.
pub async fn follow(disconnects: Arc<Disconnects>, shutdown: CancellationToken) {
    let follower = Follower { disconnects };
    let follow = async {
        let mut seen = None;
        loop {
            if let Err(error) = follower.work(&mut seen).await {
                tracing::warn!(%error, "sessions of disabled users are not ended at present; it will be tried again");
            }
            tokio::time::sleep(TROUBLE).await;
        }
    };
    shutdown.run_until_cancelled(follow).await;
}

struct Follower {
    disconnects: Arc<Disconnects>,
}

impl Follower {
    async fn work(&self, seen: &mut Option<u64>) -> Result<(), CoreError> {
        let store = self.disconnects.core().store();
        // Before the trail is read, so that nothing falls between the two.
        let mut records = store.subscribe();
        let mut last = match *seen {
            Some(last) => last,
            None => self.recent().await?,
        };
        *seen = Some(last);
        loop {
            let page = store.audit_after(last, PAGE).await?;
            for record in &page {
                self.take(record).await?;
                last = record.seq;
                *seen = Some(last);
            }
            if !page.is_empty() {
                continue;
            }
            loop {
                match records.recv().await {
                    Ok(record) if record.seq <= last => {}
                    Ok(record) if record.seq == last + 1 => {
                        let seq = record.seq;
                        self.take(record).await?;
                        last = seq;
                        *seen = Some(last);
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Ok(()),
                }
            }
        }
    }

    /// The last record before what is read again at start.
    async fn recent(&self) -> Result<u64, CoreError> {
        let core = self.disconnects.core();
        let store = core.store();
        let since = core.now().as_millis().saturating_sub(millis(RECENT));
        let query = AuditQuery {
            since: Some(UnixTime::from_millis(since)),
            limit: LOOK_BACK,
            ..AuditQuery::default()
        };
        let first = store.audit(query).await?.pop();
        let first = first.map(|record| record.seq.saturating_sub(1));
        Ok(first.unwrap_or_else(|| store.health().seq))
    }

    async fn take(&self, record: &AuditRecord) -> Result<(), CoreError> {
        let Event::Change(event) = &record.event else {
            return Ok(());
        };
        let causes = causes(event, &record.changes);
        for user in causes.users {
            let why = match self.disconnects.core().store().view(&user)? {
                None => "the user is removed",
                Some(view) if view.user.disabled => "the user is disabled",
                // Enabled again meanwhile.
                Some(_) => continue,
            };
            let name = user.to_string();
            let theirs =
                |session: &Session| session.user == name && began_before(session, record.at);
            for session in self.open(&theirs).await? {
                self.end(session, why.to_owned()).await;
            }
        }
        if !causes.tokens.is_empty() {
            self.end_of_tokens(&causes.tokens, event.user.as_deref(), record.at)
                .await?;
        }
        Ok(())
    }

    /// Ends the sessions whose login a token decided. Which those are only the Class tells that the NAS
    /// returned with its reports.
    async fn end_of_tokens(
        &self,
        tokens: &BTreeSet<Serial>,
        owner: Option<&str>,
        at: UnixTime,
    ) -> Result<(), CoreError> {
        let linked = |session: &Session| {
            let theirs = owner.is_none_or(|owner| session.user == owner);
            theirs && session.login.is_some() && began_before(session, at)
        };
        for session in self.open(&linked).await? {
            let query = AuditQuery {
                request: session.login,
                limit: 1,
                ..AuditQuery::default()
            };
            let login = self.disconnects.core().store().audit(query).await?;
            let serial = login.iter().find_map(|record| match &record.event {
                Event::Decision(event) => event.serial.clone(),
                Event::Change(_) => None,
            });
            if let Some(serial) = serial.filter(|serial| tokens.contains(serial)) {
                self.end(session, format!("token {serial} is revoked"))
                    .await;
            }
        }
        Ok(())
    }

    async fn open(
        &self,
        wanted: &(dyn Fn(&Session) -> bool + Sync),
    ) -> Result<Vec<Session>, CoreError> {
        let store = self.disconnects.core().store();
        Ok(store.open_sessions_of(None, MOST, wanted).await?)
    }

    async fn end(&self, session: Session, why: String) {
        let endings = self.disconnects.core().endings();
        endings.wait_and_ask(Ending { session, why }).await;
    }
}

/// Users and tokens that a change may have ended.
#[derive(Debug, Default, Eq, PartialEq)]
struct Causes {
    users: BTreeSet<UserKey>,
    tokens: BTreeSet<Serial>,
}

fn causes(event: &ChangeEvent, changes: &[FieldChange]) -> Causes {
    let mut causes = Causes::default();
    for change in changes {
        let Changed::Text { after, .. } = &change.change else {
            continue;
        };
        let after = after.as_deref();
        let name = |noun: &str| match &change.record {
            Some(record) => record.strip_prefix(noun)?.strip_prefix(' '),
            None => Some(event.target.as_str()),
        };
        match change.field.as_str() {
            // Of a user who is gone the language is gone; every user has one.
            "disabled" if after == Some("yes") => {
                let user = name("user").and_then(|user| user.parse().ok());
                causes.users.extend(user);
            }
            "language" if after.is_none() => {
                let user = name("user").and_then(|user| user.parse().ok());
                causes.users.extend(user);
            }
            "state" if matches!(after, None | Some("revoked")) => {
                let serial = name("token").and_then(|serial| serial.parse().ok());
                causes.tokens.extend(serial);
            }
            _ => {}
        }
    }
    causes
}

/// Audit records read at a time.
const PAGE: usize = 500;

/// Most records that are read again at start.
const LOOK_BACK: usize = 10_000;

/// Most sessions that one change ends.
const MOST: usize = 10_000;

/// Pause after a failure to read the trail.
const TROUBLE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::RequestId;

    fn of(target: &str, changes: &[(Option<&str>, &str, Option<&str>)]) -> Causes {
        let event = ChangeEvent {
            request: RequestId::from_bytes([0; 16]),
            actor: "daemon".to_owned(),
            action: "any".to_owned(),
            target: target.to_owned(),
            user: None,
            detail: None,
        };
        let changes: Vec<FieldChange> = changes
            .iter()
            .map(|(record, field, after)| FieldChange {
                record: record.map(str::to_owned),
                field: (*field).to_owned(),
                change: Changed::Text {
                    before: Some("before".to_owned()),
                    after: after.map(str::to_owned),
                },
            })
            .collect();
        causes(&event, &changes)
    }

    #[test]
    fn disabled_and_removed_users_and_ended_tokens_are_found_whatever_the_verb() {
        let found = of("alice@default", &[(None, "disabled", Some("yes"))]);
        assert_eq!(found.users.len(), 1);
        let enabled = of("alice@default", &[(None, "disabled", Some("no"))]);
        assert_eq!(enabled, Causes::default());
        let removed = [
            (None, "language", None),
            (Some("token TOTP-7F3K9Q2M"), "state", None),
            (Some("user bob@default"), "disabled", Some("yes")),
            (Some("device D"), "state", Some("revoked")),
            (Some("token TOTP-7F3K9Q2N"), "state", Some("suspended")),
        ];
        let found = of("alice@default", &removed);
        assert_eq!((found.users.len(), found.tokens.len()), (2, 1));
    }
}
