//! Removes audit records that are older than `audit.keep` or beyond `audit.keep_size`, in whole segments.

use std::sync::Arc;
use std::time::Duration;

use crate::daemon::jobs::Job;
use crate::service::Service;

/// The job.
pub(super) fn job(service: Arc<Service>, keep: Option<Duration>, most: Option<u64>) -> Job {
    Job::new("pruning of the audit", FIRST, EVERY, move |_| {
        let service = Arc::clone(&service);
        async move {
            let failed = |error| format!("old audit segments stay: {error}");
            let mut removed = false;
            if let Some(keep) = keep {
                let done = service.admin.prune_audit_older(keep).await;
                removed |= done.map_err(failed)?;
            }
            if let Some(most) = most {
                let done = service.admin.prune_audit_larger(most).await;
                removed |= done.map_err(failed)?;
            }
            if !removed {
                return Ok(None);
            }
            tracing::info!("old audit segments were removed (audit.keep, audit.keep_size)");
            Ok(Some("removed old segments".to_owned()))
        }
    })
}

/// Not at once: a machine that boots with a wrong clock sets it first, and what is removed cannot be
/// brought back.
const FIRST: Duration = Duration::from_mins(15);
const EVERY: Duration = Duration::from_hours(1);
