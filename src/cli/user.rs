//! `oncegate user`: people.

use clap::{Args, Subcommand};
use hyper::Method;
use serde::Serialize;
use serde_json::json;

use crate::api::{
    Clients, Lock, User as Record, UserChange, UserCreate, Users, VerifierInfo, Waiver, WaiverGrant,
};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::input::Ask;
use crate::cli::output::{Table, joined, local_time, or_dash, printable, shell_word};
use crate::cli::transport::{Transport, admin, next_page, with_query};
use crate::cli::{import, input, output, token};
use crate::diagnostic::{did_you_mean, units};
use crate::model::user_key::{DEFAULT_REALM, UserKey};
use crate::secret::SecretString;
use crate::time::{Clock as _, SystemClock};
use std::time::Duration;

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
    #[command(
        after_help = "Examples:\n  oncegate user list --group vpn --without-token\n  \
        oncegate user list --locked"
    )]
    List(Listing),
    /// Find users by a part of the name, the phone number, the mail address, or a token's serial
    #[command(
        after_help = "Examples:\n  oncegate user search kim\n  oncegate user search 010-1234\n  \
        oncegate user search YUBI-47 --group vpn"
    )]
    Search(Search),
    /// Change a user; what is not named stays, an empty value clears
    #[command(
        after_help = "Example:\n  oncegate user set alice --group vpn --group staff --phone ''"
    )]
    Set(Set),
    /// Make users from a CSV file, with their tokens where it has keys
    #[command(after_help = import::USERS_HELP)]
    Import(import::Import),
    /// Reject the user whatever they type
    Disable(Name),
    /// Let a disabled user in again
    Enable(Name),
    /// Forget failures and end a lock
    Unlock(Name),
    /// Remove a user with all tokens; what the audit says of them can still be read
    Remove(Remove),
    /// Remove a user and destroy the key of their personal data, in the audit, too; cannot be undone
    #[command(after_help = "Example:\n  oncegate user erase alice --yes\n\
        Display name, phone number, e-mail address and birth date can never be read again, here or in the \
        audit, whose chain stays intact. The login name stays on record. A user who was removed before is \
        erased by name. Backups made before keep the key: remove them.")]
    Erase(Remove),
    /// For at most 24 hours, do not ask for codes where a rule also asks for PIN or password
    #[command(
        after_help = "Examples:\n  oncegate user bypass alice --reason 'telephone lost' --for 4h\n  \
        oncegate user bypass alice --end"
    )]
    Bypass(Bypass),
    /// While the user has departed and asks from abroad, do not ask for what rules exempt
    #[command(
        after_help = "Examples:\n  oncegate user exempt alice --reason 'request 4711' --for 30d\n  \
        oncegate user exempt alice --end"
    )]
    Exempt(Bypass),
}

#[derive(Debug, Args)]
pub(super) struct Bypass {
    #[command(flatten)]
    who: Name,
    /// Why: it stands in every audit record while it holds
    #[arg(long, required_unless_present = "end")]
    reason: Option<String>,
    /// How long: 30m, 4h, 30d
    #[arg(long = "for", value_name = "DURATION", required_unless_present = "end",
          value_parser = units::duration)]
    length: Option<Duration>,
    /// End it now
    #[arg(long, conflicts_with_all = ["reason", "length"])]
    end: bool,
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
            )),
            _ => Ok(key.to_string()),
        }
    }
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
    #[command(flatten)]
    who: Name,
    #[command(flatten)]
    about: About,
}

/// What is known about a user.
#[derive(Debug, Args)]
pub(super) struct About {
    /// Group, for policy rules; repeat it for more
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// The name as people write it
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
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
    /// Language of messages
    #[arg(long, value_parser = ["en", "ko"])]
    language: Option<String>,
    /// Whether tokens may be enrolled without coming in person, where a policy asks for this consent
    #[arg(long, value_name = "BOOL")]
    remote_issue: Option<bool>,
    /// Read the password from stdin: a line of its own, before the PIN
    #[arg(long, conflicts_with = "password_hash_stdin")]
    password_stdin: bool,
    /// Read the PIN from stdin: a line of its own, after the password or its hash
    #[arg(long)]
    pin_stdin: bool,
    /// Read from stdin the password's hash in another system: a line of its own, before the PIN
    #[arg(long)]
    password_hash_stdin: bool,
    /// PIN and password must be changed before they open anything
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    must_change: Option<bool>,
}

/// What stands beside a record on the way to the server: secrets are never part of one.
#[derive(Serialize)]
struct WithSecrets<'a, T> {
    #[serde(flatten)]
    record: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_hash: Option<&'a str>,
}

