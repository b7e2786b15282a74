//! Counts the users who are locked at the start; from then on the metric follows the decisions.

use std::sync::Arc;

use crate::daemon::jobs::Done;
use crate::service::Service;

/// The work.
pub(super) async fn count(service: Arc<Service>) -> Done {
    let counted = service.core.count_locked().await;
    counted.map_err(|error| format!("the metric oncegate_users_locked begins at 0: {error}"))?;
    Ok(None)
}
