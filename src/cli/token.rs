//! `oncegate token`: what makes the codes.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::api::{
    ListTokens, RemoveToken, ResumeToken, ShowToken, SuspendToken, TokenPage, Tokens, UnassignToken,
};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::printable;
use crate::cli::transport::Transport;
use crate::cli::words::Whose;
use crate::cli::{import, input, paging};

mod add;
mod lifecycle;
pub(super) mod shown;

use add::{Add, Kind};
use lifecycle::act;

/// Manage tokens, the authenticators of users
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Add a token and show its QR code once
    #[command(after_help = "Examples:\n  \
        oncegate token add alice --kind totp\n  \
        oncegate token add bob --kind hotp --secret-stdin --active < key.txt\n  \
        oncegate token add alice --kind sms --address +82-10-1234-5678\n  \
        oncegate token add alice --kind yubikey --public-id vvccccbtuvfk --secret-stdin < key.txt\n  \
        oncegate token add alice --kind card --replaces CARD-12345678\n  \
        oncegate token add alice --kind recovery --count 1 --for 24h\n  \
        oncegate token add alice --kind server --request\n\
        A pending token becomes active by its first right code: `oncegate token offer` asks for it \
        where it does not show one by itself, `oncegate token confirm` takes it.")]
    Add(Box<Add>),
    /// Hand out a token: a code for its device or to its address, or the cells of a card
    #[command(after_help = "Examples:\n  \
        oncegate token offer SERVER-7F3K9Q2M --by text,qr --server-url https://otp.example.com\n  \
        oncegate token offer SERVER-7F3K9Q2M --by sms\n  \
        oncegate token offer SMS-7F3K9Q2M\n\
        A new code voids the one before. All ways carry the same code.")]
    Offer(lifecycle::Offer),
    /// Approve a token request
    #[command(after_help = "Examples:\n  \
        oncegate token list --state requested\n  \
        oncegate token approve TOTP-7F3K9Q2M\n  \
        oncegate token approve TOTP-7F3K9Q2M --on-behalf api:kim\n\
        An administrator cannot approve their own request.")]
    Approve(lifecycle::Approve),
    /// Deny a token request
    #[command(
        after_help = "Example:\n  oncegate token deny TOTP-7F3K9Q2M --reason 'not in this team'"
    )]
    Deny(lifecycle::Deny),
    /// Show a token
    Show(Serial),
    /// List tokens
    List(Listing),
    /// Import tokens of existing users from a file; they are active at once
    #[command(after_help = import::TOKENS_HELP)]
    Import(import::TokenImport),
    /// Activate a pending token with the code it shows, or that was sent
    #[command(
        after_help = "Example:\n  oncegate token confirm TOTP-7F3K9Q2M --otp-stdin\n\
        The code is used up by this; the next login needs the next one."
    )]
    Confirm(lifecycle::Confirm),
    /// Resynchronise a token by two consecutive codes
    #[command(after_help = "Example:\n  \
        printf '%s\\n' 755224 287082 | oncegate token resync HOTP-7F3K9Q2M --otp-stdin")]
    Resync(lifecycle::Resync),
    /// Suspend an active token
    Suspend(Serial),
    /// Resume a suspended token
    Resume(Serial),
    /// Renew a token: give it a later expiry time
    #[command(after_help = "Examples:\n  oncegate token renew TOTP-7F3K9Q2M\n  \
        oncegate token renew TOTP-7F3K9Q2M --force --valid-for 365d")]
    Renew(lifecycle::Renew),
    /// Revoke a token for good; its record stays
    #[command(after_help = "Example:\n  oncegate token revoke TOTP-7F3K9Q2M --reason lost")]
    Revoke(lifecycle::Revoke),
    /// Assign a token from stock to a user
    #[command(after_help = "Examples:\n  oncegate token list --unassigned\n  \
        oncegate token assign 2600000000001 alice\n  \
        printf '%s\\n' 755224 287082 | oncegate token assign HOTP-7F3K9Q2M alice --otp-stdin\n\
        Without codes it is pending until its owner's first right code.")]
    Assign(lifecycle::Assign),
    /// Take a token back into stock: it belongs to no user any more
    Unassign(Serial),
    /// Link a token to a second user, proven by two consecutive codes
    #[command(after_help = "Example:\n  printf '%s\\n' 755224 287082 | \
        oncegate token link HOTP-7F3K9Q2M alice@bank --otp-stdin")]
    Link(lifecycle::Link),
    /// Unlink a token from its second user
    #[command(after_help = "Example:\n  oncegate token unlink HOTP-7F3K9Q2M alice@bank")]
    Unlink(lifecycle::Unlink),
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
          "expired", "unassigned"])]
    state: Option<String>,
    /// Only tokens in stock
    #[arg(long, conflicts_with_all = ["state", "user", "user_option"])]
    unassigned: bool,
    /// Only tokens of this kind
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// At most this many [default: all]
    #[arg(long, value_name = "N", value_parser = paging::most)]
    limit: Option<usize>,
    /// Only tokens after this one (`next` of the previous page)
    #[arg(long, value_name = "NEXT")]
    after: Option<String>,
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
            Self::Import(import) => return import.run(context).await,
            Self::Show(Serial { serial }) => {
                let api = context.transport().await?;
                let token = api.ask::<ShowToken>(&serial).await?;
                out.show(&token, shown::describe)?;
            }
            Self::List(listing) => {
                let none = if listing.unassigned {
                    "No tokens are in stock. Bring some in with `oncegate token import FILE`."
                } else {
                    "No tokens. Add one with `oncegate token add USER`."
                };
                let tokens = listing.fetch(&context.transport().await?).await?;
                out.show(&tokens, |tokens| list(tokens, none))?;
            }
            Self::Confirm(confirm) => confirm.run(context).await?,
            Self::Resync(resync) => resync.run(context).await?,
            Self::Suspend(Serial { serial }) => {
                act::<SuspendToken>(context, &serial, &()).await?;
            }
            Self::Resume(Serial { serial }) => {
                act::<ResumeToken>(context, &serial, &()).await?;
            }
            Self::Offer(offer) => offer.run(context).await?,
            Self::Approve(approve) => approve.run(context).await?,
            Self::Deny(deny) => deny.run(context).await?,
            Self::Renew(renew) => renew.run(context).await?,
            Self::Revoke(revoke) => revoke.run(context).await?,
            Self::Assign(assign) => assign.run(context).await?,
            Self::Unassign(Serial { serial }) => {
                act::<UnassignToken>(context, &serial, &()).await?;
            }
            Self::Link(link) => link.run(context).await?,
            Self::Unlink(unlink) => unlink.run(context).await?,
            Self::Remove(Destroy { serial, yes }) => {
                input::confirm(&format!("Remove token {serial} and its record?"), yes)?;
                let api = context.transport().await?;
                api.ask::<RemoveToken>(&serial).await?;
                let serial = serial.to_ascii_uppercase();
                out.show(&json!({ "removed": serial }), |_| {
                    format!("Removed token {}.\n", printable(&serial))
                })?;
            }
        }
        Ok(Exit::Done)
    }
}

impl Listing {
    /// All pages up to the limit, as one.
    async fn fetch(self, api: &Transport) -> Result<Tokens, CliError> {
        let query = TokenPage {
            user: self.whose.user(),
            state: self
                .state
                .or_else(|| self.unassigned.then(|| "unassigned".to_owned())),
            kind: self.kind.map(|kind| kind.word().to_owned()),
            after: self.after,
            limit: None,
        };
        paging::all::<ListTokens>(api, query, self.limit).await
    }
}

fn list(tokens: &Tokens, none: &'static str) -> String {
    let text = shown::table(&tokens.tokens).or(none);
    paging::with_rest(text, tokens.next.as_ref())
}
