//! The clock of a run, its end before time, and its progress on stderr.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::cli::output;
use crate::cli::output::Output;
use crate::time::{Clock, SystemClock, UnixTime};

/// Shared by the workers of a run. Time is read once and goes on steadily from there: a real-time
/// clock that is set during the run changes no latency.
#[derive(Debug)]
pub(super) struct Watch {
    start: Instant,
    at: UnixTime,
    stop: CancellationToken,
    /// Nanoseconds after which no more codes were left; zero while there are some.
    dry: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) answered: AtomicU64,
}

impl Watch {
    /// The run starts now.
    pub(super) fn start() -> Self {
        Self {
            start: Instant::now(),
            at: SystemClock.now(),
            stop: CancellationToken::new(),
            dry: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        }
    }

    /// Since the start.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The time of day.
    pub(super) fn clock(&self, now: Duration) -> UnixTime {
        self.at.plus(now)
    }

    /// When something is due, as the runtime's timers count.
    pub(super) fn instant(&self, at: Duration) -> tokio::time::Instant {
        (self.start + at).into()
    }

    /// Ends the run.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Whether it was ended before its time.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Until it is ended before its time.
    pub(super) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// No code is left that was not used; the first worker to find that says when the load ended.
    pub(super) fn run_dry(&self, now: Duration) {
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).max(1);
        let first = self
            .dry
            .compare_exchange(0, nanos, Ordering::Relaxed, Ordering::Relaxed);
        // Another one was earlier.
        let _ = first;
    }

    /// When the codes ran out, if they did.
    pub(super) fn dry(&self) -> Option<Duration> {
        Some(self.dry.load(Ordering::Relaxed))
            .filter(|nanos| *nanos > 0)
            .map(Duration::from_nanos)
    }
}

/// Shows how a run goes until `done`, and ends it on Ctrl-C; whether it did.
pub(super) async fn follow(
    watch: &Watch,
    length: Duration,
    out: Output,
    done: impl Future<Output = ()>,
) -> bool {
    let bar = output::progress(out, "load", crate::time::millis(length));
    let mut ticks = tokio::time::interval(TICK);
    let mut before = (Duration::ZERO, 0);
    let mut interrupted = false;
    tokio::pin!(done);
    loop {
        tokio::select! {
            () = &mut done => break,
            // Where the signal cannot be had, the run ends by itself.
            Ok(()) = tokio::signal::ctrl_c(), if !interrupted => {
                interrupted = true;
                watch.stop();
            }
            _ = ticks.tick() => {
                let (now, answered) = (watch.now(), watch.answered.load(Ordering::Relaxed));
                let seconds = now.saturating_sub(before.0).as_secs_f64().max(0.001);
                let rate = lossy(answered - before.1) / seconds;
                before = (now, answered);
                bar.set_position(crate::time::millis(now.min(length)));
                let sent = watch.sent.load(Ordering::Relaxed);
                bar.set_message(format!("{sent} sent, {answered} answered, {rate:.0}/s"));
            }
        }
    }
    bar.finish_and_clear();
    interrupted
}

/// A count for a division whose result is shown with few digits.
#[allow(clippy::cast_precision_loss)] // 53 bits are more than a run can count
pub(super) fn lossy(count: u64) -> f64 {
    count as f64
}

const TICK: Duration = Duration::from_millis(200);
