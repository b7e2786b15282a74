//! Puts on record which tokens have expired. They are good for nothing from their time on; lists and
//! notifications go by the record.

use std::sync::Arc;
use std::time::Duration;

use crate::daemon::jobs::Job;
use crate::service::Service;

/// The job.
pub(super) fn job(service: Arc<Service>) -> Job {
    Job::new("expiry of tokens", Duration::ZERO, EVERY, move |_| {
        let service = Arc::clone(&service);
        async move {
            let done = service.admin.expire_tokens().await;
            done.map_err(|error| format!("expired tokens are not on record: {error}"))?;
            Ok(None)
        }
    })
}

const EVERY: Duration = Duration::from_hours(1);
