//! `oncegate token`: what makes the codes.

use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;
use hyper::Method;
use serde::Serialize;
use serde_json::json;

use crate::api::Token as Record;
use crate::api::TokenCreated;
use crate::api::Tokens;
use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::error::Exit;
use crate::cli::import;
use crate::cli::input;
use crate::cli::output;
use crate::cli::output::Output;
use crate::cli::output::Table;
use crate::cli::output::local_time;
use crate::cli::output::printable;
use crate::cli::output::shell_word;
use crate::cli::transport::Transport;
use crate::cli::transport::admin;
use crate::cli::transport::with_query;
use crate::cli::user;
use crate::qr;
use crate::secret::SecretString;

/// Authenticators of users
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token and show its QR code, once
    #[command(after_help = "Examples:\n  \
        oncegate token add alice --kind totp\n  \
        oncegate token add bob --kind hotp --secret-stdin --active < key.txt\n\
        A pending token becomes active by its first right code: `oncegate token confirm`.")]
    Add(Box<Add>),
    /// Show a token
    Show(Serial),
    /// List tokens
    List(Listing),
    /// Make tokens of users who exist from a CSV file; they are active at once
    #[command(after_help = import::HELP)]
    Import(import::Import),
    /// Activate a pending token with the code it shows
    #[command(
        after_help = "Example:\n  oncegate token confirm TOTP-7F3K9Q2M --otp-stdin\n\
        The code is used up by this; the next login needs the next one."
    )]
    Confirm(Confirm),
    /// Find a token that is out of step by two consecutive codes
    #[command(after_help = "Example:\n  \
        printf '%s\\n' 755224 287082 | oncegate token resync HOTP-7F3K9Q2M --otp-stdin")]
    Resync(Resync),
    /// Make an active token unusable for a while
    Suspend(Serial),
    /// Make a suspended token usable again
    Resume(Serial),
    /// Make a token unusable for ever; its record stays
    Revoke(Destroy),
    /// Remove a token and its record
    Remove(Destroy),
}

#[derive(Debug, Args)]
pub(super) struct Serial {
    /// Name of the token
    serial: String,
}

/// What makes a token's codes move.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// The time (RFC 6238): authenticator apps.
    Totp,
    /// A counter (RFC 4226): tokens with a button.
    Hotp,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Hotp => "hotp",
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// NAME, NAME@REALM or DOMAIN\NAME
    user: String,
    /// What makes its codes move
    #[arg(long, value_enum, default_value_t = Kind::Totp)]
    kind: Kind,
    /// Hash function [default: sha1, which every app knows]
    #[arg(long, value_parser = ["sha1", "sha256", "sha512"])]
    algorithm: Option<String>,
    /// Length of its codes, 6 to 9 [default: 6]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(6..=9))]
    digits: Option<u8>,
    /// Seconds per code, 15 to 300 (totp) [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(15..=300))]
    period: Option<u16>,
    /// First counter (hotp) [default: 0]
    #[arg(long, value_name = "N")]
    counter: Option<u64>,
    /// Read its key, in base 32, from stdin [default: a new one]
    #[arg(long)]
    secret_stdin: bool,
    /// Its key in base 32; every user of this machine can read it here: for tests
    #[arg(long, hide = true, conflicts_with = "secret_stdin")]
    secret: Option<String>,
    /// Name of the token [default: a new one]
    #[arg(long)]
    serial: Option<String>,
    /// Active at once, without a first right code
    #[arg(long)]
    active: bool,
    /// Print the key as text beside the QR code
    #[arg(long)]
    show_secret: bool,
}

