//! `oncegate admin`: the people of the console and their roles.
//!
//! They are users of the realm `console`, whose groups are their roles; these commands are those of users, for who
//! does not know that.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::api::call::NoQuery;
use crate::api::{ListUsers, SetUser, ShowUser, User, UserChange, UserPage};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Table, joined, local_time, printable};
use crate::cli::transport::Transport;
use crate::cli::{input, output};
use crate::model::user_key::{CONSOLE, UserKey};

/// List the people of the console, and grant or revoke their roles
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Someone new gets an account by a link: oncegate console-link --for NAME --role ROLE"
)]
pub(super) enum Admin {
    /// List the people of the console
    List,
    /// Grant a role to someone who has an account
    #[command(after_help = "Example:\n  oncegate admin grant kim approver")]
    Grant(Grant),
    /// Revoke a role, or all of them
    #[command(
        after_help = "Examples:\n  oncegate admin revoke kim operator\n  oncegate admin revoke kim\n\
        The person's sessions end with it. The account stays: oncegate user remove kim@console"
    )]
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Grant {
    /// The person, as they sign in
    #[arg(value_name = "NAME")]
    name: String,
    /// What they may do
    #[arg(value_parser = ROLES)]
    role: String,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// The person, as they sign in
    #[arg(value_name = "NAME")]
    name: String,
    /// What they may not do any more [default: all roles]
    #[arg(value_parser = ROLES)]
    role: Option<String>,
    /// Do not ask for confirmation at a terminal
    #[arg(long, short)]
    yes: bool,
}

/// A person of the console.
#[derive(Serialize)]
struct Person {
    name: String,
    roles: Vec<String>,
    disabled: bool,
    created: String,
}

impl Person {
    fn of(user: User) -> Self {
        let is_role = |group: &String| ROLES.contains(&group.as_str());
        Self {
            name: user.name,
            roles: user.groups.into_iter().filter(is_role).collect(),
            disabled: user.disabled,
            created: user.created,
        }
    }
}

impl Admin {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = context.transport().await?;
        match self {
            Self::List => {
                let people = people(&api).await?;
                let document = serde_json::json!({ "people": people });
                context.out.show(&document, |_| table(&people))?;
            }
            Self::Grant(Grant { name, role }) => {
                let changed = change(&api, &name, |groups| {
                    if !groups.contains(&role) {
                        groups.push(role.clone());
                    }
                });
                context.out.show(&changed.await?, shown)?;
            }
            Self::Revoke(Revoke { name, role, yes }) => {
                let what = role.as_deref().unwrap_or("every role");
                input::confirm(&format!("Revoke {what} of {name}?"), yes)?;
                let gone = |group: &String| match &role {
                    Some(role) => group == role,
                    None => ROLES.contains(&group.as_str()),
                };
                let changed = change(&api, &name, |groups| groups.retain(|one| !gone(one))).await?;
                let is_admin =
                    |one: &Person| !one.disabled && one.roles.iter().any(|one| one == "admin");
                if !people(&api).await?.iter().any(is_admin) {
                    output::warn(
                        "warning: no one is an administrator of the console any more; a link makes one: \
                         oncegate console-link",
                    );
                }
                context.out.show(&changed, shown)?;
            }
        }
        Ok(Exit::Done)
    }
}

/// All of them.
async fn people(api: &Transport) -> Result<Vec<Person>, CliError> {
    // Behind all names of the realms before it.
    let mut after = Some(format!("!@{CONSOLE}"));
    let mut people = Vec::new();
    while after.is_some() {
        let query = UserPage {
            after,
            limit: Some(PAGE),
            ..UserPage::default()
        };
        let page = api.find::<ListUsers>(&query).await?;
        // In order of realm: the first of another one is behind them.
        let over = page.users.last().is_none_or(|last| last.realm != CONSOLE);
        let of_console = page.users.into_iter();
        let of_console = of_console.filter(|user| user.realm == CONSOLE);
        people.extend(of_console.map(Person::of));
        after = page.next.filter(|_| !over);
    }
    Ok(people)
}

async fn change(
    api: &Transport,
    name: &str,
    act: impl FnOnce(&mut Vec<String>),
) -> Result<Person, CliError> {
    let key = UserKey::parse_in(name, CONSOLE).ok();
    let key = key.filter(|key| key.realm() == CONSOLE);
    let key = key.ok_or_else(|| {
        CliError::usage("a person of the console has a plain name, as kim")
            .remedy("write the name without a realm; `oncegate admin list` shows who there is")
    })?;
    let user = key.to_string();
    let found = api.call::<ShowUser>(&user, &NoQuery {}, &()).await;
    let found = found.map_err(|error| {
        if error.exit == Exit::NotFound {
            let name = key.name();
            error.remedy(format!(
                "make them an account: oncegate console-link --for {name} --role ROLE"
            ))
        } else {
            error
        }
    })?;
    let mut groups = found.groups;
    act(&mut groups);
    let change = UserChange {
        groups: Some(groups),
        ..UserChange::default()
    };
    api.send::<SetUser>(&user, &change).await.map(Person::of)
}

fn table(people: &[Person]) -> String {
    let mut table = Table::new(&["name", "roles", "since", "state"]);
    for person in people {
        table.row([
            person.name.clone(),
            joined(&person.roles),
            local_time(&person.created),
            if person.disabled { "disabled" } else { "" }.to_owned(),
        ]);
    }
    table.or("No one has an account of the console. Make a link: oncegate console-link")
}

fn shown(person: &Person) -> String {
    let name = printable(&person.name);
    if person.roles.is_empty() {
        return format!("{name} has no role any more, and cannot sign in to the console.\n");
    }
    format!("{name}: {}\n", joined(&person.roles))
}

/// What people of the console can be.
const ROLES: [&str; 4] = ["admin", "operator", "approver", "auditor"];
/// People that are read at a time.
const PAGE: usize = 500;
