//! Outage mode (capabilities A11): declared for a time, with a reason; it ends by itself.

use std::time::Duration;

use crate::admin::Admin;
use crate::admin::{AdminError, check_text, invalid, missing};
use crate::model::user::Waiver;
use crate::store::{By, Change};

impl Admin {
    /// Declares that codes cannot be had at present: until it ends, what policies name under `outage`
    /// is accepted as well. A new declaration replaces the one before.
    pub async fn declare_outage(
        &self,
        length: Duration,
        reason: &str,
        by: By,
    ) -> Result<Waiver, AdminError> {
        check_text("reason", reason)?;
        if !(SHORTEST..=LONGEST).contains(&length) {
            return invalid("for", "an outage is declared for 1 minute to 24 hours");
        }
        let outage = Waiver {
            reason: reason.to_owned(),
            owner: by.shown(),
            from: by.at,
            until: by.at.plus(length),
        };
        let change = Change::SetOutage(Some(outage.clone()));
        self.core.store.change(change, by).await?;
        Ok(outage)
    }

    /// Ends it before its time.
    pub async fn end_outage(&self, by: By) -> Result<(), AdminError> {
        let ended = self.core.store.change(Change::SetOutage(None), by).await;
        ended.map_err(|error| missing(error, "outage"))
    }

    /// The outage that was declared last, whether or not it has ended by itself.
    pub fn outage(&self) -> Result<Option<Waiver>, AdminError> {
        Ok(self.core.store.outage()?)
    }
}

const SHORTEST: Duration = Duration::from_mins(1);
/// Anyone who needs it for longer looks again: a policy that is relaxed for weeks is another policy.
const LONGEST: Duration = Duration::from_hours(24);
