//! Appends the signed head of the audit chain to a file, where there are new records.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::daemon::jobs::{Job, ship};
use crate::service::Service;

/// The job.
pub(super) fn job(path: PathBuf, service: Arc<Service>) -> Job {
    let written = Arc::new(AtomicU64::new(0));
    Job::new("signed heads of the audit", FIRST, EVERY, move |_| {
        let (path, service, written) = (path.clone(), Arc::clone(&service), Arc::clone(&written));
        async move {
            let head = service.core.store().signed_head(service.core.now());
            let head = head.map_err(|error| error.to_string())?;
            if written.load(Ordering::Relaxed) == head.seq {
                return Ok(None);
            }
            let line = serde_json::to_string(&head).map_err(|error| error.to_string())?;
            let put = spawn_blocking(move || ship::append(&path, &format!("{line}\n"))).await;
            put.map_err(|error| error.to_string())??;
            written.store(head.seq, Ordering::Relaxed);
            Ok(Some(format!("record {}", head.seq)))
        }
    })
    .also_at_end()
}

const FIRST: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_mins(1);
