//! `oncegate token`: what makes the codes.

use clap::{Args, Subcommand};
use hyper::Method;
use serde::Serialize;
use serde_json::json;

use crate::api::{Token as Record, Tokens};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::input::Ask;
use crate::cli::output::{Table, local_time, printable};
use crate::cli::transport::{Transport, admin, next_page, with_query};
use crate::cli::words::Whose;
use crate::cli::{enrolment, import, input, output, user};
use crate::secret::SecretString;

mod add;

pub(super) use add::CreateBody;

use add::{Add, Kind};

/// Authenticators of users
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token and show its QR code, once
    #[command(after_help = "Examples:\n  \
        oncegate token add alice --kind totp\n  \
        oncegate token add bob --kind hotp --secret-stdin --active < key.txt\n  \
        oncegate token add alice --kind sms --address +82-10-1234-5678\n  \
        oncegate token add alice --kind card --replaces CARD-12345678\n  \
        oncegate token add alice --kind recovery --count 1 --for 24h\n  \
        oncegate token add alice --kind server --request\n\
        A pending token becomes active by its first right code: `oncegate token offer` asks for it \
        where it does not show one by itself, `oncegate token confirm` takes it.")]
    Add(Box<Add>),
    /// Hand a token out: a code for its device or to its address, the cells of a card
    #[command(after_help = "Examples:\n  \
        oncegate token offer SERVER-7F3K9Q2M --by text,qr --server-url https://otp.example.com\n  \
        oncegate token offer SERVER-7F3K9Q2M --by sms\n  \
        oncegate token offer SMS-7F3K9Q2M\n\
        A new code voids the one before. All ways carry the same code.")]
    Offer(enrolment::Offer),
    /// Approve of a token that another administrator asked for
    #[command(after_help = "Examples:\n  \
        oncegate token list --state requested\n  \
        oncegate token approve TOTP-7F3K9Q2M\n  \
        oncegate token approve TOTP-7F3K9Q2M --on-behalf api:kim\n\
        An administrator cannot approve their own request.")]
    Approve(enrolment::Approve),
    /// End a request for a token before it is handed out
    #[command(
        after_help = "Example:\n  oncegate token deny TOTP-7F3K9Q2M --reason 'not in this team'"
    )]
    Deny(enrolment::Deny),
    /// Show a token
    Show(Serial),
    /// List tokens
    List(Listing),
    /// Make tokens of users who exist from a CSV file; they are active at once
    #[command(after_help = import::TOKENS_HELP)]
    Import(import::Import),
    /// Activate a pending token with the code it shows, or that was sent
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
    /// Give a token that expires a new end
    #[command(after_help = "Examples:\n  oncegate token renew TOTP-7F3K9Q2M\n  \
        oncegate token renew TOTP-7F3K9Q2M --force --valid-for 365d")]
    Renew(enrolment::Renew),
    /// Make a token unusable for ever; its record stays
    #[command(after_help = "Example:\n  oncegate token revoke TOTP-7F3K9Q2M --reason lost")]
    Revoke(enrolment::Revoke),
    /// Make a token count for a second user too, by two consecutive codes of it
    #[command(after_help = "Example:\n  printf '%s\\n' 755224 287082 | \
        oncegate token link HOTP-7F3K9Q2M alice@bank --otp-stdin")]
    Link(enrolment::Link),
    /// Make it count for its owner only again
    #[command(after_help = "Example:\n  oncegate token unlink HOTP-7F3K9Q2M alice@bank")]
    Unlink(enrolment::Unlink),
    /// Remove a token and its record
    Remove(Destroy),
}

#[derive(Debug, Args)]
pub(super) struct Serial {
    /// Name of the token
    serial: String,
}

#[derive(Debug, Args)]
pub(super) struct Listing {
    #[command(flatten)]
    whose: Whose,
    /// Only tokens in this state
    #[arg(long, value_parser = ["requested", "approved", "pending", "active", "suspended", "revoked",
          "expired"])]
    state: Option<String>,
    /// Only tokens of this kind
    #[arg(long, value_enum)]
    kind: Option<Kind>,
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
    /// Do not ask for confirmation at a terminal
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
                let (first, second) = two_codes(&resync.otp)?;
                let body = ResyncBody {
                    first: first.expose(),
                    second: second.expose(),
                };
                let api = context.transport().await?;
                let path = admin(&["tokens", &resync.serial, "resync"]);
                let token: Record = api.call(Method::POST, &path, Some(&body)).await?;
                out.show(&token, resynchronised)?;
            }
            Self::Suspend(Serial { serial }) => {
                act(context, &serial, "suspend", None::<&()>).await?;
            }
            Self::Resume(Serial { serial }) => {
                act(context, &serial, "resume", None::<&()>).await?;
            }
            Self::Offer(offer) => offer.run(context).await?,
            Self::Approve(approve) => approve.run(context).await?,
            Self::Deny(deny) => deny.run(context).await?,
            Self::Renew(renew) => renew.run(context).await?,
            Self::Revoke(revoke) => revoke.run(context).await?,
            Self::Link(link) => link.run(context).await?,
            Self::Unlink(unlink) => unlink.run(context).await?,
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

