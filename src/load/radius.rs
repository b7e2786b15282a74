//! `oncegate bench radius`.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use nix::errno::Errno;
use tokio::task::{JoinError, JoinSet, spawn_blocking};

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::input::Ask;
use crate::cli::{input, output};
use crate::delivery::read_secret;
use crate::load::codes::Codes;
use crate::load::drill::Drill;
use crate::load::link::Dial;
use crate::load::pace::Pacer;
use crate::load::packet::{Method, Unsigned};
use crate::load::report::Run;
use crate::load::tally::Tally;
use crate::load::users::User;
use crate::load::watch::Watch;
use crate::load::worker::{Plan, Stopped, Worker};
use crate::load::{Load, codes, report, users, watch};
use crate::radius::authenticator::SecretKeys;
use crate::secret::{SecretBytes, SecretString, SharedSecret};
use crate::time::{Clock as _, SystemClock};

#[derive(Debug, Args)]
pub(crate) struct Radius {
    /// HOST or HOST:PORT [default port: 1812, with --tls 2083]
    #[arg(value_name = "SERVER")]
    target: String,
    #[command(flatten)]
    load: Load,
    /// Read the shared secret from stdin
    #[arg(long)]
    secret_stdin: bool,
    /// Read the shared secret from a file
    #[arg(long, value_name = "FILE", conflicts_with = "secret_stdin")]
    secret_file: Option<PathBuf>,
    /// The shared secret, for tests
    #[arg(long, hide = true, conflicts_with_all = ["secret_stdin", "secret_file"])]
    secret: Option<String>,
    /// How passwords travel
    #[arg(long, value_enum, default_value_t)]
    method: Method,
    /// Speak RADIUS over TLS (RFC 6614), as a client with a certificate
    #[arg(long, requires_all = ["certificate", "key"])]
    tls: bool,
    /// Authority of the server's certificate, PEM [default: those of the system]
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,
    /// The client's certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls")]
    certificate: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls")]
    key: Option<PathBuf>,
    /// Name in the server's certificate [default: HOST]
    #[arg(long, value_name = "NAME", requires = "tls")]
    server_name: Option<String>,
    /// How many times to send a request again when no answer came within --timeout; never over TLS
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "tls")]
    retries: u8,
    /// Accept replies without Message-Authenticator, for servers that send none
    #[arg(long)]
    allow_unsigned: bool,
    /// Threads that send; one drives more than 100,000 logins a second
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,
}

impl Radius {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        self.load.check()?;
        let server = resolve(&self.target, if self.tls { TLS_PORT } else { PORT })?;
        let dial = self.dial()?;
        let secret = if self.tls {
            radsec()?
        } else {
            self.shared_secret()?
        };
        let everyone = users::load(&self.load.users)?;
        let count = everyone.len();
        let limit = self.load.limit();
        let threads = usize::try_from(self.threads)
            .unwrap_or(1)
            .min(count)
            .min(limit);
        let drills = self.prepare(everyone, threads, context).await?;

