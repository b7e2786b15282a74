//! Directories that users follow: LDAP (RFC 4511), `PostgreSQL`, files.
//!
//! ```text
//! login: identity -> search -> bind as the entry found -> right | wrong | disabled, expired, ... | no answer
//! sync: connect -> StartTLS | TLS -> bind -> people, groups (paged, RFC 2696) -> who is in which group -> People
//!       connect -> TLS -> transaction that only reads -> query -> rows | file -> rows -> People
//! ```
//!
//! Invariants: an answer that is not whole is an error: a size limit, a time limit, a connection that breaks, a
//! page that does not come. Referrals are not followed. Every answer ends in its time.
//!
//! Threats: what people type never gets into a filter without being escaped (RFC 4515).

use std::sync::Arc;

use crate::config::sources::tables::PeopleFile;
use crate::config::sources::{Origin, UserSource};
use crate::core::directory::{Asking, Checked, Directory, DirectoryError, People, SourceInfo};
use crate::diagnostic::Diagnostic;
use crate::model::user::DirectoryId;
use crate::net::connect::Resolve;
use crate::secret::{Key256, SecretString};
use crate::time::{Clock, UnixTime};

mod binds;
mod check;
mod entry;
mod file;
mod ldap;
mod people;
mod sql;
mod table;

use binds::Binds;
use ldap::Server;
use sql::Databases;

/// A source that is asked.
struct Opened {
    plan: UserSource,
    from: Reader,
}

/// What it is read from.
enum Reader {
    /// And where it checks passwords.
    Ldap(Arc<Server>, Option<Binds>),
    Sql(Databases),
    File(PeopleFile),
}

/// The configured directories.
pub struct Sources {
    sources: Vec<Opened>,
    clock: Arc<dyn Clock>,
}

/// What directories are given beside their configuration.
#[derive(Clone)]
pub struct Parts {
    /// For accounts that expire, and pauses of directories that fail.
    pub clock: Arc<dyn Clock>,
    /// Finds the addresses of hosts.
    pub resolver: Arc<dyn Resolve>,
}

fn failed(name: &str, why: String) -> DirectoryError {
    DirectoryError::Failed {
        source_name: name.to_owned(),
        why,
    }
}

impl Sources {
    /// Reads the passwords and certificates that the configuration names. Every fault is reported. `key` stands
    /// between memory and what people type; the runtime that this is called in carries all connections.
    pub fn open(
        sources: &[UserSource],
        parts: &Parts,
        key: Key256,
    ) -> Result<Self, Vec<Diagnostic>> {
        let key = Arc::new(key);
        let mut faults = Vec::new();
        let mut opened = Vec::new();
        for source in sources {
            match Opened::new(source, parts, &key) {
                Ok(source) => opened.push(source),
                Err((why, help)) => {
                    let message = format!("source `{}`: {why}", source.name);
                    faults.push(Diagnostic::error(message).help(help));
                }
            }
        }
        if faults.is_empty() {
            Ok(Self {
                sources: opened,
                clock: Arc::clone(&parts.clock),
            })
        } else {
            Err(faults)
        }
    }

    fn of(&self, name: &str) -> Result<&Opened, DirectoryError> {
        let found = self.sources.iter().find(|source| source.plan.name == name);
        found.ok_or_else(|| DirectoryError::Unknown(name.to_owned()))
    }

    async fn all(&self, name: &str) -> Result<People, DirectoryError> {
        let source = self.of(name)?;
        let people = source.read(self.clock.now()).await;
        people.map_err(|why| failed(name, why))
    }

    async fn ask(&self, user: &DirectoryId, text: &SecretString) -> Checked {
        let name = user.source.as_str();
        let binds = self.of(name)?.binds();
        let binds = binds.ok_or_else(|| DirectoryError::Unknown(name.to_owned()))?;
        let answer = binds.ask(&user.id, text).await;
        answer.map_err(|why| failed(name, why))
    }
}

impl Opened {
    fn new(
        source: &UserSource,
        parts: &Parts,
        key: &Arc<Key256>,
    ) -> Result<Self, (String, &'static str)> {
        let from = match &source.origin {
            Origin::Ldap(ldap) => {
                let server = Server::open(ldap, source.timeout, &parts.resolver)?;
                let server = Arc::new(server);
                let binds = ldap.password.map(|settings| {
                    let clock = Arc::clone(&parts.clock);
                    Binds::new(Arc::clone(&server), settings, Arc::clone(key), clock)
                });
                Reader::Ldap(server, binds)
            }
            Origin::Sql(sql) => Reader::Sql(Databases::open(sql, source.timeout, &parts.resolver)?),
            Origin::File(file) => {
                let checked = file::check(file);
                checked.map_err(|why| (why, "correct `encoding`"))?;
                Reader::File(file.clone())
            }
        };
        Ok(Self {
            plan: source.clone(),
            from,
        })
    }

    const fn binds(&self) -> Option<&Binds> {
        match &self.from {
            Reader::Ldap(_, binds) => binds.as_ref(),
            Reader::Sql(_) | Reader::File(_) => None,
        }
    }

    async fn read(&self, now: UnixTime) -> Result<People, String> {
        let groups = &self.plan.groups;
        match &self.from {
            Reader::Ldap(server, _) => {
                let entries = server.read().await?;
                people::people(&server.ldap, groups, &entries, now)
            }
            Reader::Sql(databases) => databases.read(groups).await,
            Reader::File(file) => {
                let (file, groups) = (file.clone(), groups.clone());
                let read = tokio::task::spawn_blocking(move || file::read(&file, &groups));
                // A file system that does not answer holds up no one.
                let read = tokio::time::timeout(self.plan.timeout, read).await;
                let late = |_| format!("not read within {} s", self.plan.timeout.as_secs());
                read.map_err(late)?.map_err(|error| error.to_string())?
            }
        }
    }

    fn info(&self) -> SourceInfo {
        let (kind, servers) = match &self.from {
            Reader::Ldap(server, _) => ("ldap", server.urls()),
            Reader::Sql(databases) => ("sql", databases.urls()),
            Reader::File(file) => ("file", vec![file.path.display().to_string()]),
        };
        SourceInfo {
            name: self.plan.name.clone(),
            kind,
            servers,
            realm: self.plan.realm.clone(),
            every: self.plan.every,
            password: self.binds().map(Binds::state),
        }
    }
}

impl Directory for Sources {
    fn sources(&self) -> Vec<SourceInfo> {
        self.sources.iter().map(Opened::info).collect()
    }

    fn checks_passwords(&self, source: &str) -> bool {
        let source = self.of(source);
        source.is_ok_and(|source| source.binds().is_some())
    }

    fn check<'a>(&'a self, user: &'a DirectoryId, text: &'a SecretString) -> Asking<'a, Checked> {
        Box::pin(self.ask(user, text))
    }

    fn read<'a>(&'a self, source: &'a str) -> Asking<'a, Result<People, DirectoryError>> {
        Box::pin(self.all(source))
    }
}
