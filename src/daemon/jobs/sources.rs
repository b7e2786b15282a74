//! Has users follow the directories of the configuration.

use std::sync::Arc;
use std::time::Duration;

use crate::admin::directory::SyncOptions;
use crate::core::directory::SourceInfo;
use crate::daemon::jobs::Job;
use crate::service::Service;
use crate::store::By;

/// The job, where a source has a schedule.
pub(super) fn job(service: Arc<Service>) -> Option<Job> {
    let sources = service.core.directories().get().sources();
    let every = sources.iter().filter_map(|source| source.every).min()?;
    Some(Job::new("users of sources", FIRST, every, move |_| {
        let service = Arc::clone(&service);
        async move { due(&service, every).await }
    }))
}

/// Runs the sources whose time has come. One that fails does not keep the others waiting for it.
async fn due(service: &Service, tick: Duration) -> Result<Option<String>, String> {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for source in service.core.directories().get().sources() {
        if !is_due(service, &source, tick) {
            continue;
        }
        let by = service.core.arrival().map_err(|error| error.to_string())?;
        let by = By::daemon(by);
        let options = SyncOptions::default();
        match service.admin.sync_source(&source.name, options, by).await {
            Ok(sync) => done.push(format!("{}: {}", source.name, sync.summary())),
            Err(error) => failed.push(error.to_string()),
        }
    }
    if failed.is_empty() {
        return Ok((!done.is_empty()).then(|| done.join("; ")));
    }
    Err(failed.join("; "))
}

fn is_due(service: &Service, source: &SourceInfo, tick: Duration) -> bool {
    let Some(every) = source.every else {
        return false;
    };
    let last = service.core.directories().last(&source.name);
    // Half a step early, for the steps of the job are not those of the source.
    last.is_none_or(|last| service.core.now().since(last.at) + tick / 2 >= every)
}

/// From the start to the first run: requests have gone first.
const FIRST: Duration = Duration::from_secs(5);
