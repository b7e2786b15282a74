//! Looks for jumps of the clock.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::clock;
use crate::core::clock::Jump;
use crate::daemon::jobs::Job;
use crate::service::Service;

/// The job.
pub(super) fn job(service: Arc<Service>) -> Job {
    let started = Instant::now();
    Job::new(
        "watch over the clock",
        Duration::ZERO,
        clock::LOOK,
        move |_| {
            let jump = service.core.watch_clock(started.elapsed());
            log(jump);
            async move { Ok(jump.map(|jump| jump.to_string())) }
        },
    )
}

/// Logs a jump.
pub(in crate::daemon) fn log(jump: Option<Jump>) {
    if let Some(jump) = jump {
        let (seconds, next) = (jump.seconds(), Jump::REMEDY);
        tracing::warn!(seconds, next, "clock: {jump}");
    }
}
