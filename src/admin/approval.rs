//! Approving token requests (capabilities A3), and lending the right to (capabilities C14).
//!
//! Invariants: no one approves their own request, in any name; a right that was lent ends by itself,
//! and is worth what its owner's is worth now. Who may approve at all is the front end's business.

use std::time::Duration;

use crate::admin::Admin;
use crate::admin::{AdminError, check_text, invalid, missing};
use crate::model::client::{Access, Scope};
use crate::model::enrolment::Delegation;
use crate::model::id::Serial;
use crate::model::token::{LifeCycle, Token};
use crate::model::user_key::{CONSOLE, UserKey};
use crate::store::{By, Change};
use crate::time::UnixTime;

/// A right to approve that is lent.
#[derive(Clone, Debug)]
pub struct Lend {
    /// Whose: `api:NAME`, `uid N`.
    pub from: String,
    /// To whom.
    pub to: String,
    /// Until when.
    pub until: UnixTime,
    /// Why.
    pub reason: String,
}

impl Admin {
    /// Approves a requested token, in the name of `on_behalf` when given.
    pub async fn approve_token(
        &self,
        serial: &Serial,
        on_behalf: Option<&str>,
        expected: Option<u64>,
        by: By,
    ) -> Result<Token, AdminError> {
        if let Some(owner) = on_behalf
            && !self.approves(owner)
        {
            return invalid(
                "on_behalf",
                "this approver has no right to approve (any more)",
            );
        }
        if on_behalf.is_none() && !self.approves(&by.actor) {
            return Err(AdminError::Forbidden(
                "this needs a key with the scope `approver` or `admin`, or a right that was lent: \
                 say whose (`on_behalf`)",
            ));
        }
        let (token, _) = self.token(serial)?;
        self.claim_token(&token.user, &by).await?;
        let change = Change::ApproveToken {
            serial: serial.clone(),
            by: by.actor.clone(),
            on_behalf: on_behalf.map(str::to_owned),
            expected: expected.unwrap_or(token.revision),
        };
        self.core.store.change(change, by).await?;
        let (token, _) = self.token(serial)?;
        self.requests.is_now(&token);
        Ok(token)
    }

    /// Ends what someone asked for before it was handed out.
    pub async fn deny_token(
        &self,
        serial: &Serial,
        reason: &str,
        expected: Option<u64>,
        by: By,
    ) -> Result<Token, AdminError> {
        check_text("reason", reason)?;
        let (mut token, _) = self.token(serial)?;
        if !matches!(
            token.state_at(by.at),
            LifeCycle::Requested | LifeCycle::Approved
        ) {
            return Err(AdminError::Conflict(
                "only a request that was not handed out is denied",
            ));
        }
        token.revision = expected.unwrap_or(token.revision);
        let reason = format!("denied: {reason}");
        let ended = self.moved(&token, LifeCycle::Revoked, Some(reason), by);
        let ended = ended.await?;
        self.requests.is_now(&ended);
        Ok(ended)
    }

    /// Lends a right to approve; lending it again changes the end.
    pub async fn lend_approval(&self, lend: Lend, by: By) -> Result<Delegation, AdminError> {
        self.check_owner(&lend.from, &by)?;
        check_text("reason", &lend.reason)?;
        if !self.approves(&lend.from) {
            return invalid(
                "from",
                "write api:NAME of a client with the scope approver or admin, or `uid N`",
            );
        }
        // Others could not ask for anything to be approved.
        if !self.has_scope(&lend.to, &[Scope::Approver, Scope::Operator, Scope::Admin]) {
            return invalid(
                "to",
                "write api:NAME of a client with the scope approver, operator or admin, or `uid N`",
            );
        }
        if lend.from == lend.to {
            return invalid("to", "no one lends a right to themselves");
        }
        if lend.until <= by.at || lend.until.since(by.at) > LONGEST {
            return invalid("until", "a right is lent for at most 366 days from now");
        }
        let delegation = Delegation {
            from: lend.from,
            to: lend.to,
            until: lend.until,
            reason: lend.reason,
        };
        let change = Change::Delegate(delegation.clone());
        self.core.store.change(change, by).await?;
        Ok(delegation)
    }

    /// Takes a lent right back.
    pub async fn take_back_approval(&self, from: &str, to: &str, by: By) -> Result<(), AdminError> {
        self.check_owner(from, &by)?;
        let change = Change::Undelegate(from.to_owned(), to.to_owned());
        let done = self.core.store.change(change, by).await;
        done.map_err(|error| missing(error, "delegation"))
    }

    fn check_owner(&self, owner: &str, by: &By) -> Result<(), AdminError> {
        if by.actor == owner || self.is_administrator(by) {
            return Ok(());
        }
        Err(AdminError::Forbidden(
            "only the scope `admin` lends another's right, or takes it back",
        ))
    }

    /// Whether the actor of this name in the audit may approve in their own name.
    fn approves(&self, actor: &str) -> bool {
        self.has_scope(actor, &[Scope::Approver, Scope::Admin])
    }

    /// Whether the actor of this name in the audit has one of these scopes. A local one, who is the
    /// daemon's own user, has all; a key bound to a realm has none (threats T28).
    pub(super) fn has_scope(&self, actor: &str, scopes: &[Scope]) -> bool {
        let Some(name) = actor.strip_prefix("api:") else {
            return is_local(actor) || self.person_has(actor, scopes);
        };
        self.client(name).is_ok_and(|client| match client.access {
            Access::Api(api) if client.realm.is_none() => {
                scopes.iter().any(|scope| api.scopes.contains(scope))
            }
            Access::Api(_) | Access::Radius(_) => false,
        })
    }
}

impl Admin {
    /// Whether a person of the console, `kim@console`, has one of these roles: they are the groups there.
    fn person_has(&self, actor: &str, scopes: &[Scope]) -> bool {
        let key = UserKey::parse(actor).ok();
        let key = key.filter(|key| key.realm() == CONSOLE && key.to_string() == actor);
        let user = key.and_then(|key| self.user(&key).ok());
        user.is_some_and(|user| {
            let has = |scope: &Scope| user.groups.iter().any(|group| group == scope.as_str());
            !user.disabled && scopes.iter().any(has)
        })
    }
}

/// `uid N`: someone on the daemon's machine.
fn is_local(actor: &str) -> bool {
    let number = actor.strip_prefix("uid ");
    number.is_some_and(|number| number.parse::<u32>().is_ok_and(|n| n.to_string() == number))
}

/// Longer than any holiday; who is away for longer has a successor.
const LONGEST: Duration = Duration::from_hours(24 * 366);
