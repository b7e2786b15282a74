//! People in a `PostgreSQL` database: one query in a transaction that only reads.
//!
//! The database turns each row into a JSON object, so that whatever types the columns have are text here.
//!
//! Invariants: a query that breaks off, or is late, is an error; nothing can be changed by it; an answer is bounded.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, IsolationLevel, NoTls};
use tokio_rustls::TlsConnector;

use crate::config::sources::GroupName;
use crate::config::sources::tables::{Database, Sql};
use crate::config::target::Reach;
use crate::core::directory::People;
use crate::delivery::read_secret;
use crate::directory::table::{Row, Rows};
use crate::net::connect::{Channel, Resolve, Way};
use crate::net::tls::client_config;
use crate::secret::SecretString;

/// The servers of one source.
pub(super) struct Databases {
    servers: Vec<(Database, Way)>,
    query: String,
    timeout: Duration,
    tls: Option<Arc<ClientConfig>>,
    secret: Option<SecretString>,
}

impl Databases {
    pub(super) fn open(
        sql: &Sql,
        timeout: Duration,
        resolver: &Arc<dyn Resolve>,
    ) -> Result<Self, (String, &'static str)> {
        let secret = sql.secret_file.as_deref().map(read_secret).transpose();
        let secret =
            secret.map_err(|why| (why, "put the password into it, readable for the daemon"))?;
        let tls = sql.starttls.then(|| client_config(sql.ca_file.as_deref()));
        let tls = tls
            .transpose()
            .map_err(|error| (error.to_string(), error.remedy()))?;
        let mut servers = Vec::new();
        for server in &sql.servers {
            let way = Way::new(
                server.target.clone(),
                Reach::Private,
                None,
                Arc::clone(resolver),
            );
            let way = way.map_err(|error| (error.to_string(), error.remedy()))?;
            servers.push((server.clone(), way));
        }
        Ok(Self {
            servers,
            query: format!(
                "SELECT row_to_json(person)::text FROM (\n{}\n) AS person",
                sql.query
            ),
            timeout,
            tls: tls.map(Arc::new),
            secret,
        })
    }

    pub(super) fn urls(&self) -> Vec<String> {
        let url = |(server, way): &(Database, Way)| {
            let (user, port) = (&server.user, server.target.port);
            format!("postgresql://{user}@{}:{port}/{}", way.host(), server.name)
        };
        self.servers.iter().map(url).collect()
    }

    /// All people; an error if it may not be all.
    pub(super) async fn read(&self, groups: &[GroupName]) -> Result<People, String> {
        let read = timeout(self.timeout, async {
            let client = self.connect().await?;
            self.ask(client, groups).await
        });
        let late = || format!("no answer within {} s", self.timeout.as_secs());
        read.await.unwrap_or_else(|_| Err(late()))
    }

    /// A connection to the first server that is there.
    async fn connect(&self) -> Result<Client, String> {
        let mut faults = Vec::new();
        for ((server, way), url) in self.servers.iter().zip(self.urls()) {
            match self.connect_to(server, way).await {
                Ok(client) => return Ok(client),
                Err(why) => faults.push(format!("{url}: {why}")),
            }
        }
        Err(faults.join("; "))
    }

    async fn connect_to(&self, server: &Database, way: &Way) -> Result<Client, String> {
        let channel = way.bounded(OCTETS).await?;
        let mut config = Config::new();
        config
            .user(&server.user)
            .dbname(&server.name)
            .application_name("oncegate")
            .ssl_mode(SslMode::Disable);
        if let Some(secret) = &self.secret {
            config.password(secret.expose());
        }
        let Some(tls) = &self.tls else {
            let made = config.connect_raw(channel, NoTls).await;
            let (client, connection) = made.map_err(|error| told(&error))?;
            // Ends when the client is dropped.
            tokio::spawn(async move { ended(connection.await) });
            return Ok(client);
        };
        config.ssl_mode(SslMode::Require);
        let name = ServerName::try_from(way.host()).map_err(|_| "no valid host name".to_owned())?;
        let tls = Tls(TlsConnector::from(Arc::clone(tls)), name);
        let made = config.connect_raw(channel, tls).await;
        let (client, connection) = made.map_err(|error| told(&error))?;
        tokio::spawn(async move { ended(connection.await) });
        Ok(client)
    }

    async fn ask(&self, mut client: Client, groups: &[GroupName]) -> Result<People, String> {
        let transaction = client
            .build_transaction()
            .read_only(true)
            .isolation_level(IsolationLevel::RepeatableRead)
            .start()
            .await
            .map_err(|error| told(&error))?;
        let limit = format!("SET LOCAL statement_timeout = {}", self.timeout.as_millis());
        let limited = transaction.batch_execute(&limit).await;
        limited.map_err(|error| told(&error))?;
        let none: [&str; 0] = [];
        let answer = transaction.query_raw(&self.query, none).await;
        let mut answer = pin!(answer.map_err(|error| told(&error))?);
        let mut rows = Rows::new(groups);
        let mut number = 0_u64;
        while let Some(row) = answer.try_next().await.map_err(|error| told(&error))? {
            number += 1;
            let fault = |why: String| format!("row {number}: {why}");
            let text: &str = row.try_get(0).map_err(|error| fault(told(&error)))?;
            if text.len() > ROW {
                return Err(fault(format!("more than {ROW} octets")));
            }
            let row: Row = serde_json::from_str(text).map_err(|error| fault(error.to_string()))?;
            rows.take(&row).map_err(fault)?;
        }
        Ok(rows.people())
    }
}

fn ended(result: Result<(), tokio_postgres::Error>) {
    if let Err(error) = result {
        tracing::debug!(error = %told(&error), "connection to a database");
    }
}

/// What went wrong, in the words of the database where it said any.
fn told(error: &tokio_postgres::Error) -> String {
    let text = match error.as_db_error() {
        Some(said) => format!("{} (SQLSTATE {})", said.message(), said.code().code()),
        None => match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    };
    let shown = text.chars().filter(|one| !one.is_control());
    shown.take(300).collect()
}

/// TLS as our configuration has it.
struct Tls(TlsConnector, ServerName<'static>);

impl TlsConnect<Channel> for Tls {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, channel: Channel) -> Self::Future {
        let Self(connector, name) = self;
        Box::pin(async move { connector.connect(name, channel).await.map(Encrypted) })
    }
}

struct Encrypted(tokio_rustls::client::TlsStream<Channel>);

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Most octets of an answer.
const OCTETS: usize = 512 * 1024 * 1024;
/// Longest row.
const ROW: usize = 64 * 1024;
