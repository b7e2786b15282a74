//! Declares an outage by the rule of `[outage]`.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::admin::outage_watch::{Rule, Watch};
use crate::config;
use crate::service::Service;

/// Follows the audit until `shutdown`.
pub(super) async fn watch(
    service: Arc<Service>,
    configured: config::Outage,
    shutdown: CancellationToken,
) {
    let mut records = service.core.store().subscribe();
    let mut watch = Watch::new(Rule {
        users: configured.users,
        window: configured.window,
        length: configured.length,
    });
    while let Some(heard) = shutdown.run_until_cancelled(records.recv()).await {
        match heard {
            Ok(record) => {
                if let Err(error) = service.admin.watch_outage(&mut watch, record).await {
                    tracing::error!(%error, "no outage could be declared");
                }
            }
            // What was missed may have been a success: nothing is concluded from the rest.
            Err(RecvError::Lagged(_)) => watch = watch.anew(),
            Err(RecvError::Closed) => return,
        }
    }
}
