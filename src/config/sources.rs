//! `[source.NAME]`: directories that users follow.
//!
//! Threats: a password that travels readable is read on the way, so without TLS only this machine is asked;
//! the account's own password stands in a file, never here.

use std::path::Path;
use std::time::Duration;

use crate::config::file::Key;
use crate::config::keys;
use crate::config::reader::{Resolver, in_range, parse_choice};
use crate::config::sources::ldap::Ldap;
use crate::config::sources::tables::{PeopleFile, Sql};
use crate::config::table::Table;
use crate::diagnostic::{Diagnostic, units};
use crate::model::client::is_client_name;
use crate::model::user_key::{CONSOLE, UserKey};

pub mod ldap;
pub mod tables;

/// A directory that users follow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserSource {
    /// Its name: that of the table.
    pub name: String,
    /// The realm of its users.
    pub realm: String,
    /// How often they follow it; `None`: by command only.
    pub every: Option<Duration>,
    /// How long one answer may take.
    pub timeout: Duration,
    /// Names of the groups that its users get.
    pub groups: Vec<GroupName>,
    /// Where it is, and how it is read.
    pub origin: Origin,
}

/// What is read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// A directory that speaks LDAP.
    Ldap(Box<Ldap>),
    /// A database.
    Sql(Sql),
    /// A file.
    File(PeopleFile),
}

/// A group's name, or how it begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum GroupName {
    /// This one, in any case.
    Is(String),
    /// Those that begin so, in any case.
    Begins(String),
}

impl GroupName {
    /// Whether it is that of this group.
    pub fn fits(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        match self {
            Self::Is(this) => name == *this,
            Self::Begins(start) => name.starts_with(start),
        }
    }

    fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(start) => Self::Begins(start.to_lowercase()),
            None => Self::Is(text.to_lowercase()),
        }
    }
}

/// A source whose client pushes its users (SCIM 2.0).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScimSource {
    /// Its name: that of the table.
    pub name: String,
    /// The API client.
    pub client: String,
    /// The realm of users whose names have none.
    pub realm: String,
    /// What of a user is another name that leads to them.
    pub aliases: Vec<ScimAlias>,
}

words! {
    /// What of a SCIM user can be another name.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum ScimAlias {
        /// The mail address.
        Emails = "emails",
        /// What the provider calls the user.
        ExternalId = "externalId",
    }
}

words! {
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    enum Kind {
        Ldap = "ldap",
        Sql = "sql",
        File = "file",
        Scim = "scim",
    }
}

impl Kind {
    /// The keys of its tables.
    const fn keys(self) -> &'static [&'static Key] {
        match self {
            Self::Ldap => keys::LDAP_KEYS,
            Self::Sql => keys::SQL_KEYS,
            Self::File => keys::FILE_KEYS,
            Self::Scim => keys::SCIM_KEYS,
        }
    }
}

/// Every source, in the order of the file.
pub(super) fn sources(
    reader: &mut Resolver<'_>,
    dir: &Path,
) -> Option<(Vec<UserSource>, Vec<ScimSource>)> {
    let (mut asked, mut pushed) = (Vec::new(), Vec::new());
    let mut whole = true;
    for table in &reader.written.chosen("source") {
        let mut table = Table { reader, table };
        let kind = table.required(keys::SOURCE_KIND, |text| {
            parse_choice(text, &Kind::ALL.map(|kind| (kind.as_str(), kind)))
        });
        let Some(kind) = kind else {
            whole = false;
            continue;
        };
        table.of_kind(kind);
        if kind != Kind::Scim {
            match table.source(kind, dir) {
                Some(source) => asked.push(source),
                None => whole = false,
            }
            continue;
        }
        let Some(source) = table.scim() else {
            whole = false;
            continue;
        };
        let same = |other: &&ScimSource| other.client == source.client;
        if let Some(other) = pushed.iter().find(same) {
            let client = &source.client;
            let text = format!("client `{client}` pushes the source `{}`", other.name);
            let error = Diagnostic::error(text);
            let error = error.help("a client pushes one source: name another");
            table.report(keys::SOURCE_CLIENT, error);
        }
        pushed.push(source);
    }
    whole.then_some((asked, pushed))
}

impl Table<'_, '_> {
    /// Reports keys that mean nothing in a table of this kind.
    fn of_kind(&mut self, kind: Kind) {
        for key in keys::SOURCE {
            if !kind.keys().contains(key) && self.is_written(key) {
                let path = self.path(key);
                let error = Diagnostic::error(format!("a source of kind {kind} has no `{path}`"));
                self.report(key, error.help("remove it, or change `kind`"));
            }
        }
    }

    fn scim(&mut self) -> Option<ScimSource> {
        let realm = self.one(keys::SOURCE_REALM, |text| match realm(text) {
            Ok(realm) if realm == CONSOLE => {
                Err("people of the console are not pushed: name another realm".to_owned())
            }
            realm => realm,
        });
        let client = self.optional(keys::SOURCE_CLIENT, |text| {
            let good = is_client_name(text).then(|| text.to_owned());
            good.ok_or_else(|| format!("`{text}` is no name of a client"))
        });
        let name = self.table.name.clone();
        let aliases = self.reader.list(keys::SOURCE_ALIASES.of(&name), |text| {
            parse_choice(text, &ScimAlias::ALL.map(|one| (one.as_str(), one)))
        });
        Some(ScimSource {
            client: client?.unwrap_or_else(|| name.clone()),
            realm: realm?,
            aliases: aliases?,
            name,
        })
    }

    fn source(&mut self, kind: Kind, dir: &Path) -> Option<UserSource> {
        let realm = self.one(keys::SOURCE_REALM, realm);
        let every = self.one(keys::SOURCE_EVERY, |text| {
            if text == "never" {
                return Ok(None);
            }
            let range = Duration::from_mins(1)..=Duration::from_hours(24 * 7);
            let every = in_range(units::duration(text)?, range);
            every
                .map(Some)
                .ok_or_else(|| "write 1m to 7d, or never".to_owned())
        });
        let timeout = self.one(keys::SOURCE_TIMEOUT, |text| {
            let range = Duration::from_secs(1)..=Duration::from_mins(5);
            in_range(units::duration(text)?, range).ok_or_else(|| "write 1s to 5m".to_owned())
        });
        let groups = self
            .reader
            .list(keys::SOURCE_GROUPS.of(&self.table.name), |text| {
                Ok(GroupName::parse(text))
            });
        let origin = match kind {
            Kind::Sql => self.sql(dir).map(Origin::Sql),
            Kind::File => self.people_file(dir).map(Origin::File),
            Kind::Ldap | Kind::Scim => self.ldap(dir).map(|ldap| Origin::Ldap(Box::new(ldap))),
        };
        Some(UserSource {
            name: self.table.name.clone(),
            realm: realm?,
            every: every?,
            timeout: timeout?,
            groups: groups?,
            origin: origin?,
        })
    }
}

fn realm(text: &str) -> Result<String, String> {
    let key = UserKey::with_realm("user", text);
    let fault = |_| format!("`{text}` is no realm");
    key.map(|key| key.realm().to_owned()).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_whole_or_by_their_beginning() {
        let fits = |pattern: &str, name: &str| GroupName::parse(pattern).fits(name);
        assert!(fits("*", "Staff") && fits("VPN-*", "vpn-seoul") && fits("staff", "Staff"));
        assert!(!fits("staff", "staff2") && !fits("vpn-*", "vpn"));
    }
}
