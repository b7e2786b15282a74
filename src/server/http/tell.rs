//! Failures about a record, told with its name, its state and what to do next.
//!
//! Only names in canonical form are repeated: what else was sent may be a secret in the wrong place, or
//! text that drives a terminal. Only who administers is told names, and what was probably meant by one: an
//! application or a stranger never gets a name that it did not send, and no one that of a user whom they do not see
//! ([`Caller::sees`]). Of a name in the console the same is said to them whether or not there is someone of it.

use ipnet::IpNet;

use crate::admin::{AdminError, Goal};
use crate::diagnostic::shell;
use crate::model::client::{Access, is_client_name};
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::reason::Reason;
use crate::model::token::{LifeCycle, Token};
use crate::model::user_key::UserKey;
use crate::server::http::App;
use crate::server::http::caller::Caller;
use crate::server::http::error::Failure;
use crate::store::{ADMINISTRATORS_ONLY, ALIAS_TAKEN, By, COUNTS_TWICE, NAME_IS_ALIAS};

/// There is no such user whom the caller sees. Where another realm has one of this name, adding is the wrong advice.
pub(crate) fn no_user(app: &App, caller: &Caller, user: &UserKey) -> Failure {
    if !caller.sees(user) {
        let next = "the people of the realm `console` are seen by administrators and auditors only; ask one of them";
        // Not even the name: an alias that was sent is another one here.
        return Failure::not_found("there is no such user").advise(next);
    }
    if let Ok(Some(owner)) = app.core().store().of_alias(user) {
        let owner = owner.to_string();
        let word = shell::word(&owner);
        let detail = format!("there is no user {user}: it is an alias of {owner}");
        return Failure::not_found(detail).advise(format!(
            "name the user by the own name, {word}, or take the alias away: oncegate user set {word} \
             --remove-alias {}",
            shell::word(&user.to_string())
        ));
    }
    let others = app.core().store().namesakes(user);
    let mut others = others.unwrap_or_default();
    others.retain(|other| caller.sees(other));
    let name = user.to_string();
    let missing = Failure::not_found(format!("there is no user {name}"));
    if let Some(other) = others.first() {
        let all: Vec<String> = others.iter().map(ToString::to_string).collect();
        return missing.advise(format!(
            "the name exists in another realm: {}; see it: oncegate user show {}",
            all.join(", "),
            shell::word(&other.to_string())
        ));
    }
    // A suggestion is not worth another failure.
    let admin = app.admin();
    let close = admin.similar_user(user, |other| caller.sees(other));
    let close = close.ok().flatten();
    let close = close.map(|close| shell::word(&close.to_string()).into_owned());
    missing.advise(meant(
        close,
        &format!(
            "compare with `oncegate user list`, or make it: oncegate user add {}",
            shell::word(&name)
        ),
    ))
}

/// There is no such token that the caller sees.
pub(crate) fn no_token(app: &App, caller: &Caller, serial: &Serial) -> Failure {
    let admin = app.admin();
    let close = admin.similar_serial(serial, |owner| caller.sees(owner));
    let close = close.ok().flatten();
    let close = close.map(|close| close.to_string());
    Failure::not_found(format!("there is no token {serial}"))
        .advise(meant(close, "compare with `oncegate token list`"))
}

/// Refuses a caller to whom this user is not theirs to change, whether or not there is one.
pub(crate) fn may_change(by: &By, user: &UserKey) -> Result<(), Failure> {
    if by.may_change(user) {
        Ok(())
    } else {
        Err(Failure::conflict(ADMINISTRATORS_ONLY))
    }
}

/// There is no such client.
pub(crate) fn no_client(app: &App, name: &str) -> Failure {
    let detail = if is_client_name(name) {
        format!("there is no client {name}")
    } else {
        "there is no such client".to_owned()
    };
    let close = app.admin().similar_client(name);
    Failure::not_found(detail).advise(meant(close, "compare with `oncegate client list`"))
}

/// What was probably meant by a name that is on no record, and what else can be done.
fn meant(close: Option<String>, otherwise: &str) -> String {
    match close {
        Some(close) => format!("did you mean {close}? Or {otherwise}"),
        None => otherwise.to_owned(),
    }
}

