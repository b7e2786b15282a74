//! `oncegate user`: people.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::api::{
    EndBypass, EndExemption, EraseUser, GrantBypass, GrantExemption, NoteUser, RemoveUser,
    ShowUser, UnlockUser, UserChange, UserNote,
};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::printable;
use crate::cli::token::shown::lock;
use crate::cli::{import, input};
use crate::model::user_key::{DEFAULT_REALM, UserKey};

mod about;
mod describe;
mod list;
mod waiver;

use about::{Add, Set, patch};
use describe::describe;
use list::{Listing, Search};
use waiver::Bypass;

/// Manage users
#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Add a user
    #[command(
        after_help = "Example:\n  oncegate user add alice@staff --group vpn --phone +82-2-555-0100"
    )]
    Add(Add),
    /// Show a user with lock and tokens
    Show(Name),
    /// List users
    #[command(
        after_help = "Examples:\n  oncegate user list --group vpn --without-token\n  \
        oncegate user list --locked"
    )]
    List(Listing),
    /// Find users by part of a name, alias, phone number, mail address or token serial
    #[command(
        after_help = "Examples:\n  oncegate user search kim\n  oncegate user search 010-1234\n  \
        oncegate user search YUBI-47 --group vpn"
    )]
    Search(Search),
    /// Change a user; options left out stay unchanged, "" clears a value
    #[command(
        after_help = "Examples:\n  oncegate user set alice --group vpn --group staff --phone ''\n  \
        oncegate user set alice --alias asmith --alias alice@corp.example.com"
    )]
    Set(Set),
    /// Import users from a CSV file, with their tokens where it has keys
    #[command(after_help = import::USERS_HELP)]
    Import(import::UserImport),
    /// Disable a user: every login is rejected
    Disable(Name),
    /// Enable a disabled user
    Enable(Name),
    /// Clear failures and end a lock
    Unlock(Name),
    /// Put a note about a user on record: it is in the audit, and on the user's page in the console
    #[command(after_help = "Example:\n  oncegate user note alice 'passport seen, request 4711'")]
    Note {
        #[command(flatten)]
        who: Name,
        /// One line of at most 256 octets
        text: String,
    },
    /// Remove a user with all tokens; their audit records stay readable
    Remove(Remove),
    /// Remove a user and destroy the key of their personal data, also in the audit; cannot be undone
    #[command(after_help = "Example:\n  oncegate user erase alice --yes\n\
        Display name, phone number, e-mail address and birth date can never be read again, here or in the \
        audit, whose chain stays intact. The login name stays on record. A user who was removed before is \
        erased by name. Backups made before keep the key: remove them.")]
    Erase(Remove),
    /// Waive codes for at most 24 hours, where a rule also requires PIN or password
    #[command(
        after_help = "Examples:\n  oncegate user bypass alice --reason 'telephone lost' --for 4h\n  \
        oncegate user bypass alice --end"
    )]
    Bypass(Bypass),
    /// Waive the factors that rules exempt while the user is abroad
    #[command(
        after_help = "Examples:\n  oncegate user exempt alice --reason 'request 4711' --for 30d\n  \
        oncegate user exempt alice --end"
    )]
    Exempt(Bypass),
}

#[derive(Debug, Args)]
pub(super) struct Name {
    /// NAME, NAME@REALM or DOMAIN\NAME
    user: String,
    /// Realm, when the name does not say it
    #[arg(long)]
    realm: Option<String>,
}

