//! The answers that `setup` works with: asked for at a terminal, each judged when it is given, and all of them judged
//! again before anything is made.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::cli::client::network;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::setup::{HTTP, HTTPS, RADIUS, Setup, certificate, given};
use crate::config::target::{Host, Reach, Target, refusal};
use crate::config::{Config, TEMPLATE};
use crate::diagnostic::Source;
use crate::model::client::is_client_name;
use crate::model::profile;
use crate::model::user_key::UserKey;
use crate::policy::shipped;
use crate::server::tls::Tls;

/// Whether an answer can be used; if not, what to give in its place.
type Judge = fn(&str) -> Result<(), String>;

impl Setup {
    /// Asks for what is not given.
    pub(super) fn ask(&mut self) -> Result<(), CliError> {
        let question = "Where shall RADIUS be served?";
        answer(&mut self.radius, question, RADIUS, &socket)?;
        if self.certificate.is_none() && self.self_signed.is_none() && self.http.is_none() {
            self.ask_certificate()?;
        }
        if self.certificate.is_none() && self.self_signed.is_none() {
            let question = "Where shall HTTP be served (loopback without a certificate)?";
            answer(&mut self.http, question, HTTP, &plain)?;
        } else {
            let question = "Where shall HTTPS be served?";
            answer(&mut self.http, question, HTTPS, &socket)?;
        }
        let question = "Name of the first VPN gateway or NAS, empty for none?";
        if asked(&mut self.client, question, client_name)? {
            let question = "Its address, as 192.0.2.1?";
            answer(&mut self.address, question, "", &address)?;
            let kinds: Vec<&str> = profile::names().collect();
            let question = format!("What is it ({})?", kinds.join(", "));
            answer(&mut self.profile, &question, "generic", &profile_name)?;
            let question = "What must its users present (default, otp, pin-otp, password-otp)?";
            answer(&mut self.policy, question, "default", &policy_name)?;
        }
        let question = "Name of the first user, empty for none?";
        asked(&mut self.user, question, user_name)?;
        let question = "Mail server for codes and notices, empty for none?";
        if asked(&mut self.mail_host, question, mail_host)? {
            let question = "Address of its sender, as otp@example.com?";
            answer(&mut self.mail_from, question, "", &sender)?;
        }
        Ok(())
    }

    fn ask_certificate(&mut self) -> Result<(), CliError> {
        loop {
            let mut file = None;
            let question = "Certificate for HTTPS: a PEM file, `self` to make one, empty for none?";
            if !asked(&mut file, question, readable_or_self)? {
                return Ok(());
            }
            if file.as_deref() == Some("self") {
                let question = "Host name or address at which people reach this server?";
                return answer(&mut self.self_signed, question, "", &host_name);
            }
            let mut key = None;
            let question = "PEM file with its private key?";
            let ended = answer_or_end(&mut key, question, "http.key", &readable)?;
            let (file, key) = (file.map(PathBuf::from), key.map(PathBuf::from));
            let judged = pair(file.as_deref(), key.as_deref());
            match judged {
                // Nothing more is typed: what is wrong is said by the check of all.
                Err(error) if !ended => output::warn(&error.line()),
                _ => {
                    (self.certificate, self.key) = (file, key);
                    return Ok(());
                }
            }
        }
    }