/// A failed verb about this user.
pub(crate) fn user(app: &App, caller: &Caller, user: &UserKey, error: AdminError) -> Failure {
    match error {
        AdminError::NotFound(_) => no_user(app, caller, user),
        other => other.into(),
    }
}

/// A failed verb about this client.
pub(crate) fn client(app: &App, name: &str, error: AdminError) -> Failure {
    match error {
        AdminError::NotFound(_) => no_client(app, name),
        other => other.into(),
    }
}

/// A user that cannot be made.
pub(crate) fn user_exists(
    app: &App,
    user: &UserKey,
    aliases: &[String],
    error: AdminError,
) -> Failure {
    match error {
        AdminError::Conflict(why) if why == NAME_IS_ALIAS => {
            let owner = app.core().store().of_alias(user).ok().flatten();
            let owner = owner.map_or_else(|| "another user".to_owned(), |one| one.to_string());
            Failure::conflict(format!("{user} is an alias of {owner}")).advise(format!(
                "choose another name, or take the alias away: oncegate user set {} --remove-alias {}",
                shell::word(&owner),
                shell::word(&user.to_string())
            ))
        }
        AdminError::Conflict(why) if why == ALIAS_TAKEN => {
            alias_taken(app, user, aliases, AdminError::Conflict(why))
        }
        AdminError::Conflict(why) if why == ADMINISTRATORS_ONLY => AdminError::Conflict(why).into(),
        AdminError::Conflict(_) => {
            let user = user.to_string();
            Failure::conflict(format!("user {user} exists already")).advise(format!(
                "change it: oncegate user set {}",
                shell::word(&user)
            ))
        }
        other => other.into(),
    }
}

/// A user who cannot have one of these aliases: which, and who has it.
pub(crate) fn alias_taken(
    app: &App,
    user: &UserKey,
    aliases: &[String],
    error: AdminError,
) -> Failure {
    match error {
        AdminError::Conflict(why) if why == ALIAS_TAKEN => {}
        other => return other.into(),
    }
    let store = app.core().store();
    let names = aliases.iter();
    let mut names = names.filter_map(|text| UserKey::parse_in(text, user.realm()).ok());
    let taken = names.find_map(|name| {
        let owner = store.of_alias(&name).ok().flatten();
        let owner = owner.filter(|owner| owner != user);
        let own = || store.view(&name).ok().flatten().map(|_| name.clone());
        owner.or_else(own).map(|owner| (name, owner))
    });
    let Some((name, owner)) = taken else {
        return Failure::conflict(ALIAS_TAKEN);
    };
    let (what, next) = if name == owner {
        let what = format!("alias {name}: there is a user of this name");
        (
            what,
            "a name leads to one user: choose another alias".to_owned(),
        )
    } else {
        let next = format!(
            "choose another, or take it away there: oncegate user set {} --remove-alias {}",
            shell::word(&owner.to_string()),
            shell::word(&name.to_string())
        );
        (format!("alias {name}: it is an alias of {owner}"), next)
    };
    Failure::conflict(what).advise(next)
}

/// A token that cannot be made.
pub(crate) fn token_exists(
    app: &App,
    caller: &Caller,
    (user, serial): (&UserKey, Option<&Serial>),
    error: AdminError,
) -> Failure {
    match (error, serial) {
        (AdminError::NotFound(_), _) => no_user(app, caller, user),
        (AdminError::Conflict(_), Some(serial))
            if app
                .core()
                .store()
                .token(serial)
                .is_ok_and(|found| found.is_some()) =>
        {
            Failure::conflict(format!("token {serial} exists already"))
                .advise("choose another serial, or leave it out to get a new one")
        }
        (other, _) => other.into(),
    }
}

/// A client that cannot be made: its name is taken, or one of its networks.
pub(crate) fn client_exists(name: &str, taken: bool, error: AdminError) -> Failure {
    match error {
        AdminError::Conflict(_) if taken => {
            Failure::conflict(format!("client {name} exists already")).advise(format!(
                "change it: oncegate client set {name}; a new secret: oncegate client rotate {name}"
            ))
        }
        AdminError::Conflict(why) => Failure::conflict(format!("client {name}: {why}"))
            .advise("see which one has it: oncegate client list"),
        other => other.into(),
    }
}

