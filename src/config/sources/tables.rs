//! Sources of kinds `sql` and `file`: tables of people.

use std::path::{Path, PathBuf};

use crate::config::keys;
use crate::config::reader::parse_flag;
use crate::config::sources::ldap::plain;
use crate::config::table::Table;
use crate::config::target::Target;

/// A `PostgreSQL` database.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sql {
    /// Its servers, the first to be asked first.
    pub servers: Vec<Database>,
    /// Whether connections are encrypted.
    pub starttls: bool,
    /// PEM file of the authority that vouches for the servers.
    pub ca_file: Option<PathBuf>,
    /// File with the password; without one the server asks for none.
    pub secret_file: Option<PathBuf>,
    /// What is asked.
    pub query: String,
}

/// A database of one server: `postgresql://USER@HOST[:PORT]/DATABASE`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Database {
    /// Where the server is.
    pub target: Target,
    /// The role that reads.
    pub user: String,
    /// The name of the database.
    pub name: String,
}

/// A file with people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeopleFile {
    /// Where it is.
    pub path: PathBuf,
    /// The name of its encoding; none: as its byte order mark says, else UTF-8.
    pub encoding: Option<String>,
    /// What it calls columns, and which those are.
    pub map: Vec<(String, String)>,
    /// Columns that are left out; `*`: all that are unknown.
    pub ignored: Vec<String>,
}

/// What a table of people has. The identity is the name where there is no `id`.
pub const COLUMNS: [&str; 9] = [
    "id",
    "user",
    "display_name",
    "phone",
    "email",
    "groups",
    "alias",
    "disabled",
    "name",
];

impl Table<'_, '_> {
    /// A database.
    pub(super) fn sql(&mut self, dir: &Path) -> Option<Sql> {
        let path = |text: &str| Ok(dir.join(text));
        let starttls = self.one(keys::SOURCE_STARTTLS, parse_flag);
        let key = keys::SOURCE_URL.of(&self.table.name);
        let servers = self.reader.list(key, database);
        let ca_file = self.optional(keys::SOURCE_CA_FILE, path);
        let secret_file = self.optional(keys::SOURCE_SECRET_FILE, path);
        let query = self.required(keys::SOURCE_QUERY, query);
        let (servers, starttls) = (servers?, starttls?);
        if servers.is_empty() {
            self.missing(keys::SOURCE_URL, "write postgresql://USER@HOST/DATABASE");
            return None;
        }
        for server in &servers {
            self.reach(&server.target, starttls, "leave `starttls = true`");
        }
        Some(Sql {
            servers,
            starttls,
            ca_file: ca_file?,
            secret_file: secret_file?,
            query: query?,
        })
    }

    /// A file.
    pub(super) fn people_file(&mut self, dir: &Path) -> Option<PeopleFile> {
        let path = self.required(keys::SOURCE_FILE, |text| Ok(dir.join(text)));
        let encoding = self.optional(keys::SOURCE_ENCODING, plain);
        let map = self
            .reader
            .list(keys::SOURCE_MAP.of(&self.table.name), pair);
        let ignored = keys::SOURCE_IGNORE_COLUMNS.of(&self.table.name);
        let ignored = self.reader.list(ignored, plain);
        Some(PeopleFile {
            path: path?,
            encoding: encoding?,
            map: map?,
            ignored: ignored?,
        })
    }
}

/// `postgresql://USER@HOST[:PORT]/DATABASE`. Threat: a password may stand anywhere in what was written, so no fault
/// repeats it.
fn database(text: &str) -> Result<Database, String> {
    let fault = || {
        "write postgresql://USER@HOST/DATABASE, with :PORT where it is another than 5432".to_owned()
    };
    let rest = text.strip_prefix("postgresql://");
    let rest = rest
        .or_else(|| text.strip_prefix("postgres://"))
        .ok_or_else(fault)?;
    let (user, rest) = rest.split_once('@').ok_or_else(fault)?;
    if user.contains(':') {
        return Err("a password stands in the file of `secret_file`: write USER@HOST".to_owned());
    }
    let (place, name) = rest.split_once('/').ok_or_else(fault)?;
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(fault)?;
            (host, port.strip_prefix(':'))
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = port.map_or(Ok(5432), str::parse).map_err(|_| fault())?;
    let word = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|one| one.is_alphanumeric() || "_-.".contains(one))
    };
    if !word(user) || !word(name) {
        return Err(fault());
    }
    let target = Target::of_host(host, port, false);
    Ok(Database {
        target: target.map_err(|error| error.to_string())?,
        user: user.to_owned(),
        name: name.to_owned(),
    })
}

/// One statement that reads; the database says the rest of it.
fn query(text: &str) -> Result<String, String> {
    let text = text.trim().trim_end_matches(';').trim_end();
    let first = text.split_whitespace().next().unwrap_or_default();
    let reads = ["select", "with", "table", "values"]
        .iter()
        .any(|word| first.eq_ignore_ascii_case(word));
    if !reads || text.contains('\0') {
        return Err(
            "write one SELECT with columns named id, user, ...: oncegate manual sources".to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// `OWN=NAME`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (own, name) = text
        .rsplit_once('=')
        .ok_or("write OWN=NAME, as \"Login=user\"")?;
    let (own, name) = (own.trim(), name.trim().to_ascii_lowercase());
    if own.is_empty() || !COLUMNS.contains(&name.as_str()) {
        return Err(format!(
            "`{text}`: write OWN=NAME, where NAME is one of {}",
            COLUMNS.join(", ")
        ));
    }
    Ok((own.to_owned(), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_named_by_a_url_without_a_password() {
        let good = database("postgresql://reader@db.example.com/hr").unwrap();
        assert_eq!(
            (good.user.as_str(), good.name.as_str(), good.target.port),
            ("reader", "hr", 5432)
        );
        assert_eq!(
            database("postgres://r@[::1]:5433/hr").unwrap().target.port,
            5433
        );
        for wrong in [
            "",
            "db",
            "mysql://r@db/hr",
            "postgresql://db/hr",
            "postgresql://r@db",
            "postgresql://r@db/",
            "postgresql://r@/hr",
            "postgresql://r@db:0/hr",
            "postgresql://r@db:x/hr",
            "postgresql://r@db/hr?a=b",
        ] {
            assert!(database(wrong).is_err(), "{wrong}");
        }
        for wrong in [
            "postgresql://r:hunter2@db/hr",
            "postgres://r:hunter2",
            "mysql://r:hunter2@db/hr",
            "postgresql://r@db:hunter2/hr",
            "postgresql://r@hunter2!/hr",
            "postgresql://r@db/hr?password=hunter2",
        ] {
            let fault = database(wrong).unwrap_err();
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn a_query_reads() {
        assert_eq!(query(" SELECT 1 ; ").unwrap(), "SELECT 1");
        assert!(query("with a as (select 1) table a").is_ok());
        for wrong in ["", "delete from people", "selection", "update x set y = 1"] {
            assert!(query(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn columns_are_called_otherwise() {
        assert_eq!(
            pair(" Login = User ").unwrap(),
            ("Login".to_owned(), "user".to_owned())
        );
        assert!(pair("Login").is_err() && pair("=user").is_err() && pair("a=password").is_err());
    }
}
