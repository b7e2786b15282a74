//! What administrators do: users, tokens, clients. Every change is conditional and audited.

use crate::admin::counts::Census;
use crate::admin::device_reads::Reads;
use crate::admin::drafts::PolicyFiles;
use crate::admin::requests::Requests;
use crate::core::courier::Undeliverable;
use crate::core::directory::DirectoryError;
use crate::core::{Core, CoreError};
use crate::login::Login;
use crate::model::id::Serial;
use crate::model::issue::IssueRefusal;
use crate::model::reason::Reason;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user::{OperatorAct, Touched};
use crate::store::{By, Change, LOCKED_FOR_GOOD, OWN_REMOVAL, Prunable, SEED_TAKEN, StoreError};
use crate::time::{UnixTime, millis};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Mutex;

mod approval;
mod backup;
mod clients;
mod clock;
mod counts;
mod credentials;
mod device_reads;
pub mod devices;
pub mod directory;
pub mod drafts;
pub mod effect;
mod enrolment;
mod find;
mod four_eyes;
mod import;
mod lifetime;
pub mod links;
mod loaded;
mod noted;
mod offer;
mod outage;
pub mod outage_watch;
mod own;
mod pushed;
pub mod replay;
mod requests;
pub mod self_service;
mod stock;
mod tokens;
mod users;

pub use approval::Lend;
pub(crate) use clients::NO_OWN_SECRET;
pub use clients::{ClientPatch, NewRadiusClient};
pub use clock::{Astray, Recovered};
pub use counts::{Counted, Counts};
pub use credentials::{CredentialsPatch, NewVerifier, Replaced};
pub use enrolment::{Enrol, Handed, Validity};
pub use find::{Found, UserFilter, UserState};
pub use import::{About, Existing, Held, ImportRow, Imported, Importing};
pub(crate) use import::{SERIAL_EXISTS, USER_EXISTS};
pub use lifetime::Window;
pub use noted::Noted;
pub use offer::{AppLink, Offered};
pub use stock::Assigned;
pub use tokens::{NewToken, may_resync};
pub use users::{Aliases, Grant, UserPatch};

/// What is asked of a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Goal {
    /// That it can be used.
    Use,
    /// That it goes on being usable.
    Renew,
    /// That it cannot be used any more, for a while or for good.
    End,
}

/// Why an administrator's request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A value is not acceptable.
    #[error("{field}: {message}")]
    Invalid {
        /// Which value.
        field: &'static str,
        /// What is wrong and what is right.
        message: String,
    },
    /// There is no such record.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// It exists already, is in another state, or was changed meanwhile.
    #[error("{0}")]
    Conflict(&'static str),
    /// The token's state does not allow what was asked.
    #[error("token {} is {state}; {wanted}", .token.serial)]
    WrongState {
        /// The token.
        token: Box<Token>,
        /// Its state now.
        state: LifeCycle,
        /// What was to come of it.
        goal: Goal,
        /// Which state it would have to be in.
        wanted: &'static str,
    },
    /// A repair of the store closed the token: it is resynchronised first.
    #[error(
        "token {} was {} by a repair or restore of the store on {}: which of its codes are used is not known",
        .token.serial,
        if .token.state == LifeCycle::Suspended { "suspended" } else { "closed" },
        .at.rfc3339()
    )]
    ClosedByRepair {
        /// The token.
        token: Box<Token>,
        /// When the store was repaired.
        at: UnixTime,
    },
    /// The code was not right; the reason is for the administrator.
    #[error("the code was refused: {}", .0.advice())]
    Refused(Reason),
    /// The same operator changed what this completes.
    #[error(
        "{} changed {} of this user at {}: within 24 hours of that {} cannot be changed by the same \
         person, for who did both could log in as the user",
        .first.actor, .first.touched.name(), .first.at, .then.name()
    )]
    SecondPerson {
        /// What was changed first, by whom and when.
        first: Box<OperatorAct>,
        /// What was to be changed now.
        then: Touched,
    },
    /// Another user's token has the same key.
    #[error(
        "{} of another user has this key: each of the two would accept the same code once",
        .0.as_ref().map_or_else(|| "a token".to_owned(), |serial| format!("token {serial}"))
    )]
    SeedTaken(Option<Serial>),
    /// A token has the key of an imported one, and is another than that describes.
    #[error("token {serial} has this key {held}")]
    KeyHeld {
        /// Which token.
        serial: Serial,
        /// How it is another.
        held: Held,
    },
    /// What locks is an administrator's to end.
    #[error("{LOCKED_FOR_GOOD}")]
    LockedForGood,
    /// The same operator removed the user of this name.
    #[error(
        "you removed a user of this name within the last 24 hours: who did both could log in in the name \
         of that user"
    )]
    OwnRemoval,
    /// The policy does not allow that, or not to this user.
    #[error("{0}")]
    Forbidden(&'static str),
    /// No code is made.
    #[error("no code is made: {0}")]
    NotIssued(IssueRefusal),
    /// No message can be sent there.
    #[error("no message can be sent: {0}")]
    Undeliverable(Undeliverable),
    /// The token is too far from its end to be renewed.
    #[error("the token is renewed from {begins} on")]
    TooEarly {
        /// From when on it is.
        begins: UnixTime,
    },
    /// A source says that of the user, and would put it back.
    #[error("{field} follows the source `{source_name}`: change it there")]
    Followed {
        /// What.
        field: &'static str,
        /// The source.
        source_name: String,
    },
    /// A directory gave no answer, or not all of it.
    #[error(transparent)]
    Directory(DirectoryError),
    /// A directory would have too many users disabled.
    #[error(
        "{gone} of {all} users are gone from the source or disabled there, more than a tenth: nothing was changed"
    )]
    Shrinks {
        /// Users whom the source does not have any more, or has disabled.
        gone: usize,
        /// Users of the source who are enabled.
        all: usize,
    },
    /// A source says nothing any more where it said something of many users.
    #[error("{lost} of {had} users lose their {field}, more than a tenth: nothing was changed")]
    Loses {
        /// What they lose.
        field: &'static str,
        /// How many users do.
        lost: usize,
        /// How many have it.
        had: usize,
    },
    /// No decision was possible.
    #[error(transparent)]
    Core(CoreError),
}

