//! Directories that users follow: LDAP (RFC 4511).
//!
//! ```text
//! sync: connect -> StartTLS | TLS -> bind -> people, groups (paged, RFC 2696) -> who is in which group -> People
//! ```
//!
//! Invariants: an answer that is not whole is an error: a size limit, a time limit, a connection that breaks, a
//! page that does not come. Referrals are not followed. Every answer ends in its time.
//!
//! Threats: what people type never gets into a filter without being escaped (RFC 4515).

use std::sync::Arc;

use crate::config::sources::UserSource;
use crate::core::directory::{Asking, Directory, DirectoryError, People, SourceInfo};
use crate::diagnostic::Diagnostic;
use crate::net::connect::Resolve;
use crate::time::Clock;

mod entry;
mod ldap;
mod people;

use ldap::Server;

/// The configured directories.
pub struct LdapDirectories {
    sources: Vec<(UserSource, Server)>,
    clock: Arc<dyn Clock>,
}

impl LdapDirectories {
    /// Reads the passwords and certificates that the configuration names. Every fault is reported.
    pub fn open(
        sources: &[UserSource],
        resolver: &Arc<dyn Resolve>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        let mut opened = Vec::new();
        for source in sources {
            match Server::open(source, resolver) {
                Ok(server) => opened.push((source.clone(), server)),
                Err((why, help)) => {
                    let message = format!("source `{}`: {why}", source.name);
                    faults.push(Diagnostic::error(message).help(help));
                }
            }
        }
        if faults.is_empty() {
            Ok(Self {
                sources: opened,
                clock,
            })
        } else {
            Err(faults)
        }
    }

    async fn all(&self, name: &str) -> Result<People, DirectoryError> {
        let found = self.sources.iter().find(|(source, _)| source.name == name);
        let Some((source, server)) = found else {
            return Err(DirectoryError::Unknown(name.to_owned()));
        };
        let entries = server.read().await.map_err(|why| DirectoryError::Failed {
            source_name: name.to_owned(),
            why,
        })?;
        Ok(people::people(source, &entries, self.clock.now()))
    }
}

impl Directory for LdapDirectories {
    fn sources(&self) -> Vec<SourceInfo> {
        let info = |(source, server): &(UserSource, Server)| SourceInfo {
            name: source.name.clone(),
            kind: "ldap",
            servers: server.urls(),
            realm: source.realm.clone(),
            every: source.every,
        };
        self.sources.iter().map(info).collect()
    }

    fn read<'a>(&'a self, source: &'a str) -> Asking<'a, Result<People, DirectoryError>> {
        Box::pin(self.all(source))
    }
}