#[derive(Debug, Args)]
pub(super) struct Listing {
    /// Only tokens of this user
    #[arg(long)]
    user: Option<String>,
    /// At most this many [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only those behind this one (`next` of the list before)
    #[arg(long, value_name = "NEXT")]
    after: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Confirm {
    /// Name of the token
    serial: String,
    /// Read the code from stdin; on a terminal it is asked for anyway
    #[arg(long)]
    otp_stdin: bool,
    /// The code, for tests
    #[arg(long, hide = true, conflicts_with = "otp_stdin")]
    otp: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Resync {
    /// Name of the token
    serial: String,
    /// Read two consecutive codes, one a line, from stdin
    #[arg(long)]
    otp_stdin: bool,
    /// The two codes, for tests
    #[arg(long, hide = true, num_args = 2, conflicts_with = "otp_stdin")]
    otp: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Destroy {
    /// Name of the token
    serial: String,
    /// Do not ask at the terminal
    #[arg(long, short)]
    yes: bool,
}

impl Token {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let out = context.out;
        match self {
            Self::Add(add) => add.run(context).await?,
            Self::Import(import) => return import.run(import::Make::Tokens, context).await,
            Self::Show(Serial { serial }) => {
                let api = context.transport().await?;
                let token: Record = api.get(&admin(&["tokens", &serial])).await?;
                out.show(&token, describe)?;
            }
            Self::List(listing) => {
                let tokens = listing.fetch(&context.transport().await?).await?;
                out.show(&tokens, list)?;
            }
            Self::Confirm(confirm) => {
                let otp = one_code(confirm.otp)?;
                let body = ConfirmBody { otp: otp.expose() };
                act(context, &confirm.serial, "confirm", Some(&body)).await?;
            }
            Self::Resync(resync) => {
                let (first, second) = match resync.otp.as_slice() {
                    [first, second] => {
                        input::warn_of_arguments();
                        (first.as_str().into(), second.as_str().into())
                    }
                    _ => (input::secret("code")?, input::secret("next code")?),
                };
                let body = ResyncBody {
                    first: first.expose(),
                    second: second.expose(),
                };
                act(context, &resync.serial, "resync", Some(&body)).await?;
            }
            Self::Suspend(Serial { serial }) => {
                act(context, &serial, "suspend", None::<&()>).await?;
            }
            Self::Resume(Serial { serial }) => {
                act(context, &serial, "resume", None::<&()>).await?;
            }
            Self::Revoke(Destroy { serial, yes }) => {
                input::confirm(&format!("Revoke token {serial} for ever?"), yes)?;
                act(context, &serial, "revoke", None::<&()>).await?;
            }
            Self::Remove(Destroy { serial, yes }) => {
                input::confirm(&format!("Remove token {serial} and its record?"), yes)?;
                let api = context.transport().await?;
                api.order(Method::DELETE, &admin(&["tokens", &serial]))
                    .await?;
                let serial = serial.to_ascii_uppercase();
                out.show(&json!({ "removed": serial }), |_| {
                    format!("Removed token {}.\n", printable(&serial))
                })?;
            }
        }
        Ok(Exit::Done)
    }
}

/// `api::TokenCreate`, the key borrowed.
#[derive(Serialize)]
pub(super) struct CreateBody<'a> {
    pub(super) user: &'a str,
    pub(super) kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) algorithm: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digits: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) period: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) counter: Option<u64>,
    pub(super) active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) serial: Option<&'a str>,
}

/// `api::Confirm`, borrowed.
#[derive(Serialize)]
struct ConfirmBody<'a> {
    otp: &'a str,
}

/// `api::Resync`, borrowed.
#[derive(Serialize)]
struct ResyncBody<'a> {
    first: &'a str,
    second: &'a str,
}

impl Add {
    async fn run(self, context: &Context) -> Result<(), CliError> {
        let secret = match (&self.secret, self.secret_stdin) {
            (Some(secret), _) => {
                input::warn_of_arguments();
                Some(SecretString::from(secret.as_str()))
            }
            (None, true) => Some(input::secret("key")?),
            (None, false) => None,
        };
        let body = self.body(secret.as_ref());
        let api = context.transport().await?;
        let created: TokenCreated = api.post(&admin(&["tokens"]), &body).await?;
        for warning in &created.warnings {
            output::warn(&format!("warning: {}", printable(warning)));
        }
        context.out.show(&created, |created| {
            let next = match created.token.state.as_str() {
                "active" => {
                    let user = printable(&created.token.user);
                    context.command(&format!("verify {}", shell_word(&user)))
                }
                _ => context.command(&format!("token confirm {}", created.token.serial)),
            };
            introduce(created, context.out, self.show_secret, &next)
        })
    }

    fn body<'a>(&'a self, secret: Option<&'a SecretString>) -> CreateBody<'a> {
        CreateBody {
            user: &self.user,
            kind: self.kind.word(),
            algorithm: self.algorithm.as_deref(),
            digits: self.digits,
            period: self.period,
            secret: secret.map(SecretString::expose),
            counter: self.counter,
            active: self.active,
            serial: self.serial.as_deref(),
        }
    }
}

impl Listing {
    /// All pages up to the limit, as one.
    async fn fetch(self, api: &Transport) -> Result<Tokens, CliError> {
        let mut all = Tokens {
            tokens: Vec::new(),
            next: self.after,
        };
        let limit = self.limit.unwrap_or(usize::MAX);
        loop {
            let wanted = limit
                .saturating_sub(all.tokens.len())
                .min(user::PAGE)
                .to_string();
            let query = [
                ("user", self.user.as_deref()),
                ("after", all.next.as_deref()),
                ("limit", Some(wanted.as_str())),
            ];
            let page: Tokens = api.get(&with_query(&admin(&["tokens"]), &query)).await?;
            all.tokens.extend(page.tokens);
            all.next = page.next;
            if all.next.is_none() || all.tokens.len() >= limit {
                return Ok(all);
            }
        }
    }
}

async fn act(
    context: &Context,
    serial: &str,
    verb: &str,
    body: Option<&(impl Serialize + Sync)>,
) -> Result<(), CliError> {
    let api = context.transport().await?;
    let path = admin(&["tokens", serial, verb]);
    let token: Record = api.call(Method::POST, &path, body).await?;
    context.out.show(&token, |token| {
        format!(
            "Token {} is {}.\n",
            printable(&token.serial),
            printable(&token.state)
        )
    })
}

