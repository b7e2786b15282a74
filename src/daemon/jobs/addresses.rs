//! Forgets the failure counters of addresses. A failure of a day ago is no sign of guessing,
//! and what attackers leave behind must not grow without end.

use std::sync::Arc;
use std::time::Duration;

use crate::daemon::jobs::Job;
use crate::service::Service;

/// The job.
pub(super) fn job(service: Arc<Service>) -> Job {
    Job::new("forgetting of addresses", EVERY, EVERY, move |_| {
        let service = Arc::clone(&service);
        async move {
            let done = service.admin.forget_sources(AFTER).await;
            done.map_err(|error| format!("old failure counters of addresses stay: {error}"))?;
            Ok(None)
        }
    })
}

const EVERY: Duration = Duration::from_hours(1);
/// How long after its last failure an address is forgotten; longer than any usual lock.
const AFTER: Duration = Duration::from_hours(24);
