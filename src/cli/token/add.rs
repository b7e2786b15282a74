//! `oncegate token add`: a token and what is shown of it only now.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::api::{AddToken, TokenCreate, TokenCreated};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::input::Ask;
use crate::cli::output::{Output, Table, local_time, printable, shell_word};
use crate::cli::token::shown::{approvals, makes};
use crate::cli::{input, output, paper, when};
use crate::diagnostic::units;
use crate::secret::SecretString;

/// What makes a token's codes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Kind {
    /// The time (RFC 6238): authenticator apps.
    Totp,
    /// A counter (RFC 4226): tokens with a button.
    Hotp,
    /// We, when its device asks for one.
    Server,
    /// We, sent to a telephone.
    Sms,
    /// We, sent by mail.
    Email,
    /// We, spoken in a call.
    Voice,
    /// A printed security card.
    Card,
    /// A printed sheet of codes.
    Recovery,
}

impl Kind {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Hotp => "hotp",
            Self::Server => "server",
            Self::Sms => "sms",
            Self::Email => "email",
            Self::Voice => "voice",
            Self::Card => "card",
            Self::Recovery => "recovery",
        }
    }
}

#[derive(Debug, Args)]
#[allow(clippy::doc_markdown)] // help is plain text
#[allow(clippy::struct_excessive_bools)] // each is a flag of the command
pub(in crate::cli) struct Add {
    /// NAME, NAME@REALM or DOMAIN\NAME
    user: String,
    /// What makes its codes
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
    /// Read its key, in base 32 on one line, from stdin [default: a new one]
    #[arg(long)]
    secret_stdin: bool,
    /// Its key in base 32; every user of this machine can read it here: for tests
    #[arg(long, hide = true, conflicts_with = "secret_stdin")]
    secret: Option<String>,
    /// Name of the token [default: a new one]
    #[arg(long)]
    serial: Option<String>,
    /// Active at once, without a first right code
    #[arg(long, conflicts_with = "request")]
    active: bool,
    /// Telephone number or mail address for its codes (sms, email, voice) [default: the user's]
    #[arg(long)]
    address: Option<String>,
    /// The user's token that ends when this one is proven
    #[arg(long, value_name = "SERIAL")]
    replaces: Option<String>,
    /// How long it lasts from its first use: 24h, 1095d [default: as the policy says]
    #[arg(long, visible_alias = "for", value_name = "DURATION", value_parser = units::duration,
          conflicts_with = "expires")]
    valid_for: Option<Duration>,
    /// Until when it is good: 2027-12-31 (its beginning, local time), 2027-12-31T18:00, 90d
    #[arg(long, value_name = "TIME", value_parser = when::future_rfc3339)]
    expires: Option<String>,
    /// Codes on the sheet (recovery), 1 to 32 [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    count: Option<u8>,
    /// Only ask for it: others approve of it first, as many as the policy says
    #[arg(long)]
    request: bool,
    /// Policy whose [enrolment] applies [default: default]
    #[arg(long)]
    policy: Option<String>,
    /// Print the key as text beside the QR code
    #[arg(long)]
    show_secret: bool,
}

impl Add {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let secret =
            input::given_secret(self.secret.as_deref(), self.secret_stdin, Ask::twice("key"))?;
        let show_secret = self.show_secret;
        let body = self.body(secret);
        let api = context.transport().await?;
        let created = api.send::<AddToken>((), &body).await?;
        for warning in &created.warnings {
            output::warn(&format!("warning: {}", printable(warning)));
        }
        context.out.show(&created, |created| {
            introduce(created, context.out, show_secret, &next(created, context))
        })
    }

    fn body(self, secret: Option<SecretString>) -> TokenCreate {
        TokenCreate {
            user: self.user,
            kind: self.kind.word().to_owned(),
            algorithm: self.algorithm,
            digits: self.digits,
            period: self.period,
            secret,
            counter: self.counter,
            active: self.active,
            serial: self.serial,
            address: self.address,
            replaces: self.replaces,
            expires: self.expires,
            valid_for_secs: self.valid_for.map(|length| length.as_secs()),
            request: self.request,
            policy: self.policy,
            count: self.count,
        }
    }
}

/// What to do with a token that was just made.
fn next(created: &TokenCreated, context: &Context) -> String {
    let token = &created.token;
    let on = |verb: &str| context.command(&format!("token {verb} {}", token.serial));
    match (token.state.as_str(), token.kind.as_str()) {
        ("requested", _) => format!("somebody else approves of it: {}", on("approve")),
        ("active", "recovery" | "card") => "print it and give it to its owner".to_owned(),
        ("active", _) => {
            let user = printable(&token.user);
            context.command(&format!("verify {}", shell_word(&user)))
        }
        (_, "totp" | "hotp") => format!("scan it, then {}", on("confirm")),
        (_, "server") => format!("give its device a code: {}", on("offer")),
        (_, "card") => format!("print it, then ask for two cells of it: {}", on("offer")),
        _ => format!("send a code there: {}", on("offer")),
    }
}

/// A new token for its owner: the QR code, the card or the sheet, and what to do next.
fn introduce(created: &TokenCreated, out: Output, show_secret: bool, next: &str) -> String {
    let token = &created.token;
    let mut text = String::new();
    if let Some(uri) = &created.otpauth_uri {
        text.push_str(&paper::drawn(uri, out));
    }
    if !created.cells.is_empty() {
        text.push_str(&paper::card(&token.serial, &token.user, &created.cells));
        text.push('\n');
    }
    if !created.codes.is_empty() {
        let expires = token.expires.as_deref().map(local_time);
        let sheet = paper::sheet(
            &token.serial,
            &token.user,
            &created.codes,
            expires.as_deref(),
        );
        text.push_str(&sheet);
        text.push('\n');
    }
    let mut table = Table::pairs();
    table.pair("token", token.serial.clone());
    table.pair("user", token.user.clone());
    table.pair("makes", makes(token));
    table.pair("address", token.address.clone());
    table.pair("state", token.state.clone());
    if !matches!(token.kind.as_str(), "totp" | "hotp") {
        table.pair("has effect", output::effect(&created.accepted_by));
    }
    table.pair("expires", token.expires.as_deref().map(local_time));
    table.pair("replaces", token.replaces.clone());
    table.pair("approvals", approvals(token));
    if show_secret {
        table.pair("secret", created.secret.clone());
        table.pair("uri", created.otpauth_uri.clone());
    }
    text.push_str(&table.text());
    if created.otpauth_uri.is_some() && !show_secret {
        text.push_str(
            "The key is in the QR code only (--show-secret prints it); it is not shown again.\n",
        );
    }
    if !created.cells.is_empty() || !created.codes.is_empty() {
        text.push_str("Print it now: it is not shown again.\n");
    }
    push!(text, "Next: {next}\n");
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_is_what_the_api_reads() {
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
            address: None,
            replaces: None,
            valid_for: None,
            expires: None,
            count: None,
            request: false,
            policy: None,
            show_secret: false,
        };
        let text = serde_json::to_string(&add.body(Some(key))).unwrap();
        let read: TokenCreate = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (read.kind.as_str(), read.counter, read.active),
            ("hotp", Some(7), true)
        );
        assert_eq!(read.secret.unwrap().expose(), "GEZDGNBV");
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
