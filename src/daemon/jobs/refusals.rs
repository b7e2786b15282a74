//! Puts refused enrolments on record that were only counted.

use std::sync::Arc;
use std::time::Duration;

use crate::daemon::jobs::Job;
use crate::service::Service;

/// The job.
pub(super) fn job(service: Arc<Service>) -> Job {
    Job {
        name: "records of refused enrolments",
        first: EVERY,
        every: EVERY,
        at_end: true,
        run: Box::new(move |ends| {
            let service = Arc::clone(&service);
            Box::pin(async move {
                let done = service.login.note_refusals(ends).await;
                done.map_err(|error| format!("refused enrolments are not on record: {error}"))?;
                Ok(None)
            })
        }),
    }
}

const EVERY: Duration = Duration::from_mins(1);