impl Listing {
    /// All pages up to the limit, as one.
    async fn fetch(self, api: &Transport) -> Result<Tokens, CliError> {
        let user = self.whose.user();
        let mut all = Tokens {
            tokens: Vec::new(),
            next: self.after,
            damaged: Vec::new(),
        };
        let limit = self.limit.unwrap_or(usize::MAX);
        loop {
            let wanted = limit
                .saturating_sub(all.tokens.len())
                .min(user::PAGE)
                .to_string();
            let query = [
                ("user", user.as_deref()),
                ("state", self.state.as_deref()),
                ("kind", self.kind.map(Kind::word)),
                ("after", all.next.as_deref()),
                ("limit", Some(wanted.as_str())),
            ];
            let page: Tokens = api.get(&with_query(&admin(&["tokens"]), &query)).await?;
            all.next = next_page(all.next.as_ref(), page.next, page.tokens.is_empty())?;
            all.tokens.extend(page.tokens);
            all.damaged = page.damaged;
            if all.next.is_none() || all.tokens.len() >= limit {
                output::damaged(&all.damaged);
                return Ok(all);
            }
        }
    }
}

/// The two codes given on the command line, or read from stdin.
pub(super) fn two_codes(arguments: &[String]) -> Result<(SecretString, SecretString), CliError> {
    match arguments {
        [first, second] => {
            input::warn_of_arguments();
            Ok((first.as_str().into(), second.as_str().into()))
        }
        _ => {
            let wanted = [Some(Ask::once("code")), Some(Ask::once("next code"))];
            match input::secrets(wanted)? {
                [Some(first), Some(second)] => Ok((first, second)),
                _ => Err(CliError::usage("two codes are needed, one a line")),
            }
        }
    }
}

pub(super) async fn act(
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

fn resynchronised(token: &Record) -> String {
    let serial = printable(&token.serial);
    let now = match (token.drift, token.last_step) {
        (Some(0), _) => "its clock is right".to_owned(),
        (Some(drift), _) => format!("its clock is {drift:+} steps off, and that is allowed for"),
        (None, Some(last)) => format!("its counter stands at {}", last.saturating_add(1)),
        (None, None) => "its next code is known".to_owned(),
    };
    format!("Token {serial} is in step again: {now}. Both codes are used up.\n")
}

/// The code given on the command line, or read from stdin.
fn one_code(argument: Option<String>) -> Result<SecretString, CliError> {
    match argument {
        Some(otp) => Ok(input::argument(otp)),
        None => input::secret(Ask::once("code")),
    }
}

/// `1 of 2: api:kim`; absent where none is needed.
fn approvals(token: &Record) -> Option<String> {
    let needed = token.approvals_needed?;
    let by: Vec<String> = token
        .approvals
        .iter()
        .map(|one| match &one.on_behalf {
            Some(owner) => format!("{} for {owner}", one.by),
            None => one.by.clone(),
        })
        .collect();
    let given = by.len();
    Some(format!("{given} of {needed}: {}", output::joined(&by)))
}

/// What makes its codes: `totp sha1, 6 digits, 30 s`; `sms, 6 digits`.
pub(super) fn makes(token: &Record) -> String {
    match token.kind.as_str() {
        "recovery" => match token.codes_left {
            Some(1) => "recovery, 1 code left".to_owned(),
            left => format!("recovery, {} codes left", left.unwrap_or_default()),
        },
        "card" => "card, 35 cells".to_owned(),
        "totp" | "hotp" => {
            let period = token.period.map(|period| format!(", {period} s"));
            format!(
                "{} {}, {} digits{}",
                token.kind,
                token.algorithm,
                token.digits,
                period.unwrap_or_default()
            )
        }
        kind => format!("{kind}, {} digits", token.digits),
    }
}

/// What a repair of the store did to it, while that has effect.
pub(super) fn repaired(token: &Record) -> Option<String> {
    let at = local_time(token.store_repaired.as_deref()?);
    Some(match &token.refused_until {
        Some(until) => format!(
            "codes are refused until {}: the store was repaired on {at}",
            local_time(until)
        ),
        None => format!("closed by the repair of the store on {at}: resync it first"),
    })
}

/// What brings a token in this state into use.
fn verb(state: &str) -> &'static str {
    match state {
        "requested" => "approve",
        "approved" => "offer",
        "pending" => "confirm",
        _ => "resume",
    }
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
            match repaired(token) {
                Some(repair) => format!("{} ({repair})", token.state),
                None => token.state.clone(),
            },
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
    table.pair("store repair", repaired(token));
    if token.store_repaired.is_some() && token.refused_until.is_none() {
        let (serial, then) = (&token.serial, verb(&token.state));
        table.pair("next", format!("oncegate token resync {serial}"));
        table.pair("then", format!("oncegate token {then} {serial}"));
    }
    table.pair("address", token.address.clone());
    table.pair("device", token.device.clone());
    table.pair("asked for by", token.requester.clone());
    table.pair("approvals", approvals(token));
    table.pair("replaces", token.replaces.clone());
    table.pair("expires", token.expires.as_deref().map(local_time));
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
}
