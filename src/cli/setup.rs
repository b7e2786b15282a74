//! `oncegate setup`: a new installation by questions and answers, which ends with a login.
//!
//! Every answer is an option, too; without a terminal what is not given has its default. The login is one of a user
//! and clients that are made for it and removed again, over RADIUS and HTTP on free ports of loopback.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use nix::sys::signal::{Signal, raise};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::api::{
    AddClient, AddToken, AddUser, ClientCreate, ClientCreated, RemoveClient, RemoveUser,
    TokenCreate, TokenCreated, UserCreate,
};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::init;
use crate::cli::selftest::{Login, Step};
use crate::cli::transport::Transport;
use crate::daemon;
use crate::daemon::{Overrides, Site};
use crate::model::profile;
use crate::net::reachable;
use crate::otp::{Algorithm, Digits, hotp};
use crate::otpauth;
use crate::secret::{OtpKey, SecretString};
use crate::server::Info;

mod answers;
mod certificate;
mod summary;

/// Make a new installation by questions and answers, and log in once to prove it
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  oncegate setup --dir /var/lib/oncegate\n  \
    oncegate setup --radius 0.0.0.0:1812 --client vpn --address 192.0.2.1 --user alice\n  \
    oncegate setup --http 0.0.0.0:8443 --self-signed otp.example.com\n\
    At a terminal it asks for what is not given. Without one, what is not given has its default.")]
pub(super) struct Setup {
    /// Where RADIUS is served
    #[arg(long, value_name = "ADDR:PORT")]
    radius: Option<String>,
    /// Where HTTP is served; beyond loopback it needs a certificate
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<String>,
    /// PEM file with the certificate for HTTPS
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// PEM file with its private key
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Make a self-signed certificate for this host name or address instead: for the first day
    #[arg(long, value_name = "NAME", conflicts_with = "certificate")]
    self_signed: Option<String>,
    /// Mail server for codes and notices
    #[arg(long, value_name = "HOST", requires = "mail_from")]
    mail_host: Option<String>,
    /// Address of the sender
    #[arg(long, value_name = "ADDRESS", requires = "mail_host")]
    mail_from: Option<String>,
    /// Name of the first RADIUS client
    #[arg(long, value_name = "NAME", requires = "address")]
    client: Option<String>,
    /// Its address or network
    #[arg(long, value_name = "CIDR", requires = "client")]
    address: Option<String>,
    /// Kind of appliance [default: generic]
    #[arg(long, requires = "client", value_parser = PossibleValuesParser::new(profile::names()))]
    profile: Option<String>,
    /// Its policy
    #[arg(long, value_name = "POLICY", requires = "client")]
    policy: Option<String>,
    /// First user, who gets a TOTP token
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Whether the mail server is on this machine or in a private network; found by the check of the answers.
    #[arg(skip)]
    mail_is_private: bool,
}

/// What was made; also the document of `--json`.
#[derive(Serialize)]
struct Made {
    dir: PathBuf,
    radius: String,
    http: String,
    #[serde(skip)]
    is_https: bool,
    /// The self-signed one, where one was made.
    certificate: Option<PathBuf>,
    client: Option<ClientCreated>,
    token: Option<TokenCreated>,
    checks: Vec<Step>,
    /// What is still to be done, or to be known.
    notes: Vec<String>,
    ok: bool,
}

impl Setup {
    pub(super) async fn run(mut self, context: &Context) -> Result<Exit, CliError> {
        context.local_only("setup")?;
        if context.is_installed() {
            return Err(CliError::new(
                Exit::Conflict,
                format!("there is an installation in {}", context.dir.display()),
            )
            .remedy(
                "add to it: `oncegate client add radius NAME --address ADDRESS`, `oncegate user add NAME`, \
                 `oncegate token add NAME`; set addresses, certificate and mail server in oncegate.toml, then \
                 `oncegate config check`; or name another directory with --dir",
            ));
        }
        self.ask()?;
        self.check(&context.dir).await?;
        init::make(context).await?;
        if let Some(name) = &self.self_signed {
            certificate::make(&context.dir, name)?;
        }
        self.configure(&context.dir)?;
        let site = context.site().map_err(|error| {
            error.remedy_or("correct it; the installation is there: `oncegate config check`")
        })?;
        let made = self.furnish(context, site).await?;
        context
            .out
            .show(&made, |made| summary::text(context, made))?;
        Ok(if made.ok { Exit::Done } else { Exit::No })
    }

