//! `oncegate quickstart`: from an empty machine to a proven login in one command.
//!
//! ```text
//! init if needed -> serve -> demo user, tokens, clients (over the admin socket)
//!                         -> self test: right code, same code, next code, same code -> story
//! ```
//!
//! A counter token of a second user makes the codes of the self test, so that nothing waits and the
//! codes of the phone stay unused.
//!
//! Threat: the marker file DIR/quickstart makes the daemon show codes and holds secrets in the
//! clear. So only this command writes it, and only into an installation that it makes itself, which does not become
//! a demonstration by a mistyped `--dir`; codes are shown of the tokens alone that it names.

use std::fs::OpenOptions;
use std::io;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use nix::sys::signal::{Signal, raise};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::api::{
    AddClient, AddToken, AddUser, ClientCreate, ClientCreated, Rotate, RotateClient, ShowToken,
    ShowUser, TokenCreate, TokenCreated, UnlockUser, UserCreate,
};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Output, shell_word};
use crate::cli::selftest::{Login, Step};
use crate::cli::serve::Listeners;
use crate::cli::transport::Transport;
use crate::cli::{hints, logging, output, serve};
use crate::config::{Level, Log, Origin, keys};
use crate::daemon;
use crate::daemon::Site;
use crate::net::reachable;
use crate::otp::{Algorithm, Digits, hotp};
use crate::otpauth;
use crate::qr;
use crate::secret::{OtpKey, SecretString};
use crate::server::Info;
use crate::service::Service;

/// Set up a demonstration, log in over RADIUS and HTTP, and keep serving
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oncegate quickstart --dir ./demo\n\
    Everything lives in DIR; delete it to forget all. Run it again to see the lines again.")]
pub(super) struct Quickstart {
    #[command(flatten)]
    listeners: Listeners,
    /// Stop after the demonstration; the exit code says whether all went as expected
    #[arg(long)]
    once: bool,
}

/// What the marker file holds.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
struct Demo {
    user: String,
    serial: Option<String>,
    otpauth_uri: Option<String>,
    counter_serial: Option<String>,
    counter_key: Option<String>,
    radius_secret: Option<String>,
    api_key: Option<String>,
}

/// The report at the end; also the document of `--json`.
#[derive(Serialize)]
struct Story {
    ok: bool,
    dir: PathBuf,
    radius: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
    user: String,
    serial: String,
    otpauth_uri: String,
    radius_secret: String,
    api_key: String,
    checks: Vec<Step>,
    try_radius: Option<String>,
    try_http: Option<String>,
    /// A link into the console, while no one can sign in to it.
    console: Option<String>,
}

impl Quickstart {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        context.local_only("quickstart")?;
        if context.config.is_some() {
            return Err(CliError::usage("quickstart makes its own configuration")
                .remedy("name a directory instead: --dir DIR"));
        }
        let marker = context.dir.join(MARKER);
        let is_new = prepare(context, &marker)?;
        let site = context.site()?;
        start_logging(&site);
        serve::warn_of(&site);
        let listeners = self.listeners.choose(&site, context.out)?;
        let mut guide = Guide {
            context,
            api: Transport::Socket(site.socket()),
            demo: read(&marker),
            marker,
            is_new,
            once: self.once,
        };

        let (announce, bound) = oneshot::channel();
        let ready = move |info: &Info, _: &Arc<Service>| {
            // The receiver is gone only when the story has ended already.
            let _ = announce.send(info.clone());
        };
        let mut serving = Box::pin(daemon::serve(site, listeners.overrides(), ready));
        let told = tokio::select! {
            served = &mut serving => {
                served?;
                return Ok(Exit::Done);
            }
            told = guide.tell(bound) => told,
        };
        if !matches!(told, Ok(true)) || self.once {
            // Drains as `kill` would: there is one way to stop.
            raise(Signal::SIGTERM)
                .map_err(|error| CliError::unavailable(format!("cannot stop: {error}")))?;
        }
        let served = serving.await;
        if !told? {
            return Ok(Exit::No);
        }
        served?;
        Ok(Exit::Done)
    }
}

