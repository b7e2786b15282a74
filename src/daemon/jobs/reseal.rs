//! Seals the secrets of the store by its newest data key, bit by bit, after the key was exchanged.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::daemon::jobs::Job;
use crate::service::Service;
use crate::store::Cursor;

/// The job.
pub(super) fn job(service: Arc<Service>) -> Job {
    let at = Arc::new(Mutex::new(Cursor::default()));
    Job::new(
        "exchange of the data key",
        Duration::ZERO,
        EVERY,
        move |_| {
            let (service, at) = (Arc::clone(&service), Arc::clone(&at));
            async move {
                let cursor = at
                    .lock()
                    .map_or_else(|_| Cursor::default(), |at| at.clone());
                let (next, done) = run(&service, cursor).await?;
                if let Ok(mut at) = at.lock() {
                    *at = next;
                }
                Ok(done)
            }
        },
    )
}

/// Works for a moment, so that a daemon that ends need not wait; returns where the next run goes on.
async fn run(service: &Service, mut cursor: Cursor) -> Result<(Cursor, Option<String>), String> {
    let failed = |error: &dyn std::fmt::Display| format!("older secrets stay as they are: {error}");
    if service
        .core
        .store()
        .is_resealed()
        .map_err(|error| failed(&error))?
    {
        return Ok((cursor, None));
    }
    let began = Instant::now();
    while began.elapsed() < WORK {
        match service.admin.reseal(cursor).await {
            Ok(Some(next)) => cursor = next,
            Ok(None) => {
                let left = service.admin.finish_reseal().await;
                let left = left.map_err(|error| failed(&error))?;
                return match left {
                    0 => {
                        tracing::info!("every secret is sealed by the new data key");
                        Ok((Cursor::default(), Some("all is sealed by it".to_owned())))
                    }
                    left => Ok((Cursor::default(), Some(format!("{left} secrets are left")))),
                };
            }
            Err(error) => return Err(failed(&error)),
        }
        // Logins come first.
        tokio::time::sleep(PAUSE).await;
    }
    Ok((cursor, Some("under way".to_owned())))
}

const EVERY: Duration = Duration::from_secs(2);
const WORK: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(2);