    /// Certificate and key of HTTPS: the files that were named, or those that are made.
    fn pair_in(&self, dir: &Path) -> Option<(PathBuf, PathBuf)> {
        if self.self_signed.is_some() {
            return Some(certificate::files(dir));
        }
        self.certificate.clone().zip(self.key.clone())
    }

    /// Writes the answers into the new configuration.
    fn configure(&self, dir: &Path) -> Result<(), CliError> {
        let file = dir.join("oncegate.toml");
        let failed = |error: io::Error| {
            CliError::unavailable(format!("{} cannot be changed: {error}", file.display()))
                .remedy("see that there is space and that you may write there")
        };
        let text = std::fs::read_to_string(&file).map_err(failed)?;
        std::fs::write(&file, self.configured(text, dir)).map_err(failed)
    }

    /// The text of a configuration as it is made, with the answers in it.
    fn configured(&self, mut text: String, dir: &Path) -> String {
        let mut set = |line: &str, key: &str, value: &str| {
            text = text.replacen(line, &format!("{key} = {}", quoted(value)), 1);
        };
        if let Some(radius) = &self.radius {
            set("# listen = \"127.0.0.1:1812\"", "listen", radius);
        }
        if let Some(http) = &self.http {
            set("# listen = \"127.0.0.1:8080\"", "listen", http);
        }
        if let Some((certificate, key)) = self.pair_in(dir) {
            let certificate = absolute(&certificate);
            set("# certificate = \"http.pem\"", "certificate", &certificate);
            set("# key = \"http.key\"", "key", &absolute(&key));
        }
        if let (Some(host), Some(from)) = (
            given(self.mail_host.as_deref()),
            given(self.mail_from.as_deref()),
        ) {
            push!(
                text,
                "\n[delivery.mail]\nkind = \"smtp\"\nmedia = [\"email\"]\nhost = {}\nfrom = {}\n",
                quoted(&host),
                quoted(&from)
            );
            if self.mail_is_private {
                text.push_str("allow_private = true\n");
            }
        }
        text
    }

    /// Serves on loopback, makes what was asked for, and logs in.
    async fn furnish(&self, context: &Context, site: Site) -> Result<Made, CliError> {
        let free = |port: u16| Some(vec![SocketAddr::from(([127, 0, 0, 1], port))]);
        let overrides = Overrides {
            radius: free(0),
            accounting: Some(Vec::new()),
            // Over TLS no login is tried: the certificate is not that of loopback.
            http: free(0),
        };
        let https = site.config.http.tls.is_some();
        let api = Transport::Socket(site.socket());
        let (announce, bound) = oneshot::channel();
        let ready = move |info: &Info, _: &_| drop(announce.send(info.clone()));
        let mut serving = Box::pin(daemon::serve(site, overrides, ready));
        let made = tokio::select! {
            served = &mut serving => {
                served?;
                return Err(CliError::unavailable("the daemon has ended before it was asked anything"));
            }
            made = async {
                match bound.await {
                    Ok(info) => self.make(context, &api, &info, https).await,
                    // The daemon has not come up and says why itself.
                    Err(_) => std::future::pending().await,
                }
            } => made,
        };
        raise(Signal::SIGTERM)
            .map_err(|error| CliError::unavailable(format!("cannot stop: {error}")))?;
        serving.await?;
        made
    }

