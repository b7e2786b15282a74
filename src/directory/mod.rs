//! Directories that users follow: LDAP (RFC 4511).
//!
//! ```text
//! login: identity -> search -> bind as the entry found -> right | wrong | disabled, expired, ... | no answer
//! sync: connect -> StartTLS | TLS -> bind -> people, groups (paged, RFC 2696) -> who is in which group -> People
//! ```
//!
//! Invariants: an answer that is not whole is an error: a size limit, a time limit, a connection that breaks, a
//! page that does not come. Referrals are not followed. Every answer ends in its time.
//!
//! Threats: what people type never gets into a filter without being escaped (RFC 4515).

use std::sync::Arc;

use crate::config::sources::UserSource;
use crate::core::directory::{Asking, Checked, Directory, DirectoryError, People, SourceInfo};
use crate::diagnostic::Diagnostic;
use crate::model::user::DirectoryId;
use crate::net::connect::Resolve;
use crate::secret::{Key256, SecretString};
use crate::time::Clock;

mod binds;
mod check;
mod entry;
mod ldap;
mod people;

use binds::Binds;
use ldap::Server;

/// A source that is asked.
struct Opened {
    plan: UserSource,
    server: Arc<Server>,
    /// Where it checks passwords.
    binds: Option<Binds>,
}

/// The configured directories.
pub struct LdapDirectories {
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

impl LdapDirectories {
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
            match Server::open(source, &parts.resolver) {
                Ok(server) => {
                    let server = Arc::new(server);
                    let binds = source.password.map(|settings| {
                        let clock = Arc::clone(&parts.clock);
                        Binds::new(Arc::clone(&server), settings, Arc::clone(&key), clock)
                    });
                    opened.push(Opened {
                        plan: source.clone(),
                        server,
                        binds,
                    });
                }
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
        let entries = source.server.read().await;
        let entries = entries.map_err(|why| failed(name, why))?;
        Ok(people::people(&source.plan, &entries, self.clock.now()))
    }

    async fn ask(&self, user: &DirectoryId, text: &SecretString) -> Checked {
        let name = user.source.as_str();
        let binds = self.of(name)?.binds.as_ref();
        let binds = binds.ok_or_else(|| DirectoryError::Unknown(name.to_owned()))?;
        let answer = binds.ask(&user.id, text).await;
        answer.map_err(|why| failed(name, why))
    }
}

impl Directory for LdapDirectories {
    fn sources(&self) -> Vec<SourceInfo> {
        let info = |source: &Opened| SourceInfo {
            name: source.plan.name.clone(),
            kind: "ldap",
            servers: source.server.urls(),
            realm: source.plan.realm.clone(),
            every: source.plan.every,
            password: source.binds.as_ref().map(Binds::state),
        };
        self.sources.iter().map(info).collect()
    }

    fn checks_passwords(&self, source: &str) -> bool {
        let source = self.of(source);
        source.is_ok_and(|source| source.binds.is_some())
    }

    fn check<'a>(&'a self, user: &'a DirectoryId, text: &'a SecretString) -> Asking<'a, Checked> {
        Box::pin(self.ask(user, text))
    }

    fn read<'a>(&'a self, source: &'a str) -> Asking<'a, Result<People, DirectoryError>> {
        Box::pin(self.all(source))
    }
}
