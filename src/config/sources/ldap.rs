//! Sources of kind `ldap`: where the directory is, and how it is read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::keys;
use crate::config::reader::{in_range, parse_choice, parse_count, parse_flag};
use crate::config::table::Table;
use crate::config::target::{Host, Reach, Target, refusal};
use crate::diagnostic::{Diagnostic, units};

/// A directory that speaks LDAP (RFC 4511).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ldap {
    /// Its servers, the first to be asked first.
    pub servers: Vec<Target>,
    /// Whether a connection without TLS is encrypted by `StartTLS`.
    pub starttls: bool,
    /// PEM file of the authority that vouches for the servers.
    pub ca_file: Option<PathBuf>,
    /// The account that reads it.
    pub bind_dn: String,
    /// File with its password.
    pub secret_file: PathBuf,
    /// Where the people are.
    pub base: String,
    /// Which entries they are.
    pub filter: String,
    /// Where the groups are.
    pub group_base: String,
    /// Which entries they are.
    pub group_filter: String,
    /// The attribute that never changes.
    pub id: String,
    /// The attribute with the login name.
    pub login: String,
    /// The attributes with the full name; the first that an entry has.
    pub display_name: Vec<String>,
    /// The attribute with the telephone number.
    pub phone: String,
    /// The attribute with the mail address.
    pub email: String,
    /// The attributes with other names that lead to the user.
    pub aliases: Vec<String>,
    /// Entries of one answer.
    pub page_size: i32,
    /// How its people's passwords are checked; `None`: they have passwords here.
    pub password: Option<Password>,
}

/// How a directory checks passwords.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Password {
    /// How long a login waits.
    pub timeout: Duration,
    /// Binds at a time.
    pub in_flight: usize,
    /// Failures in a row after which it is not asked.
    pub breaker_failures: usize,
    /// How long it is not asked then.
    pub breaker_pause: Duration,
}

/// What holds where nothing is written.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Schema {
    filter: &'static str,
    group_filter: &'static str,
    id: &'static str,
    login: &'static str,
    /// Attributes that no one changes of themselves.
    aliases: &'static [&'static str],
}

const LDAP: Schema = Schema {
    filter: "(objectClass=inetOrgPerson)",
    group_filter: "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))",
    id: "entryUUID",
    login: "uid",
    aliases: &[],
};

const AD: Schema = Schema {
    filter: "(&(objectCategory=person)(objectClass=user))",
    group_filter: "(objectClass=group)",
    id: "objectGUID",
    login: "sAMAccountName",
    aliases: &["userPrincipalName"],
};

impl Table<'_, '_> {
    /// A directory that speaks LDAP.
    pub(super) fn ldap(&mut self, dir: &Path) -> Option<Ldap> {
        let servers = self.servers();
        let path = |text: &str| Ok(dir.join(text));
        let ca_file = self.optional(keys::SOURCE_CA_FILE, path);
        let bind_dn = self.required(keys::SOURCE_BIND_DN, plain);
        let secret_file = self.required(keys::SOURCE_SECRET_FILE, path);
        let schema = self.one(keys::SOURCE_SCHEMA, |text| {
            parse_choice(text, &[("ldap", LDAP), ("ad", AD)])
        });
        let base = self.required(keys::SOURCE_BASE, plain);
        let group_base = self.optional(keys::SOURCE_GROUP_BASE, plain);
        let filter = self.optional(keys::SOURCE_FILTER, filter);
        let group_filter = self.optional(keys::SOURCE_GROUP_FILTER, self::filter);
        let id = self.optional(keys::SOURCE_ID, attribute);
        let login = self.optional(keys::SOURCE_LOGIN, attribute);
        let display_name = self.optional(keys::SOURCE_DISPLAY_NAME, attribute);
        let phone = self.one(keys::SOURCE_PHONE, attribute);
        let email = self.one(keys::SOURCE_EMAIL, attribute);
        let aliases = self.aliases();
        let password = self.password();
        let page_size = self.one(keys::SOURCE_PAGE_SIZE, |text| {
            let size = text.parse().ok();
            let size = size.and_then(|size| in_range(size, 1..=1000));
            size.ok_or_else(|| format!("`{text}` is not a number from 1 to 1000"))
        });
        let (servers, starttls) = servers?;
        let (schema, base) = (schema?, base?);
        let names = || vec!["displayName".to_owned(), "cn".to_owned()];
        Some(Ldap {
            servers,
            starttls,
            ca_file: ca_file?,
            bind_dn: bind_dn?,
            secret_file: secret_file?,
            filter: filter?.unwrap_or_else(|| schema.filter.to_owned()),
            group_base: group_base?.unwrap_or_else(|| base.clone()),
            base,
            group_filter: group_filter?.unwrap_or_else(|| schema.group_filter.to_owned()),
            id: id?.unwrap_or_else(|| schema.id.to_owned()),
            login: login?.unwrap_or_else(|| schema.login.to_owned()),
            display_name: display_name?.map_or_else(names, |one| vec![one]),
            phone: phone?,
            email: email?,
            aliases: aliases?
                .unwrap_or_else(|| schema.aliases.iter().map(|&one| one.to_owned()).collect()),
            page_size: page_size?,
            password: password?,
        })
    }

