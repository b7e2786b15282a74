//! `oncegate user add` and `oncegate user set`: what is known about a user.

use clap::Args;
use serde_json::json;

use crate::api::{
    AddUser, ListClients, ListUsers, Page, SetUser, ShowUser, User as Record, UserChange,
    UserCreate, UserPage, Users,
};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::input;
use crate::cli::input::Ask;
use crate::cli::output::{printable, shell_word};
use crate::cli::paging::PAGE;
use crate::cli::transport::Transport;
use crate::cli::user::Name;
use crate::cli::user::describe::describe;
use crate::model::user_key::{DEFAULT_REALM, UserKey};
use crate::secret::SecretString;

#[derive(Debug, Args)]
pub(in crate::cli) struct Add {
    /// NAME, NAME@REALM or DOMAIN\NAME
    user: String,
    /// Realm, when the name does not say it
    #[arg(long)]
    realm: Option<String>,
    #[command(flatten)]
    about: About,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Set {
    #[command(flatten)]
    who: Name,
    /// Alias to take away; repeat it for more
    #[arg(long = "remove-alias", value_name = "NAME")]
    remove_aliases: Vec<String>,
    #[command(flatten)]
    about: About,
}

/// What is known about a user.
#[derive(Debug, Args)]
pub(in crate::cli) struct About {
    /// Another name that leads to this user; repeat it for more
    #[arg(long = "alias", value_name = "NAME")]
    aliases: Vec<String>,
    /// Group, for policy rules; repeat it for more
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Full name, for display
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
    /// Consent to remote enrolment of tokens, where a policy requires it
    #[arg(long, value_name = "BOOL")]
    remote_issue: Option<bool>,
    /// Read the password from stdin: a line of its own, before the PIN
    #[arg(long, conflicts_with = "password_hash_stdin")]
    password_stdin: bool,
    /// Read the PIN from stdin: a line of its own, after the password or its hash
    #[arg(long)]
    pin_stdin: bool,
    /// Read from stdin the password hash of another system: a line of its own, before the PIN
    #[arg(long)]
    password_hash_stdin: bool,
    /// PIN and password must be changed before they are accepted
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    must_change: Option<bool>,
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
}

impl Add {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        // Before the store is opened: others wait while secrets are typed.
        let secrets = self.about.secrets()?;
        let api = context.transport().await?;
        let user = api.send::<AddUser>((), &self.body(secrets)).await?;
        note_new_realm(&api, &user, context).await;
        context.out.show(&user, |user| {
            let name = printable(&user.user);
            let next = format!("token add {} --kind totp", shell_word(&name));
            let next = context.command(&next);
            format!("Added user {name}.\nNext: {next}\n")
        })
    }

    fn body(self, secrets: Secrets) -> UserCreate {
        UserCreate {
            user: self.user,
            realm: self.realm,
            aliases: self.about.aliases,
            groups: self.about.groups,
            display_name: self.about.display_name,
            phone: self.about.phone,
            email: self.about.email,
            birth_date: self.about.birth_date,
            class: self.about.class,
            language: self.about.language,
            remote_issue: self.about.remote_issue,
            must_change: self.about.must_change,
            password: secrets.password,
            pin: secrets.pin,
            password_hash: secrets.password_hash,
        }
    }
}

impl Set {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let secrets = self.about.secrets()?;
        let change = self.change();
        let none = serde_json::to_value(&change).is_ok_and(|change| change == json!({}));
        if none && secrets.is_empty() {
            return Err(CliError::usage("nothing to change").remedy(
                "name at least one of --alias, --remove-alias, --group, --display-name, --phone, --email, --birth-date, --class, \
                 --language, --remote-issue, --password-stdin, --pin-stdin, --must-change",
            ));
        }
        let api = context.transport().await?;
        let change = UserChange {
            password: secrets.password.map(Some),
            pin: secrets.pin.map(Some),
            password_hash: secrets.password_hash,
            ..change
        };
        patch(&api, context, &self.who.key()?, &change).await
    }

    fn change(&self) -> UserChange {
        let cleared = |value: &Option<String>| {
            value
                .as_ref()
                .map(|value| Some(value.clone()).filter(|value| !value.is_empty()))
        };
        let groups = self.about.groups.iter().filter(|group| !group.is_empty());
        UserChange {
            add_aliases: self.about.aliases.clone(),
            remove_aliases: self.remove_aliases.clone(),
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
    let page = UserPage {
        search: Some(format!("@{realm}")),
        limit: Some(PAGE),
        ..UserPage::default()
    };
    let found = api.find::<ListUsers>(&page).await;
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
    let page = Page {
        after: None,
        limit: Some(PAGE),
    };
    let clients = api.find::<ListClients>(&page).await;
    let has = |client: &crate::api::Client| client.realm.as_deref() == Some(realm);
    if clients.is_ok_and(|clients| !clients.clients.iter().any(has)) {
        context.out.note(&format!(
            "note: {} is the first user of the realm `{}`, which no client has either",
            printable(&user.user),
            printable(realm)
        ));
    }
}

/// Changes a user, and shows the user as it is then.
pub(super) async fn patch(
    api: &Transport,
    context: &Context,
    user: &str,
    change: &UserChange,
) -> Result<(), CliError> {
    let changed = api.send::<SetUser>(user, change).await?;
    // With the lock and the tokens; by the own name, for the one that was typed may be an alias no more.
    let user = api.ask::<ShowUser>(&changed.user).await?;
    context.out.show(&user, describe)
}

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
            remove_aliases: Vec::new(),
            about: About {
                aliases: Vec::new(),
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
}