impl Listeners {
    /// Where to serve: where asked, else where configured, else, if that is taken, on a free port.
    fn choose(self, site: &Site, out: Output) -> Result<Self, CliError> {
        let choose = |asked: Vec<SocketAddr>, set: &[SocketAddr], what, bind: Bind| {
            if asked.is_empty() {
                free(set, what, bind, out)
            } else {
                asked
            }
        };
        let udp: Bind = |at| UdpSocket::bind(at).map(drop);
        let tcp: Bind = |at| TcpListener::bind(at).map(drop);
        let chosen = Self {
            radius: choose(self.radius, &site.config.radius.listen, "RADIUS", udp),
            accounting: self.accounting,
            http: choose(self.http, &site.config.http.listen, "HTTP", tcp),
        };
        let firsts = chosen.radius.first().into_iter().chain(chosen.http.first());
        for address in firsts {
            if !reachable(*address).ip().to_canonical().is_loopback() {
                return Err(
                    CliError::usage(format!("quickstart cannot log in at {address}"))
                        .remedy("name a loopback address first: 127.0.0.1:PORT"),
                );
            }
        }
        if site.config.http.tls.is_some() {
            return Err(CliError::usage("quickstart speaks plain HTTP on loopback")
                .remedy("take [http.tls] out of the configuration, or use `oncegate serve`"));
        }
        Ok(chosen)
    }
}

type Bind = fn(SocketAddr) -> io::Result<()>;

fn free(configured: &[SocketAddr], what: &str, bind: Bind, out: Output) -> Vec<SocketAddr> {
    let one = |address: &SocketAddr| match bind(*address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            out.note(&format!(
                "{what} {address} is taken by another program; using a free port."
            ));
            SocketAddr::new(address.ip(), 0)
        }
        _ => *address,
    };
    configured.iter().map(one).collect()
}

/// Makes the installation unless the demonstration is there; says whether it did.
fn prepare(context: &Context, marker: &Path) -> Result<bool, CliError> {
    let is_there = marker.try_exists().map_err(|error| {
        CliError::unavailable(format!("cannot look at {}: {error}", marker.display()))
            .remedy("run as the user who owns the directory, or name another: --dir ./demo")
    })?;
    if is_there {
        return Ok(false);
    }
    if context.is_installed() {
        let dir = context.dir.display();
        let what =
            format!("{dir} is no place for a demonstration: it has an installation that is none");
        let taken = CliError::new(Exit::Conflict, what);
        return Err(taken.remedy("name another directory: --dir ./demo"));
    }
    daemon::init(&context.dir)?.finish()?;
    write(marker, &Demo::default())?;
    Ok(true)
}

/// Log lines would drown the story: warnings only, unless the configuration asks for more.
fn start_logging(site: &Site) {
    let mut asked = site.config.effective().iter();
    let is_set =
        asked.any(|value| value.key == keys::LOG_LEVEL.path && value.origin != Origin::Default);
    let level = if is_set {
        site.config.log.level
    } else {
        Level::Warn
    };
    logging::start(Log {
        level,
        ..site.config.log
    });
}

/// A marker that cannot be understood is one without memory: everything is made again.
fn read(marker: &Path) -> Demo {
    let text = std::fs::read(marker).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Replaces the marker file whole; never readable for others, not even for a moment.
fn write(marker: &Path, demo: &Demo) -> Result<(), CliError> {
    let fresh = marker.with_extension("new");
    let written = (|| {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&fresh)?;
        file.write_all(&serde_json::to_vec(demo).map_err(io::Error::other)?)?;
        file.sync_all()?;
        std::fs::rename(&fresh, marker)
    })();
    written.map_err(|error: io::Error| {
        CliError::unavailable(format!("cannot write {}: {error}", marker.display()))
            .remedy("see that there is space and that you may write there")
    })
}

/// Leads through the demonstration.
struct Guide<'c> {
    context: &'c Context,
    api: Transport,
    demo: Demo,
    marker: PathBuf,
    is_new: bool,
    /// Whether the server goes when the story has ended.
    once: bool,
}

