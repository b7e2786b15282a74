//! A plan: what a change comes to, before it is an entry of the journal.

use std::sync::Arc;

use crate::model::audit::{ChangeEvent, Changed, Event, FieldChange};
use crate::model::id::{RequestId, Serial};
use crate::model::user_key::{CONSOLE, UserKey};
use crate::store::record::{Entry, RowWrite, Table, link_key};
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
    /// Whether a user of this name is theirs to change, whether or not there is one: asked before anything is looked
    /// up, it tells no one which people of the console there are. What a change comes to is looked at when it is made.
    pub(crate) fn may_change(&self, user: &UserKey) -> bool {
        !self.limited || user.realm() != CONSOLE
    }

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

    /// Refuses a change of someone of the console: the user concerned, or a row of theirs. A token of another user that
    /// counts for them is a way of theirs to sign in.
    fn refuse_console(&self, rows: &Working<'_>) -> Result<(), StoreError> {
        let user = self.user.as_deref().and_then(|user| user.rsplit_once('@'));
        if user.is_some_and(|(_, realm)| realm == CONSOLE) {
            return Err(StoreError::Conflict(ADMINISTRATORS_ONLY));
        }
        for write in &self.writes {
            if is_of_console(rows, write)? {
                return Err(StoreError::Conflict(SHARED_WITH_CONSOLE));
            }
        }
        Ok(())
    }

    /// The entry of the journal.
    pub(crate) fn entry(
        self,
        rows: &Working<'_>,
        by: &By,
        keys: Keys<'_>,
    ) -> Result<Entry, StoreError> {
        if by.limited {
            self.refuse_console(rows)?;
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

/// Whether a row is that of someone of the console, or of a token that counts for one.
fn is_of_console(rows: &Working<'_>, write: &RowWrite) -> Result<bool, StoreError> {
    let key = write.key.as_slice();
    match write.table {
        Table::Users | Table::Credentials | Table::UserStates | Table::Devices => {
            Ok(is_of_realm(key))
        }
        Table::Tokens => {
            // That a token counts for another user no more is no change of the token.
            let is_link = |row: &[u8]| Ok(record::link_target(row).is_some());
            let is_link = rows.get(Table::Tokens, key, is_link)?.unwrap_or_default();
            let owner = record::owner_prefix(key).unwrap_or_default();
            let serial = key.get(owner.len()..).unwrap_or_default();
            Ok(is_of_realm(key) || !is_link && counts_for_console(rows, serial)?)
        }
        Table::TokenStates => {
            let owner = rows.get(Table::Owners, key, |owner| Ok(is_of_realm(owner)))?;
            Ok(owner.unwrap_or_default() || counts_for_console(rows, key)?)
        }
        _ => Ok(false),
    }
}

/// Whether the token with this serial counts for someone of the console beside its owner.
fn counts_for_console(rows: &Working<'_>, serial: &[u8]) -> Result<bool, StoreError> {
    let Ok(serial) = std::str::from_utf8(serial) else {
        return Ok(false);
    };
    let prefix = link_key(serial, b"");
    let links = rows.keys(Table::Links, &prefix)?;
    let mut users = links.iter().filter_map(|link| link.strip_prefix(&*prefix));
    Ok(users.any(is_of_realm))
}

/// Whether a row key begins with a user of the realm of the console.
fn is_of_realm(key: &[u8]) -> bool {
    let rest = key.strip_prefix(CONSOLE.as_bytes());
    rest.is_some_and(|rest| rest.first() == Some(&0))
}

/// Who could give themselves the rights of another in the console holds them.
pub(crate) const ADMINISTRATORS_ONLY: &str =
    "people of the realm `console` are changed by administrators only";
/// The same of a token that is not theirs alone.
pub(crate) const SHARED_WITH_CONSOLE: &str = "a token of the user counts for a person of the realm `console`, too: \
     it is changed by administrators only";