/// The client that has one of these networks already.
pub(crate) fn address_taken(app: &App, name: &str, wanted: &[IpNet]) -> Option<Failure> {
    let all = app.core().clients().all();
    let found = all.iter().find_map(|client| match &client.access {
        Access::Radius(radius) if client.name != name => {
            let is_wanted = |one: &&IpNet| wanted.iter().any(|wanted| wanted.trunc() == **one);
            let network = radius.addresses.iter().find(is_wanted)?;
            Some((client.name.as_str(), network))
        }
        _ => None,
    });
    let (other, network) = found?;
    let detail = format!("client {name}: the client {other} has the address {network} already");
    Some(Failure::conflict(detail).advise(format!(
        "give another one, change that one: oncegate client set {other} --address CIDR, or remove it: \
         oncegate client remove {other}"
    )))
}

/// A token whose state does not allow what was asked. The advice leads to where the caller was going:
/// who wants to use a token is not told to end it.
pub(crate) fn wrong_state(token: &Token, state: LifeCycle, goal: Goal, wanted: &str) -> Failure {
    let serial = &token.serial;
    let next = match (state, goal) {
        (LifeCycle::Revoked | LifeCycle::Expired, _) => {
            let user = token.user.to_string();
            let (user, kind) = (shell::word(&user), token.kind);
            format!("that is final; make another: oncegate token add {user} --kind {kind}")
        }
        (LifeCycle::Active, Goal::Renew) if token.expires.is_some() => {
            format!(
                "an administrator renews it all the same: oncegate token renew {serial} --force"
            )
        }
        (LifeCycle::Requested, Goal::Use | Goal::Renew) => {
            format!("approve it: oncegate token approve {serial}")
        }
        (LifeCycle::Approved, Goal::Use | Goal::Renew) => {
            format!("hand it out: oncegate token offer {serial}")
        }
        (LifeCycle::Pending, Goal::Use | Goal::Renew) => {
            format!("activate it by its first code: oncegate token confirm {serial}")
        }
        (LifeCycle::Unassigned, _) => {
            format!("it is in stock: give it to a user: oncegate token assign {serial} USER")
        }
        (LifeCycle::Suspended, Goal::Use | Goal::Renew) => {
            format!("use it again: oncegate token resume {serial}")
        }
        (LifeCycle::Active, Goal::Use | Goal::Renew) => {
            format!("it is in use, and needs nothing more; see it: oncegate token show {serial}")
        }
        (LifeCycle::Suspended, Goal::End) => format!(
            "its codes are refused already; use it again: oncegate token resume {serial}; end it for \
             good: oncegate token revoke {serial}"
        ),
        (LifeCycle::Requested, Goal::End) => {
            format!("nothing can log in with it yet; end it: oncegate token deny {serial}")
        }
        (LifeCycle::Pending, Goal::End) => {
            format!(
                "it waits for its first right code (`oncegate token confirm {serial}` tries one); end it: oncegate \
             token revoke {serial}"
            )
        }
        (_, Goal::End) => {
            format!("nothing can log in with it yet; end it: oncegate token revoke {serial}")
        }
    };
    Failure::conflict(format!("token {serial} is {state}; {wanted}")).advise(next)
}

/// A token that stays where it is while it counts for others: for whom, of those who are the caller's to change, and
/// how that ends.
pub(crate) fn token_shared(app: &App, by: &By, serial: &Serial) -> Failure {
    let sharers = app.core().store().sharers(serial).unwrap_or_default();
    let sharers = sharers.iter().filter(|user| by.may_change(user));
    let sharers: Vec<String> = sharers.map(ToString::to_string).collect();
    let Some(first) = sharers.first() else {
        return AdminError::Conflict(COUNTS_TWICE).into();
    };
    let all = sharers.join(", ");
    Failure::conflict(format!("token {serial} counts for {all}, too")).advise(format!(
        "end that first: oncegate token unlink {serial} {}",
        shell::word(first)
    ))
}