    /// Refuses answers that cannot be used, before anything is made.
    pub(super) async fn check(&mut self, dir: &Path) -> Result<(), CliError> {
        let client = given(self.client.as_deref());
        // A client has an address, an empty one too.
        let address_of = client
            .as_ref()
            .map(|_| self.address.clone().unwrap_or_default());
        let all: [(&str, Option<String>, Judge); 10] = [
            ("radius", given(self.radius.as_deref()), socket),
            ("http", given(self.http.as_deref()), socket),
            ("self-signed", self.self_signed.clone(), host_name),
            ("profile", given(self.profile.as_deref()), profile_name),
            ("mail-host", given(self.mail_host.as_deref()), mail_host),
            ("mail-from", self.mail_from.clone(), sender),
            ("client", client, client_name),
            ("address", address_of, address),
            ("policy", given(self.policy.as_deref()), policy_name),
            ("user", given(self.user.as_deref()), user_name),
        ];
        for (option, answer, judge) in all {
            if let Some(answer) = answer
                && let Err(remedy) = judge(&answer)
            {
                return Err(wrong(option, &answer, &remedy));
            }
        }
        pair(self.certificate.as_deref(), self.key.as_deref())?;
        if let Some(http) = given(self.http.as_deref())
            && self.pair_in(dir).is_none()
            && plain(&http).is_err()
        {
            let what = format!("--http: {http} needs a certificate");
            return Err(CliError::usage(what).remedy(format!("{CERTIFY}; nothing was made")));
        }
        if let Some(host) = given(self.mail_host.as_deref()) {
            let private = is_private(&host).await;
            self.mail_is_private = private.map_err(|why| {
                let remedy = format!("it leads to {why}; name the mail server at another address");
                wrong("mail-host", &host, &remedy)
            })?;
        }
        self.check_configuration(dir)
    }

    /// Whether the configuration that the answers make is one: what it refuses is refused here.
    fn check_configuration(&self, dir: &Path) -> Result<(), CliError> {
        let file = dir.join("oncegate.toml").display().to_string();
        let source = Source::new(file, self.configured(TEMPLATE.to_owned(), dir));
        let read = Config::load(Some(&source), [], dir).map(drop);
        read.map_err(|findings| {
            CliError::usage("the configuration that these answers make cannot be used")
                .findings(findings)
                .remedy("give other answers; nothing was made")
        })
    }
}

fn wrong(option: &str, given: &str, remedy: &str) -> CliError {
    CliError::usage(format!("--{option}: `{given}` cannot be used"))
        .remedy(format!("{remedy}; nothing was made"))
}

/// Fills in what may be left out; whether it is not.
fn asked(given: &mut Option<String>, question: &str, judge: Judge) -> Result<bool, CliError> {
    answer(given, question, "", &|text: &str| match text {
        "" => Ok(()),
        text => judge(text),
    })?;
    *given = given.take().filter(|text| !text.is_empty());
    Ok(given.is_some())
}

/// Fills in what is not given: at a terminal by asking.
fn answer(
    given: &mut Option<String>,
    question: &str,
    default: &str,
    judge: &dyn Fn(&str) -> Result<(), String>,
) -> Result<(), CliError> {
    answer_or_end(given, question, default, judge).map(drop)
}

/// The same; whether no more is typed.
fn answer_or_end(
    given: &mut Option<String>,
    question: &str,
    default: &str,
    judge: &dyn Fn(&str) -> Result<(), String>,
) -> Result<bool, CliError> {
    if given.is_some() {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        *given = Some(default.to_owned());
        return Ok(true);
    }
    let offered = if default.is_empty() {
        String::new()
    } else {
        format!(" [{default}]")
    };
    loop {
        output::warn(&format!("{question}{offered}"));
        let mut typed = String::new();
        let ended = io::stdin().lock().read_line(&mut typed)? == 0;
        let typed = typed.trim();
        let chosen = if typed.is_empty() { default } else { typed };
        match judge(chosen) {
            Err(remedy) if !ended => {
                output::warn(&format!("`{chosen}` cannot be used: {remedy}"));
            }
            _ => {
                *given = Some(chosen.to_owned());
                return Ok(ended);
            }
        }
    }
}

fn socket(text: &str) -> Result<(), String> {
    let parsed = text.parse::<SocketAddr>().map(drop);
    parsed.map_err(|_| "give an address and a port, as 0.0.0.0:1812".to_owned())
}

/// An address for HTTP without a certificate.
fn plain(text: &str) -> Result<(), String> {
    socket(text)?;
    let at = text.parse::<SocketAddr>();
    if at.is_ok_and(|at| at.ip().is_loopback()) {
        return Ok(());
    }
    Err(format!("beyond loopback it needs a certificate: {CERTIFY}"))
}

fn client_name(text: &str) -> Result<(), String> {
    let advice = "choose a name of letters, digits and `.-_`, at most 64";
    is_client_name(text)
        .then_some(())
        .ok_or_else(|| advice.to_owned())
}

