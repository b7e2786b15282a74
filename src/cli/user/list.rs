//! `oncegate user list` and `oncegate user search`.

use clap::Args;

use crate::api::{ListUsers, UserPage, Users};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::{Table, joined, or_dash, printable};
use crate::cli::paging::PAGE;
use crate::cli::token::shown::lock;
use crate::cli::transport::Transport;
use crate::cli::{output, paging};
use crate::diagnostic::did_you_mean;

#[derive(Debug, Args)]
pub(in crate::cli) struct Search {
    /// Text to search for, in any case
    text: String,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Listing {
    /// Only users of this realm
    #[arg(long)]
    realm: Option<String>,
    /// Only users in this group
    #[arg(long)]
    group: Option<String>,
    /// Only users without a token, or with only revoked and expired ones
    #[arg(long)]
    without_token: bool,
    /// Only users who are locked, or have a locked active token
    #[arg(long)]
    locked: bool,
    /// Only users with a token on its way (pending), disabled or with a suspended token (suspended), or with a bypass
    /// or exemption that holds (exempt)
    #[arg(long, value_parser = ["pending", "suspended", "exempt"])]
    state: Option<String>,
    /// At most this many [default: all]
    #[arg(long, value_name = "N", value_parser = paging::most)]
    limit: Option<usize>,
    /// Only users after this one (`next` of the previous page)
    #[arg(long, value_name = "USER")]
    after: Option<String>,
}

impl Search {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        if self.text.trim().is_empty() {
            return Err(
                CliError::usage("nothing to look for").remedy("all users: oncegate user list")
            );
        }
        self.listing.show(Some(&self.text), context).await
    }
}

impl Listing {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        self.show(None, context).await
    }

    async fn show(&self, text: Option<&str>, context: &Context) -> Result<(), CliError> {
        let api = context.transport().await?;
        let users = self.fetch(&api, text).await?;
        self.note_unknown_group(&api, &users).await;
        let none = match text {
            Some(_) => "No matching users.".to_owned(),
            None => self.none(),
        };
        context.out.show(&users, |users| table(users, &none))
    }

    /// What an empty list means.
    fn none(&self) -> String {
        let filters = self.realm.is_some()
            || self.group.is_some()
            || self.without_token
            || self.locked
            || self.state.is_some();
        match &self.after {
            Some(after) => format!("No matching users after {}.", printable(after)),
            None if filters => "No matching users.".to_owned(),
            None => "No users. Add one with `oncegate user add NAME`.".to_owned(),
        }
    }

    /// Says why a list is empty where no user is in the group that was asked for.
    async fn note_unknown_group(&self, api: &Transport, found: &Users) {
        let Some(group) = self.group.as_ref().filter(|_| found.users.is_empty()) else {
            return;
        };
        let page = |group: Option<&String>| UserPage {
            group: group.cloned(),
            limit: Some(PAGE),
            ..UserPage::default()
        };
        let members = api.find::<ListUsers>(&page(Some(group))).await;
        if !members.is_ok_and(|members| members.users.is_empty() && members.next.is_none()) {
            return;
        }
        // Of the first users: a suggestion is worth no more than one page.
        let some = api.find::<ListUsers>(&page(None)).await;
        let users = some.map_or_else(|_| Vec::new(), |some| some.users);
        let groups = users.iter().flat_map(|user| &user.groups);
        let close = did_you_mean(group, groups.map(String::as_str));
        let close = close.map(|close| format!("; did you mean `{}`?", printable(close)));
        output::warn(&format!(
            "note: no user is in group `{}`{}",
            printable(group),
            close.unwrap_or_default()
        ));
    }

    /// All pages up to the limit, as one.
    async fn fetch(&self, api: &Transport, text: Option<&str>) -> Result<Users, CliError> {
        let query = UserPage {
            after: self.after.clone(),
            limit: None,
            realm: self.realm.clone(),
            group: self.group.clone(),
            without_token: self.without_token.then_some(true),
            locked: self.locked.then_some(true),
            state: self.state.clone(),
            search: text.map(str::to_owned),
        };
        paging::all::<ListUsers>(api, query, self.limit).await
    }
}

fn table(users: &Users, none: &str) -> String {
    let mut table = Table::new(&["user", "groups", "class", "state"]);
    for user in &users.users {
        let mut state = if user.disabled { "disabled" } else { "enabled" }.to_owned();
        if let Some(found) = &user.lock {
            push!(state, ", {}", lock(found));
        }
        table.row([
            user.user.clone(),
            joined(&user.groups),
            or_dash(user.class.as_deref()),
            state,
        ]);
    }
    paging::with_rest(table.or(none), users.next.as_ref())
}