impl Guide<'_> {
    /// Tells the story; the answer is whether everything went as expected.
    async fn tell(&mut self, bound: oneshot::Receiver<Info>) -> Result<bool, CliError> {
        let Ok(info) = bound.await else {
            // The daemon has not come up and says why itself.
            return std::future::pending().await;
        };
        self.furnish().await?;
        write(&self.marker, &self.demo)?;
        let out = self.context.out;
        if !out.json {
            out.say(&self.introduction(&info))?;
        }
        let checks = self.check(&info).await?;
        let story = self.story(&info, checks);
        out.show(&story, |story| story.text(self.context))?;
        Ok(story.ok)
    }

    /// User, tokens and clients: what is missing is made, what is there is used.
    async fn furnish(&mut self) -> Result<(), CliError> {
        USER.clone_into(&mut self.demo.user);
        self.make_user(USER).await?;
        self.make_user(TESTER).await?;
        if !self.is_active(self.demo.serial.as_deref()).await? {
            let made = self.make_token(USER, "totp").await?;
            self.demo.serial = Some(made.token.serial);
            self.demo.otpauth_uri = made.otpauth_uri;
        }
        if !self.is_active(self.demo.counter_serial.as_deref()).await? {
            let made = self.make_token(TESTER, "hotp").await?;
            self.demo.counter_serial = Some(made.token.serial);
            self.demo.counter_key = made.secret;
        }
        let gateway = ClientCreate::Radius {
            name: GATEWAY.to_owned(),
            addresses: vec!["127.0.0.1/32".to_owned(), "::1/128".to_owned()],
            secret: None,
            policy: None,
            realm: None,
            profile: None,
            require_message_authenticator: None,
            challenge: None,
            methods: Vec::new(),
            disconnect_port: None,
            certificate: None,
            unsigned_replies_secs: None,
            limit_proxy_state: None,
            retry_window_secs: None,
            name_rules: Vec::new(),
        };
        if let Some(made) = self
            .make_client(GATEWAY, &gateway, self.demo.radius_secret.is_some())
            .await?
        {
            self.demo.radius_secret = made.secret;
        }
        let app = ClientCreate::Api {
            name: APP.to_owned(),
            scopes: vec!["verify".to_owned()],
            policy: None,
            realm: None,
        };
        if let Some(made) = self
            .make_client(APP, &app, self.demo.api_key.is_some())
            .await?
        {
            self.demo.api_key = made.key;
        }
        Ok(())
    }

    /// Makes a user; one that is there is unlocked, in case wrong codes were tried.
    async fn make_user(&self, name: &str) -> Result<(), CliError> {
        let body = UserCreate {
            user: name.to_owned(),
            ..UserCreate::default()
        };
        match self.api.send::<AddUser>((), &body).await {
            Ok(_) => return Ok(()),
            Err(error) if error.exit == Exit::Conflict => {}
            Err(error) => return Err(error),
        }
        let user = self.api.ask::<ShowUser>(name).await?;
        if user.lock.is_some_and(|lock| lock.state != "open") {
            self.api.ask::<UnlockUser>(name).await?;
        }
        Ok(())
    }

    async fn is_active(&self, serial: Option<&str>) -> Result<bool, CliError> {
        let Some(serial) = serial else {
            return Ok(false);
        };
        match self.api.ask::<ShowToken>(serial).await {
            Ok(token) => Ok(token.state == "active"),
            Err(error) if error.exit == Exit::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn make_token(&self, user: &str, kind: &str) -> Result<TokenCreated, CliError> {
        let body = TokenCreate {
            user: user.to_owned(),
            kind: kind.to_owned(),
            active: true,
            ..TokenCreate::default()
        };
        self.api.send::<AddToken>((), &body).await
    }

    /// Makes a client, or rotates one whose secret is no longer known.
    async fn make_client(
        &self,
        name: &str,
        body: &ClientCreate,
        is_known: bool,
    ) -> Result<Option<ClientCreated>, CliError> {
        match self.api.send::<AddClient>((), body).await {
            Ok(made) => Ok(Some(made)),
            Err(error) if error.exit == Exit::Conflict && is_known => Ok(None),
            Err(error) if error.exit == Exit::Conflict => {
                let fresh = Rotate::default();
                let rotated = self.api.send::<RotateClient>(name, &fresh);
                rotated.await.map(Some)
            }
            Err(error) => Err(error),
        }
    }

    /// Logs in twice over each protocol, every code a second time.
    async fn check(&self, info: &Info) -> Result<Vec<Step>, CliError> {
        let broken = || CliError::unavailable("the demonstration's counter token has no key");
        let serial = self.demo.counter_serial.as_deref().ok_or_else(broken)?;
        let token = self.api.ask::<ShowToken>(serial).await?;
        let next = token.last_step.map_or(0, |last| last.saturating_add(1));
        let key = self.demo.counter_key.as_deref().ok_or_else(broken)?;
        let key = otpauth::decode_base32(key)
            .ok()
            .and_then(OtpKey::new)
            .ok_or_else(broken)?;
        let code = |counter| hotp::generate(&key, Algorithm::Sha1, Digits::SIX, counter).expose();
        let (first, second) = (code(next), code(next.saturating_add(1)));
        let secret = self.demo.radius_secret.as_deref().map(SecretString::from);
        let api_key = self.demo.api_key.as_deref().map(SecretString::from);
        let at = |listeners: &[SocketAddr]| listeners.first().copied().map(reachable);
        let login = Login {
            user: TESTER,
            radius: at(&info.radius).zip(secret.as_ref()),
            http: at(&info.http).zip(api_key.as_ref()),
        };
        Ok(login.run([&first, &second]).await)
    }

    fn introduction(&self, info: &Info) -> String {
        let dir = self.context.dir.display();
        let made = if self.is_new { "made" } else { "found" };
        let mut text = format!(
            "oncegate {} quickstart: everything lives in {dir}; delete it to forget all\n\n\
             {made:<8} configuration, master key, store, policies\n\
             user     {USER}, token {}\n\
             clients  {GATEWAY} (RADIUS), {APP} (HTTP)\n",
            env!("CARGO_PKG_VERSION"),
            self.demo.serial.as_deref().unwrap_or_default(),
        );
        push!(text, "serving  radius {}", list(&info.radius));
        push!(text, "  http {}\n\n", list(&info.http));
        let uri = self.demo.otpauth_uri.as_deref().unwrap_or_default();
        text.push_str("Scan this with any authenticator app:\n");
        text.push_str(&qr::render(uri, self.context.out.qr_style()).unwrap_or_default());
        push!(
            text,
            "\nLogging in as user {TESTER} (a refused code is answered after a second, on purpose):\n"
        );
        text
    }

    fn story(&self, info: &Info, checks: Vec<Step>) -> Story {
        let code = format!(
            "$({})",
            self.context.command(&format!("code {USER} --next"))
        );
        let demo = self.demo.clone();
        let (secret, key) = (
            demo.radius_secret.unwrap_or_default(),
            demo.api_key.unwrap_or_default(),
        );
        let at = |listeners: &[SocketAddr]| listeners.first().copied().map(reachable);
        let radius =
            at(&info.radius).map(|at| hints::radclient(&at.to_string(), &secret, USER, &code));
        let http = at(&info.http).map(|at| {
            hints::curl(
                &format!("http://{at}"),
                &key,
                USER,
                &[("otp", code.as_str())],
            )
        });
        Story {
            ok: checks.iter().all(|step| step.ok),
            dir: self.context.dir.clone(),
            radius: info.radius.clone(),
            http: info.http.clone(),
            user: demo.user,
            serial: demo.serial.unwrap_or_default(),
            otpauth_uri: demo.otpauth_uri.unwrap_or_default(),
            radius_secret: secret,
            api_key: key,
            checks,
            try_radius: radius.filter(|_| !self.once),
            try_http: http.filter(|_| !self.once),
            console: info
                .console
                .clone()
                .filter(|_| !self.once)
                .map(|link| link.expose().to_owned()),
        }
    }
}

impl Story {
    fn text(&self, context: &Context) -> String {
        let mut text = String::new();
        for step in &self.checks {
            let word = if step.ok { "ok    " } else { "FAILED" };
            let answer = output::printable(&step.answer);
            push!(
                text,
                "{word}  {:<6}  {:<20}  {answer:<13}  {} ms\n",
                step.over,
                step.sent,
                step.millis
            );
        }
        if !self.ok {
            text.push_str("\nNot as expected. Why: ");
            text.push_str(&context.command("audit list"));
            text.push('\n');
            return text;
        }
        let dir = shell_word(&self.dir.to_string_lossy()).into_owned();
        if self.try_radius.is_none() && self.try_http.is_none() {
            // The server ends with this; nothing is there to be asked.
            push!(
                text,
                "\nThe demonstration server stops now.\nAgain:  {}\nNext:   {}\n",
                context.command("quickstart"),
                hints::after_demonstration(&dir)
            );
            return text;
        }
        text.push_str("\nNow you, in another terminal (a code works once):\n");
        for line in self.try_radius.iter().chain(&self.try_http) {
            push!(text, "\n  {line}\n");
        }
        if let Some(link) = &self.console {
            push!(
                text,
                "\nThe console, in a browser (the link makes the first administrator, once, within ten minutes):\n\n  \
                 {link}\n"
            );
        }
        push!(
            text,
            "\nWatch:  {}\nStop:   Ctrl-C here\nNext:   {}\n",
            context.command("tail"),
            hints::after_demonstration(&dir)
        );
        text
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    output::joined(&texts)
}

/// Name of the marker file (`Site::demo_file`).
const MARKER: &str = "quickstart";
const USER: &str = "demo";
/// Whose codes the self test uses.
const TESTER: &str = "selftest";
const GATEWAY: &str = "loopback";
const APP: &str = "demo-app";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_marker_is_for_its_owner_and_survives_nonsense() {
        let dir = tempfile::tempdir().unwrap();
        let marker = dir.path().join(MARKER);
        let demo = Demo {
            api_key: Some("k".to_owned()),
            ..Demo::default()
        };
        write(&marker, &demo).unwrap();
        let mode = std::fs::metadata(&marker).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(read(&marker).api_key.as_deref(), Some("k"));
        std::fs::write(&marker, "").unwrap();
        assert!(read(&marker).api_key.is_none());
    }

    #[test]
    fn a_taken_port_is_replaced_by_a_free_one() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let bind: Bind = |at| UdpSocket::bind(at).map(drop);
        let quiet = Output {
            json: false,
            quiet: true,
        };
        assert_eq!(free(&[address], "RADIUS", bind, quiet)[0].port(), 0);
        drop(taken);
        assert_eq!(free(&[address], "RADIUS", bind, quiet), [address]);
    }
}
