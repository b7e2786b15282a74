//! `oncegate user`: people.

use clap::Args;
use clap::Subcommand;
use hyper::Method;
use serde_json::json;

use crate::api::Lock;
use crate::api::User as Record;
use crate::api::UserChange;
use crate::api::UserCreate;
use crate::api::Users;
use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::error::Exit;
use crate::cli::input;
use crate::cli::output::Table;
use crate::cli::output::joined;
use crate::cli::output::local_time;
use crate::cli::output::or_dash;
use crate::cli::output::printable;
use crate::cli::output::shell_word;
use crate::cli::token;
use crate::cli::transport::Transport;
use crate::cli::transport::admin;
use crate::cli::transport::with_query;
use crate::model::user_key::UserKey;

/// People who are to be let in
#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Make a user
    #[command(
        after_help = "Example:\n  oncegate user add alice@staff --group vpn --phone +82-2-555-0100"
    )]
    Add(Add),
    /// Show a user, the lock and the tokens
    Show(Name),
    /// List users
    List(Listing),
    /// Change a user; what is not named stays, an empty value clears
    #[command(
        after_help = "Example:\n  oncegate user set alice --group vpn --group staff --phone ''"
    )]
    Set(Set),
    /// Reject the user whatever they type
    Disable(Name),
    /// Let a disabled user in again
    Enable(Name),
    /// Forget failures and end a lock
    Unlock(Name),
    /// Remove a user with all tokens
    Remove(Remove),
}

#[derive(Debug, Args)]
pub(super) struct Name {
    /// NAME, NAME@REALM or DOMAIN\NAME
    user: String,
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// NAME, NAME@REALM or DOMAIN\NAME
    user: String,
    /// Realm, when the name does not say it
    #[arg(long)]
    realm: Option<String>,
    #[command(flatten)]
    about: About,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// NAME, NAME@REALM or DOMAIN\NAME
    user: String,
    #[command(flatten)]
    about: About,
}

/// What is known about a user.
#[derive(Debug, Args)]
pub(super) struct About {
    /// Group, for policy rules; repeat it for more
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Telephone number
    #[arg(long)]
    phone: Option<String>,
    /// Mail address
    #[arg(long)]
    email: Option<String>,
    /// Birth date
    #[arg(long, value_name = "YYYY-MM-DD")]
    birth_date: Option<String>,
    /// Class, for policy rules
    #[arg(long)]
    class: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Listing {
    /// At most this many [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only those behind this user (`next` of the list before)
    #[arg(long, value_name = "USER")]
    after: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// NAME, NAME@REALM or DOMAIN\NAME
    user: String,
    /// Do not ask at the terminal
    #[arg(long, short)]
    yes: bool,
}

impl User {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let out = context.out;
        match self {
            Self::Add(add) => {
                let api = context.transport().await?;
                let user: Record = api.post(&admin(&["users"]), &add.body()).await?;
                out.show(&user, |user| {
                    let name = printable(&user.user);
                    let next = format!("token add {} --kind totp", shell_word(&name));
                    let next = context.command(&next);
                    format!("Made user {name}.\nNext: {next}\n")
                })?;
            }
            Self::Show(Name { user }) => {
                let api = context.transport().await?;
                let user: Record = api.get(&admin(&["users", &user])).await?;
                out.show(&user, describe)?;
            }
            Self::List(listing) => {
                let users = listing.fetch(&context.transport().await?).await?;
                out.show(&users, table)?;
            }
            Self::Set(set) => {
                let change = set.change();
                if serde_json::to_value(&change).is_ok_and(|change| change == json!({})) {
                    return Err(CliError::usage("nothing to change").remedy(
                        "name at least one of --group, --phone, --email, --birth-date, --class",
                    ));
                }
                patch(context, &set.user, &change).await?;
            }
            Self::Disable(Name { user }) => {
                let change = UserChange {
                    disabled: Some(true),
                    ..UserChange::default()
                };
                patch(context, &user, &change).await?;
            }
            Self::Enable(Name { user }) => {
                let change = UserChange {
                    disabled: Some(false),
                    ..UserChange::default()
                };
                patch(context, &user, &change).await?;
            }
            Self::Unlock(Name { user }) => {
                let api = context.transport().await?;
                api.order(Method::POST, &admin(&["users", &user, "unlock"]))
                    .await?;
                let shown: Record = api.get(&admin(&["users", &user])).await?;
                out.show(&shown, describe)?;
            }
            Self::Remove(Remove { user, yes }) => {
                input::confirm(&format!("Remove user {user} with all tokens?"), yes)?;
                let api = context.transport().await?;
                api.order(Method::DELETE, &admin(&["users", &user])).await?;
                let user = UserKey::parse(&user).map_or(user, |key| key.to_string());
                out.show(&json!({ "removed": user }), |_| {
                    format!("Removed user {}.\n", printable(&user))
                })?;
            }
        }
        Ok(Exit::Done)
    }
}

