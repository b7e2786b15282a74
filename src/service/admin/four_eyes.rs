//! The second person: one operator does not change alone where a user is reached and what the user
//! proves with (policy `[admin] four_eyes`).
//!
//! Threat: an operator who changes the telephone number or mail address of a user, and then the
//! password or a token, holds the account, and every later message goes to them. Administrators may:
//! they could read the store itself, and a site may have only one.
//!
//! What an operator did is on the user's record, under its revision: of two changes at the same time
//! one is refused. Users who were made within the same day are still being set up.

use crate::model::client::Access;
use crate::model::client::Scope;
use crate::model::user::OperatorAct;
use crate::model::user::Touched;
use crate::model::user::User;
use crate::service::Service;
use crate::service::admin::AdminError;
use crate::store::By;
use crate::store::Change;

impl Service {
    /// Notes on the record, which the caller writes, what an operator is about to change; refused when
    /// the same operator changed what completes it. Returns whether the record is another.
    pub(super) fn claim(
        &self,
        user: &mut User,
        touched: Touched,
        by: &By,
    ) -> Result<bool, AdminError> {
        let set_up = by.at < user.created.plus(User::ACTS_FOR);
        if set_up || !self.is_guarded(by) {
            return Ok(false);
        }
        if let Some(first) = user.completed_by(touched, &by.actor, by.at) {
            return Err(AdminError::SecondPerson {
                first: Box::new(first.clone()),
                then: touched,
            });
        }
        user.remember(OperatorAct {
            touched,
            actor: by.actor.clone(),
            at: by.at,
        });
        Ok(true)
    }

    /// The same, and writes the record.
    pub(super) async fn claim_now(
        &self,
        mut user: User,
        touched: Touched,
        by: &By,
    ) -> Result<(), AdminError> {
        if self.claim(&mut user, touched, by)? {
            let change = Change::UpdateUser(user);
            self.store.change(change, by.clone()).await?;
        }
        Ok(())
    }

    /// Whether it is an operator, and no administrator, who acts, where two persons are asked for.
    fn is_guarded(&self, by: &By) -> bool {
        let policies = self.policies();
        if !policies
            .resolve(None)
            .is_none_or(|policy| policy.admin.four_eyes)
        {
            return false;
        }
        let Some(name) = by.actor.strip_prefix("api:") else {
            return false;
        };
        let clients = self.clients.all();
        let client = clients.iter().find(|client| client.name == name);
        client.is_some_and(|client| match &client.access {
            Access::Api(api) => {
                api.scopes.contains(&Scope::Operator) && !api.scopes.contains(&Scope::Admin)
            }
            Access::Radius(_) => false,
        })
    }
}