fn address(text: &str) -> Result<(), String> {
    network(text).map(drop)
}

fn profile_name(text: &str) -> Result<(), String> {
    let known = profile::names().any(|name| name == text);
    let advice = "`oncegate manual appliances` lists them";
    known.then_some(()).ok_or_else(|| advice.to_owned())
}

fn policy_name(text: &str) -> Result<(), String> {
    let shipped = shipped();
    let mut names = shipped.iter().filter_map(|file| {
        let name = file.name().strip_prefix("policies/")?;
        name.strip_suffix(".toml")
    });
    let advice = "a new installation has default, otp, pin-otp, password-otp and others: \
                  `oncegate manual policies`";
    let known = names.any(|name| name == text);
    known.then_some(()).ok_or_else(|| advice.to_owned())
}

fn user_name(text: &str) -> Result<(), String> {
    UserKey::parse(text)
        .map(drop)
        .map_err(|error| error.to_string())
}

fn mail_host(text: &str) -> Result<(), String> {
    let target = Target::of_host(text, SUBMISSION, false).map(drop);
    target.map_err(|error| format!("{error}: give a name or an address, as mail.example.com"))
}

fn sender(text: &str) -> Result<(), String> {
    let advice = "give an address, as otp@example.com";
    text.contains('@')
        .then_some(())
        .ok_or_else(|| advice.to_owned())
}

fn host_name(text: &str) -> Result<(), String> {
    let advice = "it is no host name or address: give the name in the address, as otp.example.com";
    certificate::is_name(text)
        .then_some(())
        .ok_or_else(|| advice.to_owned())
}

fn readable(text: &str) -> Result<(), String> {
    let opened = std::fs::File::open(text).map(drop);
    opened.map_err(|error| format!("it cannot be read: {error}"))
}

fn readable_or_self(text: &str) -> Result<(), String> {
    if text == "self" {
        Ok(())
    } else {
        readable(text)
    }
}

/// A certificate and a key as the server reads them: of PEM, and of each other.
fn pair(certificate: Option<&Path>, key: Option<&Path>) -> Result<(), CliError> {
    for file in certificate.iter().chain(&key) {
        if let Err(error) = std::fs::File::open(file) {
            let what = format!("{} cannot be read: {error}", file.display());
            return Err(CliError::usage(what)
                .remedy("name PEM files that this user may read; nothing was made"));
        }
    }
    let (Some(certificate), Some(key)) = (certificate, key) else {
        return Ok(());
    };
    let loaded = Tls::load(certificate, key).map(drop);
    loaded.map_err(|error| {
        CliError::usage(format!("{}: {}", error.file.display(), error.cause))
            .remedy(format!("{}; nothing was made", error.remedy))
    })
}

/// Whether a mail server is on this machine or in a private network, where gateways may be only if the configuration
/// says so; or why it may be at none of its addresses. A name that is not found yet is taken for a public one.
async fn is_private(host: &str) -> Result<bool, &'static str> {
    let Ok(target) = Target::of_host(host, SUBMISSION, false) else {
        return Ok(false);
    };
    let addresses: Vec<IpAddr> = match &target.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => {
            let found = timeout(PATIENCE, lookup_host((name.as_str(), SUBMISSION))).await;
            let found = found.ok().and_then(Result::ok);
            found.into_iter().flatten().map(|at| at.ip()).collect()
        }
    };
    let never = |address: &IpAddr| refusal(*address, Reach::Private);
    if let Some(why) = addresses.iter().find_map(never) {
        return Err(why);
    }
    let private = |address: &IpAddr| refusal(*address, Reach::Public).is_some();
    Ok(target.is_loopback() || addresses.iter().any(private))
}

const CERTIFY: &str = "add --certificate FILE --key FILE or --self-signed NAME, or serve HTTP on 127.0.0.1 behind a \
                       proxy";
/// RFC 6409; only for the form of a target.
const SUBMISSION: u16 = 587;
/// For one look-up.
const PATIENCE: Duration = Duration::from_secs(3);
