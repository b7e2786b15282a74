//! Puts refused enrolments on record that were only counted.

use std::sync::Arc;
use std::time::Duration;

use crate::daemon::jobs::Job;
use crate::service::Service;

/// The job.
pub(super) fn job(service: Arc<Service>) -> Job {
    Job::new("records of refused enrolments", EVERY, EVERY, move |ends| {
        let service = Arc::clone(&service);
        async move {
            let done = service.login.note_refusals(ends).await;
            done.map_err(|error| format!("refused enrolments are not on record: {error}"))?;
            Ok(None)
        }
    })
    .also_at_end()
}

const EVERY: Duration = Duration::from_mins(1);
