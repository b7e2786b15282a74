//! Asking a directory over LDAP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapResult, Scope, SearchEntry, StdStream};
use rustls::ClientConfig;
use tokio::time::timeout;

use crate::config;
use crate::config::target::{Host, Reach, Target};
use crate::delivery::read_secret;
use crate::directory::entry::Entry;
use crate::net::connect::{Resolve, Way};
use crate::net::tls::client_config;
use crate::secret::SecretString;

/// The people and the groups of a directory.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) people: Vec<Entry>,
    pub(super) groups: Vec<Entry>,
}

/// The servers of one source.
pub(super) struct Server {
    pub(super) ldap: config::sources::ldap::Ldap,
    pub(super) timeout: Duration,
    ways: Vec<(Way, String)>,
    tls: Option<Arc<ClientConfig>>,
    secret: SecretString,
    /// A connection on which the account is known, for the searches of logins.
    pub(super) reading: tokio::sync::Mutex<Option<Ldap>>,
}

impl Server {
    pub(super) fn open(
        ldap: &config::sources::ldap::Ldap,
        timeout: Duration,
        resolver: &Arc<dyn Resolve>,
    ) -> Result<Self, (String, &'static str)> {
        let ldap = ldap.clone();
        let secret = read_secret(&ldap.secret_file);
        let secret =
            secret.map_err(|why| (why, "put the password into it, readable for the daemon"))?;
        let encrypted = ldap.starttls || ldap.servers.iter().any(|server| server.secure);
        let tls = encrypted.then(|| client_config(ldap.ca_file.as_deref()));
        let tls = tls
            .transpose()
            .map_err(|error| (error.to_string(), error.remedy()))?;
        let mut ways = Vec::new();
        for server in &ldap.servers {
            // The library begins TLS itself, for it may be asked for in the middle of a connection.
            let plain = Target {
                secure: false,
                ..server.clone()
            };
            let way = Way::new(plain, Reach::Private, None, Arc::clone(resolver));
            let way = way.map_err(|error| (error.to_string(), error.remedy()))?;
            ways.push((way, url(server)));
        }
        Ok(Self {
            ldap,
            timeout,
            ways,
            tls: tls.map(Arc::new),
            secret,
            reading: tokio::sync::Mutex::default(),
        })
    }

    pub(super) fn urls(&self) -> Vec<String> {
        self.ways.iter().map(|(_, url)| url.clone()).collect()
    }

    /// All people and groups; an error if it may not be all.
    pub(super) async fn read(&self) -> Result<Entries, String> {
        let mut ldap = self.session().await?;
        let plan = &self.ldap;
        let mut wanted = vec![plan.id.as_str(), &plan.login, &plan.phone, &plan.email];
        let more = plan.display_name.iter().chain(&plan.aliases);
        wanted.extend(more.map(String::as_str));
        wanted.extend(ACCOUNT);
        let people = self.search(&mut ldap, (&plan.base, &plan.filter), wanted);
        let people = people.await.map_err(|why| format!("people: {why}"))?;
        let groups = (plan.group_base.as_str(), plan.group_filter.as_str());
        let groups = self.search(&mut ldap, groups, GROUP.to_vec());
        let groups = groups.await.map_err(|why| format!("groups: {why}"))?;
        // The answers are there: how the connection ends is of no interest.
        let _ = timeout(self.timeout, ldap.unbind()).await;
        Ok(Entries { people, groups })
    }

    /// A connection on which the account is known.
    pub(super) async fn session(&self) -> Result<Ldap, String> {
        let mut ldap = self.connect().await?;
        let bound = self
            .bind(&mut ldap, &self.ldap.bind_dn, &self.secret)
            .await?;
        if bound.rc == 0 {
            return Ok(ldap);
        }
        Err(format!(
            "{} was refused: {}",
            self.ldap.bind_dn,
            told(&bound)
        ))
    }

    pub(super) async fn bind(
        &self,
        ldap: &mut Ldap,
        dn: &str,
        secret: &SecretString,
    ) -> Result<LdapResult, String> {
        let bound = timeout(self.timeout, ldap.simple_bind(dn, secret.expose())).await;
        let bound = bound.map_err(|_| late(self.timeout))?;
        bound.map_err(|error| format!("the connection broke: {error}"))
    }

    /// A connection to the first server that is there.
    pub(super) async fn connect(&self) -> Result<Ldap, String> {
        let mut faults = Vec::new();
        for (way, url) in &self.ways {
            let connected = timeout(self.timeout, self.connect_to(way, url)).await;
            match connected.unwrap_or_else(|_| Err(late(self.timeout))) {
                Ok(ldap) => return Ok(ldap),
                Err(why) => faults.push(format!("{url}: {why}")),
            }
        }
        Err(faults.join("; "))
    }

