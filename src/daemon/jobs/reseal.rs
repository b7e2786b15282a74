//! Seals the secrets of the store by its newest data key, bit by bit, after the key was exchanged.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::daemon::jobs::Job;
use crate::service::Service;
use crate::store::Cursor;

/// How far it is.
#[derive(Clone, Default)]
struct Progress {
    cursor: Cursor,
    /// What is left then cannot be opened: it is looked for again after this.
    rests_until: Option<Instant>,
}

/// The job.
pub(super) fn job(service: Arc<Service>) -> Job {
    let progress = Arc::new(Mutex::new(Progress::default()));
    Job::new(
        "exchange of the data key",
        Duration::ZERO,
        EVERY,
        move |_| {
            let (service, progress) = (Arc::clone(&service), Arc::clone(&progress));
            async move {
                let lock = || progress.lock().unwrap_or_else(PoisonError::into_inner);
                let before = lock().clone();
                let (after, done) = run(&service, before).await?;
                *lock() = after;
                Ok(done)
            }
        },
    )
}

/// Works for a moment, so that a daemon that ends need not wait; returns where the next run goes on.
async fn run(
    service: &Service,
    mut progress: Progress,
) -> Result<(Progress, Option<String>), String> {
    let failed = |error: &dyn Display| format!("older secrets stay as they are: {error}");
    let done = service.core.store().is_resealed();
    let began = Instant::now();
    if done.map_err(|error| failed(&error))? || progress.rests_until.is_some_and(|end| began < end)
    {
        return Ok((progress, None));
    }
    while began.elapsed() < WORK {
        let next = service.admin.reseal(progress.cursor).await;
        let Some(cursor) = next.map_err(|error| failed(&error))? else {
            let left = service.admin.finish_reseal().await;
            let left = left.map_err(|error| failed(&error))?;
            if left == 0 {
                tracing::info!("every secret is sealed by the new data key");
                let said = "every secret is sealed by the newest one";
                return Ok((Progress::default(), Some(said.to_owned())));
            }
            let progress = Progress {
                cursor: Cursor::default(),
                rests_until: Some(Instant::now() + REST),
            };
            return Ok((progress, Some(format!("{left} secrets are left"))));
        };
        progress.cursor = cursor;
        // Logins come first.
        tokio::time::sleep(PAUSE).await;
    }
    Ok((progress, Some("under way".to_owned())))
}

const EVERY: Duration = Duration::from_secs(2);
const WORK: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(2);
const REST: Duration = Duration::from_mins(5);
