//! Writes outside the store how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::daemon::jobs::Job;
use crate::daemon::{Site, witness};
use crate::service::Service;

/// The job.
pub(super) fn job(site: &Arc<Site>, service: Arc<Service>) -> Job {
    let site = Arc::clone(site);
    let written = Arc::new(AtomicU64::new(u64::MAX));
    Job::new(
        "statement outside the store",
        Duration::ZERO,
        EVERY,
        move |_| {
            let (site, service, written) = (
                Arc::clone(&site),
                Arc::clone(&service),
                Arc::clone(&written),
            );
            async move {
                let now = service.core.now();
                let statement = service.core.store().witness(now);
                let (seq, text) = statement.map_err(|error| error.to_string())?;
                if written.load(Ordering::Relaxed) == seq {
                    return Ok(None);
                }
                let put =
                    spawn_blocking(move || witness::write(&site, service.core.store(), &text))
                        .await;
                put.map_err(|error| error.to_string())??;
                written.store(seq, Ordering::Relaxed);
                Ok(None)
            }
        },
    )
    .also_at_end()
}

/// A store that is put back by less than this is not noticed.
const EVERY: Duration = Duration::from_secs(5);