impl Add {
    fn body(self) -> UserCreate {
        UserCreate {
            user: self.user,
            realm: self.realm,
            groups: self.about.groups,
            phone: self.about.phone,
            email: self.about.email,
            birth_date: self.about.birth_date,
            class: self.about.class,
        }
    }
}

impl Set {
    fn change(&self) -> UserChange {
        let cleared = |value: &Option<String>| {
            value
                .as_ref()
                .map(|value| Some(value.clone()).filter(|value| !value.is_empty()))
        };
        let groups = self.about.groups.iter().filter(|group| !group.is_empty());
        UserChange {
            groups: (!self.about.groups.is_empty()).then(|| groups.cloned().collect()),
            phone: cleared(&self.about.phone),
            email: cleared(&self.about.email),
            birth_date: cleared(&self.about.birth_date),
            class: cleared(&self.about.class),
            disabled: None,
        }
    }
}

impl Listing {
    /// All pages up to the limit, as one.
    async fn fetch(self, api: &Transport) -> Result<Users, CliError> {
        let mut all = Users {
            users: Vec::new(),
            next: self.after,
        };
        let limit = self.limit.unwrap_or(usize::MAX);
        loop {
            let wanted = limit.saturating_sub(all.users.len()).min(PAGE).to_string();
            let query = [
                ("after", all.next.as_deref()),
                ("limit", Some(wanted.as_str())),
            ];
            let page: Users = api.get(&with_query(&admin(&["users"]), &query)).await?;
            all.users.extend(page.users);
            all.next = page.next;
            if all.next.is_none() || all.users.len() >= limit {
                return Ok(all);
            }
        }
    }
}

async fn patch(context: &Context, user: &str, change: &UserChange) -> Result<(), CliError> {
    let api = context.transport().await?;
    let path = admin(&["users", user]);
    let user: Record = api.call(Method::PATCH, &path, Some(change)).await?;
    context.out.show(&user, describe)
}

fn table(users: &Users) -> String {
    let mut table = Table::new(&["user", "groups", "class", "state"]);
    for user in &users.users {
        let state = if user.disabled { "disabled" } else { "enabled" };
        table.row([
            user.user.clone(),
            joined(&user.groups),
            or_dash(user.class.as_deref()),
            state.to_owned(),
        ]);
    }
    let mut text = table.or("No users. Make one with `oncegate user add NAME`.");
    if let Some(next) = &users.next {
        push!(text, "More: --after {}\n", printable(next));
    }
    text
}

fn describe(user: &Record) -> String {
    let mut table = Table::pairs();
    let state = if user.disabled {
        "disabled: always rejected"
    } else {
        "enabled"
    };
    table.pair("user", user.user.clone());
    table.pair("state", state.to_owned());
    table.pair("lock", user.lock.as_ref().map(lock));
    table.pair("groups", joined(&user.groups));
    table.pair("class", user.class.clone());
    table.pair("phone", user.phone.clone());
    table.pair("email", user.email.clone());
    table.pair("birth date", user.birth_date.clone());
    table.pair("created", local_time(&user.created));
    let mut text = table.text();
    if let Some(tokens) = &user.tokens {
        text.push('\n');
        let name = printable(&user.user);
        let empty = format!(
            "No tokens. Add one: oncegate token add {}",
            shell_word(&name)
        );
        text.push_str(&token::table(tokens).or(&empty));
    }
    text
}

/// A lock in words.
pub(super) fn lock(lock: &Lock) -> String {
    let failures = match lock.failures {
        0 => "no failures".to_owned(),
        1 => "1 failure".to_owned(),
        n => format!("{n} failures"),
    };
    match &lock.until {
        Some(until) => format!("{}, {failures}, until {}", lock.state, local_time(until)),
        None => format!("{}, {failures}", lock.state),
    }
}

/// Records asked for at a time: what the server gives at most.
pub(super) const PAGE: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_clears_with_an_empty_value_and_leaves_the_rest() {
        let set = Set {
            user: "alice".to_owned(),
            about: About {
                groups: vec![String::new()],
                phone: Some(String::new()),
                email: Some("a@example.org".to_owned()),
                birth_date: None,
                class: None,
            },
        };
        let change = serde_json::to_value(set.change()).unwrap();
        assert_eq!(
            change,
            json!({"groups": [], "phone": null, "email": "a@example.org"})
        );
    }

    #[test]
    fn locks_are_told_in_words() {
        let open = Lock {
            failures: 1,
            state: "open".to_owned(),
            until: None,
        };
        assert_eq!(lock(&open), "open, 1 failure");
    }
}