    /// The servers, and whether connections without TLS are encrypted then.
    fn servers(&mut self) -> Option<(Vec<Target>, bool)> {
        let starttls = self.one(keys::SOURCE_STARTTLS, parse_flag);
        let key = keys::SOURCE_URL.of(&self.table.name);
        let servers = self.reader.list(key, server);
        let (servers, starttls) = (servers?, starttls?);
        if servers.is_empty() {
            self.missing(keys::SOURCE_URL, keys::SOURCE_URL.about);
            return None;
        }
        for server in &servers {
            self.reach(
                server,
                server.secure || starttls,
                "write ldaps://, or `starttls = true`",
            );
        }
        Some((servers, starttls))
    }

    /// Reports a server that is not to be asked: far away without TLS, or at no server's address.
    pub(super) fn reach(&mut self, server: &Target, encrypted: bool, remedy: &'static str) {
        if !encrypted && !server.is_loopback() {
            let error = Diagnostic::error("passwords would travel readable");
            self.report(keys::SOURCE_URL, error.help(remedy));
        }
        if let Host::Address(address) = server.host
            && let Some(why) = refusal(address, Reach::Private)
        {
            let error = Diagnostic::error(format!("{address} is {why}"));
            self.report(keys::SOURCE_URL, error.help("no directory is there"));
        }
    }

    /// The attributes with other names; the inner `None`: as the schema has it.
    fn aliases(&mut self) -> Option<Option<Vec<String>>> {
        let key = keys::SOURCE_ALIASES;
        let written = self.is_written(key);
        let names = self.reader.list(key.of(&self.table.name), attribute)?;
        Some(written.then_some(names))
    }

    fn password(&mut self) -> Option<Option<Password>> {
        let asked = self.one(keys::SOURCE_PASSWORD, parse_flag);
        let timeout = self.one(keys::SOURCE_BIND_TIMEOUT, |text| {
            let range = Duration::from_millis(100)..=Duration::from_secs(30);
            in_range(units::duration(text)?, range).ok_or_else(|| "write 100ms to 30s".to_owned())
        });
        let in_flight = self.one(keys::SOURCE_IN_FLIGHT, |text| {
            let places = text.parse().ok();
            let places = places.and_then(|places| in_range(places, 1..=32));
            places.ok_or_else(|| format!("`{text}` is not a number from 1 to 32"))
        });
        let breaker_failures = self.one(keys::SOURCE_BREAKER_FAILURES, parse_count);
        let breaker_pause = self.one(keys::SOURCE_BREAKER_PAUSE, |text| {
            let range = Duration::from_secs(1)..=Duration::from_hours(1);
            in_range(units::duration(text)?, range).ok_or_else(|| "write 1s to 1h".to_owned())
        });
        let password = Password {
            timeout: timeout?,
            in_flight: in_flight?,
            breaker_failures: breaker_failures?,
            breaker_pause: breaker_pause?,
        };
        Some(asked?.then_some(password))
    }
}

/// `ldaps://HOST[:PORT]` or `ldap://HOST[:PORT]`. Threat: a password may stand anywhere in what was written, so no
/// fault repeats it.
fn server(text: &str) -> Result<Target, String> {
    let fault = || "write ldaps://HOST or ldap://HOST, with :PORT where it is another".to_owned();
    let (secure, rest) = match text.split_once("://") {
        Some(("ldaps", rest)) => (true, rest),
        Some(("ldap", rest)) => (false, rest),
        _ => return Err(fault()),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(fault)?;
            (host, port.strip_prefix(':'))
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().map_err(|_| fault())?,
        None if secure => 636,
        None => 389,
    };
    Target::of_host(host, port, secure).map_err(|error| error.to_string())
}

pub(super) fn plain(text: &str) -> Result<String, String> {
    let good = !text.chars().any(char::is_control);
    good.then(|| text.to_owned())
        .ok_or_else(|| "it has control characters".to_owned())
}

/// A filter has as many closing brackets as opening ones (RFC 4515); more is known when it is asked.
fn filter(text: &str) -> Result<String, String> {
    let count = |wanted| text.chars().filter(|one| *one == wanted).count();
    let whole = text.starts_with('(') && text.ends_with(')') && count('(') == count(')');
    whole
        .then(|| text.to_owned())
        .ok_or_else(|| format!("`{text}` is no filter: write (attribute=value)"))
}

fn attribute(text: &str) -> Result<String, String> {
    let good = |octet: u8| octet.is_ascii_alphanumeric() || b"-;.".contains(&octet);
    let whole = !text.is_empty() && text.bytes().all(good);
    whole
        .then(|| text.to_owned())
        .ok_or_else(|| format!("`{text}` is no name of an attribute"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_by_urls() {
        for (text, host, port, secure) in [
            ("ldaps://dc1.example.com", "dc1.example.com", 636, true),
            ("ldap://DC1.example.com/", "dc1.example.com", 389, false),
            ("ldap://localhost:10389", "localhost", 10389, false),
        ] {
            let wanted = Target {
                host: Host::Name(host.to_owned()),
                port,
                secure,
            };
            assert_eq!(server(text), Ok(wanted), "{text}");
        }
        assert_eq!(server("ldap://[::1]:10389").unwrap().port, 10389);
        for wrong in [
            "",
            "dc1",
            "http://dc1",
            "ldaps://",
            "ldaps://user@dc1",
            "ldaps://dc1/dc=example",
            "ldaps://dc1:0",
            "ldapi:///",
        ] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
        for wrong in [
            "ldaps://cn=reader:hunter2@dc1",
            "hunter2",
            "ldap://dc1:hunter2",
            "ldap://hunter2!",
        ] {
            let fault = server(wrong).unwrap_err();
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }
}
