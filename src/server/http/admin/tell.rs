//! Failures about a record, told with its name, its state and what to do next.
//!
//! Only names in canonical form are repeated: whatever else was sent may be a secret in the wrong
//! place, or text that drives a terminal.

use crate::diagnostic::shell;
use crate::model::client::is_client_name;
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::reason::Reason;
use crate::model::token::LifeCycle;
use crate::model::token::Token;
use crate::model::user_key::UserKey;
use crate::server::http::admin::similar::Unknown;
use crate::server::http::error::Failure;
use crate::service::admin::AdminError;

pub(super) fn no_user(user: &UserKey) -> Failure {
    let name = user.to_string();
    let failure = Failure::NotFound(format!("there is no user {name}").into()).advise(format!(
        "compare with `oncegate user list`, or make it: oncegate user add {}",
        shell::word(&name)
    ));
    Failure::Unknown(Box::new(failure), Unknown::User(user.clone()))
}

pub(super) fn no_token(serial: &Serial) -> Failure {
    let failure = Failure::NotFound(format!("there is no token {serial}").into())
        .advise("compare with `oncegate token list`");
    Failure::Unknown(Box::new(failure), Unknown::Token(serial.clone()))
}

pub(super) fn no_client(name: &str) -> Failure {
    let detail = if is_client_name(name) {
        format!("there is no client {name}")
    } else {
        "there is no such client".to_owned()
    };
    let failure = Failure::NotFound(detail.into()).advise("compare with `oncegate client list`");
    Failure::Unknown(Box::new(failure), Unknown::Client(name.to_owned()))
}

/// A failed verb about this user.
pub(super) fn user(user: &UserKey, error: AdminError) -> Failure {
    match error {
        AdminError::NotFound(_) => no_user(user),
        other => other.into(),
    }
}

/// A failed verb about this token.
pub(super) fn token(serial: &Serial, error: AdminError) -> Failure {
    match error {
        AdminError::NotFound("token") => no_token(serial),
        other => other.into(),
    }
}

/// A failed verb about this client.
pub(crate) fn client(name: &str, error: AdminError) -> Failure {
    match error {
        AdminError::NotFound(_) => no_client(name),
        other => other.into(),
    }
}

/// A user that cannot be made.
pub(super) fn user_exists(user: &UserKey, error: AdminError) -> Failure {
    match error {
        AdminError::Conflict(_) => {
            let user = user.to_string();
            Failure::Conflict(format!("user {user} exists already").into()).advise(format!(
                "change it: oncegate user set {}",
                shell::word(&user)
            ))
        }
        other => other.into(),
    }
}

/// A token that cannot be made.
pub(super) fn token_exists(user: &UserKey, serial: Option<&Serial>, error: AdminError) -> Failure {
    match (error, serial) {
        (AdminError::NotFound(_), _) => no_user(user),
        (AdminError::Conflict(_), Some(serial)) => {
            Failure::Conflict(format!("token {serial} exists already").into())
                .advise("choose another serial, or leave it out to get a new one")
        }
        (other, _) => other.into(),
    }
}

/// A client that cannot be made: its name is taken, or one of its networks.
pub(super) fn client_exists(name: &str, taken: bool, error: AdminError) -> Failure {
    match error {
        AdminError::Conflict(_) if taken => {
            Failure::Conflict(format!("client {name} exists already").into()).advise(format!(
                "change it: oncegate client set {name}; a new secret: oncegate client rotate {name}"
            ))
        }
        AdminError::Conflict(why) => Failure::Conflict(format!("client {name}: {why}").into())
            .advise("see which one has it: oncegate client list"),
        other => other.into(),
    }
}

/// A token whose state does not allow what was asked.
pub(super) fn wrong_state(token: &Token, wanted: &str) -> Failure {
    let Token { serial, state, .. } = token;
    let next = match state {
        LifeCycle::Requested => format!(
            "approve it: oncegate token approve {serial}; or end it: oncegate token revoke {serial}"
        ),
        LifeCycle::Approved => format!(
            "hand it out: oncegate token offer {serial}; or end it: oncegate token revoke {serial}"
        ),
        LifeCycle::Expired => format!(
            "its time is over; make another: oncegate token add {}",
            shell::word(&token.user.to_string())
        ),
        LifeCycle::Pending => format!(
            "activate it by its first code: oncegate token confirm {serial}; \
             or end it: oncegate token revoke {serial}"
        ),
        LifeCycle::Active => format!(
            "pause it: oncegate token suspend {serial}; or end it: oncegate token revoke {serial}"
        ),
        LifeCycle::Suspended => format!(
            "use it again: oncegate token resume {serial}; \
             or end it: oncegate token revoke {serial}"
        ),
        LifeCycle::Revoked => format!(
            "revoked is final; make another: oncegate token add {}",
            shell::word(&token.user.to_string())
        ),
    };
    Failure::Conflict(format!("token {serial} is {state}; {wanted}").into()).advise(next)
}

/// A code that did not confirm a pending token.
pub(super) fn not_confirmed(token: &Token, reason: Reason) -> Failure {
    let next = match (reason, token.kind) {
        (Reason::WrongCode, Kind::Hotp) => {
            "press the token once more and type the code it shows then; if that is refused too, \
             the token holds another key or is far ahead: remove it and add it again"
        }
        (Reason::WrongCode, _) => {
            "see that the phone sets its clock by the network, then type the next code it shows; \
             if that is refused too, the phone holds another key: remove the token and add it again"
        }
        (other, _) => other.advice(),
    };
    refused(token, reason, next)
}

/// Two codes by which a token was not found again.
pub(super) fn not_found_again(token: &Token, reason: Reason) -> Failure {
    let next = match (reason, token.kind) {
        (Reason::WrongCode, Kind::Hotp) => {
            "press the token twice and give its next two codes in their order; if they are refused \
             too, it holds another key or is far ahead: remove it and add it again"
        }
        (Reason::WrongCode, _) => {
            "give two codes that follow each other, the one shown now and the next; see that the \
             phone sets its clock by the network; if they are refused too, it holds another key: \
             remove the token and add it again"
        }
        (other, _) => other.advice(),
    };
    refused(token, reason, next)
}

fn refused(token: &Token, reason: Reason, next: &str) -> Failure {
    Failure::Refused(format!(
        "token {} did not make that code ({reason})",
        token.serial
    ))
    .advise(next)
}
