//! Accounting: what NASes report of sessions goes on record (RFC 2866).

use std::time::Duration;

use crate::model::client::Client;
use crate::model::id::RequestId;
use crate::model::session::Accounting;
use crate::model::user_key::UserKey;
use crate::service::Service;
use crate::service::ServiceError;
use crate::store::By;
use crate::store::Change;
use crate::store::StoreError;
use crate::time::UnixTime;

impl Service {
    /// Puts what a client reports on record. Durable when it answers; what was known before needs no
    /// other record.
    pub async fn account(
        &self,
        said: &Accounting,
        client: &Client,
        (request, at): (RequestId, UnixTime),
    ) -> Result<(), ServiceError> {
        let by = By {
            request,
            actor: format!("radius:{}", client.name),
            person: None,
            at,
        };
        let note = |action, target: &str, user: &str, detail| Change::Note {
            action,
            target: target.to_owned(),
            user: (!user.is_empty()).then(|| user.to_owned()),
            detail,
        };
        match said {
            Accounting::Session(report) => {
                self.some(Change::ReportSession(report.clone()), &by)
                    .await?;
            }
            Accounting::Nas { nas, on, at } => {
                let action = if *on {
                    "accounting_on"
                } else {
                    "accounting_off"
                };
                self.some(note(action, nas, "", at.rfc3339()), &by).await?;
                let end = Change::EndSessions {
                    client: client.name.clone(),
                    nas: nas.clone(),
                    at: *at,
                };
                while self.some(end.clone(), &by).await? {}
            }
            Accounting::Other {
                nas,
                status,
                session,
                user,
            } => {
                let target = session.as_deref().unwrap_or(nas);
                let detail = format!("NAS {nas}, Acct-Status-Type {status}");
                self.some(note("accounting_other", target, user, detail), &by)
                    .await?;
            }
        }
        Ok(())
    }

    /// Forgets sessions that no NAS has reported for so long.
    pub async fn forget_sessions(&self, quiet: Duration) -> Result<(), ServiceError> {
        let (request, at) = self.arrival()?;
        let by = By {
            request,
            actor: "daemon".to_owned(),
            person: None,
            at,
        };
        // A clock that was set ahead by mistake forgets nothing that is new.
        let newest = at.min(self.store.high_water()).as_millis();
        let quiet = u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX);
        let before = UnixTime::from_millis(newest.saturating_sub(quiet));
        let old = Change::ForgetSessions { before, user: None };
        while self.some(old.clone(), &by).await? {}
        Ok(())
    }

    /// Forgets all sessions of a user.
    pub(super) async fn forget_sessions_of(
        &self,
        user: &UserKey,
        by: &By,
    ) -> Result<(), ServiceError> {
        let all = Change::ForgetSessions {
            before: UnixTime::from_millis(u64::MAX),
            user: Some(user.clone()),
        };
        while self.some(all.clone(), by).await? {}
        Ok(())
    }

    /// Whether there was something to change.
    async fn some(&self, change: Change, by: &By) -> Result<bool, ServiceError> {
        match self.store.change(change, by.clone()).await {
            Err(StoreError::NotFound) => Ok(false),
            done => Ok(done.map(|()| true)?),
        }
    }
}