    async fn connect_to(&self, way: &Way, url: &str) -> Result<Ldap, String> {
        let stream = way.tcp().await?;
        let stream = stream.into_std().map_err(|error| error.to_string())?;
        let mut settings = LdapConnSettings::new()
            .set_std_stream(StdStream::Tcp(stream))
            .set_starttls(self.ldap.starttls && url.starts_with("ldap://"));
        if let Some(tls) = &self.tls {
            settings = settings.set_config(Arc::clone(tls));
        }
        let (connection, ldap) = LdapConnAsync::with_settings(settings, url)
            .await
            .map_err(|error| error.to_string())?;
        // Ends when the last handle is dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, "connection to a directory");
            }
        });
        Ok(ldap)
    }

    /// All entries below the base that the filter takes.
    async fn search(
        &self,
        ldap: &mut Ldap,
        (base, filter): (&str, &str),
        attributes: Vec<&str>,
    ) -> Result<Vec<Entry>, String> {
        let paged = PagedResults::new(self.ldap.page_size);
        let adapters: Vec<Box<dyn Adapter<'_, _, _>>> =
            vec![Box::new(EntriesOnly::new()), Box::new(paged)];
        let broke = |error: ldap3::LdapError| format!("the connection broke: {error}");
        let begun = ldap.streaming_search_with(adapters, base, Scope::Subtree, filter, attributes);
        let begun = timeout(self.timeout, begun).await;
        let mut found = begun.map_err(|_| late(self.timeout))?.map_err(broke)?;
        let mut entries = Vec::new();
        let began = Instant::now();
        let page = usize::try_from(self.ldap.page_size).unwrap_or(1);
        loop {
            let next = timeout(self.timeout, found.next()).await;
            let next = next.map_err(|_| late(self.timeout))?.map_err(broke)?;
            let Some(entry) = next else { break };
            // A page is one answer, whose entries may come one by one.
            let pages = u32::try_from(entries.len() / page).unwrap_or(u32::MAX);
            if began.elapsed() > self.timeout.saturating_mul(pages.saturating_add(1)) {
                return Err(late(self.timeout));
            }
            if entries.len() == ENTRIES {
                return Err(format!(
                    "more than {ENTRIES} entries: narrow `base` or the filter"
                ));
            }
            entries.push(Entry::from(SearchEntry::construct(entry)));
        }
        let end = found.finish().await;
        if end.rc == 0 {
            return Ok(entries);
        }
        Err(format!("below `{base}`: {}", told(&end)))
    }
}

pub(super) fn late(limit: Duration) -> String {
    format!("no answer within {} s", limit.as_secs())
}

/// A result code with its name (RFC 4511 s4.1.9) and what the server says of it.
pub(super) fn told(result: &LdapResult) -> String {
    let name = match result.rc {
        1 => "operationsError",
        2 => "protocolError",
        3 => "timeLimitExceeded",
        4 => "sizeLimitExceeded",
        7 => "authMethodNotSupported",
        8 => "strongerAuthRequired",
        10 => "referral",
        11 => "adminLimitExceeded",
        13 => "confidentialityRequired",
        32 => "noSuchObject",
        34 => "invalidDNSyntax",
        48 => "inappropriateAuthentication",
        49 => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        _ => "error",
    };
    let text: String = result
        .text
        .chars()
        .filter(|one| !one.is_control())
        .take(200)
        .collect();
    let text = text.trim();
    if text.is_empty() {
        format!("{name} ({})", result.rc)
    } else {
        format!("{name} ({}): {text}", result.rc)
    }
}

fn url(server: &Target) -> String {
    let scheme = if server.secure { "ldaps" } else { "ldap" };
    match &server.host {
        Host::Address(std::net::IpAddr::V6(address)) => {
            format!("{scheme}://[{address}]:{}", server.port)
        }
        Host::Address(address) => format!("{scheme}://{address}:{}", server.port),
        Host::Name(name) => format!("{scheme}://{name}:{}", server.port),
    }
}

/// What says whether an account can be used, and in which groups it is.
pub(super) const ACCOUNT: [&str; 5] = [
    "memberOf",
    "userAccountControl",
    "accountExpires",
    "pwdAccountLockedTime",
    "nsAccountLock",
];
const GROUP: [&str; 5] = ["cn", "member", "uniqueMember", "memberUid", "memberOf"];
/// Most entries of one kind.
const ENTRIES: usize = 1_000_000;
