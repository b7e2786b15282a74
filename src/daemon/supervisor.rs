//! What systemd is told: ready, reloading, stopping, alive (`Type=notify`, `WatchdogSec=`). Without systemd nothing.

use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::service::Service;

/// Every listener is bound.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// Files are read again; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "systemd was not told of a reload"),
    }
}

/// No new requests from now on.
pub(super) fn stopping() {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("finishing requests in flight"),
    ]);
}

/// Says again and again that the daemon lives, where the unit asks for it, and why it cannot decide. A part of the
/// daemon that has ended is not started again by it: then nothing more is said, and systemd starts it anew.
pub(super) async fn watchdog(service: Arc<Service>, shutdown: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        shutdown.cancelled().await;
        return;
    };
    let mut said = None;
    while shutdown
        .run_until_cancelled(sleep(limit / 3))
        .await
        .is_some()
    {
        if let Some(fault) = service.core.vitals().fault() {
            tracing::error!(fault, "systemd is left to start the daemon again");
            continue;
        }
        tell(&[NotifyState::Watchdog]);
        let fault = service.core.fault();
        if fault != said {
            let status = match &fault {
                Some(fault) => format!("not ready: {}", fault.replace(char::is_control, " ")),
                None => "serving".to_owned(),
            };
            tell(&[NotifyState::Status(&status)]);
            said = fault;
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd was not told of the daemon's state");
    }
}
