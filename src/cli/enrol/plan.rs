//! Who gets a link, and why the others do not.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::api::{ListTokens, ListUsers, ShowUser, Token, TokenPage, User, UserPage};
use crate::cli::enrol::{By, Enrol};
use crate::cli::error::{CliError, Exit};
use crate::cli::output::printable;
use crate::cli::paging;
use crate::cli::transport::Transport;

/// A user who gets no link.
#[derive(Debug, Serialize)]
pub(super) struct Skipped {
    pub(super) user: String,
    pub(super) why: String,
}

impl Skipped {
    pub(super) fn new(user: &str, why: impl Into<String>) -> Self {
        Self {
            user: printable(user).into_owned(),
            why: why.into(),
        }
    }
}

/// Who gets a link.
pub(super) struct Plan {
    pub(super) wanted: Vec<User>,
    pub(super) skipped: Vec<Skipped>,
}

impl Plan {
    /// Asks the server for the users that are named, and for their tokens.
    pub(super) async fn make(enrol: &Enrol, api: &Transport) -> Result<Self, CliError> {
        let users = users(enrol, api).await?;
        if users.is_empty() {
            let none = match enrol.group.join("`, `") {
                groups if groups.is_empty() => "there are no users".to_owned(),
                groups => format!("no user is in `{}`", printable(&groups)),
            };
            let none = CliError::new(Exit::NotFound, none);
            return Err(none.remedy("see who there is: oncegate user list"));
        }
        let tokens = paging::all::<ListTokens>(api, TokenPage::default(), None).await?;
        let mut by_user: HashMap<&str, Vec<&Token>> = HashMap::new();
        for token in &tokens.tokens {
            by_user.entry(token.owner()).or_default().push(token);
        }
        let mut plan = Self {
            wanted: Vec::new(),
            skipped: Vec::new(),
        };
        for user in users {
            let own = by_user.get(user.user.as_str());
            match hindered(enrol, &user, own.map_or(&[], Vec::as_slice)) {
                Some(why) => plan.skipped.push(Skipped::new(&user.user, why)),
                None => plan.wanted.push(user),
            }
        }
        Ok(plan)
    }
}

/// The users that are named, each once, by name.
async fn users(enrol: &Enrol, api: &Transport) -> Result<Vec<User>, CliError> {
    let mut found = BTreeMap::new();
    for name in &enrol.users {
        let user = api.ask::<ShowUser>(name.as_str()).await?;
        found.insert(user.user.clone(), user);
    }
    let groups = enrol.group.iter().cloned().map(Some);
    for group in groups.chain(enrol.all.then_some(None)) {
        let query = UserPage {
            group,
            ..UserPage::default()
        };
        let page = paging::all::<ListUsers>(api, query, None).await?;
        found.extend(page.users.into_iter().map(|user| (user.user.clone(), user)));
    }
    Ok(found.into_values().collect())
}

/// Why this user gets no link.
fn hindered(enrol: &Enrol, user: &User, tokens: &[&Token]) -> Option<String> {
    if user.disabled {
        return Some("disabled".to_owned());
    }
    let missing = |address: &Option<String>| address.as_deref().is_none_or(str::is_empty);
    match enrol.by {
        By::Mail if missing(&user.email) => return Some("no mail address".to_owned()),
        By::Sms if missing(&user.phone) => return Some("no telephone number".to_owned()),
        _ => {}
    }
    let in_use = |token: &&&Token| {
        matches!(token.state.as_str(), "active" | "suspended") && token.kind != "recovery"
    };
    let used = tokens.iter().find(in_use).filter(|_| enrol.without_token);
    if let Some(token) = used {
        return Some(format!("has token {}", token.serial));
    }
    tokens.iter().filter(|_| !enrol.again).find_map(|token| {
        let until = token.link_until.as_deref().unwrap_or_default();
        match token.link.as_deref()? {
            "open" => Some(format!("has a link until {until}")),
            "used" => Some("has used a link; its first code is missing".to_owned()),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn enrol(words: &[&str]) -> Enrol {
        use clap::{Args as _, FromArgMatches as _};
        let command = Enrol::augment_args(clap::Command::new("enrol"));
        let words = [&["enrol"], words].concat();
        Enrol::from_arg_matches(&command.get_matches_from(words)).unwrap()
    }

    #[allow(clippy::needless_pass_by_value)] // as `json!` makes it
    fn user(more: serde_json::Value) -> User {
        let mut user = json!({
            "user": "alice@default", "name": "alice", "realm": "default",
            "groups": ["staff"], "email": "a@example.com", "disabled": false,
            "language": "en", "remote_issue": false, "revision": 1,
            "created": "2026-01-01T00:00:00Z",
            "lock": {"failures": 0, "state": "open", "until": null},
        });
        user.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(user).unwrap()
    }

    #[allow(clippy::needless_pass_by_value)] // as `json!` makes it
    fn token(more: serde_json::Value) -> Token {
        let mut token = json!({
            "serial": "TOTP-1", "user": "alice@default", "kind": "totp", "state": "active",
            "algorithm": "sha1", "digits": 6, "period": 30, "last_step": null, "drift": 0,
            "lock": {"failures": 0, "state": "open", "until": null}, "last_accept": null,
            "created": "2026-01-01T00:00:00Z", "revision": 1,
        });
        token
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(token).unwrap()
    }

    #[test]
    fn who_gets_no_link_is_told_why() {
        let why = |words: &[&str], about: serde_json::Value, tokens: &[Token]| {
            let tokens: Vec<&Token> = tokens.iter().collect();
            hindered(&enrol(words), &user(about), &tokens).unwrap_or_default()
        };
        let mail = ["--all", "--by", "mail"];
        assert_eq!(why(&mail, json!({}), &[token(json!({}))]), "");
        assert_eq!(why(&mail, json!({"disabled": true}), &[]), "disabled");
        assert_eq!(why(&mail, json!({"email": null}), &[]), "no mail address");
        let sms = ["--all", "--by", "sms"];
        assert_eq!(why(&sms, json!({}), &[]), "no telephone number");
        let without = ["--all", "--by", "mail", "--without-token"];
        assert_eq!(
            why(&without, json!({}), &[token(json!({}))]),
            "has token TOTP-1"
        );
        let sheet = token(json!({"kind": "recovery"}));
        assert_eq!(why(&without, json!({}), &[sheet]), "");
        let link = |state: &str| {
            token(json!({"state": "pending", "link": state, "link_until": "2026-02-01T00:00:00Z"}))
        };
        assert!(why(&mail, json!({}), &[link("open")]).contains("has a link until"));
        assert!(why(&mail, json!({}), &[link("used")]).contains("has used"));
        assert_eq!(why(&mail, json!({}), &[link("expired")]), "");
        let again = ["--all", "--by", "mail", "--again"];
        assert_eq!(why(&again, json!({}), &[link("open")]), "");
    }
}