    async fn make(
        &self,
        context: &Context,
        api: &Transport,
        info: &Info,
        https: bool,
    ) -> Result<Made, CliError> {
        // First: what it makes is gone before the clients of the site come, whose addresses may be the same.
        let checks = log_in(api, info, https).await?;
        let client = match (
            given(self.client.as_deref()),
            given(self.address.as_deref()),
        ) {
            (Some(name), Some(address)) => {
                let policy = given(self.policy.as_deref()).filter(|policy| policy != "default");
                let about = (policy, given(self.profile.as_deref()));
                Some(radius_client(api, &name, &address, about).await?)
            }
            _ => None,
        };
        let token = match given(self.user.as_deref()) {
            Some(user) => Some(user_with(api, &user, "totp").await?),
            None => None,
        };
        let shown = |address: &Option<String>, default: &str| {
            given(address.as_deref()).unwrap_or_else(|| default.to_owned())
        };
        let notes = self.notes(context, (client.as_ref(), token.as_ref()), https);
        Ok(Made {
            dir: context.dir.clone(),
            radius: shown(&self.radius, RADIUS),
            http: shown(&self.http, HTTP),
            is_https: self.pair_in(&context.dir).is_some(),
            certificate: self
                .self_signed
                .is_some()
                .then(|| certificate::files(&context.dir).0),
            client,
            token,
            notes,
            ok: checks.iter().all(|step| step.ok),
            checks,
        })
    }
}

/// Logs in with a user and clients that are removed again.
async fn log_in(api: &Transport, info: &Info, https: bool) -> Result<Vec<Step>, CliError> {
    let broken = || CliError::unavailable("the token of the test login has no key");
    let token = user_with(api, TESTER, "hotp").await?;
    let key = token
        .secret
        .as_deref()
        .and_then(|key| otpauth::decode_base32(key).ok());
    let key = key.and_then(OtpKey::new).ok_or_else(broken)?;
    let code = |counter| hotp::generate(&key, Algorithm::Sha1, Digits::SIX, counter).expose();
    let gateway = radius_client(api, GATEWAY, "127.0.0.1/32", (None, None)).await?;
    let app = ClientCreate::Api {
        name: APP.to_owned(),
        scopes: vec!["verify".to_owned()],
        policy: None,
        realm: None,
    };
    let app = api.send::<AddClient>((), &app).await?;
    let secret = gateway.secret.as_deref().map(SecretString::from);
    let api_key = app.key.as_deref().map(SecretString::from);
    let at = |listeners: &[SocketAddr]| listeners.first().copied().map(reachable);
    let login = Login {
        user: TESTER,
        radius: at(&info.radius).zip(secret.as_ref()),
        http: at(&info.http).zip(api_key.as_ref()).filter(|_| !https),
    };
    let checks = login.run([&code(0), &code(1)]).await;
    api.ask::<RemoveClient>(GATEWAY).await?;
    api.ask::<RemoveClient>(APP).await?;
    api.ask::<RemoveUser>(TESTER).await?;
    Ok(checks)
}

async fn radius_client(
    api: &Transport,
    name: &str,
    address: &str,
    (policy, profile): (Option<String>, Option<String>),
) -> Result<ClientCreated, CliError> {
    let client = ClientCreate::Radius {
        name: name.to_owned(),
        addresses: vec![address.to_owned()],
        secret: None,
        policy,
        realm: None,
        profile,
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
    api.send::<AddClient>((), &client).await
}

async fn user_with(api: &Transport, user: &str, kind: &str) -> Result<TokenCreated, CliError> {
    let body = UserCreate {
        user: user.to_owned(),
        ..UserCreate::default()
    };
    api.send::<AddUser>((), &body).await?;
    let body = TokenCreate {
        user: user.to_owned(),
        kind: kind.to_owned(),
        active: true,
        ..TokenCreate::default()
    };
    api.send::<AddToken>((), &body).await
}

/// An answer that is not empty.
fn given(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn absolute(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.to_string_lossy().into_owned()
}

const RADIUS: &str = "127.0.0.1:1812";
const HTTP: &str = "127.0.0.1:8080";
const HTTPS: &str = "0.0.0.0:8443";
/// Of the test login.
const TESTER: &str = "setup-test";
const GATEWAY: &str = "setup-test-gateway";
const APP: &str = "setup-test-app";
