//! What is counted and listed at the start, and follows what happens from then on: users who are locked, tokens that
//! wait for an approval.

use std::sync::Arc;

use crate::daemon::jobs::Done;
use crate::service::Service;

/// The work.
pub(super) async fn count(service: Arc<Service>) -> Done {
    let counted = service.core.count_locked().await;
    counted.map_err(|error| format!("the metric oncegate_users_locked begins at 0: {error}"))?;
    let found = service.admin.find_requests().await;
    found.map_err(|error| format!("the console lists requests slowly: {error}"))?;
    Ok(None)
}
