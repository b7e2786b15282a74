//! Directories that users follow, seen from the decisions: who is in them.
//!
//! The service knows this trait only; sockets and protocols are behind it. [`NoDirectory`] stands in where none
//! is configured.
//!
//! Invariant: what a directory says is whole or an error. A part of it is never passed off as all of it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::core::courier::BreakerState;
use crate::core::identities::Identities;
use crate::model::user::{DirectoryId, User};
use crate::secret::SecretString;
use crate::time::UnixTime;

/// What a directory answers in its own time.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What comes of a question about a password.
pub type Checked = Result<PasswordAnswer, DirectoryError>;

/// The directories of an installation.
pub trait Directory: Send + Sync + 'static {
    /// Every source, in the order of the configuration.
    fn sources(&self) -> Vec<SourceInfo>;

    /// Whether passwords of users who follow this source are checked by it.
    fn checks_passwords(&self, source: &str) -> bool;

    /// What a source says of this text as the password of one of its people. Asked about the same once more, it gives the same
    /// answer for a while.
    fn check<'a>(&'a self, user: &'a DirectoryId, text: &'a SecretString) -> Asking<'a, Checked>;

    /// All people of a source.
    fn read<'a>(&'a self, source: &'a str) -> Asking<'a, Result<People, DirectoryError>>;
}

/// What is configured of a source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceInfo {
    /// Its name.
    pub name: String,
    /// What it is: `ldap`, `sql`, `file`, `scim`.
    pub kind: &'static str,
    /// Where it is: URLs, the path of a file; of scim the client that pushes.
    pub servers: Vec<String>,
    /// The realm of its users.
    pub realm: String,
    /// How often they follow it; `None`: by command only.
    pub every: Option<Duration>,
    /// Whether it checks their passwords, and is asked at present.
    pub password: Option<BreakerState>,
}

/// What a directory says of a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PasswordAnswer {
    /// It is right.
    Right,
    /// It is not.
    Wrong,
    /// The account is disabled, or gone.
    Disabled,
    /// The account has expired.
    Expired,
    /// The password must be changed first.
    MustChange,
    /// The directory locked the account.
    Locked,
}

/// All people of a source.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct People {
    /// The people.
    pub people: Vec<Person>,
    /// What it says of them; the rest of a user is as it was set here.
    pub says: Vec<Said>,
    /// Entries that are no person's record.
    pub unread: Vec<Unread>,
}

/// An entry that is no person's record.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Unread {
    /// What the source calls it.
    pub entry: String,
    /// Why it is none.
    pub why: String,
    /// The identity, if it has one.
    pub id: Option<String>,
    /// The login name, if it has one.
    pub login: Option<String>,
}

words! {
    /// What a source can say of a person, beside the name and whether the account is disabled.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum Said {
        /// The name as people write it.
        DisplayName = "display_name",
        /// Telephone number.
        Phone = "phone",
        /// Mail address.
        Email = "email",
        /// Groups.
        Groups = "groups",
        /// Other names that lead to the user.
        Aliases = "aliases",
    }
}

/// A person of a directory.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Person {
    /// The identity, which no renaming changes.
    pub id: String,
    /// What the source calls that, where it is another text.
    pub external: Option<String>,
    /// The login name.
    pub login: String,
    /// The name as people write it.
    pub display_name: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// Mail address.
    pub email: Option<String>,
    /// Groups, those reached through other groups too.
    pub groups: Vec<String>,
    /// Other names that lead to the user, with a realm or without.
    pub aliases: Vec<String>,
    /// Whether the account is disabled or has expired there.
    pub disabled: bool,
}

/// Why a directory gave no answer. Without secrets.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DirectoryError {
    /// No source has this name.
    #[error("there is no source `{0}`")]
    Unknown(String),
    /// It was not reached, refused, or did not say all.
    #[error("source `{source_name}`: {why}")]
    Failed {
        /// The source.
        source_name: String,
        /// What happened.
        why: String,
    },
}

/// No directory: where none is configured.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDirectory;

impl Directory for NoDirectory {
    fn sources(&self) -> Vec<SourceInfo> {
        Vec::new()
    }

    fn checks_passwords(&self, _: &str) -> bool {
        false
    }

