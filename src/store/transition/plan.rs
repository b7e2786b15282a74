//! A plan: what a change comes to, before it is an entry of the journal.

use std::sync::Arc;

use crate::model::audit::{ChangeEvent, Changed, Event, FieldChange};
use crate::model::id::{RequestId, Serial};
use crate::model::user_key::{CONSOLE, UserKey};
use crate::store::record::{Entry, RowWrite, Table};
use crate::store::transition::changed;
use crate::store::transition::rows::Keys;
use crate::store::transition::working::Working;
use crate::store::{StoreError, record};
use crate::time::UnixTime;

/// Who makes a change, for the audit.
#[derive(Clone, Debug)]
pub struct By {
    /// Names the request.
    pub request: RequestId,
    /// What rights and approvals are bound to: `uid 0`, `api:NAME`, `daemon`.
    pub actor: String,
    /// The same with the person behind it where the system knows one: `alice(uid 1000)`.
    pub person: Option<Arc<str>>,
    /// When.
    pub at: UnixTime,
    /// Whether they are less than an administrator: the people of the console are not theirs to change.
    pub limited: bool,
}

impl By {
    /// Who asks in their own name.
    pub const fn new(actor: String, (request, at): (RequestId, UnixTime)) -> Self {
        Self {
            request,
            actor,
            person: None,
            at,
            limited: false,
        }
    }

    /// The daemon itself.
    pub fn daemon(arrival: (RequestId, UnixTime)) -> Self {
        Self::new("daemon".to_owned(), arrival)
    }

    /// As the audit names them.
    pub fn shown(&self) -> String {
        let person = self.person.as_deref();
        person.unwrap_or(&self.actor).to_owned()
    }
}

/// What the audit calls a change, which record it is done to, the user concerned, and the rows
/// that it writes. What changed field by field is derived from the rows.
pub(crate) struct Plan {
    action: &'static str,
    target: String,
    user: Option<String>,
    detail: Option<String>,
    /// Changes of what is no row.
    others: Vec<FieldChange>,
    /// The digest of the records, where the audit names it instead of each field.
    digest: Option<String>,
    writes: Vec<RowWrite>,
}

impl Plan {
    /// A change that concerns no user.
    pub(super) fn new(
        action: &'static str,
        target: &(impl ToString + ?Sized),
        writes: Vec<RowWrite>,
    ) -> Self {
        Self {
            action,
            target: target.to_string(),
            user: None,
            detail: None,
            others: Vec::new(),
            digest: None,
            writes,
        }
    }

    /// A change of a user.
    pub(super) fn of_user(action: &'static str, user: &UserKey, writes: Vec<RowWrite>) -> Self {
        Self::new(action, user, writes).concerns(Some(user.to_string()))
    }

    /// A change of a token, which concerns its owner.
    pub(super) fn of_token(
        rows: &Working<'_>,
        action: &'static str,
        serial: &Serial,
        writes: Vec<RowWrite>,
    ) -> Result<Self, StoreError> {
        let owner = rows.get(Table::Owners, serial.as_str().as_bytes(), record::owner)?;
        let owner = owner.filter(|owner| !owner.is_stock());
        Ok(Self::new(action, serial, writes).concerns(owner.map(|owner| owner.to_string())))
    }

    /// With these rows too.
    pub(super) fn also(mut self, writes: Vec<RowWrite>) -> Self {
        self.writes.extend(writes);
        self
    }

    /// The user whom it concerns.
    pub(super) fn concerns(self, user: Option<String>) -> Self {
        Self { user, ..self }
    }

    /// What else a reader of the audit must know.
    pub(super) fn detail(self, detail: impl Into<Option<String>>) -> Self {
        let detail = detail.into();
        Self { detail, ..self }
    }

    /// Changes of what is no row.
    pub(super) fn others(self, others: Vec<FieldChange>) -> Self {
        Self { others, ..self }
    }

    /// One that writes no row.
    pub(super) fn noted(action: &'static str, target: &(impl ToString + ?Sized)) -> Self {
        Self::new(action, target, Vec::new())
    }

    /// Too many records for the audit to show each field: their list is in the entry's own rows.
    pub(super) fn with_digest(self, digest: String) -> Self {
        let digest = Some(digest);
        Self { digest, ..self }
    }

    /// The entry of the journal.
    pub(crate) fn entry(
        self,
        rows: &Working<'_>,
        by: &By,
        keys: Keys<'_>,
    ) -> Result<Entry, StoreError> {
        let console = |user: &String| {
            user.rsplit_once('@')
                .is_some_and(|(_, realm)| realm == CONSOLE)
        };
        if by.limited && self.user.as_ref().is_some_and(console) {
            return Err(StoreError::Conflict(ADMINISTRATORS_ONLY));
        }
        let mut changes = if let Some(digest) = self.digest {
            vec![FieldChange {
                record: None,
                field: "records_sha256".to_owned(),
                change: Changed::Text {
                    before: None,
                    after: Some(digest),
                },
            }]
        } else {
            changed::of(rows, &self.writes, &self.target, keys)?
        };
        if self.writes.iter().any(|write| write.table == Table::Erased) {
            // Personal data could not be read.
            changes.retain(|one| !matches!(one.change, Changed::Sealed { .. }));
        }
        changes.extend(self.others);
        let event = Event::Change(ChangeEvent {
            request: by.request,
            actor: by.shown(),
            action: self.action.to_owned(),
            target: self.target,
            user: self.user,
            detail: self.detail,
        });
        Ok(Entry {
            at: by.at,
            event,
            changes,
            writes: self.writes,
        })
    }
}

/// Who could give themselves the rights of another in the console holds them.
pub(crate) const ADMINISTRATORS_ONLY: &str =
    "people of the realm `console` are changed by administrators only";