/// What was read from stdin.
struct Secrets {
    password: Option<SecretString>,
    pin: Option<SecretString>,
    password_hash: Option<SecretString>,
}

impl About {
    fn secrets(&self) -> Result<Secrets, CliError> {
        let wanted = |wanted: bool, what| wanted.then_some(Ask::twice(what));
        let [password, password_hash, pin] = input::secrets([
            wanted(self.password_stdin, "password"),
            wanted(self.password_hash_stdin, "password's hash"),
            wanted(self.pin_stdin, "PIN"),
        ])?;
        Ok(Secrets {
            password,
            pin,
            password_hash,
        })
    }
}

impl Secrets {
    const fn is_empty(&self) -> bool {
        self.password.is_none() && self.pin.is_none() && self.password_hash.is_none()
    }

    fn beside<'a, T>(&'a self, record: &'a T) -> WithSecrets<'a, T> {
        WithSecrets {
            record,
            password: self.password.as_ref().map(SecretString::expose),
            pin: self.pin.as_ref().map(SecretString::expose),
            password_hash: self.password_hash.as_ref().map(SecretString::expose),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Search {
    /// What to look for: case does not matter
    text: String,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Args)]
pub(super) struct Listing {
    /// Only those in this group
    #[arg(long)]
    group: Option<String>,
    /// Only those who have no token, or only revoked and expired ones
    #[arg(long)]
    without_token: bool,
    /// Only those who are locked, or have an active token that is
    #[arg(long)]
    locked: bool,
    /// At most this many [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only those behind this user (`next` of the list before)
    #[arg(long, value_name = "USER")]
    after: Option<String>,
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
            Self::Add(add) => {
                // Before the store is opened: others wait while secrets are typed.
                let secrets = add.about.secrets()?;
                let api = context.transport().await?;
                let body = add.body();
                let user: Record = api.post(&admin(&["users"]), &secrets.beside(&body)).await?;
                note_new_realm(&api, &user, context).await;
                out.show(&user, |user| {
                    let name = printable(&user.user);
                    let next = format!("token add {} --kind totp", shell_word(&name));
                    let next = context.command(&next);
                    format!("Made user {name}.\nNext: {next}\n")
                })?;
            }
            Self::Show(who) => {
                let user = who.key()?;
                let api = context.transport().await?;
                let user: Record = api.get(&admin(&["users", &user])).await?;
                out.show(&user, describe)?;
            }
            Self::List(listing) => {
                let api = context.transport().await?;
                let users = listing.fetch(&api, None).await?;
                listing.note_unknown_group(&api, &users).await;
                let none = listing.none();
                out.show(&users, |users| table(users, &none))?;
            }
            Self::Search(Search { text, listing }) => {
                if text.trim().is_empty() {
                    return Err(CliError::usage("nothing to look for")
                        .remedy("all users: oncegate user list"));
                }
                let api = context.transport().await?;
                let users = listing.fetch(&api, Some(&text)).await?;
                listing.note_unknown_group(&api, &users).await;
                out.show(&users, |users| table(users, "No such users."))?;
            }
            Self::Import(import) => return import.run(import::Make::Users, context).await,
            Self::Set(set) => {
                let secrets = set.about.secrets()?;
                let change = set.change();
                let none = serde_json::to_value(&change).is_ok_and(|change| change == json!({}));
                if none && secrets.is_empty() {
                    return Err(CliError::usage("nothing to change").remedy(
                        "name at least one of --group, --display-name, --phone, --email, --birth-date, --class, \
                         --language, --remote-issue, --password-stdin, --pin-stdin, --must-change",
                    ));
                }
                patch(context, &set.who.key()?, &secrets.beside(&change)).await?;
            }
            Self::Disable(who) => {
                disable(context, &who.key()?, true).await?;
            }
            Self::Enable(who) => disable(context, &who.key()?, false).await?,
            Self::Unlock(who) => unlock(context, &who.key()?).await?,
            Self::Erase(erase) => erase.erase(context).await?,
            Self::Bypass(bypass) => bypass.run(context, "bypass").await?,
            Self::Exempt(exempt) => exempt.run(context, "exemption").await?,
            Self::Remove(Remove { who, yes }) => {
                let user = who.key()?;
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

impl Remove {
    async fn erase(self, context: &Context) -> Result<(), CliError> {
        let user = self.who.key()?;
        let question = format!(
            "Remove user {user} with all tokens, if there is one, and destroy the personal data of all who had \
             the name for good?"
        );
        input::vouch(&question, self.yes)?;
        let api = context.transport().await?;
        api.order(Method::POST, &admin(&["users", &user, "erase"]))
            .await?;
        let user = UserKey::parse(&user).map_or(user, |key| key.to_string());
        context.out.show(&json!({ "erased": user }), |_| {
            let user = printable(&user);
            format!("Erased the personal data of {user}. Backups made before still have them.\n")
        })
    }
}

impl Bypass {
    async fn run(self, context: &Context, what: &str) -> Result<(), CliError> {
        let api = context.transport().await?;
        let path = admin(&["users", &self.who.key()?, what]);
        let user: Record = match (self.reason, self.length) {
            (Some(reason), Some(length)) => {
                let grant = WaiverGrant {
                    reason,
                    from: None,
                    until: SystemClock.now().plus(length).rfc3339(),
                };
                let granted = api.call(Method::PUT, &path, Some(&grant)).await;
                granted.map_err(|error| error.option("until", "for"))?
            }
            _ => api.call(Method::DELETE, &path, None::<&()>).await?,
        };
        let granted = if what == "bypass" {
            &user.bypass
        } else {
            &user.exemption
        };
        let effect = granted.as_ref().and_then(|waiver| waiver.effect.as_deref());
        if effect.is_some_and(<[String]>::is_empty) {
            output::warn(&format!(
                "warning: this {what} has no effect under any client's policy today: no rule for this \
                 user leaves something out because of it"
            ));
        }
        context.out.show(&user, describe)
    }
}

impl Add {
    fn body(self) -> UserCreate {
        UserCreate {
            user: self.user,
            realm: self.realm,
            groups: self.about.groups,
            display_name: self.about.display_name,
            phone: self.about.phone,
            email: self.about.email,
            birth_date: self.about.birth_date,
            class: self.about.class,
            language: self.about.language,
            remote_issue: self.about.remote_issue,
            must_change: self.about.must_change,
            ..UserCreate::default()
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
            display_name: cleared(&self.about.display_name),
            phone: cleared(&self.about.phone),
            email: cleared(&self.about.email),
            birth_date: cleared(&self.about.birth_date),
            class: cleared(&self.about.class),
            language: self.about.language.clone(),
            remote_issue: self.about.remote_issue,
            must_change: self.about.must_change,
            ..UserChange::default()
        }
    }
}

impl Listing {
    /// What an empty list means.
    fn none(&self) -> String {
        let filters = self.group.is_some() || self.without_token || self.locked;
        match &self.after {
            Some(after) => format!("No such users behind {}.", printable(after)),
            None if filters || self.limit == Some(0) => "No such users.".to_owned(),
            None => "No users. Make one with `oncegate user add NAME`.".to_owned(),
        }
    }

    /// Says why a list is empty where no user is in the group that was asked for.
    async fn note_unknown_group(&self, api: &Transport, found: &Users) {
        let Some(group) = self.group.as_ref().filter(|_| found.users.is_empty()) else {
            return;
        };
        let wanted = PAGE.to_string();
        let query = |group| [("group", group), ("limit", Some(wanted.as_str()))];
        let path = |group| with_query(&admin(&["users"]), &query(group));
        let members: Result<Users, CliError> = api.get(&path(Some(group.as_str()))).await;
        if !members.is_ok_and(|members| members.users.is_empty() && members.next.is_none()) {
            return;
        }
        // Of the first users: a suggestion is worth no more than one page.
        let some: Result<Users, CliError> = api.get(&path(None)).await;
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
        let mut all = Users {
            users: Vec::new(),
            next: self.after.clone(),
            damaged: Vec::new(),
        };
        let limit = self.limit.unwrap_or(usize::MAX);
        loop {
            let wanted = limit.saturating_sub(all.users.len()).min(PAGE).to_string();
            let query = [
                ("group", self.group.as_deref()),
                ("without_token", self.without_token.then_some("true")),
                ("locked", self.locked.then_some("true")),
                ("search", text),
                ("after", all.next.as_deref()),
                ("limit", Some(wanted.as_str())),
            ];
            let page: Users = api.get(&with_query(&admin(&["users"]), &query)).await?;
            all.next = next_page(all.next.as_ref(), page.next, page.users.is_empty())?;
            all.users.extend(page.users);
            all.damaged = page.damaged;
            if all.next.is_none() || all.users.len() >= limit {
                output::damaged(&all.damaged);
                return Ok(all);
            }
        }
    }
}

/// Says that a user is the first one of a realm: it may be a slip of the fingers. Where there are more
/// users than one look covers, nothing is said.
async fn note_new_realm(api: &Transport, user: &Record, context: &Context) {
    let Ok(key) = UserKey::parse(&user.user) else {
        return;
    };
    let realm = key.realm();
    if realm == DEFAULT_REALM {
        return;
    }
    let text = format!("@{realm}");
    let wanted = PAGE.to_string();
    let query = [("search", Some(&*text)), ("limit", Some(&*wanted))];
    let found: Result<Users, CliError> = api.get(&with_query(&admin(&["users"]), &query)).await;
    let Ok(Users {
        users, next: None, ..
    }) = found
    else {
        return;
    };
    let of_realm = |name: &str| UserKey::parse(name).is_ok_and(|key| key.realm() == realm);
    if users.iter().filter(|user| of_realm(&user.user)).count() > 1 {
        return;
    }
    let query = [("limit", Some(&*wanted))];
    let clients: Result<Clients, CliError> =
        api.get(&with_query(&admin(&["clients"]), &query)).await;
    let has = |client: &crate::api::Client| client.realm.as_deref() == Some(realm);
    if clients.is_ok_and(|clients| !clients.clients.iter().any(has)) {
        context.out.note(&format!(
            "note: {} is the first user of the realm `{}`, which no client has either",
            printable(&user.user),
            printable(realm)
        ));
    }
}

async fn patch<T: Serialize + Sync>(
    context: &Context,
    user: &str,
    change: &T,
) -> Result<(), CliError> {
    let api = context.transport().await?;
    patch_over(&api, context, user, change).await
}

async fn patch_over<T: Serialize + Sync>(
    api: &Transport,
    context: &Context,
    user: &str,
    change: &T,
) -> Result<(), CliError> {
    let path = admin(&["users", user]);
    let _: Record = api.call(Method::PATCH, &path, Some(change)).await?;
    // With the lock and the tokens.
    let user: Record = api.get(&path).await?;
    context.out.show(&user, describe)
}

async fn disable(context: &Context, user: &str, disabled: bool) -> Result<(), CliError> {
    let api = context.transport().await?;
    let before: Record = api.get(&admin(&["users", user])).await?;
    if before.disabled == disabled {
        let state = if disabled { "disabled" } else { "enabled" };
        let user = printable(&before.user);
        context.out.note(&format!("{user} was {state} already."));
    }
    let change = UserChange {
        disabled: Some(disabled),
        ..UserChange::default()
    };
    patch_over(&api, context, user, &change).await
}

/// Ends a lock, and says what it was.
async fn unlock(context: &Context, user: &str) -> Result<(), CliError> {
    let api = context.transport().await?;
    let path = admin(&["users", user]);
    let before: Record = api.get(&path).await?;
    api.order(Method::POST, &admin(&["users", user, "unlock"]))
        .await?;
    let after: Record = api.get(&path).await?;
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
    let mut text = table.or(none);
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
    table.pair("name", user.display_name.clone());
    table.pair("state", state.to_owned());
    table.pair("lock", user.lock.as_ref().map(lock));
    table.pair("groups", joined(&user.groups));
    table.pair("class", user.class.clone());
    table.pair("phone", user.phone.clone());
    table.pair("email", user.email.clone());
    table.pair("language", user.language.clone());
    let remote = user.remote_issue.then(|| "consented".to_owned());
    table.pair("remote enrolment", remote);
    table.pair("birth date", user.birth_date.clone());
    let verifier = |info: &VerifierInfo| {
        let mut text = format!("set {}", local_time(&info.set));
        if let Some(form) = &info.imported {
            push!(text, ", imported ({form})");
        }
        if info.must_change {
            text.push_str(", must be changed");
        }
        text
    };
    table.pair("PIN", user.pin.as_ref().map(verifier));
    table.pair("password", user.password.as_ref().map(verifier));
    let waiver = |waiver: &Waiver| {
        let nowhere = waiver.effect.as_ref().is_some_and(Vec::is_empty);
        let holds = match waiver.holds {
            true if nowhere => "granted, without effect",
            true => "holds",
            false => "past",
        };
        let until = local_time(&waiver.until);
        format!(
            "{holds}, until {until}, by {}: {}",
            waiver.owner, waiver.reason
        )
    };
    let effect = |waiver: Option<&Waiver>| {
        let waiver = waiver.filter(|waiver| waiver.holds)?;
        waiver.effect.as_deref().map(output::effect)
    };
    table.pair("bypass", user.bypass.as_ref().map(waiver));
    table.pair("has effect", effect(user.bypass.as_ref()));
    table.pair("exemption", user.exemption.as_ref().map(waiver));
    table.pair("has effect", effect(user.exemption.as_ref()));
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
            who: Name {
                user: "alice".to_owned(),
                realm: None,
            },
            about: About {
                groups: vec![String::new()],
                display_name: None,
                phone: Some(String::new()),
                email: Some("a@example.org".to_owned()),
                birth_date: None,
                class: None,
                language: None,
                remote_issue: None,
                password_stdin: false,
                pin_stdin: false,
                password_hash_stdin: false,
                must_change: None,
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
