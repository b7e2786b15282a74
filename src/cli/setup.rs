//! `oncegate setup`: a new installation by questions and answers, which ends with a login.
//!
//! Every answer is an option, too; without a terminal what is not given has its default. The login is one of a user
//! and clients that are made for it and removed again, over RADIUS and HTTP on free ports of loopback.

use std::io::{self, BufRead as _, IsTerminal as _};
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
use crate::cli::client::network;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::init;
use crate::cli::output;
use crate::cli::output::printable;
use crate::cli::selftest::{Login, Step};
use crate::cli::transport::Transport;
use crate::daemon;
use crate::daemon::{Overrides, Site};
use crate::model::client::is_client_name;
use crate::model::profile;
use crate::model::user_key::UserKey;
use crate::net::reachable;
use crate::otp::{Algorithm, Digits, hotp};
use crate::otpauth;
use crate::policy::shipped;
use crate::qr;
use crate::secret::{OtpKey, SecretString};
use crate::server::Info;

mod certificate;

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
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    /// First user, who gets a TOTP token
    #[arg(long, value_name = "USER")]
    user: Option<String>,
}

/// What was made; also the document of `--json`.
#[derive(Serialize)]
struct Made {
    dir: PathBuf,
    radius: String,
    http: String,
    /// The self-signed one, where one was made.
    certificate: Option<PathBuf>,
    client: Option<ClientCreated>,
    token: Option<TokenCreated>,
    checks: Vec<Step>,
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
            .remedy("change it with `oncegate client`, `oncegate user` and oncegate.toml, or name another with --dir"));
        }
        self.ask()?;
        self.check()?;
        init::make(context).await?;
        if let Some(name) = &self.self_signed {
            certificate::make(&context.dir, name)?;
            let (certificate, key) = certificate::files(&context.dir);
            (self.certificate, self.key) = (Some(certificate), Some(key));
        }
        let file = context.dir.join("oncegate.toml");
        self.configure(&file)?;
        let site = context.site().map_err(|error| {
            error.remedy_or("correct it; the installation is there: `oncegate config check`")
        })?;
        let made = self.furnish(context, site).await?;
        context.out.show(&made, |made| text(context, made))?;
        Ok(if made.ok { Exit::Done } else { Exit::No })
    }

    /// Asks for what is not given.
    fn ask(&mut self) -> Result<(), CliError> {
        answer(&mut self.radius, "Where shall RADIUS be served?", RADIUS)?;
        if self.certificate.is_none() && self.self_signed.is_none() && self.http.is_none() {
            self.ask_certificate()?;
        }
        let (question, default) = if self.certificate.is_none() && self.self_signed.is_none() {
            (
                "Where shall HTTP be served (loopback without a certificate)?",
                HTTP,
            )
        } else {
            ("Where shall HTTPS be served?", HTTPS)
        };
        answer(&mut self.http, question, default)?;
        let question = "Name of the first VPN gateway or NAS, empty for none?";
        if asked(&mut self.client, question)? {
            answer(&mut self.address, "Its address, as 192.0.2.1?", "")?;
            let kinds: Vec<&str> = profile::names().collect();
            let question = format!("What is it ({})?", kinds.join(", "));
            answer(&mut self.profile, &question, "generic")?;
            answer(
                &mut self.policy,
                "What must its users present (default, otp, pin-otp, password-otp)?",
                "default",
            )?;
        }
        asked(&mut self.user, "Name of the first user, empty for none?")?;
        let question = "Mail server for codes and notices, empty for none?";
        if asked(&mut self.mail_host, question)? {
            answer(
                &mut self.mail_from,
                "Address of its sender, as otp@example.com?",
                "",
            )?;
        }
        Ok(())
    }

    fn ask_certificate(&mut self) -> Result<(), CliError> {
        let mut file = None;
        let question = "Certificate for HTTPS: a PEM file, `self` to make one, empty for none?";
        if !asked(&mut file, question)? {
            return Ok(());
        }
        if file.as_deref() == Some("self") {
            let question = "Host name or address at which people reach this server?";
            return asked(&mut self.self_signed, question).map(drop);
        }
        let mut key = None;
        answer(&mut key, "PEM file with its private key?", "http.key")?;
        (self.certificate, self.key) = (file.map(PathBuf::from), key.map(PathBuf::from));
        Ok(())
    }

    /// Refuses answers that cannot be used, before anything is made.
    fn check(&self) -> Result<(), CliError> {
        let wrong = |option: &str, given: &str, remedy: &str| {
            Err(
                CliError::usage(format!("--{option}: `{given}` cannot be used"))
                    .remedy(format!("{remedy}; nothing was made")),
            )
        };
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        for (option, address) in [("radius", &self.radius), ("http", &self.http)] {
            if let Some(address) = given(address)
                && address.parse::<SocketAddr>().is_err()
            {
                return wrong(
                    option,
                    &address,
                    "give an address and a port, as 0.0.0.0:1812",
                );
            }
        }
        self.check_https()?;
        if let Some(profile) = given(&self.profile)
            && !profile::names().any(|name| name == profile)
        {
            return wrong(
                "profile",
                &profile,
                "`oncegate manual appliances` lists them",
            );
        }
        if let Some(from) = &self.mail_from
            && !from.contains('@')
        {
            return wrong("mail-from", from, "give an address, as otp@example.com");
        }
        if let Some(name) = given(&self.client) {
            if !is_client_name(&name) {
                let remedy = "choose a name of letters, digits and `.-_`, at most 64";
                return wrong("client", &name, remedy);
            }
            let address = given(&self.address).unwrap_or_default();
            if let Err(why) = network(&address) {
                return wrong("address", &address, &why);
            }
        }
        if let Some(policy) = given(&self.policy) {
            let shipped = shipped();
            let mut names = shipped.iter().filter_map(|file| {
                let name = file.name().strip_prefix("policies/")?;
                name.strip_suffix(".toml")
            });
            if !names.any(|name| name == policy) {
                let remedy = "a new installation has default, otp, pin-otp, password-otp and others: \
                              `oncegate manual policies`";
                return wrong("policy", &policy, remedy);
            }
        }
        if let Some(user) = given(&self.user)
            && let Err(error) = UserKey::parse(&user)
        {
            return wrong("user", &user, &error.to_string());
        }
        Ok(())
    }

    /// The certificate, and that there is one where it is needed.
    fn check_https(&self) -> Result<(), CliError> {
        let refused = |what: String, remedy: &str| {
            Err(CliError::usage(what).remedy(format!("{remedy}; nothing was made")))
        };
        if let Some(name) = &self.self_signed
            && !certificate::is_name(name)
        {
            let what = format!("--self-signed: `{name}` is no host name or address");
            return refused(what, "give the name in the address, as otp.example.com");
        }
        for file in self.certificate.iter().chain(&self.key) {
            if let Err(error) = std::fs::File::open(file) {
                let what = format!("{} cannot be read: {error}", file.display());
                return refused(what, "name PEM files that this user may read");
            }
        }
        let http = self.http.as_deref().unwrap_or_default();
        let beyond = http
            .parse::<SocketAddr>()
            .is_ok_and(|at| !at.ip().is_loopback());
        if beyond && self.certificate.is_none() && self.self_signed.is_none() {
            let what = format!("--http: {http} needs a certificate");
            let remedy = "add --certificate FILE --key FILE or --self-signed NAME, or serve HTTP on 127.0.0.1 behind a proxy";
            return refused(what, remedy);
        }
        Ok(())
    }

    /// Writes the answers into the new configuration.
    fn configure(&self, file: &Path) -> Result<(), CliError> {
        let failed = |error: io::Error| {
            CliError::unavailable(format!("{} cannot be changed: {error}", file.display()))
                .remedy("see that there is space and that you may write there")
        };
        let mut text = std::fs::read_to_string(file).map_err(failed)?;
        let mut set = |line: &str, key: &str, value: &str| {
            text = text.replacen(line, &format!("{key} = {}", quoted(value)), 1);
        };
        if let Some(radius) = &self.radius {
            set("# listen = \"127.0.0.1:1812\"", "listen", radius);
        }
        if let Some(http) = &self.http {
            set("# listen = \"127.0.0.1:8080\"", "listen", http);
        }
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            set(
                "# certificate = \"http.pem\"",
                "certificate",
                &absolute(certificate),
            );
            set("# key = \"http.key\"", "key", &absolute(key));
        }
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let (Some(host), Some(from)) = (given(&self.mail_host), given(&self.mail_from)) {
            push!(
                text,
                "\n[delivery.mail]\nkind = \"smtp\"\nmedia = [\"email\"]\nhost = {}\nfrom = {}\n",
                quoted(&host),
                quoted(&from)
            );
        }
        std::fs::write(file, text).map_err(failed)
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
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        // First: what it makes is gone before the clients of the site come, whose addresses may be the same.
        let checks = log_in(api, info, https).await?;
        let client = match (given(&self.client), given(&self.address)) {
            (Some(name), Some(address)) => {
                let policy = given(&self.policy).filter(|policy| policy != "default");
                let about = (policy, given(&self.profile));
                Some(radius_client(api, &name, &address, about).await?)
            }
            _ => None,
        };
        let token = match given(&self.user) {
            Some(user) => Some(user_with(api, &user, "totp").await?),
            None => None,
        };
        let shown = |address: &Option<String>, default: &str| {
            given(address).unwrap_or_else(|| default.to_owned())
        };
        Ok(Made {
            dir: context.dir.clone(),
            radius: shown(&self.radius, RADIUS),
            http: shown(&self.http, HTTP),
            certificate: self
                .self_signed
                .is_some()
                .then(|| certificate::files(&context.dir).0),
            client,
            token,
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

/// Fills in what may be left out; whether it is not.
fn asked(given: &mut Option<String>, question: &str) -> Result<bool, CliError> {
    answer(given, question, "")?;
    *given = given.take().filter(|text| !text.is_empty());
    Ok(given.is_some())
}

/// Fills in what is not given: at a terminal by asking.
fn answer(given: &mut Option<String>, question: &str, default: &str) -> Result<(), CliError> {
    if given.is_none() {
        let mut typed = String::new();
        if io::stdin().is_terminal() {
            let offered = if default.is_empty() {
                String::new()
            } else {
                format!(" [{default}]")
            };
            output::warn(&format!("{question}{offered}"));
            io::stdin().lock().read_line(&mut typed)?;
        }
        let typed = typed.trim();
        *given = Some(if typed.is_empty() { default } else { typed }.to_owned());
    }
    Ok(())
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn absolute(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.to_string_lossy().into_owned()
}

fn text(context: &Context, made: &Made) -> String {
    let mut text = format!(
        "The installation is in {}. RADIUS {}, HTTP {}.\n",
        made.dir.display(),
        made.radius,
        made.http
    );
    if let Some(client) = &made.client {
        let secret = client.secret.as_deref().unwrap_or_default();
        push!(
            text,
            "\nEnter on the gateway {}: this server, its port, PAP, and the secret (shown only now)\n  {secret}\n",
            printable(&client.client.name)
        );
    }
    if let Some(token) = &made.token {
        let uri = token.otpauth_uri.as_deref().unwrap_or_default();
        push!(
            text,
            "\nToken {} of {}, for any authenticator app:\n",
            token.token.serial,
            printable(token.token.owner())
        );
        text.push_str(&qr::render(uri, context.out.qr_style()).unwrap_or_default());
    }
    if let Some(file) = &made.certificate {
        push!(
            text,
            "\nCertificate {}, of no authority: those who connect must be given it (curl --cacert, oncegate --ca-file).\n",
            file.display()
        );
    }
    text.push_str("\nTest logins:\n");
    for step in &made.checks {
        let word = if step.ok { "ok    " } else { "FAILED" };
        push!(
            text,
            "{word}  {:<6}  {:<20}  {}\n",
            step.over,
            step.sent,
            printable(&step.answer)
        );
    }
    text.push_str(&next(context, made));
    text
}

/// What to do now.
fn next(context: &Context, made: &Made) -> String {
    if !made.ok {
        let audit = context.command("audit list");
        return format!("\nNot as expected. Why: {audit}\n");
    }
    let key = made.dir.join("master.key");
    let mut text = format!(
        "\nKeep a copy of {} in a safe, apart from backups.\nNext: {}, and: {}\n",
        key.display(),
        context.command("serve"),
        context.command("doctor")
    );
    if made.client.is_none() {
        let add = context.command("client add radius NAME --address ADDRESS");
        push!(text, "No gateway yet: {add}\n");
    }
    if made.token.is_none() {
        let (user, token) = (
            context.command("user add NAME"),
            context.command("token add NAME"),
        );
        push!(text, "No user yet: {user}, then {token}\n");
    }
    text
}

const RADIUS: &str = "127.0.0.1:1812";
const HTTP: &str = "127.0.0.1:8080";
const HTTPS: &str = "0.0.0.0:8443";
/// Of the test login.
const TESTER: &str = "setup-test";
const GATEWAY: &str = "setup-test-gateway";
const APP: &str = "setup-test-app";