/// A user who cannot be removed: others would lose a token with them.
pub(crate) fn user_shares(app: &App, by: &By, user: &UserKey, error: AdminError) -> Failure {
    let AdminError::Conflict(COUNTS_TWICE) = error else {
        return error.into();
    };
    let store = app.core().store();
    let view = store.view(user).ok().flatten();
    let mut own = view
        .iter()
        .flat_map(|view| &view.tokens)
        .filter(|(token, _)| {
            let ended = matches!(token.state, LifeCycle::Revoked | LifeCycle::Expired);
            token.user == *user && !ended
        });
    let shared = own.find(|(token, _)| {
        let sharers = store.sharers(&token.serial);
        sharers.is_ok_and(|sharers| !sharers.is_empty())
    });
    match shared {
        Some((token, _)) => token_shared(app, by, &token.serial),
        None => error.into(),
    }
}

/// A token that a repair of the store closed, with the way out.
pub(crate) fn closed_by_repair(token: &Token, what: String) -> Failure {
    let serial = &token.serial;
    let then = match token.state {
        LifeCycle::Suspended => "resume",
        _ => "confirm",
    };
    Failure::conflict(what).advise(format!(
        "resync it first: oncegate token resync {serial}; then: oncegate token {then} {serial}"
    ))
}

/// A code that did not confirm a pending token.
pub(crate) fn not_confirmed(token: &Token, reason: Reason) -> Failure {
    let next = match (reason, token.kind) {
        (Reason::WrongCode, Kind::Hotp) => {
            "press the token once more and type the code it shows then; if codes go on being wrong, \
             it holds another key or is far ahead: remove it and add it again"
        }
        (Reason::WrongCode, Kind::Totp) => {
            "see that the phone sets its clock by the network, then type the next code it shows; \
             if codes go on being wrong, the phone holds another key: remove the token and add it \
             again"
        }
        (Reason::WrongCode, Kind::Yubikey) => YUBIKEY,
        (Reason::WrongCode, Kind::Card) => {
            "type what the cells asked for say: `oncegate token offer` shows which they are"
        }
        (Reason::WrongCode, _) => "type the newest code that was sent or printed for this token",
        (other, _) => other.advice(),
    };
    refused(token, reason, next)
}

/// What to do when no OTP of a yubikey is right.
const YUBIKEY: &str = "touch the key once more; if its OTPs go on being wrong, the slot has another AES key, private id \
     or public id: compare them, remove the token and add it again";

/// Two codes by which a token was not found again.
pub(crate) fn not_found_again(token: &Token, reason: Reason) -> Failure {
    let next = match (reason, token.kind) {
        (Reason::WrongCode, Kind::Hotp) => {
            "press the token twice and give its next two codes in their order; if codes go on being \
             wrong, it holds another key or is far ahead: remove it and add it again"
        }
        (Reason::WrongCode, Kind::Yubikey) => {
            "touch the key twice and give both OTPs in their order, on two lines; if they go on being wrong, its \
             slot was programmed anew: remove the token and add it again"
        }
        (Reason::WrongCode, _) => {
            "give two codes that follow each other, the one shown now and the next; see that the \
             phone sets its clock by the network; if codes go on being wrong, it holds another key: \
             remove the token and add it again"
        }
        (other, _) => other.advice(),
    };
    refused(token, reason, next)
}

fn refused(token: &Token, reason: Reason, next: &str) -> Failure {
    let serial = &token.serial;
    let (what, next) = match reason {
        Reason::Locked => {
            let user = token.user.to_string();
            let next = format!(
                "end the lock, then try again: oncegate user unlock {}",
                shell::word(&user)
            );
            ("what was typed for it was not looked at", next)
        }
        Reason::Throttled | Reason::SourceBlocked => (
            "what was typed for it was not looked at",
            "wait some seconds after a failure, then try again; it says nothing about the token"
                .to_owned(),
        ),
        Reason::UserDisabled => {
            let user = token.user.to_string();
            let next = format!(
                "enable the user, then try again: oncegate user enable {}",
                shell::word(&user)
            );
            ("what was typed for it was not looked at", next)
        }
        Reason::UsedCode => ("that code was used before", next.to_owned()),
        _ => ("it did not make that code", next.to_owned()),
    };
    Failure::refused(format!("token {serial}: {what} ({reason})")).advise(next)
}