impl From<CoreError> for AdminError {
    fn from(error: CoreError) -> Self {
        match error {
            CoreError::Store(error) => error.into(),
            other => Self::Core(other),
        }
    }
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(why) if why == SEED_TAKEN => Self::SeedTaken(None),
            StoreError::Conflict(why) if why == OWN_REMOVAL => Self::OwnRemoval,
            StoreError::Conflict(why) if why == LOCKED_FOR_GOOD => Self::LockedForGood,
            StoreError::Conflict(why) => Self::Conflict(why),
            StoreError::NotFound => Self::NotFound("record"),
            other => Self::Core(CoreError::Store(other)),
        }
    }
}

/// Changes on record, each with its actor and audited.
pub struct Admin {
    core: Arc<Core>,
    login: Arc<Login>,
    reads: Reads,
    /// The policy files, where drafts of them are written.
    files: OnceLock<Arc<dyn PolicyFiles>>,
    requests: Requests,
    census: Census,
    /// Held by who writes one of them.
    writing: Mutex<()>,
}

impl Admin {
    pub(crate) fn new(core: Arc<Core>, login: Arc<Login>) -> Self {
        let reads = Reads::since(core.now());
        Self {
            core,
            login,
            reads,
            files: OnceLock::new(),
            requests: Requests::default(),
            census: Census::default(),
            writing: Mutex::new(()),
        }
    }

    /// Forgets the failures of addresses that have not failed for so long.
    pub async fn forget_sources(&self, quiet: Duration) -> Result<(), AdminError> {
        let (request, at) = self.core.arrival()?;
        let by = By::daemon((request, at));
        let before = UnixTime::from_millis(at.as_millis().saturating_sub(millis(quiet)));
        match self
            .core
            .store
            .change(Change::ForgetSources { before }, by)
            .await
        {
            // There was none.
            Err(StoreError::NotFound) => Ok(()),
            done => Ok(done?),
        }
    }

    /// Removes old audit records, in whole segments; returns whether there were any.
    pub async fn prune_audit(&self, before: UnixTime, by: By) -> Result<bool, AdminError> {
        let prunable = self.core.store.prunable(before).await?;
        self.prune(prunable, by).await
    }

    async fn prune(&self, prunable: Option<Prunable>, by: By) -> Result<bool, AdminError> {
        let store = &self.core.store;
        let Some(prunable) = prunable else {
            return Ok(false);
        };
        match store.change(Change::PruneAudit(prunable), by).await {
            Err(StoreError::NotFound) => Ok(false),
            done => Ok(done.map(|()| true)?),
        }
    }

    /// The same for records older than `keep`, by the daemon itself. A clock that was set ahead by
    /// mistake does not age what is on record: only what has happened since does.
    pub async fn prune_audit_older(&self, keep: Duration) -> Result<bool, AdminError> {
        let (request, at) = self.core.arrival()?;
        let by = By::daemon((request, at));
        let newest = at.min(self.core.store.high_water());
        let before = UnixTime::from_millis(newest.as_millis().saturating_sub(millis(keep)));
        self.prune_audit(before, by).await
    }

    /// Removes the oldest audit records, in whole segments, as far as there are more octets than `most`.
    pub async fn prune_audit_larger(&self, most: u64) -> Result<bool, AdminError> {
        let by = By::daemon(self.core.arrival()?);
        let prunable = self.core.store.prunable_beyond(most).await?;
        self.prune(prunable, by).await
    }
}

/// Refuses what the token's state at that time does not allow.
pub(super) fn check_state(
    token: &Token,
    at: UnixTime,
    allowed: impl FnOnce(LifeCycle) -> bool,
    (goal, wanted): (Goal, &'static str),
) -> Result<(), AdminError> {
    let state = token.state_at(at);
    if allowed(state) {
        return Ok(());
    }
    Err(AdminError::WrongState {
        token: Box::new(token.clone()),
        state,
        goal,
        wanted,
    })
}

/// Refuses what brings a token into use of which a repair of the store could not tell the used counters;
/// the store refuses it, too, but a right code would be used up by then.
pub(super) fn check_synchronised(token: &Token, state: &TokenState) -> Result<(), AdminError> {
    state.needs_resync().map_or(Ok(()), |at| {
        Err(AdminError::ClosedByRepair {
            token: Box::new(token.clone()),
            at,
        })
    })
}

/// Free text that will be shown again: bounded, one line, nothing that moves a cursor.
pub(super) fn check_text(field: &'static str, text: &str) -> Result<(), AdminError> {
    if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
        return invalid(field, "1 to 256 octets without control characters");
    }
    Ok(())
}

pub(super) fn missing(error: StoreError, what: &'static str) -> AdminError {
    match error {
        StoreError::NotFound => AdminError::NotFound(what),
        other => other.into(),
    }
}

pub(super) fn invalid<T>(field: &'static str, message: impl Into<String>) -> Result<T, AdminError> {
    Err(AdminError::Invalid {
        field,
        message: message.into(),
    })
}