impl Name {
    /// The user as the API names it.
    fn key(&self) -> Result<String, CliError> {
        let Some(realm) = &self.realm else {
            return Ok(self.user.clone());
        };
        let key = UserKey::with_realm(&self.user, realm)
            .map_err(|error| CliError::usage(format!("{}: {error}", self.user)))?;
        match UserKey::parse(&self.user) {
            Ok(read) if read.realm() != DEFAULT_REALM && read != key => Err(CliError::usage(
                format!("`{}` says a realm already, and not `{realm}`", self.user),
            )
            .remedy("leave --realm out, or the realm in the name")),
            _ => Ok(key.to_string()),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    #[command(flatten)]
    who: Name,
    /// Do not ask for confirmation; `erase` needs it where stdin is not a terminal
    #[arg(long, short)]
    yes: bool,
}

impl User {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let out = context.out;
        match self {
            Self::Add(add) => add.run(context).await?,
            Self::Show(who) => {
                let user = who.key()?;
                let api = context.transport().await?;
                let user = api.ask::<ShowUser>(&user).await?;
                out.show(&user, describe)?;
            }
            Self::List(listing) => listing.run(context).await?,
            Self::Search(search) => search.run(context).await?,
            Self::Import(import) => return import.run(context).await,
            Self::Set(set) => set.run(context).await?,
            Self::Disable(who) => disable(context, &who.key()?, true).await?,
            Self::Enable(who) => disable(context, &who.key()?, false).await?,
            Self::Unlock(who) => unlock(context, &who.key()?).await?,
            Self::Note { who, text } => {
                let user = who.key()?;
                let api = context.transport().await?;
                api.send::<NoteUser>(&user, &UserNote { text }).await?;
                let user = UserKey::parse(&user).map_or(user, |key| key.to_string());
                out.show(&json!({ "noted": user }), |_| {
                    format!("On record about {}.\n", printable(&user))
                })?;
            }
            Self::Erase(erase) => erase.erase(context).await?,
            Self::Bypass(bypass) => {
                bypass
                    .run::<GrantBypass, EndBypass>(context, "bypass")
                    .await?;
            }
            Self::Exempt(exempt) => {
                exempt
                    .run::<GrantExemption, EndExemption>(context, "exemption")
                    .await?;
            }
            Self::Remove(Remove { who, yes }) => {
                let user = who.key()?;
                input::confirm(&format!("Remove user {user} with all tokens?"), yes)?;
                let api = context.transport().await?;
                api.ask::<RemoveUser>(&user).await?;
                let user = UserKey::parse(&user).map_or(user, |key| key.to_string());
                out.show(&json!({ "removed": user }), |_| {
                    format!("Removed user {}.\n", printable(&user))
                })?;
            }
        }
        Ok(Exit::Done)
    }
}

impl Remove {
    async fn erase(self, context: &Context) -> Result<(), CliError> {
        let user = self.who.key()?;
        let question = format!(
            "Remove user {user} with all tokens, if there is one, and destroy the personal data of all who had \
             the name for good?"
        );
        input::vouch(&question, self.yes)?;
        let api = context.transport().await?;
        api.ask::<EraseUser>(&user).await?;
        let user = UserKey::parse(&user).map_or(user, |key| key.to_string());
        context.out.show(&json!({ "erased": user }), |_| {
            let user = printable(&user);
            format!("Erased the personal data of {user}. Backups made before still have them.\n")
        })
    }
}

async fn disable(context: &Context, user: &str, disabled: bool) -> Result<(), CliError> {
    let api = context.transport().await?;
    let before = api.ask::<ShowUser>(user).await?;
    if before.disabled == disabled {
        let state = if disabled { "disabled" } else { "enabled" };
        let user = printable(&before.user);
        context.out.note(&format!("{user} was {state} already."));
    }
    let change = UserChange {
        disabled: Some(disabled),
        ..UserChange::default()
    };
    patch(&api, context, user, &change).await
}

/// Ends a lock, and says what it was.
async fn unlock(context: &Context, user: &str) -> Result<(), CliError> {
    let api = context.transport().await?;
    let before = api.ask::<ShowUser>(user).await?;
    let after = api.ask::<UnlockUser>(user).await?;
    let tokens = before.tokens.iter().flatten();
    let tokens = tokens.map(|token| (format!("token {}", token.serial), &token.lock));
    let own = before.lock.iter().map(|lock| (before.user.clone(), lock));
    let ended: Vec<String> = own
        .chain(tokens)
        .filter(|(_, lock)| lock.state != "open" || lock.failures > 0)
        .map(|(whose, found)| format!("{whose}: {}", lock(found)))
        .collect();
    let said = if ended.is_empty() {
        format!("{} was not locked, and had no failures.", before.user)
    } else {
        format!("Ended: {}.", ended.join("; "))
    };
    context.out.note(&printable(&said));
    context.out.show(&after, describe)
}