/// The code given on the command line, or read from stdin.
pub(super) fn one_code(argument: Option<String>) -> Result<SecretString, CliError> {
    match argument {
        Some(otp) => {
            input::warn_of_arguments();
            Ok(SecretString::new(otp))
        }
        None => input::secret("code"),
    }
}

/// A new token for its owner: the QR code, and what to do next.
pub(super) fn introduce(
    created: &TokenCreated,
    out: Output,
    show_secret: bool,
    next: &str,
) -> String {
    let token = &created.token;
    let mut text = match qr::render(&created.otpauth_uri, out.qr_style()) {
        Ok(drawn) => drawn,
        Err(error) => format!("No QR code: {error}; use --show-secret.\n"),
    };
    text.push('\n');
    let mut table = Table::pairs();
    table.pair("token", token.serial.clone());
    table.pair("user", token.user.clone());
    table.pair("makes", makes(token));
    table.pair("state", token.state.clone());
    if show_secret {
        table.pair("secret", created.secret.clone());
        table.pair("uri", created.otpauth_uri.clone());
    }
    text.push_str(&table.text());
    if !show_secret {
        text.push_str(
            "The key is in the QR code only (--show-secret prints it); it is not shown again.\n",
        );
    }
    push!(text, "Next: scan it, then {next}\n");
    text
}

/// What makes its codes: `totp sha1, 6 digits, 30 s`.
pub(super) fn makes(token: &Record) -> String {
    let period = token.period.map(|period| format!(", {period} s"));
    format!(
        "{} {}, {} digits{}",
        token.kind,
        token.algorithm,
        token.digits,
        period.unwrap_or_default()
    )
}

/// Tokens as a table.
pub(super) fn table(tokens: &[Record]) -> Table {
    let mut table = Table::new(&["serial", "user", "makes", "state", "lock", "last accept"]);
    for token in tokens {
        let accept = token.last_accept.as_deref().map(local_time);
        table.row([
            token.serial.clone(),
            token.user.clone(),
            makes(token),
            token.state.clone(),
            token.lock.state.clone(),
            accept.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table
}

fn list(tokens: &Tokens) -> String {
    let mut text = table(&tokens.tokens).or("No tokens. Add one with `oncegate token add USER`.");
    if let Some(next) = &tokens.next {
        push!(text, "More: --after {}\n", printable(next));
    }
    text
}

fn describe(token: &Record) -> String {
    let mut table = Table::pairs();
    table.pair("token", token.serial.clone());
    table.pair("user", token.user.clone());
    table.pair("makes", makes(token));
    table.pair("state", token.state.clone());
    table.pair("lock", user::lock(&token.lock));
    table.pair(
        "last used step",
        token.last_step.map(|step| step.to_string()),
    );
    table.pair("drift", token.drift.map(|steps| format!("{steps} steps")));
    let accept = token.last_accept.as_deref();
    table.pair(
        "last accept",
        accept.map_or_else(|| "never".to_owned(), local_time),
    );
    table.pair("created", local_time(&token.created));
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api;

    #[test]
    fn bodies_are_what_the_api_reads() {
        let key = SecretString::from("GEZDGNBV");
        let add = Add {
            user: "alice".to_owned(),
            kind: Kind::Hotp,
            algorithm: Some("sha256".to_owned()),
            digits: Some(8),
            period: None,
            counter: Some(7),
            secret_stdin: true,
            secret: None,
            serial: None,
            active: true,
            show_secret: false,
        };
        let text = serde_json::to_string(&add.body(Some(&key))).unwrap();
        let read: api::TokenCreate = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (read.kind.as_str(), read.counter, read.active),
            ("hotp", Some(7), true)
        );
        assert_eq!(read.secret.unwrap().expose(), "GEZDGNBV");
        let text = serde_json::to_string(&ConfirmBody { otp: "755224" }).unwrap();
        let read: api::Confirm = serde_json::from_str(&text).unwrap();
        assert_eq!(read.otp.expose(), "755224");
        let text = serde_json::to_string(&ResyncBody {
            first: "1",
            second: "2",
        })
        .unwrap();
        let read: api::Resync = serde_json::from_str(&text).unwrap();
        assert_eq!((read.first.expose(), read.second.expose()), ("1", "2"));
    }

    #[test]
    fn the_key_is_hidden_unless_asked_for() {
        let created: TokenCreated = serde_json::from_value(json!({
            "serial": "TOTP-1", "user": "a@default", "kind": "totp", "state": "pending",
            "algorithm": "sha1", "digits": 6, "period": 30, "last_step": null, "drift": 0,
            "lock": {"failures": 0, "state": "open", "until": null}, "last_accept": null,
            "created": "2026-01-01T00:00:00Z", "revision": 1,
            "secret": "GEZDGNBVGY3TQOJQ", "otpauth_uri": "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ",
            "warnings": []
        }))
        .unwrap();
        let shown = |secret| introduce(&created, Output::default(), secret, "go on");
        assert!(!shown(false).contains("GEZDGNBVGY3TQOJQ"));
        assert!(shown(true).contains("GEZDGNBVGY3TQOJQ"));
    }
}