    fn check<'a>(&'a self, user: &'a DirectoryId, _: &'a SecretString) -> Asking<'a, Checked> {
        let error = DirectoryError::Unknown(user.source.clone());
        Box::pin(async move { Err(error) })
    }

    fn read<'a>(&'a self, source: &'a str) -> Asking<'a, Result<People, DirectoryError>> {
        let error = DirectoryError::Unknown(source.to_owned());
        Box::pin(async move { Err(error) })
    }
}

/// How the last run of a source ended.
#[derive(Clone, Debug)]
pub struct LastRun {
    /// When.
    pub at: UnixTime,
    /// What it did; or why it failed.
    pub result: Result<String, String>,
}

/// A source whose client pushes its users.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pushed {
    /// Its name.
    pub name: String,
    /// The API client that pushes.
    pub client: String,
    /// The realm of users whose names have none.
    pub realm: String,
    /// Whether the mail address is another name of a user.
    pub email_is_alias: bool,
    /// Whether what the provider calls a user is another name of theirs.
    pub external_is_alias: bool,
}

/// The directories, and how their last runs ended.
pub struct Directories {
    pushed: ArcSwap<Vec<Pushed>>,
    /// Held while a client changes its users: one at a time.
    pub(crate) pushing: tokio::sync::Mutex<()>,
    /// Whom and what providers know; made when one first asks.
    pub(crate) identities: tokio::sync::Mutex<Option<Identities>>,
    directory: ArcSwap<Arc<dyn Directory>>,
    runs: Mutex<BTreeMap<String, LastRun>>,
    /// Held while users follow a source: one at a time.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

impl Default for Directories {
    fn default() -> Self {
        let none: Arc<dyn Directory> = Arc::new(NoDirectory);
        Self {
            pushed: ArcSwap::default(),
            pushing: tokio::sync::Mutex::default(),
            identities: tokio::sync::Mutex::default(),
            directory: ArcSwap::from_pointee(none),
            runs: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

impl Directories {
    /// Sets them.
    pub fn set(&self, directory: Arc<dyn Directory>) {
        self.directory.store(Arc::new(directory));
    }

    /// The directories; none until [`Directories::set`].
    pub fn get(&self) -> Arc<dyn Directory> {
        Arc::clone(&**self.directory.load())
    }

    /// Sets the sources whose clients push; before the first of them asks.
    pub fn set_pushed(&self, pushed: Vec<Pushed>) {
        self.pushed.store(Arc::new(pushed));
    }

    /// Names of the sources whose clients push.
    pub(crate) fn pushed(&self) -> Vec<String> {
        let pushed = self.pushed.load();
        pushed.iter().map(|source| source.name.clone()).collect()
    }

    /// The source that this client pushes.
    pub fn pushed_by(&self, client: &str) -> Option<Pushed> {
        let pushed = self.pushed.load();
        pushed
            .iter()
            .find(|source| source.client == client)
            .cloned()
    }

    /// Every source: those that are asked, then those whose clients push.
    pub fn sources(&self) -> Vec<SourceInfo> {
        let mut sources = self.get().sources();
        let pushed = self.pushed.load();
        sources.extend(pushed.iter().map(|source| SourceInfo {
            name: source.name.clone(),
            kind: "scim",
            servers: vec![format!("client {}", source.client)],
            realm: source.realm.clone(),
            every: None,
            password: None,
        }));
        sources
    }

    /// The source that checks the password of this user.
    pub fn checking<'u>(&self, user: &'u User) -> Option<&'u DirectoryId> {
        let follows = user.directory.as_ref()?;
        let checks = self.directory.load().checks_passwords(&follows.source);
        checks.then_some(follows)
    }

    /// Notes how a run ended.
    pub fn ran(&self, source: &str, run: LastRun) {
        let mut runs = self.runs.lock().expect(UNPOISONED);
        runs.insert(source.to_owned(), run);
    }

    /// How the last run of a source ended, if there was one since the start.
    pub fn last(&self, source: &str) -> Option<LastRun> {
        self.runs.lock().expect(UNPOISONED).get(source).cloned()
    }
}

const UNPOISONED: &str = "no panic while the lock is held";