        let plan = Arc::new(self.plan((server, dial), secret));
        let watch = Arc::new(Watch::start());
        let mut workers = JoinSet::new();
        for (index, drill) in drills.into_iter().enumerate() {
            let (plan, watch) = (Arc::clone(&plan), Arc::clone(&watch));
            let pacer = Pacer::new(self.load.rate, index as u64, threads as u64);
            // The limit is shared out; what is left over goes to the first.
            let limit = limit / threads + usize::from(index < limit % threads);
            workers.spawn_blocking(move || {
                let worker = Worker::new(&plan, &watch, drill, pacer, limit)?;
                Ok::<_, io::Error>(worker.run())
            });
        }
        let mut done = Vec::new();
        let all = async {
            while let Some(ended) = workers.join_next().await {
                done.push(ended);
                // One that cannot go on would leave the others running for nothing.
                if !matches!(done.last(), Some(Ok(Ok((_, _, None))))) {
                    watch.stop();
                }
            }
        };
        let interrupted = watch::follow(&watch, plan.length, context.out, all).await;
        let now = watch.now().min(plan.length);
        let (tally, mut users) = merge(done, &plan)?;
        if let Some(path) = &self.load.save {
            users.sort_by(|one, other| one.name.cmp(&other.name));
            users::save(path, &users, |_| ())?;
        }
        let run = Run {
            protocol: "radius",
            target: server.to_string(),
            method: Some(self.method),
            users: count,
            outstanding: limit,
            rate: self.load.rate,
            warmup: plan.warmup,
            ended: watch.dry().unwrap_or(now),
            interrupted,
            ran_dry: watch.dry().is_some(),
            silence: if self.tls {
                "a server is silent while no decision can be made: see its log"
            } else {
                "a server is silent to clients it does not know and to wrong shared secrets: \
                 see that this address is one of its clients and that the secret is the same"
            },
        };
        report::show(run, &tally, context)
    }

    /// How connections over TLS are made.
    fn dial(&self) -> Result<Option<Dial>, CliError> {
        let (Some(certificate), Some(key)) = (&self.certificate, &self.key) else {
            return Ok(None);
        };
        let name = match &self.server_name {
            Some(name) => name.as_str(),
            None => host(&self.target),
        };
        Dial::new(self.ca.as_deref(), (certificate, key), name).map(Some)
    }

    fn plan(&self, (server, dial): (SocketAddr, Option<Dial>), secret: SharedSecret) -> Plan {
        Plan {
            server,
            dial,
            method: self.method,
            keys: SecretKeys::new(secret),
            timeout: self.load.timeout,
            retries: self.retries,
            unsigned: if self.allow_unsigned {
                Unsigned::Allow
            } else {
                Unsigned::Refuse
            },
            warmup: self.load.warmup,
            length: self.load.length(),
        }
    }

    fn shared_secret(&self) -> Result<SharedSecret, CliError> {
        let text = match (&self.secret, &self.secret_file) {
            (Some(secret), _) => {
                input::warn_of_arguments();
                SecretString::from(secret.as_str())
            }
            (None, Some(path)) => read_secret(path)
                .map_err(|error| CliError::usage(format!("--secret-file {error}")))?,
            (None, None) if self.secret_stdin => input::secret(Ask::once("shared secret"))?,
            (None, None) => {
                return Err(CliError::usage("no shared secret")
                    .remedy("give it with --secret-stdin or --secret-file FILE"));
            }
        };
        SharedSecret::new(SecretBytes::from(text.expose().as_bytes()))
            .ok_or_else(|| CliError::usage("the shared secret must have 1 to 128 octets"))
    }

    /// Shares the users out and computes their codes, each share on a thread of its own.
    async fn prepare(
        &self,
        everyone: Vec<User>,
        threads: usize,
        context: &Context,
    ) -> Result<Vec<Drill>, CliError> {
        let bar = output::progress(context.out, "codes", everyone.len() as u64);
        let from = SystemClock.now();
        let until = from.plus(self.load.length()).plus(PREPARATION);
        let mut shares: Vec<Vec<User>> = Vec::new();
        shares.resize_with(threads, Vec::new);
        for (index, user) in everyone.into_iter().enumerate() {
            if let Some(share) = shares.get_mut(index % threads) {
                share.push(user);
            }
        }
        let (wrong, replay, spent) = (self.load.wrong, self.load.replay, self.load.spent);
        let pin = self.load.pin()?;
        let tasks: Vec<_> = shares
            .into_iter()
            .map(|share| {
                let (bar, pin) = (bar.clone(), pin.clone());
                spawn_blocking(move || {
                    let most = codes::MOST / threads;
                    let codes = Codes::prepare(&share, from, until, most, |done| bar.inc(done));
                    Drill::new(share, codes, wrong, replay, spent).behind(pin)
                })
            })
            .collect();
        let mut drills = Vec::new();
        for task in tasks {
            let drill = task.await;
            drills.push(drill.map_err(|error| CliError::unavailable(error.to_string()))?);
        }
        bar.finish_and_clear();
        Ok(drills)
    }
}

