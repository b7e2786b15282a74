//! Removes sessions from the list that no NAS has reported for `radius.accounting_keep`.

use std::sync::Arc;
use std::time::Duration;

use crate::daemon::jobs::Job;
use crate::service::Service;

/// The job.
pub(super) fn job(service: Arc<Service>, keep: Duration) -> Job {
    Job::new("forgetting of sessions", Duration::ZERO, EVERY, move |_| {
        let service = Arc::clone(&service);
        async move {
            let done = service.login.forget_sessions(keep).await;
            done.map_err(|error| format!("old sessions stay listed: {error}"))?;
            Ok(None)
        }
    })
}

const EVERY: Duration = Duration::from_hours(1);