/// What a worker's thread came to.
type Ended = Result<io::Result<(Drill, Tally, Option<Stopped>)>, JoinError>;

/// The counts of all workers, and the users as they are now.
fn merge(done: Vec<Ended>, plan: &Plan) -> Result<(Tally, Vec<User>), CliError> {
    let server = plan.server;
    let mut tally = Tally::new(plan.warmup, plan.length);
    let mut users = Vec::new();
    for ended in done {
        let ended = ended.map_err(|error| CliError::unavailable(error.to_string()))?;
        let (drill, counted, stopped) = ended.map_err(|error| {
            CliError::unavailable(format!("cannot open a socket to {server}: {error}"))
        })?;
        if let Some(stopped) = stopped {
            return Err(stopped_error(stopped, server));
        }
        tally.add(&counted);
        users.extend(drill.into_users());
    }
    Ok((tally, users))
}

/// The fixed secret of RADIUS over TLS (RFC 6614 s2.3).
fn radsec() -> Result<SharedSecret, CliError> {
    let secret = SharedSecret::new(SecretBytes::from(&b"radsec"[..]));
    secret.ok_or_else(|| CliError::unavailable("no secret"))
}

/// A target without its port.
fn host(target: &str) -> &str {
    match target.parse::<SocketAddr>() {
        Ok(_) => target.rsplit_once(':').map_or(target, |(host, _)| host),
        Err(_) if target.matches(':').count() == 1 => {
            target.split_once(':').map_or(target, |(host, _)| host)
        }
        Err(_) => target,
    }
    .trim_matches(['[', ']'])
}

fn resolve(target: &str, port: u16) -> Result<SocketAddr, CliError> {
    let failed = |error: io::Error| {
        CliError::usage(format!("{target}: {error}"))
            .remedy("write HOST:PORT, as 192.0.2.1:1812 or [2001:db8::1]:1812")
    };
    let bare = target.trim_matches(['[', ']']);
    let found = match (target.parse::<SocketAddr>(), bare.parse()) {
        (Ok(address), _) => return Ok(address),
        (_, Ok(address)) => return Ok(SocketAddr::new(address, port)),
        _ if target.contains(':') => target.to_socket_addrs(),
        _ => (target, port).to_socket_addrs(),
    };
    let first = found.map_err(failed)?.next();
    first.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}

fn stopped_error(stopped: Stopped, server: SocketAddr) -> CliError {
    match stopped {
        Stopped::Socket(Errno::ECONNREFUSED) => {
            CliError::unavailable(format!("nothing listens on {server}"))
                .remedy("start the server, or correct the address and port")
        }
        Stopped::Socket(Errno::EPROTO | Errno::ECONNRESET) => {
            CliError::unavailable(format!("{server} ended the connection"))
                .remedy("see its log: over TLS it must know the name in the client's certificate")
        }
        Stopped::Socket(error) => {
            CliError::unavailable(format!("cannot reach {server}: {}", error.desc()))
        }
        Stopped::Entropy => CliError::unavailable("the operating system gives no random octets"),
    }
}

/// RFC 2865 s3.
const PORT: u16 = 1812;
/// RFC 6614 s2.1.
const TLS_PORT: u16 = 2083;
/// Beyond the run itself: computing codes takes a while.
const PREPARATION: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_a_default_port() {
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1:1812"),
            ("192.0.2.1:99", "192.0.2.1:99"),
            ("2001:db8::1", "[2001:db8::1]:1812"),
            ("[2001:db8::1]", "[2001:db8::1]:1812"),
            ("[2001:db8::1]:99", "[2001:db8::1]:99"),
        ] {
            assert_eq!(resolve(text, PORT).unwrap().to_string(), address);
            let bare = address.rsplit_once(':').unwrap().0;
            assert_eq!(host(text), bare.trim_matches(['[', ']']));
        }
        assert_eq!(host("otp.example.com:2083"), "otp.example.com");
        assert_eq!(resolve("127.0.0.1:x", PORT).unwrap_err().exit, Exit::Usage);
    }
}
